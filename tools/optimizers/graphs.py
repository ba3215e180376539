"""The optimizers in an object graph, with their state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.proto.paths import VARIABLE_VALUE
from tensorbundle.tools.optimizers.lists import fill_from_lists
from tensorbundle.tools.optimizers.naming import tell_momentums_apart
from tensorbundle.tools.optimizers.optimizer import Optimizer
from tensorbundle.tools.optimizers.table import KERAS_SCALARS, LOSS_SCALE, MOMENTUM_SLOTS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tensorbundle.proto.graph import Node, ObjectGraph
    from tensorbundle.tools.optimizers.nodes import OptimizerNode
    from tensorbundle.tools.optimizers.table import Shape

__all__ = ["key_of", "optimizers_in_graph"]


def optimizers_in_graph(
    graph: ObjectGraph, found: Sequence[OptimizerNode], shapes: Mapping[str, Shape], private: Collection[str]
) -> list[Optimizer]:
    """The optimizers in an object graph.

    Args:
        graph: the object graph.
        found: which of its objects are optimizers.
        shapes: by key, of all variables that are stored.
        private: the keys of variables that can be reached through optimizers only.
    """
    paths = graph.paths()
    keys = {node: key for node in graph.nodes if (key := key_of(node)) in shapes}
    optimizers = []
    for each in found:
        optimizer, *inner = _chain(each, paths, keys)
        for below in inner:
            optimizer.absorb(below)
        optimizers.append(optimizer)
    for each, optimizer in zip(found, optimizers, strict=True):
        for node in each.chain:
            if each.generation in ("keras2", "keras3"):
                fill_from_lists(optimizer, node, keys, shapes, private)
    return optimizers


def key_of(node: Node | None) -> str:
    """The key of a variable's tensor; empty for other objects."""
    attributes = node.attributes if node is not None else []
    return next((each.checkpoint_key for each in attributes if each.name == VARIABLE_VALUE), "")


def _chain(each: OptimizerNode, paths: Mapping[Node, str], keys: Mapping[Node, str]) -> list[Optimizer]:
    """An optimizer and the optimizers that it wraps, from the outermost on, without slots in lists."""
    return [_optimizer(each, node, paths[node], keys) for node in each.chain]


def _optimizer(each: OptimizerNode, node: Node, path: str, keys: Mapping[Node, str]) -> Optimizer:
    optimizer = Optimizer(each.generation, path, node, node, ran=each.ran)
    children = node.children
    for name in ("iter", "_iterations"):
        if name in children:
            optimizer.iterations = keys.get(children[name])
    scalars = dict(children)
    if LOSS_SCALE in children:
        scalars |= children[LOSS_SCALE].children
    for name, child in scalars.items():
        if child in keys and keys[child] != optimizer.iterations:
            optimizer.scalars[KERAS_SCALARS.get(name, name)] = keys[child]
    powers = [optimizer.scalars.get(f"beta{number}_power", "") for number in (1, 2)]
    if all(powers):
        optimizer.powers.append((powers[0], powers[1]))
        del optimizer.scalars["beta1_power"], optimizer.scalars["beta2_power"]
    names = {slot.name for slot in node.slots}
    for slot in node.slots:
        if slot.slot not in keys:
            continue
        role = slot.name
        if each.generation == "tf1":
            rows = MOMENTUM_SLOTS.get(role, ((None, role),))
            role = next(role for other, role in rows if other is None or other in names)
        if slot.variable in keys:
            optimizer.slots.setdefault((role, keys[slot.variable]), keys[slot.slot])
        else:
            optimizer.orphans.append(keys[slot.slot])
    tell_momentums_apart(optimizer)
    return optimizer
