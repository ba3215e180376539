"""`tensorbundle average`: the mean of checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_writing_arguments, run_step
from tensorbundle.tools.operations.steps.combining import ACCUMULATORS, Average

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle average run/model.ckpt-1000 run/model.ckpt-2000 mean"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("sources", metavar="SRC", nargs="+", help="checkpoints with the same tensors")
    parser.add_argument("destination", metavar="DST", help="the new checkpoint's prefix")
    parser.add_argument(
        "--accumulator", choices=ACCUMULATORS, default="float64", help="the type in which sums are computed"
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Make the new checkpoint."""
    if len(args.sources) == 1:
        console.note("the mean of one checkpoint; 'tensorbundle latest DIR --all' lists those of a directory")
    return run_step(Average, args, console, source=args.sources[0])
