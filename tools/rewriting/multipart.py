"""One large data shard, written by several tasks: each sends some parts of one multipart upload, which is completed here.

So a cluster is of use also where a checkpoint has one tensor of a terabyte. It is done for bytes that are carried as they
are, to stores that put files together from parts (`Store.assemble`).
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tensorbundle.coding import combine_crc32c
from tensorbundle.errors import BundleError
from tensorbundle.tools.rewriting.pieces import Whole, cut, move
from tensorbundle.tools.rewriting.plan import Carried, Converted, Literal
from tensorbundle.tools.rewriting.ranges import OpenFiles, TensorRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tensorbundle.entries import TensorEntry
    from tensorbundle.storage.protocols import Assembly, SentPart, Store
    from tensorbundle.tools.rewriting.pieces import Piece
    from tensorbundle.tools.rewriting.plan import PlannedEntry

__all__ = ["MultipartShard", "PartRange", "SentRange", "aborting", "obstacle", "send", "split"]

RANGE_BYTES: Final = 512 << 20  # of the parts that one task sends


@dataclass(frozen=True, slots=True)
class PartRange:
    """Parts of an upload that follow each other, sent by one task. Plain data for another process.

    Attributes:
        assembly: the upload.
        first: the number of its first part.
        piece: ranges of sources, or bytes, each with the number of its entry.
    """

    assembly: Assembly
    first: int
    piece: Piece


@dataclass(frozen=True, slots=True)
class SentRange:
    """What a task sent: the parts of the upload, and the checksums of those of the piece."""

    parts: tuple[SentPart, ...]
    checksums: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MultipartShard:
    """A data shard that several tasks send.

    Attributes:
        assembly: its upload.
        ranges: what each task sends.
        entries: of the shard, with their places in it.
        whole: for each entry, all of its range in a source, or None if its bytes are the plan's own.
    """

    assembly: Assembly
    ranges: tuple[PartRange, ...]
    entries: tuple[TensorEntry, ...]
    whole: tuple[TensorRange | None, ...]

    def finish(self, sent: Sequence[SentRange], *, verify: bool) -> list[TensorEntry]:
        """Let the file appear, after all ranges were sent; the entries with their checksums.

        Raises:
            CorruptionError: the checksum of an entry is wrong.
            ConflictError, UnreadableFileError: as `WritableFile.close`.
        """
        out: list[TensorEntry] = []
        size = total = 0
        of_entry = Whole()
        for task, each in zip(self.ranges, sent, strict=True):
            for part, crc in zip(task.piece.parts, each.checksums, strict=True):
                size += part.nbytes
                total = combine_crc32c(total, crc, part.nbytes)
                found, _ = of_entry.add(part, crc)
                if part.ends:
                    out.append(
                        _checked(self.entries[part.number], self.whole[part.number], found, verify=verify)
                    )
        self.assembly.complete([part for each in sent for part in each.parts], size, total)
        return out


def _checked(entry: TensorEntry, whole: TensorRange | None, crc: int, *, verify: bool) -> TensorEntry:
    """The entry of bytes that were sent, which have this checksum."""
    if whole is None:
        return entry
    if verify and entry.dtype.itemsize:
        whole.must_match(crc)
    return entry._replace(crc32c=crc) if whole.stored.crc32c is None else entry


def obstacle(store: Store, path: str, entries: Sequence[PlannedEntry], *, resume: bool) -> str | None:
    """Why the data shard at `path`, if it is large enough for several tasks, is left to one; None if it is not."""
    if sum(each.origin.entry.nbytes for each in entries) <= 2 * RANGE_BYTES:
        return None
    if not store.can_assemble(path):
        return "only S3 takes the parts of a file from several machines"
    if resume:
        return "--resume (resume=True) works on whole data shards"
    for each in entries:
        origin = each.origin
        if isinstance(origin, Converted):
            return "values are computed"
        if isinstance(origin, Carried) and origin.part_of is not None:
            return "parts of tensors are stored, which have one checksum for the whole"
        if isinstance(origin, Carried) and origin.entry.nbytes and not origin.entry.dtype.itemsize:
            return "strings are checked as a whole"
    if _overlap([each.origin.range for each in entries if isinstance(each.origin, Carried)]):
        return "tensors have bytes in common, which are stored once"
    return None


def split(store: Store, path: str, entries: Sequence[PlannedEntry]) -> MultipartShard | None:
    """How several tasks send the data shard at `path`; None if it is not large, or there is an `obstacle`."""
    total = sum(each.origin.entry.nbytes for each in entries)
    if total <= 2 * RANGE_BYTES or obstacle(store, path, entries, resume=False):
        return None
    layout = list(_layout(entries))
    assembly = store.assemble(path, total)
    count = max(1, RANGE_BYTES // assembly.part_bytes)
    ranges = tuple(
        PartRange(assembly, 1 + at * count, piece)
        for at, piece in enumerate(cut(map(_unchecked, layout), count * assembly.part_bytes))
    )
    placed = []
    offset = 0
    for entry, _ in layout:
        placed.append(entry._replace(offset=offset))
        offset += entry.nbytes
    whole = tuple(content if isinstance(content, TensorRange) else None for _, content in layout)
    return MultipartShard(assembly, ranges, tuple(placed), whole)


def _unchecked(item: tuple[TensorEntry, TensorRange | bytes]) -> TensorRange | bytes:
    """A content whose checksum is computed in any case, as that of the file is made of it."""
    _, content = item
    if isinstance(content, bytes):
        return content
    return replace(content, stored=content.stored._replace(crc32c=None))


def _layout(entries: Sequence[PlannedEntry]) -> Iterator[tuple[TensorEntry, TensorRange | bytes]]:
    """Each entry and its bytes, which are carried or the plan's own."""
    for each in entries:
        if isinstance(each.origin, Literal):
            yield each.origin.entry, each.origin.payload
        elif isinstance(each.origin, Carried):
            yield each.origin.entry, each.origin.range


def _overlap(ranges: Iterable[TensorRange]) -> bool:
    """Whether ranges have bytes in common, which are then written once (`aliasing.py`)."""
    ordered = sorted(
        (each.stored.path, each.stored.offset, each.end) for each in ranges if each.stored.nbytes
    )
    return any(one[0] == other[0] and other[1] < one[2] for one, other in itertools.pairwise(ordered))


def send(task: PartRange) -> SentRange:
    """Read what a task sends, and send it.

    Raises:
        CorruptionError, MissingFileError, UnreadableFileError: a source is damaged, or can't be read or written to.
    """
    contents = [part.content for part in task.piece.parts]
    with OpenFiles() as files, task.assembly.writer(task.first) as writer:
        files.prefetch((each.store, each.stored) for each in contents if isinstance(each, TensorRange))
        moved = move(task.piece, files, writer.write)
        return SentRange(tuple(writer.finish_parts()), tuple(moved.checksums))


@contextlib.contextmanager
def aborting(shards: Sequence[MultipartShard | None]) -> Iterator[None]:
    """Deletes the parts of uploads if the block fails."""
    try:
        yield
    except BaseException:
        for each in shards:
            if each is not None:
                with contextlib.suppress(BundleError):
                    each.assembly.abort()
        raise
