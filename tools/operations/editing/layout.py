"""Change how tensors are stored: partitioned or whole, in how many data shards, without dead bytes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from tensorbundle.dtypes import DType
from tensorbundle.errors import ConflictError, UnsupportedError
from tensorbundle.slices import TensorSlice
from tensorbundle.tools.operations.editing.values import find_key
from tensorbundle.tools.patterns import select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["compact", "even_slices", "partition", "reshard", "unpartition"]


def even_slices(shape: tuple[int, ...], count: int, axis: int) -> tuple[TensorSlice, ...]:
    """`count` slices along an axis, as even as possible, longer ones first.

    TensorFlow's `fixed_size_partitioner` makes the same slices (python/ops/variables.py, `PartitionedVariable`).
    """
    length, longer = divmod(shape[axis], count)
    out = []
    start = 0
    for number in range(count):
        size = length + (number < longer)
        extents = [(0, each) for each in shape]
        extents[axis] = (start, size)
        out.append(TensorSlice(tuple(extents)))
        start += size
    return tuple(out)


def partition(draft: Draft, name: str, count: int, axis: int = 0) -> None:
    """Store a tensor in `count` slices along an axis.

    Raises:
        TensorNotFoundError: no such tensor.
        ConflictError: no such axis, or more slices than it has elements.
        UnsupportedError: a tensor that can't be cut.
    """
    key = find_key(draft, name)
    tensor = draft.tensors[key]
    if not (tensor.dtype.itemsize or tensor.dtype is DType.string):
        raise UnsupportedError(
            f"values of type {tensor.dtype} can't be partitioned", path=draft.prefix, key=key
        )
    shape = tensor.shape
    if not -len(shape) <= axis < len(shape):
        raise ConflictError(f"axis {axis} of a tensor of rank {len(shape)}", path=draft.prefix, key=key)
    if not 1 <= count <= shape[axis] or 0 in shape:
        raise ConflictError(f"{count} slices along axis {axis} of {list(shape)}", path=draft.prefix, key=key)
    slices = even_slices(shape, count, axis % len(shape))
    draft.tensors[key] = replace(tensor, slices=slices if count > 1 else ())


def unpartition(draft: Draft, patterns: Sequence[str] = ()) -> list[str]:
    """Store partitioned tensors whole, all of them if no pattern is given; returns their keys.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        ConflictError: none of the tensors is partitioned.
    """
    found = [key for key, tensor in select(draft.tensors.items(), patterns, draft.naming()) if tensor.slices]
    if not found:
        raise ConflictError("no partitioned tensor among them", path=draft.prefix)
    for key in found:
        draft.tensors[key] = replace(draft.tensors[key], slices=())
    return found


def reshard(
    draft: Draft, *, shards: int | None = None, max_bytes: int | None = None, cut: bool = False
) -> None:
    """Distribute the tensors over new data shards, in their order.

    Args:
        draft: what to change.
        shards: the number of shards, of about the same size; or
        max_bytes: the maximum size of a shard. A larger tensor gets a shard of its own, unless
        cut: is set, which partitions such a tensor along its first axis, also if it is partitioned already.

    Raises:
        ConflictError: not exactly one of `shards` and `max_bytes`, or less than one.
    """
    given = [each for each in (shards, max_bytes) if each is not None]
    if len(given) != 1 or given[0] < 1:
        raise ConflictError("reshard takes a number of shards or a size, at least 1", path=draft.prefix)
    draft.must_copy = True
    draft.layout = replace(draft.layout, shards=shards, max_bytes=max_bytes)
    if not cut or max_bytes is None:
        return
    for key, tensor in draft.tensors.items():
        shape, itemsize = tensor.shape, tensor.dtype.itemsize
        parts = [part.shape(shape) for part in tensor.slices] or [shape]
        if max(map(math.prod, parts)) * itemsize > max_bytes and shape[:1] > (1,):
            rows = max(1, max_bytes // (math.prod(shape[1:]) * itemsize))
            partition(draft, key, -(-shape[0] // rows))


def compact(draft: Draft) -> None:
    """Rewrite data shards without unreferenced bytes."""
    draft.must_copy = True
