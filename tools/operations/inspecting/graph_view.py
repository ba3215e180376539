"""An object graph as it is shown: which nodes, with what is known of each, and the edges between them: `graph`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import UnsupportedError
from tensorbundle.tools.operations.inspecting.hints import Tensors, hints

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tensorbundle.checkpoint import Checkpoint, Path
    from tensorbundle.proto.graph import Node, ObjectGraph

__all__ = ["Arrow", "Edge", "GraphView", "graph", "view_of"]


class Edge(NamedTuple):
    """A line of a tree: what leads to an object, of which optimizer if it is a slot, and whether it is in full there."""

    name: str
    optimizer: Node | None
    node: Node
    in_full: bool


class Arrow(NamedTuple):
    """An edge of the graph between two nodes; `optimizer` is whose slot the target is, or None."""

    source: Node
    name: str
    target: Node
    optimizer: Node | None


class GraphView(NamedTuple):
    """What of a graph is shown.

    Attributes:
        graph: all of it.
        tensors: the tensors that are stored.
        hints: what kind of object the nodes are.
        paths: the nodes that are shown, and their paths.
    """

    graph: ObjectGraph
    tensors: Tensors
    hints: Mapping[Node, str]
    paths: Mapping[Node, str]

    def edges(self) -> dict[Node, list[Edge]]:
        """The edges of every object: each object in full below the parent on its shortest path, slots below variables."""
        edges: dict[Node, list[Edge]] = {node: [] for node in self.graph.nodes}
        shown = {self.graph.root}
        for node in self.paths:
            for name, child in node.children.items():
                edges[node].append(Edge(name, None, child, child not in shown))
                shown.add(child)
        for optimizer in self.paths:
            for slot in optimizer.slots:
                edges[slot.variable].append(Edge(slot.name, optimizer, slot.slot, slot.slot not in shown))
                shown.add(slot.slot)
        return edges

    def arrows(self) -> Iterator[Arrow]:
        """Every edge between shown objects, slots from their variables."""
        for node in self.paths:
            for name, child in node.children.items():
                if child in self.paths:
                    yield Arrow(node, name, child, None)
            for slot in node.slots:
                if slot.slot in self.paths and slot.variable in self.paths:
                    yield Arrow(slot.variable, slot.name, slot.slot, node)

    def to_json(self, node: Node) -> dict[str, object]:
        """One object; its path is null where nothing leads to it, its hint where nothing tells what it is."""
        fields: dict[str, object] = {
            "id": node.id,
            "path": self.paths.get(node),
            "children": {name: child.id for name, child in node.children.items()},
            "attributes": [
                {"name": each.name, "full_name": each.full_name, "checkpoint_key": each.checkpoint_key}
                for each in node.attributes
            ],
            "slots": [
                {"name": each.name, "optimizer": node.id, "variable": each.variable.id, "slot": each.slot.id}
                for each in node.slots
            ],
            "hint": self.hints.get(node),
        }
        if node.registered_saver is not None:
            saver = node.registered_saver
            fields["registered_saver"] = {"name": saver.name, "object_name": saver.object_name}
        return fields


def graph(source: Path, depth: int | None = None) -> GraphView:
    """The object graph of a checkpoint.

    Args:
        source: anything that `tensorbundle.open` takes.
        depth: only objects at most so many edges from the root, with their slots; all if None.

    Raises:
        UnsupportedError: it is name-based and has none.
        BundleError: it can't be read.
    """
    with open_checkpoint(source) as checkpoint:
        return view_of(checkpoint, depth)


def view_of(checkpoint: Checkpoint, depth: int | None = None) -> GraphView:
    """`graph` of an open checkpoint."""
    whole = checkpoint.object_graph
    if whole is None:
        raise UnsupportedError(
            "a name-based (TF1) checkpoint, which has no object graph; 'tensorbundle ls' lists its tensors",
            path=checkpoint.prefix,
        )
    paths = whole.paths()
    if depth is not None:
        near = _within(whole, depth)
        paths = {node: path for node, path in paths.items() if node in near}
    tensors = Tensors(dict(checkpoint.entries()))
    return GraphView(whole, tensors, hints(checkpoint, whole, tensors), paths)


def _within(graph: ObjectGraph, depth: int) -> set[Node]:
    seen = {graph.root}
    level = [graph.root]
    while level and depth > 0:
        found = {child: None for node in level for child in node.children.values() if child not in seen}
        seen.update(found)
        level = list(found)
        depth -= 1
    return seen | {slot.slot for node in seen for slot in node.slots if slot.variable in seen}
