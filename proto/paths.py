"""Object paths and checkpoint keys.

An object's path consists of the local names from the root to the object, each escaped, joined by '/'. A tensor's key is
this path, `/.ATTRIBUTES/` and the tensor's escaped name. A slot variable's path is derived from the paths of its variable
and its optimizer (TensorFlow python/checkpoint/trackable_view.py and util.py, `escape_local_name`,
`object_path_to_string`, `slot_variable_key`; python/trackable/trackable_utils.py).
"""

from __future__ import annotations

import re
from typing import Final

from tensorbundle.errors import ArgumentError

__all__ = [
    "OBJECT_GRAPH_KEY",
    "OPTIMIZER_SLOT",
    "SAVE_COUNTER",
    "VARIABLE_VALUE",
    "attribute_key",
    "escape_name",
    "join_path",
    "key_path",
    "name_fault",
    "slot_path",
    "split_path",
    "unescape_name",
]

OBJECT_GRAPH_KEY: Final = "_CHECKPOINTABLE_OBJECT_GRAPH"
VARIABLE_VALUE: Final = "VARIABLE_VALUE"
SAVE_COUNTER: Final = "save_counter"
_ATTRIBUTES: Final = "/.ATTRIBUTES/"
OPTIMIZER_SLOT: Final = "/.OPTIMIZER_SLOT/"
_ESCAPED: Final = re.compile(r"\.(.?)", re.DOTALL)
_MEANS: Final = {".": ".", "S": "/"}


def escape_name(name: str) -> str:
    """A local name, escaped for a path: '.' becomes '..', then '/' becomes '.S'."""
    if "." in name:
        name = name.replace(".", "..")
    return name.replace("/", ".S") if "/" in name else name


def unescape_name(escaped: str) -> str:
    """The local name of an escaped form.

    Raises:
        ArgumentError: a '.' is followed by neither '.' nor 'S'.
    """

    def meaning(found: re.Match[str]) -> str:
        try:
            return _MEANS[found[1]]
        except KeyError:
            raise ArgumentError(
                f"{escaped!r} is not an escaped name: '.{found[1]}' at {found.start()}"
            ) from None

    return _ESCAPED.sub(meaning, escaped) if "." in escaped else escaped


def name_fault(name: str) -> str | None:
    """The reason why no object can have this local name, or None."""
    if name.endswith(".ATTRIBUTES"):
        return "TensorFlow can't restore an object whose name ends in '.ATTRIBUTES'"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "the names of objects are UTF-8, and this is not"
    return None


def join_path(parent: str, name: str, *, of_root: bool | None = None) -> str:
    """The path of the child `name` (not escaped) of the object at `parent`.

    Args:
        parent: its path; empty for the root, and for a child of the root that is called "".
        name: the local name.
        of_root: whether the parent is the root; None if that is what an empty path means.
    """
    is_first = not parent if of_root is None else of_root
    return escape_name(name) if is_first else f"{parent}/{escape_name(name)}"


def split_path(path: str) -> list[str]:
    """The local names in a path, unescaped; empty for the root.

    Raises:
        ArgumentError: a part is not an escaped name.
    """
    parts = path.split("/") if path else []
    return list(map(unescape_name, parts)) if "." in path else parts


def attribute_key(path: str, name: str = VARIABLE_VALUE) -> str:
    """The checkpoint key of the tensor `name` of the object at `path`."""
    return f"{path}{_ATTRIBUTES}{escape_name(name)}"


def key_path(key: str) -> str | None:
    """The object path in a checkpoint key, or None if the key has none.

    Like TensorFlow, takes the part before the first `/.ATTRIBUTES/` (python/checkpoint/restore.py).
    """
    path, mark, _ = key.partition(_ATTRIBUTES)
    return path if mark else None


def slot_path(variable: str, optimizer: str, name: str) -> str:
    """The path of an optimizer's slot variable `name` for the variable at the path `variable`."""
    return f"{variable}{OPTIMIZER_SLOT}{optimizer}/{escape_name(name)}"
