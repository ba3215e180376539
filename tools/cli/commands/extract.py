"""`tensorbundle extract`: only what patterns fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, rewrite_source
from tensorbundle.tools.operations.editing.selection import extract

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

HELP = "keep only what patterns fit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument("patterns", metavar="PATTERN", nargs="+", help="a glob, or re:REGEX")
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Extract."""
    return rewrite_source(args, console, lambda draft: extract(draft, args.patterns))
