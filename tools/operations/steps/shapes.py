"""`transpose` and `reshape` as steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tensorbundle.errors import BundleError
from tensorbundle.tools.operations.editing.layout import reshape, transpose
from tensorbundle.tools.operations.steps.step import Step, integers, table, table_of_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.tools.operations.steps.step import StepContext
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["Reshape", "Transpose"]


@dataclass(frozen=True, slots=True)
class Transpose(Step):
    """Put axes in another order: `transpose = { KEY = [1, 0] }`.

    Attributes:
        axes: keys, or object paths, each with its old axes in their new order.
    """

    name: ClassVar[str] = "transpose"
    axes: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From keys and lists of axes."""
        return cls(tuple((key, tuple(integers(axes))) for key, axes in table(value).items()))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From KEY=AXIS,AXIS,..."""
        return cls.from_table(_lists(given["axes"], "KEY=AXIS,AXIS,..."))

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Transpose."""
        del context
        for key, axes in self.axes:
            transpose(draft, key, axes)
        return draft


@dataclass(frozen=True, slots=True)
class Reshape(Step):
    """Give tensors another shape for the same elements: `reshape = { KEY = [6, -1] }`.

    Attributes:
        shapes: keys, or object paths, each with a shape, in which one length may be -1.
    """

    name: ClassVar[str] = "reshape"
    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From keys and lists of lengths."""
        return cls(tuple((key, tuple(integers(shape))) for key, shape in table(value).items()))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From KEY=LENGTH,LENGTH,..."""
        return cls.from_table(_lists(given["shapes"], "KEY=LENGTH,LENGTH,..."))

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Reshape."""
        del context
        for key, shape in self.shapes:
            reshape(draft, key, shape)
        return draft


def _lists(arguments: list[str], form: str) -> dict[str, list[int]]:
    """Keys and lists of numbers; brackets around a list may be given or left out, and must be for an empty one."""
    out = {}
    for key, listed in table_of_pairs(arguments, form, last=True).items():
        inner = listed[1:-1] if listed.startswith("[") and listed.endswith("]") else listed
        try:
            out[key] = [int(each) for each in inner.split(",")] if inner.strip() or inner == listed else []
        except ValueError:
            raise BundleError(f"{key + '=' + listed!r} is not {form}") from None
    return out
