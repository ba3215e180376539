"""`tensorbundle stats`: statistics of tensors' values, in one pass."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from tensorbundle.specs import shape_text
from tensorbundle.tools.cli.arguments import add_scheduler
from tensorbundle.tools.cli.console import escape
from tensorbundle.tools.cli.reading import (
    add_jobs,
    add_no_verify,
    add_patterns,
    bytes_of,
    json_number,
    number_text,
    readers,
)
from tensorbundle.tools.operations.inspecting.statistics import stats

if TYPE_CHECKING:
    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.inspecting.statistics import TensorStatistics

EXAMPLE = "tensorbundle stats run/model.ckpt-1000 --fail-on nan,inf"
_NUMBERS: Final = ("min", "max", "mean", "std", "nan", "inf", "zeros")
_FAULTS: Final = ("nan", "inf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")
    add_patterns(parser)
    parser.add_argument(
        "--fail-on",
        type=_faults,
        default=(),
        metavar="nan,inf",
        help="exit with status 1 if a tensor has any of these",
    )
    add_jobs(parser)
    add_scheduler(parser, "read tensors")
    add_no_verify(parser)


def _faults(text: str) -> tuple[str, ...]:
    words = tuple(text.lower().split(","))
    if not set(words) <= set(_FAULTS):
        raise argparse.ArgumentTypeError(f"{text!r} is neither nan, inf nor nan,inf")
    return words


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the statistics; the status is 1 if a tensor has values named by `--fail-on`."""
    rows = [["key", "dtype", "shape", *_NUMBERS]]
    failed = []
    with (
        readers(args) as jobs,
        console.progress("stats", bytes_of(args.checkpoint, args.patterns, console)) as progress,
    ):
        for each in stats(
            args.checkpoint, args.patterns, jobs=jobs, verify=not args.no_verify, progress=progress
        ):
            console.record({name: _plain(value) for name, value in each.to_json().items()})
            rows.append(_row(each))
            if any(getattr(each, fault) for fault in args.fail_on):
                failed.append(each)
    console.table(rows, right=range(3, len(rows[0])))
    for each in failed:
        counts = [f"{getattr(each, fault)} {fault}" for fault in args.fail_on if getattr(each, fault)]
        console.note(f"tensorbundle stats: {escape(each.key)} has {' and '.join(counts)}")
    return 1 if failed else 0


def _row(each: TensorStatistics) -> list[str]:
    numbers = [number_text(getattr(each, name)) for name in _NUMBERS]
    return [escape(each.key), str(each.dtype), shape_text(each.shape), *numbers]


def _plain(value: object) -> object:
    return json_number(value) if isinstance(value, float) else value
