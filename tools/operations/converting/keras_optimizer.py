"""Optimizer state of a model: from a TensorFlow checkpoint into a Keras weights file, and back into a template."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tensorbundle.dtypes import DType
from tensorbundle.errors import ConflictError, UnsupportedError
from tensorbundle.proto.paths import join_path
from tensorbundle.tools.keras.order import uncertain
from tensorbundle.tools.keras.sequences import variables_of
from tensorbundle.tools.matching.sides import Side
from tensorbundle.tools.optimizers.finding import Optimizers
from tensorbundle.tools.optimizers.ordering import (
    INNER,
    ITERATIONS,
    NADAM_PRODUCT,
    WHOLE,
    Member,
    groups_in_weights,
    members_of,
    nadam_product,
    variants,
)
from tensorbundle.tools.rewriting.draft import DraftTensor
from tensorbundle.tools.rewriting.expressions import Cast, Constant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from tensorbundle.proto.graph import Node
    from tensorbundle.tools.keras.layers import Layer
    from tensorbundle.tools.keras.order import KerasVersion
    from tensorbundle.tools.optimizers.optimizer import Optimizer
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["OPTIMIZER", "State", "beta_of", "state_for_weights", "state_from_weights"]

OPTIMIZER: Final = "optimizer"
_STATE: Final = "as optimizer state"
_NADAM: Final = "of legacy Nadam, whose momentums grow otherwise than those of Keras 3: its next steps are not exactly the same"
_BETA: Final = 0.8999999761581421  # Keras's default, 0.9 as float32


@dataclass(slots=True)
class State:
    """Tensors of the output.

    Attributes:
        tensors: by their names there.
        used: the names that they have in the source.
        why_not: why there are none; empty if there are some, or if there is no state.
    """

    tensors: dict[str, DraftTensor] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    why_not: str = ""


def state_for_weights(
    draft: Draft, model: Layer, layers: Collection[Node], template: Draft | None, beta_1: float | None
) -> State:
    """The optimizer state in a checkpoint, in the form of a weights file of the model; none if it is not complete.

    Args:
        draft: of the checkpoint, with its object graph.
        model: the model in it.
        layers: the objects that a SavedModel says are layers; empty if there is none.
        template: a weights file of the target model; None for the optimizer that the checkpoint has.
        beta_1: of Nadam, if it is known.
    """
    optimizer, why_not = _optimizer_of(draft, model)
    if optimizer is None:
        return State(why_not=why_not)
    try:
        wrapper, members = _members(optimizer, draft, model, layers)
        if template is not None and (groups := groups_in_weights(template.tensors)):
            wanted = groups.get(INNER) or groups[WHOLE]
            shapes = [template.tensors[path].shape for path in wanted]
            members = _like(members, shapes, draft, f"the template's optimizer has {len(shapes)} variables")
            wrapper = wrapper or [Member("", "")] * 4 if INNER in groups else []
        for each in (*wrapper, *members):
            if each.key and each.key not in draft.tensors:
                raise UnsupportedError("optimizer state of which a variable is not stored")
    except UnsupportedError as error:
        return State(why_not=error.reason)
    state, side = State(), Side.of(draft)
    for group, listed in ((WHOLE, [*wrapper, *members]), (INNER, members if wrapper else [])):
        for number, member in enumerate(listed):
            path = f"{group}/{number}"
            if member.what == NADAM_PRODUCT and optimizer.generation != "keras3":
                steps = side.count(optimizer.iterations or "") or 0
                state.tensors[path] = _product(steps, beta_of(optimizer, side, beta_1))
                if optimizer.generation == "legacy":
                    draft.note(_NADAM, [path])
            elif member.key:
                state.tensors[path] = replace(draft.tensors[member.key], slices=(), matched=_STATE)
            else:
                state.tensors[path] = template.tensors[path] if template is not None else _initial(member)
            state.used.add(member.key)
    return state


def state_from_weights(
    draft: Draft, template: Draft, model: Layer, layers: Collection[Node], beta_1: float | None
) -> State:
    """The optimizer state in a weights file, in the form of the target program's checkpoint; none of another optimizer.

    Args:
        draft: of the weights file.
        template: of the checkpoint.
        model: the model in the template.
        layers: the objects that a SavedModel says are layers; empty if there is none.
        beta_1: of Nadam, if it is known.

    Raises:
        ConflictError: types differ.
    """
    groups = groups_in_weights(draft.tensors)
    if not groups:
        return State()
    optimizer, why_not = _optimizer_of(template, model)
    if optimizer is None:
        return State(why_not=why_not or "the template has no optimizer state")
    paths = groups.get(INNER) or groups[WHOLE]
    try:
        wrapper, members = _members(optimizer, template, model, layers)
        shapes = [draft.tensors[path].shape for path in paths]
        members = _like(members, shapes, template, f"the file's optimizer has {len(shapes)} variables")
    except UnsupportedError as error:
        return State(why_not=error.reason)
    pairs = list(zip(members, paths, strict=True))
    if INNER in groups:
        pairs += zip(wrapper, groups[WHOLE], strict=False)
    state, side = State(), Side.of(template)
    for member, path in pairs:
        if member.what == NADAM_PRODUCT and optimizer.generation == "legacy":
            steps = Side.of(draft).count(paths[0]) or 0
            decay = side.value(optimizer.scalars.get("decay"))
            beta = beta_of(optimizer, side, beta_1)
            state.tensors[member.key] = _product(steps, beta, 1.0 if decay is None else decay)
            draft.note(_NADAM, [member.key])
        elif member.key:
            state.tensors[member.key] = _fitted(draft, path, template.tensors[member.key])
        state.used.add(path)
    if INNER in groups:
        state.used |= {*groups[WHOLE]}  # the same state, stored a second time
    return state


def beta_of(optimizer: Optimizer, side: Side, given: float | None) -> float:
    """The first beta of an optimizer: as given, as stored, or the default."""
    stored = side.value(optimizer.scalars.get("beta_1"))
    return next((each for each in (given, stored) if each is not None), _BETA)


def _optimizer_of(draft: Draft, model: Layer) -> tuple[Optimizer | None, str]:
    """The optimizer of a model, or why it is not known."""
    found = [each for each in Optimizers.of_draft(draft).found if each.node is not None]
    own = [each for each in found if each.path == join_path(model.path, OPTIMIZER)]
    if own or len(found) == 1:
        return (own or found)[0], ""
    return None, "optimizer state, of several optimizers, which are not told apart" if found else ""


def _members(
    optimizer: Optimizer, draft: Draft, model: Layer, layers: Collection[Node]
) -> tuple[list[Member], list[Member]]:
    """The variables of an optimizer in the order of Keras 3.

    Raises:
        UnsupportedError: as `members_of`; or the order in which Keras 3 has the layers is not known.
    """
    if optimizer.generation != "keras3":
        shapes = {key: tensor.shape for key, tensor in draft.tensors.items()}
        if uncertain(model, shapes, layers):
            raise UnsupportedError(
                "optimizer state, whose order depends on when layers were added to their lists, which is not known"
            )
    new, old = _keys(model, 3, layers), _keys(model, 2, layers)
    return members_of(optimizer, new, same_order=new == old)


def _keys(model: Layer, version: KerasVersion, layers: Collection[Node]) -> list[str]:
    return list(dict.fromkeys(each.key for each in variables_of(model, version, layers)))


def _like(
    members: Sequence[Member], shapes: Sequence[tuple[int, ...]], draft: Draft, other: str
) -> list[Member]:
    """The variant of the members whose shapes are these."""
    for each in variants(members):
        if len(each) == len(shapes) and _shapes(each, draft) == list(shapes):
            return each
    raise UnsupportedError(
        f"optimizer state of another optimizer: {other}"
        + (f", this one {len(members)}" if len(shapes) != len(members) else " of other shapes")
    )


def _shapes(members: Iterable[Member], draft: Draft) -> list[tuple[int, ...]]:
    return [draft.tensors[each.key].shape if each.key in draft.tensors else () for each in members]


def _product(steps: int, beta_1: float, decay: float = 1.0) -> DraftTensor:
    """Nadam's product of momentums, for which Keras 2 may have stored another number."""
    name = f"the product of Nadam's momentums after {steps} steps with beta_1 {beta_1:.7g}"
    value = Constant.scalar(nadam_product(steps, beta_1, decay), DType.float32, name)
    return DraftTensor(value, matched=_STATE)


def _initial(member: Member) -> DraftTensor:
    """The number of steps or the learning rate that a LossScaleOptimizer stores and does not use."""
    steps = member.what == ITERATIONS
    dtype = DType.int64 if steps else DType.float32
    return DraftTensor(Constant.scalar(0, dtype, "0, which is not used"), matched=_STATE)


def _fitted(draft: Draft, path: str, target: DraftTensor) -> DraftTensor:
    """A tensor of the weights file in the place of one of the template; a count may be an integer of another type."""
    source = draft.tensors[path]
    if source.dtype is target.dtype:
        return replace(source, matched=_STATE)
    if source.shape or not (source.dtype.is_integer and target.dtype.is_integer):
        raise ConflictError(
            f"{source.dtype}, the template has {target.dtype}; cast it first", path=draft.prefix, key=path
        )
    return replace(source, expression=Cast(source.expression, target.dtype), matched=_STATE)
