"""`tensorbundle concat`: join several tensors into one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, run_step
from tensorbundle.tools.operations.steps.shapes import Concat

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle concat run/model.ckpt-1000 joined kernel z r h --axis 1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument("new", metavar="NEW", help="the name of the result")
    parser.add_argument(
        "parts", metavar="KEY", nargs="+", help="the tensors to join, in order; they are removed"
    )
    parser.add_argument(
        "--axis", type=int, default=0, metavar="N", help="the axis along which they are joined, 0 by default"
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Make the new checkpoint."""
    return run_step(Concat, args, console)
