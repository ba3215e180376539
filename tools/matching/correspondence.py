"""The keys of the same tensors in two checkpoints of one program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import ConflictError, listed
from tensorbundle.tools.matching.deciding import match
from tensorbundle.tools.matching.sides import Side

if TYPE_CHECKING:
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["corresponding", "keys_in"]


def keys_in(draft: Draft, other: Draft) -> dict[str, str]:
    """The key in `draft` of each tensor of `other`, by its key in `other`, as `corresponding` finds them.

    Raises:
        ConflictError: names differ, and do not show which variables are the same; the reason lists them.
    """
    meant, doubts = corresponding(draft, other)
    if doubts:
        shown = listed([Side.of(other).label(key) for key in doubts], separator="; ")
        raise ConflictError(
            f"names do not tell which tensors here are {shown} of {other.prefix}; convert --template {other.prefix} "
            "--map FILE gives it the same structure",
            path=draft.prefix,
        )
    return {key: key for key in other.tensors} | meant


def corresponding(draft: Draft, other: Draft) -> tuple[dict[str, str], list[str]]:
    """The key in `draft` of tensors of `other` that are matched, and the keys in `other` of those that names do not tell.

    Usually keys are equal, and none is matched. They differ if a key is a position in a list whose order differs between
    checkpoints, as `_all_variables/3` in exports of Keras 3; then variables are matched by name.
    """
    if draft.graph is None or other.graph is None:
        return {}, []
    ours, theirs = Side.of(draft), Side.of(other)
    if ours.names == theirs.names:
        return {}, []
    decided = match(
        [ours.item(key) for key in ours.names if key not in ours.owned],
        [theirs.item(key) for key in theirs.names if key not in theirs.owned],
    )
    meant = {each.new: each.old for each in decided.matches if each.settled}
    kept = {slot: key for each in ours.optimizers for slot, key in each.slots.items()}
    for optimizer in theirs.optimizers:
        for (role, variable), key in optimizer.slots.items():
            slot = kept.get((role, meant.get(variable, "")))
            if slot is not None:
                meant[key] = slot
            elif meant.get(variable) == variable and ours.names.get(key) == theirs.names.get(key):
                meant[key] = key
    told = {key for each in theirs.optimizers for key in each.slots.values()}
    told |= {key for key in theirs.names if key not in theirs.owned}
    return meant, [key for key in theirs.names if key in told and key not in meant]
