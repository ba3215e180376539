"""Writes a plan as a bundle: whole files of sources are shared as data shards, the rest is written to new ones.

Sharing checks the checksums of each shared file's smallest tensors, a few megabytes or at least one, so that an index
beside the data of another checkpoint is found; copying checks every checksum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Final, cast

from tensorbundle.dtypes import DType
from tensorbundle.entries import HEADER_KEY
from tensorbundle.storage.paths import is_far
from tensorbundle.storage.protocols import SharingError
from tensorbundle.tools.rewriting.aliasing import append_aliased
from tensorbundle.tools.rewriting.appending import check_sample, check_wholes, sources_of
from tensorbundle.tools.rewriting.options import Written, files_beside
from tensorbundle.tools.rewriting.ordered import in_order, next_result, one_at_a_time
from tensorbundle.tools.rewriting.plan import Carried
from tensorbundle.tools.rewriting.ranges import OpenFiles, TensorRange, runs, stream_ranges
from tensorbundle.tools.rewriting.resuming import completed
from tensorbundle.writer import BundleWriter, refuse_existing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from tensorbundle.entries import StoredRange, TensorEntry
    from tensorbundle.storage.protocols import Store
    from tensorbundle.tools.rewriting.multipart import MultipartShard, PartRange, SentRange
    from tensorbundle.tools.rewriting.options import TransferOptions
    from tensorbundle.tools.rewriting.plan import Plan, PlannedEntry

__all__ = ["DEAD_BYTES", "BundleOutput", "dead_bytes", "undivided"]

DEAD_BYTES: Final = 1 << 20  # that a shared file may have, whatever share of it they are
_LAST_SECONDS: Final = 10  # for tasks of a run that failed, whose files are removed then
COPIED_BYTES: Final = 64 << 20  # bytes up to which tensors are copied, or written to one new data shard


@dataclass(frozen=True, slots=True)
class BundleOutput:
    """A bundle (`Output`): data shards and an index."""

    @property
    def file_format(self) -> str:
        """See `Output`."""
        return "v2"

    def carries(self, dtype: DType, stored: StoredRange) -> bool:
        """See `Output`: a bundle that is written is little-endian."""
        return not (stored.big_endian and (dtype.swap_width > 1 or dtype is DType.string))

    def lacks(self, key: bytes, dtype: DType, shape: tuple[int, ...]) -> str | None:
        """See `Output`."""
        del dtype, shape
        if key == HEADER_KEY:
            return "a tensor without a name, which only V1 files can have; drop or rename it"
        return None

    def refuse_existing(self, path: str, *, overwrite: bool, store: Store | None = None) -> None:
        """See `Output`."""
        refuse_existing(path, overwrite=overwrite, store=store)

    def shared(self, plan: Plan, path: str, options: TransferOptions, sizes: Mapping[str, int]) -> list[str]:
        """See `Output`: those files of which enough is needed to be worth the space.

        Sharing a file keeps all of its bytes. It is copied from instead if sharing would keep over 1 MiB dead while
        under 10 % and 64 MiB is needed.
        """
        store = options.store_for(path)
        if plan.must_copy or options.data == "copy" or not store.can_share:
            return []
        needed: dict[str, int] = {}
        for each in plan.entries:
            if isinstance(each.origin, Carried) and each.origin.index.store == store:
                path = each.origin.stored.path
                needed[path] = needed.get(path, 0) + each.origin.stored.nbytes
        return [
            file
            for file in sizes
            if (live := needed.get(file)) is not None
            if sizes[file] - live <= DEAD_BYTES or live * 10 >= sizes[file] or live > COPIED_BYTES
        ]

    def write(self, plan: Plan, path: str, options: TransferOptions, sizes: Mapping[str, int]) -> Written:
        """See `Output`."""
        shared = self.shared(plan, path, options, sizes)
        try:
            return _write(plan, path, options, sizes, shared)
        except SharingError as error:
            written = _write(plan, path, options, sizes, [])
            written.sharing = f"copied instead: {error.reason}"
            return written


def _write(
    plan: Plan, prefix: str, options: TransferOptions, sizes: Mapping[str, int], shared: Sequence[str]
) -> Written:
    """Write the bundle, with the files `shared` as data shards."""
    written = Written(
        bytes_shared=sum(sizes[path] for path in shared), bytes_dead=dead_bytes(plan, shared, sizes)
    )
    stay, move = _split(plan.entries, shared)
    groups = _groups(plan, move, one=bool(shared))
    writer = BundleWriter(
        prefix,
        overwrite=options.overwrite,
        store=options.store,
        shards=len(shared) + len(groups),
        resume=options.resume,
    )
    with writer.staging, writer:
        numbers: dict[str, int] = {}
        for path in shared:
            numbers[path], written.sharing = writer.share_shard(path)
        crcs = _check_shared(stay, options, written)
        for each in stay:
            if isinstance(each.origin, Carried):
                writer.put(each.key, _where_shared(each.origin, numbers[each.origin.path], crcs))
        jobs = [
            _Job(writer.store, *writer.stage_shard(), group, options.verify, options.resume)
            for group in groups
        ]
        for done, part in _run(jobs, options, writer.staging.appeared):
            for key, entry in done.items():
                writer.put(key, entry)
            written.add(part)
        for key, entry in plan.partitioned.items():
            first = writer.entries[entry.slices[0].key(key)]  # merging gives it the shard of that
            writer.put(key, entry._replace(shard=first.shard))
        for path, contents in files_beside(prefix, options).items():
            writer.add_file(path, contents)
    written.bytes_written = writer.bytes_written
    return written


def dead_bytes(plan: Plan, shared: Collection[str], sizes: Mapping[str, int]) -> int:
    """Bytes of the files `shared` that no tensor of the output has; `sizes` are those of the files."""
    live: dict[str, list[StoredRange]] = {path: [] for path in shared}
    for each in plan.entries:
        if isinstance(each.origin, Carried) and each.origin.path in live:
            live[each.origin.path].append(each.origin.stored)
    dead = 0
    for path, ranges in live.items():
        end = 0
        ranges.sort(key=attrgetter("offset"))
        for _, offset, nbytes, _, _ in ranges:  # they may overlap
            if offset > end:
                dead += offset - end
            end = max(end, offset + nbytes)
        dead += sizes[path] - end
    return dead


def _split(
    entries: Iterable[PlannedEntry], shared: Collection[str]
) -> tuple[list[PlannedEntry], list[PlannedEntry]]:
    """The entries whose bytes stay in a shared file, and the others."""
    names = set(shared)
    stay: list[PlannedEntry] = []
    move: list[PlannedEntry] = []
    for each in entries:
        stays = isinstance(each.origin, Carried) and each.origin.stored.path in names
        (stay if stays else move).append(each)
    return stay, move


def undivided(
    plan: Plan, path: str, options: TransferOptions, sizes: Mapping[str, int]
) -> dict[str, list[int]]:
    """The sizes of large data shards of the bundle `path` that are one task each of a cluster, by the reasons why."""
    from tensorbundle.tools.rewriting.multipart import obstacle  # for clusters only

    shared = plan.output.shared(plan, path, options, sizes)
    found: dict[str, list[int]] = {}
    for group in _groups(plan, _split(plan.entries, shared)[1], one=bool(shared)):
        reason = obstacle(options.store_for(path), path, group, resume=options.resume)
        if reason is not None:
            found.setdefault(reason, []).append(sum(each.origin.entry.nbytes for each in group))
    return found


def _groups(plan: Plan, entries: list[PlannedEntry], *, one: bool) -> list[list[PlannedEntry]]:
    """The entries of each new data shard: as planned, or all in one if `one` is set and they are small."""
    if plan.shards:
        groups: dict[int, list[PlannedEntry]] = {number: [] for number in range(plan.shards)}
    elif one and sum(each.origin.entry.nbytes for each in entries) <= COPIED_BYTES:
        return [entries] if entries else []
    else:
        groups = {}
    for each in entries:
        groups.setdefault(each.shard, []).append(each)
    return [groups[number] for number in sorted(groups)]


def _check_shared(
    entries: Sequence[PlannedEntry], options: TransferOptions, written: Written
) -> dict[TensorRange, int]:
    """Check a sample of shared bytes; returns the checksums that no index has, which are computed."""
    crcs: dict[TensorRange, int] = {}
    unknown: list[TensorRange] = []
    by_path: dict[str, list[Carried]] = {}
    for each in entries:
        if not isinstance(each.origin, Carried):
            continue
        if each.origin.stored.crc32c is None:
            unknown.append(each.origin.range)
        else:
            by_path.setdefault(each.origin.path, []).append(each.origin)

    with OpenFiles() as files:
        for run in runs(sorted(unknown, key=lambda each: (each.stored.path, each.stored.offset))):
            written.bytes_read += stream_ranges(
                run, files, computed=crcs.__setitem__, progress=options.progress
            )
        if options.verify:
            written.bytes_read += check_wholes(entries, files)
            written.bytes_read += sum(check_sample(each, files) for each in by_path.values())
    return crcs


def _where_shared(origin: Carried, number: int, crcs: Mapping[TensorRange, int]) -> TensorEntry:
    """The index entry of bytes that stay where they are, in the file that is the data shard of this number."""
    entry, stored = origin.entry, origin.stored
    crc = crcs[origin.range] if stored.crc32c is None else entry.crc32c
    if (entry.shard, entry.offset, entry.crc32c) == (number, stored.offset, crc):
        return entry
    return entry._replace(shard=number, offset=stored.offset, crc32c=crc)


@dataclass(frozen=True, slots=True)
class _Job:
    """One data shard to write: plain data that can be sent to another process, except for the functions.

    `appeared` is as for `Store.writer`.
    """

    store: Store
    number: int
    name: str
    entries: list[PlannedEntry]
    verify: bool
    resume: bool = False
    progress: Callable[[int], None] | None = None
    threads: int = 1
    appeared: Callable[[str], None] | None = None


def _run(
    jobs: list[_Job], options: TransferOptions, appeared: Callable[[str], None]
) -> Iterator[tuple[dict[bytes, TensorEntry], Written]]:
    """Write data shards, with progress as bytes are moved; a shard at a time where another process moves them."""
    progress = one_at_a_time(options.progress)
    here = [replace(job, progress=progress, appeared=appeared) for job in jobs]
    if options.executor is None:
        alone = [replace(job, threads=options.jobs) for job in here]
        # A file is copied from disk to disk by all threads. Behind URLs one reads it and another one writes it, and the
        # next one begins before it has ended, as that takes requests which move no bytes.
        together = min(options.jobs, max(2, options.jobs // 2)) if any(map(_is_remote, jobs)) else 1
        yield from (result for _, result in in_order(_write_shard, alone, jobs=together))
        return
    from concurrent.futures import ThreadPoolExecutor  # imported by whoever made an executor

    if isinstance(options.executor, ThreadPoolExecutor):
        yield from options.executor.map(_write_shard, here)
    else:
        yield from _run_elsewhere(jobs, options, appeared)


def _is_remote(job: _Job) -> bool:
    """Whether a data shard is written behind a URL, or its first bytes are read there."""
    first = next(sources_of(job.entries), None)
    return is_far(job.name) or (first is not None and is_far(first[1].path))


def _run_elsewhere(
    jobs: list[_Job], options: TransferOptions, appeared: Callable[[str], None]
) -> Iterator[tuple[dict[bytes, TensorEntry], Written]]:
    """Let other processes write data shards; large ones in ranges of parts, where the store has multipart uploads."""
    from concurrent.futures import wait  # imported by whoever made an executor

    from tensorbundle.tools.rewriting.multipart import aborting, split  # for clusters only

    shards: list[MultipartShard | None] = []
    with aborting(shards):
        shards += [None if job.resume else split(job.store, job.name, job.entries) for job in jobs]
        tasks: list[_Job | PartRange] = []
        for job, each in zip(jobs, shards, strict=True):
            tasks += [job] if each is None else each.ranges
        executor = cast("Executor", options.executor)
        futures = [executor.submit(_do, task) for task in tasks]
        results = (future.result() for future in futures)
        try:
            for number, (job, each) in enumerate(zip(jobs, shards, strict=True)):
                if each is None:
                    entries, part = cast("tuple[dict[bytes, TensorEntry], Written]", next_result(results))
                else:
                    sent = [cast("SentRange", next_result(results)) for _ in each.ranges]
                    entries = _numbered(job, each.finish(sent, verify=job.verify))
                    part = Written(bytes_read=sum(entry.nbytes for entry in entries.values()))
                    shards[number] = None
                    appeared(job.name)
                if options.progress is not None:
                    options.progress(part.bytes_read)
                yield entries, part
        except BaseException:
            done, _ = wait([each for each in futures if not each.cancel()], timeout=_LAST_SECONDS)
            for task, future in zip(tasks, futures, strict=True):
                if isinstance(task, _Job) and future in done and future.exception() is None:
                    appeared(task.name)
            raise


def _do(task: _Job | PartRange) -> tuple[dict[bytes, TensorEntry], Written] | SentRange:
    from tensorbundle.tools.rewriting.multipart import PartRange, send  # for clusters only

    return send(task) if isinstance(task, PartRange) else _write_shard(task)


def _write_shard(job: _Job) -> tuple[dict[bytes, TensorEntry], Written]:
    """Write one data shard: the entries of what it contains, and what was read. Depends on nothing but the plan."""
    if job.resume and not job.store.can_rename:
        there = completed(job.store, job.name, job.entries, job.progress)
        if there is not None:
            return _numbered(job, there), Written(bytes_read=sum(each.nbytes for each in there))
        if job.store.is_file(job.name):
            job.store.remove(job.name)
    size = sum(each.origin.entry.nbytes for each in job.entries)
    with job.store.writer(job.name, size, job.appeared) as file:
        done, written = append_aliased(
            file, job.entries, verify=job.verify, progress=job.progress, jobs=job.threads
        )
    return _numbered(job, done), written


def _numbered(job: _Job, entries: Sequence[TensorEntry]) -> dict[bytes, TensorEntry]:
    keys = [each.key for each in job.entries]
    return {key: entry._replace(shard=job.number) for key, entry in zip(keys, entries, strict=True)}
