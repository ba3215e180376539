"""Dictionaries of variables, which Keras takes for variables of the layer around them.

A checkpoint stores a dictionary as it stores a layer. A SavedModel lists its layers, and a weights file that the model
wrote has no group for a dictionary. Otherwise the full names of variables tell: those of a layer are in the scope of
its name, `net/block/inner/w`, unless it was built by hand; those in a dictionary of `block` are not, `net/block/w`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorbundle.tools.keras.layers import is_layer, read_layers, written_by_keras_3
from tensorbundle.tools.keras.naming import NOT_TRAINED, TRAINED
from tensorbundle.tools.keras.sublayers import Dictionaries, common_scope, flattened, scope_of
from tensorbundle.tools.optimizers.nodes import generation_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from tensorbundle.proto.graph import Node
    from tensorbundle.tools.keras.layers import Layer

__all__ = ["absorb_dictionaries", "doubts"]

_NAMED: Final = NOT_TRAINED | TRAINED
_OF_KERAS_3: Final = frozenset(
    {"_kernel", "_embeddings"}
)  # variables, which tf_keras calls `kernel` and `embeddings`
_WRAPPED: Final = ("cell", "layer", "forward_layer", "backward_layer")  # attributes of wrappers: layers


def absorb_dictionaries(model: Layer, layers: Collection[Node] = ()) -> list[str]:
    """Give the variables in dictionaries to the layers around them, also where nothing tells whether it is a dictionary.

    Args:
        model: the model, which is changed.
        layers: the objects that a SavedModel says are layers, which tells it; empty if there is none.

    Returns:
        The paths of what are, or may be, dictionaries with variables.
    """
    found: list[str] = []
    seen, stack = {model}, [(model, _names_around(model, 1))]
    while stack:
        layer, names = stack.pop()
        through: list[Layer] = []
        parts = _sublayers(layer, layers, through)
        if holding := [each for each in parts if _may_hold_variables(each, layer, names, layers)]:
            scope = scope_of(layer)
            holding = [each for each in holding if layers or _own_scope(each) == scope]
        if holding:
            layer.absorb([*holding, *through])
            found += (each.path for each in holding)
            parts = _sublayers(layer, layers, [])
        inner = [each for each in parts if each not in seen]
        seen.update(inner)
        stack += [(each, _names_around(each, names + 1)) for each in inner]
    return found


def doubts(model: Layer, layers: Collection[Node] = ()) -> list[str]:
    """The paths of objects of which nothing tells whether they are layers or dictionaries of variables.

    Keras 3 does not store dictionaries.
    """
    return [] if layers or _is_of_keras_3(model) else absorb_dictionaries(read_layers(model.path, model.node))


def _is_of_keras_3(model: Layer) -> bool:
    optimizers = map(generation_of, model.node.children.values())
    return "keras3" in optimizers or any(
        written_by_keras_3(layer.node) or not _OF_KERAS_3.isdisjoint(layer.node.children)
        for layer in model.walk()
    )


def _names_around(layer: Layer, names: int) -> int:
    """How many names at most the full names of a layer's own variables have before theirs.

    Args:
        layer: the layer; the names of Functional and Sequential models are in no full names.
        names: how many layers there are around its variables, itself included.
    """
    return 0 if layer.listed is not None else names


def _sublayers(layer: Layer, layers: Collection[Node], through: list[Layer]) -> list[Layer]:
    """The sublayers of a layer, with the items of what are, or may be, dictionaries, which are added to `through`."""
    dictionaries = Dictionaries(layer, layers)

    def is_dictionary(each: Layer) -> bool:
        if found := dictionaries.has(each) is not False:
            through.append(each)
        return found

    return list(dict.fromkeys([*(layer.listed or ()), *flattened(layer, is_dictionary)]))


def _may_hold_variables(part: Layer, layer: Layer, names: int, layers: Collection[Node]) -> bool:
    """Whether an object in a layer may be a dictionary with variables, unless the scope of their names contradicts."""
    if not part.own or part.is_list or part in (layer.listed or ()) or generation_of(part.node) is not None:
        return False
    if layers:
        return part.node not in layers
    own = {each.key for each in layer.own}
    return not (
        is_layer(part)
        or part.path.rpartition("/")[2] in _WRAPPED
        or all(each.name in _NAMED for each in part.own)
        or len(_own_scope(part)) > names
        or all(each.key in own for each in part.own)  # they are stored in both places
    )


def _own_scope(layer: Layer) -> tuple[str, ...]:
    return common_scope([tuple(each.full_name.split("/")[:-1]) for each in layer.own])
