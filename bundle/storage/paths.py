"""The algebra of names: paths of the local file system, and URLs such as `s3://bucket/run/model`.

A URL is absolute. Its last component is the part after its last slash; the part up to its authority (`s3://bucket`) has
none.
"""

from __future__ import annotations

import os
import re
from typing import Final

__all__ = [
    "absolute",
    "basename",
    "dirname",
    "final_name",
    "is_absolute",
    "is_far",
    "is_url",
    "join",
    "local_path",
    "relative",
    "split",
    "temporary_name",
]

# A scheme of at least two letters, to exclude drive letters; fsspec chains schemes with `::`.
_URL: Final = r"(?a)(?:[A-Za-z][A-Za-z0-9+.-]+::)*[A-Za-z][A-Za-z0-9+.-]+://"
_LOCAL: Final = "file://"
_TEMPORARY: Final = r"(?as)(.+)\.tempstate\d+"


def is_url(name: str) -> bool:
    """Whether a name is a URL."""
    return "://" in name and re.match(_URL, name) is not None


def local_path(name: str) -> str:
    """The path of a name that is not `is_far`: a URL that begins with `file://` names a file of this machine."""
    return (name[len(_LOCAL) :] or "/") if name.startswith(_LOCAL) else name


def is_far(name: str) -> bool:
    """Whether a name is that of a file which is not on this machine, as far as its file system tells."""
    return is_url(name) and not name.startswith(_LOCAL)


def split(name: str) -> tuple[str, str]:
    """The directory of a name, empty for the working directory, and its last component."""
    found = re.match(_URL, name) if "://" in name else None
    if found is None:
        return os.path.split(name)
    start = found.end()
    slash = name.rfind("/", start)
    return (name, "") if slash < 0 else (name[:slash], name[slash + 1 :])


def join(directory: str, *names: str) -> str:
    """A name inside a directory; an absolute name is itself."""
    for name in names:
        if is_url(name):
            directory = name
        elif not is_url(directory):
            directory = os.path.join(directory, name)
        else:
            directory = f"{directory.rstrip('/')}/{name.lstrip('/')}"
    return directory


def dirname(name: str) -> str:
    """The directory of a name, empty for the working directory."""
    return split(name)[0]


def basename(name: str) -> str:
    """The last component of a name."""
    return split(name)[1]


def is_absolute(name: str) -> bool:
    """Whether a name is independent of the working directory."""
    return is_url(name) or os.path.isabs(name)


def absolute(name: str) -> str:
    """The absolute form of a name, without `.` and `..`; a URL is returned unchanged."""
    return name if is_url(name) else os.path.abspath(name)


def relative(name: str, start: str) -> str:
    """The name relative to the directory `start`; unchanged if they have no common root."""
    if not is_url(name) and not is_url(start):
        return os.path.relpath(name, start)
    inside = f"{start.rstrip('/')}/"
    return name.removeprefix(inside) if is_url(start) else name


def temporary_name(final: str) -> str:
    """A new name for a file until it is complete and gets the name `final`.

    It has TensorFlow's pattern (core/util/tensor_bundle/tensor_bundle.cc), which readers ignore.
    """
    return f"{final}.tempstate{int.from_bytes(os.urandom(8), 'little')}"


def final_name(temporary: str) -> str | None:
    """The name that a file with a temporary name was to get; None if the name is not temporary."""
    match = re.fullmatch(_TEMPORARY, temporary)
    return None if match is None else match[1]
