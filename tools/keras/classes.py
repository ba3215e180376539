"""The class of each layer of a model. Groups in a weights file are named after classes; checkpoints do not store them.

Sources, best first:

- the config of the model: `model.to_json()`, `config.json` in a `.keras` file, or what `get_config()` returns;
- a SavedModel: `keras_metadata.pb` (tf_keras/src/saving/legacy/saved_model, `SavedMetadata`); up to TensorFlow 2.4, the
  same JSON in `saved_model.pb` (`SavedUserObject.metadata`);
- a guess: a layer without a given name is named after its class, and the full names of its variables contain that name.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tensorbundle.coding import fields
from tensorbundle.errors import BundleError, CorruptionError
from tensorbundle.tools.keras.layers import Layer, written_by_keras_3
from tensorbundle.tools.keras.naming import snake_case

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tensorbundle.proto.graph import Node

__all__ = [
    "Classes",
    "Described",
    "class_in_names",
    "parse_config",
    "parse_keras_metadata",
    "parse_saved_model",
]

# Classes that have another name in Keras 3.
_TODAY: Final = {"Model": "Functional", "SyncBatchNormalization": "BatchNormalization"}
# Layers with weights, in the form in which variables are named after them; only these are guessed.
_KNOWN: Final = frozenset(
    (
        *("dense", "einsum_dense", "embedding", "p_re_lu", "batch_normalization", "layer_normalization"),
        *("group_normalization", "rms_normalization", "normalization", "spectral_normalization"),
        *("conv1d", "conv2d", "conv3d", "conv1d_transpose", "conv2d_transpose", "conv3d_transpose"),
        *("depthwise_conv1d", "depthwise_conv2d", "separable_conv1d", "separable_conv2d"),
        *("simple_rnn", "gru", "lstm", "rnn", "conv_lstm1d", "conv_lstm2d", "conv_lstm3d", "bidirectional"),
        *("simple_rnn_cell", "gru_cell", "lstm_cell", "stacked_rnn_cells", "time_distributed"),
        *(
            "multi_head_attention",
            "grouped_query_attention",
            "attention",
            "additive_attention",
            "text_vectorization",
        ),
    )
)
_NUMBERED: Final = re.compile(r"(.+?)(?:_\d{1,9})?")
_MAX_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class Described:
    """A layer as a config describes it.

    Attributes:
        class_name: its class.
        name: its name; empty if there is none.
        layers: of a Sequential or Functional model, in the order of `model.layers`; None for other layers.
        inner: the layers that it wraps, by attribute; a list of cells is under `cells`.
    """

    class_name: str
    name: str = ""
    layers: tuple[Described, ...] | None = None
    inner: Mapping[str, tuple[Described, ...]] = field(default_factory=dict)


def parse_config(content: bytes, path: str) -> Described:
    """The model that a config describes.

    Raises:
        CorruptionError: not JSON, or not a config of a model.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CorruptionError(f"not JSON: {error}", path=path) from None
    if isinstance(found, dict) and isinstance(found.get("layers"), list):  # returned by get_config()
        class_name = "Functional" if "input_layers" in found else "Sequential"
        found = {"class_name": class_name, "config": found}
    described = _described(found, 0)
    if described is None or described.layers is None:
        raise CorruptionError(
            "not the config of a Sequential or Functional model: it has no list of layers", path=path
        )
    return described


def _described(found: Any, depth: int) -> Described | None:
    if not isinstance(found, dict) or not isinstance(found.get("class_name"), str) or depth > _MAX_DEPTH:
        return None
    class_name = found["class_name"].rpartition(">")[2]  # registered classes: package>Name
    config = found.get("config")
    if not isinstance(config, dict):
        return Described(_TODAY.get(class_name, class_name))
    layers = None
    if isinstance(config.get("layers"), list):
        inner = [_described(each, depth + 1) for each in config["layers"]]
        if class_name == "Sequential":  # its config has the input layer, `layers` does not
            inner = [each for each in inner if each is not None and each.class_name != "InputLayer"]
        layers = tuple(each or Described("") for each in inner)
    parts: dict[str, tuple[Described, ...]] = {}
    for attribute in ("layer", "backward_layer", "cell"):
        one = _described(config.get(attribute), depth + 1)
        if one is not None:
            parts[attribute] = (one,)
    if "layer" in parts:
        parts["forward_layer"] = parts["layer"]
        parts.setdefault("backward_layer", parts["layer"])
    if isinstance(config.get("cells"), list):
        parts["cells"] = tuple(_described(each, depth + 1) or Described("") for each in config["cells"])
    name = config.get("name")
    return Described(
        _TODAY.get(class_name, class_name) if layers is not None or class_name != "Model" else class_name,
        name if isinstance(name, str) else "",
        layers,
        parts,
    )


def parse_keras_metadata(content: bytes, root: Node, path: str) -> dict[Node, str]:
    """The class of each layer that the `keras_metadata.pb` of a SavedModel names.

    Raises:
        CorruptionError: not such a file.
    """
    found: dict[Node, str] = {}
    try:
        for number, _, saved in fields(content):
            if number != 1 or not isinstance(saved, bytes):
                continue
            parts = {
                each: value.decode("utf-8", "replace")
                for each, _, value in fields(saved)
                if isinstance(value, bytes)
            }
            node: Node | None = root
            for name in parts.get(3, "root").split(".")[1:]:
                node = node.children.get(name) if node is not None else None
            _add_class(found, node, parts.get(4, ""), parts.get(5, ""))
    except CorruptionError as error:
        raise CorruptionError(f"not a keras_metadata.pb: {error.reason}", path=path) from None
    return found


def parse_saved_model(content: bytes, root: Node, path: str) -> dict[Node, str]:
    """The class of each layer that a `saved_model.pb` names; files of TensorFlow after 2.4 name none.

    Raises:
        CorruptionError: not such a file.
    """
    try:
        nodes = list(_saved_objects(content))
    except CorruptionError as error:
        raise CorruptionError(f"not a saved_model.pb: {error.reason}", path=path) from None
    found: dict[Node, str] = {}
    queue: list[tuple[int, Node]] = [(0, root)] if nodes else []
    seen = {0}
    for number, node in queue:  # grows while it is walked
        children, identifier, metadata = nodes[number]
        _add_class(found, node, identifier, metadata)
        for name, child in children.items():
            below = node.children.get(name)
            if child < len(nodes) and child not in seen and below is not None:
                seen.add(child)
                queue.append((child, below))
    return found


def _saved_objects(content: bytes) -> Iterator[tuple[dict[str, int], str, str]]:
    """For each object in a SavedModel: its children, the kind of its user object, and the metadata of that object."""
    for number, _, graph in fields(content):
        if number != 2 or not isinstance(graph, bytes):
            continue
        for field_number, _, objects in fields(graph):
            if field_number != 7 or not isinstance(objects, bytes):
                continue
            for each, _, saved in fields(objects):
                if each == 1 and isinstance(saved, bytes):
                    yield _saved_object(saved)
        return


def _saved_object(saved: bytes) -> tuple[dict[str, int], str, str]:
    children: dict[str, int] = {}
    identifier = metadata = ""
    for number, _, value in fields(saved):
        if number == 1 and isinstance(value, bytes):
            child, name = 0, ""
            for each, _, part in fields(value):
                if each == 1 and isinstance(part, int):
                    child = part
                elif each == 2 and isinstance(part, bytes):
                    name = part.decode("utf-8", "replace")
            children[name] = child
        elif number == 4 and isinstance(value, bytes):
            parts = {each: part for each, _, part in fields(value) if isinstance(part, bytes)}
            identifier = parts.get(1, b"").decode("utf-8", "replace")
            metadata = parts.get(3, b"").decode("utf-8", "replace")
    return children, identifier, metadata


def _add_class(found: dict[Node, str], node: Node | None, identifier: str, metadata: str) -> None:
    if node is None or not identifier.startswith("_tf_keras_"):
        return
    try:
        value = json.loads(metadata)
    except (ValueError, RecursionError):
        return
    described = _described(value, 0) if isinstance(value, dict) else None
    if described is not None:
        found.setdefault(node, described.class_name)


@dataclass(frozen=True, slots=True)
class Classes:
    """The known classes of layers.

    Attributes:
        described: the model's config, or None.
        by_node: classes that a SavedModel names.
        config_path: the file of the config, for messages.
    """

    described: Described | None = None
    by_node: Mapping[Node, str] = field(default_factory=dict)
    config_path: str = ""

    def of(self, layer: Layer, described: Described | None) -> tuple[str, str] | None:
        """The name of a layer's class, in the form that group names have, and how it is known; or None.

        Args:
            layer: the layer.
            described: the layer in the config, or None.
        """
        if described is not None and described.class_name:
            return snake_case(described.class_name), "by the class in the config"
        if layer.node in self.by_node:
            name = self.by_node[layer.node]
            if name == "Functional" and layer.listed is None:
                name = "Model"
            return snake_case(name), "by the class in the SavedModel"
        if layer.listed is not None:
            if layer.sequential is None:
                return None
            return ("sequential" if layer.sequential else "functional"), "by the class in the object graph"
        snake = class_in_names(layer)
        return None if snake is None else (snake, "by the class that names of variables suggest")


def class_in_names(layer: Layer) -> str | None:
    """The class of a layer, guessed by the names of its variables; None if they do not show it.

    The full name of a variable begins with the names of the layers around it. Automatic names are made from classes.
    """
    names = {each.name for each in layer.own}
    parts = layer.parts
    if {"moving_mean", "moving_variance"} <= names:
        return "batch_normalization"
    if names & {"embeddings", "_embeddings"} == names and names:
        return "embedding"
    if names in ({"mean", "variance", "count"}, {"adapt_mean", "adapt_variance", "count"}):
        return "normalization"
    if {"forward_layer", "backward_layer"} <= parts.keys():
        return "bidirectional"
    if "_query_dense" in parts and not written_by_keras_3(layer.node):  # Keras 3 has two classes with it
        return "multi_head_attention"
    below = next(layer.variables(), None)
    if below is None:
        return None
    scopes = below.full_name.split("/")[:-1]
    depth = _depth(layer)
    if len(scopes) < depth:
        return None
    found = _NUMBERED.fullmatch(scopes[-depth])
    snake = found[1] if found else ""
    return snake if snake in _KNOWN and _agrees(snake, layer) else None


def _depth(layer: Layer) -> int:
    """How many names of layers, from this layer's on, the full name of the first variable in it has."""
    depth = 1
    while not layer.own and layer.parts:
        name, part = next(iter(layer.parts.items()))
        if name == "layer":  # the inner layer of a wrapper has no name of its own there
            break
        depth += not part.is_list
        layer = part
    return depth


def _agrees(snake: str, layer: Layer) -> bool:
    """Whether a layer has the parts that layers of this class have."""
    wants = {
        "time_distributed": "layer",
        "bidirectional": "forward_layer",
        "multi_head_attention": "_query_dense",
        "grouped_query_attention": "_query_dense",
        **dict.fromkeys(("simple_rnn", "gru", "lstm", "rnn"), "cell"),
        **dict.fromkeys(("conv_lstm1d", "conv_lstm2d", "conv_lstm3d"), "cell"),
    }.get(snake)
    return wants in layer.parts if wants is not None else not layer.parts or snake == "spectral_normalization"


def config_error(described: Described, layer: Layer, path: str) -> BundleError:
    """The error for a config of another model."""
    count = len(layer.listed or ())
    return BundleError(
        f"the config describes {len(described.layers or ())} layers of {layer.path or 'the model'!r}, the checkpoint has {count}",
        path=path,
    )
