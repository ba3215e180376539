"""Problems of data shards: of `verify`. Each range, its place and its checksum, and why it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorbundle.entries import check_range
from tensorbundle.errors import (
    BundleError,
    CorruptionError,
    MissingFileError,
    UnreadableFileError,
    UnsupportedError,
)
from tensorbundle.slices import readable_key
from tensorbundle.storage.content import describe_content, describe_text
from tensorbundle.tools.operations.explaining.catalogue import cause_line
from tensorbundle.tools.operations.inspecting.damage import Damage
from tensorbundle.tools.operations.inspecting.layout import Layout
from tensorbundle.tools.operations.inspecting.sectors import common_sector
from tensorbundle.tools.operations.inspecting.zeros import cause_in_bytes, is_zero
from tensorbundle.tools.rewriting.checking import checked
from tensorbundle.tools.rewriting.ranges import TensorRange
from tensorbundle.tools.rewriting.repetition import EncodedRepetition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import BundleIndex
    from tensorbundle.storage.protocols import RandomAccessFile
    from tensorbundle.tools.operations.inspecting.problems import Report
    from tensorbundle.tools.rewriting.ordered import Jobs

__all__ = ["ShardChecks"]

_Failure = tuple[TensorRange, CorruptionError]
_HEAD_BYTES: Final = 4096  # of a file, enough to tell its format
_EXAMINED: Final = (
    4  # times a file's size, of bytes of tensors, which may overlap, that are searched for zeros
)
_JOBS_FAR_AWAY: Final = 4  # the least number of threads if they mostly wait for a network


class ShardChecks:
    """Checks of data shards.

    Attributes:
        report: gets the problems.
        quick: skip the checks that read data shards.
        jobs: the number of threads that check checksums, or an executor for that.
        progress: told how many bytes are done.
    """

    def __init__(
        self, report: Report, *, quick: bool, jobs: Jobs, progress: Callable[[int], None] | None
    ) -> None:
        self._report, self._quick, self._jobs, self._progress = report, quick, jobs, progress

    def run(self, index: BundleIndex, entries: Mapping[bytes, TensorEntry]) -> None:
        """Check the tensors of each data shard; a missing or unreadable shard is reported once."""
        by_shard: dict[int, list[tuple[TensorRange, TensorEntry]]] = {}
        for key, entry in entries.items():
            if not entry.slices:
                each = TensorRange.of(index, key, entry, index.stored(key, entry))
                by_shard.setdefault(entry.shard, []).append((each, entry))
        for shard, ranges in sorted(by_shard.items()):
            first = ranges[0][0]
            path = first.stored.path
            what = f"{len(ranges)} tensors are stored in it, {first.key!r} first"
            if shard >= index.header.num_shards:
                reason = f"data shard {shard} of {index.header.num_shards}; {what}"
                self._report.add(
                    "missing-shard", CorruptionError(reason, path=path), cause=cause_line("impossible-entry")
                )
                continue
            try:
                with index.store.open(path) as file:
                    self._check_shard(file, ranges)
            except MissingFileError as error:
                gone = MissingFileError(f"{error.reason}; {what}", path=path)
                self._report.add("missing-shard", gone, cause=cause_line("not-copied"))
            except UnreadableFileError as error:
                self._report.add("unreadable-shard", BundleError(f"{error.reason}; {what}", path=path))
            except CorruptionError as error:
                self._report.add("unreadable-shard", error, cause=cause_line("shrank"))

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
        examined = self._affordable(file, inside)
        distinct = {each.stored: each for each in examined}
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
            self._report.tensors += 0 if self._quick else len(examined)
        finally:
            failed = {each.raw_key for each, _ in [*outside, *failures]}
            fine = [each for each in ordered if each.raw_key not in failed]
            content = _foreign_content(file, fine, several=bool(outside) or len(failures) > 1)
            if outside or failures:
                distinct_entries = {each.stored: (each.key, entry) for each, entry in ranges}
                damage = Damage(
                    file.read,
                    file.size,
                    list(distinct_entries.values()),
                    big_endian=ranges[0][0].stored.big_endian,
                )
                self._explain_ranges(file, outside, content or (None if self._quick else damage.of_whole))
                self._explain_checksums(file, ordered, dict(ranges), failures, content, damage)

    def _affordable(self, file: RandomAccessFile, ranges: list[TensorRange]) -> list[TensorRange]:
        """The ranges that are checked: not those of strings that share bytes again and again, which is reported."""
        repetition = EncodedRepetition()
        try:
            for each in ranges:
                repetition.add(each.dtype, each.elements, each.stored)
        except UnsupportedError as error:
            self._report.add("overlap", UnsupportedError(error.reason, path=file.path))
            return [each for each in ranges if each.dtype.itemsize]
        return ranges

    def _check_layout(self, file: RandomAccessFile, ranges: list[TensorRange]) -> None:
        """Find bytes that no tensor, or several tensors, refer to; only ranges that overlap in part are a fault."""
        layout = Layout.of(
            ((each.raw_key, each.stored.offset, each.stored.nbytes) for each in ranges), file.size
        )
        self._report.dead_bytes += layout.dead_bytes
        self._report.aliases += len(layout.aliases)
        for each in layout.overlaps:
            reason = f"{each.stop - each.start} of its bytes are also those of {readable_key(each.first)!r}"
            key = readable_key(each.second)
            overlap = CorruptionError(reason, path=file.path, offset=each.start, key=key)
            self._report.add("overlap", overlap, severity="warning")

    def _explain_ranges(self, file: RandomAccessFile, failures: list[_Failure], whole: str | None) -> None:
        ends = [each.end for each, _ in failures]
        needed = max(ends, default=0)
        kind = "truncated" if file.size else "empty-file"
        cut = cause_line(kind, size=file.size, needed=needed, missing=needed - file.size)
        for (_, error), end in zip(failures, ends, strict=True):
            if end > file.size:
                self._report.add("truncated", error, cause=whole or cut)
            else:
                self._report.add("size", error, cause=cause_line("impossible-entry"))

    def _explain_checksums(
        self,
        file: RandomAccessFile,
        ranges: list[TensorRange],
        entries: Mapping[TensorRange, TensorEntry],
        failures: list[_Failure],
        content: str | None,
        damage: Damage,
    ) -> None:
        budget = _EXAMINED * file.size

        def affords(each: TensorRange) -> bool:
            nonlocal budget
            budget -= each.stored.nbytes
            return budget >= 0

        causes = [
            content
            or damage.cause(
                each.key,
                entries[each],
                failed=len(failures),
                zeros=cause_in_bytes(file, each.stored) if affords(each) else None,
            )
            for each, _ in failures
        ]
        other = None
        changed = causes.count(None)
        if changed > 1:
            # Empty tensors, and biases and slots that are still zero, are alike in every checkpoint of a model.
            telling = sum(not (affords(each) and is_zero(file, each.stored)) for each in ranges)
            if changed == telling:
                other = cause_line("other-checkpoint")
            elif changed * 2 > telling:
                other = cause_line("mostly-other-checkpoint", changed=changed, telling=telling)
            else:
                unknown = zip(failures, causes, strict=True)
                other = common_sector(entries[each] for (each, _), cause in unknown if cause is None)
        for (_, error), cause in zip(failures, causes, strict=True):
            self._report.add(
                "checksum",
                error,
                cause=cause or other or cause_line("changed"),
            )


def _foreign_content(file: RandomAccessFile, fine: list[TensorRange], *, several: bool) -> str | None:
    """The kind of a file that is not a data shard, if its first bytes tell it and are in none of the `fine` tensors.

    One tensor may be text, but not `several` of which none is fine.
    """
    head = file.read(0, min(file.size, _HEAD_BYTES))
    if not head.strip(b"\0") or any(each.stored.nbytes and each.stored.offset < 16 for each in fine):
        return None
    is_any_fine = any(each.stored.nbytes for each in fine)
    return describe_content(head) or (describe_text(head) if several and not is_any_fine else None)
