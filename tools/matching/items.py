"""The items that are compared when two checkpoints are matched, and the pairs that are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["Confidence", "Item", "Match"]

Confidence = Literal["certain", "likely", "possible"]


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One tensor, or one object with its tensors.

    Attributes:
        name: unique on its side.
        kind: type and shape of its tensors.
        checksum: of its tensors, or None if they have none.
        telling: whether equal checksums mean the same tensor: not if values are few, or all zeros or ones.
        elements: how many values it has.
        full_name: the variable's name, or "" if it has none.
        path: the object's path, or "" if there are no objects.
    """

    name: str
    kind: Hashable
    checksum: Hashable = None
    telling: bool = True
    elements: int = 2
    full_name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """A pair of names of the same tensor, with the evidence.

    Attributes:
        old: the name on one side.
        new: the name on the other.
        evidence: the kind of evidence, see `deciding.py`.
        confidence: how sure it is.
        settled: whether it is used without a request: certain and likely pairs, and those found by the order of a whole
            family that is the same on both sides. Other pairs are guesses.
    """

    old: str
    new: str
    evidence: str
    confidence: Confidence
    settled: bool = True
