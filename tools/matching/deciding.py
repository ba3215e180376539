"""Decides which tensors of two sides are the same; the only code that does.

A pair can be proven, or supported by hints. Proof of a pair:

    checksum   type, shape and checksum are equal, and no other tensor has them; zeros and similar values prove nothing

Hints are names, object paths, numbers, order and shapes. A hint is used unless one of at least the same weight
contradicts it; the strongest are used first (`steps.py` weighs names):

    name        equal names, or object paths
    full name   equal full names of objects at other paths
    scope       names that differ in a scope of all names of one side, or in the same way as names of known pairs
    order       the same position in a numbered family that is the same on both sides except for its numbers
    layer       the other tensors of a layer of which one tensor is matched
    words       equal words, among the words that both sides use
    shape       one tensor on each side has this type and shape, and there is no other choice left

A name that both sides have belongs to the same tensor: pairs that contradict it are refused. The tensors left over are
paired in their order, if both sides have the same number of them with a type and shape. These pairs are guesses, which
are only used on request.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.matching.evidence import HALF, Evidence, holder_of, role_of
from tensorbundle.tools.matching.items import Match
from tensorbundle.tools.matching.labels import Label, View
from tensorbundle.tools.matching.steps import GIVEN, ORDERED, read_name, read_path
from tensorbundle.tools.matching.substitutions import Substitutions
from tensorbundle.tools.matching.words import (
    AllWords,
    are_all,
    are_telling,
    natural,
    scopes_in_front,
    word_steps,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from tensorbundle.tools.matching.evidence import Pair
    from tensorbundle.tools.matching.items import Confidence, Item

__all__ = ["Decisions", "match"]

_CROWD: Final = 200  # items with one label; a label of more items is no evidence
_ROUNDS: Final = 10


class Decisions:
    """The result of matching.

    Attributes:
        matches: pairs, each item in one at most, in the order of the left side.
        resized: pairs that names and paths show, but whose types or shapes differ.
        contradictions: items of the right side whose given name means one item, and whose given path another.
        rivals: for items of the right side that are not settled, the items of the left side that names or paths could
            mean, each with the hint.
    """

    def __init__(self) -> None:
        self.matches: list[Match] = []
        self.resized: list[Pair] = []
        self.contradictions: list[Item] = []
        self.rivals: dict[Item, dict[Item, str]] = {}


def match(left: Sequence[Item], right: Sequence[Item], known: Mapping[str, str] | None = None) -> Decisions:
    """Match the items of two sides.

    Args:
        left: the items that have the values.
        right: the items that need values.
        known: names of pairs that were settled before, as hints for others.

    Names are unique on each side. The result is deterministic. The time is about linear, as a name is compared with few
    others.
    """
    if not (left and right):
        return Decisions()
    deciding = _Deciding(left, right, known or {})
    deciding.run()
    return deciding.decisions(left)


class _Deciding:
    """The search: `run` fills `found`."""

    def __init__(self, left: Sequence[Item], right: Sequence[Item], known: Mapping[str, str]) -> None:
        self._all = list(left), list(right)
        names = {each.name: each for each in right}
        self.pairs: dict[Item, Item] = {
            each: names[known[each.name]] for each in left if known.get(each.name) in names
        }
        self.found: dict[Item, Match] = {}
        self._left = {each.name: each for each in left if each not in self.pairs}
        self._right = {each.name: each for each in right if each not in set(self.pairs.values())}
        sums = _groups(left, right, _sum_key)
        # Items whose values are on both sides; those with telling values match no item with other values.
        self._valued = {each: key for key, sides in sums.items() for each in (*sides[0], *sides[1])}
        self._sums = sums
        self._evidence = Evidence(left, right)
        self._words = [AllWords([each.full_name or each.name for each in side]) for side in (left, right)]
        self._resized: dict[Item, Item] = {}
        self._claims: dict[Pair, str] = {}  # pairs that names and paths show, whether they were taken or not
        self._opposed: dict[Pair, int] = {}  # those with as much or more evidence against them

    def run(self) -> None:
        """Decide by proof, then by each kind of hints, the strongest first."""
        for ours, theirs in self._sums.values():
            if len(ours) == len(theirs) == 1 and ours[0].telling and self._are_free(ours[0], theirs[0]):
                self._take(ours[0], theirs[0], "checksum", "certain")
        proven = dict(self.pairs), dict(self.found)
        self._by_labels()
        while self._evidence.refute(self.pairs, self._opposed):
            self._forget(*proven)
            self._by_labels()
        for _ in range(_ROUNDS):
            before = len(self.pairs)
            self._scopes()
            self._layers()
            self._by_words()
            self._by_labels()
            if len(self.pairs) == before:
                break
        self._lone()

    def decisions(self, left: Sequence[Item]) -> Decisions:
        """The decisions, with guesses about the rest."""
        made = Decisions()
        made.resized = [
            (one, other)
            for one, other in self._resized.items()
            if one.name in self._left and other.name in self._right
        ]
        for one, other in made.resized:
            del self._left[one.name], self._right[other.name]
        for (one, other), hints in self._claims.items():
            if self._are_free(one, other):
                made.rivals.setdefault(other, {})[one] = hints
        made.contradictions = [
            other
            for other, rivals in made.rivals.items()
            if len(rivals) > 1
            and all(
                self._evidence.support(one, other) == GIVEN == self._evidence.opposition(one, other)
                for one in rivals
            )
        ]
        self._guesses()
        made.matches = [self.found[each] for each in left if each in self.found]
        return made

    # Pairs

    def _take(
        self, one: Item, other: Item, evidence: str, confidence: Confidence, *, settled: bool = True
    ) -> None:
        agree = one in self._valued and self._valued[one] == self._valued.get(other)
        if agree and evidence != "checksum":
            evidence += ", checksum"
        del self._left[one.name], self._right[other.name]
        self.pairs[one] = other
        self.found[one] = Match(one.name, other.name, evidence, confidence, settled)

    def _forget(self, pairs: dict[Item, Item], found: dict[Item, Match]) -> None:
        """Go back to the proven pairs."""
        self.pairs, self.found, self._resized = dict(pairs), dict(found), {}
        taken = set(pairs.values())
        self._left = {each.name: each for each in self._all[0] if each not in pairs}
        self._right = {each.name: each for each in self._all[1] if each not in taken}

    def _may_be(self, one: Item, other: Item) -> bool:
        """Whether types, shapes and values allow a pair."""
        if one.kind != other.kind and one.kind is not None and other.kind is not None:
            return False
        ours, theirs = self._valued.get(one), self._valued.get(other)
        telling = (ours is not None and one.telling) or (theirs is not None and other.telling)
        return not telling or ours == theirs

    def _take_unique(self, pairs: Mapping[Pair, str], *, confidence: Confidence = "likely") -> bool:
        """Take pairs whose items are in no other pair; returns whether there were any."""
        ours, theirs = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
        taken = [
            (pair, how)
            for pair, how in pairs.items()
            if ours[pair[0]] == theirs[pair[1]] == 1 and self._may_be(*pair)
        ]
        for (one, other), how in taken:
            self._take(one, other, how, confidence)
        return bool(taken)

    # Names and paths

    def _by_labels(self) -> None:
        """Match equal names and paths, those with the most weight first."""
        by_name = {each.full_name: each for each in self._right.values()}
        for one in [*self._left.values()]:
            other = by_name.get(one.full_name)
            if other is not None and self._evidence.is_named(one, other) and self._may_be(one, other):
                self._take(one, other, "name" if one.name == other.name else "full name", "likely")
        weights: dict[Pair, tuple[float, int]] = {}
        for view in self._evidence.views:
            for key, ours in view.by_key[0].items():
                theirs = view.by_key[1].get(key, ())
                if len(ours) <= _CROWD and len(theirs) <= _CROWD:
                    for one in ours:
                        for other in theirs:
                            if (one, other) not in weights and self._are_free(one, other):
                                weights[one, other] = (
                                    self._evidence.support(one, other),
                                    self._evidence.opposition(one, other),
                                )
        self._claims = {pair: self._claim(*pair) for pair in weights if self._may_be(*pair)}
        good = {pair: each for pair, each in weights.items() if each[0] > each[1]}
        self._opposed = {pair: each[1] for pair, each in weights.items() if each[0] <= each[1]}
        for least in (GIVEN, GIVEN - 1, ORDERED, HALF):
            for undisputed in (True, False):
                while True:
                    pool = [
                        pair
                        for pair, (support, oppose) in good.items()
                        if support >= least and (not oppose or not undisputed) and self._are_free(*pair)
                    ]
                    if not self._take_best(pool, least):
                        break

    def _claim(self, one: Item, other: Item) -> str:
        """The hint that a pair may be the same tensor."""
        if one.full_name and one.full_name == other.full_name:
            return "by its name"
        return "by its path" if one.path and one.path == other.path else "by its place"

    def _are_free(self, one: Item, other: Item) -> bool:
        return one.name in self._left and other.name in self._right

    def _take_best(self, pool: Sequence[Pair], least: float) -> bool:
        """Take pairs that are the only choice, by types and shapes if labels leave several."""
        if not pool:
            return False
        choices: tuple[dict[Item, list[Item]], dict[Item, list[Item]]] = (
            defaultdict(list),
            defaultdict(list),
        )
        for one, other in pool:
            choices[0][one].append(other)
            choices[1][other].append(one)
        named = self._evidence.named_kinds(self._left.values(), self._right.values())
        taken = []
        for one, others in choices[0].items():
            fitting = [other for other in others if self._may_be(one, other)]
            if not fitting and len(others) == 1 and len(choices[1][others[0]]) == 1 and least >= ORDERED:
                self._resized[one] = others[0]
            if len(fitting) != 1:
                continue
            [other] = fitting
            rivals = [each for each in choices[1][other] if self._may_be(each, other)]
            is_choice = len(others) > 1 or len(choices[1][other]) > 1 or least == HALF
            if len(rivals) != 1 or (is_choice and self._evidence.is_doubtful(one, other)):
                continue
            if self._evidence.is_automatic(one, other, named):
                continue
            if self._evidence.is_out_of_order(one, other) or self._evidence.is_miscounted(one, other):
                continue
            taken.append((one, other))
        for one, other in taken:
            self._take(one, other, *self._evidence.told_by(one, other))
        return bool(taken)

    # Other hints

    def _layers(self) -> None:
        """Match the other tensors of layers of which one tensor is matched, by their names in the layer."""
        holders: dict[str, set[str]] = defaultdict(set)
        for one, other in self.pairs.items():
            if holder_of(one) and holder_of(other):
                holders[holder_of(one)].add(holder_of(other))
        theirs = {(holder_of(each), role_of(each)): each for each in self._right.values()}
        pairs: dict[Pair, str] = {}
        for one in self._left.values():
            places = holders.get(holder_of(one), set())
            if len(places) == 1 and role_of(one):
                found = theirs.get((next(iter(places)), role_of(one)))
                if found is not None and not self._evidence.opposition(one, found):
                    pairs[one, found] = "layer"
        self._take_unique(pairs)

    def _scopes(self) -> None:
        """Match names that differ by a scope, or in the same way as names of known pairs."""
        ours = {item: item.full_name or item.name for item in self._left.values()}
        theirs = {item: item.full_name or item.name for item in self._right.values()}
        pairs = {
            pair: "scope"
            for pair in scopes_in_front(ours, theirs, self._may_be)
            if not self._evidence.opposition(*pair) and not self._evidence.is_open(*pair)
        }
        self._take_unique(pairs)
        known = Substitutions()
        known.learn(
            (one.name, other.name)
            for one, other in self.pairs.items()
            if one in self.found and self.found[one].confidence != "possible"
        )
        # The numbers of predicted names are compared in the same way as those of other names.
        predicted = {one: name for one in self._left.values() if (name := next(known.predict(one.name), ""))}
        if not any(name in self._right for name in predicted.values()):
            return
        read = read_path if any(each.path for each in self._right.values()) else read_name
        view = View(
            {one: read(name) for one, name in predicted.items()},
            {other: read(other.name) for other in self._right.values()},
        )
        pairs = {}
        for one, name in predicted.items():
            other = self._right.get(name)
            if other is None or view.left.get(one) is None or view.right.get(other) is None:
                continue
            label = view.left[one]
            same = label.key == view.right[other].key and not (label.is_open or label.is_shifted)
            if (
                same
                and self._may_be(one, other)
                and not self._evidence.opposition(one, other)
                and not self._evidence.is_open(one, other)
            ):
                pairs[one, other] = "scope"
        self._take_unique(pairs)

    def _by_words(self) -> None:
        """Match by words, among the words that both sides use."""
        names = [
            {item: item.full_name or item.name for item in side.values()}
            for side in (self._left, self._right)
        ]
        steps = word_steps(*names)
        if not steps[0]:
            return
        view = View(*steps)
        shared = [
            (ours[0], theirs[0])
            for key, ours in view.by_key[0].items()
            if len(ours) == 1 and len(theirs := view.by_key[1].get(key, [])) == 1
        ]
        if not shared:
            return
        # By words alone: where numbers are, on both sides. If there are `a/b` and `a_1/b`, `a/b` may lack a number.
        alike: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
        crowds: Counter[tuple[str, ...]] = Counter()
        for labels in (view.left, view.right):
            for each in labels.values():
                alike[_unnumbered(each)].add(each.skeleton)
            crowds |= Counter(map(_unnumbered, labels.values()))
        pairs: dict[Pair, str] = {}
        for pair in shared:
            label = view.left[pair[0]]
            words = _unnumbered(label)
            told = bool(label.families) or (are_telling(words) and crowds[words] == 1)
            if not told or len(alike[words]) > 1 or label.is_shifted or label.is_open:
                continue
            # If each name has words that the other lacks, those that they share must be in no third name.
            if any(
                are_all(side[each], found[each]) for side, found, each in zip(names, steps, pair, strict=True)
            ) or all(
                known.tell(found[each]) for known, found, each in zip(self._words, steps, pair, strict=True)
            ):
                pairs[pair] = "words"
        self._take_unique(
            {
                pair: how
                for pair, how in pairs.items()
                if not self._evidence.opposition(*pair)
                and not self._evidence.is_open(*pair)
                and not self._evidence.are_replaced(*pair)
            }
        )

    def _lone(self) -> None:
        """Match the only item of a type and shape on each side, if each type and shape on both sides has only one."""
        groups = _groups(self._left.values(), self._right.values(), lambda each: each.kind)
        alone = [(ours[0], theirs[0]) for ours, theirs in groups.values() if len(ours) == len(theirs) == 1]
        if len(alone) < len(groups):
            return
        pairs = {
            (one, other): "shape"
            for one, other in alone
            if (one.elements > 1 or not (one.full_name and other.full_name))
            and not self._evidence.opposition(one, other)
            and not self._evidence.is_doubtful(one, other)
        }
        self._take_unique(pairs)

    def _guesses(self) -> None:
        """Pair the items left over in their order, if both sides have the same number of them."""
        for by in (self._valued.get, lambda each: each.kind):
            groups = _groups(self._left.values(), self._right.values(), by)
            for ours, theirs in groups.values():
                if len(ours) != len(theirs):
                    continue
                for one, other in zip(sorted(ours, key=natural), sorted(theirs, key=natural), strict=True):
                    if self._may_be(one, other):
                        self._take(one, other, "order", "possible", settled=False)


def _unnumbered(label: Label) -> tuple[str, ...]:
    """The words of a label that was read by words, without its numbers."""
    return tuple(word for word in label.skeleton if word != "#")


def _sum_key(item: Item) -> Hashable:
    return None if item.checksum is None else (item.kind, item.checksum)


def _groups(
    left: Iterable[Item], right: Iterable[Item], by: Callable[[Item], Hashable]
) -> dict[Hashable, tuple[list[Item], list[Item]]]:
    """The groups that have items of both sides; an item whose key is None is in no group."""
    groups: dict[Hashable, tuple[list[Item], list[Item]]] = defaultdict(lambda: ([], []))
    for number, side in enumerate((left, right)):
        for each in side:
            groups[by(each)][number].append(each)
    groups.pop(None, None)
    return {key: sides for key, sides in groups.items() if sides[0] and sides[1]}
