"""Replace the values of one tensor."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tensorbundle.creation import as_array
from tensorbundle.dtypes import DType
from tensorbundle.errors import BundleError, ConflictError, MissingFileError, TensorNotFoundError
from tensorbundle.slices import whole_box
from tensorbundle.tools.rewriting.expressions import INTEGERS, Cast, Constant
from tensorbundle.tools.rewriting.plan import Literal
from tensorbundle.tools.rewriting.reading import Reading

if TYPE_CHECKING:
    from tensorbundle.shards import Array
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["find_key", "set_values"]

_SHOWN: Final = 100
_COMPLEX: Final = frozenset({DType.complex64, DType.complex128})


def set_values(draft: Draft, name: str, values: object) -> None:
    """Let a tensor have other values of its type and shape.

    Args:
        draft: what to change.
        name: its key, or the path of its object.
        values: the path of a `.npy` file, a literal in JSON syntax, or an array or number. One number fills the tensor.

    Raises:
        TensorNotFoundError: no such tensor.
        MissingFileError: no such file.
        ConflictError: another shape, a type that can't be had without loss of kind, or values out of the type's range.
        BundleError: neither a file nor a literal, or text that is not Unicode.
    """
    key = find_key(draft, name)
    old = draft.tensors[key].expression
    dtype, shape = (old.entry.dtype, old.entry.shape) if isinstance(old, Literal) else (old.dtype, old.shape)
    array, origin = _array(values, dtype)
    if dtype is DType.string:
        array = _strings(array, draft.prefix, key)
    else:
        array = _numbers(array, dtype, draft.prefix, key)
    if array.shape not in (shape, ()):
        raise ConflictError(
            f"values of shape {list(array.shape)}, the tensor has {list(shape)}", path=draft.prefix, key=key
        )
    draft.set_tensor(key, Constant(np.broadcast_to(array, shape), origin, dtype))


def find_key(draft: Draft, name: str) -> str:
    """The key of the tensor that a name means: any name that `proto/naming.py` knows.

    Raises:
        TensorNotFoundError: it means none; the reason names near ones.
        ConflictError: it means several; the reason shows their keys.
    """
    naming = draft.naming()
    key = naming.find(name)
    if key is None:
        raise TensorNotFoundError(f"no such tensor{naming.near(name)}", path=draft.prefix, key=name)
    return key


def _array(values: Any, dtype: DType) -> tuple[Array, str]:
    if not isinstance(values, str):
        try:
            return as_array(values), "given values"
        except (ValueError, TypeError) as error:
            raise BundleError(f"the values given are not an array: {error}") from None
    if values.endswith(".npy"):
        if not os.path.isfile(values):
            raise MissingFileError("no such file", path=values)
        try:
            loaded = np.load(values, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise BundleError(f"not a .npy file of plain values: {error}", path=values) from None
        # NumPy saves the types of ml_dtypes as nothing but so many bytes.
        bare = loaded.dtype.kind == "V" and loaded.dtype.names is None
        if bare and loaded.dtype.itemsize == dtype.itemsize:
            loaded = loaded.view(dtype.numpy)
        return loaded, values
    try:
        literal: Any = json.loads(values)
    except (ValueError, RecursionError):
        if dtype is not DType.string:
            shown = values if len(values) <= _SHOWN else f"{values[:_SHOWN]}..."
            raise BundleError(
                f"{shown!r} is neither a .npy file nor a literal such as 0.5 or [1, 2]"
            ) from None
        literal = values
    try:
        return as_array(literal), values
    except (ValueError, TypeError) as error:
        raise BundleError(f"{values!r} is not an array: {error}") from None


def _numbers(array: Array, dtype: DType, path: str, key: str) -> Array:
    """The values in the tensor's type, if it has them; only fractions are rounded, and not to integers."""
    source = DType.of(array.dtype)
    if source is DType.string or (source in _COMPLEX and dtype not in _COMPLEX):
        raise ConflictError(f"values of type {array.dtype}, the tensor is {dtype}", path=path, key=key)
    given = array.astype(array.dtype.newbyteorder("="), copy=False)
    counting = Reading(verify=False)
    out = np.asarray(Cast(Constant(given, "", source), dtype).read(whole_box(given.shape), counting))
    if counting.overflowed:
        raise ConflictError(
            f"{counting.overflowed} values are out of the range of {dtype}", path=path, key=key
        )
    whole = dtype is DType.bool or dtype in INTEGERS
    if whole and not (out.astype(given.dtype) == given).all():
        raise ConflictError(f"values of type {array.dtype}, the tensor is {dtype}", path=path, key=key)
    return out


def _strings(array: Array, path: str, key: str) -> Array:
    flat = array.reshape(-1).tolist()
    if not all(isinstance(value, (bytes, str)) for value in flat):
        raise ConflictError(f"values of type {array.dtype}, the tensor is string", path=path, key=key)
    out = np.empty(len(flat), object)
    try:
        out[:] = [value.encode() if isinstance(value, str) else value for value in flat]
    except UnicodeEncodeError as error:
        raise BundleError(f"text that is not Unicode: {error}", path=path, key=key) from None
    return out.reshape(array.shape)
