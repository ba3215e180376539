"""The weights of a model in the order of Keras, by which legacy files and optimizers tell them apart.

Legacy `.h5` (keras/src/legacy/saving/legacy_h5_format.py): one group for each layer of the model that has weights, in
order, each with its trainable weights first. Neither classes nor names of layers are needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import ConflictError, UnsupportedError, quoted
from tensorbundle.tools.keras.dictionaries import absorb_dictionaries, doubts
from tensorbundle.tools.keras.layers import Layer, read_layers
from tensorbundle.tools.keras.order import below, uncertain
from tensorbundle.tools.keras.sublayers import sublayers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tensorbundle.proto.graph import Node
    from tensorbundle.tools.keras.layers import Variable
    from tensorbundle.tools.keras.order import KerasVersion
    from tensorbundle.tools.keras.weights import Ordering

__all__ = ["LegacyGroup", "as_listed", "legacy_groups", "legacy_layers", "legacy_writer", "variables_of"]

Shape = tuple[int, ...]
Attributes = Mapping[str, Mapping[str, str | list[str]]]  # by the path of a group
_WHOLE_MODEL: Final = "model_weights"  # the group with the weights in the file of a whole model


@dataclass(frozen=True, slots=True)
class LegacyGroup:
    """The weights of one layer in a legacy file, in order."""

    name: str
    variables: list[Variable]


@dataclass(frozen=True, slots=True)
class _Order:
    """The order of one version of Keras."""

    ordering: Ordering
    version: KerasVersion
    layers: Collection[Node]
    doubtful: bool

    def groups(self, model: Layer) -> list[LegacyGroup]:
        """The groups of a legacy file."""
        sublayers = model.listed
        if sublayers is None:
            sublayers = [*sublayers_of(model, self.layers, by_key=self.version == 2)]
        seen: set[Layer] = {model}
        groups = []
        for number, layer in enumerate(sublayers):
            ordered = list(self.subtree(layer, seen))
            kept = {each.key: each for each, is_trained in ordered if is_trained}
            kept |= {each.key: each for each, is_trained in ordered if each.key not in kept}
            if kept:
                groups.append(LegacyGroup(f"layer_{number:05d}", list(kept.values())))
        return groups

    def subtree(self, layer: Layer, seen: set[Layer]) -> Iterator[tuple[Variable, bool]]:
        """The variables of a layer and of those in it, and whether each is trained."""
        if layer in seen:
            return
        seen.add(layer)
        trained = {each.key: is_trained for each, is_trained in self.ordering.trained(layer)}
        for each in self.ordering.order(layer, self.version):
            yield each, trained[each.key] is not False
        for part in below(layer, self.version, self.layers, doubtful=self.doubtful):
            yield from self.subtree(part, seen)


def legacy_groups(
    model: Layer,
    ordering: Ordering,
    shapes: Mapping[str, Shape],
    layers: Collection[Node] = (),
    version: KerasVersion | None = None,
    *,
    as_stored: bool = False,
) -> list[LegacyGroup]:
    """The groups of a legacy file: the layers that have weights.

    Args:
        model: the model.
        ordering: the order of a layer's variables.
        shapes: of the checkpoint's tensors, by key.
        layers: the objects that a SavedModel says are layers; empty if there is none.
        version: the Keras that reads or wrote the file; None for Keras 3, unless tf_keras would take one layer for another
            without an error.
        as_stored: whether Keras 3 has layers in the order stored where that is not known.

    Raises:
        ConflictError: as `weights_of`, for the order of variables, and as `sublayers_of`; or the order of layers is not
            known.
        UnsupportedError: the model has variables of its own. Keras's loader compares them with `in`, and fails.
    """
    if model.own:
        raise UnsupportedError(
            f"the model itself has variables ({quoted(each.name for each in model.own)}), which Keras can't "
            "load from a legacy .h5 file; convert to .weights.h5",
            key=model.path,
        )
    ordering.must_be_known(model)
    doubtful = doubts(model, layers)
    other = read_layers(model.path, model.node)  # if what may be a dictionary of variables is one
    absorb_dictionaries(other)
    if doubtful and other.own:
        raise ConflictError(
            f"the names of variables do not say whether {quoted(doubtful)} are layers or dictionaries of variables of the model, "
            "which Keras can't load from a legacy .h5 file; convert to .weights.h5, with a file that the model wrote "
            "(--template FRESH.weights.h5)"
        )
    models = [model, other] if doubtful else [model]
    old, *others = (_Order(ordering, 2, layers, doubtful=True).groups(each) for each in models)
    if version == 2:
        others += (_Order(ordering, 2, layers, doubtful=False).groups(each) for each in models)
        if exchanged := _exchanged(old, others, shapes):
            raise ConflictError(
                f"whether {quoted(exchanged)} are in a dictionary, or of layers in one, which tf_keras has in the order of its "
                "keys, is not told by their names; use .weights.h5"
            )
        return old
    groups, *others3 = (_Order(ordering, 3, layers, doubtful=False).groups(each) for each in models)
    if exchanged := _exchanged(groups, others3, shapes):
        raise ConflictError(
            f"whether {quoted(exchanged)} are in a dictionary, whose variables Keras has among those of the layer around it, is "
            "not told by their names; use .weights.h5, with a file that the model wrote (--template FRESH.weights.h5)"
        )
    for each in uncertain(model, shapes, layers):
        if each.contradicted:
            raise ConflictError(
                f"the order in which Keras 3 has {quoted(one.path for one in each.layers)} is not known: the numbers in their "
                "names say that they were added to lists in turn; use .weights.h5, which has names for them"
            )
        if not as_stored:
            raise ConflictError(
                f"{quoted(one.path for one in each.layers)} have equal shapes, and whether Keras 3 has them in this order is not "
                "known: it depends on when they were added to their lists; say that it has (--keras 3), or use "
                ".weights.h5, which has names for them"
            )
    if version is None and (exchanged := _exchanged(groups, [old, *others], shapes)):
        raise ConflictError(
            f"{quoted(exchanged)}, which may be in a dictionary, have equal shapes: tf_keras has them in the order of its keys, "
            "Keras 3 as they were added to it; say whose .h5 file it is (--keras 2 or --keras 3), or use .weights.h5"
        )
    return groups


def _exchanged(
    groups: list[LegacyGroup], others: list[list[LegacyGroup]], shapes: Mapping[str, Shape]
) -> list[str]:
    """The keys of variables that one of these orders exchanges without an error; none if shapes differ somewhere."""
    for other in others:
        pairs = zip(_flat(groups), _flat(other), strict=True)
        different = [(one.key, other.key) for one, other in pairs if one.key != other.key]
        if different and all(shapes.get(one) == shapes.get(other) for one, other in different):
            return [one for one, _ in different]
    return []


def _flat(groups: list[LegacyGroup]) -> list[Variable]:
    return [each for group in groups for each in group.variables]


def legacy_layers(attributes: Attributes) -> list[list[str]] | None:
    """The datasets of each layer in a legacy file that has weights; None if it is another file.

    Args:
        attributes: the texts among the attributes of the file's groups.
    """
    base = next(
        (each for each in ("", _WHOLE_MODEL) if _texts(attributes, each, "layer_names") is not None), None
    )
    if base is None:
        return None
    found = []
    for name in _texts(attributes, base, "layer_names") or ():
        group = f"{base}/{name}" if base else name
        if weights := _texts(attributes, group, "weight_names"):
            found.append([f"{group}/{each}" for each in weights])
    return found


def legacy_writer(attributes: Attributes) -> KerasVersion | None:
    """The Keras that wrote a legacy file; None if it does not say."""
    for base in ("", _WHOLE_MODEL):
        version = attributes.get(base, {}).get("keras_version")
        if isinstance(version, str):
            return 2 if version.split(".")[0] in ("1", "2") else 3
    return None


def _texts(attributes: Attributes, group: str, name: str) -> list[str] | None:
    """An attribute, which Keras splits into several with numbers if it is long (`save_attributes_to_hdf5_group`)."""
    found = attributes.get(group, {})
    value = found.get(name)
    if value is None and f"{name}0" in found:
        numbers = itertools.takewhile(lambda number: f"{name}{number}" in found, itertools.count())
        value = [each for number in numbers for each in found[f"{name}{number}"]]
    return value if isinstance(value, list) else None


def as_listed(model: Layer, listed: Collection[str]) -> Collection[str]:
    """The variables that an optimizer of Keras 3 lists, if that is the order in which the layers of a model were made.

    It lists those of one layer in the order in which they were made. Attributes may have been set in another order.

    Args:
        model: the model.
        listed: the keys of the variables, in order.

    Returns:
        These keys; none if the optimizer has the layers in another order than the model.
    """
    layers = {each.key: layer for layer in model.walk() for each in layer.own}
    order = [
        layers[key] for key in dict.fromkeys(each.key for each in variables_of(model, 3)) if key in listed
    ]
    return listed if order == [layers[key] for key in listed if key in layers] else ()


def variables_of(model: Layer, version: KerasVersion, layers: Collection[Node] = ()) -> list[Variable]:
    """All variables of a model, trained or not, in the order in which a version of Keras has those that are trained.

    tf_keras has those of the model itself last (tf_keras/src/engine/training.py, `trainable_weights`).
    """
    own: Callable[[Layer], list[Variable]] = Layer.own_by_key if version == 2 else attrgetter("own")
    found: list[Variable] = []
    seen = {model}

    def add(layer: Layer) -> None:
        for part in below(layer, version, layers, doubtful=True):
            if part not in seen:
                seen.add(part)
                found.extend(own(part))
                add(part)

    add(model)
    return [*found, *own(model)] if version == 2 else [*own(model), *found]
