"""Finds the place of each variable of one checkpoint in another one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.matching.deciding import match
from tensorbundle.tools.rewriting.rearranging import reshaped

if TYPE_CHECKING:
    from tensorbundle.specs import Spec
    from tensorbundle.tools.matching.sides import Side
    from tensorbundle.tools.rewriting.draft import DraftTensor
    from tensorbundle.tools.rewriting.expressions import Expression

__all__ = ["RESHAPED", "Placing"]

RESHAPED: Final = "reshaped"

# Names of the evidence for a pair in plans and summaries.
_HOW: Final = {
    "checksum": "by value",
    **dict.fromkeys(("name", "full name", "scope"), "by name"),
    "words": "by words of the name",
    "path": "by path",
    "order": "by order",
    "layer": "by its layer",
    "shape": "by shape",
}


class Placing:
    """The variables of `source` that have a place in `target` so far.

    Attributes:
        found: the output's tensors, by the target's keys.
        givers: by place, the key of the source's tensor that is stored there or that its values are computed from.
        used: the keys of the source's tensors that have a place.
        conflicts: places and tensors that differ in type or shape.
        resized: by place, the key of a tensor that names and paths show, but whose type or shape differs.
        contradictions: the places for which names and paths show different tensors.
        rivals: by undecided place, the keys of possible tensors, each with the hint.
        made: the types and shapes of places that the template did not have.
        reshapable: how many of `conflicts` and `resized` have equal numbers of elements.
    """

    def __init__(self, source: Side, target: Side, *, reshapes: bool = False) -> None:
        """Start with no places filled; `reshapes`: whether values of as many elements get the shape of their place."""
        self.source, self.target, self._reshapes = source, target, reshapes
        self.found: dict[str, DraftTensor] = {}
        self.givers: dict[str, str] = {}
        self.used: set[str] = set()
        self.conflicts: list[str] = []
        self.resized: dict[str, str] = {}
        self.contradictions: list[str] = []
        self.rivals: dict[str, dict[str, str]] = {}
        self.made: dict[str, Spec] = {}
        self.reshapable = 0

    def give(self, place: str, key: str, how: str, expression: Expression | None = None) -> None:
        """Put a tensor of the source, or values computed from it, in a place."""
        tensor = self.source.draft.tensors[key]
        if expression is not None:
            tensor = replace(tensor, expression=expression)
        want, have = self.made.get(place) or self.target.spec(place), tensor.spec
        if want is not None and want != have and not self._grows(place, want, have):
            if _is_reshapable(want, have) and want.shape is not None and self._reshapes:
                tensor = replace(tensor, expression=reshaped(tensor.expression, want.shape), slices=())
                how = f"{how}, {RESHAPED}"
            else:
                self.reshapable += _is_reshapable(want, have)
                self.conflicts.append(
                    f"{self.target.label(place)} is {want}, {self.source.label(key)} {have}"
                )
        old = self.target.draft.tensors.get(place)
        slices = old.slices if old is not None and old.slices else tensor.slices
        self.found[place] = replace(tensor, slices=slices, matched=how)
        self.givers[place] = key
        self.used.add(key)

    def _grows(self, place: str, want: Spec, have: Spec) -> bool:
        """Whether this belongs to a table or an iterator, not to a variable: TensorFlow restores these in any size."""
        return place not in self.target.names and want.dtype is have.dtype and want.rank == have.rank

    def fits(self, place: str, key: str) -> bool:
        """Whether a tensor of the source has the type and shape of a place, as far as that is known."""
        return self.target.spec(place) in (None, self.source.spec(key))

    def free(self) -> tuple[list[str], list[str]]:
        """The variables of the template, and those of the source, that are not matched yet; without optimizers'."""
        target, source = self.target, self.source
        return (
            [key for key in target.names if key not in self.found and key not in target.owned],
            [
                key
                for key in source.names
                if key in source.draft.tensors and key not in self.used and key not in source.owned
            ],
        )

    def decide(self) -> None:
        """Assign tensors to all places that matching can decide."""
        places, keys = self.free()
        settled = {key: place for place, key in self.givers.items()}
        ours = [*dict.fromkeys((*settled, *keys))]
        theirs = [*settled.values(), *places]
        decisions = match(
            [self.source.item(each) for each in ours], [self.target.item(each) for each in theirs], settled
        )
        for each in decisions.matches:
            if each.settled:
                self.give(each.new, each.old, _HOW[each.evidence.partition(",")[0]])
        self.contradictions = [each.name for each in decisions.contradictions]
        for one, other in decisions.resized:
            want, have = self.target.spec(other.name), self.source.spec(one.name)
            is_reshapable = want is not None and have is not None and _is_reshapable(want, have)
            if is_reshapable and self._reshapes:
                self.give(other.name, one.name, "by name")
            else:
                self.reshapable += is_reshapable
                self.resized[other.name] = one.name
        self.rivals = {
            other.name: {each.name: hint for each, hint in rivals.items()}
            for other, rivals in decisions.rivals.items()
        }


def _is_reshapable(want: Spec, have: Spec) -> bool:
    """Whether two tensors have equal types and numbers of elements."""
    if want.shape is None or have.shape is None or want.dtype is not have.dtype:
        return False
    return math.prod(want.shape) == math.prod(have.shape)
