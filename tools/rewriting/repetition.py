"""A limit on how often the bytes of a file are read for different tensors.

In an index, ranges of tensors may be the same: a few kilobytes can name one megabyte thousands of times. Whoever reads the
values of each tensor counts them here before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorbundle.dtypes import DType
from tensorbundle.errors import UnsupportedError
from tensorbundle.limits import MAX_EXPANDED_BYTES, MAX_REPEATS

if TYPE_CHECKING:
    from tensorbundle.entries import StoredRange, TensorEntry

__all__ = ["Repetition"]

_STRING_BYTES: Final = 64  # of memory, at least, for each string that is decoded


class Repetition:
    """The bytes of tensors that are read, compared with the stretches of files that they are in.

    What is counted grows with the files, unless tensors share bytes: the limit is on that alone.
    """

    def __init__(self) -> None:
        self._bytes = self._strings = 0
        self._stretches: dict[str, tuple[int, int]] = {}
        self._stored = 0

    def add(self, entry: TensorEntry, stored: StoredRange) -> None:
        """Count a tensor or slice that will be read.

        Raises:
            UnsupportedError: all of them together have more than `MAX_EXPANDED_BYTES`, and more than `MAX_REPEATS` times
                the bytes that they are stored in.
        """
        start, end = stored.offset, stored.offset + stored.nbytes
        first, last = self._stretches.get(stored.path, (start, start))
        self._stretches[stored.path] = widened = min(first, start), max(last, end)
        self._stored += widened[1] - widened[0] - (last - first)
        self._bytes += stored.nbytes
        if entry.dtype is DType.string:  # each takes at least one of the stored bytes
            self._strings += min(entry.elements, stored.nbytes)
        if (
            max(self._bytes, _STRING_BYTES * self._strings) > MAX_EXPANDED_BYTES
            and max(self._bytes, self._strings) > MAX_REPEATS * self._stored
        ):
            raise UnsupportedError(
                f"tensors share bytes: those to be read have {self._bytes} bytes or more, stored in {self._stored} bytes of this file, "
                f"and at most {MAX_REPEATS} times as many are read; choose fewer tensors",
                path=stored.path,
            )
