"""Directories on a disk or behind URLs, in the same way: their files, and the real path of each."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tensorbundle.storage import store_of
from tensorbundle.storage.paths import is_far, join, local_path, split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Child", "bytes_freed", "children", "children_of", "own_size", "place_of", "real", "with_places"]


@dataclass(frozen=True, slots=True)
class Child:
    """A file or directory in a directory.

    Attributes:
        name: in the directory.
        path: including the directory.
    """

    name: str
    path: str

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return not is_far(self.path) and os.path.islink(local_path(self.path))

    @property
    def target(self) -> str:
        """The target of a symbolic link."""
        return os.readlink(local_path(self.path))

    @property
    def is_own_file(self) -> bool:
        """Whether it is a file, and no symbolic link to one."""
        return not self.is_link and store_of(self.path).is_file(self.path)

    @property
    def is_own_directory(self) -> bool:
        """Whether it is a directory, and no symbolic link to one."""
        return not self.is_link and store_of(self.path).is_directory(self.path)


def children(directory: str) -> Iterator[Child]:
    """The files and directories in a directory, in any order.

    Raises:
        OSError: it can't be read.
    """
    names = (
        store_of(directory).list(directory) if is_far(directory) else os.listdir(local_path(directory) or ".")
    )
    for name in names:
        yield Child(name, join(directory, name))


def children_of(directory: Child) -> Iterator[Child]:
    """The files and directories in a directory that a listing contained; none if it was deleted since.

    Raises:
        OSError: it can't be read.
    """
    with contextlib.suppress(FileNotFoundError):
        yield from children(directory.path)


def real(path: str) -> str:
    """The path without symbolic links; a URL, or what can't be a path, is returned as it is."""
    return path if is_far(path) or "\0" in path else os.path.realpath(local_path(path))


def place_of(prefix: str) -> str:
    """The real path of a prefix or file: links in its directories are followed, a link of the name itself is not."""
    return next(with_places([prefix]))[1]


def with_places(prefixes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Prefixes, each with its place; every directory is resolved once."""
    known: dict[str, str] = {}
    for prefix in prefixes:
        directory, name = split(prefix)
        if directory not in known:
            known[directory] = real(directory)
        yield prefix, join(known[directory], name)


def own_size(path: str) -> int:
    """The bytes of a file, or of the symbolic link that has its name."""
    return store_of(path).size(path) if is_far(path) else os.lstat(local_path(path)).st_size


def bytes_freed(paths: Iterable[str]) -> int:
    """The bytes that deleting these names frees: of files that have no other names."""
    sizes: dict[object, int] = {}
    names_left: dict[object, int] = {}
    for path in paths:
        if is_far(path):
            sizes[path] = own_size(path)
            continue
        try:
            status = os.lstat(local_path(path))
        except FileNotFoundError:
            continue  # deleted since it was found
        file = status.st_dev, status.st_ino
        sizes[file] = status.st_size
        names_left[file] = names_left.get(file, status.st_nlink) - 1
    return sum(size for file, size in sizes.items() if names_left.get(file, 0) < 1)
