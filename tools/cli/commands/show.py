"""`tensorbundle show`: the values of tensors or regions, or their statistics."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tensorbundle.errors import BundleError
from tensorbundle.specs import shape_text
from tensorbundle.tools.cli.console import escape
from tensorbundle.tools.cli.files import write_array
from tensorbundle.tools.cli.reading import json_number, number_text
from tensorbundle.tools.operations.inspecting.showing import show
from tensorbundle.tools.operations.inspecting.statistics import summarize

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.inspecting.showing import ShownTensor

_MOST_PRINTED: Final = 1000  # values; of a tensor with more, only
_MOST_TENSORS: Final = 10_000  # that are printed, as text for a person
_AT_AN_END: Final = 3  # at each end of a dimension, as NumPy prints arrays
_WIDTH: Final = 100  # columns of printed arrays, if the terminal has them

EXAMPLE = "tensorbundle show run/model.ckpt-1000 'embedding[0:3]' '*/bias'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument(
        "keys", metavar="KEY", nargs="+", help="a name, a region as in 'KEY[0:3,:]', or a pattern"
    )
    parser.add_argument(
        "--stats",
        action="store_true",
        help="print min, max, mean, std, and the numbers of NaN, Inf and zeros",
    )
    parser.add_argument(
        "--full", action="store_true", help="print all values of all tensors, without abbreviation"
    )
    parser.add_argument("--no-verify", action="store_true", help="do not check the checksum")
    parser.add_argument("-o", "--output", metavar="FILE.npy", help="write the values of one tensor to a file")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE.npy if it exists")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the values or their summaries, or write those of one tensor to a file."""
    shown = show(args.checkpoint, args.keys, verify=not args.no_verify)
    if args.output is not None:
        first, *more = itertools.islice(shown, 2)
        if more:
            raise BundleError("-o writes one tensor, and several are given")
        write_array(
            args.output,
            first.dtype,
            first.shape,
            first.runs(),
            of=[args.checkpoint],
            overwrite=args.overwrite,
        )
        shown = iter([first])
    told = False
    for number, each in enumerate(shown):
        if number == _MOST_TENSORS and not (args.full or console.json):
            console.note(
                f"tensorbundle show: only the first {number:,} tensors are printed; --full and --json print all"
            )
            break
        if not each.verified and not args.no_verify and not told:
            told = True
            console.note(
                "tensorbundle show: the checksum was not checked: it covers the whole tensor, and only a region was read"
            )
        _print(each, args, console)
    return 0


def _print(shown: ShownTensor, args: argparse.Namespace, console: Console) -> None:
    shape = list(shown.shape)
    head = {"key": shown.key, "dtype": shown.dtype, "shape": shape, "verified": shown.verified}
    title = f"{escape(shown.name)}  {shown.dtype} {shape_text(shape)}"
    if args.output is not None:
        console.record(head | {"path": args.output})
        console.summary(f"{title} written to {escape(args.output)}")
    elif args.stats:
        stats = summarize(shown.runs())
        console.record(head | {name: _plain(value) for name, value in stats.items()})
        console.text(title)
        console.lines(f"  {name:<5} {number_text(value)}" for name, value in stats.items())
    else:
        if console.json:
            console.record(head | {"values": _plain(shown.values.tolist())})
            return
        lines = _format(shown, full=args.full, width=min(console.width or _WIDTH, _WIDTH)).split("\n")
        console.text(title)
        console.lines(lines)


def _format(shown: ShownTensor, *, full: bool, width: int) -> str:
    whole = full or math.prod(shown.shape) <= _MOST_PRINTED
    values = shown.values if whole else shown.ends(_AT_AN_END)
    if values.dtype == object:
        texts = np.empty(values.shape, object)
        texts.reshape(-1)[:] = [_Text(value) for value in values.reshape(-1)]
        values = texts
    # NumPy shortens a dimension of more than twice `edgeitems`, and does not look at what is between.
    return np.array2string(
        values,
        separator=", ",
        threshold=values.size + 1 if whole else 0,
        edgeitems=_AT_AN_END,
        max_line_width=width,
    )


class _Text:
    """A string element as shown: text in quotes, or bytes if it is not text; long ones are shortened."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def __repr__(self) -> str:
        head = self._value[:200]
        try:
            shown = repr(head.decode())
        except UnicodeDecodeError:
            shown = repr(head)
        return shown if len(head) == len(self._value) else f"{shown}... ({len(self._value)} bytes)"


def _plain(value: Any) -> Any:
    """A value for JSON: complex numbers as pairs, bytes as text, infinities and NaN by name."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    return json_number(float(value))
