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

    A value that is not text is an option: `cast = { "*" = "int8", allow_lossy = true }`.

    Attributes:
        rules: patterns and types; if several patterns match a tensor, the last one applies.
        allow_lossy: whether a cast may lose more than rounding does.
    """

    name: ClassVar[str] = "cast"
    rules: tuple[tuple[str, str], ...]
    allow_lossy: bool = False

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From patterns and the names of types."""
        rules = dict(table(value))
        lossy = isinstance(rules.get("allow_lossy"), bool) and rules.pop("allow_lossy")
        return cls(tuple((pattern, text(dtype)) for pattern, dtype in rules.items()), lossy)

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From PATTERN=DTYPE, split at the last '='."""
        rules = table_of_pairs(given["rules"], "PATTERN=DTYPE", last=True)
        return cls(tuple(rules.items()), given["allow_lossy"])

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Cast."""
        del context
        cast(draft, dict(self.rules), allow_lossy=self.allow_lossy)
        return draft
