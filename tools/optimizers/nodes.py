"""Which objects of a graph are optimizers, told from their edges and slot variables alone."""

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
        generation: which it is of.
        chain: its object, the object of the optimizer that it wraps, and so on.
        ran: whether it has made its variables, but a number of steps.
    """

    generation: Generation
    chain: tuple[Node, ...]
    ran: bool = True


def generation_of(node: Node) -> Generation | None:
    """The generation of the optimizer that an object is; None if it is none, or if its edges do not tell."""
    names = node.children.keys()
    if "_iterations" in names and "_variables" in names:
        if "_trainable_variables" in names:
            return "keras3"
        return "keras2" if names & _KERAS_2 else None
    if "iter" in names and (node.slots or names & HYPERPARAMETERS):
        return "legacy"
    if node.slots:  # without a number of steps, a legacy one is wrapped by another, which counts
        return "legacy" if names & HYPERPARAMETERS else "tf1"
    return "tf1" if names and names <= POWERS else None


def optimizer_nodes(graph: ObjectGraph, weights: Collection[str] = ()) -> list[OptimizerNode]:
    """The optimizers in an object graph, in the order of their numbers; what another one wraps is in its chain.

    Args:
        graph: the object graph.
        weights: the keys of all tensors of more than one element. An object without slots that holds such is a model's, also if
            it has an `iter` and a `decay`, as an optimizer has.
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
    # A legacy one has nothing before its first step, but is called like one.
    if len(idle) == 1 and "legacy" not in found.values():
        chains.append(OptimizerNode("legacy", tuple(idle), ran=False))
    return chains


def _holds(node: Node, known: Collection[Node], weights: Collection[str]) -> bool:
    """Whether an object leads to one of some tensors, other than through optimizers or a schedule of the learning rate."""
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
    """The objects that are called like an optimizer and have a number of steps only, and those that have nothing."""
    bare, idle = [], []
    for node in graph.nodes:
        for name, child in node.children.items():
            own = child.children.keys() - WRAPPED - {LOSS_SCALE}
            if child in known or name in WRAPPED or child.owns_something or not CALLED_OPTIMIZER.search(name):
                continue
            if own == {"iter"}:
                bare.append(child)
            elif not own:
                idle.append(child)
    return list(dict.fromkeys(bare)), list(dict.fromkeys(idle))


def _wrapped(node: Node, known: dict[Node, Generation]) -> Node | None:
    """The optimizer that an optimizer wraps; None if it has several, as Keras's MultiOptimizer."""
    below = {child for child in node.children.values() if child in known and child is not node}
    return below.pop() if len(below) == 1 else None
