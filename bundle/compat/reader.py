"""Readers of a checkpoint's tensors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.compat.dtypes import DType
from tensorbundle.compat.errors import NoCheckpointError, as_value_errors
from tensorbundle.compat.state import latest_checkpoint
from tensorbundle.errors import ArgumentError, BundleError, CorruptionError, TensorNotFoundError
from tensorbundle.filenames import index_path
from tensorbundle.keys import decode_key, encode_key
from tensorbundle.locating import resolve_prefix
from tensorbundle.storage import store_of

if TYPE_CHECKING:
    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.compat.files import Path

__all__ = ["CheckpointReader", "NewCheckpointReader", "list_variables", "load_checkpoint", "load_variable"]

_OTHER_NUMERIC_NAMES: Final = {"float16": "HALF", "float32": "FLOAT", "float64": "DOUBLE"}  # types.proto


def _copy(checkpoint: Checkpoint, key: str | bytes) -> Any:
    """A tensor as TensorFlow's reader returns it; errors as for `CheckpointReader.get_tensor`, with similar names."""
    with as_value_errors():
        array = checkpoint.shards.read(decode_key(_as_bytes(key)), copy=True)  # keys only, like TensorFlow
    return array if array.ndim else array[()]


class CheckpointReader:
    """The return value of `load_checkpoint`. Its files stay open until the last reference to it is deleted.

    Attributes:
        checkpoint: the checkpoint that it reads.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """The shape of every tensor, by key.

        Raises:
            CorruptionError: the index is damaged.
        """
        return {key: list(entry.shape) for key, entry in self.checkpoint.entries()}

    def get_variable_to_dtype_map(self) -> dict[str, DType]:
        """The data type of every tensor, by key.

        Raises:
            CorruptionError: the index is damaged.
        """
        return {key: DType(entry.dtype) for key, entry in self.checkpoint.entries()}

    def has_tensor(self, tensor_str: str | bytes) -> bool:
        """Whether a tensor with this key exists.

        Raises:
            CorruptionError: the part of the index that was read is damaged.
        """
        return self.checkpoint.index.get(_as_bytes(tensor_str)) is not None

    def get_tensor(self, tensor_str: str | bytes) -> Any:
        """A copy of a tensor: an array; for a scalar a NumPy scalar, for a scalar string bytes.

        Raises:
            TensorNotFoundError: no such key.
            MissingFileError: the data shard does not exist.
            CorruptionError: the tensor's bytes are damaged.
            UnsupportedValueError: the values can't be an array: a variant, or a shape that NumPy can't have.
        """
        if not self.has_tensor(tensor_str):
            # Without a search for similar names: scripts try one key after another.
            key = decode_key(_as_bytes(tensor_str))
            raise TensorNotFoundError("no such tensor", path=self.checkpoint.prefix, key=key)
        return _copy(self.checkpoint, tensor_str)

    def debug_string(self) -> bytes:
        """A line for each tensor: key, data type, shape, and for a partitioned tensor the number of slices.

        Raises:
            CorruptionError: the index is damaged.
        """
        lines = []
        for key, entry in self.checkpoint.entries():
            dtype = _OTHER_NUMERIC_NAMES.get(entry.dtype, entry.dtype.upper())
            shape = ",".join(map(str, entry.shape))
            slices = f", {len(entry.slices)} slices" if entry.slices else ""
            lines.append(f"{key} (DT_{dtype}) [{shape}]{slices}\n")
        return "".join(lines).encode("utf-8", "surrogateescape")


def NewCheckpointReader(filepattern: Path) -> CheckpointReader:  # noqa: N802  TensorFlow's name
    """A reader of the checkpoint with this prefix.

    Raises:
        MissingFileError: the checkpoint does not exist.
        CorruptionError: the path is a directory, or the checkpoint is damaged.
        UnsupportedValueError: the checkpoint excludes readers of this version.
    """
    path = os.fsdecode(filepattern)
    store = store_of(path)
    if path and store.is_directory(path) and not store.is_file(index_path(path)):
        raise CorruptionError(
            "a directory, not a checkpoint; 'load_checkpoint' reads its latest one", path=path
        )
    with as_value_errors():
        return CheckpointReader(open_checkpoint(path))


def load_checkpoint(ckpt_dir_or_file: Path) -> CheckpointReader:
    """A reader of the checkpoint with this prefix, or of a directory's latest checkpoint.

    Raises:
        NoCheckpointError: a directory without a checkpoint, according to its state file.
        MissingFileError, CorruptionError, UnsupportedValueError: as for `NewCheckpointReader`.
    """
    path = os.fsdecode(ckpt_dir_or_file)
    if not path or not store_of(path).is_directory(path):
        return NewCheckpointReader(path)
    latest = latest_checkpoint(path)
    if latest is None:
        raise _no_checkpoint(path)
    return NewCheckpointReader(latest)


def _no_checkpoint(directory: str) -> NoCheckpointError:
    """The reason for a directory without a checkpoint, or a hint that `tensorbundle.open` finds one."""
    try:
        prefix = resolve_prefix(directory)
    except BundleError as error:
        return NoCheckpointError(error.reason, path=directory)
    return NoCheckpointError(f"no state file that names a checkpoint; {prefix!r} exists", path=directory)


def list_variables(ckpt_dir_or_file: Path) -> list[tuple[str, list[int]]]:
    """Key and shape of every tensor, sorted by key.

    Raises:
        NoCheckpointError, MissingFileError, CorruptionError, UnsupportedValueError: as `load_checkpoint`.
    """
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def load_variable(ckpt_dir_or_file: Path, name: str) -> Any:
    """A copy of the tensor `name`, from which one trailing `:0` is removed; like `CheckpointReader.get_tensor`.

    Raises:
        NoCheckpointError, MissingFileError, CorruptionError, UnsupportedValueError: as for `load_checkpoint`.
        TensorNotFoundError: as for `CheckpointReader.get_tensor`.
    """
    return _copy(load_checkpoint(ckpt_dir_or_file).checkpoint, name.removesuffix(":0"))


def _as_bytes(key: str | bytes) -> bytes:
    """A key as the bytes in the file.

    Raises:
        ArgumentError: neither text nor bytes.
    """
    if isinstance(key, bytes):
        return key
    if not isinstance(key, str):
        raise ArgumentError(f"a key is str or bytes, not {type(key).__name__}")
    return encode_key(key)
