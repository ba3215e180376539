"""The values in the index of a bundle: its header, and an entry for each tensor.

The header is the value of the empty key, an entry the value of a tensor's key; both are protobuf messages
(TensorFlow core/protobuf/tensor_bundle.proto). They are decoded here by hand instead of with the protobuf library,
because a listing decodes one for every tensor. proto/checkpoint.proto has the same messages; a property test compares
the two.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorbundle.coding import (
    FIXED32,
    MASK_DELTA,
    VARINT,
    encode_varint,
    fields,
    mask,
    read_varint,
    signed64,
    unmask,
)
from tensorbundle.dtypes import DType
from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.limits import MAX_RANK, MAX_SHARDS
from tensorbundle.slices import TensorSlice, readable_key
from tensorbundle.specs import Spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "HEADER_KEY",
    "VERSIONS",
    "BundleHeader",
    "StoredRange",
    "StoredSlice",
    "TensorEntry",
    "check_range",
    "encode_shape",
    "parse_entries",
    "parse_entry",
    "parse_shape",
    "parse_versions",
]

HEADER_KEY: Final = b""
_ENTRY_WIRE_TYPES: Final = {1: 0, 2: 2, 3: 0, 4: 0, 5: 0, 6: 5, 7: 2}
_VERSION: Final = 1  # kTensorBundleVersion, and TF_CHECKPOINT_VERSION of V1 files
VERSIONS: Final = b"\x08\x01"  # the VersionDef that TensorFlow writes: producer 1
_INT32_BITS: Final = 2**32 - 1


class BundleHeader(NamedTuple):
    """The value of the empty key.

    Attributes:
        num_shards: the number of data files, which is the NNNNN of their names.
        big_endian: whether tensor bytes are big-endian. The index never is.
        producer: the version of the writer.
        min_consumer: the oldest reader version that may read the bundle.
        bad_consumers: reader versions that may not read it.
    """

    num_shards: int
    big_endian: bool = False
    producer: int = _VERSION
    min_consumer: int = 0
    bad_consumers: tuple[int, ...] = ()

    @classmethod
    def parse(cls, value: bytes) -> BundleHeader:
        """The header in its encoded form.

        Raises:
            CorruptionError: not a BundleHeaderProto, or an impossible number of shards.
            UnsupportedError: written for readers of another version.
        """
        num_shards = endianness = 0
        versions = b""
        for number, wire_type, field in fields(value):
            if wire_type == VARINT and isinstance(field, int):
                num_shards = _int32(field) if number == 1 else num_shards
                endianness = _int32(field) if number == 2 else endianness
            elif number == 3 and isinstance(field, bytes):
                versions += field  # protobuf joins a message that comes in parts
        if not 1 <= num_shards <= MAX_SHARDS:
            raise CorruptionError(f"header says {num_shards} data shards, not 1 to {MAX_SHARDS}")
        return cls(num_shards, endianness == 1, *parse_versions(versions))

    def encode(self) -> bytes:
        """The header as TensorFlow serializes it."""
        version = _varint_field(1, self.producer) + _varint_field(2, self.min_consumer)
        if self.bad_consumers:
            packed = b"".join(map(encode_varint, self.bad_consumers))
            version += b"\x1a" + encode_varint(len(packed)) + packed
        return (
            _varint_field(1, self.num_shards)
            + _varint_field(2, int(self.big_endian))
            + b"\x1a"
            + encode_varint(len(version))
            + version
        )


class TensorEntry(NamedTuple):
    """The position, type and shape of a stored tensor.

    Attributes:
        dtype: its data type; compares equal to TensorFlow's name for it.
        shape: elements along each dimension.
        nbytes: bytes in the data file; for a partitioned tensor the sum over its slices.
        shard: number of the data file; for a partitioned tensor that of its first slice, if the writer set it.
        offset: bytes from the start of the data file. For a partitioned tensor, `offset` and `crc32c` have no meaning.
        crc32c: unmasked checksum of the tensor's bytes; for strings and variants, of the bytes that `payloads.py` defines.
        slices: the slices of a partitioned tensor, in the order stored; otherwise empty.
    """

    dtype: DType
    shape: tuple[int, ...]
    nbytes: int
    shard: int = 0
    offset: int = 0
    crc32c: int = 0
    slices: tuple[TensorSlice, ...] = ()

    @property
    def spec(self) -> Spec:
        """Its type and shape."""
        return Spec(self.dtype, self.shape)

    @property
    def elements(self) -> int:
        """How many elements the tensor has."""
        return math.prod(self.shape)

    @property
    def expected_nbytes(self) -> int | None:
        """The size in bytes that a tensor of this type and shape must have, or None if that varies."""
        return self.elements * self.dtype.itemsize if self.dtype.itemsize else None

    def encode(self) -> bytes:
        """The BundleEntryProto as TensorFlow serializes it (fields in order, zeros left out)."""
        dtype, shape, nbytes, shard, offset, crc, slices = self
        out = _encode_head(dtype, shape)
        if shard:
            out += b"\x18" + encode_varint(shard)
        if slices:
            for each in slices:
                message = each.encode()
                out += b"\x3a" + encode_varint(len(message)) + message
            return out
        if offset:
            out += b"\x20" + encode_varint(offset)
        if nbytes:
            out += b"\x28" + encode_varint(nbytes)
        stored = mask(crc)
        return out + b"\x35" + FIXED32.pack(stored) if stored else out


class StoredSlice(NamedTuple):
    """One slice of a partitioned tensor as it is stored.

    Attributes:
        part: which part of the tensor it is.
        key: its key.
        entry: its entry.
    """

    part: TensorSlice
    key: bytes
    entry: TensorEntry


class StoredRange(NamedTuple):
    """The range of a file that has the bytes of a tensor, in any file format: its values in C order, or encoded strings.

    Attributes:
        path: the file.
        offset: bytes from the start of the file.
        nbytes: size in bytes.
        crc32c: checksum as in `TensorEntry`; None if the format has no checksums.
        big_endian: whether values are big-endian.
    """

    path: str
    offset: int
    nbytes: int
    crc32c: int | None = None
    big_endian: bool = False


def parse_versions(message: bytes) -> tuple[int, int, tuple[int, ...]]:
    """Producer, min_consumer and bad_consumers of an encoded VersionDef (core/public/version.h, `CheckVersions`).

    Raises:
        CorruptionError: not such a message.
        UnsupportedError: they exclude this reader.
    """
    producer = min_consumer = 0
    bad: list[int] = []
    for number, wire_type, version in fields(message):
        if number == 3 and isinstance(version, bytes):
            bad += _packed(version)
        elif wire_type == VARINT and isinstance(version, int):
            producer = _int32(version) if number == 1 else producer
            min_consumer = _int32(version) if number == 2 else min_consumer
            bad += [_int32(version)] if number == 3 else []
    if producer < 0 or min_consumer > _VERSION or _VERSION in bad:
        raise UnsupportedError(
            f"bundle version (producer {producer}, min_consumer {min_consumer}, bad_consumers {bad}) excludes "
            f"readers of version {_VERSION}: a newer tensorbundle is needed"
        )
    return producer, min_consumer, tuple(bad)


def check_range(entry: TensorEntry, stored: StoredRange, file_size: int) -> None:
    """Check that the stored bytes of `entry` are within their file, and have the size that its type and shape need.

    Raises:
        CorruptionError: they are not, or have another size. The error does not know the tensor's key.
    """
    expected = entry.expected_nbytes
    wrong = None
    if expected is not None and entry.nbytes != expected:
        wrong = f"{entry.nbytes} bytes stored, {entry.dtype} {list(entry.shape)} takes {expected}"
    elif entry.dtype is DType.string and entry.nbytes < entry.elements:
        wrong = f"{entry.elements} strings can't fit in {entry.nbytes} bytes"
    if wrong is not None:
        raise CorruptionError(wrong, path=stored.path, offset=stored.offset)
    if stored.offset + stored.nbytes > file_size:
        raise CorruptionError(
            f"{stored.nbytes} bytes wanted, the file ends at {file_size}: "
            "it is cut short, or belongs to another checkpoint",
            path=stored.path,
            offset=stored.offset,
        )


def parse_entries(
    values: Iterable[tuple[bytes, bytes]], known: dict[bytes, Spec] | None = None
) -> Iterator[tuple[bytes, TensorEntry]]:
    """The entries in `values`, pairs of a key and an encoded BundleEntryProto; keys are passed on as they are.

    Args:
        values: keys and encoded entries.
        known: types and shapes by their encoded forms, for several calls; what is found is added.

    Raises:
        CorruptionError: an entry is not such a message, or has an impossible shape or position.
        UnsupportedError: a data type that no checkpoint stores.
    """
    # This loop runs for every tensor of a listing, so the form that TensorFlow writes is decoded here, and any other form
    # by the general parser. Type and shape come first and have few distinct values, so their bytes are looked up.
    known = {} if known is None else known
    new = tuple.__new__
    for key, value in values:
        size = len(value)
        pos = 4 + value[3] if size > 9 else size
        last = size - 5  # where the checksum's field begins
        head = value[:pos]
        try:
            if head not in known:
                if not _is_head(head):
                    yield key, parse_entry(value)
                    continue
                first = parse_entry(head)
                known[head] = first.spec
            dtype, shape = known[head]
            shard = offset = nbytes = 0
            while pos < last:
                tag = value[pos]
                number = value[pos + 1]
                pos += 2
                if number >= 0x80:
                    number &= 0x7F
                    shift = 7
                    while value[pos] >= 0x80 and pos < last and shift < 63:
                        number |= (value[pos] & 0x7F) << shift
                        shift += 7
                        pos += 1
                    number |= value[pos] << shift
                    pos += 1
                if tag == 0x20:
                    offset = number
                elif tag == 0x28:
                    nbytes = number
                elif tag == 0x18:
                    shard = number
                else:
                    pos = size
            if pos != last or value[last] != 0x35 or shard | offset >> 32 | nbytes >> 32 >= 2**31:
                yield key, parse_entry(value)
                continue
        except (CorruptionError, UnsupportedError) as error:
            raise error.locate(key=readable_key(key)) from None
        stored = value[-4] | value[-3] << 8 | value[-2] << 16 | value[-1] << 24
        rotated = (stored - MASK_DELTA) & _INT32_BITS  # unmask, inlined
        crc = (rotated >> 17 | rotated << 15) & _INT32_BITS
        yield key, new(TensorEntry, (dtype, shape, nbytes, shard, offset, crc, ()))


def _is_head(head: bytes) -> bool:
    """Whether these bytes are exactly the fields of a type and a shape, each with a size of one byte."""
    return (
        len(head) >= 4
        and head[0] == 0x08
        and head[2] == 0x12
        and head[1] < 0x80
        and head[3] == len(head) - 4 < 0x80
    )


def parse_entry(value: bytes) -> TensorEntry:
    """The entry in an encoded BundleEntryProto, with fields in any order; unknown ones are ignored.

    Raises:
        CorruptionError: not such a message, or an impossible shape or position.
        UnsupportedError: a data type that no checkpoint stores.
    """
    dtype = shard = offset = nbytes = stored = 0
    shape: list[bytes] = []  # protobuf joins a message that comes in parts
    slices: list[TensorSlice] = []
    for number, wire_type, field in fields(value):
        if wire_type != _ENTRY_WIRE_TYPES.get(number):
            continue  # unknown, also a known number of another wire type
        if isinstance(field, int):
            if number == 1:
                dtype = _int32(field)
            elif number == 3:
                shard = _int32(field)
            elif number == 4:
                offset = signed64(field)
            elif number == 5:
                nbytes = signed64(field)
            else:
                stored = field & _INT32_BITS
        elif number == 2:
            shape.append(field)
        else:
            slices.append(TensorSlice.parse(field))
    kind, dims = DType.from_number(dtype), parse_shape(b"".join(shape))
    if slices:
        return TensorEntry(kind, dims, math.prod(dims) * kind.itemsize, max(shard, 0), slices=tuple(slices))
    if shard < 0 or offset < 0 or nbytes < 0:
        raise CorruptionError(f"entry with a negative number: shard {shard}, offset {offset}, {nbytes} bytes")
    return TensorEntry(kind, dims, nbytes, shard, offset, unmask(stored))


@functools.lru_cache(maxsize=1024)  # a checkpoint has few distinct ones
def _encode_head(dtype: DType, shape: tuple[int, ...]) -> bytes:
    """The fields of a type and a shape."""
    dims = encode_shape(shape)
    return _varint_field(1, dtype.number) + b"\x12" + encode_varint(len(dims)) + dims


def encode_shape(shape: Iterable[int]) -> bytes:
    """The TensorShapeProto, as TensorFlow serializes it."""
    out = bytearray()
    for size in shape:
        dim = _varint_field(1, size)
        out += b"\x12" + encode_varint(len(dim)) + dim
    return bytes(out)


@functools.lru_cache(maxsize=1024)  # a checkpoint has few distinct ones
def parse_shape(message: bytes) -> tuple[int, ...]:
    """The shape in an encoded TensorShapeProto, in elements.

    Names of dimensions and `unknown_rank` are ignored (core/framework/tensor_shape.cc, `InitDims`).

    Raises:
        CorruptionError: not such a message, a negative dimension, or too many.
    """
    shape = []
    for number, _, dim in fields(message):
        if number == 2 and isinstance(dim, bytes):
            size = 0
            for part, wire_type, amount in fields(dim):
                if part == 1 and wire_type == VARINT and isinstance(amount, int):
                    size = signed64(amount)
            if size < 0:
                raise CorruptionError(f"dimension of {size} elements")
            shape.append(size)
    if len(shape) > MAX_RANK:
        raise CorruptionError(f"shape of {len(shape)} dimensions, at most {MAX_RANK}")
    return tuple(shape)


def _varint_field(number: int, value: int) -> bytes:
    return bytes([number << 3]) + encode_varint(value) if value else b""


def _packed(buf: bytes) -> list[int]:
    pos, out = 0, []
    while pos < len(buf):
        value, pos = read_varint(buf, pos)
        out.append(_int32(value))
    return out


def _int32(value: int) -> int:
    """The int32 that an unsigned varint encodes in protobuf."""
    value &= _INT32_BITS
    return value - 2**32 if value >= 2**31 else value
