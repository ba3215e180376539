"""Cuts what is read, checked and written into pieces of about one size, which threads or machines move at the same time.

The checksum of a whole follows from those of its parts (`combine_crc32c`), so that one tensor of gigabytes takes as
little time as many small ones.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorbundle.coding import combine_crc32c, crc32c
from tensorbundle.tools.rewriting.ranges import TensorRange, runs, stream_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tensorbundle.errors import CorruptionError
    from tensorbundle.storage.protocols import Buffer
    from tensorbundle.tools.rewriting.expressions import Expression
    from tensorbundle.tools.rewriting.ranges import OpenFiles
    from tensorbundle.tools.rewriting.reading import Reading

__all__ = ["PIECE_BYTES", "Computed", "Content", "Moved", "Part", "Piece", "Whole", "cut", "move"]


PIECE_BYTES: Final = 16 << 20  # what a thread moves at a time


@dataclass(frozen=True, slots=True)
class Computed:
    """The elements `start` to `stop`, in C order, of a tensor of numbers that is computed."""

    expression: Expression
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """Their size."""
        return (self.stop - self.start) * self.expression.dtype.itemsize


Content = TensorRange | bytes | Computed  # of an entry: stored in a source, known, or computed


class Part(NamedTuple):
    """A whole content, or a part of one.

    Attributes:
        number: of the content, counted from 0.
        content: what is moved.
        starts: whether it is the first part of the content.
        ends: whether it is the last one.
    """

    number: int
    content: Content
    starts: bool
    ends: bool

    @property
    def nbytes(self) -> int:
        """Its size."""
        return _nbytes(self.content)


class Piece(NamedTuple):
    """Parts that follow each other.

    Attributes:
        offset: bytes before it.
        parts: at least one.
    """

    offset: int
    parts: list[Part]


def cut(contents: Iterable[Content], size: int) -> Iterator[Piece]:
    """Contents in pieces of `size` bytes, the last one of fewer.

    A content that has to be moved as a whole is not cut: strings, and values that are decoded from their beginning on. A
    piece is then smaller or larger.
    """
    offset = filled = 0
    parts: list[Part] = []
    for number, content in enumerate(contents):
        total = _nbytes(content)
        start = 0
        while total - start > size - filled:
            take = _most(content, max(0, size - filled))
            if take:
                parts.append(Part(number, _part(content, start, take), not start, ends=False))
                start += take
                filled += take
            if not parts:
                break
            yield Piece(offset, parts)
            offset += filled
            parts, filled = [], 0
        rest = _part(content, start, total - start) if start else content
        parts.append(Part(number, rest, not start, ends=True))
        filled += total - start
    if parts:
        yield Piece(offset, parts)


def _nbytes(content: Content) -> int:
    if isinstance(content, TensorRange):
        return content.stored.nbytes
    return len(content) if isinstance(content, bytes) else content.nbytes


def _most(content: Content, size: int) -> int:
    """The most bytes, up to `size`, that a content can be cut after."""
    if isinstance(content, bytes):
        return size
    if isinstance(content, TensorRange):
        return size if content.dtype.itemsize else 0
    from tensorbundle.tools.rewriting.expressions import elements_at_once

    if any(source.is_decoded for source in content.expression.inputs()):
        return 0
    chunk = elements_at_once(content.expression) * content.expression.dtype.itemsize
    return size // chunk * chunk


def _part(content: Content, start: int, size: int) -> Content:
    if isinstance(content, bytes):
        return content[start : start + size]
    if isinstance(content, TensorRange):
        stored = content.stored._replace(offset=content.stored.offset + start, nbytes=size, crc32c=None)
        return replace(content, stored=stored)
    first, count = start // content.expression.dtype.itemsize, size // content.expression.dtype.itemsize
    return Computed(content.expression, content.start + first, content.start + first + count)


@dataclass(slots=True)
class Moved:
    """What was done with a piece.

    Attributes:
        checksums: of each part, of those that were computed or were known before.
        bytes_read: of ranges.
        readings: of each part that was computed, by the number of the content; inputs are not checked yet.
    """

    checksums: list[int]
    bytes_read: int
    readings: dict[int, Reading]


def move(
    piece: Piece,
    files: OpenFiles,
    write: Callable[[Buffer], object] | None = None,
    *,
    buffers: int = 1,
    verify: bool = True,
    failed: Callable[[TensorRange, CorruptionError], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Moved:
    """Read or compute a piece, and check and write it.

    Args:
        piece: as `cut` makes it.
        files: open files, which are used again.
        write: takes each chunk, if given.
        buffers: as in `stream_ranges`.
        verify: whether checksums of ranges are checked; those of parts can't be here.
        failed: as in `stream_ranges`.
        progress: told how many bytes were read since it was last called.

    Raises:
        CorruptionError, MissingFileError, UnreadableFileError: as `stream_ranges`.
    """
    moved = Moved([], 0, {})
    for stored, group in itertools.groupby(piece.parts, lambda part: isinstance(part.content, TensorRange)):
        if not stored:
            moved.checksums += [_write_new(part, files, write, moved, progress) for part in group]
            continue
        ranges = [part.content for part in group if isinstance(part.content, TensorRange)]
        found: dict[int, int] = {}  # by identity: hashing takes longer

        def note(part: TensorRange, crc: int, found: dict[int, int] = found) -> None:
            found[id(part)] = crc

        for run in runs(ranges):
            moved.bytes_read += stream_ranges(
                run,
                files,
                write=write,
                buffers=buffers,
                verify=verify,
                failed=failed,
                computed=note,
                progress=progress,
            )
        moved.checksums += [found.get(id(each), each.stored.crc32c or 0) for each in ranges]
    return moved


def _write_new(
    part: Part,
    files: OpenFiles,
    write: Callable[[Buffer], object] | None,
    moved: Moved,
    progress: Callable[[int], None] | None,
) -> int:
    """Write bytes that are known or computed; returns their checksum."""
    content = part.content
    write = write or _ignore
    if isinstance(content, bytes):
        write(content)
        return crc32c(content)
    if not isinstance(content, Computed):
        raise TypeError(f"{type(content).__name__} is stored")
    # NumPy, which copying needs none of.
    from tensorbundle.tools.rewriting.expressions import stream_values
    from tensorbundle.tools.rewriting.reading import Reading

    moved.readings[part.number] = reading = Reading(files=files, progress=progress)
    crc = 0
    for values in stream_values(content.expression, reading, content.start, content.stop):
        chunk = values.view("u1").data
        crc = crc32c(chunk, crc)
        write(chunk)
    return crc


def _ignore(data: Buffer) -> None:
    """Write to nowhere."""
    del data


class Whole:
    """Puts together what is found out about the parts of one content after another."""

    def __init__(self) -> None:
        self._crc = 0
        self._reading: Reading | None = None

    def add(self, part: Part, crc: int, reading: Reading | None = None) -> tuple[int, Reading | None]:
        """The checksum of the content so far, and what was read to compute it.

        Args:
            part: the next one.
            crc: its checksum.
            reading: of what it was computed from.
        """
        if part.starts:
            self._crc, self._reading = crc, reading
        else:
            self._crc = combine_crc32c(self._crc, crc, part.nbytes)
            if self._reading is not None and reading is not None:
                self._reading.join(reading)
        return self._crc, self._reading
