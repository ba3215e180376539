"""The names in files of other formats, without what else describes tensors: a shell waits for them.

Nothing is checked that names do not need. `bundle/foreign.py` has the readers that check everything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import CorruptionError
from tensorbundle.keys import encode_key
from tensorbundle.limits import MAX_HEADER_BYTES
from tensorbundle.storage.paths import dirname, join
from tensorbundle.tools.formats.hdf5_names import WEIGHTS, OtherLayoutError, names_below

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorbundle.storage.protocols import Store

    _Reader = Callable[[str, Store, str], list[bytes] | None]

__all__ = ["names_in"]

_METADATA: Final = re.compile(
    rb'\s*+\{\s*+"__metadata__"\s*+:\s*+\{(?:[^"{}]|"(?:[^"\\]|\\.)*+")*+\}', re.DOTALL
)
_KERAS_FILE: Final = re.compile(r'"([^"/\\]+\.h5)"')
_WEIGHT_MAP: Final = re.compile(rb'"weight_map"\s*+:\s*+(\{[^}]*+\})')


def names_in(path: str, store: Store, start: str) -> list[bytes] | None:
    """Keys that begin with `start`, or beginnings of them, at least one for each scope just below; None: the file must be opened.

    A beginning ends not before the character after the '/' that ends the scope.

    Raises:
        MissingFileError, CorruptionError, UnsupportedError: the part of the file that was read is damaged.
    """
    found = next((read for ending, read in _READERS.items() if path.endswith(ending)), None)
    return found(path, store, start) if found else None


def _safetensors(path: str, store: Store, start: str) -> list[bytes] | None:
    with store.open(path) as file:
        size = int.from_bytes(file.read(0, 8), "little")
        if size > MAX_HEADER_BYTES:
            raise CorruptionError(
                f"a header of {size} bytes, at most {MAX_HEADER_BYTES} are allowed", path=path, offset=0
            )
        header = file.read(8, size)
    metadata = _METADATA.match(header)
    return _members(header[metadata.end() :] if metadata else header, start, rb"\{[^}]*+\}")


def _safetensors_set(path: str, store: Store, start: str) -> list[bytes] | None:
    with store.open(path) as file:
        if file.size > MAX_HEADER_BYTES:
            raise CorruptionError(
                f"an index of {file.size} bytes, at most {MAX_HEADER_BYTES} are allowed", path=path
            )
        found = _WEIGHT_MAP.search(file.read(0, file.size))
    return _members(found[1], start, rb'"[^"]*+"') if found else None


def _members(text: bytes, start: str, value: bytes) -> list[bytes] | None:
    """The names of a JSON object that begin with `start`, whose values match `value`; None if some are escaped."""
    if b"\\" in text or '"' in start:
        return None
    return re.findall(rb'"(%b[^"]*+)"\s*+:\s*+%b' % (re.escape(encode_key(start)), value), text)


def _npz(path: str, store: Store, start: str) -> list[bytes]:
    from tensorbundle.tools.formats.zips import beginnings_of

    with store.open(path) as file:
        return [each.removesuffix(b".npy") for each in beginnings_of(file, encode_key(start))]


def _hdf5(path: str, store: Store, start: str) -> list[bytes] | None:
    with store.open(path) as file:
        return _datasets(file.map(), start)


def _keras_archive(path: str, store: Store, start: str) -> list[bytes] | None:
    from tensorbundle.tools.formats.zips import members_of

    with store.open(path) as file:
        weights = next((each for each in members_of(file) if each.name == WEIGHTS), None)
        data = file.map()
    if weights is None or weights.deflated or data is None:
        return None
    return _datasets(data[weights.start : weights.start + weights.size], start)


def _keras_set(path: str, store: Store, start: str) -> list[bytes] | None:
    with store.open(path) as file:
        files = set(
            _KERAS_FILE.findall(file.read(0, min(file.size, MAX_HEADER_BYTES)).decode("utf-8", "replace"))
        )
    parts = [_hdf5(join(dirname(path), each), store, start) for each in sorted(files)]
    return None if None in parts else [name for part in parts if part for name in part]


def _datasets(data: memoryview | None, start: str) -> list[bytes] | None:
    try:
        return names_below(data, encode_key(start)) if data is not None else None
    except OtherLayoutError:
        return None


# By the ending of a file's name; the first that matches decides.
_READERS: Final[dict[str, _Reader]] = {
    ".safetensors": _safetensors,
    ".safetensors.index.json": _safetensors_set,
    ".npz": _npz,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".keras": _keras_archive,
    ".weights.json": _keras_set,
}
