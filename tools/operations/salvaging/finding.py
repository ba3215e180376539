"""Finds entries of tensors in the remains of an index, and whether the existing data proves them.

An entry has the checksum of its tensor's bytes, so it does not matter where it was found: if the bytes at its place
have this checksum, its type, shape and place and the bytes are right. The checksum does not cover the name: in an entry
from a block whose own checksum is wrong, the name may be damaged.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tensorbundle.entries import HEADER_KEY, BundleHeader, StoredRange, check_range, parse_entry
from tensorbundle.errors import (
    BundleError,
    CorruptionError,
    MissingFileError,
    UnreadableFileError,
    UnsupportedError,
)
from tensorbundle.filenames import index_path, parse_shard_name, shard_path
from tensorbundle.index import BundleIndex, Index
from tensorbundle.members import is_file, shards_of
from tensorbundle.payloads import payload_checksum
from tensorbundle.slices import readable_key
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import basename, final_name, is_far, local_path, split
from tensorbundle.table import TRAILER_BYTES, check_count
from tensorbundle.tools.operations.inspecting.blocks import (
    METAINDEX,
    find_blocks,
    loose_entries,
    mended_block,
)
from tensorbundle.tools.rewriting.repetition import EncodedRepetition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tensorbundle.dtypes import DType
    from tensorbundle.entries import TensorEntry

__all__ = ["FoundIndex", "find_index", "index_like", "must_be_damage"]

_CHUNK_BYTES: Final = 1 << 20
_INDEX_BYTES: Final = 256 << 20


@dataclass(eq=False)  # as other indexes, which are in sets
class FoundIndex(Index):
    """The entries that were found, as an index; data shards are read where they exist, also under temporary names.

    Attributes:
        entries_found: by key.
        doubtful: by key, why the name or the layout of a tensor is not proven.
        notes: where entries came from.
        unreadable: entries or files that can't be read, with the reasons.
    """

    prefix: str
    path: str
    header: BundleHeader
    entries_found: dict[bytes, TensorEntry] = field(default_factory=dict)
    doubtful: dict[bytes, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    file_format = "v2"
    file_noun = "data shard"
    is_bundle = True

    def __post_init__(self) -> None:
        super().__init__()
        self.store = store_of(self.prefix)
        self._paths: dict[int, str] = {}
        # By the place and the type of the bytes, as many tensors may have the same.
        self._checksums: dict[tuple[int, int, int, DType, int], int | BundleError] = {}
        self._encoded = EncodedRepetition()

    def get(self, key: bytes) -> TensorEntry | None:
        """The entry of `key`, slice keys included, or None."""
        return self.entries_found.get(key)

    def raw_entries(self) -> Iterator[tuple[bytes, TensorEntry]]:
        """Every key and entry, in key order."""
        yield from sorted(self.entries_found.items())

    def shard_path(self, shard: int) -> str:
        """The path of a data shard, or of its temporary file from a killed save."""
        if shard not in self._paths:
            path = shard_path(self.prefix, shard, self.header.num_shards)
            if not is_file(path):
                left = _temporaries(path)
                path = left[0] if left else path
            self._paths[shard] = path
        return self._paths[shard]

    def stored(self, key: bytes, entry: TensorEntry) -> StoredRange:
        """The place where the bytes are, or should be."""
        del key
        path = self.shard_path(entry.shard)
        return StoredRange(path, entry.offset, entry.nbytes, entry.crc32c, self.header.big_endian)

    def close(self) -> None:
        """Does nothing: no file stays open."""

    def __reduce__(self) -> tuple[object, ...]:
        fields = (self.prefix, self.path, self.header, self.entries_found)
        return FoundIndex, fields

    def checksum(self, key: bytes, entry: TensorEntry) -> int:
        """The checksum of the bytes of a tensor.

        Raises:
            MissingFileError: its data shard does not exist.
            CorruptionError: some of its bytes are missing, or they can't be valid.
            UnsupportedError: it is one of many tensors of strings that share bytes.
            OSError: the data shard can't be read.
        """
        place = entry.shard, entry.offset, entry.nbytes, entry.dtype, entry.elements
        if place not in self._checksums:
            try:
                self._checksums[place] = self._checksum(entry, self.stored(key, entry))
            except BundleError as error:
                self._checksums[place] = error
        found = self._checksums[place]
        if isinstance(found, BundleError):
            raise type(found)(found.reason, path=found.path, offset=found.offset, key=readable_key(key))
        return found

    def _checksum(self, entry: TensorEntry, stored: StoredRange) -> int:
        with self.store.open(stored.path) as file:
            check_range(entry, stored, file.size)
            self._encoded.add(entry.dtype, entry.elements, stored)
            checksum = payload_checksum(
                entry.dtype, entry.elements, entry.nbytes, big_endian=stored.big_endian
            )
            end = entry.offset + entry.nbytes
            for start in range(entry.offset, end, _CHUNK_BYTES):
                checksum.update(file.read(start, min(_CHUNK_BYTES, end - start)))
            return checksum.finish()


def _temporaries(path: str) -> list[str]:
    """The temporary files of killed saves for a file, the newest first."""
    directory, name = split(path)
    found = []
    with contextlib.suppress(OSError), os.scandir(local_path(directory) or ".") as listing:
        found = [each.path for each in listing if final_name(each.name) == name and each.is_file()]
    return sorted(found, key=lambda each: os.stat(local_path(each)).st_mtime_ns, reverse=True)


def find_index(prefix: str) -> FoundIndex:
    """All entries that can be read from the index of the bundle `prefix`, or from temporary files of a killed save.

    Raises:
        MissingFileError: no file of it exists.
        CorruptionError: there are more entries than are allowed.
    """
    candidates = [path for path in [index_path(prefix), *_temporaries(index_path(prefix))] if is_file(path)]
    if not candidates:
        raise MissingFileError(
            "its index is missing, and so is a temporary file of it", path=index_path(prefix)
        )
    best: FoundIndex | None = None
    for path in candidates:
        found = _entries_in(prefix, path)
        if best is None or len(found.entries_found) > len(best.entries_found):
            best = found
    assert best is not None
    return best


def _entries_in(prefix: str, path: str) -> FoundIndex:
    found = FoundIndex(prefix, path, BundleHeader(1))
    header: bytes | None = None
    if path == index_path(prefix):
        with contextlib.suppress(BundleError, OSError), BundleIndex(prefix) as index:
            found.header = index.header
            header = b""
    if path != index_path(prefix):
        found.notes.append(f"entries are from {basename(path)}, which a killed save left")
    try:
        with store_of(path).open(path) as file:
            data = file.read(0, min(file.size, _INDEX_BYTES))
    except (BundleError, OSError) as error:
        must_be_damage(error, path)
        found.unreadable.append(str(error))
        return found
    end = 0
    for block in find_blocks(data):
        if block.offset > end:
            header = _add_damaged(found, data, end, block.offset) or header
        for key, value in block.items:
            if key == HEADER_KEY:
                header = value
            else:
                _add(found, key, value, None)
        try:
            check_count(len(found.entries_found), len(data))
        except CorruptionError as error:
            raise error.locate(path=path) from None
        end = block.offset + block.size + TRAILER_BYTES
    if data[end : end + len(METAINDEX)] != METAINDEX:
        header = _add_damaged(found, data, end, len(data)) or header
    if header:
        with contextlib.suppress(CorruptionError, UnsupportedError):
            found.header = BundleHeader.parse(header)
    elif header is None:
        counts = Counter(count for _, count in shards_of(prefix)) or _counts_of_temporaries(prefix)
        count = counts.most_common(1)[0][0] if counts else 1
        found.header = BundleHeader(count)
        found.notes.append(
            f"the header is lost: {count} data shards, as files are named, and little-endian, are assumed"
        )
    return found


def _counts_of_temporaries(prefix: str) -> Counter[int]:
    directory, base = split(prefix)
    found: Counter[int] = Counter()
    with contextlib.suppress(OSError):
        for name in os.listdir(local_path(directory) or "."):
            shard = parse_shard_name(final_name(name) or "")
            if shard is not None and shard[0] == base:
                found[shard[2]] += 1
    return found


def must_be_damage(error: Exception, path: str) -> None:
    """Raise an error that may pass: a server does not answer, or refuses. A disk that can't read a file is damaged.

    Raises:
        UnreadableFileError: `error`.
    """
    if isinstance(error, UnreadableFileError) and is_far(path):
        raise error


def _add(found: FoundIndex, key: bytes, value: bytes, doubt: str | None) -> None:
    try:
        entry = parse_entry(value)
    except (CorruptionError, UnsupportedError) as error:
        if doubt is None:
            found.unreadable.append(f"{readable_key(key)}: {error.reason}")
        return
    if doubt is not None:
        if key in found.entries_found:
            return
        found.doubtful[key] = doubt
    else:
        found.doubtful.pop(key, None)
    found.entries_found[key] = entry


def _add_damaged(found: FoundIndex, data: bytes, start: int, end: int) -> bytes | None:
    """Add the entries of a damaged block between two places: all of them, if flipping one bit corrects its checksum.

    Returns the header, if it is in the block and undamaged.
    """
    mended = mended_block(data, start, end)
    if mended is not None:
        block, place, _ = mended
        found.notes.append(f"a flipped bit in the index, at offset {place:#x}, was put right")
        header = None
        for key, value in block.items:
            if key == HEADER_KEY:
                header = value
            else:
                _add(found, key, value, None)
        return header
    for key, value in loose_entries(data, start, end):
        if key != HEADER_KEY:
            _add(found, key, value, "its name is from a damaged block of the index")
    return None


def index_like(prefix: str, sibling: Index, progress: Callable[[int], None] | None = None) -> FoundIndex:
    """The layout of a checkpoint of the same model for data shards that have no index; checksums are computed.

    Raises:
        CorruptionError: the data shards have other sizes than the layout needs, or strings in them are damaged.
        MissingFileError: a data shard does not exist.
    """
    found = FoundIndex(prefix, sibling.path, sibling.header)
    found.notes.append(f"the layout is that of {sibling.prefix}; checksums are computed")
    ends: Counter[int] = Counter()
    entries = dict(sibling.raw_entries())
    for entry in entries.values():
        if not entry.slices:
            ends[entry.shard] = max(ends[entry.shard], entry.offset + entry.nbytes)
    for shard, end in ends.items():
        path = found.shard_path(shard)
        with store_of(path).open(path) as file:
            if file.size != end:
                raise CorruptionError(
                    f"{file.size} bytes, the layout of {sibling.prefix} has {end}: not the same model, or cut short",
                    path=path,
                )
    for key, entry in entries.items():
        if not entry.slices:
            try:
                computed = found.checksum(key, entry)
            except CorruptionError as error:
                found.unreadable.append(f"{readable_key(key)}: {error.reason}")
                continue
            if computed != entry.crc32c:
                found.doubtful[key] = "its layout is another checkpoint's, and its checksum was computed"
            found.entries_found[key] = entry._replace(crc32c=computed)
            if progress is not None:
                progress(entry.nbytes)
        else:
            found.entries_found[key] = entry
    return found
