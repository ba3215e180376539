"""The state file of a directory: reading it, the latest checkpoint, and writing it."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from tensorbundle.compat.errors import UnsupportedValueError
from tensorbundle.compat.files import files_at
from tensorbundle.errors import ConflictError, CorruptionError
from tensorbundle.filenames import STATE_FILE
from tensorbundle.limits import MAX_STATE_BYTES
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import join

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorbundle.compat.files import Path
    from tensorbundle.proto.checkpoint_pb2 import CheckpointState

__all__ = [
    "generate_checkpoint_state_proto",
    "get_checkpoint_state",
    "latest_checkpoint",
    "update_checkpoint_state",
]

_log = logging.getLogger(__package__)


def get_checkpoint_state(checkpoint_dir: Path, latest_filename: str | None = None) -> CheckpointState | None:
    """The contents of a directory's state file, with paths joined to the directory; None if it does not exist.

    If the file is not a state file (other text, or a field that TensorFlow does not know), logs a warning and returns
    None.

    Args:
        checkpoint_dir: the directory.
        latest_filename: the state file's name, if not `checkpoint`.

    Raises:
        CorruptionError: it does not name a latest checkpoint, or is not UTF-8.
        UnsupportedValueError: the directory's path is not UTF-8.
    """
    from google.protobuf import text_format  # protobuf, needed only for directories

    from tensorbundle.proto import checkpoint_pb2

    directory = os.fsdecode(checkpoint_dir)
    path = join(directory, STATE_FILE if latest_filename is None else latest_filename)
    if not store_of(path).is_file(path):
        return None
    try:
        with store_of(path).open(path) as file:
            if file.size > MAX_STATE_BYTES:
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
            "a message can't contain a path that is not UTF-8; give a checkpoint's prefix", path=path
        ) from None
    return state


def latest_checkpoint(checkpoint_dir: Path, latest_filename: str | None = None) -> str | None:
    """The prefix of a directory's latest checkpoint, according to its state file; None without a state file.

    If the checkpoint that it names does not exist, logs an error and returns None, without a search for another one.

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
    if not files_at(prefix):
        _log.error("%s: named as the latest checkpoint, but does not exist", prefix)
        return None
    return prefix


def generate_checkpoint_state_proto(
    save_dir: Path,
    model_checkpoint_path: Path,
    all_model_checkpoint_paths: Iterable[Path] | None = None,
    all_model_checkpoint_timestamps: Iterable[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> CheckpointState:
    """The state of a directory, as `update_checkpoint_state` writes it; no argument is changed.

    Args:
        save_dir: the directory; if it is relative, relative paths become relative to it.
        model_checkpoint_path: the latest checkpoint.
        all_model_checkpoint_paths: all checkpoints, oldest first; the latest is appended if it is not the last.
        all_model_checkpoint_timestamps: save times, in seconds since the epoch.
        last_preserved_timestamp: save time of the last checkpoint that is kept permanently.

    Raises:
        ValueError: the numbers of timestamps and checkpoints differ, or a path is not UTF-8.
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
        ValueError: the numbers of timestamps and checkpoints differ, or a path is not UTF-8.
        BundleError: the disk is full or fails; the old state file is unchanged.
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
