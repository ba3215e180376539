"""The files of one output, moved into place: on a disk they appear together, or none does.

Every file is written under a temporary name beside its final one (`NAME.tempstate…`, TensorFlow's own pattern, which
readers ignore), flushed, and moved to its final name in `commit`. The file that makes the others visible, the index, is
moved after them. The directory is flushed before this move, so that the index's name can't survive a crash that loses
the others' names, and again at the end. Commits into the same directory wait for each other.

A crash before this move leaves the old state. This includes an overwritten checkpoint, as long as no new file has the
name of an old one; the caller that stages the files ensures that (`writer.py`).
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from tensorbundle.errors import BundleError, ConflictError, MissingFileError
from tensorbundle.storage.paths import dirname, temporary_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from tensorbundle.storage.protocols import SharedHow, WritableFile

__all__ = ["Disk", "RenamedFiles", "readable_like"]


class Disk(Protocol):
    """The operations of a file system that staging needs. Each method raises OSError if it fails."""

    def shared_mode(self, like: Sequence[str]) -> int:
        """What others than the owner may do with a file that is made from all of `like`, before the umask."""

    def create(self, path: str, final: str, mode: int) -> None:
        """Create an empty file; an existing name is an error.

        It gets the permissions of the file `final`, if there is one, else others have those of `mode`.
        """

    def writer(self, name: str) -> WritableFile:
        """Open an existing file for writing."""

    def share(self, source: str, path: str) -> SharedHow:
        """Make the existing file `path` share the bytes of `source` (a reflink).

        Raises:
            SharingError: this file system can't, or `source` is on another one.
        """

    def flush(self, path: str) -> None:
        """Make the bytes of a file, or the names in a directory, durable."""

    def link(self, path: str, final: str) -> None:
        """Give a file an additional name; an existing name is an error."""

    def replace(self, path: str, final: str) -> None:
        """Rename a file, and replace a file that has the new name."""

    def remove(self, path: str) -> None:
        """Remove a name of a file."""

    def exists(self, path: str) -> bool:
        """Whether a name exists."""

    def same_file(self, path: str, other: str) -> bool:
        """Whether two names refer to the same file; False if one does not exist."""

    def is_special(self, path: str) -> bool:
        """Whether a directory, device, pipe or broken link has this name.

        One look: others may remove or replace a file of this name meanwhile, so `exists` and then `is_file` may tell of
        two states.
        """

    def is_directory(self, path: str) -> bool:
        """Whether a directory of this name exists."""

    def held(self, path: str) -> AbstractContextManager[None]:
        """Keep a file open, with a shared lock, during the block: so others see that a process is at work on it."""

    def locked(self, directory: str) -> AbstractContextManager[None]:
        """Lock the directory during the block; other processes that lock it wait."""


@dataclass(slots=True)
class _Staged:
    temporary: str
    final: str
    replace: bool
    flush: bool = True
    moved: bool = False  # or about to be: an interrupt may come before it is


_like: ContextVar[tuple[str, ...]] = ContextVar("_like", default=())


@contextlib.contextmanager
def readable_like(paths: Iterable[str]) -> Iterator[None]:
    """During the block, files that are staged are readable by no more than those at `paths`, from which they are made."""
    token = _like.set(tuple(paths))
    try:
        yield
    finally:
        _like.reset(token)


class RenamedFiles:
    """The files of one output on a disk (`Staging`)."""

    def __init__(self, disk: Disk, output: str, *, overwrite: bool) -> None:
        """Stage files beside `output`, whose directory must exist.

        Raises:
            MissingFileError: no such directory.
        """
        self.visible = False
        self._disk = disk
        self._output = output
        self._directory = dirname(output)
        self._overwrite = overwrite
        self._mode: tuple[tuple[str, ...], int] | None = None  # of the latest sources
        self._staged: list[_Staged] = []
        self._by_name: dict[str, _Staged] = {}  # the same, by the temporary name
        self._held = contextlib.ExitStack()  # the last file: one is always open, between writers too
        if not disk.is_directory(self._directory):
            raise MissingFileError("no such directory; make it first", path=self._directory)

    def create(self, final: str, *, replace: bool = False) -> str:
        """See `Staging`; the file then exists and is empty."""
        replace = replace or self._overwrite
        if replace and self._disk.is_special(final):
            raise ConflictError("exists, and is not a regular file; give another name", path=final)
        temporary = temporary_name(final)
        # Registered before it exists, so that an interrupt leaves no unknown file.
        self._staged.append(_Staged(temporary, final, replace))
        self._by_name[temporary] = self._staged[-1]
        try:
            self._disk.create(temporary, final, self._mode_like(_like.get()))
        except OSError as error:
            raise BundleError(
                f"can't write into this directory: {error.strerror}", path=self._directory or "."
            ) from error
        self._hold(temporary)
        return temporary

    def _mode_like(self, sources: tuple[str, ...]) -> int:
        """`Disk.shared_mode`, found once for all files: there may be as many sources as these."""
        if self._mode is None or self._mode[0] is not sources:
            self._mode = sources, self._disk.shared_mode(sources)
        return self._mode[1]

    def _hold(self, temporary: str) -> None:
        held = contextlib.ExitStack()
        held.enter_context(self._disk.held(temporary))
        self._held.close()
        self._held = held

    def writer(self, final: str, *, replace: bool = False, size: int | None = None) -> WritableFile:
        """See `Staging`."""
        del size
        return self._disk.writer(self.create(final, replace=replace))

    def appeared(self, name: str) -> None:
        """See `Staging`: nothing appears before the commit."""

    def share(self, source: str, final: str) -> tuple[str, SharedHow]:
        """See `Staging`."""
        temporary = self.create(final)
        how = self._disk.share(source, temporary)
        self._hold(temporary)
        # A hard link is the same file: its bytes are on disk as safely as the source's are.
        self._staged[-1].flush = how != "hard link"
        return temporary, how

    def rename(self, name: str, final: str) -> None:
        """See `Staging`."""
        self._by_name[name].final = final

    def locked(self) -> AbstractContextManager[None]:
        """See `Staging`."""
        return self._disk.locked(self._directory)

    def commit(self, switch: str | None = None) -> None:
        """See `Staging`."""
        switch = self._staged[-1].final if switch is None and self._staged else switch
        fresh: list[_Staged] = []  # whose final names did not exist, in the order moved
        try:
            for each in self._staged:
                if each.flush:
                    self._disk.flush(each.temporary)
            for number, each in enumerate(self._staged):
                if number and each.final == switch:
                    self._disk.flush(self._directory)  # this name must not reach the disk before the others
                if not self._disk.exists(each.final):
                    fresh.append(each)
                each.moved = True
                try:
                    self._place(each)
                except FileNotFoundError:  # somebody deleted the temporary file
                    each.moved = False
                    raise
                self.visible = self.visible or each.final == switch
            self._disk.flush(self._directory)
        except BaseException:
            self.visible = any(each.final == switch and self._is_placed(each) for each in self._staged)
            for each in reversed(fresh if not self.visible else ()):
                if self._is_placed(each):  # else another program's file may have got this name meanwhile
                    with contextlib.suppress(OSError):
                        self._disk.remove(each.final)
            raise
        finally:
            self.discard()

    def _place(self, each: _Staged) -> None:
        if each.replace:
            self._disk.replace(each.temporary, each.final)
            # Moving one hard link onto another of the same file does nothing, and leaves both.
            with contextlib.suppress(FileNotFoundError):
                self._disk.remove(each.temporary)
            return
        try:
            self._disk.link(each.temporary, each.final)  # unlike a rename, this never replaces a file
        except FileExistsError:
            raise ConflictError(
                "exists; use --overwrite (overwrite=True) to replace it", path=each.final
            ) from None
        except OSError:
            if self._disk.exists(each.final):
                raise
            self._disk.replace(each.temporary, each.final)  # no hard links on this file system

    def _is_placed(self, each: _Staged) -> bool:
        """Whether it has its final name; read from the disk, because an interrupt may come at any point."""
        return each.moved and (
            not self._disk.exists(each.temporary) or self._disk.same_file(each.temporary, each.final)
        )

    def discard(self, *, keep: bool = False) -> None:
        """See `Staging`: none has its final name."""
        del keep
        self._held.close()
        for each in self._staged:
            with contextlib.suppress(OSError):
                self._disk.remove(each.temporary)
        self._staged.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.discard()
        if isinstance(error, OSError) and not isinstance(error, BundleError):
            outcome = (
                "the new checkpoint exists, but parts of it may be lost if the machine fails"
                if self.visible
                else "nothing was changed"
            )
            raise BundleError(
                f"can't be written: {error.strerror or error}; {outcome}", path=self._output
            ) from error
