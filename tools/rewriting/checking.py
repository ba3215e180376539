"""Checks the checksums of many ranges in several threads, a large tensor in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import CorruptionError
from tensorbundle.tools.rewriting.ordered import in_order
from tensorbundle.tools.rewriting.pieces import PIECE_BYTES, Whole, cut, move
from tensorbundle.tools.rewriting.ranges import OpenFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tensorbundle.tools.rewriting.ordered import Jobs
    from tensorbundle.tools.rewriting.pieces import Moved, Piece
    from tensorbundle.tools.rewriting.ranges import TensorRange

__all__ = ["checked"]


def checked(
    ranges: Sequence[TensorRange], failed: Callable[[TensorRange, CorruptionError], object], *, jobs: Jobs = 1
) -> Iterator[int]:
    """Read and check ranges; yields how many bytes were checked since it last did.

    Args:
        ranges: in the order in which they are to be read.
        failed: takes each range with a wrong checksum, in that order.
        jobs: the number of threads, or an executor.

    Raises:
        CorruptionError: a file ends too early.
        MissingFileError, UnreadableFileError: as `stream_ranges`.
    """
    whole = Whole()
    for piece, (moved, failures) in in_order(_check, cut(ranges, PIECE_BYTES), jobs=jobs):
        for part, crc in zip(piece.parts, moved.checksums, strict=True):
            if part.starts and part.ends:
                continue
            found, _ = whole.add(part, crc)
            if part.ends:  # nothing but the first part of a piece does
                try:
                    ranges[part.number].must_match(found)
                except CorruptionError as error:
                    failed(ranges[part.number], error)
        for failure in failures:
            failed(*failure)
        yield moved.bytes_read


def _check(piece: Piece) -> tuple[Moved, list[tuple[TensorRange, CorruptionError]]]:
    """What was found in a piece, and the ranges with wrong checksums, apart from those that were cut."""
    failures: list[tuple[TensorRange, CorruptionError]] = []
    with OpenFiles() as files:
        moved = move(piece, files, failed=lambda *failure: failures.append(failure))
    return moved, failures
