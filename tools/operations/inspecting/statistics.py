"""Statistics of tensors' values, in one pass and bounded memory."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.tools.operations.inspecting.passes import flat_values, over_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorbundle.checkpoint import Path
    from tensorbundle.dtypes import Array, DType
    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.tools.rewriting.ordered import Jobs
    from tensorbundle.tools.rewriting.ranges import OpenFiles

__all__ = ["FEW", "TensorStatistics", "numbers", "stats", "summarize"]

_CHUNK_ELEMENTS: Final = 1 << 20
FEW: Final = 64  # values; a checkpoint may have very many tensors with no more


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """Statistics of one tensor.

    Attributes:
        key: its key.
        dtype: its type.
        shape: elements along each dimension.
        min: the least of the finite values; None if there are none, as in variants. For complex values, this and the
            next three are of the magnitude, for strings of the length in bytes.
        max: the greatest.
        mean: their mean.
        std: their standard deviation, with their number as the divisor.
        nan: how many values are not a number.
        inf: how many are infinite.
        zeros: how many are zero.
    """

    key: str
    dtype: DType
    shape: tuple[int, ...]
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    nan: int
    inf: int
    zeros: int

    @classmethod
    def of(cls, key: str, entry: TensorEntry, chunks: Iterable[Array]) -> TensorStatistics:
        """The statistics of a tensor whose values come in chunks."""
        return cls(key, entry.dtype, entry.shape, *_statistics(chunks))

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return {
            "key": self.key,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "min": self.min,
            "max": self.max,
            "mean": self.mean,
            "std": self.std,
            "nan": self.nan,
            "inf": self.inf,
            "zeros": self.zeros,
        }


def stats(
    path: Path,
    patterns: Sequence[str] = (),
    *,
    jobs: Jobs = 1,
    verify: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Iterator[TensorStatistics]:
    """Statistics of each tensor that matches one of the patterns (all without patterns), in key order.

    Every value is read once, a few megabytes at a time.

    Args:
        path: anything that `tensorbundle.open` takes.
        patterns: as on the command line.
        jobs: the number of tensors that are read at the same time, or an executor for that.
        verify: whether checksums are checked.
        progress: told how many bytes are done.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        MissingFileError: there is no checkpoint, or a data shard is missing.
        CorruptionError: a tensor is damaged.
        UnsupportedError: tensors that share bytes, more often than is read (`MAX_REPEATS`).
    """
    with open_checkpoint(path, verify=verify) as checkpoint:
        of = partial(_of_tensor, checkpoint.index, verify)
        yield from over_tensors(checkpoint, patterns, of, jobs=jobs, progress=progress)


def _of_tensor(
    index: Index, verify: bool, key: str, entry: TensorEntry, files: OpenFiles
) -> TensorStatistics:
    chunks: Iterable[Array] = ()
    if entry.dtype.has_values:
        chunks = flat_values(index, key, entry, verify=verify, files=files)
    return TensorStatistics.of(key, entry, chunks)


def summarize(runs: Iterable[Array]) -> dict[str, float | int | None]:
    """`min`, `max`, `mean`, `std`, `nan`, `inf` and `zeros` of all arrays together, as in `TensorStatistics`."""
    names = ("min", "max", "mean", "std", "nan", "inf", "zeros")
    return dict(zip(names, _statistics(runs), strict=True))


def _statistics(
    chunks: Iterable[Array],
) -> tuple[float | None, float | None, float | None, float | None, int, int, int]:
    nan = inf = zeros = count = 0
    low, high = math.inf, -math.inf
    mean = squares = 0.0
    exact = True
    for values in chunks:
        exact = _is_exact(values.dtype)
        for chunk in numbers(values):
            of = _Part.of_few(chunk) if chunk.size <= FEW else _Part.of(chunk, exact=exact)
            nan, inf, zeros = nan + of.nan, inf + of.inf, zeros + of.zeros
            if not of.finite:
                continue
            low, high = min(low, of.low), max(high, of.high)
            # Chan's update of mean and squared deviations, chunk by chunk.
            total = count + of.finite
            delta = of.mean - mean
            mean += delta * of.finite / total
            squares += of.squares + delta * delta * count * of.finite / total
            count = total
    if not count:
        return None, None, None, None, nan, inf, zeros
    least, greatest = (int(low), int(high)) if exact else (float(low), float(high))
    return least, greatest, mean, math.sqrt(squares / count), nan, inf, zeros


class _Part(NamedTuple):
    """What is known of some values: the last four of the finite ones, if there are any; with the squared deviations from their mean."""

    nan: int
    inf: int
    zeros: int
    finite: int
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # the squares of 1e300 are infinite, and so is their std
    def of(cls, chunk: Array, *, exact: bool) -> _Part:
        nan = inf = 0
        zeros = chunk.size - int(np.count_nonzero(chunk))
        finite = chunk
        if not exact and not (is_finite := np.isfinite(chunk)).all():
            nan = int(np.isnan(chunk).sum())
            inf = chunk.size - int(is_finite.sum()) - nan
            finite = chunk[is_finite]
        if not finite.size:
            return cls(nan, inf, zeros, 0)
        low, high = finite.min(), finite.max()
        part = finite.astype(np.float64)
        mean = float(np.add.reduce(part)) / part.size
        part -= mean
        return cls(nan, inf, zeros, finite.size, low, high, mean, float((part * part).sum()))

    @classmethod
    def of_few(cls, chunk: Array) -> _Part:
        """The same without NumPy, each of whose functions takes longer than all that is done here."""
        values = chunk.tolist()
        finite = list(filter(math.isfinite, values))
        nan = sum(map(math.isnan, values)) if len(finite) < len(values) else 0
        counts = nan, len(values) - len(finite) - nan, values.count(0)
        if not finite:
            return cls(*counts, 0)
        mean = sum(finite) / len(finite)
        squares = sum([(value - mean) * (value - mean) for value in finite])
        return cls(*counts, len(finite), min(finite), max(finite), mean, squares)


@functools.lru_cache
def _is_exact(dtype: np.dtype[Any]) -> bool:
    """Whether values are whole numbers, or lengths of strings."""
    return dtype.kind in "bO" or "int" in dtype.name  # NumPy's kind of int4 is not that of integers


def numbers(values: Array) -> Iterator[Array]:
    """Runs of the values as types that NumPy calculates with: integers, or floats of at least 32 bits."""
    flat = values.reshape(-1)
    for start in range(0, flat.size, _CHUNK_ELEMENTS):
        chunk = flat[start : start + _CHUNK_ELEMENTS]
        if chunk.dtype == object:
            yield np.array([len(value) for value in chunk], np.int64)
        elif chunk.dtype.kind == "c":
            yield np.abs(chunk.astype(np.complex128))  # a large complex64's magnitude exceeds float32
        elif chunk.dtype.kind in "iu" or (chunk.dtype.kind == "f" and chunk.dtype.itemsize >= 4):
            yield chunk
        else:
            yield chunk.astype(np.float32)  # exact for float16, bool and the types of ml_dtypes
