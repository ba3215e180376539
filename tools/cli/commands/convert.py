"""`tensorbundle convert`: name-based (TF1) checkpoints to object-based (TF2) ones, and old files to new; and back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.slices import readable_key
from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, carry_out
from tensorbundle.tools.operations.converting.conversion import plan_conversion, rules_of
from tensorbundle.tools.operations.converting.fitting import MISSING, Fitting
from tensorbundle.tools.operations.converting.structures import read_structure

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

HELP = "convert name-based (TF1) to object-based (TF2), or V1 files to V2; or back"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument("--to", required=True, choices=("tf1", "tf2", "v1", "v2"))
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
    fitting = parser.add_argument_group("into a given structure")
    fitting.add_argument(
        "--template",
        metavar="CKPT",
        help="a checkpoint of the program that shall restore DST, saved before training: DST takes its structure",
    )
    fitting.add_argument(
        "--structure", metavar="FILE", help="a JSON or TOML file with the objects that DST has"
    )
    fitting.add_argument(
        "--map",
        metavar="FILE",
        help="with --template: rules from names of SRC to full names or object paths of CKPT, as for 'rename'",
    )
    fitting.add_argument("--allow-missing", action="store_true", help="what SRC does not have may be missing")
    fitting.add_argument(
        "--allow-unused", action="store_true", help="what has no place in DST may be left out"
    )
    for name, what in (
        ("learning-rate", "of SGD with momentum"),
        ("beta-1", "of Adam, 0.9 by default"),
        ("beta-2", "of Adam, 0.999 by default"),
    ):
        fitting.add_argument(f"--{name}", type=float, metavar="X", help=f"{what}, instead of a stored one")
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Convert, or print the plan."""
    fitting = Fitting(args.allow_missing, args.allow_unused, args.learning_rate, args.beta_1, args.beta_2)
    with contextlib.ExitStack() as stack:
        checkpoint = stack.enter_context(open_checkpoint(args.source))
        plan = plan_conversion(
            checkpoint,
            args.destination,
            to=args.to,
            root=args.root,
            names=args.names,
            save_counter=not args.no_save_counter,
            template=stack.enter_context(open_checkpoint(args.template)) if args.template else None,
            structure=read_structure(args.structure) if args.structure else None,
            rules=rules_of(args.map),
            fitting=fitting,
        )
        status = carry_out(plan, args.destination, args, console)
        for key, how in plan.matched.items():
            if how == MISSING:
                console.note(f"{readable_key(key)}: {how}")
        return status
