"""Carries out a plan. Every operation that makes a checkpoint ends here.

Before anything is written, each range is checked against the size of its file, and each tensor against the types and
shapes that the output can store. The output then writes the bytes (`bundle_output.py`, `v1_output.py`).
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from tensorbundle.dtypes import DType
from tensorbundle.entries import check_range
from tensorbundle.errors import CorruptionError, MissingFileError, UnsupportedError
from tensorbundle.slices import readable_key
from tensorbundle.storage.paths import is_far
from tensorbundle.storage.staging import readable_like
from tensorbundle.tools.rewriting.aliasing import repeated_bytes
from tensorbundle.tools.rewriting.bundle_output import BundleOutput
from tensorbundle.tools.rewriting.plan import Carried, Converted
from tensorbundle.tools.rewriting.repetition import EncodedRepetition, Repetition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.storage.protocols import Store
    from tensorbundle.tools.rewriting.options import TransferOptions
    from tensorbundle.tools.rewriting.plan import LeftOut, Note, Plan, PlannedEntry

__all__ = ["Summary", "bytes_to_read", "bytes_to_write", "check_sources", "transfer"]


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
        left_out: tensors of the source that the output does not have, with reasons.
        overflowed: tensors with values that became infinite, or were out of an integer's range, and how many.
        lost: tensors with values that an integer or boolean type can't represent, and how many.
        changes: how many tensors were renamed, cast and dropped.
        notes: remarks of the operations, each with its tensors.
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

    def _repr_html_(self) -> str:
        """The fields that are set, as a table in a notebook."""
        from tensorbundle.markup import html_table  # for notebooks only

        rows = [(name, value) for name, value in self.to_json().items() if value not in (None, (), {})]
        return html_table(f"wrote {self.prefix}", ("field", "value"), rows, len(rows))


def transfer(plan: Plan, prefix: str, options: TransferOptions) -> Summary:
    """Make the checkpoint `prefix` as `plan` says.

    Raises:
        ConflictError: the output exists, or two tensors would get one key.
        CorruptionError, MissingFileError, UnreadableFileError: a source's data is damaged, absent or can't be read;
            nothing was written.
        UnsupportedError: a tensor that the output can't store, or a variant of a big-endian source.
        BundleError: the destination can't be written to.
    """
    started = time.perf_counter()
    sizes = check_sources(plan)
    paths = {index.path for index in {id(index): index for index, _, _, _ in _sources(plan)}.values()}
    indexes = [path for path in paths if not is_far(path)]
    with readable_like([*indexes, *sizes]):
        written = plan.output.write(plan, prefix, options, sizes)
    return Summary(
        prefix=prefix,
        tensors=plan.tensors,
        bytes_written=written.bytes_written,
        bytes_shared=written.bytes_shared,
        bytes_read=written.bytes_read,
        bytes_dead=written.bytes_dead,
        seconds=round(time.perf_counter() - started, 6),
        sharing=written.sharing,
        left_out=tuple(plan.left_out),
        overflowed=written.overflowed,
        lost=written.lost,
        changes=dict(plan.changes),
        notes=tuple(plan.notes),
    )


def bytes_to_read(plan: Plan, shared: Collection[str]) -> int:
    """Bytes that are read to make the output, if the files `shared` are shared, without samples and checks of overlaps."""
    total = -_repeated(plan, shared)
    for each in plan.entries:
        origin = each.origin
        if isinstance(origin, Carried):
            total += 0 if origin.path in shared and origin.part_of is None else origin.stored.nbytes
        elif isinstance(origin, Converted):
            total += sum(stored.entry.nbytes for stored in origin.expression.inputs())
    return total


def bytes_to_write(plan: Plan, shared: Collection[str]) -> int:
    """Bytes of tensors that are written to make the output, if the files `shared` are shared."""
    return sum(each.origin.entry.nbytes for each in _moved(plan, shared)) - _repeated(plan, shared)


def _moved(plan: Plan, shared: Collection[str]) -> list[PlannedEntry]:
    return [
        each for each in plan.entries if not (isinstance(each.origin, Carried) and each.origin.path in shared)
    ]


def _repeated(plan: Plan, shared: Collection[str]) -> int:
    """Bytes that several tensors have and that are copied once, as bundles can have them."""
    return repeated_bytes(_moved(plan, shared)) if isinstance(plan.output, BundleOutput) else 0


def check_sources(plan: Plan) -> dict[str, int]:
    """Check a plan against the indexes and the sizes of the files, before anything is written.

    Returns the sizes, in bytes, of the files that carried bytes are in, in the order of sources and their files.

    Raises:
        ConflictError: two tensors would get one key.
        CorruptionError, MissingFileError: a source's data is not all there.
        UnsupportedError: a tensor that the output can't store, or a variant of a big-endian source, whose byte order
            can't be changed; or tensors that share bytes, more often than is read (`MAX_REPEATS`,
            `MAX_ENCODED_REPEATS`).
    """
    plan.check_keys()
    sizes: dict[str, int] = {}
    repetition, encoded = Repetition(), EncodedRepetition()
    counted: set[tuple[str, bytes, int, int]] = set()  # one tensor may be the source of several
    shares = isinstance(plan.output, BundleOutput)  # carried bytes that tensors have in common, once
    carried: dict[str, tuple[int, int]] = {}  # file to the numbers of its source and of it there
    sources: dict[int, int] = {}
    expected = False
    for index, key, entry, origin in _sources(plan):
        stored = origin.stored if origin is not None else index.stored(key, entry)
        if stored is not None and stored.big_endian and entry.dtype is DType.variant:
            raise UnsupportedError(
                "a big-endian variant can't be rewritten", path=index.prefix, key=readable_key(key)
            )
        path = index.shard_path(entry.shard) if stored is None else stored.path
        if path not in sizes:
            if is_far(path) and not expected:
                expected = True
                _expect_files(plan)
            if not index.store.is_file(path):
                raise MissingFileError(
                    "no such file: this data shard is missing", path=path, key=readable_key(key)
                )
            sizes[path] = index.store.size(path)
        if stored is not None:
            try:
                check_range(entry, stored, sizes[path])
            except CorruptionError as error:
                raise error.locate(key=readable_key(key)) from None
            encoded.add(entry.dtype, entry.elements, stored)
            if origin is None or not shares:
                source = index.path, key, stored.offset, stored.nbytes
                if source not in counted:
                    counted.add(source)
                    repetition.add(entry, stored)
        if origin is not None and path not in carried:
            carried[path] = sources.setdefault(id(index), len(sources)), entry.shard
    return {path: sizes[path] for path in sorted(carried, key=carried.__getitem__)}


def _expect_files(plan: Plan) -> None:
    """Look at all files behind URLs that a plan reads, those of each source side by side."""
    files: dict[
        int, tuple[Store, dict[str, None]]
    ] = {}  # by identity, as each source has a store that remembers
    for index, key, entry, origin in _sources(plan):
        stored = origin.stored if origin is not None else index.stored(key, entry)
        path = index.shard_path(entry.shard) if stored is None else stored.path
        if is_far(path):
            files.setdefault(id(index.store), (index.store, {}))[1][path] = None
    for store, paths in files.values():
        store.expect(paths)


def _sources(plan: Plan) -> Iterator[tuple[Index, bytes, TensorEntry, Carried | None]]:
    """Every stored tensor or slice that a plan reads, and how it is carried, if it is.

    A tensor that several entries are computed of, as its slices are, is listed once.
    """
    listed: set[int] = set()
    for each in plan.entries:
        origin = each.origin
        if isinstance(origin, Carried):
            yield origin.index, origin.key, origin.entry, origin
        elif isinstance(origin, Converted):
            for stored in origin.expression.inputs():
                if id(stored) in listed:
                    continue
                listed.add(id(stored))
                for key, entry in stored.stored_entries:
                    yield stored.index, key, entry, None
