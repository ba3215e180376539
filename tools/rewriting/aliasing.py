"""Appends a plan's entries to a data shard, with bytes that several tensors of a source have in common only once.

In an index, ranges of tensors may be the same or overlap. Copied one by one, 200 tensors in one megabyte would take 200.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.tools.rewriting.appending import append_entries
from tensorbundle.tools.rewriting.plan import Carried, PlannedEntry
from tensorbundle.tools.rewriting.ranges import OpenFiles, TensorRange, stream_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorbundle.storage.protocols import WritableFile
    from tensorbundle.tools.rewriting.options import Written

__all__ = ["append_aliased", "repeated_bytes"]


def append_aliased(
    file: WritableFile,
    entries: Sequence[PlannedEntry],
    *,
    verify: bool = True,
    progress: Callable[[int], None] | None = None,
    jobs: int = 1,
) -> tuple[list[TensorEntry], Written]:
    """As `append_entries`, but carried ranges that overlap in their source overlap here too.

    Raises:
        CorruptionError, MissingFileError, UnreadableFileError, UnsupportedError, OSError: as `append_entries`.
    """
    homes = _homes(entries)  # by position of an entry: the first of those that share bytes, and their union
    if not homes:
        return append_entries(file, entries, verify=verify, progress=progress, jobs=jobs)
    kept = [number for number in range(len(entries)) if homes.get(number, (number,))[0] == number]
    unions = [
        _union(entries[number], *homes[number][1]) if number in homes else entries[number] for number in kept
    ]
    done, written = append_entries(file, unions, verify=verify, progress=progress, jobs=jobs)
    placed = dict(zip(kept, done, strict=True))
    out = []
    ranges: dict[tuple[object, ...], TensorRange] = {}
    for number, each in enumerate(entries):
        origin = each.origin
        if number not in homes or not isinstance(origin, Carried):
            out.append(placed[number])
            continue
        first, (start, _) = homes[number]
        offset = placed[first].offset + origin.stored.offset - start
        out.append(origin.entry._replace(offset=offset))
        ranges.setdefault((origin.stored, origin.entry.dtype, origin.entry.elements), origin.range)
    if verify:
        with OpenFiles() as files:
            written.bytes_read += sum(stream_ranges([each], files) for each in ranges.values())
    return out, written


def repeated_bytes(entries: Iterable[PlannedEntry]) -> int:
    """Bytes of the tensors that `append_aliased` does not write, as others of the same data shard have them, too."""
    shards: dict[int, list[PlannedEntry]] = {}
    for each in entries:
        shards.setdefault(each.shard, []).append(each)
    repeated = 0
    for shard in shards.values():
        homes = _homes(shard)
        repeated += sum(shard[number].origin.entry.nbytes for number in homes)
        repeated -= sum(end - start for _, (start, end) in {*homes.values()})
    return repeated


def _homes(entries: Sequence[PlannedEntry]) -> dict[int, tuple[int, tuple[int, int]]]:
    """Of each carried entry that overlaps others: the first of these, and where their union begins and ends."""
    by_file: dict[str, list[tuple[int, int, int]]] = {}
    for number, each in enumerate(entries):
        origin = each.origin
        if isinstance(origin, Carried) and origin.stored.crc32c is not None and origin.stored.nbytes:
            start = origin.stored.offset
            by_file.setdefault(origin.stored.path, []).append((start, start + origin.stored.nbytes, number))
    homes: dict[int, tuple[int, tuple[int, int]]] = {}
    for ranges in by_file.values():
        for group in _overlapping(sorted(ranges)):
            union = group[0][0], max(end for _, end, _ in group)
            first = min(number for _, _, number in group)
            homes |= {number: (first, union) for _, _, number in group}
    return homes


def _overlapping(ranges: Iterable[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    """Groups of two or more ranges, sorted by where they begin, that overlap."""
    group: list[tuple[int, int, int]] = []
    end = 0
    for each in ranges:
        if group and each[0] >= end:
            if len(group) > 1:
                yield group
            group = []
        group.append(each)
        end = max(end, each[1]) if len(group) > 1 else each[1]
    if len(group) > 1:
        yield group


def _union(planned: PlannedEntry, start: int, end: int) -> PlannedEntry:
    """An entry of the bytes that several have in common, whose checksums are checked one by one."""
    origin = planned.origin
    if not isinstance(origin, Carried):
        raise TypeError(f"{type(origin).__name__} has no bytes in a source")
    stored = origin.stored._replace(offset=start, nbytes=end - start, crc32c=None)
    entry = TensorEntry(DType.uint8, (end - start,), end - start)
    return replace(planned, origin=Carried(origin.index, origin.key, entry, stored))
