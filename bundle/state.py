"""The state file `checkpoint`: which checkpoints a directory has, and which is the latest.

It is a CheckpointState in protobuf's text format (TensorFlow python/checkpoint/checkpoint_management.py). TensorFlow
ignores a file with an unknown field, so such a file is an error here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from google.protobuf import text_format

from tensorbundle.errors import (
    ArgumentError,
    ConflictError,
    CorruptionError,
    MissingFileError,
    UnsupportedError,
)
from tensorbundle.filenames import STATE_FILE, index_path
from tensorbundle.limits import MAX_STATE_BYTES
from tensorbundle.members import is_checkpoint
from tensorbundle.proto import checkpoint_pb2
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import absolute, basename, is_absolute, join
from tensorbundle.storage.paths import relative as relative_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorbundle.storage.protocols import Store

__all__ = ["CheckpointState"]

_ESCAPES: Final = {code: f"\\{code:03o}" for code in (*range(0x20), 0x7F)} | {
    ord(char): f"\\{letter}" for char, letter in zip("\t\n\r\"'\\", "tnr\"'\\", strict=True)
}
_SHOWN: Final = 200  # characters of what the parser says, which may quote a whole line


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """The contents of a state file.

    Attributes:
        directory: the directory of the file, which relative paths are relative to.
        latest_path: the latest checkpoint, as written in the file.
        all_paths: all checkpoints, oldest first, as written.
        timestamps: save times in seconds since the epoch; only managers write them.
        last_preserved: save time of the last checkpoint that is kept permanently; only managers write it.
    """

    directory: str
    latest_path: str
    all_paths: tuple[str, ...] = ()
    timestamps: tuple[float, ...] = ()
    last_preserved: float | None = None

    @property
    def path(self) -> str:
        """The path of the file itself."""
        return join(self.directory, STATE_FILE)

    @property
    def latest(self) -> str:
        """The prefix of the latest checkpoint, as TensorFlow resolves it."""
        return self.resolved(self.latest_path)

    @property
    def listed(self) -> dict[str, float | None]:
        """The save time of each checkpoint, by its path as written, in the file's order; always includes the latest.

        Timestamps and paths are paired one by one, as in TensorFlow's CheckpointManager; surplus ones are ignored.
        """
        unknown = (None,) * max(0, len(self.all_paths) - len(self.timestamps))
        times = dict(zip(self.all_paths, (*self.timestamps, *unknown), strict=False))
        if self.latest_path:
            times.setdefault(self.latest_path, None)
        return times

    @classmethod
    def read(cls, directory: str, store: Store | None = None) -> CheckpointState:
        """The state file of a directory.

        Raises:
            MissingFileError: the directory has no state file.
            CorruptionError: not a CheckpointState, one with unknown fields, or one without a latest checkpoint.
            OSError: it can't be read.
        """
        path = join(directory, STATE_FILE)
        try:
            with (store or store_of(directory)).open(path) as file:
                if file.size > MAX_STATE_BYTES:
                    raise CorruptionError(f"not a state file: {file.size} bytes", path=path)
                text = file.read(0, file.size).decode()
            message = text_format.Merge(text, checkpoint_pb2.CheckpointState())
        except MissingFileError:
            raise MissingFileError("no such state file", path=path) from None
        except UnicodeDecodeError as error:
            raise CorruptionError(f"not a state file: {error.reason}", path=path) from None
        except text_format.ParseError as error:
            raise CorruptionError(f"not a state file: {str(error)[:_SHOWN]}", path=path) from None
        if not message.model_checkpoint_path:
            raise CorruptionError("names no latest checkpoint", path=path)
        return cls(
            directory,
            message.model_checkpoint_path,
            tuple(message.all_model_checkpoint_paths),
            tuple(message.all_model_checkpoint_timestamps),
            message.last_preserved_timestamp or None,
        )

    @classmethod
    def of_prefixes(
        cls,
        directory: str,
        latest: str,
        prefixes: Sequence[str] = (),
        *,
        timestamps: Sequence[float] = (),
        last_preserved: float | None = None,
        relative: bool = True,
    ) -> CheckpointState:
        """The state that TensorFlow writes for checkpoints at these prefixes.

        As in checkpoint_management.py, `update_checkpoint_state_internal` and `generate_checkpoint_state_proto`.

        Args:
            directory: the directory to write it to.
            latest: the prefix of the latest checkpoint; it is listed last.
            prefixes: the prefixes of all checkpoints, oldest first.
            timestamps: their save times, or none.
            last_preserved: save time of the last checkpoint that is kept permanently.
            relative: whether absolute prefixes are written relative to the directory, as managers do; v1 Savers write them
                unchanged. Relative prefixes are relative to the working directory, and are written relative if
                `directory` is. (TensorFlow writes a path that it can't find again for an absolute prefix in a relative
                directory, and for a prefix without a name; the path written here can be found.)

        Raises:
            ArgumentError: the numbers of timestamps and checkpoints differ.
        """
        every = list(prefixes)
        if not every or every[-1] != latest:
            every.append(latest)
        if timestamps and len(timestamps) != len(every):
            raise ArgumentError(f"{len(timestamps)} timestamps for {len(every)} checkpoints")

        def written(prefix: str) -> str:
            if not (relative if is_absolute(prefix) else not is_absolute(directory)):
                return prefix
            path = relative_to(prefix, directory)
            return path if basename(prefix) else join(path, "")

        return cls(directory, written(latest), tuple(map(written, every)), tuple(timestamps), last_preserved)

    def resolved(self, path: str) -> str:
        """The prefix to which TensorFlow resolves a listed path."""
        return join(self.directory, path)

    def located(self, path: str, store: Store | None = None) -> str:
        """The prefix at which the checkpoint with this listed path is now.

        It is the prefix to which TensorFlow resolves the path, if that checkpoint exists. Otherwise the directory may
        have moved: then it is the checkpoint of the same name beside the state file, if there is one.
        """
        store = store or store_of(self.directory)
        prefix = self.resolved(path)
        name = basename(path)
        if name == path or _is_there(prefix, store):
            return prefix
        beside = self.resolved(name)
        return beside if _is_there(beside, store) else prefix

    def saved(self, path: str, timestamp: float, store: Store | None = None) -> Self:
        """The state after the checkpoint `path` was saved at `timestamp`: it is the latest, and listed last.

        If it was listed before, under any path, that item moves. A timestamp is added only to a state with timestamps.
        """
        prefix = absolute(self.resolved(path))
        times = {
            each: time for each, time in self.listed.items() if absolute(self.located(each, store)) != prefix
        }
        known = [time for time in times.values() if time is not None]
        timed = bool(self.timestamps) and len(known) == len(times)
        return type(self)(
            self.directory,
            path,
            (*times, path),
            (*known, timestamp) if timed else (),
            self.last_preserved,
        )

    def encode(self) -> bytes:
        """The file's contents, as TensorFlow 2.21 writes them; older protobufs escape other characters.

        Raises:
            UnsupportedError: a path is not UTF-8.
        """
        lines = [f"model_checkpoint_path: {_quoted(self.latest_path)}"] if self.latest_path else []
        lines += [f"all_model_checkpoint_paths: {_quoted(path)}" for path in self.all_paths]
        lines += [f"all_model_checkpoint_timestamps: {float(time)}" for time in self.timestamps]
        if self.last_preserved is not None and str(float(self.last_preserved)) != "0.0":  # 0 means: not set
            lines.append(f"last_preserved_timestamp: {float(self.last_preserved)}")
        try:
            return "".join(f"{line}\n" for line in lines).encode()
        except UnicodeEncodeError:
            raise UnsupportedError(
                "a state file can't contain a path that is not UTF-8; rename the checkpoint", path=self.path
            ) from None

    def write(self, store: Store | None = None) -> None:
        """Replace the directory's state file atomically, and flush it to disk.

        A new one is readable by no more than the latest checkpoint.

        Raises:
            MissingFileError: no such directory.
            UnsupportedError: as for `encode`.
            ConflictError: the state file itself would be the latest checkpoint.
            BundleError: the directory can't be written to, or the disk is full; nothing was changed.
        """
        if self.latest_path == self.path:
            raise ConflictError("the state file has this name; save under another one", path=self.path)
        from tensorbundle.storage.staging import readable_like  # which reading does not need

        contents = self.encode()
        store = store or store_of(self.directory)
        latest = self.latest if self.latest_path else ""
        like = (index_path(latest), latest)  # of a V1 checkpoint, its file
        with readable_like(like), store.stage(self.path, overwrite=True) as staging:
            with staging.writer(self.path) as file:
                file.write(contents)
            staging.commit()


def _is_there(prefix: str, store: Store) -> bool:
    """Whether a checkpoint exists; the state file itself does not count."""
    if basename(prefix) == STATE_FILE:
        return store.is_file(index_path(prefix))
    try:
        return is_checkpoint(prefix, store)
    except ConflictError:  # several V1 checkpoints have this name
        return True


def _quoted(text: str) -> str:
    """A string of the text format (protobuf python/google/protobuf/text_encoding.py, `CEscape`)."""
    return f'"{text.translate(_ESCAPES)}"'
