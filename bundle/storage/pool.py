"""What all files behind URLs have in common in one process: the threads that wait for servers, and the memory for parts."""

from __future__ import annotations

import mmap
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["AHEAD_BYTES", "EITHER_BYTES", "IN_FLIGHT", "Budget", "budget", "pages", "submit"]

Result = TypeVar("Result")
IN_FLIGHT: Final = 24  # requests at a time
AHEAD_BYTES: Final = 80 << 20  # of parts that are read ahead, where nothing is written
EITHER_BYTES: Final = (
    32 << 20
)  # of parts that are read ahead while files are written, and of those on their way out

_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}  # by process: threads do not survive a fork


def submit(do: Callable[..., Result], *arguments: object) -> Future[Result]:
    """Let a thread call `do`."""
    with _lock:
        process = os.getpid()
        if process not in _pools:
            _pools.clear()
            _pools[process] = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="tensorbundle-remote")
        return _pools[process].submit(do, *arguments)


def pages(size: int) -> memoryview:
    """Memory that the system takes back at once; a heap would keep holes of megabytes for each thread."""
    return memoryview(mmap.mmap(-1, size))


class Budget:
    """How many bytes all files of this process have in memory together. Each may have one part, however large."""

    def __init__(self, ahead: int, either: int) -> None:
        """As `AHEAD_BYTES` and `EITHER_BYTES`."""
        self._ahead, self._either = ahead, either
        self._lock = threading.Lock()
        self._read = self._out = self._writers = 0

    def take_for_reading(self, size: int, own: int) -> bool:
        """Take bytes for a part to be read of a file that has `own` parts in memory, if there may be so many more."""
        with self._lock:
            if own and self._read + size > (self._either if self._writers else self._ahead):
                return False
            self._read += size
            return True

    def take_for_writing(self, size: int, own: int) -> bool:
        """Take bytes for a part to be sent; otherwise as `take_for_reading`."""
        with self._lock:
            if own and self._out + size > self._either:
                return False
            self._out += size
            return True

    def was_used(self, size: int) -> None:
        """A part that was read is not in memory any more."""
        with self._lock:
            self._read -= size

    def was_sent(self, size: int) -> None:
        """A part that was sent is not in memory any more."""
        with self._lock:
            self._out -= size

    def begin_file(self) -> None:
        """A file is being written from now on."""
        with self._lock:
            self._writers += 1

    def end_file(self) -> None:
        """A file is not written any more."""
        with self._lock:
            self._writers -= 1


budget: Final = Budget(AHEAD_BYTES, EITHER_BYTES)
