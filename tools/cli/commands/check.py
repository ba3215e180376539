"""`tensorbundle check`: a forecast of restoring a checkpoint into a program."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.cli.console import columns, counted, escape, shell
from tensorbundle.tools.operations.restoring.causes import find_causes
from tensorbundle.tools.operations.restoring.forecasting import RestoreTarget, Source, predict

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.restoring.advice import Arguments, FoundCause
    from tensorbundle.tools.operations.restoring.outcomes import Forecast, Status

EXAMPLE = "tensorbundle check run/ckpt-1 --against fresh-1"
_EXAMPLES: Final = 3  # of a cause
_WORDS: Final[dict[Status, str]] = {
    "restored": "restored",
    "missing": "missing in A",
    "unused": "in A unused",
    "shape": "of another shape",
    "dtype": "of another dtype",
    "dangling": "dangling",
}
_LEFT: Final = {"kept": "with B's own values", "left_out": "of A left out"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="A")
    parser.add_argument(
        "--against",
        required=True,
        metavar="B",
        help="a checkpoint that the program wrote, its SavedModel, a structure file (.json, .toml), or a weights file "
        "that a model of Keras 3 wrote",
    )
    parser.add_argument(
        "--with",
        dest="method",
        choices=("restore", "read"),
        default="restore",
        help="the method of tf.train.Checkpoint: restore (the default), which needs a save counter, or read",
    )
    parser.add_argument("--all", action="store_true", help="list every object")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the forecast; the status is 1 if anything does not match."""
    source, target = Source.read(args.checkpoint), RestoreTarget.read(args.against)
    found = predict(source, target, args.method)
    if console.json:
        for each in found.findings:
            console.record(each.to_json())
        console.record(found.assertions())
    causes = find_causes(found, source, target)
    for cause in causes:
        console.record(
            {
                "kind": cause.kind,
                "cause": cause.what,
                "examples": _examples(cause)[:_EXAMPLES],
                "commands": [_command(each) for each, _ in cause.commands],
                "leaves": [leaves for _, leaves in cause.commands],
            }
        )
    if not console.json:
        console.lines(_text(found, causes, everything=args.all, width=console.width))
    return 1 if found.found else 0


def _text(
    found: Forecast, causes: Sequence[FoundCause], *, everything: bool, width: int | None
) -> Iterator[str]:
    if found.failure is not None:
        yield f"{'load_weights' if found.way == 'keras' else found.method} raises {found.failure}"
    elif found.way == "keras":
        yield "model.load_weights loads it"
    elif found.way == "saver":
        yield "tf.compat.v1.train.Saver restores"
    else:
        rows: list[list[str]] = []
        for name, value in found.assertions().items():
            again = rows and value is not True and rows[-1][1] == f"fails: {value}"
            rows.append(
                [
                    name,
                    "passes"
                    if value is True
                    else "fails for the same reason"
                    if again
                    else f"fails: {value}",
                ]
            )
        yield from columns(rows, width=width)
    counts = Counter(each.status for each in found.findings)
    parts = [f"{counts[status]} {word}" for status, word in _WORDS.items() if counts[status]]
    yield (
        f"{counted(len(found.findings), 'object')}: {', '.join(parts)}" if parts else "no objects with values"
    )
    for number, cause in enumerate(causes, 1):
        yield ""
        yield f"{number}. {cause.what}"
        examples = [escape(each) for each in _examples(cause)]
        for each in examples[:_EXAMPLES]:
            yield f"   {each}"
        if len(examples) > _EXAMPLES:
            yield f"   and {len(examples) - _EXAMPLES} more"
        if cause.command:
            yield f"   $ {escape(_command(cause.command))}"
            if cause.leaves:
                yield f"     leaves {_left(cause.leaves)}"
        for advice in cause.advice:
            leaves = f" (leaves {_left(advice.leaves)})" if advice.leaves else ""
            yield f"   - {advice.text}{leaves}" + (
                f": {escape(_command(advice.command))}" if advice.command else ""
            )
    if everything and found.findings:
        yield ""
        rows = [[each.status, escape(each.path), each.detail] for each in found.findings]
        yield from columns(rows, width=width)


def _examples(cause: FoundCause) -> list[str]:
    """The examples of a cause: its own, or its findings."""
    return list(cause.examples) or [
        f"{each.status} {each.path or '(root)'}: {each.detail}" for each in cause.findings
    ]


def _left(leaves: dict[str, int]) -> str:
    """What a command leaves, in the order of `_WORDS`."""
    return ", ".join(f"{leaves[what]} {word}" for what, word in (_WORDS | _LEFT).items() if what in leaves)


def _command(arguments: Arguments) -> str:
    return shell(*map(str, arguments))
