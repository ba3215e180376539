"""Names for the tensors in a file of Keras weights, which are numbered in groups named after classes of layers.

Each has the name that TensorFlow would give it: the name of its layer, which Keras stores since 3.6 and which is its group's
otherwise, and the name of the variable, which the class and the number of variables tell.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.keras.naming import base_of
from tensorbundle.tools.operations.converting.keras_weights import are_keras_weights
from tensorbundle.tools.optimizers.ordering import INNER, WHOLE

if TYPE_CHECKING:
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["full_names"]

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
