"""Finds optimizers by names of variables: those of TF1, legacy ones of Keras in TF1 code, and those of Keras 2.11 and later."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.optimizers.ends import Ends
from tensorbundle.tools.optimizers.optimizer import Optimizer
from tensorbundle.tools.optimizers.table import (
    AVERAGES,
    HYPERPARAMETERS,
    KERAS_SLOTS,
    LEGACY_ROLES,
    TF1_CLASSES,
    TF1_SCALAR,
    TF1_SUFFIX,
    TF1_SUFFIXES,
    TRAINING,
    axes_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tensorbundle.tools.optimizers.optimizer import Generation
    from tensorbundle.tools.optimizers.table import Shape

__all__ = ["optimizers_in_names"]

_MAX_PARTS: Final = 100
_MAX_DIGITS: Final = 3  # of an optimizer's slots
_SCALARS: Final = ("beta", "local_step", "current_loss_scale", "good_steps")  # how names of TF1_SCALAR begin
_POWER: Final = re.compile(r"(?P<scope>(?:.*/)?)beta1_power(?P<number>(?:_\d+)?)", re.DOTALL)
_RATES: Final = ("learning_rate", "current_learning_rate")
# Keras without `tf.keras` gives slots no names of their own.
_NAMELESS: Final = re.compile(r"Variable(_\d+)?")


def optimizers_in_names(variables: Mapping[str, str], shapes: Mapping[str, Shape]) -> list[Optimizer]:
    """The optimizers found by names of variables.

    Args:
        variables: the names of variables and their keys.
        shapes: by key, as far as they are known.

    Returns:
        TF1's as one `Optimizer`; one more for each further optimizer of the same variables, and for moving averages;
        one for each of Keras.
    """
    legacy = [*_legacy(variables, shapes), *_keras(variables, shapes)]
    taken = {key for each in legacy for key in each.owned}
    rest = {name: key for name, key in variables.items() if key not in taken}
    return [*_Tf1(rest, variables, shapes).found(), *legacy]


class _Tf1:
    """The search for TF1's slots: names are grouped by the part before the optimizer's name, then told by number."""

    def __init__(
        self, rest: Mapping[str, str], variables: Mapping[str, str], shapes: Mapping[str, Shape]
    ) -> None:
        self._rest, self._variables, self._shapes = rest, variables, shapes
        self._native = Optimizer("tf1", iterations=_global_step(variables))
        self._others: dict[str, Optimizer] = {}
        self._known: set[str] = set()  # optimizers' names that have a slot of a stored variable

    def found(self) -> list[Optimizer]:
        numbered: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
        for name, key in self._rest.items():
            stem, _, last = name.rpartition("/")
            if last.startswith(_SCALARS):
                self._scalar(name, key)
            suffix = TF1_SUFFIX.fullmatch(name) if "_slot_" in last else None
            if suffix is not None:
                numbered[suffix["variable"], f"_slot_{suffix['name']}"][0] = key
            elif stem:
                optimizer, number = _number_of(last)
                if optimizer in TF1_CLASSES or optimizer == AVERAGES:
                    numbered[stem, optimizer][number] = key
                elif last in TF1_SUFFIXES:
                    numbered[stem, last][0] = key
        # First variables whose name is all of the part before the optimizer's name, then those whose name is its end.
        orphans = []
        variables = {stem: self._variable(stem) for stem, _ in numbered}
        for whole in (True, False):
            for (stem, name), slots in numbered.items():
                variable = variables[stem]
                if variable is None:
                    if whole:
                        orphans.append((stem, name, slots))
                elif (variable == stem) is whole:
                    self._assign(stem.removesuffix(variable), name, self._variables[variable], slots)
        for stem, name, slots in orphans:
            if self._is_orphan(stem, name, slots, numbered):
                self._native.orphans += slots.values()
        return [self._native, *self._others.values()]

    def _scalar(self, name: str, key: str) -> None:
        found = _POWER.fullmatch(name)
        second = "" if found is None else f"{found['scope']}beta2_power{found['number']}"
        if second in self._variables:
            self._native.powers.append((key, self._variables[second]))
            return
        scalar = TF1_SCALAR.fullmatch(name)
        if scalar is not None and not self._is_second_power(name):
            known = scalar["name"] in self._native.scalars
            self._native.scalars[name if known else scalar["name"]] = key

    def _is_second_power(self, name: str) -> bool:
        scope, slash, last = name.rpartition("/")
        first = f"{scope}{slash}{last.replace('beta2_power', 'beta1_power')}"
        return last.startswith("beta2_power") and first in self._variables

    def _variable(self, stem: str) -> str | None:
        """The variable of a slot: an optimizer in a `variable_scope` puts the scope before the variable's name."""
        return stem if stem in self._variables else next(self._ends.of(stem), None)

    @functools.cached_property
    def _ends(self) -> Ends:
        return Ends(self._variables)

    def _assign(self, scope: str, name: str, variable: str, slots: Mapping[int, str]) -> None:
        """Add slots to the optimizer that has none of that role for the variable yet: several may train it."""
        self._known.add(name)
        for instance, role, key in self._told(name, variable, slots):
            optimizer = self._native
            if name == AVERAGES or instance or (role, variable) in optimizer.slots:
                path = f"{scope}{name}_{instance}" if instance else f"{scope}{name}"
                generation: Generation = "average" if name == AVERAGES else "tf1"
                optimizer = self._others.setdefault(path, Optimizer(generation, path))
            optimizer.slots.setdefault((role, variable), key)

    def _told(self, name: str, variable: str, slots: Mapping[int, str]) -> Iterator[tuple[int, str, str]]:
        """The number of each slot's optimizer among those of that name, and its role.

        Several optimizers of one name number their slots one after another.
        """
        if name not in TF1_CLASSES:
            role = f"mesh_{name[6:]}" if name in ("_slot_vr", "_slot_vc") else name.removeprefix("_slot_")
            for number, key in slots.items():
                yield number, "average" if name == AVERAGES else TF1_SUFFIXES.get(role, role), key
            return
        roles = self._set_of(name, variable, slots)
        for number, key in slots.items():
            instance, position = divmod(number, len(roles))
            yield instance, roles[position], key

    def _set_of(self, name: str, variable: str, slots: Mapping[int, str]) -> tuple[str, ...]:
        """The set of roles of a class that agrees with the number and shapes of slots, or else the usual set."""
        count = len(slots)
        for roles in TF1_CLASSES[name]:
            if slots.keys() == set(range(count)) == set(range(len(roles))) and all(
                self._agree(roles[number], variable, key) for number, key in slots.items()
            ):
                return roles
        return TF1_CLASSES[name][0]

    def _agree(self, role: str, variable: str, slot: str) -> bool:
        shapes = self._shapes.get(variable), self._shapes.get(slot)
        return None in shapes or axes_of(role, *shapes) is not None  # type: ignore[arg-type]

    def _is_orphan(
        self, stem: str, name: str, slots: Mapping[int, str], others: Mapping[tuple[str, str], object]
    ) -> bool:
        """Whether tensors named like slots of a variable that is not stored are slots.

        They are if the set is complete and other slots of that optimizer are known. An example is the opaque buffer of
        a CuDNN layer: it has slots, but its weights are stored in another form.
        """
        if name in ("m", "v", AVERAGES):
            return False  # other tensors have such names, and averages may replace their variables
        if name in TF1_CLASSES:
            complete = any(slots.keys() == set(range(len(roles))) for roles in TF1_CLASSES[name])
            return complete and (name in self._known or bool(name == "Adam" and self._native.powers))
        pairs = {"adam_m": "adam_v", "lamb_m": "lamb_v"}
        pairs |= {second: first for first, second in pairs.items()}
        return name in self._known or (name in pairs and (stem, pairs[name]) in others)


def _number_of(last: str) -> tuple[str, int]:
    """The name of an optimizer in the last part of a slot's name, and the slot's number."""
    optimizer, _, number = last.rpartition("_")
    if optimizer and number.isdecimal() and len(number) <= _MAX_DIGITS:
        return optimizer, int(number)
    return last, 0


def _global_step(variables: Mapping[str, str]) -> str | None:
    """The key of TF1's number of steps: `global_step`, or the only one in a scope."""
    scoped = [key for name, key in variables.items() if name.endswith("/global_step")]
    return variables.get("global_step", scoped[0] if len(scoped) == 1 else None)


def _legacy(variables: Mapping[str, str], shapes: Mapping[str, Shape]) -> list[Optimizer]:
    """Legacy optimizers of Keras by the names of their variables: `Adam/iter`, `Adam/beta_1`, `Adam/dense/kernel/m`.

    Those of Estimators may count their steps by `global_step`; then they have no `iter`. Keras without `tf.keras` has
    `Adam/iterations` and `Adam/lr` (keras optimizer_v1.py).
    """
    found: dict[str, Optimizer] = {}
    for name, key in variables.items():
        training = TRAINING.fullmatch(name) if name.startswith("training") else None
        scope, _, last = name.rpartition("/")
        if scope and (last == "iter" or (last == "iterations" and f"{scope}/lr" in variables)):
            found.setdefault(scope, Optimizer("legacy", scope)).iterations = key
        elif training is not None:
            found.setdefault(training["scope"], Optimizer("legacy", training["scope"]))
    sizes = {len(scope) for scope in found}
    inside: list[tuple[Optimizer, str, str]] = []
    outside: dict[Shape | None, list[str]] = defaultdict(
        list
    )  # variables that may have slots without names, by shape
    trainings = {scope for scope in found if TRAINING.fullmatch(f"{scope}/x")}
    for name, key in variables.items() if found else ():
        optimizer = next(
            (found[name[:at]] for at in _slashes(name) if at in sizes and name[:at] in found), None
        )
        if optimizer is None or optimizer.path not in trainings:
            outside[shapes.get(key)].append(key)
        if optimizer is not None and key != optimizer.iterations:
            inside.append((optimizer, name, key))
    candidates = {shape: tuple(keys) for shape, keys in outside.items()}
    for optimizer, name, key in inside:
        alike = candidates.get(shapes.get(key), ())
        _add(optimizer, name[len(optimizer.path) + 1 :].split("/"), key, variables, alike)
    for optimizer in found.values():
        tell_momentums_apart(optimizer)
    return [each for each in found.values() if _is_one(each)]


def _add(
    optimizer: Optimizer,
    parts: Sequence[str],
    key: str,
    variables: Mapping[str, str],
    alike: tuple[str, ...],
) -> None:
    """Add a tensor below an optimizer's scope; `alike` are the variables of its shape that may have slots without names."""
    variable, last = "/".join(parts[:-1]), parts[-1]
    of_training = TRAINING.fullmatch(f"{optimizer.path}/x") is not None
    if not variable and not (of_training and _NAMELESS.fullmatch(last)):
        optimizer.scalars[last] = key
    elif last in LEGACY_ROLES and variable in variables:
        optimizer.slots[last, variables[variable]] = key
    elif of_training and not variable:
        optimizer.doubtful[key] = alike
    elif of_training:
        optimizer.orphans.append(key)


def _is_one(optimizer: Optimizer) -> bool:
    """Whether this is an optimizer, and not another object with a variable named `iter`."""
    of_training = TRAINING.fullmatch(f"{optimizer.path}/x") is not None
    return of_training or bool(optimizer.slots) or bool((HYPERPARAMETERS | {"lr"}) & optimizer.scalars.keys())


def tell_momentums_apart(optimizer: Optimizer) -> None:
    """Give the slots `momentum` of an RMSprop their own role."""
    if any(role == "rms" for role, _ in optimizer.slots):
        optimizer.slots = {
            ("rms_momentum" if role == "momentum" else role, variable): key
            for (role, variable), key in optimizer.slots.items()
        }


def _keras(variables: Mapping[str, str], shapes: Mapping[str, Shape]) -> list[Optimizer]:
    """Optimizers of Keras 2.11 and later by the names of their variables.

    `Adam/m/dense/kernel` is a slot of `dense/kernel` if that is stored with this shape, and so is the number of steps.
    """
    if not any(name.endswith("iteration") for name in variables):
        return []
    flat: dict[str, list[str]] = defaultdict(list)
    for name in variables:
        flat[name.replace("/", "_")].append(name)
    found: dict[str, Optimizer] = {}
    for name, key in variables.items():
        for scope, slot in _scopes(name):
            meant = _keras_slot(scope, slot, variables, flat)
            if meant is None or axes_of(meant[0], shapes[variables[meant[1]]], shapes[key]) is None:
                continue
            generation: Generation = "keras2" if "/" in slot else "keras3"
            optimizer = found.setdefault(scope, Optimizer(generation, scope))
            optimizer.slots.setdefault((meant[0], variables[meant[1]]), key)
            break
    for scope, optimizer in found.items():
        optimizer.iterations = variables.get(f"{scope}/iteration", variables.get("iteration"))
        for each in _RATES:
            rate = variables.get(f"{scope}/{each}", variables.get(each) if len(found) == 1 else None)
            if rate is not None:
                optimizer.scalars[each] = rate
        if _class_in(scope) == "nadam" and f"{scope}/Variable" in variables:
            optimizer.scalars["momentum_cache"] = variables[f"{scope}/Variable"]
    return [each for each in found.values() if each.iterations is not None]


def _slashes(name: str) -> Iterator[int]:
    """The places of the slashes of a name, as far as scopes are looked for."""
    at = -1
    for _ in range(_MAX_PARTS):
        at = name.find("/", at + 1)
        if at < 0:
            return
        yield at


def _scopes(name: str) -> Iterator[tuple[str, str]]:
    """The scopes of a name that show the class of an optimizer, each with the rest of the name."""
    start = 0
    for end in _slashes(name):
        if _class_in(name[start:end]) in KERAS_SLOTS:
            yield name[:end], name[end + 1 :]
        start = end + 1


@functools.lru_cache(maxsize=1024)  # the same scopes again and again, in the order of names
def _class_in(scope: str) -> str:
    """The class that the last part of an optimizer's scope shows, as in `KERAS_SLOTS`: `RMSprop_1` and `rm_sprop` are `rmsprop`."""
    return re.sub(r"_\d+$", "", scope.rpartition("/")[2]).replace("_", "").lower()


def _keras_slot(
    scope: str, slot: str, variables: Mapping[str, str], flat: Mapping[str, Sequence[str]]
) -> tuple[str, str] | None:
    """The role of a slot and its variable's name, by the slot's name in the scope of its optimizer."""
    roles = KERAS_SLOTS[_class_in(scope)]
    first, _, variable = slot.partition("/")
    if variable:
        return (roles[first], variable) if first in roles and variable in variables else None
    for start in (place for place, char in enumerate(slot) if char == "_"):
        named = flat.get(slot[:start], ())
        if slot[start + 1 :] in roles and len(named) == 1:
            return roles[slot[start + 1 :]], named[0]
    return None
