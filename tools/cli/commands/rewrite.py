"""`tensorbundle rewrite`: several operations in one pass, from a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, run_steps
from tensorbundle.tools.operations.steps.recipe import read_recipes

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle rewrite run/model.ckpt-1000 slim --recipe slim.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument(
        "--recipe",
        action="append",
        required=True,
        metavar="FILE.toml",
        help="a file with steps, applied in order; or a name that 'recipes' lists; may be repeated",
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Make the new checkpoint."""
    proof = [word for recipe in args.recipe for word in ("--recipe", recipe)]
    return run_steps(read_recipes(args.recipe), args, console, proof=proof)
