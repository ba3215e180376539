"""One streamed pass over the values of a checkpoint's tensors, several tensors at a time, in bounded memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tensorbundle.keys import encode_key
from tensorbundle.tools.patterns import select
from tensorbundle.tools.rewriting.expressions import Stored, stream_values
from tensorbundle.tools.rewriting.ordered import in_order
from tensorbundle.tools.rewriting.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.dtypes import Array
    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.tools.rewriting.ordered import Jobs

__all__ = ["flat_values", "over_tensors"]

Result = TypeVar("Result")


def flat_values(index: Index, key: str, entry: TensorEntry, *, verify: bool = True) -> Iterator[Array]:
    """The values of one tensor in C order, in flat arrays of a bounded number of elements; strings in a single one.

    Shapes that NumPy does not support are possible, unless the tensor is partitioned. Its checksum is checked after the
    last value was taken.

    Raises:
        CorruptionError, MissingFileError: the bytes are damaged or absent.
        UnsupportedError: its values can't be arrays (variant, resource).
    """
    stored = Stored.of(index, encode_key(key), entry)
    if not stored.stored_slices:
        stored = Stored(index, stored.key, entry._replace(shape=(entry.elements,)))
    with Reading(verify=verify) as reading:
        for raw_key, each in stored.stored_entries:
            reading.prefetch(index, raw_key, each)
        yield from stream_values(stored, reading)


def _spread(work: Callable[[str, TensorEntry], Result], pair: tuple[str, TensorEntry]) -> Result:
    return work(*pair)


def over_tensors(
    checkpoint: Checkpoint,
    patterns: Sequence[str],
    work: Callable[[str, TensorEntry], Result],
    *,
    jobs: Jobs = 1,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Result]:
    """The results of `work` for each tensor that matches one of the patterns (all without patterns), in key order.

    Args:
        checkpoint: open.
        patterns: as on the command line.
        work: is called in several threads at a time if `jobs` is more than 1.
        jobs: the number of threads, or an executor.
        progress: told how many bytes each tensor has, when it is done.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        BundleError: what `work` raises.
    """
    chosen = select(checkpoint.entries(), patterns, checkpoint.naming)
    for (_, entry), result in in_order(partial(_spread, work), chosen, jobs=jobs):
        if progress is not None:
            progress(entry.nbytes)
        yield result
