"""The tensors of a file that lists them in one place, all of whose entries are therefore in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorbundle.entries import BundleHeader, StoredRange, TensorEntry
from tensorbundle.errors import UnsupportedError
from tensorbundle.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tensorbundle.storage.protocols import Store

__all__ = ["ListedIndex", "is_text", "listed", "refuse"]

_SHOWN: Final = 20


class ListedIndex(Index):
    """An index whose reader has called `add` for each tensor.

    Attributes:
        files: the files that have tensors.
    """

    file_noun = "file"

    def __init__(self, path: str, store: Store, files: Sequence[str]) -> None:
        """No tensors yet, of the file `path`; they are stored in `files`."""
        super().__init__()
        self.prefix = self.path = path
        self.store = store
        self.files = list(files)
        self.header = BundleHeader(max(1, len(self.files)))
        self._entries: dict[bytes, TensorEntry] = {}
        self._ranges: dict[bytes, StoredRange] = {}

    def add(self, key: bytes, entry: TensorEntry, stored: StoredRange | None) -> None:
        """Note a tensor; one without a range has `values`."""
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
        """The path of a file that has tensors."""
        return self.files[shard]

    def stored(self, key: bytes, entry: TensorEntry) -> StoredRange | None:
        """See `Index`; such formats have no checksums."""
        del entry
        return self._ranges.get(key)

    def check(self, key: bytes, entry: TensorEntry, progress: Callable[[int], None] | None = None) -> int:
        """Read all of a tensor, and compare checksums if the format has them; how many bytes were read.

        Raises:
            CorruptionError, MissingFileError, UnsupportedError: it is damaged, or can't be read.
        """
        # NumPy, which a listing needs none of.
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


def listed(names: Sequence[str]) -> str:
    """Names in one line, some of them if there are many."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def refuse(faults: Sequence[str], path: str, what: str) -> None:
    """Refuse a file because of what some of its members are.

    Raises:
        UnsupportedError: there are faults; the reason has all of them.
    """
    if faults:
        raise UnsupportedError(f"{what}: {listed(faults)}", path=path)


def is_text(name: str) -> bool:
    """Whether a key is UTF-8, as the names in most formats are."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
