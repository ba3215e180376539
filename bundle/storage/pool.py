"""The threads that wait for servers: one pool for the whole process, made when it is first needed."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["IN_FLIGHT", "submit"]

Result = TypeVar("Result")
IN_FLIGHT: Final = 24  # requests at a time

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
