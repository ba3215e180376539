"""Carries out a plan for the old V1 format, whose one file holds values in an encoding of its own (`v1.py`).

Nothing of a source can stay as it is: every value is read, checked and encoded anew, one slice at a time.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tensorbundle.dtypes import DType
from tensorbundle.errors import UnsupportedError
from tensorbundle.payloads import decode_strings
from tensorbundle.slices import TensorSlice, readable_key, whole_box
from tensorbundle.tools.rewriting.plan import Converted, Literal
from tensorbundle.tools.rewriting.reading import Reading
from tensorbundle.v1.index import whole_slice, write_v1
from tensorbundle.v1.saved_slices import SavedTensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.shards import Array
    from tensorbundle.tools.rewriting.plan import Output, Plan
    from tensorbundle.tools.rewriting.transfer import TransferOptions

__all__ = ["Casts", "write_v1_plan"]


def write_v1_plan(
    plan: Plan, path: str, options: TransferOptions, beside: Mapping[str, bytes]
) -> tuple[int, Casts]:
    """Write the V1 checkpoint `path`: the bytes written, and what was read and lost in casts.

    Raises:
        ConflictError, CorruptionError, MissingFileError: as `transfer` and `write_v1`.
        UnsupportedError: so too; or several data shards were asked for.
    """
    if plan.shards > 1:
        raise UnsupportedError(
            f"{plan.shards} shards: V1 is written as one file; leave out reshard", path=path
        )
    slices = {
        part.key(key): SavedTensor(key, entry.shape, entry.dtype, entry.slices)
        for key, entry in plan.partitioned.items()
        for part in entry.slices
    }
    outputs: dict[bytes, Output] = {}
    tensors: dict[bytes, SavedTensor] = {}
    for each in plan.outputs:
        entry = each.origin.entry
        whole = whole_slice(len(entry.shape))
        tensor = slices.get(each.key) or SavedTensor(each.key, entry.shape, entry.dtype, (whole,))
        tensors[tensor.name] = tensor
        outputs[each.key if each.key in slices else whole.key(each.key)] = each
    made = Casts()
    values = functools.partial(_values, outputs, options, made)
    written = write_v1(path, list(tensors.values()), values, overwrite=options.overwrite, beside=beside)
    return written, made


@dataclass(slots=True)
class Casts:
    """What was read, and lost in casts: as `Summary` has it."""

    read: int = 0
    overflowed: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)


def _values(
    outputs: Mapping[bytes, Output], options: TransferOptions, made: Casts, name: bytes, part: TensorSlice
) -> Array:
    """The values of one slice."""
    output = outputs[part.key(name)]
    origin = output.origin
    if isinstance(origin, Literal):
        return _decode(origin)
    if not isinstance(origin, Converted):
        raise TypeError(f"{type(origin).__name__} in a plan for V1")
    with Reading(verify=options.verify, progress=options.progress) as reading:
        values = origin.expression.read(whole_box(origin.expression.shape), reading)
    made.read += reading.bytes_read
    if reading.overflowed:
        made.overflowed[readable_key(output.key)] = reading.overflowed
    if reading.lost:
        made.lost[readable_key(output.key)] = reading.lost
    return values


def _decode(literal: Literal) -> Array:
    entry = literal.entry
    if entry.dtype is DType.string:
        values = np.empty(entry.elements, object)
        values[:] = decode_strings(memoryview(literal.payload), entry.elements)
        return values.reshape(entry.shape)
    return np.frombuffer(literal.payload, entry.dtype.numpy).reshape(entry.shape)
