"""What a checkpoint has: a map from keys to entries, of a bundle from its index. Opening it reads no data shard.

Keys are bytes in the file. Users see text; bytes that are not UTF-8 become surrogate escapes and come back as they
were.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, Self

from tensorbundle.entries import HEADER_KEY, BundleHeader, TensorEntry, parse_entries, parse_entry
from tensorbundle.errors import CorruptionError, TensorNotFoundError, UnsupportedError, near_names
from tensorbundle.names import index_path, shard_path
from tensorbundle.slices import TensorSlice
from tensorbundle.storage.local import File
from tensorbundle.table import TableReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.shards import Array

__all__ = ["BundleIndex", "FileFormat", "Index", "decode_key", "encode_key"]

FileFormat = Literal["v1", "v2"]


def decode_key(key: bytes) -> str:
    """A key as text."""
    return key.decode("utf-8", "surrogateescape")


def encode_key(key: str) -> bytes:
    """A key as the bytes in the file; empty, as no tensor's key is, for text that no file can have."""
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b""


def _outside(
    error: CorruptionError | UnsupportedError, path: str, key: str | None = None
) -> CorruptionError | UnsupportedError:
    """An error about an entry, placed in the file; an offset that counts from the entry's start says nothing there."""
    if error.path is not None:
        return error
    return type(error)(error.reason, path=path, key=error.key if key is None else key)


class Index(ABC):
    """The tensors of a checkpoint in either file format, by key.

    Attributes:
        file_format: "v2" for a bundle, whose tensors lie in data shards; "v1" where they lie in tables (`v1.py`).
        prefix: the checkpoint's path prefix.
        path: the file that says what there is, for messages.
        header: what a bundle says about itself, or would.
    """

    file_format: FileFormat
    prefix: str
    path: str
    header: BundleHeader

    def __init__(self) -> None:
        # Slice keys of one tensor follow each other, and each is looked up in what the tensor lists.
        self._last_owner: tuple[bytes, frozenset[TensorSlice]] | None = None

    @abstractmethod
    def get(self, key: bytes) -> TensorEntry | None:
        """The entry of `key`, slice keys included, or None.

        Raises:
            CorruptionError, UnsupportedError: it is damaged.
        """

    @abstractmethod
    def raw_entries(self) -> Iterator[tuple[bytes, TensorEntry]]:
        """Every key and entry as stored, in key order, the pieces of partitioned tensors included.

        Raises:
            CorruptionError, UnsupportedError: as `entries`.
        """

    @abstractmethod
    def shard_path(self, shard: int) -> str:
        """The path of the file with this number that tensors lie in."""

    def values(self, key: bytes, entry: TensorEntry) -> Array | None:
        """The values of one stored tensor or slice where the format encodes them; None where they lie in data shards.

        Raises:
            CorruptionError, MissingFileError, UnsupportedError: they can't be read.
        """
        del key, entry
        return None

    @abstractmethod
    def close(self) -> None:
        """Let go of the files; a second call does nothing."""

    def entry(self, key: str) -> TensorEntry:
        """The entry of a tensor; of a partitioned one with the bytes of its pieces added up.

        Raises:
            TensorNotFoundError: no such key; the reason names near ones.
            CorruptionError, UnsupportedError: the index is damaged there.
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

    def pieces(self, key: bytes, entry: TensorEntry) -> Iterator[tuple[TensorSlice, bytes, TensorEntry]]:
        """The pieces of a partitioned tensor: the slice, its key and its entry.

        Raises:
            CorruptionError: a piece is missing, or its type or shape is not what the tensor's entry says.
        """
        for each in entry.slices:
            slice_key = each.key(key)
            piece = self.get(slice_key)
            try:
                expected = each.shape(entry.shape)
                if piece is None:
                    raise CorruptionError(f"slice {each} is listed, its own entry is missing")
                if (piece.dtype, piece.shape) != (entry.dtype, expected) or piece.slices:
                    raise CorruptionError(
                        f"slice {each} is stored as {piece.dtype} {list(piece.shape)}, "
                        f"expected {entry.dtype} {list(expected)}"
                    )
            except CorruptionError as error:
                raise error.locate(path=self.path, key=decode_key(key)) from None
            yield each, slice_key, piece

    def entries(self) -> Iterator[tuple[bytes, TensorEntry]]:
        """Every tensor's key and entry, in key order, one pass over the table.

        The pieces of partitioned tensors are left out, being parts of one; a slice key that no tensor lists is not.

        Raises:
            CorruptionError, UnsupportedError: the index is damaged; what comes before the damage was yielded.
        """
        for key, entry in self.raw_entries():
            if key.startswith(b"\0") and self.owner(key) is not None:
                continue
            yield key, self._sized(key, entry) if entry.slices else entry

    def owner(self, key: bytes) -> bytes | None:
        """The key of the tensor that lists this slice key, or None."""
        try:
            name, piece = TensorSlice.parse_key(key)
        except CorruptionError:
            return None
        if self._last_owner is None or self._last_owner[0] != name:
            entry = self.get(name)
            self._last_owner = name, frozenset(entry.slices if entry is not None else ())
        return name if piece in self._last_owner[1] else None

    def _sized(self, key: bytes, entry: TensorEntry) -> TensorEntry:
        """An entry of a partitioned tensor with the bytes of its pieces, where these are not numbers."""
        if entry.slices and not entry.dtype.itemsize:
            total = sum(piece.nbytes for _, _, piece in self.pieces(key, entry))
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

    def __init__(self, prefix: str, *, header: BundleHeader | None = None) -> None:
        """Open `prefix`.index; reads its footer, its index block and the header, unless `header` stands for a lost one.

        Raises:
            MissingFileError: no such file.
            CorruptionError: not the index of a bundle.
            UnsupportedError: a version that this reader does not know.
        """
        super().__init__()
        self.prefix = prefix
        self.path = index_path(prefix)
        self._shard_paths: dict[int, str] = {}
        self._file = File(self.path)
        try:
            self.table = TableReader(self._file)
            self.header = header or self._read_header()
        except (CorruptionError, UnsupportedError) as error:
            self.close()
            raise error.locate(path=self.path) from None

    def _read_header(self) -> BundleHeader:
        value = self.table.get(HEADER_KEY)
        if value is None:
            raise CorruptionError("no header: not the index of a checkpoint, or its start is lost")
        return BundleHeader.parse(value)

    def get(self, key: bytes) -> TensorEntry | None:
        """The entry of `key`, slice keys included, or None. Reads one block of the table.

        Raises:
            CorruptionError, UnsupportedError: as `parse_entry`.
        """
        value = self.table.get(key) if key else None
        if value is None:
            return None
        try:
            return parse_entry(value)
        except (CorruptionError, UnsupportedError) as error:
            raise _outside(error, self.path, decode_key(key)) from None

    def raw_entries(self) -> Iterator[tuple[bytes, TensorEntry]]:
        """Every key and entry as stored, in key order, the pieces of partitioned tensors included.

        Raises:
            CorruptionError, UnsupportedError: as `entries`.
        """
        items = self.table.items()
        if next(items, (HEADER_KEY,))[0] != HEADER_KEY:
            raise CorruptionError("the header is not the first entry", path=self.path)
        try:
            yield from parse_entries(items)
        except (CorruptionError, UnsupportedError) as error:
            raise _outside(error, self.path) from None

    def shard_path(self, shard: int) -> str:
        """The path of a data shard."""
        if shard not in self._shard_paths:
            self._shard_paths[shard] = shard_path(self.prefix, shard, self.header.num_shards)
        return self._shard_paths[shard]

    def __reduce__(self) -> tuple[object, ...]:
        return BundleIndex, (self.prefix,)  # another process opens the file for itself

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        self._file.close()
