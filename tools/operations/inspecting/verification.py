"""Everything that can be wrong with a checkpoint's files, found in one pass and explained as far as possible.

Unlike reading, which stops at the first error, this continues: every block of the index, every data shard, every
checksum, the slices, the object graph.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np

from tensorbundle.boxes import must_tile
from tensorbundle.checkpoint import open_index
from tensorbundle.entries import HEADER_KEY, BundleHeader, check_range, parse_entries
from tensorbundle.errors import (
    BundleError,
    CorruptionError,
    MissingFileError,
    UnreadableFileError,
    UnsupportedError,
)
from tensorbundle.index import BundleIndex
from tensorbundle.keys import decode_key, encode_key
from tensorbundle.locating import resolve_prefix
from tensorbundle.members import shards_of
from tensorbundle.parts import PartsIndex
from tensorbundle.shards import ShardReader
from tensorbundle.slices import TensorSlice, readable_key
from tensorbundle.storage import store_of
from tensorbundle.storage.content import describe_content
from tensorbundle.tools.formats.listed_index import ListedIndex
from tensorbundle.tools.keras.lost import left_out_by_keras_3, lost_text
from tensorbundle.tools.operations.explaining.catalogue import cause_line
from tensorbundle.tools.operations.inspecting.damage import INDEX_BYTES, Damage, cause_of_index
from tensorbundle.tools.operations.inspecting.fingerprint import check_fingerprint
from tensorbundle.tools.operations.inspecting.layout import Layout
from tensorbundle.tools.operations.inspecting.problems import Problem, Report
from tensorbundle.tools.optimizers.finding import Optimizers
from tensorbundle.tools.rewriting.checking import checked
from tensorbundle.tools.rewriting.ranges import BUFFER_BYTES, TensorRange
from tensorbundle.v1.index import V1Index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tensorbundle.checkpoint import Path
    from tensorbundle.entries import StoredRange, TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.storage.protocols import RandomAccessFile
    from tensorbundle.tools.operations.inspecting.problems import Severity
    from tensorbundle.tools.rewriting.ordered import Jobs

__all__ = ["verify_checkpoint"]

_Failure = tuple[TensorRange, CorruptionError]
_PAGE: Final = 4096  # file systems and caches lose parts of files in pages
_NESTED: Final = 8  # named keys that begin with one another
_JOBS_FAR_AWAY: Final = 4  # the least number of threads if they mostly wait for a network
_TELLING_ZEROS: Final = 512  # longer runs of zero bytes are hardly values
_ZEROS: Final = re.compile(rb"(?<!\0)(?:\0{512,}|\A\0+|\0+\Z)")


def verify_checkpoint(
    path: Path, *, quick: bool = False, jobs: Jobs = 1, progress: Callable[[int], None] | None = None
) -> Report:
    """Check a checkpoint, and not the directory it is in: index, layout, every checksum, slices and object graph.

    Args:
        path: anything that `tensorbundle.open` takes.
        quick: skip the checks that read data shards: checksums and the object graph.
        jobs: the number of threads that check checksums, or an executor for that.
        progress: told how many bytes are done.

    Raises:
        MissingFileError: there is no checkpoint at `path`.
        OSError: the index can't be read.
    """
    return _Verification(str(path), progress, quick=quick, jobs=jobs).run()


class _Verification:
    def __init__(self, path: str, progress: Callable[[int], None] | None, *, quick: bool, jobs: Jobs) -> None:
        self._given = path
        self._progress = progress
        self._quick = quick
        self._jobs = jobs
        self._report = Report(prefix=path)
        self._entries: dict[bytes, TensorEntry] = {}
        self._complete = True  # every block of the index was read: missing entries do not exist

    def run(self) -> Report:
        prefix = resolve_prefix(self._given)
        self._report.prefix = prefix
        try:
            index = self._open(prefix)
        except (CorruptionError, UnsupportedError) as error:
            self._add_index_fault(prefix, error)
            return self._report
        except MissingFileError as error:  # one of several V1 files
            self._add("missing-shard", error, cause=cause_line("not-copied"))
            return self._report
        with index:
            if isinstance(index, BundleIndex):
                self._read_index(index)
                self._check_shapes(index)
                self._check_shards(index)
                self._check_fingerprint(index)
            elif isinstance(index, PartsIndex):
                self._check_parts(index)
                self._check_shapes(index)
            elif isinstance(index, V1Index):
                self._entries = index.listed
                self._check_shapes(index)
                if not self._quick:
                    self._check_tables(index)
            elif isinstance(index, ListedIndex):
                self._entries = dict(index.raw_entries())
                self._check_shapes(index)
                if not self._quick:
                    self._check_listed(index)
            self._check_slices(index)
            if not self._quick:
                self._check_graph(index)
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
        self._add(kind, error, cause=cause or _cause_in_index(error.path or prefix, error))

    def _check_fingerprint(self, index: BundleIndex) -> None:
        """Compare the index of a SavedModel's variables with its fingerprint."""
        message = check_fingerprint(index.prefix)
        if message is not None:
            self._add(
                "fingerprint",
                CorruptionError(message, path=index.path),
                severity="warning",
                cause=cause_line("rewritten-variables"),
            )

    def _add(
        self,
        kind: str,
        error: BundleError,
        *,
        cause: str | None = None,
        severity: Severity = "error",
    ) -> None:
        where = error.path or self._given
        message = error.reason.removesuffix("; 'tensorbundle verify' looks for the cause")
        self._report.problems.append(
            Problem(severity, kind, error.key, where, error.offset, message, cause, self._report.prefix)
        )

    def _read_index(self, index: BundleIndex) -> None:
        """Every entry of every block that can be read; a bad block or entry does not hide the others."""
        for number in range(len(index.table.handles)):
            items: list[tuple[bytes, bytes]] = []
            try:
                items.extend(index.table.block_items(number))
            except CorruptionError as error:
                self._complete = False
                if all(each.message != error.reason for each in self._report.problems):
                    # else it hid the header and was reported
                    self._add("index", error, cause=_cause_in_index(index.path, error))
            for key, value in items:
                if key == HEADER_KEY:
                    continue
                try:
                    self._entries.update(parse_entries(iter([(key, value)])))
                except (CorruptionError, UnsupportedError) as error:
                    self._add("entry", error.locate(path=index.path), cause=cause_line("impossible-entry"))

    def _check_listed(self, index: ListedIndex) -> None:
        """Every tensor of a file of another format, with the checksums that the format has."""
        for key, entry in self._entries.items():
            try:
                self._report.bytes += index.check(key, entry, self._progress)
                self._report.tensors += 1
            except BundleError as error:
                self._add("values", error.locate(path=index.path, key=readable_key(key)))

    def _check_parts(self, index: PartsIndex) -> None:
        """Check each part of a save that was not merged; the entries are then those of all parts."""
        for part in index.parts:
            self._entries = {}
            self._read_index(part)
            self._check_shards(part)
        self._entries = {}
        try:
            self._entries.update(index.raw_entries())
        except (CorruptionError, UnsupportedError) as error:
            if self._complete:  # else a part was reported as damaged
                self._add("entry", error)
            self._complete = False

    def _check_tables(self, index: V1Index) -> None:
        """Check every block and every record of every file of a V1 checkpoint."""
        listed: list[dict[bytes, bytes]] = [{} for _ in index.tables]  # of each file: records to keys
        for key, record in index.records.items():
            listed[index.listed[key].shard][record] = key
        for table, keys in zip(index.tables, listed, strict=True):
            found = set()
            whole = True
            for number, handle in enumerate(table.handles):
                items: list[tuple[bytes, bytes]] = []
                try:
                    items = table.block_items(number)
                except CorruptionError as error:
                    whole = False
                    self._add("checksum", error)
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
                        self._add("orphan-slice", orphan, severity="warning")
            what = "is missing" if whole else "is in a damaged block"
            for record in sorted(keys.keys() - found):
                gone = CorruptionError(
                    f"the meta record lists it, its own record {what}",
                    path=table.path,
                    key=readable_key(keys[record]),
                )
                self._add("entry", gone)

    def _check_record(self, index: V1Index, key: bytes, record: bytes, path: str) -> None:
        try:
            index.decode(key, index.listed[key], record)
            self._report.tensors += 1
        except (CorruptionError, UnsupportedError) as error:
            self._add("entry", type(error)(error.reason, path=path, key=readable_key(key)))

    def _check_shapes(self, index: Index) -> None:
        """Report shapes that TensorFlow supports and NumPy does not."""
        for key, entry in self._entries.items():
            try:
                # Creates no array: the buffer is too small, unless the shape is an error before.
                np.ndarray(entry.shape, f"V{entry.dtype.itemsize or 8}", buffer=b"")
            except TypeError:
                pass
            except ValueError:
                shape = UnsupportedError(
                    f"NumPy can't have the shape {list(entry.shape)}, so this tensor can't be read",
                    path=index.path,
                    key=decode_key(key),
                )
                self._add("shape", shape, severity="warning")

    def _check_shards(self, index: BundleIndex) -> None:
        """Check the tensors of each data shard; a missing or unreadable shard is reported once."""
        by_shard: dict[int, list[tuple[TensorRange, TensorEntry]]] = {}
        for key, entry in self._entries.items():
            if not entry.slices:
                each = TensorRange.of(index, key, entry, index.stored(key, entry))
                by_shard.setdefault(entry.shard, []).append((each, entry))
        for shard, ranges in sorted(by_shard.items()):
            first = ranges[0][0]
            path = first.stored.path
            what = f"{len(ranges)} tensors are stored in it, {first.key!r} first"
            if shard >= index.header.num_shards:
                reason = f"data shard {shard} of {index.header.num_shards}; {what}"
                self._add(
                    "missing-shard", CorruptionError(reason, path=path), cause=cause_line("impossible-entry")
                )
                continue
            try:
                with index.store.open(path) as file:
                    self._check_shard(file, ranges)
            except MissingFileError as error:
                gone = MissingFileError(f"{error.reason}; {what}", path=path)
                self._add("missing-shard", gone, cause=cause_line("not-copied"))
            except UnreadableFileError as error:
                self._add("unreadable-shard", BundleError(f"{error.reason}; {what}", path=path))
            except CorruptionError as error:
                self._add("unreadable-shard", error, cause=cause_line("shrank"))

    def _check_shard(self, file: RandomAccessFile, ranges: list[tuple[TensorRange, TensorEntry]]) -> None:
        """Check the ranges and the checksums of the tensors of one data shard.

        Raises:
            UnreadableFileError, CorruptionError: it can't be read to its end; problems found before were reported.
        """
        outside: list[_Failure] = []
        inside: list[TensorRange] = []
        for each, entry in ranges:
            try:
                check_range(entry, each.stored, file.size)
                inside.append(each)
            except CorruptionError as error:
                outside.append((each, error.locate(key=each.key)))
        distinct = {each.stored: each for each in inside}
        ordered = sorted(distinct.values(), key=lambda each: (each.stored.offset, each.stored.nbytes))
        failures: list[_Failure] = []

        def fail(*failure: *_Failure) -> None:
            failures.append(failure)

        self._check_layout(file, inside)
        jobs = self._jobs
        if file.near_bytes and isinstance(jobs, int):
            jobs = max(jobs, _JOBS_FAR_AWAY)
        try:
            for nbytes in () if self._quick else checked(ordered, fail, jobs=jobs):
                self._report.bytes += nbytes
                if self._progress is not None:
                    self._progress(nbytes)
            self._report.tensors += 0 if self._quick else len(inside)
        finally:
            failed = {each.key for each, _ in [*outside, *failures]}
            content = _foreign_content(file, [each for each in ordered if each.key not in failed])
            self._explain_ranges(file, outside, content)
            self._explain_checksums(file, ordered, dict(ranges), failures, content)

    def _check_layout(self, file: RandomAccessFile, ranges: list[TensorRange]) -> None:
        """Find bytes that no tensor, or several tensors, refer to; only ranges that overlap in part are a fault."""
        keys = {encode_key(each.key): each.key for each in ranges}
        layout = Layout.of(
            ((encode_key(each.key), each.stored.offset, each.stored.nbytes) for each in ranges), file.size
        )
        self._report.dead_bytes += layout.dead_bytes
        self._report.aliases += len(layout.aliases)
        for each in layout.overlaps:
            reason = f"{each.stop - each.start} of its bytes are also those of {keys[each.first]!r}"
            overlap = CorruptionError(reason, path=file.path, offset=each.start, key=keys[each.second])
            self._add("overlap", overlap, severity="warning")

    def _explain_ranges(self, file: RandomAccessFile, failures: list[_Failure], content: str | None) -> None:
        ends = [each.end for each, _ in failures]
        needed = max(ends, default=0)
        kind = "truncated" if file.size else "empty-file"
        cut = cause_line(kind, size=file.size, needed=needed, missing=needed - file.size)
        for (_, error), end in zip(failures, ends, strict=True):
            if end > file.size:
                self._add("truncated", error, cause=content or cut)
            else:
                self._add("size", error, cause=cause_line("impossible-entry"))

    def _explain_checksums(
        self,
        file: RandomAccessFile,
        ranges: list[TensorRange],
        entries: Mapping[TensorRange, TensorEntry],
        failures: list[_Failure],
        content: str | None,
    ) -> None:
        if not failures:
            return
        damage = Damage(
            file.read,
            file.size,
            [(each.key, entries[each]) for each in ranges],
            big_endian=ranges[0].stored.big_endian,
        )
        causes = [
            content
            or _cause_in_bytes(file, each.stored)
            or damage.cause(each.key, entries[each], failed=len(failures))
            for each, _ in failures
        ]
        other = None
        changed = causes.count(None)
        if changed > 1:
            # Empty tensors, and biases and slots that are still zero, are alike in every checkpoint of a model.
            telling = sum(not _is_zero(file, each.stored) for each in ranges)
            if changed == telling:
                other = cause_line("other-checkpoint")
            elif changed * 2 > telling:
                other = cause_line("mostly-other-checkpoint", changed=changed, telling=telling)
            else:
                unknown = zip(failures, causes, strict=True)
                other = damage.common_sector(entries[each] for (each, _), cause in unknown if cause is None)
        for (_, error), cause in zip(failures, causes, strict=True):
            self._add(
                "checksum",
                error,
                cause=cause or other or cause_line("changed"),
            )

    def _check_slices(self, index: Index) -> None:
        listed: set[bytes] = set()
        for key, entry in self._entries.items():
            if not entry.slices:
                continue
            listed.update(each.key(key) for each in entry.slices)
            try:
                boxes = [each.box(entry.shape) for each, _, _ in index.stored_slices(key, entry)]
                must_tile(boxes, entry.shape)
            except (CorruptionError, UnsupportedError) as error:
                self._add("slices", error.locate(path=index.path, key=decode_key(key)))
        bundle = isinstance(index, BundleIndex)  # in V1 files, slice keys are not names
        for key in self._entries if bundle and self._complete else ():
            if key.startswith(b"\0") and key not in listed and _is_slice_key(key):
                orphan = CorruptionError("a slice that no tensor lists", path=index.path, key=decode_key(key))
                self._add(
                    "orphan-slice",
                    orphan,
                    severity="warning",
                    cause=cause_line("slice-left"),
                )

    def _check_graph(self, index: Index) -> None:
        # Protobuf code, which a name-based checkpoint does not need.
        from tensorbundle.proto.graph import ObjectGraph
        from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, VARIABLE_VALUE

        entry = self._entries.get(OBJECT_GRAPH_KEY.encode())
        if entry is None:
            return
        try:
            value = ShardReader(index).read(OBJECT_GRAPH_KEY)
            if value.dtype != object or value.size != 1:
                raise CorruptionError(f"{value.size} values of {entry.dtype}, expected one string")
            graph = ObjectGraph.parse(value.reshape(-1)[0])
        except BundleError as error:
            if error.key is None:  # a damaged payload was reported before
                self._add("graph", error.locate(path=index.prefix, key=OBJECT_GRAPH_KEY))
            return
        except OSError:
            return  # the data shard was reported before
        self._check_objects(index, graph)
        self._check_layers(index, graph)
        owners: dict[str, str] = {}
        for path, _, each in graph.attributes():
            key = each.checkpoint_key
            if self._complete and each.name == VARIABLE_VALUE and key.encode() not in self._entries:
                missing = CorruptionError(
                    f"object {path!r} names this key, which is not in the index",
                    path=index.path,
                    key=key,
                )
                self._add(
                    "dangling-key",
                    missing,
                    severity="warning",
                    cause=cause_line("not-initialized"),
                )
            other = owners.setdefault(key, path)
            if other != path:
                shared = CorruptionError(
                    f"objects {other!r} and {path!r} share one key; TensorFlow restores only one of them",
                    path=index.path,
                    key=key,
                )
                self._add("shared-key", shared, severity="warning")

    def _check_layers(self, index: Index, graph: ObjectGraph) -> None:
        """Report layers that Keras 3 did not store; only its optimizers show that they exist."""
        if not any("_trainable_variables" in node.children for node in graph.nodes):
            return
        shapes = {decode_key(key): entry.shape for key, entry in self._entries.items()}
        lost = left_out_by_keras_3(graph, Optimizers.of(graph, shapes))
        if lost:
            left_out = CorruptionError(lost_text(lost), path=index.path, key=lost[0].key)
            self._add("left-out-layers", left_out, severity="warning")

    def _check_objects(self, index: Index, graph: ObjectGraph) -> None:
        """Report objects that can't be reached, and tensors that no object names."""
        from tensorbundle.proto.paths import OBJECT_GRAPH_KEY

        reached = {node for _, node in graph.walk()}
        lost = [node for node in graph.nodes if node not in reached]
        if lost:
            what = f"node {lost[0].id} and {len(lost) - 1} more" if len(lost) > 1 else f"node {lost[0].id}"
            unreachable = CorruptionError(
                f"no edge leads to {what} of the object graph", path=index.prefix, key=OBJECT_GRAPH_KEY
            )
            self._add("unreachable-node", unreachable, severity="warning", cause=cause_line("edited-graph"))
        if any(node.registered_saver for node in graph.nodes):
            return  # which may give its tensors any names
        named = sorted(encode_key(each.checkpoint_key) for node in graph.nodes for each in node.attributes)
        above: list[bytes] = []  # named keys that the current key begins with
        at = 0
        for key in sorted(self._entries):
            while at < len(named) and named[at] <= key:
                above = [*(each for each in above[-_NESTED:] if named[at].startswith(each)), named[at]]
                at += 1
            above = [each for each in above if key.startswith(each)]
            is_slice = key.startswith(b"\0") and _is_slice_key(key)
            if above or is_slice or key == OBJECT_GRAPH_KEY.encode():
                continue  # also keys that continue a named key: tensors of tables and iterators
            unnamed = CorruptionError(
                "no object names this tensor, so no restore reads it", path=index.path, key=decode_key(key)
            )
            self._add("unnamed-key", unnamed, severity="warning", cause=cause_line("edited-graph"))


def _cause_in_index(path: str, error: BundleError) -> str | None:
    with contextlib.suppress(BundleError), store_of(path).open(path) as file:
        return cause_of_index(file.read(0, min(file.size, INDEX_BYTES)), error.offset)
    return None


def _is_slice_key(key: bytes) -> bool:
    """Whether this is the key of a slice; names of tensors may have the same start."""
    try:
        TensorSlice.parse_key(key)
    except CorruptionError:
        return False
    return True


def _foreign_content(file: RandomAccessFile, fine: list[TensorRange]) -> str | None:
    """The kind of a file that is not a data shard, if its first bytes tell it and are in none of the `fine` tensors."""
    head = file.read(0, min(file.size, _PAGE))
    if not head.strip(b"\0") or any(each.stored.nbytes and each.stored.offset < 16 for each in fine):
        return None
    return describe_content(head)


def _cause_in_bytes(file: RandomAccessFile, stored: StoredRange) -> str | None:
    """The cause of a tensor's wrong checksum, if its bytes alone tell it."""
    if not stored.nbytes:
        return cause_line("wrong-entry")
    if _is_zero(file, stored):
        return cause_line("zero-filled")
    hole = None
    for start, stop in _zero_runs(file, stored):
        if stop == stored.offset + stored.nbytes:
            return cause_line("zero-tail", start=start)
        if hole is None and -start % _PAGE <= stop - start:
            hole = cause_line("zero-hole", start=start, stop=stop)
    return hole


def _chunks(file: RandomAccessFile, stored: StoredRange) -> Iterator[tuple[int, bytes]]:
    """The bytes of a tensor, chunk by chunk, each with its offset in the file."""
    end = stored.offset + stored.nbytes
    for position in range(stored.offset, end, BUFFER_BYTES):
        yield position, file.read(position, min(BUFFER_BYTES, end - position))


def _is_zero(file: RandomAccessFile, stored: StoredRange) -> bool:
    return not any(chunk.strip(b"\0") for _, chunk in _chunks(file, stored))


def _zero_runs(file: RandomAccessFile, stored: StoredRange) -> Iterator[tuple[int, int]]:
    """The start and end of each long run of zeros in the bytes of a tensor, as offsets in the file."""
    start = stop = stored.offset  # the latest run, which may continue in the next chunk
    for position, chunk in _chunks(file, stored):
        for found in _ZEROS.finditer(chunk):
            first = position + found.start()
            if first != stop:
                if stop - start >= _TELLING_ZEROS:
                    yield start, stop
                start = first
            stop = position + found.end()
    if stop - start >= _TELLING_ZEROS:
        yield start, stop
