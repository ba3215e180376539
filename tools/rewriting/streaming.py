"""Reads ranges of data shards in large runs and checks them on the way, at a bounded cost in memory.

Ranges that follow each other in a file are read together, through one reused buffer, and written on from there:
`pread` into a buffer, checksum and `write` move more bytes a second than a memory map does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import CorruptionError
from tensorbundle.payloads import payload_checksum
from tensorbundle.storage.local import open_descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tensorbundle.entries import TensorEntry
    from tensorbundle.payloads import PayloadChecksum

__all__ = ["BUFFER_BYTES", "Piece", "runs", "stream"]

BUFFER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """The bytes of one stored tensor or slice.

    Attributes:
        path: the data shard.
        key: for messages.
        entry: place and checksum.
        big_endian: the byte order of its bundle.
        crc_known: whether the entry has a checksum to compare with.
    """

    path: str
    key: str
    entry: TensorEntry
    big_endian: bool = False
    crc_known: bool = True


def runs(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Groups pieces, in the order given, that lie one after another in one file."""
    run: list[Piece] = []
    for piece in pieces:
        if run:
            last = run[-1]
            if last.path != piece.path or last.entry.offset + last.entry.nbytes != piece.entry.offset:
                yield run
                run = []
        run.append(piece)
    if run:
        yield run


def stream(
    run: list[Piece],
    *,
    write: Callable[[memoryview], object] | None = None,
    verify: bool = True,
    failed: Callable[[Piece, CorruptionError], None] | None = None,
    computed: Callable[[Piece, int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Read the bytes of one run, hand them to `write` and check each piece; returns how many bytes were read.

    Args:
        run: pieces that lie one after another, as `runs` groups them.
        write: takes each chunk; the buffer is used again when it returns.
        verify: whether checksums are checked.
        failed: takes a piece whose checksum is wrong, instead of an error that ends the reading.
        computed: takes a piece whose checksum was not known, and its checksum.
        progress: told how many bytes each chunk has.

    Raises:
        CorruptionError: a checksum is wrong and `failed` was not given, or the file ends too early.
        MissingFileError: no such file.
    """
    start = run[0].entry.offset
    total = run[-1].entry.offset + run[-1].entry.nbytes - start
    buffer = memoryview(bytearray(min(BUFFER_BYTES, max(total, 1))))
    unknown = any(not piece.crc_known for piece in run)
    checker = _Checker(run, failed, computed, verify=verify) if verify or unknown else None
    descriptor = open_descriptor(run[0].path)
    try:
        done = 0
        while done < total:
            size = os.preadv(descriptor, [buffer[: min(len(buffer), total - done)]], start + done)
            if size == 0:
                raise CorruptionError("the file ends too early", path=run[0].path, offset=start + done)
            chunk = buffer[:size]
            if checker is not None:
                checker.update(chunk)
            if write is not None:
                write(chunk)
            if progress is not None:
                progress(size)
            done += size
        if checker is not None:
            checker.update(buffer[:0])
    finally:
        os.close(descriptor)
    return total


class _Checker:
    """Splits the bytes of a run into its pieces and checks each when it is complete."""

    def __init__(
        self,
        run: list[Piece],
        failed: Callable[[Piece, CorruptionError], None] | None,
        computed: Callable[[Piece, int], None] | None,
        *,
        verify: bool,
    ) -> None:
        self._pieces = iter(run)
        self._verify = verify
        self._failed, self._computed = failed, computed
        self._piece: Piece | None = None
        self._checksum: PayloadChecksum | None = None
        self._due = 0
        self._next()

    def update(self, chunk: memoryview) -> None:
        pos = 0
        while self._piece is not None:
            take = min(self._due, len(chunk) - pos)
            if take and self._checksum is not None:
                try:
                    self._checksum.update(chunk[pos : pos + take])
                except CorruptionError as error:
                    self._fail(self._piece, error)
                    self._checksum = None
            pos += take
            self._due -= take
            if self._due:
                return
            self._finish(self._piece)
            self._next()

    def _finish(self, piece: Piece) -> None:
        if self._checksum is None:
            return
        try:
            computed = self._checksum.finish()
            if not piece.crc_known:
                if self._computed is not None:
                    self._computed(piece, computed)
            elif self._verify and computed != piece.entry.crc32c:
                raise CorruptionError(
                    f"crc32c of {piece.entry.nbytes} bytes: stored {piece.entry.crc32c:08x}, "
                    f"computed {computed:08x}; 'tensorbundle verify' looks for the cause"
                )
        except CorruptionError as error:
            self._fail(piece, error)

    def _next(self) -> None:
        self._piece = next(self._pieces, None)
        self._checksum = None
        if self._piece is None:
            return
        entry = self._piece.entry
        self._due = entry.nbytes
        try:
            self._checksum = payload_checksum(
                entry.dtype, entry.elements, entry.nbytes, big_endian=self._piece.big_endian
            )
        except CorruptionError as error:
            self._fail(self._piece, error)

    def _fail(self, piece: Piece, error: CorruptionError) -> None:
        located = CorruptionError(error.reason, path=piece.path, offset=piece.entry.offset, key=piece.key)
        if self._failed is None:
            raise located
        self._failed(piece, located)
