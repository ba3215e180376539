"""`tensorbundle set`: other values for a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import BundleError
from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, rewrite_source
from tensorbundle.tools.operations.editing.values import set_values

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.rewriting.draft import Draft

HELP = "replace the values of a tensor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument(
        "values", metavar="KEY=FILE.npy", nargs="+", help="or a literal: 'global_step=0', 'bias=[0.5, 1]'"
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Replace the values."""
    pairs = []
    for text in args.values:
        key, mark, value = text.partition("=")
        if not mark:
            raise BundleError(f"{text!r} is not KEY=FILE.npy")
        pairs.append((key, value))

    def edit(draft: Draft) -> None:
        for key, value in pairs:
            set_values(draft, key, value)

    return rewrite_source(args, console, edit)
