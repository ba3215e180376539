"""The bytes of a plan's entries, appended to a file: copied, computed or given, and checked on the way."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
from functools import partial
from typing import TYPE_CHECKING, Final

from tensorbundle.dtypes import DType
from tensorbundle.slices import readable_key
from tensorbundle.storage.behind import BUFFERS, WriteBehind
from tensorbundle.storage.paths import is_far
from tensorbundle.tools.rewriting.expressions import Constant
from tensorbundle.tools.rewriting.options import Written
from tensorbundle.tools.rewriting.ordered import in_order, one_at_a_time
from tensorbundle.tools.rewriting.pieces import PIECE_BYTES, Computed, Whole, cut, move
from tensorbundle.tools.rewriting.plan import Carried, Converted, Literal
from tensorbundle.tools.rewriting.ranges import OpenFiles, TensorRange, runs, stream_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from tensorbundle.entries import StoredRange, TensorEntry
    from tensorbundle.storage.protocols import PlacedWriter, Store, WritableFile
    from tensorbundle.tools.rewriting.pieces import Content, Moved, Piece
    from tensorbundle.tools.rewriting.plan import PlannedEntry
    from tensorbundle.tools.rewriting.reading import Reading

__all__ = ["SAMPLE_TENSORS", "append_entries", "check_sample", "check_wholes", "sources_of"]

SAMPLE_BYTES: Final = 4 << 20  # read of each shared file, unless its smallest tensor has more
SAMPLE_TENSORS: Final = 1000


def append_entries(
    file: WritableFile,
    entries: Sequence[PlannedEntry],
    *,
    verify: bool = True,
    progress: Callable[[int], None] | None = None,
    jobs: int = 1,
    files: OpenFiles | None = None,
) -> tuple[list[TensorEntry], Written]:
    """Append the bytes of planned entries to a file, one after another without gaps.

    Bytes are those of a bundle: little-endian values in C order, or encoded strings. Each of several threads reads, checks
    and writes pieces of its own, if the file can be written like that (`WritableFile.spread`) and is large enough.
    Otherwise one thread reads and checks, and another one writes.

    Args:
        file: the file.
        entries: their order is that of their bytes.
        verify: whether checksums of sources are checked.
        progress: told how many bytes were read since it was last called.
        jobs: how many threads.
        files: open files to read from, which stay open.

    Returns:
        For each entry its type, shape, size, offset in the file and checksum; and what was read for that.

    Raises:
        CorruptionError, MissingFileError, UnreadableFileError: a source is damaged or can't be read.
        UnsupportedError: values can't be arrays.
        OSError: the file can't be written to.
    """
    with OpenFiles() if files is None else contextlib.nullcontext(files) as opened:
        job = _Job(file, opened, verify, progress, jobs)
        for scattered, some in itertools.groupby(entries, _is_scattered):
            of_one_kind = list(some)
            if not scattered:  # else each box says what it needs
                opened.prefetch(sources_of(of_one_kind))
            for known, group in itertools.groupby(of_one_kind, _has_known_size):
                (job.append if known else job.append_strings)(list(group))
        if verify:
            job.written.bytes_read += check_wholes(entries, opened)
    return job.done, job.written


def _has_known_size(planned: PlannedEntry) -> bool:
    """Whether an entry's size is known before its values are computed."""
    return not (isinstance(planned.origin, Converted) and planned.origin.entry.dtype is DType.string)


def _is_scattered(planned: PlannedEntry) -> bool:
    """Whether the values of an entry are computed from values all over their sources."""
    return isinstance(planned.origin, Converted) and planned.origin.expression.scattered


def sources_of(entries: Iterable[PlannedEntry]) -> Iterator[tuple[Store, StoredRange]]:
    """The ranges that are read for planned entries, in this order; without inputs of which only a small part is read.

    Those of a tensor that several entries are computed of, as its slices are, are listed once.
    """
    listed: set[int] = set()
    for each in entries:
        origin = each.origin
        if isinstance(origin, Carried):
            yield origin.index.store, origin.stored
        elif isinstance(origin, Converted):
            inputs = list(origin.expression.inputs())
            if len(inputs) == 1 and math.prod(inputs[0].shape) > 2 * math.prod(origin.expression.shape):
                continue
            for source in inputs:
                if id(source) in listed:
                    continue
                listed.add(id(source))
                for key, entry in source.stored_entries:
                    stored = source.index.stored(key, entry)
                    if stored is not None:
                        yield source.index.store, stored


def check_wholes(entries: Iterable[PlannedEntry], files: OpenFiles) -> int:
    """Check the tensors of which only parts are carried: a part has no checksum of its own; the bytes read."""
    wholes = set()
    for each in entries:
        origin = each.origin
        if isinstance(origin, Carried) and origin.part_of is not None:
            stored = origin.index.stored(origin.key, origin.part_of)
            if stored is not None and stored.crc32c is not None:
                wholes.add(TensorRange.of(origin.index, origin.key, origin.part_of, stored))
    return sum(stream_ranges([each], files) for each in wholes)


def check_sample(carried: list[Carried], files: OpenFiles) -> int:
    """Check the smallest tensors of one file, a few megabytes or at least one tensor; the bytes read."""
    sample: list[TensorRange] = []
    total = 0
    stored = (each for each in carried if each.stored.nbytes)
    for each in heapq.nsmallest(SAMPLE_TENSORS, stored, key=lambda each: each.stored.nbytes):
        total += each.stored.nbytes
        if sample and total > SAMPLE_BYTES:
            break
        sample.append(each.range)
    sample.sort(key=lambda each: each.stored.offset)
    return sum(stream_ranges(run, files) for run in runs(sample))


class _Job:
    """One file while entries are appended to it.

    Attributes:
        done: the entries so far, with their places and checksums.
        written: what was read for them.
    """

    def __init__(
        self,
        file: WritableFile,
        files: OpenFiles,
        verify: bool,
        progress: Callable[[int], None] | None,
        jobs: int,
    ) -> None:
        self._file, self._files = file, files
        self._verify, self._progress, self._jobs = verify, progress, jobs
        self.done: list[TensorEntry] = []
        self.written = Written()

    def append(self, entries: list[PlannedEntry]) -> None:
        """Append entries of known sizes."""
        offset = self._file.size
        whole = Whole()
        with contextlib.closing(self._moved(entries)) as pieces:
            for piece, moved in pieces:
                self.written.bytes_read += moved.bytes_read
                for part, crc in zip(piece.parts, moved.checksums, strict=True):
                    found, reading = whole.add(part, crc, moved.readings.get(part.number))
                    if part.ends:
                        self.done.append(self._finished(entries[part.number], offset, found, reading))
                        offset += self.done[-1].nbytes

    def _moved(self, entries: list[PlannedEntry]) -> Generator[tuple[Piece, Moved]]:
        """Each piece of entries, in order, after it was written."""
        pieces = cut(map(_content, entries), PIECE_BYTES)
        work = partial(move, verify=self._verify, progress=one_at_a_time(self._progress))
        spread = self._spread(entries)
        if spread is None:
            with WriteBehind(self._file) as behind:
                append = partial(work, files=self._files, write=behind.write, buffers=BUFFERS)
                yield from in_order(append, pieces)
            return

        def place(piece: Piece) -> Moved:
            with OpenFiles() as files, spread(piece.offset) as out:
                return work(piece, files, out.write)

        yield from in_order(place, pieces, jobs=self._jobs)

    def _spread(self, entries: list[PlannedEntry]) -> Callable[[int], PlacedWriter] | None:
        """How several threads write entries; None if one does: few bytes, or sources that are read ahead in order."""
        size = sum(each.origin.entry.nbytes for each in entries)
        if self._jobs == 1 or size <= PIECE_BYTES:
            return None
        if any(is_far(stored.path) for _, stored in sources_of(entries)):
            return None
        return self._file.spread(size)

    def _finished(self, planned: PlannedEntry, offset: int, crc: int, reading: Reading | None) -> TensorEntry:
        """The entry of bytes that were written, after they were checked."""
        origin = planned.origin
        entry = origin.entry._replace(offset=offset)
        if isinstance(origin, Literal):
            return entry
        if isinstance(origin, Carried):
            known = origin.stored.crc32c
            if known is None:
                return entry._replace(crc32c=crc)
            if self._verify and crc != known:
                origin.range.must_match(crc)
            return entry
        if reading is not None:
            self._finish_reading(planned, reading)
        return entry._replace(crc32c=crc)

    def _finish_reading(self, planned: PlannedEntry, reading: Reading) -> None:
        """Check the inputs of an entry that was computed, and note what was found."""
        if self._verify:
            reading.check(self._files)
        self.written.bytes_read += reading.bytes_read
        if reading.overflowed:
            self.written.overflowed[readable_key(planned.key)] = reading.overflowed
        if reading.lost:
            self.written.lost[readable_key(planned.key)] = reading.lost

    def append_strings(self, entries: list[PlannedEntry]) -> None:
        """Append tensors of strings that are computed."""
        # NumPy, which copying needs none of.
        from tensorbundle.creation import store_strings
        from tensorbundle.tools.rewriting.expressions import stream_values
        from tensorbundle.tools.rewriting.reading import Reading

        for planned in entries:
            if not isinstance(planned.origin, Converted):
                raise TypeError(f"{type(planned.origin).__name__} is not computed")
            reading = Reading(files=self._files, progress=self._progress)
            chunks = stream_values(planned.origin.expression, reading)
            values = [value for chunk in chunks for value in chunk.tolist()]
            self.done.append(store_strings(self._file, 0, planned.origin.entry.shape, values))
            self._finish_reading(planned, reading)


def _content(planned: PlannedEntry) -> Content:
    """The bytes of an entry of known size."""
    origin = planned.origin
    if isinstance(origin, Carried):
        return origin.range
    if isinstance(origin, Literal):
        return origin.payload
    if isinstance(origin.expression, Constant) and (payload := origin.expression.payload) is not None:
        return payload
    return Computed(origin.expression, 0, math.prod(origin.expression.shape))
