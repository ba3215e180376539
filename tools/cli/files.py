"""Files that commands write beside checkpoints: maps, pages, arrays."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import UnsupportedError
from tensorbundle.storage import store_of
from tensorbundle.storage.staging import readable_like
from tensorbundle.writer import commit_file, refuse_taken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tensorbundle.dtypes import Array, DType
    from tensorbundle.storage.protocols import Buffer

__all__ = ["refuse_file", "write_array", "write_text"]


def refuse_file(path: str, *, overwrite: bool) -> None:
    """Refuse to write a file that exists, or into no directory, before anything is read.

    Raises:
        ConflictError: it exists, and `overwrite` is not set; or it is a directory.
        MissingFileError: its directory does not exist.
    """
    store = store_of(path)
    refuse_taken(path, store, overwrite=overwrite)
    store.stage(path)


def write_text(path: str, text: str, *, of: Iterable[str], overwrite: bool = False) -> None:
    """Write a file that is complete or absent, and readable by no more than the checkpoints `of` which it tells.

    Raises:
        ConflictError: as `refuse_file`.
        BundleError: it can't be written.
    """
    _write(path, [text.encode()], of, overwrite=overwrite)


def write_array(
    path: str,
    dtype: DType,
    shape: tuple[int, ...],
    runs: Iterable[Array],
    *,
    of: Iterable[str],
    overwrite: bool = False,
) -> None:
    """Write a `.npy` file that is complete or absent.

    Args:
        path: the file.
        dtype: the type of the values.
        shape: of the array.
        runs: its values in C order, in flat arrays.
        of: the checkpoints that the values are from: the file is readable by no more than they are.
        overwrite: whether a file that exists is replaced.

    Raises:
        ConflictError: as `refuse_file`.
        UnsupportedError: strings, which such a file can store only as pickled objects.
        BundleError: it can't be written.
    """
    if not dtype.itemsize:
        raise UnsupportedError("a .npy file can't contain strings", path=path)
    import numpy as np  # not for text

    from tensorbundle.tools.formats.npy import encode_npy

    def chunks() -> Iterator[Buffer]:
        yield encode_npy(dtype, shape)
        for run in runs:
            yield run.view(np.uint8).data

    _write(path, chunks(), of, overwrite=overwrite)


def _write(path: str, chunks: Iterable[Buffer], of: Iterable[str], *, overwrite: bool) -> None:
    refuse = partial(refuse_file, path, overwrite=overwrite)
    refuse()
    sources = [each for checkpoint in of for each in _files(checkpoint)]
    with readable_like(sources), store_of(path).stage(path, overwrite=overwrite) as staging:
        with staging.writer(path) as file:
            for each in chunks:
                file.write(each)
        commit_file(staging, path, {}, refuse)


def _files(checkpoint: str) -> list[str]:
    """The index of a checkpoint and the data shards that have tensors; of another format, its files."""
    with open_checkpoint(checkpoint) as opened:
        index = opened.index
        every = range(index.header.num_shards)  # of which an index may claim any number
        numbers = {entry.shard for _, entry in index.raw_entries()} if index.is_bundle else every
        return [index.path, *map(index.shard_path, numbers)]
