"""`tensorbundle diff`: the differences of two checkpoints, from their indexes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import listed
from tensorbundle.specs import Spec
from tensorbundle.tools.cli.arguments import add_scheduler
from tensorbundle.tools.cli.console import columns, counted, escape, left_out_lines
from tensorbundle.tools.cli.reading import (
    add_jobs,
    add_no_verify,
    add_patterns,
    bytes_of,
    json_number,
    number_text,
    readers,
)
from tensorbundle.tools.operations.comparing.differences import diff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.comparing.differences import Comparison, Difference, TensorSummary

EXAMPLE = "tensorbundle diff run/model.ckpt-1000 run/model.ckpt-2000 'encoder/*'"
_COLOURS = {"added": "good", "removed": "bad", "same": None}  # the others are changed
_SHOWN: Final = 3
_MARKS: Final = {"added": "+", "removed": "-", "renamed": ">", "same": "="}
# How the last line counts changes whose names are no adjectives.
_COUNTED: Final = {"dtype": "of another type", "shape": "of another shape", "value": "with other values"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="A")
    parser.add_argument("other", metavar="B")
    add_patterns(parser)
    parser.add_argument(
        "--recipe",
        metavar="FILE.toml",
        action="append",
        default=[],
        help="compare with B what 'rewrite' would make of A with this recipe, or with one that 'recipes' lists; may be "
        "repeated",
    )
    parser.add_argument("--map", metavar="FILE", help="rename A's tensors first, as 'rename --map FILE'")
    parser.add_argument(
        "--values",
        action="store_true",
        help="read the tensors that differ, and print the differences of values",
    )
    parser.add_argument(
        "--rtol",
        type=_tolerance,
        default=0.0,
        metavar="X",
        help="with --values: |a-b| <= atol + rtol*|b| is equal",
    )
    parser.add_argument("--atol", type=_tolerance, default=0.0, metavar="X", help="see --rtol")
    parser.add_argument("--all", action="store_true", help="list equal tensors, too")
    add_jobs(parser)
    add_scheduler(parser, "read tensors")
    add_no_verify(parser)


def _tolerance(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the differences and their number; the status is 1 if there are any."""
    if (args.rtol or args.atol) and not args.values:
        args.values = True
    total = bytes_of(args.checkpoint, (), console) if args.values else 0
    with readers(args) as jobs, console.progress("diff", total) as progress:
        found = diff(
            args.checkpoint,
            args.other,
            args.patterns,
            recipe=args.recipe,
            map=args.map,
            values=args.values,
            rtol=args.rtol,
            atol=args.atol,
            jobs=jobs,
            verify=not args.no_verify,
            progress=progress,
        )
    shown = [each for each in found.differences if args.all or each.change != "same"]
    for each in shown:
        console.record(_record(each))
    for left in found.left_out:
        console.record({"key": left.key, "left_out": left.reason})
    console.record(found.counts)
    for line, each in zip(columns(map(_row, shown), width=console.width), shown, strict=True):
        console.text(line, _COLOURS.get(each.change, "changed"))
    console.lines(_totals(found, everything=args.all))
    return 0 if found.equal else 1


def _record(each: Difference) -> dict[str, object]:
    fields = each.to_json()
    if each.values is not None:
        fields |= {"max_abs": json_number(each.values.max_abs), "max_rel": json_number(each.values.max_rel)}
    return fields


def _totals(found: Comparison, *, everything: bool) -> Iterator[str]:
    counts = [f"{count} {_COUNTED.get(change, change)}" for change, count in found.counts.items() if count]
    yield ", ".join(counts) if counts else "no tensors"
    if found.only_graph is not None:
        yield f"only {escape(found.only_graph)} has an object graph"
    yield from left_out_lines(found.left_out, everything=everything, option="--all")
    if found.doubtful:
        shown = listed(map(escape, found.doubtful), most=_SHOWN)
        yield f"compared by key, although their names differ, and they may be other variables: {shown}"


def _row(each: Difference) -> list[str]:
    name = escape(each.key) + ("" if each.to is None else f" -> {escape(each.to)}")
    what = [_spec(side) for side in (each.a, each.b) if side is not None]
    spec = " -> ".join(dict.fromkeys(what))
    if each.values is not None:
        elements = (
            f"{counted(each.values.different, 'element')} differ{'s' if each.values.different == 1 else ''}"
        )
        apart = f", by up to {number_text(each.values.max_abs)}" if each.values.max_abs is not None else ""
        relative = f", relative {number_text(each.values.max_rel)}" if each.values.max_rel is not None else ""
        spec += f"  {elements}{apart}{relative}"
    return [_MARKS.get(each.change, "~"), each.change, name, spec]


def _spec(summary: TensorSummary) -> str:
    return str(Spec(summary.dtype, summary.shape))
