"""Give tensors other shapes: `reshape`, `transpose`, `split`, `concat`. Optimizer slots change with their variable."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from types import EllipsisType
from typing import TYPE_CHECKING, TypeVar

from tensorbundle.boxes import whole_box
from tensorbundle.errors import ConflictError, UnsupportedError, quoted
from tensorbundle.limits import MAX_INPUTS
from tensorbundle.tools.operations.editing.values import add_tensor, find_key
from tensorbundle.tools.optimizers.finding import Optimizers
from tensorbundle.tools.optimizers.following import slots_of
from tensorbundle.tools.patterns import select
from tensorbundle.tools.rewriting.draft import DraftTensor
from tensorbundle.tools.rewriting.rearranging import Concat, Region, Transpose, reshaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["concat", "reshape", "split", "transpose"]


Value = TypeVar("Value")


def reshape(draft: Draft, shapes: Mapping[str, Sequence[int | EllipsisType]]) -> list[str]:
    """Give matching tensors another shape for the same elements; they are then stored whole. Returns the changed keys.

    The bytes do not change, so a tensor that is not partitioned can be shared like any other.

    Args:
        draft: what to change.
        shapes: patterns, each with the new shape, in which -1 means a length computed from the others, and `...` the
            tensor's own lengths except those of 1. If several match a tensor, the last one applies. Slots that no
            pattern matches change with their variable, if they have its shape.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        ConflictError: a shape of another number of elements.
    """
    found = _with_slots(draft, shapes)
    for key, given in found.items():
        tensor = draft.tensors[key]
        expression = tensor.expression
        total = math.prod(expression.shape)
        own = [size for size in expression.shape if size != 1]
        shape = [size for each in given for size in (own if isinstance(each, EllipsisType) else [each])]
        known = math.prod(size for size in shape if size != -1)
        new = tuple(total // known if size == -1 and known else size for size in shape)
        if min(new, default=0) < 0 or math.prod(new) != total or shape.count(-1) > 1:
            raise ConflictError(f"shape {shape} for {list(expression.shape)}", path=draft.prefix, key=key)
        draft.tensors[key] = replace(tensor, expression=reshaped(expression, new), slices=())
    return list(found)


def transpose(draft: Draft, orders: Mapping[str, Sequence[int]]) -> list[str]:
    """Put the axes of matching tensors in another order; they are then stored whole. Returns the changed keys.

    Args:
        draft: what to change.
        orders: patterns, each with the old axes in their new order. If several match a tensor, the last one applies.
            Slots that no pattern matches change with their variable, if they have its shape.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        ConflictError: an order that does not contain each of a tensor's axes once.
    """
    found = _with_slots(draft, orders)
    for key, axes in found.items():
        tensor = draft.tensors[key]
        expression = tensor.expression
        shape = expression.shape
        if sorted(axes) != list(range(len(shape))):
            raise ConflictError(
                f"axes {list(axes)} of a tensor of rank {len(shape)}", path=draft.prefix, key=key
            )
        long = [axis for axis in axes if shape[axis] != 1]
        if long == sorted(long):  # the elements keep their order
            new = reshaped(expression, tuple(shape[axis] for axis in axes))
        else:
            new = Transpose(expression, tuple(axes))
        draft.tensors[key] = replace(tensor, expression=new, slices=())
    return list(found)


def split(draft: Draft, name: str, into: Mapping[str, int], axis: int = 0) -> None:
    """Replace a tensor by several parts of it; in name-based checkpoints, its slots too.

    Args:
        draft: what to change.
        name: of the tensor.
        into: the names of the parts in their order, and their lengths along the axis; one may be -1, for the rest.
        axis: where the tensor is cut.

    Raises:
        TensorNotFoundError: no such tensor.
        ConflictError: no such axis, lengths that do not add up, or a name that is taken.
        UnsupportedError: a variable of an object graph that has slots.
    """
    key = find_key(draft, name)
    shape = draft.tensors[key].shape
    axis = _axis(draft, key, shape, axis)
    known = sum(size for size in into.values() if size != -1)
    sizes = [shape[axis] - known if size == -1 else size for size in into.values()]
    if min(sizes, default=0) < 0 or sum(sizes) != shape[axis] or [*into.values()].count(-1) > 1:
        raise ConflictError(
            f"lengths {list(into.values())} for the {shape[axis]} of axis {axis}", path=draft.prefix, key=key
        )
    made: dict[str, DraftTensor] = {}
    family = _slots_to_follow(draft, key, shape)
    for each, tail in family.items():
        expression = draft.tensors[each].expression
        start = 0
        for new, size in zip(into, sizes, strict=True):
            box = list(whole_box(shape))
            box[axis] = slice(start, start + size)
            start += size
            made[tail.format(new)] = DraftTensor(
                Region(expression, tuple(box)), base=draft.tensors[each].base
            )
    _replace(draft, list(family), made)


def concat(draft: Draft, names: Sequence[str], new: str, axis: int = 0) -> None:
    """Join several tensors into one; in name-based checkpoints, their slots too.

    Args:
        draft: what to change.
        names: of the tensors, in the order in which they are joined.
        new: the name of the result, which may be one of them.
        axis: the axis along which they are joined.

    Raises:
        TensorNotFoundError: no such tensor.
        ConflictError: types that differ, or shapes that differ along other axes; no such axis; a name that is taken; or
            variables that do not all have the same slots.
        UnsupportedError: a variable of an object graph that has slots; or tensors that are computed of very many others.
    """
    keys = [find_key(draft, name) for name in names]
    if len(set(keys)) != len(keys):
        raise ConflictError(f"{list(names)!r} lists a tensor twice", path=draft.prefix)
    by_tail: dict[str, list[str]] = {}
    for key in keys:
        shape = draft.tensors[key].shape
        for each, tail in _slots_to_follow(draft, key, shape).items():
            by_tail.setdefault(tail, []).append(each)
    axis = _axis(draft, keys[0], draft.tensors[keys[0]].shape, axis)
    made: dict[str, DraftTensor] = {}
    for tail, parts in by_tail.items():
        if len(parts) != len(keys):
            raise ConflictError(
                f"{parts[0]!r} is a slot that not all of {quoted(keys)} have; drop it first",
                path=draft.prefix,
            )
        expressions = [draft.tensors[each].expression for each in parts]
        described = {
            (part.dtype, part.shape[:axis], part.shape[axis + 1 :], len(part.shape)) for part in expressions
        }
        if len(described) > 1:
            shown = ", ".join(
                f"{key!r} {each.dtype} {list(each.shape)}"
                for key, each in zip(parts, expressions, strict=True)
            )
            raise ConflictError(f"can't be joined along axis {axis}: {shown}", path=draft.prefix)
        if sum(1 for part in expressions for _ in part.inputs()) > MAX_INPUTS:
            raise UnsupportedError(
                f"this joins parts of more than {MAX_INPUTS} tensors; write a checkpoint in between",
                path=draft.prefix,
                key=parts[0],
            )
        made[tail.format(new)] = DraftTensor(
            Concat(tuple(expressions), axis), base=draft.tensors[parts[0]].base
        )
    _replace(draft, [each for parts in by_tail.values() for each in parts], made)


def _with_slots(draft: Draft, rules: Mapping[str, Value]) -> dict[str, Value]:
    """The values of patterns by key of matching tensors, and of their slots except scalar ones.

    Raises:
        ConflictError: a slot that is averaged over an axis, as Adafactor's are, or may be another variable's.
    """
    found: dict[str, Value] = {}
    for pattern, value in rules.items():
        matching = select(draft.tensors.items(), [pattern], draft.naming())
        found |= {key: value for key, _ in matching}
    optimizers = Optimizers.of_draft(draft)
    for key, value in list(found.items()):
        for slot, (_, axes) in slots_of(draft, key, optimizers).items():
            if 0 < len(axes) < len(draft.tensors[key].shape):
                raise ConflictError(
                    f"the optimizer averages {slot!r} over an axis of this tensor, so that it can't follow; "
                    "'slim' removes the optimizer's state",
                    path=draft.prefix,
                    key=key,
                )
            if axes:
                found.setdefault(slot, value)
    return found


def _slots_to_follow(draft: Draft, key: str, shape: tuple[int, ...]) -> dict[str, str]:
    """A variable and its slots by key, each with its key as a template for another variable's name."""
    slots = list(slots_of(draft, key))
    if slots and draft.graph is not None:
        raise UnsupportedError(
            f"the variable has slots in its optimizer ({slots[0]!r}), which can't follow; remove them first ('slim')",
            path=draft.prefix,
            key=key,
        )
    for each in slots:
        if draft.tensors[each].shape != shape:
            raise ConflictError(
                f"this slot of {key!r} has another shape and can't follow; drop it first",
                path=draft.prefix,
                key=each,
            )
    # An optimizer in a scope has that in front of the variable's name.
    name = re.compile(rf"(.*/)?{re.escape(key)}([/_].+)", re.DOTALL)
    found = {each: match for each in slots if (match := name.fullmatch(each))}
    templates = {
        each: f"{_literal(match[1] or '')}{{0}}{_literal(match[2])}" for each, match in found.items()
    }
    return {key: "{0}", **templates}


def _replace(draft: Draft, old: Sequence[str], made: Mapping[str, DraftTensor]) -> None:
    """Put new tensors in the place of old ones; they may have names of the old ones."""
    naming = draft.naming()
    known = {name: naming.find(name) for name in made}
    kept = {name: key for name, key in known.items() if key is not None and key in old}
    for name, tensor in made.items():
        if name in kept:
            draft.tensors[kept[name]] = tensor
        else:
            add_tensor(draft, name, tensor)
    gone = [key for key in old if key not in kept.values()]
    draft.drop(gone)
    draft.tally.dropped -= len(gone)  # their values are kept in the new tensors


def _axis(draft: Draft, key: str, shape: tuple[int, ...], axis: int) -> int:
    if not -len(shape) <= axis < len(shape):
        raise ConflictError(f"axis {axis} of a tensor of rank {len(shape)}", path=draft.prefix, key=key)
    return axis % len(shape)


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
