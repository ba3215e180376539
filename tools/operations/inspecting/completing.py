"""The names in a checkpoint that begin with a text, for shell completion; reads few blocks of a large index."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Final

from tensorbundle.checkpoint import open_index
from tensorbundle.foreign import foreign_ending
from tensorbundle.index import BundleIndex
from tensorbundle.keys import decode_key, encode_key
from tensorbundle.locating import resolve_prefix
from tensorbundle.storage import store_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    _Search = Callable[[bytes], bytes | None]

__all__ = ["names_at"]

_FIRST: Final = b"\1"  # no name begins with a zero byte: the header and slice keys do
_END: Final = b"\xff"  # after all names


def names_at(path: str, text: str, most: int) -> list[str]:
    """The names in the checkpoint at `path` that begin with `text`, sorted, each up to its next '/'.

    That is `dense/` and `dense_1/` for `den`. A name is a key, or an object's path in place of its key. Parts that begin
    with a dot, such as `.OPTIMIZER_SLOT`, are included only if `text` has the dot. If there are more than `most` names,
    these are the first ones and the last one: a shell completes what all of them have in common.

    Raises:
        MissingFileError: no checkpoint there.
        CorruptionError, UnsupportedError: the part of the index that was read is damaged.
    """
    start = encode_key(text)
    if text and not start:
        return []  # no key can have it
    store = store_of(path).remembering()
    prefix = resolve_prefix(path, store)
    if foreign_ending(prefix) is not None:
        from tensorbundle.tools.formats.names import names_in  # most checkpoints are no such files

        keys = names_in(prefix, store, text)
        if keys is not None:
            return _names(start, most, *_searches(sorted(keys)))
    with open_index(prefix, store) as index:
        if isinstance(index, BundleIndex):
            return _names(start, most, index.table.next_key, index.table.previous_key)
        return _names(start, most, *_searches([key for key, _ in index.raw_entries()]))


def _names(start: bytes, most: int, next_key: _Search, previous_key: _Search) -> list[str]:
    """See `names_at`; the searches give the first key that is not before another one, and the last one before it, or None.

    After each name, a search skips all keys with the same name.
    """
    found: set[str] = set()
    key = next_key(max(start, _FIRST))
    while key is not None and key.startswith(start):
        part, slash, rest = key[len(start) :].partition(b"/")
        if part.startswith(b".") and not start.endswith(b"."):
            key = next_key(_past(start + b"."))  # also all tensors of an object whose path is `text`
            continue
        if len(found) == most:
            last = previous_key(_past(start) if start else _END) or key
            part, slash, rest = last[len(start) :].partition(b"/")
        is_object = rest.startswith(b".")
        name = start + part + (b"" if is_object else slash)
        found.add(decode_key(name))
        if len(found) > most:
            break
        key = next_key(_past(name + b"/.") if is_object else _past(name) if slash else name + b"\0")
    return sorted(found)


def _past(prefix: bytes) -> bytes:
    """The least key after all that begin with `prefix`, whose last byte is less than 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _searches(keys: Sequence[bytes]) -> tuple[_Search, _Search]:
    """The searches of `_names` among sorted keys."""

    def next_key(key: bytes) -> bytes | None:
        place = bisect.bisect_left(keys, key)
        return keys[place] if place < len(keys) else None

    def previous_key(key: bytes) -> bytes | None:
        place = bisect.bisect_left(keys, key)
        return keys[place - 1] if place else None

    return next_key, previous_key
