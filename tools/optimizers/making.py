"""Makes slots and the number of steps for legacy optimizers that do not have them yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.proto.graph import Attribute, Node, Slot
from tensorbundle.proto.paths import VARIABLE_VALUE, attribute_key, join_path, slot_path
from tensorbundle.tools.optimizers.graphs import key_of
from tensorbundle.tools.optimizers.table import COPIES, LEGACY_CLASSES, LEGACY_ROLES, LEGACY_SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.tools.optimizers.optimizer import Optimizer

__all__ = ["add_iterations", "add_slots", "class_of"]


def add_slots(
    graph: ObjectGraph, optimizer: Optimizer, wanted: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Make slot variables of a legacy optimizer; those that are copies of variables belong to its wrapper, if any.

    Args:
        graph: is changed.
        optimizer: is changed; it has an object.
        wanted: roles and the keys of variables.

    Returns:
        The keys of the new slots.
    """
    assert optimizer.node is not None
    assert optimizer.inner is not None
    paths = graph.paths()
    nodes = {key_of(node): node for node in graph.nodes}
    listed = [(LEGACY_SLOTS.get(role, role), role, variable) for role, variable in wanted]
    # By name, then by variable (python/checkpoint/util.py, `serialize_slot_variables`).
    order = {name: number for number, name in enumerate(LEGACY_ROLES)}
    listed.sort(key=lambda each: (order.get(each[0], len(order)), nodes[each[2]].id))
    scope = _scope(optimizer, nodes, class_of(role for _, role, _ in listed))
    made: dict[tuple[str, str], str] = {}
    for name, role, variable in listed:
        node, owner = nodes[variable], optimizer.node if role in COPIES else optimizer.inner
        made[role, variable] = attribute_key(slot_path(paths[node], paths[owner], name))
        full_name = f"{scope}{node.attributes[0].full_name}/{name}"
        attribute = Attribute(VARIABLE_VALUE, full_name, made[role, variable])
        owner.slots.append(Slot(name, node, Node(attributes=[attribute])))
    optimizer.slots |= made
    graph.renumber()
    graph.mark_values()
    return made


def add_iterations(graph: ObjectGraph, optimizer: Optimizer) -> str:
    """Make the number of steps of a legacy optimizer that has not run yet, but has slots already; its key."""
    assert optimizer.node is not None
    nodes = {key_of(node): node for node in graph.nodes}
    scope = _scope(optimizer, nodes, class_of(role for role, _ in optimizer.slots))
    optimizer.iterations = attribute_key(join_path(optimizer.path, "iter"))
    attribute = Attribute(VARIABLE_VALUE, f"{scope}iter", optimizer.iterations)
    optimizer.node.children["iter"] = Node(attributes=[attribute])
    graph.renumber()
    graph.mark_values()
    return optimizer.iterations


def class_of(roles: Iterable[str]) -> str | None:
    """The class of legacy optimizers with such slots and the fewest others; None if no class has all of them."""
    wanted = set(roles) - COPIES
    known = [each for each in LEGACY_CLASSES if wanted <= set(each.roles)]
    return min(known, key=lambda each: len(each.roles)).name if known else None


def _scope(optimizer: Optimizer, nodes: Mapping[str, Node], name: str | None) -> str:
    """The scope of the names of a legacy optimizer's variables: that of its steps, or else its class's name."""
    steps = "" if optimizer.iterations is None else nodes[optimizer.iterations].attributes[0].full_name
    if steps.endswith("iter"):
        return steps.removesuffix("iter")
    return "" if name is None else f"{name}/"
