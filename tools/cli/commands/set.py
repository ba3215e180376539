"""`tensorbundle set`: replace the values of tensors, or add tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, run_step
from tensorbundle.tools.operations.steps.contents import SetValues

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle set run/model.ckpt-1000 reset global_step=0 bias=bias.npy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument(
        "values",
        metavar="KEY=FILE.npy",
        nargs="+",
        help="or a literal, 'bias=[0.5, 1]'; to add a tensor, with its type, 'global_step=0:int64', 'w=0:float32[2,3]'",
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Make the new checkpoint."""
    return run_step(SetValues, args, console)
