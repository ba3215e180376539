"""Which slot belongs to which variable in optimizers that keep lists: Keras 2.11 and later, and Keras 3.

`_variables/N` is only a position. Files have other hints, listed here from the strongest on:

    Keras 3   the element of `_trainable_variables` at the slot's position in its list; the variable's path in the
              slot's name; the order in which `build` makes slots, if the number and shapes of all slots agree with it
    Keras 2   the variable's name in the slot's name (`m/dense/kernel`), which need not be unique; slots at the same
              position of several lists belong to one variable, and each position of a list to another variable

If several variables are still possible after that, the slot is doubtful: no order is assumed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from tensorbundle.proto.graph import Node
from tensorbundle.tools.optimizers.ends import Ends
from tensorbundle.tools.optimizers.nodes import generation_of
from tensorbundle.tools.optimizers.table import (
    BOOKKEEPING,
    KERAS_FIRST,
    KERAS_LISTS,
    KERAS_ORDERS,
    KERAS_SUFFIXES,
    KERAS_SUFFIXES_OF,
    LISTS_OF,
    LISTS_OF_NAMES,
    axes_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tensorbundle.tools.optimizers.optimizer import Optimizer
    from tensorbundle.tools.optimizers.table import Shape

__all__ = ["fill_from_lists", "numbered"]

# TensorFlow's names for all slots of partitioned variables (python/distribute/sharded_variable.py).
_NAMELESS: Final = frozenset({"", "ShardedVariable"})
_MANY: Final = 10_000  # candidates in all; with more, a settled position does not help to settle others

Slots = dict[int, dict[str, str]]  # by position in the lists, then by role


def fill_from_lists(
    optimizer: Optimizer,
    node: Node,
    keys: Mapping[Node, str],
    shapes: Mapping[str, Shape],
    private: Collection[str],
) -> None:
    """Add an optimizer's slots.

    Args:
        optimizer: is changed.
        node: its object, or that of an optimizer that it wraps.
        keys: of all variables that are stored.
        shapes: by key.
        private: the keys of variables that can be reached through optimizers only. Keras 2 trains none of these.
    """
    _Lists(optimizer, node, keys, shapes, private).fill()


class _Lists:
    """The lists of one optimizer."""

    def __init__(
        self,
        optimizer: Optimizer,
        node: Node,
        keys: Mapping[Node, str],
        shapes: Mapping[str, Shape],
        private: Collection[str],
    ) -> None:
        self._optimizer, self._keys, self._shapes = optimizer, keys, shapes
        self._edges = node.children
        marks = [mark for mark in LISTS_OF if mark in self._edges]
        self._roles = KERAS_LISTS | {name: role for mark in marks for name, role in LISTS_OF[mark].items()}
        # An optimizer's name precedes that of its steps in Keras 3, and those of slots that training made in Keras 2.
        first = next(iter(numbered(self._edges.get("momentums")).values()), Node())
        names = [_full_name(each).lower() for each in (self._edges["_iterations"], first)]
        self._roles |= next(
            (
                roles
                for start, roles in LISTS_OF_NAMES.items()
                if any(name.startswith(start) for name in names)
            ),
            {},
        )
        self._lists = {
            self._roles.get(name, name): numbered(child)
            for name, child in self._edges.items()
            if name not in BOOKKEEPING and child not in keys and generation_of(child) is None
        }
        known = {*optimizer.scalars.values(), optimizer.iterations}
        self._members = [
            keys[each]
            for each in numbered(self._edges.get("_variables")).values()
            if each in keys and keys[each] not in known
        ]
        self._private = private
        self._by_shape: dict[Shape, tuple[str, ...]] = defaultdict(tuple)

    def fill(self) -> None:
        if "_trainable_variables" in self._edges:
            self._keras_3(list(numbered(self._edges["_trainable_variables"]).values()))
        else:
            self._keras_2()
        told = set(self._optimizer.owned)
        for key in self._members:  # in no list: of classes that are not Keras's own
            if key not in told:
                self._doubt(key, self._of_shape(key))

    # Keras 3

    def _keras_3(self, trained: Sequence[Node]) -> None:
        for role, slots in self._lists.items():
            for number, slot in slots.items():
                if slot in self._keys and number < len(trained):
                    self._take(role, trained[number], self._keys[slot])
        known = {key: slot for slot, key in self._optimizer.slots.items()}
        left = [key for key in self._members if key not in known]
        if left:
            self._by_paths(trained, left)
        if not self._told().issuperset(left):
            self._by_order(trained)
        told = self._told()
        stored = [self._keys[each] for each in trained if each in self._keys]
        self._optimizer.listed |= dict.fromkeys(stored)
        by_shape: dict[Shape, tuple[str, ...]] = {}
        for key in self._members:
            if key not in told:
                shape = self._shapes[key]
                if shape not in by_shape:
                    by_shape[shape] = tuple(each for each in stored if self._agree("", each, key))
                self._doubt(key, by_shape[shape])

    def _told(self) -> set[str]:
        return {*self._optimizer.slots.values(), *self._optimizer.orphans}

    def _by_paths(self, trained: Sequence[Node], slots: Collection[str]) -> None:
        """Match slots by their names: the variable's path, with '_' for every '/', then a suffix for the role."""
        marks = [mark for mark in KERAS_SUFFIXES_OF if mark in self._edges]
        suffixes = KERAS_SUFFIXES | {
            suffix: role for mark in reversed(marks) for suffix, role in KERAS_SUFFIXES_OF[mark].items()
        }
        by_path = defaultdict(list)
        for each in trained:
            by_path[_full_name(each).replace("/", "_")].append(each)
        names = {key: _full_name(node).rpartition("/")[2] for node, key in self._keys.items() if key in slots}
        for key, name in names.items():
            # The longest suffix first: `velocity_hat` before a role `hat` of a variable named `..._velocity`.
            for start in (place for place, char in enumerate(name) if char == "_"):
                role = suffixes.get(name[start + 1 :])
                found = [
                    each for each in by_path.get(name[:start], ()) if role and self._is_of(role, each, key)
                ]
                if role and len(found) == 1:
                    self._take(role, found[0], key)
                    break

    def _by_order(self, trained: Sequence[Node]) -> None:
        """Match slots by the order in which the class makes them, if all of them agree with it."""
        blocks: list[tuple[str, ...]] = [(KERAS_LISTS[edge],) for edge in KERAS_FIRST if edge in self._edges]
        blocks += next((order for mark, order in KERAS_ORDERS.items() if mark in self._edges), ())
        order = [(role, each) for block in blocks for each in trained for role in block]
        known = {key: slot for slot, key in self._optimizer.slots.items()}
        pairs = list(zip(order, self._members, strict=False))
        if len(order) == len(self._members) and all(
            (key not in known or known[key] == (role, self._keys.get(each))) and self._is_of(role, each, key)
            for (role, each), key in pairs
        ):
            for (role, each), key in pairs:
                self._take(role, each, key)

    def _is_of(self, role: str, variable: Node, slot: str) -> bool:
        return variable not in self._keys or self._agree(role, self._keys[variable], slot)

    def _take(self, role: str, variable: Node, slot: str) -> None:
        """Assign a slot to a variable, unless its shape contradicts that."""
        if variable not in self._keys:
            self._optimizer.orphans.append(slot)
        elif self._agree(role, self._keys[variable], slot):
            self._optimizer.slots.setdefault((role, self._keys[variable]), slot)

    # Keras 2

    def _keras_2(self) -> None:
        named = defaultdict(list)
        names = {}
        for node, key in self._keys.items():
            names[key] = _full_name(node)
            if key not in self._private and names[key]:
                named[names[key]].append(key)
        by_length: dict[int, Slots] = defaultdict(lambda: defaultdict(dict))
        for role, slots in self._lists.items():
            for number, slot in slots.items():
                if slot in self._keys:
                    by_length[len(slots)][number][role] = self._keys[slot]
                    self._optimizer.lists.setdefault(role, {})[number] = self._keys[slot]
        named[""] = [key for key in self._keys.values() if key not in self._private]
        ends = Ends(named)
        known: dict[object, tuple[str, ...]] = {}  # many positions may have equal names and shapes
        for places in by_length.values():
            candidates = {}
            for number, here in places.items():
                meant = [_variable_in(names[slot], ends) for slot in here.values()]
                like = tuple(meant), tuple((role, self._shapes[slot]) for role, slot in here.items())
                if like not in known:
                    known[like] = self._candidates(
                        [named[name] if name is not None else [] for name in meant], here
                    )
                if known[like]:
                    candidates[number] = known[like]
                else:  # no variable of that name: it may have been renamed
                    for role, key in here.items():
                        self._doubt(key, self._of_shape(key), role)
            self._settle(places, candidates)

    def _candidates(self, meant: Sequence[Sequence[str]], slots: Mapping[str, str]) -> tuple[str, ...]:
        """The variables that all slots at one position may belong to."""
        common = set(meant[0]).intersection(*meant[1:])
        return tuple(
            each
            for each in meant[0]
            if each in common and all(self._agree(role, each, slot) for role, slot in slots.items())
        )

    def _settle(self, places: Slots, candidates: dict[int, tuple[str, ...]]) -> None:
        """Assign positions with one candidate, which is then removed from the others; the rest is doubtful."""
        few = sum(map(len, candidates.values())) <= _MANY
        while True:
            sure = {number: found[0] for number, found in candidates.items() if len(found) == 1}
            claims = Counter(sure.values())
            settled = {number: variable for number, variable in sure.items() if claims[variable] == 1}
            for number, variable in settled.items():
                del candidates[number]
                for role, slot in places[number].items():
                    self._optimizer.slots.setdefault((role, variable), slot)
            if not (settled and few):
                break
            taken = set(settled.values())
            candidates = {
                number: tuple(each for each in found if each not in taken)
                for number, found in candidates.items()
            }
        for number, found in candidates.items():
            for role, slot in places[number].items():
                self._doubt(slot, found, role)

    # Both

    def _agree(self, role: str, variable: str, slot: str) -> bool:
        """Whether a slot may belong to a variable by their shapes."""
        return axes_of(role, self._shapes[variable], self._shapes[slot]) is not None

    def _of_shape(self, slot: str) -> tuple[str, ...]:
        """The variables that no optimizer owns and that have a slot's shape; none for a scalar."""
        if not self._by_shape:
            by_shape = defaultdict(list)
            for key in self._keys.values():
                if key not in self._private:
                    by_shape[self._shapes[key]].append(key)
            self._by_shape |= {shape: tuple(found) for shape, found in by_shape.items()}
        return self._by_shape[self._shapes[slot]] if self._shapes[slot] else ()

    def _doubt(self, slot: str, candidates: tuple[str, ...], role: str = "") -> None:
        if candidates:
            self._optimizer.doubtful[slot] = candidates
            self._optimizer.roles[slot] = role
        else:
            self._optimizer.orphans.append(slot)


def numbered(node: Node | None) -> dict[int, Node]:
    """The elements of a list, in order, by their number."""
    children = node.children if node is not None else {}
    numbers = sorted((int(name), name) for name in children if name.isdecimal() and len(name) < 10)
    return {number: children[name] for number, name in numbers}


def _variable_in(slot: str, ends: Ends) -> str | None:
    """The variable's name in a slot's name; empty if the slot's name has none, None if no variable has that name."""
    if slot in _NAMELESS:
        return ""
    # At least its role precedes the variable's name.
    return next(ends.of(slot.partition("/")[2]), None)


def _full_name(node: Node) -> str:
    return next((each.full_name for each in node.attributes if each.full_name), "")
