"""What is known of a tensor besides its values and its place: data type and shape, as far as they are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorbundle.dtypes import DType

__all__ = ["Spec", "shape_text"]


class Spec(NamedTuple):
    """The data type and the shape of a tensor; as text `float32 [38,32]`, without what is not known.

    Attributes:
        dtype: its data type; None if it is not known, or may be any.
        shape: elements along each dimension; None if that is not known, or may be any.
    """

    dtype: DType | None = None
    shape: tuple[int, ...] | None = None

    @property
    def rank(self) -> int | None:
        """How many dimensions the tensor has; None if that is not known."""
        return None if self.shape is None else len(self.shape)

    def allows(self, other: Spec) -> bool:
        """Whether a tensor of the type and shape `other` has what this one says of type and shape."""
        return self.dtype in (None, other.dtype) and self.shape in (None, other.shape)

    def __str__(self) -> str:
        known = [] if self.dtype is None else [str(self.dtype)]
        return " ".join(known if self.shape is None else [*known, shape_text(self.shape)])


def shape_text(shape: Sequence[int]) -> str:
    """A shape as it is printed everywhere: `[38,32]`, `[]` for a scalar."""
    return f"[{','.join(map(str, shape))}]"
