"""Carries out a plan: share or copy what is carried, write what is new, commit everything at once.

Every operation that makes a checkpoint ends here. Before anything is written, each carried range is checked against
the size of its file. Sharing checks the checksums of each shard's smallest tensors, a few megabytes or at least one, so
that an index beside the data of another checkpoint is found; copying checks every checksum.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, get_args

from tensorbundle.dtypes import DType
from tensorbundle.entries import check_range
from tensorbundle.errors import BundleError, MissingFileError, UnsupportedError, check_word
from tensorbundle.index import decode_key
from tensorbundle.slices import readable_key
from tensorbundle.storage.staging import SharingError
from tensorbundle.tools.rewriting.plan import Carried, Converted
from tensorbundle.tools.rewriting.plan import Literal as LiteralTensor
from tensorbundle.tools.rewriting.streaming import Piece, runs, stream
from tensorbundle.writer import BundleWriter, ShardFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from concurrent.futures import Executor

    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.storage.staging import SharedHow
    from tensorbundle.tools.rewriting.plan import LeftOut, Note, Output, Plan

__all__ = [
    "DATA_MODES",
    "DataMode",
    "Summary",
    "TransferOptions",
    "bytes_to_read",
    "check_sources",
    "dead_bytes",
    "shared_paths",
    "transfer",
]

DataMode = Literal["share", "copy"]
DATA_MODES: Final = get_args(DataMode)
SAMPLE_BYTES: Final = 4 << 20  # read of each shared shard, unless its smallest tensor has more
SAMPLE_TENSORS: Final = 1000
DEAD_BYTES: Final = 1 << 20  # that a shared data shard may have, whatever share of it they are
COPIED_BYTES: Final = 64 << 20  # what is copied, or goes into one new data shard, rather than kept apart


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """How an output is made.

    Attributes:
        data: whether carried bytes stay where they are ("share", where the file system can) or are copied.
        overwrite: whether an existing checkpoint may be replaced.
        verify: whether checksums of carried bytes are checked: all when copying, a sample when sharing.
        state: whether to write a `checkpoint` state file that names the output as the latest.
        executor: where data shards are copied at the same time; None copies one after another.
        progress: told how many bytes were moved since it was last called.

    Raises:
        BundleError: `data` is another word.
    """

    data: DataMode = "share"
    overwrite: bool = False
    verify: bool = True
    state: bool = False
    executor: Executor | None = None
    progress: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        check_word("data", self.data, DATA_MODES)


@dataclass(frozen=True, slots=True)
class Summary:
    """What was made.

    Attributes:
        prefix: of the output.
        tensors: in the output, partitioned ones counted once.
        bytes_written: of data shards and index.
        bytes_shared: of data shards that the output shares with a source.
        bytes_read: of data shards, to copy or to check them.
        bytes_dead: of shared data shards that no tensor of the output has; `compact` rewrites without them.
        seconds: from plan to commit.
        sharing: how bytes are shared: "reflink" or "hard link"; why not; or None where copying was asked for.
        left_out: what the source has and the output does not.
        overflowed: tensors with values that became infinite, or did not fit an integer type, and how many.
        lost: tensors with values that became another integer or truth value than they were, and how many.
        changes: how many tensors were renamed, cast and dropped.
        notes: what operations say of what they did, and of which tensors.
    """

    prefix: str
    tensors: int
    bytes_written: int
    bytes_shared: int
    bytes_read: int
    bytes_dead: int = 0
    seconds: float = 0.0
    sharing: str | None = None
    left_out: tuple[LeftOut, ...] = ()
    overflowed: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return asdict(self)


def transfer(plan: Plan, prefix: str, options: TransferOptions) -> Summary:
    """Make the checkpoint `prefix` as `plan` says.

    Raises:
        ConflictError: the output exists, or two tensors would get one key.
        CorruptionError, MissingFileError: a source's data is damaged or absent; nothing was written.
        UnsupportedError: a variant of a big-endian source, whose byte order nobody can change.
        BundleError: the destination can't be written to.
    """
    started = time.perf_counter()
    sizes = check_sources(plan)
    shared = shared_paths(plan, sizes) if options.data == "share" else []
    sharing: str | None = None
    try:
        try:
            make = _make_v1 if plan.file_format == "v1" else _make
            made, written = make(plan, prefix, options, sizes, shared)
        except SharingError as error:
            sharing = f"copied instead: {error.reason}"
            made, written = _make(plan, prefix, options, sizes, [])
    except OSError as error:
        if isinstance(error, BundleError) or error.filename:
            raise
        raise BundleError(f"{error.strerror or error}; nothing was changed", path=prefix) from error
    return Summary(
        prefix=prefix,
        tensors=plan.tensors,
        bytes_written=written,
        bytes_shared=made.shared,
        bytes_read=made.read,
        bytes_dead=made.dead,
        seconds=round(time.perf_counter() - started, 6),
        sharing=sharing or made.how,
        left_out=tuple(plan.left_out),
        overflowed=made.overflowed,
        lost=made.lost,
        changes=dict(plan.changes),
        notes=tuple(plan.notes),
    )


def bytes_to_read(plan: Plan, shared: Collection[str]) -> int:
    """Bytes of data shards that are read to make the output, if the data shards `shared` are; samples not counted."""
    total = 0
    for each in plan.outputs:
        origin = each.origin
        if isinstance(origin, Carried):
            total += 0 if origin.path in shared and origin.part_of is None else origin.entry.nbytes
        elif isinstance(origin, Converted):
            total += sum(stored.entry.nbytes for stored in origin.expression.inputs())
    return total


def shared_paths(plan: Plan, sizes: Mapping[str, int]) -> list[str]:
    """The data shards of sources that the output would share: those of which it needs enough to be worth the space.

    Sharing one keeps all its bytes alive. Where more than a megabyte of it would be dead, and less than a tenth is
    needed and little in all, what is needed is copied instead.
    """
    if plan.must_copy:
        return []
    needed: dict[str, int] = dict.fromkeys(sizes, 0)
    for each in plan.outputs:
        if isinstance(each.origin, Carried):
            needed[each.origin.path] += each.origin.entry.nbytes
    return [
        path
        for path, live in needed.items()
        if sizes[path] - live <= DEAD_BYTES or live * 10 >= sizes[path] or live > COPIED_BYTES
    ]


def dead_bytes(plan: Plan, shared: Collection[str], sizes: Mapping[str, int]) -> int:
    """Bytes of the data shards `shared` that no tensor of the output has; `sizes` are those of the shards."""
    live: dict[str, list[tuple[int, int]]] = {path: [] for path in shared}
    for each in plan.outputs:
        if isinstance(each.origin, Carried) and each.origin.path in live:
            entry = each.origin.entry
            live[each.origin.path].append((entry.offset, entry.nbytes))
    dead = 0
    for path, ranges in live.items():
        end = 0
        for offset, nbytes in sorted(ranges):  # they may overlap
            dead += max(offset - end, 0)
            end = max(end, offset + nbytes)
        dead += sizes[path] - end
    return dead


@dataclass(slots=True)
class _Made:
    shared: int = 0
    read: int = 0
    dead: int = 0
    how: SharedHow | None = None
    overflowed: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)


def check_sources(plan: Plan) -> dict[str, int]:
    """Whether a plan can be carried out, so far as can be told from indexes and the sizes of files.

    Returns the sizes, in bytes, of the data shards that hold something carried, in the order of sources and shards.

    Raises:
        ConflictError: two tensors would get one key.
        CorruptionError, MissingFileError: a source's data is not all there.
        UnsupportedError: a variant of a big-endian source, whose byte order nobody can change.
    """
    plan.check_keys()
    sizes: dict[str, int] = {}
    carried: dict[tuple[int, int], str] = {}
    sources: dict[int, int] = {}
    for index, key, entry, is_carried in _stored(plan):
        if index.header.big_endian and entry.dtype is DType.variant:
            raise UnsupportedError(
                "a big-endian variant can't be rewritten", path=index.prefix, key=decode_key(key)
            )
        path = index.shard_path(entry.shard)
        if path not in sizes:
            if not os.path.isfile(path):
                raise MissingFileError(
                    "no such file: this data shard is missing", path=path, key=decode_key(key)
                )
            sizes[path] = os.path.getsize(path)
        if index.file_format == "v2":
            check_range(entry, path, sizes[path], decode_key(key))
        if is_carried:
            carried[sources.setdefault(id(index), len(sources)), entry.shard] = path
    return {path: sizes[path] for _, path in sorted(carried.items())}


def _stored(plan: Plan) -> Iterator[tuple[Index, bytes, TensorEntry, bool]]:
    """Every stored tensor or slice that a plan reads, and whether it is carried."""
    for each in plan.outputs:
        origin = each.origin
        if isinstance(origin, Carried):
            yield origin.index, origin.key, origin.entry, True
        elif isinstance(origin, Converted):
            for stored in origin.expression.inputs():
                if not stored.pieces:
                    yield stored.index, stored.key, stored.entry, False
                for _, key, entry in stored.pieces:
                    yield stored.index, key, entry, False


def _make(
    plan: Plan, prefix: str, options: TransferOptions, sizes: Mapping[str, int], shared: Collection[str]
) -> tuple[_Made, int]:
    """Write the output, with the data shards `shared` linked; what was done, and the bytes written."""
    made = _Made(sum(sizes[path] for path in shared), dead=dead_bytes(plan, shared, sizes))
    with BundleWriter(prefix, overwrite=options.overwrite) as writer:
        numbers: dict[str, int] = {}
        for path in shared:
            numbers[path], made.how = writer.share_shard(path)
        stay, move = _split(plan.outputs, numbers)
        entries = _entries_of_shared(stay, numbers, options, made)
        groups = _groups(move, one=bool(shared))
        if plan.shards:
            by_number: dict[int, list[Output]] = {number: [] for number in range(plan.shards)}
            for each in move:
                by_number[each.shard].append(each)
            groups = list(by_number.values())
        jobs = [_Job(*writer.stage_shard(), group, options.verify) for group in groups]
        for written, part in _run(jobs, options):
            entries.update(written)
            made.read += part.read
            made.overflowed |= part.overflowed
            made.lost |= part.lost
        for each in plan.outputs:
            writer.put(each.key, entries[each.key])
        for key, entry in plan.partitioned.items():
            first = entries[entry.slices[0].key(key)]  # merging gives it the shard of that
            writer.put(key, entry._replace(shard=first.shard))
        if options.state:
            writer.add_file(*_state_file(prefix))
    return made, writer.bytes_written


def _make_v1(
    plan: Plan, prefix: str, options: TransferOptions, sizes: Mapping[str, int], shared: Collection[str]
) -> tuple[_Made, int]:
    """Write the output as a V1 file, which shares nothing; as `_make`."""
    from tensorbundle.tools.rewriting.v1_output import write_v1_plan  # NumPy, which sharing needs none of

    del sizes, shared
    beside = dict([_state_file(prefix)]) if options.state else {}
    written, casts = write_v1_plan(plan, prefix, options, beside)
    return _Made(read=casts.read, overflowed=casts.overflowed, lost=casts.lost), written


def _split(outputs: Iterable[Output], numbers: Mapping[str, int]) -> tuple[list[Output], list[Output]]:
    """The outputs whose bytes stay in a shared data shard, and the others."""
    stay: list[Output] = []
    move: list[Output] = []
    for each in outputs:
        origin = each.origin
        stays = isinstance(origin, Carried) and origin.path in numbers
        (stay if stays else move).append(each)
    return stay, move


def _groups(outputs: list[Output], *, one: bool) -> list[list[Output]]:
    """What goes into each new data shard; into a single one, if `one` is set and it is not much."""
    if one and sum(each.origin.entry.nbytes for each in outputs) <= COPIED_BYTES:
        return [outputs] if outputs else []
    groups: dict[int, list[Output]] = {}
    for each in outputs:
        groups.setdefault(each.shard, []).append(each)
    return [groups[number] for number in sorted(groups)]


def _entries_of_shared(
    outputs: list[Output], numbers: Mapping[str, int], options: TransferOptions, made: _Made
) -> dict[bytes, TensorEntry]:
    """The entries of what stays where it is; a sample is checked, and checksums that nobody knows are computed."""
    pieces = {each.key: piece for each, piece in zip(outputs, _pieces(outputs), strict=True)}
    crcs: dict[Piece, int] = {}
    unknown = [piece for piece in pieces.values() if not piece.crc_known]
    for run in runs(sorted(unknown, key=lambda each: (each.path, each.entry.offset))):
        made.read += stream(run, computed=crcs.__setitem__, progress=options.progress)
    if options.verify:
        made.read += _check_wholes(outputs)
        by_path: dict[str, list[Piece]] = {}
        for piece in pieces.values():
            if piece.crc_known:
                by_path.setdefault(piece.path, []).append(piece)
        made.read += sum(map(_check_sample, by_path.values()))
    return {
        key: piece.entry._replace(shard=numbers[piece.path], crc32c=crcs.get(piece, piece.entry.crc32c))
        for key, piece in pieces.items()
    }


def _check_wholes(outputs: Iterable[Output]) -> int:
    """Check the tensors of which only parts are carried: a part has no checksum of its own yet; the bytes read."""
    wholes = {
        Piece(each.origin.path, decode_key(each.origin.key), each.origin.part_of)
        for each in outputs
        if isinstance(each.origin, Carried) and each.origin.part_of is not None
    }
    return sum(stream([piece]) for piece in wholes)


def _check_sample(pieces: list[Piece]) -> int:
    """Check the smallest tensors of one data shard, a few megabytes or at least one tensor; the bytes read."""
    sample: list[Piece] = []
    total = 0
    for piece in sorted(pieces, key=lambda each: each.entry.nbytes):
        if not piece.entry.nbytes:
            continue
        total += piece.entry.nbytes
        if sample and (total > SAMPLE_BYTES or len(sample) == SAMPLE_TENSORS):
            break
        sample.append(piece)
    sample.sort(key=lambda each: each.entry.offset)
    return sum(map(stream, runs(sample)))


@dataclass(frozen=True, slots=True)
class _Job:
    """One data shard to write. Plain data that can go to another process, but for `progress`, which stays here."""

    number: int
    path: str
    outputs: list[Output]
    verify: bool
    progress: Callable[[int], None] | None = None


def _run(jobs: list[_Job], options: TransferOptions) -> Iterator[tuple[dict[bytes, TensorEntry], _Made]]:
    """Write data shards, with progress as bytes are moved; a shard at a time where another process moves them."""
    if options.executor is None:
        yield from (_write_shard(replace(job, progress=options.progress)) for job in jobs)
    elif isinstance(options.executor, ThreadPoolExecutor):
        progress = _one_at_a_time(options.progress)
        yield from options.executor.map(_write_shard, [replace(job, progress=progress) for job in jobs])
    else:
        for entries, part in options.executor.map(_write_shard, jobs):
            if options.progress is not None:
                options.progress(part.read)
            yield entries, part


def _one_at_a_time(progress: Callable[[int], None] | None) -> Callable[[int], None] | None:
    """What several threads may tell of their progress."""
    if progress is None:
        return None
    lock = threading.Lock()

    def locked(amount: int) -> None:
        with lock:
            progress(amount)

    return locked


def _write_shard(job: _Job) -> tuple[dict[bytes, TensorEntry], _Made]:
    """Write one data shard: the entries of what it holds, and what was read. Depends on nothing but the plan."""
    entries: dict[bytes, TensorEntry] = {}
    made = _Made()
    with ShardFile(job.path) as file:
        for carried, group in itertools.groupby(job.outputs, lambda each: isinstance(each.origin, Carried)):
            if carried:
                entries.update(_copy_ranges(file, list(group), job, made))
            else:
                entries.update((each.key, _write_new(file, each, job, made)) for each in group)
        if job.verify:
            made.read += _check_wholes(job.outputs)
    return entries, made


def _copy_ranges(
    file: ShardFile, outputs: list[Output], job: _Job, made: _Made
) -> Iterator[tuple[bytes, TensorEntry]]:
    keys = iter(outputs)
    for run in runs(_pieces(outputs)):
        moved = file.size - run[0].entry.offset
        crcs: dict[Piece, int] = {}
        made.read += stream(
            run,
            write=file.write,
            verify=job.verify,
            computed=crcs.__setitem__,
            progress=job.progress,
        )
        for piece in run:
            entry = piece.entry._replace(
                shard=job.number,
                offset=piece.entry.offset + moved,
                crc32c=crcs.get(piece, piece.entry.crc32c),
            )
            yield next(keys).key, entry


def _write_new(file: ShardFile, output: Output, job: _Job, made: _Made) -> TensorEntry:
    """Write a literal or a converted tensor at the end of a data shard."""
    origin = output.origin
    if isinstance(origin, LiteralTensor):
        offset, _, _ = file.append([origin.payload])
        return origin.entry._replace(shard=job.number, offset=offset)
    if not isinstance(origin, Converted):
        raise TypeError(f"{type(origin).__name__} is neither literal nor converted")
    # NumPy, which sharing needs none of.
    from tensorbundle.creation import store_strings
    from tensorbundle.tools.rewriting.expressions import stream as stream_values
    from tensorbundle.tools.rewriting.reading import Reading

    with Reading(verify=job.verify, progress=job.progress) as reading:
        chunks = stream_values(origin.expression, reading)
        if origin.entry.dtype is DType.string:
            values = [value for chunk in chunks for value in chunk.tolist()]
            entry = store_strings(file, job.number, origin.entry.shape, values)
        else:
            offset, nbytes, crc = file.append(chunk.view("u1").data for chunk in chunks)
            entry = origin.entry._replace(shard=job.number, offset=offset, nbytes=nbytes, crc32c=crc)
    made.read += reading.bytes_read
    if reading.overflowed:
        made.overflowed[readable_key(output.key)] = reading.overflowed
    if reading.lost:
        made.lost[readable_key(output.key)] = reading.lost
    return entry


def _pieces(outputs: Iterable[Output]) -> Iterator[Piece]:
    for each in outputs:
        origin = each.origin
        if isinstance(origin, Carried):
            yield Piece(origin.path, decode_key(origin.key), origin.entry, crc_known=origin.part_of is None)


def _state_file(prefix: str) -> tuple[str, bytes]:
    """A state file that names the output as the latest checkpoint, after those that the one there names."""
    from tensorbundle.state import CheckpointState  # needs protobuf, which a prefix does not

    directory, name = os.path.split(prefix)
    try:
        state = CheckpointState.read(directory)
    except MissingFileError:
        state = CheckpointState(directory, "")
    return state.path, state.saved(name, time.time()).encode()
