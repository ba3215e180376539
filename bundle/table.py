"""The table: a sorted map from byte keys to byte values in one file. The `.index` of a bundle is one.

Layout (LevelDB doc/table_format.md, table/table_builder.cc; TensorFlow core/lib/io/table_builder.cc):

    data blocks | metaindex block | index block | footer

Each block is followed by a trailer: u8 compression (0 none, 1 snappy) and the u32 masked crc32c of the stored bytes
and that byte. The index block has one entry for each data block: a key that is not less than the block's last key and
less than the next block's first key, and the block's handle. A handle is two varint64, offset and size, without the
trailer. The footer is the metaindex handle and the index handle padded to 40 bytes, then 8 bytes of magic, little-endian.
"""

from __future__ import annotations

import bisect
import itertools
import operator
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorbundle.block import DATA_RESTART_INTERVAL, BlockBuilder, around_value, contents, iterate, seek
from tensorbundle.coding import FIXED32, crc32c, encode_varint, mask, read_varint, unmask
from tensorbundle.errors import ConflictError, CorruptionError
from tensorbundle.limits import ENTRY_BYTES, MAX_SNAPPY_RATIO, MIN_ENTRIES
from tensorbundle.storage.content import HEAD_BYTES, describe_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorbundle.storage.protocols import RandomAccessFile

__all__ = ["BLOCK_BYTES", "BlockHandle", "Footer", "TableReader", "TableWriter", "check_count"]

TABLE_MAGIC: Final = 0xDB4775248B80FB57
MAX_HANDLE_BYTES: Final = 10 + 10  # two varint64
FOOTER_BYTES: Final = 2 * MAX_HANDLE_BYTES + 8
TRAILER_BYTES: Final = 1 + 4
# Where a request takes long:
_AT_ONCE_BYTES: Final = 256 << 20  # of blocks that follow each other and are all needed
_SMALL_BYTES: Final = 8 << 20  # of blocks that are read together although few of them are needed
_PIECE_BYTES: Final = 1 << 18  # of a large block that is checked
_RECENT: Final = 2  # blocks that are kept: slices are in another block than the entry of their tensor
_MUCH: Final = 4  # part of a block that lookups decode, after which it is decoded as a whole
BLOCK_BYTES: Final = 262144  # what TensorFlow sets for indexes and for V1 files
UNCOMPRESSED, SNAPPY = 0, 1
_MAGIC: Final = struct.Struct("<Q")
_KEY: Final = operator.itemgetter(0)


class BlockHandle(NamedTuple):
    """The position of one block.

    Attributes:
        offset: bytes from the start of the file.
        size: size in bytes of the stored block, without its trailer.
    """

    offset: int
    size: int

    @classmethod
    def parse(cls, buf: bytes, pos: int = 0) -> tuple[BlockHandle, int]:
        """The handle at `pos`, and the position just past it.

        Raises:
            CorruptionError: a varint is cut short or wider than 64 bits.
        """
        offset, pos = read_varint(buf, pos)
        size, pos = read_varint(buf, pos)
        return cls(offset, size), pos

    def encode(self) -> bytes:
        """The handle as stored."""
        return encode_varint(self.offset) + encode_varint(self.size)


class Footer(NamedTuple):
    """The last 48 bytes of a table (LevelDB table/format.cc, `Footer`)."""

    metaindex_handle: BlockHandle
    index_handle: BlockHandle

    @classmethod
    def parse(cls, buf: bytes) -> Footer:
        """The footer in exactly its 48 bytes.

        Raises:
            CorruptionError: the magic number is not a table's.
        """
        magic = _MAGIC.unpack_from(buf, FOOTER_BYTES - 8)[0]
        if magic != TABLE_MAGIC:
            raise CorruptionError(
                f"not a table: magic number {magic:#018x}, expected {TABLE_MAGIC:#018x}",
                offset=FOOTER_BYTES - 8,
            )
        metaindex, pos = BlockHandle.parse(buf)
        index, _ = BlockHandle.parse(buf, pos)
        return cls(metaindex, index)

    def encode(self) -> bytes:
        """The 48 bytes."""
        handles = self.metaindex_handle.encode() + self.index_handle.encode()
        return handles.ljust(2 * MAX_HANDLE_BYTES, b"\0") + _MAGIC.pack(TABLE_MAGIC)


class _Block:
    """A data block that lookups have read: slices are looked up one by one, and restart points may be far apart.

    Attributes:
        number: its place among the data blocks.
        data: its bytes, possibly followed by others.
        size: how many bytes it has.
        decoded: how many of them lookups have decoded.
        items: its contents, once they were decoded as a whole.
    """

    def __init__(self, number: int, data: bytes, size: int) -> None:
        self.number, self.data, self.size = number, data, size
        self.decoded = 0
        self.items: list[tuple[bytes, bytes]] | None = None


class TableReader:
    """Reads a table: one key by binary search, or everything in order.

    Opening reads the footer and the index block. A data block is read, and its checksum checked, when it is needed. A
    damaged block is always an error (TensorFlow skips it, and its keys vanish).

    Attributes:
        file: the file that the table is.
        separators: for each data block, a key that is not less than its last key.
        handles: for each data block, its position.
        compressed: how many of the blocks read so far were compressed.
    """

    def __init__(
        self, file: RandomAccessFile, blocks: Sequence[tuple[bytes, BlockHandle]] | None = None
    ) -> None:
        """Read the footer and the index block of `file`, which stays open and is the caller's to close.

        Args:
            file: the table.
            blocks: the last key and the position of each data block, if the end of the file is not to be read.

        Raises:
            CorruptionError: `file` is not a table, or its index block is damaged.
        """
        self.file = file
        self.compressed = 0
        self._counts: dict[
            int, int
        ] = {}  # entries of blocks that were decoded as a whole, by the block's number
        self._entries = 0  # in all of these
        self._recent: tuple[_Block, ...] = ()  # of the last lookups, the latest first
        self.separators: list[bytes] = []
        self.handles: list[BlockHandle] = []
        if blocks is not None:
            self._stop = file.size
            self._end = self._stop, b""
            self._at_hand = [self._end]
            self.separators += [key for key, _ in blocks]
            self.handles += [handle for _, handle in blocks]
            return
        if file.size < FOOTER_BYTES:
            head = file.read(0, file.size)
            raise CorruptionError(
                describe_file(file.path, head)
                or f"{file.size} bytes, too short for a table (its footer takes {FOOTER_BYTES})",
                path=file.path,
                offset=0,
            )
        start = self._stop = file.size - FOOTER_BYTES  # where the blocks end
        tail = max(FOOTER_BYTES, min(file.size, file.near_bytes))
        self._end = file.size - tail, file.read(file.size - tail, tail)
        self._at_hand = [self._end]  # places in the file, and what was read there
        try:
            footer = Footer.parse(self._end[1][-FOOTER_BYTES:])
        except CorruptionError as error:
            content = describe_file(file.path, file.read(0, min(file.size, HEAD_BYTES)))
            reason = (
                f"not a table: {content}"
                if content
                else f"{error.reason}: it was cut short, or is something else"
            )
            raise CorruptionError(reason, path=file.path, offset=start + (error.offset or 0)) from None
        block = self._load(footer.index_handle, "index block")
        try:
            for separator, value in iterate(*block):
                self.separators.append(separator)
                try:
                    self.handles.append(BlockHandle.parse(value)[0])
                except CorruptionError as error:
                    raise CorruptionError(error.reason, offset=0) from None
            ends = [(offset + size + TRAILER_BYTES, size + TRAILER_BYTES) for offset, size in self.handles]
            listed = sum(size for end, size in ends if end <= start)
            if listed > start:  # then some overlap, and each would be read, checked and decoded
                raise CorruptionError(
                    f"data blocks of {listed} bytes together in a file of {file.size}", offset=0
                )
        except CorruptionError as error:
            raise self._inside(footer.index_handle, error) from None

    @property
    def path(self) -> str:
        """The file's path."""
        return self.file.path

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None; reads at most one data block.

        Raises:
            CorruptionError: the data block that would hold the key is damaged.
        """
        value = self.view(key)
        return None if value is None else bytes(value)

    def get_together(self, *keys: bytes) -> list[bytes | None]:
        """The value of each of a few keys, or None; reads the data blocks with them at once, or all blocks of a small table.

        Raises:
            CorruptionError: as `get`.
        """
        if self.handles and self._end[0] <= _SMALL_BYTES:
            self.read_on(0)
            return [self.get(key) for key in keys]
        numbers = {bisect.bisect_left(self.separators, key) for key in keys} - {len(self.separators)}
        ranges = [(self.handles[each].offset, self.handles[each].size + TRAILER_BYTES) for each in numbers]
        read = self.file.read_ranges(ranges)
        self._at_hand = [self._end, *((offset, data) for (offset, _), data in zip(ranges, read, strict=True))]
        return [self.get(key) for key in keys]

    def view(self, key: bytes) -> memoryview | None:
        """Like `get`, but without copying from the block: values in V1 files may have gigabytes."""
        number = bisect.bisect_left(self.separators, key)
        if number == len(self.separators):
            return None
        found = self._from(number, key)
        return found[1] if found is not None and found[0] == key else None

    def number_of(self, key: bytes) -> int:
        """The number of the data block that would hold a key; that of all blocks if none would."""
        return bisect.bisect_left(self.separators, key)

    def find_alone(self, key: bytes, start: bytes, size: int) -> int | None:
        """The place in the file of the value of `key` behind `start`, with which it begins, if `size` bytes are there.

        The block is checked without being in memory as a whole. None unless it is not compressed and has nothing else.

        Raises:
            CorruptionError: its checksum is wrong.
        """
        number = self.number_of(key)
        before, after = around_value(key, len(start) + size)
        before += start
        whole = len(before) + size + len(after)
        if number == len(self.handles) or self.handles[number].size != whole:
            return None
        offset = self.handles[number].offset
        if offset + whole + TRAILER_BYTES > self._stop or self._read(offset, len(before)) != before:
            return None
        self.file.prefetch([(offset, whole + TRAILER_BYTES)])
        buffer, computed = memoryview(bytearray(_PIECE_BYTES)), 0
        for place in range(offset, offset + whole + 1, _PIECE_BYTES):
            piece = buffer[: min(_PIECE_BYTES, offset + whole + 1 - place)]
            self.file.readinto(place, piece)
            computed = crc32c(piece, computed)
        trailer = self.file.read(offset + whole, TRAILER_BYTES)
        expected = unmask(FIXED32.unpack_from(trailer, 1)[0])
        if computed != expected:
            raise _wrong_checksum(f"data block {number}", self.path, offset, expected, computed)
        return offset + len(before) if trailer[0] == UNCOMPRESSED else None

    def next_key(self, key: bytes) -> bytes | None:
        """The first key that is not before `key`, or None; reads one data block, or a second one.

        Raises:
            CorruptionError: a data block that was read is damaged, or its keys belong in another one.
        """
        first = bisect.bisect_left(self.separators, key)
        for number in range(first, min(first + 2, len(self.separators))):
            found = self._from(number, key)
            if found is not None:
                return found[0]
        if first + 2 > len(self.separators):
            return None  # `key` is after all others
        raise CorruptionError(
            f"data block {first + 1} contains no key after those of the block before it",
            path=self.path,
            offset=self.handles[first + 1].offset,
        )

    def previous_key(self, key: bytes) -> bytes | None:
        """The last key before `key`, or None; decodes one data block, or a second one.

        Raises:
            CorruptionError: a data block that was read is damaged.
        """
        number = bisect.bisect_left(self.separators, key)
        for each in (number, number - 1):
            if 0 <= each < len(self.handles):
                items = self.block_items(each)
                place = bisect.bisect_left(items, key, key=_KEY)
                if place:
                    return items[place - 1][0]
        return None

    def _from(self, number: int, key: bytes) -> tuple[bytes, memoryview] | None:
        """The first key of a data block that is not before `key`, and its value; None if all are before it.

        Raises:
            CorruptionError: the block is damaged.
        """
        block = self._block(number)
        if _MUCH * block.decoded > block.size:
            items = self._all_of(block)
            place = bisect.bisect_left(items, key, key=_KEY)
            return (items[place][0], memoryview(items[place][1])) if place < len(items) else None
        try:
            found = seek(block.data, key, block.size)
        except CorruptionError as error:
            raise self._inside(self.handles[number], error) from None
        if found is None:
            block.decoded = block.size  # possibly
            return None
        found_key, start, end, begun = found
        block.decoded += end - begun
        return found_key, memoryview(block.data)[start:end]

    def _block(self, number: int) -> _Block:
        """A data block; kept for more lookups unless it is large, as a second one of a tensor of gigabytes is unlikely.

        Raises:
            CorruptionError: the block is damaged.
        """
        recent = self._recent  # once: threads that look things up at the same time change it
        for each in recent:
            if each.number == number:
                return each
        block = _Block(number, *self._load(self.handles[number], f"data block {number}"))
        if block.size < 4 * BLOCK_BYTES:
            self._recent = (block, *recent[: _RECENT - 1])
        return block

    def _all_of(self, block: _Block) -> list[tuple[bytes, bytes]]:
        """Every key and value of a block.

        Raises:
            CorruptionError: the block is damaged.
        """
        if block.items is None:
            try:
                block.items = iterate(block.data, block.size)
            except CorruptionError as error:
                raise self._inside(self.handles[block.number], error) from None
        return block.items

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key and value, in key order.

        Raises:
            CorruptionError: a data block is damaged, or keys do not ascend from block to block.
        """
        for number in range(len(self.handles)):
            yield from zip(*self.block_contents(number), strict=True)

    @property
    def is_at_hand(self) -> bool:
        """Whether reading the first block makes no request."""
        return not self.file.near_bytes or not self.handles or self._end[0] <= self.handles[0].offset

    def block_items(self, number: int) -> list[tuple[bytes, bytes]]:
        """Every key and value of one data block, in key order.

        Raises:
            CorruptionError: as `block_contents`.
        """
        return list(zip(*self.block_contents(number), strict=True))

    def block_contents(self, number: int) -> tuple[list[bytes], list[bytes]]:
        """The keys of one data block, in order, and their values.

        Raises:
            CorruptionError: the block is damaged, or contains a key that belongs in another block; or there are too many.
        """
        handle = self.handles[number]
        self.read_on(number)
        block = self._load(handle, f"data block {number}")
        try:
            keys, values = contents(*block)
            if keys and number and keys[0] <= self.separators[number - 1]:
                raise CorruptionError(
                    f"key {keys[0][:80]!r} of data block {number} belongs before it", offset=0
                )
            if keys and keys[-1] > self.separators[number]:
                raise CorruptionError(
                    f"key {keys[-1][:80]!r} of data block {number} belongs after it", offset=0
                )
            self._count(number, len(keys))
        except CorruptionError as error:
            raise self._inside(handle, error) from None
        return keys, values

    def _count(self, number: int, entries: int) -> None:
        """Refuse a table of more entries than its size allows."""
        self._entries += entries - self._counts.get(number, 0)
        self._counts[number] = entries
        check_count(self._entries, self.file.size)

    def _inside(self, handle: BlockHandle, error: CorruptionError) -> CorruptionError:
        """An error whose offset counts from a block, with the offset in the file."""
        return CorruptionError(
            error.reason, path=self.path, offset=handle.offset + (error.offset or 0), key=error.key
        )

    def _load(self, handle: BlockHandle, name: str) -> tuple[bytes, int]:
        """The checked bytes of a block, possibly followed by others, and its size; the trailer is read in the same request."""
        if handle.offset + handle.size + TRAILER_BYTES > self._stop:
            raise CorruptionError(
                f"{name} claims {handle.size} bytes, the blocks end at {self._stop:#x}",
                path=self.path,
                offset=handle.offset,
            )
        stored = self._read(handle.offset, handle.size + TRAILER_BYTES)
        expected = unmask(FIXED32.unpack_from(stored, handle.size + 1)[0])
        computed = crc32c(memoryview(stored)[: handle.size + 1])
        if expected != computed:
            raise _wrong_checksum(name, self.path, handle.offset, expected, computed)
        compression = stored[handle.size]
        if compression == UNCOMPRESSED:
            return stored, handle.size
        if compression == SNAPPY:
            self.compressed += 1
            block = self._decompress(stored[: handle.size], handle, name)
            return block, len(block)
        raise CorruptionError(
            f"{name}: compression type {compression}, only 0 (none) and 1 (snappy) exist",
            path=self.path,
            offset=handle.offset + handle.size,
        )

    def _read(self, offset: int, size: int) -> bytes:
        """Bytes of the file, from what was read before if they are there."""
        for start, data in self._at_hand:
            if start <= offset and offset + size <= start + len(data):
                return data[offset - start : offset - start + size]
        return self.file.read(offset, size)

    def read_on(self, number: int) -> None:
        """Where a request takes long, read a block and those that follow it in the file at once, as all will be needed."""
        handle = self.handles[number]
        end = handle.offset + handle.size + TRAILER_BYTES
        if not self.file.near_bytes or any(
            start <= handle.offset and end <= start + len(data) for start, data in self._at_hand
        ):
            return
        stop, last_bytes = self._end
        for following in self.handles[number + 1 :]:
            last = following.offset + following.size + TRAILER_BYTES
            large = following.size >= 4 * BLOCK_BYTES  # one that is not kept
            if large or following.offset != end or min(last, stop) - handle.offset > _AT_ONCE_BYTES:
                break
            end = last
        if end <= self.file.size:
            if sum(len(data) for _, data in self._at_hand) > _SMALL_BYTES:
                self._at_hand = [self._end]
            data = self.file.read(handle.offset, min(end, stop) - handle.offset)
            self._at_hand.append((handle.offset, data + last_bytes[: max(0, end - stop)]))

    def _decompress(self, stored: bytes, handle: BlockHandle, name: str) -> bytes:
        import cramjam  # compressed indexes are rare, and most runs never need it

        try:
            claimed, start = read_varint(stored, 0)
            if claimed > MAX_SNAPPY_RATIO * (len(stored) - start):
                raise CorruptionError(f"claims {claimed} bytes from {len(stored)}")
            block = bytes(cramjam.snappy.decompress_raw(stored))
        except (CorruptionError, cramjam.DecompressionError) as error:
            raise CorruptionError(
                f"{name}: bad snappy data: {error}", path=self.path, offset=handle.offset
            ) from None
        return block


def check_count(entries: int, size: int) -> None:
    """Refuse a table with more entries than a file of this size may have.

    Raises:
        CorruptionError: there are more.
    """
    allowed = MIN_ENTRIES + size // ENTRY_BYTES
    if entries > allowed:
        raise CorruptionError(f"more than {allowed} entries in a file of {size} bytes")


def _wrong_checksum(name: str, path: str, offset: int, stored: int, computed: int) -> CorruptionError:
    return CorruptionError(
        f"{name}: crc32c stored {stored:08x}, computed {computed:08x}", path=path, offset=offset
    )


class TableWriter:
    """Writes a table, byte for byte as TensorFlow does (core/lib/io/table_builder.cc).

    Keys must be added in ascending order. `write` is called with the bytes of the file, in order; only the current block
    is kept in memory.
    """

    def __init__(self, write: Callable[[bytes | bytearray | memoryview], object]) -> None:
        self._write = write
        self._offset = 0
        self._data = BlockBuilder(DATA_RESTART_INTERVAL)
        self._index = BlockBuilder(1)
        # A finished block's index entry waits until the next key is known: its separator may then be short.
        self._pending: BlockHandle | None = None
        self._last: bytes | None = None

    def add(self, key: bytes, value: bytes) -> None:
        """Append one entry.

        Raises:
            ConflictError: `key` is not after the one before it.
        """
        self._begin(key, len(value))
        self._data.add(key, value)
        if self._data.size >= BLOCK_BYTES:
            self._flush()

    def add_parts(self, key: bytes, size: int, parts: Iterable[bytes | memoryview]) -> None:
        """Append an entry whose value has `size` bytes and comes in parts; of a large one, only one part is in memory.

        Raises:
            ConflictError: as `add`.
        """
        if len(key) + size < 2 * BLOCK_BYTES:
            self.add(key, b"".join(parts))
            return
        self._begin(key, size)
        before, after = around_value(key, size)
        self._pending = self._put(itertools.chain([before], parts, [after]))

    def _begin(self, key: bytes, size: int) -> None:
        """Make place for an entry with a value of `size` bytes: an oversized one begins a block of its own."""
        if self._last is not None:
            if key <= self._last:
                raise ConflictError(f"table key {key[:80]!r} does not follow {self._last[:80]!r}")
            if len(key) + size >= 2 * BLOCK_BYTES:
                self._flush()
            if self._pending is not None:
                self._index.add(separator(self._last, key), self._pending.encode())
                self._pending = None
        self._last = key

    def finish(self) -> None:
        """Write the last block, the metaindex, the index and the footer."""
        self._flush()
        metaindex = self._put(BlockBuilder(1).parts())
        if self._pending is not None:
            self._index.add(successor(self._last or b""), self._pending.encode())
        index = self._put(self._index.parts())
        self._write(Footer(metaindex, index).encode())

    def _flush(self) -> None:
        if not self._data.empty:
            self._pending = self._put(self._data.parts())
            self._data = BlockBuilder(DATA_RESTART_INTERVAL)

    def _put(self, parts: Iterable[bytes | bytearray | memoryview]) -> BlockHandle:
        size = crc = 0
        for part in itertools.chain(parts, [bytes([UNCOMPRESSED])]):
            self._write(part)
            crc = crc32c(part, crc)
            size += len(part)
        self._write(FIXED32.pack(mask(crc)))
        handle = BlockHandle(self._offset, size - 1)
        self._offset += size + 4
        return handle


def separator(last: bytes, following: bytes) -> bytes:
    """A short key that is not less than `last` and less than `following` (LevelDB util/comparator.cc)."""
    size = min(len(last), len(following))
    common = next((i for i in range(size) if last[i] != following[i]), size)
    if common < size and last[common] != 0xFF and last[common] + 1 < following[common]:
        return last[:common] + bytes([last[common] + 1])
    return last


def successor(last: bytes) -> bytes:
    """A short key that is not less than `last` (LevelDB util/comparator.cc)."""
    for position, byte in enumerate(last):
        if byte != 0xFF:
            return last[:position] + bytes([byte + 1])
    return last
