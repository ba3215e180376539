"""The interfaces of storage: random access to a file, a store, and the files of one output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, Self

from tensorbundle.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

__all__ = [
    "Assembly",
    "Buffer",
    "PartsWriter",
    "PlacedWriter",
    "RandomAccessFile",
    "SentPart",
    "SharedHow",
    "SharingError",
    "Staging",
    "Store",
    "Upload",
    "WritableFile",
]

Buffer = bytes | bytearray | memoryview
SharedHow = Literal["reflink", "hard link"]


class SharingError(UnsupportedError):
    """The store can't share the bytes of these files."""


class Upload(NamedTuple):
    """Parts of a file that were sent to a store, and that do not appear as a file until all are.

    Attributes:
        path: of the file.
        id: what the store calls the upload.
        started: when it was begun, for people.
    """

    path: str
    id: str
    started: str


class SentPart(NamedTuple):
    """A part of an upload, as the store names it."""

    number: int
    tag: str


class PartsWriter(Protocol):
    """Some parts of an assembly while they are written, from their first byte to their last."""

    def write(self, data: Buffer) -> None:
        """Append bytes; as `WritableFile.write`."""

    def finish_parts(self) -> list[SentPart]:
        """Send what is still buffered; all the parts."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, *_: object) -> None: ...


class PlacedWriter(Protocol):
    """Bytes of a file that follow each other, while one of several threads writes them."""

    def write(self, data: Buffer) -> None:
        """Write the next bytes; as `WritableFile.write`."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Assembly(Protocol):
    """A file that several processes send parts of. Assemblies are values, and other processes can be given one.

    Attributes:
        part_bytes: bytes of each part, but for the last one.
    """

    @property
    def part_bytes(self) -> int:
        """See above."""

    def writer(self, first: int) -> PartsWriter:
        """The parts from number `first` on, counted from 1."""

    def complete(self, parts: Sequence[SentPart], size: int, crc: int) -> None:
        """Let the file appear, which has so many bytes with this checksum; as `WritableFile.close`."""

    def abort(self) -> None:
        """Delete what was sent."""


class RandomAccessFile(Protocol):
    """A file, open for reading at any position; several threads may read at the same time.

    Attributes:
        path: the file's name, as given.
        near_bytes: bytes that can be read in about the time of one request. A reader that needs a few bytes, and more near
            them soon, reads so many at once.
    """

    path: str
    near_bytes: int

    @property
    def size(self) -> int:
        """Bytes, when it was opened or first asked for.

        Raises:
            MissingFileError, UnreadableFileError: as `Store.open`, where that asks nothing.
        """

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`.

        Raises:
            CorruptionError: the file ends before them.
            UnreadableFileError: the system can't read them.
            BundleError: the file was closed.
        """

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Fill a writable buffer with the bytes at `offset`; otherwise like `read`."""

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of several ranges, each an offset and a size, in few requests; otherwise like `read`."""

    def prefetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """A hint that these ranges, each an offset and a size, will be read soon, in this order."""

    def map(self) -> memoryview | None:
        """All bytes as read-only memory, which stays valid after `close`; None if the file can't be mapped.

        If the file shrinks, touching what it no longer has ends the process.
        """

    def stamp(self) -> tuple[int, int]:
        """The size of a file that is mapped now, and when it was last written to, in nanoseconds: others mean other bytes.

        Raises:
            BundleError: the file was closed.
        """

    def close(self) -> None:
        """Close the file; a second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class WritableFile(Protocol):
    """A file being written, from the first byte to the last.

    Attributes:
        size: bytes written so far.
    """

    size: int

    def write(self, data: Buffer) -> None:
        """Append bytes.

        Raises:
            OSError: they can't be stored; the file's `Staging` turns it into a BundleError.
        """

    def spread(self, size: int) -> Callable[[int], PlacedWriter] | None:
        """Append `size` bytes that several threads write, in any order; None where files are written from start to end.

        What is returned gives a writer for the bytes from an offset on, which counts from the first of these bytes. All of
        them must be written before the file is closed.

        Raises:
            OSError: as for `write`.
        """

    def close(self) -> None:
        """Write buffered bytes and close the file; a second call does nothing.

        Raises:
            OSError: as for `write`.
        """

    def abandon(self) -> None:
        """Let go of a file that nobody will want; where files appear when they are closed, it does not."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, *_: object) -> None: ...


class Staging(Protocol):
    """The files of one output: they appear together in `commit`, or none does.

    As a context manager it discards files that were not committed, and turns an OSError of the block into a BundleError
    that says whether the output exists.

    Attributes:
        visible: whether the output has appeared.
    """

    visible: bool

    def create(self, final: str, *, replace: bool = False) -> str:
        """A name under which to write a file that will become `final`; `Store.writer` opens it, also in another process.

        With `replace`, a file `final` may exist even if the output must not.

        Raises:
            BundleError: the directory can't be written to.
        """

    def writer(self, final: str, *, replace: bool = False, size: int | None = None) -> WritableFile:
        """A file to write here that will become `final`; it may exist nowhere before `commit`. Otherwise like `create`.

        `size` is as for `Store.writer`.
        """

    def appeared(self, name: str) -> None:
        """A file that was staged under this name is there already, before the commit: `discard` removes it.

        For `Store.writer`, which may be called in another process; another writer may have put a file there.
        """

    def share(self, source: str, final: str) -> tuple[str, SharedHow]:
        """Stage the contents of the stored file `source` as `final` without writing them: its staged name, and the method.

        Raises:
            SharingError: the store can't share them.
        """

    def rename(self, name: str, final: str) -> None:
        """Change the final name of the file staged under `name`; only if `Store.can_rename`."""

    def locked(self) -> AbstractContextManager[None]:
        """Prevent other commits into the directory during the block, as far as the store can."""

    def commit(self, switch: str | None = None) -> None:
        """Make every file durable, and move it to its final name, in the order staged.

        Args:
            switch: the final name of the file that makes the output visible, by default the last one. If a move fails
                before this file's, the files moved before are removed; after it, the output stays.

        Raises:
            ConflictError: a final name exists, and overwriting was not allowed; nothing was changed.
            OSError: a file could not be moved or flushed; `visible` tells whether the output exists nevertheless.
        """

    def discard(self, *, keep: bool = False) -> None:
        """Remove files that were staged but not committed; a second call does nothing.

        With `keep`, files under their final names stay.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Store(Protocol):
    """Files by name. Stores are values: equal stores have the same files, and a store can be sent to another process."""

    @property
    def can_share(self) -> bool:
        """Whether two files may share their stored bytes."""

    @property
    def can_rename(self) -> bool:
        """Whether the final name of a staged file can change until the commit."""

    def remembering(self) -> Store:
        """The same store for reading one checkpoint: asks about each file once, and finds that one changed since."""

    def expect(self, paths: Iterable[str]) -> None:
        """A hint that these names will be asked about: a store that remembers makes the requests for that side by side.

        Raises:
            UnreadableFileError: that can't be found out.
        """

    def open(self, path: str) -> RandomAccessFile:
        """A file, for reading.

        Raises:
            MissingFileError: no such file, or a directory.
            UnreadableFileError: it can't be opened for another reason.
        """

    def writer(
        self, name: str, size: int | None = None, appeared: Callable[[str], None] | None = None
    ) -> WritableFile:
        """A staged file, for writing.

        Args:
            name: as `Staging.create` returned it.
            size: about how many bytes it will have, if that is known.
            appeared: given the name when the file has appeared under it, where that is before the commit, and is not
                another writer's.

        Raises:
            OSError: it can't be opened.
        """

    def stage(self, output: str, *, overwrite: bool = False, resume: bool = False) -> Staging:
        """A staging for the files of one output, all in the directory of `output`, the name that messages contain.

        With `resume`, files that an attempt which died left under their final names may be used, and stay if this one
        fails; only where files are written under their final names (`can_rename` is false).

        Raises:
            MissingFileError: no such directory.
        """

    def exists(self, path: str) -> bool:
        """Whether a file, a directory or anything else has this name."""

    def is_file(self, path: str, *, reading_end: bool = False) -> bool:
        """Whether a file of this name exists.

        With `reading_end`, its end is read next. A store that remembers and where a request takes long may ask for that
        right away.
        """

    def is_directory(self, path: str) -> bool:
        """Whether a directory of this name exists; the empty name is the working directory."""

    def same_file(self, path: str, other: str) -> bool:
        """Whether two names refer to the same file; False if one does not exist."""

    def size(self, path: str) -> int:
        """The size of a file in bytes.

        Raises:
            MissingFileError: no such file.
        """

    def modified(self, path: str) -> int:
        """The time of a file's last change, in nanoseconds since the epoch.

        Raises:
            MissingFileError: no such file.
        """

    def list(self, directory: str) -> list[str]:
        """The last components of the names in a directory, in any order; empty if the directory does not exist."""

    def remove(self, path: str) -> None:
        """Delete a file.

        Raises:
            OSError: it can't be deleted.
        """

    def can_assemble(self, name: str) -> bool:
        """Whether several processes can send parts of one file of this name."""

    def assemble(self, name: str, size: int) -> Assembly:
        """A staged file of so many bytes, to be sent in parts by several processes; only if `can_assemble`.

        Raises:
            OSError: it can't be written.
        """

    def uploads(self, directory: str) -> Sequence[Upload]:
        """The uploads of files in a directory that were not completed, where the store has uploads."""

    def abort(self, upload: Upload) -> None:
        """Delete the parts of an upload; one that is gone already is passed over.

        Raises:
            OSError: they can't be deleted.
        """
