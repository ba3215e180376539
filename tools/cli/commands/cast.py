"""`tensorbundle cast`: other data types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import BundleError
from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, rewrite_source
from tensorbundle.tools.operations.editing.casting import cast

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

HELP = "cast tensors to another type"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument(
        "rules", metavar="PATTERN=DTYPE", nargs="+", help="'*=bfloat16'; the last that fits decides"
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Cast."""
    rules = {}
    for text in args.rules:
        pattern, mark, dtype = text.rpartition("=")
        if not mark:
            raise BundleError(f"{text!r} is not PATTERN=DTYPE")
        rules[pattern] = dtype
    return rewrite_source(args, console, lambda draft: cast(draft, rules))
