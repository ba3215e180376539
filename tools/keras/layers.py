"""The layers of a Keras model, from the object graph of a checkpoint.

tf_keras gives a Sequential or Functional model the children `layer-0`, `layer-1`, ... (engine/functional.py,
`_layer_checkpoint_dependencies`), and also `layer_with_weights-i` for the same layers. Keras 3 has `_operations`, with
the input layer first; in a Sequential model, it is below `_functional`. All other layers are found by attributes.
Lists, tuples and dictionaries are nodes too.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import ConflictError, UnsupportedError, quoted
from tensorbundle.proto.paths import SAVE_COUNTER, VARIABLE_VALUE, join_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from tensorbundle.proto.graph import Node, ObjectGraph

__all__ = ["Layer", "Variable", "find_model", "is_layer", "read_layers", "written_by_keras_3"]

MAX_DEPTH: Final = 100
_LISTED: Final = re.compile(r"layer(?:_with_weights)?-(\d{1,9})")
_NUMBER: Final = re.compile(r"\d{1,9}")
# Children of models and layers that are not sublayers.
_BOOKKEEPING: Final = frozenset(
    (
        *("root", "keras_api", "optimizer", "_optimizer", SAVE_COUNTER, "loss", "signatures", "_metrics"),
        *(
            "keras_metrics",
            "variables",
            "trainable_variables",
            "non_trainable_variables",
            "regularization_losses",
        ),
        *("layers", "_operations", "_functional", "_tracked", "_inbound_nodes", "_outbound_nodes", "_losses"),
        *(
            "_losses_override",
            "call_signature_parameters",
            "_call_has_context_arg",
            "_loss_ids",
            "compiled_loss",
        ),
        *("_build_shapes_dict", "compiled_metrics", "train_function", "test_function", "predict_function"),
        "_random_generator",  # random state, which is not stored in weights files
    )
)
# Attributes of wrappers and composite layers; a node with one of them is not a dictionary.
_INNER: Final = frozenset(
    (
        *(
            "cell",
            "cells",
            "layer",
            "forward_layer",
            "backward_layer",
            "_lookup_layer",
            "_query_dense",
            "keras_api",
        ),
        *("query_dense", "_key_dense"),
    )
)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a layer.

    Attributes:
        name: the layer's attribute, `kernel`.
        key: the tensor's key in the checkpoint.
        full_name: `dense/kernel`; empty if it is not known.
    """

    name: str
    key: str
    full_name: str


@dataclass(slots=True, eq=False)
class Layer:
    """A layer or a model; or a list, tuple or dictionary of them.

    Attributes:
        path: its object path, for messages.
        node: its object.
        own: its own variables, in the order stored.
        listed: `model.layers` of a Sequential or Functional model; None for other layers.
        sequential: whether that model is a Sequential one; None if the checkpoint does not tell.
        parts: its other sublayers, by attribute, in the order stored.
        is_list: whether it is certainly a list or a tuple.
        is_dictionary: whether its own variables are known to be the items of a dictionary, and so those of a layer around it.
        may_be_dictionary: whether it may be a dictionary of layers: in a checkpoint, one looks the same as a layer without
            variables of its own.
        dictionaries: the objects in it that are dictionaries of its variables.
    """

    path: str
    node: Node
    own: list[Variable] = field(default_factory=list)
    listed: list[Layer] | None = None
    sequential: bool | None = None
    parts: dict[str, Layer] = field(default_factory=dict)
    is_list: bool = False
    is_dictionary: bool = False
    may_be_dictionary: bool = False
    dictionaries: set[Node] = field(default_factory=set)

    def absorb(self, dictionaries: Iterable[Layer]) -> None:
        """Take the variables in these objects, which are in it at any depth, for its own: Keras does so with a dictionary."""
        for each in dictionaries:
            if not each.is_list:
                each.is_dictionary = each.may_be_dictionary = True
                self.dictionaries.add(each.node)
        self.own = _own(self.node, self.path, self.dictionaries)

    def own_by_key(self) -> list[Variable]:
        """Its own variables as tf_keras has them: those in a dictionary in the order of its keys (`tf.nest.flatten`)."""
        return _own(self.node, self.path, self.dictionaries, by_key=True) if self.dictionaries else self.own

    @property
    def has_variables(self) -> bool:
        """Whether it or a layer in it has a variable."""
        return next(self.variables(), None) is not None

    def variables(self) -> Iterator[Variable]:
        """All variables of it and of the layers in it, each once."""
        seen: set[str] = set()
        for layer in self.walk():
            for each in layer.own:
                if each.key not in seen:
                    seen.add(each.key)
                    yield each

    def walk(self) -> Iterator[Layer]:
        """The layer itself and all layers in it, each once, depth first."""
        seen: set[int] = set()
        stack = [self]
        while stack:
            layer = stack.pop()
            if id(layer) not in seen:
                seen.add(id(layer))
                yield layer
                stack += reversed([*(layer.listed or ()), *layer.parts.values()])


def written_by_keras_3(node: Node) -> bool:
    """Whether an object has children that only Keras 3 stores."""
    return any(name in node.children for name in ("_tracked", "_operations", "_functional"))


def find_model(graph: ObjectGraph, root: str | None = None) -> tuple[str, Node]:
    """The path and the object of the model in a checkpoint.

    Args:
        graph: the object graph.
        root: the path of the model, if it is known.

    Raises:
        TensorNotFoundError: no object at `root`.
        ConflictError: several objects may be the model; the reason names them.
    """
    if root is not None:
        return root, graph[root]
    top = graph.root
    if _is_listed(top) or top.children.get("root") is top:  # tf_keras's own save_weights stores that loop
        return "", top
    inside = [(name, node) for name, node in top.children.items() if name not in _BOOKKEEPING]
    models = [(name, node) for name, node in inside if _is_listed(node)]
    if not models and len(inside) == 1 and not _key(inside[0][1]):
        called = inside[0][0] in ("model", "net", "network", "keras_model")
        models = inside if called or SAVE_COUNTER in top.children else []
    if len({id(node) for _, node in models}) > 1:
        names = quoted(join_path("", name) for name, _ in models)
        raise ConflictError(f"there are several models: {names}; say which (--root PATH)")
    if models:
        return join_path("", models[0][0]), models[0][1]
    return "", top


def read_layers(path: str, node: Node) -> Layer:
    """The model at an object, with all its layers. An object that is reached twice is one layer.

    Raises:
        UnsupportedError: layers are nested too deep.
    """
    return _read(path, node, {}, 0)


def _read(path: str, node: Node, known: dict[Node, Layer], depth: int) -> Layer:
    if node in known:
        return known[node]
    if depth > MAX_DEPTH:
        raise UnsupportedError(f"layers inside layers, more than {MAX_DEPTH} deep", key=path)
    layer = known[node] = Layer(path, node)
    listed = _listed(node)
    if listed is not None:
        layer.listed = [
            _read(f"{path}/{below}" if path else below, child, known, depth + 1) for below, child in listed
        ]
        first = layer.listed[0] if layer.listed else None
        if "_operations" in node.children or "_functional" in node.children:
            layer.sequential = "_functional" in node.children
        elif first is not None and first.has_variables:
            layer.sequential = True  # a Functional model begins with an input layer, which has no variables
    for name, child in node.children.items():
        if not (_key(child) or name in _BOOKKEEPING or (listed is not None and _LISTED.fullmatch(name))):
            part = _read(join_path(path, name), child, known, depth + 1)
            if part.listed is not None or part.parts or (part.own and not part.is_list):
                layer.parts[name] = part
    layer.own = _own(node, path)
    layer.parts = {
        name: part for name, part in layer.parts.items() if part is not layer and part.has_variables
    }
    if listed is None:
        layer.is_list = _is_list(node)
        layer.may_be_dictionary = bool(layer.parts) and not layer.own and not is_layer(layer)
    return layer


def is_layer(layer: Layer) -> bool:
    """Whether an object is certainly a layer, by its attributes."""
    has_inner = not _INNER.isdisjoint(layer.node.children)
    return layer.listed is not None or has_inner or written_by_keras_3(layer.node)


def _own(
    node: Node, path: str, dictionaries: Collection[Node] = (), *, by_key: bool = False
) -> list[Variable]:
    """The variables of a layer, with those in its lists, and in these dictionaries, in the order in which they were made.

    tf_keras's `add_weight` stores a variable by its name, where an earlier one of that name is lost, and attributes,
    lists and dictionaries store it again.
    """
    found = [*_variables(node, path, dictionaries, set(), by_key=by_key)]
    if {"adapt_mean", "adapt_variance"} <= {each.name for each, _ in found}:
        # tf_keras's Normalization also stores values computed from these.
        found = [pair for pair in found if pair[0].name not in ("mean", "variance")]
    named = Counter({each.key: each.full_name for each, _ in found}.values())
    last = {each.key: number for number, (each, _) in enumerate(found)}
    made = {
        each.key: number
        for number, (each, direct) in reversed([*enumerate(found)])
        if direct and named[each.full_name] == 1
    }
    first = {each.key: each for each, _ in reversed(found)}
    return sorted(first.values(), key=lambda each: made.get(each.key, last[each.key]))


def _variables(
    node: Node,
    path: str,
    dictionaries: Collection[Node],
    seen: set[Node],
    *,
    by_key: bool,
    direct: bool = True,
) -> Iterator[tuple[Variable, bool]]:
    """The variables of an object and of the lists in it, and whether each is the object's own; some several times."""
    children = node.children
    for name in sorted(children) if by_key and node in dictionaries else children:
        child = children[name]
        key = _key(child)
        if key and (path or name != SAVE_COUNTER):  # which `Checkpoint(model)` gives the model
            yield Variable(name, key, _full_name(child)), direct
        elif name not in _BOOKKEEPING and child not in seen and (_is_list(child) or child in dictionaries):
            seen.add(child)
            below = join_path(path, name)
            yield from _variables(child, below, dictionaries, seen, by_key=by_key, direct=False)


def _is_list(node: Node) -> bool:
    return bool(node.children) and all(map(_NUMBER.fullmatch, node.children))


def _is_listed(node: Node) -> bool:
    return _listed(node) is not None


def _listed(node: Node) -> list[tuple[str, Node]] | None:
    """The paths and objects of `model.layers`; None if it is neither a Sequential nor a Functional model."""
    children = node.children
    functional = children.get("_functional")
    if functional is not None and "_operations" in functional.children:
        inner = functional.children["_operations"].children
        return [(f"_functional/_operations/{name}", inner[name]) for name in _numbers(inner)[1:]]
    if "_operations" in children:
        inner = children["_operations"].children
        return [(f"_operations/{name}", inner[name]) for name in _numbers(inner)] or None
    numbered = {match[0]: int(match[1]) for match in map(_LISTED.fullmatch, children) if match}
    plain = [name for name in numbered if name.startswith("layer-")]
    names = sorted(plain or numbered, key=numbered.__getitem__)
    return [(name, children[name]) for name in names] or None


def _numbers(children: dict[str, Node]) -> list[str]:
    return sorted((name for name in children if _NUMBER.fullmatch(name)), key=int)


def _key(node: Node) -> str:
    return next((each.checkpoint_key for each in node.attributes if each.name == VARIABLE_VALUE), "")


def _full_name(node: Node) -> str:
    return next((each.full_name for each in node.attributes if each.name == VARIABLE_VALUE), "")
