"""`tensorbundle rename`: rename tensors or objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, run_step
from tensorbundle.tools.operations.steps.naming import Rename

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle rename run/model.ckpt-1000 renamed old/=new/ 'a/*=b/*'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument(
        "rules", metavar="OLD=NEW", nargs="*", help="whole names, scopes ('old/=new/') or globs ('a*=b*')"
    )
    parser.add_argument("--map", metavar="FILE", help="OLD=NEW lines, or a TensorFlow assignment map")
    parser.add_argument(
        "--regex",
        metavar="PATTERN=>REPLACEMENT",
        action="append",
        default=[],
        help="as re.sub; may be repeated",
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Make the new checkpoint."""
    by_map = args.map is not None and not args.rules and not args.regex
    return run_step(Rename, args, console, proof=["--map", args.map] if by_map else None)
