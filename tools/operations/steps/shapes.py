"""`transpose`, `reshape`, `split` and `concat` as steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from tensorbundle.errors import BundleError
from tensorbundle.tools.operations.editing.shapes import concat, reshape, split, transpose
from tensorbundle.tools.operations.steps.step import (
    Step,
    integer,
    integers,
    options,
    table,
    table_of_pairs,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import EllipsisType

    from tensorbundle.tools.operations.steps.step import StepContext
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["Concat", "Reshape", "Split", "Transpose"]

_OWN: Final = "..."


@dataclass(frozen=True, slots=True)
class Transpose(Step):
    """Put axes in another order: `transpose = { PATTERN = [1, 0] }`.

    Attributes:
        axes: patterns, each with the old axes in their new order; slots change with their variable.
    """

    name: ClassVar[str] = "transpose"
    axes: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From patterns and lists of axes."""
        return cls(tuple((key, tuple(integers(axes))) for key, axes in table(value).items()))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From PATTERN=AXIS,AXIS,..."""
        return cls.from_table(_lists(given["axes"], "PATTERN=AXIS,AXIS,..."))

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Transpose, and note which tensors changed."""
        del context
        draft.note("transposed", transpose(draft, dict(self.axes)))
        return draft


@dataclass(frozen=True, slots=True)
class Reshape(Step):
    """Give tensors another shape for the same elements: `reshape = { PATTERN = [6, -1] }`.

    Attributes:
        shapes: patterns, each with a shape, in which one length may be -1, and `...` means the tensor's own lengths
            except those of 1; slots change with their variable.
    """

    name: ClassVar[str] = "reshape"
    shapes: tuple[tuple[str, tuple[int | EllipsisType, ...]], ...]

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From patterns and lists of lengths."""
        return cls(tuple((key, tuple(_lengths(shape))) for key, shape in table(value).items()))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From PATTERN=LENGTH,LENGTH,..."""
        return cls.from_table(_lists(given["shapes"], "PATTERN=LENGTH,LENGTH,...", own=True))

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Reshape, and note which tensors changed."""
        del context
        draft.note("reshaped", reshape(draft, dict(self.shapes)))
        return draft


@dataclass(frozen=True, slots=True)
class Split(Step):
    """Split a tensor into several: `split = { KEY = { into = { A = 4, B = -1 }, axis = 1 } }`.

    Attributes:
        parts: names, each with the names and lengths of its parts and the axis.
    """

    name: ClassVar[str] = "split"
    parts: tuple[tuple[str, tuple[tuple[str, int], ...], int], ...]

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From names, and for each a table of `into` and `axis`."""
        found = []
        for key, each in table(value).items():
            given = options(each, "into", "axis", required=["into"])
            into = tuple((name, integer(size)) for name, size in table(given["into"]).items())
            found.append((key, into, integer(given.get("axis", 0))))
        return cls(tuple(found))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From KEY, and the parts as NAME=LENGTH."""
        into = {
            name: _length(size)
            for name, size in table_of_pairs(given["into"], "NAME=LENGTH", last=True).items()
        }
        return cls.from_table({given["key"]: {"into": into, "axis": given["axis"]}})

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Split."""
        del context
        for key, into, axis in self.parts:
            split(draft, key, dict(into), axis)
        return draft


@dataclass(frozen=True, slots=True)
class Concat(Step):
    """Join several tensors into one: `concat = { NEW = { of = ["A", "B"], axis = 1 } }`.

    Attributes:
        wholes: names of results, each with the names of its parts and the axis.
    """

    name: ClassVar[str] = "concat"
    wholes: tuple[tuple[str, tuple[str, ...], int], ...]

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From names, and for each a table of `of` and `axis`."""
        found = []
        for new, each in table(value).items():
            given = options(each, "of", "axis", required=["of"])
            found.append((new, tuple(texts(given["of"])), integer(given.get("axis", 0))))
        return cls(tuple(found))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From the name of the result, and those of its parts."""
        return cls.from_table({given["new"]: {"of": given["parts"], "axis": given["axis"]}})

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Concatenate."""
        del context
        for new, parts, axis in self.wholes:
            concat(draft, parts, new, axis)
        return draft


def _length(size: str) -> int:
    try:
        return int(size)
    except ValueError:
        raise BundleError(f"{size!r} is not a whole number") from None


def _lengths(value: object) -> list[int | EllipsisType]:
    """A list of integers and `...`, also as text for formats without such a value."""
    if not isinstance(value, (list, tuple)):
        raise BundleError(f"{value!r} is not a list of whole numbers")
    return [... if each in (..., _OWN) else integer(each) for each in value]


def _lists(arguments: list[str], form: str, *, own: bool = False) -> dict[str, list[int | str]]:
    """Keys and lists of numbers; brackets around a list are optional, but an empty list needs them.

    With `own`, `...` may be among the numbers.
    """
    out: dict[str, list[int | str]] = {}
    for key, listed in table_of_pairs(arguments, form, last=True).items():
        inner = listed[1:-1] if listed.startswith("[") and listed.endswith("]") else listed
        try:
            parts = inner.split(",") if inner.strip() or inner == listed else []
            out[key] = [_OWN if own and each.strip() == _OWN else int(each) for each in parts]
        except ValueError:
            raise BundleError(f"{key + '=' + listed!r} is not {form}") from None
    return out
