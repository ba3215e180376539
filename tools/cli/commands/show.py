"""`tensorbundle show`: the values of one tensor, of a region of it, or what can be said of them in a few numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError, UnsupportedError
from tensorbundle.slices import shape_text
from tensorbundle.tools.cli.console import escape
from tensorbundle.tools.cli.reading import json_number, number_text
from tensorbundle.tools.operations.inspecting.statistics import summarize

if TYPE_CHECKING:
    import argparse

    from tensorbundle.checkpoint import Array, Checkpoint
    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle show run/model.ckpt-1000 'embedding[0:3]'"
_REGION = re.compile(r"(?P<key>.*)\[(?P<region>[^\[\]]*)\]", re.DOTALL)
_INTEGER = r"-?\d{1,100}"
_SLICE = re.compile(f"({_INTEGER})?:({_INTEGER})?(?::({_INTEGER})?)?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("key", metavar="KEY", help="a key, or a region as in 'KEY[0:3,:]'")
    parser.add_argument(
        "--stats", action="store_true", help="min, max, mean, std, and how many NaN, Inf, zeros"
    )
    parser.add_argument("--full", action="store_true", help="every value, however many there are")
    parser.add_argument("--no-verify", action="store_true", help="do not check the checksum")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the values or their summary."""
    with open_checkpoint(args.checkpoint, verify=not args.no_verify) as checkpoint:
        key, region = _locate(checkpoint, args.key)
        entry = checkpoint.entry(key)
        try:
            values = checkpoint.read(key, region)
        except BundleError as error:
            raise error.locate(path=checkpoint.prefix, key=key) from None
        verified = checkpoint.index.file_format == "v1" or (region is None and not args.no_verify)
        head = {"key": key, "dtype": entry.dtype, "shape": list(values.shape), "verified": verified}
        title = f"{escape(args.key if region is not None else key)}  {entry.dtype} {shape_text(values.shape)}"
        if not verified and not args.no_verify:
            console.note(
                "tensorbundle show: a region; the checksum covers the whole tensor and was not checked"
            )
        if args.stats:
            stats = summarize(values)
            console.record(head | {name: _plain(value) for name, value in stats.items()})
            console.text(title)
            console.lines(f"  {name:<5} {number_text(value)}" for name, value in stats.items())
        else:
            if console.json:
                console.record(head | {"values": _plain(values.tolist())})
            console.text(title)
            console.lines(_format(values, full=args.full).split("\n"))
    return 0


def _locate(checkpoint: Checkpoint, text: str) -> tuple[str, object]:
    """The key and the region that are meant, by any name of a tensor, which may itself end in brackets."""
    found = _REGION.fullmatch(text)
    if found is None or checkpoint.naming.find(text) is not None:
        return checkpoint.key_of(text), None
    key = checkpoint.key_of(found["key"])
    try:
        return key, parse_region(found["region"])
    except BundleError as error:
        raise error.locate(path=checkpoint.prefix, key=key) from None


def parse_region(text: str) -> tuple[Any, ...]:
    """The NumPy index that `0:3,:,-1` means: integers, slices and an ellipsis.

    Raises:
        UnsupportedError: anything else.
    """
    items: list[Any] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        bounds = _SLICE.fullmatch(part)
        if part == "...":
            items.append(...)
        elif bounds:
            chosen = slice(*(int(each) if each else None for each in bounds.groups()))
            if chosen.step == 0:
                raise UnsupportedError(f"region [{text}]: the step of {part!r} is 0")
            items.append(chosen)
        elif re.fullmatch(_INTEGER, part):
            items.append(int(part))
        else:
            raise UnsupportedError(f"region [{text}]: {part!r} is neither a number nor a slice such as 0:3")
    return tuple(items)


def _format(values: Array, *, full: bool) -> str:
    if values.dtype == object:
        shown = np.empty(values.shape, object)
        shown.reshape(-1)[:] = [_Text(value) for value in values.reshape(-1)]
        values = shown
    return np.array2string(
        values, separator=", ", threshold=values.size + 1 if full else 1000, max_line_width=100
    )


class _Text:
    """A string element as it is shown: text in quotes, or the bytes where it is not text; long ones cut."""

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
    """A value as JSON has it: complex numbers as pairs, bytes as text, what is not finite by its name."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    return json_number(float(value))
