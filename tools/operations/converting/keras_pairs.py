"""Which tensor of a file of Keras weights is which of a checkpoint with the objects of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tensorbundle.errors import BundleError
from tensorbundle.tools.keras.sequences import legacy_layers
from tensorbundle.tools.operations.converting.keras_weights import (
    KerasModel,
    are_keras_weights,
    from_keras_weights,
    to_keras_weights,
)
from tensorbundle.tools.optimizers.finding import Optimizers
from tensorbundle.tools.rewriting.draft import Draft

if TYPE_CHECKING:
    from collections.abc import Collection

    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.tools.rewriting.expressions import Expression

__all__ = ["Converted", "convert", "without_place"]


@dataclass(frozen=True, slots=True)
class Converted:
    """What `convert --template` would do with two checkpoints, of which one is a file of Keras weights.

    Attributes:
        use: which of the two it is: the target, "to-weights", or the source, "from-weights".
        pairs: keys of the source, and for each the key in the target and how it is known.
        why_not: why it would fail, or empty.
        computed: keys of the target whose values are computed, or stored a second time.
        backwards: whether the target was converted to the source, from which the pairs are known.
    """

    use: Literal["to-weights", "from-weights"]
    pairs: dict[str, tuple[str, str]]
    why_not: str
    computed: dict[str, Expression] = field(default_factory=dict)
    backwards: bool = False


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
    kept = {id(each.expression) for each in template.tensors.values()}
    why_not = ""
    try:
        if to_weights and not backwards:
            to_keras_weights(draft, KerasModel(), template)
        else:
            from_keras_weights(draft, template, KerasModel())
    except BundleError as error:
        draft.tensors, why_not = {}, error.reason
    pairs: dict[str, tuple[str, str]] = {}
    computed: dict[str, Expression] = {}
    for key, each in draft.tensors.items():
        one = given.get(id(each.expression))
        if one is not None and one not in pairs:
            pairs[one] = key, each.matched
        elif id(each.expression) not in kept:
            computed[key] = each.expression
    if backwards:
        pairs = {key: (one, matched) for one, (key, matched) in pairs.items()}
    return Converted(use, pairs, why_not, computed, backwards)


def without_place(objects: Checkpoint, weights: Checkpoint, keys: Collection[str]) -> dict[str, str]:
    """Why a file of Keras weights has no place for some tensors of the model's checkpoint, by their keys.

    Args:
        objects: the checkpoint.
        weights: the file.
        keys: of tensors that the file does not have. Optimizer state has a place, so none of it may be among them.
    """
    draft = Draft.of(objects)
    if not are_keras_weights(weights):
        return dict.fromkeys(keys, "not a weight of a layer, and a legacy .h5 file has no others")
    optimizers = Optimizers.of_draft(draft)
    lost = {key for each in optimizers.found for key in each.listed}
    everything = optimizers.state.issubset(keys)
    to_keras_weights(draft, KerasModel(), Draft.of(weights))
    reasons = {each.key: each.reason for each in draft.left_out}
    return {
        key: reasons.get(key, "which the conversion computes anew")
        for key in keys
        if key not in lost and not (everything and key in optimizers.state)
    }


def _has_weights(checkpoint: Checkpoint) -> bool:
    return are_keras_weights(checkpoint) or legacy_layers(checkpoint.index.attributes) is not None
