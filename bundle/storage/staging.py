"""All files of an output appear together, or none does.

Every file is written under a temporary name beside its final one (`NAME.tempstate…`, TensorFlow's own pattern, which
it ignores), flushed to disk, and moved to its final name in `commit`; the last one moved is the one that makes the
others visible, the index. Then the directory is flushed. Two commits into one directory wait for each other.

A crash before the last move leaves what was there. That holds for an overwritten checkpoint too, as long as the
new files do not take the names of old ones; `StagedFiles.collides` tells the caller when they would.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.errors import BundleError, ConflictError, MissingFileError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SharedHow", "SharingError", "StagedFiles", "must_be_directory"]

SharedHow = Literal["reflink", "hard link"]
_FICLONE: Final = 0x40049409  # linux/fs.h: share the extents of another file
_CAN_NOT_SHARE: Final = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES}
)


class SharingError(UnsupportedError):
    """The file system can't let two files have the same bytes."""


@dataclass(slots=True)
class _Staged:
    temporary: str
    final: str
    replace: bool
    flush: bool = True
    source: str | None = None  # the file whose bytes it shares

    @property
    def placed(self) -> bool:
        """Whether it has its final name; asked of the file system, as an interrupt may come at any point."""
        if not os.path.lexists(self.temporary):
            return True
        return os.path.exists(self.final) and os.path.samefile(self.temporary, self.final)


class StagedFiles:
    """The files of one output while they are written.

    Attributes:
        directory: where they go.
        visible: whether the output has appeared.
    """

    def __init__(self, directory: str, *, overwrite: bool) -> None:
        """Stage files for `directory`, which must exist.

        Raises:
            MissingFileError: no such directory.
        """
        self.directory = directory or "."
        self.visible = False
        self._overwrite = overwrite
        self._staged: list[_Staged] = []
        must_be_directory(self.directory)

    def create(self, final: str, *, replace: bool = False) -> str:
        """A fresh path to write a file to that will become `final`; the file exists, and is empty.

        With `replace`, a file of that name may exist whatever `overwrite` says.

        Raises:
            BundleError: the directory can't be written to.
        """
        temporary = f"{final}.tempstate{int.from_bytes(os.urandom(8), 'little')}"
        # Noted before it exists, so that an interrupt in between leaves no file that nobody knows of.
        self._staged.append(_Staged(temporary, final, replace or self._overwrite))
        try:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        except OSError as error:
            raise BundleError(
                f"can't write into this directory: {error.strerror}", path=self.directory
            ) from error
        return temporary

    def rename_target(self, temporary: str, final: str) -> None:
        """Let the staged file `temporary` become `final` instead."""
        self._find(temporary).final = final

    def share(self, source: str, final: str) -> tuple[str, SharedHow]:
        """Stage the contents of `source` as `final` without writing them: the temporary path, and how it was done.

        Raises:
            SharingError: this file system can't, or `source` lies on another one.
        """
        real = os.path.realpath(source)
        temporary = self.create(final)
        staged = self._staged[-1]
        staged.source = real
        with open(real, "rb") as origin, open(temporary, "wb") as clone:
            try:
                fcntl.ioctl(clone.fileno(), _FICLONE, origin.fileno())
            except OSError:
                pass  # the usual answer: this file system has no reflinks
            else:
                return temporary, "reflink"
        os.unlink(temporary)
        try:
            os.link(real, temporary)
        except OSError as error:
            if error.errno not in _CAN_NOT_SHARE:
                raise
            raise SharingError(f"can't be linked there: {error.strerror}", path=source) from None
        staged.flush = False  # the same file: its bytes are on disk as safely as the source's are
        return temporary, "hard link"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other commits out of the directory. The lock is the kernel's: it leaves no file and dies with us."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def collides(self, temporary: str, final: str) -> bool:
        """Whether moving `temporary` to `final` would change what `final` holds now."""
        if not os.path.lexists(final):
            return False
        if not os.path.isfile(final):
            return True
        source = self._find(temporary).source
        if os.path.samefile(source or temporary, final):
            return False
        return not filecmp.cmp(temporary, final, shallow=False)

    def commit(self, switch: str | None = None) -> None:
        """Flush every file and move it to its final name, in the order staged; then flush the directory.

        Args:
            switch: the final name of the file that makes the output visible, the last staged by default. If something fails before it is moved,
                what was moved is taken back; from then on the output stands.

        Raises:
            ConflictError: a final name is taken, and overwriting was not asked for; nothing was changed.
            OSError: the disk is full or fails; `visible` says whether the output stands nevertheless.
        """
        switch = self._staged[-1].final if switch is None and self._staged else switch
        fresh: list[str] = []  # names that were free; the latest last
        try:
            for each in self._staged:
                if each.flush:
                    _flush(each.temporary)
            for each in self._staged:
                if not os.path.lexists(each.final):
                    fresh.append(each.final)
                self._place(each)
                self.visible = self.visible or each.final == switch
            _flush(self.directory)
        except BaseException:
            self.visible = any(each.final == switch and each.placed for each in self._staged)
            for path in reversed(fresh if not self.visible else ()):
                with contextlib.suppress(OSError):
                    os.unlink(path)
            raise
        finally:
            self.discard()

    def _place(self, each: _Staged) -> None:
        if each.replace:
            os.replace(each.temporary, each.final)
            # Moving one hard link onto another of the same file does nothing, and leaves both.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(each.temporary)
            return
        try:
            os.link(each.temporary, each.final)  # unlike a rename, this never replaces a file
        except FileExistsError:
            raise ConflictError(
                "exists; use --overwrite (overwrite=True) to replace it", path=each.final
            ) from None
        except OSError:
            if os.path.lexists(each.final):
                raise
            os.replace(each.temporary, each.final)  # no hard links on this file system

    def _find(self, temporary: str) -> _Staged:
        return next(each for each in self._staged if each.temporary == temporary)

    def discard(self) -> None:
        """Remove the temporary files that are left; a second call does nothing."""
        for each in self._staged:
            with contextlib.suppress(OSError):
                os.unlink(each.temporary)
        self._staged.clear()


def must_be_directory(path: str) -> None:
    """Refuse to write where there is no directory.

    Raises:
        MissingFileError: there is none.
    """
    if not os.path.isdir(path or "."):
        raise MissingFileError("no such directory; make it first", path=path)


def _flush(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # directories on some file systems
            raise
    finally:
        os.close(descriptor)
