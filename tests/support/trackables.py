"""Objects that TensorFlow saves, nested, shared and in cycles, made up by hypothesis; and our graph of the same objects."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from support.contents import any_bits
from support.rewriting import finished
from support.tensorflow import PLAIN, tensor, tf, tf1
from tensorbundle.dtypes import DType
from tensorbundle.proto.graph import Attribute, Node, ObjectGraph, Slot
from tensorbundle.proto.paths import SAVE_COUNTER, VARIABLE_VALUE

CONTAINERS = ("checkpoint", "module", "dict", "list", "tuple")
LEAVES = ("variable", "variable", "state", "optimizer")
VARIABLES = [
    each for each in PLAIN if not each.startswith("float8") and each not in ("int2", "uint2", "float4_e2m1fn")
]


class Thing(NamedTuple):
    """An object.

    Attributes:
        kind: one of `CONTAINERS` or `LEAVES`.
        edges: of a container, local names and the positions of other things, all of them later ones.
        later: the same, but added when all things are there, and to any of them: this is how cycles come about.
        value: of a variable, its values; of a state, its number.
        name: of a variable.
        slots: of an optimizer, names of slots and the positions of variables.
    """

    kind: str
    edges: tuple[tuple[str, int], ...] = ()
    later: tuple[tuple[str, int], ...] = ()
    value: Any = None
    name: str = ""
    slots: tuple[tuple[str, int], ...] = ()


local_names = st.one_of(
    st.sampled_from(
        ["", "a", "b", "kernel", "0", "a.b", ".", "..", "/", "a/b", ".S", "a.S", "é", "x:0", "_x", " "]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6),
)


@st.composite
def things(draw):
    """Objects, the first of them the root, a checkpoint."""
    count = draw(st.integers(1, 10))
    kinds = [
        "checkpoint",
        *draw(st.lists(st.sampled_from(CONTAINERS + LEAVES), min_size=count, max_size=count)),
    ]
    found = []
    for number, kind in enumerate(kinds):
        if kind in CONTAINERS:
            found.append(_container(draw, number, kinds))
        elif kind == "variable":
            shape = draw(st.sampled_from([(), (2,), (0,), (2, 3)]))
            dtype = draw(st.sampled_from([DType.float32, DType.float32, DType.string, *VARIABLES]))
            value = (
                _strings(shape) if dtype is DType.string else any_bits(dtype, shape, draw(st.integers(0, 99)))
            )
            found.append(
                Thing(kind, value=value, name=draw(st.sampled_from(["Variable", "a", "b/c", "w_1"])))
            )
        elif kind == "state":
            found.append(Thing(kind, value=draw(st.integers(0, 9))))
        else:
            found.append(Thing(kind))
    real = [n for n, each in enumerate(found) if each.kind == "variable" and each.value.dtype == np.float32]
    for number, each in enumerate(found):
        if each.kind == "optimizer" and real:
            pairs = st.tuples(st.sampled_from(["m", "v", "a.b"]), st.sampled_from(real))
            found[number] = each._replace(slots=tuple(draw(st.lists(pairs, max_size=4, unique=True))))
    return found


def _container(draw, number, kinds):
    kind = kinds[number]
    ahead = range(number + 1, len(kinds))
    if not ahead:
        return Thing("list" if kind == "tuple" else kind)
    least = 1 if number == 0 or kind == "tuple" else 0  # a tuple of nothing is not tracked
    targets = draw(st.lists(st.sampled_from(ahead), min_size=least, max_size=4))
    everything = [each for each, other in enumerate(kinds) if other != "tuple"]
    closes = number > 0 and kind in ("checkpoint", "module")  # TensorFlow's lists can't be in themselves
    cycles = draw(st.lists(st.sampled_from(everything), max_size=2)) if closes else []
    if kind in ("list", "tuple"):
        names = [str(each) for each in range(len(targets) + len(cycles))]
    else:
        size = len(targets) + len(cycles)
        names = draw(st.lists(local_names, min_size=size, max_size=size, unique=True))
    if kind == "checkpoint":
        names = sorted(names[: len(targets)]) + names[len(targets) :]
    pairs = list(zip(names, [*targets, *cycles], strict=True))
    return Thing(kind, tuple(pairs[: len(targets)]), tuple(pairs[len(targets) :]))


class _State(tf.train.experimental.PythonState):
    def __init__(self, value: int) -> None:
        self.value = value

    def serialize(self) -> bytes:
        return b"%d" % self.value

    def deserialize(self, value: bytes) -> None:
        self.value = int(value)


def _strings(shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(shape, object)
    for number, place in enumerate(np.ndindex(shape)):
        array[place] = b"s" * number + b"\0"
    return array


def reached(things: list[Thing]) -> list[int]:
    """The positions of what the root leads to."""
    queue = [0]
    for number in queue:
        thing = things[number]
        queue += {target for _, target in (*thing.edges, *thing.later)}.difference(queue)
    return queue


def _changed(values: np.ndarray) -> np.ndarray:
    return np.full_like(values, b"?") if values.dtype == np.dtype(object) else np.zeros_like(values)


def as_objects(things: list[Thing], *, fresh: bool = False) -> list[Any]:
    """The objects themselves; with `fresh` as a program has them before it restores: with other values."""
    made: list[Any] = [None] * len(things)
    wrap = tf.__internal__.tracking.wrap
    for number in reversed(range(len(things))):
        thing = things[number]
        inner = {name: made[target] for name, target in thing.edges}
        if thing.kind == "variable":
            values = _changed(thing.value) if fresh else thing.value
            made[number] = tf.Variable(tensor(values), name=thing.name)
        elif thing.kind == "state":
            made[number] = _State(-1 if fresh else thing.value)
        elif thing.kind == "optimizer":
            made[number] = tf1.train.MomentumOptimizer(0.1, 0.9)
        elif thing.kind == "checkpoint":
            made[number] = tf.train.Checkpoint(**inner)
        elif thing.kind == "module":
            made[number] = tf.Module()
            for name, each in inner.items():
                setattr(made[number], name, each)
        elif thing.kind == "dict":
            made[number] = wrap(inner)
        elif thing.kind == "list":
            made[number] = wrap(list(inner.values()))
        else:
            made[number] = wrap(tuple(inner.values()))
    for thing, owner in zip(things, made, strict=True):
        for name, target in thing.later:
            setattr(owner, name, made[target])
        for name, target in thing.slots:
            values = np.zeros_like(things[target].value) if fresh else things[target].value + np.float32(1)
            owner._get_or_make_slot(made[target], tf.constant(values), name, name)
    return made


def as_graph(things: list[Thing], made: list[Any]) -> ObjectGraph:
    """Our graph of these objects when they have been saved. From the objects are only the full names of variables."""
    nodes = [Node() for _ in things]
    for number, thing in enumerate(things):
        nodes[number].children = {name: nodes[target] for name, target in (*thing.edges, *thing.later)}
        if thing.kind == "variable":
            nodes[number].attributes = [Attribute(VARIABLE_VALUE, _full_name(made[number]), "")]
        elif thing.kind == "state":
            nodes[number].attributes = [Attribute("py_state", "", "")]
        for name, target in thing.slots:
            slot = Node(
                attributes=[
                    Attribute(VARIABLE_VALUE, _full_name(made[number].get_slot(made[target], name)), "")
                ]
            )
            nodes[number].slots.append(Slot(name, nodes[target], slot))
    nodes[0].children[SAVE_COUNTER] = Node(attributes=[Attribute(VARIABLE_VALUE, SAVE_COUNTER, "")])
    ObjectGraph(nodes[0])  # numbers them, as slots are sorted by names and then by variables
    for node in nodes:
        node.slots.sort(key=lambda slot: (slot.name, slot.variable.id))
    return finished(nodes[0])


def _full_name(variable: Any) -> str:
    return variable.name.removesuffix(":0")
