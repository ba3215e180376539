"""The local file system.

Tables and ranges of data shards are read with `pread`, not through a memory map: TensorFlow rewrites an index in place,
a map of a file that shrinks kills the process, and pages of a map count as memory of the process. Tensors that a user
asks for are views of a map, which nothing else touches.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import stat
import struct
from typing import TYPE_CHECKING, Final, Self

from tensorbundle.errors import (
    BundleError,
    CorruptionError,
    MissingFileError,
    UnreadableFileError,
    UnsupportedError,
)
from tensorbundle.storage.flushing import EarlyFlush
from tensorbundle.storage.paths import local_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorbundle.storage.protocols import Assembly, Buffer, SharedHow, Upload
    from tensorbundle.storage.staging import RenamedFiles

__all__ = ["LocalFile", "LocalStore", "LocalWriter"]

_SMALL_WRITE_BYTES: Final = 1 << 16  # less than that is collected
WRITE_BYTES: Final = 1 << 18
_FICLONE: Final = 0x40049409  # linux/fs.h: share the extents of another file
_FICLONERANGE: Final = 0x4020940D  # the same of a range, whose ends are at ends of blocks; its argument:
_RANGE: Final = struct.Struct("qQQQ")  # descriptor, offset and size in the source, offset in the destination
BLOCK_BYTES: Final = 4096  # of XFS and Btrfs by default; other sizes are refused, and copied
_CAN_NOT_SHARE: Final = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES}
)


class LocalFile:
    """A local file, open for reading at any position (`RandomAccessFile`)."""

    near_bytes = 0

    def __init__(self, path: str) -> None:
        """Open the regular file at `path`.

        Raises:
            MissingFileError: no such file, or a directory.
            UnreadableFileError: it can't be opened for another reason.
        """
        self.path = path
        try:
            # O_NONBLOCK: opening a pipe must not wait for its other end.
            self._descriptor = os.open(local_path(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            raise MissingFileError("no such file", path=path) from None
        except OSError as error:
            raise self._unreadable(error) from error
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            kind = "directory" if stat.S_ISDIR(status.st_mode) else "pipe or device"
            raise MissingFileError(f"not a regular file but a {kind}", path=path)
        self.size = status.st_size

    def read(self, offset: int, size: int) -> bytes:
        """See `RandomAccessFile`."""
        self._check(offset, size)
        part = self._read_once(offset, size)
        if len(part) == size:
            return part  # nearly always; without a copy
        whole = bytearray(size)
        whole[: len(part)] = part
        self._fill(offset, memoryview(whole), len(part))
        return bytes(whole)

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """See `RandomAccessFile`."""
        self._check(offset, len(buffer))
        self._fill(offset, buffer, 0)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See `RandomAccessFile`: one `pread` each."""
        return [self.read(offset, size) for offset, size in ranges]

    def prefetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """See `RandomAccessFile`; the kernel reads ahead by itself."""

    def map(self) -> memoryview | None:
        """See `RandomAccessFile`."""
        self._check(0, 0)
        if not self.size:
            return memoryview(b"")
        try:
            return memoryview(mmap.mmap(self._descriptor, self.size, access=mmap.ACCESS_READ))
        except ValueError:
            raise CorruptionError("the file shrank while it was read", path=self.path) from None
        except OSError:  # a file system or a limit of the process forbids it
            return None

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def stamp(self) -> tuple[int, int]:
        """See `RandomAccessFile`."""
        self._check(0, 0)
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns

    def _check(self, offset: int, size: int) -> None:
        if self._descriptor < 0:
            raise BundleError("this checkpoint was closed", path=self.path)
        if offset < 0 or size < 0 or offset + size > self.size:
            raise CorruptionError(
                f"{size} bytes wanted, the file ends at {self.size}: it is cut short",
                path=self.path,
                offset=offset,
            )

    def _read_once(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._descriptor, size, offset)
        except OSError as error:
            raise self._unreadable(error, offset) from error

    def _fill(self, offset: int, buffer: memoryview, done: int) -> None:
        """Read on until the buffer is full: one call to the system gives at most 2 GiB."""
        while done < len(buffer):
            try:
                count = os.preadv(self._descriptor, [buffer[done:]], offset + done)
            except OSError as error:
                raise self._unreadable(error, offset + done) from error
            if count == 0:
                raise CorruptionError(
                    "the file shrank while it was read", path=self.path, offset=offset + done
                )
            done += count

    def _unreadable(self, error: OSError, offset: int | None = None) -> UnreadableFileError:
        return UnreadableFileError(f"can't be read: {error.strerror or error}", path=self.path, offset=offset)

    def close(self) -> None:
        """See `RandomAccessFile`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()


class LocalWriter:
    """A local file while it is written (`WritableFile`); flushing begins before it is complete (`EarlyFlush`).

    Pieces of 256 KiB are written faster than larger ones on kernels with large folios.
    """

    def __init__(self, path: str) -> None:
        self.size = 0
        self._file = open(local_path(path), "r+b", buffering=_SMALL_WRITE_BYTES)  # noqa: SIM115  closed by close()
        self._early = EarlyFlush(self._file.fileno())

    def write(self, data: Buffer) -> None:
        """See `WritableFile`."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), WRITE_BYTES):
            piece = view[start : start + WRITE_BYTES]
            self._file.write(piece)
            self.size += len(piece)
            self._early.wrote(self.size)

    def spread(self, size: int) -> Callable[[int], _PlacedWriter]:
        """See `WritableFile`."""
        start = self.size
        self._file.flush()
        self.size = self._file.seek(start + size)
        self._early.begin(start)
        self._early = EarlyFlush(self._file.fileno(), self.size)
        return lambda offset: _PlacedWriter(self._file.fileno(), start + offset)

    def begin_with(self, start: bytes, source: str, offset: int, size: int) -> bool:
        """Write `start` and a range of a local file behind it, whose blocks are shared; only into an empty file.

        Returns False, with nothing written, if `offset` has another place in its block than the end of `start`, if the range
        has no whole block, or if the file system can't share.
        """
        moved = len(start) - offset
        first = -(-offset // BLOCK_BYTES) * BLOCK_BYTES
        last = (offset + size) // BLOCK_BYTES * BLOCK_BYTES
        if moved % BLOCK_BYTES or first >= last:
            return False
        with LocalFile(source) as file:
            try:
                asked = _RANGE.pack(file.fileno(), first, last - first, first + moved)
                fcntl.ioctl(self._file.fileno(), _FICLONERANGE, asked)
            except OSError:
                return False
            self._file.write(start + file.read(offset, first - offset))
            self._file.seek(last + moved)
            self._file.write(file.read(last, offset + size - last))
        self.size = len(start) + size
        return True

    def close(self) -> None:
        """See `WritableFile`."""
        self._file.close()

    def abandon(self) -> None:
        """See `WritableFile`."""
        with contextlib.suppress(OSError):  # a full disk, once more
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _PlacedWriter:
    """Bytes of a local file that follow each other, while they are written (`PlacedWriter`); as `LocalWriter`."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor, self._offset = descriptor, offset
        self._early = EarlyFlush(descriptor, offset)

    def write(self, data: Buffer) -> None:
        """See `PlacedWriter`."""
        view = memoryview(data).cast("B")
        while len(view):
            count = os.pwrite(self._descriptor, view[:WRITE_BYTES], self._offset)
            view = view[count:]
            self._offset += count
            self._early.wrote(self._offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let the system begin to store the rest."""
        self._early.begin(self._offset)


class LocalStore:
    """The local file system (`Store`), and the `Disk` under the files that it stages; all of them are equal."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalStore)

    def __hash__(self) -> int:
        return hash(LocalStore)

    @property
    def can_share(self) -> bool:
        """See `Store`; whether two names are on one file system shows when it is tried."""
        return True

    @property
    def can_rename(self) -> bool:
        """See `Store`."""
        return True

    def remembering(self) -> LocalStore:
        """See `Store`: asking costs nothing here."""
        return self

    def expect(self, paths: Iterable[str]) -> None:
        """See `Store`: asking costs nothing here."""

    def open(self, path: str) -> LocalFile:
        """See `Store`."""
        return LocalFile(path)

    def writer(
        self, name: str, size: int | None = None, appeared: Callable[[str], None] | None = None
    ) -> LocalWriter:
        """See `Store`."""
        del size
        return LocalWriter(name)

    def stage(self, output: str, *, overwrite: bool = False, resume: bool = False) -> RenamedFiles:
        """See `Store`."""
        from tensorbundle.storage.staging import RenamedFiles  # which reading does not need

        del resume
        return RenamedFiles(self, output, overwrite=overwrite)

    def exists(self, path: str) -> bool:
        """See `Store`."""
        return os.path.lexists(local_path(path))

    def is_file(self, path: str, *, reading_end: bool = False) -> bool:
        """See `Store`."""
        del reading_end
        return os.path.isfile(local_path(path))

    def is_special(self, path: str) -> bool:
        """See `Disk`."""
        path = local_path(path)
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            return False
        return not os.path.isfile(path) if stat.S_ISLNK(mode) else not stat.S_ISREG(mode)

    def is_directory(self, path: str) -> bool:
        """See `Store`."""
        return os.path.isdir(local_path(path) or ".")

    def same_file(self, path: str, other: str) -> bool:
        """See `Store`."""
        try:
            return os.path.samefile(local_path(path), local_path(other))
        except OSError:
            return False

    def size(self, path: str) -> int:
        """See `Store`."""
        return self._status(path).st_size

    def modified(self, path: str) -> int:
        """See `Store`."""
        return self._status(path).st_mtime_ns

    def _status(self, path: str) -> os.stat_result:
        try:
            return os.stat(local_path(path))
        except (FileNotFoundError, NotADirectoryError):
            raise MissingFileError("no such file", path=path) from None

    def list(self, directory: str) -> list[str]:
        """See `Store`."""
        try:
            return os.listdir(local_path(directory) or ".")
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return []

    def remove(self, path: str) -> None:
        """See `Store`."""
        os.unlink(local_path(path))

    def can_assemble(self, name: str) -> bool:
        """See `Store`: one process writes a file."""
        del name
        return False

    def assemble(self, name: str, size: int) -> Assembly:
        """See `Store`."""
        del size
        raise UnsupportedError("one process writes a file here", path=name)

    def uploads(self, directory: str) -> Sequence[Upload]:
        """See `Store`: there are none."""
        del directory
        return ()

    def abort(self, upload: Upload) -> None:
        """See `Store`: there are none."""

    def shared_mode(self, like: Sequence[str]) -> int:
        """See `Disk`: reading, and writing by whoever may read."""
        others = 0o066
        for mode in map(_mode_of, like):
            others &= 0o066 if mode is None else mode & 0o044 | (mode & 0o044) >> 1
        return others

    def create(self, path: str, final: str, mode: int) -> None:
        """See `Disk`."""
        kept = _mode_of(final)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        descriptor = os.open(local_path(path), flags, 0o600 | (mode if kept is None else 0))
        try:
            if kept is not None:
                os.fchmod(descriptor, kept | 0o600)
        finally:
            os.close(descriptor)

    def share(self, source: str, path: str) -> SharedHow:
        """See `Disk`: reflinks where the file system has them, else hard links."""
        real, path = os.path.realpath(local_path(source)), local_path(path)
        with LocalFile(real) as origin, open(path, "wb") as clone:
            try:
                fcntl.ioctl(clone.fileno(), _FICLONE, origin.fileno())
            except OSError:
                pass  # the usual answer: this file system has no reflinks
            else:
                return "reflink"
        os.unlink(path)
        try:
            os.link(real, path)
        except FileNotFoundError:
            raise MissingFileError("no such file: it was deleted meanwhile", path=source) from None
        except OSError as error:
            if error.errno not in _CAN_NOT_SHARE:
                raise
            from tensorbundle.storage.protocols import SharingError  # a listing does not need the interfaces

            raise SharingError(f"can't be linked there: {error.strerror}", path=source) from None
        return "hard link"

    def flush(self, path: str) -> None:
        """See `Disk`."""
        descriptor = os.open(local_path(path) or ".", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # directories on some file systems
                raise
        finally:
            os.close(descriptor)

    def link(self, path: str, final: str) -> None:
        """See `Disk`."""
        os.link(local_path(path), local_path(final))

    def replace(self, path: str, final: str) -> None:
        """See `Disk`."""
        os.replace(local_path(path), local_path(final))

    @contextlib.contextmanager
    def held(self, path: str) -> Iterator[None]:
        """See `Disk`; `is_held` asks about it."""
        descriptor = os.open(local_path(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            yield
        finally:
            os.close(descriptor)

    def is_held(self, path: str) -> bool:
        """Whether a process holds a file (`held`), on any host and of any user, as far as the file system has locks."""
        with contextlib.suppress(FileNotFoundError), LocalFile(path) as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            except OSError:
                return False
        return False

    @contextlib.contextmanager
    def locked(self, directory: str) -> Iterator[None]:
        """See `Disk`. The lock is the kernel's: it leaves no file and dies with the process."""
        descriptor = os.open(local_path(directory) or ".", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _mode_of(path: str) -> int | None:
    """Who may read, write and execute a file; None if there is none."""
    try:
        return stat.S_IMODE(os.stat(local_path(path)).st_mode) & 0o777
    except (OSError, ValueError):
        return None
