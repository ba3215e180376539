"""In which order Keras has the layers of a subclassed model, and those in a layer, where its versions differ.

Weights without names, in legacy files and in optimizers, are told apart by that order only, and so are layers of one class
in `.weights.h5` files. Both versions have attributes in the order in which they were first set. Apart from that:

- tf_keras has the items of a list or dictionary at the place of the list, those of a dictionary in the order of its keys
  (tf_keras/src/engine/base_layer.py, `_flatten_modules`; tensorflow/python/trackable/data_structures.py, `_values`);
- Keras 3 has all layers in the order in which they were added, also to lists (keras/src/utils/tracking.py). A checkpoint
  does not tell that of two lists that are filled in turn, but automatic names are numbered in the order of creation:
  `dense`, `dense_2` in the first, `dense_1`, `dense_3` in the second.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.tools.keras.sublayers import Dictionaries, common_scope, flattened, scope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from tensorbundle.proto.graph import Node
    from tensorbundle.tools.keras.layers import Layer

__all__ = ["KerasVersion", "Uncertain", "below", "by_numbers", "names_of", "uncertain", "uncertain_in"]

KerasVersion = Literal[2, 3]  # 2 also for tf_keras
Shape = tuple[int, ...]
_NUMBERED: Final = re.compile(r"(?P<base>.+?)(?:_(?P<number>\d{1,9}))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Layers of equal shapes in several lists or dictionaries, which may have been filled in turn.

    Attributes:
        layers: in the order stored.
        contradicted: whether the numbers in their names say that this is not the order in which they were made.
    """

    layers: list[Layer]
    contradicted: bool


def below(
    layer: Layer, version: KerasVersion, layers: Collection[Node] = (), *, doubtful: bool = False
) -> list[Layer]:
    """The sublayers of a layer or a model in the order of a version of Keras.

    Args:
        layer: the layer; of a Sequential or Functional model, its further attributes follow its layers.
        version: whose order.
        layers: the objects that a SavedModel says are layers; empty if there is none.
        doubtful: whether objects of which nothing tells whether they are dictionaries are taken for such.
    """
    found = _sublayers(layer, layers, doubtful=doubtful, by_key=version == 2)
    return list(dict.fromkeys([*(layer.listed or ()), *found]))


def _sublayers(
    layer: Layer, layers: Collection[Node], *, doubtful: bool = False, by_key: bool = False
) -> dict[Layer, Layer]:
    dictionaries = Dictionaries(layer, layers)

    def is_dictionary(each: Layer) -> bool:
        found = dictionaries.has(each)
        return doubtful if found is None else found

    return flattened(layer, is_dictionary, by_key=by_key)


def uncertain(model: Layer, shapes: Mapping[str, Shape], layers: Collection[Node] = ()) -> list[Uncertain]:
    """All layers in a model, at any depth, of which Keras 3 may have another order than the one stored.

    Args:
        model: the model.
        shapes: of the checkpoint's tensors, by key.
        layers: as of `below`.
    """

    def shapes_in(layer: Layer) -> tuple[Shape | None, ...]:
        return tuple(shapes.get(each.key) for each in layer.variables())

    found = []
    seen, stack = {model}, [model]
    while stack:
        layer = stack.pop()
        sublayers = _sublayers(layer, layers)
        found += uncertain_in(sublayers, layer, shapes_in)
        inner = [each for each in (*(layer.listed or ()), *sublayers) if each not in seen]
        seen.update(inner)
        stack += dict.fromkeys(inner)
    return found


def uncertain_in(
    sublayers: Mapping[Layer, Layer], model: Layer, shapes: Callable[[Layer], object]
) -> list[Uncertain]:
    """Those among the sublayers of one model or layer.

    Layers of other shapes can't be exchanged silently. The items of one list are in its order, and what is no item
    comes after the attributes that were set before it.

    Args:
        sublayers: in the order stored, with the list or dictionary that each is in.
        model: the model or layer.
        shapes: something that is equal for layers that may be exchanged.
    """
    alike: dict[object, list[Layer]] = defaultdict(list)
    for each, container in sublayers.items():
        if alike[shapes(each)] or container is not model:
            alike[shapes(each)].append(each)
    found = []
    for layers in alike.values():
        if len({sublayers[each] for each in layers}) > 1:
            numbers = _numbers(layers)
            if numbers is None or numbers != sorted(numbers):
                found.append(Uncertain(layers, numbers is not None))
    return found


def by_numbers(layers: Sequence[Layer]) -> list[Layer] | None:
    """Layers in the order of the numbers in their names; None if they do not have numbers of one class."""
    numbers = _numbers(layers)
    if numbers is None:
        return None
    return [each for _, each in sorted(zip(numbers, layers, strict=True), key=itemgetter(0))]


def names_of(layers: Sequence[Layer]) -> list[str] | None:
    """The names of layers of one model, by the full names of their variables; None if they do not tell."""
    scopes = [scope_of(each) for each in layers]
    place = len(common_scope(scopes))
    names = [each[place] for each in scopes if len(each) > place]
    return names if len({*names}) == len(layers) else None


def _numbers(layers: Sequence[Layer]) -> list[int] | None:
    found = [match for name in names_of(layers) or () if (match := _NUMBERED.fullmatch(name))]
    one = len({each["base"] for each in found}) == 1
    return [int(each["number"] or 0) for each in found] if one else None
