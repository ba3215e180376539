"""The layers of a subclassed model or of a layer, including those in its lists and dictionaries.

A checkpoint stores a dictionary of layers as it stores a layer that only has other layers: as an object with children. The
full names of variables tell them apart. Keras names the variables of a layer after the layers around it, so those
of one layer have its name in common, which no other layer has: `net/block/dense/kernel`, `net/block/dense_1/kernel`. The
layers in a dictionary of the model `net` only have in common what all layers of the model have: `net/dense/kernel`,
`net/dense_1/kernel`. A SavedModel lists its layers, and there no names are needed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cached_property
from itertools import takewhile
from operator import itemgetter
from typing import TYPE_CHECKING

from tensorbundle.errors import ConflictError, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from tensorbundle.proto.graph import Node
    from tensorbundle.tools.keras.layers import Layer

__all__ = ["Dictionaries", "common_scope", "flattened", "scope_of", "sublayers_of"]

Scope = tuple[str, ...]


def sublayers_of(model: Layer, layers: Collection[Node] = (), *, by_key: bool = False) -> dict[Layer, Layer]:
    """`model.layers` of a subclassed model: its sublayers, and those in its lists and dictionaries, as `flattened`.

    Args:
        model: the model.
        layers: the objects that a SavedModel says are layers; empty if there is none.
        by_key: whether dictionaries are in the order of their keys.

    Raises:
        ConflictError: nothing tells whether an object is a layer or a dictionary of layers; the reason lists all such.
    """
    dictionaries = Dictionaries(model, layers)
    unknown: list[str] = []

    def is_dictionary(layer: Layer) -> bool:
        found = dictionaries.has(layer)
        if found is None:
            unknown.append(layer.path)
        return bool(found)

    found = flattened(model, is_dictionary, by_key=by_key)
    if unknown:
        raise ConflictError(
            f"the names of variables do not say whether {quoted(unknown)} are layers or dictionaries of layers; convert to "
            ".weights.h5, with a file that the model wrote (--template FRESH.weights.h5)"
        )
    return found


def flattened(
    model: Layer, is_dictionary: Callable[[Layer], bool], *, by_key: bool = False
) -> dict[Layer, Layer]:
    """The sublayers of a model or layer, with the items of lists and dictionaries in their place, each once.

    Args:
        model: the model or layer.
        is_dictionary: says it of an object that may be a dictionary.
        by_key: whether the items of dictionaries are in the order of their keys, not in the order stored.

    Returns:
        For each, the list or dictionary that it is in; `model` if it is in none.
    """
    found: dict[Layer, Layer] = {}
    seen = {model}
    first = _items(model) if model.is_list else [*model.parts.values()]
    stack = [(each, model) for each in reversed(first)]
    while stack:
        layer, container = stack.pop()
        if layer in seen:
            continue
        seen.add(layer)
        if layer.is_list:
            stack += [(each, layer) for each in reversed(_items(layer))]
        elif layer.may_be_dictionary and is_dictionary(layer):
            keys = sorted(layer.parts) if by_key else [*layer.parts]
            stack += [(layer.parts[key], layer) for key in reversed(keys)]
        else:
            found[layer] = container
    return found


class Dictionaries:
    """Which sublayers of a model or layer are dictionaries of layers."""

    def __init__(self, model: Layer, layers: Collection[Node] = ()) -> None:
        """Nothing is read before it is asked for; for the arguments, see `sublayers_of`."""
        self._model, self._layers = model, layers

    def has(self, layer: Layer) -> bool | None:
        """Whether an object that may be one is a dictionary; None if nothing tells."""
        if layer.is_dictionary:
            return True
        if self._layers:
            return layer.node not in self._layers
        inner = _out_of_lists(layer)
        if len(inner) < 2:  # it is the same, unless what is in it is a dictionary
            return any(each.may_be_dictionary for each in inner)
        return _is_dictionary(layer, inner, self._scopes, alone=layer is self._only)

    @cached_property
    def _scopes(self) -> list[Scope]:
        first = _out_of_lists(self._model)
        shared = {below for each in first for below in each.walk() if below is not each}
        return sorted(scope_of(each) for each in first if each not in shared)

    @cached_property
    def _only(self) -> Layer:
        """The model's only layer, or its only dictionary with several items, in others with one; or the model itself."""
        layer, seen = self._model, {self._model}
        while len(inner := _out_of_lists(layer)) == 1 and inner[0] not in seen:
            layer = inner[0]
            seen.add(layer)
            if not layer.may_be_dictionary:
                break
        return layer


def _items(layer: Layer) -> list[Layer]:
    """The items of a list, in order."""
    return [layer.parts[name] for name in sorted(layer.parts, key=int)]


def _out_of_lists(layer: Layer) -> list[Layer]:
    """The sublayers of a layer by its attributes, with the items of lists in their place, each once."""
    return list(flattened(layer, lambda each: each.is_dictionary))


def _is_dictionary(layer: Layer, inner: list[Layer], scopes: list[Scope], *, alone: bool) -> bool | None:
    """Whether this is a dictionary, by the names of variables; None if they do not tell.

    Args:
        layer: an object that may be a layer or a dictionary.
        inner: the layers in it.
        scopes: of the model's objects, in ascending order.
        alone: whether the model has no other object.
    """
    scope = scope_of(layer)
    if alone and len(scope) == 1:  # of the model, or of its only layer, if the model was built without a call
        return None
    if (alone and scope) or (scope and _count_inside(scopes, scope) < 2):
        return False
    below = [scope_of(each) for each in inner if not each.may_be_dictionary]
    return True if scope not in below and len({*below}) == len(below) else None


def scope_of(layer: Layer) -> Scope:
    """The names of layers with which the full names of all variables in this layer begin."""
    return common_scope([tuple(each.full_name.split("/")[:-1]) for each in layer.variables()])


def common_scope(scopes: Sequence[Scope]) -> Scope:
    """The names that all of these begin with."""
    same = takewhile(lambda names: len({*names}) == 1, zip(*scopes, strict=False))
    return tuple(names[0] for names in same)


def _count_inside(scopes: list[Scope], scope: Scope) -> int:
    """How many of these scopes, which are in ascending order, begin with this one."""
    begins = itemgetter(slice(len(scope)))
    return bisect_right(scopes, scope, key=begins) - bisect_left(scopes, scope, key=begins)
