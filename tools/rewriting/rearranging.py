"""The values of other tensors in other places: regions, permuted axes, other shapes, several tensors in one, chosen rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorbundle.arrays import np
from tensorbundle.boxes import (
    flat_boxes,
    flat_runs,
    intersect,
    relative,
)
from tensorbundle.dtypes import DType
from tensorbundle.gathering import GAP_BYTES
from tensorbundle.tools.rewriting.expressions import SCATTERED_BYTES, Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.boxes import Box
    from tensorbundle.dtypes import Array
    from tensorbundle.tools.rewriting.expressions import Expression
    from tensorbundle.tools.rewriting.reading import Reading

__all__ = ["Concat", "Region", "Reshape", "Take", "Transpose", "reshaped"]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A box of another tensor."""

    source: Expression
    box: Box

    @property
    def dtype(self) -> DType:
        """The source's."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The box's."""
        return tuple(each.stop - each.start for each in self.box)

    @property
    def scattered(self) -> bool:
        """Whether the source is."""
        return self.source.scattered

    def read(self, box: Box, reading: Reading) -> Array:
        """The values of a box."""
        moved = tuple(
            slice(home.start + each.start, home.start + each.stop)
            for each, home in zip(box, self.box, strict=True)
        )
        return self.source.read(moved, reading)

    def inputs(self) -> Iterator[Stored]:
        """Those of the source."""
        return self.source.inputs()

    def __str__(self) -> str:
        return f"{self.source}[{', '.join(f'{each.start}:{each.stop}' for each in self.box)}]"


@dataclass(frozen=True, slots=True, eq=False)
class Transpose:
    """Another tensor with its axes in another order."""

    source: Expression
    axes: tuple[int, ...]

    @property
    def dtype(self) -> DType:
        """The source's."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The source's, reordered."""
        return tuple(self.source.shape[axis] for axis in self.axes)

    @property
    def scattered(self) -> bool:
        """Whether axes change places, or the source is scattered."""
        return self.axes != tuple(range(len(self.axes))) or self.source.scattered

    def read(self, box: Box, reading: Reading) -> Array:
        """The values of a box."""
        inner = [slice(0, 0)] * len(box)
        for axis, each in zip(self.axes, box, strict=True):
            inner[axis] = each
        return self.source.read(tuple(inner), reading).transpose(self.axes)

    def inputs(self) -> Iterator[Stored]:
        """Those of the source."""
        return self.source.inputs()

    def __str__(self) -> str:
        return f"transpose {self.source} by {list(self.axes)}"


@dataclass(frozen=True, slots=True, eq=False)
class Reshape:
    """The same elements in another shape."""

    source: Expression
    shape: tuple[int, ...]

    @property
    def dtype(self) -> DType:
        """The source's."""
        return self.source.dtype

    @property
    def scattered(self) -> bool:
        """Whether the source is."""
        return self.source.scattered

    def read(self, box: Box, reading: Reading) -> Array:
        """The values of a box."""
        shape = [each.stop - each.start for each in box]
        flat = np.empty(math.prod(shape), self.dtype.numpy)
        done = 0
        for start, stop in flat_runs(self.shape, box):
            for inner in flat_boxes(self.source.shape, start, stop):
                values = self.source.read(inner, reading).reshape(-1)
                flat[done : done + values.size] = values
                done += values.size
        return flat.reshape(shape)

    def inputs(self) -> Iterator[Stored]:
        """Those of the source."""
        return self.source.inputs()

    def __str__(self) -> str:
        return f"reshape {self.source} to {list(self.shape)}"


def reshaped(expression: Expression, shape: tuple[int, ...]) -> Expression:
    """The same elements in another shape; the same bytes, where a checkpoint has them in one piece."""
    same = expression.reshaped(shape) if isinstance(expression, Stored) else None
    return same or Reshape(expression, shape)


@dataclass(frozen=True, slots=True, eq=False)
class Concat:
    """Tensors of one type, one after another along an axis."""

    parts: tuple[Expression, ...]
    axis: int

    @property
    def dtype(self) -> DType:
        """That of the parts."""
        return self.parts[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the parts, as long along the axis as all of them."""
        shape = list(self.parts[0].shape)
        shape[self.axis] = sum(part.shape[self.axis] for part in self.parts)
        return tuple(shape)

    @property
    def scattered(self) -> bool:
        """Whether parts alternate, or one is scattered."""
        return self.axis > 0 or any(part.scattered for part in self.parts)

    def read(self, box: Box, reading: Reading) -> Array:
        """The values of a box, from the parts that it meets."""
        out = np.empty([each.stop - each.start for each in box], self.dtype.numpy)
        start = 0
        for part in self.parts:
            stop = start + part.shape[self.axis]
            home = (*box[: self.axis], slice(start, stop), *box[self.axis + 1 :])
            common = intersect(box, home)
            if common is not None:
                inner = list(common)
                inner[self.axis] = slice(common[self.axis].start - start, common[self.axis].stop - start)
                out[relative(common, box)] = part.read(tuple(inner), reading)
            start = stop
        return out

    def inputs(self) -> Iterator[Stored]:
        """Those of the parts."""
        for part in self.parts:
            yield from part.inputs()

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.parts))} along {self.axis}"


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """Rows of another tensor along an axis, in any order; -1 means a row of zeros."""

    source: Expression
    axis: int
    rows: Array  # int64, one for each row of the result

    @property
    def dtype(self) -> DType:
        """The source's."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The source's, with as many rows as were asked for."""
        shape = self.source.shape
        return (*shape[: self.axis], len(self.rows), *shape[self.axis + 1 :])

    @property
    def scattered(self) -> bool:
        """Yes: rows come in any order."""
        return True

    def read(self, box: Box, reading: Reading) -> Array:
        """The values of a box; rows that are near each other in the source are read together."""
        out = np.zeros([each.stop - each.start for each in box], self.dtype.numpy)
        if self.dtype is DType.string:
            out[...] = b""
        axis, wanted = self.axis, self.rows[box[self.axis]]
        order = np.argsort(wanted, kind="stable")
        order = order[np.searchsorted(wanted[order], 0) :]  # without rows of zeros
        rows = wanted[order]
        groups = list(_near(rows, *self._near_rows(out.shape)))
        homes = [
            (*box[:axis], slice(int(rows[start]), int(rows[stop - 1]) + 1), *box[axis + 1 :])
            for start, stop in groups
        ]
        if isinstance(self.source, Stored) and not self.source.stored_slices:
            source = self.source
            reading.expect((source.index, source.key, source.entry, home) for home in homes)
        along = np.moveaxis(out, axis, 0)
        for (start, stop), home in zip(groups, homes, strict=True):
            values = self.source.read(home, reading)
            along[order[start:stop]] = np.moveaxis(values, axis, 0)[rows[start:stop] - home[axis].start]
        return out

    def _near_rows(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The most rows between two that are read together, and the most that are read together, for a box of this shape."""
        size = max(self.dtype.itemsize, 1)
        inner = size * math.prod(shape[self.axis + 1 :])
        return max(1, GAP_BYTES // max(inner, 1)), max(
            1, SCATTERED_BYTES // max(inner * math.prod(shape[: self.axis]), 1)
        )

    def inputs(self) -> Iterator[Stored]:
        """Those of the source."""
        return self.source.inputs()

    def __str__(self) -> str:
        kept = int((self.rows >= 0).sum())
        return f"{len(self.rows)} rows along {self.axis} of {self.source}, {kept} of them kept"


def _near(rows: Array, gap: int, most: int) -> Iterator[tuple[int, int]]:
    """The places, from and up to, of ascending numbers that have at most `gap` between them, and `most` from first to last."""
    breaks = np.flatnonzero(np.diff(rows) > gap) + 1
    for first, stop in zip([0, *breaks.tolist()], [*breaks.tolist(), len(rows)], strict=True):
        start = first
        while start < stop:
            end = min(stop, int(np.searchsorted(rows, rows[start] + most)))
            yield start, end
            start = end
