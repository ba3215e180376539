"""Hints about the class of each object of a graph, from its edges, its tensors and its config.

An object graph stores names and no types. But most classes of TensorFlow and Keras can be recognized: by attributes or
edges of certain names, or by a config. If several classes save the same, the hint says so ("list-like": a list, a
tuple, or a dictionary whose keys are numbers) or there is none.
"""

from __future__ import annotations

import functools
import json
import re
from bisect import bisect_left
from itertools import islice
from typing import TYPE_CHECKING, Final

from tensorbundle.dtypes import DType
from tensorbundle.errors import BundleError
from tensorbundle.proto.paths import SAVE_COUNTER, VARIABLE_VALUE
from tensorbundle.proto.reach import reach
from tensorbundle.specs import Spec
from tensorbundle.tools.optimizers.nodes import generation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.entries import TensorEntry
    from tensorbundle.proto.graph import Attribute, Node, ObjectGraph

__all__ = ["Tensors", "hints"]

# python/trackable/constants.py, OBJECT_CONFIG_JSON_KEY: Keras up to TensorFlow 2.2 stored the config of its objects.
OBJECT_CONFIG_JSON: Final = "OBJECT_CONFIG_JSON"
_CONFIG_BYTES: Final = 1 << 24  # of configs that are read in one graph
_CLASS_NAME: Final = 100
_FOLLOWING: Final = 4  # no class saves more tensors under one attribute

_OPTIMIZERS: Final = {
    "tf1": "TF1 optimizer",
    "legacy": "Keras legacy optimizer",
    "keras2": "Keras 2 optimizer",
    "keras3": "Keras 3 optimizer",
}
# Children of Keras objects besides variables and layers: attributes of Keras 3 (layers/layer.py, ops/operation.py,
# models/functional.py, trainers/trainer.py, export/export_archive.py), then of Keras 2 (engine/training.py,
# engine/base_layer.py, saving/legacy/saved_model).
_BOOKKEEPING: Final = {
    *("_build_shapes_dict", "_call_context_args", "_call_has_context_arg", "_compiled_trainable_state"),
    *("_exclude_from_weight_decay_cache", "_inbound_nodes", "_loss_ids", "_losses", "_losses_override"),
    *("_outbound_nodes", "_tracked", "_trainable_variables_indices", "call_signature_parameters"),
    *("output_names", "_fn_kwargs", "_index_dict", "_self_saveable_object_factories", "_update_step_xla"),
    *("layer_metrics", "layer_regularization_losses", "predict_function", "predict_tf_function"),
    *("regularization_losses", "test_function", "test_tf_function", "train_function", "train_tf_function"),
}
_KERAS_API: Final = "keras_api"  # a bookkeeping object in SavedModels, which contains variables
# Functions that SavedModels keep of a resource (python/trackable/resource.py).
_RESOURCE: Final = {"_create_resource", "_initialize", "_destroy_resource"}
_NUMBER: Final = re.compile(r"0|[1-9][0-9]*")
_TRACE: Final = re.compile(r"trace_[0-9]+")
_CAPTURE: Final = re.compile(r"capture_[0-9]+")


def hints(
    checkpoint: Checkpoint, graph: ObjectGraph, tensors: Tensors, nodes: Sequence[Node] | None = None
) -> dict[Node, str]:
    """The hints by node, in the order of the nodes, without nodes that have none.

    Reads only the configs of old Keras objects, up to 16 MiB in all, and no other tensors.

    Args:
        checkpoint: where configs are read from.
        graph: its object graph.
        tensors: its tensors.
        nodes: those whose hints are wanted, all by default.
    """
    wanted = graph.nodes if nodes is None else nodes
    found = _Hints(graph, wanted, tensors, _reader(checkpoint))
    return {node: hint for node in wanted if (hint := found.of[node]) is not None}


class Tensors:
    """The tensors of a checkpoint, looked up by the attributes of an object graph.

    Attributes:
        entries: every tensor's key and entry.
    """

    def __init__(self, entries: Mapping[str, TensorEntry]) -> None:
        self.entries = entries

    @functools.cached_property
    def _keys(self) -> list[str]:
        return sorted(self.entries)

    def of(self, attribute: Attribute) -> Iterator[tuple[str, TensorEntry]]:
        """The tensors of an attribute, each with its name: of the same key, else of keys that begin with it.

        Tables and iterators have such keys (python/checkpoint/saveable_compat.py, `legacy_saveable_name`): the
        attribute `table` means `table-keys` and `table-values`.
        """
        key = attribute.checkpoint_key
        entry = self.entries.get(key)
        if entry is not None:
            yield attribute.name, entry
        elif attribute.name != VARIABLE_VALUE:
            first = bisect_left(self._keys, key)
            for each in islice(self._keys, first, first + _FOLLOWING):
                if each.startswith(key):
                    yield attribute.name + each[len(key) :], self.entries[each]

    def of_nodes(self, nodes: Iterable[Node]) -> Tensors:
        """Only the tensors of some nodes."""
        return Tensors(
            {
                each.checkpoint_key + name[len(each.name) :]: entry
                for node in nodes
                for each in node.attributes
                for name, entry in self.of(each)
            }
        )


def _reader(checkpoint: Checkpoint) -> Callable[[str, TensorEntry], bytes | None]:
    """A function that reads a scalar string; it returns None if it can't be read, or if the limit is reached."""
    left = _CONFIG_BYTES

    def read(key: str, entry: TensorEntry) -> bytes | None:
        nonlocal left
        if entry.dtype is not DType.string or entry.shape or entry.nbytes > left:
            return None
        left -= entry.nbytes
        try:
            return bytes(checkpoint[key].item())
        except (BundleError, OSError):
            return None

    return read


class _Hints:
    """The hints of one graph: `of` has one, or None, for all `nodes`, and for objects with others below them."""

    def __init__(
        self,
        graph: ObjectGraph,
        nodes: Iterable[Node],
        tensors: Tensors,
        read: Callable[[str, TensorEntry], bytes | None],
    ) -> None:
        self._graph, self._tensors, self._read = graph, tensors, read
        self._slots = {slot.slot for node in graph.nodes for slot in node.slots}
        self.of: dict[Node, str | None] = {}
        asked = set(nodes)
        above: dict[Node, tuple[str, Node]] = {}
        reached = [node for node, _, _ in reach(graph.root)]
        known = set(reached)
        for node in [*reached, *(each for each in graph.nodes if each not in known)]:
            if node in asked or node.children:  # the hint of an object may depend on that of the one above it
                self.of[node] = self._hint(node, *above.get(node, ("", None)))
            for name, child in node.children.items():
                if child in asked or child.children:
                    above.setdefault(child, (name, node))

    @functools.cached_property
    def _valued(self) -> set[Node]:
        return _valued(self._graph)

    def _hint(self, node: Node, name: str, parent: Node | None) -> str | None:
        """The hint of one node, whose shortest path ends with the edge `name` from `parent`, which has its hint."""
        if node.registered_saver is not None:
            return f"saved by {node.registered_saver.name}"
        if not (node.children or node.owns_something):
            return self._bookkeeping(node, name, parent)
        return (
            self._by_tensors(node)
            or self._optimizer(node)
            or _keras(node)
            or self._bookkeeping(node, name, parent)
            or self._resource(node)
            or self._root(node)
            or _container(node)
        )

    def _by_tensors(self, node: Node) -> str | None:
        for each in node.attributes:
            stored = list(self._tensors.of(each))
            names = [name for name, _ in stored]
            kinds = [entry.spec for _, entry in stored]
            if each.name == VARIABLE_VALUE:
                if node in self._slots:
                    return "slot variable"
                return "partitioned variable" if stored and stored[0][1].slices else "variable"
            if each.name == OBJECT_CONFIG_JSON:
                return self._configured(each)
            if names == ["table-keys", "table-values"]:
                return "lookup table"
            if names in (["ITERATOR"], ["ITERATOR_STATE"]) and kinds[0].dtype is DType.variant:
                return "dataset iterator"
            if names == ["py_state"] and kinds == [Spec(DType.string, ())]:
                return "Python state"
        return None

    def _configured(self, attribute: Attribute) -> str:
        key = attribute.checkpoint_key
        entry = self._tensors.entries.get(key)
        data = self._read(key, entry) if entry is not None else None
        try:
            config = json.loads(data) if data is not None else None
        except (ValueError, RecursionError):
            config = None
        name = config.get("class_name") if isinstance(config, dict) else None
        return f"Keras {name[:_CLASS_NAME]}" if isinstance(name, str) and name else "Keras object"

    def _optimizer(self, node: Node) -> str | None:
        generation = generation_of(node)
        count = node.children.get("iter")
        if generation == "legacy" and not node.slots and count is not None and not self._is_counter(count):
            return None  # plain SGD has no slots, but it has a number of steps
        return None if generation is None else _OPTIMIZERS[generation]

    def _bookkeeping(self, node: Node, name: str, parent: Node | None) -> str | None:
        of_keras = parent is not None and (self.of[parent] or "").startswith("Keras ")
        if of_keras and (name == _KERAS_API or (name in _BOOKKEEPING and node not in self._valued)):
            return "Keras bookkeeping"
        return None

    def _resource(self, node: Node) -> str | None:
        names = node.children.keys()
        if names == {"_state_var"}:
            # python/ops/stateful_random_ops.py, `Generator`
            name, spec = self._variable(node.children["_state_var"])
            is_state = name.endswith("StateVar") and spec.dtype is DType.int64
            return "random generator" if is_state else None
        initializer = node.children.get("_initializer")
        if (
            initializer is not None
            and names <= {"_initializer", *_RESOURCE}
            and initializer.children.keys() <= {"_filename", *_RESOURCE}
            and node not in self._valued
        ):
            return "static lookup table"  # python/ops/lookup_ops.py, `StaticHashTable` and `StaticVocabularyTable`
        if names and all(map(_TRACE.fullmatch, names)):
            return "function"  # python/saved_model/save.py: SavedModels store functions so
        if names and all(map(_CAPTURE.fullmatch, names)):
            return "concrete function"
        return None

    def _root(self, node: Node) -> str | None:
        counter = node.children.get(SAVE_COUNTER)
        # `Checkpoint(root)` gives the root object an edge to itself: it is then not the Checkpoint.
        if node is not self._graph.root or counter is None or node.children.get("root") is node:
            return None
        return "tf.train.Checkpoint" if self._is_counter(counter) else None

    def _is_counter(self, node: Node) -> bool:
        return self._variable(node)[1] == Spec(DType.int64, ())

    def _variable(self, node: Node) -> tuple[str, Spec]:
        """A variable's full name, type and shape; an empty name and spec if the node is not a stored variable."""
        for each in node.attributes:
            entry = self._tensors.entries.get(each.checkpoint_key)
            if each.name == VARIABLE_VALUE and entry is not None:
                return each.full_name, entry.spec
        return "", Spec()


def _keras(node: Node) -> str | None:
    """The kind of a Keras object, by the edges that its class creates.

    Keras 2 names layers `layer-K` and those with weights `layer_with_weights-K` too (engine/functional.py). The first
    layer of a functional model is an input without weights; that of a Sequential model may have weights.
    """
    children = node.children
    names = children.keys()
    if "_functional" in names and "_operations" in children["_functional"].children:
        return "Keras 3 Sequential model"
    if {"_operations", "_inbound_nodes", "_outbound_nodes"} <= names:
        return "Keras 3 functional model"
    if "_compiled_trainable_state" in names:
        return "Keras 3 model"
    if {"_inbound_nodes", "_outbound_nodes", "_losses"} <= names:
        return "Keras 3 layer"
    if "layer-0" in names:
        if children["layer-0"] is children.get("layer_with_weights-0"):
            return "Keras 2 Sequential model"
        return "Keras 2 functional or Sequential model"
    if "train_tf_function" in names:
        return "Keras 2 model"
    return "Keras 2 object" if _KERAS_API in names else None


def _container(node: Node) -> str | None:
    """The kind of a container that python/trackable/data_structures.py wraps: a list, a tuple or a dictionary."""
    names = list(node.children)
    numbers = [name for name in names if _NUMBER.fullmatch(name)]
    fields = names[: len(names) - len(numbers)]
    if numbers and not fields:
        return "list-like"
    named, counted = ([node.children[name] for name in each] for each in (fields, numbers))
    if numbers and named == counted and not any(map(_NUMBER.fullmatch, fields)):
        return "namedtuple"  # its elements are listed by name first, then by number
    if any(not name.isidentifier() for name in names):
        return "dict-like"  # names that attributes of an object can't have
    return None


def _valued(graph: ObjectGraph) -> set[Node]:
    """The objects that have tensors, or lead to some."""
    above: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        for child in node.children.values():
            above.setdefault(child, []).append(node)
    found: set[Node] = set()
    queue = [node for node in graph.nodes if node.owns_something]
    while queue:
        node = queue.pop()
        if node not in found:
            found.add(node)
            queue += above.get(node, [])
    return found
