"""Put the values of one checkpoint into the structure of another, or into one that is written down.

A template is a checkpoint of the program that shall restore the result, saved before it was trained. Its variables get
values one after another: by a rule; by their full name, or in an object-based source by their path; by a name that only
lacks a scope, if that is so for all of the scope; by what their optimizer keeps for them (`slots.py`); and what is then
left, where one variable on each side has a type and a shape. What gets none keeps the template's value.

The number of steps is `global_step`, or else what the powers of beta say that TF1's Adam stores: after n steps they are
the betas to the power of n + 1 (python/training/adam.py). Towards TF1 they are computed in the same way.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from tensorbundle.dtypes import DType
from tensorbundle.errors import ConflictError, TensorNotFoundError, near_names
from tensorbundle.proto.paths import SAVE_COUNTER, VARIABLE_VALUE, attribute_key, join_path
from tensorbundle.tools.operations.editing.renaming import new_names
from tensorbundle.tools.optimizers.slots import (
    GRADIENT_SUM,
    MOMENTUM,
    Optimizer,
    add_iterations,
    add_slots,
    class_of,
    optimizers_in_graph,
    optimizers_in_names,
)
from tensorbundle.tools.rewriting.draft import DraftTensor
from tensorbundle.tools.rewriting.expressions import INTEGERS, Cast, Constant, Scaled
from tensorbundle.tools.rewriting.plan import LeftOut, Literal
from tensorbundle.tools.rewriting.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from tensorbundle.proto.graph import Node, ObjectGraph
    from tensorbundle.tools.operations.converting.structures import Structure
    from tensorbundle.tools.operations.editing.renaming import Rule
    from tensorbundle.tools.rewriting.draft import Draft
    from tensorbundle.tools.rewriting.expressions import Expression

__all__ = ["MISSING", "USUAL_ROOTS", "Fitting", "fit_structure", "fit_template"]

# What the migration guide's functions, and people who follow it, call the dictionary of variables.
USUAL_ROOTS: Final = ("vars", "var_list")
_COUNTER: Final = attribute_key(SAVE_COUNTER)
_OLD_COUNTER: Final = "the save counter of tf.train.Checkpoint"
_NAME, _PATH, _RULE, _SHAPE = "by name", "by path", "by rule", "by shape"
_STATE, _KEPT = "as optimizer state", "kept from the template"
MISSING: Final = "missing, kept from the template"
_FLOATING: Final = frozenset(each for each in DType if each.value.startswith(("float", "bfloat")))
_WORTH: Final = {MOMENTUM: (MOMENTUM, GRADIENT_SUM), GRADIENT_SUM: (GRADIENT_SUM, MOMENTUM)}
_BETAS: Final = (0.9, 0.999)  # what TensorFlow and Keras take unless told otherwise
_UNSURE: Final = 0.05  # of a step
_MAX_DEPTH: Final = 100
_LEAST_POWER: Final = 1e-35  # below, float32 loses digits
_SHOWN: Final = 10

Signature = tuple[DType, tuple[int, ...]]
Number = int | float
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Fitting:
    """How strict fitting is, and what neither checkpoint says.

    Attributes:
        allow_missing: whether values may be missing; otherwise this is an error.
        allow_unused: whether tensors may be left over; otherwise this is an error.
        learning_rate: taken instead of a stored one. TF1's Momentum times minus the learning rate is Keras's.
        beta_1: of Adam, instead of a stored one and of 0.9: with it goes the number of steps into beta1_power.
        beta_2: likewise, instead of 0.999.
    """

    allow_missing: bool = False
    allow_unused: bool = False
    learning_rate: float | None = None
    beta_1: float | None = None
    beta_2: float | None = None


def fit_structure(
    draft: Draft, structure: Structure, *, counter: int | None = 1, fitting: Fitting | None = None
) -> None:
    """Put a draft's variables into the objects of a structure file, which is used up.

    Args:
        draft: name-based or object-based.
        structure: names each variable by its TF1 name, its object path, its full name or its key.
        counter: the save counter's value, or None for no save counter.
        fitting: whether variables may be missing, which are then no objects either, and tensors left over.

    Raises:
        ConflictError: variables that are missing or of another type or shape, tensors that are left over, a name that
            means several variables, or an object in the save counter's place; the reason lists them.
    """
    fitting = fitting or Fitting()
    source, graph = _Side.of(draft), structure.graph
    tensors: dict[str, DraftTensor] = {}
    used: set[str] = set()
    missing: list[tuple[str, str]] = []
    conflicts = []
    for path, _, each in graph.attributes():
        key = source.find(each.full_name)
        if key is None:
            missing.append((each.full_name, path))
            continue
        used.add(key)
        wanted, found = structure.expected[each.checkpoint_key], _signature(draft.tensors[key])
        if any(want not in (None, have) for want, have in zip(wanted, found, strict=True)):
            conflicts.append(f"{path!r} is {_described(*wanted)}, {source.label(key)} {_described(*found)}")
        each.full_name = source.names.get(key) or each.full_name
        tensors[each.checkpoint_key] = replace(draft.tensors[key], matched=_NAME)
    _refuse_conflicts(conflicts, draft.prefix)
    unused = sorted(key for key in draft.tensors if key not in used and key != _COUNTER)
    hint = ""
    if missing and not fitting.allow_missing:
        near = near_names(missing[0][0], [*source.names.values(), *source.by_path])
        hint = f"; near {missing[0][0]!r}: {', '.join(map(repr, near))}" if near else ""
    labels = [f"{name!r}, which is to be {path!r}" for name, path in missing]
    _refuse_leftovers(labels, list(map(source.label, unused)), fitting, draft.prefix, structure.path, hint)
    graph.drop_keys([key for key in structure.expected if key not in tensors], tensors)
    if counter is not None:
        try:
            graph.add_save_counter()
        except ConflictError as error:
            raise error.locate(path=structure.path) from None
        tensors[_COUNTER] = DraftTensor(Literal.int64(counter))
    draft.left_out += [LeftOut(key, "no place in the structure") for key in unused]
    draft.left_out += [
        LeftOut(name, f"missing here; the structure has it as {path!r}") for name, path in missing
    ]
    if _COUNTER in draft.tensors and _COUNTER not in used:
        draft.left_out.append(LeftOut(_COUNTER, _OLD_COUNTER))
    _rebuild(draft, tensors, graph)


def fit_template(
    draft: Draft,
    template: Draft,
    rules: Sequence[Rule] = (),
    *,
    counter: int | None = 1,
    fitting: Fitting | None = None,
) -> None:
    """Give a draft the structure of a template, which is used up.

    Args:
        draft: the values; name-based or object-based.
        template: the structure; if it is name-based, so is the result.
        rules: from names, or object paths, of the draft to full names or object paths of the template.
        counter: what the save counter says if the template has one, or None for no save counter.
        fitting: whether values may be missing and tensors left over, and what neither checkpoint says.

    Raises:
        TensorNotFoundError: a rule fits nothing, or leads nowhere.
        ConflictError: values of another type or shape, names that mean several variables, values that are missing, or
            tensors that are left over; the reason lists them.
    """
    fit = _Fit(_Side.of(draft), _Side.of(template), fitting or Fitting())
    fit.by_rules(rules)
    fit.by_names()
    fit.by_scopes()
    fit.optimizers()
    fit.by_shapes()
    fit.others()
    _refuse_conflicts(fit.conflicts, draft.prefix)
    fit.finish(counter)


@dataclass(slots=True)
class _Side:
    """One of the two checkpoints.

    Attributes:
        draft: its tensors, by key.
        names: the key and the name of every variable but the save counter; in the order of the graph or the index.
        paths: likewise the object path, if there are objects; not through an optimizer, if it can be.
        optimizers: what optimizers it has.
        owned: the keys of what these own.
        private: the keys of variables that can be reached through optimizers only.
        by_name: the keys of the variables of each name.
        by_path: the key of the variable at each path.
    """

    draft: Draft
    names: dict[str, str]
    paths: dict[str, str] = field(default_factory=dict)
    optimizers: list[Optimizer] = field(default_factory=list)
    owned: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    by_name: dict[str, list[str]] = field(default_factory=dict)
    by_path: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, draft: Draft) -> _Side:
        """What there is in a draft."""
        side = cls(draft, {})
        graph = draft.graph
        if graph is None:
            side.names = {key: key for key in draft.tensors}
        else:
            root = next((each for each in USUAL_ROOTS if each in graph.root.children), None)
            listed = graph.root.children[root].children if root is not None else {}
            local = {node: name for name, node in listed.items()}
            for path, node, each in graph.attributes():
                if each.name == VARIABLE_VALUE and path != SAVE_COUNTER:
                    side.names[each.checkpoint_key] = local.get(node, each.full_name)
                    side.paths[each.checkpoint_key] = path
            side.optimizers = optimizers_in_graph(graph, side.names)
            elsewhere = _paths_elsewhere(graph, {each.node for each in side.optimizers})
            side.private = side.paths.keys() - elsewhere.keys()
            side.by_path = {path: key for key, path in side.paths.items()}
            side.paths |= elsewhere
            side.by_path |= {path: key for key, path in elsewhere.items()}
        for key, name in side.names.items():
            side.by_name.setdefault(name, []).append(key)
        side.optimizers += optimizers_in_names(
            {
                name: keys[0]
                for name, keys in side.by_name.items()
                if len(keys) == 1 and keys[0] not in side.private
            }
        )
        side.owned = {key for each in side.optimizers for key in each.owned}
        return side

    def find(self, name: str) -> str | None:
        """The key of what has this name, or this object path, or this key; None if nothing has.

        Raises:
            ConflictError: several variables have this name.
        """
        keys = self.by_name.get(name, []) if name else []
        if len(keys) > 1:
            paths = ", ".join(repr(self.paths.get(key, key)) for key in keys[:_SHOWN])
            raise ConflictError(
                f"{len(keys)} variables are called {name!r}; an object path says which: {paths}",
                path=self.draft.prefix,
            )
        found = next(iter(keys), self.by_path.get(name, name))
        graph = self.draft.graph
        if graph is not None and found not in self.names and ".OPTIMIZER_SLOT" not in name:
            node = graph.get(name)  # by a longer path
            found = node.attributes[0].checkpoint_key if node is not None and node.attributes else name
        return found if found in self.names or found in self.draft.tensors else None

    def label(self, key: str) -> str:
        """What to call a tensor: its object path or its name, or both."""
        path, name = self.paths.get(key, key), self.names.get(key, key)
        return repr(path) if name in ("", path, key) else f"{path!r} ({name})"

    def signature(self, key: str) -> Signature | None:
        """The type and shape of a tensor; None if it is not stored."""
        return _signature(self.draft.tensors[key]) if key in self.draft.tensors else None

    def value(self, key: str | None) -> Number | None:
        """A scalar; None if it is not stored."""
        return _scalar(self.draft.tensors[key]) if key in self.draft.tensors else None

    def count(self, key: str) -> int | None:
        """A scalar that counts something; None if it is no such number."""
        value = self.value(key)
        return value if isinstance(value, int) and value >= 0 else None


class _Fit:
    """What has found its place so far.

    Attributes:
        found: the output's tensors, by the template's keys.
        givers: where a place has a tensor of the source, or one computed of it, that one's key.
        conflicts: places and tensors that differ in type or shape.
        reasons: why tensors of the source need no place, by key.
        gave: which optimizers of the source gave slots to each of the template's.
    """

    def __init__(self, source: _Side, target: _Side, fitting: Fitting) -> None:
        self.source, self.target, self.fitting = source, target, fitting
        self.found: dict[str, DraftTensor] = {}
        self.givers: dict[str, str] = {}
        self.conflicts: list[str] = []
        self.reasons: dict[str, str] = {}
        self.gave: dict[Optimizer, list[Optimizer]] = defaultdict(list)
        self._used: set[str] = set()
        self._rates: dict[Optimizer, float] = {}
        self._keepers: dict[tuple[str, str], list[Optimizer]] = defaultdict(list)  # by role and variable
        for optimizer in source.optimizers:
            for slot in optimizer.slots:
                self._keepers[slot].append(optimizer)

    def _give(self, place: str, key: str, how: str, expression: Expression | None = None) -> None:
        """Let a place have a tensor of the source, or what is computed of it."""
        tensor = self.source.draft.tensors[key]
        if expression is not None:
            tensor = replace(tensor, expression=expression)
        want, have = self.target.signature(place), _signature(tensor)
        if want is not None and want != have:
            self.conflicts.append(
                f"{self.target.label(place)} is {_described(*want)}, {self.source.label(key)} {_described(*have)}"
            )
        old = self.target.draft.tensors.get(place)
        slices = old.slices if old is not None and old.slices else tensor.slices
        self.found[place] = replace(tensor, slices=slices, matched=how)
        self.givers[place] = key
        self._used.add(key)

    def _fits(self, place: str, key: str) -> bool:
        return self.target.signature(place) in (None, self.source.signature(key))

    def _free(self) -> tuple[list[str], list[str]]:
        """The variables of the template, and those of the source, that are not matched yet; not those of optimizers."""
        target, source = self.target, self.source
        return (
            [key for key in target.names if key not in self.found and key not in target.owned],
            [
                key
                for key in source.names
                if key in source.draft.tensors and key not in self._used and key not in source.owned
            ],
        )

    def by_rules(self, rules: Sequence[Rule]) -> None:
        """Match what rules say; a rule that leads nowhere is a mistake."""
        names = dict.fromkeys([*self.source.paths.values(), *self.source.names.values()])
        names.pop("", None)
        new = new_names(names, rules, self.source.draft.prefix, objects=False) if rules else {}
        placed = {name for name, results in new.items() if sum(self._rule(name, each) for each in results)}
        for rule in rules:
            meant = names if rule.whole is None else [rule.whole]
            mine = [name for name in meant if rule.apply(name) in new.get(name, ())]
            if placed.isdisjoint(mine):
                result = new[mine[0]][0] if mine else ""
                near = near_names(result, [*self.target.paths.values(), *self.target.names.values()])
                hint = f"; near: {', '.join(map(repr, near))}" if near else ""
                raise TensorNotFoundError(
                    f"rule {rule.text!r} leads to {result!r}, which is not there{hint}",
                    path=self.target.draft.prefix,
                )

    def _rule(self, name: str, result: str) -> bool:
        """Match what a rule calls `result` with the source's `name`, if the template has it."""
        place = self.target.find(result)
        key = None if place is None else self.source.find(name)
        if place is None or key is None:
            return False
        if self.givers.get(place, key) != key:
            raise ConflictError(
                f"both {self.source.label(self.givers[place])} and {name!r} would be {result!r}",
                path=self.source.draft.prefix,
            )
        self._give(place, key, _RULE)
        return True

    def by_names(self) -> None:
        """Match variables of equal names and of equal paths; where these contradict each other, what fits all decides."""
        places, keys = self._free()
        named = _pairs(places, self.target.names, keys, self.source.names)
        located = _pairs(places, self.target.paths, keys, self.source.paths)
        doubtful = [place for place, key in named.items() if located.get(place, key) != key]
        if doubtful:
            all_named, all_located = (
                len(pairs) == len(places) and all(itertools.starmap(self._fits, pairs.items()))
                for pairs in (named, located)
            )
            if all_named == all_located:
                shown = [
                    f"{self.target.label(place)} would be {self.source.label(named[place])} by its name, "
                    f"{self.source.label(located[place])} by its path"
                    for place in doubtful
                ]
                raise ConflictError(
                    f"names and paths contradict each other, and rules (--map FILE) must decide: {_listed(shown)}",
                    path=self.source.draft.prefix,
                )
            named = {} if all_located else named
        for place, key in named.items():
            self._give(place, key, _NAME)
        for place, key in located.items():
            if place not in self.found and key not in self._used:
                self._give(place, key, _PATH)

    def by_scopes(self) -> None:
        """Match variables whose names differ by a scope in front, as Keras puts one there or leaves one out.

        A scope counts where no other one that explains as much claims one of its variables.
        """
        free_places, free_keys = self._free()
        places = _unique(free_places, self.target.names)
        keys = _unique(free_keys, self.source.names)
        claims: dict[tuple[str, bool], list[tuple[str, str]]] = defaultdict(list)
        for name, place in places.items():
            for scope, rest in _splits(name):
                if rest in keys and self._fits(place, keys[rest]):
                    claims[scope, True].append((place, keys[rest]))
        for name, key in keys.items():
            for scope, rest in _splits(name):
                if rest in places and self._fits(places[rest], key):
                    claims[scope, False].append((places[rest], key))
        sizes: dict[tuple[bool, str], list[int]] = defaultdict(list)  # of what claims a place, or a tensor
        for pairs in claims.values():
            for place, key in pairs:
                sizes[True, place].append(len(pairs))
                sizes[False, key].append(len(pairs))
        for pairs in claims.values():
            claimed = [*((True, place) for place, _ in pairs), *((False, key) for _, key in pairs)]
            if all(sum(size >= len(pairs) for size in sizes[each]) == 1 for each in claimed):
                for place, key in pairs:
                    self._give(place, key, _NAME)

    def by_shapes(self) -> None:
        """Match what is left where type and shape leave no choice."""
        free_places, free_keys = self._free()
        places = _unique(
            [key for key in free_places if key not in self.target.private and not self._is_random_state(key)],
            {key: self.target.signature(key) for key in free_places},
        )
        keys = _unique(free_keys, {key: self.source.signature(key) for key in free_keys})
        for signature, key in keys.items():
            if signature in places:
                self._give(places[signature], key, _SHAPE)

    def others(self) -> None:
        """Match what is no variable, such as Python state, by its key."""
        for key, tensor in self.target.draft.tensors.items():
            known = key in self.target.names or key in self.source.names or key == _COUNTER
            if not known and self.source.signature(key) == _signature(tensor):
                self._give(key, key, _PATH)

    def _is_random_state(self, place: str) -> bool:
        """Whether this is the state of a random number generator, which no other value suits."""
        path = self.target.paths.get(place, "")
        return path.endswith("/_state_var") or self.target.names[place].endswith("seed_generator_state")

    # Optimizers

    def optimizers(self) -> None:
        """Match what optimizers keep for variables that are matched, then their steps and hyperparameters."""
        for optimizer in self.target.optimizers:
            for (role, variable), place in optimizer.slots.items():
                if place not in self.found and variable in self.givers:
                    self._slot(optimizer, role, self.givers[variable], place)
        self._new_slots()
        for optimizer in self.target.optimizers:
            partners = self._partners(optimizer)
            self._steps(optimizer, partners)
            for partner in partners:
                for name, key in partner.scalars.items():
                    scalar = optimizer.scalars.get(name, "")
                    free = scalar and scalar not in self.found and len(partners) == 1
                    if free and self._fits(scalar, key):
                        self._give(scalar, key, _STATE)
                    self.reasons[key] = "a hyperparameter for which the template has no place"

    def _slot(self, optimizer: Optimizer, role: str, variable: str, place: str) -> None:
        """Let a slot have what an optimizer of the source keeps for a variable of it, if it is only one that does."""
        found = [
            (other, kind)
            for kind in _WORTH.get(role, (role,))
            for other in self._keepers.get((kind, variable), ())
        ]
        if len(found) > 1:
            found = [(other, kind) for other, kind in found if other.path == optimizer.path]
        if len(found) != 1:
            return
        other, kind = found[0]
        key = other.slots[kind, variable]
        expression = None
        if kind != role:
            rate = self._learning_rate(optimizer if role == MOMENTUM else other)
            factor = -rate if role == MOMENTUM else -1 / rate
            expression = Scaled(_values(self.source.draft.tensors[key]), factor)
        self._give(place, key, _STATE, expression)
        self.gave[optimizer].append(other)

    def _learning_rate(self, optimizer: Optimizer) -> float:
        """The learning rate of a Keras optimizer, whose momentum contains it."""
        if optimizer not in self._rates:
            side = self.target if optimizer in self.target.optimizers else self.source
            rate = self.fitting.learning_rate
            rate = side.value(optimizer.scalars.get("learning_rate")) if rate is None else rate
            if not rate or not math.isfinite(rate):
                raise ConflictError(
                    f"the momentum of the optimizer {optimizer.path!r} contains the learning rate, which is "
                    f"{'not stored' if rate is None else rate}; --learning-rate X (learning_rate=X) says it",
                    path=side.draft.prefix,
                )
            self._rates[optimizer] = rate
        return self._rates[optimizer]

    def _new_slots(self) -> None:
        """Make slot variables for legacy optimizers that have none yet."""
        places: dict[str, list[str]] = defaultdict(list)
        for place, key in self.givers.items():
            places[key].append(place)
        roles = {each: self._roles(each) for each in self.target.optimizers if each.kind == "legacy"}
        wanted: dict[Optimizer, dict[tuple[str, str], str]] = defaultdict(dict)
        for (kind, variable), keepers in self._keepers.items():
            role = MOMENTUM if kind == GRADIENT_SUM else kind
            key = keepers[0].slots[kind, variable]
            if key in self._used or self.source.signature(key) != self.source.signature(variable):
                continue
            for place in places[variable]:
                able = [
                    each for each, known in roles.items() if role in known and (role, place) not in each.slots
                ]
                if len(able) == 1:
                    wanted[able[0]].setdefault((role, place), variable)
        graph = self.target.draft.graph
        for optimizer, slots in wanted.items():
            if graph is None or (not optimizer.ran and class_of(role for role, _ in slots) is None):
                continue  # of several kinds of optimizers: nobody knows which one this is
            for (role, place), key in add_slots(graph, optimizer, slots).items():
                self._slot(optimizer, role, slots[role, place], key)

    def _roles(self, optimizer: Optimizer) -> set[str]:
        """The slots that can be made; there are none for a momentum of 0 (tf_keras optimizers/legacy)."""
        roles = optimizer.possible_roles()
        if not optimizer.slots and self.target.value(optimizer.scalars.get("momentum")) == 0:
            roles -= {MOMENTUM, "rms_momentum"}
        return roles

    def _partners(self, optimizer: Optimizer) -> list[Optimizer]:
        """The optimizers of the source that gave slots; or else the one of the same path, or the only one."""
        others = self.source.optimizers
        gave = list(dict.fromkeys(self.gave[optimizer]))
        if any(each.kind == "tf1" for each in gave):  # whose steps are counted elsewhere
            gave += [each for each in others if each.kind == "tf1" and each.iterations and each not in gave]
        known = [each for each in others if each.path == optimizer.path and each.kind != "tf1"]
        alive = [each for each in others if each.iterations or any(each.owned)]
        return gave or known or (alive if len(alive) == 1 else [])

    def _steps(self, optimizer: Optimizer, partners: Sequence[Optimizer]) -> None:
        """Match the number of steps; compute it from powers of beta, or these from it."""
        betas = [self._beta(f"beta_{number}", optimizer, partners) for number in (1, 2)]
        counters = [each.iterations for each in partners if each.iterations is not None]
        powers = [pair for each in partners for pair in each.powers]
        told = {told for pair in powers if (told := self._told(pair, betas)) is not None}
        counted = {count for key in counters if (count := self.source.count(key)) is not None}
        if len(counted or told) != 1:
            return
        [steps] = counted or told
        place, graph = optimizer.iterations, self.target.draft.graph
        if place is None and graph is not None and optimizer.kind == "legacy" and optimizer.node is not None:
            place = add_iterations(graph, optimizer)
        if place is not None and place not in self.found:
            if counted:
                self._count(place, counters[0])
            else:
                self._compute(place, steps, f"{steps} steps, by {' and '.join(powers[0])}")
        for pair in optimizer.powers:
            for key, beta in zip(pair, betas, strict=True):
                if self.source.signature(key) is not None:
                    self._give(key, key, _NAME)
                elif 0 < beta < 1:
                    self._compute(key, beta ** (steps + 1), f"{beta:.7g} ** {steps + 1}")
        if optimizer.powers:
            self.reasons |= dict.fromkeys(counters, "the powers of beta say it")
        for key in (key for pair in powers if place in self.found for key in pair):
            other = next((each for each in told if each != steps), None)
            self.reasons[key] = (
                "the number of steps says it"
                if other is None
                else f"{counters[0]} is the number of steps, {steps}; by this it would be {other}"
            )

    def _beta(self, name: str, optimizer: Optimizer, partners: Iterable[Optimizer]) -> float:
        """A beta: as given, as stored, or what is usual."""
        given = self.fitting.beta_1 if name == "beta_1" else self.fitting.beta_2
        stored = [self.target.value(optimizer.scalars.get(name))]
        stored += [self.source.value(each.scalars.get(name)) for each in partners]
        usual = float(np.float32(_BETAS[name == "beta_2"]))
        return next((each for each in (given, *stored) if each is not None), usual)

    def _told(self, powers: tuple[str, str], betas: Sequence[float]) -> int | None:
        """The number of steps behind the powers of beta, or None if they do not say it.

        That of beta_1 says it exactly until it is too small for float32.
        """
        told = []
        for key, beta in zip(powers, betas, strict=True):
            power = self.source.value(key)
            if power is not None and 0 < beta < 1 and _LEAST_POWER < power < 1:
                told.append(math.log(power) / math.log(beta) - 1)
        if not told or round(told[0]) < 0 or abs(told[0] - round(told[0])) > _UNSURE * (1 + told[0] / 100):
            return None
        if len(told) > 1 and abs(told[0] - told[1]) > 1 + told[0] / 100:
            return None  # other betas than these
        return round(told[0])

    def _count(self, place: str, key: str) -> None:
        """Let a place have a number of steps, which may be an integer of another type."""
        values = _values(self.source.draft.tensors[key])
        want = self.target.signature(place)
        other = want is not None and want[0] is not values.dtype and {want[0], values.dtype} <= INTEGERS
        self._give(place, key, _STATE, Cast(values, want[0]) if want is not None and other else None)

    def _compute(self, place: str, value: Number, name: str) -> None:
        """Let a place have a number of our own."""
        whole = isinstance(value, int)
        dtype, shape = self.target.signature(place) or (DType.int64 if whole else DType.float32, ())
        kind = INTEGERS if whole else _FLOATING
        if shape or dtype not in kind or (isinstance(value, int) and value >> (8 * dtype.itemsize - 1)):
            self.conflicts.append(
                f"{self.target.label(place)} is {_described(dtype, shape)}, and is to be {name}"
            )
            return
        self.found[place] = DraftTensor(Constant(np.array(value, dtype.numpy), name, dtype), matched=_STATE)

    # The result

    def finish(self, counter: int | None) -> None:
        """Make the draft of what was found, or refuse to."""
        source, template = self.source.draft, self.target.draft
        stays = self._stays()
        missing = [key for key in self.target.names if key not in self.found and key not in stays]
        unused = sorted(
            key
            for key in source.tensors
            if key not in self._used and key not in self.reasons and key != _COUNTER
        )
        labels = [f"{self.target.label(key)}{self._shape_of(key)}" for key in missing]
        left = [f"{self.source.label(key)} {_described(*_signature(source.tensors[key]))}" for key in unused]
        _refuse_leftovers(labels, left, self.fitting, source.prefix, template.prefix, self._hint(unused))
        reasons = dict.fromkeys(unused, "no place in the template")
        reasons |= {key: reason for key, reason in self.reasons.items() if key not in self._used}
        if _COUNTER in source.tensors:
            reasons[_COUNTER] = _OLD_COUNTER
        source.left_out += [LeftOut(key, reasons[key]) for key in sorted(reasons)]
        lost = set(missing)
        tensors = {
            key: replace(tensor, matched=MISSING if key in lost else _KEPT)
            for key, tensor in template.tensors.items()
        } | self.found
        if template.graph is not None and SAVE_COUNTER in template.graph.root.children:
            if counter is None:
                template.graph.drop(SAVE_COUNTER)
                tensors.pop(_COUNTER, None)
            else:
                tensors[_COUNTER] = DraftTensor(Literal.int64(counter))
        _rebuild(source, tensors, template.graph)

    def _shape_of(self, key: str) -> str:
        signature = self.target.signature(key)
        return "" if signature is None else f" {_described(*signature)}"

    def _stays(self) -> set[str]:
        """The places that may keep the template's value: nothing in the source belongs there.

        States of random number generators; what optimizers have but slots and steps; and these, too, of an optimizer that
        no slot was found for.
        """
        stays = {key for key in self.target.names if self._is_random_state(key)} | self.target.private
        for optimizer in self.target.optimizers:
            if self.gave[optimizer]:
                counted = () if optimizer.iterations is None else (optimizer.iterations,)
                powers = itertools.chain.from_iterable(optimizer.powers)
                stays.difference_update(optimizer.slots.values(), counted, powers)
            else:
                stays.update(optimizer.owned)
        return stays

    def _hint(self, unused: Collection[str]) -> str:
        """Why slots may be left over."""
        slots = {key for each in self.source.optimizers for key in each.slots.values()}
        idle = [each.path for each in self.target.optimizers if each.kind == "keras" and not each.slots]
        if idle and not slots.isdisjoint(unused):
            return (
                f"; the template's optimizer {idle[0]!r} has no slots: it has them once "
                "optimizer.build(model.trainable_variables) was called"
            )
        return ""


def _paths_elsewhere(graph: ObjectGraph, optimizers: Collection[Node | None]) -> dict[str, str]:
    """The paths of variables that do not lead through an optimizer, by key.

    Keras 3's list the variables that they train, and of two ways to one, theirs is often the shorter.
    """
    paths = {graph.root: ""}
    queue = deque([graph.root])
    found = {}
    while queue:
        node = queue.popleft()
        for each in node.attributes:
            if each.name == VARIABLE_VALUE and paths[node] != SAVE_COUNTER:
                found[each.checkpoint_key] = paths[node]
        for name, child in node.children.items() if node not in optimizers else ():
            if child not in paths:
                paths[child] = join_path(paths[node], name)
                queue.append(child)
    return found


def _rebuild(draft: Draft, tensors: Mapping[str, DraftTensor], graph: ObjectGraph | None) -> None:
    """Let a draft have these tensors, in the order in which TensorFlow writes them, and this graph."""
    if graph is None:
        order = sorted(tensors)
    else:
        order = [each.checkpoint_key for _, _, each in graph.attributes() if each.checkpoint_key in tensors]
    draft.tensors = {key: tensors[key] for key in (*order, *tensors)}
    draft.graph = graph
    draft.keeps_order = False


def _pairs(
    places: Iterable[str], their: Mapping[str, str], keys: Iterable[str], our: Mapping[str, str]
) -> dict[str, str]:
    """The places and the tensors that share a name that is no one else's."""
    known = _unique(keys, our)
    return {place: known[name] for name, place in _unique(places, their).items() if name in known}


def _unique(keys: Iterable[str], values: Mapping[str, Value]) -> dict[Value, str]:
    """The keys whose value no other one has, by value; not those without one."""
    found: dict[Value, str | None] = {}
    for key in keys:
        value = values.get(key)
        if value:
            found[value] = None if value in found else key
    return {value: key for value, key in found.items() if key is not None}


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """The scopes that a name begins with, and the rest."""
    end = name.find("/")
    for _ in range(_MAX_DEPTH):
        if end < 0:
            return
        yield name[: end + 1], name[end + 1 :]
        end = name.find("/", end + 1)


def _signature(tensor: DraftTensor) -> Signature:
    values = tensor.expression
    return (
        (values.entry.dtype, values.entry.shape)
        if isinstance(values, Literal)
        else (values.dtype, values.shape)
    )


def _values(tensor: DraftTensor) -> Expression:
    """A tensor as an expression."""
    literal = tensor.expression
    if not isinstance(literal, Literal):
        return literal
    values = np.frombuffer(literal.payload, literal.entry.dtype.numpy).reshape(literal.entry.shape)
    return Constant(values, "a new value", literal.entry.dtype)


def _scalar(tensor: DraftTensor) -> Number | None:
    """The value of a number; None of anything else."""
    dtype, shape = _signature(tensor)
    if shape or dtype not in INTEGERS | _FLOATING:
        return None
    with Reading() as reading:
        value = _values(tensor).read((), reading)
    return int(value) if dtype in INTEGERS else float(value)


def _described(dtype: DType | None, shape: tuple[int, ...] | None) -> str:
    """A type and a shape as they are printed everywhere, as far as they are known."""
    known = [] if dtype is None else [str(dtype)]
    return " ".join(known if shape is None else [*known, f"[{','.join(map(str, shape))}]"])


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more


def _refuse_conflicts(conflicts: Sequence[str], prefix: str) -> None:
    if conflicts:
        raise ConflictError(f"types or shapes differ: {_listed(conflicts)}", path=prefix)


def _refuse_leftovers(
    missing: Sequence[str], unused: Sequence[str], fitting: Fitting, prefix: str, other: str, hint: str = ""
) -> None:
    """Refuse what is missing and what is left over, unless it is allowed."""
    reasons = []
    if missing and not fitting.allow_missing:
        reasons.append(
            f"{len(missing)} missing, which --allow-missing (allow_missing=True) allows: {_listed(missing)}"
        )
    if unused and not fitting.allow_unused:
        reasons.append(
            f"{len(unused)} left over, which --allow-unused (allow_unused=True) allows: {_listed(unused)}"
        )
    if reasons:
        raise ConflictError(f"does not fit {other}: {'; '.join(reasons)}{hint}", path=prefix)
