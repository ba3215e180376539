"""What an operation wants: for each tensor of the output, where its bytes come from.

A plan is data. It can be printed and tested without files, and `transfer.py` carries it out.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tensorbundle.coding import crc32c
from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.errors import ConflictError, UnsupportedError
from tensorbundle.payloads import encode_strings
from tensorbundle.slices import readable_key

if TYPE_CHECKING:
    from tensorbundle.index import FileFormat, Index
    from tensorbundle.tools.rewriting.expressions import Expression

__all__ = ["Carried", "Converted", "LeftOut", "Literal", "Note", "Origin", "Output", "Plan"]


@dataclass(frozen=True, slots=True)
class Carried:
    """The same bytes as in a source, with the checksum from its index.

    Attributes:
        index: the source's index.
        key: the tensor's or slice's key there.
        entry: its entry there; or a part of one, or several that lie side by side.
        part_of: where the entry is a part whose checksum nobody knows yet, the entry of the whole, which has one.
    """

    index: Index
    key: bytes
    entry: TensorEntry
    part_of: TensorEntry | None = None

    @property
    def path(self) -> str:
        """The data shard with the bytes."""
        return self.index.shard_path(self.entry.shard)


@dataclass(frozen=True, slots=True)
class Converted:
    """Values that are computed in a stream.

    Attributes:
        expression: what they are.
        entry: their type, shape and size; the place and the checksum come with the stream. The size of strings is only
            about right.
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
    """Bytes that the plan holds itself.

    Attributes:
        payload: as they go into the data shard.
        entry: what they are; shard and offset mean nothing yet.
    """

    payload: bytes
    entry: TensorEntry

    @classmethod
    def int64(cls, value: int) -> Literal:
        """A scalar int64."""
        payload = struct.pack("<q", value)
        return cls(payload, TensorEntry(DType.int64, (), len(payload), crc32c=crc32c(payload)))

    @classmethod
    def string(cls, value: bytes) -> Literal:
        """A scalar string."""
        head, nbytes, crc = encode_strings([value])
        return cls(head + value, TensorEntry(DType.string, (), nbytes, crc32c=crc))


Origin = Carried | Converted | Literal


@dataclass(frozen=True, slots=True)
class Output:
    """One stored tensor, or one slice, of the output.

    Attributes:
        key: its key in the new index.
        origin: where its bytes come from.
        shard: which data shard it goes to, if bytes have to be copied.
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
    """What a person should know of an operation, and the tensors that it is about."""

    what: str
    keys: tuple[str, ...]


@dataclass(slots=True)
class Plan:
    """The whole output.

    Attributes:
        outputs: what is stored, in the order in which it lies in the data shards.
        partitioned: the entries of partitioned tensors, whose slices are among the outputs.
        left_out: what a source has and the output does not.
        notes: what operations say of what they did.
        must_copy: whether the data shards are laid out anew, so that sharing is out of the question.
        shards: how many data shards there must be at least; empty ones make up the number.
        changes: what was done to tensors, and to how many, for the summary.
        matched: how tensors came to their places, where that was to be found; by key, or keys of their slices.
        file_format: of the output; in a plan for "v1" nothing is carried.
    """

    outputs: list[Output] = field(default_factory=list)
    partitioned: dict[bytes, TensorEntry] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    must_copy: bool = False
    shards: int = 0
    changes: dict[str, int] = field(default_factory=dict)
    matched: dict[bytes, str] = field(default_factory=dict)
    file_format: FileFormat = "v2"

    @property
    def tensors(self) -> int:
        """How many tensors the output has, a partitioned one counted once."""
        slices = sum(len(entry.slices) for entry in self.partitioned.values())
        return len(self.outputs) - slices + len(self.partitioned)

    def check_keys(self) -> None:
        """Refuse two outputs with one key, and a name that only V1 files can have.

        Raises:
            ConflictError: there are two; both origins are named.
            UnsupportedError: a tensor of a V1 file has an empty name.
        """
        seen: dict[bytes, Output] = {}
        for each in self.outputs:
            other = seen.setdefault(each.key, each)
            if other is not each:
                origins = [
                    repr(readable_key(one.origin.key)) if isinstance(one.origin, Carried) else "a new one"
                    for one in (other, each)
                ]
                raise ConflictError(
                    f"two tensors would get this key: {' and '.join(origins)}", key=readable_key(each.key)
                )
        if self.file_format == "v2" and (b"" in seen or b"" in self.partitioned):
            raise UnsupportedError(
                "a tensor without a name, which only V1 files can have; drop or rename it", key=""
            )
