"""`tensorbundle compact`: the same tensors without dead bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, rewrite_source
from tensorbundle.tools.operations.editing.layout import compact

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

HELP = "copy what is needed, so that dead bytes go"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Compact."""
    return rewrite_source(args, console, compact)
