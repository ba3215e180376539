"""`tensorbundle resize`: remap embedding rows and optimizer slots to a new vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, run_step
from tensorbundle.tools.operations.steps.contents import Resize

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle resize run/model.ckpt-1000 resized embedding --old-vocab old.txt --new-vocab new.txt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument("key", metavar="KEY", help="the embedding; its optimizer slots are resized, too")
    parser.add_argument("--old-vocab", required=True, metavar="FILE", help="one token a line")
    parser.add_argument("--new-vocab", required=True, metavar="FILE", help="one token a line")
    parser.add_argument("--old-vocab-size", type=int, metavar="N", help="use only the first N old tokens")
    parser.add_argument(
        "--new-vocab-size", type=int, metavar="N", help="make rows only for the first N new tokens"
    )
    parser.add_argument("--axis", type=int, default=0, help="0 for embeddings, 1 for output layers")
    parser.add_argument("--oov", type=int, default=0, metavar="N", help="rows for out-of-vocabulary buckets")
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Make the new checkpoint."""
    return run_step(Resize, args, console)
