"""`tensorbundle recipes`: the recipes that come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.operations.functions import recipes

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle recipes --show hf:bert"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--show", metavar="NAME", choices=list(recipes()), help="print the steps of a recipe")


def run(args: argparse.Namespace, console: Console) -> int:
    """List the recipes, or print one."""
    texts = recipes()
    if args.show is not None:
        console.record({"recipe": args.show, "text": texts[args.show]})
        console.file(texts[args.show].splitlines())
        return 0
    about = {name: text.partition("\n")[0].removeprefix("# ") for name, text in texts.items()}
    for name, line in about.items():
        console.record({"recipe": name, "about": line})
    console.table(about.items())
    return 0
