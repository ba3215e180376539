"""`tensorbundle latest`: the latest checkpoint of a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.console import escape
from tensorbundle.tools.cli.directories import print_checkpoints
from tensorbundle.tools.operations.directories.inventory import latest, survey

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle latest run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("directory", metavar="DIR", help="with a 'checkpoint' state file")
    parser.add_argument("--all", action="store_true", help="list every checkpoint instead")
    parser.add_argument(
        "--newest",
        action="store_true",
        help="if the state file can't be used, print the checkpoint whose index was written last",
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the prefix, or the list."""
    if args.all:
        print_checkpoints(survey(args.directory), console)
    chosen = latest(args.directory, newest=args.newest)
    if not args.all:
        console.record(chosen.to_json())
        console.file([chosen.found.prefix])
    for note in chosen.notes:
        console.note(escape(f"{args.directory}: {note}"))
    return 0
