"""Where each variable of a checkpoint is stored in a weights file that the target model wrote.

A weights file has groups named after classes, shapes, and since Keras 3.6 the names of layers, but it does not have the
order of layers of different classes. So layers are matched in order within each class, by the shapes in them. If there
are several ways to match them, the one with the most equal names and guessed classes is used, if it is the only one.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import ConflictError, TensorNotFoundError, UnsupportedError, quoted
from tensorbundle.tools.keras.classes import class_in_names
from tensorbundle.tools.keras.naming import base_of, walk_order
from tensorbundle.tools.keras.order import by_numbers, names_of, uncertain_in
from tensorbundle.tools.keras.sublayers import Dictionaries, flattened
from tensorbundle.tools.keras.weights import Ordering, Weight

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tensorbundle.tools.keras.layers import Layer, Variable
    from tensorbundle.tools.keras.order import KerasVersion

__all__ = ["Group", "groups_of", "weights_by_template"]

Shape = tuple[int, ...]
_NUMBERED: Final = re.compile(r"(?P<base>.+?)(?:_(?P<number>\d{1,9}))?")
_MAX_STATES: Final = 100_000
_MAX_PERMUTED: Final = 7
_MAX_RESCUED: Final = 300  # layers, one inside another in Python's stack
_NO_LAYERS: Final = ("optimizer", "metrics")  # metrics of tf_keras, which Keras 3 does not store
_HOW: Final = "matched with the template"
_RESCUED: Final = "as the optimizer lists it"


@dataclass(eq=False)
class Group:
    """A group of a weights file.

    Attributes:
        path: its path.
        variables: the shapes of its own variables, in the order of their numbers; None if it has no group `vars`.
        groups: the groups with variables in it, by name.
        name: the name of its layer, or empty.
    """

    path: str
    variables: list[Shape] | None = None
    groups: dict[str, Group] = field(default_factory=dict)
    name: str = ""

    @functools.cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of all variables in it and in its groups, sorted."""
        inner = itertools.chain.from_iterable(each.shapes for each in self.groups.values())
        return tuple(sorted([*(self.variables or ()), *inner]))


def groups_of(shapes: Mapping[str, Shape], names: Mapping[str, str]) -> Group:
    """The groups of a weights file.

    Args:
        shapes: of its datasets, by path.
        names: of layers, by the path of their group `vars`.
    """
    root = Group("")
    numbered: dict[Group, dict[int, Shape]] = defaultdict(dict)
    for path, shape in shapes.items():
        *parts, last = path.split("/")
        if not last.isdecimal() or not parts or parts[-1] != "vars" or parts[0] in _NO_LAYERS:
            continue
        group = root
        for part in parts[:-1]:
            below = f"{group.path}/{part}" if group.path else part
            group = group.groups.setdefault(part, Group(below))
        numbered[group][int(last)] = shape
        group.name = names.get("/".join(parts), "")
    for group, found in numbered.items():
        group.variables = [found[number] for number in sorted(found)]
    return root


def weights_by_template(
    model: Layer,
    template: Group,
    shapes: Mapping[str, Shape],
    ordering: Ordering,
    lost: Sequence[Variable] = (),
    version: KerasVersion | None = None,
) -> list[Weight]:
    """The datasets of a weights file with the groups of a template.

    Args:
        model: the model in the checkpoint.
        template: the groups of a file that the target model wrote.
        shapes: of the checkpoint's tensors, by key.
        ordering: the order of a layer's variables.
        lost: trained variables of layers that are not in the checkpoint, in the order of the model.
        version: the Keras that wrote the template, if the user says so. Keras 3 then has layers in the order stored where
            that is not known.

    Raises:
        TensorNotFoundError: the checkpoint has no tensors for a group of the template.
        ConflictError: there are several ways to match layers or variables; the reason says where.
    """
    filling = _Filling(shapes, ordering, version, rescues=bool(lost))
    filling.fill(model, template)
    if filling.unmatched:
        filling.weights += _rescued(filling.unmatched, lost, shapes)
    wanted = {f"{group.path}/" if group.path else "" for group in _walk(template) if group.variables}
    have = {each.path.rpartition("vars/")[0] for each in filling.weights}
    if wanted - have:
        missing = ", ".join(repr(each.rstrip("/")) for each in sorted(wanted - have)[:10])
        raise TensorNotFoundError(f"the checkpoint has nothing for these groups of the template: {missing}")
    return filling.weights


def _walk(group: Group) -> Iterator[Group]:
    yield group
    for each in group.groups.values():
        yield from _walk(each)


class _Filling:
    def __init__(
        self,
        shapes: Mapping[str, Shape],
        ordering: Ordering,
        version: KerasVersion | None,
        *,
        rescues: bool,
    ) -> None:
        self.weights: list[Weight] = []
        self.unmatched: list[
            Group
        ] = []  # groups of layers that are not in the checkpoint, if their variables may be found elsewhere
        self._version, self._rescues = version, rescues
        self._shapes = shapes
        self._ordering = ordering
        self._seen: set[Layer] = set()

    def fill(self, layer: Layer, group: Group) -> None:
        """Match a layer with its group, and the layers in it with theirs."""
        if layer in self._seen:
            return
        self._seen.add(layer)
        for number, variable in enumerate(self._in_order(layer, group)):
            path = f"{group.path}/vars/{number}" if group.path else f"vars/{number}"
            self.weights.append(Weight(path, variable, group.name, _HOW))
        public = {name.lstrip("_"): part for name, part in layer.parts.items()} | layer.parts
        for name, inner in group.groups.items():
            if name in ("layers", "vars") and name not in layer.parts:
                continue
            part = public.get(name) or public.get(name.lstrip("_"))
            if part is None and self._rescues:
                self.unmatched.append(inner)
                continue
            if part is None:
                raise TensorNotFoundError(
                    f"the template has {inner.path!r}, the checkpoint has {quoted(layer.parts) or 'nothing'} "
                    f"in {layer.path or 'the model'!r}"
                )
            if (
                inner.variables is None
                and (part.is_list or part.may_be_dictionary)
                and not self._fits(part, inner)
            ):
                self._fill_items(self._items(part), inner)
            else:
                self.fill(part, inner)
        listed = group.groups.get("layers")
        if listed is not None and "layers" not in layer.parts:
            below = layer.listed if layer.listed is not None else self._sublayers(layer, listed)
            self._fill_items(
                [each for each in below if each.has_variables and each not in self._seen], listed
            )

    def _sublayers(self, model: Layer, listed: Group) -> list[Layer]:
        """The sublayers of a subclassed model that have no group yet, in the order of the Keras that wrote the file.

        An object is a layer if a group has the shapes in it, unless its names say that it is a dictionary.
        """
        groups = {each.shapes for each in listed.groups.values()}
        dictionaries = Dictionaries(model)

        def is_dictionary(layer: Layer) -> bool:
            return self._shapes_in(layer) not in groups or dictionaries.has(layer) is True

        found = {
            each: container
            for each, container in flattened(model, is_dictionary).items()
            if each.has_variables and each not in self._seen
        }
        if (self._version or _writer(model, found)) == 2:
            return [each for each in flattened(model, is_dictionary, by_key=True) if each in found]
        return self._as_added(model, found, listed)

    def _as_added(self, model: Layer, sublayers: dict[Layer, Layer], listed: Group) -> list[Layer]:
        """Sublayers in the order in which Keras 3 has them, by their names where that is not the one stored."""
        order = {each: each for each in sublayers}
        for found in uncertain_in(sublayers, model, self._shapes_in):
            shapes = self._shapes_in(found.layers[0])
            numbers = {
                each.name: _number(name) for name, each in listed.groups.items() if each.shapes == shapes
            }
            names = names_of(found.layers)
            if names is not None and numbers.keys() == {*names}:
                pairs = zip(names, found.layers, strict=True)
                sure = [each for _, each in sorted(pairs, key=lambda pair: numbers[pair[0]])]
            elif found.contradicted:
                sure = by_numbers(found.layers) or []
            elif self._version == 3:
                continue
            else:
                raise ConflictError(
                    f"{quoted(each.path for each in found.layers)} have equal shapes, and whether Keras 3 has them in this order "
                    "is not known: it depends on when they were added to their lists; say that it has (--keras 3)"
                )
            order |= dict(zip(found.layers, sure, strict=True))
        return list(order.values())

    def _shapes_in(self, layer: Layer) -> tuple[Shape, ...]:
        return tuple(self._of(layer.variables()))

    def _fits(self, part: Layer, group: Group) -> bool:
        """Whether a possible dictionary is a layer: the groups have the names of its attributes."""
        return not part.is_list and group.groups.keys() <= part.parts.keys()

    def _items(self, container: Layer) -> list[Layer]:
        items = list(container.parts.items())
        if container.is_list:
            items.sort(key=lambda each: int(each[0]))
        return [item for _, item in items if item not in self._seen]

    def _fill_items(self, items: Sequence[Layer], group: Group) -> None:
        containers = [each for each in items if each.is_list]
        inner = [name for name in group.groups if re.fullmatch(r"container(_\d+)?", name)]
        if containers and len(inner) == len(containers):
            for item, name in zip(containers, sorted(inner, key=_number), strict=True):
                self._fill_items(self._items(item), group.groups[name])
            items = [each for each in items if not each.is_list]
        names = [name for name in group.groups if name not in inner or not containers]
        for item, name in zip(items, self._assign(items, names, group), strict=True):
            self.fill(item, group.groups[name])

    def _assign(self, items: Sequence[Layer], names: Sequence[str], group: Group) -> list[str]:
        """The name of each item's group: in order within each class, with equal shapes."""
        stacks: dict[str, list[str]] = defaultdict(list)
        for name in sorted(names, key=_number):
            stacks[base_of(name)].append(name)
        bases = list(stacks)
        have = [self._shapes_in(each) for each in items]
        states = 0

        @functools.cache
        def best(positions: tuple[int, ...]) -> tuple[int, int, int]:
            """The best score from these positions on, in how many ways (0 if there is none), and its first stack."""
            nonlocal states
            states += 1
            if states > _MAX_STATES:
                raise ConflictError(f"too many ways to match the layers of {group.path!r} in the template")
            at = sum(positions)
            if at == len(items):
                done = all(place == len(stacks[base]) for place, base in zip(positions, bases, strict=True))
                return 0, int(done), -1
            found = (-1, 0, -1)
            for number, base in enumerate(bases):
                place = positions[number]
                if place == len(stacks[base]):
                    continue
                inner = group.groups[stacks[base][place]]
                if inner.shapes != have[at]:
                    continue
                score, ways, _ = best((*positions[:number], place + 1, *positions[number + 1 :]))
                if not ways:
                    continue
                score += _alike(items[at], inner, base)
                if score > found[0]:
                    found = score, ways, number
                elif score == found[0]:
                    found = score, found[1] + ways, found[2]
            return found

        positions = (0,) * len(bases)
        _, ways, _ = best(positions) if items or bases else (0, 1, -1)
        if not ways:
            raise TensorNotFoundError(
                f"the layers in {group.path or 'the model'!r} of the template have other numbers or shapes than the "
                f"{len(items)} of the checkpoint"
            )
        if ways > 1:
            shown = ", ".join(repr(each.path) for each in items[:10])
            raise ConflictError(
                f"{ways} ways to match {shown} with the groups {', '.join(map(repr, names[:10]))} of {group.path!r}; give the "
                "model's config (--config model.json)"
            )
        out = []
        for _ in items:
            number = best(positions)[2]
            out.append(stacks[bases[number]][positions[number]])
            positions = (*positions[:number], positions[number] + 1, *positions[number + 1 :])
        return out

    def _in_order(self, layer: Layer, group: Group) -> list[Variable]:
        """The variables of a layer, in the order of the group."""
        wanted = group.variables or []
        if self._of(layer.own) != sorted(wanted):
            self._absorb_dictionaries(layer, group)
        if self._of(layer.own) != sorted(wanted):
            raise TensorNotFoundError(
                f"group {group.path!r} of the template has variables of shapes {wanted}, {layer.path!r} has "
                f"{[self._shapes[each.key] for each in layer.own]}"
            )
        # Names of layers are in files of Keras 3 only.
        versions: list[KerasVersion] = [self._version] if self._version else [3] if group.name else [3, 2]
        try:
            ordered = [self._ordering.order(layer, each) for each in versions]
        except ConflictError:
            ordered = []
        ordered = [each for each in ordered if [self._shapes[one.key] for one in each] == wanted]
        if any(each != ordered[0] for each in ordered):
            raise ConflictError(
                f"tf_keras has the variables {quoted(each.name for each in layer.own)}, of which some are in a dictionary, in the "
                "order of its keys, Keras 3 as they were added to it; say which of them wrote the weights file (--keras 2 or "
                "--keras 3)",
                key=layer.path,
            )
        if ordered:
            return ordered[0]
        orders = itertools.permutations(layer.own) if len(layer.own) <= _MAX_PERMUTED else ()
        fitting = [each for each in orders if [self._shapes[one.key] for one in each] == wanted]
        if len(fitting) != 1:
            self._ordering.order(layer)  # its error says what would help
            raise ConflictError("its variables have another order than the template's", key=layer.path)
        return list(fitting[0])

    def _absorb_dictionaries(self, layer: Layer, group: Group) -> None:
        """Take objects without a group of their own for dictionaries of variables, if the layer then has those of its group."""
        listed = group.groups.get("layers", Group(""))
        layers = {each.shapes for each in listed.groups.values()}
        found: list[Layer] = []
        for name, part in layer.parts.items():
            inner = group.groups.get(name) or group.groups.get(name.lstrip("_"))
            if inner is None and self._shapes_in(part) not in layers:
                found += part.walk()
            elif inner is not None and inner.variables is None:
                found.append(part)
        own = {each.key: each for part in (layer, *found) for each in part.own}
        if self._of(own.values()) == sorted(group.variables or ()):
            layer.absorb(found)

    def _of(self, variables: Iterable[Variable]) -> list[Shape]:
        """The shapes of variables, sorted."""
        return sorted(self._shapes[each.key] for each in variables)


def _writer(model: Layer, sublayers: Mapping[Layer, Layer]) -> KerasVersion:
    """The Keras that wrote a file in which these sublayers of a subclassed model have no groups of their own.

    Keras 3 walks attributes in the order of their names, private ones last; tf_keras walks them backwards
    (tf_keras/src/saving/saving_lib.py, `_walk_trackable`). `layers` is one of these.
    """
    names = {part: name for name, part in model.parts.items()}
    attributes = {
        names.get(each if container is model else container) for each, container in sublayers.items()
    }
    before = [each for each in attributes if each is not None and walk_order(each) < "layers"]
    return 2 if before else 3


def _rescued(groups: Sequence[Group], lost: Sequence[Variable], shapes: Mapping[str, Shape]) -> list[Weight]:
    """The places of variables whose layers are not in the checkpoint, if there is only one way to assign them.

    Within each class of a container, layers are in order. The first variables of each are its trained ones: all of
    them, or for BatchNormalization all but its two moments.
    """
    stacks: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in groups:
        for each in _walk(group):
            if each.variables:
                parent, _, name = each.path.rpartition("/")
                stacks[parent, base_of(name)].append(each)
    order = [sorted(each, key=lambda one: _number(one.path.rpartition("/")[2])) for each in stacks.values()]
    have = [shapes[each.key] for each in lost]
    states: list[int] = []
    if sum(map(len, order)) > _MAX_RESCUED:
        raise UnsupportedError(f"more than {_MAX_RESCUED} layers that Keras 3 did not save")

    @functools.cache
    def ways(places: tuple[int, ...], start: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        """The number of ways from these places on, and their first steps: stack and number of variables."""
        states.append(start)
        if len(states) > _MAX_STATES:
            raise ConflictError(
                "too many ways to tell which variables are those of layers that Keras 3 did not save"
            )
        if start == len(have):
            return int(all(place == len(stack) for place, stack in zip(places, order, strict=True))), ()
        count, steps = 0, []
        for number, (place, stack) in enumerate(zip(places, order, strict=True)):
            if place == len(stack):
                continue
            wanted = stack[place].variables or []
            for size in {len(wanted), len(wanted) - 2} - {0, -1}:
                after = (*places[:number], place + 1, *places[number + 1 :])
                if have[start : start + size] == wanted[:size] and (below := ways(after, start + size)[0]):
                    count += below
                    steps.append((number, size))
        return count, tuple(steps)

    places, start = (0,) * len(order), 0
    found, _ = ways(places, start)
    names = ", ".join(repr(each.path) for each in groups)
    if found != 1:
        raise (ConflictError if found else TensorNotFoundError)(
            f"Keras 3 did not save the layers in {names}; {found or 'no'} ways to tell which of the {len(lost)} variables that "
            "the optimizer lists are theirs"
        )
    weights = []
    while start < len(have):
        [(number, size)] = ways(places, start)[1]
        group = order[number][places[number]]
        weights += [
            Weight(f"{group.path}/vars/{each}", lost[start + each], group.name, _RESCUED)
            for each in range(size)
        ]
        places, start = (*places[:number], places[number] + 1, *places[number + 1 :]), start + size
    return weights


def _alike(layer: Layer, group: Group, base: str) -> int:
    """How many hints say that a layer belongs to a group: a guessed class, an equal name."""
    scopes = {each.full_name.split("/")[-2] for each in layer.variables() if "/" in each.full_name}
    return (class_in_names(layer) == base) + (group.name in scopes)


def _number(name: str) -> int:
    found = _NUMBERED.fullmatch(name)
    return int(found["number"] or 0) if found else 0
