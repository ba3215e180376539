"""Plans which checkpoints are added to a state file, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import BundleError, MissingFileError
from tensorbundle.locating import resolve_prefix
from tensorbundle.members import is_checkpoint
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import join
from tensorbundle.tools.operations.directories.changes import (
    Change,
    Step,
    no_such_checkpoint,
    relative,
    state_or_empty,
    with_listed,
)
from tensorbundle.tools.operations.directories.inspection import inspect
from tensorbundle.tools.operations.directories.inventory import number_of
from tensorbundle.tools.operations.directories.places import place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorbundle.state import CheckpointState
    from tensorbundle.tools.operations.directories.inspection import Found
    from tensorbundle.tools.operations.directories.inventory import Survey

__all__ = ["add"]


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
    state = state_or_empty(found)
    steps = []
    for name in names:
        each = _checkpoint_to_add(found, name)
        path = relative(found.directory, each.prefix)
        state = _inserted(state, path, each) if in_order else _as_latest(state, path, each)
        is_latest = state.latest_path == path
        steps.append(Step("add", path, each.prefix, reason="the latest" if is_latest else "in order"))
    return Change(found.directory, found.state, state, tuple(steps))


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
    raise no_such_checkpoint(found, name)


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
    return with_listed(state, times, state.latest_path if state.latest_path in times else items[-1][0])


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
