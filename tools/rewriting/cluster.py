"""A cluster of Dask as an executor: the same work, done by other machines.

A task has names and ranges, and no bytes of tensors. Workers read and write files themselves, so these must be behind
URLs, or in directories that all machines have. A task whose worker dies runs again on another one; what the first one
wrote is not visible, or has the same bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, cast

from tensorbundle.errors import BundleError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

__all__ = ["cluster"]

_CONNECT_SECONDS: Final = 30
_RETRIES: Final = (
    2  # of tasks that raise OSError and the like; those of dead workers are the scheduler's matter
)


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """An executor whose tasks run on the workers of the scheduler at `address`, such as `tcp://10.0.0.1:8786`.

    Raises:
        UnsupportedError: `distributed` is not installed.
        BundleError: no scheduler answers, or it has no workers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UnsupportedError(
            "a cluster needs dask.distributed: pip install 'tensorbundle[distributed]'"
        ) from None
    try:
        with ThreadPoolExecutor(1) as thread:  # whoever calls may have an event loop
            thread.submit(asyncio.run, _look_for(address)).result()
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(
            f"no scheduler answers: {error}; give the address that 'dask scheduler' prints", path=address
        ) from None
    with _silent_log(), Client(address, timeout=_CONNECT_SECONDS, set_as_default=False) as client:
        if not client.scheduler_info()["workers"]:
            raise BundleError("the scheduler has no workers; start some with 'dask worker'", path=address)
        # pure=False: two tasks with equal arguments are two tasks, as they write files.
        executor = client.get_executor(pure=False, retries=_RETRIES)
        try:
            yield cast("Executor", executor)
        finally:
            executor.shutdown(wait=False)


async def _look_for(address: str) -> None:
    """Connect to a scheduler once, as a `Client` that finds none is closed by nothing but its own time-out of a minute.

    Raises:
        OSError, ValueError, TypeError: no scheduler answers, or this is no address.
    """
    from distributed.core import connect
    from distributed.security import Security

    comm = await connect(address, timeout=_CONNECT_SECONDS, **Security().get_connection_args("client"))
    await comm.close()


@contextlib.contextmanager
def _silent_log() -> Iterator[None]:
    """Keeps Dask from logging tracebacks of a lost connection, of which the executor's error says all."""
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
