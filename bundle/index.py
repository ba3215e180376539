"""The index of a checkpoint: a map from keys to entries. Opening one reads no data shard.

`Index` is the interface of every file format. It gives the entry of each tensor, and `stored`, the range of a file with
the tensor's bytes, if the format stores them unencoded. Otherwise the values come from `values`.
"""

from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from tensorbundle.entries import (
    HEADER_KEY,
    BundleHeader,
    Known,
    StoredRange,
    StoredSlice,
    TensorEntry,
    parse_entries,
)
from tensorbundle.errors import CorruptionError, TensorNotFoundError, UnsupportedError, near_names
from tensorbundle.filenames import index_path, shard_path
from tensorbundle.keys import decode_key, encode_key
from tensorbundle.slices import TensorSlice, readable_key, slice_key_start
from tensorbundle.storage import store_of
from tensorbundle.table import TableReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tensorbundle.boxes import Box
    from tensorbundle.dtypes import Array
    from tensorbundle.storage.protocols import Store

__all__ = ["BundleIndex", "Index"]

_SLICE_KEYS: Final = b"\1"  # they are before it
_SLICES: Final = attrgetter("slices")


def _outside(
    error: CorruptionError | UnsupportedError, path: str, key: str | None = None
) -> CorruptionError | UnsupportedError:
    """An error about an entry, with the file's path; its offset is dropped, because it counts from the entry's start."""
    if error.path is not None:
        return error
    return type(error)(error.reason, path=path, key=error.key if key is None else key)


class _Owner(NamedTuple):
    """A partitioned tensor, with the first bytes of its slice keys, and the rest of those that it lists."""

    name: bytes
    start: bytes
    ends: frozenset[bytes]


class Index(ABC):
    """The tensors of a checkpoint in one of the file formats, by key.

    Attributes:
        file_format: the format's name, for people.
        file_noun: the word for a file with tensors, for people.
        is_bundle: whether the files are those of one bundle or more: V2 checkpoints of TensorFlow.
        store: the store that has the files.
        prefix: the checkpoint's path prefix.
        path: the file that lists the tensors, for messages.
        header: the header of a bundle, or its equivalent; `num_shards` is the number of files with tensors.
        attributes: texts that a format has beside tensors, by name, under the path of their group; '' is the whole file.
    """

    file_format: str
    file_noun: str
    is_bundle: bool = False
    store: Store
    prefix: str
    path: str
    header: BundleHeader
    attributes: Mapping[str, Mapping[str, str | list[str]]]

    def __init__(self) -> None:
        self.attributes = {}
        # Slice keys of one tensor follow each other, and each is looked up in what the tensor lists.
        self._last_owner: _Owner | None = None
        # Of the last pass, which meets the slices of a tensor before the tensor.
        self._passed_slices: dict[bytes, TensorEntry] = {}

    @abstractmethod
    def get(self, key: bytes) -> TensorEntry | None:
        """The entry of `key`, slice keys included, or None.

        Raises:
            CorruptionError, UnsupportedError: the entry is damaged.
        """

    @abstractmethod
    def raw_entries(self) -> Iterator[tuple[bytes, TensorEntry]]:
        """Every key and entry as stored, in key order, the slices of partitioned tensors included.

        Raises:
            CorruptionError, UnsupportedError: as `entries`.
        """

    @abstractmethod
    def shard_path(self, shard: int) -> str:
        """The path of the file with this number, of those that have tensors."""

    @abstractmethod
    def stored(self, key: bytes, entry: TensorEntry) -> StoredRange | None:
        """The range with the bytes of an unpartitioned tensor, or of a slice; None if the format encodes values.

        A tensor with a range can be copied, shared and checked without decoding. `values` is called only for tensors
        without a range. The file may be missing or too short.
        """

    def values(self, key: bytes, entry: TensorEntry, box: Box | None = None) -> Array:
        """The values of one tensor or slice that has no stored range, or of a box of it; read-only.

        Requests for boxes in memory order are the fastest; additional memory depends on the format.

        Raises:
            CorruptionError, MissingFileError, UnsupportedError: the values can't be read.
        """
        raise TypeError(f"{type(self).__name__} has a stored range for {key!r}, {entry.dtype} ({box})")

    @abstractmethod
    def close(self) -> None:
        """Close the files; a second call does nothing."""

    def entry(self, key: str) -> TensorEntry:
        """The entry of a tensor; if it is partitioned, with the sum of the sizes of its slices.

        Raises:
            TensorNotFoundError: no such key; the reason lists similar keys.
            CorruptionError, UnsupportedError: the part of the index that was read is damaged.
        """
        entry = self.get(encode_key(key))
        if entry is None:
            near = []
            with contextlib.suppress(
                CorruptionError, UnsupportedError
            ):  # elsewhere, and no answer to this question
                near = near_names(key, [decode_key(each) for each, _ in self.entries()])
            hint = f"; near: {', '.join(map(repr, near))}" if near else ""
            raise TensorNotFoundError(f"no such tensor{hint}", path=self.prefix, key=key)
        return self._sized(encode_key(key), entry)

    def stored_slices(self, key: bytes, entry: TensorEntry) -> Iterator[StoredSlice]:
        """The slices of a partitioned tensor; none of one that is not partitioned.

        Raises:
            CorruptionError: a slice is missing, or its type or shape contradicts the tensor's entry.
        """
        start = slice_key_start(key)
        for each in entry.slices:
            slice_key = start + each.key_end
            found = self._passed_slices.get(slice_key) or self.get(slice_key)
            try:
                expected = each.shape(entry.shape)
                if found is None:
                    raise CorruptionError(f"slice {each} is listed, but its entry is missing")
                if found.spec != (entry.dtype, expected) or found.slices:
                    raise CorruptionError(
                        f"slice {each} is stored as {found.dtype} {list(found.shape)}, "
                        f"expected {entry.dtype} {list(expected)}"
                    )
            except CorruptionError as error:
                raise error.locate(path=self.path, key=decode_key(key)) from None
            yield StoredSlice(each, slice_key, found)

    def entries(self) -> Iterator[tuple[bytes, TensorEntry]]:
        """Every tensor's key and entry, in key order, one pass over the table.

        Slice keys of partitioned tensors are left out. A slice key that no tensor lists is included.

        Raises:
            CorruptionError, UnsupportedError: the index is damaged; entries before the damage were yielded.
        """
        for keys, entries in self.groups():
            yield from zip(keys, entries, strict=True)

    def groups(self) -> Iterator[tuple[Sequence[bytes], Sequence[TensorEntry]]]:
        """What `entries` gives, some keys and their entries at a time, which takes less time.

        Raises:
            CorruptionError, UnsupportedError: as `entries`.
        """
        passed = self._passed_slices = {}
        for keys, entries in self.raw_groups():
            if keys[0] > _SLICE_KEYS and not any(map(_SLICES, entries)):
                yield keys, entries
                continue
            for key, entry in zip(keys, entries, strict=True):
                if key.startswith(b"\0") and self.owner(key) is not None:
                    passed[key] = entry
                else:
                    yield (key,), (self._sized(key, entry) if entry.slices else entry,)

    def raw_groups(self) -> Iterator[tuple[Sequence[bytes], Sequence[TensorEntry]]]:
        """What `raw_entries` gives, at least one key and its entry at a time.

        Raises:
            CorruptionError, UnsupportedError: as `raw_entries`.
        """
        for key, entry in self.raw_entries():
            yield (key,), (entry,)

    def owner(self, key: bytes) -> bytes | None:
        """The key of the tensor that lists this slice key, or None."""
        known = self._last_owner
        if known is None or not key.startswith(known.start):
            try:
                name, _ = TensorSlice.parse_key(key)
            except CorruptionError:
                return None
            entry = self.get(name)
            listed = entry.slices if entry is not None else ()
            ends = frozenset(each.key_end for each in listed)
            known = self._last_owner = _Owner(name, slice_key_start(name), ends)
        return known.name if key[len(known.start) :] in known.ends else None

    def _sized(self, key: bytes, entry: TensorEntry) -> TensorEntry:
        """The entry of a partitioned tensor with the summed size of its slices, if its type is not numeric."""
        if entry.slices and not entry.dtype.itemsize:
            total = sum(each.entry.nbytes for each in self.stored_slices(key, entry))
            return entry._replace(nbytes=total)
        return entry

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BundleIndex(Index):
    """The index of one bundle.

    Attributes:
        table: the table below, for `verify`.
    """

    file_format = "v2"
    file_noun = "data shard"
    is_bundle = True

    def __init__(
        self, prefix: str, *, header: BundleHeader | None = None, store: Store | None = None
    ) -> None:
        """Open `prefix`.index; reads its footer, its index block and the header, unless `header` replaces a lost one.

        Where a request takes long, the header is read when it is needed, unless it came with the rest.

        Raises:
            MissingFileError: no such file.
            CorruptionError: not the index of a bundle.
            UnsupportedError: the bundle's version is not known to this reader.
        """
        super().__init__()
        self.prefix = prefix
        self.path = index_path(prefix)
        self._shard_paths: dict[int, str] = {}
        self._known = Known()
        self.store = store or store_of(prefix)
        self._file = self.store.open(self.path)
        try:
            self.table = TableReader(self._file)
            if header is not None:
                self.header = header
            elif self.table.is_at_hand:
                self.header = self._read_header()
        except (CorruptionError, UnsupportedError) as error:
            self.close()
            raise error.locate(path=self.path) from None

    @functools.cached_property
    def header(self) -> BundleHeader:  # type: ignore[override]  # it can be set, too
        """See `Index`.

        Raises:
            CorruptionError, UnsupportedError: as `BundleIndex`.
        """
        try:
            if self.table.handles:
                self.table.read_on(0)  # whoever looks no key up lists them all
            return self._read_header()
        except (CorruptionError, UnsupportedError) as error:
            raise error.locate(path=self.path) from None

    def _read_header(self) -> BundleHeader:
        return self._header_of(self.table.get(HEADER_KEY))

    @staticmethod
    def _header_of(value: bytes | None) -> BundleHeader:
        if value is None:
            raise CorruptionError("no header: not the index of a checkpoint, or its start is lost")
        return BundleHeader.parse(value)

    def get(self, key: bytes) -> TensorEntry | None:
        """The entry of `key`, slice keys included, or None. Reads one block of the table, and the header's if need be.

        Raises:
            CorruptionError, UnsupportedError: as `parse_entries`.
        """
        value = self._value(key) if key else None
        if value is None:
            return None
        try:
            return next(parse_entries((key,), (value,), self._known))[1][0]
        except (CorruptionError, UnsupportedError) as error:
            raise _outside(error, self.path, readable_key(key)) from None

    def _value(self, key: bytes) -> bytes | None:
        if "header" in self.__dict__:
            return self.table.get(key)
        header, value = self.table.get_together(HEADER_KEY, key)  # whoever reads the tensor needs both
        try:
            self.header = self._header_of(header)
        except (CorruptionError, UnsupportedError) as error:
            raise error.locate(path=self.path) from None
        return value

    def raw_entries(self) -> Iterator[tuple[bytes, TensorEntry]]:
        """Every key and entry as stored, in key order, the slices of partitioned tensors included.

        Raises:
            CorruptionError, UnsupportedError: as `entries`.
        """
        for keys, entries in self.raw_groups():
            yield from zip(keys, entries, strict=True)

    def raw_groups(self) -> Iterator[tuple[Sequence[bytes], Sequence[TensorEntry]]]:
        """See `Index`."""
        known = Known()
        try:
            begun = False
            for number in range(len(self.table.handles)):
                keys, values = self.table.block_contents(number)
                if keys and not begun:
                    begun = True
                    if keys[0] != HEADER_KEY:
                        raise CorruptionError("the header is not the first entry", path=self.path)
                    if "header" not in self.__dict__:
                        self.header = BundleHeader.parse(values[0])
                    del keys[0], values[0]
                yield from parse_entries(keys, values, known)
        except (CorruptionError, UnsupportedError) as error:
            raise _outside(error, self.path) from None

    def shard_path(self, shard: int) -> str:
        """The path of a data shard."""
        if shard not in self._shard_paths:
            self._shard_paths[shard] = shard_path(self.prefix, shard, self.header.num_shards)
        return self._shard_paths[shard]

    def stored(self, key: bytes, entry: TensorEntry) -> StoredRange:
        """The range of bytes in a data shard, which every tensor of a bundle has."""
        del key
        path = self.shard_path(entry.shard)
        return StoredRange(path, entry.offset, entry.nbytes, entry.crc32c, self.header.big_endian)

    def __reduce__(self) -> tuple[object, ...]:
        return _reopened, (self.prefix, self.header, self.store)  # another process opens the file for itself

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()


def _reopened(prefix: str, header: BundleHeader, store: Store) -> BundleIndex:
    return BundleIndex(prefix, header=header, store=store)
