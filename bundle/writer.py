"""Writes bundles: data shards, then the index, byte for byte what TensorFlow writes for the same tensors.

Tensors lie in a data file in the order added, without padding (TensorFlow core/util/tensor_bundle/tensor_bundle.cc,
`BundleWriter::Add`; the save ops leave its alignment at 1). Everything is staged and becomes visible at once
(`commit.py`).
"""

from __future__ import annotations

import contextlib
import os
import warnings
from typing import TYPE_CHECKING, Final, Self

from tensorbundle.coding import crc32c
from tensorbundle.entries import HEADER_KEY, BundleHeader, TensorEntry
from tensorbundle.errors import ArgumentError, BundleError, ConflictError
from tensorbundle.index import BundleIndex, decode_key
from tensorbundle.names import index_path, is_member_name, shard_path, shards_of
from tensorbundle.storage.staging import StagedFiles
from tensorbundle.table import TableWriter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorbundle.index import FileFormat
    from tensorbundle.storage.staging import SharedHow

__all__ = ["BundleWriter", "ShardFile", "refuse_existing"]

_WRITE_BUFFER_BYTES: Final = 1 << 20


def refuse_existing(prefix: str, *, overwrite: bool, file_format: FileFormat = "v2") -> None:
    """Refuse a prefix that can't be written to.

    Raises:
        ConflictError: it has an index, or is a V1 checkpoint's file, and `overwrite` is not set; or it is not a prefix
            but a directory, or a file of a checkpoint; or a V2 checkpoint would be read instead of a new V1 file.
    """
    name = os.path.basename(prefix)
    if not name or os.path.isdir(prefix):
        raise ConflictError(
            "a directory; a checkpoint needs a prefix such as DIR/model.ckpt", path=prefix or "."
        )
    if is_member_name(name) or "\0" in prefix:
        raise ConflictError(
            "this names a file of a checkpoint; give the prefix, without the ending", path=prefix
        )
    taken = index_path(prefix)
    if file_format == "v1":
        if os.path.lexists(taken):
            raise ConflictError(
                "a V2 checkpoint of this name exists, and would be read instead; give another name",
                path=taken,
            )
        taken = prefix
    if os.path.isdir(taken) or (os.path.lexists(taken) and not overwrite):
        raise ConflictError("exists; use --overwrite (overwrite=True) to replace it", path=taken)


class ShardFile:
    """One data shard while it is written: bytes are appended, and each run's place is told.

    Attributes:
        path: its temporary path.
        size: bytes so far.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = 0
        self._file = open(path, "r+b", buffering=_WRITE_BUFFER_BYTES)  # noqa: SIM115  closed by close()

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append bytes.

        Raises:
            OSError: the disk is full or fails.
        """
        self._file.write(chunk)
        self.size += memoryview(chunk).nbytes

    def append(self, chunks: Iterable[bytes | bytearray | memoryview]) -> tuple[int, int, int]:
        """Append the bytes of one tensor: its offset, how many bytes it took, and their crc32c."""
        offset, crc = self.size, 0
        for chunk in chunks:
            crc = crc32c(chunk, crc)
            self.write(chunk)
        return offset, self.size - offset, crc

    def close(self) -> None:
        """Hand everything to the operating system; a second call does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BundleWriter:
    """A bundle while it is written. Nothing is visible under its name until `commit`.

    Data shards are added first (`add_shard`, `share_shard`), entries may point into any of them (`put`), and the
    index follows in `commit`. As a context manager it commits when the block ends well, and leaves nothing else.

    Attributes:
        prefix: where the bundle goes.
        bytes_written: bytes of data shards and index written.
    """

    def __init__(self, prefix: str, *, overwrite: bool = False) -> None:
        """Begin to write `prefix`.

        Raises:
            ConflictError: it exists, and `overwrite` is not set.
            MissingFileError: its directory does not exist.
        """
        self.prefix = prefix
        self.bytes_written = 0
        self._overwrite = overwrite
        self._entries: dict[bytes, TensorEntry] = {}
        self._beside: dict[str, bytes] = {}
        self._shards: list[str] = []
        self._written: list[str] = []
        self._open: list[ShardFile] = []
        self._staged = StagedFiles(os.path.dirname(prefix), overwrite=overwrite)
        refuse_existing(prefix, overwrite=overwrite)
        self._done = False

    def add_shard(self) -> tuple[int, ShardFile]:
        """A new, empty data shard: its number, and the file to append to."""
        number, path = self.stage_shard()
        self._open.append(ShardFile(path))
        return number, self._open[-1]

    def stage_shard(self) -> tuple[int, str]:
        """A new, empty data shard that somebody else writes before `commit`: its number, and the path to write to."""
        number = len(self._shards)
        path = self._staged.create(shard_path(self.prefix, number, number + 1))
        self._shards.append(path)
        self._written.append(path)
        return number, path

    def share_shard(self, source: str) -> tuple[int, SharedHow]:
        """A new data shard with the very bytes of the file `source`, none of them written: its number, and how.

        Raises:
            SharingError: the file system can't do that.
        """
        number = len(self._shards)
        path, how = self._staged.share(source, shard_path(self.prefix, number, number + 1))
        self._shards.append(path)
        return number, how

    def check_key(self, key: bytes) -> None:
        """Refuse a key that `put` would refuse.

        Raises:
            ConflictError: the key is taken.
            ValueError: the empty key, which is the header's.
        """
        if key == HEADER_KEY:
            raise ArgumentError("a tensor needs a key of at least one byte, and valid Unicode")
        if key in self._entries:
            raise ConflictError("two tensors with one key", path=self.prefix, key=decode_key(key))

    def put(self, key: bytes, entry: TensorEntry) -> None:
        """Add an index entry, as it is.

        Raises:
            ConflictError: the key is taken.
            ValueError: the empty key, which is the header's.
        """
        self.check_key(key)
        self._entries[key] = entry

    def add_file(self, path: str, contents: bytes) -> None:
        """Let a small file appear after the index, in the same directory, in place of one of that name."""
        self._beside[path] = contents

    def commit(self) -> None:
        """Write the index and make the bundle visible, then the files beside it.

        A bundle without tensors gets one empty data shard, as TensorFlow's writer makes it. Where an overwritten
        bundle has shards of the same names but other contents, the new one gets empty shards at its end until its
        names differ: a crash in between then still leaves the old one whole.

        Raises:
            ConflictError: something appeared at the destination meanwhile.
            OSError: the disk is full or fails; nothing changed then.
        """
        try:
            if not self._shards:
                self.stage_shard()
            for shard in self._open:
                shard.close()
            self.bytes_written = sum(map(os.path.getsize, self._written))
            with self._staged.locked():
                refuse_existing(self.prefix, overwrite=self._overwrite)
                old_shards = self._old_shards()
                self._name_shards()
                self._write_index()
                for path, contents in self._beside.items():
                    with open(self._staged.create(path, replace=True), "r+b") as file:
                        file.write(contents)
                try:
                    self._staged.commit(index_path(self.prefix))
                finally:
                    if self._staged.visible:
                        self._remove(old_shards)
        except OSError as error:
            self.abort()
            if isinstance(error, BundleError):
                raise
            what = "it stands, but not all of it is safe" if self._staged.visible else "nothing was changed"
            raise BundleError(
                f"can't be written: {error.strerror or error}; {what}", path=self.prefix
            ) from error
        except BaseException:
            self.abort()
            raise
        finally:
            self._done = True

    def _remove(self, old_shards: list[str]) -> None:
        """Remove what only the overwritten index named; what can't be removed is in nobody's way."""
        count = len(self._shards)
        kept = {shard_path(self.prefix, number, count) for number in range(count)}
        for path in set(old_shards) - kept:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def abort(self) -> None:
        """Give up: every temporary file goes, the destination stays as it is. A second call does nothing."""
        for shard in self._open:
            with contextlib.suppress(OSError):  # a full disk, once more
                shard.close()
        self._staged.discard()
        self._done = True

    def __del__(self) -> None:
        if not getattr(self, "_done", True):
            self.abort()
            warnings.warn(f"{self.prefix}: neither committed nor aborted", ResourceWarning, stacklevel=2)

    def _old_shards(self) -> list[str]:
        """The data shards of the bundle that is being overwritten, by what its index says."""
        if not os.path.lexists(index_path(self.prefix)):
            return []
        try:
            with BundleIndex(self.prefix) as old:
                count = old.header.num_shards
        except BundleError:
            return []  # a damaged index claims no files
        return [path for (_, of), path in shards_of(self.prefix).items() if of == count]

    def _name_shards(self) -> None:
        def names() -> list[str]:
            count = len(self._shards)
            return [shard_path(self.prefix, number, count) for number in range(count)]

        while self._overwrite and any(map(self._staged.collides, self._shards, names())):
            self.stage_shard()
        for path, name in zip(self._shards, names(), strict=True):
            self._staged.rename_target(path, name)

    def _write_index(self) -> None:
        path = self._staged.create(index_path(self.prefix))
        with open(path, "r+b", buffering=_WRITE_BUFFER_BYTES) as file:
            table = TableWriter(file.write)
            table.add(HEADER_KEY, BundleHeader(len(self._shards)).encode())
            for key in sorted(self._entries):
                table.add(key, self._entries[key].encode())
            table.finish()
            self.bytes_written += file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()
