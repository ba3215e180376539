"""The alignment of two similar sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

__all__ = ["always_aligned"]

_MOST: Final = 1 << 18  # pairs of places that are compared


def always_aligned(ours: Sequence[Hashable], theirs: Sequence[Hashable], pair: tuple[int, int]) -> bool:
    """Whether two places are aligned in every longest alignment of two sequences.

    `a b c` and `a x c`: both `a`, and both `c`. `a b` and `b a`: neither, as only one of the two can be aligned.
    False for sequences that are too long to compare.
    """
    if len(ours) * len(theirs) > _MOST:
        return False
    at, there = pair
    return ours[at] == theirs[there] and _longest([*ours[:at], *ours[at + 1 :]], theirs) < _longest(
        ours, theirs
    )


def _longest(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(theirs) + 1)
    for one in ours:
        before = 0
        for number, other in enumerate(theirs, 1):
            before, row[number] = (
                row[number],
                before + 1 if one == other else max(row[number], row[number - 1]),
            )
    return row[-1]
