"""The names of optimizers' classes, as far as the names of variables and the slots show them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.optimizers.making import class_of
from tensorbundle.tools.optimizers.table import COPIES, TF1_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tensorbundle.tools.optimizers.optimizer import Optimizer

__all__ = ["class_names"]

_OF_SUFFIXES: Final = {
    **dict.fromkeys(("adam_m", "adam_v"), "AdamWeightDecay"),
    **dict.fromkeys(("lamb_m", "lamb_v"), "LAMB"),
}


def class_names(optimizers: Iterable[Optimizer], names: Mapping[str, str]) -> list[str]:
    """The names of optimizers' classes, "unknown" for a class that can't be told; without moving averages.

    Args:
        optimizers: of one checkpoint.
        names: of its variables, by key.
    """
    found: list[str] = []
    for each in optimizers:
        if each.generation == "average" or not (each.ran and any(each.owned)):
            continue
        if each.generation == "tf1":
            slots = Counter(_slot_name(names.get(slot, slot)) for slot in each.slots.values())
            found += [name for name, _ in slots.most_common()] or (["Adam"] if each.powers else [])
        else:
            found.append(_of_keras(each, names))
    return list(dict.fromkeys(found))


def _of_keras(optimizer: Optimizer, names: Mapping[str, str]) -> str:
    if optimizer.generation == "keras3" and optimizer.node is None and not optimizer.slots:  # a weights file
        return "unknown"
    scope = names.get(optimizer.iterations or "", "").rpartition("/")[0].rpartition("/")[2]
    scope = scope or optimizer.path.rpartition("/")[2] if optimizer.node is None else scope
    roles = {role for role, _ in optimizer.slots} - COPIES
    if optimizer.generation == "keras2" and roles == {"momentum"}:
        return "SGD or Lion"  # their lists have the same name
    if roles == {"m"}:
        return "Lion"
    name = class_of(roles) if roles else optimizer.class_name
    if scope and (not name or name.lower() in scope.lower()):  # Adam in AdamW
        return scope
    return name or "unknown"


def _slot_name(name: str) -> str:
    """The class that a slot's name shows."""
    if TF1_SUFFIX.fullmatch(name) is not None:
        return "Adafactor"
    last = name.rpartition("/")[2]
    stem, _, number = last.rpartition("_")
    stem = stem if number.isdecimal() and stem else last
    return _OF_SUFFIXES.get(stem, stem)
