"""What Keras stores in a SavedModel about its layers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tensorbundle.coding import encode_varint

if TYPE_CHECKING:
    from collections.abc import Mapping


def field(number: int, value: bytes) -> bytes:
    """A field of a protobuf message with a length."""
    return bytes([number << 3 | 2]) + encode_varint(len(value)) + value


def described(class_name: str) -> dict[str, Any]:
    """A layer of this class, without its arguments."""
    return {"class_name": class_name, "config": {}}


def keras_metadata(layers: Mapping[str, Mapping[str, Any]]) -> bytes:
    """The file `keras_metadata.pb` with these layers, by the paths of their nodes from `root` on."""
    return b"".join(
        field(
            1, field(3, path.encode()) + field(4, b"_tf_keras_layer") + field(5, json.dumps(layer).encode())
        )
        for path, layer in layers.items()
    )
