"""The two sides of a comparison: tensors with their types, shapes, names and checksums."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tensorbundle.errors import BundleError
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, VARIABLE_VALUE, key_path
from tensorbundle.tools.operations.comparing.checksums import computed_checksum, stored_checksum
from tensorbundle.tools.rewriting.draft_index import expression_of
from tensorbundle.tools.rewriting.plan import Converted

if TYPE_CHECKING:
    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.entries import TensorEntry
    from tensorbundle.tools.rewriting.expressions import Expression

__all__ = ["Side"]


@dataclass(slots=True)
class Side:
    """One of the two checkpoints.

    Attributes:
        checkpoint: open.
        entries: its tensors, by key.
        graph: whether it has objects.
        verify: whether checksums are checked when values are read.
        computed: values that a conversion computes, by keys that are among `entries`.
    """

    checkpoint: Checkpoint
    entries: dict[str, TensorEntry]
    graph: bool
    verify: bool = True
    computed: dict[str, Expression] = field(default_factory=dict)
    _checksums: dict[str, int | None] = field(default_factory=dict)

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, verify: bool = True) -> Side:
        """All tensors of a checkpoint."""
        entries = dict(checkpoint.entries())
        return cls(checkpoint, entries, OBJECT_GRAPH_KEY in entries, verify)

    def values(self, key: str) -> Expression:
        """The values of a tensor.

        Raises:
            CorruptionError: a slice is missing, or its type or shape contradicts the tensor's entry.
        """
        if key in self.computed:
            return self.computed[key]
        return expression_of(self.checkpoint.index, key, self.entries[key])

    def compute(self, key: str, values: Expression) -> None:
        """Add a tensor that a conversion computes."""
        self.computed[key] = values
        self.entries[key] = Converted.of(values).entry

    def stored(self, key: str) -> int | None:
        """The checksum of a tensor in the index, or None."""
        if key not in self._checksums:
            self._checksums[key] = stored_checksum(self.values(key))
        return self._checksums[key]

    def checksum(self, key: str) -> int | None:
        """The checksum of a tensor, from its values if the index has none; None for a variant without one."""
        found = self.stored(key)
        if found is None and self.entries[key].dtype.has_values:
            found = computed_checksum(self.values(key), verify=self.verify)
            self._checksums[key] = found
        return found

    def full_names(self) -> dict[str, str]:
        """The full name of each tensor of an object, or "", by its key."""
        graph = self.checkpoint.object_graph
        return (
            {}
            if graph is None
            else {each.checkpoint_key: each.full_name for _, _, each in graph.attributes()}
        )

    def names(self) -> dict[str, set[str]]:
        """The names by which each tensor of an object may be known elsewhere: its full name if unique, and its path."""
        found: dict[str, set[str]] = defaultdict(set)
        for key in self.entries:
            path = key_path(key)
            if path is not None and key.endswith(f"/{VARIABLE_VALUE}"):
                found[key].add(path)
        try:
            full = self.full_names()
        except (BundleError, OSError):
            full = {}  # data with the graph is missing or damaged; paths are in the keys
        counts = Counter(full.values())
        for key, name in full.items():
            if name and counts[name] == 1 and key in self.entries:
                found[key].add(name)
        return found
