"""Boxes: parts of a tensor, a range of elements along each dimension."""

from __future__ import annotations

import bisect
import itertools
import math
from typing import TYPE_CHECKING

from tensorbundle.errors import CorruptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "Box",
    "BoxPlaces",
    "corners",
    "find_overlap",
    "flat_boxes",
    "flat_runs",
    "intersect",
    "must_cover",
    "must_tile",
    "relative",
    "whole_box",
]

Box = tuple[slice, ...]


def whole_box(shape: tuple[int, ...]) -> Box:
    """The box that covers a whole tensor."""
    return tuple(slice(0, size) for size in shape)


def corners(box: Box) -> tuple[tuple[int, int], ...]:
    """A box in a form that can be looked up, as Python's slices can't be before 3.12."""
    return tuple((each.start, each.stop) for each in box)


def relative(box: Box, origin: Box) -> Box:
    """A box relative to the first element of another."""
    return tuple(slice(x.start - y.start, x.stop - y.start) for x, y in zip(box, origin, strict=True))


def intersect(a: Box, b: Box) -> Box | None:
    """The intersection of two boxes, or None if it is empty."""
    common = tuple(slice(max(x.start, y.start), min(x.stop, y.stop)) for x, y in zip(a, b, strict=True))
    return common if all(part.start < part.stop for part in common) else None


def find_overlap(boxes: Sequence[Box]) -> tuple[int, int] | None:
    """The positions in `boxes` of two boxes that overlap, or None.

    Boxes of a grid, which are split at the same places in each dimension, take linear time after sorting.
    """
    if len(boxes) < 2 or not boxes[0]:
        return None
    axis = max(range(len(boxes[0])), key=lambda each: len({box[each].start for box in boxes}))
    bands: dict[tuple[int, int], list[int]] = {}  # boxes with the same extent along this dimension
    for number, box in enumerate(boxes):
        bands.setdefault((box[axis].start, box[axis].stop), []).append(number)
    extents = sorted(bands)
    if any(before[1] > after[0] for before, after in itertools.pairwise(extents)):
        return _swept(boxes, range(len(boxes)), axis)
    for extent in extents:
        band = bands[extent]
        inside = [(*boxes[each][:axis], *boxes[each][axis + 1 :]) for each in band]
        if len(band) > 1 and (not inside[0] or find_overlap(inside) is not None):
            found = _swept(boxes, band, axis)
            if found is not None:
                return found
    return None


def _swept(boxes: Sequence[Box], numbers: Iterable[int], axis: int) -> tuple[int, int] | None:
    """The first two of some boxes that overlap, along a dimension."""
    active: list[int] = []
    for number in sorted(numbers, key=lambda each: boxes[each][axis].start):
        box = boxes[number]
        active = [each for each in active if boxes[each][axis].stop > box[axis].start]
        for other in active:
            if intersect(boxes[other], box) is not None:
                return min(other, number), max(other, number)
        active.append(number)
    return None


class BoxPlaces:
    """Finds those of many boxes that may have elements in common with another one, without looking at all of them."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        """For boxes of one rank."""
        ranks = range(len(boxes[0]) if boxes else 0)
        self._axis = max(ranks, key=lambda each: len({box[each].start for box in boxes}), default=None)
        self._numbers = list(range(len(boxes)))
        if self._axis is not None:
            extents = [box[self._axis] for box in boxes]
            self._numbers.sort(key=lambda each: extents[each].start)
            self._starts = [extents[each].start for each in self._numbers]
            # The highest stop so far: all boxes before one end there at the latest.
            self._stops = list(itertools.accumulate((extents[each].stop for each in self._numbers), max))

    def near(self, box: Box) -> list[int]:
        """The positions of the boxes that may overlap this one, in ascending order."""
        if self._axis is None:
            return self._numbers
        first = bisect.bisect_right(self._stops, box[self._axis].start)
        return sorted(self._numbers[first : bisect.bisect_left(self._starts, box[self._axis].stop)])


def must_cover(boxes: Sequence[Box], shape: tuple[int, ...]) -> None:
    """Refuse slices that do not cover their tensor, unless they overlap, which only reading refuses.

    Raises:
        CorruptionError: elements are missing.
    """
    if find_overlap(boxes) is None:
        try:
            must_tile(boxes, shape)
        except CorruptionError as error:
            raise CorruptionError(
                f"{error.reason}: slices are missing; 'tensorbundle merge' joins the parts of a save, and drop leaves the "
                "tensor out"
            ) from None


def must_tile(boxes: Sequence[Box], shape: tuple[int, ...]) -> None:
    """Refuse boxes that do not cover every element of a tensor of this shape exactly once.

    Raises:
        CorruptionError: two boxes overlap, or elements are missing.
    """
    overlap = find_overlap(boxes)
    if overlap is not None:
        raise CorruptionError(f"slices {overlap[0]} and {overlap[1]} overlap")
    covered = sum(math.prod(part.stop - part.start for part in box) for box in boxes)
    if covered != math.prod(shape):
        raise CorruptionError(f"its slices hold {covered} of the {math.prod(shape)} elements wanted")


def flat_boxes(shape: tuple[int, ...], start: int, stop: int) -> Iterator[Box]:
    """The boxes of a tensor that make up its elements `start` to `stop` in C order, in that order."""
    if start >= stop:
        return
    if not shape:
        yield ()
        return
    row = math.prod(shape[1:])
    first, low = divmod(start, row)
    last, high = divmod(stop, row)
    inner = whole_box(shape[1:])
    if first == last:
        for box in flat_boxes(shape[1:], low, high):
            yield (slice(first, first + 1), *box)
        return
    if low:
        for box in flat_boxes(shape[1:], low, row):
            yield (slice(first, first + 1), *box)
        first += 1
    if first < last:
        yield (slice(first, last), *inner)
    for box in flat_boxes(shape[1:], 0, high):
        yield (slice(last, last + 1), *box)


def flat_runs(shape: tuple[int, ...], box: Box) -> Iterator[tuple[int, int]]:
    """The runs of elements, in C order, that a box is made of."""
    trailing = len(shape)
    while trailing and box[trailing - 1] == slice(0, shape[trailing - 1]):
        trailing -= 1
    run_axis = max(trailing - 1, 0)
    if not shape:
        yield 0, 1
        return
    row = math.prod(shape[run_axis + 1 :])
    strides = [math.prod(shape[axis + 1 :]) for axis in range(run_axis)]
    for position in itertools.product(*[range(each.stop - each.start) for each in box[:run_axis]]):
        base = sum(
            (each.start + offset) * stride
            for each, offset, stride in zip(box, position, strides, strict=False)
        )
        yield base + box[run_axis].start * row, base + box[run_axis].stop * row
