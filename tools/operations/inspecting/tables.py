"""Damage of a table that hides no entry: what `verify` checks of an index beside its blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorbundle.errors import CorruptionError
from tensorbundle.table import FOOTER_BYTES, TRAILER_BYTES, BlockHandle, Footer
from tensorbundle.tools.operations.inspecting.blocks import is_sound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.table import TableReader

__all__ = ["harmless_damage"]

_CHECKSUM_BYTES: Final = 4  # at the end of a trailer


def harmless_damage(table: TableReader) -> Iterator[CorruptionError]:
    """What is wrong with bytes of a table that no reader needs.

    These are the metaindex block, which is empty, the padding of the footer, and bytes between blocks, of which TensorFlow
    writes none.
    """
    file = table.file
    start = file.size - FOOTER_BYTES
    stored = file.read(start, FOOTER_BYTES)
    footer = Footer.parse(stored)
    if footer.encode() != stored:
        yield CorruptionError("the padding of the footer is not zero", path=file.path, offset=start)
    metaindex = footer.metaindex_handle
    size = metaindex.size + TRAILER_BYTES
    if metaindex.offset + size > start or not is_sound(
        file.read(metaindex.offset, size), 0, size - _CHECKSUM_BYTES
    ):
        yield CorruptionError(
            "the metaindex block has a wrong checksum", path=file.path, offset=metaindex.offset
        )
        return
    at = 0
    for each in (*sorted([*table.handles, metaindex, footer.index_handle]), BlockHandle(start, 0)):
        if each.offset > at:
            yield CorruptionError(f"{each.offset - at} bytes are in no block", path=file.path, offset=at)
        at = max(at, each.offset + each.size + TRAILER_BYTES)
