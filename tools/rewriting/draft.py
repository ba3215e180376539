"""Drafts: checkpoints that operations edit, one after another, before a plan is made.

A draft has an expression over stored tensors for each key, and the object graph. To make and edit one, only indexes and
object graphs are read. `plan` then finds which bytes can stay where they are and which must be computed.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.keys import decode_key, encode_key
from tensorbundle.proto.naming import Naming
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, key_path
from tensorbundle.specs import Spec
from tensorbundle.tools.rewriting.bundle_output import BundleOutput
from tensorbundle.tools.rewriting.expressions import Stored
from tensorbundle.tools.rewriting.plan import LeftOut, Literal, Note, Plan, PlannedEntry
from tensorbundle.tools.rewriting.planning import Layout, add_entries, sorted_by, source_place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.dtypes import DType
    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.slices import TensorSlice
    from tensorbundle.tools.rewriting.expressions import Expression
    from tensorbundle.tools.rewriting.plan import Output

__all__ = ["Draft", "DraftTensor", "Tally"]


@dataclass(slots=True)  # freezing triples the time to make one
class DraftTensor:
    """One tensor of a draft. It does not change; `dataclasses.replace` makes another one.

    Attributes:
        expression: its values.
        slices: how it is partitioned; empty if it is not.
        base: offset added to source shard numbers; non-zero after `merge`.
        matched: how its place was found, if it was searched for; the plan and the summary show it.
    """

    expression: Expression
    slices: tuple[TensorSlice, ...] = ()
    base: int = 0
    matched: str = ""

    @property
    def dtype(self) -> DType:
        """Its data type."""
        return self.expression.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.expression.shape

    @property
    def spec(self) -> Spec:
        """Its type and shape."""
        return Spec(self.dtype, self.shape)


@dataclass(slots=True)
class Tally:
    """What operations did to a draft's tensors, for the summary."""

    renamed: int = 0
    cast: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Draft:
    """The checkpoint to be written.

    Attributes:
        prefix: of the checkpoint that it was made from, for messages.
        tensors: by key, in the order in which they are stored in the data shards; the object graph is not among them.
        graph: its object graph, or None if it is name-based.
        left_out: tensors that were left out on purpose, and why.
        notes: remarks of the operations.
        tally: how many tensors were changed.
        must_copy: whether the data shards get a new layout.
        layout: of the data shards.
        keeps_order: whether tensors are stored in each data shard in the order of their sources, rather than in
            that of `tensors`.
        shards: how many data shards the sources have.
        output: the format that it is to be written in.
        attributes: texts beside tensors (`Index.attributes`), for formats that have them.
        from_bundle: whether the checkpoint that it was made from is a bundle.
    """

    prefix: str
    tensors: dict[str, DraftTensor] = field(default_factory=dict)
    graph: ObjectGraph | None = None
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    must_copy: bool = False
    layout: Layout = field(default_factory=Layout)
    keeps_order: bool = True
    shards: int = 1
    output: Output = field(default_factory=BundleOutput)
    attributes: dict[str, dict[str, str | list[str]]] = field(default_factory=dict)
    from_bundle: bool = True
    _graph_tensor: DraftTensor | None = None
    _graph_bytes: bytes | None = None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Draft:
        """The checkpoint as it is.

        Raises:
            CorruptionError: its index or its object graph is damaged.
        """
        draft = cls(checkpoint.prefix, shards=checkpoint.num_shards, from_bundle=checkpoint.index.is_bundle)
        draft.attributes = {path: dict(each) for path, each in checkpoint.index.attributes.items()}
        found = sorted_by(
            [Stored.of(checkpoint.index, key, entry) for key, entry in checkpoint.index.entries()],
            lambda each: (each.first_entry.shard, each.first_entry.offset),
        )
        draft.tensors = {decode_key(each.key): DraftTensor(each, each.entry.slices) for each in found}
        draft._graph_tensor = draft.tensors.pop(OBJECT_GRAPH_KEY, None)
        if draft._graph_tensor is not None:
            draft.graph = checkpoint.read_object_graph()
            draft._graph_bytes = None if draft.graph is None else draft.graph.stored
        return draft

    def select(self, keys: Collection[str]) -> dict[str, DraftTensor]:
        """The tensors with these keys, in the draft's order."""
        wanted = set(keys)
        return {key: tensor for key, tensor in self.tensors.items() if key in wanted}

    def naming(self) -> Naming:
        """The names of its tensors, as they are now."""
        return Naming(self.tensors, lambda: self.graph, self.prefix)

    def shift(self, base: int) -> None:
        """Add `base` to the shard numbers of all tensors, as they follow those of another draft."""
        self.tensors = {key: replace(tensor, base=tensor.base + base) for key, tensor in self.tensors.items()}
        if self._graph_tensor is not None:
            self._graph_tensor = replace(self._graph_tensor, base=self._graph_tensor.base + base)

    def drop(self, keys: Collection[str]) -> None:
        """Remove tensors, the objects of the graph that have no other tensors, and the slots of these objects."""
        gone = set(keys)
        self._forget(gone)
        if self.graph is not None:
            with self.editing_graph() as graph:
                graph.drop_keys(gone, self.tensors)

    @contextlib.contextmanager
    def editing_graph(self) -> Iterator[ObjectGraph]:
        """The object graph, to be edited inside the `with` block; the tensors are adapted to it at its end.

        Tensors of removed objects are removed, and those of objects with new paths get new keys.
        """
        graph = self.graph
        if graph is None:
            raise TypeError("a name-based checkpoint has no object graph")
        before = graph.paths()
        yield graph
        after = graph.paths()
        lost = {path for node, path in before.items() if node not in after}
        lost_keys = {each.checkpoint_key for node in before if node not in after for each in node.attributes}
        self._forget({key for key in self.tensors if key in lost_keys or key_path(key) in lost})
        self.follow({before[node]: path for node, path in after.items() if before.get(node, path) != path})

    def _forget(self, keys: Collection[str]) -> None:
        self.tally.dropped += sum(key in self.tensors for key in keys)
        self.tensors = {key: tensor for key, tensor in self.tensors.items() if key not in keys}

    def follow(self, moved: Mapping[str, str]) -> None:
        """Rename the tensors of objects whose paths changed, old to new."""
        tensors = {}
        for key, tensor in self.tensors.items():
            path = key_path(key)
            new = key if path is None or path not in moved else moved[path] + key[len(path) :]
            tensors[new] = tensor
            self.tally.renamed += new != key
        self.tensors = tensors

    def note(self, what: str, keys: Collection[str]) -> None:
        """Add a remark on tensors, which the plan and the summary show; none if there are no tensors."""
        if keys:
            self.notes.append(Note(what, tuple(keys)))

    def set_tensor(self, key: str, expression: Expression) -> None:
        """Give a tensor other values, or add one."""
        old = self.tensors.get(key, DraftTensor(expression))
        self.tensors[key] = replace(old, expression=expression)

    def write_to(self, output: Output) -> None:
        """Set the format that the draft is written in.

        Raises:
            UnsupportedError: a tensor that the format can't store; the reason counts the others.
        """
        lacking = [
            (key, reason)
            for key, tensor in self.tensors.items()
            if (reason := output.lacks(encode_key(key), tensor.dtype, tensor.shape)) is not None
        ]
        if lacking:
            key, reason = lacking[0]
            what, separator, advice = reason.partition(";")
            more = f" (and {len(lacking) - 1} more such tensors)" if len(lacking) > 1 else ""
            raise UnsupportedError(f"{what}{more}{separator}{advice}", path=self.prefix, key=key)
        self.output = output

    def plan(self, *, last: bool = False) -> Plan:
        """The plan that writes this checkpoint.

        Args:
            last: whether the draft is not needed afterwards, and gives its memory to the plan.

        Raises:
            CorruptionError: slices of a tensor that overlap, or leave something out.
        """
        plan = Plan(
            self.output,
            left_out=list(self.left_out),
            notes=list(self.notes),
            must_copy=self.must_copy,
            changes=asdict(self.tally),
            attributes=self.attributes,
        )
        graph = None if self.graph is None else self.graph.encode()
        if last:
            self.graph = None
        plan.changes |= Counter(each.matched for each in self.tensors.values() if each.matched)
        for key in list(self.tensors):
            tensor = self.tensors.pop(key) if last else self.tensors[key]
            first = len(plan.entries)
            try:
                add_entries(plan, encode_key(key), tensor.expression, tensor.slices, tensor.base)
            except CorruptionError as error:
                raise error.locate(path=self.prefix, key=key) from None
            if tensor.matched:
                plan.matched.update((each.key, tensor.matched) for each in plan.entries[first:])
        if graph is not None:
            self._add_graph(plan, graph)
        if self.keeps_order:
            plan.entries = sorted_by(plan.entries, source_place)
        plan.entries = self.layout.assign(plan.entries)
        plan.shards = self.layout.shards or 0
        if self.layout.max_bytes is not None:
            plan.shards = 1 + max((each.shard for each in plan.entries), default=0)
        return plan

    def _add_graph(self, plan: Plan, graph: bytes) -> None:
        """Add the object graph: where the source has it, or as new bytes in the last data shard."""
        key, old = encode_key(OBJECT_GRAPH_KEY), self._graph_tensor
        if old is not None and graph == self._graph_bytes:
            add_entries(plan, key, old.expression, old.slices, old.base)
        else:
            last = max((each.shard for each in plan.entries), default=0)
            plan.entries.append(PlannedEntry(key, Literal.string(graph), last))
