"""Reads Keras weights in several files, `NAME.weights.json` and `NAME_00000.weights.h5` and so on. Needs h5py.

The JSON has `weight_map`, which maps the path of each group with variables, such as `/layers/dense/vars`, to the name
of its file, or to a list of names (keras/src/saving/saving_lib.py, `ShardedH5IOStore`).
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

from tensorbundle.errors import CorruptionError
from tensorbundle.keys import decode_key
from tensorbundle.storage.paths import dirname, join
from tensorbundle.tools.formats.hdf5_index import Hdf5Index
from tensorbundle.tools.formats.listed_index import ListedIndex

if TYPE_CHECKING:
    from tensorbundle.boxes import Box
    from tensorbundle.dtypes import Array
    from tensorbundle.entries import TensorEntry
    from tensorbundle.storage.protocols import Store

__all__ = ["KerasShardsIndex"]

_MAX_INDEX_BYTES: Final = 10_000_000
_MAX_FILES: Final = 10_000


class KerasShardsIndex(ListedIndex):
    """The datasets of all files that a `.weights.json` file names."""

    file_format = "hdf5"

    def __init__(self, path: str, store: Store) -> None:
        """Visit the groups and datasets of all files.

        Raises:
            MissingFileError: no such file, or a file that it names is missing.
            CorruptionError: not such an index, a damaged file, or a dataset that is in two files.
            UnsupportedError: as `Hdf5Index`.
        """
        names = _names(path, store)
        super().__init__(path, store, [join(dirname(path), name) for name in names])
        self._opened = contextlib.ExitStack()
        self._homes: dict[bytes, Hdf5Index] = {}
        attributes: dict[str, dict[str, str | list[str]]] = {}
        try:
            for number, file in enumerate(self.files):
                part = self._opened.enter_context(Hdf5Index(file, store))
                attributes |= part.attributes
                for key, entry in part.raw_entries():
                    if key in self._homes:
                        raise CorruptionError(
                            "another file has this dataset too", path=file, key=decode_key(key)
                        )
                    self._homes[key] = part
                    self.add(key, entry._replace(shard=number), part.stored(key, entry))
        except BaseException:
            self.close()
            raise
        self.attributes = attributes

    def values(self, key: bytes, entry: TensorEntry, box: Box | None = None) -> Array:
        """See `Index`."""
        return self._homes[key].values(key, entry, box)

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._opened.close()


def _names(path: str, store: Store) -> list[str]:
    """The names of the files, in order."""
    with store.open(path) as file:
        if file.size > _MAX_INDEX_BYTES:
            raise CorruptionError(
                f"an index of {file.size} bytes, at most {_MAX_INDEX_BYTES} are allowed", path=path
            )
        try:
            found: Any = json.loads(file.read(0, file.size))
        except (ValueError, RecursionError) as error:
            raise CorruptionError(f"not JSON: {error}", path=path) from None
    weights = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(weights, dict):
        raise CorruptionError("no 'weight_map': not the index of Keras weights in several files", path=path)
    names: set[str] = set()
    for group, files in weights.items():
        for name in files if isinstance(files, list) else [files]:
            if not isinstance(name, str) or "/" in name or "\0" in name or name in ("", ".", ".."):
                raise CorruptionError(
                    f"{name!r} is not the name of a file in the same directory", path=path, key=group
                )
            names.add(name)
    if len(names) > _MAX_FILES:
        raise CorruptionError(f"{len(names)} files, at most {_MAX_FILES} are allowed", path=path)
    return sorted(names)
