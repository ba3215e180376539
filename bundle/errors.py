"""The errors of tensorbundle.

`BundleError` is the root. Each error is a value: `reason` describes the problem and the remedy, and `path`, `offset`
(bytes from the start of the file) and `key` give the position, as far as it is known. A low layer knows the offset, a
higher one the file and the key: `locate` adds them while the error propagates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Self

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
    "listed",
    "near_hint",
    "near_names",
    "quoted",
]

_COMPARED: Final = 2_000
_SHOWN: Final = 10


class BundleError(Exception):
    """The root of all errors of this package.

    Attributes:
        kind: what kind of error it is, in one word, for programs: one for each class.
        reason: the problem and the remedy, in one line.
        path: the file or prefix concerned.
        offset: bytes from the start of the file.
        key: the tensor's key.
    """

    kind: ClassVar[str] = "failed"

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
        """Set the attributes that are not known yet; returns the error itself."""
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

    kind = "damaged"


class TensorNotFoundError(BundleError, KeyError):
    """No tensor has this key."""

    kind = "no-tensor"


class MissingFileError(BundleError, FileNotFoundError):
    """A file that the checkpoint needs does not exist."""

    kind = "missing-file"


class UnreadableFileError(BundleError, OSError):
    """A file exists, but the system can't read it."""

    kind = "unreadable-file"


class UnsupportedError(BundleError, NotImplementedError):
    """The operation is valid, but not supported for this input."""

    kind = "unsupported"


class ArgumentError(BundleError, ValueError, TypeError):
    """An argument has the wrong type, or values differ from the type, shape or size that another argument declares."""

    kind = "argument"


class RegionError(BundleError, IndexError):
    """A region is not valid for a tensor's shape."""

    kind = "region"


class ConflictError(BundleError):
    """A name is used twice: the output exists, or two tensors have the same key."""

    kind = "conflict"


def near_names(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The names in `known` that are most similar to `name`, best first.

    Time is bounded: at most 2,000 names, those of about the same length, are compared.
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
    """The end of a message about a name that does not exist: `; near: 'a', 'b'`, or empty."""
    near = near_names(name, known)
    return f"; near: {', '.join(map(repr, near))}" if near else ""


def quoted(names: Iterable[str]) -> str:
    """Names for a message, in quotes: the first ten, and how many more there are."""
    return listed(map(repr, names))


def listed(texts: Iterable[str], *, separator: str = ", ", most: int = _SHOWN) -> str:
    """The first few texts for a message, and how many more there are."""
    found = list(texts)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return separator.join(found[:most]) + more


def check_word(what: str, value: object, allowed: Sequence[str]) -> str:
    """The value of an argument that must be one of the allowed words.

    Raises:
        BundleError: another value; the reason names the argument and the allowed words.
    """
    if not isinstance(value, str) or value not in allowed:
        *most, last = map(repr, allowed)
        raise BundleError(f"{what} = {value!r}, expected {', '.join(most)} or {last}")
    return value


def cannot_read(error: OSError, path: str, what: str = "file") -> BundleError:
    """The `BundleError` for a file, not part of a checkpoint, that is missing or can't be read."""
    if isinstance(error, FileNotFoundError):
        return MissingFileError(f"no such {what}", path=path)
    return BundleError(f"can't be read: {error.strerror or error}", path=path)
