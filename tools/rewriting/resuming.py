"""Data shards that an interrupted run completed: whether they have the bytes that they should have, by checksums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.entries import StoredRange
from tensorbundle.errors import BundleError
from tensorbundle.tools.rewriting.plan import Converted
from tensorbundle.tools.rewriting.ranges import OpenFiles, TensorRange, stream_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorbundle.entries import TensorEntry
    from tensorbundle.storage.protocols import Store
    from tensorbundle.tools.rewriting.plan import PlannedEntry

__all__ = ["completed"]


def completed(
    store: Store, path: str, entries: Sequence[PlannedEntry], progress: Callable[[int], None] | None = None
) -> list[TensorEntry] | None:
    """The entries of a data shard that is there already; None if it is not, or if its bytes are others or can't be told.

    All of it is read. Bytes can be told if the checksum of each entry is known, as it is of what is carried from a
    bundle; computed values must be computed again.
    """
    out: list[TensorEntry] = []
    run: list[TensorRange] = []
    offset = 0
    for each in entries:
        origin = each.origin
        if isinstance(origin, Converted) or origin.entry.crc32c is None:
            return None
        entry = origin.entry._replace(offset=offset)
        stored = StoredRange(path, offset, entry.nbytes, entry.crc32c)
        run.append(TensorRange(store, stored, each.key, entry.dtype, entry.elements))
        out.append(entry)
        offset += entry.nbytes
    if not store.is_file(path) or store.size(path) != offset:
        return None
    failures: list[BundleError] = []
    try:
        with OpenFiles() as files:
            if run:
                stream_ranges(run, files, failed=lambda _, error: failures.append(error), progress=progress)
    except BundleError:
        return None
    return None if failures else out
