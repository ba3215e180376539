"""Only `bundle/storage/` touches the files of checkpoints; elsewhere names are joined and split by `storage/paths.py`."""

import ast
import re

import pytest

from support.source import ROOT, TOPS

MODULES = {"os", "fcntl", "mmap", "shutil", "pathlib", "tempfile"}
HARMLESS = {"PathLike", "fspath", "fsdecode", "fsencode"}  # text
HARMLESS |= {"cpu_count", "devnull", "environ", "get_terminal_size", "sep"}  # the system
# Files that are not a checkpoint's: those that users give beside it, those that are written for them, and streams.
OTHER_FILES = {
    "tools/cli/commands/hash.py",
    "tools/cli/program.py",
    "tools/operations/converting/structures.py",
    "tools/operations/editing/rules.py",
    "tools/operations/editing/values.py",
    "tools/operations/editing/vocabulary.py",
    "tools/operations/restoring/forecasting.py",
    "tools/operations/steps/recipe.py",
}
# What only local directories have: links, inodes, and when an entry changed.
LOCAL_DIRECTORIES = {
    "tools/operations/directories/cleaning.py",
    "tools/operations/directories/places.py",
    "tools/operations/salvaging/finding.py",
    "tools/operations/salvaging/saving.py",
}

# The HDF5 library opens files by itself, and only local ones.
HDF5 = {"tools/formats/hdf5_index.py", "tools/formats/hdf5_output.py"}
WORDS = re.compile(rf"\b(?:{'|'.join(MODULES)})\b|(?<![.\w])open\b")  # without which there is nothing to find
EXCEPTIONS = OTHER_FILES | LOCAL_DIRECTORIES | HDF5


def accesses(nodes):
    """What a module with these nodes does with files by itself: calls of `open`, modules that touch files, names of `os`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] in MODULES - {"os"})
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            yield "open"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from [f"os.{node.attr}"] if node.value.id == "os" and node.attr not in HARMLESS else []


def test_only_storage_touches_files():
    found = {
        path.relative_to(ROOT).as_posix(): sorted(set(accesses(ast.walk(ast.parse(text)))))
        for top in TOPS
        for path in (ROOT / top).rglob("*.py")
        if not path.is_relative_to(ROOT / "bundle/storage")
        if WORDS.search(text := path.read_text(encoding="utf-8"))
    }
    touching = {path for path, names in found.items() if names}
    assert {path: found[path] for path in touching - EXCEPTIONS} == {}
    assert EXCEPTIONS - touching == set()  # exceptions that are not needed any more


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os\nos.path.isfile(x)\nos.fspath(x)", ["os.path"]),
        ("import os\nos.replace(x, y)", ["os.replace"]),
        ("def f():\n with open(x) as file: pass", ["open"]),
        ("import mmap", ["mmap"]),
        ("from os.path import join", ["os.path"]),
        ("store.open(x)", []),
    ],
)
def test_accesses(source, expected):
    assert list(accesses(ast.walk(ast.parse(source)))) == expected
