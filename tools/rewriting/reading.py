"""Reads boxes of stored tensors with `pread` and checks their checksums as far as the order of reading allows.

Not through memory maps: pages of a map count as memory of the process, and a tensor may be larger than that may be.
A tensor that is read from its first byte to its last is checked on the way; one that is read in another order, or
in part, is checked by a pass of its own at the end.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from tensorbundle.coding import crc32c
from tensorbundle.dtypes import DType
from tensorbundle.errors import CorruptionError
from tensorbundle.index import decode_key
from tensorbundle.shards import ShardReader, swap_bytes
from tensorbundle.slices import whole_box
from tensorbundle.storage.local import open_descriptor
from tensorbundle.tools.rewriting.streaming import Piece, stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.shards import Array
    from tensorbundle.slices import Box

__all__ = ["Reading"]

_GATHER_BYTES: Final = (
    4 << 20
)  # a run of rows is read whole, if it is no longer, and what is wanted picked from it


class _Input:
    """One stored tensor while it is read."""

    def __init__(self, piece: Piece, descriptor: int) -> None:
        self.piece = piece
        self.descriptor = descriptor  # of the whole data shard; not ours to close
        self.next = 0  # bytes checked so far, from the first on
        self.crc = 0

    def read(self, start: int, size: int, into: memoryview | None = None) -> memoryview:
        buffer = memoryview(bytearray(size)) if into is None else into
        done = 0
        entry = self.piece.entry
        if start < 0 or start + size > entry.nbytes:
            raise CorruptionError(
                f"bytes {start} to {start + size} of a tensor of {entry.nbytes}",
                path=self.piece.path,
                offset=entry.offset,
                key=self.piece.key,
            )
        while done < size:
            count = os.preadv(self.descriptor, [buffer[done:size]], entry.offset + start + done)
            if count == 0:
                raise CorruptionError(
                    "the file ends too early",
                    path=self.piece.path,
                    offset=entry.offset + start + done,
                    key=self.piece.key,
                )
            done += count
        if start == self.next:
            self.crc = crc32c(buffer[:size], self.crc)
            self.next += size
        return buffer[:size]


class Reading:
    """What is open and known while one output is computed. Use as a context manager; leaving it checks the rest.

    Attributes:
        bytes_read: so far.
        overflowed: elements that became infinite, or were out of an integer's range, in casts so far.
        lost: elements that became another integer or truth value than they were, in casts so far.
    """

    def __init__(self, *, verify: bool = True, progress: Callable[[int], None] | None = None) -> None:
        self.bytes_read = 0
        self.overflowed = 0
        self.lost = 0
        self._verify = verify
        self._progress = progress
        self._inputs: dict[tuple[int, bytes], _Input] = {}
        self._descriptors: dict[str, int] = {}  # of data shards, by path
        self._wholes: dict[tuple[int, bytes], Array] = {}

    def read(self, index: Index, key: bytes, entry: TensorEntry, box: Box) -> Array:
        """The values of a box of one stored tensor or slice.

        Raises:
            MissingFileError, CorruptionError: its bytes are absent or damaged.
            UnsupportedError: its values can't be arrays.
        """
        name = (id(index), key)
        if entry.dtype is DType.string or index.file_format == "v1":  # encoded as a whole
            if name not in self._wholes:
                self._wholes[name] = ShardReader(index, verify=self._verify).read_entry(key, entry)
                self._count(entry.nbytes)
            return np.asarray(self._wholes[name][box] if box else self._wholes[name])
        if name not in self._inputs:
            path = index.shard_path(entry.shard)
            if path not in self._descriptors:
                self._descriptors[path] = open_descriptor(path)
            self._inputs[name] = _Input(Piece(path, decode_key(key), entry), self._descriptors[path])
        out = np.empty([each.stop - each.start for each in box], entry.dtype.numpy)
        if out.size:
            self._gather(self._inputs[name], 0, entry.shape, box, out)
        if out.size and index.header.big_endian and entry.dtype.swap_width > 1:
            swapped = swap_bytes(out.reshape(-1).view(np.uint8), entry.dtype)
            return swapped.view(out.dtype).reshape(out.shape)
        return out

    def _gather(self, source: _Input, base: int, shape: tuple[int, ...], box: Box, out: Array) -> None:
        """Fill `out` with the box of a tensor that begins `base` bytes into the source, in as few reads as make sense."""
        while box and box[0].stop - box[0].start == 1:
            base += box[0].start * math.prod(shape[1:]) * out.dtype.itemsize
            shape, box, out = shape[1:], box[1:], out.reshape(out.shape[1:])
        row = math.prod(shape[1:]) * out.dtype.itemsize
        if box[1:] == whole_box(shape[1:]):  # one run of bytes
            self._count(out.nbytes)
            start = base + (box[0].start * row if box else 0)
            source.read(start, out.nbytes, out.reshape(-1).view(np.uint8).data)
        elif row > _GATHER_BYTES:
            for number, position in enumerate(range(box[0].start, box[0].stop)):
                self._gather(source, base + position * row, shape[1:], box[1:], out[number])
        else:
            step = max(1, _GATHER_BYTES // row)
            for start in range(box[0].start, box[0].stop, step):
                stop = min(start + step, box[0].stop)
                self._count((stop - start) * row)
                run = source.read(base + start * row, (stop - start) * row)
                rows = np.frombuffer(run, np.uint8).view(out.dtype).reshape(stop - start, *shape[1:])
                out[start - box[0].start : stop - box[0].start] = rows[(slice(None), *box[1:])]

    def _count(self, size: int) -> None:
        self.bytes_read += size
        if self._progress is not None:
            self._progress(size)

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
        self._inputs.clear()

    def check(self) -> None:
        """Check what could not be checked while it was read.

        Raises:
            CorruptionError: a checksum is wrong.
        """
        for each in self._inputs.values():
            entry = each.piece.entry
            if each.next == entry.nbytes:
                if each.crc != entry.crc32c:
                    raise CorruptionError(
                        f"crc32c of {entry.nbytes} bytes: stored {entry.crc32c:08x}, computed {each.crc:08x}; "
                        "'tensorbundle verify' looks for the cause",
                        path=each.piece.path,
                        offset=entry.offset,
                        key=each.piece.key,
                    )
            else:
                self.bytes_read += stream([each.piece])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None and self._verify:
                self.check()
        finally:
            self.close()
