"""What optimizers keep beside the variables that they train, and what they call it.

A slot is a tensor that an optimizer keeps for a variable. Its role is what it means, whatever an optimizer calls it:

    m, v, vhat       mean of gradients, of their squares (of Adamax, their greatest), and the greatest v so far
    gradient_sum     decaying sum of gradients: Momentum of TF1
    momentum         the same times minus the learning rate: SGD of Keras
    rms, mg          mean of squared gradients and of gradients, and
    rms_momentum     decaying sum of steps: RMSProp
    accumulator      sum of squared gradients, and
    linear           of what Ftrl takes away: Adagrad, Ftrl
    accum_grad       mean of squared gradients, and
    accum_var        of squared steps: Adadelta
    average          moving average of the variable itself

Names in TF1 are those of the optimizer, numbered in the order in which it makes slots (TensorFlow python/training/*.py,
`_create_slots`), and those of the BERT code. Legacy Keras optimizers have slot variables in the object graph
(tf_keras optimizers/legacy/*.py); newer ones, and those of Keras 3, have lists, one element a trained variable
(tf_keras and keras optimizers/*.py, `build`).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.proto.graph import Attribute, Node, Slot
from tensorbundle.proto.paths import VARIABLE_VALUE, attribute_key, join_path, slot_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from tensorbundle.proto.graph import ObjectGraph

__all__ = [
    "GRADIENT_SUM",
    "MOMENTUM",
    "Optimizer",
    "add_iterations",
    "add_slots",
    "class_of",
    "optimizers_in_graph",
    "optimizers_in_names",
]

GRADIENT_SUM: Final = "gradient_sum"
MOMENTUM: Final = "momentum"
_MOMENTS: Final = ("m", "v")
# The roles of an optimizer's first slot, its second, and so on.
_NUMBERED: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("Adam", "AdamW", "LazyAdam", "Nadam", "Adamax", "LAMB"), _MOMENTS),
    **dict.fromkeys(("Momentum", "MomentumW"), (GRADIENT_SUM,)),
    **dict.fromkeys(("Adagrad", "ProximalAdagrad"), ("accumulator",)),
    "Adadelta": ("accum_grad", "accum_var"),
    "Ftrl": ("accumulator", "linear"),
    "RMSProp": ("rms", "rms_momentum"),
    "ExponentialMovingAverage": ("average",),
}
_CENTERED: Final = ("rms", "mg", "rms_momentum")  # of a RMSProp that has three
_NAMED: Final = {"adam_m": "m", "adam_v": "v", "lamb_m": "m", "lamb_v": "v", "m": "m", "v": "v"}
_MAX_PARTS: Final = 100
_TF1_SLOT: Final = re.compile(r"(?P<variable>.+)/(?P<name>[^/]+?)(?:_(?P<number>\d{1,3}))?", re.DOTALL)
_POWER: Final = re.compile(r"(?P<scope>(?:.*/)?)beta1_power(?P<number>(?:_\d+)?)", re.DOTALL)

# Slot variables of legacy Keras optimizers have these names; those of RMSprop's momentum are called like SGD's.
_LEGACY_NAMES: Final = {"rms_momentum": MOMENTUM}
_LEGACY: Final = (
    *(*_MOMENTS, "vhat", "rms", MOMENTUM, "mg", "accumulator", "linear"),
    *("accum_grad", "accum_var", "average"),
)
# By which hyperparameter one is known, the first that it has; what it then has slots for, and what its class is called.
_LEGACY_KINDS: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("beta_1", (*_MOMENTS, "vhat"), "Adam"),
    ("l1_regularization_strength", ("accumulator", "linear"), "Ftrl"),
    (MOMENTUM, (MOMENTUM,), "SGD"),
    ("rho", ("accum_grad", "accum_var"), "Adadelta"),
    ("learning_rate", ("accumulator",), "Adagrad"),
)
_CALLED_OPTIMIZER: Final = re.compile(r"(?:^|_)opt(?:im(?:izer)?)?(?:_|\d|$)", re.IGNORECASE)
_HYPERPARAMETERS: Final = frozenset({"learning_rate", "decay"})  # of which every legacy one has one at least
_RMSPROP: Final = ({MOMENTUM, "rho"}, ("rms", "mg", "rms_momentum"), "RMSprop")

# The lists of newer Keras optimizers; RMSprop is known by having all three of its own, also where some are empty.
_LISTS: Final = {
    "_momentums": "m",
    "_velocities": "v",
    "_velocity_hats": "vhat",
    "_m": "m",
    "_u": "v",
    "momentums": MOMENTUM,
    "_accumulators": "accumulator",
    "_linears": "linear",
    "_accumulated_grads": "accum_grad",
    "_accumulated_delta_vars": "accum_var",
    "_r": "r",  # Adafactor
    "_c": "c",
    "_v": "v",
    "_model_variables_moving_average": "average",
}
_RMSPROP_LISTS: Final = {"_velocities": "rms", "_momentums": "rms_momentum", "_average_gradients": "mg"}
# Scalars of newer Keras optimizers, and what legacy ones call them.
_SCALARS: Final = {"_learning_rate": "learning_rate", "_u_product": "momentum_cache"}


@dataclass(slots=True, eq=False)
class Optimizer:
    """What one optimizer keeps. Tensors are named by their keys.

    Attributes:
        kind: "tf1", which is all optimizers of TF1 together where only names tell of them; "legacy" for those of Keras
            with slot variables, "keras" for newer ones.
        path: of its object, or its scope.
        node: its object, if there is an object graph.
        slots: by role and variable.
        iterations: the number of steps; of TF1, `global_step`.
        scalars: hyperparameters and the like, by their legacy names.
        powers: of TF1, beta1_power and beta2_power of each Adam.
        ran: whether it has made its variables.
    """

    kind: Literal["tf1", "legacy", "keras"]
    path: str = ""
    node: Node | None = None
    slots: dict[tuple[str, str], str] = field(default_factory=dict)
    iterations: str | None = None
    scalars: dict[str, str] = field(default_factory=dict)
    powers: list[tuple[str, str]] = field(default_factory=list)
    ran: bool = True

    @property
    def owned(self) -> Iterator[str]:
        """All tensors that are this optimizer's own; `global_step` is not."""
        yield from self.slots.values()
        yield from self.scalars.values()
        for each in self.powers:
            yield from each
        if self.iterations is not None and self.kind != "tf1":
            yield self.iterations

    def possible_roles(self) -> set[str]:
        """The slots that can be made for a legacy optimizer: what it has of other variables, or all if it has not run."""
        if self.kind != "legacy" or self.node is None:
            return set()
        if not self.ran:
            return {*_LEGACY, *_LEGACY_NAMES} - {"average"}  # which in TF1 no optimizer keeps
        if self.slots:
            return {role for role, _ in self.slots}
        marks, roles, _ = _RMSPROP
        if marks <= self.scalars.keys():
            return set(roles)
        return set(next((roles for mark, roles, _ in _LEGACY_KINDS if mark in self.scalars), ()))


class _Named:
    """The names of variables, to be found by those of slots.

    Names need not be unique: of several variables of one name, the first is meant the first time, and so on.
    """

    def __init__(self, variables: Iterable[tuple[str, str]]) -> None:
        """The variables, as pairs of key and name."""
        self._names = dict(variables)
        self._keys: dict[str, list[str]] = defaultdict(list)
        for key, name in self._names.items():
            if name:
                self._keys[name].append(key)
        self._asked: Counter[tuple[str, str]] = Counter()

    def trained_by(self, slot: str, purpose: str) -> str | None:
        """The variable whose name ends the slot's, the longest if there are several."""
        for tail in _tails(self._names[slot].partition("/")[2]):  # at least its role stands before it
            if tail in self._keys:
                keys = self._keys[tail]
                self._asked[purpose, tail] += 1
                return keys[min(self._asked[purpose, tail], len(keys)) - 1]
        return None


def _tails(name: str) -> Iterator[str]:
    """A name, and what is left of it without its first part, its first two, and so on."""
    parts = name.split("/")
    for start in range(min(len(parts), _MAX_PARTS)):
        yield "/".join(parts[start:])


# By names


def optimizers_in_names(variables: Mapping[str, str]) -> list[Optimizer]:
    """The optimizers that names of variables tell of: those of TF1 as one, and each legacy one of Keras.

    Args:
        variables: the names of variables and their keys.
    """
    legacy = _legacy_in_names(variables)
    taken = {key for each in legacy for key in each.owned}
    native = Optimizer("tf1", iterations=_global_step(variables))
    for name, key in variables.items():
        if key in taken:
            continue
        role, stem = _tf1_role(name, variables)
        # An optimizer in a `variable_scope` puts the scope before the variable's name.
        variable = next((tail for tail in _tails(stem) if tail in variables), None) if role else None
        if role and variable == stem:
            native.slots[role, variables[stem]] = key
        elif role and variable:
            native.slots.setdefault((role, variables[variable]), key)
        found = _POWER.fullmatch(name)
        second = "" if found is None else f"{found['scope']}beta2_power{found['number']}"
        if second in variables:
            native.powers.append((key, variables[second]))
    return [native, *legacy]


def _tf1_role(name: str, known: Collection[str]) -> tuple[str, str]:
    """The role of a slot and what stands before the optimizer's name; two empty texts where it is none."""
    found = _TF1_SLOT.fullmatch(name)
    if found is None:
        return "", ""
    stem, optimizer, number = found["variable"], found["name"], int(found["number"] or 0)
    roles = _NUMBERED.get(optimizer, ())
    if optimizer == "RMSProp" and f"{stem}/RMSProp_2" in known:
        roles = _CENTERED
    role = roles[number] if number < len(roles) else _NAMED.get(name.rpartition("/")[2], "")
    return role, stem


def _global_step(variables: Mapping[str, str]) -> str | None:
    """The key of the number of steps of TF1, in a scope if it is the only one."""
    scoped = [key for name, key in variables.items() if name.endswith("/global_step")]
    return variables.get("global_step", scoped[0] if len(scoped) == 1 else None)


def _legacy_in_names(variables: Mapping[str, str]) -> list[Optimizer]:
    """Legacy optimizers by the names of their variables: `Adam/iter`, `Adam/beta_1`, `Adam/dense/kernel/m`."""
    found = {
        name.removesuffix("/iter"): Optimizer("legacy", name.removesuffix("/iter"), iterations=key)
        for name, key in variables.items()
        if name.endswith("/iter")
    }
    for name, key in variables.items() if found else ():
        parts = name.split("/")
        for end in range(1, min(len(parts), _MAX_PARTS)):
            optimizer = found.get("/".join(parts[:end]))
            if optimizer is None or key == optimizer.iterations:
                continue
            variable, last = "/".join(parts[end:-1]), parts[-1]
            if not variable:
                optimizer.scalars[last] = key
            elif last in _LEGACY and variable in variables:
                optimizer.slots[last, variables[variable]] = key
            break
    for optimizer in found.values():
        _tell_momentums_apart(optimizer)
    return [each for each in found.values() if each.slots or _HYPERPARAMETERS & each.scalars.keys()]


# Object graphs


def optimizers_in_graph(graph: ObjectGraph, variables: Mapping[str, str]) -> list[Optimizer]:
    """The optimizers in an object graph, in the order of their numbers.

    Args:
        graph: the object graph.
        variables: the keys and names of all variables.
    """
    paths = graph.paths()
    keys = {node: key for node in graph.nodes if (key := _key(node)) in variables}
    named = _Named(variables.items())
    found = []
    for node in graph.nodes:
        children = node.children
        if node.slots or ("iter" in children and (len(children) == 1 or _HYPERPARAMETERS & children.keys())):
            found.append((_legacy if "iter" in children else _tf1)(node, paths[node], keys))
        elif "_iterations" in children and ("_variables" in children or "_learning_rate" in children):
            found.append(_keras(node, paths[node], keys, named))
    # A legacy one has nothing before its first step, but is called like one.
    idle = {
        child
        for node in graph.nodes
        for name, child in node.children.items()
        if _CALLED_OPTIMIZER.search(name) and not (child.children or child.owns_something)
    }
    if not any(each.kind == "legacy" for each in found) and len(idle) == 1:
        found += (Optimizer("legacy", paths[node], node, ran=False) for node in idle)
    return found


def _key(node: Node | None) -> str:
    """The key of a variable's tensor; empty for other objects."""
    attributes = node.attributes if node is not None else []
    return next((each.checkpoint_key for each in attributes if each.name == VARIABLE_VALUE), "")


def _legacy(node: Node, path: str, keys: Mapping[Node, str]) -> Optimizer:
    optimizer = Optimizer("legacy", path, node)
    for name, child in node.children.items():
        if child in keys:
            if name == "iter":
                optimizer.iterations = keys[child]
            else:
                optimizer.scalars[name] = keys[child]
    for slot in node.slots:
        if slot.variable in keys and slot.slot in keys:
            optimizer.slots.setdefault((slot.name, keys[slot.variable]), keys[slot.slot])
    _tell_momentums_apart(optimizer)
    return optimizer


def _tf1(node: Node, path: str, keys: Mapping[Node, str]) -> Optimizer:
    """One of TF1 that was saved as an object, with slot variables and no number of steps."""
    optimizer = Optimizer("tf1", path, node)
    first, second = (keys.get(node.children.get(f"beta{number}_power", node), "") for number in (1, 2))
    if first and second:
        optimizer.powers.append((first, second))
    names = {slot.name for slot in node.slots}
    meant = {MOMENTUM: "rms_momentum" if "rms" in names else GRADIENT_SUM, "accum_update": "accum_var"}
    meant["accum"] = "accum_grad" if "accum_update" in names else "accumulator"  # of Adadelta, of Ftrl
    for slot in node.slots:
        if slot.variable in keys and slot.slot in keys:
            role = meant.get(slot.name, slot.name)
            optimizer.slots.setdefault((role, keys[slot.variable]), keys[slot.slot])
    return optimizer


def _tell_momentums_apart(optimizer: Optimizer) -> None:
    """Let the slots `momentum` of an RMSprop have their own role."""
    if any(role == "rms" for role, _ in optimizer.slots):
        optimizer.slots = {
            ("rms_momentum" if role == MOMENTUM else role, variable): key
            for (role, variable), key in optimizer.slots.items()
        }


def _keras(node: Node, path: str, keys: Mapping[Node, str], named: _Named) -> Optimizer:
    children = node.children
    optimizer = Optimizer("keras", path, node, iterations=keys.get(children["_iterations"]))
    for name, legacy in _SCALARS.items():
        if name in children and children[name] in keys:
            optimizer.scalars[legacy] = keys[children[name]]
    # Keras 3 lists the variables in the same order; tf_keras has their names in those of slots: `Adam/m/dense/kernel`.
    trained = children["_trainable_variables"].children if "_trainable_variables" in children else None
    lists = _LISTS | (_RMSPROP_LISTS if _RMSPROP_LISTS.keys() <= children.keys() else {})
    for name, role in lists.items():
        for number, slot in children[name].children.items() if name in children else ():
            key = keys.get(slot)
            if key is None:
                continue
            if trained is None:
                variable = named.trained_by(key, f"{path}/{name}")
            else:
                variable = keys.get(trained[number]) if number in trained else None
            if variable is not None:
                optimizer.slots.setdefault((role, variable), key)
    return optimizer


def add_slots(
    graph: ObjectGraph, optimizer: Optimizer, wanted: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Make slot variables of a legacy optimizer that has not run yet.

    Args:
        graph: is changed.
        optimizer: is changed; it has an object.
        wanted: roles and the keys of variables.

    Returns:
        The keys of the new slots.
    """
    assert optimizer.node is not None
    paths = graph.paths()
    nodes = {_key(node): node for node in graph.nodes}
    listed = [(_LEGACY_NAMES.get(role, role), role, variable) for role, variable in wanted]
    # By name, then by variable (python/checkpoint/util.py, `serialize_slot_variables`).
    order = {name: number for number, name in enumerate(_LEGACY)}
    listed.sort(key=lambda each: (order.get(each[0], len(order)), nodes[each[2]].id))
    scope = _scope(optimizer, nodes, class_of(role for _, role, _ in listed))
    made: dict[tuple[str, str], str] = {}
    for name, role, variable in listed:
        node = nodes[variable]
        made[role, variable] = attribute_key(slot_path(paths[node], paths[optimizer.node], name))
        full_name = f"{scope}{node.attributes[0].full_name}/{name}"
        attribute = Attribute(VARIABLE_VALUE, full_name, made[role, variable])
        optimizer.node.slots.append(Slot(name, node, Node(attributes=[attribute])))
    optimizer.slots |= made
    graph.renumber()
    graph.mark_values()
    return made


def add_iterations(graph: ObjectGraph, optimizer: Optimizer) -> str:
    """Make the number of steps of a legacy optimizer that has not run yet, but has slots already; its key."""
    assert optimizer.node is not None
    nodes = {_key(node): node for node in graph.nodes}
    scope = _scope(optimizer, nodes, class_of(role for role, _ in optimizer.slots))
    optimizer.iterations = attribute_key(join_path(optimizer.path, "iter"))
    attribute = Attribute(VARIABLE_VALUE, f"{scope}iter", optimizer.iterations)
    optimizer.node.children["iter"] = Node(attributes=[attribute])
    graph.renumber()
    graph.mark_values()
    return optimizer.iterations


def class_of(roles: Iterable[str]) -> str | None:
    """The class of a legacy optimizer with such slots; None if no one has all of them."""
    wanted = set(roles)
    kinds = (*((roles, name) for _, roles, name in _LEGACY_KINDS), _RMSPROP[1:])
    return next((name for known, name in kinds if wanted <= set(known)), None)


def _scope(optimizer: Optimizer, nodes: Mapping[str, Node], name: str | None) -> str:
    """The scope of the names of a legacy optimizer's variables: that of its steps, or else what its class is called."""
    steps = "" if optimizer.iterations is None else nodes[optimizer.iterations].attributes[0].full_name
    if steps.endswith("iter"):
        return steps.removesuffix("iter")
    return "" if name is None else f"{name}/"
