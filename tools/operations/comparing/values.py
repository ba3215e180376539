"""How far the values of two tensors are apart, in one pass over both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorbundle.arrays import np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.dtypes import Array

__all__ = ["ValueDifference", "compare_values"]


@dataclass(frozen=True, slots=True)
class ValueDifference:
    """How far apart two tensors of one shape are.

    Attributes:
        max_abs: the greatest absolute difference; None for strings.
        max_rel: the greatest difference relative to the second one's magnitude; infinite where that is 0 and the first
            is not; None for strings.
        different: how many elements differ by more than the tolerances; NaN equals NaN, but no number.
    """

    max_abs: float | None
    max_rel: float | None
    different: int


def compare_values(
    first: Iterator[Array], second: Iterator[Array], *, rtol: float = 0.0, atol: float = 0.0
) -> ValueDifference:
    """Compare two tensors, each given as flat arrays in C order.

    Elements a and b are equal if |a - b| <= atol + rtol * |b|, as in `numpy.isclose`.
    """
    max_abs: float | None = 0.0
    max_rel: float | None = 0.0
    different = 0
    with np.errstate(all="ignore"):
        for a, b in _aligned(first, second):
            if object in (a.dtype, b.dtype):
                different += int(np.count_nonzero(a != b))
                max_abs = max_rel = None
                continue
            if a.dtype == b.dtype and a.tobytes() == b.tobytes():
                continue
            unequal = a != b
            x, y = _wide(a), _wide(b)
            both_nan = np.isnan(x) & np.isnan(y)
            unequal = np.asarray(unequal) & ~both_nan
            if not unequal.any():
                continue
            x, y = x[unequal], y[unequal]
            gap = np.abs(x - y)
            size = np.abs(y)
            far = ~(gap <= atol + rtol * size) if rtol or atol else np.ones(gap.shape, bool)
            different += int(np.count_nonzero(far))
            max_abs = max(max_abs or 0.0, _greatest(gap))
            max_rel = max(max_rel or 0.0, _greatest(gap / size))
    return ValueDifference(max_abs, max_rel, different)


def _wide(values: Array) -> Array:
    """Numbers as float64 or complex128."""
    if values.dtype.kind == "c":
        return values.astype(np.complex128)
    if values.dtype.kind not in "biuf":
        values = values.astype(np.float32)  # represents all values of ml_dtypes' types exactly
    return values.astype(np.float64)


def _greatest(values: Array) -> float:
    """The greatest value that is not NaN; 0 if there is none."""
    known: Any = values[~np.isnan(values)]
    return float(known.max()) if known.size else 0.0


def _aligned(first: Iterator[Array], second: Iterator[Array]) -> Iterator[tuple[Array, Array]]:
    """Runs of equal length of two tensors with the same number of elements."""
    a = b = np.empty(0)
    while True:
        if not a.size:
            a = next(first, a)
        if not b.size:
            b = next(second, b)
        size = min(a.size, b.size)
        if not size:
            return
        yield a[:size], b[:size]
        a, b = a[size:], b[size:]
