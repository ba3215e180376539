"""One checkpoint of a directory: its files, and what is wrong with it, judging by its index and the sizes of files."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.entries import HEADER_KEY
from tensorbundle.errors import BundleError, ConflictError
from tensorbundle.filenames import index_path, shard_path
from tensorbundle.index import BundleIndex
from tensorbundle.members import is_absent, is_file, listed_once, shards_of, v1_files
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import basename
from tensorbundle.table import TableReader
from tensorbundle.tools.operations.directories.places import own_size, place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["NOT_THERE", "Found", "inspect", "is_v1_file"]

NOT_THERE: Final = "not there"
_V1_META: Final = b"\n"  # how the first record of a V1 file begins: field 1 of SavedTensorSlices
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


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
