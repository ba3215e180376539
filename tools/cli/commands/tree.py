"""`tensorbundle tree`: the keys of a checkpoint by scope, with totals for each scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.console import DRAWN_DEPTH, branches, counted, escape, human_bytes
from tensorbundle.tools.operations.inspecting.scopes import tree

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.inspecting.scopes import Scope

EXAMPLE = "tensorbundle tree run/model.ckpt-1000 --depth 2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("patterns", metavar="PATTERN", nargs="*", help="a glob, or re:REGEX; all by default")
    parser.add_argument(
        "--depth", type=int, metavar="N", help=f"no more than N levels; {DRAWN_DEPTH} are drawn by default"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the tree."""
    root = tree(args.checkpoint, args.patterns)
    if console.json:
        for path, scope in root.walk(args.depth):
            console.record(
                {
                    "path": path,
                    "tensors": scope.tensors,
                    "parameters": scope.parameters,
                    "nbytes": scope.nbytes,
                }
            )
    else:
        depth = DRAWN_DEPTH if args.depth is None else args.depth
        console.table(_rows(root, depth, cut=args.depth is None), right=(2, 3))
    return 0


def _rows(root: Scope, depth: int, *, cut: bool) -> list[list[str]]:
    """The cells of every scope; with `cut`, a line of dots in place of scopes that are not drawn."""
    rows = []
    drawn = [("", root), *branches(root.within(depth), lambda each: each.within(depth))]
    for lead, scope in drawn:
        rows.append(
            [
                lead + escape(scope.name or "."),
                _content(scope),
                f"{scope.parameters:,}",
                human_bytes(scope.nbytes),
            ]
        )
        if cut and scope.depth == depth and scope.below:
            rows.append(["   " * depth + "...", "--depth N draws more", "", ""])
    return rows


def _content(scope: Scope) -> str:
    count = scope.tensors - (scope.entry is not None)
    below = counted(count, "tensor") if count else ""
    if scope.entry is None:
        return below
    own = str(scope.entry.spec)
    return f"{own} and {below} below" if below else own
