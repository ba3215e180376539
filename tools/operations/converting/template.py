"""Put the values of one checkpoint into the structure of a template.

A template is a checkpoint of the program that will restore the result, saved before training. Its variables get values
in these steps: by rules; by matching of variables (`tools/matching/placing.py`); by matching of optimizer state
(`optimizer_state.py`); and, among the rest, where only one variable on each side has a type and a shape. Variables that
get no value keep the template's value.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import ConflictError, TensorNotFoundError, listed, near_names
from tensorbundle.proto.paths import SAVE_COUNTER, key_path
from tensorbundle.tools.matching.placing import Placing
from tensorbundle.tools.matching.sides import Side
from tensorbundle.tools.operations.converting.fitting import (
    COUNTER,
    KEPT,
    MISSING,
    OLD_COUNTER,
    Fitting,
    rebuild,
    refuse_conflicts,
    refuse_leftovers,
    save_counter,
)
from tensorbundle.tools.operations.converting.optimizer_state import OptimizerState
from tensorbundle.tools.operations.editing.renaming import new_names, resolved
from tensorbundle.tools.rewriting.plan import LeftOut

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator, Sequence

    from tensorbundle.tools.operations.editing.rules import Rule
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["fit_template"]

_PATH, _RULE = "by path", "by rule"
_SHOWN: Final = 3  # candidates in a message
# The ends of keys of a lookup table's tensors (python/ops/lookup_ops.py).
_TABLE: Final = ("/.ATTRIBUTES/table-keys", "/.ATTRIBUTES/table-values")


def fit_template(
    draft: Draft,
    template: Draft,
    rules: Sequence[Rule] = (),
    *,
    counter: int | None = 1,
    fitting: Fitting | None = None,
) -> None:
    """Give a draft the structure of a template; `template` can't be used again.

    Args:
        draft: the values; name-based or object-based.
        template: the structure; if it is name-based, so is the result.
        rules: from names, or object paths, of the draft to full names or object paths of the template.
        counter: the value of the save counter if the template has one, or None for no save counter.
        fitting: whether values may be missing and tensors unused, and hyperparameters.

    Raises:
        TensorNotFoundError: a rule matches nothing, or its result is not in the template.
        ConflictError: values of another type or shape, names that mean several variables, values that are missing, or
            unused tensors; the reason lists them.
    """
    fitting = fitting or Fitting()
    placing = Placing(Side.of(draft), Side.of(template), reshapes=fitting.allow_reshape)
    fit = _Template(placing, fitting)
    fit.by_rules(rules)
    placing.decide()
    fit.state.fill()
    fit.others()
    fit.refuse_other_shapes()
    fit.refuse_contradictions()
    fit.finish(counter)


class _Template:
    """The template, and the values that its places have got so far."""

    def __init__(self, placing: Placing, fitting: Fitting) -> None:
        self.placing, self.fitting = placing, fitting
        self.source, self.target = placing.source, placing.target
        self.state = OptimizerState(placing, fitting)

    def by_rules(self, rules: Sequence[Rule]) -> None:
        """Match by rules; a rule whose result is not in the template is an error."""
        names = dict.fromkeys([*self.source.paths.values(), *self.source.names.values()])
        names.pop("", None)
        others = dict.fromkeys(
            text for key in _others(self.source) for text in (key_path(key), key) if rules and text
        )
        names |= others
        rules = resolved(rules, names, lambda name: self._name_of(name, others), str)
        new = new_names(names, rules, self.source.draft.prefix, objects=False) if rules else {}
        placed = {name for name, results in new.items() if sum(self._rule(name, each) for each in results)}
        for rule in rules:
            meant = names if rule.whole is None else [rule.whole]
            mine = [name for name in meant if rule.apply(name) in new.get(name, ())]
            if placed.isdisjoint(mine):
                result = new[mine[0]][0] if mine else ""
                near = near_names(result, [*self.target.paths.values(), *self.target.names.values()])
                hint = f"; near: {', '.join(map(repr, near))}" if near else ""
                raise TensorNotFoundError(
                    f"rule {rule.text!r} gives {result!r}, which does not exist{hint}",
                    path=self.target.draft.prefix,
                )

    def _name_of(self, name: str, others: Container[str | None]) -> str | None:
        """The source's own name of a tensor that a person named in another way; the path of a table or iterator."""
        path = self.source.naming.path(name)
        if path in others:
            return path
        key = self.source.find(name)
        return None if key is None else self.source.paths.get(key, self.source.names.get(key))

    def _rule(self, name: str, result: str) -> bool:
        """Match the template's `result` with the source's `name`, as a rule says; whether both exist."""
        pairs = self._meant(name, result)
        for place, key in pairs:
            if self.placing.givers.get(place, key) != key:
                raise ConflictError(
                    f"both {self.source.label(self.placing.givers[place])} and {name!r} would be {result!r}",
                    path=self.source.draft.prefix,
                )
            self.placing.give(place, key, _RULE)
        return bool(pairs)

    def _meant(self, name: str, result: str) -> list[tuple[str, str]]:
        """The places that `result` means, each with the tensor that `name` means there."""
        if name in self.source.names or name in self.source.by_path or name in self.source.by_name:
            place = self.target.find(result)
            key = None if place is None else self.source.find(name)
            return [(place, key)] if place is not None and key is not None else []
        places = {_end(each): each for each in self.target.naming.meant(result)}
        return [(places[_end(key)], key) for key in self.source.naming.meant(name) if _end(key) in places]

    def others(self) -> None:
        """Match tensors that are no variables (Python state, tables, iterators) by key; tables may have other sizes."""
        tensors = self.source.draft.tensors
        for key in _others(self.target):
            tensor = self.target.draft.tensors[key]
            known = key in self.source.names or key in self.placing.found
            if known or key not in tensors or key in self.placing.used:
                continue
            want, have = tensor.spec, tensors[key].spec
            if want.dtype is have.dtype and want.rank == have.rank:
                self.placing.give(key, key, _PATH)

    def refuse_other_shapes(self) -> None:
        """Refuse values of other types and shapes, unless their places may be missing and they may be unused."""
        conflicts = list(self.placing.conflicts)
        hint = keep = ""
        if self.placing.reshapable:
            those = "those" if self.placing.reshapable > 1 else "that"
            hint = f"; --allow-reshape (allow_reshape=True) reshapes {those} of as many elements"
        if not (self.fitting.allow_missing and self.fitting.allow_unused):
            for place, key in self.placing.resized.items():
                want, have = (side.spec(each) for side, each in ((self.target, place), (self.source, key)))
                if want is not None and have is not None:
                    conflicts.append(f"{self.target.label(place)} is {want}, {self.source.label(key)} {have}")
                    keep = "; --allow-missing and --allow-unused together keep the template's values there"
        refuse_conflicts(conflicts, self.source.draft.prefix, hint + keep)

    def refuse_contradictions(self) -> None:
        """Refuse names and paths that contradict each other, whatever else is allowed."""
        if self.placing.contradictions:
            raise ConflictError(
                "names and paths contradict each other; give rules (--map FILE) for: "
                + listed(self._choices(self.placing.contradictions), separator="; "),
                path=self.source.draft.prefix,
            )

    def _choices(self, places: Sequence[str]) -> list[str]:
        """The candidates for places, each with the evidence for it."""
        found = []
        for place in places:
            rivals = list(self.placing.rivals.get(place, {}).items())[:_SHOWN]
            meant = ", ".join(f"{self.source.label(key)} {hint}" for key, hint in rivals)
            found += [f"{self.target.label(place)} would be {meant}"] if rivals else []
        return found

    def _undecided(self, missing: Sequence[str]) -> str:
        """The candidates where names and paths do not decide, as the end of a sentence."""
        doubts = self._choices(missing)
        if not doubts:
            return ""
        return f"; names, paths and shapes are not enough to decide; give rules (--map FILE) for: {listed(doubts, separator='; ')}"

    def finish(self, counter: int | None) -> None:
        """Make the draft from the matches, or raise an error."""
        source, template = self.source.draft, self.target.draft
        stays = self._stays()
        missing = [
            key
            for key in [*self.target.names, *self._tables()]
            if key not in self.placing.found and key not in stays
        ]
        unused = sorted(
            key
            for key in source.tensors
            if key not in self.placing.used and key not in self.state.reasons and key != COUNTER
        )
        labels = [f"{self.target.label(key)}{self._shape_of(key)}" for key in missing]
        left = [f"{self.source.label(key)} {source.tensors[key].spec}" for key in unused]
        hint = self._hint(unused) + self._undecided(missing)
        refuse_leftovers(labels, left, self.fitting, source.prefix, template.prefix, hint)
        reasons = dict.fromkeys(unused, "no place in the template")
        reasons |= {key: reason for key, reason in self.state.reasons.items() if key not in self.placing.used}
        if COUNTER in source.tensors:
            reasons[COUNTER] = OLD_COUNTER
        source.left_out += [LeftOut(key, reasons[key]) for key in sorted(reasons)]
        lost = set(missing)
        tensors = {
            key: replace(tensor, matched=MISSING if key in lost else KEPT)
            for key, tensor in template.tensors.items()
        } | self.placing.found
        if template.graph is not None and SAVE_COUNTER in template.graph.root.children:
            if counter is None:
                template.graph.drop(SAVE_COUNTER)
                tensors.pop(COUNTER, None)
            else:
                tensors[COUNTER] = save_counter(counter)
        rebuild(source, tensors, template.graph)

    def _tables(self) -> list[str]:
        """The keys of the contents of the template's lookup tables; a state of an iterator or of Python may stay."""
        return [key for key in self.target.draft.tensors if key.endswith(_TABLE)]

    def _shape_of(self, key: str) -> str:
        spec = self.target.spec(key)
        return "" if spec is None else f" {spec}"

    def _stays(self) -> set[str]:
        """The places that may keep the template's value, as the source has none for them.

        These are states of random number generators and state of optimizers, except for what `needed` lists.
        """
        stays = {key for key in self.target.names if self.target.is_random_state(key)} | self.target.private
        for optimizer in self.target.optimizers:
            stays = (stays | set(optimizer.owned)) - self.state.needed(optimizer)
        return stays

    def _hint(self, unused: Collection[str]) -> str:
        """Why slots may be unused."""
        doubtful = {
            slot: candidates
            for each in self.source.optimizers
            for slot, candidates in each.doubtful.items()
            if slot in unused
        }
        if doubtful:
            slot, candidates = next(iter(doubtful.items()))
            shown = listed([self.source.label(each) for each in candidates], separator="; ")
            return f"; {self.source.label(slot)} may be a slot of any of these, the checkpoint does not say which: {shown}"
        slots = {key for each in self.source.optimizers for key in each.slots.values()}
        idle = [
            each.path
            for each in self.target.optimizers
            if each.generation in ("keras2", "keras3") and not each.slots
        ]
        if idle and not slots.isdisjoint(unused):
            return (
                f"; the template's optimizer {idle[0]!r} has no slots: it has them once "
                "optimizer.build(model.trainable_variables) was called"
            )
        return ""


def _others(side: Side) -> Iterator[str]:
    """The keys of tensors that are no variables: of Python state, tables and iterators."""
    return (key for key in side.draft.tensors if key not in side.names and key != COUNTER)


def _end(key: str) -> str:
    """The end of a key, which tells the tensors of one object apart."""
    return key.removeprefix(key_path(key) or "")
