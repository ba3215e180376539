"""The state file `checkpoint`: which checkpoints a directory has, and which is the latest.

It is a CheckpointState in protobuf's text format (TensorFlow python/checkpoint/checkpoint_management.py). TensorFlow
ignores a file with a field that it does not know, so that is an error here.
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
    """What a state file says.

    Attributes:
        directory: the directory of the file; relative paths start there.
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
    def path(self) -> str:
        """The path of the file itself."""
        return join(self.directory, STATE_FILE)

    @property
    def latest(self) -> str:
        """The prefix of the latest checkpoint, as TensorFlow resolves it."""
        return self.resolved(self.latest_path)

    @property
    def listed(self) -> dict[str, float | None]:
        """When each checkpoint was saved, by its path as written, in the file's order; the latest is always there.

        Timestamps go with paths one by one as far as both go, as in TensorFlow's CheckpointManager.
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
            MissingFileError: there is none.
            CorruptionError: not a CheckpointState, one with unknown fields, or it names no latest checkpoint.
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
            prefixes: of all of them, oldest first.
            timestamps: when each was saved, or none.
            last_preserved: when the last one that is kept for good was saved.
            relative: whether absolute prefixes are written relative to the directory, as managers do; v1 Savers write them
                as they are. Prefixes that are not absolute count from the working directory and are written relative if
                `directory` is. (Where TensorFlow writes a path that it can't find again, of an absolute prefix and a
                relative directory or of a prefix without a name, this one can be found.)

        Raises:
            ArgumentError: there are timestamps, and not as many as checkpoints.
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
        """The prefix that TensorFlow takes a listed path for."""
        return join(self.directory, path)

    def located(self, path: str, store: Store | None = None) -> str:
        """The prefix at which the checkpoint with this listed path is now.

        That is where TensorFlow looks, if it is there. Otherwise the directory may have moved since: then it is the one
        of the same name beside the state file, if there is one.
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

        If it was listed before, under whatever path, it moves. Only a state with timestamps gets another one.
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
        if self.last_preserved is not None and str(float(self.last_preserved)) != "0.0":  # what is not set
            lines.append(f"last_preserved_timestamp: {float(self.last_preserved)}")
        try:
            return "".join(f"{line}\n" for line in lines).encode()
        except UnicodeEncodeError:
            raise UnsupportedError(
                "a state file can't contain a path that is not UTF-8; rename the checkpoint", path=self.path
            ) from None

    def write(self, store: Store | None = None) -> None:
        """Put this in place of the state file that is there, at once and flushed to disk.

        Raises:
            MissingFileError: no such directory.
            UnsupportedError: as `encode`.
            ConflictError: the file itself would be the latest checkpoint.
            BundleError: the directory can't be written to, or the disk is full; nothing changed then.
        """
        if self.latest_path == self.path:
            raise ConflictError("the state file has this name; save under another one", path=self.path)
        contents = self.encode()
        store = store or store_of(self.directory)
        with store.stage(self.path, overwrite=True) as staging:
            with staging.writer(self.path) as file:
                file.write(contents)
            staging.commit()


def _is_there(prefix: str, store: Store) -> bool:
    """Whether there is a checkpoint; the state file itself is none."""
    if basename(prefix) == STATE_FILE:
        return store.is_file(index_path(prefix))
    try:
        return is_checkpoint(prefix, store)
    except ConflictError:  # several V1 checkpoints have this name
        return True


def _quoted(text: str) -> str:
    """A string of the text format (protobuf python/google/protobuf/text_encoding.py, `CEscape`)."""
    return f'"{text.translate(_ESCAPES)}"'
