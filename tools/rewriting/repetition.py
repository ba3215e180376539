"""A limit on how often the bytes of a file are read for different tensors.

In an index, ranges of tensors may be the same: a few kilobytes can name one megabyte thousands of times. Whoever reads the
values of each tensor counts them here before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorbundle.dtypes import DType
from tensorbundle.errors import UnsupportedError
from tensorbundle.limits import MAX_ENCODED_REPEATS, MAX_EXPANDED_BYTES, MAX_REPEATS

if TYPE_CHECKING:
    from tensorbundle.entries import StoredRange, TensorEntry

__all__ = ["EncodedRepetition", "Repetition"]

_ANY_BYTES: Final = 1 << 20
_STRING_BYTES: Final = 64  # of memory, at least, for each string that is decoded


class _Stretches:
    """The stretches of files that ranges are in, together.

    Attributes:
        nbytes: of all of them.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._by_path: dict[str, tuple[int, int]] = {}

    def add(self, stored: StoredRange) -> None:
        """Add a range."""
        start, end = stored.offset, stored.offset + stored.nbytes
        first, last = self._by_path.get(stored.path, (start, start))
        self._by_path[stored.path] = widened = min(first, start), max(last, end)
        self.nbytes += widened[1] - widened[0] - (last - first)


class EncodedRepetition:
    """The bytes of tensors of strings and variants that are checked, compared with the stretches of files that they are in.

    Their lengths are decoded to check them, which takes far longer than other bytes do. Tensors of the same bytes, which are
    checked once, count once.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._stretches = _Stretches()
        self._counted: set[tuple[StoredRange, DType, int]] = set()

    def add(self, dtype: DType, elements: int, stored: StoredRange) -> None:
        """Count a tensor or slice that will be checked; one of numbers does not count.

        Raises:
            UnsupportedError: more than `MAX_ENCODED_REPEATS` allows.
        """
        if dtype.itemsize:
            return
        place = stored, dtype, elements
        if place in self._counted:
            return
        self._counted.add(place)
        self._stretches.add(stored)
        self._bytes += stored.nbytes
        if self._bytes > MAX_ENCODED_REPEATS * self._stretches.nbytes + _ANY_BYTES:
            raise UnsupportedError(
                f"tensors of strings or variants share bytes: those to be checked have {self._bytes} bytes or more, stored in "
                f"{self._stretches.nbytes}, and at most {MAX_ENCODED_REPEATS} times as many are decoded",
                path=stored.path,
            )


class Repetition:
    """The bytes of tensors that are read, compared with the stretches of files that they are in.

    What is counted grows with the files, unless tensors share bytes: the limit is on that alone.
    """

    def __init__(self) -> None:
        self._bytes = self._strings = 0
        self._stretches = _Stretches()

    def add(self, entry: TensorEntry, stored: StoredRange) -> None:
        """Count a tensor or slice that will be read.

        Raises:
            UnsupportedError: all of them together have more than `MAX_EXPANDED_BYTES`, and more than `MAX_REPEATS` times
                the bytes that they are stored in.
        """
        self._stretches.add(stored)
        self._bytes += stored.nbytes
        if entry.dtype is DType.string:  # each takes at least one of the stored bytes
            self._strings += min(entry.elements, stored.nbytes)
        if (
            max(self._bytes, _STRING_BYTES * self._strings) > MAX_EXPANDED_BYTES
            and max(self._bytes, self._strings) > MAX_REPEATS * self._stretches.nbytes
        ):
            raise UnsupportedError(
                f"tensors share bytes: those to be read have {self._bytes} bytes or more, stored in {self._stretches.nbytes} bytes of this file, "
                f"and at most {MAX_REPEATS} times as many are read; choose fewer tensors",
                path=stored.path,
            )
