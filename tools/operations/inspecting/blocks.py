"""Finds the data blocks of an index whose end, which says where they are, is lost or damaged.

A block is recognized by its restart array and its checksum, which are in the places that its entries lead to. The start
of a block is known for the first one and after each block that was found. After damage, every place with a possible
first entry is tried, in time proportional to the size of the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tensorbundle.block import DATA_RESTART_INTERVAL, iterate
from tensorbundle.coding import FIXED32, crc32c, read_varint, unmask
from tensorbundle.errors import CorruptionError
from tensorbundle.limits import MAX_KEY_RATIO, MAX_SNAPPY_RATIO
from tensorbundle.table import SNAPPY, TRAILER_BYTES, UNCOMPRESSED

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["METAINDEX", "FoundBlock", "find_blocks", "loose_entries"]

# The metaindex block with its trailer: always empty, and after all data blocks.
METAINDEX: Final = b"\0\0\0\0\1\0\0\0\0\xc0\xf2\xa1\xb0"
_STEPS_PER_BYTE: Final = 4  # entries that are tried, for each byte of the file
_LONGEST: Final = 16 << 20  # bytes of a block with one large value
_COMPRESSED_HEAD: Final = (
    7  # bytes of a compressed block, at most, before the first one of its contents, which is 0
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


def find_blocks(data: bytes) -> Iterator[FoundBlock]:
    """The data blocks in the bytes of an index, from its start on."""
    budget = [_STEPS_PER_BYTE * len(data) + 1000]
    at = end = 0
    while 0 <= at < len(data) and budget[0] > 0:
        block = _block_at(data, at, budget)
        for start in range(max(end, at - _COMPRESSED_HEAD), at + 1) if block is None else ():
            block = block or _compressed_at(data, start, budget)
        if block is not None:
            if not block.items:
                return
            yield block
            at = end = block.offset + block.size + TRAILER_BYTES
        else:
            at = data.find(b"\0", at + 1)  # the first entry of a block shares no bytes with an earlier key


def _block_at(data: bytes, start: int, budget: list[int]) -> FoundBlock | None:
    """The block that begins here, or None if none does."""
    count = 0
    pos = start
    key_size = 0
    while pos < len(data) and pos - start < _LONGEST and budget[0] > 0:
        budget[0] -= 1
        for restarts in {max(1, -(-count // DATA_RESTART_INTERVAL)), max(1, count)}:
            end = pos + 4 * restarts + 4
            if end + TRAILER_BYTES > len(data) or FIXED32.unpack_from(data, end - 4)[0] != restarts:
                continue
            if FIXED32.unpack_from(data, pos)[0] or data[end] != UNCOMPRESSED:
                continue
            if crc32c(data[start : end + 1]) == unmask(FIXED32.unpack_from(data, end + 1)[0]):
                try:
                    return FoundBlock(start, end - start, iterate(data[start:end]))
                except CorruptionError:
                    return None
        step = _entry_at(data, pos, key_size)
        if step is None:
            return None
        _, key_size, _, pos = step
        count += 1
    return None


def _compressed_at(data: bytes, start: int, budget: list[int]) -> FoundBlock | None:
    """The block compressed with snappy that begins here, or None if none does: its elements tell where it ends.

    The elements are those of google/snappy format_description.txt: literals, and copies of earlier bytes.
    """
    made = 0
    try:
        size, pos = read_varint(data, start)
    except CorruptionError:
        return None
    while made < size <= _LONGEST and pos < len(data) and budget[0] > 0:
        budget[0] -= 1
        kind, length = data[pos] & 3, data[pos] >> 2
        if kind == 0:
            extra = max(0, length - 59)
            length = 1 + (int.from_bytes(data[pos + 1 : pos + 1 + extra], "little") if extra else length)
            pos += 1 + extra + length
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
    if crc32c(data[start : pos + 1]) != unmask(FIXED32.unpack_from(data, pos + 1)[0]):
        return None
    import cramjam  # for the few indexes that are compressed

    try:
        items = iterate(bytes(cramjam.snappy.decompress_raw(data[start:pos])))
    except (CorruptionError, cramjam.DecompressionError):
        return None
    return FoundBlock(start, pos - start, items)


def _entry_at(data: bytes, pos: int, last: int) -> tuple[int, int, int, int] | None:
    """The entry at `pos`: bytes shared with the key before, other bytes of its key, start and end of its value."""
    try:
        shared, pos = read_varint(data, pos)
        unshared, pos = read_varint(data, pos)
        size, pos = read_varint(data, pos)
    except CorruptionError:
        return None
    end = pos + unshared + size
    if shared > last or end > len(data):
        return None
    return shared, shared + unshared, pos + unshared, end


def loose_entries(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """The probable keys and values of a block whose checksum is wrong, up to the first entry that is not valid."""
    pos, key = start, b""
    allowed = MAX_KEY_RATIO * (end - start) + (1 << 20)  # bytes of all keys together
    while pos < end and allowed > 0:
        found = _entry_at(data, pos, len(key))
        if found is None:
            return
        shared, size, value, stop = found
        if stop > end or (not size and key):
            return
        allowed -= size
        following = key[:shared] + data[value - (size - shared) : value]
        if key and following <= key:
            return
        yield following, data[value:stop]
        key, pos = following, stop
