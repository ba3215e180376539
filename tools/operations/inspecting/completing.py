"""The names in a checkpoint that begin with a text, for shell completion; reads few blocks of a large index."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Final

from tensorbundle.index import BundleIndex
from tensorbundle.keys import decode_key, encode_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.index import Index

__all__ = ["names_from"]

_MARK: Final = ".ATTRIBUTES/"  # follows an object's path in a key


def names_from(index: Index, text: str) -> list[str]:
    """The sorted names that begin with `text`, each up to its next '/': `dense/` and `dense_1/` for `den`.

    A name is a key, or an object's path in place of its key. Parts that begin with a dot, such as `.OPTIMIZER_SLOT`, are
    included only if `text` has the dot.

    Raises:
        CorruptionError, UnsupportedError: the part of the index that was read is damaged.
    """
    found = set()
    for key in _keys_from(index, text):
        part, slash, rest = key[len(text) :].partition("/")
        if part.startswith(".") and not text.endswith("."):
            continue  # also all tensors of an object whose path is `text`
        found.add(text + part + ("" if rest.startswith(".") else slash))
    return sorted(found)


def _keys_from(index: Index, text: str) -> Iterator[str]:
    """Keys that begin with `text`, in key order: at least one for each next part."""
    start = encode_key(text)
    for items in _runs(index, start):
        for key, _ in items:
            if key.startswith(start) and key and key[0] != 0:  # neither the header nor a slice key
                yield decode_key(key)


def _runs(index: Index, start: bytes) -> Iterator[list[tuple[bytes, object]]]:
    """Entries in key order, without blocks of the table whose keys all have the same next part."""
    if not isinstance(index, BundleIndex):
        yield list(index.raw_entries())
        return
    table = index.table
    for number in range(bisect.bisect_left(table.separators, start), len(table.separators)):
        before = table.separators[number - 1] if number else b""
        if before > start and not before.startswith(start):
            return
        slash = before.find(b"/", len(start)) if before.startswith(start) else -1
        # The keys of this block are between two separators: all of them begin with the common start of both.
        if slash < 0 or not table.separators[number].startswith(before[: slash + 1]):
            yield list(table.block_items(number))
