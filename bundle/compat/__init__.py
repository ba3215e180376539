"""Names of `tf.train` for scripts that do without TensorFlow: `from tensorbundle import compat` in place of `tf.train`.

Functions take what TensorFlow's take (python/training/checkpoint_utils.py, py_checkpoint_reader.py and
python/checkpoint/checkpoint_management.py), and return the same values: writable arrays, NumPy scalars, bytes for a
scalar string, lists for shapes, paths as TensorFlow joins them. Messages are of `tensorbundle.proto`, with the fields of
TensorFlow's; types are `DType`. What needs a graph or objects (`Saver`, `init_from_checkpoint`, `warm_start`,
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
- A URL in a state file is a URL. TensorFlow takes those that it can't read for paths in the directory.
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

The modules, lowest first:

- `errors.py`: errors that are ValueErrors as well.
- `dtypes.py`: `DType`.
- `files.py`: whether a checkpoint is there, when it was modified, and its removal.
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
