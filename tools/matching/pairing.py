"""Which tensor of one checkpoint is which of another, by their values' checksums, types, shapes and names.

Evidence, the strongest first:

    checksum     type, shape and checksum are equal, and no other tensor's are
    name         the names are equal
    full name    the names that variables had in TF1 are equal
    scope        the name changes as those of pairs that are known already
    words        the numbers are equal, and the words that both sides use; or these alone, if that is unambiguous
    shape        no other tensor has this type and shape, or no other such one these values
    similar      more words are equal than in any other name
    order        as many tensors on both sides, in the order of their names

Tensors of equal checksums are matched with each other only; where there are several, as of zeros, the other evidence
decides, and "checksum" stands beside it. Nothing but a checksum makes a pair certain. What is only a possibility, as
all pairs by order are, is not used to find others.
"""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.tools.operations.suggesting.substitutions import Substitutions

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    Words = tuple[str, ...]
    Numbers = tuple[int, ...]
    Pair = tuple["Item", "Item"]
    Key = str | Words

__all__ = ["Confidence", "Item", "Match", "match"]

Confidence = Literal["certain", "likely", "possible"]
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")
# What programs call the same thing, each by one of its names.
_SAME: Final = {
    **dict.fromkeys(("w", "kernel"), "weight"),
    **dict.fromkeys(("b", "biase"), "bias"),  # "biases" without its end
    "gamma": "scale",
    "beta": "offset",
    "emb": "embedding",
    "attn": "attention",
}
_ROUNDS: Final = 10
_COMPARED: Final = 2_500  # pairs of names of one type and shape; where there are more, only equal words count
_COMPARED_IN_ALL: Final = 200_000
_SIMILAR: Final = 0.5  # of the words of both names
_MARGIN: Final = 0.15
_DIGITS: Final = 18  # of a number in a name; longer ones are not counted with


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One tensor, or one object with its tensors.

    Attributes:
        name: what it is renamed from, or to.
        kind: type and shape of its tensors.
        checksum: of its tensors, or None if they have none.
        telling: whether equal checksums mean the same tensor: not where values are few, or all zeros or ones.
        elements: how many values it has.
        full_name: its name in TF1, if that is another one.
    """

    name: str
    kind: Hashable
    checksum: Hashable = None
    telling: bool = True
    elements: int = 2
    full_name: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """A pair of names, and why they are one."""

    old: str
    new: str
    evidence: str
    confidence: Confidence


def match(left: Sequence[Item], right: Sequence[Item]) -> list[Match]:
    """Pairs of items, each item in one pair at most; in the order of `left`.

    Deterministic, and about linear in time: a name is compared with few others. Names are unique on each side.
    """
    matcher = _Matcher(left, right)
    matcher.run()
    order = {each.name: number for number, each in enumerate(left)}
    return sorted(matcher.found, key=lambda each: order[each.old])


@dataclass(slots=True)
class _Group:
    """Items of both sides that may be matched with each other."""

    left: list[Item] = field(default_factory=list)
    right: list[Item] = field(default_factory=list)

    @property
    def alone(self) -> Pair | None:
        """The pair, if there is one item on each side."""
        return (self.left[0], self.right[0]) if len(self.left) == len(self.right) == 1 else None


class _Matcher:
    """The search: `run` fills `found`."""

    def __init__(self, left: Sequence[Item], right: Sequence[Item]) -> None:
        self.found: list[Match] = []
        self._left = {each.name: each for each in left}
        self._right = {each.name: each for each in right}
        self._compared = 0
        self._known, self._learned = Substitutions(), 0  # the number of pairs that they were learned from
        sums = _groups(
            left, right, lambda each: None if each.checksum is None else (each.kind, each.checksum)
        )
        self._numbers = _numbers_in(left), _numbers_in(right)
        self._alike: dict[Hashable, bool] = {}  # whether these numbers mean the same on both sides
        # Items whose values are on both sides; what is telling among them goes with nothing else.
        self._valued = {each: key for key, group in sums.items() for each in (*group.left, *group.right)}
        kinds = _groups(left, right, lambda each: each.kind)
        self._alone = {group.alone for group in (*sums.values(), *kinds.values())} - {None}

    def run(self) -> None:
        """Match by one kind of evidence after another, the strongest first, until there are no new pairs."""
        for group in self._free(self._by_values):
            if group.alone and group.alone[0].telling:
                self._take(*group.alone, "checksum", "certain")
        phases = (self._same_names, self._full_names, self._scopes, self._words, self._lone, self._similar)
        groupings = (self._by_values, self._by_kind)
        for _ in range(_ROUNDS):
            before = len(self.found)
            for by in groupings:
                for phase in phases:
                    while phase(by):  # what names have in common says most, as soon as it is known
                        for each in groupings:
                            self._scopes(each)
            if len(self.found) == before:
                break
        for by in groupings:
            self._possible(by)

    # What may be matched with what

    def _by_values(self, item: Item) -> Hashable:
        """Items of equal values."""
        return self._valued.get(item)

    def _by_kind(self, item: Item) -> Hashable:
        """Items of one type and shape."""
        return None if item.telling and item in self._valued else (item.kind,)

    def _free(self, by: Callable[[Item], Hashable]) -> list[_Group]:
        return list(_groups(self._left.values(), self._right.values(), by).values())

    def _take(self, old: Item, new: Item, evidence: str, confidence: Confidence = "likely") -> None:
        agree = old in self._valued and self._valued[old] == self._valued.get(new)
        if agree and evidence != "checksum":
            evidence += ", checksum"
        del self._left[old.name], self._right[new.name]
        self.found.append(Match(old.name, new.name, evidence, confidence))

    def _take_all(self, pairs: Iterable[Pair], evidence: str) -> bool:
        """Take pairs, unless two of them have an item in common; whether there were any."""
        known = list(dict.fromkeys(pairs))
        olds, news = Counter(old for old, _ in known), Counter(new for _, new in known)
        taken = [(old, new) for old, new in known if olds[old] == news[new] == 1]
        for old, new in taken:
            self._take(old, new, evidence)
        return bool(taken)

    # Evidence

    def _same_names(self, by: Callable[[Item], Hashable]) -> bool:
        pairs = ((old, self._right[old.name]) for old in self._left.values() if old.name in self._right)
        return self._take_all([(old, new) for old, new in pairs if _are_one(by(old), by(new))], "name")

    def _full_names(self, by: Callable[[Item], Hashable]) -> bool:
        before = len(self.found)
        for left, right in ((_full_name, _full_name), (_name, _full_name), (_full_name, _name)):
            pairs: list[Pair] = []
            for group in self._free(by):
                named = {each: left(each) for each in group.left}
                pairs += _joined(named, {each: right(each) for each in group.right})
            self._take_all(pairs, "full name")
        return len(self.found) > before

    def _scopes(self, by: Callable[[Item], Hashable]) -> bool:
        self._known.learn((each.old, each.new) for each in self.found[self._learned :])
        self._learned = len(self.found)
        pairs = []
        for old in self._left.values():
            for name in self._known.predict(old.name) if by(old) is not None else ():
                new = self._right.get(name)
                if new is not None and _are_one(by(old), by(new)):
                    if self._fit(old, new, other_numbers=True):
                        pairs.append((old, new))
                    break
        return self._take_all(pairs, "scope")

    def _words(self, by: Callable[[Item], Hashable]) -> bool:
        ways = [(left, right) for left in (_name, _full_name) for right in (_name, _full_name)]
        for same in (False, True):
            for left, right in ways:
                pairs: list[Pair] = []
                for group in self._free(by):
                    words = {each: _tokens(left(each), same=same) for each in group.left}
                    others = {each: _tokens(right(each), same=same) for each in group.right}
                    pairs += _of_equal_words(words, others, self._fit)
                if self._take_all(pairs, "words"):
                    return True
        return False

    def _lone(self, by: Callable[[Item], Hashable]) -> bool:
        """What is the only one left of its kind or values, if it always was or the names have a common word."""
        pairs = []
        for group in self._free(by):
            if group.alone:
                old, new = group.alone
                always = group.alone in self._alone and old.elements > 1
                words, others = (set(_without_numbers(_tokens(each.name, same=True))) for each in group.alone)
                if always or (words & others and self._fit(old, new)):
                    pairs.append(group.alone)
        return self._take_all(pairs, "shape")

    def _similar(self, by: Callable[[Item], Hashable]) -> bool:
        pairs: list[Pair] = []
        for group in self._free(by):
            size = len(group.left) * len(group.right)
            if size <= _COMPARED and self._compared + size <= _COMPARED_IN_ALL:
                self._compared += size
                pairs += [each for each in _most_similar(group) if self._fit(*each)]
        return self._take_all(pairs, "similar")

    def _fit(self, old: Item, new: Item, *, other_numbers: bool = False) -> bool:
        """Whether nothing speaks against a pair of names in how names that differ in nothing else are numbered."""
        (family, numbers), (new_family, new_numbers) = (
            _numbered(_tokens(each.name, same=False)) for each in (old, new)
        )
        some, others = self._numbers[0][old.kind][family], self._numbers[1][new.kind][new_family]
        if numbers == new_numbers:
            key = old.kind, family, new_family
            if key not in self._alike:
                self._alike[key] = _numbered_alike(some, others)
            return self._alike[key]
        return other_numbers or len(some) == len(others) == 1

    def _possible(self, by: Callable[[Item], Hashable]) -> None:
        """What is left, in its order, where there are as many on both sides."""
        for group in self._free(by):
            if len(group.left) == len(group.right):
                olds, news = (sorted(side, key=_natural) for side in (group.left, group.right))
                for old, new in zip(olds, news, strict=True):
                    self._take(old, new, "order", "possible")


def _groups(
    left: Iterable[Item], right: Iterable[Item], by: Callable[[Item], Hashable]
) -> dict[Hashable, _Group]:
    """The groups that have items of both sides; what is None is in no group."""
    groups: dict[Hashable, _Group] = defaultdict(_Group)
    for each in left:
        groups[by(each)].left.append(each)
    for each in right:
        groups[by(each)].right.append(each)
    groups.pop(None, None)
    return {key: group for key, group in groups.items() if group.left and group.right}


def _are_one(key: Hashable, other: Hashable) -> bool:
    return key is not None and key == other


def _name(item: Item) -> str:
    return item.name


def _full_name(item: Item) -> str:
    return item.full_name


def _joined(left: Mapping[Item, Key], right: Mapping[Item, Key]) -> Iterator[Pair]:
    """The pairs whose keys are equal, and nobody else's; empty keys count for nothing."""
    news = _unique(right)
    for key, old in _unique(left).items():
        if key in news:
            yield old, news[key]


def _unique(keys: Mapping[Item, Key]) -> dict[Key, Item]:
    count = Counter(keys.values())
    return {key: each for each, key in keys.items() if key and count[key] == 1}


# Words


@functools.lru_cache(maxsize=1 << 16)
def _tokens(name: str, *, same: bool) -> Words:
    """The words and numbers of a name, in the singular; with `same`, what is usually the same is called the same."""
    words = [word.lower() for word in _WORD.findall(name)]
    singular = [
        word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] != "s" else word for word in words
    ]
    return tuple(_SAME.get(word, word) if same else word for word in singular)


def _without_numbers(words: Words) -> Words:
    return tuple(word for word in words if not word.isdecimal())


def _of_equal_words(
    olds: Mapping[Item, Words], news: Mapping[Item, Words], fit: Callable[[Item, Item], bool]
) -> Iterator[Pair]:
    """Pairs whose words are equal but for those that only one side uses; with numbers, then without."""
    shared = {word for words in olds.values() for word in words}
    shared &= {word for words in news.values() for word in words}
    left, right = (
        {
            each: tuple(word for word in words if word in shared or word.isdecimal())
            for each, words in side.items()
        }
        for side in (olds, news)
    )
    known, others = _by_family(left.values()), _by_family(right.values())
    alike = {family: _numbered_alike(numbers, others.get(family, set())) for family, numbers in known.items()}
    matched = [(old, new) for old, new in _joined(left, right) if alike[_numbered(left[old])[0]]]
    yield from matched
    done = {each for pair in matched for each in pair}
    wordy, others_wordy = (
        {each: _without_numbers(words) for each, words in side.items() if each not in done}
        for side in (left, right)
    )
    yield from ((old, new) for old, new in _joined(wordy, others_wordy) if fit(old, new))


def _numbered(words: Words) -> tuple[Words, Numbers]:
    """What names with other numbers have in common, and the numbers."""
    numbers = tuple(int(word[:_DIGITS]) for word in words if word.isdecimal())
    return tuple("#" if word.isdecimal() else word for word in words), numbers


def _by_family(names: Iterable[Words]) -> dict[Words, set[Numbers]]:
    """The numbers in the names that differ in nothing else."""
    found: dict[Words, set[Numbers]] = defaultdict(set)
    for words in names:
        family, numbers = _numbered(words)
        found[family].add(numbers)
    return found


def _numbers_in(items: Iterable[Item]) -> dict[Hashable, dict[Words, set[Numbers]]]:
    """The same of the items of each kind."""
    kinds: dict[Hashable, list[Words]] = defaultdict(list)
    for each in items:
        kinds[each.kind].append(_tokens(each.name, same=False))
    return {kind: _by_family(names) for kind, names in kinds.items()}


def _numbered_alike(some: set[Numbers], others: set[Numbers]) -> bool:
    """Whether numbers mean the same on both sides.

    They do if one side has all numbers that the other has, from the first on: layers 0 to 11 are not 1 to 12.
    """
    return bool(others) and min(some) == min(others) and (some <= others or some >= others)


def _most_similar(group: _Group) -> Iterator[Pair]:
    """Pairs that are more similar than either of them is to any other, by a margin."""
    items = (*group.left, *group.right)
    words = {each: Counter(_without_numbers(_tokens(each.name, same=True))) for each in items}
    scores = {(old, new): _similarity(words[old], words[new]) for old in group.left for new in group.right}
    best: dict[Item, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for pair, score in scores.items():
        for each in pair:
            best[each] = sorted([*best[each], score])[-2:]
    for pair, score in scores.items():
        ahead = min(score - best[each][0] for each in pair)
        if score >= _SIMILAR and ahead >= _MARGIN and all(score == best[each][1] for each in pair):
            yield pair


def _similarity(one: Counter[str], other: Counter[str]) -> float:
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0


def _natural(item: Item) -> tuple[list[list[tuple[bool, int, str]]], str]:
    """What sorts names as a person would: `dense` before `dense_2`, and that before `dense_10`."""
    parts = [_WORD.findall(part) for part in item.name.split("/")]
    return [
        [(not word.isdecimal(), int(word[:_DIGITS]) if word.isdecimal() else 0, word) for word in words]
        for words in parts
    ], item.name
