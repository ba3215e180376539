"""`tensorbundle graph`: the object graph of an object-based checkpoint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import UnsupportedError
from tensorbundle.proto.paths import VARIABLE_VALUE, attribute_key
from tensorbundle.slices import shape_text
from tensorbundle.tools.cli.console import DRAWN_DEPTH, branches, escape
from tensorbundle.tools.operations.inspecting.hints import Tensors, hints

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from tensorbundle.entries import TensorEntry
    from tensorbundle.proto.graph import Attribute, Node, ObjectGraph
    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle graph run/ckpt-1 --depth 2"
_MERMAID = str.maketrans({"#": "#35;", "&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;"})


class View(NamedTuple):
    """What of a graph is shown.

    Attributes:
        graph: all of it.
        tensors: what is stored.
        hints: what kind of object the nodes are.
        paths: the nodes that are shown, and their paths.
    """

    graph: ObjectGraph
    tensors: Tensors
    hints: Mapping[Node, str]
    paths: Mapping[Node, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("--format", choices=("tree", "json", "dot", "mermaid"), help="tree by default")
    parser.add_argument(
        "--depth",
        type=int,
        metavar="N",
        help=f"only objects at most N edges from the root; a tree is drawn {DRAWN_DEPTH} deep by default",
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the graph."""
    with open_checkpoint(args.checkpoint) as checkpoint:
        graph = checkpoint.object_graph
        if graph is None:
            raise UnsupportedError(
                "a name-based (TF1) checkpoint, which has no object graph; 'tensorbundle ls' lists its tensors",
                path=checkpoint.prefix,
            )
        chosen = args.format or ("json" if console.json else "tree")
        if console.json and chosen != "json":
            raise UnsupportedError(f"--json prints JSON, and --format {chosen} does not")
        depth = DRAWN_DEPTH if args.depth is None and chosen == "tree" else args.depth
        paths = graph.paths()
        if depth is not None:
            near = _within(graph, depth)
            paths = {node: path for node, path in paths.items() if node in near}
        tensors = Tensors(dict(checkpoint.entries()))
        view = View(graph, tensors, hints(checkpoint, graph, tensors), paths)
        if chosen == "json":
            console.json = True
            for node in graph.nodes:
                if args.depth is None or node in paths:
                    console.record(to_json(view, node))
        else:
            console.lines({"tree": _tree, "dot": _dot, "mermaid": _mermaid}[chosen](view))
    return 0


def to_json(view: View, node: Node) -> dict[str, object]:
    """One object; its path is null where nothing leads to it, its hint where nothing tells what it is."""
    fields: dict[str, object] = {
        "id": node.id,
        "path": view.paths.get(node),
        "children": {name: child.id for name, child in node.children.items()},
        "attributes": [
            {"name": each.name, "full_name": each.full_name, "checkpoint_key": each.checkpoint_key}
            for each in node.attributes
        ],
        "slots": [
            {"name": each.name, "optimizer": node.id, "variable": each.variable.id, "slot": each.slot.id}
            for each in node.slots
        ],
        "hint": view.hints.get(node),
    }
    if node.registered_saver is not None:
        saver = node.registered_saver
        fields["registered_saver"] = {"name": saver.name, "object_name": saver.object_name}
    return fields


def _within(graph: ObjectGraph, depth: int) -> set[Node]:
    seen = {graph.root}
    level = [graph.root]
    while level and depth > 0:
        found = {child: None for node in level for child in node.children.values() if child not in seen}
        seen.update(found)
        level = list(found)
        depth -= 1
    return seen | {slot.slot for node in seen for slot in node.slots if slot.variable in seen}


class Edge(NamedTuple):
    """A line of the tree: what leads to an object, and whether the object is shown in full there."""

    label: str
    node: Node
    in_full: bool


def _edges(view: View) -> dict[Node, list[Edge]]:
    """The edges of every object: each object in full below the parent on its shortest path, slots below variables."""
    edges: dict[Node, list[Edge]] = {node: [] for node in view.graph.nodes}
    shown = {view.graph.root}
    for node in view.paths:
        for name, child in node.children.items():
            edges[node].append(Edge(escape(name), child, child not in shown))
            shown.add(child)
    for optimizer in view.paths:
        for slot in optimizer.slots:
            label = f"{escape(slot.name)} (slot of #{optimizer.id})"
            edges[slot.variable].append(Edge(label, slot.slot, slot.slot not in shown))
            shown.add(slot.slot)
    return edges


def _tree(view: View) -> Iterator[str]:
    edges = _edges(view)
    yield f"(root) #0{_details(view, view.graph.root)}"

    def below(edge: Edge) -> list[Edge]:
        return edges[edge.node] if edge.in_full and edge.node in view.paths else []

    for lead, (label, node, in_full) in branches(edges[view.graph.root], below):
        if not in_full:
            yield f"{lead}{label} -> #{node.id}"
        elif node not in view.paths:
            yield f"{lead}{label} #{node.id} ..."
        else:
            yield f"{lead}{label} #{node.id}{_details(view, node, label)}"


def _details(view: View, node: Node, label: str = "") -> str:
    return "".join(f"  {part}" for part in _parts(view, node, label))


def _parts(view: View, node: Node, label: str) -> list[str]:
    """What is known of an object: its hint, unless it is one of a variable, and its tensors."""
    variable = any(each.name == VARIABLE_VALUE for each in node.attributes)
    hint = [] if variable or node not in view.hints else [escape(view.hints[node])]
    return hint + [_attribute(view, view.paths[node], each, label) for each in node.attributes]


def _attribute(view: View, path: str, each: Attribute, label: str) -> str:
    stored = [
        " ".join([*([] if name == VARIABLE_VALUE else [escape(name)]), *_type(entry)])
        for name, entry in view.tensors.of(each)
    ]
    words = [
        "  ".join(stored) or f"{'' if each.name == VARIABLE_VALUE else f'{escape(each.name)} '}not stored"
    ]
    if each.full_name and escape(each.full_name) != label:
        words.append(f"'{escape(each.full_name)}'")
    if each.checkpoint_key != attribute_key(path, each.name):
        words.append(f"key {escape(each.checkpoint_key)}")
    return " ".join(words)


def _type(entry: TensorEntry) -> list[str]:
    sliced = [f"in {len(entry.slices)} slices"] if entry.slices else []
    return [str(entry.dtype), shape_text(entry.shape), *sliced]


def _dot(view: View) -> Iterator[str]:
    yield "digraph checkpoint {"
    yield "  node [shape=box, fontname=monospace];"
    for node in view.paths:
        yield f"  n{node.id} [label={_dot_text(_label(view, node))}];"
    for source, label, target, dashed in _arrows(view):
        style = ", style=dashed" if dashed else ""
        yield f"  n{source} -> n{target} [label={_dot_text(label)}{style}];"
    yield "}"


def _mermaid(view: View) -> Iterator[str]:
    yield "flowchart LR"
    for node in view.paths:
        yield f'  n{node.id}["{_mermaid_text(_label(view, node))}"]'
    for source, label, target, dashed in _arrows(view):
        arrow = "-.->" if dashed else "-->"
        yield f'  n{source} {arrow}|"{_mermaid_text(label)}"| n{target}'


def _label(view: View, node: Node) -> str:
    name = escape(view.paths[node].rpartition("/")[2]) or "(root)"
    return "  ".join([name, *_parts(view, node, name)])


def _arrows(view: View) -> Iterator[tuple[int, str, int, bool]]:
    """Every edge between shown objects: source, label, target, and whether it is a slot."""
    for node in view.paths:
        for name, child in node.children.items():
            if child in view.paths:
                yield node.id, escape(name), child.id, False
        for slot in node.slots:
            if slot.slot in view.paths and slot.variable in view.paths:
                yield slot.variable.id, f"{escape(slot.name)} of #{node.id}", slot.slot.id, True


def _dot_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _mermaid_text(text: str) -> str:
    return text.translate(_MERMAID)
