"""Checkpoints in the old V1 format: one table, or one for each shard, with both names and values.

`V1Index` has the same interface as the index of a bundle: entries by key, slices under slice keys. Values are decoded
from the tables (`saved_slices.py`). TensorFlow reads V1 in core/util/tensor_slice_reader.cc and still writes it with
`tf.compat.v1.train.Saver(write_version=1)` (core/util/tensor_slice_writer.cc).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tensorbundle.arrays import np
from tensorbundle.boxes import whole_box
from tensorbundle.dtypes import DType
from tensorbundle.entries import HEADER_KEY, BundleHeader, TensorEntry
from tensorbundle.errors import (
    ConflictError,
    CorruptionError,
    MissingFileError,
    UnsupportedError,
)
from tensorbundle.filenames import STATE_FILE, index_path, is_v1_shard_name
from tensorbundle.gathering import gather
from tensorbundle.index import Index
from tensorbundle.keys import decode_key
from tensorbundle.limits import MAX_RECORD_BYTES
from tensorbundle.members import v1_files
from tensorbundle.payloads import encode_strings
from tensorbundle.shards import check_shape
from tensorbundle.slices import WHOLE, TensorSlice, readable_key
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import basename
from tensorbundle.table import TableReader, TableWriter
from tensorbundle.v1.saved_slices import (
    WRITABLE,
    SavedTensor,
    decode_values,
    encode_meta,
    is_fixed,
    parse_meta,
    parse_slice,
    size_bound,
    slice_parts,
)
from tensorbundle.writer import commit_file, refuse_name, refuse_taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tensorbundle.boxes import Box
    from tensorbundle.dtypes import Array
    from tensorbundle.storage.protocols import RandomAccessFile, Store

__all__ = ["V1Index", "refuse_existing_v1", "whole_slice", "why_not_writable", "write_v1"]


_LARGE_BYTES: Final = 4 << 20  # of values that are read where they are, if they are there unchanged


class V1Index(Index):
    """The tensors of a V1 checkpoint. In entries, `shard` is the number of the file; offsets and checksums have no meaning.

    Attributes:
        tables: the table of each file, for `verify`.
        listed: the entries, by key; those of strings have no size, because only the strings themselves determine it.
        records: for each unpartitioned tensor, and each slice of a partitioned one, the slice key of its record.
    """

    file_format = "v1"
    file_noun = "V1 file"

    def __init__(
        self,
        prefix: str,
        store: Store | None = None,
        *,
        paths: Sequence[str] | None = None,
        read_table: Callable[[RandomAccessFile], TableReader] = TableReader,
    ) -> None:
        """Open every file of the checkpoint and read its meta record.

        Args:
            prefix: its path prefix.
            store: the store that has the files, if the prefix does not determine it.
            paths: its files, if these are not all.
            read_table: makes the table of a file.

        Raises:
            MissingFileError: no file exists, or one of several is missing.
            CorruptionError: not a V1 checkpoint, or a damaged one.
            UnsupportedError: the checkpoint's version is not known to this reader.
        """
        super().__init__()
        self.prefix = prefix
        self.store = store or store_of(prefix)
        self._paths = list(paths or v1_files(prefix, self.store) or [prefix])
        self.path = self._paths[0]
        self.header = BundleHeader(len(self._paths))
        self.tables: list[TableReader] = []
        self.records: dict[bytes, bytes] = {}
        self.listed: dict[bytes, TensorEntry] = {}
        self._files: list[RandomAccessFile] = []
        self._names: dict[bytes, tuple[bytes, TensorSlice]] = {}  # of records, by the keys of their entries
        self._places: dict[bytes, int | None] = {}  # as `place` returned them
        # The last tensor requested; decoded if it was requested twice in a row, because then boxes of it are being read.
        self._last: tuple[bytes, Array | None] = b"", None
        found: dict[bytes, list[tuple[int, SavedTensor]]] = {}
        try:
            for number, path in enumerate(self._paths):
                self._files.append(self._open(path))
                self.tables.append(read_table(self._files[-1]))
                for tensor in _meta(self.tables[-1]):
                    found.setdefault(tensor.name, []).append((number, tensor))
            for name in sorted(found):
                self._add(name, found)
        except BaseException:
            self.close()
            raise

    def _open(self, path: str) -> RandomAccessFile:
        try:
            return self.store.open(path)
        except MissingFileError as error:
            if len(self._paths) == 1:
                raise
            raise MissingFileError(
                f"{error.reason}: one of the files of a V1 checkpoint is missing", path=path
            ) from None

    def _add(self, name: bytes, found: Mapping[bytes, list[tuple[int, SavedTensor]]]) -> None:
        """Make entries from the records of all files for one tensor."""
        parts = found[name]
        first = parts[0][1]
        slices = []
        for number, tensor in parts:
            path = self._paths[number]
            if (tensor.dtype, tensor.shape) != (first.dtype, first.shape):
                raise CorruptionError(
                    f"{tensor.dtype} {list(tensor.shape)}, in another file {first.dtype} {list(first.shape)}",
                    path=path,
                    key=decode_key(name),
                )
            for part in tensor.slices:
                try:
                    shape = part.shape(tensor.shape)
                except CorruptionError as error:
                    raise error.locate(path=path, key=decode_key(name)) from None
                slices.append((number, part, shape))
        if len(slices) == 1 and slices[0][2] == first.shape:
            number, part, _ = slices[0]
            self.listed[name] = _entry(first.dtype, first.shape, number)
            self.records[name] = part.key(name)
            self._names[name] = name, part
            return
        if not slices:
            raise CorruptionError(
                "a tensor without slices", path=self._paths[parts[0][0]], key=decode_key(name)
            )
        listed = tuple(part for _, part, _ in slices)
        self.listed[name] = _entry(first.dtype, first.shape, slices[0][0])._replace(slices=listed)
        for number, part, shape in slices:
            key = part.key(name)
            if key in found:  # the format distinguishes them, but our keys do not
                raise CorruptionError(
                    f"slice {part} and a tensor have one name", path=self._paths[number], key=decode_key(name)
                )
            self.listed[key] = _entry(first.dtype, shape, number)
            self.records[key] = key
            self._names[key] = name, part

    def get(self, key: bytes) -> TensorEntry | None:
        """The entry of `key`, slice keys of partitioned tensors included, or None."""
        entry = self.listed.get(key)
        return None if entry is None else self._sized(key, entry)

    def raw_entries(self) -> Iterator[tuple[bytes, TensorEntry]]:
        """Every key and entry, in key order, the slices of partitioned tensors included."""
        for key in sorted(self.listed):
            yield key, self._sized(key, self.listed[key])

    def shard_path(self, shard: int) -> str:
        """The path of one of the checkpoint's files."""
        return self._paths[shard]

    def stored(self, key: bytes, entry: TensorEntry) -> None:
        """None: values are encoded, in blocks of tables."""
        del key, entry

    def values(self, key: bytes, entry: TensorEntry, box: Box | None = None) -> Array:
        """The values of one stored tensor or slice, or of a box of it, read-only; their block is read and checked.

        Requests for boxes usually come in series, so a tensor that has to be decoded is kept.

        Raises:
            CorruptionError: the record is missing or damaged.
            UnsupportedError: the format has no such type, or NumPy no such shape.
        """
        place = self.place(key, entry)
        if place is not None:
            return self._read(entry, place, whole_box(entry.shape) if box is None else box)
        array = self._whole(key, entry, keep=box is not None).reshape(entry.shape)  # it may have been kept
        return np.asarray(array[box]) if box else array

    def place(self, key: bytes, entry: TensorEntry) -> int | None:
        """Where the values of a large tensor or slice are in its file, if they are there as in memory; None of others.

        The first time, all of its block is read and checked.

        Raises:
            CorruptionError: the checksum of its block is wrong.
        """
        if entry.nbytes < _LARGE_BYTES or not is_fixed(entry.dtype):
            return None
        if key not in self._places:
            table = self.tables[entry.shard]
            _, parts = slice_parts(*self._names[key], entry.dtype, entry.elements, ())
            try:
                place = table.find_alone(self.records[key], bytes(next(parts)), entry.nbytes)
            except CorruptionError as error:
                raise error.locate(key=readable_key(key)) from None
            if place is not None:
                table.file.prefetch([(place, entry.nbytes)])
            self._places[key] = place
        return self._places[key]

    def _read(self, entry: TensorEntry, place: int, box: Box) -> Array:
        """A box of values that are in the file as in memory."""
        file = self.tables[entry.shard].file
        check_shape(entry.shape, entry.dtype)
        out = np.empty([each.stop - each.start for each in box], entry.dtype.numpy)
        if out.size:
            gather(lambda start, buffer: file.readinto(place + start, buffer), entry.shape, box, out)
        out.flags.writeable = False
        return out

    def _whole(self, key: bytes, entry: TensorEntry, *, keep: bool) -> Array:
        before, array = self._last
        if array is not None and before == key:
            return array
        self._last = b"", None
        table = self.tables[entry.shard]
        try:
            check_shape(entry.shape, entry.dtype)
            record = table.view(self.records[key])
            if record is None:
                raise CorruptionError("the meta record lists it, but its record is missing")
            array = self.decode(key, entry, record)
        except (CorruptionError, UnsupportedError) as error:
            if error.path is not None:
                raise error.locate(key=readable_key(key)) from None
            raise type(error)(error.reason, path=table.path, key=readable_key(key)) from None
        self._last = key, array if keep or before == key else None
        return array

    def decode(self, key: bytes, entry: TensorEntry, record: bytes | memoryview) -> Array:
        """The values in a record that was read; otherwise like `values`."""
        name, part, message = parse_slice(record)
        if part.key(name) != self.records[key]:
            raise CorruptionError(f"its record is of {readable_key(part.key(name))!r}")
        array = decode_values(message, entry.dtype, entry.elements).reshape(entry.shape)
        array.flags.writeable = False
        return array

    def _sized(self, key: bytes, entry: TensorEntry) -> TensorEntry:
        """The entry with the size that it would have in a bundle; for strings, the strings must be read."""
        if entry.slices or entry.dtype is not DType.string:
            return super()._sized(key, entry)
        if not entry.nbytes:
            entry = entry._replace(nbytes=encode_strings(self.values(key, entry).reshape(-1).tolist())[1])
            self.listed[key] = entry
        return entry

    def __reduce__(self) -> tuple[object, ...]:
        return V1Index, (self.prefix, self.store)  # another process opens the files for itself

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._last = b"", None
        for each in self._files:
            each.close()


def _entry(dtype: DType, shape: tuple[int, ...], number: int) -> TensorEntry:
    entry = TensorEntry(dtype, shape, 0, number)
    return entry._replace(nbytes=entry.expected_nbytes or 0)


def _meta(table: TableReader) -> list[SavedTensor]:
    """The meta record of one file.

    Raises:
        CorruptionError, UnsupportedError: it is missing, damaged, of another version, or a bundle's header.
    """
    record = table.get(HEADER_KEY)
    try:
        if record is None:
            raise CorruptionError(
                "no meta record: neither a V1 checkpoint nor an index, or its start is lost"
            )
        if record[:1] in (b"\x08", b"\x10", b"\x1a"):
            raise CorruptionError(
                "the index of a V2 checkpoint under a name that does not end in '.index': rename it, and keep its "
                "data shards beside it"
            )
        return parse_meta(record)
    except (CorruptionError, UnsupportedError) as error:
        if error.path is not None:
            raise
        raise type(error)(error.reason, path=table.path, key=error.key) from None


def refuse_existing_v1(path: str, *, overwrite: bool, store: Store | None = None) -> None:
    """Refuse a name that a V1 checkpoint can't be written to.

    Raises:
        ConflictError: the file exists, and `overwrite` is not set; or the name is that of another kind of file; or a V2
            checkpoint of this name exists, which would be read instead.
    """
    store = store or store_of(path)
    refuse_name(path, store)
    if store.exists(index_path(path)):
        raise ConflictError(
            "a V2 checkpoint of this name exists, and would be read instead; give another name",
            path=index_path(path),
        )
    refuse_taken(path, store, overwrite=overwrite)
    name = basename(path)
    if name == STATE_FILE or is_v1_shard_name(name):
        what = "the state file" if name == STATE_FILE else "one of several V1 files"
        raise ConflictError(f"this is the name of {what}; give another", path=path)


def write_v1(
    path: str,
    tensors: Sequence[SavedTensor],
    values: Callable[[bytes, TensorSlice], Array | Iterable[Array]],
    *,
    overwrite: bool = False,
    beside: Mapping[str, bytes] | None = None,
    store: Store | None = None,
) -> int:
    """Write a V1 checkpoint in one file, byte for byte as TensorFlow does; returns its size in bytes.

    The file appears when it is complete.

    Args:
        path: the file; its directory must exist.
        tensors: the tensors to write.
        values: returns the values of one slice of a tensor, in one array, or in arrays that follow each other in C order,
            as `slice_parts` takes them; called in the order of slice keys.
        overwrite: whether an existing file may be replaced.
        beside: small files that appear with it, by path.
        store: the store to write to, if the path does not determine it.

    Raises:
        ConflictError: as for `refuse_existing_v1`.
        UnsupportedError: a type or a name that V1 does not have, or a slice of more than 2 GiB.
        MissingFileError: no such directory.
        BundleError: the disk is full or fails, or `values` can't read its source.
    """
    store = store or store_of(path)
    refuse_existing_v1(path, overwrite=overwrite, store=store)
    for tensor in tensors:
        _must_be_writable(tensor, path)
    records = {part.key(tensor.name): (tensor, part) for tensor in tensors for part in tensor.slices}
    with store.stage(path, overwrite=overwrite) as staging:
        with staging.writer(path) as file:
            table = TableWriter(file.write)
            table.add(HEADER_KEY, encode_meta(sorted(tensors)))
            for key in sorted(records):
                table.add_parts(key, *_record(*records[key], values, path))
            table.finish()
        commit_file(
            staging, path, beside or {}, lambda: refuse_existing_v1(path, overwrite=overwrite, store=store)
        )
    return file.size


def why_not_writable(name: bytes, dtype: DType) -> str | None:
    """The reason why TensorFlow does not write a tensor of this name and type to a V1 file; None if it does."""
    if dtype not in WRITABLE:
        return f"the V1 format has no values of type {dtype}; cast or drop it first"
    if not _is_text(name):
        return "names in the V1 format must be UTF-8, and this one is not; rename the tensor first"
    return None


def _must_be_writable(tensor: SavedTensor, path: str) -> None:
    """Refuse a tensor that TensorFlow does not write to V1 files, or could not read back.

    Raises:
        UnsupportedError: the tensor is refused.
    """
    reason = why_not_writable(tensor.name, tensor.dtype)
    if reason is not None:
        raise UnsupportedError(reason, path=path, key=decode_key(tensor.name))
    for part in tensor.slices:
        _must_fit(tensor, part, 0, path)


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _must_fit(tensor: SavedTensor, part: TensorSlice, string_bytes: int, path: str) -> None:
    bound = size_bound(tensor.name, part, tensor.dtype, math.prod(part.shape(tensor.shape)), string_bytes)
    if bound > MAX_RECORD_BYTES:
        raise UnsupportedError(
            f"a slice of up to {bound} bytes, V1 allows {MAX_RECORD_BYTES}; partition the tensor first",
            path=path,
            key=decode_key(tensor.name),
        )


def _record(
    tensor: SavedTensor,
    part: TensorSlice,
    values: Callable[[bytes, TensorSlice], Array | Iterable[Array]],
    path: str,
) -> tuple[int, Iterator[bytes | memoryview]]:
    """The data record of one slice: its size, and its bytes in parts.

    Raises:
        UnsupportedError: strings of more than 2 GiB.
    """
    found = values(tensor.name, part)
    chunks = [found] if isinstance(found, np.ndarray) else found
    if tensor.dtype is DType.string:
        chunks = list(chunks)
        _must_fit(
            tensor, part, sum(len(value) for each in chunks for value in each.reshape(-1).tolist()), path
        )
    return slice_parts(tensor.name, part, tensor.dtype, math.prod(part.shape(tensor.shape)), chunks)


def whole_slice(rank: int) -> TensorSlice:
    """The slice as which an unsliced tensor is saved: without lengths in its extents."""
    return TensorSlice(((0, WHOLE),) * rank)
