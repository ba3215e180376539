"""How strict the conversion into another structure is, and errors for missing and unused tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorbundle.dtypes import DType
from tensorbundle.errors import ConflictError, listed
from tensorbundle.proto.paths import SAVE_COUNTER, attribute_key
from tensorbundle.tools.rewriting.draft import DraftTensor
from tensorbundle.tools.rewriting.expressions import Constant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = [
    "COUNTER",
    "KEPT",
    "MISSING",
    "OLD_COUNTER",
    "Fitting",
    "rebuild",
    "refuse_conflicts",
    "refuse_leftovers",
    "save_counter",
]

COUNTER: Final = attribute_key(SAVE_COUNTER)
OLD_COUNTER: Final = "the save counter of tf.train.Checkpoint"
KEPT: Final = "kept from the template"
MISSING: Final = "missing, kept from the template"


@dataclass(frozen=True, slots=True)
class Fitting:
    """How strict the conversion is, and hyperparameters that are used instead of stored ones.

    Attributes:
        allow_missing: whether values may be missing; otherwise this is an error.
        allow_unused: whether tensors of the source may be unused; otherwise this is an error.
        allow_reshape: whether values may get the shape of their place in a template, if it has as many elements, in
            row-major order; otherwise this is an error.
        learning_rate: used instead of a stored one. Keras's momentum is TF1's times minus the learning rate.
        beta_1: of Adam, instead of a stored one and of 0.9; beta1_power is computed from it and the number of steps.
        beta_2: of Adam, instead of a stored one and of 0.999.
    """

    allow_missing: bool = False
    allow_unused: bool = False
    allow_reshape: bool = False
    learning_rate: float | None = None
    beta_1: float | None = None
    beta_2: float | None = None


def save_counter(saves: int) -> DraftTensor:
    """The tensor of a save counter."""
    return DraftTensor(Constant.scalar(saves, DType.int64))


def rebuild(draft: Draft, tensors: Mapping[str, DraftTensor], graph: ObjectGraph | None) -> None:
    """Replace a draft's tensors, in the order in which TensorFlow writes them, and its graph."""
    if graph is None:
        order = sorted(tensors)
    else:
        order = [each.checkpoint_key for _, _, each in graph.attributes() if each.checkpoint_key in tensors]
    draft.tensors = {key: tensors[key] for key in (*order, *tensors)}
    draft.graph = graph
    draft.keeps_order = False


def refuse_conflicts(conflicts: Sequence[str], prefix: str, hint: str = "") -> None:
    """Refuse places and tensors that differ in type or shape.

    Raises:
        ConflictError: there are some.
    """
    if conflicts:
        raise ConflictError(f"types or shapes differ: {listed(conflicts, separator='; ')}{hint}", path=prefix)


def refuse_leftovers(
    missing: Sequence[str], unused: Sequence[str], fitting: Fitting, prefix: str, other: str, hint: str = ""
) -> None:
    """Refuse missing and unused tensors, unless they are allowed."""
    reasons = []
    if missing and not fitting.allow_missing:
        reasons.append(
            f"{len(missing)} missing, which --allow-missing (allow_missing=True) allows: {listed(missing, separator='; ')}"
        )
    if unused and not fitting.allow_unused:
        reasons.append(
            f"{len(unused)} left over, which --allow-unused (allow_unused=True) allows: {listed(unused, separator='; ')}"
        )
    if reasons:
        raise ConflictError(f"does not match {other}: {'; '.join(reasons)}{hint}", path=prefix)
