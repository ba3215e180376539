"""Tables of V1 checkpoints, also without their ends, or with a flipped bit in a block."""

from __future__ import annotations

import bisect
import re
from typing import TYPE_CHECKING, Final

from tensorbundle.entries import HEADER_KEY
from tensorbundle.errors import CorruptionError
from tensorbundle.storage.paths import basename
from tensorbundle.table import TRAILER_BYTES, BlockHandle, TableReader
from tensorbundle.tools.operations.inspecting.blocks import (
    FileBytes,
    FoundBlock,
    find_blocks,
    is_sound,
    loose_entries,
    mended_block,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tensorbundle.storage.protocols import RandomAccessFile

__all__ = ["MendedTable", "table_of"]

_AT_ONCE_BYTES: Final = 64 << 20  # of a file that is read as a whole
# The first entry of a block: no shared bytes, the sizes of key and value, and the key of a slice, which begins with the
# number 0 and the tensor's name.
_RECORD: Final = re.compile(rb"\0[\x80-\xff]{0,2}[\x01-\x7f][\x80-\xff]{0,4}[\0-\x7f]\0[^\0]")
_DATA: Final = b"\x12"  # the field of a record with a slice: `data` of SavedTensorSlices


class MendedTable(TableReader):
    """A table of which some bits are read flipped.

    Attributes:
        meta: the record that lists the tensors, if its block is damaged; so it is not proven.
    """

    def __init__(
        self,
        file: RandomAccessFile,
        blocks: Sequence[tuple[bytes, BlockHandle]],
        flipped: Mapping[int, int],
        meta: bytes | None,
    ) -> None:
        """As `TableReader`; `flipped` has the number of the bit for each place, `meta` is the record of the empty key."""
        super().__init__(file, blocks)
        self._flipped = flipped
        self._places = sorted(flipped)
        self.meta = meta

    def view(self, key: bytes) -> memoryview | None:
        """As `TableReader.view`."""
        return super().view(key) if self.meta is None or key else memoryview(self.meta)

    def find_alone(self, key: bytes, start: bytes, size: int) -> None:
        """None: bits of the file may be flipped."""
        del key, start, size

    def _read(self, offset: int, size: int) -> bytes:
        data = bytearray(super()._read(offset, size))
        first = bisect.bisect_left(self._places, offset)
        for place in self._places[first : bisect.bisect_left(self._places, offset + size)]:
            data[place - offset] ^= 1 << self._flipped[place]
        return bytes(data)


def table_of(file: RandomAccessFile, notes: list[str]) -> MendedTable:
    """The table in a file, with flipped bits put right; if its end is damaged, of the blocks that are sound.

    What was done about damage is added to the notes.

    Raises:
        CorruptionError: there are no blocks.
    """
    data = FileBytes(file) if file.size > _AT_ONCE_BYTES else file.read(0, file.size)
    flipped: dict[int, int] = {}
    try:
        table = TableReader(file)
    except CorruptionError:
        blocks: list[tuple[bytes, BlockHandle]] = []
        last = None
        for block in _blocks(data, flipped):
            if last is None or block.items[0][0] > last:  # keys ascend through a table
                last = block.items[-1][0]
                blocks.append((last, BlockHandle(block.offset, block.size)))
        if not blocks:
            raise
        notes.append(f"the end of {basename(file.path)} is damaged: its blocks were looked for")
        first = blocks[0][1].offset
    else:
        blocks = list(zip(table.separators, table.handles, strict=True))
        first = 0
        for _, (offset, size) in blocks:
            end = offset + size + TRAILER_BYTES
            sound = end <= file.size and is_sound(data, offset, offset + size + 1)
            if not sound and _mended(data, offset, end, flipped) is None and not offset:
                first = end
    notes += [
        f"a flipped bit in {basename(file.path)}, at offset {place:#x}, was put right" for place in flipped
    ]
    meta = next(loose_entries(data, 0, first), (HEADER_KEY, None)) if first else (HEADER_KEY, None)
    return MendedTable(file, blocks, flipped, meta[1] if meta[0] == HEADER_KEY else None)


def _blocks(data: bytes | FileBytes, flipped: dict[int, int]) -> Iterator[FoundBlock]:
    """The blocks in the bytes of a table, also those between and after them that one flipped bit damaged."""
    end = 0
    for block in find_blocks(data, _RECORD, _DATA):
        between = _mended(data, end, block.offset, flipped)
        yield from (each for each in (between, block) if each is not None)
        end = block.offset + block.size + TRAILER_BYTES
    last = _mended(data, end, len(data), flipped)
    if last is not None:
        yield last


def _mended(data: bytes | FileBytes, start: int, end: int, flipped: dict[int, int]) -> FoundBlock | None:
    """The block between two places that one flipped bit damaged; the bit is added to those that are flipped."""
    found = mended_block(data, start, end)
    if found is None:
        return None
    block, place, bit = found
    flipped[place] = bit
    return block
