"""Reads HDF5 files: Keras weights, and the weights inside a `.keras` archive. Needs h5py.

Keys are the paths of datasets: `layers/dense/vars/0`. A contiguous dataset is stored in the file with the same bytes as
in a bundle; others are decoded by HDF5, a box at a time. Features that could expand a small file to many bytes, or
refer to other files, are refused, as by Keras's own loader (keras/src/saving/saving_lib.py, `safe_get_h5_dataset`):
soft and external links, external and virtual storage, filters that have to be loaded, and shapes of far more bytes than
are stored.
"""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from typing import TYPE_CHECKING, Any, Final

from tensorbundle.arrays import np
from tensorbundle.dtypes import DType
from tensorbundle.entries import StoredRange, TensorEntry
from tensorbundle.errors import BundleError, CorruptionError, UnsupportedError
from tensorbundle.keys import decode_key, encode_key
from tensorbundle.limits import MAX_DATASETS, MAX_EXPANDED_BYTES, MAX_EXPANSION, MAX_GROUP_DEPTH
from tensorbundle.storage.nearby import NearbyFile
from tensorbundle.tools.formats.hdf5_names import WEIGHTS
from tensorbundle.tools.formats.listed_index import ListedIndex, refuse
from tensorbundle.tools.formats.zips import InflatedFile, members_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.boxes import Box
    from tensorbundle.dtypes import Array
    from tensorbundle.storage.protocols import RandomAccessFile, Store

__all__ = ["Hdf5Index", "KerasArchiveIndex", "hdf5"]

_FILTERS: Final = frozenset((1, 2, 3, 4, 5, 6, 32000))  # built into HDF5 and h5py
_CHUNK_BYTES: Final = 1 << 20


def hdf5(path: str) -> Any:
    """The module h5py.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise UnsupportedError("HDF5 files need h5py: pip install 'tensorbundle[keras]'", path=path) from None
    return h5py


@contextlib.contextmanager
def hdf5_errors(path: str, key: str | None = None) -> Iterator[None]:
    """Turns the exceptions of h5py for a damaged file into our errors."""
    try:
        yield
    except BundleError as error:
        raise error.locate(path=path, key=key) from None
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptionError(f"HDF5 can't read it: {error}", path=path, key=key) from error


class Hdf5Index(ListedIndex):
    """The datasets of an HDF5 file."""

    file_format = "hdf5"

    def __init__(self, path: str, store: Store) -> None:
        """Visit all groups and datasets.

        Raises:
            MissingFileError: no such file.
            CorruptionError: not an HDF5 file, or a damaged one.
            UnsupportedError: h5py is missing; or datasets are not tensors, or are not read for safety; the reason names
                all of them.
        """
        super().__init__(path, store, [path])
        self._h5py = hdf5(path)
        self._sets: dict[bytes, Any] = {}
        self._opened = contextlib.ExitStack()
        self.attributes: dict[str, dict[str, str | list[str]]] = {}
        self._expanded = 0  # bytes of the datasets so far, by their shapes
        try:
            file = self._opened.enter_context(store.open(path))
            self._allowed = max(MAX_EXPANDED_BYTES, MAX_EXPANSION * file.size)
            stream, base = self._stream(file)
            with hdf5_errors(path):
                self._opened.enter_context(stream)
                root = self._opened.enter_context(self._h5py.File(stream, "r"))
                faults: list[str] = []
                self._visit(root, base, faults)
            refuse(faults, path, "the contents of this file can't be read as tensors")
        except BaseException:
            self.close()
            raise

    def _stream(self, file: RandomAccessFile) -> tuple[io.BufferedIOBase | io.RawIOBase, int | None]:
        """The HDF5 file, and its offset in the file at `path`; None if its bytes are not stored there as they are."""
        return _Stream(file, 0, file.size), 0

    def _visit(self, root: Any, base: int | None, faults: list[str]) -> None:
        stack = [("", root)]
        groups = {_address(self._h5py, root)}
        while stack:
            path, group = stack.pop()
            self._note_attributes(path, group)
            for name in group:
                below = f"{path}/{name}" if path else name
                if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
                    faults.append(f"{below!r} (a soft or external link)")
                    continue
                item = group[name]
                if isinstance(item, self._h5py.Group):
                    if below.count("/") > MAX_GROUP_DEPTH:
                        raise CorruptionError(f"groups more than {MAX_GROUP_DEPTH} deep", key=below)
                    address = _address(self._h5py, item)
                    if address in groups:  # of twenty in each other, there may be a million paths
                        raise CorruptionError("a group that is in several places, or in itself", key=below)
                    groups.add(address)
                    stack.append((below, item))
                elif isinstance(item, self._h5py.Dataset):
                    if len(self._sets) == MAX_DATASETS:
                        raise CorruptionError(f"more than {MAX_DATASETS} datasets")
                    fault = self._add(below, item, base)
                    if fault is not None:
                        faults.append(f"{below!r} ({fault})")

    def _add(self, path: str, dataset: Any, base: int | None) -> str | None:
        """Add a dataset; returns the reason if it can't be read."""
        if dataset.shape is None:
            return "without a shape"
        creation = dataset.id.get_create_plist()
        if dataset.is_virtual or creation.get_external_count():
            return "stored in other files"
        if {creation.get_filter(number)[0] for number in range(creation.get_nfilters())} - _FILTERS:
            return "compressed by a filter that would have to be loaded"
        dtype = _dtype(dataset)
        if not isinstance(dtype, DType):
            return dtype
        nbytes = math.prod(dataset.shape) * dtype.itemsize
        stored = dataset.id.get_storage_size()
        self._expanded += nbytes
        if self._expanded > self._allowed:
            return f"{nbytes} bytes by its shape, {stored} are stored"
        key = encode_key(path)
        self._sets[key] = dataset
        offset = None if base is None else self._direct(dataset, creation, nbytes)
        if base is None or offset is None:
            self.add(key, TensorEntry(dtype, dataset.shape, nbytes), None)
            return None
        place = base + offset
        big_endian = dataset.dtype.byteorder == ">"
        self.add(
            key,
            TensorEntry(dtype, dataset.shape, nbytes, 0, place),
            StoredRange(self.path, place, nbytes, big_endian=big_endian),
        )
        return None

    def _direct(self, dataset: Any, creation: Any, nbytes: int) -> int | None:
        """The offset of a dataset's bytes in the HDF5 file; None if they are not stored there as in a bundle."""
        if not nbytes:
            return 0
        h5py = self._h5py
        contiguous = creation.get_layout() == h5py.h5d.CONTIGUOUS
        if not contiguous or dataset.id.get_storage_size() != nbytes:
            return None
        same = dataset.id.get_type() == h5py.h5t.py_create(dataset.dtype, logical=True)
        offset = dataset.id.get_offset()
        return int(offset) if same and offset is not None else None

    def _note_attributes(self, path: str, group: Any) -> None:
        """Keep the texts among a group's attributes."""
        found: dict[str, str | list[str]] = {}
        for name in group.attrs:
            try:
                value = group.attrs[name]
            except (OSError, TypeError, ValueError):
                continue  # of a type that h5py does not support
            if isinstance(value, (str, bytes)):
                found[name] = _text(value)
            elif isinstance(value, np.ndarray) and value.dtype.kind in "OS" and value.ndim == 1:
                found[name] = [_text(each) for each in value]
        if found:
            self.attributes[path] = found

    def values(self, key: bytes, entry: TensorEntry, box: Box | None = None) -> Array:
        """See `Index`."""
        dataset = self._sets[key]
        with hdf5_errors(self.path, decode_key(key)):
            values = np.asarray(dataset[()] if box is None or not entry.shape else dataset[box])
        target = entry.dtype.numpy
        if values.dtype.kind == "V" or entry.dtype is DType.bfloat16:
            values = values.view(target)
        out = values.astype(target, copy=False)
        out.flags.writeable = False
        return out

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._sets.clear()
        with hdf5_errors(self.path):
            self._opened.close()


class KerasArchiveIndex(Hdf5Index):
    """The datasets of `model.weights.h5` in a `.keras` archive."""

    def _stream(self, file: RandomAccessFile) -> tuple[io.BufferedIOBase | io.RawIOBase, int | None]:
        """See `Hdf5Index`; compressed weights are unpacked to a temporary file."""
        member = next((each for each in members_of(file) if each.name == WEIGHTS), None)
        if member is None:
            raise CorruptionError(f"no member {WEIGHTS!r}: not a Keras model", path=self.path)
        if not member.deflated:
            return _Stream(file, member.start, member.size), member.start
        unpacked = self._opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  which closes it
        source = InflatedFile(file, member)
        for start in range(0, member.size, _CHUNK_BYTES):
            unpacked.write(source.read(start, min(_CHUNK_BYTES, member.size - start)))
        unpacked.seek(0)
        return unpacked, None


def _address(h5py: Any, group: Any) -> int:
    """The place of a group in its file, which tells it from others."""
    return int(h5py.h5o.get_info(group.id).addr)


def _dtype(dataset: Any) -> DType | str:
    """The type of a dataset's elements; or a text that describes elements of other types."""
    dtype = dataset.dtype
    if dtype.kind == "V" and dtype.fields is None and dtype.subdtype is None:
        name = dataset.attrs.get("dtype")
        if name == "bfloat16" and dtype.itemsize == 2:
            return DType.bfloat16
        return f"raw elements of {dtype.itemsize} bytes, whose type is not known"
    if dtype.kind in "OSU" or dtype.fields is not None or dtype.subdtype is not None:
        return "strings, references or records"
    try:
        return DType.of(dtype.newbyteorder("="))
    except UnsupportedError:
        return f"elements of type {dtype}"


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class _Stream(io.RawIOBase):
    """A part of a file as a stream, for h5py."""

    def __init__(self, file: RandomAccessFile, start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size = NearbyFile(file), start, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        size = max(0, min(len(view), self._size - self._position))
        self._file.readinto(self._start + self._position, view[:size])
        self._position += size
        return size
