"""Leave tensors out: what a pattern names, all but that, or the optimizer's state."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import ConflictError
from tensorbundle.proto.paths import SAVE_COUNTER, attribute_key
from tensorbundle.tools.patterns import select

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorbundle.proto.graph import Node, ObjectGraph
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["drop", "extract", "optimizer_state", "slim", "slots_of"]

_SHOWN: Final = 10
# The names of slots next to their variable: those that optimizers of TensorFlow 1 give (python/training/*.py, the
# optimizer's own name, numbered), those of the BERT code, and those of Mesh TensorFlow.
_SLOT: Final = re.compile(
    r"(?P<variable>.+)(?:/(?:Adam|AdamW|AdamWeightDecay|Adamax|Nadam|LazyAdam|Momentum|MomentumW|SGD|RMSProp|Adagrad"
    r"|AdagradDA|Adadelta|Ftrl|ProximalAdagrad|LARS|LARSOptimizer|LAMB|Adafactor|(?:(?:adam|lamb)_)?[mv])(?:_\d+)?"
    r"|_slot_(?:m|v|vr|vc))",
    re.DOTALL,
)
# Scalars of an optimizer as a whole.
_POWER: Final = re.compile(r"(.*/)?(beta[12]_power|local_step)(_\d+)?")
# Keras optimizers in TF1 code keep everything below `training/NAME/`.
_TRAINING: Final = re.compile(
    r"(training(_\d+)?/)(SGD|RMSprop|Adam|Adamax|Nadam|Adagrad|Adadelta|Ftrl)(_\d+)?/.*"
)
# Edges by which optimizers are known: tf.keras up to 2.10; later ones and Keras 3, with a learning rate or a schedule.
_OPTIMIZER_EDGES: Final = (
    {"iter", "decay"},
    {"_iterations", "_learning_rate"},
    {"_iterations", "_variables"},
)


def drop(draft: Draft, patterns: Sequence[str]) -> None:
    """Leave out what the patterns fit.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        ConflictError: nothing would be left.
    """
    found = {key for key, _ in select(draft.tensors.items(), patterns, draft.naming())}
    if len(found) == len(draft.tensors):
        raise ConflictError("that drops every tensor", path=draft.prefix)
    draft.drop(found)


def extract(draft: Draft, patterns: Sequence[str]) -> None:
    """Leave out all but what the patterns fit; the save counter stays too, as restoring needs it.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        ConflictError: slot variables without their variable, which an object graph can't have.
    """
    wanted = dict(select(draft.tensors.items(), patterns, draft.naming()))
    kept = {*wanted, attribute_key(SAVE_COUNTER)} if draft.graph is not None else wanted.keys()
    draft.drop([key for key in draft.tensors if key not in kept])
    left = {id(tensor) for tensor in draft.tensors.values()}  # their keys may have changed
    lost = [key for key, tensor in wanted.items() if id(tensor) not in left]
    if lost:
        shown = ", ".join(map(repr, lost[:_SHOWN])) + (" ..." if len(lost) > _SHOWN else "")
        raise ConflictError(
            f"slot variables can't be kept without their variable and their optimizer: {shown}",
            path=draft.prefix,
        )


def slim(draft: Draft) -> list[str]:
    """Leave out the optimizer's state; the keys that go.

    Raises:
        ConflictError: there is none.
    """
    found = optimizer_state(draft)
    if not found:
        raise ConflictError("no optimizer state was found; 'drop' takes patterns", path=draft.prefix)
    if draft.graph is not None:
        with draft.editing_graph() as graph:
            for optimizer in _optimizers(graph):
                path = graph.paths().get(optimizer)
                if path is not None:
                    graph.drop(path)
    draft.drop([key for key in found if key in draft.tensors])
    return found


def optimizer_state(draft: Draft) -> list[str]:
    """The keys of slot variables and of optimizers' own variables."""
    if draft.graph is None:
        return [key for key in draft.tensors if _is_state(key, draft)]
    graph = draft.graph
    optimizers = _optimizers(graph)
    slots = {slot.slot for node in graph.nodes for slot in node.slots}
    # What can be reached without passing through an optimizer is not its own, however short the way through it is.
    kept = _reached(graph, optimizers) - slots
    return [
        each.checkpoint_key
        for _, node, each in graph.attributes()
        if node not in kept and each.checkpoint_key in draft.tensors
    ]


def slots_of(draft: Draft, key: str) -> Iterator[str]:
    """The keys of the slot variables of one variable."""
    if draft.graph is None:
        for other in draft.tensors:
            if key in _variables_of(other):
                yield other
        return
    owners = {each.checkpoint_key: node for _, node, each in draft.graph.attributes()}
    for node in draft.graph.nodes:
        for slot in node.slots:
            if slot.variable is owners.get(key):
                yield from (each.checkpoint_key for each in slot.slot.attributes)


def _is_state(key: str, draft: Draft) -> bool:
    return (
        any(variable in draft.tensors for variable in _variables_of(key))
        or _POWER.fullmatch(key) is not None
        or _TRAINING.fullmatch(key) is not None
    )


def _variables_of(key: str) -> list[str]:
    """The names that the variable may have whose slot this is; none if it has not the name of a slot.

    An optimizer in a `variable_scope` puts the scope before the variable's name.
    """
    found = _SLOT.fullmatch(key)
    if found is None:
        return []
    parts = found["variable"].split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _optimizers(graph: ObjectGraph) -> set[Node]:
    return {
        node
        for node in graph.nodes
        if node is not graph.root
        and (node.slots or any(edges <= node.children.keys() for edges in _OPTIMIZER_EDGES))
    }


def _reached(graph: ObjectGraph, without: set[Node]) -> set[Node]:
    seen = {graph.root}
    stack = [graph.root]
    while stack:
        for child in stack.pop().children.values():
            if child not in seen and child not in without:
                seen.add(child)
                stack.append(child)
    return seen
