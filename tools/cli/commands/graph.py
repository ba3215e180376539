"""`tensorbundle graph`: the object graph of an object-based checkpoint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tensorbundle.errors import UnsupportedError
from tensorbundle.proto.paths import VARIABLE_VALUE, attribute_key
from tensorbundle.specs import shape_text
from tensorbundle.tools.cli.console import DRAWN_DEPTH, branches, escape
from tensorbundle.tools.operations.inspecting.graph_view import graph

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tensorbundle.entries import TensorEntry
    from tensorbundle.proto.graph import Attribute, Node
    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.inspecting.graph_view import Edge, GraphView

EXAMPLE = "tensorbundle graph run/ckpt-1 --depth 2"
_MERMAID = str.maketrans({"#": "#35;", "&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument(
        "path",
        metavar="PATH",
        nargs="?",
        default="",
        help="show only this object and those below it; any of its names",
    )
    parser.add_argument("--format", choices=("tree", "json", "dot", "mermaid"), help="tree by default")
    parser.add_argument(
        "--depth",
        type=int,
        metavar="N",
        help=f"only objects at most N edges from the root or PATH; a tree is drawn {DRAWN_DEPTH} deep by default",
    )
    parser.add_argument("--variables", action="store_true", help="only variables, by their paths")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the graph."""
    chosen = args.format or ("json" if console.json else "tree")
    if console.json and chosen != "json":
        raise UnsupportedError(f"--json prints JSON, and --format {chosen} does not")
    drawn = chosen == "tree" and args.depth is None and not args.variables
    depth = DRAWN_DEPTH if drawn else args.depth
    view = graph(args.checkpoint, depth, path=args.path, variables=args.variables)
    if chosen == "json":
        console.json = True
        for node in view.nodes:
            console.record(view.to_json(node))
    elif chosen == "tree":
        console.lines(_tree(view))
    else:
        console.file({"dot": _dot, "mermaid": _mermaid}[chosen](view))
    return 0


def _tree(view: GraphView) -> Iterator[str]:
    edges = view.edges()
    details = _details(view, view.root) if view.root in view.paths else ""
    yield f"{escape(view.path) or '(root)'} #{view.root.id}{details}"

    def below(edge: Edge) -> list[Edge]:
        return edges[edge.node] if edge.in_full and edge.node in view.paths else []

    for lead, edge in branches(edges[view.root], below):
        label, node = _edge_label(edge), edge.node
        if not edge.in_full:
            yield f"{lead}{label} -> #{node.id}"
        elif node not in view.paths:
            yield f"{lead}{label} #{node.id} ..."
        else:
            yield f"{lead}{label} #{node.id}{_details(view, node, label)}"


def _edge_label(edge: Edge) -> str:
    name = escape(edge.name)
    return name if edge.optimizer is None else f"{name} (slot of #{edge.optimizer.id})"


def _details(view: GraphView, node: Node, label: str = "") -> str:
    return "".join(f"  {part}" for part in _parts(view, node, label))


def _parts(view: GraphView, node: Node, label: str) -> list[str]:
    """The details of an object: its hint, unless it is that of a variable, and its tensors."""
    variable = any(each.name == VARIABLE_VALUE for each in node.attributes)
    hint = [] if variable or node not in view.hints else [escape(view.hints[node])]
    return hint + [_attribute(view, view.paths[node], each, label) for each in node.attributes]


def _attribute(view: GraphView, path: str, each: Attribute, label: str) -> str:
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


def _dot(view: GraphView) -> Iterator[str]:
    yield "digraph checkpoint {"
    yield "  node [shape=box, fontname=monospace];"
    for node in view.paths:
        yield f"  n{node.id} [label={_dot_text(_label(view, node))}];"
    for source, label, target, dashed in _arrows(view):
        style = ", style=dashed" if dashed else ""
        yield f"  n{source} -> n{target} [label={_dot_text(label)}{style}];"
    yield "}"


def _mermaid(view: GraphView) -> Iterator[str]:
    yield "flowchart LR"
    for node in view.paths:
        yield f'  n{node.id}["{_mermaid_text(_label(view, node))}"]'
    for source, label, target, dashed in _arrows(view):
        arrow = "-.->" if dashed else "-->"
        yield f'  n{source} {arrow}|"{_mermaid_text(label)}"| n{target}'


def _label(view: GraphView, node: Node) -> str:
    path = view.paths[node]
    name = escape(path if view.variables else path.rpartition("/")[2]) or "(root)"
    return "  ".join([name, *_parts(view, node, name)])


def _arrows(view: GraphView) -> Iterator[tuple[int, str, int, bool]]:
    """Every edge between shown objects: source, label, target, and whether it is a slot."""
    for source, name, target, optimizer in view.arrows():
        label = escape(name) if optimizer is None else f"{escape(name)} of #{optimizer.id}"
        yield source.id, label, target.id, optimizer is not None


def _dot_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _mermaid_text(text: str) -> str:
    return text.translate(_MERMAID)
