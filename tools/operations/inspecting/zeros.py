"""Zero bytes in place of tensors, or of parts of them: most often these were never written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.operations.explaining.catalogue import cause_line
from tensorbundle.tools.rewriting.ranges import BUFFER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.entries import StoredRange
    from tensorbundle.storage.protocols import RandomAccessFile

__all__ = ["cause_in_bytes", "is_zero"]

_PAGE: Final = 4096  # file systems and caches lose parts of files in pages
_TELLING_ZEROS: Final = 512  # longer runs of zero bytes are hardly values
_ZEROS: Final = re.compile(rb"(?<!\0)(?:\0{512,}|\A\0+|\0+\Z)")


def cause_in_bytes(file: RandomAccessFile, stored: StoredRange) -> str | None:
    """The cause of a tensor's wrong checksum, if its bytes alone tell it."""
    if not stored.nbytes:
        return cause_line("wrong-entry")
    if is_zero(file, stored):
        return cause_line("zero-filled")
    hole = None
    for start, stop in _zero_runs(file, stored):
        if stop == stored.offset + stored.nbytes:
            return cause_line("zero-tail", start=start)
        if hole is None and -start % _PAGE <= stop - start:
            hole = cause_line("zero-hole", start=start, stop=stop)
    return hole


def is_zero(file: RandomAccessFile, stored: StoredRange) -> bool:
    """Whether all bytes of a tensor are zero."""
    return not any(chunk.strip(b"\0") for _, chunk in _chunks(file, stored))


def _zero_runs(file: RandomAccessFile, stored: StoredRange) -> Iterator[tuple[int, int]]:
    """The start and end of each long run of zeros in the bytes of a tensor, as offsets in the file."""
    start = stop = stored.offset  # the latest run, which may continue in the next chunk
    for position, chunk in _chunks(file, stored):
        for found in _ZEROS.finditer(chunk):
            first = position + found.start()
            if first != stop:
                if stop - start >= _TELLING_ZEROS:
                    yield start, stop
                start = first
            stop = position + found.end()
    if stop - start >= _TELLING_ZEROS:
        yield start, stop


def _chunks(file: RandomAccessFile, stored: StoredRange) -> Iterator[tuple[int, bytes]]:
    """The bytes of a tensor, chunk by chunk, each with its offset in the file."""
    end = stored.offset + stored.nbytes
    for position in range(stored.offset, end, BUFFER_BYTES):
        yield position, file.read(position, min(BUFFER_BYTES, end - position))
