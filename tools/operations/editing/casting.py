"""Cast tensors to other types."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tensorbundle.dtypes import DType
from tensorbundle.errors import ConflictError, UnsupportedError, listed
from tensorbundle.tools.patterns import Pattern
from tensorbundle.tools.rewriting.expressions import Cast
from tensorbundle.tools.rewriting.rounding import integer_range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["cast"]


def cast(draft: Draft, rules: Mapping[str, DType | str], *, allow_lossy: bool = False) -> None:
    """Cast the tensors that patterns match; if several match one tensor, the last one applies.

    Floating-point tensors are cast. Integers, booleans and complex numbers are cast only if a pattern is exactly their
    name; strings can't be cast.

    Args:
        draft: what to change.
        rules: patterns, each with a type.
        allow_lossy: whether a cast may lose more than rounding does: to an integer or boolean type that can't represent
            all values of the tensor's type.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        ConflictError: a pattern matches no tensor that may be cast, or a cast is lossy; the reason lists the tensors.
        BundleError: an unknown type.
        UnsupportedError: a named tensor without numbers, or one of complex numbers to a type without them.
    """
    naming = draft.naming()
    parsed = [(Pattern(text, naming), text, _numeric(dtype)) for text, dtype in rules.items()]
    chosen: dict[str, DType] = {}
    done: set[str] = set()
    for key, tensor in draft.tensors.items():
        for pattern, text, target in parsed:
            if not pattern.matches(key):
                continue
            source = tensor.dtype
            named = key in pattern.named
            if named and not source.is_numeric:
                raise UnsupportedError(f"values of type {source} can't be cast", path=draft.prefix, key=key)
            if named and source.is_complex and not target.is_complex:
                raise UnsupportedError(f"{source} to {target} would lose a part", path=draft.prefix, key=key)
            if source.is_floating or named:
                chosen[key] = target
                done.add(text)
    for pattern, text, _ in parsed:
        pattern.must_be_used()
        if text not in done:
            raise ConflictError(
                f"pattern {text!r} matches no floating-point tensor; others are cast only by their whole name",
                path=draft.prefix,
            )
    lossy = [
        f"{key!r} ({draft.tensors[key].dtype} to {target})"
        for key, target in chosen.items()
        if _is_lossy(draft.tensors[key].dtype, target)
    ]
    if lossy and not allow_lossy:
        raise ConflictError(
            f"more than rounding would be lost, such as fractions: {listed(lossy)}; --allow-lossy (allow_lossy) casts nevertheless",
            path=draft.prefix,
        )
    for key, target in chosen.items():
        tensor = draft.tensors[key]
        if tensor.expression.dtype is not target:
            draft.tensors[key] = replace(tensor, expression=Cast(tensor.expression, target))
            draft.tally.cast += 1


def _is_lossy(source: DType, target: DType) -> bool:
    """Whether `target` is an integer or boolean type that can't represent all values of `source`."""
    if source is target or (target is not DType.bool and not target.is_integer):
        return False
    if source is DType.bool or target is DType.bool:
        return target is DType.bool
    if not source.is_integer:
        return True
    have, need = integer_range(target), integer_range(source)
    return bool(need.min < have.min or need.max > have.max)


def _numeric(dtype: DType | str) -> DType:
    target = DType.named(dtype)
    if not target.is_numeric:
        raise UnsupportedError(f"nothing can be cast to {target}")
    return target
