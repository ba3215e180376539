"""The object graph in a report: lists with one item for each node, in the order of node ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorbundle.proto.paths import VARIABLE_VALUE
from tensorbundle.tools.operations.inspecting.hints import Tensors, hints

if TYPE_CHECKING:
    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.proto.graph import Node, ObjectGraph

__all__ = ["graph_contents"]


def graph_contents(checkpoint: Checkpoint, graph: ObjectGraph) -> dict[str, Any]:
    """Names, paths, parents, children, hints, attributes and slots of the nodes of a checkpoint's object graph.

    The parent of a node is the one on its shortest path; nodes that can't be reached have no parent and no name.
    """
    tensors = Tensors(dict(checkpoint.entries()))
    paths = graph.paths()
    kinds = hints(checkpoint, graph, tensors)
    parents, names = _parents(graph)
    nodes = graph.nodes
    return {
        "names": [names.get(node, "") for node in nodes],
        "paths": [paths.get(node, "") for node in nodes],
        "parents": [parents[node].id if node in parents else None for node in nodes],
        "children": [[[name, child.id] for name, child in node.children.items()] for node in nodes],
        "hints": [kinds.get(node) for node in nodes],
        "attributes": [_attributes(tensors, node) for node in nodes],
        "slots": [[[each.name, each.variable.id, each.slot.id] for each in node.slots] for node in nodes],
    }


def _parents(graph: ObjectGraph) -> tuple[dict[Node, Node], dict[Node, str]]:
    """The parent of each node in a breadth-first walk, and the name of the edge from there; slots below optimizers."""
    parents: dict[Node, Node] = {}
    names: dict[Node, str] = {}
    seen = {graph.root}
    level = [graph.root]
    while level:
        following = []
        for node in level:
            edges = [*node.children.items(), *((each.name, each.slot) for each in node.slots)]
            for name, child in edges:
                if child not in seen:
                    seen.add(child)
                    parents[child], names[child] = node, name
                    following.append(child)
        level = following
    return parents, names


def _attributes(tensors: Tensors, node: Node) -> list[str]:
    """The stored tensors of a node as text: type and shape, and the full name if there is one."""
    out = []
    for attribute in node.attributes:
        words = []
        for name, entry in tensors.of(attribute):
            label = "" if name == VARIABLE_VALUE else f"{name} "
            words.append(f"{label}{entry.dtype} [{','.join(map(str, entry.shape))}]")
        text = ", ".join(words) or f"{attribute.name} not stored"
        out.append(f"{text} '{attribute.full_name}'" if attribute.full_name else text)
    return out
