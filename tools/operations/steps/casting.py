"""`cast` as a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tensorbundle.tools.operations.editing.casting import cast
from tensorbundle.tools.operations.steps.step import Step, table, table_of_pairs, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.tools.operations.steps.step import StepContext
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["Cast"]


@dataclass(frozen=True, slots=True)
class Cast(Step):
    """Cast tensors that match patterns: `cast = { "*" = "bfloat16" }`.

    Attributes:
        rules: patterns and types; of several patterns that match a tensor, the last decides.
    """

    name: ClassVar[str] = "cast"
    rules: tuple[tuple[str, str], ...]

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From patterns and the names of types."""
        return cls(tuple((pattern, text(dtype)) for pattern, dtype in table(value).items()))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From PATTERN=DTYPE, of which the last '=' counts."""
        return cls.from_table(table_of_pairs(given["rules"], "PATTERN=DTYPE", last=True))

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Cast."""
        del context
        cast(draft, dict(self.rules))
        return draft
