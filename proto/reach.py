"""The objects of a graph that are reachable from the root by edges and slots, in the order of their numbers.

TensorFlow numbers objects breadth-first by their edges, and slot variables after all others (python/checkpoint/
save_util.py and util.py, `serialize_slot_variables`). It refuses to save a slot variable that has children; if a graph
contains some, they are numbered after the slot variables. Numbers, edges and paths are all derived here, so an edge never
leads to an object without a number.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tensorbundle.errors import CorruptionError
from tensorbundle.limits import MAX_PATH_RATIO, MAX_PATHS
from tensorbundle.proto.nodes import Slot
from tensorbundle.proto.paths import escape_name, slot_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorbundle.proto.nodes import Node

__all__ = ["check_paths", "paths_too_long", "reach", "walk"]


def reach(root: Node) -> Iterator[tuple[Node, Node | None, str | Slot]]:
    """Every object once, with the object that leads to it and the edge: a local name, or an optimizer's slot.

    A slot is reachable if its variable is. The root comes first, without an object that leads to it.
    """
    seen = {root}
    yield root, None, ""
    queue = deque([root])  # objects that were reached, and whose edges were not followed yet
    waiting: dict[
        Node, list[tuple[Node, Slot]]
    ] = {}  # slots of variables that are not reached yet, by variable
    while queue:
        found: list[tuple[Node, Slot]] = []
        awaited: list[tuple[Node, Slot]] = []
        while queue:
            parent = queue.popleft()
            found += [(parent, slot) for slot in parent.slots]
            if waiting:
                awaited += waiting.pop(parent, ())
            for name, child in parent.children.items():
                if child not in seen:
                    seen.add(child)
                    yield child, parent, name
                    if waiting or child.children or child.slots:
                        queue.append(child)
        for optimizer, slot in found + awaited:
            if slot.variable not in seen:
                waiting.setdefault(slot.variable, []).append((optimizer, slot))
            elif slot.slot not in seen:
                seen.add(slot.slot)
                yield slot.slot, optimizer, slot
                queue.append(slot.slot)


def walk(root: Node) -> Iterator[tuple[str, Node]]:
    """Every object once, in the order of `reach`, with the path on which it was reached."""
    paths: dict[Node, str] = {}
    for node, parent, edge in reach(root):
        if parent is None:
            paths[node] = ""
        elif isinstance(edge, Slot):
            paths[node] = slot_path(paths[edge.variable], paths[parent], edge.name)
        else:
            name = escape_name(edge)
            paths[node] = name if parent is root else f"{paths[parent]}/{name}"
        yield paths[node], node


def check_paths(nodes: Sequence[Node], nbytes: int) -> None:
    """Refuse a graph whose paths need too much memory, without building them; its first node is the root.

    Raises:
        CorruptionError: they have far more characters in total than the graph has bytes (`nbytes`), as in a chain of 1,500 objects.
    """
    allowed = min(MAX_PATHS, MAX_PATH_RATIO * nbytes + (1 << 20))
    variables = {slot.variable for node in nodes for slot in node.slots}
    sizes: dict[
        Node, int
    ] = {}  # of objects that other paths continue; most objects are variables without slots
    total = 0
    for node, parent, edge in reach(nodes[0]):
        if parent is None:
            size = 0
        elif isinstance(edge, Slot):
            size = sizes[edge.variable] + sizes[parent] + len(edge.name)
        else:
            size = sizes[parent] + 1 + len(escape_name(edge))
        if node.children or node.slots or node in variables:
            sizes[node] = size
        total += size
        if total > allowed:
            raise paths_too_long(allowed)


def paths_too_long(allowed: int) -> CorruptionError:
    """The error about a graph whose paths need too much memory."""
    return CorruptionError(
        f"the paths of this object graph's objects have more than {allowed} characters in total"
    )
