"""The view of an object graph: the shown nodes, known facts about each, and the edges between them: `graph`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import TensorNotFoundError, UnsupportedError, near_hint
from tensorbundle.keys import encode_key
from tensorbundle.proto.paths import OPTIMIZER_SLOT, VARIABLE_VALUE, split_path
from tensorbundle.tools.operations.inspecting.hints import Tensors, hints

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from tensorbundle.checkpoint import Checkpoint, Path
    from tensorbundle.entries import TensorEntry
    from tensorbundle.proto.graph import Node, ObjectGraph, Slot

__all__ = ["Arrow", "Edge", "GraphView", "graph", "view_of"]


class Edge(NamedTuple):
    """A line of a tree: the edge to an object, a slot's optimizer, and whether the object is shown in full there."""

    name: str
    optimizer: Node | None
    node: Node
    in_full: bool


class Arrow(NamedTuple):
    """An edge of the graph between two nodes; if the target is a slot, `optimizer` is its optimizer, else None."""

    source: Node
    name: str
    target: Node
    optimizer: Node | None


class GraphView(NamedTuple):
    """A graph, and the part of it that is shown.

    Attributes:
        graph: all of it.
        tensors: the tensors that are stored.
        hints: the kinds of objects that the nodes are.
        paths: the nodes that are shown and can be reached, and their paths in the whole graph.
        nodes: the nodes that are shown; of a whole graph also those that cannot be reached.
        root: the node where the view starts, shown or not.
        path: the path of `root`; empty for the whole graph.
        variables: whether only variables are shown.
    """

    graph: ObjectGraph
    tensors: Tensors
    hints: Mapping[Node, str]
    paths: Mapping[Node, str]
    nodes: Sequence[Node]
    root: Node
    path: str
    variables: bool

    def edges(self) -> dict[Node, list[Edge]]:
        """The edges of every object: each object in full below the parent on its shortest path, slots below variables.

        In a view of variables only, `root` has an edge to each variable that is not a slot, named by its path.
        """
        edges: dict[Node, list[Edge]] = defaultdict(list)
        shown = {self.root, *_above(self.graph, self.path)}
        if self.variables:
            slots = {slot.slot for _, slot in self.slots()}
            for node, path in self.paths.items():
                if node is not self.root and not (node in slots and OPTIMIZER_SLOT in path):
                    edges[self.root].append(Edge(path, None, node, in_full=True))
                    shown.add(node)
        else:
            for node in self.paths:
                for name, child in node.children.items():
                    edges[node].append(Edge(name, None, child, child not in shown))
                    shown.add(child)
        for optimizer, slot in self.slots():
            edges[slot.variable].append(Edge(slot.name, optimizer, slot.slot, slot.slot not in shown))
            shown.add(slot.slot)
        return edges

    def slots(self) -> Iterator[tuple[Node, Slot]]:
        """The slots of shown variables, with their optimizers, which may be hidden."""
        for optimizer in self.graph.nodes:
            for slot in optimizer.slots:
                if slot.variable in self.paths and slot.slot in self.paths:
                    yield optimizer, slot

    def arrows(self) -> Iterator[Arrow]:
        """Every edge between shown objects, slots from their variables."""
        for node in self.paths:
            for name, child in node.children.items():
                if child in self.paths:
                    yield Arrow(node, name, child, None)
        for optimizer, slot in self.slots():
            yield Arrow(slot.variable, slot.name, slot.slot, optimizer)

    def to_json(self, node: Node) -> dict[str, object]:
        """One object; its path is null if it can't be reached, its hint if its kind is not known."""
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


def graph(source: Path, depth: int | None = None, *, path: str = "", variables: bool = False) -> GraphView:
    """The object graph of a checkpoint, or a part of it.

    Args:
        source: anything that `tensorbundle.open` takes.
        depth: the greatest number of edges between the start of the view and the objects shown, apart from slots; all
            objects if None.
        path: the object where the view starts, given by any name that it or one of its tensors has; the view shows the
            objects that it leads to, but not those on the way to it. The root by default.
        variables: show only variables, including slot variables.

    Raises:
        UnsupportedError: it is name-based and has none.
        TensorNotFoundError: no object has the name `path`; the reason suggests similar paths.
        ConflictError: `path` is the full name of several variables.
        BundleError: it can't be read.
    """
    with open_checkpoint(source) as checkpoint:
        return view_of(checkpoint, depth, path=path, variables=variables)


def view_of(
    checkpoint: Checkpoint, depth: int | None = None, *, path: str = "", variables: bool = False
) -> GraphView:
    """`graph` of an open checkpoint."""
    whole = checkpoint.object_graph
    if whole is None:
        raise UnsupportedError(
            "a name-based (TF1) checkpoint, which has no object graph; 'tensorbundle ls' lists its tensors",
            path=checkpoint.prefix,
        )
    found = checkpoint.naming.path(path)
    if found is None:
        near = near_hint(path, whole.paths().values())
        raise TensorNotFoundError(f"no object has the name {path!r}{near}", path=checkpoint.prefix)
    root = whole[found]
    start = next(each for each, node in whole.walk() if node is root)
    if depth is None and root is whole.root and not variables:
        tensors = Tensors(dict(checkpoint.entries()))
        return GraphView(
            whole,
            tensors,
            hints(checkpoint, whole, tensors),
            whole.paths(),
            whole.nodes,
            root,
            start,
            variables,
        )
    below = _below(whole, root, _above(whole, start), depth)
    paths = {
        node: each for each, node in whole.walk() if node in below and (not variables or _is_variable(node))
    }
    nodes = [node for node in whole.nodes if node in paths]
    if depth is None:
        tensors = Tensors(dict(checkpoint.entries()))
        kinds = hints(checkpoint, whole, tensors, nodes)
    else:  # few objects of many, which need few entries
        every = Tensors(_Entries(checkpoint))
        kinds = hints(checkpoint, whole, every, nodes)
        tensors = every.of_nodes(nodes)
    return GraphView(whole, tensors, kinds, paths, nodes, root, start, variables)


class _Entries(Mapping[str, "TensorEntry"]):
    """The entries of a checkpoint, each read when it is asked for."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def __getitem__(self, key: str) -> TensorEntry:
        entry = self._checkpoint.index.get(encode_key(key))
        if entry is None:
            raise KeyError(key)
        return entry

    def __iter__(self) -> Iterator[str]:
        return iter(self._checkpoint)

    def __len__(self) -> int:
        return len(self._checkpoint)


def _is_variable(node: Node) -> bool:
    return any(each.name == VARIABLE_VALUE for each in node.attributes)


def _above(graph: ObjectGraph, path: str) -> set[Node]:
    """The objects on the way from the root to the one at `path`, without that one."""
    variable, slot, _ = path.partition(OPTIMIZER_SLOT)
    way = [graph.root]
    for name in split_path(variable):
        way.append(way[-1].children[name])
    return set(way) if slot else set(way) - {way[-1]}


def _below(graph: ObjectGraph, root: Node, above: Collection[Node], depth: int | None) -> set[Node]:
    """Objects that `root` leads to, except those above it, within `depth` edges; slots are as far as variables."""
    slots: dict[Node, list[Node]] = {}
    for optimizer in graph.nodes:
        for slot in optimizer.slots:
            slots.setdefault(slot.variable, []).append(slot.slot)
    seen: set[Node] = set()
    level = [root]
    while level:
        for node in level:  # the slots are added to `level`
            if node not in seen:
                seen.add(node)
                level += [each for each in slots.get(node, ()) if each not in above]
        if depth is not None:
            if depth <= 0:
                break
            depth -= 1
        fresh = {child: None for node in level for child in node.children.values()}
        level = [child for child in fresh if child not in seen and child not in above]
    return seen
