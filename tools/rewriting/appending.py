"""The bytes of a plan's entries, appended to a file: copied, computed or given, and checked on the way."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING, Final

from tensorbundle.dtypes import DType
from tensorbundle.slices import readable_key
from tensorbundle.storage.behind import WriteBehind
from tensorbundle.tools.rewriting.options import Written
from tensorbundle.tools.rewriting.plan import Carried, Converted, Literal
from tensorbundle.tools.rewriting.ranges import OpenFiles, TensorRange, runs, stream_ranges
from tensorbundle.writer import append_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorbundle.entries import StoredRange, TensorEntry
    from tensorbundle.storage.protocols import Store, WritableFile
    from tensorbundle.tools.rewriting.plan import PlannedEntry

__all__ = ["SAMPLE_TENSORS", "append_entries", "check_sample", "check_wholes"]

SAMPLE_BYTES: Final = 4 << 20  # read of each shared file, unless its smallest tensor has more
SAMPLE_TENSORS: Final = 1000


def append_entries(
    file: WritableFile,
    entries: Sequence[PlannedEntry],
    *,
    verify: bool = True,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[TensorEntry], Written]:
    """Append the bytes of planned entries to a file, one after another without gaps.

    Bytes are those of a bundle: little-endian values in C order, or encoded strings.

    Returns:
        For each entry its type, shape, size, offset in the file and checksum; and what was read for that.

    Raises:
        CorruptionError, MissingFileError, UnreadableFileError: a source is damaged or can't be read.
        UnsupportedError: values can't be arrays.
        OSError: the file can't be written to.
    """
    out: list[TensorEntry] = []
    with OpenFiles() as files, WriteBehind(file) as behind:
        job = _Job(behind, files, verify, progress)
        files.prefetch(_sources(entries))
        for carried, group in itertools.groupby(entries, lambda each: isinstance(each.origin, Carried)):
            if carried:
                out += job.copy(list(group))
            else:
                out += map(job.write_new, group)
        if verify:
            job.written.bytes_read += check_wholes(entries, files)
    return out, job.written


def _sources(entries: Iterable[PlannedEntry]) -> Iterator[tuple[Store, StoredRange]]:
    """The ranges that are read for planned entries, in this order; without inputs of which only a small part is read."""
    for each in entries:
        origin = each.origin
        if isinstance(origin, Carried):
            yield origin.index.store, origin.stored
        elif isinstance(origin, Converted):
            inputs = list(origin.expression.inputs())
            if len(inputs) == 1 and math.prod(inputs[0].shape) > 2 * math.prod(origin.expression.shape):
                continue
            for source in inputs:
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
    """One file while entries are appended to it."""

    def __init__(
        self, file: WritableFile, files: OpenFiles, verify: bool, progress: Callable[[int], None] | None
    ) -> None:
        self._file, self._files = file, files
        self._verify, self._progress = verify, progress
        self.written = Written()

    def copy(self, entries: list[PlannedEntry]) -> list[TensorEntry]:
        """Append bytes of sources, in runs that are as long as possible."""
        carried = [each.origin for each in entries if isinstance(each.origin, Carried)]
        computed: dict[TensorRange, int] = {}
        offsets: list[int] = []
        for run in runs(each.range for each in carried):
            moved = self._file.size - run[0].stored.offset
            offsets += [each.stored.offset + moved for each in run]
            self.written.bytes_read += stream_ranges(
                run,
                self._files,
                write=self._file.write,
                verify=self._verify,
                computed=computed.__setitem__,
                progress=self._progress,
            )
        return [
            each.entry._replace(offset=offset, crc32c=computed.get(each.range, each.entry.crc32c))
            for each, offset in zip(carried, offsets, strict=True)
        ]

    def write_new(self, planned: PlannedEntry) -> TensorEntry:
        """Append a literal or a converted tensor."""
        origin = planned.origin
        if isinstance(origin, Literal):
            offset, _, _ = append_bytes(self._file, [origin.payload])
            return origin.entry._replace(offset=offset)
        if not isinstance(origin, Converted):
            raise TypeError(f"{type(origin).__name__} is neither literal nor converted")
        # NumPy, which copying needs none of.
        from tensorbundle.creation import store_strings
        from tensorbundle.tools.rewriting.expressions import stream_values
        from tensorbundle.tools.rewriting.reading import Reading

        with Reading(verify=self._verify, progress=self._progress, files=self._files) as reading:
            chunks = stream_values(origin.expression, reading)
            if origin.entry.dtype is DType.string:
                values = [value for chunk in chunks for value in chunk.tolist()]
                entry = store_strings(self._file, 0, origin.entry.shape, values)
            else:
                offset, nbytes, crc = append_bytes(self._file, (chunk.view("u1").data for chunk in chunks))
                entry = origin.entry._replace(offset=offset, nbytes=nbytes, crc32c=crc)
        self.written.bytes_read += reading.bytes_read
        if reading.overflowed:
            self.written.overflowed[readable_key(planned.key)] = reading.overflowed
        if reading.lost:
            self.written.lost[readable_key(planned.key)] = reading.lost
        return entry
