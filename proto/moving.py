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
        edges.append((path, parent, name, _names(new, path), new))
    order = {parent: parent.children for parent in leaving}
    for parent, going in leaving.items():
        parent.children = {name: child for name, child in order[parent].items() if name not in going}
    renamed: dict[Node, dict[str, str]] = {parent: {} for parent in leaving}
    taken: set[tuple[Node, str]] = set()
    elsewhere = []
    fresh = {(parent, name) for path, parent, name, _, new in edges if new.startswith(f"{path}/")}
    taken |= fresh
    for path, parent, name, names, new in edges:
        stays = bool(names) and _descend(root, names[:-1]) is parent
        if stays and names[-1] not in parent.children and (parent, names[-1]) not in taken:
            renamed[parent][name] = names[-1]
            taken.add((parent, names[-1]))
        else:
            elsewhere.append((leaving[parent][name], names, path, new))
    for parent, new_names in renamed.items():  # keeps its position among its siblings
        parent.children = {
            new_names.get(name, name): Node() if (parent, name) in fresh else child
            for name, child in order[parent].items()
            if name in new_names or name not in leaving[parent] or (parent, name) in fresh
        }
    for node, names, path, new in elsewhere:
        _attach(root, node, names, path, new)
    _prune(root, leaving)


def _edge(find: Callable[[str], Node], path: str) -> tuple[Node, str]:
    """The parent of the object at `path`, and the object's local name there."""
    node = find(path)
    above, slash, escaped = path.rpartition("/")
    try:
        parent, name = find(above), unescape_name(escaped)
        if slash and not above:  # a child of the root that is called ""
            parent = parent.children.get("", parent)
    except (ValueError, TensorNotFoundError):
        parent, name = None, ""
    if parent is None or parent.children.get(name) is not node:  # slot variables are no children
        raise ConflictError("the root object and slot variables have no name of their own", key=path)
    return parent, name


def _descend(root: Node, names: Iterable[str]) -> Node | None:
    """The object that edges of these names lead to, or None."""
    node: Node | None = root
    for name in names:
        node = node.children.get(name) if node is not None else None
    return node


def _attach(root: Node, node: Node, names: list[str], path: str, new: str) -> None:
    """Attach an object, or its children, under a new name; both paths are for messages."""
    pending = deque([(node, root, names)])
    while pending:
        node, parent, names = pending.popleft()
        for part in names[:-1]:
            parent = parent.children.setdefault(part, Node())
        there = parent.children.setdefault(names[-1], node) if names else parent
        if there is node:
            continue
        if node.owns_something or there.owns_something:
            raise ConflictError(f"there is an object at {new!r} already", key=path)
        pending.extend((child, there, [name]) for name, child in node.children.items())


def _prune(root: Node, parents: Iterable[Node]) -> None:
    """Remove objects that a move left without content, then their parents if these have no content either."""
    above: dict[Node, list[tuple[Node, str]]] = {}
    for _, node in walk(root):
        for name, child in node.children.items():
            above.setdefault(child, []).append((node, name))
    queue = list(parents)
    while queue:
        node = queue.pop()
        if node is root or node.children or node.owns_something:
            continue
        for parent, name in above.pop(node, []):
            del parent.children[name]
            queue.append(parent)


def _names(path: str, old: str) -> list[str]:
    """The local names in a path given by a user."""
    try:
        return split_path(path)
    except ValueError as error:
        escaped = "/".join(map(escape_name, path.split("/")))
        raise ConflictError(f"{error}; as a path it is {escaped!r}", key=old) from None
