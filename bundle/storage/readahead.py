"""Reads ahead what will be read: parts of a file that are on their way while earlier ones are being used.

What will be read is known exactly, from a plan or an index, so nothing is guessed, and nothing is kept after it was used.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Final

from tensorbundle.storage.pool import budget, pages, submit
from tensorbundle.storage.spans import Span, cut, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

__all__ = ["ReadAhead"]

_MOST: Final = 16  # parts of one file that are on their way, or wait to be used
_SOON: Final = 2 * _MOST  # parts among which a read is looked for


class ReadAhead:
    """Parts of one file, in the order of their use, read ahead of whoever uses them; for one thread."""

    def __init__(
        self, read: Callable[[int, int, memoryview], object], ranges: Iterable[tuple[int, int]]
    ) -> None:
        """Read ahead `ranges`, each an offset and a size, in their order; `read` reads one part into a buffer, in a thread."""
        self._read = read
        self._planned: deque[Span] = deque(cut(joined(ranges)))
        self._coming: deque[tuple[Span, memoryview, Future[object]]] = deque()

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left to be read."""
        return not self._coming and not self._planned

    def covers(self, offset: int, size: int) -> bool:
        """Whether these bytes are in parts that come soon, and follow each other without a gap."""
        end = offset + size
        inside = False
        soon = itertools.islice(self._planned, _SOON)
        for part in itertools.chain((each for each, _, _ in self._coming), soon):
            if part.offset <= offset < part.end:
                inside = True
                if end <= part.end:
                    return True
                offset = part.end
            elif inside:
                return False
        return False

    def fill(self, offset: int, buffer: memoryview) -> bool:
        """Fill a buffer with the bytes at `offset`, if these come soon. Parts that come before them are given up.

        Raises:
            BundleError: the bytes can't be read.
        """
        end = offset + len(buffer)
        if not self.covers(offset, len(buffer)):
            return False
        done = offset
        while done < end:
            while self._coming and not self._coming[0][0].offset <= done < self._coming[0][0].end:
                self._drop()
            while not self._coming and not self._planned[0].offset <= done < self._planned[0].end:
                self._planned.popleft()
            self._ask()
            part, data, future = self._coming[0]
            future.result()
            take = min(part.end, end) - done
            start = done - part.offset
            buffer[done - offset : done - offset + take] = data[start : start + take]
            done += take
            if done == part.end:
                self._drop()
                self._ask()
        return True

    def _ask(self) -> None:
        """Let as many parts come as there may be."""
        while (
            self._planned
            and len(self._coming) < _MOST
            and budget.take_for_reading(self._planned[0].size, len(self._coming))
        ):
            part = self._planned.popleft()
            data = pages(part.size)
            self._coming.append((part, data, submit(self._read, *part, data)))

    def _drop(self) -> None:
        part, data, future = self._coming.popleft()
        future.cancel()
        data.release()
        budget.was_used(part.size)

    def close(self) -> None:
        """Give up what is still to come."""
        self._planned.clear()
        while self._coming:
            self._drop()
