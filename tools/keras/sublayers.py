"""The layers of a subclassed model, including those in its lists and dictionaries.

A checkpoint stores a dictionary of layers as it stores a layer that only has other layers: as an object with children. The
full names of variables tell them apart. Keras names the variables of a layer after the layers around it, so those
of one layer have its name in common, which no other layer has: `net/block/dense/kernel`, `net/block/dense_1/kernel`. The
layers in a dictionary of the model `net` only have in common what all layers of the model have: `net/dense/kernel`,
`net/dense_1/kernel`. A SavedModel lists its layers, and there no names are needed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import takewhile
from operator import itemgetter
from typing import TYPE_CHECKING

from tensorbundle.errors import ConflictError, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tensorbundle.proto.graph import Node
    from tensorbundle.tools.keras.layers import Layer

__all__ = ["flattened", "sublayers_of"]

Scope = tuple[str, ...]


def sublayers_of(model: Layer, layers: Collection[Node] = ()) -> list[Layer]:
    """`model.layers` of a subclassed model: its sublayers, and those in its lists and dictionaries, in the order stored.

    Args:
        model: the model.
        layers: the objects that a SavedModel says are layers; empty if there is none.

    Raises:
        ConflictError: nothing tells whether an object is a layer or a dictionary of layers; the reason lists all such.
    """
    first = _out_of_lists(model)
    shared = {below for each in first for below in each.walk() if below is not each}
    scopes = sorted(_scope(each) for each in first if each not in shared)
    unknown: list[str] = []

    def is_dictionary(layer: Layer) -> bool:
        if layers:
            return layer.node not in layers
        inner = _out_of_lists(layer)
        if len(inner) < 2:  # it is the same
            return False
        found = _is_dictionary(layer, inner, scopes, alone=first == [layer])
        if found is None:
            unknown.append(layer.path)
        return bool(found)

    found = flattened(model, is_dictionary)
    if unknown:
        raise ConflictError(
            f"the names of variables do not say whether {quoted(unknown)} are layers or dictionaries of layers; convert to "
            ".weights.h5, with a file that the model wrote (--template FRESH.weights.h5)"
        )
    return found


def flattened(model: Layer, is_dictionary: Callable[[Layer], bool]) -> list[Layer]:
    """The sublayers of a model, with the items of lists and dictionaries in their place, each once.

    Args:
        model: the model.
        is_dictionary: says it of an object that may be a dictionary.
    """
    found: dict[Layer, None] = {}
    seen = {model}
    stack = _out_of_lists(model)[::-1]
    while stack:
        layer = stack.pop()
        if layer not in seen:
            seen.add(layer)
            if layer.may_be_dictionary and is_dictionary(layer):
                stack += _out_of_lists(layer)[::-1]
            else:
                found[layer] = None
    return list(found)


def _out_of_lists(layer: Layer) -> list[Layer]:
    """The sublayers of a layer by its attributes, with the items of lists in their place, each once."""
    found: dict[Layer, None] = {}
    seen: set[Layer] = set()
    stack = [layer]
    while stack:
        each = stack.pop()
        if each is not layer and not each.is_list:
            found[each] = None
        elif each not in seen:
            seen.add(each)
            items = list(each.parts.items())
            if each.is_list:
                items.sort(key=lambda item: int(item[0]))
            stack += [item for _, item in reversed(items)]
    return list(found)


def _is_dictionary(layer: Layer, inner: list[Layer], scopes: list[Scope], *, alone: bool) -> bool | None:
    """Whether this is a dictionary, by the names of variables; None if they do not tell.

    Args:
        layer: an object that may be a layer or a dictionary.
        inner: the layers in it.
        scopes: of the model's objects, in ascending order.
        alone: whether the model has no other object.
    """
    scope = _scope(layer)
    if alone and len(scope) == 1:  # of the model, or of its only layer, if the model was built without a call
        return None
    if (alone and scope) or (scope and _count_inside(scopes, scope) < 2):
        return False
    below = [_scope(each) for each in inner if not each.may_be_dictionary]
    return True if scope not in below and len({*below}) == len(below) else None


def _scope(layer: Layer) -> Scope:
    """The names of layers with which the full names of all variables in this layer begin."""
    scopes = [tuple(each.full_name.split("/")[:-1]) for each in layer.variables()]
    same = takewhile(lambda names: len({*names}) == 1, zip(*scopes, strict=False))
    return tuple(names[0] for names in same)


def _count_inside(scopes: list[Scope], scope: Scope) -> int:
    """How many of these scopes, which are in ascending order, begin with this one."""
    begins = itemgetter(slice(len(scope)))
    return bisect_right(scopes, scope, key=begins) - bisect_left(scopes, scope, key=begins)
