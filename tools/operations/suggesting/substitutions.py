"""What pairs of old and new names have in common: scopes and last parts that change alike, whatever lies between.

A name is parts with '/' between them. Of a pair, the longest run of parts that both names have is taken to be what
stays; what is before it is a scope, what is after it a tail, and both may change. Numbers that are the same on both
sides stand for any number: `bert/layer_3/w` and `model/layers/3/kernel` say `bert/layer_*/w=model/layers/*/kernel`.
"""

from __future__ import annotations

import functools
import heapq
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.operations.editing.rules import is_plain, parse_rule, rule_line, whole_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tensorbundle.tools.operations.editing.rules import Rule

__all__ = ["Change", "Deciding", "Substitutions", "changes", "rules_for"]

_ANY: Final = "\0"  # stands for a number; no part of a name that is considered has it
_NUMBER: Final = re.compile(r"\d+", re.ASCII)
_MAX_PARTS: Final = 40  # of names with more, nothing is learned
_MAX_TAIL: Final = 3  # parts that change at the end of a name
_MAX_TRIES: Final = 2_000_000  # of a rule on a name, before no more rules for several names are looked for

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """How names change.

    Attributes:
        scope: the first parts.
        tail: the last ones.
        new_scope: what the first parts become; it has as many numbers.
        new_tail: what the last ones become, likewise.
        between: whether there are parts between, which stay.
    """

    scope: Parts
    tail: Parts
    new_scope: Parts
    new_tail: Parts
    between: bool = True

    @property
    def rule(self) -> tuple[str, str] | None:
        """Both sides of the rule, a scope's or a glob, or None if there is no such rule."""
        if any(not each or not is_plain(each.replace(_ANY, "0")) for each in (*self.scope, *self.tail)):
            return None
        if any(
            not each or not is_plain(each.replace(_ANY, "0")) for each in (*self.new_scope, *self.new_tail)
        ):
            return None
        if self.between and not self.tail and not self.new_tail and _ANY not in "/".join(self.scope):
            return _scope_text(self.scope), _scope_text(self.new_scope)
        between = ("*",) if self.between else ()
        old = "/".join([*self.scope, *between, *self.tail]).replace(_ANY, "*")
        new = "/".join([*self.new_scope, *between, *self.new_tail]).replace(_ANY, "*")
        return old, new


def _scope_text(parts: Parts) -> str:
    return "/".join([*parts, ""]) if parts else "/"


def changes(old: str, new: str) -> Iterator[Change]:
    """The changes that a pair of names is an example of, the most general first."""
    before, after = tuple(old.split("/")), tuple(new.split("/"))
    if max(len(before), len(after)) > _MAX_PARTS or _ANY in old or _ANY in new:
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
    """Where the longest run of equal parts begins in both, and its length; of several the last."""
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
    """Both with their numbers left open, if these are the same; otherwise as they are."""
    if _numbers(before) != _numbers(after):
        return before, after
    return _opened(before), _opened(after)


def _numbers(parts: Parts) -> list[str]:
    return _NUMBER.findall("/".join(parts))


def _opened(parts: Parts) -> Parts:
    return tuple(map(_opened_part, parts))


@functools.lru_cache(maxsize=1 << 16)
def _opened_part(part: str) -> str:
    return _NUMBER.sub(_ANY, part)


def _filled(parts: Parts, template: Parts) -> Parts:
    """A template with the numbers of some parts in it."""
    found = iter(_numbers(parts))
    return tuple(re.sub(_ANY, lambda _: next(found), part) if _ANY in part else part for part in template)


class Substitutions:
    """What known pairs say of other names."""

    def __init__(self) -> None:
        # By scope, then by tail, and whether there is something between: how often they became what.
        self._known: dict[Parts, dict[tuple[Parts, bool], Counter[tuple[Parts, Parts]]]] = {}

    def learn(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Learn from pairs of an old and a new name."""
        for old, new in pairs:
            for each in changes(old, new):
                said = self._known.setdefault(each.scope, {}).setdefault((each.tail, each.between), Counter())
                said[each.new_scope, each.new_tail] += 1

    def predict(self, name: str) -> Iterator[str]:
        """New names for a name, the most likely first.

        What is said of the longest scope comes first. What most pairs do not agree on is not said at all.
        """
        parts = tuple(name.split("/"))
        if len(parts) > _MAX_PARTS or _ANY in name:
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
        """What a scope and a tail become, if most pairs agree."""
        said = self._known.get(scope, {}).get((tail, between))
        if said is not None:
            new, count = min(said.items(), key=lambda item: (-item[1], item[0]))
            if 2 * count > said.total():
                yield new


@dataclass(frozen=True, slots=True)
class Deciding:
    """A rule, and what it decides about.

    Attributes:
        rule: the rule.
        text: the line that a map has for it.
        names: the names that it fits, and no rule before it does.
    """

    rule: Rule
    text: str
    names: tuple[str, ...]


def rules_for(
    wanted: Mapping[str, str], others: Iterable[str], may_be: Callable[[str, str], bool]
) -> list[Deciding]:
    """Few rules that give names their new names; of those that fit a name, the first decides.

    Args:
        wanted: old names to new ones, equal ones included.
        others: further names that there are.
        may_be: whether one of the others may get a certain name.

    Returns whole names first, also those that stay where a later rule would change them.
    """
    return _Rules(wanted, others, may_be).found()


class _Rules:
    """The search for rules: greedy, the rule that most names need first.

    A rule that is found later stands before those that were found earlier.
    """

    def __init__(
        self, wanted: Mapping[str, str], others: Iterable[str], may_be: Callable[[str, str], bool]
    ) -> None:
        self._wanted, self._may_be = wanted, may_be
        self._names = sorted({*wanted, *others})
        self._wrong = {old for old, new in wanted.items() if old != new}
        alike: dict[Change, set[str]] = defaultdict(set)
        for old in self._wrong:
            for each in changes(old, wanted[old]):
                alike[each].add(old)
        self._harm: dict[tuple[str, str], int] = {}  # how many other names a rule changes
        self._supporters: dict[tuple[str, str], set[str]] = defaultdict(set)
        for each, names in alike.items():
            sides = each.rule if len(names) > 1 else None
            if sides is not None:
                self._supporters[sides] |= names

    def found(self) -> list[Deciding]:
        """The rules, in the order in which a map has them."""
        chosen: list[tuple[Rule, str]] = []
        decider: dict[str, int] = {}  # by name, the number of the rule that decides about it
        heap = [(*self._cost(sides), sides) for sides in self._supporters]
        heapq.heapify(heap)
        tries = 0
        while heap and tries < _MAX_TRIES:
            *cost, sides = heapq.heappop(heap)
            now = self._cost(sides)
            if tuple(cost) != now:  # names that it is needed for have got another rule
                if now[0] <= -2:
                    heapq.heappush(heap, (*now, sides))
                continue
            rule = parse_rule(*sides)
            results = list(self._results(rule, *sides))
            tries += len(results)
            harm = sum(name not in self._wrong and self._wanted.get(name) != new for name, new in results)
            if harm > self._harm.get(sides, 0):  # another one may do as well without
                self._harm[sides] = harm
                heapq.heappush(heap, (*self._cost(sides), sides))
                continue
            if self._is_good(results):
                for name, new in results:
                    decider[name] = len(chosen)
                    if name in self._wanted:
                        (self._wrong.discard if self._wanted[name] == new else self._wrong.add)(name)
                chosen.append((rule, "=".join(sides)))
        wholes = [(name, self._wanted[name]) for name in sorted(self._wrong)]
        decided: dict[int, list[str]] = defaultdict(list)
        for name in self._names:
            if name in decider and name not in self._wrong:
                decided[decider[name]].append(name)
        return [
            *(Deciding(whole_rule(*sides), rule_line(*sides), sides[:1]) for sides in wholes),
            *(Deciding(*chosen[number], tuple(decided[number])) for number in sorted(decided, reverse=True)),
        ]

    def _cost(self, sides: tuple[str, str]) -> tuple[int, int, bool, int]:
        """The smaller the better: how many names need the rule, how many others it changes; scopes, and short ones."""
        needed = len(self._supporters[sides] & self._wrong)
        return -needed, self._harm.get(sides, 0), not sides[0].endswith("/"), sum(map(len, sides))

    def _results(self, rule: Rule, old: str, new: str) -> Iterator[tuple[str, str]]:
        """The names that a rule fits, and their new names; as `Rule.apply`, but for many names at once."""
        start = old.partition("*")[0] if rule.scope is None else rule.scope
        first, *pieces = (new if rule.scope is None else f"{new.removeprefix('/')}*").split("*")
        for number in range(bisect_left(self._names, start), len(self._names)):
            name = self._names[number]
            if not name.startswith(start):
                break
            found = rule.pattern.fullmatch(name)
            if found is not None:
                yield name, first + "".join(map("".join, zip(found.groups(), pieces, strict=True)))

    def _is_good(self, results: list[tuple[str, str]]) -> bool:
        """Whether a rule is right more often than wrong, and saves lines."""
        gained = lost = missed = 0
        for name, new in results:
            if name not in self._wanted:
                if not self._may_be(name, new):
                    return False
            elif self._wanted[name] == new:
                gained += name in self._wrong
            elif name in self._wrong:
                missed += 1
            else:
                lost += 1
        return gained - lost >= 2 and missed + 2 * lost <= gained
