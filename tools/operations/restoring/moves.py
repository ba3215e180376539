"""Proposals where a program may have the objects of a checkpoint: in another scope, or under other numbers.

Proposals are made from paths, types and shapes alone. `trials.py` skips those that the matching of variables
contradicts (`tools/matching`), and tests whether the others help by restoring once more.
"""

from __future__ import annotations

import difflib
import functools
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.operations.editing.rules import is_plain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from tensorbundle.specs import Spec

__all__ = ["Move", "renumberings", "scope_moves"]

_SLOT_MARK: Final = "/.OPTIMIZER_SLOT/"
_TAIL: Final = 8  # parts at the end of a name that are compared
_ALIKE: Final = 8  # names with the same end; if there are more, the end tells nothing
_CANDIDATES: Final = 40
_FAMILY: Final = 400  # members of a list
_NUMBERED: Final = re.compile(r"(?P<stem>.*?)(?P<number>0|[1-9][0-9]{0,8})", re.DOTALL)


@dataclass(frozen=True)
class Move:
    """A set of objects that may have moved.

    Attributes:
        rules: old and new paths or scopes, as `rename` takes them.
        pairs: names in the checkpoint, each with the name in the program.
        aside: paths that objects which the program does not have are moved to, out of the way.
    """

    rules: tuple[tuple[str, str], ...]
    pairs: dict[str, str]
    aside: tuple[str, ...] = ()

    @functools.cached_property
    def targets(self) -> frozenset[str]:
        """The names in the program."""
        return frozenset(self.pairs.values())


def scope_moves(
    missing: Mapping[str, Spec],
    unused: Mapping[str, Spec],
    kept: Iterable[str],
    fixed: Collection[str],
    *,
    objects: bool,
) -> Iterator[Move]:
    """Moves from scopes of unused names to scopes of missing names, those of most names first.

    Args:
        missing: names that the program has and the checkpoint lacks.
        unused: names that the checkpoint has and the program lacks.
        kept: names in the checkpoint that must not move.
        fixed: names in the checkpoint that may move to another scope, but can't get another name in it.
        objects: whether names are object paths; an object moves with all below it, a name alone.
    """
    staying = sorted(kept)
    wanted = {name: spec for name, spec in missing.items() if _SLOT_MARK not in name}
    given = {name: spec for name, spec in unused.items() if _SLOT_MARK not in name}
    for (old, new), _ in _votes(wanted, given, fixed).most_common(_CANDIDATES):
        pairs = {}
        for name, spec in given.items():
            moved = new + name[len(old) :]
            if name.startswith(old) and moved in wanted and alike(spec, wanted[moved]):
                pairs[name] = moved
        rules = _rules(old, new, pairs, staying, objects=objects)
        if pairs and all(is_plain(each) or each == "/" for rule in rules for each in map(_bare, rule)):
            for name, moved in pairs.items():
                del given[name], wanted[moved]
            yield Move(rules, pairs)


def alike(found: Spec, wanted: Spec) -> bool:
    """Whether two tensors may be the same, apart from their types."""
    return wanted.shape in (None, found.shape)


def _bare(side: str) -> str:
    """A side of a rule without the '/' that marks a scope."""
    return side.removesuffix("/") or "/"


def _votes(
    missing: Mapping[str, Spec], unused: Mapping[str, Spec], fixed: Collection[str]
) -> Counter[tuple[str, str]]:
    """How many names would move from one scope to another; a scope ends in '/', the scope of all names is empty.

    Two names without a common end may belong to one renamed object, if there is only one such pair in a scope.
    """
    by_tail: dict[str, list[str]] = defaultdict(list)
    for name in missing:
        for start in _starts(name):
            by_tail[name[start:]].append(name)
    votes: Counter[tuple[str, str]] = Counter()
    left: dict[tuple[str, Spec], list[str]] = defaultdict(list)
    for name, spec in unused.items():
        for start in _starts(name):
            found = by_tail.get(name[start:], [])
            fitting = [each for each in found[: _ALIKE + 1] if alike(spec, missing[each])]
            if fitting and len(found) <= _ALIKE:
                for each in fitting:
                    votes[name[:start], each[: len(each) - len(name) + start]] += 1
                break
        else:
            if name in fixed:
                continue
            left[name.rpartition("/")[0], spec].append(name)
    gone: dict[tuple[str, Spec], list[str]] = defaultdict(list)
    for name, spec in missing.items():
        gone[name.rpartition("/")[0], spec].append(name)
    for place, names in left.items():
        if len(names) == 1 == len(gone.get(place, ())):
            votes[names[0], gone[place][0]] += 1
    return votes


def _starts(name: str) -> Iterator[int]:
    """The places where the last parts of a name begin: of the whole name, or of its last eight parts, first."""
    starts: list[int] = []
    slash = len(name)
    while slash >= 0 and len(starts) < _TAIL:
        slash = name.rfind("/", 0, slash)
        starts.append(slash + 1)
    yield from reversed(starts)


def _rules(
    old: str, new: str, pairs: Mapping[str, str], staying: Sequence[str], *, objects: bool
) -> tuple[tuple[str, str], ...]:
    """Rules that move the pairs and no name in `staying`: for the scope, for each part in it, or for each name."""
    if old in pairs:
        return ((old, new),)
    if not _any_below(staying, old):
        return ((old or "/", new or "/"),)
    inner = sorted({old + name[len(old) :].partition("/")[0] for name in pairs})
    if not any(_any_below(staying, f"{each}/") or _any_below(staying, each, exactly=True) for each in inner):
        if not objects:
            inner = sorted({old + "".join(name[len(old) :].partition("/")[:2]) for name in pairs})
        return tuple((each, new + each[len(old) :]) for each in inner)
    return tuple(sorted(pairs.items()))


def _any_below(names: Sequence[str], scope: str, *, exactly: bool = False) -> bool:
    """Whether one of some sorted names begins with `scope`, or is equal to it if `exactly` is set."""
    place = bisect_left(names, scope)
    return place < len(names) and (names[place] == scope if exactly else names[place].startswith(scope))


def renumberings(program: Mapping[str, Spec], stored: Mapping[str, Spec]) -> Iterator[Move]:
    """Moves of layers, or of elements of a list, that have other numbers in the program.

    Members of a family have one scope and one stem, `model/layer_with_weights-3` and `-4`; they are the same if they
    contain the same tensors. A scope that is in the way of a moved one is moved aside.

    Args:
        program: all names that the program has.
        stored: all names that the checkpoint has.
    """
    theirs = _families(stored)
    for family, own in _families(program).items():
        there = theirs.get(family, {})
        if there == own or not there or max(len(own), len(there)) > _FAMILY:
            continue
        old, new = sorted(there), sorted(own)
        matcher = difflib.SequenceMatcher(
            None, [there[number] for number in old], [own[number] for number in new], autojunk=False
        )
        moved = {}
        for block in matcher.get_matching_blocks():
            for offset in range(block.size):
                moved[old[block.a + offset]] = new[block.b + offset]
        stay = sum(number == moved[number] for number in moved)
        if stay == len(moved) or len(moved) <= sum(there.get(number) == own[number] for number in own):
            continue
        scope, stem = family
        rules = [(f"{scope}{stem}{a}", f"{scope}{stem}{b}") for a, b in moved.items() if a != b]
        taken = set(moved.values())
        aside = {
            f"{scope}{stem}{each}": f"{scope}unused_{stem}{each}"
            for each in old
            if each not in moved and each in taken
        }
        rules += aside.items()
        pairs = {
            f"{scope}{stem}{a}{tail}": f"{scope}{stem}{b}{tail}"
            for a, b in moved.items()
            if a != b
            for tail, _ in there[a]
        }
        if all(map(is_plain, (each for rule in rules for each in rule))):
            yield Move(tuple(rules), pairs, tuple(aside.values()))


def _families(names: Mapping[str, Spec]) -> dict[tuple[str, str], dict[int, tuple[tuple[str, str], ...]]]:
    """By scope and stem, by number: what each member contains, with its type and shape."""
    found: dict[tuple[str, str], dict[int, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for name, spec in names.items():
        if _SLOT_MARK in name:
            continue
        for start in _starts(name):
            part = name[start:].partition("/")[0]
            number = _NUMBERED.fullmatch(part)
            if number is not None:
                members = found[name[:start], number["stem"]]
                members[int(number["number"])].append((name[start + len(part) :], f"{spec.shape}"))
    return {
        family: {number: tuple(sorted(below)) for number, below in members.items()}
        for family, members in found.items()
    }
