"""The names by which users refer to a tensor, and their meaning.

Every name that a command or one of TensorFlow's messages prints is accepted:

- a key, `model/dense/kernel/.ATTRIBUTES/VARIABLE_VALUE` or `dense/kernel`; also a key made from another path of the object;
- any path of an object, `model/dense/kernel`;
- a full name, which is the variable's name in TF1 terms, `dense/kernel`; also a dictionary key with a '/' in it;
- TensorFlow's spelling of paths, `(root).model.dense._kernel`, and of slot variables, `(root).optimizer's state 'm' for
  (root).model.dense._kernel` (python/checkpoint/checkpoint.py, `ObjectGraphProtoPrettyPrinter`);
- any of these with the `:0` of a variable's tensor.

Keys and paths are unique. Full names are not, and a full name may be the path of another variable: this is an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import ConflictError, near_names, quoted
from tensorbundle.proto.paths import attribute_key, escape_name, key_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.proto.nodes import Node

__all__ = ["Naming", "new_path"]

_ATTRIBUTES: Final = "/.ATTRIBUTES/"
_TENSOR: Final = ":0"
_ROOT: Final = "(root)"
_SLOT: Final = re.compile(
    r"(?P<optimizer>\(root\).*)'s state '(?P<slot>.*)' for (?P<variable>\(root\).*)", re.DOTALL
)


class Naming:
    """The names of the tensors of one checkpoint.

    The object graph is read only when a name requires it: a key does not.

    Attributes:
        prefix: the checkpoint's prefix, for errors.
    """

    def __init__(self, keys: Collection[str], graph: Callable[[], ObjectGraph | None], prefix: str) -> None:
        """The names of the tensors with these keys; `graph` is called when the object graph is needed."""
        self._keys = keys
        self._read_graph = graph
        self.prefix = prefix
        self._asked = False
        self._graph: ObjectGraph | None = None
        self._collected = False
        self._names: dict[
            str, list[str]
        ] = {}  # by key: full names, and the shortest path if the key has another
        self._paths: dict[str, str] = {}  # by key: the shortest path
        self._by_name: dict[str, list[str]] = {}
        self._nodes: dict[Node, str] = {}

    def find(self, name: str) -> str | None:
        """The key of the tensor with this name, or None.

        Raises:
            ConflictError: several tensors have this name; the reason lists their keys.
        """
        if name in self._keys:
            return name
        by_path, by_name = self.at_path(name), self.called(name)
        found = list(dict.fromkeys([*by_path, *by_name]))
        if len(found) > 1:
            values = [key for key in by_path if key.endswith(attribute_key(""))]
            if len(values) == 1 and not set(by_name) - set(by_path):
                return values[0]  # of an object with several tensors
            what = "is the path of one object and the full name of another" if by_path and by_name else ""
            raise ConflictError(
                f"{name!r} {what or f'means {len(found)} tensors'}; a key says which: {quoted(found)}",
                path=self.prefix,
            )
        return found[0] if found else None

    def meant(self, name: str) -> list[str]:
        """The keys of all tensors with this name: those of an object, or several with the same full name.

        Raises:
            ConflictError: the name is the path of one object and the full name of another variable.
        """
        if name in self._keys:
            return [name]
        by_path, by_name = self.at_path(name), self.called(name)
        if by_path and set(by_name) - set(by_path):
            self.find(name)
        return by_path or by_name

    def at_path(self, name: str) -> list[str]:
        """The keys of the object at a path, in any spelling; if a key was given, only the key of that tensor."""
        node, attribute = self._object(name)
        if node is None:  # without an object graph, or not in it
            value = attribute_key(name)
            without = self._the_graph() is None
            return (
                [key for key in self._keys if key_path(key) == name]
                if without
                else [value][: value in self._keys]
            )
        keys = [
            each.checkpoint_key for each in node.attributes if attribute in (None, escape_name(each.name))
        ]
        stored = [key for key in keys if key in self._keys]
        if len(stored) < len(keys):  # the graph has only a prefix of the keys of a table's tensors
            paths = set(map(key_path, keys))
            stored = [key for key in self._keys if key in stored or key_path(key) in paths]
        return stored

    def called(self, name: str) -> list[str]:
        """The keys of the variables with this full name."""
        self._collect()
        bare = name.removesuffix(_TENSOR)
        own = [bare] if bare != name and bare in self._keys else []
        return self._by_name.get(name) or self._by_name.get(bare) or own

    def path(self, name: str) -> str | None:
        """A path of the object with this name: the given path, or the shortest; None if no object has the name.

        Raises:
            ConflictError: several variables have this full name.
        """
        graph = self._the_graph()
        if graph is None or graph.get(name) is not None:
            return None if graph is None else name
        node, _ = self._object(name)
        if node is None:
            key = self.find(name)
            return None if key is None else self._paths.get(key)
        if not self._nodes:
            self._nodes = graph.paths()
        return self._nodes[node]

    def labels(self, key: str) -> Iterator[str]:
        """The names of a tensor that patterns are matched against: its key, its object's path, its full name."""
        yield key
        path = key_path(key)
        if path is not None:
            yield path
        self._collect()
        yield from self._names.get(key, ())

    def near(self, name: str) -> str:
        """The names most similar to an unknown one, as the end of a message: empty, or `; near: 'a', 'b'`."""
        known: dict[str, None] = {}
        for key in self._keys:
            first, *others = self.labels(key)
            known |= dict.fromkeys(others if others and _ATTRIBUTES not in name else [first])
        near = near_names(name.strip("*"), known)
        return f"; near: {', '.join(map(repr, near))}" if near else ""

    def _object(self, name: str) -> tuple[Node | None, str | None]:
        """The object of a path or a key, and for a key the escaped name of the object's tensor."""
        graph = self._the_graph()
        if graph is None:
            return None, None
        for text in dict.fromkeys((name, name.removesuffix(_TENSOR))):
            path, mark, attribute = text.partition(_ATTRIBUTES)
            node = _spelled(graph, path) if path.startswith(_ROOT) else graph.get(path)
            if node is not None:
                return node, attribute if mark else None
        return None, None

    def _the_graph(self) -> ObjectGraph | None:
        if not self._asked:
            self._asked, self._graph = True, self._read_graph()
        return self._graph

    def _collect(self) -> None:
        """Collect the names in the object graph, once."""
        if self._collected:
            return
        self._collected = True
        graph = self._the_graph()
        if graph is None:
            return
        listed = {child: name for node in graph.nodes for name, child in node.children.items() if "/" in name}
        for path, node, each in graph.attributes():
            key = each.checkpoint_key
            if key not in self._keys:
                continue
            self._paths[key] = path
            full_names = list(filter(None, dict.fromkeys([each.full_name, listed.get(node, "")])))
            self._names[key] = [name for name in (*full_names, path) if name != key_path(key)]
            for name in full_names:
                self._by_name.setdefault(name, []).append(key)


def new_path(name: str) -> str:
    """The path in a name of an object that does not exist yet: a path, a key, or TensorFlow's spelling."""
    path, _, _ = name.partition(_ATTRIBUTES)
    if path.startswith(f"{_ROOT}."):
        return path.removeprefix(f"{_ROOT}.").replace(".", "/")
    return path


def _spelled(graph: ObjectGraph, text: str) -> Node | None:
    """The object that TensorFlow spells `(root).a.b`. Local names may contain dots, so every way to split it is tried."""
    slot = _SLOT.fullmatch(text)
    if slot is not None:
        optimizer, variable = (_spelled(graph, slot[each]) for each in ("optimizer", "variable"))
        slots = optimizer.slots if optimizer is not None else ()
        return next(
            (each.slot for each in slots if each.name == slot["slot"] and each.variable is variable), None
        )
    rest = text.removeprefix(_ROOT)
    if not rest.startswith("."):
        return None if rest else graph.root
    ends = [*[at for at, char in enumerate(rest) if char == "."][1:], len(rest)]
    stack = [(graph.root, 1)]
    seen = set(stack)
    while stack:
        node, start = stack.pop()
        for end in ends:
            child = node.children.get(rest[start:end]) if end >= start else None
            if child is None:
                continue
            if end == len(rest):
                return child
            if (child, end + 1) not in seen:
                seen.add((child, end + 1))
                stack.append((child, end + 1))
    return None
