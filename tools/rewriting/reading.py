"""Reads boxes of stored tensors and checks their checksums as far as the order of reading allows.

A tensor that is read from its first byte to its last is checked on the way; one that is read in another order, or
in part, is checked by a pass of its own at the end. Bytes come from ranges of files (`ranges.py`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from tensorbundle.arrays import np
from tensorbundle.coding import combine_crc32c, crc32c
from tensorbundle.dtypes import DType
from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.gathering import gather, ranges_of
from tensorbundle.shards import ShardReader, check_shape, swap_bytes
from tensorbundle.slices import readable_key
from tensorbundle.storage.paths import is_far
from tensorbundle.tools.rewriting.ranges import OpenFiles, TensorRange, stream_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tensorbundle.boxes import Box
    from tensorbundle.dtypes import Array
    from tensorbundle.entries import StoredRange, TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.storage.protocols import Store

__all__ = ["Reading"]


class _Input:
    """One stored tensor while boxes of it are read."""

    def __init__(self, source: TensorRange) -> None:
        self.source = source
        self.start: int | None = None  # of what was read first
        self.next = 0  # where it ends, with what followed without a gap
        self.crc = 0

    def read(self, files: OpenFiles, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes from `start` on, counted from the tensor's first one."""
        stored = self.source.stored
        if start < 0 or start + len(buffer) > stored.nbytes:
            raise CorruptionError(
                f"bytes {start} to {start + len(buffer)} of a tensor of {stored.nbytes}",
                path=stored.path,
                offset=stored.offset,
                key=self.source.key,
            )
        try:
            files.open(self.source.store, stored.path).readinto(stored.offset + start, buffer)
        except CorruptionError as error:
            raise error.locate(key=self.source.key) from None
        if self.start is None:
            self.start = self.next = start
        if start == self.next:
            self.crc = crc32c(buffer, self.crc)
            self.next += len(buffer)

    def join(self, later: _Input) -> None:
        """Add what another reading of the same tensor found, if it follows without a gap."""
        if self.start is None:
            self.start, self.next, self.crc = later.start, later.next, later.crc
        elif later.start is not None and later.start == self.next:
            self.crc = combine_crc32c(self.crc, later.crc, later.next - later.start)
            self.next = later.next

    @property
    def is_complete(self) -> bool:
        """Whether `crc` is that of the whole tensor."""
        return self.start == 0 and self.next == self.source.stored.nbytes


class Reading:
    """Open files and checksums while one output is computed. A context manager; its end checks what was not checked yet.

    Attributes:
        bytes_read: so far.
        overflowed: elements that became infinite, or were out of an integer's range, in casts so far.
        lost: elements that an integer or boolean type could not represent, in casts so far.
    """

    def __init__(
        self,
        *,
        verify: bool = True,
        progress: Callable[[int], None] | None = None,
        files: OpenFiles | None = None,
    ) -> None:
        """Read with the open files `files`, which stay open then."""
        self.bytes_read = 0
        self.overflowed = 0
        self.lost = 0
        self._verify = verify
        self._progress = progress
        self._files = OpenFiles() if files is None else files
        self._owns_files = files is None
        self._inputs: dict[tuple[int, bytes], _Input] = {}
        self._wholes: dict[tuple[int, bytes], Array] = {}

    def read(self, index: Index, key: bytes, entry: TensorEntry, box: Box) -> Array:
        """The values of a box of one stored tensor or slice.

        Raises:
            MissingFileError, CorruptionError: its bytes are absent or damaged.
            UnsupportedError: its values can't be arrays.
        """
        name = (id(index), key)
        try:
            check_shape(entry.shape, entry.dtype)
        except UnsupportedError as error:
            raise error.locate(path=index.prefix, key=readable_key(key)) from None
        stored = index.stored(key, entry)
        if stored is None:
            values = index.values(key, entry, box)
            self._count(values.size * entry.dtype.itemsize)
            return values
        if entry.dtype is DType.string:  # encoded as a whole
            if name not in self._wholes:
                self._wholes[name] = ShardReader(index, verify=self._verify).read_entry(key, entry)
                self._count(entry.nbytes)
            return np.asarray(self._wholes[name][box] if box else self._wholes[name])
        if name not in self._inputs:
            self._inputs[name] = _Input(TensorRange.of(index, key, entry, stored))
        out = np.empty([each.stop - each.start for each in box], entry.dtype.numpy)
        if out.size:
            source = self._inputs[name]
            self.expect([(index, key, entry, box)])
            gather(lambda start, buffer: self._fill(source, start, buffer), entry.shape, box, out)
        if out.size and stored.big_endian and entry.dtype.swap_width > 1:
            swapped = swap_bytes(out.reshape(-1).view(np.uint8), entry.dtype)
            return swapped.view(out.dtype).reshape(out.shape)
        return out

    def _fill(self, source: _Input, start: int, buffer: memoryview) -> None:
        source.read(self._files, start, buffer)
        self._count(len(buffer))

    def prefetch(self, index: Index, key: bytes, entry: TensorEntry) -> None:
        """A hint that all of a stored tensor or slice will be read soon."""
        stored = index.stored(key, entry)
        if stored is not None:
            self._files.prefetch([(index.store, stored)])

    def expect(self, boxes: Iterable[tuple[Index, bytes, TensorEntry, Box]]) -> None:
        """A hint that these boxes of stored tensors or slices will be read next, in this order.

        It is of use where reading them takes several requests, and costs nothing elsewhere.
        """
        ranges: list[tuple[Store, StoredRange]] = []
        wanted = 0
        for index, key, entry, box in boxes:
            stored = index.stored(key, entry)
            if stored is None or not entry.dtype.itemsize or not is_far(stored.path):
                continue
            size = entry.dtype.itemsize * math.prod(each.stop - each.start for each in box)
            if size:
                wanted += size
                ranges += (
                    (index.store, stored._replace(offset=stored.offset + start, nbytes=length))
                    for start, length in ranges_of(entry.shape, box, entry.dtype.itemsize)
                )
        if len(ranges) > 1 or any(stored.nbytes > wanted for _, stored in ranges):
            self._files.prefetch(ranges)

    def _count(self, size: int) -> None:
        self.bytes_read += size
        if self._progress is not None:
            self._progress(size)

    def join(self, later: Reading) -> None:
        """Add what another reading found, of boxes that follow those of this one."""
        self.bytes_read += later.bytes_read
        self.overflowed += later.overflowed
        self.lost += later.lost
        for name, each in later._inputs.items():
            if name in self._inputs:
                self._inputs[name].join(each)
            else:
                self._inputs[name] = each

    def check(self, files: OpenFiles) -> None:
        """Check what could not be checked while it was read, with open files to read it again.

        Raises:
            CorruptionError: a checksum is wrong.
        """
        for each in self._inputs.values():
            if each.source.stored.crc32c is None:
                continue
            if each.is_complete:
                each.source.must_match(each.crc)
            else:
                self.bytes_read += stream_ranges([each.source], files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None and self._verify:
                self.check(self._files)
        finally:
            self._inputs.clear()
            if self._owns_files:
                self._files.close()
