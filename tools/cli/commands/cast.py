"""`tensorbundle cast`: other data types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, run_step
from tensorbundle.tools.operations.steps.casting import Cast

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle cast run/model.ckpt-1000 small '*=bfloat16'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument(
        "rules",
        metavar="PATTERN=DTYPE",
        nargs="+",
        help="'*=bfloat16'; if several patterns match, the last one applies",
    )
    parser.add_argument(
        "--allow-lossy",
        action="store_true",
        help="allow integer and boolean types, which can't represent all values; changed values are counted",
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Make the new checkpoint."""
    return run_step(Cast, args, console)
