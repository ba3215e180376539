"""The checkpoints of a directory: those that its state file names, those on disk, and the latest one."""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.errors import BundleError, ConflictError, MissingFileError
from tensorbundle.filenames import STATE_FILE, index_path, is_member_name
from tensorbundle.locating import resolve_prefix, what_is_there
from tensorbundle.members import is_file, listed_once, prefixes_in, v1_files
from tensorbundle.state import CheckpointState
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import basename, join
from tensorbundle.tools.operations.directories.inspection import NOT_THERE, Found, inspect, is_v1_file
from tensorbundle.tools.operations.directories.places import children, own_size, with_places
from tensorbundle.tools.operations.directories.unfinished import Unfinished, unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tensorbundle.checkpoint import Path

__all__ = ["Latest", "Survey", "latest", "must_exist", "number_of", "survey"]

_V1_PARTS: Final = re.compile(r"-[\d?]+-of-\d+\Z")  # TensorFlow leaves this out of the name of a .meta file
_LAST_NUMBER: Final = re.compile(r"(.*\D|)(\d+)(\D*)", re.DOTALL | re.ASCII)


@dataclass(frozen=True, slots=True)
class Survey:
    """The contents of a state file, and the checkpoints that exist.

    Attributes:
        directory: the directory.
        state: the state file, or None if there is none or it can't be read.
        checkpoints: those that the state file names, in its order, then the others in the directory.
        trouble: the error that reading the state file raised, or None.
        unfinished: saves in the directory whose parts were not merged.
    """

    directory: str
    state: CheckpointState | None
    checkpoints: tuple[Found, ...]
    trouble: BundleError | None = None
    unfinished: tuple[Unfinished, ...] = ()

    @property
    def listed(self) -> tuple[Found, ...]:
        """The checkpoints that the state file names."""
        return tuple(each for each in self.checkpoints if each.path is not None)

    @property
    def unlisted(self) -> tuple[Found, ...]:
        """The others in the directory."""
        return tuple(each for each in self.checkpoints if each.path is None)


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest checkpoint of a directory.

    Attributes:
        found: the checkpoint.
        source: "state" if the state file names it, "newest" if it was chosen because it has the newest index.
        tensorflow: whether `tf.train.latest_checkpoint` finds it too.
        notes: remarks on what is unusual about it.
    """

    found: Found
    source: Literal["state", "newest"]
    tensorflow: bool
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The fields as plain data, those of the checkpoint first."""
        return self.found.to_json() | {"source": self.source, "tensorflow": self.tensorflow}


@listed_once()
def survey(directory: str) -> Survey:
    """The contents of a directory's state file, and the checkpoints that exist. Reads every index, and no data shard.

    Raises:
        MissingFileError: no such directory.
        OSError: the state file can't be read.
    """
    must_exist(directory)
    state, trouble = None, None
    try:
        state = CheckpointState.read(directory)
    except BundleError as error:
        trouble = error
    found = [] if state is None else _listed(state, state.listed)
    known = {each.place for each in found}
    there = with_places(_prefixes_on_disk(directory))
    unlisted = (inspect(prefix, place) for prefix, place in there if place not in known)
    found += sorted((each for each in unlisted if each.files), key=lambda each: number_of(each.prefix))
    missing = isinstance(trouble, MissingFileError)
    return Survey(
        directory, state, tuple(_with_meta(found)), None if missing else trouble, unfinished(directory)
    )


def _listed(state: CheckpointState, times: Mapping[str, float | None]) -> list[Found]:
    """Checkpoints that the state file names, by their paths there, with its timestamps."""
    preserved = state.last_preserved or 0.0
    found = with_places(map(state.located, times))
    return [
        replace(
            inspect(prefix, place),
            path=path,
            timestamp=timestamp,
            latest=path == state.latest_path,
            managed=timestamp is not None and preserved < timestamp < math.inf,
        )
        for (path, timestamp), (prefix, place) in zip(times.items(), found, strict=True)
    ]


def _prefixes_on_disk(directory: str) -> list[str]:
    """The prefixes that have an index, a data shard or a V1 file."""
    names = set(prefixes_in(directory))
    old = set()
    for entry in children(directory):
        if is_member_name(entry.name):
            if ".data-" in entry.name:
                names.add(entry.name.rpartition(".data-")[0])
        elif entry.name != STATE_FILE and is_file(entry.path) and is_v1_file(entry.path):
            try:
                old.add(resolve_prefix(entry.path))
            except ConflictError:
                old.add(entry.path)
            except MissingFileError:
                continue  # deleted since it was found
    return sorted({join(directory, name) for name in names} | old)


def _with_meta(found: Sequence[Found]) -> Iterator[Found]:
    """The checkpoints with their `.meta` files (graphs); not with one that belongs to several checkpoints."""
    claims = Counter(map(_meta_path, {each.place for each in found}))
    for each in found:
        meta, size = _meta_path(each.prefix), None
        if each.file_format and claims[_meta_path(each.place)] == 1 and is_file(meta):
            with contextlib.suppress(FileNotFoundError):  # deleted since it was found
                size = own_size(meta)
        yield each if size is None else replace(each, files=(*each.files, meta), nbytes=each.nbytes + size)


def _meta_path(prefix: str) -> str:
    """The path of the `.meta` file of a checkpoint: TensorFlow checkpoint_management.py, `meta_graph_filename`."""
    return f"{_V1_PARTS.sub('', prefix)}.meta"


@listed_once()
def latest(directory: Path, *, newest: bool = False) -> Latest:
    """The latest checkpoint of a directory: the one that `tf.train.latest_checkpoint` returns, also if it was moved.

    Args:
        directory: with a state file.
        newest: if the state file can't be used, take the checkpoint whose index was written last.

    Raises:
        MissingFileError: there is none; the reason says what was found.
        CorruptionError: the state file can't be read, and TensorFlow ignores it.
    """
    directory = str(directory)
    must_exist(directory)
    try:
        found = _latest_of(CheckpointState.read(directory))
    except BundleError as error:
        trouble = error
    else:
        return replace(found, notes=(*found.notes, *map(str, unfinished(directory))))
    candidates = [each for each in map(inspect, _prefixes_on_disk(directory)) if each.is_whole]
    is_missing = isinstance(trouble, MissingFileError) and trouble.path != directory
    why = "a directory without a 'checkpoint' state file" if is_missing else trouble.reason
    if not newest or not candidates:
        names = [basename(each.prefix) for each in candidates]
        offer = "; --newest takes the one whose index was written last" if names else ""
        offer += "".join(f"; {each}" for each in unfinished(directory))
        raise type(trouble)(
            f"{why}; {what_is_there(names)}{offer}", path=directory if is_missing else trouble.path
        ) from None
    chosen = max(candidates, key=lambda each: (each.modified, number_of(each.prefix)))
    note = f"{why}; using the checkpoint whose index was written last, which may not be the latest"
    return Latest(chosen, "newest", tensorflow=False, notes=(note,))


def _latest_of(state: CheckpointState) -> Latest:
    directory, path = state.directory, state.latest_path
    [found] = _listed(state, {path: state.listed[path]})
    seen = _seen_by_tensorflow(state.latest)
    if not found.file_format and not seen:
        others = [each for each in reversed(state.listed) if each != path]
        places = with_places(map(state.located, others))
        last = next(
            (each for each, place in zip(others, places, strict=True) if inspect(*place).file_format), None
        )
        why = f" ({found.problem})" if found.problem else ""
        also = f"; the last one that it names and that is there is {last!r}" if last else ""
        raise MissingFileError(
            f"its state file names {path!r} as the latest checkpoint, which is {NOT_THERE}{why}{also}",
            path=directory,
        )
    notes = []
    if not seen:
        notes.append(
            f"the state file names {path!r}, where TensorFlow finds nothing; 'tensorbundle manage DIR repair' fixes "
            "this"
        )
    elif re.search(r"\[.*\]|\\", state.latest, re.DOTALL):
        notes.append(
            "TensorFlow takes the brackets or backslashes in this prefix for a pattern, and finds nothing"
        )
        seen = False
    if found.problem or not found.file_format:
        notes.append(found.problem or "no checkpoint is there, although TensorFlow takes it for one")
    return Latest(found, "state", seen, tuple(notes))


def _seen_by_tensorflow(prefix: str) -> bool:
    """Whether `tf.train.latest_checkpoint` finds a file for the prefix; it accepts any file as a V1 checkpoint."""
    store = store_of(prefix)
    if is_file(index_path(prefix)) or store.is_file(prefix) or (prefix and store.is_directory(prefix)):
        return True
    return "?" in basename(prefix) and any(map(is_file, v1_files(prefix)))


def must_exist(directory: str) -> None:
    """Refuse a path that is not a directory. Behind a URL, one in which files are only begun is one.

    Raises:
        MissingFileError: it is not a directory.
    """
    store = store_of(directory)
    if not (store.is_directory(directory) or store.uploads(directory)):
        raise MissingFileError("no such directory", path=directory)


def number_of(prefix: str) -> tuple[tuple[str, str], tuple[int, str]]:
    """A sort key: the text around the last number in a checkpoint's name, and that number."""
    name = _V1_PARTS.sub("", basename(prefix))
    match = _LAST_NUMBER.fullmatch(name)
    if match is None:
        return (name, ""), (0, "")
    digits = match[2].lstrip("0")
    return (match[1], match[3]), (len(digits), digits)
