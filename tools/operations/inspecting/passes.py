"""One streamed pass over the values of a checkpoint's tensors, several tensors at a time, in bounded memory."""

from __future__ import annotations

import contextlib
import itertools
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from tensorbundle.arrays import np
from tensorbundle.errors import BundleError
from tensorbundle.tools.patterns import select
from tensorbundle.tools.rewriting.draft_index import expression_of
from tensorbundle.tools.rewriting.expressions import Stored, stream_values
from tensorbundle.tools.rewriting.ordered import in_order
from tensorbundle.tools.rewriting.ranges import BUFFER_BYTES, OpenFiles, TensorRange, stream_ranges
from tensorbundle.tools.rewriting.reading import Reading
from tensorbundle.tools.rewriting.repetition import Repetition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.dtypes import Array
    from tensorbundle.entries import StoredRange, TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.storage.protocols import Store
    from tensorbundle.tools.rewriting.expressions import Expression
    from tensorbundle.tools.rewriting.ordered import Jobs

__all__ = ["flat_values", "flat_values_of", "in_batches", "over_tensors"]

Item = TypeVar("Item")
Result = TypeVar("Result")
_Ranges = list[tuple["Store", "StoredRange"]]

# What one thread does at a time: a task costs more than many small tensors do.
_BATCH_BYTES: Final = 1 << 20
_BATCH_ITEMS: Final = 64


def flat_values(
    index: Index, key: str, entry: TensorEntry, *, verify: bool = True, files: OpenFiles | None = None
) -> Iterator[Array]:
    """The values of one tensor in C order, in flat arrays of a bounded number of elements; strings in a single one.

    Shapes that NumPy does not support are possible, unless the tensor is partitioned. Its checksum is checked after the
    last value was taken.

    Args:
        index: of the checkpoint.
        key: of the tensor.
        entry: of the tensor.
        verify: whether checksums are checked.
        files: open files, which stay open.

    Raises:
        CorruptionError, MissingFileError: the bytes are damaged or absent.
        UnsupportedError: its values can't be arrays (variant, resource).
    """
    yield from flat_values_of(expression_of(index, key, entry), verify=verify, files=files)


def flat_values_of(
    values: Expression, *, verify: bool = True, files: OpenFiles | None = None
) -> Iterator[Array]:
    """`flat_values` of a tensor that is stored or computed."""
    if isinstance(values, Stored) and not values.stored_slices:
        whole = None if files is None else _at_once(values, files, verify=verify)
        if whole is not None:
            yield whole
            return
        values = Stored(values.index, values.key, values.entry._replace(shape=(values.entry.elements,)))
    with Reading(verify=verify, files=files) as reading:
        for stored in values.inputs() if files is None else ():
            for raw_key, each in stored.stored_entries:
                reading.prefetch(stored.index, raw_key, each)
        yield from stream_values(values, reading)


def _at_once(values: Stored, files: OpenFiles, *, verify: bool) -> Array | None:
    """The values of a small tensor of numbers, in a flat array; None of others.

    A checkpoint may have very many. They are read as bytes, as `Reading` takes several times as long for each.
    """
    index, key, entry = values.index, values.key, values.entry
    if not 0 < entry.nbytes <= BUFFER_BYTES or entry.nbytes != entry.expected_nbytes:
        return None
    stored = index.stored(key, entry)
    if stored is None or stored.big_endian:
        return None
    chunks: list[memoryview] = []
    stream_ranges([TensorRange.of(index, key, entry, stored)], files, write=chunks.append, verify=verify)
    return np.frombuffer(chunks[0], entry.dtype.numpy)


def in_batches(
    work: Callable[[Item, OpenFiles], Result],
    items: Iterable[tuple[Item, Sequence[Expression]]],
    *,
    jobs: Jobs = 1,
) -> Iterator[tuple[Item, Result]]:
    """Each item and the result of `work` for it, in order, as `in_order`; small tensors are read many at a time.

    Args:
        work: is given the item and open files to read from.
        items: arguments of `work`, each with the tensors whose values it reads.
        jobs: the number of threads, or an executor.

    Raises:
        UnsupportedError: tensors that share bytes, more often than `Repetition` allows.
        BundleError: what `work` raises, when it is the item's turn.
    """
    for (batch, _, refused), (results, failed) in in_order(
        partial(_all_of, work), _batches(items), jobs=jobs
    ):
        yield from zip(batch, results, strict=False)
        for error in (failed, refused):
            if error is not None:
                raise error


_Batch = tuple[list[Item], _Ranges, BundleError | None]


def _batches(items: Iterable[tuple[Item, Sequence[Expression]]]) -> Iterator[_Batch[Item]]:
    """Items whose tensors have about a megabyte, and their ranges; the last one may come with an error for what follows."""
    repetition = Repetition()
    batch: list[Item] = []
    ranges: _Ranges = []
    size = 0
    try:
        for item, read in items:
            for index, entry, stored in itertools.chain.from_iterable(map(_parts_of, read)):
                size += entry.nbytes
                if stored is not None:
                    repetition.add(entry, stored)
                    ranges.append((index.store, stored))
            batch.append(item)
            if size >= _BATCH_BYTES or len(batch) >= _BATCH_ITEMS:
                yield batch, ranges, None
                batch, ranges, size = [], [], 0
    except BundleError as error:
        yield batch, ranges, error
    else:
        yield batch, ranges, None


def _parts_of(values: Expression) -> Iterator[tuple[Index, TensorEntry, StoredRange | None]]:
    """The stored tensors or slices that a tensor is made of, and where they are; as far as the index is sound, because reading says what is wrong."""
    with contextlib.suppress(BundleError):
        for stored in values.inputs():
            for raw_key, each in stored.stored_entries:
                yield stored.index, each, stored.index.stored(raw_key, each)


def _all_of(
    work: Callable[[Item, OpenFiles], Result], batch: _Batch[Item]
) -> tuple[list[Result], BundleError | None]:
    """The results of a batch, as many as there are before an error."""
    items, ranges, _ = batch
    results: list[Result] = []
    with OpenFiles() as files:
        with contextlib.suppress(BundleError):
            files.prefetch(ranges)
        try:
            results.extend(work(item, files) for item in items)  # one by one: those before an error stay
        except BundleError as error:
            return results, error
    return results, None


def over_tensors(
    checkpoint: Checkpoint,
    patterns: Sequence[str],
    work: Callable[[str, TensorEntry, OpenFiles], Result],
    *,
    jobs: Jobs = 1,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Result]:
    """The results of `work` for each tensor that matches one of the patterns (all without patterns), in key order.

    Args:
        checkpoint: open.
        patterns: as on the command line.
        work: is given a key, its entry and open files; it is called in several threads at a time if `jobs` is more than 1.
        jobs: the number of threads, or an executor.
        progress: told how many bytes each tensor has, when it is done.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        UnsupportedError: tensors that share bytes, more often than `Repetition` allows.
        BundleError: what `work` raises.
    """
    index = checkpoint.index
    chosen = select(checkpoint.entries(), patterns, checkpoint.naming)
    items = (((key, entry), _sound(index, key, entry)) for key, entry in chosen)
    for (_, entry), result in in_batches(partial(_spread, work), items, jobs=jobs):
        if progress is not None:
            progress(entry.nbytes)
        yield result


def _sound(index: Index, key: str, entry: TensorEntry) -> list[Expression]:
    """The values of a tensor; none if its slices are damaged, because reading says what is wrong."""
    with contextlib.suppress(BundleError):
        return [expression_of(index, key, entry)]
    return []


def _spread(
    work: Callable[[str, TensorEntry, OpenFiles], Result], pair: tuple[str, TensorEntry], files: OpenFiles
) -> Result:
    return work(*pair, files)
