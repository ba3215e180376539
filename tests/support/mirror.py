"""Object-based checkpoints restored without the program that wrote them: a variable at each path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.tensorflow import described, tf, their_reading
from tensorbundle.proto.paths import split_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.contents import Tensor

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
COUNTER_KEY = "save_counter/.ATTRIBUTES/VARIABLE_VALUE"
VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"


def tensors(prefix: Any) -> dict[str, Tensor]:
    """All but the object graph and the save counter, as TensorFlow reads them."""
    return {key: each for key, each in their_reading(prefix).items() if key not in (GRAPH_KEY, COUNTER_KEY)}


def nested(variables: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """What `tf.train.Checkpoint` takes to have variables at their paths, in dictionaries."""
    objects: dict[str, Any] = {}
    for path, each in variables.items():
        place = objects
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = each
    return objects


def mirrored(prefix: Any) -> dict[str, Tensor]:
    """The tensors of a checkpoint of variables without slots, restored with nothing missing and nothing left."""
    found = their_reading(prefix)
    wanted = tensors(prefix)
    variables = {key: tf.Variable(tf.zeros(shape, dtype)) for key, (dtype, shape, _) in wanted.items()}
    paths = {tuple(split_path(key.removesuffix(VARIABLE))): each for key, each in variables.items()}
    checkpoint = tf.train.Checkpoint(**nested(paths))
    status = (checkpoint.restore if COUNTER_KEY in found else checkpoint.read)(str(prefix))
    status.assert_consumed()
    assert {key: described(each) for key, each in variables.items()} == wanted
    return wanted
