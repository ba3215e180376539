"""Moving objects of a graph to other paths: the edges that change."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tensorbundle.errors import ConflictError, TensorNotFoundError
from tensorbundle.proto.nodes import Node
from tensorbundle.proto.paths import escape_name, split_path, unescape_name
from tensorbundle.proto.reach import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["move_edges"]


def move_edges(root: Node, find: Callable[[str], Node], moves: Mapping[str, str]) -> None:
    """Change the edges below `root` as `ObjectGraph.move` describes; if it raises, some may have been changed.

    An object that moves below its own old path leaves a new object there: `model` to `model/net` wraps it.

    Args:
        root: the root object.
        find: returns the object at a path, or raises if there is none.
        moves: old paths to new ones.
    """
    edges = []
    leaving: dict[Node, dict[str, Node]] = {}  # the objects that move, by parent, then by name
    for path, new in moves.items():
        parent, name = _edge(find, path)
        if new == path:
            raise ConflictError(f"an object can't move to {new!r}", key=path)
        if name in leaving.setdefault(parent, {}):
            raise ConflictError("this object moves twice, by two of its paths", key=path)
        leaving[parent][name] = parent.children[name]
        _must_be_path(new, path)
        edges.append((path, parent, name, new))
    order = {parent: parent.children for parent in leaving}
    for parent, going in leaving.items():
        parent.children = {name: child for name, child in order[parent].items() if name not in going}
    renamed: dict[Node, dict[str, str]] = {parent: {} for parent in leaving}
    taken: set[tuple[Node, str]] = set()
    elsewhere = []
    fresh = {(parent, name) for path, parent, name, new in edges if new.startswith(f"{path}/")}
    taken |= fresh
    remaining = _Parents(root)
    for path, parent, name, new in edges:
        there, last = remaining.of(new)
        if there is parent and last not in parent.children and (parent, last) not in taken:
            renamed[parent][name] = last
            taken.add((parent, last))
        else:
            elsewhere.append((leaving[parent][name], path, new))
    for parent, new_names in renamed.items():  # keeps its position among its siblings
        parent.children = {
            new_names.get(name, name): Node() if (parent, name) in fresh else child
            for name, child in order[parent].items()
            if name in new_names or name not in leaving[parent] or (parent, name) in fresh
        }
    parents = _Parents(root)
    for node, path, new in elsewhere:
        _attach(root, parents, node, path, new)
    _prune(root, leaving)


def _edge(find: Callable[[str], Node], path: str) -> tuple[Node, str]:
    """The parent of the object at `path`, and the object's local name there."""
    above, slash, escaped = path.rpartition("/")
    try:
        parent: Node | None = find(above)
        name = unescape_name(escaped)
        if slash and not above:  # a child of the root that is called ""
            parent = find("").children.get("")
    except (ValueError, TensorNotFoundError):
        parent, name = None, ""
    if not path or parent is None or name not in parent.children:
        find(path)  # raises if there is no such object
        raise ConflictError("the root object and slot variables have no name of their own", key=path)
    return parent, name


class _Parents:
    """The objects above new paths, each searched for once: siblings have the same."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._known: dict[tuple[str, str], Node | None] = {}

    def of(self, path: str, *, add: bool = False) -> tuple[Node | None, str]:
        """The object above `path`, and the local name below it.

        If there is none, None, or a new object if `add` is set; None also of the root's path. `add` must be the same in
        every call.
        """
        above, slash, escaped = path.rpartition("/")
        if not path:
            return None, ""
        if (above, slash) not in self._known:
            node: Node | None = self._root
            for name in split_path(path)[:-1]:
                child = node.children.get(name) if node is not None else None
                if child is None and node is not None and add:
                    child = node.children[name] = Node()
                node = child
            self._known[above, slash] = node
        return self._known[above, slash], unescape_name(escaped)


def _attach(root: Node, parents: _Parents, node: Node, path: str, new: str) -> None:
    """Attach an object, or its children, under a new name; both paths are for messages."""
    parent, name = parents.of(new, add=True)
    there = root if parent is None else parent.children.setdefault(name, node)
    pending = deque([(node, there)])
    while pending:
        node, there = pending.popleft()
        if there is node:
            continue
        if node.owns_something or there.owns_something:
            raise ConflictError(f"there is an object at {new!r} already", key=path)
        pending.extend(
            (child, there.children.setdefault(name, child)) for name, child in node.children.items()
        )


def _prune(root: Node, parents: Iterable[Node]) -> None:
    """Remove objects that a move left without content, then their parents if these have no content either."""
    queue = [node for node in parents if not (node is root or node.children or node.owns_something)]
    if not queue:
        return
    above: dict[Node, list[tuple[Node, str]]] = {}
    for _, node in walk(root):
        for name, child in node.children.items():
            above.setdefault(child, []).append((node, name))
    while queue:
        node = queue.pop()
        if node is root or node.children or node.owns_something:
            continue
        for parent, name in above.pop(node, []):
            del parent.children[name]
            queue.append(parent)


def _must_be_path(path: str, old: str) -> None:
    """Refuse a path given by a user with a part that is not escaped."""
    try:
        if "." in path:
            split_path(path)
    except ValueError as error:
        escaped = "/".join(map(escape_name, path.split("/")))
        raise ConflictError(f"{error}; as a path it is {escaped!r}", key=old) from None
