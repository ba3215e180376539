"""`tensorbundle merge`: the union of checkpoints."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_writing_arguments, carry_out
from tensorbundle.tools.operations.editing.combining import merge
from tensorbundle.tools.operations.recipes import Kitchen

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

HELP = "make the union of checkpoints"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "sources",
        metavar="SRC",
        nargs="+",
        help="a checkpoint, or NAME=CKPT to put it under a name of its own",
    )
    parser.add_argument("destination", metavar="DST", help="the new checkpoint's prefix")
    parser.add_argument(
        "--prefer", choices=("first", "last"), help="which one counts where several have a tensor"
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Merge."""
    with contextlib.ExitStack() as stack:
        kitchen = Kitchen(args.destination, stack)
        drafts = [(name, kitchen.open(path)) for name, path in map(_named, args.sources)]
        return carry_out(merge(drafts, args.prefer).plan(), args.destination, args, console)


def _named(text: str) -> tuple[str, str]:
    name, mark, path = text.partition("=")
    # A path may hold a '=' itself; a name holds no '/'.
    return (name, path) if mark and os.sep not in name else ("", text)
