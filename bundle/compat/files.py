"""The files of a checkpoint: whether they exist, when they were modified, and their removal."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import BundleError
from tensorbundle.filenames import index_path
from tensorbundle.members import shards_of, v1_files
from tensorbundle.storage import store_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = ["checkpoint_exists", "files_at", "get_checkpoint_mtimes", "remove_checkpoint"]

_V2: Final = 2  # SaverDef.CheckpointFormatVersion


def checkpoint_exists(checkpoint_prefix: Path) -> bool:
    """Whether a checkpoint with this prefix exists: its index, or any file or directory with exactly this name."""
    return bool(files_at(os.fsdecode(checkpoint_prefix)))


def get_checkpoint_mtimes(checkpoint_prefixes: Iterable[Path]) -> list[float]:
    """The times of last modification of these checkpoints, in whole seconds since the epoch; missing ones are omitted."""
    found = [files_at(os.fsdecode(each)) for each in checkpoint_prefixes]
    return [float(store_of(paths[0]).modified(paths[0]) // 10**9) for paths in found if paths]


def files_at(prefix: str) -> list[str]:
    """The files that show that a checkpoint exists: the index, else the path itself, else the files of a V1 checkpoint."""
    for path in (index_path(prefix), prefix):
        store = store_of(path)
        if store.is_file(path) or (path and store.is_directory(path)):
            return [path]
    return several_v1_files(prefix)


def several_v1_files(prefix: str) -> list[str]:
    """The files that `P-?????-of-00002` matches; not those for `P`, which TensorFlow treats as one file."""
    return [each for each in v1_files(prefix) if store_of(each).is_file(each)] if "?" in prefix else []


def remove_checkpoint(
    checkpoint_prefix: Path, checkpoint_format_version: int = _V2, meta_graph_suffix: str = "meta"
) -> None:
    """Delete a checkpoint's files and its graph file; missing ones are ignored. The state file does not change.

    Args:
        checkpoint_prefix: its path prefix.
        checkpoint_format_version: 2 (`SaverDef.V2`) for a bundle: the index and all its data shards; otherwise the
            file with exactly this name, or all files of a V1 checkpoint `P-?????-of-00002`.
        meta_graph_suffix: the ending of the graph file's name.

    Raises:
        BundleError: a file can't be deleted.
    """
    prefix = os.fsdecode(checkpoint_prefix)
    graph = re.sub(r"-[\d?]+-of-\d+$", "", prefix) + f".{meta_graph_suffix}"
    if checkpoint_format_version == _V2:
        paths = [index_path(prefix), *shards_of(prefix).values()]
    else:
        paths = several_v1_files(prefix) or [prefix]
    for path in (graph, *paths):
        try:
            with contextlib.suppress(FileNotFoundError):
                store_of(path).remove(path)
        except OSError as error:
            raise BundleError(f"can't be deleted: {error.strerror}", path=path) from error
