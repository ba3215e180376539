"""Optimizer state in the structure of a template: slots, numbers of steps, hyperparameters.

The number of steps is `global_step`, or else is computed from the powers of beta that TF1's Adam stores: after n steps
they are the betas to the power of n + 1 (python/training/adam.py). Conversion to TF1 computes them from the steps.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tensorbundle.arrays import np
from tensorbundle.dtypes import DType
from tensorbundle.errors import ConflictError
from tensorbundle.specs import Spec
from tensorbundle.tools.optimizers.making import add_iterations, add_slots, class_of
from tensorbundle.tools.optimizers.ordering import NADAM_PRODUCT, nadam_product
from tensorbundle.tools.optimizers.table import (
    AVERAGED_BY_SIZE,
    COPIES,
    GRADIENT_SUM,
    MOMENTUM,
    SCALED_BY_STEPS,
    is_unused,
)
from tensorbundle.tools.rewriting.draft import DraftTensor
from tensorbundle.tools.rewriting.expressions import Cast, Constant, Scaled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorbundle.tools.matching.placing import Placing
    from tensorbundle.tools.matching.sides import Number
    from tensorbundle.tools.operations.converting.fitting import Fitting
    from tensorbundle.tools.optimizers.optimizer import Optimizer

__all__ = ["OptimizerState"]

_NAME, _STATE, _COPIED = "by name", "as optimizer state", "copied from its variable"
_EMPTY: Final = frozenset({"gradient_accumulator"})  # zeros at first, and after each update
_WORTH: Final = {MOMENTUM: (MOMENTUM, GRADIENT_SUM), GRADIENT_SUM: (GRADIENT_SUM, MOMENTUM)}
_BETAS: Final = (0.9, 0.999)  # the defaults of TensorFlow and Keras
_UNSURE: Final = 0.05  # of a step
_LEAST_POWER: Final = 1e-35  # below, float32 loses digits


class OptimizerState:
    """The state of the template's optimizers, from the state of the source's optimizers for matched variables.

    Attributes:
        reasons: why tensors of the source need no place, by key.
        gave: which optimizers of the source gave slots to each of the template's.
    """

    def __init__(self, placing: Placing, fitting: Fitting) -> None:
        self.reasons: dict[str, str] = {}
        self.gave: dict[Optimizer, list[Optimizer]] = defaultdict(list)
        self._placing, self._fitting = placing, fitting
        self._source, self._target = placing.source, placing.target
        self._continued: set[Optimizer] = set()  # those that got slots
        self._counted: set[Optimizer] = set()  # those that continue from a number of steps
        self._rates: dict[Optimizer, float] = {}
        self._owners = {key: each for each in self._source.optimizers for key in each.owned}
        self._keepers: dict[tuple[str, str], list[Optimizer]] = defaultdict(list)  # by role and variable
        for optimizer in self._source.optimizers:
            for slot in optimizer.slots:
                self._keepers[slot].append(optimizer)

    def fill(self) -> None:
        """Match the slots of matched variables, then the optimizers' numbers of steps and hyperparameters."""
        self._by_rules()
        for optimizer in self._target.optimizers:
            for (role, variable), place in optimizer.slots.items():
                if place not in self._placing.found and variable in self._placing.givers:
                    self._slot(optimizer, role, self._placing.givers[variable], variable, place)
        self._new_slots()
        self._copies()
        for optimizer in self._target.optimizers:
            partners = self._partners(optimizer)
            self._steps(optimizer, partners)
            for partner in partners:
                for name, key in partner.scalars.items():
                    scalar = optimizer.scalars.get(name, "")
                    free = scalar and scalar not in self._placing.found and len(partners) == 1
                    if free and name == NADAM_PRODUCT and self._counts_otherwise(optimizer, partner):
                        self._nadam_product(scalar, optimizer, partner)
                    elif free and self._placing.fits(scalar, key):
                        self._placing.give(scalar, key, _STATE)
                    self.reasons[key] = "a hyperparameter for which the template has no place"

    def _by_rules(self) -> None:
        """Note the optimizers that got slots or a number of steps by rules."""
        for optimizer in self._target.optimizers:
            roles = {place: role for (role, _), place in optimizer.slots.items()}
            roles |= {place: optimizer.roles.get(place, "") for place in optimizer.doubtful}
            for place, giver in self._ruled(optimizer):
                owner = self._owners.get(giver)
                if place in roles and owner is not None:
                    self.gave[optimizer].append(owner)
                if place in roles and (owner is not None or roles[place] not in COPIES):
                    self._continued.add(optimizer)
                elif place == optimizer.iterations and self._source.count(giver):
                    self._counted.add(optimizer)

    def _ruled(self, optimizer: Optimizer) -> list[tuple[str, str]]:
        """The tensors of one of the template's optimizers that got values by rules, and the keys of the givers."""
        givers = self._placing.givers
        return [(place, givers[place]) for place in optimizer.owned if place in givers]

    def needed(self, optimizer: Optimizer) -> set[str]:
        """The places of one of the template's optimizers at which the template's own value would be wrong.

        For an optimizer that got slots: all of its slots, and its number of steps. For one that got a number of steps:
        the means that it scales by this number, of matched variables. For all: copies of matched variables.
        """
        got, counted = optimizer in self._continued, optimizer in self._counted
        roles: dict[str, set[str]] = defaultdict(set)
        for role, variable in optimizer.slots:
            roles[variable].add(role)
        places = set()
        for (role, variable), place in optimizer.slots.items():
            has_place = variable in self._placing.givers
            stored = self._target.draft.tensors.get(variable)
            unused = stored is not None and is_unused(role, stored.shape, roles[variable])
            if not unused and _goes_on(role, has_place, got, counted):
                places.add(place)
        have_place: dict[int, bool] = {}  # many slots share their candidates
        for place, candidates in optimizer.doubtful.items():
            if id(candidates) not in have_place:
                have_place[id(candidates)] = not self._placing.givers.keys().isdisjoint(candidates)
            if _goes_on(optimizer.roles.get(place, ""), have_place[id(candidates)], got, counted):
                places.add(place)
        if got:
            places |= {*itertools.chain.from_iterable(optimizer.powers)}
            places |= set() if optimizer.iterations is None else {optimizer.iterations}
        return places

    def _copies(self) -> None:
        """Set copies of variables that the source lacks to the variable's value, as they are at first."""
        placing = self._placing
        for optimizer in self._target.optimizers:
            for (role, variable), place in optimizer.slots.items():
                key = placing.givers.get(variable)
                if role in COPIES and key is not None and place not in placing.found:
                    values = placing.found[variable].expression
                    if self._target.spec(place) == Spec(values.dtype, values.shape):
                        placing.give(place, key, _COPIED, values)

    def _slot(self, optimizer: Optimizer, role: str, variable: str, owner: str, place: str) -> None:
        """Fill the slot of `owner` at `place` with the source's slot of `variable`, if only one optimizer has one."""
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
        if role in AVERAGED_BY_SIZE and self._source.spec(variable) != self._target.spec(owner):
            return
        expression = None
        if kind != role:
            rate = self._learning_rate(optimizer if role == MOMENTUM else other)
            factor = -rate if role == MOMENTUM else -1 / rate
            expression = Scaled(self._source.draft.tensors[key].expression, factor)
        self._placing.give(place, key, _STATE, expression)
        self.gave[optimizer].append(other)
        self._continued.add(optimizer)

    def _learning_rate(self, optimizer: Optimizer) -> float:
        """The learning rate of a Keras optimizer, whose momentum contains it."""
        if optimizer not in self._rates:
            side = self._target if optimizer in self._target.optimizers else self._source
            rate = self._fitting.learning_rate
            rate = side.value(optimizer.scalars.get("learning_rate")) if rate is None else rate
            if not rate or not math.isfinite(rate):
                raise ConflictError(
                    f"the momentum of the optimizer {optimizer.path!r} contains the learning rate, which is "
                    f"{'not stored' if rate is None else rate}; --learning-rate X (learning_rate=X) gives it",
                    path=side.draft.prefix,
                )
            self._rates[optimizer] = rate
        return self._rates[optimizer]

    def _new_slots(self) -> None:
        """Make slot variables for legacy optimizers that have none yet."""
        places: dict[str, list[str]] = defaultdict(list)
        for place, key in self._placing.givers.items():
            places[key].append(place)
        roles = {each: self._roles(each) for each in self._target.optimizers if each.generation == "legacy"}
        wanted: dict[Optimizer, dict[tuple[str, str], str]] = defaultdict(dict)
        for (kind, variable), keepers in self._keepers.items():
            role = MOMENTUM if kind == GRADIENT_SUM else kind
            key = keepers[0].slots[kind, variable]
            if key in self._placing.used or self._source.spec(key) != self._source.spec(variable):
                continue
            for place in places[variable]:
                able = [
                    each for each, known in roles.items() if role in known and (role, place) not in each.slots
                ]
                if len(able) == 1:
                    wanted[able[0]].setdefault((role, place), variable)
        graph = self._target.draft.graph
        for optimizer, slots in wanted.items():
            if graph is None or (not optimizer.ran and class_of(role for role, _ in slots) is None):
                continue  # several kinds of optimizers have such slots
            for (role, place), key in add_slots(graph, optimizer, slots).items():
                spec = self._target.spec(place)
                self._placing.made |= {} if spec is None else {key: spec}
                self._slot(optimizer, role, slots[role, place], place, key)

    def _roles(self, optimizer: Optimizer) -> set[str]:
        """The slots that can be made; there are none for a momentum of 0 (tf_keras optimizers/legacy)."""
        roles = optimizer.possible_roles()
        if not optimizer.slots and self._target.value(optimizer.scalars.get("momentum")) == 0:
            roles -= {MOMENTUM, "rms_momentum"}
        return roles

    def _partners(self, optimizer: Optimizer) -> list[Optimizer]:
        """The optimizers of the source that gave slots; or else those that rules name, that of the same path, or the only one."""
        others = self._source.optimizers
        gave = list(dict.fromkeys(self.gave[optimizer]))
        if any(each.generation == "tf1" for each in gave):  # their steps are counted elsewhere
            gave += [
                each for each in others if each.generation == "tf1" and each.iterations and each not in gave
            ]
        known = [each for each in others if each.path == optimizer.path and each.generation != "tf1"]
        alive = [each for each in others if each.iterations or any(each.owned)]
        ruled = [self._owners[giver] for _, giver in self._ruled(optimizer) if giver in self._owners]
        return gave or list(dict.fromkeys(ruled)) or known or (alive if len(alive) == 1 else [])

    def _steps(self, optimizer: Optimizer, partners: Sequence[Optimizer]) -> None:
        """Match the number of steps; compute it from powers of beta, or the powers from it."""
        betas = [self._beta(f"beta_{number}", optimizer, partners) for number in (1, 2)]
        counters = [each.iterations for each in partners if each.iterations is not None]
        powers = [pair for each in partners for pair in each.powers]
        told = {told for pair in powers if (told := self._told(pair, betas)) is not None}
        counted = {count for key in counters if (count := self._source.count(key)) is not None}
        steps = next(iter(counted or told)) if len(counted or told) == 1 else None
        self._powers(optimizer, powers, steps, betas)
        if steps is None:
            return
        place, graph = optimizer.iterations, self._target.draft.graph
        if (
            place is None
            and graph is not None
            and optimizer.generation == "legacy"
            and optimizer.node is not None
        ):
            place = add_iterations(graph, optimizer)
        if steps and place is not None and optimizer.generation != "tf1":
            self._counted.add(optimizer)
        if place is not None and place not in self._placing.found:
            if counted:
                self._count(place, counters[0])
            else:
                self._compute(place, steps, f"{steps} steps, by {' and '.join(powers[0])}")
        if optimizer.powers:
            self.reasons |= dict.fromkeys(counters, "known from the powers of beta")
        replaced = powers if place in self._placing.found and not optimizer.powers else []
        for key in (key for pair in replaced for key in pair):
            other = next((each for each in told if each != steps), None)
            self.reasons[key] = (
                "known from the number of steps"
                if other is None
                else f"{counters[0]} is the number of steps, {steps}; by this it would be {other}"
            )

    def _powers(
        self,
        optimizer: Optimizer,
        powers: Sequence[tuple[str, str]],
        steps: int | None,
        betas: Sequence[float],
    ) -> None:
        """Match the powers of beta: by name, or else any if all are equal; compute them if the source has none."""
        for number, beta in enumerate(betas):
            ours = [pair[number] for pair in powers]
            are_equal = len({self._source.value(key) for key in ours}) == 1
            for place in (pair[number] for pair in optimizer.powers):
                if place in self._placing.found:
                    continue
                if self._source.spec(place) is not None:
                    self._placing.give(place, place, _NAME)
                elif are_equal:
                    self._placing.give(place, ours[0], _STATE)
                elif not ours and steps is not None and 0 < beta < 1:
                    self._compute(place, beta ** (steps + 1), f"{beta:.7g} ** {steps + 1}")
            if are_equal and optimizer.powers:
                self.reasons |= dict.fromkeys(ours, "another power of beta has this value")

    def _counts_otherwise(self, optimizer: Optimizer, partner: Optimizer) -> bool:
        """Whether two Nadams store different products of momentums for the same number of steps."""
        generations = partner.generation, optimizer.generation
        return len(set(generations)) > 1 and (partner.generation == "keras2" or "legacy" in generations)

    def _nadam_product(self, place: str, optimizer: Optimizer, partner: Optimizer) -> None:
        """Set a place to the product of Nadam's momentums, computed from the number of steps."""
        steps = self._source.count(partner.iterations or "")
        decay = (
            self._target.value(optimizer.scalars.get("decay")) if optimizer.generation == "legacy" else 1.0
        )
        if steps is not None:
            beta = self._beta("beta_1", optimizer, [partner])
            value = float(nadam_product(steps, beta, 1.0 if decay is None else decay))
            self._compute(place, value, f"the product of Nadam's momentums after {steps} steps")

    def _beta(self, name: str, optimizer: Optimizer, partners: Iterable[Optimizer]) -> float:
        """A beta: as given, as stored, or the default."""
        given = self._fitting.beta_1 if name == "beta_1" else self._fitting.beta_2
        stored = [self._target.value(optimizer.scalars.get(name))]
        stored += [self._source.value(each.scalars.get(name)) for each in partners]
        usual = float(np.float32(_BETAS[name == "beta_2"]))
        return next((each for each in (given, *stored) if each is not None), usual)

    def _told(self, powers: tuple[str, str], betas: Sequence[float]) -> int | None:
        """The number of steps computed from the powers of beta, or None if they do not tell.

        The power of beta_1 gives it exactly until it is too small for float32.
        """
        told = []
        for key, beta in zip(powers, betas, strict=True):
            power = self._source.value(key)
            if power is not None and 0 < beta < 1 and _LEAST_POWER < power < 1:
                told.append(math.log(power) / math.log(beta) - 1)
        if not told or round(told[0]) < 0 or abs(told[0] - round(told[0])) > _UNSURE * (1 + told[0] / 100):
            return None
        if len(told) > 1 and abs(told[0] - told[1]) > 1 + told[0] / 100:
            return None  # powers of other betas
        return round(told[0])

    def _count(self, place: str, key: str) -> None:
        """Set a place to a number of steps, which may be an integer of another type."""
        values = self._source.draft.tensors[key].expression
        there = self._target.draft.tensors.get(place)
        dtype = values.dtype if there is None else there.dtype
        other = dtype is not values.dtype and dtype.is_integer and values.dtype.is_integer
        self._placing.give(place, key, _STATE, Cast(values, dtype) if other else None)

    def _compute(self, place: str, value: Number, name: str) -> None:
        """Set a place to a computed number."""
        whole = isinstance(value, int)
        there = self._target.draft.tensors.get(place)
        dtype = there.dtype if there is not None else DType.int64 if whole else DType.float32
        alike = dtype.is_integer if whole else dtype.is_floating
        if (
            (there is not None and there.shape)
            or not alike
            or (isinstance(value, int) and value >> (8 * dtype.itemsize - 1))
        ):
            self._placing.conflicts.append(
                f"{self._target.label(place)} is {self._target.spec(place)}, and must be {name}"
            )
            return
        self._placing.found[place] = DraftTensor(Constant.scalar(value, dtype, name), matched=_STATE)


def _goes_on(role: str, has_place: bool, got: bool, counted: bool) -> bool:
    """Whether the template's value of a slot would be wrong, as its variable was matched or its optimizer got state."""
    if role in COPIES:
        return has_place
    return role not in _EMPTY and (got or (counted and has_place and role in SCALED_BY_STEPS))
