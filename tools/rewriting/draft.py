"""A checkpoint that does not exist yet: what operations work on, one after another, before a plan is made of it.

A draft says what each key is in terms of tensors that checkpoints have, and has the object graph beside that. Nothing
is read but indexes and object graphs. `plan` then finds what can stay where it is and what must be computed.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from tensorbundle.coding import combine_crc32c
from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.errors import CorruptionError
from tensorbundle.index import decode_key, encode_key
from tensorbundle.proto.graph import ObjectGraph
from tensorbundle.proto.naming import Naming
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, key_path
from tensorbundle.slices import must_cover, must_tile, whole_box
from tensorbundle.tools.rewriting.expressions import Region, Stored
from tensorbundle.tools.rewriting.plan import Carried, Converted, LeftOut, Literal, Note, Output, Plan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.index import FileFormat
    from tensorbundle.slices import Box, TensorSlice
    from tensorbundle.tools.rewriting.expressions import Expression

__all__ = ["Draft", "DraftTensor", "Layout", "Tally"]


@dataclass(frozen=True, slots=True)
class DraftTensor:
    """One tensor of a draft.

    Attributes:
        expression: its values.
        slices: how it is partitioned; empty if it is not.
        base: the number in the output of its source's first data shard, if bytes have to be copied.
        matched: how it came to its place, if it had to be found; for the plan and the summary.
    """

    expression: Expression | Literal
    slices: tuple[TensorSlice, ...] = ()
    base: int = 0
    matched: str = ""

    @property
    def dtype(self) -> DType:
        """Its data type."""
        values = self.expression
        return values.entry.dtype if isinstance(values, Literal) else values.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its values."""
        values = self.expression
        return values.entry.shape if isinstance(values, Literal) else values.shape


@dataclass(slots=True)
class Tally:
    """What operations did to a draft's tensors, for the summary."""

    renamed: int = 0
    cast: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """How outputs are spread over data shards: as in the sources, unless one of these is set.

    Attributes:
        shards: that many, of about the same size.
        max_bytes: another one is begun when one would be larger.
    """

    shards: int | None = None
    max_bytes: int | None = None

    def assign(self, outputs: Sequence[Output]) -> list[Output]:
        """The outputs, each with its data shard."""
        if self.shards is None and self.max_bytes is None:
            return list(outputs)
        out = []
        total = sum(each.origin.entry.nbytes for each in outputs) or 1
        done = size = number = 0
        for each in outputs:
            nbytes = each.origin.entry.nbytes
            if self.max_bytes is not None:
                if size and size + nbytes > self.max_bytes:
                    number, size = number + 1, 0
                size += nbytes
            elif self.shards is not None:
                number = min((2 * done + nbytes) * self.shards // (2 * total), self.shards - 1)
                done += nbytes
            out.append(replace(each, shard=number))
        return out


@dataclass(slots=True)
class Draft:
    """A checkpoint to be.

    Attributes:
        prefix: the checkpoint it began as, for messages.
        tensors: by key, in the order in which they lie in the data shards; the object graph is not among them.
        graph: its object graph, or None if it is name-based.
        left_out: tensors that were left out on purpose, and why.
        notes: what operations say of what they did.
        tally: what was done.
        must_copy: whether the data shards are to be laid out anew.
        layout: how the data shards are to be laid out.
        keeps_order: whether tensors lie in each data shard in the order in which their sources do, rather than in
            that of `tensors`.
        shards: how many data shards the sources have.
        file_format: of the output.
        source_format: of the checkpoint it began as.
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
    file_format: FileFormat = "v2"
    source_format: FileFormat = "v2"
    _graph_tensor: DraftTensor | None = None
    _graph_bytes: bytes = b""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Draft:
        """The checkpoint as it is.

        Raises:
            CorruptionError: its index or its object graph is damaged.
        """
        draft = cls(
            checkpoint.prefix, shards=checkpoint.num_shards, source_format=checkpoint.index.file_format
        )
        found: list[tuple[int, int, str, DraftTensor]] = []
        for key, entry in checkpoint.index.entries():
            stored = Stored.of(checkpoint.index, key, entry)
            first = stored.pieces[0][2] if stored.pieces else entry
            found.append((first.shard, first.offset, decode_key(key), DraftTensor(stored, entry.slices)))
        found.sort(key=lambda each: each[:2])
        draft.tensors = {key: tensor for _, _, key, tensor in found}
        draft._graph_tensor = draft.tensors.pop(OBJECT_GRAPH_KEY, None)
        if draft._graph_tensor is not None:
            # A graph of our own: the one that the checkpoint hands out must not change.
            value = checkpoint.object_graph
            draft._graph_bytes = value.encode() if value is not None else b""
            draft.graph = ObjectGraph.parse(draft._graph_bytes)
        return draft

    def select(self, keys: Collection[str]) -> dict[str, DraftTensor]:
        """The tensors with these keys, in the draft's order."""
        wanted = set(keys)
        return {key: tensor for key, tensor in self.tensors.items() if key in wanted}

    def naming(self) -> Naming:
        """What its tensors may be called, as they are now."""
        return Naming(self.tensors, lambda: self.graph, self.prefix)

    def shift(self, base: int) -> None:
        """Number its sources' data shards from `base` on, as they follow those of another draft."""
        self.tensors = {key: replace(tensor, base=tensor.base + base) for key, tensor in self.tensors.items()}
        if self._graph_tensor is not None:
            self._graph_tensor = replace(self._graph_tensor, base=self._graph_tensor.base + base)

    def drop(self, keys: Collection[str]) -> None:
        """Remove tensors, and with them the objects of the graph that have nothing else, and the slots of these."""
        gone = set(keys)
        self._forget(gone)
        if self.graph is not None:
            with self.editing_graph() as graph:
                graph.drop_keys(gone, self.tensors)

    @contextlib.contextmanager
    def editing_graph(self) -> Iterator[ObjectGraph]:
        """The object graph, to be edited inside the `with` block; the tensors follow their objects after it.

        Tensors of objects that are gone then go, and those of objects with other paths get other keys.
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
        """Say something of some tensors, for the plan and the summary; nothing if there are none."""
        if keys:
            self.notes.append(Note(what, tuple(keys)))

    def set_tensor(self, key: str, expression: Expression | Literal) -> None:
        """Give a tensor other values, or add one."""
        old = self.tensors.get(key, DraftTensor(expression))
        self.tensors[key] = replace(old, expression=expression)

    def plan(self) -> Plan:
        """What has to be done to make this checkpoint.

        Raises:
            CorruptionError: slices that do not fit.
        """
        plan = Plan(
            left_out=list(self.left_out),
            notes=list(self.notes),
            must_copy=self.must_copy,
            changes=asdict(self.tally),
            file_format=self.file_format,
        )
        for key, tensor in self.tensors.items():
            first = len(plan.outputs)
            try:
                _add(plan, encode_key(key), tensor)
            except CorruptionError as error:
                raise error.locate(path=self.prefix, key=key) from None
            if tensor.matched:
                plan.matched.update((each.key, tensor.matched) for each in plan.outputs[first:])
        plan.changes |= Counter(each.matched for each in self.tensors.values() if each.matched)
        if self.graph is not None:
            self._add_graph(plan, self.graph)
        if self.keeps_order:
            plan.outputs.sort(key=_source_place)
        plan.outputs = self.layout.assign(plan.outputs)
        plan.shards = self.layout.shards or 0
        return plan

    def _add_graph(self, plan: Plan, graph: ObjectGraph) -> None:
        key = encode_key(OBJECT_GRAPH_KEY)
        data = graph.encode()
        if self._graph_tensor is not None and data == self._graph_bytes:
            _add(plan, key, self._graph_tensor)
        else:
            last = max((each.shard for each in plan.outputs), default=0)
            plan.outputs.append(Output(key, Literal.string(data), last))


class _Values:
    """What the outputs of one tensor are taken from, with what has to be found out once for all of them."""

    def __init__(self, expression: Expression) -> None:
        self.expression = expression
        self._is_whole = False
        self._pieces: dict[tuple[tuple[int, int], ...], tuple[bytes, TensorEntry]] = {}
        if isinstance(expression, Stored):
            for part, key, entry in expression.pieces:
                self._pieces.setdefault(_corners(part.box(expression.shape)), (key, entry))

    def piece(self, box: Box) -> tuple[bytes, TensorEntry] | None:
        """The key and the entry of the stored slice that is exactly this box, if there is one."""
        return self._pieces.get(_corners(box))

    def must_be_whole(self) -> None:
        """Refuse to compute with a tensor whose slices leave something out or overlap."""
        if self._is_whole:
            return
        for stored in self.expression.inputs():
            if not stored.pieces:
                continue
            try:
                must_tile([part.box(stored.shape) for part, _, _ in stored.pieces], stored.shape)
            except CorruptionError as error:
                raise error.locate(path=stored.index.prefix, key=decode_key(stored.key)) from None
        self._is_whole = True


def _corners(box: Box) -> tuple[tuple[int, int], ...]:
    """A box in a form that can be looked up, as Python's slices can't before 3.12."""
    return tuple((each.start, each.stop) for each in box)


def _add(plan: Plan, key: bytes, tensor: DraftTensor) -> None:
    """Add the outputs that a tensor is stored as."""
    expression = tensor.expression
    if isinstance(expression, Literal):
        plan.outputs.append(Output(key, expression, tensor.base))
        return
    shape = expression.shape
    parts = tensor.slices
    if (
        not parts or parts[0].shape(shape) == shape
    ):  # TensorFlow, too, stores a slice that is everything as it is
        plan.outputs.append(_output(plan, key, _Values(expression), whole_box(shape), tensor.base))
        return
    must_cover([part.box(shape) for part in parts], shape)
    total = 0
    values = _Values(expression)
    for part in parts:
        output = _output(plan, part.key(key), values, part.box(shape), tensor.base)
        plan.outputs.append(output)
        total += output.origin.entry.nbytes
    plan.partitioned[key] = TensorEntry(expression.dtype, shape, total, slices=parts)


def _source_place(output: Output) -> tuple[int, float, int]:
    """Where an output goes: its data shard, where in its source's shard its bytes begin, and how many they are.

    What has none begins where the next one does, and lies before it. What is new comes last.
    """
    origin = output.origin
    if isinstance(origin, Carried):
        return output.shard, origin.entry.offset, origin.entry.nbytes
    first = next(origin.expression.inputs(), None) if isinstance(origin, Converted) else None
    if first is None:
        return output.shard, math.inf, 0
    entry = first.pieces[0][2] if first.pieces else first.entry
    return output.shard, entry.offset, entry.nbytes


def _output(plan: Plan, key: bytes, source: _Values, box: Box, base: int) -> Output:
    """One stored tensor or slice: a box of an expression, carried if its bytes exist somewhere."""
    expression = source.expression
    if isinstance(expression, Stored):
        carried = _carried(expression, source, box) if plan.file_format == "v2" else None
        if carried is not None:
            return Output(key, carried, base + carried.entry.shard)
        piece = source.piece(box)
        if piece is not None:
            stored = Stored(expression.index, *piece)
            return Output(key, Converted.of(stored), base + stored.entry.shard)
    source.must_be_whole()
    first = next(expression.inputs(), None)
    entry = None if first is None else first.pieces[0][2] if first.pieces else first.entry
    values = expression if box == whole_box(expression.shape) else Region(expression, box)
    return Output(key, Converted.of(values), base + (entry.shard if entry is not None else 0))


def _carried(stored: Stored, source: _Values, box: Box) -> Carried | None:
    """The bytes of a box of a stored tensor, if they lie somewhere in one run."""
    whole = whole_box(stored.shape)
    swaps = stored.dtype.swap_width > 1 or stored.dtype is DType.string
    if (stored.index.header.big_endian and swaps) or stored.index.file_format == "v1":
        return None  # what is written is little-endian, and lies in data shards
    if not stored.pieces:
        if box == whole:
            return Carried(stored.index, stored.key, stored.entry)
        return _rows(stored, box)
    piece = source.piece(box)
    if piece is not None:
        return Carried(stored.index, *piece)
    return _side_by_side(stored) if box == whole else None


def _rows(stored: Stored, box: Box) -> Carried | None:
    """Whole rows of a tensor of numbers lie in one run, whose checksum nobody knows yet."""
    entry = stored.entry
    if not entry.dtype.itemsize or box[1:] != whole_box(entry.shape[1:]):
        return None
    row = math.prod(entry.shape[1:]) * entry.dtype.itemsize
    rows = box[0].stop - box[0].start
    part = entry._replace(
        shape=(rows, *entry.shape[1:]), offset=entry.offset + box[0].start * row, nbytes=rows * row, crc32c=0
    )
    return Carried(stored.index, stored.key, part, part_of=entry)


def _side_by_side(stored: Stored) -> Carried | None:
    """All of a tensor whose pieces are rows that lie one after another: their checksums combine to that of the whole."""
    if not stored.dtype.itemsize:
        return None
    ordered = sorted(stored.pieces, key=lambda each: each[0].box(stored.shape)[0].start)
    first = ordered[0][2]
    row, crc, end = 0, 0, first.offset
    for part, _, entry in ordered:
        box = part.box(stored.shape)
        aligned = box[1:] == whole_box(stored.shape[1:]) and box[0].start == row
        if not aligned or (entry.shard, entry.offset) != (first.shard, end):
            return None
        crc = combine_crc32c(crc, entry.crc32c, entry.nbytes)
        row, end = box[0].stop, end + entry.nbytes
    if row != stored.shape[0]:
        return None
    entry = TensorEntry(stored.dtype, stored.shape, end - first.offset, first.shard, first.offset, crc)
    return Carried(stored.index, stored.key, entry)
