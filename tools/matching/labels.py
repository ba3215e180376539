"""Names and object paths of two sides in one form, in which equal means the same, as far as numbers are reliable.

A name is read as steps: each is a word, with a number if it ends in one. `dense`, `dense_1`, `dense_2` in one scope are
a family. Its numbers count the objects that a session or a program made, so they have a meaning only in comparison:

    same       both sides have the same numbers: equal numbers mean the same member
    shifted    as many on both sides, but other numbers: members in the same order are the same
    open       more on one side, or members whose contents differ: numbers have no meaning

The last member may have another shape while the others are the same: a new head. Numbers that are positions, as in
`layer_with_weights-3` and `_operations/4`, are counted in the same way; those of sets (`_all_variables/3`) never have
a meaning.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorbundle.tools.matching.steps import GIVEN, NUMBERED, ORDERED, Step, is_counted, number_weight

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence

    from tensorbundle.tools.matching.items import Item

__all__ = ["Family", "Label", "View"]

_MAX_SCOPE: Final = 6  # steps of a scope that is left out on one side
_OPEN: Final = -2  # the place of all members of a family whose numbers have no meaning

Key = tuple["tuple[str, int | None]", ...]


class Family(NamedTuple):
    """Members in one scope that differ only in their numbers."""

    scope: Key
    word: str


@dataclass(frozen=True, slots=True)
class Label:
    """A name, compared with the names of the other side.

    Attributes:
        key: equal for names that mean the same; without the numbers of open families.
        skeleton: the same without any numbers.
        weight: as evidence.
        is_open: whether numbers were left out, so that several tensors have this label.
        is_shifted: whether a family has other numbers on the other side.
        speaks: whether a program gave a part of it, other than the last.
        families: those whose numbers it has, each with the place in the family.
    """

    key: Key
    skeleton: tuple[str, ...]
    weight: int
    is_open: bool
    is_shifted: bool
    speaks: bool
    families: tuple[tuple[Family, int], ...]


class Labels(Mapping["Item", Label]):
    """The labels of one side, each made when it is first asked for: most names are compared with none."""

    def __init__(self, items: Collection[Item], make: Callable[[Item], Label]) -> None:
        self._items = items
        self._make = make
        self._made: dict[Item, Label] = {}

    def __getitem__(self, item: Item) -> Label:
        found = self._made.get(item)
        if found is None:
            if item not in self._items:
                raise KeyError(item)
            found = self._made[item] = self._make(item)
        return found

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class View:
    """One kind of names of both sides: full names, or object paths, in comparison.

    Attributes:
        left: the label of each item of one side that has such a name.
        right: the label of each item of the other side.
        by_key: the items of each label, on either side.
        skeletons: all skeletons, on either side.
    """

    def __init__(
        self,
        left: Mapping[Item, tuple[Step, ...]],
        right: Mapping[Item, tuple[Step, ...]],
        refuted: Iterable[Family] = (),
    ) -> None:
        self._sides = _aligned(
            {item: steps for item, steps in left.items() if steps},
            {item: steps for item, steps in right.items() if steps},
        )
        self.refuted = set(refuted)
        while True:
            self._read()
            doubtful = self._doubtful() - self.refuted
            if not doubtful:
                break
            self.refuted |= doubtful
        self.left, self.right = (
            Labels(names, partial(self._label, side)) for side, names in enumerate(self._sides)
        )
        self.by_key = self._by_key(0), self._by_key(1)
        self.skeletons = (
            {_words(key) for key in self.by_key[0]},
            {_words(key) for key in self.by_key[1]},
        )

    def in_order(self, side: int, item: Item) -> tuple[list[Hashable], int]:
        """The members of the open families that an item is in, by their numbers, and the place of the item's member.

        A member is given by its contents: equal for members that have variables of the same names, types and shapes.
        """
        if not self._members:
            self._find_members()
        depth = self._opened[side][item][-1]
        members = self._members[side][(self.left, self.right)[side][item].key[:depth]]
        return list(members.values()), list(members).index(self._sides[side][item][:depth])

    def _find_members(self) -> None:
        numbers: dict[Hashable, int] = {}
        for opened, names, labels in zip(self._opened, self._sides, (self.left, self.right), strict=True):
            inner: dict[tuple[Step, ...], Counter[Hashable]] = defaultdict(Counter)
            for item, depths in opened.items():
                for depth in depths:
                    inner[names[item][:depth]][_skeleton(names[item][depth:]), item.kind] += 1
            contents = {
                member: numbers.setdefault(frozenset(found.items()), len(numbers))
                for member, found in inner.items()
            }
            families: dict[Key, dict[tuple[Step, ...], Hashable]] = defaultdict(dict)
            for item in sorted(opened, key=lambda each: _numbers(names[each])):
                depths, steps = opened[item], names[item]
                for count, depth in enumerate(depths, 1):
                    family = families[labels[item].key[:depth]]
                    family[steps[:depth]] = tuple(contents[steps[:each]] for each in depths[:count])
            self._members.append(dict(families))

    def agree(self, one: Item, other: Item) -> bool:
        """Whether both have the same label."""
        return one in self.left and other in self.right and self.left[one].key == self.right[other].key

    def disordered(self, side: int, names: Mapping[Item, tuple[Step, ...]]) -> set[Family]:
        """The families whose members are in another order than a program's own numbers in other names."""
        numbers: dict[tuple[Family, tuple[str, ...]], dict[int, set[int]]] = {}
        for item in self._sides[side]:
            steps = names.get(item, ()) if item in self._ranks else ()
            for depth, step in enumerate(steps[:-1]):
                if step.number is not None and step.weight == NUMBERED:
                    for family, place in self._ranks[item]:
                        here = numbers.setdefault((family, _skeleton(steps[: depth + 1])), {})
                        here.setdefault(place, set()).add(step.number)
        found = set()
        for (family, _), places in numbers.items():
            order = [min(places[place]) for place in sorted(places)]
            if all(len(each) == 1 for each in places.values()) and order != sorted(order):
                found.add(family)
        return found

    def is_in_order(self, side: int, item: Item) -> bool:
        """Whether all numbers in an item's name give an order."""
        return all(step.weight for step in self._sides[side][item])

    def against(self, one: Label, other: Label) -> int:
        """The weight of two different labels against a pair; 0 if neither is known on the other side."""
        if one.skeleton != other.skeleton:
            known = [
                label
                for label, there in ((one, self.skeletons[1]), (other, self.skeletons[0]))
                if label.skeleton in there
            ]
            return max((GIVEN if each.speaks or len(each.key) == 1 else ORDERED for each in known), default=0)
        if one.key in self.by_key[1] or other.key in self.by_key[0]:
            depth = next(depth for depth, step in enumerate(one.key) if step != other.key[depth])
            return self.weight_of(Family(one.key[:depth], one.key[depth][0]))
        return 0

    def weight_of(self, family: Family) -> int:
        """The weight of a family's numbers as evidence."""
        return ORDERED if family in self._shifted else self._weights[family]

    def _read(self) -> None:
        """Find the key of each name, and the families that it is in."""
        self._shifted: set[Family] = set()  # those with other numbers on one side than on the other
        self._weights: dict[Family, int] = {}
        queue: list[tuple[Key, tuple[list[Item], list[Item]], int]] = [
            ((), (list(self._sides[0]), list(self._sides[1])), 0)
        ]
        self._keys: dict[Item, Key] = {}
        # By item: the families whose members are on both sides, with the place of its own.
        self._ranks: dict[Item, list[tuple[Family, int]]] = {}
        self._opened: tuple[dict[Item, list[int]], ...] = defaultdict(list), defaultdict(list)
        # For each side, by the label of a family's members: each member, in order, with what identifies its contents.
        self._members: list[dict[Key, dict[tuple[Step, ...], Hashable]]] = []
        while queue:
            scope, sides, depth = queue.pop()
            words: dict[str, tuple[list[Item], list[Item]]] = {}
            for number, (items, steps) in enumerate(zip(sides, self._sides, strict=True)):
                for item in items:
                    if depth < len(steps[item]):
                        words.setdefault(steps[item][depth].word, ([], []))[number].append(item)
                    else:
                        self._keys[item] = scope
            for word, members in words.items():
                if members[0] and members[1]:
                    queue += self._children(Family(scope, word), members, depth)
                else:
                    self._read_alone(scope, members, depth)

    def _read_alone(self, scope: Key, sides: tuple[list[Item], list[Item]], depth: int) -> None:
        """Find the keys of names that only one side has: their numbers are compared with none."""
        for items, steps in zip(sides, self._sides, strict=True):
            for item in items:
                rest = [(word, None if number is None else 0) for word, number, _ in steps[item][depth:]]
                self._keys[item] = (*scope, *rest)

    def _label(self, side: int, item: Item) -> Label:
        key, steps, ranks = self._keys[item], self._sides[side][item], self._ranks.get(item, ())
        # A name without a number is the first of its family, and has no more weight than the others.
        numbered = [step.weight for step in steps if step.number is not None]
        numbered += [number_weight(family.word) for family, _ in ranks]
        shifted = any(family in self._shifted for family, _ in ranks)
        return Label(
            key,
            _words(key),
            ORDERED if shifted else min(numbered, default=GIVEN),
            item in self._opened[side],
            shifted,
            any(step.is_given for step in steps[:-1]),
            tuple(ranks),
        )

    def _by_key(self, side: int) -> dict[Key, list[Item]]:
        found: dict[Key, list[Item]] = {}
        for item in self._sides[side]:
            found.setdefault(self._keys[item], []).append(item)
        return found

    def _children(
        self,
        family: Family,
        members: tuple[list[Item], list[Item]],
        depth: int,
    ) -> list[tuple[Key, tuple[list[Item], list[Item]], int]]:
        """The items below a word of both sides: together if it has no numbers or these have no meaning, or else by member."""
        numbers = tuple([self._sides[side][item][depth].number for item in members[side]] for side in (0, 1))
        if all(each is None for side in numbers for each in side):
            return [((*family.scope, (family.word, None)), members, depth + 1)]
        # In an open family, what Keras counts through all of its members has a meaning in each member only.
        inner = any(place == _OPEN for _, place in family.scope) and is_counted(family.word)
        counted: tuple[dict[tuple[Step, ...], set[int]], ...] = defaultdict(set), defaultdict(set)
        for side in (0, 1):
            for item, number in zip(members[side], numbers[side], strict=True):
                # A name without a number is the first of its family.
                counted[side][self._member(side, item, depth, inner=inner)].add(
                    -1 if number is None else number
                )
        ranges = tuple(tuple(sorted({tuple(sorted(each)) for each in side.values()})) for side in counted)
        if ranges[0] != ranges[1]:
            self._shifted.add(family)
        steps = [self._sides[side][item][depth] for side in (0, 1) for item in members[side]]
        self._weights[family] = min(step.weight for step in steps if step.number is not None)
        lengths = [max(map(len, side), default=0) for side in ranges]
        if not self._weights[family] or family in self.refuted or lengths[0] != lengths[1]:
            for side in (0, 1):
                for item in members[side]:
                    self._opened[side][item].append(depth + 1)
            return [((*family.scope, (family.word, _OPEN)), members, depth + 1)]
        found: dict[int, tuple[list[Item], list[Item]]] = {}
        for side in (0, 1):
            ranked = {member: sorted(each) for member, each in counted[side].items()}
            for item, number in zip(members[side], numbers[side], strict=True):
                member = ranked[self._member(side, item, depth, inner=inner)]
                place = bisect_left(member, -1 if number is None else number)
                found.setdefault(place, ([], []))[side].append(item)
                self._ranks.setdefault(item, []).append((family, place))
        return [((*family.scope, (family.word, place)), each, depth + 1) for place, each in found.items()]

    def _member(self, side: int, item: Item, depth: int, *, inner: bool) -> tuple[Step, ...]:
        return self._sides[side][item][:depth] if inner else ()

    def _doubtful(self) -> set[Family]:
        """The families of most steps whose members have other contents on the other side."""
        contents: dict[Family, tuple[dict[int, dict[Key, Counter[Hashable]]], ...]] = {}
        for side, names in enumerate(self._sides):
            for item in names:
                for family, place in self._ranks.get(item, ()):
                    rest = self._keys[item][len(family.scope) + 1 :]
                    inner = contents.setdefault(family, ({}, {}))[side].setdefault(place, {})
                    inner.setdefault(rest, Counter())[item.kind] += 1
        doubtful = {
            family
            for family, (ours, theirs) in contents.items()
            if not self._is_consistent(family, ours, theirs)
        }
        deepest = max((len(each.scope) for each in doubtful), default=0)
        return {each for each in doubtful if len(each.scope) == deepest}

    def _is_consistent(
        self,
        family: Family,
        ours: Mapping[int, Mapping[Key, Counter[Hashable]]],
        theirs: Mapping[int, Mapping[Key, Counter[Hashable]]],
    ) -> bool:
        differing = [place for place in {*ours, *theirs} if ours.get(place) != theirs.get(place)]
        if not differing:
            return True
        same = family not in self._shifted
        last = max(ours)
        return (
            same
            and differing == [last]
            and last > 0
            and ours[last].keys() == theirs.get(last, {}).keys()
            and ours[last] not in theirs.values()
            and theirs[last] not in ours.values()
        )


def _words(key: Key) -> tuple[str, ...]:
    return tuple([word for word, _ in key])


# Scopes that only one side has


def _aligned(
    left: dict[Item, tuple[Step, ...]], right: dict[Item, tuple[Step, ...]]
) -> tuple[dict[Item, tuple[Step, ...]], dict[Item, tuple[Step, ...]]]:
    """Both sides, without the scope that all names of a side begin with if more names agree without it.

    A name of one step, such as `global_step`, is in no scope.
    """
    scoped = [[steps for steps in side.values() if len(steps) > 1] for side in (left, right)]
    if not all(scoped):
        return left, right
    lengths = [min(_common(side), _MAX_SCOPE) for side in scoped]
    ours, theirs = ([_skeleton(steps) for steps in side] for side in scoped)
    shortest = [min(map(len, side)) for side in (ours, theirs)]
    best, chosen = -1, (0, 0)
    for cut, other in sorted(itertools.product(range(lengths[0] + 1), range(lengths[1] + 1)), key=_sum):
        if cut and other and (shortest[0] - cut < 2 or shortest[1] - other < 2):
            continue  # the rest would only be names that every layer has
        agreeing = len({each[cut:] for each in ours} & {each[other:] for each in theirs})
        if agreeing > best:
            best, chosen = agreeing, (cut, other)
    return _cut(left, chosen[0]), _cut(right, chosen[1])


def _cut(side: dict[Item, tuple[Step, ...]], cut: int) -> dict[Item, tuple[Step, ...]]:
    return {item: steps[cut:] if len(steps) > 1 else steps for item, steps in side.items()}


def _sum(cuts: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    return cuts[0] + cuts[1], cuts


def _numbers(steps: Sequence[Step]) -> tuple[int, ...]:
    """The numbers in a name; a name without a number is the first of its family."""
    return tuple(-1 if each.number is None else each.number for each in steps)


def _skeleton(steps: Sequence[Step]) -> tuple[str, ...]:
    return tuple(each.word for each in steps)


def _common(names: Iterable[Sequence[Step]]) -> int:
    """The number of steps that all names begin with, without their last."""
    first, *others = names
    count = len(first) - 1
    for each in others:
        count = min(count, len(each) - 1)
        while first[:count] != each[:count]:
            count -= 1
    return count
