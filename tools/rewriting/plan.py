"""Plans: where the bytes of each tensor of an output come from, and in which format the output is written.

A plan is data. It can be printed and tested without files, and `transfer.py` carries it out.

`Output` is the seam to the formats that can be written: `BundleOutput` and `V1Output`, and those in `tools/formats`. A
format is read through an `Index` (`bundle/index.py`). Code between the two does not depend on the format.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.errors import ConflictError, UnsupportedError
from tensorbundle.payloads import encode_strings
from tensorbundle.slices import readable_key
from tensorbundle.specs import shape_text
from tensorbundle.tools.rewriting.ranges import TensorRange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tensorbundle.entries import StoredRange
    from tensorbundle.index import Index
    from tensorbundle.storage.protocols import Store
    from tensorbundle.tools.rewriting.expressions import Expression
    from tensorbundle.tools.rewriting.options import TransferOptions, Written

__all__ = [
    "Carried",
    "Converted",
    "LeftOut",
    "Literal",
    "Note",
    "Origin",
    "Output",
    "Plan",
    "PlannedEntry",
]


@dataclass(slots=True)  # here and below: freezing triples the time to make one, and there may be millions
class Carried:
    """The same bytes as in a source, with the checksum from its index if that has one. It does not change.

    Attributes:
        index: the source's index.
        key: the tensor's or slice's key there.
        entry: its entry there; or that of a part of it, or of several slices that follow each other.
        stored: where the bytes are.
        part_of: the full tensor's entry, if `entry` is a part without a checksum of its own.
    """

    index: Index
    key: bytes
    entry: TensorEntry
    stored: StoredRange
    part_of: TensorEntry | None = None

    @property
    def path(self) -> str:
        """The file with the bytes."""
        return self.stored.path

    @property
    def range(self) -> TensorRange:
        """The bytes, to be read and checked."""
        return TensorRange.of(self.index, self.key, self.entry, self.stored)


@dataclass(frozen=True, slots=True)
class Converted:
    """Values that are computed in a stream.

    Attributes:
        expression: what they are.
        entry: their type, shape and size; place and checksum are known once they are written. The size of strings is
            an estimate.
    """

    expression: Expression
    entry: TensorEntry

    @classmethod
    def of(cls, expression: Expression) -> Converted:
        """The tensor that an expression describes."""
        nbytes = math.prod(expression.shape) * expression.dtype.itemsize
        if expression.dtype is DType.string:
            nbytes = sum(stored.entry.nbytes for stored in expression.inputs())
        return cls(expression, TensorEntry(expression.dtype, expression.shape, nbytes))


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that the plan holds itself: those of an object graph. New values are a `Constant` expression, converted.

    Attributes:
        payload: as they are stored in the data shard.
        entry: their type, shape, size and checksum; shard and offset have no meaning yet.
    """

    payload: bytes
    entry: TensorEntry

    @classmethod
    def string(cls, value: bytes) -> Literal:
        """A scalar string."""
        head, nbytes, crc = encode_strings([value])
        return cls(head + value, TensorEntry(DType.string, (), nbytes, crc32c=crc))


Origin = Carried | Converted | Literal


@dataclass(slots=True)
class PlannedEntry:
    """One index entry of the output: a tensor that is not partitioned, or a slice. It does not change.

    Attributes:
        key: its key in the new index.
        origin: where its bytes come from.
        shard: which data shard it is stored in, if bytes have to be copied.
    """

    key: bytes
    origin: Origin
    shard: int = 0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A tensor of the source that the output does not have, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """A remark on what an operation did, for a person, and the tensors that it is about."""

    what: str
    keys: tuple[str, ...]


@dataclass(slots=True)
class Plan:
    """The whole output.

    Attributes:
        output: the format that it is written in; bytes are carried only if that can store them.
        entries: the stored tensors and slices, in their order in the data shards.
        partitioned: the entries of partitioned tensors, whose slices are among `entries`.
        left_out: tensors of the sources that the output does not have, with reasons.
        notes: remarks of the operations.
        must_copy: whether the data shards get a new layout, so that none can be shared.
        shards: the least number of data shards; empty ones are added to reach it.
        changes: for the summary, how many tensors were changed in each way.
        matched: how the place of a tensor was found, by key, or by the keys of its slices; only where it was searched for.
        attributes: texts beside tensors (`Index.attributes`), for formats that have them.
    """

    output: Output
    entries: list[PlannedEntry] = field(default_factory=list)
    partitioned: dict[bytes, TensorEntry] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    must_copy: bool = False
    shards: int = 0
    changes: dict[str, int] = field(default_factory=dict)
    matched: dict[bytes, str] = field(default_factory=dict)
    attributes: dict[str, dict[str, str | list[str]]] = field(default_factory=dict)

    @property
    def tensors(self) -> int:
        """How many tensors the output has, a partitioned one counted once."""
        slices = sum(len(entry.slices) for entry in self.partitioned.values())
        return len(self.entries) - slices + len(self.partitioned)

    def _repr_html_(self) -> str:
        """The first entries with their origins, as a table in a notebook."""
        from tensorbundle.markup import html_table  # for notebooks only

        rows = (
            (
                readable_key(each.key),
                type(each.origin).__name__.lower(),
                each.origin.entry.dtype,
                shape_text(each.origin.entry.shape),
                f"{each.origin.entry.nbytes:,}",
            )
            for each in self.entries
        )
        title = f"plan of {self.tensors:,} tensors, {len(self.left_out):,} left out"
        return html_table(title, ("key", "origin", "dtype", "shape", "bytes"), rows, len(self.entries))

    def whole_tensors(self) -> Iterator[tuple[bytes, TensorEntry]]:
        """The key of every tensor of the output, and its entry, of which only type and shape have a meaning."""
        slices = {part.key(key) for key, entry in self.partitioned.items() for part in entry.slices}
        for each in self.entries:
            if each.key not in slices:
                yield each.key, each.origin.entry
        yield from self.partitioned.items()

    def check_keys(self) -> None:
        """Refuse two tensors with one key, and those that the output can't store.

        Raises:
            ConflictError: two tensors have one key; the reason names both origins.
            UnsupportedError: a tensor that the output can't store.
        """
        if len({each.key for each in self.entries}) < len(self.entries):
            counts = Counter(each.key for each in self.entries)
            key = next(key for key, count in counts.items() if count > 1)
            origins = [
                repr(readable_key(each.origin.key)) if isinstance(each.origin, Carried) else "a new one"
                for each in self.entries
                if each.key == key
            ]
            raise ConflictError(
                f"two tensors would get this key: {' and '.join(origins[:2])}", key=readable_key(key)
            )
        for key, entry in self.whole_tensors():
            reason = self.output.lacks(key, entry.dtype, entry.shape)
            if reason is not None:
                raise UnsupportedError(reason, key=readable_key(key))


class Output(Protocol):
    """A file format as the target of a plan. Outputs are values: a plan with one can be given to another process."""

    @property
    def file_format(self) -> str:
        """The name of the format, for people."""

    def carries(self, dtype: DType, stored: StoredRange) -> bool:
        """Whether bytes that are stored like this can be stored in the output as they are."""

    def lacks(self, key: bytes, dtype: DType, shape: tuple[int, ...]) -> str | None:
        """Why the format can't store a tensor of this key, type and shape, `; ` and what to do; None if it can."""

    def refuse_existing(self, path: str, *, overwrite: bool, store: Store | None = None) -> None:
        """Refuse a path that can't be written to.

        Raises:
            ConflictError: it exists, and `overwrite` is not set; or an output can't have this name.
        """

    def shared(self, plan: Plan, path: str, options: TransferOptions, sizes: Mapping[str, int]) -> list[str]:
        """The files of sources whose bytes an output at `path` would share, if the store can; `sizes` as in `write`."""

    def write(self, plan: Plan, path: str, options: TransferOptions, sizes: Mapping[str, int]) -> Written:
        """Write the output; it appears when it is complete.

        Args:
            plan: what to write; `carries` allows all of its carried bytes.
            path: of the output.
            options: as in `transfer`.
            sizes: bytes of the files that carried bytes are in, in the order of sources and their files.

        Raises:
            ConflictError: as `refuse_existing`.
            CorruptionError, MissingFileError, UnreadableFileError: a source is damaged or can't be read.
            UnsupportedError: what `lacks` can't tell from type and shape.
            BundleError: the destination can't be written to.
        """
