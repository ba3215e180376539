"""Puts a file on disk while it is still written, so that moving bytes and flushing them overlap.

If the disk is first asked to store bytes when all are written, it was idle until then.
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["FLUSH_BYTES", "EarlyFlush"]

FLUSH_BYTES: Final = 8 << 20  # that are written before the system is asked to store them


class EarlyFlush:
    """Lets the system begin to store bytes of an open file that are written one after another.

    Linux begins to write a range to the disk when it is told that nobody will need it soon (mm/fadvise.c,
    `generic_fadvise`), and does not wait. A flush in another thread, `fdatasync`, also writes the file's size to the
    journal each time, for which whoever writes must wait. Errors are those of the flush at the end.
    """

    def __init__(self, descriptor: int, start: int = 0) -> None:
        """Bytes from `start` on will be written."""
        self._descriptor, self._start = descriptor, start

    def wrote(self, end: int) -> None:
        """Tell that everything up to `end` was written."""
        if end - self._start >= FLUSH_BYTES:
            self.begin(end)

    def begin(self, end: int) -> None:
        """Let the system begin to store everything up to `end`, however little."""
        size = end - self._start
        if size and hasattr(os, "posix_fadvise"):  # macOS has none; of no bytes, all would be meant
            os.posix_fadvise(self._descriptor, self._start, size, os.POSIX_FADV_DONTNEED)
        self._start = end
