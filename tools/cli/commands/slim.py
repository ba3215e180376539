"""`tensorbundle slim`: without the optimizer's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, rewrite_source
from tensorbundle.tools.operations.editing.selection import slim

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

HELP = "leave out the optimizer's state"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Slim, and say what went."""
    return rewrite_source(args, console, lambda draft: [f"optimizer state: {key}" for key in slim(draft)])
