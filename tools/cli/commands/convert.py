"""`tensorbundle convert`: between name-based (TF1) and object-based (TF2) checkpoints, and between file formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, run_step
from tensorbundle.tools.formats.outputs import HDF5_ENDINGS
from tensorbundle.tools.operations.converting.conversion import NAMES_FROM, TARGETS
from tensorbundle.tools.operations.steps.conversion import Convert

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

_KERAS_ENDINGS: Final = (*HDF5_ENDINGS, ".keras", ".weights.json")
EXAMPLE = "tensorbundle convert run/model.ckpt-1000 for-tf2 --to tf2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument(
        "--to",
        choices=TARGETS,
        help="the kind of checkpoint to write, unless the ending of DST gives a format",
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
        help="the source of TF1 names; auto uses the keys of the dictionary, and full names elsewhere",
    )
    parser.add_argument(
        "--no-save-counter",
        dest="save_counter",
        action="store_false",
        help="add no save counter, which Checkpoint.restore needs and Checkpoint.read must not find",
    )
    keras = parser.add_argument_group("to .weights.h5 or .h5 of Keras")
    keras.add_argument(
        "--config",
        metavar="FILE",
        help="the model's config with the classes of layers: JSON or a .keras file",
    )
    for name, what in (("trainable", "trained"), ("non-trainable", "not trained")):
        keras.add_argument(
            f"--{name}",
            metavar="PATTERN",
            action="append",
            help=f"variables of custom layers that are {what}, if not known otherwise",
        )
    keras.add_argument(
        "--keras",
        choices=("2", "3"),
        help="the Keras that loads or wrote the file, where it has layers in another order than the other; 2 is also tf_keras",
    )
    into = parser.add_argument_group("into a given structure")
    into.add_argument(
        "--template",
        metavar="CKPT",
        help="a checkpoint that the target program saved before training: DST gets its structure; for "
        ".weights.h5, a weights file written by the target model",
    )
    into.add_argument("--structure", metavar="FILE", help="a JSON or TOML file with the objects of DST")
    into.add_argument(
        "--map",
        metavar="FILE",
        help="with --template: rules from names of SRC to full names or object paths of CKPT, as for 'rename'",
    )
    into.add_argument(
        "--allow-missing",
        action="store_true",
        help="allow objects of the template that SRC has no values for",
    )
    into.add_argument(
        "--allow-unused", action="store_true", help="leave out tensors of SRC that DST has no object for"
    )
    into.add_argument(
        "--allow-reshape",
        action="store_true",
        help="values may get the shape that CKPT has for them if it has as many elements, as [768,768] to [768,12,64]",
    )
    for name, what in (
        ("learning-rate", "of SGD with momentum"),
        ("beta-1", "of Adam, 0.9 by default"),
        ("beta-2", "of Adam, 0.999 by default"),
    ):
        into.add_argument(f"--{name}", type=float, metavar="X", help=f"{what}, instead of a stored one")
    add_writing_arguments(parser, declared=("allow_unused",))


def run(args: argparse.Namespace, console: Console) -> int:
    """Make the new checkpoint."""
    return run_step(Convert, args, console, proof=_proof(args))


def _proof(args: argparse.Namespace) -> list[str] | None:
    """The options with which `diff` pairs all tensors of both; None if it may not know all that the conversion was told."""
    told = (args.root is not None and args.to is None) or args.trainable or args.non_trainable
    into_program = args.to is not None and (args.template or args.structure) is not None
    if told or (into_program and not args.source.endswith(_KERAS_ENDINGS)):
        return None
    return [] if args.map is None else ["--map", args.map]
