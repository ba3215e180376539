"""A file that another thread writes, so that reading and checking go on while bytes are written and flushed.

It is for files that are written from start to end; `WritableFile.spread` is for the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    import queue
    import threading

    from tensorbundle.storage.protocols import Buffer, WritableFile

__all__ = ["BUFFERS", "WriteBehind"]

_WAITING: Final = 3  # chunks at a time that wait to be written
BUFFERS: Final = _WAITING + 2  # with the one that is written and the one that is filled
_COLLECTED_BYTES: Final = 1 << 18
_DIRECT_BYTES: Final = 4 << 20  # up to which starting a thread takes longer than it gains


class WriteBehind:
    """A file that is written by a thread of its own (`WritableFile`); use as a context manager, which waits for it.

    A chunk may change again only when `BUFFERS - 1` others were written after it. The file below stays open.
    """

    def __init__(self, file: WritableFile) -> None:
        self.size = file.size
        self._file = file
        self._start = file.size
        self._collected = bytearray()
        self._queue: queue.Queue[Buffer | None] | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._given_up = False  # then what waits is not written any more

    def write(self, data: Buffer) -> None:
        """See `WritableFile`; what an earlier chunk failed with is raised here."""
        size = memoryview(data).nbytes
        self.size += size
        if self._queue is None:
            if self.size - self._start <= _DIRECT_BYTES:
                self._file.write(data)
                return
            self._begin()
        if size < _COLLECTED_BYTES // 4:  # handing it over would take longer than to copy it
            self._collected += data
            if len(self._collected) >= _COLLECTED_BYTES:
                self._hand_over_collected()
            return
        self._hand_over_collected()
        self._hand_over(data)

    def _begin(self) -> None:
        import queue  # which small files do without
        import threading

        self._queue = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._write_all, args=(self._queue,), daemon=True)
        self._thread.start()

    def _write_all(self, chunks: queue.Queue[Buffer | None]) -> None:
        while (chunk := chunks.get()) is not None:
            if self._error is None and not self._given_up:
                try:
                    self._file.write(chunk)
                except BaseException as error:  # raised where the next chunk is handed over
                    self._error = error

    def _hand_over_collected(self) -> None:
        if self._collected:
            collected, self._collected = self._collected, bytearray()
            self._hand_over(collected)

    def _hand_over(self, data: Buffer) -> None:
        if self._error is not None:
            raise self._error
        if self._queue is not None:
            self._queue.put(data)

    def close(self) -> None:
        """Wait until everything is written; a second call does nothing.

        Raises:
            OSError: as `write`.
        """
        try:
            self._hand_over_collected()
        finally:
            self._end()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """See `WritableFile`; the file below is abandoned by whoever opened it."""
        self._given_up = True
        self._end()

    def _end(self) -> None:
        if self._queue is not None and self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        self._queue = self._thread = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self.close()
        else:
            self.abandon()
