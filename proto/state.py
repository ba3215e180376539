"""The state file `checkpoint`: which checkpoints a directory has, and which is the latest.

It is a CheckpointState in protobuf's text format (TensorFlow python/checkpoint/checkpoint_management.py).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from google.protobuf import text_format

from tensorbundle.errors import CorruptionError, MissingFileError
from tensorbundle.names import STATE_FILE
from tensorbundle.proto import checkpoint_pb2

__all__ = ["CheckpointState"]


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """What a state file says.

    Attributes:
        directory: where the file lies; paths that are not absolute count from there.
        latest_path: the latest checkpoint, as written in the file.
        all_paths: all checkpoints, oldest first, as written.
        timestamps: when each was saved, seconds since the epoch; only managers write them.
        last_preserved: when the last one that is kept for good was saved; only managers write it.
    """

    directory: str
    latest_path: str
    all_paths: tuple[str, ...] = ()
    timestamps: tuple[float, ...] = ()
    last_preserved: float | None = None

    @property
    def latest(self) -> str:
        """The prefix of the latest checkpoint."""
        return os.path.join(self.directory, self.latest_path)

    @classmethod
    def read(cls, directory: str) -> CheckpointState:
        """The state file of a directory.

        Raises:
            MissingFileError: there is none.
            CorruptionError: not a CheckpointState, or it names no latest checkpoint.
        """
        path = os.path.join(directory, STATE_FILE)
        try:
            with open(path, encoding="utf-8", errors="strict") as file:
                text = file.read()
        except FileNotFoundError:
            raise MissingFileError("no such state file", path=path) from None
        except UnicodeDecodeError as error:
            raise CorruptionError(f"not a state file: {error.reason}", path=path) from None
        try:
            message = text_format.Merge(text, checkpoint_pb2.CheckpointState(), allow_unknown_field=True)
        except text_format.ParseError as error:
            raise CorruptionError(f"not a state file: {error}", path=path) from None
        if not message.model_checkpoint_path:
            raise CorruptionError("names no latest checkpoint", path=path)
        return cls(
            directory,
            message.model_checkpoint_path,
            tuple(message.all_model_checkpoint_paths),
            tuple(message.all_model_checkpoint_timestamps),
            message.last_preserved_timestamp or None,
        )

    def encode(self) -> bytes:
        """The file's contents, as TensorFlow writes them."""
        message = checkpoint_pb2.CheckpointState(
            model_checkpoint_path=self.latest_path,
            all_model_checkpoint_paths=self.all_paths,
            all_model_checkpoint_timestamps=self.timestamps,
        )
        if self.last_preserved is not None:
            message.last_preserved_timestamp = self.last_preserved
        return text_format.MessageToString(message, as_utf8=True).encode()
