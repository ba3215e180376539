"""Data shards that were copied as text: with other line endings, or decoded and encoded."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.coding import crc32c, find_lost
from tensorbundle.tools.operations.explaining.catalogue import cause_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorbundle.entries import TensorEntry

__all__ = ["REPLACEMENT", "conversion_of_shard"]

REPLACEMENT: Final = b"\xef\xbf\xbd"  # decoders of UTF-8 put this in place of invalid bytes
_FILE_BYTES: Final = 64 << 20  # of a data shard that is examined
_MOST_TENSORS: Final = 32  # with wrong checksums that are examined
_MOST_LOST: Final = 32  # carriage returns before a tensor that are looked for
_TRIED_FEEDS: Final = 4096  # that may have been after a carriage return
_FEW_FEEDS: Final = 1000  # two of many would be found by chance
_COUNTS: Final[tuple[Literal[1, 2], ...]] = (1, 2)  # returns lost in one tensor that are found
_MANY_FEEDS: Final = 1500  # one in 256 of which is after a carriage return, if the bytes are random
_MANY_BYTES: Final = 224  # different bytes before line feeds, which are then random


def conversion_of_shard(
    read: Callable[[int, int], bytes], size: int, entries: Sequence[TensorEntry]
) -> str | None:
    """The cause that a whole data shard was copied as text, or None.

    Args:
        read: returns bytes of the file by offset and number.
        size: of the file.
        entries: of all tensors in it, also where it is too short for them.
    """
    if size > _FILE_BYTES:
        return None
    data = read(0, size)
    grown = size - max((each.offset + each.nbytes for each in entries), default=0)
    feeds, pairs = data.count(b"\n"), data.count(b"\r\n")
    if pairs and feeds == pairs == grown:
        return cause_line("line-endings", how="LF became CRLF")
    if (
        not pairs
        and 0 < -grown <= feeds
        and (_are_random_but_returns(data, feeds) or _lacks_return(data, -grown, entries))
    ):
        return cause_line("line-endings", how="CRLF became LF")
    if data.count(REPLACEMENT) > 2 + len(data) // 1000:
        return cause_line("text-conversion", count=data.count(REPLACEMENT))
    return None


def _are_random_but_returns(data: bytes, feeds: int) -> bool:
    """Whether so many different bytes are before line feeds that carriage returns among them were removed."""
    if feeds < _MANY_FEEDS:
        return False
    before = set()
    at = data.find(b"\n", 1)
    while at > 0:
        before.add(data[at - 1])
        at = data.find(b"\n", at + 1)
    return len(before) >= _MANY_BYTES


def _lacks_return(data: bytes, lost: int, entries: Sequence[TensorEntry]) -> bool:
    """Whether the checksum of a tensor is right with a carriage return before one or two of its line feeds.

    Args:
        data: of the file.
        lost: bytes that it lacks.
        entries: of all tensors in it.
    """
    gone = tried = wrong = 0  # bytes lost before a tensor; line feeds, and tensors, that were examined
    ordered = sorted(entries, key=lambda each: (each.offset, each.nbytes))
    for each in (each for each in ordered if each.dtype.itemsize and each.nbytes):
        places = range(gone, min(lost, gone + _MOST_LOST) + 1)
        found = next((place for place in places if _is_at(data, each.offset - place, each)), None)
        if found is not None:
            gone = found
            continue
        wrong += 1
        for place, count in product(places[:-1], _COUNTS):
            start = each.offset - place
            part = data[start : start + each.nbytes - count]
            feeds = [found.start() for found in re.finditer(b"\n", part)]
            tried += len(feeds)
            if wrong > _MOST_TENSORS or tried > _TRIED_FEEDS:
                return False
            if count == 2 and len(feeds) > _FEW_FEEDS:
                continue
            if find_lost(part, feeds, b"\r", count, each.crc32c) is not None:
                return True
    return False


def _is_at(data: bytes, start: int, entry: TensorEntry) -> bool:
    part = memoryview(data)[start : start + entry.nbytes]
    return len(part) == entry.nbytes and crc32c(part) == entry.crc32c
