"""Breaks the code in small ways, and lists the changes that no test notices.

    python tests/mutate.py                        # a sample of each module's mutants
    python tests/mutate.py --all bundle/block.py  # every mutant of one module

Each mutant of a module is one small change: a comparison, a constant, an operator, a condition, a statement that is left
out. A module is changed in a copy of the sources, never in place; its tests (`TESTS`) run in that copy, and the mutant
*survives* if all of them pass. Mutants that mean the same as the original are listed with the reason in
`tests/accepted_mutants.txt`; another one that survives is an error: status 1. Exit status 2 is for tests that fail without
any change.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import crc32c  # noqa: F401  what tests load, but for what is tested: children have it already
import google.protobuf.descriptor_pool  # noqa: F401
import hypothesis.strategies  # noqa: F401
import ml_dtypes  # noqa: F401
import numpy as np  # noqa: F401
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
ACCEPTED = ROOT / "tests" / "accepted_mutants.txt"
SAMPLE = 12  # mutants of each module, unless all are asked for
SECONDS = 120  # after which the tests of a mutant have failed
TESTS = {
    "bundle/coding.py": ["tests/bundle/test_coding.py"],
    "bundle/block.py": ["tests/bundle/test_block.py", "tests/bundle/test_table.py"],
    "bundle/table.py": ["tests/bundle/test_table.py"],
    "bundle/boxes.py": ["tests/bundle/test_boxes.py"],
    "bundle/slices.py": ["tests/bundle/test_slices.py"],
    "bundle/entries.py": ["tests/bundle/test_entries.py", "tests/proto/test_schema.py"],
    "bundle/payloads.py": ["tests/bundle/test_payloads.py"],
    "bundle/filenames.py": ["tests/bundle/test_filenames.py"],
    "proto/paths.py": ["tests/proto/test_paths.py"],
    "proto/nodes.py": ["tests/proto/test_graph.py", "tests/proto/test_schema.py"],
    "proto/reach.py": ["tests/proto/test_graph.py"],
    "proto/graph.py": ["tests/proto/test_graph.py"],
}

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}


@dataclass(frozen=True)
class Mutant:
    """A changed module.

    Attributes:
        name: the place and the change, without the number of the line, which other changes move.
        line: where it is.
        source: the whole module, changed.
    """

    name: str
    line: int
    source: str


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What may be in the place of a node instead."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield _changed(node, ops=[COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield _changed(node, op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        for number in range(len(node.values)):
            rest = [*node.values[:number], *node.values[number + 1 :]]
            yield rest[0] if len(rest) == 1 else _changed(node, values=rest)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, int):
            yield ast.Constant(node.value + 1)
    elif isinstance(node, (ast.If, ast.While)):
        yield _changed(node, test=ast.Constant(False))
    elif isinstance(node, (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Continue, ast.Break)):
        yield ast.Pass()


def _changed(node: ast.AST, **fields: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module: one change in a function each."""
    module = ast.parse(source)
    seen: dict[str, int] = {}
    for function in [each for each in ast.walk(module) if isinstance(each, ast.FunctionDef)]:
        for parent, field, place, node in _places(function):
            for variant in variants(node):
                name = f"{function.name}: {_text(node)} -> {_text(variant)}"
                seen[name] = seen.get(name, 0) + 1
                _put(parent, field, place, variant)
                changed = ast.unparse(ast.fix_missing_locations(copy.deepcopy(module)))
                _put(parent, field, place, node)
                yield Mutant(f"{name} #{seen[name]}", getattr(node, "lineno", function.lineno), changed)


def _places(parent: ast.AST) -> Iterator[tuple[ast.AST, str, int, ast.AST]]:
    """Each node below one that may be changed, with where it is; not what errors say, and not inner functions."""
    for field, value in ast.iter_fields(parent):
        if field in ("decorator_list", "returns", "annotation") or isinstance(value, ast.arguments):
            continue
        for place, node in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(node, ast.AST) or isinstance(node, (ast.JoinedStr, ast.FunctionDef)):
                continue
            if not _is_docstring(node):
                yield parent, field, place, node
                yield from _places(node)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _text(node: ast.AST) -> str:
    return ast.unparse(node).split("\n")[0]


def _put(parent: ast.AST, field: str, place: int, node: ast.AST) -> None:
    value = getattr(parent, field)
    if isinstance(value, list):
        value[place] = node
    else:
        setattr(parent, field, node)


class Sandbox:
    """A copy of the sources in which one module at a time is changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in (
            "bundle",
            "proto",
            "tools",
            "tests",
            "docs",
            "pyproject.toml",
            "README.md",
            "CONTRIBUTING.md",
        ):
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "interop")
                shutil.copytree(source, folder / name, ignore=ignored, symlinks=True)
            else:
                shutil.copy(source, folder / name)
        subprocess.run([sys.executable, folder / "tests" / "link_types.py"], check=True)

    def passes(self, module: str) -> bool:
        """Whether the tests of a module pass, in time."""
        for cached in (self.folder / module).parent.glob(f"__pycache__/{Path(module).stem}.*"):
            cached.unlink()  # a change may leave size and time as they were
        child = os.fork()  # with all packages loaded but our own
        if child == 0:
            os._exit(self._run(TESTS[module]))
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status) == 0
            time.sleep(0.02)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False

    def _run(self, tests: list[str]) -> int:
        os.setpgid(0, 0)
        os.chdir(self.folder)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        package = str(self.folder / "build" / "types")
        sys.path.insert(0, package)
        os.environ["PYTHONPATH"] = package
        loaded = "ignore::pytest.PytestAssertRewriteWarning"
        return int(pytest.main(["-x", "-q", "-n", "0", "-W", loaded, "-p", "no:cacheprovider", *tests]))

    def survivors(self, module: str, tried: list[Mutant]) -> Iterator[Mutant]:
        """Those of the mutants of a module that its tests do not notice."""
        path = self.folder / module
        original = path.read_text(encoding="utf-8")
        for mutant in tried:
            path.write_text(mutant.source, encoding="utf-8")
            if self.passes(module):
                yield mutant
        path.write_text(original, encoding="utf-8")


def accepted() -> set[str]:
    """The mutants in `accepted_mutants.txt`: a line each, below the reason, which begins with `#`."""
    lines = ACCEPTED.read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="of those in TESTS; all by default")
    parser.add_argument("--all", action="store_true", help=f"every mutant instead of {SAMPLE} of each module")
    parser.add_argument("--seed", type=int, default=0, help="another sample")
    options = parser.parse_args()
    known = accepted()
    alive = 0
    with tempfile.TemporaryDirectory() as folder:
        sandbox = Sandbox(Path(folder))
        for module in options.modules or TESTS:
            if not sandbox.passes(module):
                print(f"{module}: its tests fail without a change")
                return 2
            source = (ROOT / module).read_text(encoding="utf-8")
            every = list(mutants(source))
            tried = (
                every if options.all else random.Random(options.seed).sample(every, min(SAMPLE, len(every)))
            )
            tried = [each for each in tried if f"{module}: {each.name}" not in known]
            count = 0
            for each in sandbox.survivors(module, tried):
                print(f"  line {each.line}\n{module}: {each.name}", flush=True)
                count += 1
            print(f"{module}: {count} of {len(tried)} mutants survive ({len(every)} in all)", flush=True)
            alive += count
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
