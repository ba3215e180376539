"""Byte ranges of a file, merged and cut for reading over a network: a sort and a sweep, whatever their number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["GAP_BYTES", "PART_BYTES", "Span", "cut", "joined", "merged"]

GAP_BYTES: Final = 64 << 10  # between two ranges, which take less time than another request
PART_BYTES: Final = 8 << 20  # of one request; long enough that latency is small beside it


class Span(NamedTuple):
    """A range of bytes.

    Attributes:
        offset: of the first one.
        size: how many.
    """

    offset: int
    size: int

    @property
    def end(self) -> int:
        """The offset after the last one."""
        return self.offset + self.size


def merged(ranges: Iterable[tuple[int, int]], gap: int = GAP_BYTES) -> list[Span]:
    """Spans in ascending order that have all of the ranges, with at most `gap` bytes between two of them; none is empty."""
    out: list[Span] = []
    for offset, size in sorted(each for each in ranges if each[1]):
        if out and offset <= out[-1].end + gap:
            first = out[-1].offset
            out[-1] = Span(first, max(out[-1].end, offset + size) - first)
        else:
            out.append(Span(offset, size))
    return out


def joined(ranges: Iterable[tuple[int, int]], gap: int = GAP_BYTES) -> Iterator[Span]:
    """The ranges in their order, those that follow the one before within `gap` bytes joined with it; none is empty."""
    last = Span(0, 0)
    for offset, size in ranges:
        if last.size and last.end <= offset <= last.end + gap:
            last = Span(last.offset, offset + size - last.offset)
        elif size:
            if last.size:
                yield last
            last = Span(offset, size)
    if last.size:
        yield last


def cut(spans: Iterable[Span], size: int = PART_BYTES) -> Iterator[Span]:
    """The spans, in parts of at most so many bytes."""
    for span in spans:
        for offset in range(span.offset, span.end, size):
            yield Span(offset, min(size, span.end - offset))
