"""Which variable of one checkpoint belongs in which place of another, by names, object paths, scopes and shapes."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from tensorbundle.errors import ConflictError
from tensorbundle.tools.matching.sides import described, listed, signature_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tensorbundle.tools.matching.sides import Side
    from tensorbundle.tools.rewriting.draft import DraftTensor
    from tensorbundle.tools.rewriting.expressions import Expression

__all__ = ["Placing"]

_NAME, _PATH, _SHAPE = "by name", "by path", "by shape"
_MAX_DEPTH: Final = 100

Value = TypeVar("Value")


class Placing:
    """The variables of `source` that have a place in `target` so far.

    Attributes:
        found: the output's tensors, by the target's keys.
        givers: the key of the source's tensor that a place has, or that its values are computed from.
        used: the keys of the source's tensors that have a place.
        conflicts: places and tensors that differ in type or shape.
    """

    def __init__(self, source: Side, target: Side) -> None:
        self.source, self.target = source, target
        self.found: dict[str, DraftTensor] = {}
        self.givers: dict[str, str] = {}
        self.used: set[str] = set()
        self.conflicts: list[str] = []

    def give(self, place: str, key: str, how: str, expression: Expression | None = None) -> None:
        """Let a place have a tensor of the source, or values computed from it."""
        tensor = self.source.draft.tensors[key]
        if expression is not None:
            tensor = replace(tensor, expression=expression)
        want, have = self.target.signature(place), signature_of(tensor)
        if want is not None and want != have:
            self.conflicts.append(
                f"{self.target.label(place)} is {described(*want)}, {self.source.label(key)} {described(*have)}"
            )
        old = self.target.draft.tensors.get(place)
        slices = old.slices if old is not None and old.slices else tensor.slices
        self.found[place] = replace(tensor, slices=slices, matched=how)
        self.givers[place] = key
        self.used.add(key)

    def fits(self, place: str, key: str) -> bool:
        """Whether a tensor of the source has the type and shape of a place, as far as that is known."""
        return self.target.signature(place) in (None, self.source.signature(key))

    def free(self) -> tuple[list[str], list[str]]:
        """The variables of the template, and those of the source, that are not matched yet; not those of optimizers."""
        target, source = self.target, self.source
        return (
            [key for key in target.names if key not in self.found and key not in target.owned],
            [
                key
                for key in source.names
                if key in source.draft.tensors and key not in self.used and key not in source.owned
            ],
        )

    def by_names(self) -> None:
        """Match variables of equal names and of equal paths; where these contradict each other, what fits all decides."""
        places, keys = self.free()
        named = _pairs(places, self.target.names, keys, self.source.names)
        located = _pairs(places, self.target.paths, keys, self.source.paths)
        doubtful = [place for place, key in named.items() if located.get(place, key) != key]
        if doubtful:
            all_named, all_located = (
                len(pairs) == len(places) and all(itertools.starmap(self.fits, pairs.items()))
                for pairs in (named, located)
            )
            if all_named == all_located:
                shown = [
                    f"{self.target.label(place)} would be {self.source.label(named[place])} by its name, "
                    f"{self.source.label(located[place])} by its path"
                    for place in doubtful
                ]
                raise ConflictError(
                    f"names and paths contradict each other, and rules (--map FILE) must decide: {listed(shown)}",
                    path=self.source.draft.prefix,
                )
            named = {} if all_located else named
        for place, key in named.items():
            self.give(place, key, _NAME)
        for place, key in located.items():
            if place not in self.found and key not in self.used:
                self.give(place, key, _PATH)

    def by_scopes(self) -> None:
        """Match variables whose names differ by a scope in front, as Keras puts one there or leaves one out.

        A scope counts where no other one that explains as much claims one of its variables.
        """
        free_places, free_keys = self.free()
        places = _unique(free_places, self.target.names)
        keys = _unique(free_keys, self.source.names)
        claims: dict[tuple[str, bool], list[tuple[str, str]]] = defaultdict(list)
        for name, place in places.items():
            for scope, rest in _splits(name):
                if rest in keys and self.fits(place, keys[rest]):
                    claims[scope, True].append((place, keys[rest]))
        for name, key in keys.items():
            for scope, rest in _splits(name):
                if rest in places and self.fits(places[rest], key):
                    claims[scope, False].append((places[rest], key))
        sizes: dict[tuple[bool, str], list[int]] = defaultdict(list)  # of what claims a place, or a tensor
        for pairs in claims.values():
            for place, key in pairs:
                sizes[True, place].append(len(pairs))
                sizes[False, key].append(len(pairs))
        for pairs in claims.values():
            claimed = [*((True, place) for place, _ in pairs), *((False, key) for _, key in pairs)]
            if all(sum(size >= len(pairs) for size in sizes[each]) == 1 for each in claimed):
                for place, key in pairs:
                    self.give(place, key, _NAME)

    def by_shapes(self) -> None:
        """Match what is left where type and shape leave no choice."""
        free_places, free_keys = self.free()
        places = _unique(
            [key for key in free_places if key not in self.target.private and not self.is_random_state(key)],
            {key: self.target.signature(key) for key in free_places},
        )
        keys = _unique(free_keys, {key: self.source.signature(key) for key in free_keys})
        for signature, key in keys.items():
            if signature in places:
                self.give(places[signature], key, _SHAPE)

    def is_random_state(self, place: str) -> bool:
        """Whether this is the state of a random number generator, which no other value suits."""
        path = self.target.paths.get(place, "")
        return path.endswith("/_state_var") or self.target.names[place].endswith("seed_generator_state")


def _pairs(
    places: Iterable[str], their: Mapping[str, str], keys: Iterable[str], our: Mapping[str, str]
) -> dict[str, str]:
    """The places and the tensors that share a name that is no one else's."""
    known = _unique(keys, our)
    return {place: known[name] for name, place in _unique(places, their).items() if name in known}


def _unique(keys: Iterable[str], values: Mapping[str, Value]) -> dict[Value, str]:
    """The keys whose value no other one has, by value; not those without one."""
    found: dict[Value, str | None] = {}
    for key in keys:
        value = values.get(key)
        if value:
            found[value] = None if value in found else key
    return {value: key for value, key in found.items() if key is not None}


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """The scopes that a name begins with, and the rest."""
    end = name.find("/")
    for _ in range(_MAX_DEPTH):
        if end < 0:
            return
        yield name[: end + 1], name[end + 1 :]
        end = name.find("/", end + 1)
