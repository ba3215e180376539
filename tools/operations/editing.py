"""Replace the values of one tensor."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorbundle.dtypes import DType
from tensorbundle.errors import BundleError, ConflictError, MissingFileError, TensorNotFoundError, near_names
from tensorbundle.proto.paths import attribute_key
from tensorbundle.tools.expressions import Constant
from tensorbundle.tools.plan import Literal

if TYPE_CHECKING:
    from tensorbundle.shards import Array
    from tensorbundle.tools.draft import Draft

__all__ = ["find_key", "set_values"]


def set_values(draft: Draft, name: str, values: object) -> None:
    """Let a tensor have other values of its type and shape.

    Args:
        draft: what to change.
        name: its key, or the path of its object.
        values: the path of a `.npy` file, a literal in JSON syntax, or an array or number. One number fills the tensor.

    Raises:
        TensorNotFoundError: no such tensor.
        MissingFileError: no such file.
        ConflictError: another shape, or a type that can't be had without loss of kind.
        BundleError: neither a file nor a literal.
    """
    key = find_key(draft, name)
    old = draft.tensors[key].expression
    dtype, shape = (old.entry.dtype, old.entry.shape) if isinstance(old, Literal) else (old.dtype, old.shape)
    array, origin = _array(values, dtype)
    if dtype is DType.string:
        array = _strings(array, key)
    elif not np.can_cast(array.dtype, dtype.numpy, "same_kind") and not _fits(array, dtype.numpy):
        raise ConflictError(
            f"values of type {array.dtype}, the tensor is {dtype}", path=draft.prefix, key=key
        )
    if array.shape not in (shape, ()):
        raise ConflictError(
            f"values of shape {list(array.shape)}, the tensor has {list(shape)}", path=draft.prefix, key=key
        )
    filled = np.broadcast_to(array.astype(dtype.numpy, copy=False), shape)
    draft.set_tensor(key, Constant(filled, origin, dtype))


def find_key(draft: Draft, name: str) -> str:
    """The key that a name means: the key itself, or the path of the object that owns it.

    Raises:
        TensorNotFoundError: neither; the reason names near ones.
    """
    for key in (name, attribute_key(name)):
        if key in draft.tensors:
            return key
    near = near_names(name, draft.tensors)
    hint = f"; near: {', '.join(map(repr, near))}" if near else ""
    raise TensorNotFoundError(f"no such tensor{hint}", path=draft.prefix, key=name)


def _array(values: object, dtype: DType) -> tuple[Array, str]:
    if not isinstance(values, str):
        return np.asarray(values), "given values"
    if values.endswith(".npy"):
        if not os.path.isfile(values):
            raise MissingFileError("no such file", path=values)
        try:
            return np.load(values, mmap_mode="r", allow_pickle=False), values
        except (ValueError, EOFError) as error:
            raise BundleError(f"not a .npy file of plain values: {error}", path=values) from None
    try:
        literal: Any = json.loads(values)
    except ValueError:
        if dtype is not DType.string:
            raise BundleError(
                f"{values!r} is neither a .npy file nor a literal such as 0.5 or [1, 2]"
            ) from None
        literal = values
    try:
        return np.asarray(literal), values
    except ValueError as error:
        raise BundleError(f"{values!r} is not an array: {error}") from None


def _fits(array: Array, target: np.dtype[Any]) -> bool:
    """Whether a conversion keeps every value: whole numbers for an integer tensor, say."""
    with np.errstate(all="ignore"):
        return array.dtype.kind in "biuf" and bool((array.astype(target).astype(array.dtype) == array).all())


def _strings(array: Array, key: str) -> Array:
    flat = [value.encode() if isinstance(value, str) else value for value in array.reshape(-1).tolist()]
    if not all(isinstance(value, bytes) for value in flat):
        raise ConflictError(f"values of type {array.dtype}, the tensor is string", key=key)
    out = np.empty(len(flat), object)
    out[:] = flat
    return out.reshape(array.shape)
