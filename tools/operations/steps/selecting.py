"""`drop`, `extract` and `slim` as steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tensorbundle.tools.operations.editing.selection import drop, extract, slim
from tensorbundle.tools.operations.steps.step import Step, Switch, texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.tools.operations.steps.step import StepContext
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["Drop", "Extract", "Slim"]


@dataclass(frozen=True, slots=True)
class _Selection(Step):
    """A step with at least one pattern."""

    patterns: tuple[str, ...]

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From a pattern, or a list of patterns."""
        return cls(tuple(texts(value)))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """The list of patterns."""
        return cls.from_table(given["patterns"])


@dataclass(frozen=True, slots=True)
class Drop(_Selection):
    """Remove tensors that match patterns: `drop = ["a*", "b"]`."""

    name: ClassVar[str] = "drop"

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Remove them."""
        del context
        drop(draft, self.patterns)
        return draft


@dataclass(frozen=True, slots=True)
class Extract(_Selection):
    """Keep only tensors that match patterns: `extract = ["a*", "b"]`."""

    name: ClassVar[str] = "extract"

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Remove all others."""
        del context
        extract(draft, self.patterns)
        return draft


@dataclass(frozen=True, slots=True)
class Slim(Switch):
    """Remove the optimizer's state: `slim = true`."""

    name: ClassVar[str] = "slim"

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Remove it, and note its tensors."""
        del context
        if self.wanted:
            draft.note("optimizer state removed", slim(draft))
        return draft
