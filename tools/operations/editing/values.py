"""Replace the values of a tensor, or add one."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final

from tensorbundle.arrays import np
from tensorbundle.boxes import whole_box
from tensorbundle.creation import as_array
from tensorbundle.dtypes import DType
from tensorbundle.errors import (
    BundleError,
    ConflictError,
    MissingFileError,
    TensorNotFoundError,
    UnsupportedError,
)
from tensorbundle.proto.naming import new_path
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, VARIABLE_VALUE
from tensorbundle.shards import check_shape
from tensorbundle.tools.rewriting.draft import DraftTensor
from tensorbundle.tools.rewriting.expressions import Cast, Constant
from tensorbundle.tools.rewriting.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorbundle.dtypes import Array
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["add_tensor", "find_key", "set_values"]

_SHOWN: Final = 100
_DECLARED: Final = re.compile(r"(?P<values>.*):(?P<dtype>\w+)(?:\[(?P<shape>\d*(?:,\d+)*)\])?", re.DOTALL)


def set_values(
    draft: Draft,
    name: str,
    values: object,
    dtype: str | None = None,
    shape: Sequence[int] | None = None,
) -> bool:
    """Give a tensor other values of its type and shape, or add a tensor of a given type; returns whether it was added.

    Args:
        draft: what to change.
        name: of the tensor. A tensor that is added to a checkpoint with objects becomes a variable at this path.
        values: the path of a `.npy` file, a literal in JSON syntax, or an array or number. One number fills the tensor.
            Text may end in a type and a shape: `0:int64`, `0:float32[2,3]`.
        dtype: the type, which a new tensor needs; the type of an existing tensor is not changed.
        shape: the shape; that of the values by default.

    Raises:
        TensorNotFoundError: no such tensor, and no type for a new one.
        MissingFileError: no such file.
        ConflictError: another type or shape, values that the type can't represent or that are out of its range,
            or a name that a new tensor can't have.
        BundleError: neither a file nor a literal, no data type, or text that is not Unicode.
    """
    naming = draft.naming()
    key = naming.find(name)
    old = None if key is None else draft.tensors[key]
    known = None if old is None else old.dtype
    if isinstance(values, str) and dtype is None and known is not DType.string:
        values, dtype, shape = _declared(values)
    given = None if dtype is None else DType.named(dtype)
    if old is None or key is None or known is None:
        if given is None:
            raise TensorNotFoundError(
                f"no such tensor{naming.near(name)}; to add one, give its type: '{name}=0:int64'",
                path=draft.prefix,
                key=name,
            )
        constant = _constant(values, given, None if shape is None else tuple(shape), draft.prefix, name)
        add_tensor(draft, name, DraftTensor(constant))
        return True
    size = old.shape
    if given not in (None, known) or (shape is not None and tuple(shape) != size):
        raise ConflictError(
            f"values of {given} {list(size if shape is None else shape)}, the tensor is {known} {list(size)}",
            path=draft.prefix,
            key=key,
        )
    draft.set_tensor(key, _constant(values, known, size, draft.prefix, key))
    return False


def add_tensor(draft: Draft, name: str, tensor: DraftTensor) -> str:
    """Add a tensor; if the draft has objects, as a variable at the path `name`. Returns its key.

    Raises:
        ConflictError: the name is taken, or can't be a tensor's.
    """
    graph = draft.graph
    if graph is None:
        if name in draft.tensors:
            raise ConflictError("a tensor of this name exists already", path=draft.prefix, key=name)
        if not name or name.startswith("\0") or name == OBJECT_GRAPH_KEY:
            raise ConflictError(f"{name!r} is not a name for a tensor", path=draft.prefix, key=name)
        draft.tensors[name] = tensor
        return name
    path = new_path(name)
    node = graph.get(path)
    key = next(
        (each.checkpoint_key for each in node.attributes if each.name == VARIABLE_VALUE)
        if node
        else iter(()),
        None,
    )
    if key is None:  # otherwise the variable exists without its value
        try:
            with draft.editing_graph():
                key = graph.add_variable(path).checkpoint_key
        except ConflictError as error:
            raise error.locate(path=draft.prefix) from None
    if key in draft.tensors:
        raise ConflictError("a tensor of this name exists already", path=draft.prefix, key=key)
    draft.tensors[key] = tensor
    return key


def _declared(text: str) -> tuple[str, str | None, list[int] | None]:
    """The values, the type and the shape in `0:int64` and `0:float32[2,3]`."""
    found = _DECLARED.fullmatch(text)
    if found is None or found["dtype"] not in DType.__members__:
        return text, None, None
    sizes = found["shape"]
    return (
        found["values"],
        found["dtype"],
        None if sizes is None else [int(each) for each in sizes.split(",") if each],
    )


def _constant(values: object, dtype: DType, shape: tuple[int, ...] | None, prefix: str, key: str) -> Constant:
    """Values of a type, and of a shape if there is one."""
    array, origin = _array(values, dtype)
    array = _strings(array, prefix, key) if dtype is DType.string else _numbers(array, dtype, prefix, key)
    if shape is not None and array.shape not in (shape, ()):
        raise ConflictError(
            f"values of shape {list(array.shape)}, the tensor has {list(shape)}", path=prefix, key=key
        )
    if shape is None:
        return Constant(array, origin, dtype)
    try:
        check_shape(shape, dtype)
    except UnsupportedError as error:
        raise error.locate(path=prefix, key=key) from None
    return Constant(np.broadcast_to(array, shape), origin, dtype)


def find_key(draft: Draft, name: str) -> str:
    """The key of the tensor that a name means: any name that `proto/naming.py` accepts.

    Raises:
        TensorNotFoundError: it means none; the reason suggests similar names.
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
        # NumPy saves the types of ml_dtypes as bytes without a type.
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
    """The values in the tensor's type, if it can represent them; only fractions are rounded, and not to integers."""
    source = DType.of(array.dtype)
    if source is DType.string or (source.is_complex and not dtype.is_complex):
        raise ConflictError(f"values of type {array.dtype}, the tensor is {dtype}", path=path, key=key)
    given = array.astype(array.dtype.newbyteorder("="), copy=False)
    if source is dtype:
        return given  # perhaps the pages of a file, of which only those that are written are needed at a time
    counting = Reading(verify=False)
    out = np.asarray(Cast(Constant(given, "", source), dtype).read(whole_box(given.shape), counting))
    if counting.overflowed:
        raise ConflictError(
            f"{counting.overflowed} values are out of the range of {dtype}", path=path, key=key
        )
    whole = dtype is DType.bool or dtype.is_integer
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
