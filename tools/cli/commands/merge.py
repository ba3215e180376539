"""`tensorbundle merge`: the union of checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_writing_arguments, run_step
from tensorbundle.tools.operations.editing.combining import PREFERENCES
from tensorbundle.tools.operations.steps.combining import Merge, named_source

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle merge encoder decoder both"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "sources",
        metavar="SRC",
        nargs="+",
        help="a checkpoint, or NAME=CKPT to put it under a name of its own",
    )
    parser.add_argument("destination", metavar="DST", help="the new checkpoint's prefix")
    parser.add_argument("--prefer", choices=PREFERENCES, help="the source to use if several have a tensor")
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Make the new checkpoint."""
    return run_step(Merge, args, console, source=named_source(args.sources[0])[1])
