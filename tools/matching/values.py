"""Checksums of tensors in the index, and whether these tell one tensor from others."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from tensorbundle.arrays import np
from tensorbundle.coding import combine_crc32c, crc32c
from tensorbundle.dtypes import DType
from tensorbundle.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorbundle.tools.rewriting.expressions import Stored

__all__ = ["checksum_of", "is_telling"]

_TELLING_BYTES: Final = 8
_DIRECT_BYTES: Final = 1 << 20  # for more repeated bytes, the checksum is combined from that of so many


def checksum_of(stored: Sequence[Stored]) -> tuple[object, ...] | None:
    """The checksums that tell values apart; None if there are none, as in V1 files."""
    for each in stored:
        known = each.index.stored(each.key, each.entry)
        if known is None or known.crc32c is None:
            return None
    return tuple(
        tuple((str(part), entry.crc32c) for part, _, entry in each.stored_slices) or each.entry.crc32c
        for each in stored
    )


def is_telling(stored: Stored) -> bool:
    """Whether a tensor's checksum tells it from others: it has enough values, which are not all zeros or ones."""
    entry = stored.entry
    if entry.dtype is DType.string:
        return entry.nbytes - entry.elements >= 2 * _TELLING_BYTES  # lengths, and their checksum
    usual = all(_is_usual(each.dtype, each.nbytes, each.crc32c) for _, each in stored.stored_entries)
    return entry.elements > 1 and entry.nbytes >= _TELLING_BYTES and not usual


def _is_usual(dtype: DType, nbytes: int, checksum: int) -> bool:
    if checksum == _repeated(b"\0", nbytes):
        return True
    try:
        one = np.ones((), dtype.numpy).tobytes()
    except UnsupportedError:
        return False
    return checksum == _repeated(one, nbytes)


@functools.lru_cache(maxsize=1 << 12)
def _repeated(pattern: bytes, nbytes: int) -> int:
    """The CRC-32C of `nbytes` bytes that repeat a pattern."""
    count = nbytes // len(pattern)
    direct = min(count, _DIRECT_BYTES // len(pattern))
    if count == direct:
        return crc32c(pattern * count)
    half = _repeated(pattern, count // 2 * len(pattern))
    twice = combine_crc32c(half, half, count // 2 * len(pattern))
    return crc32c(pattern * (count % 2), twice)
