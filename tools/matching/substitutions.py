"""Common changes in pairs of old and new names: scopes and last parts that change in the same way.

A name is a sequence of parts, separated by '/'. The longest run of parts that both names of a pair have stays. The
parts before it are a scope, those after it a tail, and both may change. Numbers that are the same on both sides mean
any number: `bert/layer_3/w` and `model/layers/3/kernel` give `bert/layer_*/w=model/layers/*/kernel`.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ANY", "Change", "Substitutions", "changes"]

ANY: Final = "\0"  # means a number; no part of a name that is considered contains it
_NUMBER: Final = re.compile(r"\d+", re.ASCII)
_MAX_PARTS: Final = 40  # names with more parts are ignored
_MAX_TAIL: Final = 3  # parts that change at the end of a name

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """A change of names.

    Attributes:
        scope: the first parts.
        tail: the last ones.
        new_scope: the new first parts, with as many numbers.
        new_tail: the new last parts, with as many numbers.
        between: whether there are parts between scope and tail, which stay.
    """

    scope: Parts
    tail: Parts
    new_scope: Parts
    new_tail: Parts
    between: bool = True


def changes(old: str, new: str) -> Iterator[Change]:
    """The changes that a pair of names is an example of, the most general first."""
    before, after = tuple(old.split("/")), tuple(new.split("/"))
    if max(len(before), len(after)) > _MAX_PARTS or ANY in old or ANY in new:
        return
    at, there, size = _longest_run(before, after)
    tail, new_tail = _alike(before[at + size :], after[there + size :])
    if size and len(tail) <= _MAX_TAIL and len(new_tail) <= _MAX_TAIL:
        for kept in range(size):
            scope, new_scope = _alike(before[: at + kept], after[: there + kept])
            yield Change(scope, tail, new_scope, new_tail)
    whole, new_whole = _alike(before, after)
    if whole != before:
        yield Change((), whole, (), new_whole, between=False)


def _longest_run(before: Parts, after: Parts) -> tuple[int, int, int]:
    """The start of the longest run of equal parts in both, and its length; the last one if there are several."""
    best = (0, 0, 0)
    lengths = [0] * (len(after) + 1)
    for at, part in enumerate(before, 1):
        row = [0] * (len(after) + 1)
        for there, other in enumerate(after, 1):
            if part == other:
                row[there] = lengths[there - 1] + 1
                if row[there] >= best[2]:
                    best = (at - row[there], there - row[there], row[there])
        lengths = row
    return best


def _alike(before: Parts, after: Parts) -> tuple[Parts, Parts]:
    """Both with `ANY` for their numbers, if these are the same; otherwise unchanged."""
    if _numbers(before) != _numbers(after):
        return before, after
    return _opened(before), _opened(after)


def _numbers(parts: Parts) -> list[str]:
    return _NUMBER.findall("/".join(parts))


def _opened(parts: Parts) -> Parts:
    return tuple(map(_opened_part, parts))


@functools.lru_cache(maxsize=1 << 16)
def _opened_part(part: str) -> str:
    return _NUMBER.sub(ANY, part)


def _filled(parts: Parts, template: Parts) -> Parts:
    """A template, filled with the numbers of some parts."""
    found = iter(_numbers(parts))
    return tuple(re.sub(ANY, lambda _: next(found), part) if ANY in part else part for part in template)


class Substitutions:
    """The changes of known pairs, applied to other names."""

    def __init__(self) -> None:
        # By scope, then by tail and whether there are parts between: how often each new scope and tail was seen.
        self._known: dict[Parts, dict[tuple[Parts, bool], Counter[tuple[Parts, Parts]]]] = {}

    def learn(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Learn from pairs of an old and a new name."""
        for old, new in pairs:
            for each in changes(old, new):
                said = self._known.setdefault(each.scope, {}).setdefault((each.tail, each.between), Counter())
                said[each.new_scope, each.new_tail] += 1

    def predict(self, name: str) -> Iterator[str]:
        """New names for a name, the most likely first.

        Changes of the longest scope come first. Changes are left out unless most pairs agree on them.
        """
        parts = tuple(name.split("/"))
        if not self._known or len(parts) > _MAX_PARTS or ANY in name:
            return
        opened = _opened(parts)
        both = (parts, opened) if opened != parts else (parts,)
        for whole in both:
            for filled in self._say((), whole, between=False):
                yield "/".join(_filled(parts, filled[1]))
        for size in range(len(parts) - 1, -1, -1):
            for scope in dict.fromkeys(each[:size] for each in both):
                if scope not in self._known:
                    continue
                for end in range(max(size + 1, len(parts) - _MAX_TAIL), len(parts) + 1):
                    for tail in dict.fromkeys(each[end:] for each in both):
                        for new_scope, new_tail in self._say(scope, tail, between=True):
                            first, last = _filled(parts[:size], new_scope), _filled(parts[end:], new_tail)
                            yield "/".join((*first, *parts[size:end], *last))

    def _say(self, scope: Parts, tail: Parts, *, between: bool) -> Iterator[tuple[Parts, Parts]]:
        """The new scope and tail, if most pairs agree."""
        said = self._known.get(scope, {}).get((tail, between))
        if said is not None:
            new, count = min(said.items(), key=lambda item: (-item[1], item[0]))
            if 2 * count > said.total():
                yield new
