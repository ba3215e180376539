"""`tensorbundle split`: split a tensor into several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, run_step
from tensorbundle.tools.operations.steps.shapes import Split

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle split run/model.ckpt-1000 split gates update=64 reset=64 --axis 1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument("key", metavar="KEY", help="the tensor to split; it is removed")
    parser.add_argument(
        "into",
        metavar="NAME=LENGTH",
        nargs="+",
        help="the parts in order; one length may be -1, for the rest",
    )
    parser.add_argument(
        "--axis", type=int, default=0, metavar="N", help="the axis along which it is split, 0 by default"
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Make the new checkpoint."""
    return run_step(Split, args, console)
