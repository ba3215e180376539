"""The evidence of all names and paths of two sides for and against a pair of tensors."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.matching.alignment import always_aligned
from tensorbundle.tools.matching.labels import View
from tensorbundle.tools.matching.steps import ORDERED, is_counted, read_name, read_path

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from tensorbundle.tools.matching.items import Confidence, Item
    from tensorbundle.tools.matching.labels import Family, Label
    from tensorbundle.tools.matching.steps import Step

    Steps = dict[Item, tuple[Step, ...]]

__all__ = ["HALF", "Evidence", "Pair", "holder_of", "role_of"]

HALF: Final = 0.5  # the weight of a label that several tensors have

Pair = tuple["Item", "Item"]


class Evidence:
    """The evidence of names and paths.

    Attributes:
        views: full names; names below models, if these are needed to tell names apart; object paths last, if any.
    """

    def __init__(self, left: Sequence[Item], right: Sequence[Item]) -> None:
        self._steps, self._named = _both_steps(left, right)
        self.views = [View(*steps) for steps in self._steps]
        # For each view of names and each side: ends of the other side's names whose words no name of this side has.
        self._endings = [
            [_endings(there - here) for here, there in (view.skeletons, view.skeletons[::-1])]
            for view in self.views[: self._named]
        ]
        self._items = left, right
        self._unique = [
            {name for name, n in Counter(each.full_name for each in side).items() if n == 1}
            for side in (left, right)
        ]
        # Families of positions in another order than the numbers in the names of one side.
        names, places = self._steps[0], self.views[-1]
        self._disordered = places.disordered(0, names[0]) ^ places.disordered(1, names[1])

    @functools.cached_property
    def _contents(self) -> list[dict[str, frozenset[tuple[Hashable, int]]]]:
        return [_contents(side) for side in self._items]

    def _labels(self, one: Item, other: Item) -> Iterator[tuple[View, Label, Label]]:
        for view in self.views:
            if one in view.left and other in view.right:
                yield view, view.left[one], view.right[other]

    def support(self, one: Item, other: Item) -> float:
        """The weight of the evidence for a pair."""
        support: float = 0
        for view, ours, theirs in self._labels(one, other):
            if ours.key == theirs.key:
                crowd = max(len(side[ours.key]) for side in view.by_key)
                support = max(support, HALF if crowd > 1 else min(ours.weight, theirs.weight))
        return support

    def is_named(self, one: Item, other: Item) -> bool:
        """Whether both have the same full name, unique on its side and not numbered by Keras, and equal paths, if any.

        Then the program means the same by both, however many others of their kind exist: `layer_3` of 12 and of 6.
        """
        name, view = one.full_name, self.views[0]
        if name != other.full_name or not all(name in names for names in self._unique):
            return False
        if (one.path and other.path and one.path != other.path) or not view.agree(one, other):
            return False
        if self.is_miscounted(one, other):
            return False
        return all(place is None or not is_counted(word) for word, place in view.left[one].key)

    def opposition(self, one: Item, other: Item) -> int:
        """The weight of the evidence against a pair."""
        return max(
            (
                view.against(ours, theirs)
                for view, ours, theirs in self._labels(one, other)
                if ours.key != theirs.key
            ),
            default=0,
        )

    def is_doubtful(self, one: Item, other: Item) -> bool:
        """Whether different given names, or the order of its family, contradict a pair of equal shapes."""
        for view, ours, theirs in self._labels(one, other):
            if ours.key != theirs.key:
                if ours.speaks and theirs.speaks:
                    return True
            elif ours.is_open and view.is_in_order(0, one):
                (here, place), (there, other_place) = view.in_order(0, one), view.in_order(1, other)
                if not always_aligned(here, there, (place, other_place)):
                    return True
        return False

    def are_replaced(self, one: Item, other: Item) -> bool:
        """Whether two layers have different given names, and different contents: then one was removed, the other added."""
        contents = (
            found.get(holder_of(each)) for found, each in zip(self._contents, (one, other), strict=True)
        )
        return self._speak_differently(one, other) and len({*contents}) > 1

    def named_kinds(self, *sides: Iterable[Item]) -> list[tuple[set[Hashable], ...]]:
        """For each view and side, the types and shapes of the items whose names were given by a program."""
        found = [list(side) for side in sides]
        return [
            tuple(
                {each.kind for each in items if each in labels and labels[each].speaks}
                for items, labels in zip(found, (view.left, view.right), strict=True)
            )
            for view in self.views
        ]

    def is_automatic(self, one: Item, other: Item, named: Sequence[tuple[set[Hashable], ...]]) -> bool:
        """Whether the only evidence for a pair is a layer's automatic name, and others of its kind have given names.

        Then either layer may have got or lost a given name since the other checkpoint was written.

        Args:
            one: of the left side.
            other: of the right side.
            named: the kinds of items that are not matched yet, see `named_kinds`.
        """
        equal = [number for number, view in enumerate(self.views) if view.agree(one, other)]
        by_path = one.path and other.path and len(self.views) - 1 in equal
        if one.full_name == other.full_name or by_path:
            return False
        labels = [self.views[number].left[one] for number in equal]
        if any(each.speaks or len(each.key) == 1 for each in labels):
            return False
        return any(all(one.kind in kinds for kinds in named[number]) for number in equal)

    def is_out_of_order(self, one: Item, other: Item) -> bool:
        """Whether the only evidence is positions, whose order contradicts numbers in the names of one side."""
        view = self.views[-1]
        if not view.agree(one, other) or any(each.agree(one, other) for each in self.views[:-1]):
            return False
        return any(family in self._disordered for family, _ in view.left[one].families)

    def is_miscounted(self, one: Item, other: Item) -> bool:
        """Whether the only evidence is an automatic name, and one side omits scopes that the other counts separately.

        Keras 2 counts the layers of nested `Sequential` models and those beside them as one family: `dense`, `dense_1`. TF1
        counts `dense` and `sequential/dense` separately. So `dense_1`, or a lone `dense`, can be another layer on each side.
        """
        equal = [number for number, view in enumerate(self.views) if view.agree(one, other)]
        if not equal or equal[-1] >= self._named:
            return False
        return all(self._lacks_scope(number, one, other) for number in equal)

    def _lacks_scope(self, number: int, one: Item, other: Item) -> bool:
        label = self.views[number].left[one]
        words = label.skeleton
        if len(words) < 2 or not is_counted(words[-2]):
            return False
        # Scopes are left out only by programs that save objects.
        return any(
            item.path and words in endings
            for item, endings in zip((one, other), self._endings[number], strict=True)
        )

    def is_open(self, one: Item, other: Item) -> bool:
        """Whether names are equal except for numbers without meaning."""
        opened = any(ours.is_open and ours.key == theirs.key for _, ours, theirs in self._labels(one, other))
        return opened or self.is_miscounted(one, other)

    def told_by(self, one: Item, other: Item) -> tuple[str, Confidence]:
        """The evidence for a pair, and how sure it is."""
        equal = [(ours, theirs) for _, ours, theirs in self._labels(one, other) if ours.key == theirs.key]
        # Equal positions are enough unless given names differ.
        least = ORDERED + self._speak_differently(one, other)
        sure = [
            each for each in equal if not (each[0].is_shifted or each[0].is_open) and each[0].weight >= least
        ]
        named = one.full_name and one.full_name == other.full_name
        if sure or (named and not all(each[0].is_open for each in equal)):
            if named:
                return "name" if one.name == other.name else "full name", "likely"
            if one.path and one.path == other.path:
                return "path", "likely"
            if one.name == other.name:
                return "name", "likely"
            ends = [
                each.rpartition("/")[2] for each in (one.full_name or one.name, other.full_name or other.name)
            ]
            return "scope" if ends[0] == ends[1] else "words", "likely"
        if all(each[0].is_open for each in equal):
            return "shape", "possible"
        return "order", "possible"

    def refute(self, pairs: Mapping[Item, Item], opposed: Mapping[Pair, int]) -> bool:
        """Ignore numbers that pairs with other evidence contradict; returns whether there are new ones.

        Args:
            pairs: the known pairs.
            opposed: pairs that names or paths show, with as much evidence against them.
        """
        refuted = [_refuted(view, pairs, opposed) - view.refuted for view in self.views]
        if any(refuted):
            self.views = [
                View(*steps, refuted=view.refuted | more)
                for steps, view, more in zip(self._steps, self.views, refuted, strict=True)
            ]
        return any(refuted)

    def _speak_differently(self, one: Item, other: Item) -> bool:
        return any(
            ours.key != theirs.key and ours.speaks and theirs.speaks
            for _, ours, theirs in self._labels(one, other)
        )


def _refuted(view: View, pairs: Mapping[Item, Item], opposed: Mapping[Pair, int]) -> set[Family]:
    found: set[Family] = set()
    for one, other in pairs.items():
        if one not in view.left or other not in view.right:
            continue
        ours, theirs = view.left[one], view.right[other]
        if ours.key == theirs.key:
            continue
        if ours.skeleton == theirs.skeleton:
            places = dict(theirs.families)
            found |= {family for family, place in ours.families if places.get(family, place) != place}
        elif view.against(ours, theirs):
            found |= {family for family, _ in (*ours.families, *theirs.families)}
    for (one, other), oppose in opposed.items():
        if view.agree(one, other):
            found |= {family for family, _ in view.left[one].families if view.weight_of(family) <= oppose}
    return found


def _contents(side: Sequence[Item]) -> dict[str, frozenset[tuple[Hashable, int]]]:
    """The types and shapes of each layer's variables, and how many there are of each."""
    found: dict[str, Counter[Hashable]] = defaultdict(Counter)
    for each in side:
        found[holder_of(each)][each.kind] += 1
    return {holder: frozenset(kinds.items()) for holder, kinds in found.items()}


def _endings(names: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    return {words[at:] for words in names for at in range(1, len(words))}


def holder_of(item: Item) -> str:
    """The layer of a tensor: its object's path, or else its name, without the last part."""
    return (item.path or item.full_name).rpartition("/")[0]


def role_of(item: Item) -> str:
    """The name of a tensor in its layer; "" if that has a number."""
    steps = read_path(item.path) if item.path else read_name(item.full_name)
    return steps[-1].word if steps and steps[-1].number is None else ""


def _both_steps(left: Sequence[Item], right: Sequence[Item]) -> tuple[list[tuple[Steps, Steps]], int]:
    """The names, the paths, and names with paths if only one side has paths; how many are names on both sides."""
    sides = left, right
    paths = [{each: read_path(each.path) for each in side if each.path} for side in sides]
    names = [{each: read_name(each.full_name) for each in side if each.full_name} for side in sides]
    below = [_below_roots(side) for side in sides]
    has_paths = [bool(each) for each in paths]
    found = [(names[0], names[1])]
    if all(below):
        found.append((_roots(left), _roots(right)))
    elif any(below):
        found.append((below[0] or names[0], below[1] or names[1]))
    named = len(found)
    if all(has_paths):
        # If Keras 3 leaves layers out of names, the other side's names may agree with their paths.
        shared = [len({*steps.values()}) < len(steps) for steps in names]
        if shared == [True, False]:
            found.append((paths[0], names[1]))
        elif shared == [False, True]:
            found.append((names[0], paths[1]))
        found.append((paths[0], paths[1]))
    elif any(has_paths):
        found.append((paths[0] or names[0], paths[1] or names[1]))
    return found, named


def _below_roots(side: Sequence[Item]) -> Steps:
    """Names below the root object's name for their model, if names alone do not tell several models apart."""
    names = Counter(each.full_name for each in side if each.full_name)
    found = _roots(side)
    several = len({steps[0] for steps in found.values()}) > 1
    return found if several and any(count > 1 for count in names.values()) else {}


def _roots(side: Sequence[Item]) -> Steps:
    return {
        each: read_name(f"{each.path.partition('/')[0]}/{each.full_name}")
        for each in side
        if each.path and each.full_name
    }
