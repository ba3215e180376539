"""One block of a table: sorted keys with shared prefixes.

Layout (LevelDB table/block_builder.cc): entries in ascending key order, then the restart array.

    entry   = varint32 shared | varint32 unshared | varint32 value size | key[shared:] | value
    restart = u32 offset of each restart point | u32 count          (little-endian, from the block's start)

`shared` counts the bytes that the key has in common with the one before it; at a restart point it is 0, so that a
search can begin there. Keys and values are bytes; positions are bytes from the block's start.
"""

from __future__ import annotations

from typing import Final

from tensorbundle.coding import FIXED32, encode_varint, read_varint
from tensorbundle.errors import CorruptionError
from tensorbundle.limits import MAX_KEY_RATIO

__all__ = ["DATA_RESTART_INTERVAL", "BlockBuilder", "around_value", "contents", "iterate", "seek"]

DATA_RESTART_INTERVAL: Final = 16
_UINT32_MAX: Final = 2**32 - 1


def iterate(block: bytes, size: int | None = None) -> list[tuple[bytes, bytes]]:
    """Every key and value of a block, in order; the block is the first `size` bytes, by default all.

    Raises:
        CorruptionError: as `contents`.
    """
    return list(zip(*contents(block, size), strict=True))


def contents(block: bytes, size: int | None = None) -> tuple[list[bytes], list[bytes]]:
    """The keys of a block, in order, and their values; the block is the first `size` bytes, by default all.

    Raises:
        CorruptionError: the block's structure is wrong, or keys do not ascend.
    """
    length = len(block) if size is None else size
    limit, _ = _restart_array(block, length)
    pos = 0
    key = b""
    keys: list[bytes] = []
    values: list[bytes] = []
    add_key, add_value = keys.append, values.append  # this loop sees every key of a listing
    # Without this, a small block stands for any amount of memory. Keys of entries with one byte for each size need not be
    # counted one by one: they have at most 254 bytes, and a table has a limited number of entries.
    allowed = MAX_KEY_RATIO * length + (1 << 20)
    decoded = counted = 0
    while pos < limit:
        start = pos
        shared = block[pos]
        unshared = block[pos + 1]
        taken = block[pos + 2]
        if (shared | unshared | taken) < 0x80:  # nearly all sizes fit in one byte each
            key_start = pos + 3
        else:
            shared, unshared, taken, key_start = _sizes(block, pos, limit)
            decoded += sum(map(len, keys[counted:]))
            counted = len(keys)
            if decoded > allowed:
                raise CorruptionError(f"keys of over {allowed} bytes in a block of {length}", offset=start)
        value_start = key_start + unshared
        pos = value_start + taken
        if pos > limit or shared > len(key):
            raise _bad_entry(start, shared, unshared, taken, limit, key)
        before = key
        key = before[:shared] + block[key_start:value_start]
        if key <= before and keys:
            raise CorruptionError(f"keys do not ascend: {key[:80]!r} after {before[:80]!r}", offset=start)
        add_key(key)
        add_value(block[value_start:pos])
    if counted and decoded + sum(map(len, keys[counted:])) > allowed:
        raise CorruptionError(f"keys of over {allowed} bytes in a block of {length}", offset=limit)
    return keys, values


def seek(block: bytes, target: bytes, size: int | None = None) -> tuple[bytes, int, int, int] | None:
    """The first key that is not before `target`, start and end of its value, and the restart point that the search began at.

    None if all keys are before it. The block is the first `size` bytes, by default all. Only keys between two restart
    points are decoded, if the restart points are where they should be.

    Raises:
        CorruptionError: the block's structure is wrong on the way there.
    """
    limit, count = _restart_array(block, len(block) if size is None else size)
    if limit == 0:
        return None

    def restart_point(index: int) -> int:
        pos: int = FIXED32.unpack_from(block, limit + 4 * index)[0]
        if pos >= limit:
            raise CorruptionError(
                f"restart point {index} at {pos}, entries end at {limit}", offset=limit + 4 * index
            )
        return pos

    def restart_key(index: int) -> bytes:
        pos = restart_point(index)
        shared, unshared, taken, start = _sizes(block, pos, limit)
        if shared or start + unshared + taken > limit:
            raise _bad_entry(pos, shared, unshared, taken, limit, b"")
        return block[start : start + unshared]

    low, high = 0, count - 1  # the last restart point whose key is not after the target
    while low < high:
        middle = (low + high + 1) // 2
        if restart_key(middle) <= target:
            low = middle
        else:
            high = middle - 1
    begun = pos = restart_point(low)
    key = b""
    while pos < limit:
        start = pos
        shared, unshared, taken = block[pos], block[pos + 1], block[pos + 2]  # as in `contents`
        if (shared | unshared | taken) < 0x80:
            pos += 3
        else:
            shared, unshared, taken, pos = _sizes(block, pos, limit)
        value_start = pos + unshared
        end = value_start + taken
        if end > limit or shared > len(key):
            raise _bad_entry(start, shared, unshared, taken, limit, key)
        key = key[:shared] + block[pos:value_start]
        if key >= target:
            return key, value_start, end, begun
        pos = end
    return None


def _restart_array(block: bytes, size: int) -> tuple[int, int]:
    """The position of the restart array, which is the end of the entries, and the number of restart points."""
    if size < 4:
        raise CorruptionError(f"block of {size} bytes, at least 4 needed", offset=0)
    count = FIXED32.unpack_from(block, size - 4)[0]
    limit = size - 4 - 4 * count
    if limit < 0 or (count == 0 and limit > 0):
        raise CorruptionError(f"{count} restart points in a block of {size} bytes", offset=size - 4)
    return limit, count


def _sizes(block: bytes, pos: int, limit: int) -> tuple[int, int, int, int]:
    shared, unshared, size = block[pos], block[pos + 1], block[pos + 2]  # as in `contents`
    if (shared | unshared | size) < 0x80:
        return shared, unshared, size, pos + 3
    start = pos
    shared, pos = read_varint(block, pos, limit)
    unshared, pos = read_varint(block, pos, limit)
    size, pos = read_varint(block, pos, limit)
    if max(shared, unshared, size) > _UINT32_MAX:
        raise CorruptionError("block entry with a size over 32 bits", offset=start)
    return shared, unshared, size, pos


def _bad_entry(pos: int, shared: int, unshared: int, size: int, limit: int, key: bytes) -> CorruptionError:
    return CorruptionError(
        f"block entry shares {shared} of the {len(key)} bytes before it and claims "
        f"{unshared} + {size} bytes, entries end at {limit:#x}",
        offset=pos,
    )


class BlockBuilder:
    """Builds one block; keys must be added in ascending order, which the table writer checks."""

    def __init__(self, restart_interval: int) -> None:
        self._interval = restart_interval
        self._entries = bytearray()
        self._restarts = [0]
        self._since_restart = 0
        self._last = b""

    @property
    def size(self) -> int:
        """Size in bytes of the block if it were finished now."""
        return len(self._entries) + 4 * len(self._restarts) + 4

    @property
    def empty(self) -> bool:
        """Whether no entry was added yet."""
        return not self._entries

    def add(self, key: bytes, value: bytes) -> None:
        """Append one entry (block_builder.cc, `BlockBuilder::Add`)."""
        shared = 0
        if self._since_restart < self._interval:
            shared = _common_prefix(self._last, key)
        else:
            self._restarts.append(len(self._entries))
            self._since_restart = 0
        sizes = shared, len(key) - shared, len(value)
        self._entries += bytes(sizes) if max(sizes) < 0x80 else b"".join(map(encode_varint, sizes))
        self._entries += key[shared:]
        self._entries += value
        self._last = key
        self._since_restart += 1

    def finish(self) -> bytes:
        """The block's bytes, without the trailer that the table adds."""
        return b"".join(self.parts())

    def parts(self) -> tuple[bytes | bytearray, ...]:
        """The block's bytes in two parts, not copied: the entries and the restart array."""
        return self._entries, b"".join(map(FIXED32.pack, [*self._restarts, len(self._restarts)]))


def around_value(key: bytes, size: int) -> tuple[bytes, bytes]:
    """What is before and after a value of so many bytes in a block that has nothing else."""
    return b"".join(map(encode_varint, (0, len(key), size))) + key, FIXED32.pack(0) + FIXED32.pack(1)


def _common_prefix(a: bytes, b: bytes) -> int:
    size = min(len(a), len(b))
    if a[:size] == b[:size]:
        return size
    # The first differing bit of the difference tells the first differing byte.
    difference = int.from_bytes(a[:size], "big") ^ int.from_bytes(b[:size], "big")
    return size - (difference.bit_length() + 7) // 8
