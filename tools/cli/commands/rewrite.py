"""`tensorbundle rewrite`: several operations in one pass, from a recipe."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, carry_out
from tensorbundle.tools.operations.recipes import Kitchen, apply_steps, read_recipe

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

HELP = "apply the operations of a recipe in one pass"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument("--recipe", required=True, metavar="FILE.toml", help="steps, applied in their order")
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Rewrite."""
    steps = read_recipe(args.recipe)
    with contextlib.ExitStack() as stack:
        kitchen = Kitchen(args.destination, stack)
        draft = apply_steps(kitchen.open(args.source), steps, kitchen)
        for key in kitchen.from_last:
            console.note(f"differs and is no floating-point tensor, taken from the last: {key!r}")
        return carry_out(draft.plan(), args.destination, args, console)
