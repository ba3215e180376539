"""From what a person gives to the files of a checkpoint.

A bundle with prefix P is `P.index` and `P.data-SSSSS-of-NNNNN` (TensorFlow core/util/tensor_bundle/naming.cc). The
prefix itself is not a file. A checkpoint in the old V1 format is one file P, or several `P-SSSSS-of-NNNNN`, whose prefix
TensorFlow writes as `P-?????-of-NNNNN`. Otherwise paths are taken literally, never as patterns.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import ConflictError, MissingFileError, near_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "index_path",
    "is_checkpoint",
    "is_member_name",
    "is_v1_shard_name",
    "part_prefixes",
    "parts_prefix",
    "prefixes_in",
    "resolve_prefix",
    "shard_path",
    "shards_of",
    "v1_files",
    "what_is_there",
]

STATE_FILE: Final = "checkpoint"
_SHARD: Final = re.compile(r"(?P<prefix>.*)\.data-(?P<shard>\d{5,})-of-(?P<count>\d{5,})", re.DOTALL)
# Not a data shard of a bundle, which looks the same otherwise.
_V1_SHARD: Final = re.compile(
    r"(?P<prefix>.*)(?<!\.data)-(?P<shard>\d{5,}|\?{5,})-of-(?P<count>\d{5,}|\?{5,})", re.DOTALL
)
# A part of a save: TensorFlow core/kernels/save_restore_v2_ops.cc, python/checkpoint/functional_saver.py.
_PART: Final = re.compile(r"(?P<stem>(?:.*[./])?part)-(?P<number>\d{5}|\?{5})-of-(?P<count>\d{5})", re.DOTALL)
_MEMBER: Final = re.compile(r"(?P<prefix>.*)\.(index|meta|data-\d{5,}-of-\d{5,})", re.DOTALL)


def index_path(prefix: str) -> str:
    """The path of the index of the bundle `prefix`."""
    return f"{prefix}.index"


def shard_path(prefix: str, shard: int, count: int) -> str:
    """The path of data shard number `shard` of `count`."""
    return f"{prefix}.data-{shard:05d}-of-{count:05d}"


def shards_of(prefix: str) -> dict[tuple[int, int], str]:
    """The data shards on disk that are named after `prefix`: (shard, count) to path."""
    directory, base = os.path.split(prefix)
    found = {}
    for name in _listing(directory or "."):
        match = _SHARD.fullmatch(name)
        if match and match["prefix"] == base:
            found[int(match["shard"]), int(match["count"])] = os.path.join(directory, name)
    return dict(sorted(found.items()))


def is_member_name(name: str) -> bool:
    """Whether a file of this name is part of some bundle."""
    return _MEMBER.fullmatch(name) is not None


def is_v1_shard_name(name: str) -> bool:
    """Whether a file of this name is one of several of a V1 checkpoint; also the pattern that means them all."""
    return _V1_SHARD.fullmatch(name) is not None


def parts_prefix(prefix: str) -> str | None:
    """The prefix that means all parts of the save of which this is one, with question marks; None if it is none."""
    found = _PART.fullmatch(prefix)
    return None if found is None else f"{found['stem']}-?????-of-{found['count']}"


def part_prefixes(prefix: str) -> list[str]:
    """The prefixes of all parts that a prefix with question marks means, there or not; empty for other prefixes."""
    found = _PART.fullmatch(prefix)
    if found is None or "?" not in found["number"]:
        return []
    return [f"{found['stem']}-{number:05d}-of-{found['count']}" for number in range(int(found["count"]))]


def is_checkpoint(prefix: str) -> bool:
    """Whether there is a checkpoint at exactly this prefix: a bundle's index, or a file of the old V1 format.

    Also the parts of a save that was not merged, whose prefix has question marks.
    """
    if any(os.path.isfile(index_path(each)) for each in (prefix, *part_prefixes(prefix))):
        return True
    try:
        return any(map(os.path.isfile, v1_files(prefix)))
    except ConflictError:
        return True


def prefixes_in(directory: str) -> list[str]:
    """The prefixes of the bundles in a directory: the names that have an index, sorted, without the directory."""
    return sorted(name.removesuffix(".index") for name in _listing(directory) if name.endswith(".index"))


def resolve_prefix(path: str) -> str:
    """The prefix of the bundle that `path` means.

    `path` may be a prefix, any of its files, a SavedModel directory, or a directory with a `checkpoint` state file,
    which means the latest checkpoint that it names. The prefix of a V1 checkpoint in several files has question marks, and so
    has that of a save whose parts were not merged, which its directory means.

    Raises:
        MissingFileError: nothing there; the reason says what there is.
        ConflictError: V1 checkpoints of several numbers of shards have this name.
        CorruptionError: the directory's state file can't be read.
    """
    if os.path.isfile(index_path(path)) and not path.endswith("/"):
        return path
    if os.path.isdir(path):
        return _from_directory(path)
    if part_prefixes(path) and is_checkpoint(path):
        return path
    member = _MEMBER.fullmatch(path)
    if member and os.path.isfile(index_path(member["prefix"])):
        return member["prefix"]
    if os.path.basename(path) == STATE_FILE and os.path.isfile(path):
        return _from_directory(os.path.dirname(path) or ".")
    old = _v1_prefix(member["prefix"] if member else path)
    if old is not None:
        return old
    raise _nothing_at(path, member["prefix"] if member else path)


def _from_directory(directory: str) -> str:
    for inside in ("variables/variables", "variables"):
        prefix = os.path.join(directory, inside)
        if os.path.isfile(index_path(prefix)) and _is_saved_model(directory):
            return prefix
    nameless = index_path(os.path.join(directory, ""))  # a prefix may be empty
    if os.path.isfile(os.path.join(directory, STATE_FILE)):
        from tensorbundle.state import CheckpointState  # needs protobuf, which a prefix does not

        state = CheckpointState.read(directory)
        latest = state.located(state.latest_path)
        if os.path.isfile(index_path(latest)):
            return latest
        old = _v1_prefix(latest)
        if old is not None:
            return old
        if os.path.isfile(nameless):
            return os.path.join(directory, "")
        raise MissingFileError(
            f"its state file names {os.path.relpath(latest, directory)!r} as the latest checkpoint, which is not "
            f"there; {what_is_there(prefixes_in(directory))}",
            path=directory,
        )
    if os.path.isfile(nameless):
        return os.path.join(directory, "")
    there = prefixes_in(directory)
    saves = {parts_prefix(os.path.join(directory, name)) for name in there}
    if len(saves) == 1 and (only := saves.pop()) is not None:
        return only
    raise MissingFileError(
        f"a directory without a 'checkpoint' state file; {what_is_there(there)}",
        path=directory,
    )


def _is_saved_model(directory: str) -> bool:
    return any(
        os.path.isfile(os.path.join(directory, name)) for name in ("saved_model.pb", "saved_model.pbtxt")
    ) or os.path.isdir(os.path.join(directory, "variables"))


def v1_files(prefix: str) -> list[str]:
    """The files of the V1 checkpoint `prefix`, in the order of their numbers; empty if none of them is there.

    Of several, also those that are not there are told, or at least one of them.

    Raises:
        ConflictError: there are some of several numbers of shards.
    """
    directory, name = os.path.split(prefix)
    pattern = _V1_SHARD.fullmatch(name)
    if pattern is None or "?" not in pattern["shard"]:
        if os.path.isfile(prefix):
            return [prefix]
        pattern = None
    base = name if pattern is None else pattern["prefix"]
    there: dict[str, set[str]] = {}  # by the number of shards
    for each in map(_V1_SHARD.fullmatch, _listing(directory or ".")):
        if each and each["prefix"] == base and "?" not in each["shard"] + each["count"]:
            there.setdefault(each["count"], set()).add(each["shard"])
    if pattern is not None and "?" not in pattern["count"]:
        there = {count: shards for count, shards in there.items() if count == pattern["count"]}
    if len(there) > 1:
        several = " and ".join(repr(f"{base}-?????-of-{count}") for count in sorted(there))
        raise ConflictError(f"there are {several}; say which", path=prefix)
    return [
        os.path.join(directory, f"{base}-{number:05d}-of-{count}")
        for count, shards in there.items()
        for number in range(min(int(count), len(shards) + 1))  # a name may claim any number
    ]


def _v1_prefix(path: str) -> str | None:
    """The prefix of the V1 checkpoint that `path` means, or None."""
    directory, name = os.path.split(path)
    member = _V1_SHARD.fullmatch(name)
    if member:  # one of several files means them all, if they are all there
        files = v1_files(os.path.join(directory, f"{member['prefix']}-?????-of-{member['count']}"))
        if files and ("?" in member["shard"] or (path in files and all(map(os.path.isfile, files)))):
            return _pattern_of(files)
    files = v1_files(path)
    return path if files == [path] else _pattern_of(files)


def _pattern_of(files: Sequence[str]) -> str | None:
    """The prefix that means all of several V1 files."""
    first = _V1_SHARD.fullmatch(files[0]) if files else None
    return f"{first['prefix']}-?????-of-{first['count']}" if first else None


def _nothing_at(path: str, prefix: str) -> MissingFileError:
    directory, base = os.path.split(prefix)
    shards = shards_of(prefix)
    if shards:
        return MissingFileError(
            f"no such file, although there are {len(shards)} data shards of that name: without its index, "
            "a checkpoint can't be read",
            path=index_path(prefix),
        )
    if not os.path.isdir(directory or "."):
        return MissingFileError(f"no such directory as {directory!r}", path=path)
    there = prefixes_in(directory or ".")
    near = near_names(base, there)
    return MissingFileError(
        f"no checkpoint of this name ({base}.index does not exist); {what_is_there(near or there)}",
        path=path,
    )


def what_is_there(prefixes: Iterable[str]) -> str:
    """Some of these names of checkpoints, in words."""
    names = [repr(name) for name in prefixes]
    if not names:
        return "no checkpoint is there"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"there is {', '.join(names[:3])}{more}"


def _listing(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return []
