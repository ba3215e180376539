"""Give tensors other types."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tensorbundle.dtypes import DType
from tensorbundle.errors import ConflictError, UnsupportedError
from tensorbundle.tools.patterns import Pattern
from tensorbundle.tools.rewriting.expressions import Cast
from tensorbundle.tools.rewriting.plan import Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["cast"]

_FLOATING: Final = frozenset(each for each in DType if each.value.startswith(("float", "bfloat")))
_COMPLEX: Final = frozenset({DType.complex64, DType.complex128})
_NOT_NUMBERS: Final = frozenset({DType.string, DType.variant, DType.resource})


def cast(draft: Draft, rules: Mapping[str, DType | str]) -> None:
    """Cast the tensors that patterns fit; of several that fit one tensor, the last decides.

    Floating-point tensors are cast. Integers, booleans and complex numbers are left alone unless a pattern is their very
    name; strings can't be cast.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        ConflictError: a pattern matches nothing that may be cast.
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
            source = (
                tensor.expression.entry.dtype
                if isinstance(tensor.expression, Literal)
                else tensor.expression.dtype
            )
            named = key in pattern.named
            if named and source in _NOT_NUMBERS:
                raise UnsupportedError(f"values of type {source} can't be cast", path=draft.prefix, key=key)
            if named and source in _COMPLEX and target not in _COMPLEX:
                raise UnsupportedError(f"{source} to {target} would lose a part", path=draft.prefix, key=key)
            if source in _FLOATING or named:
                chosen[key] = target
                done.add(text)
    for pattern, text, _ in parsed:
        pattern.must_be_used()
        if text not in done:
            raise ConflictError(
                f"pattern {text!r} fits no floating-point tensor; others are cast only by their whole name",
                path=draft.prefix,
            )
    for key, target in chosen.items():
        tensor = draft.tensors[key]
        if isinstance(tensor.expression, Literal):
            raise UnsupportedError("this tensor is new; it can't be cast", path=draft.prefix, key=key)
        if tensor.expression.dtype is not target:
            draft.tensors[key] = replace(tensor, expression=Cast(tensor.expression, target))
            draft.tally.cast += 1


def _numeric(dtype: DType | str) -> DType:
    target = DType.named(dtype)
    if target in _NOT_NUMBERS:
        raise UnsupportedError(f"nothing can be cast to {target}")
    return target
