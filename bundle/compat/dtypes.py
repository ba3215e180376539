"""Data types with the attributes of `tf.DType`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorbundle import dtypes
from tensorbundle.errors import UnsupportedError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DType"]


class DType(str):
    """A data type: the string `name`, with the attributes of `tf.DType`.

    It equals its name, the `tensorbundle.DType`, the `tf.DType` and the NumPy type, and has the hash of its name.
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        """TensorFlow's name, as a plain string."""
        return str(self)

    @property
    def as_datatype_enum(self) -> int:
        """The value in TensorFlow's enum `DataType`."""
        return dtypes.DType[self].number

    @property
    def as_numpy_dtype(self) -> Any:
        """The class of NumPy scalars; for quantised types a structured type like TensorFlow's, for strings `object`.

        Raises:
            UnsupportedError: no such class exists (variant, resource), or the installed ml_dtypes does not have it.
        """
        import numpy as np  # a listing does not need NumPy

        if self.is_quantized:
            return np.dtype([(self.name, self.numpy)])
        return object if self == "string" else self.numpy.type

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy type of arrays that a reader returns: quantised types as plain integers, strings as objects.

        Raises:
            UnsupportedError: as `as_numpy_dtype`.
        """
        return dtypes.DType[self].numpy

    @property
    def base_dtype(self) -> DType:
        """The type itself: no checkpoint stores reference types."""
        return self

    @property
    def real_dtype(self) -> DType:
        """The type of the parts of a complex type; otherwise the type itself."""
        return DType({"complex64": "float32", "complex128": "float64"}.get(self, self))

    @property
    def size(self) -> int:
        """Bytes of an element, 0 if that varies."""
        return dtypes.DType[self].itemsize

    @property
    def is_bool(self) -> bool:
        """Whether it is `bool`."""
        return self == "bool"

    @property
    def is_complex(self) -> bool:
        """Whether it is a complex type."""
        return self.startswith("complex")

    @property
    def is_floating(self) -> bool:
        """Whether it is a floating-point type, not a complex one."""
        return self.startswith(("float", "bfloat"))

    @property
    def is_integer(self) -> bool:
        """Whether it is an integer type, not a quantised one."""
        return self.startswith(("int", "uint"))

    @property
    def is_quantized(self) -> bool:
        """Whether it is a quantised type."""
        return self.startswith(("qint", "quint"))

    @property
    def is_unsigned(self) -> bool:
        """Whether it is an unsigned integer type, not a quantised one."""
        return self.startswith("uint")

    def is_compatible_with(self, other: object) -> bool:
        """Whether `other` is this type."""
        return self == other

    def __eq__(self, other: object) -> bool:
        # A `numpy.dtype` is compared by its scalar class; `other` may be such a class itself.
        scalar = getattr(other, "type", other)
        if not isinstance(scalar, type):
            return super().__eq__(other)
        try:
            own = self.as_numpy_dtype
        except UnsupportedError:
            return False
        return own is scalar or (own is object and scalar.__name__ in ("object_", "bytes_", "str_"))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __repr__(self) -> str:
        return f"DType({self.name!r})"
