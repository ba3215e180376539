"""Changes of a directory, as data, and the terms in which they are planned."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

from tensorbundle.errors import MissingFileError, near_names
from tensorbundle.locating import what_is_there
from tensorbundle.state import CheckpointState
from tensorbundle.storage.paths import absolute, join, split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.storage.protocols import Upload
    from tensorbundle.tools.operations.directories.inspection import Found
    from tensorbundle.tools.operations.directories.inventory import Survey

__all__ = [
    "Change",
    "Step",
    "forgotten",
    "is_inside",
    "no_such_checkpoint",
    "relative",
    "state_or_empty",
    "with_listed",
]


@dataclass(frozen=True, slots=True)
class Step:
    """The action for one checkpoint.

    Attributes:
        action: "add" to the state file; "change" its path there; "forget" it there, the files stay; "delete" its files,
            and forget it.
        path: as the state file names it, afterwards if it still does; None if it never did.
        prefix: where it is.
        files: the files that are deleted.
        nbytes: bytes of these.
        reason: why; or for "change", the path before.
    """

    action: Literal["add", "change", "forget", "delete"]
    path: str | None
    prefix: str
    files: tuple[str, ...] = ()
    nbytes: int = 0
    reason: str | None = None

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return asdict(self) | {"files": list(self.files)}


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a directory, planned or done.

    Attributes:
        directory: the directory.
        before: the state file before, or None if there is none that can be read.
        after: the state file afterwards, or None if there is none.
        steps: the action for each checkpoint.
        notes: remarks for a person.
        uploads: incomplete uploads to object stores, which are aborted.
        bytes_freed: on disk, by deleting files; a file with other hard links keeps its bytes.
    """

    directory: str
    before: CheckpointState | None
    after: CheckpointState | None
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    bytes_freed: int = 0
    uploads: tuple[Upload, ...] = ()

    @property
    def files(self) -> list[str]:
        """The files to delete, in this order: indexes before the data that they describe."""
        return list(dict.fromkeys(file for each in self.steps for file in each.files))


def state_or_empty(found: Survey) -> CheckpointState:
    """The state file of a directory, or one that names nothing if there is none.

    Raises:
        BundleError: it can't be read.
    """
    if found.trouble is not None:
        raise type(found.trouble)(
            f"{found.trouble.reason}; 'tensorbundle manage DIR repair' makes a new one",
            path=found.trouble.path,
        )
    return CheckpointState(found.directory, "") if found.state is None else found.state


def no_such_checkpoint(found: Survey, name: str) -> MissingFileError:
    """The error about a name that no checkpoint has, with near names."""
    known = [each.name for each in found.checkpoints]
    return MissingFileError(
        f"no checkpoint of this name; {what_is_there(near_names(name, known) or known)}",
        path=join(found.directory, name),
    )


def with_listed(
    state: CheckpointState, times: Mapping[str, float | None], latest_path: str | None = None
) -> CheckpointState:
    """A state that lists these paths, the latest last; timestamps up to the first unknown one."""
    latest_path = state.latest_path if latest_path is None else latest_path
    ordered = {path: time for path, time in times.items() if path != latest_path}
    ordered[latest_path] = times[latest_path]
    known = itertools.takewhile(lambda time: time is not None, ordered.values())
    timestamps = tuple(time for time in known if time is not None)
    return replace(state, latest_path=latest_path, all_paths=tuple(ordered), timestamps=timestamps)


def relative(directory: str, prefix: str) -> str:
    """The path under which a state file in the directory names a prefix."""
    above, name = split(prefix)
    return CheckpointState.of_prefixes(directory, join(absolute(above), name)).latest_path


def is_inside(root: str, found: Found) -> bool:
    """Whether a checkpoint is in the directory whose real path is `root`, or in a folder of it."""
    return found.place.startswith(join(root, ""))


def forgotten(found: Found, reason: str) -> Step:
    """The step that removes a checkpoint from the state file, and leaves its files."""
    return Step("forget", found.path, found.prefix, reason=reason)
