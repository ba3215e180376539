"""A file of which much is read in small pieces, near each other: where a request takes long, they are read together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tensorbundle.storage.protocols import RandomAccessFile

__all__ = ["NearbyFile"]

_WINDOW_BYTES: Final = 256 << 10
_WINDOWS: Final = 8


class NearbyFile:
    """A file for reading headers and the like: the last 2 MiB that were read near them stay in memory."""

    def __init__(self, file: RandomAccessFile) -> None:
        """Read `file`, which stays the caller's to close."""
        self.path = file.path
        self._file = file
        self._windows: dict[int, bytes] = {}  # by number; the one that was used last is the last

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return self._file.size

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`; as `RandomAccessFile.read`."""
        first, last = offset // _WINDOW_BYTES, max(offset, offset + size - 1) // _WINDOW_BYTES
        outside = offset < 0 or size < 0 or offset + size > self.size
        if not self._file.near_bytes or outside or last - first > 1:
            return self._file.read(offset, size)
        data = b"".join(self._window(number) for number in range(first, last + 1))
        start = offset - first * _WINDOW_BYTES
        return data[start : start + size]

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes at `offset`; as `RandomAccessFile.readinto`."""
        if self._file.near_bytes and len(buffer) <= _WINDOW_BYTES:
            buffer[:] = self.read(offset, len(buffer))
        else:
            self._file.readinto(offset, buffer)

    def _window(self, number: int) -> bytes:
        start = number * _WINDOW_BYTES
        data = self._windows.pop(number, None)
        if data is None:
            data = self._file.read(start, min(_WINDOW_BYTES, self.size - start))
        self._windows[number] = data
        if len(self._windows) > _WINDOWS:
            self._windows.pop(next(iter(self._windows)))
        return data
