"""Writes bundles: data shards, then the index, byte for byte as TensorFlow does for the same tensors.

Tensors follow each other in a data file in the order added, without padding (TensorFlow
core/util/tensor_bundle/tensor_bundle.cc, `BundleWriter::Add`; the save ops leave its alignment at 1). All files are
staged, and appear together.

A new data shard never has the name of an existing one with other contents. Names contain the number of shards, so a
bundle that replaces another one gets additional empty shards until its names differ: a crash before the index is
replaced leaves the old bundle unchanged. If the store can rename files, names are chosen in the commit, when no other
commit can use them. Otherwise they are chosen before anything is written, so the number of shards must be known then.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Final, Self

from tensorbundle.coding import combine_crc32c, crc32c
from tensorbundle.entries import HEADER_KEY, BundleHeader, TensorEntry
from tensorbundle.errors import ArgumentError, BundleError, ConflictError, MissingFileError, UnsupportedError
from tensorbundle.filenames import index_path, is_member_name, shard_path
from tensorbundle.index import BundleIndex
from tensorbundle.members import shards_of
from tensorbundle.slices import readable_key
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import basename
from tensorbundle.table import TableWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tensorbundle.storage.protocols import Buffer, PlacedWriter, SharedHow, Staging, Store, WritableFile

__all__ = ["BundleWriter", "append_bytes", "commit_file", "refuse_existing", "refuse_name", "refuse_taken"]

_COMPARED_BYTES: Final = 1 << 18
_CACHED_BYTES: Final = 1 << 18
_PIECE_BYTES: Final = 8 << 20  # that a thread writes at a time
_THREADS: Final = (
    2  # the system writes to a file for one at a time; meanwhile another one computes a checksum
)


def refuse_name(prefix: str, store: Store) -> None:
    """Refuse a path that can't be the prefix of a new checkpoint.

    Raises:
        ConflictError: the path is a directory, or the name of a file of a checkpoint.
    """
    name = basename(prefix)
    if not name or store.is_directory(prefix):
        raise ConflictError(
            "a directory; a checkpoint needs a prefix such as DIR/model.ckpt", path=prefix or "."
        )
    if is_member_name(name) or "\0" in prefix:
        raise ConflictError(
            "this names a file of a checkpoint; give the prefix, without the ending", path=prefix
        )


def refuse_taken(path: str, store: Store, *, overwrite: bool) -> None:
    """Refuse to write a file that exists, unless it may be replaced.

    Raises:
        ConflictError: the file exists, and `overwrite` is not set; or it is a directory.
    """
    if store.is_directory(path):
        raise ConflictError("a directory of this name exists; give another name", path=path)
    if store.exists(path) and not overwrite:
        raise ConflictError("exists; use --overwrite (overwrite=True) to replace it", path=path)


def refuse_existing(prefix: str, *, overwrite: bool, store: Store | None = None) -> None:
    """Refuse a prefix that a bundle can't be written to.

    Raises:
        ConflictError: an index of this prefix exists, and `overwrite` is not set; or the path is a directory, or a file
            of a checkpoint.
    """
    store = (store or store_of(prefix)).remembering()
    store.expect([prefix, index_path(prefix)])
    refuse_name(prefix, store)
    refuse_taken(index_path(prefix), store, overwrite=overwrite)


def append_bytes(file: WritableFile, chunks: Iterable[Buffer]) -> tuple[int, int, int]:
    """Append the bytes of one tensor to a data shard; returns their offset, size and crc32c.

    Raises:
        OSError: the disk is full or fails.
    """
    offset, crc = file.size, 0
    for chunk in chunks:
        view = memoryview(chunk).cast("B")
        spread = file.spread(len(view)) if len(view) > _PIECE_BYTES else None
        crc = _write(view, file.write, crc) if spread is None else _write_spread(view, spread, crc)
    return offset, file.size - offset, crc


def _write(view: memoryview, write: Callable[[Buffer], object], crc: int = 0) -> int:
    """Write bytes, each while it is in the caches of a processor after its checksum was computed; the checksum."""
    for start in range(0, len(view), _CACHED_BYTES):
        part = view[start : start + _CACHED_BYTES]
        crc = crc32c(part, crc)
        write(part)
    return crc


def _write_spread(view: memoryview, spread: Callable[[int], PlacedWriter], crc: int) -> int:
    """Write bytes in pieces, by several threads; the checksum of what it was given for and of these."""
    from concurrent.futures import ThreadPoolExecutor

    def place(start: int) -> tuple[int, int]:
        piece = view[start : start + _PIECE_BYTES]
        with spread(start) as out:
            return _write(piece, out.write), len(piece)

    with ThreadPoolExecutor(_THREADS) as threads:
        for found, size in threads.map(place, range(0, len(view), _PIECE_BYTES)):
            crc = combine_crc32c(crc, found, size)
    return crc


def commit_file(
    staging: Staging, path: str, beside: Mapping[str, bytes], refuse_existing: Callable[[], None]
) -> None:
    """Let the staged files of an output appear, `path` the last of them, if nothing has taken its place meanwhile.

    Args:
        staging: the files.
        path: the file that makes the output valid.
        beside: small files that appear with it, by path; they replace those that are there.
        refuse_existing: raises an error if the output must not be written.
    """
    with staging.locked():
        refuse_existing()
        for other, contents in beside.items():
            with staging.writer(other, replace=True) as file:
                file.write(contents)
        staging.commit(path)


class BundleWriter:
    """Writes one bundle. Nothing appears under its name until `commit`.

    Data shards are added first (`add_shard`, `share_shard`), entries may refer to any of them (`put`), and `commit`
    writes the index. As a context manager it commits if the block ends without an error, and otherwise removes its files.

    Attributes:
        prefix: the bundle's path prefix.
        store: the store that it is written to.
        staging: its files until the commit; used as an outer context manager, it turns errors of the disk into ours.
        bytes_written: bytes of data shards and index written.
        entries: the index entries that were put, by key.
    """

    def __init__(
        self,
        prefix: str,
        *,
        overwrite: bool = False,
        store: Store | None = None,
        shards: int | None = None,
        resume: bool = False,
    ) -> None:
        """Begin to write `prefix`.

        Args:
            prefix: the bundle's path prefix; the directory must exist.
            overwrite: whether an existing bundle may be replaced.
            store: the store to write to, if the prefix does not determine it.
            shards: the number of data shards that will be added, if known; otherwise stores that can't rename allow one.
            resume: as for `Store.stage`.

        Raises:
            ConflictError: the bundle exists, and `overwrite` is not set.
            MissingFileError: the directory does not exist.
        """
        self.prefix = prefix
        self.store = store or store_of(prefix)
        self.bytes_written = 0
        self._overwrite, self._resume = overwrite, resume
        self.entries: dict[bytes, TensorEntry] = {}
        self._beside: dict[str, bytes] = {}
        self._shards: list[str] = []  # temporary names, until `commit`
        self._written: list[str] = []
        self._open: list[WritableFile] = []
        seen = self.store.remembering()
        self.staging: Staging = seen.stage(prefix, overwrite=overwrite, resume=resume)
        self._planned = None if self.store.can_rename else self._free_count(max(1, shards or 1))
        seen.expect([prefix, index_path(prefix), *map(self._shard_path, range(self._planned or 0))])
        refuse_existing(prefix, overwrite=overwrite, store=seen)
        self._done = False

    def add_shard(self, size: int | None = None) -> tuple[int, WritableFile]:
        """A new, empty data shard: its number, and the file to append to; `size` as for `Store.writer`."""
        number, name = self.stage_shard()
        self._open.append(self.store.writer(name, size, self.staging.appeared))
        return number, self._open[-1]

    def stage_shard(self) -> tuple[int, str]:
        """A new, empty data shard that another writer fills before `commit`: its number, and its temporary name."""
        number = len(self._shards)
        name = self.staging.create(self._shard_path(number))
        self._shards.append(name)
        self._written.append(name)
        return number, name

    def share_shard(self, source: str) -> tuple[int, SharedHow]:
        """A new data shard that shares the bytes of the file `source` without writing them: its number, and the method.

        Raises:
            SharingError: the store can't do that.
        """
        number = len(self._shards)
        name, how = self.staging.share(source, self._shard_path(number))
        self._shards.append(name)
        return number, how

    def _shard_path(self, number: int) -> str:
        """The final name of a data shard, if known."""
        if self._planned is not None and number >= self._planned:
            raise UnsupportedError(
                f"more than the {self._planned} data shards that were planned; files here can't be renamed, so give 'shards'",
                path=self.prefix,
            )
        return shard_path(self.prefix, number, self._planned or number + 1)

    def _free_count(self, needed: int) -> int:
        """The smallest number of data shards, at least `needed`, whose names no file with other contents has."""
        count = needed
        taken = shards_of(self.prefix, self.store) if self._overwrite else {}
        if self._resume:  # others are those of the run that was interrupted
            old = set(self._old_shards(self.store))
            taken = {number: path for number, path in taken.items() if path in old}
        while any(
            of == count and number < count and not self._is_same(number, path)
            for (number, of), path in taken.items()
        ):
            count += 1
        return count

    def _is_same(self, number: int, path: str) -> bool:
        """Whether the new data shard `number` has the contents of the file at `path`."""
        if number >= len(self._shards):
            return False
        name = self._shards[number]
        return self.store.same_file(name, path) or _have_same_bytes(self.store, name, path)

    def check_key(self, key: bytes) -> None:
        """Refuse a key that `put` would refuse.

        Raises:
            ConflictError: the key exists already.
            ValueError: the empty key, which is the header's.
        """
        if key == HEADER_KEY:
            raise ArgumentError("a tensor needs a key of at least one byte, and valid Unicode")
        if key in self.entries:
            raise ConflictError("two tensors with one key", path=self.prefix, key=readable_key(key))

    def put(self, key: bytes, entry: TensorEntry) -> None:
        """Add an index entry unchanged.

        Raises:
            ConflictError: the key exists already.
            ValueError: the empty key, which is the header's.
        """
        self.check_key(key)
        self.entries[key] = entry

    def add_file(self, path: str, contents: bytes) -> None:
        """Stage a small file that appears after the index, in the same directory, and replaces one of the same name."""
        self._beside[path] = contents

    def commit(self) -> None:
        """Write the index, and make the bundle and then the files beside it appear.

        A bundle without tensors gets one empty data shard, as from TensorFlow's writer.

        Raises:
            ConflictError: a file was created at the destination meanwhile.
            BundleError: the disk is full or fails; the reason says whether the bundle exists nevertheless.
        """
        try:
            with self.staging as staging:
                while len(self._shards) < (self._planned or 1):
                    self.add_shard()
                for shard in self._open:
                    shard.close()
                seen = self.store.remembering()
                seen.expect([*self._written, self.prefix, index_path(self.prefix)])
                self.bytes_written = sum(map(seen.size, self._written))
                with staging.locked():
                    refuse_existing(self.prefix, overwrite=self._overwrite, store=seen)
                    old_shards = self._old_shards(seen)
                    if self._planned is None:
                        self._name_shards()
                    self._write_index()
                    for path, contents in self._beside.items():
                        with staging.writer(path, replace=True) as file:
                            file.write(contents)
                    try:
                        staging.commit(index_path(self.prefix))
                    finally:
                        if staging.visible:
                            self._remove(old_shards)
        except ConflictError:
            self.abort(keep=True)
            raise
        finally:
            self.abort()

    def _remove(self, old_shards: list[str]) -> None:
        """Remove data shards that only the overwritten index referred to; one that can't be removed does no harm."""
        count = len(self._shards)
        kept = {shard_path(self.prefix, number, count) for number in range(count)}
        for path in set(old_shards) - kept:
            with contextlib.suppress(OSError):
                self.store.remove(path)

    def abort(self, *, keep: bool = False) -> None:
        """Remove every temporary file and leave the destination unchanged. A second call does nothing.

        With `keep`, files under final names stay: they may be another writer's.
        """
        for shard in self._open:
            shard.abandon()
        self.staging.discard(keep=keep)
        self._done = True

    def __del__(self) -> None:
        if not getattr(self, "_done", True):
            self.abort()
            warnings.warn(f"{self.prefix}: neither committed nor aborted", ResourceWarning, stacklevel=2)

    def _old_shards(self, store: Store) -> list[str]:
        """The data shards of the bundle that is being overwritten, according to its index."""
        if not store.exists(index_path(self.prefix)):
            return []
        try:
            with BundleIndex(self.prefix, store=store) as old:
                count = old.header.num_shards
        except BundleError:
            return []  # a damaged index claims no files
        return [path for (_, of), path in shards_of(self.prefix, store).items() if of == count]

    def _name_shards(self) -> None:
        count = self._free_count(len(self._shards))
        while len(self._shards) < count:
            self.stage_shard()
        for number, name in enumerate(self._shards):
            self.staging.rename(name, shard_path(self.prefix, number, count))

    def _write_index(self) -> None:
        with self.staging.writer(index_path(self.prefix)) as file:
            table = TableWriter(file.write)
            table.add(HEADER_KEY, BundleHeader(len(self._shards)).encode())
            for key in sorted(self.entries):
                table.add(key, self.entries[key].encode())
            table.finish()
            self.bytes_written += file.size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort(keep=isinstance(error, ConflictError))


def _have_same_bytes(store: Store, path: str, other: str) -> bool:
    """Whether two files have the same bytes; False if there is no regular file `other`, also if it was just deleted."""
    with store.open(path) as first:
        try:
            second = store.open(other)
        except MissingFileError:
            return False
        with second:
            return first.size == second.size and all(
                first.read(start, size) == second.read(start, size)
                for start in range(0, first.size, _COMPARED_BYTES)
                if (size := min(_COMPARED_BYTES, first.size - start))
            )
