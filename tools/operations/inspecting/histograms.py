"""Histograms in one pass over values whose range is known only after the last one.

Values are counted by the first 12 bits of their float32: sign, exponent and three bits of the mantissa, that is eight
bins to each power of two. In the end these counts are distributed over bins of equal width, as if the values inside one
of the narrow bins were spread evenly. Few values are kept as they are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from tensorbundle.tools.operations.inspecting.statistics import FEW

if TYPE_CHECKING:
    from tensorbundle.dtypes import Array

__all__ = ["Histogram"]

_SHIFT: Final = 20
_BINS: Final = 1 << (32 - _SHIFT)
_FINITE: Final = 0x7F800000 >> _SHIFT  # bins of one sign; those above count infinities and NaN
_CHUNK: Final = 1 << 18  # values at a time, so that copies stay in the processor's cache
_MAGNITUDES: Final = np.append(
    (np.arange(_FINITE, dtype=np.uint32) << _SHIFT).view(np.float32).astype(np.float64), 2.0**128
)
_EDGES: Final = np.concatenate([-_MAGNITUDES[::-1], _MAGNITUDES[1:]])  # of the bins, from the least on
_LARGEST: Final = float(np.finfo(np.float32).max)


class Histogram:
    """Counts of real numbers by size."""

    def __init__(self) -> None:
        self._few: list[float] = []
        self._counts: Array | None = None  # once there are more

    def add(self, values: Array) -> None:
        """Count values of any real type and shape, except those that are not finite."""
        if self._counts is None and len(self._few) + values.size <= FEW:
            self._few += filter(math.isfinite, values.reshape(-1).tolist())
            return
        if self._counts is None:
            self._counts = np.zeros(_BINS, np.int64)
            self._count(np.array(self._few, np.float64), self._counts)
        self._count(values, self._counts)

    @staticmethod
    def _count(values: Array, counts: Array) -> None:
        """Add numbers of values to those in `counts`."""
        flat = values.reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            part = flat[start : start + _CHUNK]
            if part.dtype == np.float64:
                part = np.where(np.isfinite(part), np.clip(part, -_LARGEST, _LARGEST), np.nan)
            bits = part.astype(np.float32).view(np.uint32)
            counts += np.bincount(bits >> _SHIFT, minlength=_BINS)

    def even(self, low: float, high: float, bins: int) -> list[int]:
        """The numbers of values in `bins` bins of equal width, from the least value `low` to the greatest `high`."""
        if self._counts is None:
            out = [0] * bins
            width = high / bins - low / bins  # of a bin; the range itself may be too large for a float
            for value in self._few:
                out[min(int((value / bins - low / bins) / width * bins), bins - 1) if width else 0] += 1
            return out
        half = _BINS // 2
        negative, positive = self._counts[half : half + _FINITE], self._counts[:_FINITE]
        if not low < high:  # as in each of the many tensors of one number
            return [int(negative.sum() + positive.sum()), *[0] * (bins - 1)]
        counts = np.concatenate([negative[::-1], positive])
        used = np.flatnonzero(counts)
        if not used.size:
            return [0] * bins
        inner = slice(used[0] + 1, used[-1] + 1)
        points = np.clip(np.concatenate([[low], _EDGES[inner], [high]]), low, high)
        below = np.concatenate([[0], np.cumsum(counts[used[0] : used[-1] + 1])])
        found = np.interp(np.linspace(low, high, bins + 1), points, below)
        found[0], found[-1] = 0, below[-1]
        return [int(each) for each in np.diff(np.rint(found))]
