"""Propose a map that gives the tensors of one checkpoint the names in another.

Only indexes and object graphs are read, no values. Names depend on the checkpoints: they are keys in name-based ones,
and object paths in object-based ones, where slot variables are renamed with their variable. If the source is name-based
and the target object-based, the map is for `convert --template`. If the source is object-based and the target
name-based, the map is for the output of `convert --to tf1 --names keys`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError
from tensorbundle.proto.paths import key_path
from tensorbundle.tools.matching.deciding import match
from tensorbundle.tools.matching.items import Item, Match
from tensorbundle.tools.matching.sides import Side
from tensorbundle.tools.matching.values import checksum_of, is_telling
from tensorbundle.tools.operations.converting import keras_pairs
from tensorbundle.tools.operations.converting.conversion import to_tf1
from tensorbundle.tools.operations.editing.renaming import new_names, rename
from tensorbundle.tools.operations.editing.rules import rule_line, whole_rule
from tensorbundle.tools.operations.suggesting.keras_files import full_names
from tensorbundle.tools.operations.suggesting.named import described, kind_of, named_tensors, renamed_tensors
from tensorbundle.tools.operations.suggesting.rules import Deciding, rules_for
from tensorbundle.tools.rewriting.draft import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tensorbundle.checkpoint import Checkpoint, Path
    from tensorbundle.tools.operations.converting.keras_pairs import Converted
    from tensorbundle.tools.operations.editing.rules import Rule
    from tensorbundle.tools.operations.suggesting.named import Named

__all__ = ["Suggestion", "Use", "suggest"]

# The use of a map: `rename`, `rename` after `convert --to tf1 --names keys`, or `convert --template`. With a file of Keras
# weights on one side and objects on the other, `convert --template` finds the pairs itself.
Use = Literal["rename", "rename-converted", "template", "to-weights", "from-weights"]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A map from the names in one checkpoint to those in another, with the evidence.

    Attributes:
        source: the prefix of the first.
        target: the prefix of the second.
        use: of the map.
        matches: pairs of names, each name in at most one pair, in the order of the first checkpoint; including names
            that are equal on both sides, and possible pairs.
        rules: the rules for the certain and the likely pairs, in the order of a map.
        left_old: names of the first that are in no pair, each with its types and shapes.
        left_new: the same of the second.
        to_weights: whether the second is a file of Keras weights.
        why_not: between Keras weights and objects, why `convert --template` fails, and names are compared instead; or empty.
    """

    source: str
    target: str
    use: Use
    matches: tuple[Match, ...]
    rules: tuple[Deciding, ...]
    left_old: tuple[tuple[str, str], ...]
    left_new: tuple[tuple[str, str], ...]
    to_weights: bool = False
    why_not: str = ""

    @property
    def names(self) -> dict[str, str]:
        """The map as a dictionary from old to new names, without possible pairs and without equal names."""
        return {
            each.old: each.new
            for each in self.matches
            if each.confidence != "possible" and each.old != each.new
        }

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of pairs of each confidence, of equal names, of rules, and of names left over on both sides."""
        found = Counter(each.confidence for each in self.matches)
        return {
            "certain": found["certain"],
            "likely": found["likely"],
            "possible": found["possible"],
            "unchanged": sum(each.old == each.new for each in self.matches),
            "rules": len(self.rules),
            "left_old": len(self.left_old),
            "left_new": len(self.left_new),
        }


def suggest(source: Path, target: Path) -> Suggestion:
    """Propose a map for `rename --map` that gives the tensors of `source` their names in `target`.

    Args:
        source: anything that `tensorbundle.open` takes.
        target: anything that `tensorbundle.open` takes.

    Raises:
        BundleError: a checkpoint can't be read, or has objects whose paths can't be TF1 names.
    """
    with open_checkpoint(source) as one, open_checkpoint(target) as other:
        return _Search(one, other).suggestion()


class _Search:
    """Both sides of the search, as drafts and as items."""

    def __init__(self, source: Checkpoint, target: Checkpoint) -> None:
        self._source = source
        draft, other = Draft.of(source), Draft.of(target)
        self._use: Use = "rename"
        self._sides = Side.of(draft), Side.of(other)
        if draft.graph is not None and other.graph is None:
            self._use = "rename-converted"
            self._olds = renamed_tensors(source)
        else:
            self._use = "template" if draft.graph is None and other.graph is not None else "rename"
            self._olds = named_tensors(draft)
        self._news = named_tensors(other)
        if self._use == "template":  # `convert` handles the state of optimizers
            self._news = {
                name: each
                for name, each in self._news.items()
                if each.labels == ("",) and not self._sides[1].owned.intersection(each.keys)
            }
        sums = [
            {(kind_of(each), checksum_of(each.stored)) for each in side.values()}
            for side in (self._olds, self._news)
        ]
        self._common = sums[0] & sums[1]
        self._target = other.prefix
        self._full_names = full_names(draft), full_names(other)
        self._converted = keras_pairs.convert(source, target)

    def suggestion(self) -> Suggestion:
        """The result of the search."""
        if self._converted is not None and self._converted.pairs:
            return self._as_converted(self._converted)
        olds = {name: self._item(0, name, each) for name, each in self._olds.items()}
        news = {name: self._item(1, name, each) for name, each in self._news.items()}
        state = [
            {name for name, each in tensors.items() if side.owned.intersection(each.keys)}
            for side, tensors in zip(self._sides, (self._olds, self._news), strict=True)
        ]
        proven = _proven_across(olds, news, state)
        state[0] |= {each.old for each in proven}
        state[1] |= {each.new for each in proven}
        matches = (
            proven
            + match(
                [each for name, each in olds.items() if name not in state[0]],
                [each for name, each in news.items() if name not in state[1]],
            ).matches
        )
        matches += self._slots(matches, olds, news)
        matches = [replace(each, evidence=each.evidence.replace("path", "name")) for each in matches]
        taken_old, taken_new = {each.old for each in matches}, {each.new for each in matches}
        # A slot is only matched by its variable, or by its values.
        slots = [
            {key for each in side.optimizers for key in each.slots.values()}
            if self._use != "template"
            else set()
            for side in self._sides
        ]
        others = match(
            [
                olds[name]
                for name in sorted(state[0] - taken_old)
                if slots[0].isdisjoint(self._olds[name].keys)
            ],
            [
                news[name]
                for name in sorted((state[1] or news.keys()) - taken_new)
                if slots[1].isdisjoint(self._news[name].keys)
            ],
        )
        # This also matches a dictionary of all tensors of a TF1 checkpoint.
        matches += [
            each for each in others.matches if each.evidence.startswith(("checksum", "name", "full name"))
        ]
        taken_old, taken_new = {each.old for each in matches}, {each.new for each in matches}
        valued = match(  # only by values, which both sides have
            [each for name, each in olds.items() if each.checksum is not None and name not in taken_old],
            [each for name, each in news.items() if each.checksum is not None and name not in taken_new],
        )
        matches += [each for each in valued.matches if each.evidence == "checksum"]
        order = {name: number for number, name in enumerate(olds)}
        matches.sort(key=lambda each: order[each.old])
        matches, rules = self._rules(matches, olds, news)
        taken_old, taken_new = {each.old for each in matches}, {each.new for each in matches}
        left = [(name, described(each)) for name, each in self._olds.items() if name not in taken_old]
        return Suggestion(
            self._source.prefix,
            self._target,
            self._use,
            tuple(matches),
            tuple(rules),
            tuple((name, f"{what}, optimizer state" if name in state[0] else what) for name, what in left),
            tuple((name, described(each)) for name, each in self._news.items() if name not in taken_new),
            to_weights=bool(self._full_names[1]),
            why_not="" if self._converted is None else self._converted.why_not,
        )

    def _as_converted(self, found: Converted) -> Suggestion:
        """The pairs of `convert --template`."""
        sides = named_tensors(Draft.of(self._source)), named_tensors(self._sides[1].draft)
        old, new = ({key: name for name, each in side.items() for key in each.keys} for side in sides)
        matches = [
            Match(old.get(key, key), new.get(place, place), how, "likely")
            for key, (place, how) in found.pairs.items()
        ]
        taken = [{each.old for each in matches}, {each.new for each in matches}]
        left_old, left_new = (
            tuple((name, described(each)) for name, each in side.items() if name not in seen)
            for side, seen in zip(sides, taken, strict=True)
        )
        rules = tuple(Deciding(whole_rule(*each), rule_line(*each), each[:1]) for each in _changed(matches))
        return Suggestion(
            self._source.prefix,
            self._target,
            found.use,
            tuple(matches),
            rules,
            left_old,
            left_new,
            to_weights=bool(self._full_names[1]),
        )

    def _item(self, number: int, name: str, tensors: Named) -> Item:
        kind, checksum = kind_of(tensors), checksum_of(tensors.stored)
        common = (kind, checksum) in self._common
        item = self._sides[number].item(tensors.keys[0])
        named = self._full_names[number]
        return Item(
            name,
            kind,
            checksum if common else None,
            common and any(map(is_telling, tensors.stored)),
            sum(each.entry.elements for each in tensors.stored),
            named.get(tensors.keys[0], "") if named else item.full_name,
            item.path or (name if self._sides[number].paths else ""),
        )

    def _slots(
        self, matches: Sequence[Match], olds: Mapping[str, Item], news: Mapping[str, Item]
    ) -> list[Match]:
        """Pairs of slots whose variables are matched."""
        named = [
            {key: name for name, each in tensors.items() for key in each.keys}
            for tensors in (self._olds, self._news)
        ]
        pairs = {each.new: each for each in matches}
        keepers: dict[tuple[str, str], list[str]] = defaultdict(list)
        for optimizer in self._sides[0].optimizers:
            for (role, variable), key in optimizer.slots.items():
                keepers[role, named[0].get(variable, variable)].append(key)
        found = []
        taken = {each.old for each in matches}
        given = {each.new for each in matches}
        for optimizer in self._sides[1].optimizers:
            for (role, variable), key in optimizer.slots.items():
                pair, place = pairs.get(named[1].get(variable, variable)), named[1].get(key)
                kept = keepers[role, pair.old] if pair is not None else []
                old = named[0].get(kept[0]) if len(kept) == 1 else None
                if pair is None or place is None or old is None or old in taken or place in given:
                    continue
                if kind_of(self._olds[old]) == kind_of(self._news[place]):
                    taken.add(old)
                    one, other = olds[old], news[place]
                    is_proven = one.telling and one.checksum is not None and one.checksum == other.checksum
                    confidence = "certain" if is_proven else pair.confidence
                    found.append(Match(old, place, "slot", confidence, pair.settled or is_proven))
        return found

    def _rules(
        self, matches: Sequence[Match], olds: dict[str, Item], news: dict[str, Item]
    ) -> tuple[list[Match], list[Deciding]]:
        """The rules for these matches, tried out; pairs that can't be renamed together become possible pairs."""
        wanted = {each.old: each.new for each in matches if each.confidence != "possible"}
        others = {name for name in olds if name not in wanted}

        def may_be(name: str, new: str) -> bool:
            """Whether a rule may give a name left over this one: a free name, or that of another kind of tensor."""
            return (
                new not in claimed
                and new not in olds
                and (new not in news or news[new].kind != olds[name].kind)
            )

        def wholes(wanted: dict[str, str]) -> list[Deciding]:
            changed = [(old, new) for old, new in wanted.items() if old != new]
            return [Deciding(whole_rule(*each), rule_line(*each), each[:1]) for each in changed]

        claimed = set(wanted.values())
        clashing = {
            old for old, new in wanted.items() if new in others
        }  # the new name is that of a tensor left over
        allowed = {old: new for old, new in wanted.items() if old not in clashing}
        for kept, make in (
            (wanted, lambda kept: rules_for(kept, olds.keys() - kept.keys(), may_be)),
            (allowed, lambda kept: rules_for(kept, olds.keys() - kept.keys(), may_be)),
            (wanted, wholes),
            (allowed, wholes),
            ({}, wholes),
        ):
            rules = make(kept)
            if self._makes(rules, kept, may_be):
                break
        return [
            _possible(each) if each.old in wanted and each.old not in kept and each.old != each.new else each
            for each in matches
        ], rules

    def _makes(
        self, rules: Sequence[Deciding], wanted: dict[str, str], may_be: Callable[[str, str], bool]
    ) -> bool:
        """Whether rules really give names their new names, and tensors left over none that they may not have."""
        applied = [each.rule for each in rules]
        try:
            if self._use == "template":
                found = new_names(self._olds, applied, "", objects=False)
                return all(found.get(old, [old]) == [new] for old, new in wanted.items())
            return not applied or self._renames(applied, wanted, may_be)
        except BundleError:
            return False

    def _renames(self, rules: list[Rule], wanted: dict[str, str], may_be: Callable[[str, str], bool]) -> bool:
        draft = Draft.of(self._source)
        if self._use == "rename-converted":
            to_tf1(draft, names="keys")
        before = dict(draft.tensors)
        rename(draft, rules)
        after = {id(tensor): key for key, tensor in draft.tensors.items()}
        for old, new in wanted.items():
            for key in self._olds[old].keys if self._use == "rename" else (old,):
                expected = new + key[len(old) :] if old in (key, key_path(key)) else key
                if after.get(id(before[key])) != expected:
                    return False
        # A rule may match another path of the same object.
        for old in self._olds.keys() - wanted.keys():
            for key in self._olds[old].keys if self._use == "rename" else (old,):
                new = after.get(id(before[key]), key)
                if new != key and not may_be(old, key_path(new) or new):
                    return False
        return True


def _proven_across(
    olds: Mapping[str, Item], news: Mapping[str, Item], state: Sequence[set[str]]
) -> list[Match]:
    """Pairs with values that nothing else has, of which one is named as an optimizer's state and the other is not."""
    places: list[dict[object, list[str]]] = [defaultdict(list), defaultdict(list)]
    for found, side in zip(places, (olds, news), strict=True):
        for name, each in side.items():
            if each.telling and each.checksum is not None:
                found[each.kind, each.checksum].append(name)
    return [
        Match(names[0], places[1][values][0], "checksum", "certain", settled=True)
        for values, names in places[0].items()
        if len(names) == len(places[1].get(values, ())) == 1
        and (names[0] in state[0]) != (places[1][values][0] in state[1])
    ]


def _changed(matches: Sequence[Match]) -> list[tuple[str, str]]:
    return [(each.old, each.new) for each in matches if each.old != each.new]


def _possible(each: Match) -> Match:
    return Match(each.old, each.new, f"{each.evidence}, but in the way of another", "possible")
