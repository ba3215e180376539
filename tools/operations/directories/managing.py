"""Manages a directory's state file and checkpoints: which are listed, and which are kept.

`manage` carries out a plan (`add`, `remove`, `prune`, `repair`) on a survey of the directory. A plan is data. Only
files of checkpoints that the state file or the caller names are deleted; but no file outside the directory, no file
of another checkpoint, and no target of a symbolic link.

The state file is written first, without the checkpoints that will be deleted, and is on disk before the first file is
deleted; of each checkpoint the index is deleted first. So the state file never names a checkpoint that does not exist;
after a crash, some checkpoints may be unlisted. (TensorFlow deletes first, and then writes the state file.)
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.errors import BundleError, ConflictError, MissingFileError, near_names
from tensorbundle.filenames import STATE_FILE, is_member_name
from tensorbundle.locating import resolve_prefix, what_is_there
from tensorbundle.members import is_checkpoint, listed_once
from tensorbundle.state import CheckpointState
from tensorbundle.storage import store_of
from tensorbundle.storage.content import describe_content
from tensorbundle.storage.paths import absolute, basename, dirname, join, split
from tensorbundle.tools.operations.directories.inventory import (
    NOT_THERE,
    inspect,
    is_v1_file,
    must_exist,
    number_of,
    place_of,
    survey,
)
from tensorbundle.tools.operations.directories.places import bytes_freed, children, real

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tensorbundle.storage.protocols import Staging, Upload
    from tensorbundle.tools.operations.directories.inventory import Found, Survey

__all__ = ["Change", "Step", "add", "manage", "prune", "remove", "repair"]

_HEAD_BYTES: Final = 4096  # of a file, enough to tell its format
_HOUR: Final = 3600.0


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


def add(found: Survey, names: Iterable[str], *, in_order: bool = False) -> Change:
    """List checkpoints in the state file, which is created if there is none.

    Args:
        found: the directory.
        names: prefixes, in the directory or as paths.
        in_order: list each at the position of its number or its time, rather than as the latest. One at the end
            becomes the latest.

    Raises:
        MissingFileError: no checkpoint of this name.
        BundleError: it is damaged, or the state file is.
    """
    state = _state_or_empty(found)
    steps = []
    for name in names:
        each = _checkpoint_to_add(found, name)
        path = _relative(found.directory, each.prefix)
        state = _inserted(state, path, each) if in_order else _as_latest(state, path, each)
        is_latest = state.latest_path == path
        steps.append(Step("add", path, each.prefix, reason="the latest" if is_latest else "in order"))
    return Change(found.directory, found.state, state, tuple(steps))


def _state_or_empty(found: Survey) -> CheckpointState:
    if found.trouble is not None:
        raise type(found.trouble)(
            f"{found.trouble.reason}; 'tensorbundle manage DIR repair' makes a new one",
            path=found.trouble.path,
        )
    return CheckpointState(found.directory, "") if found.state is None else found.state


def _checkpoint_to_add(found: Survey, name: str) -> Found:
    for path in (join(found.directory, name), name):
        if store_of(path).is_directory(path) and not is_checkpoint(path):
            continue
        try:
            checkpoint = inspect(resolve_prefix(path))
        except MissingFileError:
            continue
        if checkpoint.problem or not checkpoint.file_format:
            raise BundleError(f"not a complete checkpoint: {checkpoint.problem}", path=checkpoint.prefix)
        return checkpoint
    raise _no_such(found, name)


def _no_such(found: Survey, name: str) -> MissingFileError:
    known = [each.name for each in found.checkpoints]
    return MissingFileError(
        f"no checkpoint of this name; {what_is_there(near_names(name, known) or known)}",
        path=join(found.directory, name),
    )


def _as_latest(state: CheckpointState, path: str, found: Found) -> CheckpointState:
    """The state with a checkpoint added as the latest; timestamps rise along the list, as a manager writes it."""
    return state.saved(path, max([found.modified or 0.0, *state.timestamps[-1:]]))


def _inserted(state: CheckpointState, path: str, found: Found) -> CheckpointState:
    items = [each for each in state.listed.items() if place_of(state.located(each[0])) != found.place]
    at = _position(state, items, found)
    if at == len(items):
        return _as_latest(state, path, found)
    time, after = None, items[at][1]
    if after is not None:
        time = min(max(found.modified or 0.0, (items[at - 1][1] if at else None) or 0.0), after)
    times = dict([*items[:at], (path, time), *items[at:]])
    return _with_listed(state, times, state.latest_path if state.latest_path in times else items[-1][0])


def _position(state: CheckpointState, items: Sequence[tuple[str, float | None]], found: Found) -> int:
    """The position of a checkpoint: by number among names that differ only in the number, if any, else by time."""
    name, number = number_of(found.prefix)
    numbers = [number_of(state.located(path)) for path, _ in items]
    same = [at for at, each in enumerate(numbers) if each[0] == name]
    if same:
        return next((at for at in same if numbers[at][1] > number), same[-1] + 1)
    for at, (path, timestamp) in enumerate(items):
        time = inspect(state.located(path)).modified if timestamp is None else timestamp
        if (time or 0.0) > (found.modified or 0.0):
            return at
    return len(items)


def _with_listed(
    state: CheckpointState, times: Mapping[str, float | None], latest_path: str | None = None
) -> CheckpointState:
    """A state that lists these paths, the latest last; timestamps up to the first unknown one."""
    latest_path = state.latest_path if latest_path is None else latest_path
    ordered = {path: time for path, time in times.items() if path != latest_path}
    ordered[latest_path] = times[latest_path]
    known = itertools.takewhile(lambda time: time is not None, ordered.values())
    timestamps = tuple(time for time in known if time is not None)
    return replace(state, latest_path=latest_path, all_paths=tuple(ordered), timestamps=timestamps)


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
    state = _state_or_empty(found)
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
            steps.append(_forget(each, each.problem or NOT_THERE))
        elif not _is_inside(root, each):
            if each.path is None:
                raise ConflictError("not deleted: outside of the directory", path=each.prefix)
            steps.append(_forget(each, "outside of the directory"))
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
        return state if len(times) == len(state.listed) else _with_listed(state, times)
    listed = [each for each in left if each.path is not None]
    best = max(listed, key=lambda each: (each.is_whole, each.file_format is not None, listed.index(each)))
    return _with_listed(state, times, best.path)


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
    raise _no_such(found, name)


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
    state = _state_or_empty(found)
    if found.state is None:
        raise MissingFileError(
            "a directory without a 'checkpoint' state file; 'tensorbundle manage DIR repair' makes one",
            path=found.directory,
        )
    managed = [each for each in found.listed if each.managed and not each.latest]
    managed += [each for each in found.listed if each.managed and each.latest]
    if not managed:
        note = (
            "nothing is managed: all were saved before the last one that is kept for good"
            if state.timestamps
            else "nothing is managed: the state file has no timestamps, which only a CheckpointManager writes; "
            "'tensorbundle manage DIR repair' takes them from the files"
        )
        return Change(found.directory, state, state, notes=(note,))
    preserved = state.last_preserved or 0.0
    steps = [
        _forget(each, "saved before the last one that is kept for good")
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
            steps.append(_forget(each, "kept for good"))
        else:
            doomed.append(each)
    needed = _reasons_to_stay(found, doomed)
    root = real(found.directory)
    for each in doomed:
        if each.file_format is None:
            steps.append(_forget(each, each.problem or NOT_THERE))
        elif not _is_inside(root, each):
            steps.append(_forget(each, "outside of the directory"))
        elif each.prefix in needed:
            steps.append(_forget(each, needed[each.prefix]))
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
            steps.append(_forget(each, here.problem or NOT_THERE))
            continue
        twice = kept.pop(here.place, None)
        if twice is not None:
            steps.append(_forget(twice, f"also listed as {each.path!r}"))
        kept[here.place] = here
    if not kept:
        whole = [each for each in found.unlisted if each.is_whole]
        kept = {each.place: each for each in _in_order(whole)}
        steps += [Step("add", _relative(found.directory, each.prefix), each.prefix) for each in kept.values()]
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
            "timestamps are the times at which the files were written; a CheckpointManager that starts here manages, and "
            "one day deletes, what has one"
        )
    paths: list[str] = []
    for each in kept.values():
        if each.path is None or _is_inside(root, each):
            paths.append(_relative(found.directory, each.prefix))
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
    if _is_inside(root, found):
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


def _relative(directory: str, prefix: str) -> str:
    """The path under which a state file in the directory names a prefix."""
    above, name = split(prefix)
    return CheckpointState.of_prefixes(directory, join(absolute(above), name)).latest_path


def _is_inside(root: str, found: Found) -> bool:
    """Whether a checkpoint is in the directory whose real path is `root`, or in a folder of it."""
    return found.place.startswith(join(root, ""))


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
            next_one = join(directory, entry.target)
            for target in (real(entry.path), place_of(next_one)):
                if target in mine:
                    reasons[mine[target]] = f"{entry.name!r} is a symbolic link to it"
    return reasons


def _forget(found: Found, reason: str) -> Step:
    return Step("forget", found.path, found.prefix, reason=reason)


def _delete(found: Found) -> Step:
    return Step("delete", found.path, found.prefix, found.files, found.nbytes)


# Carrying out


def manage(directory: str, plan: Callable[[Survey], Change], *, dry_run: bool = False) -> Change:
    """Survey a directory, plan a change and carry it out, while no other commit runs there; returns the change.

    Args:
        directory: the directory.
        plan: one of `add`, `remove`, `prune` and `repair`, with its arguments.
        dry_run: plan only.

    Raises:
        MissingFileError: no such directory.
        BundleError: the state file can't be written, and nothing was changed; or a file can't be deleted.
    """
    must_exist(directory)
    with _staging(directory).locked():
        with listed_once():
            change = plan(survey(directory))
        change = replace(change, bytes_freed=bytes_freed(change.files))
        if not dry_run:
            _carry_out(change)
    return change


def _carry_out(change: Change) -> None:
    if change.after is not None and change.after != change.before:
        change.after.write()
    elif change.after is None and change.before is not None:
        store_of(change.before.path).remove(change.before.path)
        _flush(change.directory)
    for upload in change.uploads:
        store_of(upload.path).abort(upload)
    failed: OSError | None = None
    for path in change.files:
        try:
            store_of(path).remove(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            failed = failed or error
    if failed is not None:
        raise BundleError(
            f"can't be deleted: {failed.strerror or failed}; the state file no longer lists its checkpoint",
            path=failed.filename,
        )
    if change.files:
        _flush(change.directory)


def _flush(directory: str) -> None:
    """Flush changes of the names in a directory to disk."""
    _staging(directory).commit()


def _staging(directory: str) -> Staging:
    """A staging that only locks and flushes a directory; no file is staged."""
    path = join(directory, STATE_FILE)
    return store_of(path).stage(path, overwrite=True)
