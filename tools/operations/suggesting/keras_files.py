"""Files of Keras weights as one side of a search.

Their tensors are numbered in groups named after classes of layers. Against a checkpoint with the model's objects, the pairs
are those of `convert --template`. Against other names, each tensor has the name that TensorFlow would give it: the name of
its layer, which Keras stores since 3.6 and which is its group's otherwise, and the name of the variable, which the class and
the number of variables tell.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.errors import BundleError
from tensorbundle.tools.keras.naming import base_of
from tensorbundle.tools.operations.converting.keras_weights import (
    KerasModel,
    from_keras_weights,
    to_keras_weights,
)
from tensorbundle.tools.operations.restoring.keras_loading import are_keras_weights
from tensorbundle.tools.optimizers.ordering import INNER, WHOLE
from tensorbundle.tools.rewriting.draft import Draft

if TYPE_CHECKING:
    from tensorbundle.checkpoint import Checkpoint

__all__ = ["Converted", "convert", "full_names"]

_KERNEL_AND_BIAS: Final = ("kernel", "bias")
_RECURRENT: Final = ("kernel", "recurrent_kernel", "bias")
# Names of variables in tf_keras, by class; without a bias, the last one is missing.
_VARIABLES: Final = {
    **dict.fromkeys(("dense", "einsum_dense", "conv1d", "conv2d", "conv3d"), _KERNEL_AND_BIAS),
    **dict.fromkeys(("conv1d_transpose", "conv2d_transpose", "conv3d_transpose"), _KERNEL_AND_BIAS),
    **dict.fromkeys(("depthwise_conv1d", "depthwise_conv2d"), ("depthwise_kernel", "bias")),
    **dict.fromkeys(
        ("separable_conv1d", "separable_conv2d"), ("depthwise_kernel", "pointwise_kernel", "bias")
    ),
    **dict.fromkeys(("cell", "lstm_cell", "gru_cell", "simple_rnn_cell"), _RECURRENT),
    "embedding": ("embeddings",),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "layer_normalization": ("gamma", "beta"),
    "group_normalization": ("gamma", "beta"),
    "normalization": ("mean", "variance", "count"),
    "p_re_lu": ("alpha",),
}
_LAST_OPTIONAL: Final = frozenset(("bias", "count"))
_STATE: Final = (f"{WHOLE}/", f"{INNER}/")


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
    """What `convert --template` would do; None unless one is a file of Keras weights and the other has objects."""
    draft, template = Draft.of(source), Draft.of(target)
    given = {id(each.expression): key for key, each in draft.tensors.items()}
    to_weights = draft.graph is not None and template.graph is None and are_keras_weights(template.tensors)
    if not to_weights and (
        draft.graph is not None or template.graph is None or not are_keras_weights(draft.tensors)
    ):
        return None
    why_not = ""
    try:
        if to_weights:
            to_keras_weights(draft, KerasModel(), template)
        else:
            from_keras_weights(draft, template, KerasModel())
    except BundleError as error:
        draft.tensors, why_not = {}, error.reason
    pairs = {
        given[id(each.expression)]: (key, each.matched)
        for key, each in draft.tensors.items()
        if id(each.expression) in given
    }
    return Converted("to-weights" if to_weights else "from-weights", pairs, why_not)


def full_names(draft: Draft) -> dict[str, str]:
    """By key, the names that the variables of a model have in TensorFlow; empty if this is no file of Keras weights."""
    if draft.graph is not None or not are_keras_weights(draft.tensors):
        return {}
    groups: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for key in draft.tensors:
        if key.startswith(_STATE):
            found[key] = key
        else:
            groups.setdefault(key.rpartition("/")[0], []).append(key)
    for group, keys in groups.items():
        at = group.removesuffix("vars").rstrip("/").rpartition("/")[2]
        layer = draft.attributes.get(group, {}).get("name")
        names = _VARIABLES.get(base_of(at), ())
        if len(keys) != len(names) and not (len(keys) == len(names) - 1 and names[-1] in _LAST_OPTIONAL):
            continue
        keys.sort(key=lambda key: int(key.rpartition("/")[2]))
        for key, name in zip(keys, names, strict=False):
            found[key] = f"{layer if isinstance(layer, str) else at}/{name}"
    counts = Counter(found.values())
    return {key: name for key, name in found.items() if counts[name] == 1}
