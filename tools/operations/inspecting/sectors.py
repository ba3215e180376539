"""Damaged sectors: 512 bytes that a disk lost or mixed up, or several such in a row, among the bytes of tensors.

A checksum says that a tensor is wrong, and not where. What the sector contains may tell: one byte over and over, the bytes of
another sector, or numbers that are nowhere else in the tensor.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.operations.explaining.catalogue import cause_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tensorbundle.entries import TensorEntry

__all__ = ["common_sector", "sector_in"]

_SIZE: Final = 512
_SIZES: Final = (_SIZE, 4096)
_HALF: Final = _SIZE // 2  # an aligned one is in every run of as many bytes as a sector has
_FEW: Final = 4  # a byte in one of so many sectors is usual, and no more than one of so many is damaged
_LEAST_SECTORS: Final = 8
_BESIDE: Final = 8  # one of so many numbers beside damaged sectors may be unusual
_FOREIGN: Final = 16  # different bytes in a sector that are unusual


def common_sector(entries: Iterable[TensorEntry]) -> str | None:
    """The sector that several damaged tensors all have bytes in, if there is one."""
    places = [(each.offset, each.offset + each.nbytes - 1) for each in entries if each.nbytes]
    if len(places) < 2:
        return None
    for size in _SIZES:
        first = max(start // size for start, _ in places)
        last = min(end // size for _, end in places)
        if first == last:
            return cause_line(
                "damaged-sector", size=size, start=first * size, how="are in all of these tensors"
            )
    return None


def sector_in(entry: TensorEntry, data: bytes, *, big_endian: bool) -> str | None:
    """The sector among the bytes of a damaged tensor of numbers that its contents give away, if there is one."""
    return (
        _constant(entry.offset, data)
        or _repeated(entry.offset, data)
        or _foreign(entry, data, big_endian=big_endian)
    )


def _constant(offset: int, data: bytes) -> str | None:
    """A run of one byte."""
    runs = list(islice(_runs(data), 2))
    if len(runs) == 1:
        start, stop = (offset + each for each in runs[0])
        # Several such runs, or one of most of the tensor, may be valid values.
        if (start % _SIZE == 0 or stop % _SIZE == 0) and 2 * (stop - start) < len(data):
            how = f"are all {data[runs[0][0]]:#04x}"
            return cause_line("damaged-sector", size=stop - start, start=start, how=how)
    return None


def _runs(data: bytes) -> Iterator[tuple[int, int]]:
    """The start and end of each run of one byte, other than zero, that is as long as a sector."""
    at = 0
    while at + _HALF <= len(data):
        one = data[at : at + 1]
        same = one * _HALF
        if one == b"\0" or data[at + _HALF - 1] != data[at] or data[at : at + _HALF] != same:
            at += _HALF
            continue
        before = data[max(0, at - _HALF) : at]
        start, stop = at - len(before) + len(before.rstrip(one)), at + _HALF
        while data[stop : stop + _HALF] == same:
            stop += _HALF
        after = data[stop : stop + _HALF]
        stop += len(after) - len(after.lstrip(one))
        if stop - start >= _SIZE:
            yield start, stop
        at = -(-stop // _HALF) * _HALF


def _repeated(offset: int, data: bytes) -> str | None:
    """A sector that is the same as an earlier one."""
    seen: dict[bytes, int] = {}
    twice = []
    for at in range(-offset % _SIZE, len(data) - _SIZE + 1, _SIZE):
        sector = data[at : at + _SIZE]
        if sector in seen:
            twice.append((seen[sector], at))
        seen.setdefault(sector, at)
    if len(twice) == 1 and len(seen) >= _LEAST_SECTORS:
        first, second = (offset + each for each in twice[0])
        return cause_line(
            "damaged-sector", size=_SIZE, start=second, how=f"are the same as those from offset {first:#x} on"
        )
    return None


def _foreign(entry: TensorEntry, data: bytes, *, big_endian: bool) -> str | None:
    """Sectors in a row of numbers that are not like the others of the tensor.

    The byte of a number with its sign and most of its exponent, or its highest digits, has few values among weights or
    counts, and any among bytes that are none.
    """
    width = entry.dtype.swap_width
    place = 0 if big_endian else width - 1  # of this byte
    first = entry.offset // _SIZE
    highest = []  # these bytes, sector by sector
    for stop in range((first + 1) * _SIZE - entry.offset, len(data) + _SIZE, _SIZE):
        start = max(0, stop - _SIZE)
        highest.append(data[start + (place - start) % width : stop : width])
    if len(highest) < _LEAST_SECTORS:
        return None
    counts: Counter[int] = Counter()
    for each in highest:
        counts.update(set(each))
    usual = bytes(value for value, count in counts.items() if _FEW * count > len(highest))
    unusual = [each.translate(None, usual) for each in highest]
    found = [
        number
        for number, (few, each) in enumerate(zip(unusual, highest, strict=True))
        if 2 * len(few) > len(each) and len(set(few)) >= _FOREIGN
    ]
    if not found or found[-1] - found[0] >= len(found) or _FEW * len(found) > len(highest):
        return None
    for beside in (found[0] - 1, found[-1] + 1):  # other damage does not end where a sector does
        if 0 <= beside < len(highest) and _BESIDE * len(unusual[beside]) > len(highest[beside]):
            return None
    return cause_line(
        "damaged-sector",
        size=_SIZE * len(found),
        start=_SIZE * (first + found[0]),
        how="are not like the rest of the tensor",
    )
