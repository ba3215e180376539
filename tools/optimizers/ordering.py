"""The variables of an optimizer in the order of Keras 3's `optimizer.variables`, by which weights files number them.

First the number of steps; then the learning rate, unless it is a schedule; averages of variables; accumulated
gradients; the slots of the class (`KERAS_ORDERS`); and Nadam's product of momentums, third before Keras 3.10
(keras/src/optimizers/base_optimizer.py, `save_own_variables`). A LossScaleOptimizer has four variables of its own,
followed by all of the optimizer that it wraps (loss_scale_optimizer.py, `variables`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tensorbundle.errors import UnsupportedError
from tensorbundle.tools.optimizers.graphs import key_of
from tensorbundle.tools.optimizers.lists import numbered
from tensorbundle.tools.optimizers.table import (
    COPIES,
    KERAS_FIRST,
    KERAS_LISTS,
    KERAS_ORDERS,
    KERAS_SCALARS,
    MOMENTUM,
    WRAPPED,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tensorbundle.proto.graph import Node
    from tensorbundle.tools.optimizers.optimizer import Optimizer

__all__ = [
    "INNER",
    "ITERATIONS",
    "LEARNING_RATE",
    "NADAM_PRODUCT",
    "WHOLE",
    "Member",
    "groups_in_weights",
    "members_of",
    "nadam_product",
    "variants",
]

WHOLE: Final = (
    "optimizer/vars"  # in a weights file; of a LossScaleOptimizer, also those of the optimizer that it wraps
)
INNER: Final = "optimizer/inner_optimizer/vars"  # the wrapped optimizer's variables, stored a second time

ITERATIONS: Final = "iterations"
LEARNING_RATE: Final = "learning_rate"
NADAM_PRODUCT: Final = "momentum_cache"  # legacy Keras's name
_SCALE: Final = ("good_steps", "current_loss_scale")  # of LossScaleOptimizer
_FIRST: Final = tuple(KERAS_LISTS[each] for each in KERAS_FIRST)
_SETTLED: Final = 1_000_000  # steps, after which momentums no longer grow


class Member(NamedTuple):
    """One variable of an optimizer.

    Attributes:
        what: its role, or legacy Keras's name for a scalar.
        key: of its tensor; empty if the checkpoint has none.
    """

    what: str
    key: str


def members_of(
    optimizer: Optimizer, variables: Sequence[str], *, same_order: bool
) -> tuple[list[Member], list[Member]]:
    """The variables in Keras 3's order: those of the wrapper, empty if there is none, and those of the optimizer.

    Args:
        optimizer: of an object graph.
        variables: the keys of the model's variables, in the order of Keras 3.
        same_order: whether tf_keras, which lists slots in its order, has them in this order too.

    Raises:
        UnsupportedError: Keras 3 has no optimizer with such slots, or only some variables have slots of a role.
    """
    if optimizer.generation == "keras3" and optimizer.node is not None:
        return _keras_3(optimizer.node, {slot: role for (role, _), slot in optimizer.slots.items()})
    scalars = optimizer.scalars
    if optimizer.iterations is None:
        raise UnsupportedError("optimizer state without a number of steps")
    members = [Member(ITERATIONS, optimizer.iterations)]
    members += [Member(name, scalars[name]) for name in (LEARNING_RATE,) if name in scalars]
    lists = optimizer.lists if same_order else {}
    members += _slots(lists or _by_variable(optimizer, variables))
    members += [Member(name, scalars[name]) for name in (NADAM_PRODUCT,) if name in scalars]
    wrapper: list[Member] = []
    if set(_SCALE) <= scalars.keys():
        wrapper = [Member(ITERATIONS, ""), Member(LEARNING_RATE, "")]
        wrapper += [Member(name, scalars[name]) for name in _SCALE]
    return wrapper, members


def variants(members: Sequence[Member]) -> Iterator[list[Member]]:
    """The lists of variables that other programs may have instead, the likeliest first.

    There, the learning rate may be a schedule, SGD may have no momentum (Keras 2 stores slots for it anyway), and
    Nadam's product may be third.
    """
    moments = [each for each in members if each.what == NADAM_PRODUCT]
    for gone in ((), (MOMENTUM,)):
        rest = [each for each in members if each.what not in (LEARNING_RATE, NADAM_PRODUCT, *gone)]
        rates = [each for each in members if each.what == LEARNING_RATE]
        if gone and len(rest) + len(rates) + len(moments) == len(members):
            return
        for rate in (rates or [], [] if rates else [Member(LEARNING_RATE, "")]):
            yield [*rest[:1], *rate, *rest[1:], *moments]
            if moments:
                yield [*rest[:1], *rate, *moments, *rest[1:]]


def groups_in_weights(names: Iterable[str]) -> dict[str, list[str]]:
    """The names of an optimizer's variables in a weights file, in order, by group; empty if it has no optimizer."""
    found: dict[str, dict[int, str]] = {}
    for name in names:
        group, _, number = name.rpartition("/")
        if group in (WHOLE, INNER) and number.isdecimal() and len(number) < 10:
            found.setdefault(group, {})[int(number)] = name
    if WHOLE not in found:
        return {}
    return {group: [members[each] for each in sorted(members)] for group, members in found.items()}


def nadam_product(steps: int, beta_1: float, decay: float = 1.0) -> float:
    """The product of Nadam's momentums so far.

    Keras 2 stores another number if compiled functions trained: these multiply it by the momentum of a step once for
    each of several variables (tf_keras optimizers/nadam.py, `_u_product_counter`). Legacy Nadam stores another product,
    as its momentums grow more slowly (optimizers/legacy/nadam.py).

    Args:
        steps: the number of steps.
        beta_1: the limit of the momentums.
        decay: how fast the momentums grow; for legacy Nadam, its `decay`.
    """
    first, product = min(steps, _SETTLED), 1.0
    for step in range(1, first + 1):
        product *= beta_1 * (1 - 0.5 * 0.96 ** (decay * step))
        if not product:
            break
    return product * beta_1 ** (steps - first)


def _keras_3(node: Node, roles: dict[str, str]) -> tuple[list[Member], list[Member]]:
    """The variables that an optimizer of Keras 3 lists itself."""
    scalars = {"_iterations": ITERATIONS, **KERAS_SCALARS}
    known = roles | {key_of(child): scalars[name] for name, child in node.children.items() if name in scalars}
    own = []
    for each in numbered(node.children.get("_variables")).values():
        key = key_of(each)
        if not key:
            raise UnsupportedError("optimizer state of which a variable is not stored")
        own.append(Member(known.get(key, ""), key))
    product = [each for each in own if each.what == NADAM_PRODUCT]
    own = [each for each in own if each.what != NADAM_PRODUCT] + product
    inner = next((child for name, child in node.children.items() if name in WRAPPED), None)
    return ([], own) if inner is None else (own, _keras_3(inner, roles)[1])


def _by_variable(optimizer: Optimizer, trained: Sequence[str]) -> dict[str, dict[int, str]]:
    """Slots by role and by the position of their variable among the trained ones."""
    listed = optimizer.lists
    slots = {
        (role, variable): slot
        for (role, variable), slot in optimizer.slots.items()
        if (role in listed if listed else role not in COPIES)
    }
    with_slots = {variable for _, variable in slots}
    order = [key for key in trained if key in with_slots]
    if len(order) < len(with_slots):
        raise UnsupportedError("optimizer state of variables that the model does not have")
    if sum(map(len, listed.values())) > len(slots):
        raise UnsupportedError("optimizer state of which it is not known which variables it is of")
    place = {key: number for number, key in enumerate(order)}
    lists: dict[str, dict[int, str]] = {}
    for (role, variable), slot in slots.items():
        lists.setdefault(role, {})[place[variable]] = slot
    return lists


def _slots(lists: dict[str, dict[int, str]]) -> Iterator[Member]:
    """Slots in the order in which Keras 3 makes them."""
    lists = {role: slots for role, slots in lists.items() if slots}
    rest = lists.keys() - set(_FIRST)
    order = next(
        (each for each in KERAS_ORDERS.values() if rest <= {role for block in each for role in block}), None
    )
    if order is None:
        raise UnsupportedError(
            f"optimizer state of a kind that Keras 3 has no optimizer for ({', '.join(sorted(rest))})"
        )
    count = max(map(len, lists.values()), default=0)
    if any(slots.keys() != set(range(count)) for slots in lists.values()):
        raise UnsupportedError("optimizer state that some variables have and others don't have")
    for block in [*((role,) for role in _FIRST), *order]:
        for number in range(count):
            yield from (Member(role, lists[role][number]) for role in block if role in lists)
