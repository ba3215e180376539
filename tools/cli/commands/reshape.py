"""`tensorbundle reshape`: change shapes, with the same elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, run_step
from tensorbundle.tools.operations.steps.shapes import Reshape

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle reshape run/model.ckpt-1000 reshaped '*/query/kernel=768,12,64'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument(
        "shapes",
        metavar="PATTERN=SHAPE",
        nargs="+",
        help="as 768,12,64; one length may be -1; [] for a scalar; ... for the tensor's own lengths except those of 1",
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Make the new checkpoint."""
    return run_step(Reshape, args, console)
