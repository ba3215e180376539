"""Checks the checksums of many ranges in several threads, a large tensor in parts.

The checksum of a whole follows from those of its parts (`combine_crc32c`), so that one tensor of gigabytes takes as
little time as many small ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tensorbundle.coding import combine_crc32c
from tensorbundle.errors import CorruptionError
from tensorbundle.tools.rewriting.ordered import in_order
from tensorbundle.tools.rewriting.ranges import OpenFiles, TensorRange, runs, stream_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tensorbundle.tools.rewriting.ordered import Jobs

__all__ = ["checked"]

_TASK_BYTES: Final = 16 << 20  # what a thread checks at a time


@dataclass(frozen=True, slots=True)
class _Task:
    """What one thread checks: ranges that follow each other in a file, or a part of a range.

    Attributes:
        ranges: the ranges that are read.
        whole: the range of which the only one of `ranges` is a part, or None.
        ends: whether it is the last part.
    """

    ranges: list[TensorRange]
    whole: TensorRange | None = None
    ends: bool = False


@dataclass(slots=True)
class _Found:
    """What was found in a task: bytes read, the ranges with wrong checksums, and the checksum of a part."""

    nbytes: int = 0
    failures: list[tuple[TensorRange, CorruptionError]] = field(default_factory=list)
    crc32c: int = 0


def checked(
    ranges: Iterable[TensorRange], failed: Callable[[TensorRange, CorruptionError], object], *, jobs: Jobs = 1
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
    crc = 0
    for task, found in in_order(_check, _tasks(ranges), jobs=jobs):
        for failure in found.failures:
            failed(*failure)
        if task.whole is not None:
            crc = combine_crc32c(crc, found.crc32c, found.nbytes)
            if task.ends:
                try:
                    task.whole.must_match(crc)
                except CorruptionError as error:
                    failed(task.whole, error)
                crc = 0
        yield found.nbytes


def _tasks(ranges: Iterable[TensorRange]) -> Iterator[_Task]:
    """Runs of ranges of about the same size, and parts of large ranges."""
    for run in runs(ranges):
        together: list[TensorRange] = []
        size = 0
        for each in run:
            nbytes = each.stored.nbytes
            large = nbytes > _TASK_BYTES and each.dtype.itemsize > 0
            if together and (large or size + nbytes > _TASK_BYTES):
                yield _Task(together)
                together, size = [], 0
            if large:
                yield from _parts(each)
            else:
                together.append(each)
                size += nbytes
        if together:
            yield _Task(together)


def _parts(whole: TensorRange) -> Iterator[_Task]:
    """A range whose bytes are values, in parts without checksums of their own."""
    stored = whole.stored
    for start in range(0, stored.nbytes, _TASK_BYTES):
        nbytes = min(_TASK_BYTES, stored.nbytes - start)
        part = stored._replace(offset=stored.offset + start, nbytes=nbytes, crc32c=None)
        yield _Task([replace(whole, stored=part)], whole, start + nbytes == stored.nbytes)


def _check(task: _Task) -> _Found:
    found = _Found()

    def note(part: TensorRange, crc: int) -> None:
        del part
        found.crc32c = crc

    def fail(failed: TensorRange, error: CorruptionError) -> None:
        found.failures.append((failed, error))

    with OpenFiles() as files:
        found.nbytes = stream_ranges(task.ranges, files, failed=fail, computed=note)
    return found
