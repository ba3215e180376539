"""The records of a V1 checkpoint: the list of its tensors, and the values of each slice.

A V1 checkpoint is a table (`table.py`) of SavedTensorSlices messages (TensorFlow core/util/saved_tensor_slice.proto).
The empty key has the meta record, which lists every tensor with its type, shape and slices. Every other key is the
slice key of one slice (`slices.py`), and its record contains the values as a TensorProto with only the list for its
type: floats unchanged, other numbers as varints, strings one by one (core/util/tensor_slice_writer.h,
core/framework/types.h `SaveTypeTraits`). An unsliced tensor is one slice whose extents have no lengths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from tensorbundle.arrays import np
from tensorbundle.coding import I32, I64, LEN, MAX_VARINT_BYTES, VARINT, encode_varint, fields
from tensorbundle.dtypes import DType
from tensorbundle.entries import VERSIONS, encode_shape, parse_shape, parse_versions
from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.slices import WHOLE, TensorSlice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tensorbundle.dtypes import Array

__all__ = [
    "WRITABLE",
    "SavedTensor",
    "decode_values",
    "encode_meta",
    "encode_slice",
    "is_fixed",
    "parse_meta",
    "parse_slice",
    "size_bound",
    "slice_parts",
]

_Kind = Literal["fixed", "varint", "bytes"]
# The field of TensorProto with the values of a type (core/framework/tensor.proto), and how they are encoded.
_VALUES: Final[dict[DType, tuple[int, _Kind]]] = {
    DType.float32: (5, "fixed"),
    DType.float64: (6, "fixed"),
    **dict.fromkeys(
        (
            *(DType.int32, DType.int16, DType.int8, DType.uint8, DType.uint16),
            *(DType.qint8, DType.quint8, DType.qint16, DType.quint16, DType.qint32),
        ),
        (7, "varint"),
    ),
    DType.string: (8, "bytes"),
    DType.complex64: (9, "fixed"),
    DType.int64: (10, "varint"),
    DType.bool: (11, "varint"),
    DType.complex128: (12, "fixed"),
    DType.float16: (13, "varint"),
    DType.bfloat16: (13, "varint"),
    DType.uint32: (16, "varint"),
    DType.uint64: (17, "varint"),
}
# TensorFlow's upper bound for the bytes of an element (core/util/tensor_slice_writer.cc, `MaxBytesPerElement`). It
# writes no other types.
_BOUNDS: Final = {
    DType.float32: 4,
    DType.float64: 8,
    DType.complex64: 8,
    DType.complex128: 16,
    DType.bool: 1,
    **dict.fromkeys((DType.int32, DType.int16, DType.int8, DType.int64, DType.qint8, DType.qint32), 10),
    DType.uint8: 2,
    DType.quint8: 2,
    DType.uint16: 3,
    DType.float16: 3,
    DType.string: 10,
}
WRITABLE: Final = frozenset(_BOUNDS)
_SLACK_BYTES: Final = 1024  # kTensorProtoHeaderBytes
_CHUNK: Final = 1 << 16  # varints, or bytes of varints, at a time: intermediate arrays stay small


class SavedTensor(NamedTuple):
    """The description of one tensor in the meta record (SavedSliceMeta).

    Attributes:
        name: the tensor's name.
        shape: elements along each dimension.
        dtype: the tensor's type.
        slices: the slices in the file, in the order saved; one without lengths is the whole tensor.
    """

    name: bytes
    shape: tuple[int, ...]
    dtype: DType
    slices: tuple[TensorSlice, ...]


def parse_meta(record: bytes) -> list[SavedTensor]:
    """The tensors that a meta record lists.

    Raises:
        CorruptionError: not a meta record.
        UnsupportedError: a type that no checkpoint stores, or a version that this reader does not know.
    """
    versions: list[bytes] = []
    tensors = []
    for number, wire_type, meta in fields(record):
        if number != 1 or wire_type != LEN or isinstance(meta, int):
            continue
        for part, _, value in fields(meta):
            if part == 1 and isinstance(value, bytes):
                tensors.append(_parse_tensor(value))
            elif part == 2 and isinstance(value, bytes):
                versions.append(value)
    parse_versions(b"".join(versions))  # protobuf joins a message that comes in parts
    return tensors


def _parse_tensor(message: bytes) -> SavedTensor:
    name = b""
    dtype = 0
    shape: list[bytes] = []
    slices: list[bytes] = []
    for number, wire_type, value in fields(message):
        if isinstance(value, int):
            if number == 3 and wire_type == VARINT:
                dtype = value
        elif number == 1:
            name = value
        elif number == 2:
            shape.append(value)
        elif number == 4:
            slices.append(value)
    try:
        parts = tuple(map(TensorSlice.parse, slices))
        for start, length in (extent for part in parts for extent in part.extents):
            # core/framework/tensor_slice.cc, BuildTensorSlice
            if length < 1 and (start, length) != (0, WHOLE):
                raise CorruptionError(f"slice that starts at {start} and has the length {length}")
        return SavedTensor(name, parse_shape(b"".join(shape)), DType.from_number(dtype), parts)
    except (CorruptionError, UnsupportedError) as error:
        raise error.locate(key=name.decode("utf-8", "surrogateescape")) from None


def encode_meta(tensors: Iterable[SavedTensor]) -> bytes:
    """The meta record of tensors, in the order given, as TensorFlow serializes it."""
    meta = bytearray()
    for each in tensors:
        message = _name(each.name) + _field(2, encode_shape(each.shape))
        message += b"\x18" + encode_varint(each.dtype.number)
        meta += _field(1, message + b"".join(_field(4, part.encode()) for part in each.slices))
    return _field(1, bytes(meta) + _field(2, VERSIONS))


def parse_slice(record: bytes | memoryview) -> tuple[bytes, TensorSlice, memoryview]:
    """The tensor's name, the slice, and the encoded TensorProto of a data record.

    Raises:
        CorruptionError: not a data record.
    """
    name = b""
    part: list[bytes] = []
    values: list[memoryview] = []
    for number, _, data in fields(memoryview(record)):
        if number != 2 or isinstance(data, int):
            continue
        for inner, _, value in fields(data):
            if isinstance(value, int):
                continue
            if inner == 1:
                name = bytes(value)
            elif inner == 2:
                part.append(bytes(value))
            elif inner == 3:
                values.append(value)
    joined = values[0] if len(values) == 1 else memoryview(b"".join(values))
    return name, TensorSlice.parse(b"".join(part)), joined


def encode_slice(name: bytes, part: TensorSlice, dtype: DType, values: Array) -> bytes:
    """The data record of a slice with these values, as TensorFlow serializes it.

    Raises:
        UnsupportedError: V1 has no such type.
    """
    return b"".join(slice_parts(name, part, dtype, values.size, [values])[1])


def slice_parts(
    name: bytes, part: TensorSlice, dtype: DType, elements: int, chunks: Iterable[Array]
) -> tuple[int, Iterator[bytes | memoryview]]:
    """The data record of a slice, as `encode_slice`: its size, and its bytes in parts.

    Args:
        name: the tensor's name.
        part: the slice.
        dtype: its type.
        elements: how many values there are.
        chunks: the values in C order, in arrays that are encoded one by one. Of types that are encoded as varints or as
            strings they are gone through twice, as only the values say what size they have.

    Raises:
        UnsupportedError: V1 has no such type.
    """
    number, kind = _field_of(dtype)
    flat = (np.ascontiguousarray(each, dtype.numpy).reshape(-1) for each in chunks)
    if kind == "fixed":
        size = elements * dtype.itemsize
    elif kind == "varint":
        size = sum(int(sizes.sum()) for each in flat for _, sizes in _varints(each, dtype))
    else:
        size = sum(len(_field(number, each)) for values in flat for each in values.tolist())
    packed = _tag(number) + encode_varint(size) if elements and kind != "bytes" else b""
    size += len(packed)
    head = _name(name) + _field(2, part.encode()) + _tag(3) + encode_varint(size)
    head = _tag(2) + encode_varint(len(head) + size) + head + packed

    def parts() -> Iterator[bytes | memoryview]:
        yield head
        for each in chunks:
            values = np.ascontiguousarray(each, dtype.numpy).reshape(-1)
            if kind == "fixed":
                yield values.view(np.uint8).data
            elif kind == "varint":
                yield from _pack_varints(values, dtype)
            else:
                yield from (_field(number, value) for value in values.tolist())

    return len(head) - len(packed) + size, parts()


def is_fixed(dtype: DType) -> bool:
    """Whether values of a type are encoded as they are in memory."""
    return dtype in _VALUES and _VALUES[dtype][1] == "fixed"


def size_bound(name: bytes, part: TensorSlice, dtype: DType, elements: int, string_bytes: int = 0) -> int:
    """TensorFlow's upper bound for the size of a record; it refuses records whose bound exceeds 2 GiB."""
    head = len(_name(name)) + len(_field(2, part.encode()))
    return head + _SLACK_BYTES + elements * _BOUNDS[dtype] + string_bytes


def decode_values(message: memoryview, dtype: DType, elements: int) -> Array:
    """The values in an encoded TensorProto as a flat array; there must be as many as the slice has elements.

    Raises:
        CorruptionError: there are more or fewer, or it is not such a message.
        UnsupportedError: V1 has no such type.
    """
    number, kind = _field_of(dtype)
    if kind == "bytes":
        found = [
            bytes(value)
            for field, _, value in fields(message)
            if field == number and not isinstance(value, int)
        ]
        _must_be(len(found), elements)
        strings = np.empty(len(found), object)
        strings[:] = found
        return strings
    packed = _packed(message, number, 0 if kind == "varint" else dtype.swap_width)
    if kind == "varint":
        return _unpack_varints(np.frombuffer(packed, np.uint8), dtype, elements)
    count, rest = divmod(len(packed), dtype.itemsize)
    if rest:
        raise CorruptionError(f"{len(packed)} bytes of values of {dtype.itemsize} bytes each")
    _must_be(count, elements)
    return np.frombuffer(packed, dtype.numpy)


def _field_of(dtype: DType) -> tuple[int, _Kind]:
    if dtype not in _VALUES:
        raise UnsupportedError(f"the V1 format has no values of type {dtype}")
    return _VALUES[dtype]


def _must_be(count: int, elements: int) -> None:
    if count != elements:
        raise CorruptionError(f"{count} values stored, the slice has {elements} elements")


def _tag(number: int) -> bytes:
    return encode_varint(number << 3 | LEN)


def _field(number: int, value: bytes) -> bytes:
    return _tag(number) + encode_varint(len(value)) + value


def _name(name: bytes) -> bytes:
    return _field(1, name) if name else b""


def _packed(message: memoryview, number: int, width: int) -> memoryview | bytearray:
    """The numbers in a repeated field as one packed list: varints, or floats of `width` bytes.

    Usually they are stored as one list, which is not copied. There may also be several lists, or single numbers.

    Raises:
        CorruptionError: a number is cut short.
    """
    alone = {0: VARINT, 4: I32, 8: I64}[width]
    run: memoryview | bytearray = memoryview(b"")
    for field, wire_type, value in fields(message):
        if field != number or wire_type not in (LEN, alone):
            continue
        if isinstance(value, int):
            more: bytes | memoryview = value.to_bytes(width, "little") if width else encode_varint(value)
        else:
            more = value
            if len(more) % width if width else more and more[-1] >= 0x80:
                raise CorruptionError("the last value of a list is cut short")
        if not run and isinstance(more, memoryview):
            run = more
            continue
        if not isinstance(run, bytearray):
            run = bytearray(run)
        run += more
    return run


def _as_unsigned(values: Array, dtype: DType) -> Array:
    """Numbers as unsigned integers for varints: negative ones in 64-bit two's complement, float16 by its bits."""
    if dtype in (DType.float16, DType.bfloat16):
        return values.view(np.uint16).astype(np.uint64)
    return values.astype(np.int64).view(np.uint64) if values.dtype.kind == "i" else values.astype(np.uint64)


def _as_type(values: Array, dtype: DType) -> Array:
    """The numbers that varints encode; like TensorFlow, drops bits that the type does not have."""
    if dtype is DType.bool:
        return np.not_equal(values, 0)
    if dtype in (DType.float16, DType.bfloat16):
        return values.astype(np.uint16).view(dtype.numpy)
    return values.astype(dtype.numpy)


def _varints(values: Array, dtype: DType) -> Iterator[tuple[Array, Array]]:
    """Numbers as `_as_unsigned` gives them, some at a time, and the bytes that each takes."""
    for start in range(0, values.size, _CHUNK):
        chunk = _as_unsigned(values[start : start + _CHUNK], dtype)
        sizes = np.ones(chunk.size, np.int8)
        for bits in range(7, 64, 7):
            sizes += chunk >= np.uint64(1 << bits)
        yield chunk, sizes


def _pack_varints(values: Array, dtype: DType) -> Iterator[bytes]:
    for chunk, sizes in _varints(values, dtype):
        widest = int(sizes.max())
        groups = np.empty((chunk.size, widest), np.uint8)  # a row for each varint, as wide as the widest
        for place in range(widest):
            groups[:, place] = (chunk >> np.uint64(7 * place)).astype(np.uint8)
        groups |= 0x80
        groups[np.arange(chunk.size), sizes - 1] &= 0x7F
        yield groups[np.arange(widest) < sizes[:, np.newaxis]].tobytes()


def _unpack_varints(raw: Array, dtype: DType, elements: int) -> Array:
    """The values of consecutive varints, the last of which is complete.

    Raises:
        CorruptionError: there are more or fewer, or one is wider than 64 bits.
    """
    starts = range(0, raw.size, _CHUNK)
    _must_be(sum(int(np.count_nonzero(raw[at : at + _CHUNK] < 0x80)) for at in starts), elements)
    out = np.empty(elements, dtype.numpy)
    bits = (
        64 if dtype is DType.bool else 8 * dtype.itemsize
    )  # significant ones of a varint; the others repeat the sign
    done = start = 0
    while start < raw.size:
        window = raw[start : start + _CHUNK]
        stops = np.flatnonzero(window < 0x80) + 1
        if not stops.size:
            raise CorruptionError("varint wider than 64 bits")
        out[done : done + stops.size] = _as_type(_values_of(window, stops, bits), dtype)
        done += stops.size
        start += int(stops[-1])
    return out


def _values_of(raw: Array, stops: Array, bits: int) -> Array:
    """The unsigned values of varints that end before these positions, at least their low bits."""
    if stops.size == stops[-1]:
        return raw[: stops.size].astype(np.uint64)
    sizes = np.diff(stops, prepend=0)
    widest = int(sizes.max())
    if widest > MAX_VARINT_BYTES:
        raise CorruptionError("varint wider than 64 bits")
    starts = stops - sizes
    out = np.zeros(stops.size, np.uint64)
    for place in range(min(widest, -(-bits // 7))):
        there = sizes > place
        low = (raw[starts[there] + place] & np.uint8(0x7F)).astype(np.uint64)
        out[there] |= low << np.uint64(7 * place)
    return out
