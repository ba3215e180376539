"""Reading tensors from data shards: memory maps, views, checksums, joining of partitioned tensors.

A data file contains the bytes of tensors; only the index gives their positions. Gaps, shared ranges and any order are
legal (TensorFlow core/util/tensor_bundle/tensor_bundle.cc, `BundleReader::GetValue`).

A file may be cut or overwritten in place while it is open, and touching a part of a map that the file no longer has ends the
process. So nothing here touches a map except to return views of it: bytes are read to be checked, decoded or copied.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from tensorbundle.arrays import np
from tensorbundle.boxes import intersect, must_tile, relative, whole_box
from tensorbundle.dtypes import DType
from tensorbundle.entries import check_range
from tensorbundle.errors import BundleError, CorruptionError, MissingFileError, UnsupportedError
from tensorbundle.gathering import gather, ranges_of
from tensorbundle.keys import encode_key
from tensorbundle.payloads import decode_strings, payload_checksum
from tensorbundle.slices import readable_key
from tensorbundle.storage.content import describe_content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorbundle.boxes import Box
    from tensorbundle.dtypes import Array
    from tensorbundle.entries import StoredRange, TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.storage.protocols import RandomAccessFile


__all__ = ["ShardReader", "check_shape", "swap_bytes"]

Memory = TypeVar("Memory")
_CHUNK_BYTES: Final = 1 << 18  # which stay in the processor's cache between reading and checking
_MOST_OPEN: Final = 128  # files at a time; each takes two descriptors
_ANY_RANK: Final = 32  # that arrays may have in every version of NumPy


def swap_bytes(raw: Array, dtype: DType) -> Array:
    """Big-endian values of this type, converted to little-endian; each half of a complex number is swapped."""
    width = dtype.swap_width
    return raw.view(f">u{width}").astype(f"<u{width}").view(np.uint8)


class _OpenShard:
    """A file with tensors.

    Attributes:
        file: open.
        mapped: all of its bytes as memory, if it can be mapped.
        verified: the keys of tensors whose checksums matched, since the file was last written to.
    """

    def __init__(self, file: RandomAccessFile, mapped: memoryview | None) -> None:
        self.file, self.mapped = file, mapped
        self.verified: set[bytes] = set()
        self._stamp = (0, 0) if mapped is None else file.stamp()

    def look(self, end: int) -> None:
        """Ask the system whether the file was written to; what was verified then is so no longer.

        Raises:
            CorruptionError: it is shorter than `end` bytes now.
        """
        stamp = self.file.stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            self.verified.clear()
        if stamp[0] < end:
            raise CorruptionError("the file shrank while it was read", path=self.file.path, offset=stamp[0])


class ShardReader:
    """Reads tensors of one bundle from its data shards; a shard is opened when a tensor in it is read.

    Views keep their memory map alive after `close`.
    """

    def __init__(self, index: Index, *, verify: bool = True) -> None:
        """Read the tensors of `index`; with `verify`, the checksum of each tensor is checked when it is first read."""
        self._index = index
        self._verify = verify
        self._files: dict[str, _OpenShard] = {}  # the one that was used last is the last

    def read(self, key: str, region: object = None, *, copy: bool = False) -> Array:
        """The tensor `key`, or the part of it that the NumPy index `region` selects (basic indexing).

        A numeric tensor, or a region of one, is returned as a read-only view of the memory map; with `copy`, as a writable
        array of its own, whose bytes are those that were checked. A string tensor is an object array of bytes. A
        partitioned tensor is joined from the slices that are needed. Reading a region of numbers does not check the
        tensor's checksum, which covers the whole tensor.

        Raises:
            TensorNotFoundError: no such key.
            MissingFileError: the data shard does not exist.
            CorruptionError: the tensor's bytes are damaged.
            UnsupportedError: the values can't be an array.
            IndexError: `region` is not valid for the shape.
        """
        entry = self._index.entry(key)
        raw_key = encode_key(key)
        if entry.slices:
            array = self._assemble(raw_key, entry, region)
        elif region is not None and entry.dtype.itemsize and (copy or self._is_only_read(raw_key, entry)):
            box, within = _covering_box(entry.shape, region)
            array = _basic(self._box(raw_key, entry, box), within)
        else:
            verify = self._verify and (region is None or entry.dtype is DType.string)
            array = self._whole(raw_key, entry, verify=verify, copy=copy)
            array = array if region is None else _basic(array, region)
        if copy and not (array.flags.writeable and array.flags.owndata):
            array = array.copy()
        return array

    def read_entry(self, key: bytes, entry: TensorEntry) -> Array:
        """One stored tensor or slice by its entry; otherwise like `read`."""
        return self._whole(key, entry, verify=self._verify)

    def read_string(self, key: str) -> bytes:
        """The only element of a string tensor, read without NumPy.

        Raises:
            TensorNotFoundError, MissingFileError, UnsupportedError: as `read`.
            CorruptionError: as `read`; or, without a key, it is not one string.
        """
        entry, raw_key = self._index.entry(key), encode_key(key)
        if entry.dtype is not DType.string or entry.elements != 1:
            raise CorruptionError(f"{entry.elements} values of {entry.dtype}, expected one string")
        stored = self._index.stored(raw_key, entry)
        if entry.slices or stored is None:
            return bytes(self.read(key).reshape(-1)[0])
        shard = self._open(raw_key, entry, stored)
        return self._strings(raw_key, entry, stored, shard, verify=self._verify)[0]

    def payload(self, key: bytes, entry: TensorEntry) -> memoryview:
        """The bytes of one stored entry, as they are in the file; only the range is checked.

        Raises:
            MissingFileError, CorruptionError: as for `read`.
            UnsupportedError: the format encodes the values.
        """
        stored = self._index.stored(key, entry)
        if stored is None:
            raise UnsupportedError(
                f"{self._index.file_format} files contain encoded values, not bytes",
                path=self._index.path,
                key=readable_key(key),
            )
        return _read(key, entry, stored, self._open(key, entry, stored))

    def _whole(self, key: bytes, entry: TensorEntry, *, verify: bool, copy: bool = False) -> Array:
        stored = self._index.stored(key, entry)
        if stored is None:
            return self._index.values(key, entry)
        shard = self._open(key, entry, stored)
        try:
            dtype = entry.dtype.numpy
            check_shape(entry.shape, entry.dtype)
        except UnsupportedError as error:
            raise error.locate(path=self._index.prefix, key=readable_key(key)) from None
        if entry.dtype is DType.string:
            values = self._strings(key, entry, stored, shard, verify=verify)
            array = np.empty(len(values), dtype=object)
            array[:] = values
            return array.reshape(entry.shape)
        swapped = stored.big_endian and entry.dtype.swap_width > 1
        verify = verify and stored.crc32c is not None
        if not swapped and (copy or shard.mapped is None):
            out = _allocated(lambda: np.empty(entry.shape, dtype), key, entry, stored, shard)
            payload = out.reshape(-1).view(np.uint8).data
            with _naming(key):
                shard.file.readinto(stored.offset, payload)
            if verify:
                self._check(key, entry, stored, [payload])
            out.flags.writeable = copy
            return out
        if not swapped and shard.mapped is not None:
            if verify and key not in shard.verified:
                self._check(key, entry, stored, _chunks(shard, stored))
                shard.verified.add(key)
            payload = shard.mapped[stored.offset : stored.offset + stored.nbytes]
        else:
            payload = _read(key, entry, stored, shard)
            if verify:
                self._check(key, entry, stored, [payload])
        if swapped:
            array = swap_bytes(np.frombuffer(payload, np.uint8), entry.dtype).view(dtype)
            array = array.reshape(entry.shape)
        elif entry.nbytes == 0:
            array = np.empty(entry.shape, dtype)
        else:
            array = np.ndarray(entry.shape, dtype, buffer=payload)
        array.flags.writeable = False
        return array

    def _strings(
        self, key: bytes, entry: TensorEntry, stored: StoredRange, shard: _OpenShard, *, verify: bool
    ) -> list[bytes]:
        """The elements of one stored string tensor or slice."""
        payload = _read(key, entry, stored, shard)
        if verify and stored.crc32c is not None:
            self._check(key, entry, stored, [payload])
        try:
            return decode_strings(payload, entry.elements, big_endian=stored.big_endian)
        except CorruptionError as error:
            raise _located(error, key, stored) from None

    def _is_only_read(self, key: bytes, entry: TensorEntry) -> bool:
        """Whether a stored tensor or slice is of numbers in a file that can't be mapped, so that parts cost less."""
        stored = self._index.stored(key, entry)
        if stored is None or not entry.dtype.itemsize or not entry.shape:
            return False
        return self._open(key, entry, stored).mapped is None

    def _box(self, key: bytes, entry: TensorEntry, box: Box) -> Array:
        """A box of the numbers of one stored tensor or slice, of which only the bytes are read; no checksum covers it."""
        stored = self._index.stored(key, entry)
        if stored is None:
            return self._index.values(key, entry, box)
        shard = self._open(key, entry, stored)
        shape = tuple(each.stop - each.start for each in box)
        try:
            check_shape(shape, entry.dtype)
        except UnsupportedError as error:
            raise error.locate(path=self._index.prefix, key=readable_key(key)) from None
        size = math.prod(shape) * entry.dtype.itemsize
        raw = _allocated(lambda: np.empty(size, np.uint8), key, entry, stored, shard)
        with _naming(key):
            if size:
                if shard.mapped is None:
                    shard.file.prefetch([*ranges_of(entry.shape, box, entry.dtype.itemsize, stored.offset)])
                out = raw.view(entry.dtype.numpy).reshape(shape)
                gather(
                    lambda start, buffer: shard.file.readinto(stored.offset + start, buffer),
                    *(entry.shape, box, out),
                )
        if stored.big_endian and entry.dtype.swap_width > 1:
            raw = swap_bytes(raw, entry.dtype)
        return raw.view(entry.dtype.numpy).reshape(shape)

    def _check(
        self, key: bytes, entry: TensorEntry, stored: StoredRange, chunks: Iterable[memoryview]
    ) -> None:
        try:
            checksum = payload_checksum(
                entry.dtype,
                entry.elements,
                entry.nbytes,
                big_endian=stored.big_endian,
            )
            for chunk in chunks:
                checksum.update(chunk)
            computed = checksum.finish()
            if computed != stored.crc32c:
                raise CorruptionError(
                    f"crc32c of {entry.nbytes} bytes: stored {stored.crc32c:08x}, computed {computed:08x}; "
                    "'tensorbundle verify' looks for the cause"
                )
        except CorruptionError as error:
            raise _located(error, key, stored) from None

    def _assemble(self, key: bytes, entry: TensorEntry, region: object) -> Array:
        """Copies the needed part of every slice to its position; exactly one slice must contain each element."""
        box, within = _covering_box(entry.shape, region)
        shape = tuple(each.stop - each.start for each in box)
        parts: list[tuple[Box, Box, bytes, TensorEntry]] = []
        for part, slice_key, stored in self._index.stored_slices(key, entry):
            whole = part.box(entry.shape)
            common = intersect(box, whole)
            if common is not None:
                parts.append((common, whole, slice_key, stored))
        try:
            check_shape(shape, entry.dtype)
            must_tile([common for common, _, _, _ in parts], shape)
        except (CorruptionError, UnsupportedError) as error:
            raise error.locate(path=self._index.prefix, key=readable_key(key)) from None
        out = np.empty(shape, entry.dtype.numpy)
        for common, whole, slice_key, stored in parts:
            if common == whole or stored.dtype is DType.string:
                values = self._whole(slice_key, stored, verify=self._verify, copy=True)
                out[relative(common, box)] = values[relative(common, whole)]
            else:
                out[relative(common, box)] = self._box(slice_key, stored, relative(common, whole))
        out.flags.writeable = False
        return out if region is None else _basic(out, within)

    def _open(self, key: bytes, entry: TensorEntry, stored: StoredRange) -> _OpenShard:
        """The file with a tensor, which has all of the tensor's bytes."""
        end = stored.offset + stored.nbytes
        with _naming(key):
            found = self._files.pop(stored.path, None) or self._opened(entry.shard, stored.path)
            self._files[stored.path] = found
            if found.mapped is None:  # reading finds out whether the file has these bytes
                check_range(entry, stored, end)
            else:
                check_range(entry, stored, len(found.mapped))
                found.look(end)
        return found

    def _opened(self, shard: int, path: str) -> _OpenShard:
        count = self._index.header.num_shards
        if shard >= count:
            raise CorruptionError(f"data shard {shard} of {count}", path=path)
        if len(self._files) >= _MOST_OPEN:
            self._files.pop(next(iter(self._files))).file.close()
        try:
            file = self._index.store.open(path)
        except MissingFileError as error:
            raise MissingFileError(f"{error.reason}: data shard {shard} is missing", path=path) from None
        try:
            if not file.near_bytes and 0 < file.size < 1024:
                content = describe_content(file.read(0, min(file.size, 256)))
                if content and "Git-LFS" in content:
                    raise CorruptionError(content, path=path)
            return _OpenShard(file, file.map())
        except BundleError:
            file.close()
            raise

    def close(self) -> None:
        """Close the files; a memory map exists until its last view is deleted."""
        for each in self._files.values():
            each.file.close()
        self._files.clear()


@contextlib.contextmanager
def _naming(key: bytes) -> Iterator[None]:
    """Lets errors name the tensor."""
    try:
        yield
    except BundleError as error:
        raise error.locate(key=readable_key(key)) from None


def _allocated(
    allocate: Callable[[], Memory], key: bytes, entry: TensorEntry, stored: StoredRange, shard: _OpenShard
) -> Memory:
    """Memory for an entry, which may claim more bytes than its file has."""
    try:
        return allocate()
    except MemoryError:
        with _naming(key):
            check_range(entry, stored, shard.file.size)
        raise


def _read(key: bytes, entry: TensorEntry, stored: StoredRange, shard: _OpenShard) -> memoryview:
    """The bytes of a tensor's range, in memory of their own."""
    payload = memoryview(_allocated(lambda: bytearray(stored.nbytes), key, entry, stored, shard))
    with _naming(key):
        shard.file.readinto(stored.offset, payload)
    return payload


def _chunks(shard: _OpenShard, stored: StoredRange) -> Iterator[memoryview]:
    """The bytes of a range, in chunks, each valid until the next one."""
    buffer = memoryview(bytearray(min(stored.nbytes, _CHUNK_BYTES)))
    for start in range(0, stored.nbytes, _CHUNK_BYTES):
        chunk = buffer[: min(_CHUNK_BYTES, stored.nbytes - start)]
        shard.file.readinto(stored.offset + start, chunk)
        yield chunk


def _located(error: CorruptionError, key: bytes, stored: StoredRange) -> CorruptionError:
    return CorruptionError(error.reason, path=stored.path, offset=stored.offset, key=readable_key(key))


def _basic(array: Array, region: object) -> Array:
    selected = array[cast("Any", region)]  # NumPy's own error describes an invalid region
    return selected if isinstance(selected, np.ndarray) else np.asarray(selected, array.dtype)


def _covering_box(shape: tuple[int, ...], region: object) -> tuple[Box, tuple[Any, ...]]:
    """The smallest box that contains a region, and the region as an index into that box."""
    if region is None:
        return whole_box(shape), ()
    items: Sequence[Any] = region if isinstance(region, tuple) else (region,)
    if any(item is None for item in items):
        raise UnsupportedError("a region can't add dimensions")
    if Ellipsis in items:
        at = items.index(Ellipsis)
        fill = len(shape) - (len(items) - 1)
        if Ellipsis in items[at + 1 :]:
            raise IndexError("an index can only have a single ellipsis ('...')")
        items = (*items[:at], *[slice(None)] * fill, *items[at + 1 :])
    if len(items) > len(shape):
        raise IndexError(f"{len(items)} indices for a tensor of {len(shape)} dimensions")
    box: list[slice] = []
    within: list[slice | int] = []
    for size, item in zip(shape, [*items, *[slice(None)] * (len(shape) - len(items))], strict=True):
        if isinstance(item, slice):
            chosen = range(size)[item]
            low, high = (min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1) if chosen else (0, 0)
            box.append(slice(low, high))
            first = chosen.start - low
            stop = first + len(chosen) * chosen.step
            within.append(slice(first, stop if stop >= 0 else None, chosen.step))
        else:
            position = range(size)[item]
            box.append(slice(position, position + 1))
            within.append(0)
    return tuple(box), tuple(within)


def check_shape(shape: tuple[int, ...], dtype: DType) -> None:
    """Check that NumPy can have an array of this shape; TensorFlow's limits are wider.

    Raises:
        UnsupportedError: NumPy can't.
    """
    size = math.prod(max(1, each) for each in shape) * max(dtype.itemsize, 8)
    if (len(shape) > _ANY_RANK and len(shape) > _max_rank()) or size >= 2**63:
        raise UnsupportedError(f"NumPy can't have an array of shape {list(shape)}")


def _max_rank() -> int:
    return 64 if int(np.__version__.split(".")[0]) >= 2 else _ANY_RANK
