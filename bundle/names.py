"""From what a person gives to the files of a checkpoint.

A bundle with prefix P is `P.index` and `P.data-SSSSS-of-NNNNN` (TensorFlow core/util/tensor_bundle/naming.cc). The
prefix itself is not a file. Paths are taken literally, never as patterns.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import MissingFileError, UnsupportedError, near_names

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["index_path", "is_member_name", "prefixes_in", "resolve_prefix", "shard_path", "shards_of"]

STATE_FILE: Final = "checkpoint"
_SHARD: Final = re.compile(r"(?P<prefix>.*)\.data-(?P<shard>\d{5,})-of-(?P<count>\d{5,})", re.DOTALL)
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


def prefixes_in(directory: str) -> list[str]:
    """The prefixes of the bundles in a directory: the names that have an index, sorted, without the directory."""
    return sorted(name.removesuffix(".index") for name in _listing(directory) if name.endswith(".index"))


def resolve_prefix(path: str) -> str:
    """The prefix of the bundle that `path` means.

    `path` may be a prefix, any of its files, a SavedModel directory, or a directory with a `checkpoint` state file,
    which means the latest checkpoint that it names.

    Raises:
        MissingFileError: nothing there; the reason says what there is.
        UnsupportedError: an old V1 checkpoint.
        CorruptionError: the directory's state file can't be read.
    """
    if os.path.isfile(index_path(path)) and not path.endswith("/"):
        return path
    if os.path.isdir(path):
        return _from_directory(path)
    member = _MEMBER.fullmatch(path)
    if member and os.path.isfile(index_path(member["prefix"])):
        return member["prefix"]
    if os.path.basename(path) == STATE_FILE and os.path.isfile(path):
        return _from_directory(os.path.dirname(path) or ".")
    if not member and _v1_files(path):
        return _as_file(_v1_files(path)[0])
    raise _nothing_at(path, member["prefix"] if member else path)


def _from_directory(directory: str) -> str:
    for inside in ("variables/variables", "variables"):
        prefix = os.path.join(directory, inside)
        if os.path.isfile(index_path(prefix)) and _is_saved_model(directory):
            return prefix
    nameless = index_path(os.path.join(directory, ""))  # a prefix may be empty
    if os.path.isfile(os.path.join(directory, STATE_FILE)):
        from tensorbundle.proto.state import CheckpointState  # needs protobuf, which a prefix does not

        latest = CheckpointState.read(directory).latest
        if os.path.isfile(index_path(latest)):
            return latest
        if _v1_files(latest):
            return _as_file(_v1_files(latest)[0])
        if os.path.isfile(nameless):
            return os.path.join(directory, "")
        raise MissingFileError(
            f"its state file names {os.path.relpath(latest, directory)!r} as the latest checkpoint, which is not "
            f"there; {_what_is_there(prefixes_in(directory))}",
            path=directory,
        )
    if os.path.isfile(nameless):
        return os.path.join(directory, "")
    raise MissingFileError(
        f"a directory without a 'checkpoint' state file; {_what_is_there(prefixes_in(directory))}",
        path=directory,
    )


def _is_saved_model(directory: str) -> bool:
    return any(
        os.path.isfile(os.path.join(directory, name)) for name in ("saved_model.pb", "saved_model.pbtxt")
    ) or os.path.isdir(os.path.join(directory, "variables"))


def _v1_files(path: str) -> list[str]:
    """The files that a path of an old V1 checkpoint means; of a sharded one it is P or `P-?????-of-00002`."""
    if os.path.isfile(path):
        return [path]
    directory, name = os.path.split(path)
    shards = re.escape(name).replace(r"\?", ".") if "?" in name else re.escape(name) + r"-\d{5,}-of-\d{5,}"
    return sorted(
        os.path.join(directory, each)
        for each in _listing(directory or ".")
        if re.fullmatch(shards, each, re.DOTALL)
    )


def _as_file(path: str) -> str:
    """No bundle's file, yet there is one: a V1 checkpoint, or nothing of ours."""
    from tensorbundle.files import File
    from tensorbundle.table import TableReader

    with File(path) as file:
        TableReader(file)
    raise UnsupportedError(
        "a checkpoint in the old V1 format, which can't be read; save it with TensorFlow in the V2 format",
        path=path,
    )


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
        f"no checkpoint of this name ({base}.index does not exist); {_what_is_there(near or there)}",
        path=path,
    )


def _what_is_there(prefixes: Iterable[str]) -> str:
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
