"""Work that several threads do, with its results in order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from tensorbundle.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

__all__ = ["in_order", "next_result"]

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD: Final = 4  # items waiting for each thread


def next_result(results: Iterator[Result]) -> Result | None:
    """The next result of tasks that other processes do; None after the last one.

    Raises:
        BundleError: what the task raised; or the processes failed.
    """
    try:
        return next(results, None)
    except BundleError:
        raise
    except Exception as error:
        raise BundleError(
            f"the processes that do the work failed: {type(error).__name__}: {str(error)[:300]}; "
            "they may lack memory, packages or access to the files"
        ) from error


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, jobs: int = 1
) -> Iterator[tuple[Item, Result]]:
    """Each item and the result of `work` for it, in the order of the items; `jobs` threads work ahead by a bounded number.

    Raises:
        BundleError: what `work` raises, when it is the item's turn.
    """
    if jobs == 1:
        for item in items:
            yield item, work(item)
        return
    with ThreadPoolExecutor(jobs) as executor:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        try:
            for item in items:
                if len(waiting) >= jobs * _AHEAD:
                    first, future = waiting.popleft()
                    yield first, future.result()
                waiting.append((item, executor.submit(work, item)))
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            executor.shutdown(cancel_futures=True)
