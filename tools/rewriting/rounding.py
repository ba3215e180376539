"""Numbers of one data type as those of another: rounded once, or the nearest that an integer type has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tensorbundle.arrays import np
from tensorbundle.dtypes import DType

if TYPE_CHECKING:
    from tensorbundle.dtypes import Array

__all__ = ["in_range", "integer_range", "rounded", "saturated"]

_GREATEST: Final = {DType.bfloat16: (2 - 2**-7) * 2.0**127, DType.float16: 65504.0}


def integer_range(dtype: DType) -> Any:
    """The least and the greatest value of an integer type, as `min` and `max`."""
    target = dtype.numpy
    if target.kind in "iu":
        return np.iinfo(target)
    import ml_dtypes

    iinfo: Any = ml_dtypes.iinfo  # has no types
    return iinfo(target)


def saturated(values: Array, whole: bool, dtype: DType) -> tuple[Array, Array]:
    """Numbers as integers of a type, the nearest that it has where they are out of its range, and which are in it."""
    info, target = integer_range(dtype), dtype.numpy
    if whole or values.dtype == bool:
        wide = values if values.dtype == np.uint64 else values.astype(np.int64)
        have = np.iinfo(wide.dtype)
        clipped = np.clip(wide, max(info.min, have.min), min(info.max, have.max))
        return np.asarray(clipped).astype(target), clipped == wide
    cut = np.trunc(values.astype(np.float64))
    # One more than the greatest is a power of two, which a float holds exactly.
    fits = (cut >= float(info.min)) & (cut < float(info.max + 1))
    out = np.where(fits, cut, 0).astype(np.int64 if info.min else np.uint64).astype(target)
    out[~fits & (cut > 0)] = info.max
    out[~fits & (cut < 0)] = info.min
    return out, fits


def rounded(values: Array, dtype: DType) -> Array:
    """Numbers in a type that has fractions, or as booleans."""
    if values.dtype == np.float64 and dtype.value.startswith(("float8", "float4")):
        values = _round_to_odd(values)
    out: Array = values.astype(dtype.numpy)
    return out


def in_range(values: Array, target: DType) -> bool:
    """Whether no float32 can overflow, told by the extremes: far quicker than to look at every result."""
    if values.dtype != np.float32 or target not in _GREATEST or not values.size:
        return False
    limit = _GREATEST[target]
    return -limit <= float(values.min()) and float(values.max()) <= limit  # false for NaN


def _round_to_odd(wide: Array) -> Array:
    """float64 as float32, inexact values with an odd last bit, so that rounding them once more rounds only once.

    ml_dtypes goes through float32 on the way to eight bits, which would otherwise round twice.
    """
    narrow = wide.astype(np.float32)
    exact = (narrow == wide) | np.isnan(wide)
    bits = narrow.view(np.uint32)
    bits -= np.abs(narrow) > np.abs(wide)
    bits |= ~exact
    return narrow
