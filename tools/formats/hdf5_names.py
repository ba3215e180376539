"""The names in HDF5 files that h5py writes, without h5py, whose import takes longer than a shell may wait.

Layout (HDF5 File Format Specification 3.0, sections II.A, III.A to III.D and IV.A.2.r): the superblock has the symbol table
entry of the root group. A group is a B-tree over nodes of symbol table entries (`SNOD`), sorted by name, and a heap with the
names. An entry has the address of an object's header, whose messages tell a group from a dataset. What an entry itself says
of a group is not used: it stays when HDF5 moves the group's links to another structure.

Only this layout is read: h5py's default, and Keras's. Whatever else is in a file is for `Hdf5Index`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorbundle.limits import MAX_GROUP_DEPTH

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WEIGHTS", "OtherLayoutError", "names_below"]

WEIGHTS: Final = "model.weights.h5"  # the member of a `.keras` archive with the weights
_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_SOFT_LINK: Final = 2
_DATASPACE: Final = 0x01  # messages in the header of an object
_CONTINUATION: Final = 0x10
_SYMBOL_TABLE: Final = 0x11
_MOST_READ: Final = 1_000_000  # nodes, entries and messages, so that loops end
_MAX_NAME: Final = 1 << 16
_ENTRY: Final = struct.Struct("<QQL20x")  # name, object header, kind
_TREE: Final = struct.Struct("<4sBBH16x")
_MESSAGE: Final = struct.Struct("<HH4x")
_PAIR: Final = struct.Struct("<QQ")


class OtherLayoutError(Exception):
    """The file has another layout, or is damaged."""


class _Object(NamedTuple):
    """A group, or a dataset, which has no B-tree.

    Attributes:
        tree: the address of its B-tree; 0 for a dataset.
        heap: the address of its heap.
    """

    tree: int
    heap: int


def names_below(data: memoryview, start: bytes) -> list[bytes]:
    """Paths of datasets that begin with `start`: of each that is an object below it, and of each group the first inside.

    Of a group, these are all up to the first one whose name inside does not begin with a dot.

    Raises:
        OtherLayoutError: the file can't be read so.
    """
    try:
        return list(_File(data).datasets(start))
    except (struct.error, IndexError, OverflowError) as error:
        raise OtherLayoutError from error


class _File:
    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._left = _MOST_READ
        version = data[8]
        if bytes(data[:8]) != _SIGNATURE or version > 1 or tuple(data[13:15]) != (8, 8):
            raise OtherLayoutError
        addresses = 24 if version == 0 else 28
        self._base = struct.unpack_from("<Q", data, addresses)[0]
        self._root = addresses + 32

    def datasets(self, start: bytes) -> Iterator[bytes]:
        """See `names_below`."""
        *scopes, beginning = start.split(b"/")
        found = self._object(self._root)
        for scope in scopes:
            inner = next((place for name, place in self._entries(found) if name == scope), None)
            if inner is None or (found := self._object(inner)).tree == 0:
                return
        above = start[: len(start) - len(beginning)]
        for name, place in self._entries(found):
            if name.startswith(beginning):
                for below in self._inside(place, 0):
                    yield above + name + below

    def _inside(self, place: int, depth: int) -> Iterator[bytes]:
        """What follows the path of an object in those of datasets inside, up to the first one without a dot after the '/'."""
        found = self._object(place)
        if not found.tree:
            yield b""
        elif depth <= MAX_GROUP_DEPTH:
            for name, inner in self._entries(found):
                below = next(self._inside(inner, depth + 1), None)
                if below is not None:
                    yield b"/" + name + below
                    if not name.startswith(b"."):
                        return

    def _entries(self, group: _Object) -> Iterator[tuple[bytes, int]]:
        """The names in a group, and the positions of their symbol table entries, without links to paths."""
        data, base = self._data, self._base
        signature, names = struct.unpack_from("<4s20xQ", data, base + group.heap)
        if signature != b"HEAP":
            raise OtherLayoutError
        for node in self._nodes(base + group.tree):
            if bytes(data[node : node + 4]) != b"SNOD":
                raise OtherLayoutError
            for number in range(struct.unpack_from("<H", data, node + 6)[0]):
                self._count()
                place = node + 8 + _ENTRY.size * number
                name, _, kind = _ENTRY.unpack_from(data, place)
                if kind != _SOFT_LINK:
                    yield self._text(base + names + name), place

    def _text(self, start: int) -> bytes:
        """The name at a position of a heap, which a zero byte ends."""
        for size in (64, _MAX_NAME):
            text, end, _ = bytes(self._data[start : start + size]).partition(b"\0")
            if end:
                return text
        raise OtherLayoutError

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise OtherLayoutError

    def _nodes(self, tree: int) -> Iterator[int]:
        """The positions of the nodes with symbol table entries below a node of a B-tree, in the order of their names."""
        self._count()
        signature, kind, level, used = _TREE.unpack_from(self._data, tree)
        if signature != b"TREE" or kind:
            raise OtherLayoutError
        for number in range(used):
            child = self._base + _PAIR.unpack_from(self._data, tree + _TREE.size + 16 * number)[1]
            if level:
                yield from self._nodes(child)
            else:
                yield child

    def _object(self, place: int) -> _Object:
        """What a symbol table entry is for."""
        _, header, _ = _ENTRY.unpack_from(self._data, place)
        start = self._base + header
        version, count, size = struct.unpack_from("<BxH4xL", self._data, start)
        if version != 1:
            raise OtherLayoutError
        pieces = [(start + 16, size)]
        while pieces:
            at, size = pieces.pop()
            end = at + size
            while at < end and count:
                self._count()
                message, length = _MESSAGE.unpack_from(self._data, at)
                at += _MESSAGE.size
                count -= 1
                if message == _DATASPACE:
                    return _Object(0, 0)
                if message == _SYMBOL_TABLE:
                    return _Object(*_PAIR.unpack_from(self._data, at))
                if message == _CONTINUATION:
                    further, size = _PAIR.unpack_from(self._data, at)
                    pieces.append((self._base + further, size))
                at += length
        raise OtherLayoutError
