"""The slots that change with the shape of a variable; an error if a checkpoint does not tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import ConflictError, quoted
from tensorbundle.tools.optimizers.finding import Optimizers
from tensorbundle.tools.optimizers.table import axes_of

if TYPE_CHECKING:
    from tensorbundle.tools.optimizers.table import Shape
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["SlotAxes", "slots_of"]


# By the key of a slot: its role, and the axes of the variable that it has.
SlotAxes = dict[str, tuple[str, "Shape"]]


def slots_of(draft: Draft, key: str, optimizers: Optimizers | None = None) -> SlotAxes:
    """The slots of a variable, in every optimizer.

    Args:
        draft: the checkpoint.
        key: of the variable.
        optimizers: of the checkpoint, if they have been found already.

    Raises:
        ConflictError: slots may be this variable's or another's, or have a shape that does not follow the variable's.
    """
    optimizers = Optimizers.of_draft(draft) if optimizers is None else optimizers
    doubtful = optimizers.doubtful_for(key)
    if doubtful:
        slot, candidates = next(iter(doubtful.items()))
        more = f" and {len(doubtful) - 1} more" if len(doubtful) > 1 else ""
        raise ConflictError(
            f"{slot!r}{more} may be a slot of this variable or of another one, the checkpoint does not say which: "
            f"{quoted(candidates)}; 'slim' removes the optimizer's state",
            path=draft.prefix,
            key=key,
        )
    shape, found = draft.tensors[key].shape, {}
    for role, slot in optimizers.slots_of(key):
        axes = axes_of(role, shape, draft.tensors[slot].shape)
        if axes is None:
            raise ConflictError(
                f"{slot!r} is a slot of this tensor, and its shape {list(draft.tensors[slot].shape)} does not say how "
                f"it follows {list(shape)}; 'slim' removes the optimizer's state",
                path=draft.prefix,
                key=key,
            )
        found[slot] = role, axes
    return found
