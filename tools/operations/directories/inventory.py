"""The checkpoints of a directory: those that its state file names, those on disk, and the latest one."""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.entries import HEADER_KEY
from tensorbundle.errors import BundleError, ConflictError, MissingFileError
from tensorbundle.filenames import STATE_FILE, index_path, is_member_name, shard_path
from tensorbundle.index import BundleIndex
from tensorbundle.locating import resolve_prefix, what_is_there
from tensorbundle.members import is_absent, is_file, listed_once, prefixes_in, shards_of, v1_files
from tensorbundle.state import CheckpointState
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import basename, join, split
from tensorbundle.table import TableReader
from tensorbundle.tools.operations.directories.places import children, own_size
from tensorbundle.tools.operations.directories.places import real as real_path
from tensorbundle.tools.operations.directories.unfinished import Unfinished, unfinished

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tensorbundle.checkpoint import Path

__all__ = [
    "NOT_THERE",
    "Found",
    "Latest",
    "Survey",
    "inspect",
    "is_v1_file",
    "latest",
    "must_exist",
    "number_of",
    "place_of",
    "survey",
]

NOT_THERE: Final = "not there"
_V1_META: Final = b"\n"  # how the first record of a V1 file begins: field 1 of SavedTensorSlices
_V1_PARTS: Final = re.compile(r"-[\d?]+-of-\d+\Z")  # TensorFlow leaves this out of the name of a .meta file
_LAST_NUMBER: Final = re.compile(r"(.*\D|)(\d+)(\D*)", re.DOTALL | re.ASCII)
_MANY_SHARDS: Final = 1000  # from here on, one listing of the directory is faster than a look at each


@dataclass(frozen=True, slots=True)
class Found:
    """One checkpoint that a state file names or a directory has.

    Attributes:
        prefix: where it is, or would be.
        place: its real path, whatever directory names were given: `place_of` its prefix.
        file_format: "v2" or "v1"; None if no checkpoint can be read there.
        files: its own files that exist, the index or the first of the V1 files first.
        nbytes: bytes of these.
        modified: when its index or first V1 file was written, seconds since the epoch.
        problem: what is wrong with it, or None.
        path: as the state file names it, or None.
        timestamp: when it was saved, according to the state file, in seconds since the epoch.
        latest: whether the state file names it as the latest.
        managed: whether a CheckpointManager that starts in this directory would delete it at some time.
    """

    prefix: str
    place: str
    file_format: Literal["v1", "v2"] | None = None
    files: tuple[str, ...] = ()
    nbytes: int = 0
    modified: float | None = None
    problem: str | None = None
    path: str | None = None
    timestamp: float | None = None
    latest: bool = False
    managed: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it can be restored, judging by the index and the sizes of files."""
        return self.file_format is not None and self.problem is None

    @property
    def name(self) -> str:
        """Its name for messages: as in the state file, or the last part of its prefix."""
        return (basename(self.prefix) or self.prefix) if self.path is None else self.path

    def to_json(self) -> dict[str, object]:
        """The fields as plain data; a timestamp that is not a number (NaN), as text format allows, is None."""
        time = self.timestamp
        return {
            "path": self.path,
            "prefix": self.prefix,
            "exists": self.file_format is not None,
            "latest": self.latest,
            "timestamp": time if time is not None and math.isfinite(time) else None,
            "modified": self.modified,
            "managed": self.managed,
            "file_format": self.file_format,
            "files": list(self.files),
            "nbytes": self.nbytes,
            "problem": self.problem,
        }


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


def inspect(prefix: str, place: str | None = None) -> Found:
    """The checkpoint at exactly this prefix: its own files, and what is wrong with it.

    A bundle's data shards are those that its index lists, and each must be as long as its entries need. If the index is
    missing or can't be read, the shards named after the prefix are taken, if all their names have the same shard count.
    `place` is optional. If files are deleted or replaced meanwhile, as a training that saves checkpoints does, it is
    looked at once more.
    """
    found = Found(prefix, place_of(prefix) if place is None else place)
    try:
        return _inspect(found)
    except FileNotFoundError:
        with listed_once():  # lists the directory anew
            try:
                return _inspect(found)
            except FileNotFoundError:
                return replace(found, problem="its files are being deleted or replaced")


def _inspect(found: Found) -> Found:
    """As `inspect`.

    Raises:
        FileNotFoundError: a file was deleted after it was found.
    """
    prefix = found.prefix
    if is_absent(prefix):
        return found
    index = index_path(prefix)
    if not is_file(index):
        return _inspect_v1(found)
    try:
        with BundleIndex(prefix) as bundle:
            count = bundle.header.num_shards
            sizes: dict[str, int] = {}  # the least sizes of data shards
            for _, entry in bundle.raw_entries():
                if not entry.slices:
                    path = bundle.shard_path(entry.shard)
                    sizes[path] = max(sizes.get(path, 0), entry.offset + entry.nbytes)
    except (BundleError, OSError) as error:
        reason = error.reason if isinstance(error, BundleError) else error.strerror
        shards = _one_set(prefix)
        return _with_files(replace(found, problem=f"{index}: {reason}"), [index, *shards] if shards else [])
    if count > _MANY_SHARDS:
        shards = [path for (_, of), path in shards_of(prefix).items() if of == count]
    else:
        expected = (shard_path(prefix, number, count) for number in range(count))
        shards = [path for path in expected if is_file(path)]
    missing = count - len(shards)
    problem = (
        f"{missing} of {count} data shards {_are(missing)} not there"
        if missing
        else _too_short(sizes, shards)
    )
    return _with_files(replace(found, file_format="v2", problem=problem), [index, *shards])


def _too_short(sizes: Mapping[str, int], shards: Iterable[str]) -> str | None:
    """What is wrong with data shards that are shorter than the index needs them to be, or None."""
    for path in shards:
        size, needed = store_of(path).size(path), sizes.get(path, 0)
        if size < needed:
            return f"{basename(path)} is cut short: it has {size} of at least {needed} bytes"
    return None


def _inspect_v1(found: Found) -> Found:
    try:
        files = v1_files(found.prefix)
    except ConflictError as error:
        return replace(found, problem=error.reason)
    there = [path for path in files if is_file(path)]
    if not there:
        shards = _one_set(found.prefix)
        if not shards:
            return found
        problem = f"its index is missing, although {len(shards)} of its data shards {_are(len(shards))}"
        return _with_files(replace(found, problem=problem), shards)
    if not all(map(is_v1_file, there)):
        return replace(found, problem="not a checkpoint: a file of another kind")
    incomplete = None if files == there else "some of its files are missing"
    return _with_files(replace(found, file_format="v1", problem=incomplete), there)


def _one_set(prefix: str) -> list[str]:
    """The data shards named after a prefix without a usable index, if all their names have the same shard count."""
    shards = shards_of(prefix)
    return list(shards.values()) if len({count for _, count in shards}) == 1 else []


def is_v1_file(path: str) -> bool:
    """Whether a file is a table of a V1 checkpoint: TensorFlow core/util/tensor_slice_writer.cc."""
    try:
        with store_of(path).open(path) as file:
            return (TableReader(file).get(HEADER_KEY) or b"")[:1] == _V1_META
    except (BundleError, OSError):
        return False


def _with_files(found: Found, files: Sequence[str]) -> Found:
    modified = store_of(files[0]).modified(files[0]) / 1e9 if files else None
    return replace(found, files=tuple(files), nbytes=sum(map(own_size, files)), modified=modified)


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
    there = _with_places(_prefixes_on_disk(directory))
    unlisted = (inspect(prefix, place) for prefix, place in there if place not in known)
    found += sorted((each for each in unlisted if each.files), key=lambda each: number_of(each.prefix))
    missing = isinstance(trouble, MissingFileError)
    return Survey(
        directory, state, tuple(_with_meta(found)), None if missing else trouble, unfinished(directory)
    )


def _listed(state: CheckpointState, times: Mapping[str, float | None]) -> list[Found]:
    """Checkpoints that the state file names, by their paths there, with its timestamps."""
    preserved = state.last_preserved or 0.0
    found = _with_places(map(state.located, times))
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
        places = _with_places(map(state.located, others))
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
    """Refuse a path that is not a directory.

    Raises:
        MissingFileError: it is not a directory.
    """
    if not store_of(directory).is_directory(directory):
        raise MissingFileError("no such directory", path=directory)


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def number_of(prefix: str) -> tuple[tuple[str, str], tuple[int, str]]:
    """A sort key: the text around the last number in a checkpoint's name, and that number."""
    name = _V1_PARTS.sub("", basename(prefix))
    match = _LAST_NUMBER.fullmatch(name)
    if match is None:
        return (name, ""), (0, "")
    digits = match[2].lstrip("0")
    return (match[1], match[3]), (len(digits), digits)


def place_of(prefix: str) -> str:
    """The real path of a prefix or file: links in its directories are followed, a link of the name itself is not."""
    return next(_with_places([prefix]))[1]


def _with_places(prefixes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Prefixes, each with its place; every directory is resolved once."""
    real: dict[str, str] = {}
    for prefix in prefixes:
        directory, name = split(prefix)
        if directory not in real:
            real[directory] = real_path(directory)
        yield prefix, join(real[directory], name)
