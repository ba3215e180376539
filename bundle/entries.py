"""The values in the index of a bundle: its header, and an entry for each tensor.

The header is the value of the empty key, an entry the value of a tensor's key; both are protobuf messages
(TensorFlow core/protobuf/tensor_bundle.proto). They are decoded here by hand instead of with the protobuf library,
because a listing decodes one for every tensor. proto/checkpoint.proto has the same messages; a property test compares
the two.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tensorbundle.coding import (
    FIXED32,
    VARINT,
    encode_varint,
    fields,
    mask,
    read_varint,
    signed32,
    signed64,
    unmask,
    unmask_all,
)
from tensorbundle.dtypes import DType
from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.limits import MAX_RANK, MAX_SHARDS
from tensorbundle.slices import TensorSlice, readable_key
from tensorbundle.specs import Spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "HEADER_KEY",
    "VERSIONS",
    "BundleHeader",
    "Known",
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
_AT_ONCE: Final = 1000  # entries that are decoded before the first of them is used
_MOST_KNOWN: Final = 10_000
_SHIFTS: Final = tuple(range(7, 63, 7))  # of the bytes of a varint, after the first one


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
                num_shards = signed32(field) if number == 1 else num_shards
                endianness = signed32(field) if number == 2 else endianness
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
            producer = signed32(version) if number == 1 else producer
            min_consumer = signed32(version) if number == 2 else min_consumer
            bad += [signed32(version)] if number == 3 else []
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


class Known:
    """What was found in encoded entries that others repeat, for several calls of `parse_entries`.

    Attributes:
        specs: types and shapes, by the encoded fields of both.
        sizes: sizes in bytes, by the encoded field and the tag of the checksum, which follows it.
    """

    def __init__(self) -> None:
        self.specs: dict[bytes, Spec] = {}
        self.sizes: dict[bytes, int] = {}

    def note_head(self, head: bytes) -> None:
        """Note a type and a shape, from their encoded fields."""
        if len(self.specs) >= _MOST_KNOWN:
            self.specs.clear()
        self.specs[head] = parse_entry(head).spec

    def note_size(self, value: bytes, pos: int, nbytes: int) -> None:
        """Note the size in an encoded entry whose type and shape end at `pos`, if what follows is as TensorFlow writes it."""
        for tag in (0x18, 0x20):  # shard and offset
            if value[pos : pos + 1] == bytes((tag,)):
                _, pos = read_varint(value, pos + 1)
        size = value[pos:-4]
        if size[-1:] == b"\x35" and (len(size) == 1 or (size[0] == 0x28 and _is_varint(size[1:-1]))):
            if len(self.sizes) >= _MOST_KNOWN:
                self.sizes.clear()
            self.sizes[size] = nbytes


def parse_entries(
    keys: Sequence[bytes], values: Sequence[bytes], known: Known | None = None
) -> Iterator[tuple[Sequence[bytes], list[TensorEntry]]]:
    """Keys and the entries in their values, encoded BundleEntryProtos, some at a time; keys are passed on as they are.

    Raises:
        CorruptionError: an entry is not such a message, or has an impossible shape or position.
        UnsupportedError: a data type that no checkpoint stores.
    """
    known = Known() if known is None else known
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        found: list[tuple[Any, ...]] = []
        failed = None
        try:
            _parse_some(values[start : start + _AT_ONCE], known, found)
        except (CorruptionError, UnsupportedError) as error:
            failed = error.locate(key=readable_key(some[len(found)]))
        if found:
            yield some[: len(found)], list(map(tuple.__new__, itertools.repeat(TensorEntry), found))
        if failed is not None:
            raise failed from None


def _parse_some(values: Sequence[bytes], known: Known, found: list[tuple[Any, ...]]) -> None:
    """Add the fields of each encoded entry to `found`.

    This loop runs for every tensor of a listing, so the form that TensorFlow writes is decoded here, and any other form by
    the general parser. Type and shape come first, and a size last; both have few distinct values, so their bytes are
    looked up. Where a value ends early or has another field, what is looked up is not among those that are known.

    Raises:
        CorruptionError, UnsupportedError: as `parse_entries`; `found` has the entries before.
    """
    specs, sizes, add = known.specs, known.sizes, found.append
    checksums = unmask_all([each[-4:].rjust(4) for each in values])
    for value, crc in zip(values, checksums, strict=True):
        try:
            pos = 4 + value[3]
            dtype, shape = specs[value[:pos]]
            tag = value[pos]
            shard = offset = 0
            if tag == 0x18:
                shard = value[pos + 1]
                pos += 2
                if shard >= 0x80:
                    shard += (value[pos] << 7) - 0x80
                    pos += 1
                    if shard >> 14:
                        raise KeyError  # a number of three bytes or more
                tag = value[pos]
            if tag == 0x20:
                offset = value[pos + 1]
                pos += 2
                for shift in _SHIFTS:
                    if not offset >> shift:  # the high bit of the last byte is not set
                        break
                    offset += (value[pos] << shift) - (1 << shift)
                    pos += 1
                else:
                    if offset >> 63:
                        raise KeyError  # not an int64
            add((dtype, shape, sizes[value[pos:-4]], shard, offset, crc, ()))
        except (IndexError, KeyError):
            add(_parse_and_note(value, known))


def _parse_and_note(value: bytes, known: Known) -> TensorEntry:
    """The entry in a value, by the general parser; what others may repeat is noted."""
    head = value[: 4 + value[3]] if len(value) > 9 else value
    if not _is_head(head):
        return parse_entry(value)
    if head not in known.specs:
        known.note_head(head)
    entry = parse_entry(value)
    if not entry.slices:
        known.note_size(value, len(head), entry.nbytes)
    return entry


def _is_varint(buf: bytes) -> bool:
    """Whether these bytes are exactly one varint."""
    return len(buf) > 0 and buf[-1] < 0x80 and min(buf[:-1], default=0x80) >= 0x80


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
    return (_parse_short if len(value) < _SHORT_BYTES else _parse_long)(value)


def _parse(value: bytes) -> TensorEntry:
    dtype = shard = offset = nbytes = stored = 0
    shape: list[bytes] = []  # protobuf joins a message that comes in parts
    slices: list[TensorSlice] = []
    for number, wire_type, field in fields(value):
        if wire_type != _ENTRY_WIRE_TYPES.get(number):
            continue  # unknown, also a known number of another wire type
        if isinstance(field, int):
            if number == 1:
                dtype = signed32(field)
            elif number == 3:
                shard = signed32(field)
            elif number == 4:
                offset = signed64(field)
            elif number == 5:
                nbytes = signed64(field)
            else:
                stored = field
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


# Entries that list slices come here in every pass over an index, and again for each of the slices, whose owner is looked up.
_SHORT_BYTES: Final = 256
_parse_short: Final = functools.lru_cache(maxsize=1 << 13)(_parse)
_parse_long: Final = functools.lru_cache(maxsize=64)(_parse)


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
        out.append(signed32(value))
    return out
