"""Reads ranges of files that tensors are stored in, in long runs, and checks them on the way, in bounded memory.

Ranges that follow each other in a file are read together, through reused buffers, and written from these buffers. That
is faster than a memory map, whose pages also count as memory of the process. `reading.py` reads boxes of values. This
module does not need NumPy, and so sharing does not need it either.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from tensorbundle.errors import CorruptionError
from tensorbundle.payloads import payload_checksum
from tensorbundle.slices import readable_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tensorbundle.dtypes import DType
    from tensorbundle.entries import StoredRange, TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.payloads import PayloadChecksum
    from tensorbundle.storage.protocols import RandomAccessFile, Store

__all__ = ["BUFFER_BYTES", "OpenFiles", "TensorRange", "runs", "stream_ranges"]

BUFFER_BYTES: Final = 1 << 19  # what stays in the caches of a processor between reading, checking and writing
_MAX_OPEN: Final = 64  # files at a time; a process may have 1024


@dataclass(frozen=True, slots=True)
class TensorRange:
    """The stored bytes of one tensor or slice, and the facts that checking them needs.

    Attributes:
        store: where the file is.
        stored: the file, the place in it, and the checksum if one is known.
        raw_key: of the tensor or slice.
        dtype: of its values.
        elements: how many values.
    """

    store: Store
    stored: StoredRange
    raw_key: bytes
    dtype: DType
    elements: int

    @classmethod
    def of(cls, index: Index, key: bytes, entry: TensorEntry, stored: StoredRange) -> TensorRange:
        """The range of a tensor of a checkpoint."""
        return cls(index.store, stored, key, entry.dtype, entry.elements)

    @property
    def key(self) -> str:
        """Its key as text, for messages."""
        return readable_key(self.raw_key)

    @property
    def end(self) -> int:
        """Where the byte after the last one is in the file."""
        return self.stored.offset + self.stored.nbytes

    def must_match(self, computed: int) -> None:
        """Compare a checksum that was computed with the stored one, if there is one.

        Raises:
            CorruptionError: it is another one.
        """
        stored = self.stored
        if stored.crc32c is not None and computed != stored.crc32c:
            raise CorruptionError(
                f"crc32c of {stored.nbytes} bytes: stored {stored.crc32c:08x}, computed {computed:08x}; "
                "'tensorbundle verify' looks for the cause",
                path=stored.path,
                offset=stored.offset,
                key=self.key,
            )


class OpenFiles:
    """Files that were read from, kept open for the next time; the latest 64 of them. Use as a context manager."""

    def __init__(self) -> None:
        self._files: dict[tuple[Store, str], RandomAccessFile] = {}

    def open(self, store: Store, path: str) -> RandomAccessFile:
        """The file at a path.

        Raises:
            MissingFileError, UnreadableFileError: as `Store.open`.
        """
        file = self._files.pop((store, path), None)
        if file is None:
            file = store.open(path)
        self._files[store, path] = file  # the latest is last
        if len(self._files) > _MAX_OPEN:
            self._files.pop(next(iter(self._files))).close()
        return file

    def prefetch(self, ranges: Iterable[tuple[Store, StoredRange]]) -> None:
        """A hint that these bytes will be read soon, those of each file in this order."""
        by_file: dict[tuple[Store, str], list[tuple[int, int]]] = {}
        for store, stored in ranges:
            by_file.setdefault((store, stored.path), []).append((stored.offset, stored.nbytes))
        for place, spans in by_file.items():
            if len(by_file) <= _MAX_OPEN:
                self.open(*place).prefetch(spans)

    def close(self) -> None:
        """Close the files."""
        for each in self._files.values():
            each.close()
        self._files.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def runs(ranges: Iterable[TensorRange]) -> Iterator[list[TensorRange]]:
    """Groups ranges, in the order given, that follow each other in one file."""
    run: list[TensorRange] = []
    for each in ranges:
        if run and (run[-1].stored.path != each.stored.path or run[-1].end != each.stored.offset):
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def stream_ranges(
    run: list[TensorRange],
    files: OpenFiles,
    *,
    write: Callable[[memoryview], object] | None = None,
    buffers: int = 1,
    verify: bool = True,
    failed: Callable[[TensorRange, CorruptionError], None] | None = None,
    computed: Callable[[TensorRange, int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Read the bytes of one run, pass them to `write` and check each range; returns how many bytes were read.

    Args:
        run: ranges that follow each other in one file, as `runs` groups them.
        files: open files, which are used again.
        write: takes each chunk.
        buffers: how many are filled in turn: a chunk changes again when one less were taken after it.
        verify: whether checksums are checked.
        failed: takes a range whose checksum is wrong, instead of an error that ends the reading.
        computed: takes a range whose checksum was not known, and its checksum.
        progress: told how many bytes each chunk has.

    Raises:
        CorruptionError: a checksum is wrong and `failed` was not given, or the file ends too early.
        MissingFileError: no such file.
        UnreadableFileError: the system can't read it.
    """
    start = run[0].stored.offset
    total = run[-1].end - start
    made = [
        memoryview(bytearray(min(BUFFER_BYTES, total - done)))
        for done in range(0, min(total, buffers * BUFFER_BYTES), BUFFER_BYTES)
    ]
    unknown = computed is not None and any(each.stored.crc32c is None for each in run)
    checker = _Checker(run, failed, computed, verify=verify) if verify or unknown else None
    file = files.open(run[0].store, run[0].stored.path)
    file.prefetch([(start, total)])
    for done, buffer in zip(range(0, total, BUFFER_BYTES), itertools.cycle(made), strict=False):
        chunk = buffer[: total - done]
        file.readinto(start + done, chunk)
        if checker is not None:
            checker.update(chunk)
        if write is not None:
            write(chunk)
        if progress is not None:
            progress(len(chunk))
    if checker is not None:
        checker.update(memoryview(b""))
    return total


class _Checker:
    """Splits the bytes of a run into its ranges and checks each when it is complete."""

    def __init__(
        self,
        run: list[TensorRange],
        failed: Callable[[TensorRange, CorruptionError], None] | None,
        computed: Callable[[TensorRange, int], None] | None,
        *,
        verify: bool,
    ) -> None:
        self._ranges = iter(run)
        self._verify = verify
        self._failed, self._computed = failed, computed
        self._range: TensorRange | None = None
        self._checksum: PayloadChecksum | None = None
        self._due = 0
        self._next()

    def update(self, chunk: memoryview) -> None:
        pos = 0
        while self._range is not None:
            take = min(self._due, len(chunk) - pos)
            if take and self._checksum is not None:
                try:
                    self._checksum.update(chunk[pos : pos + take])
                except CorruptionError as error:
                    self._fail(self._range, error)
                    self._checksum = None
            pos += take
            self._due -= take
            if self._due:
                return
            self._finish(self._range)
            self._next()

    def _finish(self, finished: TensorRange) -> None:
        if self._checksum is None:
            return
        try:
            computed = self._checksum.finish()
            if self._verify:
                finished.must_match(computed)
        except CorruptionError as error:
            self._fail(finished, error)
            return
        if finished.stored.crc32c is None and self._computed is not None:
            self._computed(finished, computed)

    def _next(self) -> None:
        self._range = next(self._ranges, None)
        self._checksum = None
        if self._range is None:
            return
        stored = self._range.stored
        self._due = stored.nbytes
        try:
            self._checksum = payload_checksum(
                self._range.dtype, self._range.elements, stored.nbytes, big_endian=stored.big_endian
            )
        except CorruptionError as error:
            self._fail(self._range, error)

    def _fail(self, failed: TensorRange, error: CorruptionError) -> None:
        stored = failed.stored
        located = CorruptionError(error.reason, path=stored.path, offset=stored.offset, key=failed.key)
        if self._failed is None:
            raise located
        self._failed(failed, located)
