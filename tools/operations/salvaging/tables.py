"""Tables of V1 checkpoints, also without their ends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import CorruptionError
from tensorbundle.storage.paths import basename
from tensorbundle.table import BlockHandle, TableReader
from tensorbundle.tools.operations.inspecting.blocks import FileBytes, find_blocks

if TYPE_CHECKING:
    from tensorbundle.storage.protocols import RandomAccessFile

__all__ = ["table_of"]

_AT_ONCE_BYTES: Final = 64 << 20  # of a file that is read as a whole
# The first entry of a block: no shared bytes, the sizes of key and value, and the key of a slice, which begins with the
# number 0 and the tensor's name.
_RECORD: Final = re.compile(rb"\0[\x80-\xff]{0,2}[\x01-\x7f][\x80-\xff]{0,4}[\0-\x7f]\0[^\0]")


def table_of(file: RandomAccessFile, notes: list[str]) -> TableReader:
    """The table in a file; if its end is damaged, of the blocks that are sound, which is added to the notes.

    Raises:
        CorruptionError: there are none.
    """
    try:
        return TableReader(file)
    except CorruptionError:
        data = FileBytes(file) if file.size > _AT_ONCE_BYTES else file.read(0, file.size)
        blocks: list[tuple[bytes, BlockHandle]] = []
        last = None
        for block in find_blocks(data, _RECORD):
            if last is None or block.items[0][0] > last:  # keys ascend through a table
                last = block.items[-1][0]
                blocks.append((last, BlockHandle(block.offset, block.size)))
        if not blocks:
            raise
        notes.append(f"the end of {basename(file.path)} is damaged: its blocks were looked for")
        return TableReader(file, blocks)
