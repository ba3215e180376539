"""Finds few rules that give many names their new names, from common changes of old to new names."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.matching.substitutions import ANY, changes
from tensorbundle.tools.operations.editing.rules import is_plain, parse_rule, rule_line, whole_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tensorbundle.tools.matching.substitutions import Change
    from tensorbundle.tools.operations.editing.rules import Rule

__all__ = ["Deciding", "rules_for"]

_MAX_TRIES: Final = 2_000_000  # of a rule on a name; after that, the search for rules for several names ends


@dataclass(frozen=True, slots=True)
class Deciding:
    """A rule, and the names that it decides about.

    Attributes:
        rule: the rule.
        text: its line in a map.
        names: the names that it matches and that no earlier rule matches.
    """

    rule: Rule
    text: str
    names: tuple[str, ...]


def rules_for(
    wanted: Mapping[str, str], others: Iterable[str], may_be: Callable[[str, str], bool]
) -> list[Deciding]:
    """Few rules that give names their new names; the first rule that matches a name applies.

    Args:
        wanted: old names to new ones, equal ones included.
        others: the other names.
        may_be: whether one of the others may get a certain name.

    Returns rules for whole names first, including rules that keep a name which a later rule would change.
    """
    return _Rules(wanted, others, may_be).found()


class _Rules:
    """The search for rules: greedy, beginning with the rule that most names need.

    A rule that is found later precedes those that were found earlier.
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
            sides = _sides(each) if len(names) > 1 else None
            if sides is not None:
                self._supporters[sides] |= names

    def found(self) -> list[Deciding]:
        """The rules, in the order of a map."""
        chosen: list[tuple[Rule, str]] = []
        decider: dict[str, int] = {}  # by name, the number of the rule that decides about it
        heap = [(*self._cost(sides), sides) for sides in self._supporters]
        heapq.heapify(heap)
        tries = 0
        while heap and tries < _MAX_TRIES:
            *cost, sides = heapq.heappop(heap)
            now = self._cost(sides)
            if tuple(cost) != now:  # some names that need it have got another rule
                if now[0] <= -2:
                    heapq.heappush(heap, (*now, sides))
                continue
            rule = parse_rule(*sides)
            results = list(self._results(rule, *sides))
            tries += len(results)
            harm = sum(name not in self._wrong and self._wanted.get(name) != new for name, new in results)
            if harm > self._harm.get(sides, 0):  # another rule may do the same without harm
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
        """The sort key of rules, the best first: needed by many names, changing few others, with a scope, and short."""
        needed = len(self._supporters[sides] & self._wrong)
        return -needed, self._harm.get(sides, 0), not sides[0].endswith("/"), sum(map(len, sides))

    def _results(self, rule: Rule, old: str, new: str) -> Iterator[tuple[str, str]]:
        """The names that a rule matches, and their new names: `Rule.apply` for many names at once."""
        start = old.partition("*")[0] if rule.scope is None else rule.scope
        first, *pieces = (new if rule.scope is None else f"{new.removeprefix('/')}*").split("*")
        for number in range(bisect_left(self._names, start), len(self._names)):
            name = self._names[number]
            if not name.startswith(start):
                break
            found = rule.matched(name) if rule.scope is None else [name[len(start) :]]
            if found is not None:
                yield name, first + "".join(map("".join, zip(found, pieces, strict=True)))

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


def _sides(change: Change) -> tuple[str, str] | None:
    """Both sides of the rule for a change, a scope's or a glob, or None if there is no such rule."""
    if any(not each or not is_plain(each.replace(ANY, "0")) for each in (*change.scope, *change.tail)):
        return None
    if any(
        not each or not is_plain(each.replace(ANY, "0")) for each in (*change.new_scope, *change.new_tail)
    ):
        return None
    if change.between and not change.tail and not change.new_tail and ANY not in "/".join(change.scope):
        return _scope_text(change.scope), _scope_text(change.new_scope)
    between = ("*",) if change.between else ()
    old = "/".join([*change.scope, *between, *change.tail]).replace(ANY, "*")
    new = "/".join([*change.new_scope, *between, *change.new_tail]).replace(ANY, "*")
    return old, new


def _scope_text(parts: tuple[str, ...]) -> str:
    return "/".join([*parts, ""]) if parts else "/"
