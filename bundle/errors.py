"""Every error that tensorbundle raises on purpose.

`BundleError` is the root. Each error is a value: `reason` says what is wrong and what to do, and `path`, `offset`
(bytes from the start of that file) and `key` say where, as far as it is known. A low layer knows the offset, a
higher one the file and the key: `locate` fills in what is missing on the way up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "ArgumentError",
    "BundleError",
    "ConflictError",
    "CorruptionError",
    "MissingFileError",
    "RegionError",
    "TensorNotFoundError",
    "UnreadableFileError",
    "UnsupportedError",
    "cannot_read",
    "check_word",
    "near_hint",
    "near_names",
    "quoted",
]

_COMPARED: Final = 2_000
_SHOWN: Final = 10


class BundleError(Exception):
    """Something about a checkpoint is wrong.

    Attributes:
        reason: what is wrong, and what to do, in one line.
        path: the file or prefix concerned.
        offset: bytes from the start of that file.
        key: the tensor's key.
    """

    def __init__(
        self,
        reason: str,
        *,
        path: str | None = None,
        offset: int | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason, self.path, self.offset, self.key = reason, path, offset, key

    def __str__(self) -> str:
        where = [] if self.path is None else [self.path]
        if self.offset is not None:
            where.append(f"offset {self.offset:#x}")
        if self.key is not None:
            where.append(f"key {self.key!r}")
        return ": ".join([*where, self.reason])

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.reason, self.path, self.offset, self.key)

    def locate(self, *, path: str | None = None, offset: int | None = None, key: str | None = None) -> Self:
        """This same error, with what it did not know yet filled in."""
        self.path = path if self.path is None else self.path
        self.offset = offset if self.offset is None else self.offset
        self.key = key if self.key is None else self.key
        return self


def _rebuild(
    cls: type[BundleError], reason: str, path: str | None, offset: int | None, key: str | None
) -> BundleError:
    return cls(reason, path=path, offset=offset, key=key)


class CorruptionError(BundleError, ValueError):
    """Bytes that the format does not allow."""


class TensorNotFoundError(BundleError, KeyError):
    """No tensor has this key."""


class MissingFileError(BundleError, FileNotFoundError):
    """A file that the checkpoint needs is not there."""


class UnreadableFileError(BundleError, OSError):
    """A file is there, but the system refuses to read it."""


class UnsupportedError(BundleError, NotImplementedError):
    """Legal, but not something that can be done with this input."""


class ArgumentError(BundleError, ValueError, TypeError):
    """An argument of the wrong type, or values of another type, shape or size than another argument declares."""


class RegionError(BundleError, IndexError):
    """A region that a tensor's shape does not have."""


class ConflictError(BundleError):
    """Two things claim one name: an output that exists, two tensors with one key."""


def near_names(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The names in `known` that a reader most likely meant by `name`, best first.

    Bounded in time: at most 2,000 names, those of about the same length, are compared by similarity.
    """
    import difflib  # both only where something is wrong
    import heapq

    last = name.rstrip("/").rsplit("/", 1)[-1].lower()
    candidates = list(known)
    inside = [each for each in candidates if last and last in each.lower()]
    inside.sort(key=lambda each: (abs(len(each) - len(name)), each))
    alike = heapq.nsmallest(_COMPARED, candidates, key=lambda each: abs(len(each) - len(name)))
    similar = difflib.get_close_matches(name, alike, n=limit, cutoff=0.6)
    return list(dict.fromkeys([*similar, *inside]))[:limit]


def near_hint(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that does not exist: `; near: 'a', 'b'`, or nothing."""
    near = near_names(name, known)
    return f"; near: {', '.join(map(repr, near))}" if near else ""


def quoted(names: Iterable[str]) -> str:
    """Names for a message, in quotes: the first ten, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{', '.join(map(repr, found[:_SHOWN]))}{more}"


def check_word(what: str, value: object, allowed: Sequence[str]) -> str:
    """The value of an argument that must be one of a few words.

    Raises:
        BundleError: another value; the reason names the argument and the words.
    """
    if not isinstance(value, str) or value not in allowed:
        *most, last = map(repr, allowed)
        raise BundleError(f"{what} = {value!r}, expected {', '.join(most)} or {last}")
    return value


def cannot_read(error: OSError, path: str, what: str = "file") -> BundleError:
    """The error of ours for a file beside checkpoints that can't be read: there is none, or why."""
    if isinstance(error, FileNotFoundError):
        return MissingFileError(f"no such {what}", path=path)
    return BundleError(f"can't be read: {error.strerror or error}", path=path)
