"""Structure files: the objects of a program, described in JSON or TOML.

A structure is the argument of `tf.train.Checkpoint(**structure)`: nested dictionaries and lists, in which a string
describes a variable and is its name in another checkpoint: its TF1 name, its key or its object path.

    {"encoder": {"layers": ["bert/layer_0/kernel", "bert/layer_1/kernel"]}, "step": "global_step"}

A variable may also be `{"$name": "global_step", "$dtype": "int64", "$shape": []}`, with all of them optional. Without
`$name` its name is its place, here `step`. For a child whose own name begins with '$', write one '$' more.
"""

from __future__ import annotations

import json
import tomllib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tensorbundle.dtypes import DType
from tensorbundle.errors import BundleError, cannot_read
from tensorbundle.limits import MAX_OBJECTS, MAX_PATHS, MAX_RANK, MAX_RECIPE_BYTES, MAX_TEXT_BYTES
from tensorbundle.proto.graph import Nested, ObjectGraph
from tensorbundle.proto.paths import attribute_key, join_path, name_fault, split_path
from tensorbundle.specs import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Structure", "read_structure"]

_MAX_TOML_DEPTH: Final = 100
_SHOWN: Final = 100
_NAME, _DTYPE, _SHAPE = "$name", "$dtype", "$shape"


@dataclass(frozen=True, slots=True)
class Structure:
    """The contents of a structure file.

    Attributes:
        path: the file.
        graph: its objects, numbered as TensorFlow would; there is no save counter unless the file has one. A variable's
            full name is the name that the file gives it.
        expected: by checkpoint key, every variable's type and shape as far as the file has them.
    """

    path: str
    graph: ObjectGraph
    expected: dict[str, Spec]


def read_structure(path: str) -> Structure:
    """The structure in a file: TOML or JSON by the ending of its name; if it has another, JSON if it begins with '{'.

    Raises:
        MissingFileError: no such file.
        BundleError: it can't be read; it is not such a structure; or it exceeds 32 MiB (TOML: 2 MiB), a million
            objects, or the length of paths in an object graph; the error's key is the place in the structure.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise cannot_read(error, path, "structure file") from None
    try:
        return _structure(path, _parsed(data, path))
    except BundleError as error:
        raise error.locate(path=path) from None


def _parsed(data: bytes, path: str) -> dict[str, Any]:
    """The dictionary in a file."""
    if len(data) > MAX_TEXT_BYTES:
        raise BundleError(f"a structure file is limited to {MAX_TEXT_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BundleError(f"not UTF-8: {error.reason}", offset=error.start) from None
    is_json = path.endswith(".json") or (not path.endswith(".toml") and text.lstrip()[:1] == "{")
    kind = "JSON" if is_json else "TOML"
    try:
        value = json.loads(text, object_pairs_hook=_distinct) if is_json else tomllib.loads(_shallow(text))
    except BundleError:
        raise
    except RecursionError:
        raise BundleError(f"not {kind} that can be read: nested too deeply") from None
    except ValueError as error:
        raise BundleError(f"not {kind}: {error}") from None
    if not isinstance(value, dict):
        raise BundleError(
            "not a structure: the root is a dictionary, as the arguments of tf.train.Checkpoint are"
        )
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, without repeated names, which JSON itself allows."""
    out: dict[str, Any] = {}
    for name, value in pairs:
        if name in out:
            raise BundleError(f"the name {name!r} appears twice in one dictionary")
        out[name] = value
    return out


def _shallow(text: str) -> str:
    """TOML that tomllib can read in time."""
    if len(text) > MAX_RECIPE_BYTES:
        raise BundleError(f"a TOML structure is limited to {MAX_RECIPE_BYTES >> 20} MiB; use JSON")
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > _MAX_TOML_DEPTH and _dots(line) > _MAX_TOML_DEPTH:
            raise BundleError(f"line {number}: a key of more than {_MAX_TOML_DEPTH} parts; use JSON")
    return text


def _dots(line: str) -> int:
    """How many dots a line has outside of quotes."""
    dots, quote = 0, ""
    for char in line:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == ".":
            dots += 1
    return dots


def _structure(path: str, value: dict[str, Any]) -> Structure:
    """The structure of a parsed file."""
    nested: dict[str, Nested] = {}
    expected: dict[str, Spec] = {}
    # The arguments of tf.train.Checkpoint come sorted (python/checkpoint/checkpoint.py).
    root = dict(sorted(value.items()))
    queue: deque[tuple[str, dict[str, Any] | list[Any], dict[str, Nested]]] = deque([("", root, nested)])
    objects = characters = 0
    while queue:
        above, container, out = queue.popleft()
        for name, inner in _children(container, above):
            objects += 1
            characters += len(above) + len(name) + 1
            if objects > MAX_OBJECTS or characters > MAX_PATHS:
                raise BundleError(
                    f"more than {MAX_OBJECTS} objects, or than {MAX_PATHS} characters in all their paths"
                )
            place = join_path(above, name)
            if isinstance(inner, str) or (isinstance(inner, dict) and any(map(_is_mark, inner))):
                described = inner if isinstance(inner, dict) else {_NAME: inner}
                out[name], expected[attribute_key(place)] = _variable(described, place)
            elif isinstance(inner, (dict, list)):
                below: dict[str, Nested] = {}
                out[name] = below
                queue.append((place, inner, below))
            else:
                raise BundleError(f"{_kind(inner)}, where a variable is to be named", key=place)
    return Structure(path, ObjectGraph.from_nested(nested), expected)


def _children(container: dict[str, Any] | list[Any], place: str) -> Iterator[tuple[str, Any]]:
    """The local name and the content of each item of a dictionary or a list."""
    if isinstance(container, list):
        for number, inner in enumerate(container):
            yield str(number), inner
        return
    for written, inner in container.items():
        name = written.removeprefix("$")
        if _is_mark(written):
            raise BundleError(
                f"{written!r} belongs to a variable; a child of this name is {'$' + written!r}", key=place
            )
        fault = name_fault(name) if name else "an object needs a name"
        if fault is not None:
            raise BundleError(fault, key=join_path(place, name))
        yield name, inner


def _is_mark(name: str) -> bool:
    return name.startswith("$") and not name.startswith("$$")


def _variable(described: dict[str, Any], place: str) -> tuple[str, Spec]:
    """The name of a variable, and its type and shape."""
    unknown = next((each for each in described if each not in (_NAME, _DTYPE, _SHAPE)), None)
    if unknown is not None:
        raise BundleError(f"{unknown!r} is not {_NAME!r}, {_DTYPE!r} or {_SHAPE!r}", key=place)
    name = described.get(_NAME, "/".join(split_path(place)))
    if not isinstance(name, str) or not name or name_fault(name) is not None:
        raise BundleError(f"{_NAME} is not a name: {_kind(name)}", key=place)
    dtype, shape = described.get(_DTYPE), described.get(_SHAPE)
    if dtype is not None and dtype not in list(DType):
        raise BundleError(f"{_DTYPE} is not a data type: {_kind(dtype)}", key=place)
    if shape is not None and not _is_shape(shape):
        raise BundleError(f"{_SHAPE} is not a list of sizes: {_kind(shape)}", key=place)
    return name, Spec(None if dtype is None else DType[dtype], None if shape is None else tuple(shape))


def _kind(value: object) -> str:
    """A short description of a value, which may be of any size."""
    if isinstance(value, str):
        return repr(value[:_SHOWN])
    return f"a {type(value).__name__}"


def _is_shape(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MAX_RANK
        and all(type(size) is int and 0 <= size < 1 << 63 for size in value)
    )
