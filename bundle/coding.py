"""The smallest pieces of the format: varints, masked checksums, protobuf fields, ordered code.

Layouts:

- A varint stores 7 bits in each byte, the least significant first; the high bit is set in every byte but the last
  (LevelDB util/coding.cc).
- A stored checksum is a CRC-32C, rotated right by 15 bits, plus a constant (LevelDB util/crc32c.h, `Mask`).
- A protobuf message is a sequence of fields: a varint tag (number << 3 | wire type), then a varint, 8 bytes, a varint
  length and that many bytes, or 4 bytes.
- Ordered code (TensorFlow core/lib/strings/ordered_code.cc) encodes values so that the bytes sort like the values.
  Only the keys of tensor slices use it.

Functions convert between buffers and values, and touch no files. Positions and sizes are in bytes.
"""

from __future__ import annotations

import functools
import importlib
import re
import struct
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from tensorbundle.errors import CorruptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "FIXED32",
    "FIXED64",
    "MASK_DELTA",
    "ONE_BYTE",
    "combine_crc32c",
    "crc32c",
    "crc32c_of_zeros",
    "encode_ordered_int",
    "encode_ordered_string",
    "encode_ordered_uint",
    "encode_varint",
    "fields",
    "find_flipped_bit",
    "find_lost",
    "mask",
    "read_field",
    "read_ordered_int",
    "read_ordered_string",
    "read_ordered_uint",
    "read_varint",
    "read_varints",
    "signed32",
    "signed64",
    "unmask",
    "unmask_all",
]

FIXED32: Final = struct.Struct("<I")
FIXED64: Final = struct.Struct("<Q")
MAX_VARINT_BYTES: Final = 10
UINT64_MASK: Final = 2**64 - 1
_UINT32_MASK: Final = 2**32 - 1
MASK_DELTA: Final = 0xA282EAD8

_ESCAPE: Final = rb"\0\xff|\xff\0"

_POLYNOMIAL: Final = 0x82F63B78  # Castagnoli, bit-reflected
_STEPS: Final = 4096  # powers of x between those that `find_flipped_bit` compares

_RUN: Final = 256  # varints of one byte that are read at once
ONE_BYTE: Final = tuple(bytes([value]) for value in range(0x80))  # most varints
VARINT, I64, LEN, GROUP, END_OF_GROUP, I32 = range(6)  # protobuf wire types
MAX_NESTED_GROUPS: Final = 100  # as in protobuf

_Bytes = TypeVar("_Bytes", bytes, memoryview)


def _crc32c_function() -> Callable[..., int]:
    """The function of the package `crc32c`, imported from its extension module.

    Importing the package itself looks up its version in the metadata of installed packages, which takes longer than a
    listing.
    """
    package = PathFinder.find_spec("crc32c")
    spec = PathFinder.find_spec("_crc32c", None if package is None else package.submodule_search_locations)
    module = None if spec is None or spec.loader is None else spec.loader.create_module(spec)
    if module is None or spec is None or spec.loader is None:  # installed in another way
        module = importlib.import_module("crc32c")
    else:
        spec.loader.exec_module(module)
    function: Callable[..., int] = module.crc32c
    return function


crc32c: Final = _crc32c_function()


def mask(crc: int) -> int:
    """The stored form of a CRC-32C."""
    return (((crc >> 15) | (crc << 17)) + MASK_DELTA) & _UINT32_MASK


def unmask(stored: int) -> int:
    """The CRC-32C behind its stored form."""
    rotated = (stored - MASK_DELTA) & _UINT32_MASK
    return ((rotated >> 17) | (rotated << 15)) & _UINT32_MASK


def unmask_all(stored: Sequence[bytes]) -> tuple[int, ...]:
    """The CRC-32Cs behind stored forms, each of them 4 bytes, little-endian.

    All are computed at once, as parts of 64 bits of one integer: no step carries into the next part.
    """
    count = len(stored)
    parts = int.from_bytes(b"\0\0\0\0".join(stored), "little")
    ones = int.from_bytes(b"\1\0\0\0\0\0\0\0" * count, "little")
    masks = ones * _UINT32_MASK
    rotated = parts + ones * (_UINT32_MASK + 1 - MASK_DELTA) & masks
    found = (rotated >> 17 | rotated << 15) & masks
    return struct.unpack(f"<{count}Q", found.to_bytes(8 * count, "little"))


def combine_crc32c(first: int, second: int, size: int) -> int:
    """The CRC-32C of two byte strings joined, from their CRC-32Cs; `size` is the length of the second.

    Appending a byte multiplies the checksum by x**8 modulo the polynomial, so `first` is multiplied by x**(8 * size).
    """
    return _multiply_modulo(_shift(size), first) ^ second


def crc32c_of_zeros(size: int) -> int:
    """The CRC-32C of `size` zero bytes."""
    return _multiply_modulo(_shift(size), _UINT32_MASK) ^ _UINT32_MASK


def find_flipped_bit(difference: int, size: int) -> tuple[int, int] | None:
    """The byte and the bit (0 is the lowest) that, flipped in `size` bytes, changes their CRC-32C so; None if there is none.

    A bit that is k bits before the end changes the checksum by x**(32 + k). The k is found in steps of 4096.
    """
    known, back = _powers()
    for large in range(0, 8 * size, _STEPS):
        if difference in known:
            k = large + known[difference]
            if k < 8 * size:
                return size - 1 - k // 8, 7 - k % 8
        difference = _multiply_modulo(back, difference)
    return None


def find_lost(
    data: bytes, places: Sequence[int], byte: bytes, count: Literal[1, 2], expected: int
) -> tuple[int, ...] | None:
    """The places where `byte`, inserted once or twice, gives the data the CRC-32C `expected`; None if there are none.

    Args:
        data: the bytes.
        places: where `byte` may be inserted, in ascending order.
        byte: the byte.
        count: how often.
        expected: the CRC-32C of the data with it.

    A byte inserted at i of n changes the checksum of the first i bytes by d, and the one of all by d * x**(8 * (n - i)); a
    byte at a later place j multiplies that by x**8, and adds what it changes alone.
    """
    view, crc, done = memoryview(data), 0, 0
    changes = []
    for place in places:
        crc, done = crc32c(view[done:place], crc), place
        changes.append(crc ^ crc32c(byte, crc))
    difference = crc32c(view[done:], crc) ^ expected
    alone: dict[int, int] = {}  # the change by one byte to its place
    factor, end = 1 << 31, len(data)  # x**0
    for place, change in zip(reversed(places), reversed(changes), strict=True):
        factor, end = _multiply_modulo(factor, _shift(end - place)), place
        alone[_multiply_modulo(factor, change)] = place
    if count == 1:
        return (alone[difference],) if difference in alone else None
    for change, place in alone.items():
        later = alone.get(difference ^ _multiply_modulo(_shift(1), change), -1)
        if later > place:
            return place, later
    return None


@functools.cache
def _powers() -> tuple[dict[int, int], int]:
    """The k of x**(32 + k), up to 4096; and x**-4096, each modulo the polynomial, bit-reflected."""
    known = {}
    power = _POLYNOMIAL  # x**32
    for k in range(_STEPS):
        known[power] = k
        power = power >> 1 ^ (_POLYNOMIAL if power & 1 else 0)
    back = 1 << 31  # x**0
    for _ in range(_STEPS):
        back = (back ^ _POLYNOMIAL) << 1 & _UINT32_MASK | 1 if back >> 31 else back << 1
    return known, back


@functools.lru_cache(maxsize=256)
def _shift(size: int) -> int:
    """x**(8 * size) modulo the polynomial, bit-reflected."""
    factor, power = 1 << 31, 1 << 23  # x**0 and x**8
    while size:
        if size & 1:
            factor = _multiply_modulo(factor, power)
        power = _multiply_modulo(power, power)
        size >>= 1
    return factor


def _multiply_modulo(a: int, b: int) -> int:
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


def encode_varint(value: int) -> bytes:
    """`value` as a varint; negative values in 64-bit two's complement, as protobuf encodes int32 and int64."""
    if 0 <= value < 0x80:
        return ONE_BYTE[value]
    if 0 <= value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    value &= UINT64_MASK
    out = []
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(buf: bytes | memoryview, pos: int, limit: int | None = None) -> tuple[int, int]:
    """The unsigned value of the varint at `pos`, and the position just past it.

    Raises:
        CorruptionError: the varint runs past `limit` (the buffer's end by default) or is wider than 64 bits.
    """
    end = len(buf) if limit is None else limit
    value = shift = 0
    start = pos
    while pos < end:
        byte = buf[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > UINT64_MASK:
                break
            return value, pos
        shift += 7
        if shift >= 7 * MAX_VARINT_BYTES:
            break
    else:
        raise CorruptionError(f"varint cut short after {end - start} bytes", offset=start)
    raise CorruptionError("varint wider than 64 bits", offset=start)


def read_varints(buf: bytes | memoryview, pos: int, count: int) -> tuple[list[int], int]:
    """The unsigned values of up to `count` varints from `pos` on, and the position just past them.

    They are fewer if the buffer ends before the last one does. Runs of values below 128, as most are, cost little.

    Raises:
        CorruptionError: a varint is wider than 64 bits.
    """
    values: list[int] = []
    end = len(buf)
    while len(values) < count and pos < end:
        run = bytes(buf[pos : pos + min(count - len(values), _RUN)])
        if run.isascii():
            values += run
            pos += len(run)
            continue
        stop = pos + len(run)
        while pos < stop and len(values) < count:
            if end - pos < MAX_VARINT_BYTES and all(byte > 0x7F for byte in buf[pos:]):
                return values, pos
            value, pos = read_varint(buf, pos)
            values.append(value)
    return values, pos


def signed64(value: int) -> int:
    """The int64 that an unsigned varint encodes in protobuf."""
    return value - 2**64 if value >= 2**63 else value


def signed32(value: int) -> int:
    """The int32 that an unsigned varint encodes in protobuf."""
    value &= _UINT32_MASK
    return value - 2**32 if value >= 2**31 else value


def fields(buf: _Bytes, pos: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int | _Bytes]]:
    """The fields of a protobuf message in `buf[pos:end]`: number, wire type, and an unsigned int or the bytes.

    If `buf` is a memoryview, the bytes are memoryviews of it, and nothing is copied. Groups, of which no message here has
    any, are left out.

    Raises:
        CorruptionError: not a protobuf message.
    """
    limit = len(buf) if end is None else end
    while pos < limit:
        number, wire_type, value, pos = read_field(buf, pos, limit)
        if wire_type != GROUP:
            yield number, wire_type, value


def read_field(buf: _Bytes, pos: int, limit: int) -> tuple[int, int, int | _Bytes, int]:
    """The field of a protobuf message at `pos`: number, wire type, and an unsigned int or the bytes; and the position past it.

    The value of a group, a kind of field from before protobuf 3, is 0. Nothing is read from `limit` on.

    Raises:
        CorruptionError: not a protobuf message.
    """
    start = pos
    tag, pos = read_varint(buf, pos, limit)
    number, wire_type = tag >> 3, tag & 7
    if number == 0 or number >= 2**29:
        raise CorruptionError(f"protobuf field number {number}", offset=start)
    if wire_type == VARINT:
        value, pos = read_varint(buf, pos, limit)
        return number, wire_type, value, pos
    if wire_type == LEN:
        size, pos = read_varint(buf, pos, limit)
        if size > limit - pos:
            raise CorruptionError(
                f"protobuf field {number} claims {size} bytes of {limit - pos}", offset=start
            )
        return number, wire_type, buf[pos : pos + size], pos + size
    if wire_type in (I32, I64):
        size = 4 if wire_type == I32 else 8
        if size > limit - pos:
            raise CorruptionError(f"protobuf field {number} is cut short", offset=start)
        return number, wire_type, int.from_bytes(buf[pos : pos + size], "little"), pos + size
    if wire_type == GROUP:
        return number, wire_type, 0, _end_of_group(buf, pos, limit, number)
    raise CorruptionError(f"protobuf field {number} has wire type {wire_type}", offset=start)


def _end_of_group(buf: _Bytes, pos: int, limit: int, number: int) -> int:
    """The position past the end of a group whose content begins at `pos`."""
    start = pos
    numbers = [number]
    while numbers:
        tag, after = read_varint(buf, pos, limit)
        if tag & 7 == GROUP and tag >> 3 and len(numbers) < MAX_NESTED_GROUPS:
            numbers.append(tag >> 3)
            pos = after
        elif tag == numbers[-1] << 3 | END_OF_GROUP:
            del numbers[-1]
            pos = after
        elif tag & 7 in (GROUP, END_OF_GROUP):
            raise CorruptionError(f"protobuf field {number} is a group without its end", offset=start)
        else:
            *_, pos = read_field(buf, pos, limit)
    return pos


def encode_ordered_uint(value: int) -> bytes:
    """An unsigned number: one byte with the number of significant bytes, then these bytes, big-endian."""
    size = (value.bit_length() + 7) // 8
    return bytes([size]) + value.to_bytes(size, "big")


def read_ordered_uint(buf: bytes, pos: int) -> tuple[int, int]:
    """The unsigned number at `pos`, and the position just past it.

    Raises:
        CorruptionError: cut short, wider than 64 bits, or not in its shortest form.
    """
    size = buf[pos] if pos < len(buf) else 255
    end = pos + 1 + size
    if size > 8 or end > len(buf) or (size and buf[pos + 1] == 0):
        raise CorruptionError("not an ordered-code number", offset=pos)
    return int.from_bytes(buf[pos + 1 : end], "big"), end


def encode_ordered_string(value: bytes) -> bytes:
    """A byte string: 00 becomes 00 ff, ff becomes ff 00, and 00 01 ends it."""
    return b"\xff\0".join(part.replace(b"\0", b"\0\xff") for part in value.split(b"\xff")) + b"\0\x01"


def read_ordered_string(buf: bytes, pos: int) -> tuple[bytes, int]:
    """The byte string at `pos`, and the position just past its end mark.

    Raises:
        CorruptionError: no end mark, or an escape that ordered code does not have.
    """
    found = _ordered_string().match(buf, pos)
    if found is None:
        raise CorruptionError("not an ordered-code string", offset=pos)
    return re.sub(_ESCAPE, lambda escape: escape[0][:1], found[1]), found.end()


@functools.cache  # most runs read no slices
def _ordered_string() -> re.Pattern[bytes]:
    return re.compile(rb"((?:[^\0\xff]++|\0\xff|\xff\0)*+)\0\x01", re.DOTALL)


@functools.lru_cache(
    maxsize=1 << 14
)  # slices of one tensor have few lengths, and starts that are encoded several times
def encode_ordered_int(value: int) -> bytes:
    """A signed number in 1 to 10 bytes, whose first bits give the length, as in UTF-8."""
    magnitude = value if value >= 0 else ~value
    size = magnitude.bit_length() // 7 + 1
    raw = (value & (1 << 8 * size) - 1) ^ _ordered_int_header(size)
    return raw.to_bytes(size, "big")


def read_ordered_int(buf: bytes, pos: int) -> tuple[int, int]:
    """The signed number at `pos`, and the position just past it.

    Raises:
        CorruptionError: cut short, wider than 64 bits, or not in its shortest form.
    """
    head = int.from_bytes(buf[pos : pos + 2].ljust(2, b"\0"), "big")
    negative = head < 0x8000
    size = 16 - (head if negative else head ^ 0xFFFF).bit_length()  # leading equal bits
    end = pos + size
    if size <= MAX_VARINT_BYTES and end <= len(buf):
        value = int.from_bytes(buf[pos:end], "big") ^ _ordered_int_header(size)
        value -= (1 << 8 * size) if negative else 0
        if -(2**63) <= value < 2**63 and encode_ordered_int(value) == buf[pos:end]:
            return value, end
    raise CorruptionError("not an ordered-code signed number", offset=pos)


def _ordered_int_header(size: int) -> int:
    """The mask that the number is XORed with: `size` leading one bits, in the first two of its `size` bytes."""
    if size == 1:
        return 0x80
    return ((0xFFFF << 16 - size) & 0xFFFF) << 8 * (size - 2)
