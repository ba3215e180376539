"""Finds the optimizers in an object graph, by edges and slot variables alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.optimizers.table import (
    CALLED_OPTIMIZER,
    HYPERPARAMETERS,
    KERAS_LISTS,
    LOSS_SCALE,
    WRAPPED,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from tensorbundle.proto.graph import Node, ObjectGraph
    from tensorbundle.tools.optimizers.optimizer import Generation

__all__ = ["POWERS", "OptimizerNode", "generation_of", "optimizer_nodes"]

_KERAS_2: Final = frozenset({"_index_dict", "_learning_rate", "_current_learning_rate", *KERAS_LISTS})
POWERS: Final = frozenset({"beta1_power", "beta2_power"})


@dataclass(frozen=True, slots=True)
class OptimizerNode:
    """An optimizer in an object graph.

    Attributes:
        generation: of the optimizer.
        chain: its object, the object of the optimizer that it wraps, and so on.
        ran: whether it has made variables other than a number of steps.
    """

    generation: Generation
    chain: tuple[Node, ...]
    ran: bool = True


def generation_of(node: Node) -> Generation | None:
    """The generation of an optimizer's object; None if it is no optimizer, or its edges do not show that it is one."""
    names = node.children.keys()
    if "_iterations" in names and "_variables" in names:
        if "_trainable_variables" in names:
            return "keras3"
        return "keras2" if names & _KERAS_2 else None
    if "iter" in names and (node.slots or names & HYPERPARAMETERS):
        return "legacy"
    if node.slots:  # a legacy one without a number of steps is wrapped by another one, which counts the steps
        return "legacy" if names & HYPERPARAMETERS else "tf1"
    return "tf1" if names and names <= POWERS else None


def optimizer_nodes(graph: ObjectGraph, weights: Collection[str] = ()) -> list[OptimizerNode]:
    """The optimizers in an object graph, in the order of their numbers; a wrapped one is in its wrapper's chain.

    Args:
        graph: the object graph.
        weights: the keys of all tensors of more than one element. An object without slots that holds such tensors
            belongs to a model, even if it has an `iter` and a `decay`, as an optimizer has.
    """
    found = {node: kind for node in graph.nodes if (kind := generation_of(node)) is not None}
    models = [
        node
        for node, kind in found.items()
        if kind == "legacy" and not node.slots and _holds(node, found, weights)
    ]
    found = {node: kind for node, kind in found.items() if node not in models}
    bare, idle = _without_state(graph, found)
    found |= dict.fromkeys(bare, "legacy")
    for node in [each for each, kind in found.items() if kind == "legacy"]:
        for child in node.children.values():  # hyperparameters are all that an inner SGD may have
            if child not in found and child.children.keys() & HYPERPARAMETERS:
                found[child] = "legacy"
    wraps = {node: _wrapped(node, found) for node in found}
    inner = {each for each in wraps.values() if each is not None}
    chains = []
    for node in graph.nodes:
        if node in found and node not in inner:
            chain = [node]
            while (below := wraps[chain[-1]]) is not None and below not in chain:
                chain.append(below)
            chains.append(OptimizerNode(found[node], tuple(chain), ran=node not in bare))
    # Before its first step, a legacy optimizer has nothing but the name of one.
    if len(idle) == 1 and "legacy" not in found.values():
        chains.append(OptimizerNode("legacy", tuple(idle), ran=False))
    return chains


def _holds(node: Node, known: Collection[Node], weights: Collection[str]) -> bool:
    """Whether an object leads to one of `weights`, not through optimizers or a schedule of the learning rate."""
    stack = [child for name, child in node.children.items() if name != "learning_rate"]
    seen = {node, *known}
    while stack:
        each = stack.pop()
        if each in seen:
            continue
        seen.add(each)
        if any(attribute.checkpoint_key in weights for attribute in each.attributes):
            return True
        stack += each.children.values()
    return False


def _without_state(graph: ObjectGraph, known: dict[Node, Generation]) -> tuple[list[Node], list[Node]]:
    """The objects named like an optimizer: those that have only a number of steps, and those that have nothing."""
    bare, idle = [], []
    for node in graph.nodes:
        for name, child in node.children.items():
            if not CALLED_OPTIMIZER.search(name) or name in WRAPPED or child in known or child.owns_something:
                continue
            own = child.children.keys() - WRAPPED - {LOSS_SCALE}
            if own == {"iter"}:
                bare.append(child)
            elif not own:
                idle.append(child)
    return list(dict.fromkeys(bare)), list(dict.fromkeys(idle))


def _wrapped(node: Node, known: dict[Node, Generation]) -> Node | None:
    """The optimizer that an optimizer wraps; None if it has none or several, as Keras's MultiOptimizer."""
    below = {child for child in node.children.values() if child in known and child is not node}
    return below.pop() if len(below) == 1 else None
