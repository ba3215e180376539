"""Reads `.npz` files: arrays in a zip archive.

An array that is neither compressed nor in Fortran order is stored in the file with the same bytes as in a bundle.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Final

from tensorbundle.arrays import np
from tensorbundle.boxes import whole_box
from tensorbundle.dtypes import DType
from tensorbundle.entries import StoredRange, TensorEntry
from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.gathering import gather
from tensorbundle.keys import decode_key, encode_key
from tensorbundle.shards import check_shape, swap_bytes
from tensorbundle.storage.nearby import NearbyFile
from tensorbundle.tools.formats.listed_index import ListedIndex, refuse
from tensorbundle.tools.formats.npy import START_BYTES, Array, npy_size, parse_npy
from tensorbundle.tools.formats.zips import InflatedFile, Member, members_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorbundle.boxes import Box
    from tensorbundle.dtypes import Array as NumPyArray
    from tensorbundle.storage.protocols import RandomAccessFile, Store

__all__ = ["NpzIndex"]

_ENDING: Final = ".npy"
_CHUNK_BYTES: Final = 1 << 20


class NpzIndex(ListedIndex):
    """The arrays of a `.npz` file as tensors, with the names that `np.load` gives them.

    NumPy stores types that it does not have as raw bytes. If `NpzOutput` wrote the file, the member's comment names the
    type; without a comment, elements of two bytes are read as bfloat16.
    """

    file_format = "npz"

    def __init__(self, path: str, store: Store) -> None:
        """Read the archive's directory and the header of each array.

        Raises:
            MissingFileError: no such file.
            CorruptionError: not a zip archive, or a damaged one.
            UnsupportedError: members are not tensors: Python objects, strings, records; the reason names all of them.
        """
        super().__init__(path, store, [path])
        self._encoded: dict[bytes, tuple[Member, Array]] = {}
        self._last: tuple[bytes, InflatedFile | _Part] | None = None
        self._members: dict[bytes, Member] = {}
        faults: list[str] = []
        self._file = store.open(path)
        try:
            near = NearbyFile(self._file)
            for member in members_of(near):
                self._add(member, near, faults)
            refuse(faults, path, "members that can't be tensors")
        except BaseException:
            self.close()
            raise

    def _add(self, member: Member, near: NearbyFile, faults: list[str]) -> None:
        name = member.name.removesuffix(_ENDING)
        source = self._source(member, near)
        try:
            start = source.read(0, min(START_BYTES, source.size))
            header = source.read(0, min(npy_size(start), source.size))
            array = parse_npy(header)
            dtype = array.dtype or _raw_type(array.itemsize, member.comment)
        except UnsupportedError as error:
            faults.append(f"{member.name!r}: {error.reason}")
            return
        except CorruptionError as error:
            raise error.locate(path=self.path, key=name) from None
        nbytes = math.prod(array.shape) * array.itemsize
        if array.start + nbytes != member.size:
            raise CorruptionError(
                f"{member.size - array.start} bytes of data, {dtype} {list(array.shape)} takes {nbytes}",
                path=self.path,
                offset=member.start,
                key=name,
            )
        key = encode_key(name)
        offset = member.start + array.start
        entry = TensorEntry(dtype, array.shape, nbytes, 0, 0 if member.deflated else offset)
        if member.deflated or array.fortran_order:
            self._encoded[key] = member, array
            self.add(key, entry, None)
        else:
            self.add(key, entry, StoredRange(self.path, offset, nbytes, big_endian=array.big_endian))
        self._members[key] = member

    def _source(self, member: Member, near: NearbyFile | None = None) -> InflatedFile | _Part:
        return InflatedFile(self._file, member) if member.deflated else _Part(near or self._file, member)

    def values(self, key: bytes, entry: TensorEntry, box: Box | None = None) -> NumPyArray:
        """See `Index`. Compressed arrays are best read from start to end."""
        member, array = self._encoded[key]
        if self._last is None or self._last[0] != key:
            self._last = key, self._source(member)
        source = self._last[1]
        wanted = whole_box(entry.shape) if box is None else box
        shape = tuple(each.stop - each.start for each in wanted)
        try:
            check_shape(shape, entry.dtype)
            of, part = entry.shape, wanted
            if array.fortran_order:
                shape, of, part = shape[::-1], of[::-1], part[::-1]
            out = np.empty(shape, entry.dtype.numpy)
            if out.size:
                gather(lambda start, buffer: source.readinto(array.start + start, buffer), of, part, out)
        except (CorruptionError, UnsupportedError) as error:
            raise error.locate(path=self.path, key=decode_key(key)) from None
        if array.big_endian and entry.dtype.swap_width > 1 and out.size:
            out = swap_bytes(out.reshape(-1).view(np.uint8), entry.dtype).view(out.dtype).reshape(out.shape)
        out = out.transpose() if array.fortran_order else out
        out.flags.writeable = False
        return out

    def check(self, key: bytes, entry: TensorEntry, progress: Callable[[int], None] | None = None) -> int:
        """See `ListedIndex`: a zip archive has a CRC-32 of each member, which covers its header and its data."""
        del entry
        member = self._members[key]
        source = self._source(member)
        crc = 0
        for start in range(0, member.size, _CHUNK_BYTES):
            chunk = source.read(start, min(_CHUNK_BYTES, member.size - start))
            crc = zlib.crc32(chunk, crc)
            if progress is not None:
                progress(len(chunk))
        if crc != member.crc32:
            raise CorruptionError(
                f"CRC-32 of {member.size} bytes: stored {member.crc32:08x}, computed {crc:08x}",
                path=self.path,
                offset=member.start,
                key=decode_key(key),
            )
        return member.size

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._last = None
        self._file.close()


class _Part:
    """The bytes of a member that is not compressed."""

    def __init__(self, archive: RandomAccessFile | NearbyFile, member: Member) -> None:
        self._archive = archive
        self._start = member.start
        self.size = member.size

    def read(self, offset: int, size: int) -> bytes:
        return self._archive.read(self._start + offset, size)

    def readinto(self, offset: int, buffer: memoryview) -> None:
        self._archive.readinto(self._start + offset, buffer)


def _raw_type(itemsize: int, comment: bytes) -> DType:
    name = comment.decode("latin-1")
    if name in DType.__members__ and DType[name].itemsize == itemsize:
        return DType[name]
    if itemsize == 2:
        return DType.bfloat16
    raise UnsupportedError(f"raw elements of {itemsize} bytes, whose type is not known")
