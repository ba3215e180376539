"""The checksum of a tensor's content, the same however it is stored: the CRC-32C of its little-endian bytes.

For strings it is the CRC-32C of the bytes that a little-endian bundle stores (`payloads.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.coding import combine_crc32c, crc32c
from tensorbundle.dtypes import DType
from tensorbundle.payloads import encode_strings
from tensorbundle.tools.operations.inspecting.passes import flat_values_of
from tensorbundle.tools.rewriting.expressions import Stored

if TYPE_CHECKING:
    from tensorbundle.boxes import Box
    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.tools.rewriting.expressions import Expression

__all__ = ["computed_checksum", "has_checksums", "stored_checksum"]


def stored_checksum(values: Expression) -> int | None:
    """The checksum of a tensor in its index; None if there is none, so the values must be read or computed.

    The checksum of a partitioned tensor is computed from those of its slices, if each slice is one run of its bytes, as
    rows are.

    Raises:
        CorruptionError: its index is damaged.
    """
    if not isinstance(values, Stored):
        return None
    if not values.stored_slices:
        return _little_endian_checksum(values.index, values.key, values.entry)
    if not values.dtype.itemsize:
        return None
    parts = []
    for part, slice_key, stored in values.stored_slices:
        start = _run_start(part.box(values.shape), values.shape)
        checksum = _little_endian_checksum(values.index, slice_key, stored)
        if start is None or checksum is None:
            return None
        parts.append((start, stored.elements, stored.nbytes, checksum))
    crc = end = 0
    for start, elements, nbytes, checksum in sorted(parts):
        if start != end:
            return None
        crc = combine_crc32c(crc, checksum, nbytes)
        end += elements
    return crc if end == values.entry.elements else None


def _little_endian_checksum(index: Index, key: bytes, entry: TensorEntry) -> int | None:
    stored = index.stored(key, entry)
    if stored is None:
        return None
    swapped = stored.big_endian and (entry.dtype.swap_width > 1 or entry.dtype is DType.string)
    return None if swapped else stored.crc32c


def has_checksums(index: Index) -> bool:
    """Whether the index has checksums of tensors; a format has them of all tensors, or of none."""
    for key, entry in index.raw_entries():
        if not entry.slices:
            stored = index.stored(key, entry)
            return stored is not None and stored.crc32c is not None
    return True


def _run_start(box: Box, shape: tuple[int, ...]) -> int | None:
    """The first element of a box, counted in C order, if its elements follow each other; else None."""
    start = 0
    many = False
    for each, size in zip(box, shape, strict=True):
        length = each.stop - each.start
        if many and length != size:
            return None
        many = many or length > 1
        start = start * size + each.start
    return start


def computed_checksum(values: Expression, *, verify: bool = True) -> int:
    """The checksum of a tensor, computed from its values.

    Raises:
        CorruptionError, MissingFileError: they are damaged or absent.
        UnsupportedError: a variant, whose values can't be read.
    """
    crc = 0
    for chunk in flat_values_of(values, verify=verify):
        crc = (
            encode_strings(chunk.tolist())[2]
            if values.dtype is DType.string
            else crc32c(chunk.view("u1").data, crc)
        )
    return crc
