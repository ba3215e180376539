"""Words of names, with the synonyms of several programs, and the order of names."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.matching.steps import MAX_STEPS, NUMBERED, Step, read_name
from tensorbundle.tools.optimizers.ends import Ends

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from tensorbundle.tools.matching.items import Item

__all__ = ["AllWords", "are_all", "are_telling", "natural", "scopes_in_front", "word_steps"]

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")
_DIMENSIONS: Final = re.compile(r"(?<=[a-z])[123][dD](?![a-zA-Z0-9])")  # of conv2d
_DIGITS: Final = 18  # of a number in a name; longer ones are not numbers
_MAX_NUMBERS: Final = 4  # in a name that is read by words
_MAX_TRIES: Final = 1 << 20  # of comparisons of words
# Synonyms, each mapped to one of them.
_SAME: Final = {
    **dict.fromkeys(("w", "kernel"), "weight"),
    **dict.fromkeys(("b", "bia", "biase"), "bias"),  # "bias" and "biases" without their ends
    "gamma": "scale",
    "beta": "offset",
    "emb": "embedding",
    "attn": "attention",
    "bn": "batchnorm",
}
# Words for parts of every layer, and Keras's words for layers; they do not tell which layer is meant.
_USUAL: Final = frozenset(
    {
        *("weight", "bias", "scale", "offset", "moving", "mean", "variance", "recurrent", "embedding", "#"),
        *("dense", "conv", "batch", "layer", "normalization", "batchnorm", "lstm", "gru", "cell", "rnn"),
        *("sequential", "functional", "model", "net", "block", "variable", "fully", "connected"),
    }
)


def are_telling(words: Iterable[str]) -> bool:
    """Whether words say which layer is meant."""
    return not _USUAL.issuperset(words)


@functools.lru_cache(maxsize=1 << 16)
def _words(name: str) -> tuple[str, ...]:
    """The words and numbers of a name, in the singular; synonyms, such as `w` and `kernel`, become one word.

    None of a name with very many scopes.
    """
    if name.count("/") >= MAX_STEPS:
        return ()
    words = [word.lower() for word in _WORD.findall(_DIMENSIONS.sub("", name))]
    singular = [
        word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] != "s" else word for word in words
    ]
    return tuple(_SAME.get(word, word) for word in singular)


class AllWords:
    """The words and numbers of all names of one side."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._tries = 0

    @functools.cached_property
    def _having(self) -> dict[Step, list[frozenset[Step]]]:
        having: dict[Step, list[frozenset[Step]]] = defaultdict(list)
        for name in self._names:
            words = frozenset(map(_step, frozenset(_words(name))))
            for each in words:
                having[each].append(words)
        return having

    def tell(self, steps: Iterable[Step]) -> bool:
        """Whether only one name has all of these words and numbers; False if it would take too long to find out."""
        some = frozenset(steps)
        found = 0
        for words in min((self._having[each] for each in some), key=len, default=()):
            self._tries += 1
            found += words >= some
            if found > 1 or self._tries > _MAX_TRIES:
                return False
        return True


def are_all(name: str, steps: Iterable[Step]) -> bool:
    """Whether these words and numbers of a name are all that it has."""
    return frozenset(steps).issuperset(map(_step, frozenset(_words(name))))


def word_steps(
    left: Mapping[Item, str], right: Mapping[Item, str]
) -> tuple[dict[Item, tuple[Step, ...]], dict[Item, tuple[Step, ...]]]:
    """The words of names as steps, without those that only one side uses; none if a side has no names with any."""
    shared = {word for name in left.values() for word in _words(name)}
    shared &= {word for name in right.values() for word in _words(name)}
    sides = _steps(left, shared), _steps(right, shared)
    return sides if all(any(each.values()) for each in sides) else ({}, {})


def _steps(names: Mapping[Item, str], shared: set[str]) -> dict[Item, tuple[Step, ...]]:
    found = {}
    for item, name in names.items():
        words = _words(name)
        if len(words) > MAX_STEPS or sum(map(str.isdecimal, words)) > _MAX_NUMBERS:
            continue  # of a hash, for instance
        found[item] = tuple(_step(word) for word in words if word.isdecimal() or word in shared)
    return found


def _step(word: str) -> Step:
    return Step("#", int(word[:_DIGITS]), NUMBERED) if word.isdecimal() else Step(word)


def scopes_in_front(
    left: Mapping[Item, str], right: Mapping[Item, str], may_be: Callable[[Item, Item], bool]
) -> Iterator[tuple[Item, Item]]:
    """Pairs whose names differ by a leading scope, as Keras adds one or leaves one out.

    A scope is used if no other scope that explains as many pairs claims one of its items. The rest of a name must
    contain a word that a program gave.
    """
    ours, theirs = _unique(left), _unique(right)
    claims: dict[tuple[str, bool], list[tuple[Item, Item]]] = defaultdict(list)
    for scope, rest, item in _scoped(theirs, ours):
        if _speaks(rest) and may_be(ours[rest], item):
            claims[scope, True].append((ours[rest], item))
    for scope, rest, item in _scoped(ours, theirs):
        if _speaks(rest) and may_be(item, theirs[rest]):
            claims[scope, False].append((item, theirs[rest]))
    sizes: dict[Item, list[int]] = defaultdict(list)  # of the scopes that claim an item
    for pairs in claims.values():
        for pair in pairs:
            for each in pair:
                sizes[each].append(len(pairs))
    others = {item: sorted(of)[-2] if len(of) > 1 else 0 for item, of in sizes.items()}  # the second largest
    for pairs in claims.values():
        if all(others[each] < len(pairs) for pair in pairs for each in pair):
            yield from pairs


def _unique(names: Mapping[Item, str]) -> dict[str, Item]:
    """The items with a unique name, by that name."""
    found: dict[str, Item | None] = {}
    for item, name in names.items():
        found[name] = None if name in found else item
    return {name: item for name, item in found.items() if item is not None and name}


def _speaks(name: str) -> bool:
    steps = read_name(name)
    return len(steps) == 1 or any(step.is_given for step in steps[:-1])


def _scoped(names: Mapping[str, Item], others: Iterable[str]) -> Iterator[tuple[str, str, Item]]:
    """Each name that is another one in a scope: the scope, the other name, and the item.

    Names with very many scopes are not read.
    """
    ends = Ends(others)
    for name, item in names.items():
        for rest in ends.of(name) if name.count("/") <= MAX_STEPS else ():
            if rest != name:
                yield name[: len(name) - len(rest)], rest, item


def natural(item: Item) -> tuple[list[list[tuple[bool, int, str]]], str]:
    """The sort key for names in natural order: `dense` before `dense_2`, and that before `dense_10`.

    Names with very many scopes are not read.
    """
    scopes = item.name.split("/", MAX_STEPS)
    parts = [_WORD.findall(part) for part in scopes] if len(scopes) <= MAX_STEPS else []
    return [
        [(not word.isdecimal(), int(word[:_DIGITS]) if word.isdecimal() else 0, word) for word in words]
        for words in parts
    ], item.name
