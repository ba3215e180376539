"""`tensorbundle convert`: name-based (TF1) checkpoints to object-based (TF2) ones, and old files to new; and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, run_step
from tensorbundle.tools.operations.converting.conversion import NAMES_FROM, TARGETS
from tensorbundle.tools.operations.steps.conversion import Convert

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle convert run/model.ckpt-1000 for-tf2 --to tf2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument(
        "--to", choices=TARGETS, help="what DST is, if the ending of its name does not say that"
    )
    parser.add_argument(
        "--root",
        metavar="PATH",
        help="the dictionary of variables: Checkpoint(vars={...}) by default; '' for the root object itself; with Keras's "
        "weights, the model's object",
    )
    parser.add_argument(
        "--names",
        choices=NAMES_FROM,
        default="auto",
        help="where TF1 names come from; auto takes the keys of the dictionary, and full names elsewhere",
    )
    parser.add_argument(
        "--no-save-counter",
        dest="save_counter",
        action="store_false",
        help="for Checkpoint.read, which must not find the counter that Checkpoint.restore needs",
    )
    keras = parser.add_argument_group("to .weights.h5 or .h5 of Keras")
    keras.add_argument(
        "--config",
        metavar="FILE",
        help="the model's config, JSON or a .keras file: it has the classes of layers",
    )
    for name, what in (("trainable", "trained"), ("non-trainable", "not trained")):
        keras.add_argument(
            f"--{name}",
            metavar="PATTERN",
            action="append",
            help=f"variables of custom layers that are {what}, if nothing else tells",
        )
    into = parser.add_argument_group("into a given structure")
    into.add_argument(
        "--template",
        metavar="CKPT",
        help="a checkpoint of the program that shall restore DST, saved before training: DST takes its structure; towards "
        ".weights.h5, a weights file that the target model wrote",
    )
    into.add_argument("--structure", metavar="FILE", help="a JSON or TOML file with the objects that DST has")
    into.add_argument(
        "--map",
        metavar="FILE",
        help="with --template: rules from names of SRC to full names or object paths of CKPT, as for 'rename'",
    )
    into.add_argument("--allow-missing", action="store_true", help="what SRC does not have may be missing")
    into.add_argument("--allow-unused", action="store_true", help="what has no place in DST may be left out")
    for name, what in (
        ("learning-rate", "of SGD with momentum"),
        ("beta-1", "of Adam, 0.9 by default"),
        ("beta-2", "of Adam, 0.999 by default"),
    ):
        into.add_argument(f"--{name}", type=float, metavar="X", help=f"{what}, instead of a stored one")
    add_writing_arguments(parser, declared=("allow_unused",))


def run(args: argparse.Namespace, console: Console) -> int:
    """Make the new checkpoint."""
    return run_step(Convert, args, console)
