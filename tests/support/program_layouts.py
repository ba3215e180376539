"""What programs write: the names, object paths and optimizer state that TF1, Keras 2 and Keras 3 have for one and the same program.

Synthetic, so that thousands of checkpoints cost seconds; `tests/interop/test_program_layouts.py` compares them with real ones.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from support.programs import OPTIMIZERS
from support.rewriting import finished, variable, write
from tensorbundle.proto.graph import Node, Slot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from support.programs import Layer, Part, Program, Training

    Shape = tuple[int, ...]

__all__ = ["LAYOUTS", "RATE", "STEPS", "Saved", "Token", "save"]

LAYOUTS = ("tf1", "slim", "keras2", "legacy", "keras3")
RATE = 0.5
STEPS = 7
_TF1 = {
    "momentum": ("Momentum",),
    "adam": ("Adam", "Adam_1"),
    "rmsprop": ("RMSProp", "RMSProp_1"),
    "adagrad": ("Adagrad",),
    "adadelta": ("Adadelta", "Adadelta_1"),
    "ftrl": ("Ftrl", "Ftrl_1"),
}
# By role: the list of a newer optimizer, and what Keras 2 and Keras 3 call the slot.
_LISTS = {
    "momentum": ("momentums", "m", "momentum"),
    "m": ("_momentums", "m", "momentum"),
    "v": ("_velocities", "v", "velocity"),
    "vhat": ("_velocity_hats", "vhat", "velocity_hat"),
    "rms": ("_velocities", "velocity", "velocity"),
    "rms_momentum": ("_momentums", "momentum", "momentum"),
    "accumulator": ("_accumulators", "accumulator", "accumulator"),
    "linear": ("_linears", "linear", "linear"),
    "accum_grad": ("_accumulated_grads", "accumulated_grad", "accumulated_grad"),
    "average": ("_model_variables_moving_average", "average", "average"),
    "accum_var": ("_accumulated_delta_vars", "accumulated_delta_var", "accumulated_delta_var"),
}
_HYPERPARAMETERS = {
    "sgd": ("decay", "learning_rate", "momentum"),
    "momentum": ("decay", "learning_rate", "momentum"),
    "adam": ("beta_1", "beta_2", "decay", "learning_rate"),
    "amsgrad": ("beta_1", "beta_2", "decay", "learning_rate"),
    "rmsprop": ("decay", "learning_rate", "momentum", "rho"),
    "adagrad": ("decay", "learning_rate"),
    "adadelta": ("decay", "learning_rate", "rho"),
    "ftrl": (
        *("beta", "decay", "l1_regularization_strength", "l2_regularization_strength"),
        *("learning_rate", "learning_rate_power"),
    ),
}
_SLIM = {
    "dense": "fully_connected",
    "conv1d": "Conv",
    "batch_normalization": "BatchNorm",
    "layer_normalization": "LayerNorm",
}
_SLIM_ROLES = {"kernel": "weights", "bias": "biases"}
_KERAS_3_CLASSES = {"rmsprop": "rm_sprop", "momentum": "sgd", "amsgrad": "adam"}


class Token(NamedTuple):
    """What a tensor is: which variable of which layer, or what an optimizer keeps for it (`role` is then not empty).

    Scalars that several generations keep are of no layer, but of the optimizer with that number.
    """

    layer: int
    name: str
    role: str = ""


@dataclass
class Saved:
    """A checkpoint.

    Attributes:
        tokens: what each tensor is; other tensors, as hyperparameters are, are not there.
        values: of each tensor, the number that all its elements are.
        names: the full name of each variable.
        paths: likewise the object path, not through an optimizer.
        shapes: likewise the shape.
        steps: what counts the steps of each slot's optimizer, by key.
    """

    prefix: str = ""
    tokens: dict[str, Token] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    names: dict[Token, str] = field(default_factory=dict)
    paths: dict[Token, str] = field(default_factory=dict)
    shapes: dict[Token, Shape] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)


class _Names:
    """The scope of each layer's variables."""

    def __init__(self, program: Program, layout: str) -> None:
        self.scopes: dict[int, str] = {}
        self._program, self._layout = program, layout
        self._counts: dict[str, Counter[str]] = {}
        for number in program.created:
            part = program.parts[number]
            outer = self._outer(part)
            for each in part.layers:
                self._add(each, outer)

    def _outer(self, part: Part) -> str:
        name = part.name
        if self._layout in ("tf1", "slim"):
            inner = f"{name}/" if len(self._program.parts) > 1 else ""
            return self._program.scope + inner
        if self._layout != "keras3" and self._program.form == "sequential":
            return ""
        return (
            f"{name or self._automatic('net' if self._program.form == 'attributes' else 'sequential', '')}/"
        )

    def _automatic(self, name: str, scope: str) -> str:
        """The next name of a class; Keras counts them for the session, TF1 in each scope."""
        counts = self._counts.setdefault(scope if self._layout in ("tf1", "slim") else "", Counter())
        number = counts[name] + (self._program.shift if name not in ("net", "sequential") else 0)
        counts[name] += 1
        return f"{name}_{number}" if number else name

    def _add(self, layer: Layer, outer: str) -> None:
        kind = layer.class_name
        if self._layout == "slim":
            kind = _SLIM.get(kind, kind)
        if kind == "block" and self._layout != "tf1" and self._program.form == "sequential":
            kind = "sequential"
        name = layer.name or self._automatic(kind, outer)
        if self._layout == "slim" and name.endswith("_bn"):
            name = f"{name[:-3]}/BatchNorm"
        scope = f"{outer}{name}/"
        if layer.layers:
            inner = scope
            if self._program.form == "sequential" and self._layout in ("keras2", "legacy"):
                inner = ""
            elif self._program.form == "sequential" and self._layout == "keras3":
                inner = f"{name}/"
            for each in layer.layers:
                self._add(each, inner)
        self.scopes[layer.identity] = scope


class _Objects:
    """The object graph of a program, with the variables of its layers."""

    def __init__(self, program: Program, layout: str, names: dict[Token, str]) -> None:
        self.nodes: dict[Token, Node] = {}
        self._program, self._layout, self._names = program, layout, names
        self.parts = {part.attribute: self._model(part.layers) for part in program.parts}

    def _model(self, layers: list[Layer]) -> Node:
        made = [self._layer(each) for each in layers]
        if self._program.form == "attributes":
            return self._held(layers, made)
        if self._layout == "keras3":
            operations = Node(children={"0": Node()})
            operations.children |= {str(number): node for number, node in enumerate(made, 1)}
            return Node(children={"_functional": Node(children={"_operations": operations})})
        found = Node()
        for number, node in enumerate(made):
            found.children |= {f"layer_with_weights-{number}": node, f"layer-{number}": node}
        return found

    def _held(self, layers: list[Layer], made: list[Node]) -> Node:
        found = Node()
        for layer, node in zip(layers, made, strict=True):
            listed, slash, number = layer.attribute.partition("/")
            if slash:
                found.children.setdefault(listed, Node()).children[number] = node
            else:
                found.children[layer.attribute] = node
        return found

    def _layer(self, layer: Layer) -> Node:
        if layer.layers:
            return self._model(layer.layers)
        node = Node()
        for name, _, _ in layer.variables:
            token = Token(layer.identity, name)
            local = name
            if self._layout == "keras3" and name in ("kernel", "embeddings"):
                local = f"_{name}"
            self.nodes[token] = node.children[local] = variable(self._names[token])
        return node


class _Saving:
    """One checkpoint in the making."""

    def __init__(self, program: Program, layout: str, training: Training, first: int, *, built: bool) -> None:
        self.saved = Saved()
        self._program, self._layout, self._training, self._built = program, layout, training, built
        self._optimizer = training.optimizer
        self._roles = [role for group in OPTIMIZERS[training.optimizer] for role in group]
        self._counters: dict[Node, Node] = {}  # what counts the steps of each slot's optimizer
        self._is_fresh = first >= 1_000_000
        self._first = first
        self._tensors: dict[str, np.ndarray] = {}
        self._values: dict[Node, np.ndarray] = {}
        self._tokens: dict[Node, Token] = {}
        self._trained: dict[str, list[Token]] = {}  # by part
        scopes = _Names(program, layout).scopes
        for part in program.parts:
            trained = self._trained.setdefault(part.attribute, [])
            for layer in (inner for each in part.layers for inner in each.walk()):
                for name, shape, is_trained in layer.variables:
                    token = Token(layer.identity, name)
                    role = _SLIM_ROLES.get(name, name) if layout == "slim" else name
                    scope = scopes[layer.identity]
                    if layout == "keras3" and program.form == "attributes":
                        scope = f"{scope.partition('/')[0]}/"
                    self.saved.names[token] = f"{scope}{role}"
                    self.saved.shapes[token] = shape
                    if is_trained:
                        trained.append(token)
        self._scopes = scopes

    def write(self, prefix: Path) -> Saved:
        graph = None
        if self._layout in ("tf1", "slim"):
            self._names()
        else:
            graph = finished(self._objects())
            keys = {node: each.checkpoint_key for _, node, each in graph.attributes()}
            for _, node, each in graph.attributes():
                self._tensors[each.checkpoint_key] = self._values[node]
                if node in self._tokens:
                    self._note(each.checkpoint_key, self._tokens[node])
            self.saved.steps = {keys[slot]: keys[steps] for slot, steps in self._counters.items()}
        self.saved.prefix = write(prefix, self._tensors, graph=graph)
        return self.saved

    def _note(self, key: str, token: Token) -> None:
        self.saved.tokens[key] = token
        self.saved.values[key] = float(self._tensors[key].flat[0])

    def _fresh(self, token: Token) -> np.ndarray:
        """Values that no other tensor has."""
        self._first += 16
        return np.full(self.saved.shapes[token._replace(role="")], self._first, "f4")

    # TF1

    def _names(self) -> None:
        for token, name in sorted(self.saved.names.items(), key=lambda item: item[1]):
            self._tensors[name] = self._fresh(token)
            self._note(name, token)
        slots = dict(zip(self._roles, _TF1.get(self._optimizer, ()), strict=True))
        if self._training.copies == "average":
            slots["average"] = "ExponentialMovingAverage"
        for token in [each for trained in self._trained.values() for each in trained] if self._built else ():
            for role, slot in slots.items():
                key, kept = f"{self.saved.names[token]}/{slot}", token._replace(role=role)
                self._tensors[key] = self._fresh(kept)
                self._note(key, kept)
                self.saved.steps[key] = "global_step"
        if self._optimizer == "adam" and self._built:
            self._tensors["beta1_power"] = np.float32(0.9) ** np.float32(self._steps() + 1)
            self._tensors["beta2_power"] = np.float32(0.999) ** np.float32(self._steps() + 1)
        self._tensors["global_step"] = self._steps()
        if self._training.scaled and len(self._program.parts) == 1:
            for name, value in self._scales(0).items():
                self._tensors[name] = value
                self._note(name, Token(0, name, "scalar"))

    def _steps(self) -> np.ndarray:
        return np.int64(0 if self._is_fresh else STEPS)

    def _scales(self, number: int) -> dict[str, np.ndarray]:
        """What the scale of the loss is, and since how many steps it is finite."""
        scale, good = (32768, 0) if self._is_fresh else (4096, 3)
        return {
            "current_loss_scale": np.float32(scale + number),
            "good_steps": np.int64(good + 10 * number),
        }

    # Objects

    def _objects(self) -> Node:
        objects = _Objects(self._program, self._layout, self.saved.names)
        root = Node()
        for token, node in objects.nodes.items():
            self._values[node], self._tokens[node] = self._fresh(token), token
        for attribute, node in objects.parts.items():
            root.children[attribute] = node
            for path, each in _walk(attribute, node):
                if each in self._tokens:
                    self.saved.paths.setdefault(self._tokens[each], path)
            if self._optimizer != "none":
                name = "optimizer" if len(objects.parts) == 1 else f"{attribute[0]}_opt"
                make = self._legacy if self._layout == "legacy" else self._newer
                trained = [(token, objects.nodes[token]) for token in self._trained[attribute]]
                root.children[name] = make(trained, len(root.children) // 2)
        root.children = dict(sorted(root.children.items()))
        root.children["save_counter"] = self._scalar("save_counter", np.int64(1))
        return root

    def _scalar(self, name: str, value: np.ndarray) -> Node:
        node = variable(name)
        self._values[node] = value
        return node

    def _told(self, name: str, value: np.ndarray, number: int, called: str) -> Node:
        """A scalar of an optimizer that is to be the same in its successor."""
        node = self._scalar(name, value)
        self._tokens[node] = Token(number, called, "scalar")
        return node

    def _slot(self, token: Token, role: str, name: str, steps: Node) -> Node:
        kept = token._replace(role=role)
        node = variable(name)
        self._values[node], self._tokens[node] = self._fresh(kept), kept
        self._counters[node] = steps
        return node

    def _scale(self, number: int) -> Node:
        scales = self._scales(number).items()
        return Node(children={name: self._told(name, value, number, name) for name, value in scales})

    def _rate(self, name: str, number: int) -> Node:
        """A learning rate, or the schedule that has a variable of its own."""
        if not self._training.schedule:
            return self._scalar(name, np.float32(RATE))
        warm = np.float32((55 if self._is_fresh else 44) + number)
        return Node(children={"warm": self._told("warm", warm, number, "warm")})

    def _legacy(self, trained: list[tuple[Token, Node]], number: int) -> Node:
        node, copies = Node(), self._training.copies
        steps = self._scalar("iter", self._steps())
        if self._built:
            values = {"momentum": 0.0 if self._optimizer == "sgd" else 0.9, "beta_1": 0.9, "beta_2": 0.999}
            node.children |= {} if copies else {"iter": steps}
            for name in _HYPERPARAMETERS[self._optimizer]:
                if name == "learning_rate":
                    if self._training.schedule != "stateless":
                        node.children[name] = self._rate(name, number)
                else:
                    node.children[name] = self._scalar(name, np.float32(values.get(name, RATE)))
            self._add_slots(node, self._roles, trained, steps)
        if copies:  # TensorFlow Addons' averaged_optimizer_wrapper.py and lookahead.py
            edge = "awg_optimizer" if copies == "average" else "lh_base_optimizer"
            node = Node(children={edge: node})
            if self._built:
                node.children["iter"] = steps
                self._add_slots(node, [copies], trained, steps)
        elif self._training.scaled:
            node.children = {"loss_scale": self._scale(number), "base_optimizer": Node(), **node.children}
        return node

    def _add_slots(
        self, node: Node, roles: Sequence[str], trained: list[tuple[Token, Node]], steps: Node
    ) -> None:
        for role in roles:
            name = role.removeprefix("rms_")
            for token, owner in trained:
                slot = self._slot(token, role, f"{self.saved.names[token]}/{name}", steps)
                node.slots.append(Slot(name, owner, slot))

    def _newer(self, trained: list[tuple[Token, Node]], number: int) -> Node:
        is_3 = self._layout == "keras3"
        own = _KERAS_3_CLASSES.get(self._optimizer, self._optimizer) + (f"_{number}" if number else "")
        scope = f"{own}/" if is_3 else ""
        steps = self._scalar(f"{scope}iteration", self._steps())
        children = {"_iterations": steps}
        listed = [steps]
        if self._training.schedule != "stateless":
            children["_learning_rate"] = self._rate(f"{scope}learning_rate", number)
        if is_3 and not self._training.schedule:
            listed.append(children["_learning_rate"])
        if self._training.schedule and not is_3:
            children["_current_learning_rate"] = self._scalar("current_learning_rate", np.float32(RATE))
        lists: dict[str, Node] = {}
        averages = (("average",),) if self._training.copies == "average" else ()
        for group in (*averages, *OPTIMIZERS[self._optimizer]) if self._built else ():
            for token, _ in trained:
                for role in group:
                    name, two, three = _LISTS[role]
                    full = f"{two}/{self.saved.names[token]}"
                    if is_3:
                        path = f"{self._scopes[token.layer]}{token.name}".replace("/", "_")
                        full = f"{scope}{path}_{three}"
                    slot = self._slot(token, role, full, steps)
                    listed.append(slot)
                    held = lists.setdefault(name, Node()).children
                    held[str(len(held))] = slot
        if self._optimizer == "rmsprop":
            lists["_average_gradients"] = Node()
        if not is_3:
            children |= {"loss_scale": self._scale(number)} if self._training.scaled else {}
            return Node(
                children={"_variables": _numbered(listed), **children, "_index_dict": Node(), **lists}
            )
        owners = [owner for _, owner in trained] if self._built else []
        node = Node(children=_listing(listed, owners) | children | lists)
        return self._scaling(node, owners, number) if self._training.scaled else node

    def _scaling(self, inner: Node, owners: list[Node], number: int) -> Node:
        """Keras 3's LossScaleOptimizer, which does not count steps itself."""
        scope = "loss_scale_optimizer" + (f"_{number}" if number else "")
        scales = self._scales(number)
        own = {
            "_iterations": self._scalar(f"{scope}/iteration", np.int64(0)),
            "_learning_rate": self._scalar(f"{scope}/learning_rate", np.float32(RATE)),
        }
        kept = {
            "step_counter": self._told(f"{scope}/step_counter", scales["good_steps"], number, "good_steps"),
            "dynamic_scale": self._told(
                f"{scope}/dynamic_scale", scales["current_loss_scale"], number, "current_loss_scale"
            ),
        }
        listed = [*own.values(), *kept.values()]
        return Node(children=_listing(listed, owners) | own | {"inner_optimizer": inner} | kept)


def _walk(path: str, node: Node) -> Iterator[tuple[str, Node]]:
    yield path, node
    for name, child in node.children.items():
        yield from _walk(f"{path}/{name}", child)


def _listing(listed: Sequence[Node], owners: Sequence[Node]) -> dict[str, Node]:
    """What each optimizer of Keras 3 has."""
    return {
        "_variables": _numbered(listed),
        "_trainable_variables": _numbered(owners),
        "_trainable_variables_indices": Node(),
    }


def _numbered(nodes: Sequence[Node]) -> Node:
    return Node(children={str(number): each for number, each in enumerate(nodes)})


def save(
    program: Program, layout: str, training: Training, prefix: Path, first: int, *, built: bool = True
) -> Saved:
    """Write the checkpoint of a program.

    Args:
        program: the program.
        layout: one of `LAYOUTS`.
        training: how it trains, as far as the layout has it.
        prefix: of the new checkpoint.
        first: values are numbers from here on; from a million on the optimizer has not run.
        built: whether the optimizer has its variables.
    """
    if layout in ("tf1", "slim") and training.optimizer == "amsgrad":
        training = replace(training, optimizer="adam")
    return _Saving(program, layout, training, first, built=built).write(prefix)
