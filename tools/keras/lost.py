"""The layers that Keras 3 leaves out of a `tf.train.Checkpoint`: those in lists, tuples and dictionaries.

Keras 3 wraps these in classes of its own, which TensorFlow does not track. An optimizer in the same checkpoint lists the
variables that it trains (`_trainable_variables`), so these are stored nevertheless, without their layers; variables that
are not trained, such as the moments of BatchNormalization, are lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.proto.paths import VARIABLE_VALUE
from tensorbundle.tools.keras.layers import Variable
from tensorbundle.tools.optimizers.lists import numbered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.tools.optimizers.finding import Optimizers

__all__ = ["left_out_by_keras_3", "variables_text"]


def left_out_by_keras_3(graph: ObjectGraph, optimizers: Optimizers) -> list[Variable]:
    """The variables that an optimizer of Keras 3 trains but no object of the model has, in the order of the model.

    Checkpoints of other writers have none, and neither have checkpoints without the model.
    """
    listed = {key for each in optimizers.found for key in each.listed}
    if listed <= optimizers.private and not _has_empty_model(graph, optimizers):
        return []
    found: dict[str, Variable] = {}
    for each in optimizers.found:
        trained = each.node.children.get("_trainable_variables") if each.node is not None else None
        for node in numbered(trained).values():
            for stored in node.attributes:
                key = stored.checkpoint_key
                if stored.name == VARIABLE_VALUE and key in listed & optimizers.private:
                    found.setdefault(
                        key, Variable(stored.full_name.rpartition("/")[2], key, stored.full_name)
                    )
    return list(found.values())


def _has_empty_model(graph: ObjectGraph, optimizers: Optimizers) -> bool:
    """Whether an object beside the optimizers may be a model that has all its layers in lists: it has nothing of its own."""
    nodes = {each.node for each in optimizers.found}
    return any(
        not child.attributes and all(name == "optimizer" or name.startswith("_") for name in child.children)
        for child in graph.root.children.values()
        if child not in nodes
    )


def variables_text(variables: Sequence[Variable]) -> str:
    """How many variables these are, for a person."""
    return f"{len(variables)} variable{'s' if len(variables) > 1 else ''}"
