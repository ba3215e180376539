"""Puts a file on disk while it is still written, so that moving bytes and flushing them overlap.

Bytes that were written are in memory, then in the cache of the disk, and only a flush lets the disk store them for good.
If the first one is asked for when all is written, the disk was idle until then.
"""

from __future__ import annotations

import os
import threading
from typing import Final

__all__ = ["FLUSH_BYTES", "EarlyFlush"]

FLUSH_BYTES: Final = 64 << 20  # that are written before they are flushed
_flush: Final = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter


class EarlyFlush:
    """Flushes one open file in a thread, again and again while it is written. Several threads may write."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._due = 0  # bytes that were written since the last flush began
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def wrote(self, size: int) -> None:
        """Count bytes that were written, and begin a flush if enough are due and none is running."""
        with self._lock:
            self._due += size
            if self._due < FLUSH_BYTES or (self._thread is not None and self._thread.is_alive()):
                return
            self._due = 0
            self._thread = threading.Thread(target=self._run)
            self._thread.start()

    def _run(self) -> None:
        try:
            _flush(self._descriptor)
        except OSError as error:
            self._error = self._error or error

    def wait(self) -> None:
        """Wait until no flush is running; call it before the file is closed.

        Raises:
            OSError: bytes could not be stored. The system tells this only once, so a later flush may not fail.
        """
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
