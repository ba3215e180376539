"""The state of one optimizer, of any generation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tensorbundle.tools.optimizers.table import LEGACY_CLASSES, LEGACY_ROLES, LEGACY_SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.proto.graph import Node

__all__ = ["Generation", "Optimizer"]

# TF1's; the copies of `tf.train.ExponentialMovingAverage`; Keras up to 2.10, with slot variables in the graph; Keras
# 2.11 to 2.15 and tf_keras; Keras 3.
Generation = Literal["tf1", "average", "legacy", "keras2", "keras3"]


@dataclass(slots=True, eq=False)
class Optimizer:
    """The state of one optimizer and of those that it wraps. Tensors are given by their keys.

    Attributes:
        generation: if found by names only, all optimizers of TF1 together are one "tf1".
        path: of its object, or its scope.
        node: its object, if there is an object graph.
        inner: the object of the innermost optimizer that it wraps, or its own.
        slots: by role and variable.
        lists: the slots that Keras 2 lists, by role and position in the list.
        listed: the variables that Keras 3 lists as trained, in order; none of other optimizers.
        doubtful: slots whose variable the files do not tell, with the possible variables.
        roles: of doubtful slots, as far as they are known.
        orphans: slots whose variable is not stored.
        iterations: the number of steps; of TF1, `global_step`.
        scalars: hyperparameters and other scalars, by their legacy names.
        powers: of TF1, beta1_power and beta2_power of each Adam.
        ran: whether it has made variables other than a number of steps.
    """

    generation: Generation
    path: str = ""
    node: Node | None = None
    inner: Node | None = None
    slots: dict[tuple[str, str], str] = field(default_factory=dict)
    lists: dict[str, dict[int, str]] = field(default_factory=dict)
    listed: dict[str, None] = field(default_factory=dict)
    doubtful: dict[str, tuple[str, ...]] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)
    iterations: str | None = None
    scalars: dict[str, str] = field(default_factory=dict)
    powers: list[tuple[str, str]] = field(default_factory=list)
    ran: bool = True

    @property
    def owned(self) -> Iterator[str]:
        """All tensors that are this optimizer's own; `global_step` is not."""
        yield from self.slots.values()
        yield from self.doubtful
        yield from self.orphans
        yield from self.scalars.values()
        for each in self.powers:
            yield from each
        if self.iterations is not None and self.generation != "tf1":
            yield self.iterations

    @property
    def class_name(self) -> str:
        """The class of a legacy optimizer, by its hyperparameters; empty if they match none."""
        known = (each for each in LEGACY_CLASSES if each.marks <= self.scalars.keys())
        return next((each.name for each in known), "") if self.generation == "legacy" else ""

    def possible_roles(self) -> set[str]:
        """The roles of slots that can be made for a legacy optimizer: those it has already, or all if it never ran."""
        if self.generation != "legacy" or self.node is None:
            return set()
        if not self.ran:
            return {*LEGACY_ROLES, *LEGACY_SLOTS} - {"average", "slow"}  # which only wrappers keep
        if self.slots:
            return {role for role, _ in self.slots}
        return {role for each in LEGACY_CLASSES if each.name == self.class_name for role in each.roles}

    def absorb(self, inner: Optimizer) -> None:
        """Add the state of the optimizer that this one wraps.

        If both have a number of steps or a hyperparameter, the inner one's is used.
        """
        self.inner = inner.inner
        self.slots |= inner.slots
        self.doubtful |= inner.doubtful
        self.roles |= inner.roles
        self.orphans += inner.orphans
        self.powers += inner.powers
        outer = self.scalars
        if inner.iterations is not None:
            outer = outer if self.iterations is None else {"iterations": self.iterations, **outer}
            self.iterations = inner.iterations
        self.scalars = dict(inner.scalars)
        for name, key in outer.items():
            clashes = name in self.scalars or name == "iterations"
            self.scalars[f"wrapper_{name}" if clashes else name] = key
