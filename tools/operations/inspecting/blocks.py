"""Finds the data blocks of a table whose end, which says where they are, is lost or damaged.

A block is recognized by its restart array and its checksum, which are in the places that its entries lead to. The start
of a block is known for the first one and after each block that was found. After damage, every place with a possible
first entry is tried, in time proportional to the size of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, overload

from tensorbundle.block import DATA_RESTART_INTERVAL, iterate
from tensorbundle.coding import UINT64_MASK, crc32c, find_flipped_bit, mask, read_varint, unmask
from tensorbundle.errors import CorruptionError
from tensorbundle.limits import MAX_KEY_RATIO, MAX_RECORD_BYTES, MAX_SNAPPY_RATIO
from tensorbundle.table import SNAPPY, TRAILER_BYTES, UNCOMPRESSED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.storage.protocols import RandomAccessFile

__all__ = ["METAINDEX", "FileBytes", "FoundBlock", "find_blocks", "is_sound", "loose_entries", "mended_block"]

# The metaindex block with its trailer: always empty, and after all data blocks.
METAINDEX: Final = b"\0\0\0\0\1\0\0\0\0\xc0\xf2\xa1\xb0"
_METAINDEX: Final = re.compile(re.escape(METAINDEX))
_STEPS_PER_BYTE: Final = 1  # entries, and elements of compressed blocks, that are tried for each byte
_BYTES_PER_STEP: Final = 1024  # of a checksum, which take as long as one entry
_LONGEST: Final = MAX_RECORD_BYTES + (1 << 20)  # bytes of a block, with one large value
_PAGE_BYTES: Final = 1 << 20
_VARINT_BYTES: Final = 10
_ENTRY_HEAD_BYTES: Final = 3 * _VARINT_BYTES
_FIRST_RESTART: Final = b"\0\0\0\0"  # of any block
# The first entry of a block shares no bytes with an earlier key. Only the first key of a file is empty.
_START: Final = re.compile(rb"\0[^\0]")
_MOST_LOOSE_BYTES: Final = 1 << 22  # of a damaged block that is decompressed: of which there is no end
_MOST_TRIES: Final = 20_000  # of places in a damaged block where entries may continue
# What the entry of a tensor begins with: its type, and its shape (core/protobuf/tensor_bundle.proto).
_TENSOR: Final = re.compile(rb"\x08[\x01-\x7f]\x12", re.DOTALL)
_SEARCHED_BYTES: Final = 4096  # at a time
_START_BYTES: Final = 16  # that are matched
_COMPRESSED_HEAD: Final = (
    7  # bytes of a compressed block, at most, before the first one of its contents, which is 0
)
# What is before the bytes of a literal of a compressed block: its length is in the tag, or in 1 to 4 bytes after it.
_LITERAL: Final = re.compile(
    rb"(?:[%b]|\xf0.|\xf4..|\xf8...|\xfc....)\Z" % re.escape(bytes(range(0, 0xF0, 4))), re.DOTALL
)


@dataclass(frozen=True, slots=True)
class FoundBlock:
    """A block whose checksum is right.

    Attributes:
        offset: bytes from the start of the file.
        size: bytes, without its trailer.
        items: its keys and values.
    """

    offset: int
    size: int
    items: list[tuple[bytes, bytes]] = field(repr=False)


class FileBytes:
    """The bytes of a file, by position and by slice; of all of them, one page is in memory."""

    def __init__(self, file: RandomAccessFile) -> None:
        self._file, self._size = file, file.size
        self._start, self._page = 0, b""

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> bytes: ...
    def __getitem__(self, place: int | slice) -> int | bytes:
        if isinstance(place, slice):
            start, stop, _ = place.indices(self._size)
            size = max(0, stop - start)
        else:
            start, size = place, 1
            if not 0 <= start < self._size:
                raise IndexError(place)
        at = start - self._start
        if not 0 <= at <= at + size <= len(self._page):
            if size > _PAGE_BYTES:
                return self._file.read(start, size)
            self._start, at = start, 0
            self._page = self._file.read(start, min(_PAGE_BYTES, self._size - start))
        return self._page[at : at + size] if isinstance(place, slice) else self._page[at]


def find_blocks(
    data: bytes | FileBytes, first: re.Pattern[bytes] = _START, value: bytes = b""
) -> Iterator[FoundBlock]:
    """The data blocks in the bytes of a table, from its start on.

    Args:
        data: the bytes.
        first: matches what a block after damage begins with.
        value: what the value of its first entry begins with.
    """
    budget, elements = [_STEPS_PER_BYTE * len(data) + 1000], [_STEPS_PER_BYTE * len(data) + 1000]
    at = end = 0
    while 0 <= at < len(data) and budget[0] > 0:
        block = _block_at(data, at, budget) if at == end or _has_value(data, at, value) else None
        if block is None and at == end:
            block = _compressed_at(data, at, None, elements)
        elif block is None and _LITERAL.search(head := data[max(end, at - _COMPRESSED_HEAD) : at]):
            starts = range(at - len(head), at)
            tried = (_compressed_at(data, start, at, elements) for start in starts)
            block = next(filter(None, tried), None)
        if block is not None:
            if not block.items:
                return
            yield block
            at = end = block.offset + block.size + TRAILER_BYTES
        else:
            following = _after_damaged(data, at, budget) if at == end else None
            at = _next_start(data, at + 1, first) if following is None else following


def _has_value(data: bytes | FileBytes, start: int, value: bytes) -> bool:
    """Whether the value of the entry that may begin here begins so."""
    sizes = _sizes(data[start : start + _ENTRY_HEAD_BYTES])
    if sizes is None:
        return False
    _, unshared, _, used = sizes
    at = start + used + unshared
    return data[at : at + len(value)] == value


def _after_damaged(data: bytes | FileBytes, start: int, budget: list[int]) -> int | None:
    """The start of the sound block after the damaged one that begins here, if the damage is in its values; otherwise None."""
    for end in _ends(data, start, budget):
        following = end + TRAILER_BYTES
        if _block_at(data, following, budget) is not None:
            return following
    return None


def _next_start(data: bytes | FileBytes, at: int, first: re.Pattern[bytes], end: int | None = None) -> int:
    """The next place where a block may start, from a place on, up to an end; -1 if there is none."""
    end = len(data) if end is None else end
    for start in range(at, end, _SEARCHED_BYTES):
        found = first.search(data[start : min(start + _SEARCHED_BYTES, end) + _START_BYTES])
        if found is not None:
            return start + found.start()
    return -1


def is_sound(data: bytes | FileBytes, start: int, end: int) -> bool:
    """Whether the bytes of a block, with that of its compression, have the checksum that follows them."""
    crc = 0
    for at in range(start, end, _PAGE_BYTES):
        crc = crc32c(data[at : min(end, at + _PAGE_BYTES)], crc)
    return crc == unmask(_number(data, end))


def _number(data: bytes | FileBytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _block_at(data: bytes | FileBytes, start: int, budget: list[int]) -> FoundBlock | None:
    """The block that begins here, or None if none does."""
    for end in _ends(data, start, budget):
        budget[0] -= (end - start) // _BYTES_PER_STEP
        if is_sound(data, start, end + 1):
            try:
                return FoundBlock(start, end - start, iterate(data[start:end]))
            except CorruptionError:
                return None
    return None


def _ends(data: bytes | FileBytes, start: int, budget: list[int]) -> Iterator[int]:
    """Where a block that begins here may end, before its trailer, as its entries and its restart array say."""
    count = 0
    pos = start
    key_size = 0
    while pos < len(data) and pos - start < _LONGEST and budget[0] > 0:
        budget[0] -= 1
        head = data[pos : pos + _ENTRY_HEAD_BYTES]
        if head.startswith(_FIRST_RESTART):
            for restarts in {max(1, -(-count // DATA_RESTART_INTERVAL)), max(1, count)}:
                end = pos + 4 * restarts + 4
                if end + TRAILER_BYTES > len(data) or _number(data, end - 4) != restarts:
                    continue
                if data[end] == UNCOMPRESSED:
                    yield end
        sizes = _sizes(head)
        if sizes is None:
            return
        shared, unshared, size, used = sizes
        # Keys ascend; only the first of a file is empty. Each restart, at least every 16th entry, shares nothing.
        if shared > key_size or not (unshared or not pos) or (shared and not count % DATA_RESTART_INTERVAL):
            return
        key_size = shared + unshared
        pos += used + unshared + size
        count += 1


def _compressed_at(
    data: bytes | FileBytes, start: int, contents: int | None, budget: list[int]
) -> FoundBlock | None:
    """The block compressed with snappy that begins here, or None if none does: its elements tell where it ends.

    If it is known where its contents begin, its first element must be of bytes from there on.

    The elements are those of google/snappy format_description.txt: literals, and copies of earlier bytes.
    """
    try:
        size, at = read_varint(data[start : start + _VARINT_BYTES], 0)
    except CorruptionError:
        return None
    made, pos = 0, start + at
    budget[0] -= 1
    while made < size <= _LONGEST and pos < len(data) and budget[0] > 0:
        budget[0] -= 1
        tag = data[pos]
        kind, length = tag & 3, tag >> 2
        if kind == 0:
            extra = max(0, length - 59)
            length = 1 + (int.from_bytes(data[pos + 1 : pos + 1 + extra], "little") if extra else length)
            if not made and contents not in (None, pos + 1 + extra):
                return None
            pos += 1 + extra + length
        elif not made:
            return None  # there are no earlier bytes
        elif kind == 1:
            length = (length & 7) + 4
            pos += 2
        else:
            length += 1
            pos += 3 if kind == 2 else 5
        made += length
    if made != size or pos + TRAILER_BYTES > len(data) or data[pos] != SNAPPY:
        return None
    if size > MAX_SNAPPY_RATIO * (pos - start):
        return None
    budget[0] -= (pos - start) // _BYTES_PER_STEP
    if not is_sound(data, start, pos + 1):
        return None
    import cramjam  # for the few indexes that are compressed

    try:
        items = iterate(bytes(cramjam.snappy.decompress_raw(data[start:pos])))
    except (CorruptionError, cramjam.DecompressionError):
        return None
    return FoundBlock(start, pos - start, items)


def _sizes(head: bytes) -> tuple[int, int, int, int] | None:
    """What the first bytes of an entry say: bytes shared with the key before, other bytes of its key, bytes of its value.

    The last number is how many bytes say so. None if they are no entry's.
    """
    if len(head) > 3 and head[0] < 0x80 and head[1] < 0x80 and head[2] < 0x80:  # nearly always
        return head[0], head[1], head[2], 3
    sizes: list[int] = []
    value = shift = 0
    for used, byte in enumerate(head, 1):  # as `read_varint`, which would be called very often
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte > 0x7F:
            continue
        if value > UINT64_MASK:
            return None
        sizes.append(value)
        if len(sizes) == 3:
            return sizes[0], sizes[1], sizes[2], used
        value = shift = 0
    return None


def mended_block(data: bytes | FileBytes, start: int, end: int) -> tuple[FoundBlock, int, int] | None:
    """The block between two places that one flipped bit damaged, as it was before; and the place and the number of the bit.

    None if flipping no bit, also of the checksum, makes a block of these bytes. If they are the last of the table's, the end
    of the table may follow, whole or cut.
    """
    for size in _sizes_of_block(data, start, end):
        stored = bytearray(data[start : start + size + TRAILER_BYTES])
        found = _flipped_bit(stored)
        if found is None:
            continue
        stored[found[0]] ^= 1 << found[1]
        block = next(find_blocks(bytes(stored)), None)
        if block is not None and (block.offset, block.size) == (0, size):
            return FoundBlock(start, size, block.items), start + found[0], found[1]
    return None


def _flipped_bit(stored: bytearray) -> tuple[int, int] | None:
    """The byte and the bit of a block with its trailer that, flipped, makes the checksum right."""
    size = len(stored) - 4
    expected = int.from_bytes(stored[size:], "little")
    computed = crc32c(memoryview(stored)[:size])
    wrong = mask(computed) ^ expected
    if wrong.bit_count() == 1:
        return size + (wrong.bit_length() - 1) // 8, (wrong.bit_length() - 1) % 8
    return find_flipped_bit(computed ^ unmask(expected), size)


def _sizes_of_block(data: bytes | FileBytes, start: int, end: int) -> list[int]:
    """The possible sizes of a damaged block: up to the end, or up to the metaindex block, also if that is cut short."""
    ends = [end]
    at = _next_start(data, start + 1, _METAINDEX, end)
    if at > 0:
        ends.insert(0, at)
    if end == len(data):
        ends += [end - cut for cut in range(1, len(METAINDEX)) if data[end - cut : end] == METAINDEX[:cut]]
    return [size for each in ends if 0 < (size := min(each, end) - start - TRAILER_BYTES) <= _LONGEST]


def loose_entries(data: bytes | FileBytes, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """The probable keys and values of a block of an index whose checksum is wrong.

    After an entry that is not valid, they continue with the next one that has its whole key, as one of sixteen has.
    """
    if next(_loose_entries(data, start, end), None) is None:
        contents = _decompressed(data, start, end)
        if next(_loose_entries(contents, 0, len(contents)), None) is not None:
            yield from _loose_entries(contents, 0, len(contents))
            return
    pos, last, tries = start, b"", [_MOST_TRIES]
    while pos >= 0:
        for key, value, stop in _loose(data, pos, end, last):
            yield key, value
            pos, last = stop, key
        pos = _next_whole_key(data, pos, end, last, tries)


def _next_whole_key(data: bytes | FileBytes, at: int, end: int, key: bytes, tries: list[int]) -> int:
    """The next place where an entry of a tensor with all of its key may be, which is greater than `key`; -1 if there is none."""
    while tries[0] > 0:
        tries[0] -= 1
        at = _next_start(data, at + 1, _START, end)
        if not 0 <= at < end:
            break
        sizes = _sizes(data[at : at + _ENTRY_HEAD_BYTES])
        if sizes is not None:
            _, unshared, _, used = sizes
            value = at + used + unshared
            if _TENSOR.match(data[value : value + 3]) and data[at + used : value] > key:
                return at
    return -1


def _decompressed(data: bytes | FileBytes, start: int, end: int) -> bytes:
    """The contents of a block compressed with snappy, up to the first element that is not valid."""
    try:
        size, used = read_varint(data[start : min(end, start + _VARINT_BYTES)], 0)
    except CorruptionError:
        return b""
    out, pos, size = bytearray(), start + used, min(size, _MOST_LOOSE_BYTES)
    while len(out) < size and pos < end:
        head = data[pos : pos + 5]
        kind, length = head[0] & 3, (head[0] >> 2) + 1
        if kind == 0:
            extra = max(0, length - 60)
            length = int.from_bytes(head[1 : 1 + extra], "little") + 1 if extra else length
            pos += 1 + extra + length
            out += data[pos - length : min(pos, end)]
            continue
        width = (1, 2, 4)[kind - 1]
        back = int.from_bytes(head[1 : 1 + width], "little")
        if kind == 1:
            length, back = (length - 1 & 7) + 4, back | head[0] >> 5 << 8
        if not 0 < back <= len(out):
            break
        repeated = bytes(out[-back:][:length])
        out += (repeated * -(-length // len(repeated)))[:length]
        pos += 1 + width
    return bytes(out)


def _loose_entries(data: bytes | FileBytes, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    return ((key, value) for key, value, _ in _loose(data, start, end, b""))


def _loose(data: bytes | FileBytes, start: int, end: int, last: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Keys, values and ends of entries from a place on, whose keys are greater than `last`, up to one that is not valid."""
    pos, key = start, b""
    allowed = MAX_KEY_RATIO * (end - start) + (1 << 20)  # bytes of all keys together
    while pos < end and allowed > 0:
        sizes = _sizes(data[pos : pos + _ENTRY_HEAD_BYTES])
        if sizes is None:
            return
        shared, unshared, size, used = sizes
        value = pos + used + unshared
        stop = value + size
        is_empty = not shared + unshared  # as only the first key of a file is
        if shared > len(key) or stop > end or (is_empty and (pos != start or last)):
            return
        allowed -= shared + unshared
        following = key[:shared] + data[pos + used : value]
        if (key or last) and following <= (key or last):
            return
        key, pos = following, stop
        yield key, data[value:stop], pos
