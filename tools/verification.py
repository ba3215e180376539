"""Everything that can be wrong with a checkpoint's files, found in one pass and explained as far as possible.

Unlike reading, which stops at the first error, this goes on: every block of the index, every data shard, every
checksum, the slices, the object graph.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from tensorbundle.entries import HEADER_KEY, check_range, parse_entries
from tensorbundle.errors import BundleError, CorruptionError, UnsupportedError
from tensorbundle.files import File, describe_content
from tensorbundle.index import BundleIndex, decode_key
from tensorbundle.names import resolve_prefix
from tensorbundle.shards import ShardReader
from tensorbundle.slices import find_overlap
from tensorbundle.tools.streaming import BUFFER_BYTES, Piece, runs, stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorbundle.checkpoint import Path
    from tensorbundle.entries import TensorEntry

__all__ = ["Problem", "Report", "verify"]

Severity = Literal["error", "warning"]
_Failure = tuple[Piece, CorruptionError]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        severity: "error" for what can't be read, "warning" for what can but will surprise.
        kind: one of index, entry, missing-shard, size, truncated, checksum, slices, orphan-slice, graph,
            dangling-key, shared-key.
        key: the tensor concerned, or None.
        path: the file.
        offset: bytes from its start, or None.
        message: what is wrong.
        cause: what most likely made it so, or None.
    """

    severity: Severity
    kind: str
    key: str | None
    path: str
    offset: int | None
    message: str
    cause: str | None = None

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return asdict(self)


@dataclass(slots=True)
class Report:
    """The outcome.

    Attributes:
        tensors: stored tensors and slices whose checksum was computed.
        bytes: bytes of data shards read for that.
        problems: all that was found, in the order of keys and files.
    """

    tensors: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)


def verify(path: Path, *, progress: Callable[[int], None] | None = None) -> Report:
    """Check a checkpoint: the index, the layout, every checksum, the slices and the object graph.

    Raises:
        MissingFileError: there is no checkpoint at `path`.
    """
    return _Verification(str(path), progress).run()


class _Verification:
    def __init__(self, path: str, progress: Callable[[int], None] | None) -> None:
        self._given = path
        self._progress = progress
        self._report = Report()
        self._entries: dict[bytes, TensorEntry] = {}

    def run(self) -> Report:
        try:
            index = BundleIndex(resolve_prefix(self._given))
        except (CorruptionError, UnsupportedError) as error:
            self._add("index", error)
            return self._report
        with index:
            self._read_index(index)
            pieces = self._check_layout(index)
            self._check_data(index, pieces)
            self._check_slices(index)
            self._check_graph(index)
        return self._report

    def _add(
        self,
        kind: str,
        error: BundleError,
        *,
        cause: str | None = None,
        severity: Severity = "error",
    ) -> None:
        where = error.path or self._given
        self._report.problems.append(
            Problem(severity, kind, error.key, where, error.offset, error.reason, cause)
        )

    def _read_index(self, index: BundleIndex) -> None:
        """Every entry of every block that can be read; a bad block or entry does not hide the others."""
        for number in range(len(index.table.handles)):
            items: list[tuple[bytes, bytes]] = []
            try:
                items.extend(index.table.block_items(number))
            except CorruptionError as error:
                self._add("index", error)
            for key, value in items:
                if key == HEADER_KEY:
                    continue
                try:
                    self._entries.update(parse_entries(iter([(key, value)])))
                except (CorruptionError, UnsupportedError) as error:
                    self._add("entry", error.locate(path=index.table.path))

    def _check_layout(self, index: BundleIndex) -> dict[str, list[Piece]]:
        """What can be read of each data shard; its absence or wrong size is told once."""
        by_shard: dict[int, list[Piece]] = {}
        for key, entry in self._entries.items():
            if not entry.slices:
                piece = Piece(index.shard_path(entry.shard), decode_key(key), entry, index.header.big_endian)
                by_shard.setdefault(entry.shard, []).append(piece)
        readable: dict[str, list[Piece]] = {}
        for shard, pieces in sorted(by_shard.items()):
            path = pieces[0].path
            what = f"{len(pieces)} tensors lie in it, {pieces[0].key!r} first"
            if shard >= index.header.num_shards:
                reason = f"data shard {shard} of {index.header.num_shards}; {what}"
                self._add("missing-shard", CorruptionError(reason, path=path))
                continue
            if not os.path.isfile(path):
                self._add(
                    "missing-shard",
                    CorruptionError(f"no such file; {what}", path=path),
                    cause="it was not copied along, or was deleted",
                )
                continue
            readable[path] = self._inside(path, pieces)
        return readable

    def _inside(self, path: str, pieces: list[Piece]) -> list[Piece]:
        """The pieces whose range lies in the file; the others are problems."""
        size = os.path.getsize(path)
        needed = max(piece.entry.offset + piece.entry.nbytes for piece in pieces)
        cause = None
        if needed > size:
            with File(path) as file:
                content = describe_content(file.read(0, min(size, 256)))
            cause = content or (
                f"the file was cut short: it has {size} of at least {needed} bytes"
                if size
                else "the file is empty"
            )
        good = []
        for piece in pieces:
            try:
                check_range(piece.entry, path, size, piece.key)
                good.append(piece)
            except CorruptionError as error:
                short = piece.entry.offset + piece.entry.nbytes > size
                self._add("truncated" if short else "size", error, cause=cause if short else None)
        return good

    def _check_data(self, index: BundleIndex, by_path: dict[str, list[Piece]]) -> None:
        for path, pieces in by_path.items():
            failures: list[_Failure] = []
            distinct = {(each.entry.offset, each.entry.nbytes, each.entry.crc32c): each for each in pieces}
            ordered = sorted(distinct.values(), key=lambda each: (each.entry.offset, each.entry.nbytes))
            for run in runs(ordered):
                self._report.bytes += stream(
                    run,
                    failed=lambda *failure, into=failures: into.append(failure),
                    progress=self._progress,
                )
            self._report.tensors += len(pieces)
            if failures:
                self._explain(index, path, ordered, failures)

    def _explain(
        self,
        index: BundleIndex,
        path: str,
        pieces: list[Piece],
        failures: list[_Failure],
    ) -> None:
        with File(path) as file:
            content = describe_content(file.read(0, min(file.size, 256)))
            every = len(failures) == len(pieces) and len(pieces) > 1
            for piece, error in failures:
                cause = _zeros(file, piece.entry)
                if cause is None and every:
                    cause = content or (
                        "nothing in this file fits the index: one of the two belongs to another checkpoint"
                    )
                if cause is None:
                    cause = "its bytes changed after they were written, on disk or while copying"
                self._add("checksum", error, cause=cause)

    def _check_slices(self, index: BundleIndex) -> None:
        listed: set[bytes] = set()
        for key, entry in self._entries.items():
            if not entry.slices:
                continue
            listed.update(each.key(key) for each in entry.slices)
            try:
                boxes = [each.box(entry.shape) for each, _, _ in index.pieces(key, entry)]
                overlap = find_overlap(boxes)
                if overlap is not None:
                    first, second = (entry.slices[number] for number in overlap)
                    raise CorruptionError(f"slices {first} and {second} overlap")
                covered = sum(_volume(box) for box in boxes)
                if covered != entry.elements:
                    raise CorruptionError(f"its slices hold {covered} of {entry.elements} elements")
            except (CorruptionError, UnsupportedError) as error:
                self._add("slices", error.locate(path=index.table.path, key=decode_key(key)))
        for key in self._entries:
            if key.startswith(b"\0") and key not in listed:
                orphan = CorruptionError(
                    "a slice that no tensor lists", path=index.table.path, key=decode_key(key)
                )
                self._add(
                    "orphan-slice",
                    orphan,
                    severity="warning",
                    cause="its tensor was renamed or removed without it",
                )

    def _check_graph(self, index: BundleIndex) -> None:
        # Protobuf code, which a name-based checkpoint does not need.
        from tensorbundle.proto.graph import ObjectGraph
        from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, VARIABLE_VALUE

        entry = self._entries.get(OBJECT_GRAPH_KEY.encode())
        if entry is None:
            return
        try:
            value = ShardReader(index).read(OBJECT_GRAPH_KEY)
            graph = ObjectGraph.parse(value.reshape(-1)[0])
        except BundleError as error:
            if error.key is None:  # a damaged payload has been told already
                self._add("graph", error.locate(path=index.prefix, key=OBJECT_GRAPH_KEY))
            return
        except IndexError:
            empty = CorruptionError("an object graph of no bytes", path=index.prefix, key=OBJECT_GRAPH_KEY)
            self._add("graph", empty)
            return
        owners: dict[str, str] = {}
        for path, _, each in graph.attributes():
            key = each.checkpoint_key
            if each.name == VARIABLE_VALUE and key.encode() not in self._entries:
                missing = CorruptionError(
                    f"object {path!r} names this key, which is not in the index",
                    path=index.table.path,
                    key=key,
                )
                self._add(
                    "dangling-key",
                    missing,
                    severity="warning",
                    cause="the variable was not initialised when it was saved, or its tensor was removed",
                )
            other = owners.setdefault(key, path)
            if other != path:
                shared = CorruptionError(
                    f"objects {other!r} and {path!r} share one key; TensorFlow restores only one of them",
                    path=index.table.path,
                    key=key,
                )
                self._add("shared-key", shared, severity="warning")


def _volume(box: tuple[slice, ...]) -> int:
    out = 1
    for each in box:
        out *= each.stop - each.start
    return out


def _zeros(file: File, entry: TensorEntry) -> str | None:
    """Whether the bytes of an entry, or those from some place to its end, are zeros, and what that means."""
    zeros_from = entry.offset
    position, end = entry.offset, entry.offset + entry.nbytes
    while position < end:
        chunk = file.read(position, min(BUFFER_BYTES, end - position))
        kept = chunk.rstrip(b"\0")
        if kept:
            zeros_from = position + len(kept)
        position += len(chunk)
    if zeros_from == entry.offset:
        return "all zeros: these bytes were never written (a full disk, or a crash while saving)"
    if end - zeros_from >= 512:
        return f"zeros from offset {zeros_from:#x} on: the end was never written"
    return None
