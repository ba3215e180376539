"""Which tensors are a model's weights, and its largest layers: the scopes that directly contain most parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tensorbundle.dtypes import DType
from tensorbundle.proto.paths import key_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.entries import TensorEntry

__all__ = ["Layer", "is_weight", "largest_layers"]

# Objects of Keras with metrics: of saved models (`keras_api/metrics`), of models, and of Keras 3's models.
_METRICS: Final = frozenset(("metrics", "keras_metrics", "_metrics", "compiled_metrics"))


@dataclass(slots=True)
class Layer:
    """The variables directly below one path.

    Attributes:
        path: of an object, or a scope of names.
        tensors: how many variables there are.
        parameters: their elements.
        nbytes: their bytes.
        scopes: the scopes of their full names, where those are others than the path.
    """

    path: str
    tensors: int = 0
    parameters: int = 0
    nbytes: int = 0
    scopes: set[str] = field(default_factory=set)

    def to_json(self) -> dict[str, object]:
        """The fields as plain data, with the scope of the full names if all have the same."""
        return {
            "path": self.path,
            "scope": next(iter(self.scopes)) if len(self.scopes) == 1 else None,
            "tensors": self.tensors,
            "parameters": self.parameters,
            "nbytes": self.nbytes,
        }


def is_weight(key: str, entry: TensorEntry) -> bool:
    """Whether a tensor that is neither optimizer state nor an object graph is one of the model's weights.

    Text, truth values, single integers (`save_counter`, `global_step`) and the metrics of Keras are not.
    """
    if not entry.dtype.itemsize or entry.dtype is DType.bool:
        return False
    if entry.elements == 1 and entry.dtype.is_integer:
        return False
    path = key_path(key)
    return path is None or path == key or _METRICS.isdisjoint(path.split("/"))


def largest_layers(
    variables: Mapping[str, TensorEntry], full_names: Mapping[str, str], most: int
) -> list[Layer]:
    """The layers with most parameters, the largest first.

    Args:
        variables: the entries of the model's weights, by key.
        full_names: by key, of those that have one.
        most: how many layers to return.
    """
    layers: dict[str, Layer] = {}
    for key, entry in variables.items():
        full_name = full_names.get(key, "")
        path = _layer_of(key_path(key) or key, full_name)
        layer = layers.setdefault(path, Layer(path))
        layer.tensors += 1
        layer.parameters += entry.elements
        layer.nbytes += entry.nbytes
        scope = full_name.rpartition("/")[0]
        if scope and scope != path:
            layer.scopes.add(scope)
    return sorted(layers.values(), key=lambda each: (-each.parameters, _natural(each.path)))[:most]


def _natural(path: str) -> list[tuple[str, int]]:
    """A path as it is sorted by people: `conv_2` before `conv_10`."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d{0,9})", path)]


def _layer_of(path: str, full_name: str) -> str:
    """The scope of a variable; of an item of a list, as `variables/3`, that of its full name."""
    scope, _, name = path.rpartition("/")
    if scope and not name.isdecimal():
        return scope
    return full_name.rpartition("/")[0] or path
