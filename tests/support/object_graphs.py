"""Object graphs read with TensorFlow's own messages, to hold against what we make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.tensorflow import trackable_object_graph_pb2, trackable_utils

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.contents import Tensor

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
COUNTER_KEY = "save_counter/.ATTRIBUTES/VARIABLE_VALUE"


def graph_in(tensors: dict[str, Tensor]) -> Any:
    """The object graph among the tensors of a checkpoint, as TensorFlow's message."""
    return trackable_object_graph_pb2.TrackableObjectGraph.FromString(tensors[GRAPH_KEY][2][0])


def key_of(path: Iterable[str]) -> str:
    """The key of the variable at these local names."""
    escaped = "/".join(map(trackable_utils.escape_local_name, path))
    return trackable_utils.checkpoint_key(escaped, "VARIABLE_VALUE")


def object_paths(graph: Any) -> dict[int, tuple[str, ...]]:
    """The local names on the way to each node; slot variables lie below their variable and their optimizer."""
    paths: dict[int, tuple[str, ...]] = {0: ()}
    queue = [0]
    for node in queue:
        for child in graph.nodes[node].children:
            if child.node_id not in paths:
                paths[child.node_id] = (*paths[node], child.local_name)
                queue.append(child.node_id)
    for node in queue:
        for slot in graph.nodes[node].slot_variables:
            path = (*paths[slot.original_variable_node_id], *paths[node], slot.slot_name)
            paths.setdefault(slot.slot_variable_node_id, path)
    return paths


def tf1_names(tensors: dict[str, Tensor], names: str) -> list[tuple[str, str]]:
    """The names that `convert --names` should give: pairs of name and key."""
    graph = graph_in(tensors)
    paths = object_paths(graph)
    usual = next((root for root in ("vars", "var_list") if (root,) in paths.values()), None)
    found = []
    for number, node in enumerate(graph.nodes):
        path = paths[number]
        for each in node.attributes:
            if each.name == "VARIABLE_VALUE" and path != ("save_counter",):
                listed = usual is not None and path[0] == usual
                by_path = names == "keys" or (names == "auto" and listed and len(path) == 2)
                found.append(("/".join(path[listed:]) if by_path else each.full_name, each.checkpoint_key))
    return found
