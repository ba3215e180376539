"""`partition`, `unpartition`, `reshard` and `compact` as steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from tensorbundle.errors import BundleError
from tensorbundle.tools.operations.editing.layout import compact, partition, reshard, unpartition
from tensorbundle.tools.operations.sizes import parse_size
from tensorbundle.tools.operations.steps.step import Step, Switch, flag, integer, options, table, texts

if TYPE_CHECKING:
    from tensorbundle.tools.operations.steps.step import StepContext
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["Compact", "Partition", "Reshard", "Unpartition"]

_PARTS: Final = re.compile(r"(.+)=(\d+)(?::(-?\d+))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Partition(Step):
    """Store tensors in slices: `partition = { KEY = 4, OTHER = { slices = 2, axis = 1 } }`.

    Attributes:
        parts: keys, each with a number of slices and an axis.
    """

    name: ClassVar[str] = "partition"
    parts: tuple[tuple[str, int, int], ...]

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From keys, each with a number of slices or a table."""
        parts = []
        for key, count in table(value).items():
            given = count if isinstance(count, Mapping) else {"slices": count}
            given = options(given, "slices", "axis", required=["slices"])
            parts.append((key, integer(given["slices"]), integer(given.get("axis", 0))))
        return cls(tuple(parts))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From KEY=N or KEY=N:AXIS."""
        parts = {}
        for text in given["parts"]:
            found = _PARTS.fullmatch(text)
            if found is None:
                raise BundleError(f"{text!r} is not KEY=N or KEY=N:AXIS")
            if found[1] in parts:
                raise BundleError(f"{found[1]!r} is given twice")
            parts[found[1]] = {"slices": int(found[2]), "axis": int(found[3] or 0)}
        return cls.from_table(parts)

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Partition."""
        del context
        for key, count, axis in self.parts:
            partition(draft, key, count, axis)
        return draft


@dataclass(frozen=True, slots=True)
class Unpartition(Step):
    """Store partitioned tensors whole: `unpartition = true` for all, or patterns.

    Attributes:
        patterns: of tensors; an empty sequence for all, None to do nothing.
    """

    name: ClassVar[str] = "unpartition"
    patterns: tuple[str, ...] | None = ()

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From true, false, a pattern or a list of patterns."""
        if isinstance(value, bool):
            return cls(() if value else None)
        return cls(tuple(texts(value)))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From the patterns, if there are any."""
        return cls.from_table(given["patterns"] or True)

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Join the slices, and note the tensors."""
        del context
        if self.patterns is not None:
            draft.note("now whole", unpartition(draft, self.patterns))
        return draft


@dataclass(frozen=True, slots=True)
class Reshard(Step):
    """Distribute tensors over new data shards: `reshard = 4`, or `reshard = { max_shard_size = "2GB", cut = true }`.

    Attributes:
        shards: the number of shards; or
        max_bytes: the maximum size of a shard, and
        cut: whether larger tensors are partitioned.
    """

    name: ClassVar[str] = "reshard"
    shards: int | None = None
    max_bytes: int | None = None
    cut: bool = False

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From a number of shards, or a table of the options of the command."""
        given = value if isinstance(value, Mapping) else {"shards": value}
        given = options(given, "shards", "max_shard_size", "cut")
        shards, size = given.get("shards"), given.get("max_shard_size")
        return cls(
            None if shards is None else integer(shards),
            None if size is None else parse_size(size) if isinstance(size, str) else integer(size),
            flag(given.get("cut", False)),
        )

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From the options."""
        return cls.from_table({name: given[name] for name in ("shards", "max_shard_size", "cut")})

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Reshard."""
        del context
        reshard(draft, shards=self.shards, max_bytes=self.max_bytes, cut=self.cut)
        return draft


@dataclass(frozen=True, slots=True)
class Compact(Switch):
    """Rewrite data shards without unreferenced bytes: `compact = true`."""

    name: ClassVar[str] = "compact"

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Compact."""
        del context
        if self.wanted:
            compact(draft)
        return draft
