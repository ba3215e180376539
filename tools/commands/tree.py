"""`tensorbundle tree`: the keys of a checkpoint by scope, with what each scope holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.tools.console import branches, columns, escape, human_bytes, shape_text
from tensorbundle.tools.patterns import select

if TYPE_CHECKING:
    import argparse

    from tensorbundle.entries import TensorEntry
    from tensorbundle.tools.console import Console

HELP = "show keys by scope, with parameter counts and sizes"


@dataclass(slots=True)
class Scope:
    """What lies at or below one path.

    Attributes:
        path: the scope's keys begin with it and '/'; empty for all.
        name: its last part.
        depth: how many parts it has.
        tensors: how many.
        parameters: their elements.
        nbytes: their bytes.
        entry: the tensor whose key is the path itself, or None.
        below: scopes by their last part.
    """

    path: str
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
    parser.add_argument("--depth", type=int, metavar="N", help="no more than N levels")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the tree."""
    root = Scope("")
    with open_checkpoint(args.checkpoint) as checkpoint:
        for key, entry in select(checkpoint.entries(), args.patterns, checkpoint.prefix):
            scope = root
            _count(scope, entry)
            for depth, part in enumerate(key.split("/"), 1):
                path = f"{scope.path}/{part}" if depth > 1 else part
                scope = scope.below.setdefault(part, Scope(path, part, depth))
                _count(scope, entry)
            scope.entry = entry
    rows = []
    for lead, scope in [
        ("", root),
        *branches(_below(root, args.depth), lambda each: _below(each, args.depth)),
    ]:
        console.record(
            {
                "path": scope.path,
                "tensors": scope.tensors,
                "parameters": scope.parameters,
                "nbytes": scope.nbytes,
            }
        )
        what = f"{scope.tensors} tensors"
        if scope.entry is not None and not scope.below:
            what = f"{scope.entry.dtype} {shape_text(scope.entry.shape)}"
        rows.append(
            [lead + escape(scope.name or "."), what, f"{scope.parameters:,}", human_bytes(scope.nbytes)]
        )
    console.lines(columns(rows, right=(2, 3)))
    return 0


def _below(scope: Scope, depth: int | None) -> list[Scope]:
    return list(scope.below.values()) if depth is None or scope.depth < depth else []


def _count(scope: Scope, entry: TensorEntry) -> None:
    scope.tensors += 1
    scope.parameters += entry.elements
    scope.nbytes += entry.nbytes
