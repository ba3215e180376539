"""TensorFlow's data types as a checkpoint stores them.

The numbers are `DataType` of TensorFlow core/framework/types.proto. NumPy is imported only when an array type is
requested, so that listing a checkpoint does not import it.
"""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, Any, Self, cast

from tensorbundle.errors import BundleError, UnsupportedError, near_hint

if TYPE_CHECKING:
    import builtins

    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

__all__ = ["DType"]


class DType(enum.StrEnum):
    """A data type; equal to its TensorFlow name, so `entry.dtype == "float32"` holds.

    Attributes:
        number: its value in `DataType`.
        itemsize: bytes of an element on disk; 0 if that varies (string, variant) or nothing is stored (resource).
            Types of less than a byte use a whole byte, whose low bits have the value.
    """

    number: int
    itemsize: int

    def __new__(cls, name: str, number: int, itemsize: int) -> Self:  # noqa: D102  how enums take attributes
        member = str.__new__(cls, name)
        member._value_ = name
        member.number = number
        member.itemsize = itemsize
        return member

    float32 = "float32", 1, 4
    float64 = "float64", 2, 8
    int32 = "int32", 3, 4
    uint8 = "uint8", 4, 1
    int16 = "int16", 5, 2
    int8 = "int8", 6, 1
    string = "string", 7, 0
    complex64 = "complex64", 8, 8
    int64 = "int64", 9, 8
    bool = "bool", 10, 1
    qint8 = "qint8", 11, 1
    quint8 = "quint8", 12, 1
    qint32 = "qint32", 13, 4
    bfloat16 = "bfloat16", 14, 2
    qint16 = "qint16", 15, 2
    quint16 = "quint16", 16, 2
    uint16 = "uint16", 17, 2
    complex128 = "complex128", 18, 16
    float16 = "float16", 19, 2
    resource = "resource", 20, 0
    variant = "variant", 21, 0
    uint32 = "uint32", 22, 4
    uint64 = "uint64", 23, 8
    float8_e5m2 = "float8_e5m2", 24, 1
    float8_e4m3fn = "float8_e4m3fn", 25, 1
    float8_e4m3fnuz = "float8_e4m3fnuz", 26, 1
    float8_e4m3b11fnuz = "float8_e4m3b11fnuz", 27, 1
    float8_e5m2fnuz = "float8_e5m2fnuz", 28, 1
    int4 = "int4", 29, 1
    uint4 = "uint4", 30, 1
    int2 = "int2", 31, 1
    uint2 = "uint2", 32, 1
    float4_e2m1fn = "float4_e2m1fn", 33, 1

    @classmethod
    def from_number(cls, number: int) -> DType:
        """The type with this `DataType` value.

        Raises:
            UnsupportedError: no stored tensor has such a type.
        """
        try:
            return _BY_NUMBER[number]
        except KeyError:
            raise UnsupportedError(f"data type number {number} is not one that a checkpoint stores") from None

    @classmethod
    def named(cls, name: str) -> DType:
        """The type of this name.

        Raises:
            BundleError: no type has this name; the reason lists similar names.
        """
        try:
            return cls[name]
        except KeyError:
            raise BundleError(f"no data type {name!r}{near_hint(name, cls.__members__)}") from None

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> DType:
        """The type in which an array of this NumPy type is stored; objects, bytes and text are stored as strings.

        Raises:
            UnsupportedError: TensorFlow has no such type.
        """
        name = dtype.name
        if dtype.kind in "OSUT":
            return cls.string
        if name in _STORED_AS_ITSELF:
            return cls[name]
        raise UnsupportedError(f"NumPy type {name} has no TensorFlow counterpart")

    @property
    def is_floating(self) -> builtins.bool:  # in this class, `bool` is a member
        """Whether its values are real floating-point numbers."""
        return self.value.startswith(("float", "bfloat"))

    @property
    def is_complex(self) -> builtins.bool:
        """Whether its values are complex numbers."""
        return self.value.startswith("complex")

    @property
    def is_integer(self) -> builtins.bool:
        """Whether its values are stored as integers; includes quantised types, unlike `tf.DType.is_integer`."""
        return self.value.lstrip("qu").startswith("int")

    @property
    def is_quantized(self) -> builtins.bool:
        """Whether it is a quantised type, whose integers represent other numbers."""
        return self.value.startswith(("qint", "quint"))

    @property
    def is_numeric(self) -> builtins.bool:
        """Whether its values are numbers or booleans, not strings, variants or resources."""
        return self.itemsize > 0

    @property
    def has_values(self) -> builtins.bool:
        """Whether its values can be arrays: all types but variants and resources."""
        return self not in (DType.variant, DType.resource)

    @functools.cached_property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy type of its values, little-endian: quantised types as plain integers, strings as objects.

        Raises:
            UnsupportedError: values of this type can't be arrays (variant, resource), or the installed ml_dtypes is
                too old for this type.
        """
        import numpy as np

        if self is DType.string:
            return np.dtype(object)
        if not self.has_values:
            raise UnsupportedError(f"values of type {self.value} can't be NumPy arrays")
        plain = self.value.removeprefix("q").replace("quint", "uint")
        if plain in _NUMPY_NAMES:
            return np.dtype(plain).newbyteorder("<")
        import ml_dtypes

        try:
            return cast("np.dtype[Any]", np.dtype(getattr(ml_dtypes, self.value)))
        except AttributeError:
            raise UnsupportedError(
                f"the installed ml_dtypes {ml_dtypes.__version__} has no {self.value}: install a newer one"
            ) from None

    @property
    def swap_width(self) -> int:
        """Bytes of the units whose order changes with endianness (core/util/tensor_bundle/byte_swap_array.cc)."""
        return self.itemsize // 2 if self.is_complex else self.itemsize


_BY_NUMBER = {member.number: member for member in DType}
_NUMPY_NAMES = frozenset(
    f"{kind}{bits}"
    for kind, sizes in {
        "float": (16, 32, 64),
        "complex": (64, 128),
        "int": (8, 16, 32, 64),
        "uint": (8, 16, 32, 64),
    }.items()
    for bits in sizes
) | {"bool"}
_STORED_AS_ITSELF = frozenset(
    member.value for member in DType if member.is_numeric and not member.is_quantized
)
