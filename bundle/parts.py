"""The parts of a save that ended before TensorFlow merged them, as one index, equal to the result of the merge.

A sharded save writes bundles `P_temp.../part-SSSSS-of-NNNNN` (`P.part-SSSSS-of-NNNNN` on S3) and then merges their indexes
(TensorFlow core/util/tensor_bundle/tensor_bundle.cc, `MergeBundles`): data shards are numbered consecutively, part by
part, and the slices of a partitioned tensor are joined in the order of the parts.
"""

from __future__ import annotations

import bisect
import contextlib
import heapq
import itertools
import operator
from typing import TYPE_CHECKING, Self

from tensorbundle.entries import BundleHeader, StoredRange
from tensorbundle.errors import CorruptionError, MissingFileError
from tensorbundle.filenames import index_path, part_prefixes
from tensorbundle.index import BundleIndex, Index
from tensorbundle.slices import readable_key
from tensorbundle.storage import store_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorbundle.entries import TensorEntry
    from tensorbundle.storage.protocols import Store

__all__ = ["PartsIndex"]


class PartsIndex(Index):
    """The union of the indexes of several bundles, with consecutive numbers for their data shards.

    Attributes:
        parts: the indexes.
    """

    file_format = "v2"
    file_noun = "data shard"
    is_bundle = True

    def __init__(self, prefix: str, parts: Sequence[BundleIndex]) -> None:
        """Make the union of `parts`, and close them when it is closed.

        Args:
            prefix: the name to use in messages.
            parts: open indexes of bundles; at least one.

        Raises:
            CorruptionError: they differ in their byte order.
        """
        super().__init__()
        self.prefix = self.path = prefix
        self.parts = list(parts)
        self.store = parts[0].store
        self._starts = [0, *itertools.accumulate(each.header.num_shards for each in parts)]
        self.header = BundleHeader(self._starts[-1], parts[0].header.big_endian)
        if any(each.header.big_endian != self.header.big_endian for each in parts):
            raise CorruptionError("parts of different byte orders", path=prefix)

    @classmethod
    def open(cls, prefix: str, store: Store | None = None) -> Self:
        """Open all parts that a prefix with question marks matches (`filenames.part_prefixes`).

        Raises:
            MissingFileError: a part is missing.
            CorruptionError, UnsupportedError: a part is damaged, or as for `PartsIndex`.
        """
        store = store or store_of(prefix)
        prefixes = part_prefixes(prefix)
        missing = [each for each in prefixes if not store.is_file(index_path(each))]
        if missing:
            raise MissingFileError(
                f"{len(missing)} of the {len(prefixes)} parts of this save are missing, with the tensors in them; "
                "the other parts can be opened one by one",
                path=index_path(missing[0]),
            )
        with contextlib.ExitStack() as opened:
            index = cls(prefix, [opened.enter_context(BundleIndex(each, store=store)) for each in prefixes])
            opened.pop_all()
        return index

    def get(self, key: bytes) -> TensorEntry | None:
        """The entry of `key`, slice keys included, or None.

        Raises:
            CorruptionError, UnsupportedError: it is damaged, or two parts have it.
        """
        found = (self._placed(number, each.get(key)) for number, each in enumerate(self.parts))
        return self._joined(key, [each for each in found if each is not None])

    def raw_entries(self) -> Iterator[tuple[bytes, TensorEntry]]:
        """Every key and entry, in key order, the slices of partitioned tensors included.

        Raises:
            CorruptionError, UnsupportedError: as `get`.
        """
        key_of = operator.itemgetter(0)
        merged = heapq.merge(*map(self._entries_of, range(len(self.parts))), key=key_of)
        for key, same in itertools.groupby(merged, key_of):
            entry = self._joined(key, [each for _, each in same])
            if entry is not None:
                yield key, entry

    def shard_path(self, shard: int) -> str:
        """The path of a data shard, by its number in the union."""
        number = min(bisect.bisect_right(self._starts, shard), len(self.parts)) - 1
        return self.parts[number].shard_path(shard - self._starts[number])

    def stored(self, key: bytes, entry: TensorEntry) -> StoredRange:
        """The range of bytes in a data shard of a part."""
        del key
        path = self.shard_path(entry.shard)
        return StoredRange(path, entry.offset, entry.nbytes, entry.crc32c, self.header.big_endian)

    def _entries_of(self, number: int) -> Iterator[tuple[bytes, TensorEntry]]:
        for key, entry in self.parts[number].raw_entries():
            yield key, entry._replace(shard=entry.shard + self._starts[number])

    def _placed(self, number: int, entry: TensorEntry | None) -> TensorEntry | None:
        return None if entry is None else entry._replace(shard=entry.shard + self._starts[number])

    def _joined(self, key: bytes, entries: Sequence[TensorEntry]) -> TensorEntry | None:
        """One entry from those of all parts for a key: slices are joined; any other duplicate is an error."""
        if len(entries) < 2:
            return next(iter(entries), None)
        first = entries[0]
        if any(each.spec != first.spec or not each.slices for each in entries):
            raise CorruptionError(
                "several parts of this save contain this tensor, and not as slices",
                path=self.prefix,
                key=readable_key(key),
            )
        return first._replace(slices=tuple(part for each in entries for part in each.slices))

    def __reduce__(self) -> tuple[object, ...]:
        return PartsIndex, (self.prefix, self.parts)  # another process opens the files for itself

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        for each in self.parts:
            each.close()
