"""The existing files of a checkpoint, by its prefix.

Functions use the store that has the prefix, unless they are given another one.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

from tensorbundle.errors import ConflictError
from tensorbundle.filenames import index_path, parse_shard_name, parse_v1_name, part_prefixes
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import join, split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.storage.protocols import Store

__all__ = ["is_absent", "is_checkpoint", "is_file", "listed_once", "prefixes_in", "shards_of", "v1_files"]


class _Names:
    """The names in one directory, grouped by checkpoint.

    Attributes:
        every: all names.
        shards: for each base name the data shards: (shard, count) to name.
        v1: for each base name the V1 files: the number of files, with the digits of each file that exists.
    """

    def __init__(self, every: list[str]) -> None:
        self.every = frozenset(every)
        self.shards: dict[str, dict[tuple[int, int], str]] = {}
        self.v1: dict[str, dict[str, set[str]]] = {}
        for name in every:
            shard = parse_shard_name(name)
            if shard is not None:
                self.shards.setdefault(shard[0], {})[shard[1:]] = name
            part = parse_v1_name(name)
            if part is not None and "?" not in part.shard + part.total:
                self.v1.setdefault(part.base, {}).setdefault(part.total, set()).add(part.shard)


_listed: ContextVar[dict[tuple[type, str], _Names] | None] = ContextVar("_listed", default=None)


@contextlib.contextmanager
def listed_once() -> Iterator[None]:
    """Cache directory listings during the block, so that a loop over many checkpoints lists each directory once.

    Names that are not in a listing are taken as missing, without another look.
    """
    token = _listed.set({})
    try:
        yield
    finally:
        _listed.reset(token)


def _names_in(directory: str, store: Store) -> _Names:
    known = _listed.get()
    place = (type(store), directory)
    if known is not None and place in known:
        return known[place]
    names = _Names(store.list(directory))
    if known is not None:
        known[place] = names
    return names


def is_file(path: str, store: Store | None = None) -> bool:
    """Whether there is a file of this name."""
    store = store or store_of(path)
    if _listed.get() is not None:
        directory, name = split(path)
        if name not in _names_in(directory, store).every:
            return False
    return store.is_file(path)


def is_absent(prefix: str) -> bool:
    """Whether a cached directory listing shows that no checkpoint has this prefix; False outside of `listed_once`."""
    if _listed.get() is None:
        return False
    directory, name = split(prefix)
    names = _names_in(directory, store_of(prefix))
    known = f"{name}.index" in names.every or name in names.shards or name in names.v1
    return not (known or name in names.every or "?" in name)


def shards_of(prefix: str, store: Store | None = None) -> dict[tuple[int, int], str]:
    """The existing data shards of `prefix`: (shard, count) to path, in this order."""
    directory, base = split(prefix)
    found = _names_in(directory, store or store_of(prefix)).shards.get(base, {})
    return {number: join(directory, name) for number, name in sorted(found.items())}


def prefixes_in(directory: str, store: Store | None = None) -> list[str]:
    """The prefixes of the bundles in a directory: the names that have an index, sorted, without the directory."""
    names = _names_in(directory, store or store_of(directory)).every
    return sorted(name.removesuffix(".index") for name in names if name.endswith(".index"))


def is_checkpoint(prefix: str, store: Store | None = None) -> bool:
    """Whether a checkpoint exists at exactly this prefix: a bundle's index, or a file of the old V1 format.

    Includes the parts of a save that was not merged, whose prefix contains question marks.
    """
    store = store or store_of(prefix)
    if any(is_file(index_path(each), store) for each in (prefix, *part_prefixes(prefix))):
        return True
    try:
        return any(is_file(path, store) for path in v1_files(prefix, store))
    except ConflictError:
        return True


def v1_files(prefix: str, store: Store | None = None) -> list[str]:
    """The files of the V1 checkpoint `prefix`, in the order of their numbers; empty if none of them exists.

    If some files are missing, the list includes all of them, or at least one.

    Raises:
        ConflictError: files of checkpoints with different numbers of files exist.
    """
    store = store or store_of(prefix)
    directory, name = split(prefix)
    pattern = parse_v1_name(name)
    if pattern is None or "?" not in pattern.shard:
        if is_file(prefix, store):
            return [prefix]
        pattern = None
    base = name if pattern is None else pattern.base
    there = _names_in(directory, store).v1.get(base, {})  # by the number of files
    if pattern is not None and "?" not in pattern.total:
        there = {count: shards for count, shards in there.items() if count == pattern.total}
    if len(there) > 1:
        several = " and ".join(repr(f"{base}-?????-of-{count}") for count in sorted(there))
        raise ConflictError(f"there are {several}; give the name of one of them", path=prefix)
    return [
        join(directory, f"{base}-{number:05d}-of-{count}")
        for count, shards in there.items()
        for number in range(min(int(count), len(shards) + 1))  # a name may claim any number
    ]
