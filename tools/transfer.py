"""Carries out a plan: share or copy what is carried, write what is new, commit everything at once.

Every operation that makes a checkpoint ends here. Before anything is written, each carried range is checked against
the size of its file. Sharing reads a bounded sample of the carried tensors and checks their checksums, so that an
index beside the data of another checkpoint is found; copying checks every checksum.
"""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.commit import SharingError
from tensorbundle.errors import MissingFileError, UnsupportedError
from tensorbundle.index import decode_key
from tensorbundle.names import STATE_FILE
from tensorbundle.shards import check_range
from tensorbundle.tools.plan import Carried
from tensorbundle.tools.plan import Literal as LiteralTensor
from tensorbundle.tools.streaming import Piece, runs, stream
from tensorbundle.writer import BundleWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor

    from tensorbundle.commit import SharedHow
    from tensorbundle.entries import TensorEntry
    from tensorbundle.tools.plan import LeftOut, Output, Plan
    from tensorbundle.writer import ShardFile

__all__ = ["DataMode", "Summary", "TransferOptions", "carried_bytes", "check_sources", "transfer"]

DataMode = Literal["share", "copy"]
SAMPLE_BYTES: Final = 4 << 20  # read at most, of each shared shard
SAMPLE_TENSORS: Final = 1000


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
    """

    data: DataMode = "share"
    overwrite: bool = False
    verify: bool = True
    state: bool = False
    executor: Executor | None = None
    progress: Callable[[int], None] | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What was made.

    Attributes:
        prefix: of the output.
        tensors: in the output, partitioned ones counted once.
        bytes_written: of data shards and index.
        bytes_shared: of data shards that the output shares with a source.
        bytes_read: of data shards, to copy or to check them.
        seconds: from plan to commit.
        sharing: how bytes are shared: "reflink" or "hard link"; why not; or None where copying was asked for.
        left_out: what the source has and the output does not.
    """

    prefix: str
    tensors: int
    bytes_written: int
    bytes_shared: int
    bytes_read: int
    seconds: float
    sharing: str | None = None
    left_out: tuple[LeftOut, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return asdict(self)


def transfer(plan: Plan, prefix: str, options: TransferOptions) -> Summary:
    """Make the checkpoint `prefix` as `plan` says.

    Raises:
        ConflictError: the output exists, or two tensors would get one key.
        CorruptionError, MissingFileError: a source's data is damaged or absent; nothing was written.
        UnsupportedError: a source is big-endian.
        BundleError: the destination can't be written to.
    """
    started = time.perf_counter()
    sizes = check_sources(plan)
    sharing: str | None = None
    made: _Made | None = None
    if options.data == "share":
        try:
            made = _share(plan, prefix, options, sizes)
        except SharingError as error:
            sharing = f"copied instead: {error.reason}"
    if made is None:
        made = _copy(plan, prefix, options)
    return Summary(
        prefix=prefix,
        tensors=plan.tensors,
        bytes_written=made.written,
        bytes_shared=made.shared,
        bytes_read=made.read,
        seconds=round(time.perf_counter() - started, 6),
        sharing=sharing or made.how,
        left_out=tuple(plan.left_out),
    )


def carried_bytes(plan: Plan) -> int:
    """Bytes of the tensors that are carried: what copying moves."""
    return sum(each.origin.entry.nbytes for each in plan.outputs if isinstance(each.origin, Carried))


@dataclass(slots=True)
class _Made:
    written: int
    shared: int
    read: int
    how: SharedHow | None = None


def check_sources(plan: Plan) -> dict[str, int]:
    """Whether a plan can be carried out, so far as can be told from the index and the sizes of files.

    Returns the sizes of the data shards that hold something carried, in bytes.

    Raises:
        ConflictError: two tensors would get one key.
        CorruptionError, MissingFileError: a source's data is not all there.
        UnsupportedError: a source is big-endian.
    """
    plan.check_keys()
    sizes: dict[str, int] = {}
    for each in plan.outputs:
        origin = each.origin
        if not isinstance(origin, Carried):
            continue
        if origin.index.header.big_endian:
            raise UnsupportedError("a big-endian checkpoint can't be rewritten", path=origin.index.prefix)
        path = origin.index.shard_path(origin.entry.shard)
        if path not in sizes:
            if not os.path.isfile(path):
                raise MissingFileError(
                    "no such file: this data shard is missing", path=path, key=decode_key(origin.key)
                )
            sizes[path] = os.path.getsize(path)
        check_range(origin.entry, path, sizes[path], decode_key(origin.key))
    return sizes


def _share(plan: Plan, prefix: str, options: TransferOptions, sizes: dict[str, int]) -> _Made:
    read = 0
    if options.verify:
        by_path: dict[str, list[Piece]] = {path: [] for path in sizes}
        for piece in _pieces(plan.outputs):
            by_path[piece.path].append(piece)
        read = sum(map(_check_sample, by_path.values()))
    with BundleWriter(prefix, overwrite=options.overwrite) as writer:
        numbers: dict[str, int] = {}
        made = _Made(0, sum(sizes.values()), read)
        for path in sizes:
            numbers[path], made.how = writer.share_shard(path)
        new: tuple[int, ShardFile] | None = None
        for each in plan.outputs:
            origin = each.origin
            if isinstance(origin, Carried):
                shard = numbers[origin.index.shard_path(origin.entry.shard)]
                writer.put(each.key, origin.entry._replace(shard=shard))
            else:
                new = new or writer.add_shard()
                offset, _, _ = new[1].append([origin.payload])
                writer.put(each.key, origin.entry._replace(shard=new[0], offset=offset))
        _finish(writer, plan, prefix, options)
    made.written = writer.bytes_written
    return made


def _check_sample(pieces: list[Piece]) -> int:
    """Check the smallest tensors of one data shard, at most a few megabytes; the bytes read."""
    sample: list[Piece] = []
    total = 0
    for piece in sorted(pieces, key=lambda each: each.entry.nbytes):
        total += piece.entry.nbytes
        if total > SAMPLE_BYTES or len(sample) == SAMPLE_TENSORS:
            break
        sample.append(piece)
    sample.sort(key=lambda each: each.entry.offset)
    return sum(map(stream, runs(sample)))


def _copy(plan: Plan, prefix: str, options: TransferOptions) -> _Made:
    groups: dict[int, list[Output]] = {}
    for each in plan.outputs:
        groups.setdefault(each.shard, []).append(each)
    run = options.executor.map if options.executor is not None else map
    made = _Made(0, 0, 0)
    with BundleWriter(prefix, overwrite=options.overwrite) as writer:
        jobs = [(*writer.add_shard(), groups[group], options) for group in sorted(groups)]
        for entries, size in run(_copy_shard, jobs):
            made.read += size
            for key, entry in entries:
                writer.put(key, entry)
        _finish(writer, plan, prefix, options)
    made.written = writer.bytes_written
    return made


def _copy_shard(
    job: tuple[int, ShardFile, list[Output], TransferOptions],
) -> tuple[list[tuple[bytes, TensorEntry]], int]:
    """Write one data shard; the entries of what it holds, and the bytes read. Depends on nothing but the plan."""
    number, file, outputs, options = job
    entries: list[TensorEntry] = []
    read = 0
    for carried, group in itertools.groupby(outputs, lambda each: isinstance(each.origin, Carried)):
        if carried:
            for run in runs(_pieces(group)):
                moved = file.size - run[0].entry.offset
                read += stream(run, write=file.write, verify=options.verify, progress=options.progress)
                entries += [
                    piece.entry._replace(shard=number, offset=piece.entry.offset + moved) for piece in run
                ]
            continue
        for each in group:
            if isinstance(each.origin, LiteralTensor):
                offset, _, _ = file.append([each.origin.payload])
                entries.append(each.origin.entry._replace(shard=number, offset=offset))
    return list(zip((each.key for each in outputs), entries, strict=True)), read


def _pieces(outputs: Iterable[Output]) -> Iterable[Piece]:
    for each in outputs:
        origin = each.origin
        if isinstance(origin, Carried):
            path = origin.index.shard_path(origin.entry.shard)
            yield Piece(path, decode_key(origin.key), origin.entry)


def _finish(writer: BundleWriter, plan: Plan, prefix: str, options: TransferOptions) -> None:
    for key, entry in plan.partitioned.items():
        writer.put(key, entry)
    if options.state:
        from tensorbundle.proto.state import CheckpointState  # needs protobuf, which a prefix does not

        directory, name = os.path.split(prefix)
        state = CheckpointState(directory, name, (name,))
        writer.add_file(os.path.join(directory, STATE_FILE), state.encode())
