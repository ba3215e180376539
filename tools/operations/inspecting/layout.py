"""How entries cover the bytes of a data shard: bytes that no entry refers to, and bytes that several refer to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Layout", "Overlap"]


class Overlap(NamedTuple):
    """Two entries with bytes in common.

    Attributes:
        first: the key of the one that begins first.
        second: the key of the other.
        start: offset of the first common byte.
        stop: offset after the last.
    """

    first: bytes
    second: bytes
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How entries cover one data shard. Takes time in proportion to n log n, whatever overlaps.

    Attributes:
        holes: runs of bytes that no entry refers to, as offsets of the first byte and after the last.
        overlaps: entries that begin inside another one, each with the one that ends last; no equal ranges.
        aliases: entries of more than 0 bytes whose range another entry has too; each key with the first such key.
    """

    holes: tuple[tuple[int, int], ...]
    overlaps: tuple[Overlap, ...]
    aliases: tuple[tuple[bytes, bytes], ...]

    @property
    def dead_bytes(self) -> int:
        """Bytes that no entry refers to."""
        return sum(stop - start for start, stop in self.holes)

    @classmethod
    def of(cls, ranges: Iterable[tuple[bytes, int, int]], size: int) -> Layout:
        """The layout of a data shard of `size` bytes; each range is a key, an offset and a number of bytes."""
        holes: list[tuple[int, int]] = []
        overlaps: list[Overlap] = []
        aliases: list[tuple[bytes, bytes]] = []
        end, reaching = 0, b""  # of the ranges so far
        last: tuple[int, int, bytes] | None = None
        for key, offset, nbytes in sorted(ranges, key=lambda each: (each[1], -each[2], each[0])):
            if not nbytes:
                continue
            stop = offset + nbytes
            if last is not None and last[:2] == (offset, stop):
                aliases.append((key, last[2]))
                continue
            last = offset, stop, key
            if offset < end:
                overlaps.append(Overlap(reaching, key, offset, min(stop, end)))
            elif offset > end and end < size:
                holes.append((end, min(offset, size)))
            if stop > end:
                end, reaching = stop, key
        if end < size:
            holes.append((end, size))
        return cls(tuple(holes), tuple(overlaps), tuple(aliases))
