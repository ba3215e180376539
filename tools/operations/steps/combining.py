"""`merge` and `average` as steps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast

from tensorbundle.dtypes import DType
from tensorbundle.errors import check_word
from tensorbundle.tools.operations.editing.combining import PREFERENCES, average, merge
from tensorbundle.tools.operations.steps.step import Step, options, path, table, text, texts

if TYPE_CHECKING:
    from tensorbundle.tools.operations.editing.combining import Prefer
    from tensorbundle.tools.operations.steps.step import StepContext
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["ACCUMULATORS", "Average", "Merge", "named_source"]

ACCUMULATORS: Final = ("float32", "float64")


@dataclass(frozen=True, slots=True)
class Merge(Step):
    """The union with other checkpoints: `merge = { with = ["CKPT"], prefer = "last" }`, or `with = { NAME = "CKPT" }`.

    Attributes:
        others: names, each with a checkpoint that is put under it; empty names for none.
        prefer: the checkpoint that a tensor comes from if several have it.
        under: the name that the draft itself is put under.
    """

    name: ClassVar[str] = "merge"
    others: tuple[tuple[str, str], ...]
    prefer: Prefer | None = None
    under: str = ""

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From `with` (paths, or names with paths), `prefer` and `under`."""
        given = options(value, "with", "prefer", "under", required=["with"])
        others = given["with"]
        named = (
            table(others).items() if isinstance(others, Mapping) else [("", each) for each in texts(others)]
        )
        prefer = given.get("prefer")
        if prefer is not None:
            prefer = cast("Prefer", check_word("prefer", prefer, PREFERENCES))
        return cls(tuple((name, path(each)) for name, each in named), prefer, text(given.get("under", "")))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From the name of the first source, the other sources, and `--prefer`."""
        return cls(
            tuple(map(named_source, given["sources"][1:])),
            given["prefer"],
            named_source(given["sources"][0])[0],
        )

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Merge."""
        drafts = [(self.under, draft), *((name, context.open(each)) for name, each in self.others)]
        return merge(drafts, self.prefer)


def named_source(argument: str) -> tuple[str, str]:
    """The name and the path in `NAME=CKPT`; the name may be empty. A path may contain '=', a name no '/'."""
    name, mark, rest = argument.partition("=")
    return (name, rest) if mark and os.sep not in name else ("", argument)


@dataclass(frozen=True, slots=True)
class Average(Step):
    """The mean with other checkpoints: `average = { with = ["CKPT"], accumulator = "float32" }`; the first step.

    Attributes:
        others: the other checkpoints; tensors that can't be averaged are taken from the last one.
        accumulator: the type that sums are computed in.
    """

    name: ClassVar[str] = "average"
    only_first: ClassVar[bool] = True
    others: tuple[str, ...]
    accumulator: str = "float64"

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From `with` (paths) and `accumulator`."""
        given = options(value, "with", "accumulator", required=["with"])
        accumulator = check_word("accumulator", given.get("accumulator", "float64"), ACCUMULATORS)
        return cls(tuple(texts(given["with"])), accumulator)

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From the sources after the first, and `--accumulator`."""
        return cls(tuple(given["sources"][1:]), given["accumulator"])

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Average, and note which tensors were taken from the last one because they differ."""
        drafts = [draft, *map(context.open, self.others)]
        averaged, from_last = average(drafts, DType[self.accumulator])
        averaged.note("differs and is not floating-point: taken from the last", from_last)
        return averaged
