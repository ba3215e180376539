"""`tensorbundle average`: the mean of checkpoints."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tensorbundle.dtypes import DType
from tensorbundle.tools.cli.writing import add_writing_arguments, carry_out
from tensorbundle.tools.operations.editing.combining import average
from tensorbundle.tools.operations.recipes import Kitchen

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

HELP = "make the mean of checkpoints"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("sources", metavar="SRC", nargs="+", help="checkpoints with the same tensors")
    parser.add_argument("destination", metavar="DST", help="the new checkpoint's prefix")
    parser.add_argument(
        "--accumulator", choices=("float32", "float64"), default="float64", help="the type sums are kept in"
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Average, and say what was taken from the last one."""
    with contextlib.ExitStack() as stack:
        kitchen = Kitchen(args.destination, stack)
        drafts = [kitchen.open(path) for path in args.sources]
        draft, from_last = average(drafts, DType[args.accumulator])
        for key in from_last:
            console.note(f"differs and is no floating-point tensor, taken from the last: {key!r}")
        return carry_out(draft.plan(), args.destination, args, console)
