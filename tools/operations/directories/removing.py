"""Plans which checkpoints are deleted: those that are named, or the oldest ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorbundle.errors import BundleError, ConflictError, MissingFileError
from tensorbundle.filenames import is_member_name
from tensorbundle.state import CheckpointState
from tensorbundle.storage.paths import basename, dirname, join
from tensorbundle.tools.operations.directories.changes import (
    Change,
    Step,
    forgotten,
    is_inside,
    no_such_checkpoint,
    state_or_empty,
    with_listed,
)
from tensorbundle.tools.operations.directories.inspection import NOT_THERE, inspect
from tensorbundle.tools.operations.directories.places import children, place_of, real

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorbundle.tools.operations.directories.inspection import Found
    from tensorbundle.tools.operations.directories.inventory import Survey

__all__ = ["prune", "remove"]

_HOUR: Final = 3600.0


def remove(found: Survey, names: Iterable[str]) -> Change:
    """Delete checkpoints, and remove them from the state file; the last remaining one becomes the latest.

    Args:
        found: the directory.
        names: as the state file lists them, or prefixes, in the directory or as paths.

    Raises:
        MissingFileError: no checkpoint of this name.
        ConflictError: it must not be deleted, as another checkpoint or a symbolic link needs its files.
        BundleError: the state file is damaged.
    """
    state = state_or_empty(found)
    chosen: dict[int, Found] = {}
    for name in names:
        chosen |= {id(each): each for each in _chosen(found, name)}
    doomed = list(chosen.values())
    needed = _reasons_to_stay(found, doomed)
    root = real(found.directory)
    steps = []
    for each in doomed:
        reason = needed.get(each.prefix)
        if reason is not None:
            raise ConflictError(f"not deleted: {reason}", path=each.prefix)
        if not each.files:
            steps.append(forgotten(each, each.problem or NOT_THERE))
        elif not is_inside(root, each):
            if each.path is None:
                raise ConflictError("not deleted: outside of the directory", path=each.prefix)
            steps.append(forgotten(each, "outside of the directory"))
        else:
            steps.append(_delete(each))
    gone = {each.path for each in doomed}
    left = [each for each in found.listed if each.path not in gone]
    after = _without(state, left) if found.state is not None else None
    lost = found.state is not None and after is None
    notes = ("the state file is removed too: it would name no checkpoint",) if lost else ()
    return Change(found.directory, found.state, after, tuple(steps), notes)


def _without(state: CheckpointState, left: Sequence[Found]) -> CheckpointState | None:
    """The state that lists only these; None if there are none."""
    if not left:
        return None
    times = {each.path: each.timestamp for each in left if each.path is not None}
    if state.latest_path in times:
        return state if len(times) == len(state.listed) else with_listed(state, times)
    listed = [each for each in left if each.path is not None]
    best = max(listed, key=lambda each: (each.is_whole, each.file_format is not None, listed.index(each)))
    return with_listed(state, times, best.path)


def _chosen(found: Survey, name: str) -> list[Found]:
    """The checkpoints that a name means: one, unless the state file lists it more than once."""
    exact = [each.prefix for each in found.listed if each.path == name]
    for prefix in (*exact, join(found.directory, name), name):
        place = place_of(prefix)
        chosen = [each for each in found.checkpoints if each.place == place]
        if chosen:
            return chosen
        there = inspect(prefix)
        if there.file_format:
            return [there]
    if is_member_name(basename(name)):
        raise MissingFileError(
            "this names a file of a checkpoint; give the prefix, without the ending",
            path=join(found.directory, name),
        )
    raise no_such_checkpoint(found, name)


def prune(found: Survey, max_to_keep: int, keep_every_n_hours: float | None = None) -> Change:
    """Delete the oldest checkpoints, as TensorFlow's CheckpointManager does when it starts here and cleans up.

    It manages the checkpoints that its state file names and that were saved after the last one that is kept
    permanently. The oldest of these are deleted until `max_to_keep` are left (CheckpointManager.__init__, `_sweep`,
    `_record_state`). Times are taken from the state file only, not from a clock. Unlike in TensorFlow, a checkpoint
    that is known to be broken is not counted among the `max_to_keep`.

    Args:
        found: the directory.
        max_to_keep: how many whole checkpoints stay in the state file.
        keep_every_n_hours: one that would be deleted is kept permanently if it was saved at least this long after the
            last such one; the state file then no longer names it.

    Raises:
        MissingFileError: no state file.
        CorruptionError: the state file can't be read.
        BundleError: `max_to_keep` or `keep_every_n_hours` is not positive.
    """
    if max_to_keep < 1:
        raise BundleError(f"{max_to_keep} checkpoints to keep, at least 1 must stay")
    if keep_every_n_hours is not None and not keep_every_n_hours > 0:
        raise BundleError(f"a checkpoint every {keep_every_n_hours} hours: give a positive number")
    state = state_or_empty(found)
    if found.state is None:
        raise MissingFileError(
            "a directory without a 'checkpoint' state file; 'tensorbundle manage DIR repair' makes one",
            path=found.directory,
        )
    managed = [each for each in found.listed if each.managed and not each.latest]
    managed += [each for each in found.listed if each.managed and each.latest]
    if not managed:
        note = (
            "nothing is managed: all were saved before the last one that is kept permanently"
            if state.timestamps
            else "nothing is managed: the state file has no timestamps, which only a CheckpointManager writes; "
            "'tensorbundle manage DIR repair' takes them from the files"
        )
        return Change(found.directory, state, state, notes=(note,))
    preserved = state.last_preserved or 0.0
    steps = [
        forgotten(each, "saved before the last one that is kept permanently")
        for each in found.listed
        if not each.managed and not each.latest
    ]
    first_kept, whole = len(managed), 0
    while first_kept and whole < max_to_keep:
        first_kept -= 1
        whole += managed[first_kept].is_whole
    swept, left = managed[:first_kept], managed[first_kept:]
    broken = [f"{each.path!r} ({each.problem or NOT_THERE})" for each in left if not each.is_whole]
    notes = (f"broken, so not counted as kept: {', '.join(broken)}",) if broken else ()
    doomed = []
    for each in swept:
        timestamp = each.timestamp or 0.0
        if keep_every_n_hours and each.is_whole and timestamp - keep_every_n_hours * _HOUR >= preserved:
            preserved = timestamp
            steps.append(forgotten(each, "kept permanently"))
        else:
            doomed.append(each)
    needed = _reasons_to_stay(found, doomed)
    root = real(found.directory)
    for each in doomed:
        if each.file_format is None:
            steps.append(forgotten(each, each.problem or NOT_THERE))
        elif not is_inside(root, each):
            steps.append(forgotten(each, "outside of the directory"))
        elif each.prefix in needed:
            steps.append(forgotten(each, needed[each.prefix]))
        else:
            steps.append(_delete(each))
    left += [each for each in found.listed if each.latest and not each.managed]
    return Change(found.directory, state, _recorded(state, left, preserved), tuple(steps), notes)


def _recorded(state: CheckpointState, left: Sequence[Found], preserved: float) -> CheckpointState:
    """The state as a manager writes it, with these listed and the latest at the end."""
    known = [0.0 if each.timestamp is None else each.timestamp for each in left]
    return CheckpointState.of_prefixes(
        state.directory,
        left[-1].prefix,
        [each.prefix for each in left],
        timestamps=known,
        last_preserved=preserved or None,
    )


def _reasons_to_stay(found: Survey, doomed: Sequence[Found]) -> dict[str, str]:
    """By prefix, why files of checkpoints that are to be deleted are still needed."""
    ids = set(map(id, doomed))
    mine = {place_of(file): each.prefix for each in doomed for file in each.files}
    reasons: dict[str, str] = {}
    for each in found.checkpoints:
        for file in each.files if id(each) not in ids else ():
            if place_of(file) in mine:
                reasons[mine[place_of(file)]] = f"{each.name!r} has the same files"
    for directory in {dirname(path) for path in mine} | {real(found.directory)}:
        for entry in children(directory):
            if not entry.is_link or entry.path in mine:
                continue
            try:
                next_one = join(directory, entry.target)
            except FileNotFoundError:
                continue  # deleted since it was found
            for target in (real(entry.path), place_of(next_one)):
                if target in mine:
                    reasons[mine[target]] = f"{entry.name!r} is a symbolic link to it"
    return reasons


def _delete(found: Found) -> Step:
    return Step("delete", found.path, found.prefix, found.files, found.nbytes)
