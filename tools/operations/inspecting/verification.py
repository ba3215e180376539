"""Everything that can be wrong with a checkpoint's files, found in one pass and explained as far as possible.

Unlike reading, which stops at the first error, this continues: every block of the index, every data shard, every
checksum, the slices, the object graph.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Final

from tensorbundle.boxes import find_overlap, must_tile
from tensorbundle.checkpoint import open_index
from tensorbundle.entries import HEADER_KEY, BundleHeader, Known, parse_entries
from tensorbundle.errors import (
    BundleError,
    CorruptionError,
    MissingFileError,
    UnsupportedError,
)
from tensorbundle.foreign import foreign_ending
from tensorbundle.index import BundleIndex
from tensorbundle.keys import decode_key
from tensorbundle.locating import resolve_prefix
from tensorbundle.members import shards_of
from tensorbundle.parts import PartsIndex
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY
from tensorbundle.slices import is_slice_key, readable_key
from tensorbundle.storage import store_of
from tensorbundle.storage.content import describe_name
from tensorbundle.tools.formats.listed_index import ListedIndex
from tensorbundle.tools.operations.explaining.catalogue import cause_line
from tensorbundle.tools.operations.inspecting.damage import INDEX_BYTES, cause_of_index
from tensorbundle.tools.operations.inspecting.fingerprint import check_fingerprint
from tensorbundle.tools.operations.inspecting.problems import Report
from tensorbundle.tools.operations.inspecting.shard_checks import ShardChecks
from tensorbundle.tools.operations.inspecting.tables import harmless_damage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorbundle.boxes import Box
    from tensorbundle.checkpoint import Path
    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.table import TableReader
    from tensorbundle.tools.rewriting.ordered import Jobs
    from tensorbundle.v1.index import V1Index

__all__ = ["verify_checkpoint"]

_FEW_DIMENSIONS: Final = 32  # that an array has in every version of NumPy


def verify_checkpoint(
    path: Path,
    *,
    quick: bool = False,
    jobs: Jobs = 1,
    progress: Callable[[int], None] | None = None,
    index: Index | None = None,
) -> Report:
    """Check a checkpoint, and not the directory it is in: index, layout, every checksum, slices and object graph.

    Args:
        path: anything that `tensorbundle.open` takes.
        quick: skip the checks that read data shards: checksums and the object graph.
        jobs: the number of threads that check checksums, or an executor for that.
        progress: told how many bytes are done.
        index: the checkpoint's, if it is open; it stays open.

    Raises:
        MissingFileError: there is no checkpoint at `path`.
        OSError: the index can't be read.
    """
    return _Verification(str(path), progress, quick=quick, jobs=jobs).run(index)


class _Verification:
    def __init__(self, path: str, progress: Callable[[int], None] | None, *, quick: bool, jobs: Jobs) -> None:
        self._given = path
        self._progress = progress
        self._quick = quick
        self._report = Report(prefix=path)
        self._shards = ShardChecks(self._report, quick=quick, jobs=jobs, progress=progress)
        self._entries: dict[bytes, TensorEntry] = {}
        self._complete = True  # every block of the index was read: missing entries do not exist

    def run(self, opened: Index | None) -> Report:
        prefix = resolve_prefix(self._given)
        self._report.prefix = prefix
        try:
            index = opened or self._open(prefix)
        except (CorruptionError, UnsupportedError) as error:
            self._add_index_fault(prefix, error)
            return self._report
        except MissingFileError as error:  # one of several V1 files
            self._report.add("missing-shard", error, cause=cause_line("not-copied"))
            return self._report
        with index if opened is None else contextlib.nullcontext():
            if isinstance(index, BundleIndex):
                self._read_index(index)
                self._check_shapes(index)
                self._shards.run(index, self._entries)
                self._check_fingerprint(index)
            elif isinstance(index, PartsIndex):
                self._check_parts(index)
                self._check_shapes(index)
            elif isinstance(index, ListedIndex):
                self._entries = dict(index.raw_entries())
                self._check_shapes(index)
                if not self._quick:
                    self._check_listed(index)
            else:
                self._check_v1(index)
            self._check_slices(index)
            if not self._quick and OBJECT_GRAPH_KEY.encode() in self._entries:
                # NumPy and code of protobuf, which a name-based checkpoint needs none of.
                from tensorbundle.tools.operations.inspecting.graph_checks import check_graph

                check_graph(self._report, index, self._entries, complete=self._complete)
        return self._report

    def _open(self, prefix: str) -> Index:
        try:
            return open_index(prefix)
        except (CorruptionError, UnsupportedError) as error:
            counts = Counter(count for _, count in shards_of(prefix))
            if not counts:
                raise
            try:
                index = BundleIndex(prefix, header=BundleHeader(counts.most_common(1)[0][0]))
            except (CorruptionError, UnsupportedError):
                raise error from None
            self._add_index_fault(prefix, error)
            return index

    def _add_index_fault(self, prefix: str, error: BundleError) -> None:
        """Report why an index can't be read."""
        kind = "version" if isinstance(error, UnsupportedError) else "index"
        cause = cause_line("newer-version") if kind == "version" else None
        self._report.add(kind, error, cause=cause or _cause_in_index(error.path or prefix, error))

    def _check_fingerprint(self, index: BundleIndex) -> None:
        """Compare the index of a SavedModel's variables with its fingerprint."""
        message = check_fingerprint(index.prefix)
        if message is not None:
            self._report.add(
                "fingerprint",
                CorruptionError(message, path=index.path),
                severity="warning",
                cause=cause_line("rewritten-variables"),
            )

    def _read_index(self, index: BundleIndex) -> None:
        """Every entry of every block that can be read; a bad block or entry does not hide the others."""
        known = Known()
        for number in range(len(index.table.handles)):
            items: list[tuple[bytes, bytes]] = []
            try:
                items.extend(index.table.block_items(number))
            except CorruptionError as error:
                self._complete = False
                if all(each.message != error.reason for each in self._report.problems):
                    # else it hid the header and was reported
                    self._report.add("index", error, cause=_cause_in_index(index.path, error))
            for key, value in items:
                if key == HEADER_KEY:
                    continue
                try:
                    self._entries[key] = next(parse_entries((key,), (value,), known))[1][0]
                except (CorruptionError, UnsupportedError) as error:
                    self._report.add(
                        "entry", error.locate(path=index.path), cause=cause_line("impossible-entry")
                    )

        self._check_table(index.table)

    def _check_table(self, table: TableReader) -> None:
        """Report damage of a table that hides no entry."""
        for damage in harmless_damage(table):
            self._report.add("index", damage, severity="warning", cause=cause_line("changed"))

    def _check_listed(self, index: ListedIndex) -> None:
        """Every tensor of a file of another format, with the checksums that the format has."""
        for key, entry in self._entries.items():
            try:
                self._report.bytes += index.check(key, entry, self._progress)
                self._report.tensors += 1
            except BundleError as error:
                changed = cause_line("changed") if isinstance(error, CorruptionError) else None
                self._report.add(
                    "values", error.locate(path=index.path, key=readable_key(key)), cause=changed
                )

    def _check_parts(self, index: PartsIndex) -> None:
        """Check each part of a save that was not merged; the entries are then those of all parts."""
        for part in index.parts:
            self._entries = {}
            self._read_index(part)
            self._shards.run(part, self._entries)
        self._entries = {}
        try:
            self._entries.update(index.raw_entries())
        except (CorruptionError, UnsupportedError) as error:
            if self._complete:  # else a part was reported as damaged
                self._report.add("entry", error)
            self._complete = False

    def _check_v1(self, index: Index) -> None:
        from tensorbundle.v1.index import V1Index  # needs NumPy, as most checkpoints do not

        if isinstance(index, V1Index):
            self._entries = index.listed
            self._check_shapes(index)
            if not self._quick:
                self._check_tables(index)

    def _check_tables(self, index: V1Index) -> None:
        """Check every block and every record of every file of a V1 checkpoint."""
        listed: list[dict[bytes, bytes]] = [{} for _ in index.tables]  # of each file: records to keys
        for key, record in index.records.items():
            listed[index.listed[key].shard][record] = key
        for table, keys in zip(index.tables, listed, strict=True):
            found = set()
            whole = True
            alone = {table.number_of(record): record for record in keys}
            for number, handle in enumerate(table.handles):
                items: list[tuple[bytes, bytes]] = []
                large = alone.get(number)
                try:
                    if large is not None and index.place(keys[large], index.listed[keys[large]]) is not None:
                        found.add(large)
                        self._report.tensors += 1
                    else:
                        items = table.block_items(number)
                except CorruptionError as error:
                    whole = False
                    cause = _cause_in_index(table.path, error) or cause_line("changed")
                    self._report.add("checksum", error, cause=cause)
                self._report.bytes += handle.size
                if self._progress is not None:
                    self._progress(handle.size)
                for record, value in items:
                    found.add(record)
                    if record in keys:
                        self._check_record(index, keys[record], value, table.path)
                    elif record != HEADER_KEY and record not in index.listed:
                        orphan = CorruptionError(
                            "a record that the meta record does not list",
                            path=table.path,
                            key=readable_key(record),
                        )
                        self._report.add("orphan-slice", orphan, severity="warning")
            self._check_table(table)
            what = "is missing" if whole else "is in a damaged block"
            for record in sorted(keys.keys() - found):
                gone = CorruptionError(
                    f"the meta record lists it, its own record {what}",
                    path=table.path,
                    key=readable_key(keys[record]),
                )
                self._report.add("entry", gone)

    def _check_record(self, index: V1Index, key: bytes, record: bytes, path: str) -> None:
        try:
            index.decode(key, index.listed[key], record)
            self._report.tensors += 1
        except (CorruptionError, UnsupportedError) as error:
            self._report.add("entry", type(error)(error.reason, path=path, key=readable_key(key)))

    def _check_shapes(self, index: Index) -> None:
        """Report shapes that TensorFlow supports and NumPy does not."""
        for key, entry in self._entries.items():
            if len(entry.shape) <= _FEW_DIMENSIONS and 0 < entry.elements <= entry.nbytes < 1 << 56:
                continue
            import numpy as np  # most checkpoints have no other shapes

            try:
                # Creates no array: the buffer is too small, unless the shape is an error before.
                np.ndarray(entry.shape, f"V{entry.dtype.itemsize or 8}", buffer=b"")
            except TypeError:
                pass
            except ValueError:
                shape = UnsupportedError(
                    f"NumPy can't have the shape {list(entry.shape)}, so this tensor can't be read",
                    path=index.path,
                    key=readable_key(key),
                )
                self._report.add("shape", shape, severity="warning")

    def _check_slices(self, index: Index) -> None:
        listed: set[bytes] = set()
        for key, entry in self._entries.items():
            if not entry.slices:
                continue
            listed.update(each.key(key) for each in entry.slices)
            boxes: list[Box] | None = None
            try:
                boxes = [each.box(entry.shape) for each, _, _ in index.stored_slices(key, entry)]
                must_tile(boxes, entry.shape)
            except (CorruptionError, UnsupportedError) as error:
                is_hole = boxes is not None and find_overlap(boxes) is None
                self._report.add(
                    "slices",
                    error.locate(path=index.path, key=decode_key(key)),
                    cause=cause_line("missing-slices") if is_hole else None,
                )
        bundle = isinstance(index, BundleIndex)  # in V1 files, slice keys are not names
        for key in self._entries if bundle and self._complete else ():
            if key.startswith(b"\0") and key not in listed and is_slice_key(key):
                orphan = CorruptionError(
                    "a slice that no tensor lists", path=index.path, key=readable_key(key)
                )
                self._report.add(
                    "orphan-slice",
                    orphan,
                    severity="warning",
                    cause=cause_line("slice-left"),
                )


def _cause_in_index(path: str, error: BundleError) -> str | None:
    named = describe_name(path)
    if named is not None:
        return cause_line("foreign-content", content=named)
    with contextlib.suppress(BundleError), store_of(path).open(path) as file:
        if file.size <= INDEX_BYTES:  # else its end would seem to be lost
            return cause_of_index(file.read(0, file.size), error.offset, foreign_ending(path))
    return None
