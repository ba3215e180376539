"""Which tensor of a file of Keras weights is which of a checkpoint with the objects of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tensorbundle.errors import BundleError
from tensorbundle.tools.keras.sequences import legacy_layers
from tensorbundle.tools.operations.converting.keras_weights import (
    KerasModel,
    are_keras_weights,
    from_keras_weights,
    to_keras_weights,
)
from tensorbundle.tools.rewriting.draft import Draft

if TYPE_CHECKING:
    from tensorbundle.checkpoint import Checkpoint

__all__ = ["Converted", "convert"]


@dataclass(frozen=True, slots=True)
class Converted:
    """What `convert --template` would do with two checkpoints, of which one is a file of Keras weights.

    Attributes:
        use: which of the two it is: the target, "to-weights", or the source, "from-weights".
        pairs: keys of the source, and for each the key in the target and how it is known.
        why_not: why it would fail, or empty.
    """

    use: Literal["to-weights", "from-weights"]
    pairs: dict[str, tuple[str, str]]
    why_not: str


def convert(source: Checkpoint, target: Checkpoint) -> Converted | None:
    """What `convert --template` would do; None unless one is a file of Keras weights and the other has objects.

    Of a legacy file as the target, the way back tells which of its tensors is which.
    """
    to_weights = _has_weights(target)
    if to_weights == _has_weights(source):
        return None
    draft, template = Draft.of(source), Draft.of(target)
    if (draft if to_weights else template).graph is None:
        return None
    use: Literal["to-weights", "from-weights"] = "to-weights" if to_weights else "from-weights"
    backwards = to_weights and not are_keras_weights(target)
    if backwards:
        draft, template = template, draft
    given = {id(each.expression): key for key, each in draft.tensors.items()}
    why_not = ""
    try:
        if to_weights and not backwards:
            to_keras_weights(draft, KerasModel(), template)
        else:
            from_keras_weights(draft, template, KerasModel())
    except BundleError as error:
        draft.tensors, why_not = {}, error.reason
    found = [
        (given[id(each.expression)], key, each.matched)
        for key, each in draft.tensors.items()
        if id(each.expression) in given
    ]
    if backwards:
        found = [(key, one, matched) for one, key, matched in found]
    return Converted(use, {one: (key, matched) for one, key, matched in found}, why_not)


def _has_weights(checkpoint: Checkpoint) -> bool:
    return are_keras_weights(checkpoint) or legacy_layers(checkpoint.index.attributes) is not None
