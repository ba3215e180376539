"""Manages a directory's state file and checkpoints: which are listed, and which are kept.

`manage` carries out a plan (`add`, `remove`, `prune`, `repair`) on a survey of the directory. A plan is data. Only
files of checkpoints that the state file or the caller names are deleted; but no file outside the directory, no file
of another checkpoint, and no target of a symbolic link.

The state file is written first, without the checkpoints that will be deleted, and is on disk before the first file is
deleted; of each checkpoint the index is deleted first. So the state file never names a checkpoint that does not exist;
after a crash, some checkpoints may be unlisted. (TensorFlow deletes first, and then writes the state file.)
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from tensorbundle.errors import BundleError
from tensorbundle.filenames import STATE_FILE
from tensorbundle.members import listed_once
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import join
from tensorbundle.tools.operations.directories.inventory import must_exist, survey
from tensorbundle.tools.operations.directories.places import bytes_freed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorbundle.storage.protocols import Staging
    from tensorbundle.tools.operations.directories.changes import Change
    from tensorbundle.tools.operations.directories.inventory import Survey

__all__ = ["manage"]


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
    changes_state = change.after != change.before
    if change.after is not None and changes_state:
        change.after.write()
    elif change.after is None and change.before is not None:
        with contextlib.suppress(FileNotFoundError):  # deleted since it was read
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
        state = "; the state file no longer lists its checkpoint" if changes_state else ""
        raise BundleError(f"can't be deleted: {failed.strerror or failed}{state}", path=failed.filename)
    if change.files:
        _flush(change.directory)


def _flush(directory: str) -> None:
    """Flush changes of the names in a directory to disk."""
    _staging(directory).commit()


def _staging(directory: str) -> Staging:
    """A staging that only locks and flushes a directory; no file is staged."""
    path = join(directory, STATE_FILE)
    return store_of(path).stage(path, overwrite=True)
