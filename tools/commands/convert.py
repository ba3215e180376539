"""`tensorbundle convert`: name-based (TF1) checkpoints to object-based (TF2) ones, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.tools.operations.conversion import plan_conversion
from tensorbundle.tools.writing import add_source_and_destination, add_writing_arguments, carry_out

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.console import Console

HELP = "convert name-based (TF1) to object-based (TF2) checkpoints, or back"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument("--to", required=True, choices=("tf1", "tf2"))
    parser.add_argument(
        "--root",
        metavar="PATH",
        help="the dictionary of variables: Checkpoint(vars={...}) by default; '' for the root object itself",
    )
    parser.add_argument(
        "--names",
        choices=("auto", "keys", "full-names"),
        default="auto",
        help="where TF1 names come from; auto takes the keys of the dictionary, and full names elsewhere",
    )
    parser.add_argument(
        "--no-save-counter",
        action="store_true",
        help="for Checkpoint.read, which must not find the counter that Checkpoint.restore needs",
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Convert, or print the plan."""
    with open_checkpoint(args.source) as checkpoint:
        plan = plan_conversion(
            checkpoint,
            args.destination,
            to=args.to,
            root=args.root,
            names=args.names,
            save_counter=not args.no_save_counter,
        )
        return carry_out(plan, args.destination, args, console)
