"""`tensorbundle tree`: the keys of a checkpoint by scope, with what each scope holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.slices import shape_text
from tensorbundle.tools.cli.console import DRAWN_DEPTH, branches, columns, escape, human_bytes
from tensorbundle.tools.patterns import select

if TYPE_CHECKING:
    import argparse

    from tensorbundle.entries import TensorEntry
    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle tree run/model.ckpt-1000 --depth 2"


@dataclass(slots=True)
class Scope:
    """What lies at or below one path. It does not hold that: the paths along a long key take quadratic memory.

    Attributes:
        name: the last part of the path.
        depth: how many parts the path has.
        tensors: how many.
        parameters: their elements.
        nbytes: their bytes.
        entry: the tensor whose key is the path itself, or None.
        below: scopes by their last part.
    """

    name: str = ""
    depth: int = 0
    tensors: int = 0
    parameters: int = 0
    nbytes: int = 0
    entry: TensorEntry | None = None
    below: dict[str, Scope] = field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("patterns", metavar="PATTERN", nargs="*", help="a glob, or re:REGEX; all by default")
    parser.add_argument(
        "--depth", type=int, metavar="N", help=f"no more than N levels; {DRAWN_DEPTH} are drawn by default"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the tree."""
    root = Scope()
    with open_checkpoint(args.checkpoint) as checkpoint:
        for key, entry in select(checkpoint.entries(), args.patterns, checkpoint.naming):
            scope = root
            _count(scope, entry)
            for depth, part in enumerate(key.split("/"), 1):
                if part not in scope.below:
                    scope.below[part] = Scope(part, depth)
                scope = scope.below[part]
                _count(scope, entry)
            scope.entry = entry
    if console.json:
        _print_records(root, args.depth, console)
    else:
        depth = DRAWN_DEPTH if args.depth is None else args.depth
        console.lines(columns(_rows(root, depth, cut=args.depth is None), right=(2, 3)))
    return 0


def _print_records(root: Scope, depth: int | None, console: Console) -> None:
    parts: list[str] = []
    stack = [root]
    while stack:
        scope = stack.pop()
        stack += reversed(_below(scope, depth))
        parts[max(scope.depth - 1, 0) :] = [scope.name] if scope.depth else []
        console.record(
            {
                "path": "/".join(parts),
                "tensors": scope.tensors,
                "parameters": scope.parameters,
                "nbytes": scope.nbytes,
            }
        )


def _rows(root: Scope, depth: int, *, cut: bool) -> list[list[str]]:
    """The cells of every scope; with `cut`, a line of dots where scopes below are not drawn."""
    rows = []
    for lead, scope in [("", root), *branches(_below(root, depth), lambda each: _below(each, depth))]:
        what = f"{scope.tensors} tensors"
        if scope.entry is not None and not scope.below:
            what = f"{scope.entry.dtype} {shape_text(scope.entry.shape)}"
        rows.append(
            [lead + escape(scope.name or "."), what, f"{scope.parameters:,}", human_bytes(scope.nbytes)]
        )
        if cut and scope.depth == depth and scope.below:
            rows.append(["   " * depth + "...", "--depth N draws more", "", ""])
    return rows


def _below(scope: Scope, depth: int | None) -> list[Scope]:
    return list(scope.below.values()) if depth is None or scope.depth < depth else []


def _count(scope: Scope, entry: TensorEntry) -> None:
    scope.tensors += 1
    scope.parameters += entry.elements
    scope.nbytes += entry.nbytes
