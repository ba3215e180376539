"""Names of `tf.train` for scripts that do without TensorFlow: `from tensorbundle import compat` in place of `tf.train`.

Functions take the arguments of TensorFlow's (python/training/checkpoint_utils.py, py_checkpoint_reader.py and
python/checkpoint/checkpoint_management.py), and return the same values: writable arrays, NumPy scalars, bytes for a
scalar string, lists for shapes, paths joined as TensorFlow joins them. Messages are those of `tensorbundle.proto`, with
the same fields as TensorFlow's; types are `DType`. Functions that need a graph or objects (`Saver`,
`init_from_checkpoint`, `warm_start`, `CheckpointManager`, `CheckpointView`) are not included.

Errors are subclasses of `BundleError`. Where TensorFlow raises a ValueError, the error here is also a ValueError:

| TensorFlow raises | when | here |
| --- | --- | --- |
| ValueError | a directory without a checkpoint | `NoCheckpointError`, a MissingFileError |
| ValueError | a state file that names no latest checkpoint | `CorruptionError` |
| ValueError | made for readers of another version; a shape that NumPy can't have | `UnsupportedValueError` |
| ValueError | slices that do not cover a tensor, negative offsets | `CorruptionError` |
| NotFoundError | no such key | `TensorNotFoundError`, a KeyError |
| NotFoundError, OpError | no such checkpoint or data shard | `MissingFileError`, a FileNotFoundError |
| DataLossError, InternalError, OpError, IndexError | damage, or files of other kinds | `CorruptionError`, a ValueError |
| InternalError | a variant | `UnsupportedValueError`, an UnsupportedError |
| RuntimeError | a checkpoint that would be its own state file | `ConflictError` |
| TypeError, ValueError | arguments of a wrong type; timestamps for other paths | the same |

So `except tf.errors.NotFoundError` becomes `except (TensorNotFoundError, MissingFileError)`, and `except
tf.errors.OpError` becomes `except BundleError`.

The behaviour differs from TensorFlow's on purpose in these points:

- Paths are literal. TensorFlow treats them as patterns: it can't read `g[1]`, finds a checkpoint `*` wherever any
  checkpoint exists, and to remove it removes them all. The `?` in `P-?????-of-00002`, a V1 checkpoint in several files,
  do match. The operating system resolves `..`; TensorFlow removes it together with the name before it.
- A URL in a state file is a URL. TensorFlow treats a URL that it can't read as a path in the directory.
- Any file of a checkpoint may be given for all of it. TensorFlow lists nothing for `P.index`, a part of the tensors for
  one of several V1 files, and refuses other files. If one of several V1 files is missing, that is an error.
- Damage in the index is an error when the damaged part is read. TensorFlow omits the keys that it can't read, or aborts
  the process; if the header is lost, it uses the next entry as header.
- Slices of every type are joined, and every type in a V1 file is read; TensorFlow supports some types.
- Keys that are not UTF-8 are listed, as text with surrogate escapes, which all functions accept.
- The empty key, which is the header's, is not a tensor.
- `debug_string` shows a partitioned tensor in one line; TensorFlow shows the binary slice keys of a bundle.
- `remove_checkpoint` removes data shards of any number; TensorFlow does not remove those with six digits.
- Paths may be str, bytes or path objects everywhere.

The behaviour is that of TensorFlow 2.21. Older versions differ in one point: they call `timeout_fn` only after timeouts.

The modules, lowest first:

- `errors.py`: errors that are ValueErrors as well.
- `dtypes.py`: `DType`.
- `files.py`: whether a checkpoint exists, when it was modified, and its removal.
- `state.py`: the state file of a directory, and the latest checkpoint.
- `reader.py`: `CheckpointReader`, and the functions that read one.
- `waiting.py`: `checkpoints_iterator`.
"""

from tensorbundle.compat.dtypes import DType
from tensorbundle.compat.errors import NoCheckpointError, UnsupportedValueError
from tensorbundle.compat.files import checkpoint_exists, get_checkpoint_mtimes, remove_checkpoint
from tensorbundle.compat.reader import (
    CheckpointReader,
    NewCheckpointReader,
    list_variables,
    load_checkpoint,
    load_variable,
)
from tensorbundle.compat.state import (
    generate_checkpoint_state_proto,
    get_checkpoint_state,
    latest_checkpoint,
    update_checkpoint_state,
)
from tensorbundle.compat.waiting import checkpoints_iterator

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
