"""Names of `tf.train` for scripts that do without TensorFlow: `from tensorbundle import compat` in place of `tf.train`.

Functions take what TensorFlow's take (python/training/checkpoint_utils.py, py_checkpoint_reader.py and
python/checkpoint/checkpoint_management.py), and return the same values: writable arrays, NumPy scalars, bytes for a
scalar string, lists for shapes, paths as TensorFlow joins them. Messages are of `tensorbundle.proto`, with the fields of
TensorFlow's; types are `DType` below. What needs a graph or objects (`Saver`, `init_from_checkpoint`, `warm_start`,
`CheckpointManager`, `CheckpointView`) is not here.

Errors are of the one tree under `BundleError`. A ValueError of TensorFlow is one here as well:

| TensorFlow raises | when | here |
| --- | --- | --- |
| ValueError | a directory without a checkpoint | `NoCheckpointError`, a MissingFileError |
| ValueError | a state file that names no latest checkpoint | `CorruptionError` |
| ValueError | made for readers of another version; a shape beyond NumPy | `UnsupportedValueError` |
| ValueError | slices that do not cover a tensor, negative offsets | `CorruptionError` |
| NotFoundError | no such key | `TensorNotFoundError`, a KeyError |
| NotFoundError, OpError | no such checkpoint or data shard | `MissingFileError`, a FileNotFoundError |
| DataLossError, InternalError, OpError, IndexError | damage, or files of other kinds | `CorruptionError`, a ValueError |
| InternalError | a variant | `UnsupportedValueError`, an UnsupportedError |
| RuntimeError | a checkpoint that would be its own state file | `ConflictError` |
| TypeError, ValueError | arguments of a wrong type; timestamps for other paths | the same |

So `except tf.errors.NotFoundError` becomes `except (TensorNotFoundError, MissingFileError)`, and `except
tf.errors.OpError` becomes `except BundleError`.

On purpose, this is not TensorFlow's behaviour:

- Paths are literal. TensorFlow looks for them as for patterns: it can't read `g[1]`, sees a checkpoint `*` wherever
  there is any, and removes all of them for it. The `?` of `P-?????-of-00002`, a V1 checkpoint in several files, do match.
  A `..` is the operating system's; TensorFlow strikes it out together with the name before it.
- Any file of a checkpoint means all of it; TensorFlow lists nothing for `P.index`, half of it for one of several V1 files,
  and refuses the others. If one of several V1 files is missing, that is an error.
- Damage in the index is an error when the damaged part is read. TensorFlow leaves out the keys that it can't read, or
  aborts the process; a header that is lost it takes from the next entry.
- Slices of every type are put together, and every type of a V1 file is read; TensorFlow knows some.
- Keys that are not UTF-8 are listed, as text with surrogate escapes, which all functions take.
- The empty key, which is the header's, is no tensor.
- `debug_string` shows a partitioned tensor as one line; TensorFlow shows the binary keys of the slices of a bundle.
- `remove_checkpoint` removes data shards of any number; TensorFlow leaves those of six digits.
- Paths may be str, bytes or path objects everywhere.

Older versions differ from 2.21, which is followed here, in one thing: they call `timeout_fn` after timeouts only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from typing import TYPE_CHECKING, Any, Final

from tensorbundle import dtypes
from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import (
    BundleError,
    ConflictError,
    CorruptionError,
    MissingFileError,
    TensorNotFoundError,
    UnsupportedError,
)
from tensorbundle.filenames import STATE_FILE, index_path
from tensorbundle.keys import decode_key, encode_key
from tensorbundle.locating import resolve_prefix
from tensorbundle.members import shards_of, v1_files
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import join

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np

    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.proto.checkpoint_pb2 import CheckpointState

    Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = [
    "CheckpointReader",
    "DType",
    "NewCheckpointReader",
    "NoCheckpointError",
    "UnsupportedValueError",
    "checkpoint_exists",
    "checkpoints_iterator",
    "generate_checkpoint_state_proto",
    "get_checkpoint_mtimes",
    "get_checkpoint_state",
    "latest_checkpoint",
    "list_variables",
    "load_checkpoint",
    "load_variable",
    "remove_checkpoint",
    "update_checkpoint_state",
]

_POLL_SECONDS: Final = 1.0  # wait_for_new_checkpoint of checkpoint_utils.py
_MAX_STATE_BYTES: Final = 16 << 20  # more than 100,000 checkpoints take
_V2: Final = 2  # SaverDef.CheckpointFormatVersion
_OTHER_NUMERIC_NAMES: Final = {"float16": "HALF", "float32": "FLOAT", "float64": "DOUBLE"}  # types.proto
_log = logging.getLogger(__name__)


class NoCheckpointError(MissingFileError, ValueError):
    """A directory has no checkpoint, or its state file names one that is not there."""


class UnsupportedValueError(UnsupportedError, ValueError):
    """A version or a tensor that this reader, or NumPy, does not know."""


@contextlib.contextmanager
def _as_value_errors() -> Iterator[None]:
    """What TensorFlow refuses, it refuses with ValueErrors."""
    try:
        yield
    except UnsupportedError as error:
        raise UnsupportedValueError(
            error.reason, path=error.path, offset=error.offset, key=error.key
        ) from None


class DType(str):
    """A data type as a script knows it from TensorFlow: the string `name`, with the attributes of `tf.DType`.

    It equals its name, the `tensorbundle.DType`, the `tf.DType` and the NumPy type, and is hashed as its name.
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        """TensorFlow's name, as a plain string."""
        return str(self)

    @property
    def as_datatype_enum(self) -> int:
        """Its value in TensorFlow's enum `DataType`."""
        return dtypes.DType[self].number

    @property
    def as_numpy_dtype(self) -> Any:
        """The class of NumPy scalars; of quantised types a structured type as TensorFlow's, `object` for strings.

        Raises:
            UnsupportedError: there is none (variant, resource), or the installed ml_dtypes does not have it.
        """
        import numpy as np  # as elsewhere: a listing needs none

        if self.is_quantized:
            return np.dtype([(self.name, self.numpy)])
        return object if self == "string" else self.numpy.type

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy type of arrays that a reader returns: quantised types as plain integers, strings as objects.

        Raises:
            UnsupportedError: as `as_numpy_dtype`.
        """
        return dtypes.DType[self].numpy

    @property
    def base_dtype(self) -> DType:
        """Itself: no checkpoint stores reference types."""
        return self

    @property
    def real_dtype(self) -> DType:
        """The type of a complex type's parts; otherwise itself."""
        return DType({"complex64": "float32", "complex128": "float64"}.get(self, self))

    @property
    def size(self) -> int:
        """Bytes that an element takes, 0 where that varies."""
        return dtypes.DType[self].itemsize

    @property
    def is_bool(self) -> bool:
        """Whether it is `bool`."""
        return self == "bool"

    @property
    def is_complex(self) -> bool:
        """Whether it is a complex type."""
        return self.startswith("complex")

    @property
    def is_floating(self) -> bool:
        """Whether it is a floating-point type, not a complex one."""
        return self.startswith(("float", "bfloat"))

    @property
    def is_integer(self) -> bool:
        """Whether it is an integer type, not a quantised one."""
        return self.startswith(("int", "uint"))

    @property
    def is_quantized(self) -> bool:
        """Whether it is a quantised type."""
        return self.startswith(("qint", "quint"))

    @property
    def is_unsigned(self) -> bool:
        """Whether it is an unsigned integer type, not a quantised one."""
        return self.startswith("uint")

    def is_compatible_with(self, other: object) -> bool:
        """Whether `other` is this type."""
        return self == other

    def __eq__(self, other: object) -> bool:
        # Of a `numpy.dtype` the class of its scalars; such a class may be `other` itself.
        scalar = getattr(other, "type", other)
        if not isinstance(scalar, type):
            return super().__eq__(other)
        try:
            own = self.as_numpy_dtype
        except UnsupportedError:
            return False
        return own is scalar or (own is object and scalar.__name__ in ("object_", "bytes_", "str_"))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __repr__(self) -> str:
        return f"DType({self.name!r})"


def _copy(checkpoint: Checkpoint, key: str | bytes) -> Any:
    """A tensor as TensorFlow's reader returns it; errors as `CheckpointReader.get_tensor`, and near names."""
    with _as_value_errors():
        array = checkpoint.shards.read(decode_key(_as_bytes(key)))  # keys only, as TensorFlow
    return array.copy() if array.ndim else array[()]


class CheckpointReader:
    """What `load_checkpoint` returns. It holds its files open until nothing refers to it any more.

    Attributes:
        checkpoint: what it reads.
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
        """Whether there is a tensor of this key.

        Raises:
            CorruptionError: the index is damaged there.
        """
        return self.checkpoint.index.get(_as_bytes(tensor_str)) is not None

    def get_tensor(self, tensor_str: str | bytes) -> Any:
        """A copy of a tensor: an array, of a scalar a NumPy scalar, of a scalar string bytes.

        Raises:
            TensorNotFoundError: no such key.
            MissingFileError: its data shard is not there.
            CorruptionError: its bytes are damaged.
            UnsupportedValueError: its values can't be arrays: a variant, or a shape beyond NumPy.
        """
        if not self.has_tensor(tensor_str):
            # At once, without near names: scripts try one key after another.
            key = decode_key(_as_bytes(tensor_str))
            raise TensorNotFoundError("no such tensor", path=self.checkpoint.prefix, key=key)
        return _copy(self.checkpoint, tensor_str)

    def debug_string(self) -> bytes:
        """A line for each tensor: key, data type, shape, and of a partitioned tensor the number of its slices.

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
        MissingFileError: nothing there.
        CorruptionError: a directory, or damaged.
        UnsupportedValueError: it shuts out readers of this version.
    """
    path = os.fsdecode(filepattern)
    store = store_of(path)
    if path and store.is_directory(path) and not store.is_file(index_path(path)):
        raise CorruptionError("a directory, not a checkpoint; 'load_checkpoint' reads its latest", path=path)
    with _as_value_errors():
        return CheckpointReader(open_checkpoint(path))


def load_checkpoint(ckpt_dir_or_file: Path) -> CheckpointReader:
    """A reader of the checkpoint with this prefix, or of the latest of a directory.

    Raises:
        NoCheckpointError: a directory that has none, by its state file.
        MissingFileError, CorruptionError, UnsupportedValueError: as `NewCheckpointReader`.
    """
    path = os.fsdecode(ckpt_dir_or_file)
    if not path or not store_of(path).is_directory(path):
        return NewCheckpointReader(path)
    latest = latest_checkpoint(path)
    if latest is None:
        raise _no_checkpoint(path)
    return NewCheckpointReader(latest)


def _no_checkpoint(directory: str) -> NoCheckpointError:
    """Says what is wrong, or that `tensorbundle.open` finds more than TensorFlow does."""
    try:
        prefix = resolve_prefix(directory)
    except BundleError as error:
        return NoCheckpointError(error.reason, path=directory)
    return NoCheckpointError(f"no state file that names a checkpoint; there is {prefix!r}", path=directory)


def list_variables(ckpt_dir_or_file: Path) -> list[tuple[str, list[int]]]:
    """Key and shape of every tensor, sorted by key.

    Raises:
        NoCheckpointError, MissingFileError, CorruptionError, UnsupportedValueError: as `load_checkpoint`.
    """
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def load_variable(ckpt_dir_or_file: Path, name: str) -> Any:
    """A copy of the tensor `name`, one `:0` at whose end is left out; as `CheckpointReader.get_tensor`.

    Raises:
        NoCheckpointError, MissingFileError, CorruptionError, UnsupportedValueError: as `load_checkpoint`.
        TensorNotFoundError: as `CheckpointReader.get_tensor`.
    """
    return _copy(load_checkpoint(ckpt_dir_or_file).checkpoint, name.removesuffix(":0"))


def get_checkpoint_state(checkpoint_dir: Path, latest_filename: str | None = None) -> CheckpointState | None:
    """What the state file of a directory says, paths joined to the directory; None if there is none.

    None also, and a logged warning, if it is no state file: other text, or a field that TensorFlow does not know.

    Args:
        checkpoint_dir: the directory.
        latest_filename: the state file's name, if not `checkpoint`.

    Raises:
        CorruptionError: it names no latest checkpoint, or is not UTF-8.
        UnsupportedValueError: the directory's path is not UTF-8.
    """
    from google.protobuf import text_format  # only directories need it

    from tensorbundle.proto import checkpoint_pb2

    directory = os.fsdecode(checkpoint_dir)
    path = join(directory, STATE_FILE if latest_filename is None else latest_filename)
    if not store_of(path).is_file(path):
        return None
    try:
        with store_of(path).open(path) as file:
            if file.size > _MAX_STATE_BYTES:
                raise text_format.ParseError(f"{file.size} bytes")
            text = file.read(0, file.size).decode()
        state = text_format.Merge(text, checkpoint_pb2.CheckpointState())
    except UnicodeDecodeError as error:
        raise CorruptionError(f"not a state file: {error.reason}", path=path) from None
    except (OSError, text_format.ParseError) as error:
        _log.warning("%s: not a state file, ignored: %s", path, str(error)[:200])
        return None
    if not state.model_checkpoint_path:
        raise CorruptionError("names no latest checkpoint", path=path)
    try:
        state.model_checkpoint_path = join(directory, state.model_checkpoint_path)
        state.all_model_checkpoint_paths[:] = [
            join(directory, each) for each in state.all_model_checkpoint_paths
        ]
    except ValueError:  # UnicodeEncodeError is one
        raise UnsupportedValueError(
            "a message can't hold a path that is not UTF-8; give a checkpoint's prefix", path=path
        ) from None
    return state


def latest_checkpoint(checkpoint_dir: Path, latest_filename: str | None = None) -> str | None:
    """The prefix of the latest checkpoint of a directory by its state file; None if there is none.

    None also, and a logged error, if the one that it names is not there: no other is looked for.

    Args:
        checkpoint_dir: the directory.
        latest_filename: the state file's name, if not `checkpoint`.

    Raises:
        CorruptionError, UnsupportedValueError: as `get_checkpoint_state`.
    """
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None:
        return None
    prefix = state.model_checkpoint_path
    if not _files_at(prefix):
        _log.error("%s: named as the latest checkpoint, not there", prefix)
        return None
    return prefix


def checkpoint_exists(checkpoint_prefix: Path) -> bool:
    """Whether there is a checkpoint with this prefix: its index, or any file or directory of this very name."""
    return bool(_files_at(os.fsdecode(checkpoint_prefix)))


def get_checkpoint_mtimes(checkpoint_prefixes: Iterable[Path]) -> list[float]:
    """When each of these checkpoints was last modified, in whole seconds since the epoch; absent ones are left out."""
    found = [_files_at(os.fsdecode(each)) for each in checkpoint_prefixes]
    return [float(store_of(paths[0]).modified(paths[0]) // 10**9) for paths in found if paths]


def _files_at(prefix: str) -> list[str]:
    """What says that there is a checkpoint: the index, else the path itself, else the files of a V1 checkpoint."""
    for path in (index_path(prefix), prefix):
        store = store_of(path)
        if store.is_file(path) or (path and store.is_directory(path)):
            return [path]
    return _several_v1_files(prefix)


def _several_v1_files(prefix: str) -> list[str]:
    """The files that `P-?????-of-00002` means. Not those of P, which TensorFlow takes for one file."""
    return [each for each in v1_files(prefix) if store_of(each).is_file(each)] if "?" in prefix else []


def generate_checkpoint_state_proto(
    save_dir: Path,
    model_checkpoint_path: Path,
    all_model_checkpoint_paths: Iterable[Path] | None = None,
    all_model_checkpoint_timestamps: Iterable[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> CheckpointState:
    """The state of a directory, for `update_checkpoint_state` to write; no argument is changed.

    Args:
        save_dir: the directory; where it is relative, relative paths become relative to it.
        model_checkpoint_path: the latest checkpoint.
        all_model_checkpoint_paths: all checkpoints, oldest first; the latest is added where it is not the last.
        all_model_checkpoint_timestamps: when each was saved, in seconds since the epoch.
        last_preserved_timestamp: when the last one that is kept for good was saved.

    Raises:
        ValueError: not as many timestamps as checkpoints, or a path that is not UTF-8.
    """
    from tensorbundle.proto import checkpoint_pb2  # protobuf, as above
    from tensorbundle.state import CheckpointState

    found = CheckpointState.of_prefixes(
        os.fsdecode(save_dir),
        os.fsdecode(model_checkpoint_path),
        [os.fsdecode(each) for each in all_model_checkpoint_paths or ()],
        timestamps=list(all_model_checkpoint_timestamps or ()),
        last_preserved=last_preserved_timestamp,
        relative=False,
    )
    return checkpoint_pb2.CheckpointState(
        model_checkpoint_path=found.latest_path,
        all_model_checkpoint_paths=found.all_paths,
        all_model_checkpoint_timestamps=found.timestamps,
        last_preserved_timestamp=found.last_preserved,
    )


def update_checkpoint_state(
    save_dir: Path,
    model_checkpoint_path: Path,
    all_model_checkpoint_paths: Iterable[Path] | None = None,
    latest_filename: str | None = None,
    all_model_checkpoint_timestamps: Iterable[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> None:
    """Write the state file of a directory, all of it or nothing; its name is `latest_filename`, or `checkpoint`.

    The other arguments are those of `generate_checkpoint_state_proto`.

    Raises:
        ConflictError: the checkpoint's path is the state file's.
        MissingFileError: no such directory.
        ValueError: not as many timestamps as checkpoints, or a path that is not UTF-8.
        BundleError: the disk is full or fails; the old state file stays.
    """
    from google.protobuf import text_format

    state = generate_checkpoint_state_proto(
        save_dir,
        model_checkpoint_path,
        all_model_checkpoint_paths,
        all_model_checkpoint_timestamps,
        last_preserved_timestamp,
    )
    directory = os.fsdecode(save_dir)
    path = join(directory, STATE_FILE if latest_filename is None else latest_filename)
    if path == state.model_checkpoint_path:
        raise ConflictError("both the state file and the checkpoint it names", path=path)
    with store_of(path).stage(path, overwrite=True) as staging:
        with staging.writer(path) as file:
            file.write(text_format.MessageToString(state, as_utf8=True).encode())
        staging.commit()


def remove_checkpoint(
    checkpoint_prefix: Path, checkpoint_format_version: int = _V2, meta_graph_suffix: str = "meta"
) -> None:
    """Delete a checkpoint's files, and its graph's file; what is not there is passed over. The state file stays.

    Args:
        checkpoint_prefix: its path prefix.
        checkpoint_format_version: 2 (`SaverDef.V2`) for a bundle: the index and all its data shards; otherwise the
            file of this very name, or all those of a V1 checkpoint's `P-?????-of-00002`.
        meta_graph_suffix: the end of the name of the graph's file.

    Raises:
        BundleError: a file can't be deleted.
    """
    prefix = os.fsdecode(checkpoint_prefix)
    graph = re.sub(r"-[\d?]+-of-\d+$", "", prefix) + f".{meta_graph_suffix}"
    if checkpoint_format_version == _V2:
        paths = [index_path(prefix), *shards_of(prefix).values()]
    else:
        paths = _several_v1_files(prefix) or [prefix]
    for path in (graph, *paths):
        try:
            with contextlib.suppress(FileNotFoundError):
                store_of(path).remove(path)
        except OSError as error:
            raise BundleError(f"can't be deleted: {error.strerror}", path=path) from error


def checkpoints_iterator(
    checkpoint_dir: Path,
    min_interval_secs: float = 0,
    timeout: float | None = None,
    timeout_fn: Callable[[], object] | None = None,
) -> Iterator[str]:
    """The prefix of a directory's latest checkpoint, again and again, each time another one has become that.

    Args:
        checkpoint_dir: the directory; it may not be there yet.
        min_interval_secs: seconds that pass at least between two checkpoints.
        timeout: seconds to wait for another one; None waits forever.
        timeout_fn: called after every checkpoint and every timeout; true ends the iteration. Without it a timeout
            does.

    Raises:
        CorruptionError, UnsupportedValueError: as `latest_checkpoint`.
    """
    latest = None
    while True:
        found = _wait_for_another(checkpoint_dir, latest, timeout)
        if found is not None:
            earliest = time.time() + min_interval_secs
            yield found
            latest = found
            time.sleep(max(0.0, earliest - time.time()))
        elif timeout_fn is None:
            return
        if timeout_fn is not None and timeout_fn():
            return


def _wait_for_another(checkpoint_dir: Path, latest: str | None, timeout: float | None) -> str | None:
    deadline = None if timeout is None else time.time() + timeout
    while True:
        found = latest_checkpoint(checkpoint_dir)
        if found not in (None, latest):
            return found
        if deadline is not None and time.time() + _POLL_SECONDS > deadline:
            return None
        time.sleep(_POLL_SECONDS)


def _as_bytes(key: str | bytes) -> bytes:
    """A key as the bytes in the file.

    Raises:
        TypeError: neither text nor bytes.
    """
    if isinstance(key, bytes):
        return key
    if not isinstance(key, str):
        raise TypeError(f"a key is str or bytes, not {type(key).__name__}")
    return encode_key(key)
