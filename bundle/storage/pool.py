"""The threads that wait for servers: one pool for the whole process, made when it is first needed."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["IN_FLIGHT", "Budget", "submit"]

Result = TypeVar("Result")
IN_FLIGHT: Final = 24  # requests at a time
_FEWEST_PARTS: Final = 2  # of each file, however many other files are at work at the same time

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


class Budget:
    """How many parts all files of this process have in memory together."""

    def __init__(self, most: int) -> None:
        """At most `most`, beside the few that each file may have in any case."""
        self._most = most
        self._lock = threading.Lock()
        self._taken = 0

    def take(self, own: int) -> bool:
        """Take one part more for a file that has `own`, if there may be one more."""
        with self._lock:
            if self._taken >= self._most and own >= _FEWEST_PARTS:
                return False
            self._taken += 1
            return True

    def give_back(self) -> None:
        """One part is not in memory any more."""
        with self._lock:
            self._taken -= 1
