"""Read, write and rewrite TensorFlow checkpoints on their files, without TensorFlow.

    import tensorbundle as tb

    with tb.open("run/model.ckpt-1000") as ckpt:
        ckpt["dense/kernel"]

The layers, lowest first; each imports only from those before it:

- bytes: `errors.py`, `limits.py`, `coding.py` (varints, checksums, ordered code), `keys.py`, `markup.py` (notebooks),
  `arrays.py` (NumPy)
- storage: `storage/` (the only place that touches files)
- table: `block.py`, `table.py` (keys and values are bytes)
- bundle: `dtypes.py`, `specs.py`, `boxes.py`, `slices.py`, `entries.py`, `payloads.py`, `filenames.py`, `members.py`,
  `index.py`, `parts.py`, `gathering.py` (NumPy from here), `shards.py`, `writer.py`, `v1/`
- messages: `tensorbundle.proto` (object graph)
- checkpoint: `state.py`, `foreign.py`, `locating.py`, `checkpoint.py`, `creation.py`, `compat/` (names of `tf.train`)
- rewriting, operations and command line: `tensorbundle.tools`
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorbundle import compat as compat
    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.checkpoint import open_checkpoint as open  # noqa: A004  the name users expect
    from tensorbundle.creation import CheckpointWriter, create
    from tensorbundle.dtypes import DType
    from tensorbundle.entries import TensorEntry
    from tensorbundle.errors import (
        ArgumentError,
        BundleError,
        ConflictError,
        CorruptionError,
        MissingFileError,
        RegionError,
        TensorNotFoundError,
        UnreadableFileError,
        UnsupportedError,
    )
    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.slices import TensorSlice

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "BundleError",
    "Checkpoint",
    "CheckpointWriter",
    "ConflictError",
    "CorruptionError",
    "DType",
    "MissingFileError",
    "ObjectGraph",
    "RegionError",
    "TensorEntry",
    "TensorNotFoundError",
    "TensorSlice",
    "UnreadableFileError",
    "UnsupportedError",
    "create",
    "open",
]

_HOMES = {
    "ArgumentError": "errors",
    "BundleError": "errors",
    "Checkpoint": "checkpoint",
    "CheckpointWriter": "creation",
    "ConflictError": "errors",
    "CorruptionError": "errors",
    "DType": "dtypes",
    "MissingFileError": "errors",
    "ObjectGraph": "proto.graph",
    "RegionError": "errors",
    "TensorEntry": "entries",
    "TensorNotFoundError": "errors",
    "TensorSlice": "slices",
    "UnreadableFileError": "errors",
    "UnsupportedError": "errors",
    "create": "creation",
    "open": "checkpoint",
}


def __getattr__(name: str) -> object:
    """Import public names when they are first used, so that `import tensorbundle` is fast."""
    if name == "compat":
        return importlib.import_module(f"{__name__}.compat")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    value = getattr(module, "open_checkpoint" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
