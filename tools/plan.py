"""What an operation wants: for each tensor of the output, where its bytes come from.

A plan is data. It can be printed and tested without files, and `transfer.py` carries it out.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tensorbundle.coding import crc32c
from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.errors import ConflictError
from tensorbundle.index import decode_key
from tensorbundle.payloads import encode_strings

if TYPE_CHECKING:
    from tensorbundle.index import BundleIndex

__all__ = ["Carried", "LeftOut", "Literal", "Output", "Plan"]


@dataclass(frozen=True, slots=True)
class Carried:
    """The same bytes as in a source, with the checksum from its index.

    Attributes:
        index: the source's index.
        key: the tensor's or slice's key there.
        entry: its entry there.
    """

    index: BundleIndex
    key: bytes
    entry: TensorEntry


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


@dataclass(frozen=True, slots=True)
class Output:
    """One stored tensor, or one slice, of the output.

    Attributes:
        key: its key in the new index.
        origin: where its bytes come from.
        shard: which data shard it goes to, if bytes have to be copied.
    """

    key: bytes
    origin: Carried | Literal
    shard: int = 0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A tensor of the source that the output does not have, and why."""

    key: str
    reason: str


@dataclass(slots=True)
class Plan:
    """The whole output.

    Attributes:
        outputs: what is stored, in the order in which it lies in the data shards.
        partitioned: the entries of partitioned tensors, whose slices are among the outputs.
        left_out: what a source has and the output does not.
    """

    outputs: list[Output] = field(default_factory=list)
    partitioned: dict[bytes, TensorEntry] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def tensors(self) -> int:
        """How many tensors the output has, a partitioned one counted once."""
        slices = sum(len(entry.slices) for entry in self.partitioned.values())
        return len(self.outputs) - slices + len(self.partitioned)

    def carry(self, index: BundleIndex, key: bytes, entry: TensorEntry, new_key: bytes) -> None:
        """Let the output have a tensor of a source under a new key; slices follow with keys of their own.

        Raises:
            CorruptionError: a slice is missing or does not fit.
        """
        if not entry.slices:
            self.outputs.append(Output(new_key, Carried(index, key, entry), entry.shard))
            return
        self.partitioned[new_key] = entry
        for part, slice_key, piece in index.pieces(key, entry):
            self.outputs.append(Output(part.key(new_key), Carried(index, slice_key, piece), piece.shard))

    def add(self, key: bytes, literal: Literal) -> None:
        """Let the output have a tensor of our own, in the data shard of the one before it."""
        self.outputs.append(Output(key, literal, self.outputs[-1].shard if self.outputs else 0))

    def check_keys(self) -> None:
        """Refuse two outputs with one key.

        Raises:
            ConflictError: there are two; both origins are named.
        """
        seen: dict[bytes, Output] = {}
        for each in self.outputs:
            other = seen.setdefault(each.key, each)
            if other is not each:
                origins = [
                    repr(decode_key(one.origin.key)) if isinstance(one.origin, Carried) else "a new one"
                    for one in (other, each)
                ]
                raise ConflictError(
                    f"two tensors would get this key: {' and '.join(origins)}", key=decode_key(each.key)
                )
