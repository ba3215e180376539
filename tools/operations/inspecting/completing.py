"""The names in a checkpoint that begin with a text, for shell completion; reads few blocks of a large index."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Final

from tensorbundle.index import BundleIndex
from tensorbundle.keys import decode_key, encode_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorbundle.index import Index

    _Search = Callable[[bytes], bytes | None]

__all__ = ["names_from"]

_FIRST: Final = b"\1"  # no name begins with a zero byte: the header and slice keys do
_END: Final = b"\xff"  # after all names


def names_from(index: Index, text: str, most: int) -> list[str]:
    """The names that begin with `text`, sorted, each up to its next '/': `dense/` and `dense_1/` for `den`.

    A name is a key, or an object's path in place of its key. Parts that begin with a dot, such as `.OPTIMIZER_SLOT`, are
    included only if `text` has the dot. After each name, a search skips all keys with the same name. If there are more
    than `most` names, these are the first ones and the last one: a shell completes what all of them have in common.

    Raises:
        CorruptionError, UnsupportedError: the part of the index that was read is damaged.
    """
    start = encode_key(text)
    if text and not start:
        return []  # no key can have it
    next_key, previous_key = _searches(index)
    found: set[str] = set()
    key = next_key(max(start, _FIRST))
    while key is not None and key.startswith(start):
        part, slash, rest = key[len(start) :].partition(b"/")
        if part.startswith(b".") and not text.endswith("."):
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


def _searches(index: Index) -> tuple[_Search, _Search]:
    """Functions that give the first key that is not before another one, and the last one before it, or None."""
    if isinstance(index, BundleIndex):
        return index.table.next_key, index.table.previous_key
    keys = [key for key, _ in index.raw_entries()]

    def next_key(key: bytes) -> bytes | None:
        place = bisect.bisect_left(keys, key)
        return keys[place] if place < len(keys) else None

    def previous_key(key: bytes) -> bytes | None:
        place = bisect.bisect_left(keys, key)
        return keys[place - 1] if place else None

    return next_key, previous_key
