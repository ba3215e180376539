"""Work that several threads or processes do, with its results in order."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from tensorbundle.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future

__all__ = ["Jobs", "in_order", "next_result", "one_at_a_time"]

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD: Final = 4  # items waiting for each thread
_AHEAD_OF_PROCESSES: Final = 1000  # items waiting, however many processes there are
Jobs: TypeAlias = "int | Executor"  # threads, or who does the work instead


def next_result(results: Iterator[Result]) -> Result | None:
    """The next result of tasks that other processes do; None after the last one.

    Raises:
        BundleError: what the task raised; or the processes failed.
    """
    return _of_process(lambda: next(results, None))


def _of_process(result: Callable[[], Result]) -> Result:
    try:
        return result()
    except BundleError:
        raise
    except Exception as error:
        what = " ".join(str(error).replace("\\n", " ").split())[:300]
        if "scheduler-connection-lost" in what or type(error).__name__ == "CommClosedError":  # of Dask
            reason = "the connection to the scheduler was lost"
            advice = (
                "check that it is running, and run the same command again; data shards that workers still complete "
                "are used with --resume, and deleted by 'tensorbundle manage URL clean'"
            )
        else:
            reason = f"the processes that do the work failed: {type(error).__name__}: {what}"
            advice = "they may lack memory, packages or access to the files"
        raise BundleError(f"{reason}; {advice}") from error


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, jobs: Jobs = 1
) -> Iterator[tuple[Item, Result]]:
    """Each item and the result of `work` for it, in the order of the items; work goes ahead by a bounded number of items.

    Args:
        work: must be what other processes can be given, if these do it.
        items: its arguments.
        jobs: the number of threads, or an executor, such as `cluster.cluster`, which stays as it is.

    Raises:
        BundleError: what `work` raises, when it is the item's turn; or processes that do the work failed.
    """
    if jobs == 1:
        for item in items:
            yield item, work(item)
        return
    executor: Executor
    if isinstance(jobs, int):
        from concurrent.futures import ThreadPoolExecutor  # and `logging`: only where it is needed

        executor, ahead = ThreadPoolExecutor(jobs), jobs * _AHEAD
    else:
        executor, ahead = jobs, _AHEAD_OF_PROCESSES
    waiting: deque[tuple[Item, Future[Result]]] = deque()

    def first() -> tuple[Item, Result]:
        item, future = waiting.popleft()
        return item, _of_process(future.result) if executor is jobs else future.result()

    try:
        for item in items:
            if len(waiting) >= ahead:
                yield first()
            waiting.append((item, executor.submit(work, item)))
        while waiting:
            yield first()
    finally:
        for _, future in waiting:
            future.cancel()
        if executor is not jobs:
            executor.shutdown()


def one_at_a_time(progress: Callable[[int], None] | None) -> Callable[[int], None] | None:
    """A progress function that several threads may call."""
    if progress is None:
        return None
    lock = threading.Lock()

    def locked(amount: int) -> None:
        with lock:
            progress(amount)

    return locked
