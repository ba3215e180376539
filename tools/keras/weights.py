"""Where each variable of a model is stored in a Keras weights file.

`.weights.h5` (keras/src/saving/saving_lib.py, `_save_state` and `_load_state`): the variables of an object are the
datasets `vars/0`, `vars/1`, ... in the group of the object. The layers of a Sequential or Functional model are the
groups `layers/CLASS`, `layers/CLASS_1`, ... with numbers by class; the groups of other layers are named after their
attributes. The loader reads an object's values from any path that leads to the object, so paths of attributes are
enough for every subclassed model and layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import ConflictError, listed, quoted
from tensorbundle.tools.keras.classes import Classes, config_error
from tensorbundle.tools.keras.dictionaries import doubts
from tensorbundle.tools.keras.naming import NOT_TRAINED, TRAINED, Numbering
from tensorbundle.tools.keras.sublayers import Dictionaries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from tensorbundle.tools.keras.classes import Described
    from tensorbundle.tools.keras.layers import Layer, Variable
    from tensorbundle.tools.keras.order import KerasVersion

__all__ = ["Ordering", "Weight", "weights_of"]

# What may be a dictionary is visited twice, with all that is in it: so many visits of layers are allowed.
_VISITS: Final = 1000
_VISITS_OF_EACH: Final = 16


@dataclass(frozen=True, slots=True)
class Weight:
    """One dataset of a weights file.

    Attributes:
        path: of the dataset.
        variable: the variable whose values it has.
        layer: the name of its layer, or empty.
        how: how its place is known.
    """

    path: str
    variable: Variable
    layer: str
    how: str


class Ordering:
    """Sorts the variables of a layer in the order of Keras: trained ones first."""

    def __init__(
        self,
        told: Callable[[Variable], bool | None] = lambda variable: None,
        trained: Collection[str] = (),
        made: Sequence[str] = (),
    ) -> None:
        """Order by these hints.

        Args:
            told: whether a variable is trained, if the user said so; otherwise None.
            trained: the keys of variables that an optimizer trains.
            made: the keys of variables in the order in which they were made, which may not be that of the attributes.
        """
        self._told = told
        self._trained = frozenset(trained)
        self._made = {key: number for number, key in enumerate(made)}

    def order(self, layer: Layer, version: KerasVersion = 3) -> list[Variable]:
        """The variables of a layer, in the order of a version of Keras.

        Raises:
            ConflictError: it is not known which variables are trained, and the order depends on it.
        """
        trained = {each.key: is_trained for each, is_trained in self.trained(layer)}
        own = layer.own_by_key() if version == 2 else layer.own
        known = [each for each in own if each.key in self._made]
        made = iter(sorted(known, key=lambda each: self._made[each.key]))
        own = [next(made) if each.key in self._made else each for each in own]
        if unknown := self._unknown(layer):
            raise ConflictError(_which(unknown), key=layer.path)
        return [
            *(each for each in own if trained[each.key] is not False),
            *(each for each in own if trained[each.key] is False),
        ]

    def must_be_known(self, model: Layer) -> None:
        """Refuse a model with layers whose order is not known.

        Raises:
            ConflictError: there are such layers; the reason has the variables of all of them.
        """
        unknown = {layer: names for layer in model.walk() if (names := self._unknown(layer))}
        if len(unknown) > 1:
            raise ConflictError(
                _which([_join(each.path, name) for each in unknown for name in unknown[each]])
            )

    def _unknown(self, layer: Layer) -> list[str]:
        """The variables of a layer of which it is not known whether they are trained, where the order depends on it."""
        return [
            each.name for each, is_trained in self.trained(layer) if is_trained is None and len(layer.own) > 1
        ]

    def trained(self, layer: Layer) -> Iterator[tuple[Variable, bool | None]]:
        """A layer's variables and whether each is trained: as the user said, by its name, or by the optimizer."""
        some_are = any(each.key in self._trained for each in layer.own)  # of a frozen layer, none is
        for each in layer.own:
            told = self._told(each)
            if told is None and (each.name in NOT_TRAINED or each.name in TRAINED):
                told = each.name in TRAINED
            yield each, each.key in self._trained if told is None and some_are else told


def weights_of(model: Layer, classes: Classes, ordering: Ordering) -> list[Weight]:
    """The datasets of a `.weights.h5` file, in the order of the model.

    Raises:
        ConflictError: needed classes of layers, the order of variables, or which objects are layers is not known; the reason names the layers
            and says what helps.
        BundleError: the config describes another model.
    """
    ordering.must_be_known(model)
    if doubtful := doubts(model, classes.by_node):
        raise ConflictError(
            f"the names of variables do not say whether {quoted(doubtful)} are layers or dictionaries of variables; give a file "
            "that the model wrote (--template FRESH.weights.h5)"
        )
    walk = _Walk(classes, ordering, _VISITS + _VISITS_OF_EACH * sum(1 for _ in model.walk()))
    walk.add(model, "", classes.described, "")
    if walk.unknown:
        shown = listed(walk.unknown, separator="; ")
        raise ConflictError(
            f"the classes of these layers are not known: {shown}. Give the model's config (--config model.json) or a "
            "file that the model wrote (--template FRESH.weights.h5); or convert to a legacy .h5 file, which needs no classes"
        )
    return walk.weights


def _which(unknown: list[str]) -> str:
    return (
        f"which of the variables {quoted(unknown)} are trained is not known, and Keras stores those first; give --trainable "
        "PATTERN or --non-trainable PATTERN"
    )


class _Walk:
    """Walks a model as Keras does, and records where the values of each layer are stored."""

    def __init__(self, classes: Classes, ordering: Ordering, visits: int) -> None:
        self.weights: list[Weight] = []
        self._visits = visits  # that are left
        self.unknown: list[str] = []
        self._classes = classes
        self._ordering = ordering
        self._seen: set[Layer] = set()

    def add(self, layer: Layer, path: str, described: Described | None, how: str) -> None:
        """Add a layer and the layers in it, unless it was reached before."""
        if layer in self._seen:
            return
        self._visit(layer)
        self._seen.add(layer)
        name = described.name if described is not None else ""
        for number, variable in enumerate(self._ordering.order(layer)):
            scopes = variable.full_name.split("/")
            label = name or (scopes[-2] if len(scopes) > 1 else "")
            self.weights.append(Weight(_join(path, f"vars/{number}"), variable, label, how))
        if layer.listed is not None:
            self._add_listed(layer, path, described)
        dictionaries = Dictionaries(layer, self._classes.by_node)
        for attribute, part in layer.parts.items():
            inner = described.inner.get(attribute, ()) if described is not None else ()
            below = _join(path, attribute)
            before = set(self._seen)
            is_dictionary = dictionaries.has(part) if part.may_be_dictionary else False
            if part.is_list or part.is_dictionary or (is_dictionary and self._classes.by_node):
                self._add_items(part, below, inner, dictionaries)
                continue
            self.add(part, below, inner[0] if inner else None, how or "by its attribute")
            if is_dictionary is not False and part not in before:
                # It may be a dictionary: its values are stored in both places that the loader may read.
                self._seen, after = before, self._seen
                self._add_items(part, below, inner, dictionaries)
                self._seen |= after

    def _visit(self, layer: Layer) -> None:
        self._visits -= 1
        if self._visits < 0:
            raise ConflictError(
                f"too many objects in each other may be dictionaries of layers, as {layer.path!r}: give the model's config "
                "(--config model.json)"
            )

    def _add_listed(self, layer: Layer, path: str, described: Described | None) -> None:
        listed = layer.listed or []
        inner: Iterable[Described | None] = [None] * len(listed)
        if described is not None and described.layers is not None:
            if len(described.layers) != len(listed):
                raise config_error(described, layer, self._classes.config_path)
            inner = described.layers
        numbering = Numbering()
        for each, of_it in zip(listed, inner, strict=True):
            self._add_item(each, _join(path, "layers"), of_it, numbering)

    def _add_items(
        self, container: Layer, path: str, described: tuple[Described, ...], dictionaries: Dictionaries
    ) -> None:
        """The items of a list, a tuple or a dictionary."""
        items = list(container.parts.items())
        if container.is_list:
            items.sort(key=lambda each: int(each[0]))
        numbering = Numbering()
        for position, (_, item) in enumerate(items):
            self._visit(item)
            if item.is_list or (item.may_be_dictionary and dictionaries.has(item)):
                self._add_items(item, _join(path, numbering.name("container")), (), dictionaries)
            else:
                of_it = described[position] if position < len(described) else None
                self._add_item(item, path, of_it, numbering)

    def _add_item(self, layer: Layer, path: str, described: Described | None, numbering: Numbering) -> None:
        found = self._classes.of(layer, described)
        if found is None:
            if layer.has_variables:
                self.unknown.append(_candidates(layer))
            return
        self.add(layer, _join(path, numbering.name(found[0])), described, found[1])


def _candidates(layer: Layer) -> str:
    """A text for a layer whose class is not known: its path, and the names of its variables."""
    if layer.listed is not None:
        return f"{layer.path!r} (Functional or Sequential)"
    names = ", ".join(dict.fromkeys(each.full_name or each.name for each in layer.variables()))
    return f"{layer.path!r} ({names[:60]})"


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
