"""A disk in memory that records what is asked of it, fails on request, and knows what a crash could leave of it.

It is a `Store` and the `Disk` below staged files, so everything that writes checkpoints can be run on it. `crashes` then
goes through every prefix of the recorded requests, and through what of it a disk may have kept.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tensorbundle.errors import CorruptionError, MissingFileError
from tensorbundle.storage.paths import basename, dirname
from tensorbundle.storage.protocols import SharingError
from tensorbundle.storage.staging import RenamedFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tensorbundle.storage.protocols import Buffer, SharedHow

__all__ = ["MemoryDisk", "crashes"]

Request = tuple[str, tuple[Any, ...]]  # an operation and its arguments


@dataclass(eq=False)
class Inode:
    """A file: its bytes, and those of them that are on disk for good."""

    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


class MemoryFile:
    """The bytes that a file had when it was opened (`RandomAccessFile`)."""

    near_bytes = 0

    def __init__(self, path: str, data: bytes) -> None:
        self.path, self.size, self._data = path, len(data), data

    def read(self, offset: int, size: int) -> bytes:
        if offset < 0 or size < 0 or offset + size > self.size:
            reason = f"{size} bytes wanted, the file ends at {self.size}: it is cut short"
            raise CorruptionError(reason, path=self.path, offset=offset)
        return self._data[offset : offset + size]

    def readinto(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self.read(offset, len(buffer))

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self.read(*each) for each in ranges]

    def prefetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        pass

    def map(self) -> None:
        return None

    def stamp(self) -> tuple[int, int]:
        return 0, 0

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class MemoryWriter:
    """A file while it is written (`WritableFile`); nothing is buffered."""

    def __init__(self, disk: MemoryDisk, name: str) -> None:
        self._disk, self._name, self.size = disk, name, 0

    def write(self, data: Buffer) -> None:
        self._disk.append(self._name, bytes(data))
        self.size += memoryview(data).nbytes

    def spread(self, size: int) -> Callable[[int], MemoryPart]:
        start = self.size
        self.size += size
        return lambda offset: MemoryPart(self._disk, self._name, start + offset)

    def close(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class MemoryPart:
    """Bytes of a file that follow each other, while they are written (`PlacedWriter`)."""

    def __init__(self, disk: MemoryDisk, name: str, offset: int) -> None:
        self._disk, self._name, self._offset = disk, name, offset

    def write(self, data: Buffer) -> None:
        self._disk.place(self._name, self._offset, bytes(data))
        self._offset += memoryview(data).nbytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class MemoryDisk:
    """Files by name; directories are there as soon as they have a file, or are asked for in `directories`.

    Attributes:
        requests: what changed it so far.
        asked: the operation of each request, those that failed among them.
        fails: the number of the request that finds the disk full, and all after it if `lasting`; None for none.
        interrupted: the number of a request, an exception that is raised there, and whether it was carried out by then.
    """

    def __init__(
        self,
        files: Mapping[str, bytes] | None = None,
        *,
        directories: Sequence[str] = (),
        can_share: bool = True,
        can_rename: bool = True,
    ) -> None:
        self.can_share, self.can_rename = can_share, can_rename
        self.requests: list[Request] = []
        self.asked: list[str] = []
        self.fails: int | None = None
        self.lasting = False
        self.interrupted: tuple[int, BaseException, bool] | None = None
        self._names = {path: Inode(bytearray(data), data) for path, data in (files or {}).items()}
        self._durable = dict(self._names)  # what the directories have on disk
        self._pending: list[dict[str, Inode | None]] = []  # changes of names since
        self._directories = {*directories, *map(dirname, self._names)}

    @property
    def files(self) -> dict[str, bytes]:
        """The contents of every file, by name."""
        return {path: bytes(inode.data) for path, inode in sorted(self._names.items())}

    # What is recorded, if it succeeds

    def shared_mode(self, like: Sequence[str]) -> int:
        del like
        return 0o066

    def create(self, path: str, final: str = "", mode: int = 0) -> None:
        del final, mode
        self._ask("create")
        if path in self._names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self._done({path: Inode()}, "create", path)

    def append(self, path: str, data: bytes) -> None:
        self._ask("append")
        self._at(path).data += data
        self._done({}, "append", path, data)

    def place(self, path: str, offset: int, data: bytes) -> None:
        self._ask("place")
        whole = self._at(path).data
        whole += bytes(max(0, offset + len(data) - len(whole)))
        whole[offset : offset + len(data)] = data
        self._done({}, "place", path, offset, data)

    def share(self, source: str, path: str) -> SharedHow:
        self._ask("share")
        if not self.can_share:
            raise SharingError("can't be linked there: no links here", path=source)
        self._done({path: self._at(source)}, "share", source, path)
        return "hard link"

    def flush(self, path: str) -> None:
        self._ask("flush")
        if path in self._directories:
            self._durable, self._pending = dict(self._names), []
        else:
            inode = self._at(path)
            inode.durable = bytes(inode.data)
        self._done({}, "flush", path)

    def link(self, path: str, final: str) -> None:
        self._ask("link")
        if final in self._names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final)
        self._done({final: self._at(path)}, "link", path, final)

    def replace(self, path: str, final: str) -> None:
        self._ask("replace")
        # As POSIX has it, both names of one file stay.
        change = {} if self.same_file(path, final) else {final: self._at(path), path: None}
        self._done(change, "replace", path, final)

    def remove(self, path: str) -> None:
        self._ask("remove")
        self._at(path)
        self._done({path: None}, "remove", path)

    def _ask(self, operation: str) -> None:
        """Count a request, and let it fail if it is its turn."""
        number = len(self.asked)
        self.asked.append(operation)
        if self.interrupted is not None and self.interrupted[::2] == (number, False):
            raise self.interrupted[1]
        if operation == "remove" or self.fails is None:
            return  # full disks allow it
        if number == self.fails or (self.lasting and number > self.fails):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _at(self, path: str) -> Inode:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self._names[path]

    def _done(self, change: dict[str, Inode | None], operation: str, *arguments: str | bytes | int) -> None:
        """Record a request, and the names that it changes."""
        self.requests.append((operation, arguments))
        _apply(self._names, change)
        if change:
            self._pending.append(change)
        if self.interrupted is not None and self.interrupted[::2] == (len(self.asked) - 1, True):
            raise self.interrupted[1]

    # What only looks

    def open(self, path: str) -> MemoryFile:
        if path not in self._names:
            raise MissingFileError("no such file", path=path)
        return MemoryFile(path, bytes(self._names[path].data))

    def writer(self, name: str, size: int | None = None, appeared: object = None) -> MemoryWriter:
        self._at(name)
        return MemoryWriter(self, name)

    def remembering(self) -> Self:
        return self

    def expect(self, paths: Iterable[str]) -> None:
        pass

    def stage(self, output: str, *, overwrite: bool = False, resume: bool = False) -> RenamedFiles:
        return RenamedFiles(self, output, overwrite=overwrite)

    def exists(self, path: str) -> bool:
        return path in self._names or path in self._directories

    def is_file(self, path: str, *, reading_end: bool = False) -> bool:
        del reading_end
        return path in self._names

    def is_special(self, path: str) -> bool:
        return path in self._directories

    def is_directory(self, path: str) -> bool:
        return path in self._directories

    def same_file(self, path: str, other: str) -> bool:
        return path in self._names and self._names[path] is self._names.get(other)

    def size(self, path: str) -> int:
        return self.open(path).size

    def modified(self, path: str) -> int:
        return 0

    def list(self, directory: str) -> list[str]:
        return [basename(path) for path in self._names if dirname(path) == directory]

    def held(self, path: str) -> contextlib.AbstractContextManager[None]:
        self._at(path)
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def locked(self, directory: str) -> Iterator[None]:
        yield

    def can_assemble(self, name: str) -> bool:
        return False

    def uploads(self, directory: str) -> tuple[()]:
        return ()

    # What a crash leaves

    def remains(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        """What may be left if everything stops now, each with what was lost then."""
        yield "nothing", {path: bytes(each.data) for path, each in self._names.items()}
        yield "data", _durable_contents(self._names)
        yield "data and names", _durable_contents(self._durable)
        for number, change in enumerate(self._pending):
            yield "data and all names but one", self._with_names([change])
            yield "data and a name", self._with_names(self._pending[:number] + self._pending[number + 1 :])

    def _with_names(self, changes: Sequence[Mapping[str, Inode | None]]) -> dict[str, bytes]:
        names = dict(self._durable)
        for change in changes:
            _apply(names, change)
        return _durable_contents(names)


def _apply(names: dict[str, Inode], change: Mapping[str, Inode | None]) -> None:
    for path, inode in change.items():
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode


def _durable_contents(names: Mapping[str, Inode]) -> dict[str, bytes]:
    return {path: each.durable for path, each in names.items()}


def crashes(
    before: Mapping[str, bytes], requests: Sequence[Request], directories: Sequence[str]
) -> Iterator[tuple[str, MemoryDisk]]:
    """Every state in which a disk with the files `before` can be found if it stops in the course of these requests.

    That is before, after and in the middle of each; with everything kept that was requested until then, or without data
    or names that were not flushed, or with names that were changed in another order.
    """
    disk = MemoryDisk(before, directories=directories)
    for number in range(len(requests) + 1):
        for lost, files in disk.remains():
            yield f"after {number} requests, {lost} lost", MemoryDisk(files, directories=directories)
        if number == len(requests):
            return
        operation, arguments = requests[number]
        if operation in ("append", "place"):
            *place, data = arguments
            half = len(data) // 2
            getattr(disk, operation)(*place, data[:half])
            for lost, files in disk.remains():
                yield f"in request {number}, {lost} lost", MemoryDisk(files, directories=directories)
            if operation == "place":
                place[1] += half
            getattr(disk, operation)(*place, data[half:])
        else:
            getattr(disk, operation)(*arguments)
