"""Tensors computed from stored ones, a box at a time. `rearranging.py` has those whose values only get other places.

An expression has a type and a shape, and computes the values of any of its boxes from boxes of the expressions that it
is made of. `stream_values` cuts a tensor into boxes that follow each other in memory, so a tensor of any size is
converted in a few megabytes. Only tensors of strings are held in memory as a whole.

Expressions are data. Files are opened by a `Reading`, which also checks the checksums of what it reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from tensorbundle.arrays import np
from tensorbundle.boxes import (
    BoxPlaces,
    corners,
    find_overlap,
    flat_boxes,
    intersect,
    must_tile,
    relative,
    whole_box,
)
from tensorbundle.dtypes import DType
from tensorbundle.errors import CorruptionError
from tensorbundle.slices import readable_key
from tensorbundle.tools.rewriting.rounding import in_range, rounded, saturated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.boxes import Box
    from tensorbundle.dtypes import Array
    from tensorbundle.entries import StoredSlice, TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.tools.rewriting.reading import Reading

__all__ = [
    "Cast",
    "Constant",
    "Expression",
    "Mean",
    "Scaled",
    "Stored",
    "elements_at_once",
    "stream_values",
]

CHUNK_ELEMENTS: Final = 1 << 18
SCATTERED_BYTES: Final = (
    16 << 20
)  # read at a time where values come from all over a tensor, once for each of these
_WHOLE: Final = (DType.int32, DType.int64)  # of counters


class Expression(Protocol):
    """A tensor that can be computed box by box."""

    @property
    def dtype(self) -> DType:
        """Its data type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def scattered(self) -> bool:
        """Whether values that follow each other are computed from values that do not, so that large boxes are read in fewer passes."""

    def read(self, box: Box, reading: Reading) -> Array:
        """The values of a box, in the shape of the box; the caller does not change them."""

    def inputs(self) -> Iterator[Stored]:
        """The stored tensors that it is computed from."""

    def __str__(self) -> str:
        """How it is computed, as a plan shows it."""


@dataclass(
    slots=True, eq=False
)  # freezing triples the time to make one, and every tensor of a checkpoint has one
class Stored:
    """A tensor that is stored in a checkpoint, partitioned or not. It does not change.

    Attributes:
        index: the checkpoint's index.
        key: its key there.
        entry: its entry there.
        stored_slices: its slices, if it is partitioned.
    """

    index: Index
    key: bytes
    entry: TensorEntry
    stored_slices: tuple[StoredSlice, ...] = ()
    _homes: list[Box] | None = field(default=None, init=False, repr=False)
    _found: dict[tuple[tuple[int, int], ...], int] | None = field(default=None, init=False, repr=False)
    _places: BoxPlaces | None = field(default=None, init=False, repr=False)
    _scattered: bool | None = field(default=None, init=False, repr=False)
    _is_decoded: bool | None = field(default=None, init=False, repr=False)

    def _by_corners(self) -> dict[tuple[tuple[int, int], ...], int]:
        """The number of each slice by its corners; empty if slices overlap."""
        if self._found is None:
            overlap = find_overlap(self.homes)
            self._found = {} if overlap else {corners(home): at for at, home in enumerate(self.homes)}
        return self._found

    @classmethod
    def of(cls, index: Index, key: bytes, entry: TensorEntry) -> Stored:
        """The tensor of this key and entry, with its slices.

        Raises:
            CorruptionError: a slice is missing, or its type or shape contradicts the tensor's entry.
        """
        return cls(index, key, entry, tuple(index.stored_slices(key, entry)) if entry.slices else ())

    @property
    def dtype(self) -> DType:
        """Its data type."""
        return self.entry.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.entry.shape

    @property
    def scattered(self) -> bool:
        """Whether slices are cut along another dimension than the first."""
        if self._scattered is None:  # each slice of a tensor that is computed asks
            inner = whole_box(self.shape)[1:]
            self._scattered = any(home[1:] != inner for home in self.homes)
        return self._scattered

    def read(self, box: Box, reading: Reading) -> Array:
        """The values of a box.

        Raises:
            CorruptionError: an element of it is in no slice, or in several. Such a tensor can still be dropped, or kept
                as it is.
        """
        if not self.stored_slices:
            return reading.read(self.index, self.key, self.entry, box)
        exact = self._by_corners().get(corners(box))
        if exact is not None:
            _, key, entry = self.stored_slices[exact]
            return reading.read(self.index, key, entry, whole_box(entry.shape))
        if self._places is None:
            self._places = BoxPlaces(self.homes)
        needed = []
        for number in self._places.near(box):
            _, key, entry = self.stored_slices[number]
            common = intersect(box, self.homes[number])
            if common is not None:
                needed.append((common, self.homes[number], key, entry))
        shape = tuple(each.stop - each.start for each in box)
        try:
            must_tile([common for common, _, _, _ in needed], shape)
        except CorruptionError as error:
            raise error.locate(path=self.index.prefix, key=readable_key(self.key)) from None
        out = np.empty(shape, self.dtype.numpy)
        reading.expect(
            (self.index, key, entry, relative(common, home)) for common, home, key, entry in needed
        )
        for common, home, key, entry in needed:
            out[relative(common, box)] = reading.read(self.index, key, entry, relative(common, home))
        return out

    @property
    def homes(self) -> list[Box]:
        """The box of each of its slices.

        Raises:
            CorruptionError: a slice exceeds the shape.
        """
        if self._homes is None:
            self._homes = [part.box(self.shape) for part, _, _ in self.stored_slices]
        return self._homes

    @property
    def first_entry(self) -> TensorEntry:
        """The entry of its first slice; its own if it is not partitioned."""
        return self.stored_slices[0].entry if self.stored_slices else self.entry

    @property
    def stored_entries(self) -> tuple[tuple[bytes, TensorEntry], ...]:
        """The key and the entry of each slice; its own if it is not partitioned."""
        return tuple((each.key, each.entry) for each in self.stored_slices) or ((self.key, self.entry),)

    @property
    def is_decoded(self) -> bool:
        """Whether values are decoded, perhaps from the beginning of a file on, instead of read where they are."""
        if self._is_decoded is None:  # each slice of a tensor that is computed asks
            self._is_decoded = any(
                self.index.stored(key, entry) is None for key, entry in self.stored_entries
            )
        return self._is_decoded

    def reshaped(self, shape: tuple[int, ...]) -> Stored | None:
        """The same bytes in another shape; None for slices, and where values are encoded with their shape."""
        if self.stored_slices or self.index.stored(self.key, self.entry) is None:
            return None
        return Stored(self.index, self.key, self.entry._replace(shape=shape))

    def inputs(self) -> Iterator[Stored]:
        """Itself."""
        yield self

    def __str__(self) -> str:
        return readable_key(self.key)


@dataclass(frozen=True, slots=True, eq=False)
class Cast:
    """The same values in another type.

    Floating-point numbers are rounded as NumPy rounds. For an integer type, fractions are cut off, values out of range
    become the nearest value in range, and NaN becomes 0. A boolean is true unless the value is 0. Two things are counted:
    values that become infinite or are out of range, and values that an integer or boolean type can't represent.
    """

    source: Expression
    dtype: DType

    @property
    def shape(self) -> tuple[int, ...]:
        """The source's."""
        return self.source.shape

    @property
    def scattered(self) -> bool:
        """Whether the source is."""
        return self.source.scattered

    def read(self, box: Box, reading: Reading) -> Array:
        """The values of a box."""
        values = self.source.read(box, reading)
        if self.dtype.is_integer:
            whole = self.source.dtype.is_integer
            out, fits = saturated(values, whole, self.dtype)
            reading.overflowed += fits.size - int(np.count_nonzero(fits))
            kept = fits if whole else fits & (out.astype(values.dtype) == values)
            reading.lost += kept.size - int(np.count_nonzero(kept))
            return out
        with np.errstate(all="ignore"):
            out = rounded(values, self.dtype)
            if self.dtype is DType.bool and self.source.dtype is not DType.bool:
                reading.lost += int(np.count_nonzero(out.astype(values.dtype) != values))
            if in_range(values, self.dtype):
                return out
            if self.dtype is not DType.bool and not (finite := np.isfinite(out)).all():
                whole = self.source.dtype.is_integer  # ml_dtypes says nothing of its integers being finite
                reading.overflowed += int(np.count_nonzero(~finite & (whole or np.isfinite(values))))
        return out

    def inputs(self) -> Iterator[Stored]:
        """Those of the source."""
        return self.source.inputs()

    def __str__(self) -> str:
        return f"cast {self.source} to {self.dtype}"


@dataclass(frozen=True, slots=True, eq=False)
class Mean:
    """The mean of tensors of one type and shape, added up in `accumulator` in the order given."""

    parts: tuple[Expression, ...]
    accumulator: DType = DType.float64

    @property
    def dtype(self) -> DType:
        """That of the parts."""
        return self.parts[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the parts."""
        return self.parts[0].shape

    @property
    def scattered(self) -> bool:
        """Whether a part is."""
        return any(part.scattered for part in self.parts)

    def read(self, box: Box, reading: Reading) -> Array:
        """The values of a box."""
        wide = self.accumulator.numpy
        if self.dtype.is_complex:
            wide = DType.complex128.numpy
        with np.errstate(all="ignore"):
            total = self.parts[0].read(box, reading).astype(wide)
            for part in self.parts[1:]:
                total += part.read(box, reading).astype(wide)
            total /= len(self.parts)
            return rounded(total, self.dtype)

    def inputs(self) -> Iterator[Stored]:
        """Those of the parts."""
        for part in self.parts:
            yield from part.inputs()

    def __str__(self) -> str:
        return f"mean of {len(self.parts)} x {self.parts[0]}"


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """Another tensor times a number, rounded once."""

    source: Expression
    factor: float

    @property
    def dtype(self) -> DType:
        """The source's."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The source's."""
        return self.source.shape

    @property
    def scattered(self) -> bool:
        """Whether the source is."""
        return self.source.scattered

    def read(self, box: Box, reading: Reading) -> Array:
        """The values of a box."""
        is_complex = self.dtype.is_complex
        wide = DType.complex128 if is_complex else DType.float64
        with np.errstate(all="ignore"):
            return rounded(self.source.read(box, reading).astype(wide.numpy) * self.factor, self.dtype)

    def inputs(self) -> Iterator[Stored]:
        """Those of the source."""
        return self.source.inputs()

    def __str__(self) -> str:
        return f"{self.factor:.7g} * {self.source}"


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """Values that are given.

    Attributes:
        given: an array in the type of `dtype`, or one number.
        name: where they come from, as a plan shows it; may be empty.
        dtype: their data type.
    """

    given: Array | float
    name: str
    dtype: DType

    @classmethod
    def scalar(cls, value: float, dtype: DType, name: str = "") -> Constant:
        """One number."""
        return cls(value, name, dtype)

    @property
    def values(self) -> Array:
        """In the array type of `dtype`."""
        return np.asarray(self.given, self.dtype.numpy)

    @property
    def payload(self) -> bytes | None:
        """The bytes of one whole number, as they are stored; None of other values, which NumPy encodes."""
        if isinstance(self.given, int) and self.dtype in _WHOLE:
            return self.given.to_bytes(self.dtype.itemsize, "little", signed=True)
        return None

    @property
    def shape(self) -> tuple[int, ...]:
        """Their shape."""
        return () if isinstance(self.given, (int, float)) else tuple(self.given.shape)

    @property
    def scattered(self) -> bool:
        """No."""
        return False

    def read(self, box: Box, reading: Reading) -> Array:
        """The values of a box."""
        return np.asarray(self.values[box] if box else self.values)

    def inputs(self) -> Iterator[Stored]:
        """None."""
        return iter(())

    def __str__(self) -> str:
        return self.name or "new values"


def stream_values(
    expression: Expression, reading: Reading, start: int = 0, stop: int | None = None
) -> Iterator[Array]:
    """The values of an expression, in C order, in flat arrays of a bounded number of elements.

    Args:
        expression: the tensor.
        reading: who reads.
        start: the first element wanted; of strings, all are.
        stop: the one after the last, by default after all of them.
    """
    shape = expression.shape
    if expression.dtype is DType.string:
        yield expression.read(whole_box(shape), reading).reshape(-1)
        return
    stop = math.prod(shape) if stop is None else stop
    step = elements_at_once(expression)
    for first in range(start, stop, step):
        for box in flat_boxes(shape, first, min(first + step, stop)):
            values = expression.read(box, reading)
            for done in range(0, values.size, CHUNK_ELEMENTS):
                for part in flat_boxes(values.shape, done, min(done + CHUNK_ELEMENTS, values.size)):
                    yield np.ascontiguousarray(values[part]).reshape(-1)


def elements_at_once(expression: Expression) -> int:
    """Elements that `stream_values` reads at a time: whole rows of as many trailing dimensions as fit."""
    most = CHUNK_ELEMENTS
    if expression.scattered:
        widest = max(each.dtype.itemsize for each in (expression, *expression.inputs()))
        most = max(most, SCATTERED_BYTES // widest)
    row = 1
    for size in reversed(expression.shape):
        if row * size > most:
            break
        row *= max(size, 1)
    return most // row * row
