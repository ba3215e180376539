"""Finding the prefix of a checkpoint from a path that a user gives.

The path may be a prefix, a file, a directory with a state file, or a SavedModel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import MissingFileError, listed, near_hint, near_names
from tensorbundle.filenames import (
    STATE_FILE,
    bundle_prefix,
    index_path,
    parse_v1_name,
    part_prefixes,
    parts_folder_prefix,
    parts_prefix,
)
from tensorbundle.foreign import foreign_ending
from tensorbundle.members import is_checkpoint, prefixes_in, shards_of, v1_files
from tensorbundle.storage import store_of
from tensorbundle.storage.content import describe_name
from tensorbundle.storage.paths import basename, dirname, final_name, join, relative, split

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorbundle.storage.protocols import Store

__all__ = ["resolve_prefix", "what_is_there"]


def resolve_prefix(path: str, store: Store | None = None) -> str:
    """The prefix of the checkpoint at `path`.

    `path` may be a prefix, any of its files, a SavedModel directory, a directory with a `checkpoint` state file, for the
    latest checkpoint in it, or one without, for the only checkpoint in it. The prefix of a V1 checkpoint in several files contains question marks. So does the
    prefix of a save whose parts were not merged, for which `path` is the directory of the parts.

    Raises:
        MissingFileError: no checkpoint there; the reason lists those that exist nearby.
        ConflictError: V1 checkpoints with different numbers of files have this name.
        CorruptionError: the directory's state file can't be read.
    """
    store = (store or store_of(path)).remembering()
    if foreign_ending(path) is not None:
        if store.is_file(path):
            return path
        listed = f"{path}.index.json"  # of several files, each with a number in this name
        if foreign_ending(listed) is not None and store.is_file(listed):
            return listed
    if not path.endswith("/") and _has_index(path, store):
        return path
    if path and store.is_directory(path):
        return _from_directory(path, store)
    if part_prefixes(path) and is_checkpoint(path, store):
        return path
    member = bundle_prefix(path)
    if member is not None and _has_index(member, store):
        return member
    if basename(path) == STATE_FILE and store.is_file(path):
        return _from_directory(dirname(path) or ".", store)
    old = _v1_prefix(path if member is None else member, store)
    if old is not None:
        return old
    raise _nothing_at(path, path if member is None else member, store)


def _from_directory(directory: str, store: Store) -> str:
    for inside in ("variables/variables", "variables"):
        prefix = join(directory, inside)
        if store.is_file(index_path(prefix)) and _is_saved_model(directory, store):
            return prefix
    nameless = index_path(join(directory, ""))  # a prefix may be empty
    if store.is_file(join(directory, STATE_FILE)):
        from tensorbundle.state import CheckpointState  # needs protobuf, which a prefix does not

        state = CheckpointState.read(directory, store)
        latest = state.located(state.latest_path, store)
        if _has_index(latest, store):
            return latest
        old = _v1_prefix(latest, store)
        if old is not None:
            return old
        if store.is_file(nameless):
            return join(directory, "")
        raise MissingFileError(
            f"its state file names {relative(latest, directory)!r} as the latest checkpoint, which is not "
            f"there; {what_is_there(prefixes_in(directory, store))}",
            path=directory,
        )
    if store.is_file(nameless):
        return join(directory, "")
    there = prefixes_in(directory, store)
    saves = {parts_prefix(join(directory, name)) for name in there}
    if len(saves) == 1 and (only := saves.pop()) is not None:
        return only
    if len(there) == 1:  # published models have no state file, nor has the inside of a SavedModel
        return join(directory, there[0])
    renamed = [name for name in store.list(directory) if name.startswith(f"{STATE_FILE}.")]
    hint = f"; {renamed[0]!r} may be its state file, which must be called {STATE_FILE!r}" if renamed else ""
    raise MissingFileError(
        f"a directory without a 'checkpoint' state file; {what_is_there(there)}{hint or _unfinished(directory, store)}",
        path=directory,
    )


def _has_index(prefix: str, store: Store) -> bool:
    """Whether the bundle `prefix` has an index, which is then opened."""
    return store.is_file(index_path(prefix), reading_end=True)


def _is_saved_model(directory: str, store: Store) -> bool:
    return any(
        store.is_file(join(directory, name)) for name in ("saved_model.pb", "saved_model.pbtxt")
    ) or store.is_directory(join(directory, "variables"))


def _v1_prefix(path: str, store: Store) -> str | None:
    """The prefix of the V1 checkpoint at `path`, or None."""
    directory, name = split(path)
    member = parse_v1_name(name)
    if member:  # one of several files means them all, if they are all there
        files = v1_files(join(directory, f"{member.base}-?????-of-{member.total}"), store)
        if files and ("?" in member.shard or (path in files and all(map(store.is_file, files)))):
            return _pattern_of(files)
    files = v1_files(path, store)
    return path if files == [path] else _pattern_of(files)


def _pattern_of(files: Sequence[str]) -> str | None:
    """The prefix with question marks that matches all of several V1 files."""
    first = parse_v1_name(files[0]) if files else None
    return f"{first.base}-?????-of-{first.total}" if first else None


def _nothing_at(path: str, prefix: str, store: Store) -> MissingFileError:
    if not path:
        return MissingFileError("an empty path: give the prefix of a checkpoint, or its directory", path=path)
    directory, base = split(prefix)
    shards = shards_of(prefix, store)
    what = describe_name(path) if store.is_file(path) else None
    if what is not None and not shards:
        there = prefixes_in(directory, store)
        return MissingFileError(f"{what}; {what_is_there(near_names(base, there) or there)}", path=path)
    if shards:
        are = f"are {len(shards)} data shards" if len(shards) > 1 else "is 1 data shard"
        return MissingFileError(
            f"no such file, although there {are} of that name: without its index, a checkpoint can't be read",
            path=index_path(prefix),
        )
    if not store.is_directory(directory):
        return MissingFileError(f"no such directory: {directory!r}", path=path)
    for each in (path, index_path(prefix)):
        if store.exists(each) and not store.is_file(each):
            kind = "directory" if store.is_directory(each) else "pipe or device"
            return MissingFileError(f"not a regular file but a {kind}", path=each)
    ending = foreign_ending(path)
    if ending is not None:
        there = [each for each in store.list(directory) if foreign_ending(each) is not None]
        return MissingFileError(f"no such file{near_hint(base, there)}", path=path)
    there = prefixes_in(directory, store)
    near = near_names(base, there)
    return MissingFileError(
        f"no checkpoint of this name ({base}.index does not exist); {what_is_there(near or there)}"
        f"{_unfinished(directory, store, base)}",
        path=path,
    )


def _unfinished(directory: str, store: Store, base: str | None = None) -> str:
    """What a save that did not end left in a directory, of one checkpoint or of any, as the end of a sentence."""
    for name in store.list(directory):
        prefix = bundle_prefix(final_name(name) or "")
        if prefix is not None and base in (None, prefix):
            return (
                f"; {name!r} is a file of a save that died, or is being written right now: "
                "'tensorbundle salvage' saves every tensor in such files that can be proven good"
            )
        prefix = parts_folder_prefix(name)
        if prefix is not None and base in (None, prefix) and store.is_directory(join(directory, name)):
            return f"; {name!r} has the parts of a save that was not merged, or is being written right now: give that directory"
    return ""


def what_is_there(prefixes: Iterable[str]) -> str:
    """A phrase that lists up to three of these checkpoints."""
    names = [repr(name) if name else "one without a name (give its directory)" for name in prefixes]
    if not names:
        return "no checkpoint is there"
    return f"found {listed(names, most=3)}"
