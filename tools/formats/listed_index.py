"""An index whose entries are all in memory, for files that list their tensors in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorbundle.entries import BundleHeader, StoredRange, TensorEntry
from tensorbundle.errors import UnsupportedError, listed
from tensorbundle.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tensorbundle.storage.protocols import Store

__all__ = ["MOST_SHOWN", "ListedIndex", "is_text", "refuse"]

MOST_SHOWN: Final = 20  # in one message


class ListedIndex(Index):
    """An index to which a reader adds each tensor with `add`.

    Attributes:
        files: the files that tensors are stored in.
    """

    file_noun = "file"

    def __init__(self, path: str, store: Store, files: Sequence[str]) -> None:
        """Make an index of `path` without tensors; they will be stored in `files`."""
        super().__init__()
        self.prefix = self.path = path
        self.store = store
        self.files = list(files)
        self.header = BundleHeader(max(1, len(self.files)))
        self._entries: dict[bytes, TensorEntry] = {}
        self._ranges: dict[bytes, StoredRange] = {}

    def add(self, key: bytes, entry: TensorEntry, stored: StoredRange | None) -> None:
        """Add a tensor; for one without a range, the index has `values`."""
        self._entries[key] = entry
        if stored is not None:
            self._ranges[key] = stored

    def get(self, key: bytes) -> TensorEntry | None:
        """The entry of `key`, or None."""
        return self._entries.get(key)

    def raw_entries(self) -> Iterator[tuple[bytes, TensorEntry]]:
        """Every key and entry, in key order."""
        for key in sorted(self._entries):
            yield key, self._entries[key]

    def shard_path(self, shard: int) -> str:
        """The path of a file that tensors are stored in."""
        return self.files[shard]

    def stored(self, key: bytes, entry: TensorEntry) -> StoredRange | None:
        """See `Index`; such formats have no checksums."""
        del entry
        return self._ranges.get(key)

    def check(self, key: bytes, entry: TensorEntry, progress: Callable[[int], None] | None = None) -> int:
        """Read all of a tensor, and compare checksums if the format has them; returns the number of bytes read.

        Raises:
            CorruptionError, MissingFileError, UnsupportedError: it is damaged, or can't be read.
        """
        # Needs NumPy, which a listing does not.
        from tensorbundle.tools.rewriting.expressions import Stored, stream_values
        from tensorbundle.tools.rewriting.reading import Reading

        with Reading(progress=progress) as reading:
            for _ in stream_values(Stored(self, key, entry), reading):
                pass
            return reading.bytes_read

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.path, self.store)  # another process opens the files for itself

    def close(self) -> None:
        """Nothing is open."""


def refuse(faults: Sequence[str], path: str, what: str) -> None:
    """Refuse a file because of faults of its members.

    Raises:
        UnsupportedError: there are faults; the reason lists them.
    """
    if faults:
        raise UnsupportedError(f"{what}: {listed(faults, most=MOST_SHOWN)}", path=path)


def is_text(name: str) -> bool:
    """Whether a key is UTF-8, which most formats need for names."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
