"""Reads boxes of tensors whose bytes are somewhere as they are, in C order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tensorbundle.arrays import np
from tensorbundle.boxes import whole_box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tensorbundle.boxes import Box
    from tensorbundle.dtypes import Array

__all__ = ["GAP_BYTES", "gather", "ranges_of"]

_GATHER_BYTES: Final = 4 << 20  # read in one run, from which the wanted ones are picked
# Between what is wanted of two rows, from which on each row is read by itself. Up to that many take less time than another
# request over a network, and not much more than another call of the system.
GAP_BYTES: Final = 64 << 10


def gather(
    fill: Callable[[int, memoryview], object], shape: tuple[int, ...], box: Box, out: Array, base: int = 0
) -> None:
    """Fill an array with a box of a tensor, in as few reads as make sense.

    Args:
        fill: fills a buffer with the tensor's bytes from an offset on, which are its values in C order.
        shape: of the tensor.
        box: of the tensor.
        out: with the shape of the box, contiguous.
        base: what is added to offsets.
    """
    while box and box[0].stop - box[0].start == 1:
        base += box[0].start * math.prod(shape[1:]) * out.dtype.itemsize
        shape, box, out = shape[1:], box[1:], out.reshape(out.shape[1:])
    row = math.prod(shape[1:]) * out.dtype.itemsize
    if box[1:] == whole_box(shape[1:]):  # one run of bytes
        start = base + (box[0].start * row if box else 0)
        fill(start, out.reshape(-1).view(np.uint8).data)
    elif _is_apart(shape, box, out.dtype.itemsize):
        for number, position in enumerate(range(box[0].start, box[0].stop)):
            gather(fill, shape[1:], box[1:], out[number], base + position * row)
    else:
        step = max(1, _GATHER_BYTES // row)
        buffer = bytearray(min(step, box[0].stop - box[0].start) * row)
        for start in range(box[0].start, box[0].stop, step):
            stop = min(start + step, box[0].stop)
            run = memoryview(buffer)[: (stop - start) * row]
            fill(base + start * row, run)
            rows = np.frombuffer(run, np.uint8).view(out.dtype).reshape(stop - start, *shape[1:])
            out[start - box[0].start : stop - box[0].start] = rows[(slice(None), *box[1:])]


def ranges_of(shape: tuple[int, ...], box: Box, itemsize: int, base: int = 0) -> Iterator[tuple[int, int]]:
    """The ranges of bytes that `gather` reads of a box that is not empty, in its order: offsets and sizes.

    Ranges that follow each other may be one.
    """
    row = math.prod(shape[1:]) * itemsize
    if box and box[1:] != whole_box(shape[1:]) and _is_apart(shape, box, itemsize):
        for position in range(box[0].start, box[0].stop):
            yield from ranges_of(shape[1:], box[1:], itemsize, base + position * row)
    elif box and box[0].stop - box[0].start == 1:
        yield from ranges_of(shape[1:], box[1:], itemsize, base + box[0].start * row)
    elif box:
        yield base + box[0].start * row, (box[0].stop - box[0].start) * row
    else:
        yield base, itemsize


def _is_apart(shape: tuple[int, ...], box: Box, itemsize: int) -> bool:
    """Whether so much is between what is wanted of two rows, or a row is so long, that each row is read by itself."""
    row = math.prod(shape[1:]) * itemsize
    first = last = 0
    for size, each in zip(shape[1:], box[1:], strict=True):
        first, last = first * size + each.start, last * size + each.stop - 1
    wanted = (last + 1 - first) * itemsize
    return row > _GATHER_BYTES or row - wanted > GAP_BYTES
