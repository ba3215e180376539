r"""The header of a `.npy` file, which describes the array after it.

Layout (numpy/lib/format.py): magic `\x93NUMPY`, two bytes of version, the length of the header (two bytes little-endian in
version 1.0, four from 2.0 on), then the text of a Python dictionary with `descr`, `fortran_order` and `shape`. Version
3.0 uses UTF-8, earlier versions use Latin-1. Data follows; NumPy puts it at a multiple of 64 bytes.
"""

from __future__ import annotations

import ast
import functools
import re
import struct
import warnings
from typing import Final, NamedTuple

from tensorbundle.dtypes import DType
from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.slices import MAX_RANK

__all__ = ["START_BYTES", "Array", "encode_npy", "npy_size", "parse_npy"]

_MAGIC: Final = b"\x93NUMPY"
START_BYTES: Final = len(_MAGIC) + 2 + 4  # enough to find the size of the header
_MAX_HEADER: Final = 10_000  # as NumPy's own limit: the text is given to Python's parser
_ALIGNMENT: Final = 64  # ARRAY_ALIGN
_GROWTH_DIGITS: Final = 21  # GROWTH_AXIS_MAX_DIGITS
_PYTHON_2_LONG: Final = re.compile(r"(?<=\d)L(?=[,)\s])")
_NUMBERS: Final = {
    "b1": DType.bool,
    **{
        f"{kind}{size}": DType[f"{name}{8 * size}"]
        for kind, name, sizes in (
            ("f", "float", (2, 4, 8)),
            ("i", "int", (1, 2, 4, 8)),
            ("u", "uint", (1, 2, 4, 8)),
            ("c", "complex", (8, 16)),
        )
        for size in sizes
    },
}
_READ: Final = {
    **_NUMBERS,
    "f1": DType.float8_e5m2,
}  # ml_dtypes's name; its other types of one byte are "V1"
_CODES: Final = {dtype: code for code, dtype in _NUMBERS.items()}


class Array(NamedTuple):
    """An array, as its header describes it.

    Attributes:
        dtype: the type of the elements; None for raw bytes, whose type the header does not tell.
        itemsize: bytes of one element.
        shape: elements along each dimension.
        fortran_order: whether the first dimension varies fastest.
        big_endian: whether the bytes of an element are in big-endian order.
        start: bytes before the data.
    """

    dtype: DType | None
    itemsize: int
    shape: tuple[int, ...]
    fortran_order: bool
    big_endian: bool
    start: int


def npy_size(start: bytes) -> int:
    """The size of the header in bytes, by the first `START_BYTES` of a file.

    Raises:
        CorruptionError: not a `.npy` file.
        UnsupportedError: a version or a size that is not read.
    """
    if not start.startswith(_MAGIC):
        raise CorruptionError("no '\\x93NUMPY' at its start: not an array file")
    if len(start) < START_BYTES:
        raise CorruptionError("the header is cut short")
    if start[6] not in (1, 2, 3) or start[7]:
        raise UnsupportedError(f"version {start[6]}.{start[7]} of the array format")
    before, size = (
        (10, struct.unpack_from("<H", start, 8)[0])
        if start[6] == 1
        else (12, struct.unpack_from("<L", start, 8)[0])
    )
    if size > _MAX_HEADER:
        raise UnsupportedError(f"a header of {size} bytes, at most {_MAX_HEADER} are read")
    return int(before + size)


@functools.lru_cache(maxsize=256)  # many arrays of a file have the same shape, and parsing takes long
def parse_npy(header: bytes) -> Array:
    """Parse the header: the first `npy_size` bytes of a file.

    Raises:
        CorruptionError: not such a header.
        UnsupportedError: Python objects, text, dates, records or types that TensorFlow does not have.
    """
    text = header[10 if header[6] == 1 else 12 :].decode("utf-8" if header[6] == 3 else "latin-1", "replace")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about string literals in the header
            found = ast.literal_eval(_PYTHON_2_LONG.sub("", text).strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        raise CorruptionError(f"the header is not a dictionary: {text[:80]!r}") from None
    if not isinstance(found, dict) or set(found) != {"descr", "fortran_order", "shape"}:
        raise CorruptionError(f"the header is not one of an array: {text[:80]!r}")
    descr, order, shape = found["descr"], found["fortran_order"], found["shape"]
    if not isinstance(order, bool):
        raise CorruptionError(f"fortran_order {order!r}")
    if (
        not isinstance(shape, tuple)
        or len(shape) > MAX_RANK
        or not all(type(each) is int and 0 <= each < 2**63 for each in shape)
    ):
        raise CorruptionError(f"shape {repr(shape)[:80]} is not a tuple of at most {MAX_RANK} sizes")
    dtype, itemsize = _type(descr)
    fortran = order and len(shape) > 1
    return Array(dtype, itemsize, shape, fortran, descr[0] == ">", len(header))


def _type(descr: object) -> tuple[DType | None, int]:
    if isinstance(descr, str) and descr[:1] in "<>|=":
        if descr[1:] in _READ:
            dtype = _READ[descr[1:]]
            return dtype, dtype.itemsize
        if re.fullmatch(r"V[12]", descr[1:]):
            return None, int(descr[2:])
    if isinstance(descr, str) and descr[1:2] in ("O", "S", "U", "M", "m"):
        kind = {"O": "Python objects", "S": "strings", "U": "strings"}.get(descr[1], "dates")
        raise UnsupportedError(f"{kind} ({descr[:20]})")
    raise UnsupportedError(f"elements of type {repr(descr)[:80]}")


def encode_npy(dtype: DType, shape: tuple[int, ...]) -> bytes:
    """The header of an array in C order, as NumPy writes it (`_write_array_header`, version 1.0).

    A type that NumPy does not have is stored as raw bytes, as NumPy stores arrays of `ml_dtypes`.
    """
    code = _CODES.get(dtype)
    order = "|" if dtype.itemsize == 1 and code else "<"
    descr = f"{order}{code or f'V{dtype.itemsize}'}"
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (_GROWTH_DIGITS - len(repr(shape[0])) if shape else 0)  # room for a longer first dimension
    before = len(_MAGIC) + 2 + 2
    size = ((before + len(text) + 1) // _ALIGNMENT + 1) * _ALIGNMENT
    return (
        _MAGIC + b"\1\0" + struct.pack("<H", size - before) + text.ljust(size - before - 1).encode() + b"\n"
    )
