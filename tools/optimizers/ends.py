"""Which of many names others end with, part by part."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Ends"]


class Ends:
    """Looks up which of some names another name ends with: `a/b/c` ends with `b/c`, and not with `/c` or `/b/c`.

    Read from their ends on, such names are prefixes of the other one. Sorted like that, the longest is the last one that
    is not after the other name, or a prefix of that one; so not every end of a name with many parts is tried.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """Prepare to look these names up, each of which is given once."""
        self._sorted = sorted(map(_reversed, names))
        self._shorter: list[int] = []  # for each, the place of the longest one that is a prefix of it, or -1
        prefixes: list[int] = []
        for place, name in enumerate(self._sorted):
            while prefixes and not name.startswith(self._sorted[prefixes[-1]]):
                prefixes.pop()
            self._shorter.append(prefixes[-1] if prefixes else -1)
            prefixes.append(place)

    def of(self, name: str) -> Iterator[str]:
        """Those that `name` ends with or is equal to, the longest first."""
        wanted = _reversed(name)
        place = bisect_right(self._sorted, wanted) - 1
        while place >= 0:
            if wanted.startswith(self._sorted[place]):
                yield name[len(name) + 1 - len(self._sorted[place]) :]
            place = self._shorter[place]


def _reversed(name: str) -> str:
    return f"{name[::-1]}/"
