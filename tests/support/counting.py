"""A disk in memory that counts what is asked of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from support.memory_disk import MemoryDisk, MemoryFile

if TYPE_CHECKING:
    from tensorbundle.storage.protocols import Buffer

__all__ = ["CountingDisk"]


class CountingDisk(MemoryDisk):
    """Counts files opened, reads and bytes read, and whatever changes the disk.

    Attributes:
        counts: of "open", "read", and each operation of `MemoryDisk`; of "bytes read" and "bytes written" the sum.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.counts: Counter[str] = Counter()

    def open(self, path: str) -> MemoryFile:
        self.counts["open"] += 1
        return _CountingFile(path, super().open(path)._data, self.counts)

    def size(self, path: str) -> int:
        return super().open(path).size

    def append(self, path: str, data: Buffer) -> None:
        super().append(path, bytes(data))
        self.counts["bytes written"] += len(data)

    def _ask(self, operation: str) -> None:
        self.counts[operation] += 1
        super()._ask(operation)


class _CountingFile(MemoryFile):
    def __init__(self, path: str, data: bytes, counts: Counter[str]) -> None:
        super().__init__(path, data)
        self._counts = counts

    def read(self, offset: int, size: int) -> bytes:
        self._counts["read"] += 1
        self._counts["bytes read"] += size
        return super().read(offset, size)
