"""Checkpoints made to be rewritten, name-based and object-based, and what is in them afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import tensorbundle as tb
from support.contents import content
from tensorbundle.proto.graph import Attribute, Node, ObjectGraph, Slot
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, VARIABLE_VALUE, attribute_key
from tensorbundle.tools import TransferOptions, rewrite, verify
from tensorbundle.tools.operations.editing.layout import even_slices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

COPY = TransferOptions(data="copy")


def strings(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def write(
    prefix: Path | str,
    tensors: Mapping[str, Any],
    *,
    cuts: Mapping[str, tuple[int, int]] | None = None,
    new_shard_at: Sequence[str] = (),
    graph: ObjectGraph | None = None,
) -> str:
    """Write tensors in their order; `cuts` are those to be partitioned, into how many slices along which axis."""
    with tb.create(prefix) as writer:
        for key, value in tensors.items():
            if key in new_shard_at:
                writer.start_shard()
            array = np.asarray(value)
            if key not in (cuts or {}):
                writer.add(key, array)
                continue
            for part in even_slices(array.shape, *cuts[key]):
                writer.add_slice(key, array.shape, part, array[part.box(array.shape)])
        if graph is not None:
            writer.add(OBJECT_GRAPH_KEY, np.array(graph.encode(), object))
    return str(prefix)


def described(array: Any) -> tuple[str, tuple[int, ...], Any]:
    """Type, shape and bytes."""
    array = np.asarray(array)
    return tb.DType.of(array.dtype).value, array.shape, content(array)


def assert_sound(prefix: Path | str) -> None:
    problems = [(each.kind, each.key, each.message) for each in verify(prefix).problems]
    assert not problems, problems


def tensors_in(prefix: Path | str) -> dict[str, tuple[str, tuple[int, ...], Any]]:
    """Every tensor but the object graph, `described`."""
    with tb.open(prefix) as ckpt:
        return {key: described(ckpt[key]) for key in ckpt if key != OBJECT_GRAPH_KEY}


def rewritten(source: Path | str, destination: Path, **steps: Any) -> dict[str, np.ndarray]:
    """The arrays that come out of `rewrite`, which must leave nothing wrong."""
    rewrite(source, destination, **steps)
    assert_sound(destination)
    with tb.open(destination) as ckpt:
        return {key: ckpt[key].copy() for key in ckpt if key != OBJECT_GRAPH_KEY}


def lists(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {key: array.tolist() for key, array in arrays.items()}


def data_files(prefix: Path | str) -> list[str]:
    """The names of the data shards beside a prefix, without it."""
    directory, name = prefix.parent, prefix.name
    return sorted(each.name.removeprefix(name) for each in directory.glob(f"{name}.data-*"))


def variable(full_name: str = "") -> Node:
    return Node(attributes=[Attribute(VARIABLE_VALUE, full_name, "")])


def tree(nested: Mapping[str, Any]) -> Node:
    """Nested dictionaries as objects; a node stands for itself, None for a variable."""
    node = Node()
    for name, value in nested.items():
        is_node = isinstance(value, Node)
        node.children[name] = value if is_node else variable(name) if value is None else tree(value)
    return node


def finished(root: Node) -> ObjectGraph:
    """The graph of everything below `root`, with the keys that TensorFlow would choose."""
    graph = ObjectGraph(root)
    for path, _, each in graph.attributes():
        each.checkpoint_key = attribute_key(path, each.name)
    graph.mark_values()
    return graph


def write_objects(prefix: Path | str, root: Node, first: int = 0) -> str:
    """Write a graph whose every variable is a number of its own, from `first` on, in the order of `walk`."""
    graph = finished(root)
    keys = [each.checkpoint_key for _, _, each in graph.attributes()]
    tensors = {key: np.float32([first + number]) for number, key in enumerate(keys)}
    counter = attribute_key("save_counter")
    if counter in tensors:
        tensors[counter] = np.int64(first + keys.index(counter))
    return write(prefix, tensors, graph=graph)


def keras_like() -> Node:
    """A model of two layers, an optimizer with slots, and a save counter."""
    kernel, bias = variable("dense/kernel"), variable("dense/bias")
    optimizer = tree({"iter": None, "decay": None})
    optimizer.slots = [Slot(name, each, variable()) for name in ("m", "v") for each in (kernel, bias)]
    layer = tree({"kernel": kernel, "bias": bias})
    return tree(
        {"model": {"layer-0": layer, "last": {"w": None}}, "optimizer": optimizer, "save_counter": None}
    )


def owned(prefix: Path | str) -> Iterator[tuple[str, str, Any]]:
    """Path, key and value of every tensor that an object owns."""
    with tb.open(prefix) as ckpt:
        for path, _, each in ckpt.object_graph.attributes():
            yield path, each.checkpoint_key, ckpt[each.checkpoint_key].reshape(-1).tolist()[0]


def by_path(prefix: Path | str) -> dict[str, Any]:
    """Path to value, after a check that graph and index fit each other: each key is its path's, and has an owner."""
    assert_sound(prefix)
    found = list(owned(prefix))
    with tb.open(prefix) as ckpt:
        unowned = set(ckpt) - {key for _, key, _ in found} - {OBJECT_GRAPH_KEY}
        assert not unowned, unowned
        assert (
            ckpt.object_graph.encode() == ObjectGraph(ckpt.object_graph.root).encode()
        )  # numbered as it should
    wrong = [(path, key) for path, key, _ in found if key != attribute_key(path)]
    assert not wrong, wrong
    return {path: value for path, _, value in found}
