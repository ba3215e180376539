"""Finds out from damaged bytes how they were damaged."""

from __future__ import annotations

import contextlib
import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

from tensorbundle.block import iterate
from tensorbundle.coding import FIXED32, crc32c, find_flipped_bit, find_lost, unmask
from tensorbundle.dtypes import DType
from tensorbundle.errors import BundleError, CorruptionError
from tensorbundle.payloads import payload_checksum
from tensorbundle.storage.content import describe_content, describe_text
from tensorbundle.table import FOOTER_BYTES, TRAILER_BYTES, BlockHandle, Footer
from tensorbundle.tools.operations.explaining.catalogue import cause_line
from tensorbundle.tools.operations.inspecting.blocks import find_blocks, is_sound
from tensorbundle.tools.operations.inspecting.conversions import REPLACEMENT, conversion_of_shard
from tensorbundle.tools.operations.inspecting.sectors import sector_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorbundle.entries import TensorEntry

__all__ = ["INDEX_BYTES", "Damage", "cause_of_index"]

INDEX_BYTES: Final = 16 << 20  # of an index that are examined
_TENSOR_BYTES: Final = 16 << 20  # of a tensor
_START: Final = b"\0\0"  # of every index: its first key is empty
_ARCHIVES: Final = (".npz", ".keras")
_ARCHIVE_START: Final = b"PK\3\4"
_ARCHIVE_END: Final = b"PK\5\6"
_ARCHIVE_END_BYTES: Final = 22
_MANY_PAIRS: Final = (
    8  # of carriage return and line feed: bytes have none of so many line feeds alone by chance
)
_MOST_TENSORS: Final = 32  # that are examined
_FEW: Final = 3  # tensors that are searched for flipped bits: in many, some would be found by chance
_FLIPPED_BYTES: Final = 4 << 20
_SHIFTS: Final = 16
_FEW_STRINGS: Final = 1000  # of a tensor that is searched for elsewhere


def cause_of_index(data: bytes, place: int | None = None, ending: str | None = None) -> str | None:
    """Why these bytes are not an index, or None if they do not tell.

    Args:
        data: the bytes.
        place: where an error was found.
        ending: of the file's name, if it says that this is a file of another format.
    """
    if not data:
        return cause_line("empty-file")
    content = describe_content(data[:4096])
    if ending is None or not ending.endswith(".json"):
        content = content or describe_text(data[:4096])
    archive = ending in _ARCHIVES and data.startswith(_ARCHIVE_START)
    if content is not None and not archive and not (ending and content.endswith(ending)):
        return cause_line("foreign-content", content=content)
    pairs = data.count(b"\r\n")
    if pairs and data.count(b"\n") == pairs:
        restored = data.replace(b"\r\n", b"\n")
        if pairs > _MANY_PAIRS or (_ends_well(restored) and not _ends_well(data)):
            return cause_line("line-endings", how="LF became CRLF")
    if data.count(REPLACEMENT) > 2:
        return cause_line("text-conversion", count=data.count(REPLACEMENT))
    zeros = len(data) - len(data.rstrip(b"\0"))
    if zeros >= FOOTER_BYTES:
        return cause_line("zero-tail", start=len(data) - zeros)
    at = data.rfind(_ARCHIVE_END)
    if len(data) < FOOTER_BYTES or (archive and not 0 <= at <= len(data) - _ARCHIVE_END_BYTES):
        return cause_line("truncated")
    footer = _footer(data)
    sound = _ends_well(data)
    cause = None
    if footer is not None and not sound:
        cause = _cause_of_shift(data, footer.index_handle)
    if footer is not None and place is not None:
        cause = cause or _cause_of_block(data, footer.index_handle, place)
    if sound and place is None and data[:1] == b"\0" and not data.startswith(_START):
        return cause_line("foreign-content", content="a table of another program, such as LevelDB")
    if cause is None and not sound:
        count = sum(len(block.items) for block in find_blocks(data))
        if count:
            return cause_line("lost-end", count=count)
        if data.startswith(_START):
            return cause_line("lost-end")
    return cause


def _cause_of_shift(data: bytes, index: BlockHandle) -> str | None:
    """Why the index block is some bytes before or after its place; None if it is not."""
    for shift in (each for near in range(1, _SHIFTS + 1) for each in (-near, near)):
        start = index.offset + shift
        if start >= 0 and _is_sound(data, start, index.size):
            if -shift in (1, 2) and _lacks_returns(data, start, index.size, -shift):
                return cause_line("line-endings", how="CRLF became LF")
            return cause_line("shifted", shift=shift, offset=start)
    return None


def _lacks_returns(data: bytes, start: int, size: int, count: int) -> bool:
    """Whether the first block with a wrong checksum lacks so many carriage returns, and the file has none before line feeds.

    The index block begins at `start`, and has `size` bytes.
    """
    try:
        handles = [BlockHandle.parse(value)[0] for _, value in iterate(data[start : start + size])]
    except CorruptionError:
        return False
    first = next((each for each in handles if not _is_sound(data, each.offset, each.size)), None)
    if first is None or b"\r\n" in data:
        return False
    end = first.offset + first.size + 1 - count
    block = data[first.offset : end]
    feeds = [found.start() for found in re.finditer(b"\n", block)]
    expected = unmask(int.from_bytes(data[end : end + 4], "little"))
    return find_lost(block, feeds, b"\r", 1 if count == 1 else 2, expected) is not None


def _cause_of_block(data: bytes, index: BlockHandle, place: int) -> str | None:
    """Why the block that has this place in it can't be read; None if none has it. `index` is the index block's."""
    handles = [index]
    with contextlib.suppress(CorruptionError):  # it may be the index block that is damaged
        listed = iterate(data[index.offset : index.offset + index.size])
        handles += [BlockHandle.parse(value)[0] for _, value in listed]
    offset, size = next(
        ((each.offset, each.size) for each in handles if each.offset <= place <= each.offset + each.size),
        (0, 0),
    )
    block = data[offset : offset + size + TRAILER_BYTES]
    if not size or len(block) < size + TRAILER_BYTES:
        return None
    if not block.strip(b"\0"):
        return cause_line("zero-filled")
    wrong = unmask(FIXED32.unpack(block[-4:])[0]) ^ crc32c(block[:-4])
    if not wrong:
        return cause_line("impossible-entry")
    found = find_flipped_bit(wrong, len(block) - 4)
    return (
        cause_line("changed")
        if found is None
        else cause_line("flipped-bit", bit=found[1], offset=offset + found[0])
    )


def _footer(data: bytes) -> Footer | None:
    with contextlib.suppress(CorruptionError):
        return Footer.parse(data[-FOOTER_BYTES:]) if len(data) >= FOOTER_BYTES else None
    return None


def _ends_well(data: bytes) -> bool:
    """Whether there is a footer, and an index block in the place that it names."""
    footer = _footer(data)
    if footer is None:
        return False
    index = footer.index_handle
    return index.offset + index.size + TRAILER_BYTES <= len(data) - FOOTER_BYTES and _is_sound(
        data, index.offset, index.size
    )


def _is_sound(data: bytes, start: int, size: int) -> bool:
    """Whether there is a block with a right checksum."""
    end = start + size + TRAILER_BYTES
    return size > 0 and end <= len(data) and is_sound(data, start, end - 4)


class Damage:
    """Finds the causes of wrong checksums of tensors in one data shard, from its bytes."""

    def __init__(
        self,
        read: Callable[[int, int], bytes],
        size: int,
        entries: Sequence[tuple[str, TensorEntry]],
        *,
        big_endian: bool,
    ) -> None:
        """For a file of `size` bytes, with the entries of all tensors in it, also where it is too short for them.

        `read` returns bytes by offset and number.
        """
        self._read, self._size, self._big_endian = read, size, big_endian
        self._entries = entries
        self._by_content: dict[tuple[int, int | None], str]
        self._by_content = {(entry.nbytes, entry.crc32c): key for key, entry in reversed(entries)}
        self._shift = size - max((entry.offset + entry.nbytes for _, entry in entries), default=0)
        self._looked_at = 0
        self._found: int | None = None  # by how much a tensor's bytes are shifted
        self._unread = size  # bytes that are searched for damaged sectors
        self._left = size  # bytes that are examined of tensors after the first ones

    def cause(self, key: str, entry: TensorEntry, *, failed: int, zeros: str | None) -> str | None:
        """Why this tensor's checksum is wrong, if its bytes tell.

        Args:
            key: its key.
            entry: its entry.
            failed: how many tensors in the file have wrong checksums.
            zeros: the cause that it has zeros, if it has. In a file that was converted or shifted, these may be another's.
        """
        self._looked_at += 1
        if entry.nbytes > _TENSOR_BYTES:
            return self.of_whole or zeros
        if self._looked_at > _MOST_TENSORS:
            self._left -= entry.nbytes
            known = self._found is not None and self._left >= 0 and not self.of_whole
            return (self._shifted(entry, [self._found or 0]) if known else self.of_whole) or zeros
        if zeros is not None:
            return self.of_whole or self._shifted(entry, self._shifts_of(entry)) or zeros
        data = self._read(entry.offset, entry.nbytes)
        computed = self._checksum(entry, data)
        other = self._by_content.get((entry.nbytes, computed))
        if other is not None and other != key and entry.nbytes >= 8:
            return cause_line("other-tensor", other=other)
        return (
            self._byte_order(entry, data)
            or self.of_whole
            or self._shifted(entry, self._shifts_of(entry))
            or self._bit(entry, computed, failed)
            or self._sector(entry, data)
        )

    def _sector(self, entry: TensorEntry, data: bytes) -> str | None:
        """The damaged sector of a tensor of numbers; tensors that have bytes in common are not all examined."""
        self._unread -= entry.nbytes
        if not entry.dtype.itemsize or self._unread < 0:
            return None
        return sector_in(entry, data, big_endian=self._big_endian)

    def _checksum(self, entry: TensorEntry, data: bytes, *, other_order: bool = False) -> int | None:
        """The checksum of a tensor with these bytes; None if they are not the encoding of its strings or variants."""
        try:
            checksum = payload_checksum(
                entry.dtype, entry.elements, entry.nbytes, big_endian=self._big_endian is not other_order
            )
            checksum.update(data)
            return checksum.finish()
        except CorruptionError:
            return None

    @cached_property
    def of_whole(self) -> str | None:
        """The cause that the whole file was copied as text, or None, also if it can't be read."""
        with contextlib.suppress(BundleError):
            return conversion_of_shard(self._read, self._size, [entry for _, entry in self._entries])
        return None

    def _byte_order(self, entry: TensorEntry, data: bytes) -> str | None:
        """The cause that strings have another byte order than the header says, or None."""
        if entry.dtype is DType.string and self._checksum(entry, data, other_order=True) == entry.crc32c:
            return cause_line("byte-order", order="little" if self._big_endian else "big")
        return None

    def _shifts_of(self, entry: TensorEntry) -> Iterator[int]:
        """The shifts that a tensor may have: as others, as the file's size tells, and small ones."""
        yield from (self._shift if self._found is None else self._found, self._shift)
        if entry.dtype.itemsize and 8 <= entry.nbytes <= 1 << 16:
            yield from range(1, _SHIFTS + 1)
            yield from range(-1, -_SHIFTS - 1, -1)

    def _shifted(self, entry: TensorEntry, shifts: Iterable[int]) -> str | None:
        if entry.elements > _FEW_STRINGS and not entry.dtype.itemsize:
            return None
        for shift in shifts:
            start = entry.offset + shift
            if not shift or start < 0 or start + entry.nbytes > self._size:
                continue
            if self._checksum(entry, self._read(start, entry.nbytes)) == entry.crc32c:
                self._found = shift
                return cause_line("shifted", shift=shift, offset=start)
        return None

    def _bit(self, entry: TensorEntry, computed: int | None, failed: int) -> str | None:
        if computed is None or failed > _FEW or entry.nbytes > _FLIPPED_BYTES:
            return None
        found = find_flipped_bit(computed ^ entry.crc32c, entry.nbytes)
        return (
            None if found is None else cause_line("flipped-bit", bit=found[1], offset=entry.offset + found[0])
        )
