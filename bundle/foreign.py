"""Files of other formats: which endings they have, and which class reads them.

The readers are in `tools/formats`, above this layer, so they are imported by name when such a file is opened. This layer
knows only the table below.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tensorbundle.index import Index
    from tensorbundle.storage.protocols import Store

__all__ = ["foreign_ending", "open_foreign"]

# The ending of a name, and the module and the class of its `Index`; the first ending that matches decides.
_READERS: Final = {
    ".safetensors": "safetensors_index.SafetensorsIndex",
    ".safetensors.index.json": "safetensors_index.SafetensorsIndex",
    ".npz": "npz_index.NpzIndex",
    ".h5": "hdf5_index.Hdf5Index",
    ".hdf5": "hdf5_index.Hdf5Index",
    ".keras": "hdf5_index.KerasArchiveIndex",
    ".weights.json": "keras_shards_index.KerasShardsIndex",
}


def foreign_ending(path: str) -> str | None:
    """The ending by which a name is that of a file of another format, or None."""
    return next((each for each in _READERS if path.endswith(each)), None)


def open_foreign(path: str, store: Store) -> Index:
    """The index of a file of another format, whose name has one of the endings.

    Raises:
        MissingFileError, CorruptionError, UnsupportedError: as for `open_checkpoint`.
    """
    ending = foreign_ending(path)
    if ending is None:
        raise ValueError(f"{path!r} has none of the endings {', '.join(_READERS)}")
    module, name = _READERS[ending].split(".")
    reader = getattr(importlib.import_module(f"tensorbundle.tools.formats.{module}"), name)
    index: Index = reader(path, store)
    return index
