"""Slices: the parts in which a partitioned tensor is stored.

The tensor's own entry lists its slices and has no data; each slice has an ordinary entry under a binary key,

    slice key = num(0) name num(rank), then for each dimension snum(start) snum(length)

in ordered code (TensorFlow core/util/saved_tensor_slice_util.cc, `EncodeTensorNameSlice`). As the first byte is 00,
slice keys sort after the header and before the names of tensors. A length of -1 means the whole dimension;
as a protobuf field it is then absent (core/framework/tensor_slice.proto).
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorbundle.coding import (
    VARINT,
    encode_ordered_int,
    encode_ordered_string,
    encode_ordered_uint,
    encode_varint,
    fields,
    read_ordered_int,
    read_ordered_string,
    read_ordered_uint,
    signed64,
)
from tensorbundle.errors import ArgumentError, CorruptionError
from tensorbundle.limits import MAX_RANK

if TYPE_CHECKING:
    from tensorbundle.boxes import Box

__all__ = [
    "MAX_RANK",
    "WHOLE",
    "TensorSlice",
    "is_slice_key",
    "readable_key",
    "slice_key_start",
]

WHOLE: Final = -1  # a length: all of the dimension
_EXTENT: Final = r"([0-9]+),([0-9]+)"


class TensorSlice(NamedTuple):
    """A slice of a tensor.

    Attributes:
        extents: for each dimension, start and length in elements; the length `WHOLE` means the whole dimension.
    """

    extents: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, message: bytes) -> TensorSlice:
        """The slice in an encoded TensorSliceProto.

        The slice may be empty: `BundleReader` reads a tensor with such a slice (V1 files may not have any).

        Raises:
            CorruptionError: not such a message, or a negative start or length.
        """
        return cls(_parsed(bytes(message)))

    def encode(self) -> bytes:
        """The TensorSliceProto, as TensorFlow serializes it."""
        out = bytearray()
        for start, length in self.extents:
            extent = b"\x08" + encode_varint(start) if start else b""
            if length != WHOLE:
                extent += b"\x10" + encode_varint(length)
            out += b"\x0a" + encode_varint(len(extent)) + extent
        return bytes(out)

    @classmethod
    def parse_spec(cls, spec: str) -> TensorSlice:
        """The slice in a string such as "0,4:-" (core/framework/tensor_slice.cc, `TensorSlice::Parse`).

        Raises:
            ArgumentError: not a string of this form.
        """
        extents = []
        for item in spec.split(":") if spec else []:
            found = re.fullmatch(_EXTENT, item)
            if item != "-" and (found is None or int(found[2]) < 1):
                raise ArgumentError(f"slice {spec!r}: {item!r} is neither '-' nor 'start,length'")
            extents.append((int(found[1]), int(found[2])) if found else (0, WHOLE))
        return cls(tuple(extents))

    def __str__(self) -> str:
        return ":".join("-" if length == WHOLE else f"{start},{length}" for start, length in self.extents)

    def key(self, name: bytes) -> bytes:
        """The key of this slice of the tensor `name`."""
        return slice_key_start(name) + self.key_end

    @property
    def key_end(self) -> bytes:
        """The part of the key after the name."""
        return _key_end(self.extents)

    @classmethod
    def parse_key(cls, key: bytes) -> tuple[bytes, TensorSlice]:
        """The tensor's name and the slice in a slice key.

        Raises:
            CorruptionError: not a slice key.
        """
        zero, pos = read_ordered_uint(key, 0)
        name, pos = read_ordered_string(key, pos)
        rank, pos = read_ordered_uint(key, pos)
        if zero or rank > MAX_RANK:
            raise CorruptionError(f"not a slice key: rank {rank}")
        extents = []
        for _ in range(rank):
            start, pos = read_ordered_int(key, pos)
            length, pos = read_ordered_int(key, pos)
            extents.append((start, length))
        if pos != len(key):
            raise CorruptionError(f"not a slice key: {len(key) - pos} bytes after its end")
        return name, cls(tuple(extents))

    def box(self, shape: tuple[int, ...]) -> Box:
        """The slice as Python slices of a tensor of this shape.

        Raises:
            CorruptionError: the rank differs, or the slice exceeds the shape.
        """
        if len(self.extents) != len(shape):
            raise CorruptionError(
                f"slice {self} has {len(self.extents)} dimensions, the tensor has {len(shape)}"
            )
        box = []
        for (start, length), size in zip(self.extents, shape, strict=True):
            stop = size if length == WHOLE else start + length
            if start < 0 or stop > size or stop < start:
                raise CorruptionError(f"slice {self} reaches outside the shape {list(shape)}")
            box.append(slice(start, stop))
        return tuple(box)

    def shape(self, full: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the slice of a tensor of shape `full`.

        Raises:
            CorruptionError: the rank differs, or the slice exceeds the shape.
        """
        return tuple(each.stop - each.start for each in self.box(full))


@functools.lru_cache(maxsize=1 << 14)  # an index is read several times, and may list as many slices
def _parsed(message: bytes) -> tuple[tuple[int, int], ...]:
    """The extents in an encoded TensorSliceProto."""
    extents = []
    for number, _, value in fields(message):
        if number == 1 and isinstance(value, bytes):
            start, length = 0, WHOLE
            for part, wire_type, amount in fields(value):
                if wire_type != VARINT or not isinstance(amount, int):
                    continue
                if part == 1:
                    start = signed64(amount)
                elif part == 2:
                    length = signed64(amount)
                    if length < 0:
                        raise CorruptionError(f"slice of length {length}")
            if start < 0:
                raise CorruptionError(f"slice that starts at {start}")
            extents.append((start, length))
    if len(extents) > MAX_RANK:
        raise CorruptionError(f"slice of {len(extents)} dimensions, at most {MAX_RANK}")
    return tuple(extents)


@functools.lru_cache(maxsize=1 << 14)  # each is looked up in the index, listed, and often written again
def _key_end(extents: tuple[tuple[int, int], ...]) -> bytes:
    """The part of a slice key after the name."""
    out = encode_ordered_uint(len(extents))
    for start, length in extents:
        out += encode_ordered_int(start) + encode_ordered_int(length)
    return out


def slice_key_start(name: bytes) -> bytes:
    """The bytes that the keys of all slices of a tensor begin with, and no other keys."""
    return encode_ordered_uint(0) + encode_ordered_string(name)


def is_slice_key(key: bytes) -> bool:
    """Whether this is the key of a slice; names of tensors may have the same start."""
    try:
        TensorSlice.parse_key(key)
    except CorruptionError:
        return False
    return True


def readable_key(key: bytes) -> str:
    """A key as text for people: a slice key as the tensor's name and the slice, `emb[0,4:-]`."""
    if key.startswith(b"\0"):
        try:
            name, part = TensorSlice.parse_key(key)
        except CorruptionError:
            pass
        else:
            return f"{name.decode('utf-8', 'surrogateescape')}[{part}]"
    return key.decode("utf-8", "surrogateescape")
