"""What killed saves left in a directory under temporary names: `clean`, a plan for `manage`.

TensorFlow and this package write files as `NAME.tempstate` and digits (TensorFlow core/util/tensor_bundle/
tensor_bundle.cc), state files as `checkpoint.tmp` and 32 hexadecimal digits (python/lib/io/file_io.py,
`atomic_write_string_to_file`), and sharded saves in a folder `PREFIX_temp`. What a process has open is not touched, nor are
the parts of a save that was not merged, which can be read.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Final

from tensorbundle.storage.paths import basename
from tensorbundle.tools.operations.directories.managing import Change, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.tools.operations.directories.inventory import Survey

__all__ = ["clean"]

_TEMPORARY: Final = re.compile(r".+\.tempstate\d+|checkpoint\.tmp[0-9a-f]{32}", re.DOTALL | re.ASCII)
_FOLDER: Final = re.compile(r".*_temp(?:[-_].*|\d.*)?", re.DOTALL)


def clean(found: Survey) -> Change:
    """Delete the temporary files that killed saves left; the state file stays as it is."""
    steps = []
    notes = []
    busy = _open_files()
    for path in sorted(_temporaries(found.directory)):
        if os.path.realpath(path) in busy:
            notes.append(f"{basename(path)} stays: a process has it open")
            continue
        size = os.lstat(path).st_size
        steps.append(Step("delete", None, path, (path,), size, "left by a save that was killed"))
    return Change(found.directory, found.state, found.state, tuple(steps), tuple(notes))


def _temporaries(directory: str) -> Iterator[str]:
    """The temporary files in a directory, and in the folders of sharded saves there; symbolic links are none."""
    with os.scandir(directory) as listing:
        for entry in listing:
            if entry.is_file(follow_symlinks=False):
                if _TEMPORARY.fullmatch(entry.name):
                    yield entry.path
            elif entry.is_dir(follow_symlinks=False) and _FOLDER.fullmatch(entry.name):
                with os.scandir(entry.path) as inside:
                    yield from (
                        each.path
                        for each in inside
                        if each.is_file(follow_symlinks=False) and _TEMPORARY.fullmatch(each.name)
                    )


def _open_files() -> set[str]:
    """The files that processes have open, as far as this one may know (Linux)."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for process in filter(str.isdigit, os.listdir("/proc")):
            folder = f"/proc/{process}/fd"
            with contextlib.suppress(OSError):
                for each in os.listdir(folder):
                    with contextlib.suppress(OSError):
                        found.add(os.readlink(f"{folder}/{each}"))
    return found
