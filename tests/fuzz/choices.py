"""Values chosen by the bytes of a fuzzer: structure comes from here, so that checksums are right over wrong contents."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Choices"]

Item = TypeVar("Item")
_NOTABLE = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    127,
    128,
    255,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
)


class Choices:
    """Reads choices from bytes; when they run out, the first choice is taken each time."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        """A number below 256."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def one(self, items: Sequence[Item]) -> Item:
        """One of a few items."""
        return items[self.byte() % len(items)]

    def number(self) -> int:
        """A number that parsers may stumble over, or a small one."""
        kind = self.byte()
        return kind if kind < 128 else _NOTABLE[kind % len(_NOTABLE)]

    def take(self, size: int) -> bytes:
        """So many of the bytes themselves, fewer at the end."""
        self._at += size
        return self._data[self._at - size : self._at]

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(max(0, len(self._data) - self._at))

    def mutate(self, data: bytes) -> bytes:
        """The data with some bytes replaced, removed, inserted or repeated."""
        out = bytearray(data)
        for _ in range(self.byte() % 8):
            at = (self.byte() << 8 | self.byte()) % (len(out) + 1)
            size, kind = self.byte() % 9, self.byte() % 4
            if kind == 0:
                out[at : at + size] = self.take(size)
            elif kind == 1:
                del out[at : at + size]
            elif kind == 2:
                out[at:at] = self.take(size)
            else:
                out[at:at] = out[at : at + size] * (self.byte() % 20)
        return bytes(out)
