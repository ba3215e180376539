"""What the rest of the package knows of storage: random access to a file, a store, and the files of one output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, Self

from tensorbundle.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

__all__ = ["Buffer", "RandomAccessFile", "SharedHow", "SharingError", "Staging", "Store", "WritableFile"]

Buffer = bytes | bytearray | memoryview
SharedHow = Literal["reflink", "hard link"]


class SharingError(UnsupportedError):
    """The store can't let two files have the same bytes."""


class RandomAccessFile(Protocol):
    """A file, open for reading at any position; several threads may read at the same time.

    Attributes:
        path: its name, as it was given.
        size: bytes, when it was opened.
    """

    path: str
    size: int

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`.

        Raises:
            CorruptionError: the file does not have all of them.
            UnreadableFileError: the system can't read them.
            BundleError: the file was closed.
        """

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Fill a writable buffer of bytes with those at `offset`; otherwise as `read`."""

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of several ranges, each an offset and a size, in as few requests as make sense; otherwise as `read`."""

    def map(self) -> memoryview | None:
        """All bytes as read-only memory, which stays valid after `close`; None where only reading is possible."""

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class WritableFile(Protocol):
    """A file while it is written, from its first byte to its last.

    Attributes:
        size: bytes so far.
    """

    size: int

    def write(self, data: Buffer) -> None:
        """Append bytes.

        Raises:
            OSError: they can't be stored; the `Staging` of the file says what that means.
        """

    def close(self) -> None:
        """Hand over what is still buffered; a second call does nothing.

        Raises:
            OSError: as `write`.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Staging(Protocol):
    """The files of one output: they appear together in `commit`, or none does.

    As a context manager it discards what was not committed, and turns an OSError of the block into a BundleError that
    says whether the output exists.

    Attributes:
        visible: whether the output has appeared.
    """

    visible: bool

    def create(self, final: str, *, replace: bool = False) -> str:
        """A name to write a file to that will be `final`: `Store.writer` opens it, here or in another process.

        With `replace`, a file of that name may exist even if the output may not.

        Raises:
            BundleError: the directory can't be written to.
        """

    def writer(self, final: str, *, replace: bool = False) -> WritableFile:
        """A file that will be `final`, for writing here; it need not be anywhere before `commit`. As `create`."""

    def share(self, source: str, final: str) -> tuple[str, SharedHow]:
        """Stage the contents of the stored file `source` as `final` without writing them: its name so far, and how.

        Raises:
            SharingError: the store can't do that.
        """

    def rename(self, name: str, final: str) -> None:
        """Let the file that was staged under `name` be `final` instead; only where `Store.can_rename`."""

    def locked(self) -> AbstractContextManager[None]:
        """Keeps other commits out of the directory while the block runs, as far as the store can."""

    def commit(self, switch: str | None = None) -> None:
        """Make every file durable, and let it appear under its final name, in the order staged.

        Args:
            switch: the final name of the file that makes the output visible, the last one by default. If something
                fails before it appears, what appeared is removed again; after that the output stays.

        Raises:
            ConflictError: a final name is taken, and overwriting was not allowed; nothing was changed.
            OSError: something failed; `visible` says whether the output exists nevertheless.
        """

    def discard(self) -> None:
        """Remove what was staged and not committed; a second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Store(Protocol):
    """Files by name. Stores are values: equal ones have the same files, and other processes can be given one."""

    @property
    def can_share(self) -> bool:
        """Whether two files may have the same stored bytes."""

    @property
    def can_rename(self) -> bool:
        """Whether a staged file can get another final name until the commit."""

    def open(self, path: str) -> RandomAccessFile:
        """A file, for reading.

        Raises:
            MissingFileError: no such file, or a directory.
            UnreadableFileError: it can't be opened for another reason.
        """

    def writer(self, name: str) -> WritableFile:
        """A staged file, for writing.

        Raises:
            OSError: it can't be opened.
        """

    def stage(self, output: str, *, overwrite: bool = False) -> Staging:
        """The files of one output, beside each other in the directory of the name `output`, which messages give.

        Raises:
            MissingFileError: no such directory.
        """

    def exists(self, path: str) -> bool:
        """Whether a name is taken, by whatever."""

    def is_file(self, path: str) -> bool:
        """Whether there is a file of this name."""

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory of this name; the empty name is the working directory."""

    def same_file(self, path: str, other: str) -> bool:
        """Whether two names are of one file; False if one of them is of none."""

    def size(self, path: str) -> int:
        """Bytes of a file.

        Raises:
            MissingFileError: no such file.
        """

    def modified(self, path: str) -> int:
        """When a file was last changed, in nanoseconds since the epoch.

        Raises:
            MissingFileError: no such file.
        """

    def list(self, directory: str) -> list[str]:
        """The names in a directory, without it, in any order; empty if there is no such directory."""

    def remove(self, path: str) -> None:
        """Delete a file.

        Raises:
            OSError: it can't be deleted.
        """
