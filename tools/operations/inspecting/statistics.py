"""What the values of a tensor are like, in one pass and bounded memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.checkpoint import Array

__all__ = ["summarize"]

_CHUNK_ELEMENTS: Final = 1 << 20


@np.errstate(over="ignore", invalid="ignore")  # the squares of 1e300 are infinite, and so is their std
def summarize(values: Array) -> dict[str, float | int | None]:
    """`min`, `max`, `mean`, `std`, and the numbers of `nan`, `inf` and `zeros`.

    The first four are of the finite values, None where there are none; of complex values those of the magnitude; of
    strings those of the length in bytes.
    """
    nan = inf = zeros = count = 0
    low, high = math.inf, -math.inf
    mean = squares = 0.0
    exact = values.dtype.kind in "bO" or "int" in values.dtype.name  # the kind of int4 is not an integer's
    for chunk in _chunks(values):
        missing = np.isnan(chunk)
        infinite = np.isinf(chunk)
        nan += int(missing.sum())
        inf += int(infinite.sum())
        zeros += int((chunk == 0).sum())
        finite = chunk[~(missing | infinite)]
        if not finite.size:
            continue
        low, high = min(low, finite.min()), max(high, finite.max())
        # Chan's update of mean and squared deviations, chunk by chunk.
        part = finite.astype(np.float64)
        part_mean = float(part.mean())
        part_squares = float(((part - part_mean) ** 2).sum())
        total = count + finite.size
        delta = part_mean - mean
        mean += delta * finite.size / total
        squares += part_squares + delta * delta * count * finite.size / total
        count = total
    if not count:
        return {"min": None, "max": None, "mean": None, "std": None, "nan": nan, "inf": inf, "zeros": zeros}
    return {
        "min": int(low) if exact else float(low),
        "max": int(high) if exact else float(high),
        "mean": mean,
        "std": math.sqrt(squares / count),
        "nan": nan,
        "inf": inf,
        "zeros": zeros,
    }


def _chunks(values: Array) -> Iterator[Array]:
    """Runs of the values as numbers that NumPy calculates with: integers, or floats of at least 32 bits."""
    flat = values.reshape(-1)
    for start in range(0, flat.size, _CHUNK_ELEMENTS):
        chunk = flat[start : start + _CHUNK_ELEMENTS]
        if chunk.dtype == object:
            yield np.array([len(value) for value in chunk], np.int64)
        elif chunk.dtype.kind == "c":
            yield np.abs(chunk.astype(np.complex128))  # the magnitude of a large complex64 is no float32
        elif chunk.dtype.kind in "iu" or (chunk.dtype.kind == "f" and chunk.dtype.itemsize >= 4):
            yield chunk
        else:
            yield chunk.astype(np.float32)  # float16, bool and the types of ml_dtypes, all exactly
