"""The files of a checkpoint that there are, by its prefix.

Functions look into the store that has the prefix, unless they are given one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import ConflictError
from tensorbundle.filenames import index_path, parse_shard_name, parse_v1_name, part_prefixes
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import join, split

if TYPE_CHECKING:
    from tensorbundle.storage.protocols import Store

__all__ = ["is_checkpoint", "is_file", "prefixes_in", "shards_of", "v1_files"]


def is_file(path: str) -> bool:
    """Whether there is a file of this name."""
    return store_of(path).is_file(path)


def shards_of(prefix: str, store: Store | None = None) -> dict[tuple[int, int], str]:
    """The data shards that are named after `prefix`: (shard, count) to path, in this order."""
    directory, base = split(prefix)
    found = {}
    for name in (store or store_of(prefix)).list(directory):
        parsed = parse_shard_name(name)
        if parsed is not None and parsed[0] == base:
            found[parsed[1:]] = join(directory, name)
    return dict(sorted(found.items()))


def prefixes_in(directory: str, store: Store | None = None) -> list[str]:
    """The prefixes of the bundles in a directory: the names that have an index, sorted, without the directory."""
    names = (store or store_of(directory)).list(directory)
    return sorted(name.removesuffix(".index") for name in names if name.endswith(".index"))


def is_checkpoint(prefix: str, store: Store | None = None) -> bool:
    """Whether there is a checkpoint at exactly this prefix: a bundle's index, or a file of the old V1 format.

    Also the parts of a save that was not merged, whose prefix has question marks.
    """
    store = store or store_of(prefix)
    if any(store.is_file(index_path(each)) for each in (prefix, *part_prefixes(prefix))):
        return True
    try:
        return any(map(store.is_file, v1_files(prefix, store)))
    except ConflictError:
        return True


def v1_files(prefix: str, store: Store | None = None) -> list[str]:
    """The files of the V1 checkpoint `prefix`, in the order of their numbers; empty if none of them is there.

    Of several, also those that are missing are listed, or at least one of them.

    Raises:
        ConflictError: there are some of several numbers of shards.
    """
    store = store or store_of(prefix)
    directory, name = split(prefix)
    pattern = parse_v1_name(name)
    if pattern is None or "?" not in pattern.shard:
        if store.is_file(prefix):
            return [prefix]
        pattern = None
    base = name if pattern is None else pattern.base
    there: dict[str, set[str]] = {}  # by the number of shards
    for each in map(parse_v1_name, store.list(directory)):
        if each and each.base == base and "?" not in each.shard + each.total:
            there.setdefault(each.total, set()).add(each.shard)
    if pattern is not None and "?" not in pattern.total:
        there = {count: shards for count, shards in there.items() if count == pattern.total}
    if len(there) > 1:
        several = " and ".join(repr(f"{base}-?????-of-{count}") for count in sorted(there))
        raise ConflictError(f"there are {several}; say which", path=prefix)
    return [
        join(directory, f"{base}-{number:05d}-of-{count}")
        for count, shards in there.items()
        for number in range(min(int(count), len(shards) + 1))  # a name may claim any number
    ]
