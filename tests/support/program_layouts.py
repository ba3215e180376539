"""What programs write: the names, object paths and optimizer state that TF1, Keras 2 and Keras 3 have for one and the same program.

Synthetic, so that thousands of checkpoints cost seconds; `tests/interop/test_program_layouts.py` compares them with real ones.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from support.rewriting import finished, variable, write
from tensorbundle.proto.graph import Node, Slot

if TYPE_CHECKING:
    from pathlib import Path

    from support.programs import Layer, Part, Program

    Shape = tuple[int, ...]

__all__ = ["LAYOUTS", "OPTIMIZERS", "RATE", "Saved", "Token", "save"]

LAYOUTS = ("tf1", "slim", "keras2", "legacy", "keras3")
RATE = 0.5
STEPS = 7
# The roles of each optimizer's slots; those of one group are made for each variable in turn.
OPTIMIZERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "none": (),
    "sgd": (),
    "momentum": (("momentum",),),
    "adam": (("m", "v"),),
    "amsgrad": (("m", "v"), ("vhat",)),
    "rmsprop": (("rms",), ("rms_momentum",)),
    "adagrad": (("accumulator",),),
    "adadelta": (("accum_grad", "accum_var"),),
    "ftrl": (("accumulator", "linear"),),
}
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
    """What a tensor is: which variable of which layer, or what an optimizer keeps for it (`role` is then not empty)."""

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
        paths: likewise the object path.
    """

    prefix: str = ""
    tokens: dict[str, Token] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    names: dict[Token, str] = field(default_factory=dict)
    paths: dict[Token, str] = field(default_factory=dict)


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

    def __init__(self, program: Program, layout: str, optimizer: str, first: int, *, built: bool) -> None:
        self.saved = Saved()
        self._program, self._layout, self._optimizer, self._built = program, layout, optimizer, built
        self._first = first
        self._tensors: dict[str, np.ndarray] = {}
        self._values: dict[Node, np.ndarray] = {}
        self._tokens: dict[Node, Token] = {}
        self._shapes: dict[Token, Shape] = {}
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
                    self._shapes[token] = shape
                    if is_trained:
                        trained.append(token)
        self._scopes = scopes

    def write(self, prefix: Path) -> Saved:
        graph = None
        if self._layout in ("tf1", "slim"):
            self._names()
        else:
            graph = finished(self._objects())
            for path, node, each in graph.attributes():
                self._tensors[each.checkpoint_key] = self._values[node]
                if node in self._tokens:
                    self._note(each.checkpoint_key, self._tokens[node])
                    if not self._tokens[node].role:
                        self.saved.paths[self._tokens[node]] = path
        self.saved.prefix = write(prefix, self._tensors, graph=graph)
        return self.saved

    def _note(self, key: str, token: Token) -> None:
        self.saved.tokens[key] = token
        self.saved.values[key] = float(self._tensors[key].flat[0])

    def _fresh(self, token: Token) -> np.ndarray:
        """Values that no other tensor has."""
        self._first += 16
        return np.full(self._shapes[token._replace(role="")], self._first, "f4")

    # TF1

    def _names(self) -> None:
        for token, name in sorted(self.saved.names.items(), key=lambda item: item[1]):
            self._tensors[name] = self._fresh(token)
            self._note(name, token)
        slots = _TF1.get(self._optimizer, ())
        roles = [role for group in OPTIMIZERS[self._optimizer] for role in group]
        for token in [each for trained in self._trained.values() for each in trained] if self._built else ():
            for role, slot in zip(roles, slots, strict=True):
                key, kept = f"{self.saved.names[token]}/{slot}", token._replace(role=role)
                self._tensors[key] = self._fresh(kept)
                self._note(key, kept)
        if self._optimizer == "adam" and self._built:
            steps = STEPS if self._first < 1_000_000 else 0
            self._tensors["beta1_power"] = np.float32(0.9) ** np.float32(steps + 1)
            self._tensors["beta2_power"] = np.float32(0.999) ** np.float32(steps + 1)
        self._tensors["global_step"] = self._steps()

    def _steps(self) -> np.ndarray:
        return np.int64(STEPS if self._first < 1_000_000 else 0)

    # Objects

    def _objects(self) -> Node:
        objects = _Objects(self._program, self._layout, self.saved.names)
        root = Node()
        for token, node in objects.nodes.items():
            self._values[node], self._tokens[node] = self._fresh(token), token
        for attribute, node in objects.parts.items():
            root.children[attribute] = node
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

    def _slot(self, token: Token, role: str, name: str) -> Node:
        kept = token._replace(role=role)
        node = variable(name)
        self._values[node], self._tokens[node] = self._fresh(kept), kept
        return node

    def _legacy(self, trained: list[tuple[Token, Node]], number: int) -> Node:
        node = Node()
        if not self._built:
            return node
        values = {"momentum": 0.0 if self._optimizer == "sgd" else 0.9, "beta_1": 0.9, "beta_2": 0.999}
        node.children["iter"] = self._scalar("iter", self._steps())
        for name in _HYPERPARAMETERS[self._optimizer]:
            node.children[name] = self._scalar(name, np.float32(values.get(name, RATE)))
        for role in [role for group in OPTIMIZERS[self._optimizer] for role in group]:
            name = role.removeprefix("rms_")
            for token, owner in trained:
                slot = self._slot(token, role, f"{self.saved.names[token]}/{name}")
                node.slots.append(Slot(name, owner, slot))
        return node

    def _newer(self, trained: list[tuple[Token, Node]], number: int) -> Node:
        is_3 = self._layout == "keras3"
        own = _KERAS_3_CLASSES.get(self._optimizer, self._optimizer) + (f"_{number}" if number else "")
        scope = f"{own}/" if is_3 else ""
        steps = self._scalar(f"{scope}iteration", self._steps())
        rate = self._scalar(f"{scope}learning_rate", np.float32(RATE))
        listed = [steps, rate] if is_3 else [steps]
        lists: dict[str, Node] = {}
        for group in OPTIMIZERS[self._optimizer] if self._built else ():
            for token, _ in trained:
                for role in group:
                    name, two, three = _LISTS[role]
                    full = f"{two}/{self.saved.names[token]}"
                    if is_3:
                        path = f"{self._scopes[token.layer]}{token.name}".replace("/", "_")
                        full = f"{scope}{path}_{three}"
                    slot = self._slot(token, role, full)
                    listed.append(slot)
                    held = lists.setdefault(name, Node()).children
                    held[str(len(held))] = slot
        if self._optimizer == "rmsprop":
            lists["_average_gradients"] = Node()
        children = {"_variables": Node(children={str(number): each for number, each in enumerate(listed)})}
        if is_3:
            owners = {str(number): owner for number, (_, owner) in enumerate(trained)} if self._built else {}
            children |= {
                "_trainable_variables": Node(children=owners),
                "_trainable_variables_indices": Node(),
            }
        children |= {"_iterations": steps, "_learning_rate": rate}
        return Node(children=children | ({} if is_3 else {"_index_dict": Node()}) | lists)


def save(
    program: Program, layout: str, optimizer: str, prefix: Path, first: int, *, built: bool = True
) -> Saved:
    """Write the checkpoint of a program.

    Args:
        program: the program.
        layout: one of `LAYOUTS`.
        optimizer: one of `OPTIMIZERS`.
        prefix: of the new checkpoint.
        first: values are numbers from here on; from a million on the optimizer has not run.
        built: whether the optimizer has its variables.
    """
    if layout in ("tf1", "slim") and optimizer == "amsgrad":
        optimizer = "adam"
    return _Saving(program, layout, optimizer, first, built=built).write(prefix)
