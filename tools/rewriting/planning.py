"""From expressions to planned entries: which bytes stay as they are, which are computed, and in which data shard."""

from __future__ import annotations

import itertools
import math
import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from tensorbundle.boxes import corners, must_cover, must_tile, whole_box
from tensorbundle.coding import combine_crc32c
from tensorbundle.entries import StoredRange, TensorEntry
from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.shards import check_shape
from tensorbundle.slices import readable_key, slice_key_start
from tensorbundle.tools.rewriting.expressions import Stored
from tensorbundle.tools.rewriting.plan import Carried, Converted, PlannedEntry
from tensorbundle.tools.rewriting.rearranging import Region

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorbundle.boxes import Box
    from tensorbundle.slices import TensorSlice
    from tensorbundle.tools.rewriting.expressions import Expression
    from tensorbundle.tools.rewriting.plan import Plan

__all__ = ["Layout", "add_entries", "sorted_by", "source_place"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Layout:
    """How tensors are distributed over data shards: as in the sources, unless one of these is set.

    Attributes:
        shards: that many, of about the same size.
        max_bytes: another one is begun when one would be larger.
    """

    shards: int | None = None
    max_bytes: int | None = None

    def assign(self, entries: list[PlannedEntry]) -> list[PlannedEntry]:
        """The entries, each with its data shard."""
        if self.shards is None and self.max_bytes is None:
            return entries
        out = []
        total = sum(each.origin.entry.nbytes for each in entries) or 1
        done = size = number = 0
        for each in entries:
            nbytes = each.origin.entry.nbytes
            if self.max_bytes is not None:
                if size and size + nbytes > self.max_bytes:
                    number, size = number + 1, 0
                size += nbytes
            elif self.shards is not None:
                number = min((2 * done + nbytes) * self.shards // (2 * total), self.shards - 1)
                done += nbytes
            out.append(replace(each, shard=number))
        return out


class _Values:
    """The values of one tensor, with facts that all of its entries need and that are computed once."""

    def __init__(self, key: bytes, expression: Expression) -> None:
        self.key = key
        self.expression = expression
        self._is_computable = False
        self._slices: dict[tuple[tuple[int, int], ...], tuple[bytes, TensorEntry]] = {}
        if isinstance(expression, Stored):
            for home, (_, name, entry) in zip(expression.homes, expression.stored_slices, strict=True):
                self._slices.setdefault(corners(home), (name, entry))

    def stored_slice(self, box: Box) -> tuple[bytes, TensorEntry] | None:
        """The key and the entry of the stored slice that is exactly this box, if there is one."""
        return self._slices.get(corners(box))

    def must_be_computable(self) -> None:
        """Refuse to compute values that no array can have, or with a tensor whose slices leave something out or overlap."""
        if self._is_computable:
            return
        for stored in self.expression.inputs():
            try:
                check_shape(stored.shape, stored.dtype)
                if stored.stored_slices:
                    must_tile(stored.homes, stored.shape)
            except (CorruptionError, UnsupportedError) as error:
                raise error.locate(path=stored.index.prefix, key=readable_key(stored.key)) from None
        try:
            check_shape(self.expression.shape, self.expression.dtype)
        except UnsupportedError as error:
            raise error.locate(key=readable_key(self.key)) from None
        self._is_computable = True


def add_entries(
    plan: Plan,
    key: bytes,
    values: Expression,
    slices: tuple[TensorSlice, ...] = (),
    base: int = 0,
) -> None:
    """Add the entries of a tensor to a plan: one, or one for each slice.

    Args:
        plan: the plan, which is changed.
        key: of the tensor.
        values: of the tensor.
        slices: how it is partitioned; empty if it is not.
        base: offset added to source shard numbers; of new bytes, the data shard.

    Raises:
        CorruptionError: slices leave something out; or values are computed from slices that overlap.
        UnsupportedError: computed values can't be an array.
    """
    shape = values.shape
    # TensorFlow, too, stores a slice that is everything as a tensor that is not partitioned.
    is_whole = not slices or slices[0].shape(shape) == shape
    carried = _carried_whole(plan, values) if is_whole and isinstance(values, Stored) else None
    if carried is not None:
        plan.entries.append(PlannedEntry(key, carried, base + carried.entry.shard))
        return
    source = _Values(key, values)
    if is_whole:
        plan.entries.append(_planned(plan, key, source, whole_box(shape), base))
        return
    boxes = [part.box(shape) for part in slices]
    must_cover(boxes, shape)
    total, start = 0, slice_key_start(key)
    for part, box in zip(slices, boxes, strict=True):
        planned = _planned(plan, start + part.key_end, source, box, base)
        plan.entries.append(planned)
        total += planned.origin.entry.nbytes
    plan.partitioned[key] = TensorEntry(values.dtype, shape, total, slices=slices)


def source_place(planned: PlannedEntry) -> tuple[int, float, int]:
    """The sort key of entries: the data shard, the place in the source's file, and the number of bytes there.

    An empty tensor begins where the next one does, and comes before it. New tensors come last.
    """
    origin = planned.origin
    if isinstance(origin, Carried):
        return planned.shard, origin.stored.offset, origin.stored.nbytes
    first = next(origin.expression.inputs(), None) if isinstance(origin, Converted) else None
    if first is None:
        return planned.shard, math.inf, 0
    return planned.shard, first.first_entry.offset, first.first_entry.nbytes


def sorted_by(items: list[_T], place: Callable[[_T], Any]) -> list[_T]:
    """The items in ascending order of their places. Most are in it already, and take no memory for the places then."""
    if all(itertools.starmap(operator.le, itertools.pairwise(map(place, items)))):
        return items
    return sorted(items, key=place)


def _carried_whole(plan: Plan, stored: Stored) -> Carried | None:
    """The bytes of a tensor that is not partitioned, if they are somewhere as the output stores them: most tensors."""
    if stored.stored_slices:
        return None
    index, key, entry = stored.index, stored.key, stored.entry
    place = index.stored(key, entry)
    return (
        Carried(index, key, entry, place)
        if place is not None and plan.output.carries(entry.dtype, place)
        else None
    )


def _planned(plan: Plan, key: bytes, source: _Values, box: Box, base: int) -> PlannedEntry:
    """One stored tensor or slice: a box of an expression, carried if its bytes exist somewhere."""
    expression = source.expression
    if isinstance(expression, Stored):
        carried = _carried(expression, source, box)
        if carried is not None and plan.output.carries(carried.entry.dtype, carried.stored):
            return PlannedEntry(key, carried, base + carried.entry.shard)
        found = source.stored_slice(box)
        if found is not None:
            stored = Stored(expression.index, *found)
            return PlannedEntry(key, Converted.of(stored), base + stored.entry.shard)
    source.must_be_computable()
    first = next(expression.inputs(), None)
    values = expression if box == whole_box(expression.shape) else Region(expression, box)
    return PlannedEntry(key, Converted.of(values), base + (0 if first is None else first.first_entry.shard))


def _carried(stored: Stored, source: _Values, box: Box) -> Carried | None:
    """The bytes of a box of a stored tensor, if they are somewhere in one run; see `_carried_whole` for all of them."""
    index, whole = stored.index, whole_box(stored.shape)
    if not stored.stored_slices:
        place = index.stored(stored.key, stored.entry)
        return None if place is None or box == whole else _rows(stored, place, box)
    found = source.stored_slice(box)
    if found is not None:
        place = index.stored(*found)
        return None if place is None else Carried(index, *found, place)
    return _side_by_side(stored) if box == whole else None


def _rows(stored: Stored, place: StoredRange, box: Box) -> Carried | None:
    """Whole rows of a tensor of numbers: one run of its bytes, whose checksum is not known."""
    entry = stored.entry
    if not entry.dtype.itemsize or box[1:] != whole_box(entry.shape[1:]):
        return None
    row = math.prod(entry.shape[1:]) * entry.dtype.itemsize
    rows = box[0].stop - box[0].start
    offset = box[0].start * row
    part = entry._replace(
        shape=(rows, *entry.shape[1:]), offset=entry.offset + offset, nbytes=rows * row, crc32c=0
    )
    place = place._replace(offset=place.offset + offset, nbytes=rows * row, crc32c=None)
    return Carried(stored.index, stored.key, part, place, part_of=entry)


def _side_by_side(stored: Stored) -> Carried | None:
    """All of a tensor whose slices are rows that follow each other: their checksums combine to that of the whole."""
    if not stored.dtype.itemsize:
        return None
    placed = zip(stored.homes, stored.stored_slices, strict=True)
    ordered = sorted(placed, key=lambda each: each[0][0].start)
    first = ordered[0][1].entry
    entry = TensorEntry(stored.dtype, stored.shape, 0, first.shard, first.offset)
    place: StoredRange | None = None
    row = 0
    for box, each in ordered:
        there = stored.index.stored(each.key, each.entry)
        if there is None or box[1:] != whole_box(stored.shape[1:]) or box[0].start != row:
            return None
        place = there if place is None else _joined(place, there)
        if place is None:
            return None
        row = box[0].stop
    if place is None or row != stored.shape[0]:
        return None
    entry = entry._replace(nbytes=place.nbytes, crc32c=place.crc32c or 0)
    return Carried(stored.index, stored.key, entry, place)


def _joined(first: StoredRange, second: StoredRange) -> StoredRange | None:
    """Two ranges as one, if the second follows the first."""
    if (first.path, first.offset + first.nbytes) != (second.path, second.offset):
        return None
    crc = None
    if first.crc32c is not None and second.crc32c is not None:
        crc = combine_crc32c(first.crc32c, second.crc32c, second.nbytes)
    return first._replace(nbytes=first.nbytes + second.nbytes, crc32c=crc)
