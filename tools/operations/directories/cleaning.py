"""Temporary files of killed saves in a directory: `clean`, a plan for `manage`.

TensorFlow and this package write files under temporary names (`temporary_name`), TensorFlow state files as
`checkpoint.tmp` and 32 hexadecimal digits (python/lib/io/file_io.py, `atomic_write_string_to_file`), and sharded saves in
a folder `PREFIX_temp`. Files of a checkpoint are not touched while a process has a temporary file of it open, and neither
are the parts of a save that was not merged, which can be read.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import BundleError, MissingFileError
from tensorbundle.filenames import bundle_prefix, parse_shard_name
from tensorbundle.index import BundleIndex
from tensorbundle.storage import store_of
from tensorbundle.storage.local import LocalStore
from tensorbundle.storage.paths import basename, final_name, is_far, join
from tensorbundle.tools.operations.directories.changes import Change, Step
from tensorbundle.tools.operations.directories.places import children, children_of, own_size, real

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.storage.protocols import Upload
    from tensorbundle.tools.operations.directories.inventory import Survey

__all__ = ["clean"]

_STATE: Final = re.compile(r"checkpoint\.tmp[0-9a-f]{32}")
_FOLDER: Final = re.compile(r".*_temp(?:[-_].*|\d.*)?", re.DOTALL)


def clean(found: Survey) -> Change:
    """Delete the temporary files of killed saves; the state file is not changed.

    These are temporary files, and data shards that an index of their name does not count: a save that overwrites another
    one may be killed between its data shards and its index, or before it removes the old ones. Behind URLs these are also
    data shards without any index, and the parts of uploads that were not completed. A save that is being written there then
    fails.
    """
    left = dict.fromkeys(sorted(_temporaries(found.directory)), "left by a process that was killed")
    orphans = (path for path in _orphans(found.directory) if path not in left)
    left |= dict.fromkeys(orphans, "a data shard that no index counts")
    opened = _open_files()
    busy = {path for path in left if real(path) in opened or _is_held(path)}
    at_work = {_prefix(path) for path in busy}
    sizes: dict[str, int] = {}
    for path in left:
        with contextlib.suppress(FileNotFoundError):  # renamed or deleted since it was found
            sizes[path] = own_size(path)
    steps = [
        Step("delete", None, path, (path,), size, left[path])
        for path, size in sizes.items()
        if _prefix(path) not in at_work
    ]
    notes = [
        f"{basename(path)} stays: "
        + ("a process has it open" if path in busy else "a process is writing its checkpoint")
        for path in left
        if _prefix(path) in at_work
    ]
    uploads: list[Upload] = []
    if is_far(found.directory):
        uploads = list(store_of(found.directory).uploads(found.directory))
        steps += [
            Step("delete", None, each.path, (), 0, f"the parts of an upload begun at {each.started}")
            for each in uploads
        ]
    return Change(
        found.directory, found.state, found.state, tuple(steps), tuple(notes), uploads=tuple(uploads)
    )


def _prefix(path: str) -> str:
    """The prefix of the bundle that a file belongs to, possibly a temporary one; the final name of another file."""
    final = final_name(path) or path
    return bundle_prefix(final) or final


def _is_temporary(name: str) -> bool:
    """Whether a name is that of a temporary file, or of a file of a temporary checkpoint (`bench`)."""
    is_file = final_name(name) is not None or _STATE.fullmatch(name) is not None
    return is_file or final_name(bundle_prefix(name) or "") is not None


def _is_held(path: str) -> bool:
    return not is_far(path) and LocalStore().is_held(path)


def _orphans(directory: str) -> Iterator[str]:
    """The data shards in a directory whose index has another number of shards; behind URLs also those without an index.

    On a disk, the latter may be all that is left of a checkpoint whose index was lost or is damaged: `salvage` reads them.
    """
    far = is_far(directory)
    counts: dict[str, int | None] = {}
    for each in sorted(children(directory), key=lambda each: each.name):
        shard = parse_shard_name(each.name)
        if shard is None or each.is_link:
            continue
        base, _, count = shard
        prefix = join(directory, base)
        if prefix not in counts:
            counts[prefix] = None
            unknown = MissingFileError if far else BundleError
            with contextlib.suppress(unknown), BundleIndex(prefix) as index:
                counts[prefix] = index.header.num_shards
        if counts[prefix] != count and (far or counts[prefix] is not None):
            yield each.path


def _temporaries(directory: str) -> Iterator[str]:
    """The temporary files in a directory, and in the folders of sharded saves there; no symbolic links."""
    for entry in children(directory):
        if _is_temporary(entry.name):
            if entry.is_own_file:
                yield entry.path
        elif _FOLDER.fullmatch(entry.name) and entry.is_own_directory:
            yield from (
                each.path for each in children_of(entry) if _is_temporary(each.name) and each.is_own_file
            )


def _open_files() -> set[str]:
    """The files that processes have open, as far as this process is allowed to see them (Linux)."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for process in filter(str.isdigit, os.listdir("/proc")):
            folder = f"/proc/{process}/fd"
            with contextlib.suppress(OSError):
                for each in os.listdir(folder):
                    with contextlib.suppress(OSError):
                        found.add(os.readlink(f"{folder}/{each}"))
    return found
