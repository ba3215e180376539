"""Plans a state file that names the checkpoints that exist."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import ConflictError, MissingFileError
from tensorbundle.filenames import STATE_FILE
from tensorbundle.locating import what_is_there
from tensorbundle.state import CheckpointState
from tensorbundle.storage import store_of
from tensorbundle.storage.content import describe_content
from tensorbundle.storage.paths import basename, join
from tensorbundle.tools.operations.directories.changes import Change, Step, forgotten, is_inside, relative
from tensorbundle.tools.operations.directories.inspection import NOT_THERE, inspect, is_v1_file
from tensorbundle.tools.operations.directories.inventory import number_of
from tensorbundle.tools.operations.directories.places import real

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorbundle.tools.operations.directories.inspection import Found
    from tensorbundle.tools.operations.directories.inventory import Survey

__all__ = ["repair"]

_HEAD_BYTES: Final = 4096  # of a file, enough to tell its format


def repair(found: Survey) -> Change:
    """Make the state file name the checkpoints that exist: after a move, after files were deleted, or if it is lost.

    Paths become relative. Checkpoints that do not exist, or are known to be broken, are removed from the list; in a
    copied directory, the copies are listed. Missing timestamps are replaced by the times at which indexes were written.
    If the state file is lost, or names only checkpoints that do not exist, every whole checkpoint in the directory is
    listed: by number if their names differ in nothing else, otherwise by time.

    Raises:
        MissingFileError: there is no checkpoint.
        ConflictError: the file with the state file's name is another kind of file.
    """
    _must_be_replaceable(found)
    state, root = found.state, real(found.directory)
    steps: list[Step] = []
    notes: list[str] = []
    kept: dict[str, Found] = {}
    for each in sorted(found.listed, key=lambda each: each.latest):  # the others keep their order
        here = _beside(found.directory, root, each)
        if not here.is_whole:
            steps.append(forgotten(each, here.problem or NOT_THERE))
            continue
        twice = kept.pop(here.place, None)
        if twice is not None:
            steps.append(forgotten(twice, f"also listed as {each.path!r}"))
        kept[here.place] = here
    if not kept:
        whole = [each for each in found.unlisted if each.is_whole]
        kept = {each.place: each for each in _in_order(whole)}
        steps += [Step("add", relative(found.directory, each.prefix), each.prefix) for each in kept.values()]
    if not kept:
        raise MissingFileError(
            "there is no complete checkpoint that a state file could name", path=found.directory
        )
    others = [each.name for each in found.unlisted if each.place not in kept]
    if others:
        notes.append(f"not in the state file: {what_is_there(others)}; 'add' lists a checkpoint")
    known = [each.timestamp for each in kept.values() if each.timestamp is not None]
    whole_state = state is not None and len(state.timestamps) == len(state.all_paths)
    if not whole_state or len(known) != len(kept):
        known = list(itertools.accumulate((each.modified or 0.0 for each in kept.values()), max))
        notes.append(
            "timestamps are the times at which the files were written; a CheckpointManager that starts here manages "
            "checkpoints with a timestamp, and deletes them later"
        )
    paths: list[str] = []
    for each in kept.values():
        if each.path is None or is_inside(root, each):
            paths.append(relative(found.directory, each.prefix))
        else:
            paths.append(each.path)
        if each.path is not None and each.path != paths[-1]:
            steps.append(Step("change", paths[-1], each.prefix, reason=f"was {each.path!r}"))
    after = CheckpointState(
        found.directory,
        paths[-1],
        tuple(paths),
        tuple(known),
        None if state is None else state.last_preserved,
    )
    return Change(found.directory, state, after, tuple(steps), tuple(notes) if after != state else ())


def _must_be_replaceable(found: Survey) -> None:
    """Refuse to replace a file that has the name of a state file but is none.

    Raises:
        ConflictError: it is a table, or a file that `describe_content` recognizes.
    """
    path = join(found.directory, STATE_FILE)
    if found.trouble is None:
        return
    if is_v1_file(path):
        raise ConflictError("a V1 checkpoint, not a state file; rename it first", path=path)
    with store_of(path).open(path) as file:
        what = describe_content(file.read(0, min(file.size, _HEAD_BYTES)))
    if what is not None and not what.startswith("a 'checkpoint' state file"):
        raise ConflictError(f"not a state file: {what}", path=path)


def _beside(directory: str, root: str, found: Found) -> Found:
    """A listed checkpoint; if it is outside the directory (really `root`), the one of the same name in it, if any."""
    if is_inside(root, found):
        return found
    name = basename(found.prefix)
    copy = inspect(join(directory, name), join(root, name))
    if not copy.file_format:
        return found
    return replace(
        copy, path=found.path, timestamp=found.timestamp, latest=found.latest, managed=found.managed
    )


def _in_order(found: Iterable[Found]) -> list[Found]:
    """Oldest first: by number where names differ in nothing else, otherwise by time."""
    every = list(found)
    if len({number_of(each.prefix)[0] for each in every}) == 1:
        return sorted(every, key=lambda each: number_of(each.prefix))
    return sorted(every, key=lambda each: (each.modified or 0.0, number_of(each.prefix)))
