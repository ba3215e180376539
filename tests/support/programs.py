"""Pairs of programs made at random, one trained and one fresh, with the known truth of which variable is which.

A program is plain data: parts (models), each a list of layers and blocks of layers. Each layer has an identity of its own,
which the fresh program's copy of it keeps through all changes. `program_layouts.py` writes their checkpoints.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    Shape = tuple[int, ...]

__all__ = [
    "CHANGES",
    "COPIES",
    "FORMS",
    "OPTIMIZERS",
    "SCHEDULES",
    "Layer",
    "Part",
    "Program",
    "Training",
    "change",
    "design",
    "train",
]

FORMS = ("sequential", "attributes")
NAMES = (
    "query",
    "key",
    "value",
    "mixer",
    "stem",
    "trunk",
    "neck",
    "gate",
    "merge",
    "proj",
    "scale_in",
    "lift",
)
NEW_NAMES = ("logits", "adapter", "probe", "bridge", "squeeze", "expand", "memory", "router")
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
COPIES = ("average", "slow")
SCHEDULES = ("stateless", "stateful")
KINDS = ("dense", "dense", "dense", "conv1d", "batch_normalization", "layer_normalization", "plain")
_identities = itertools.count(1)  # only equality matters


@dataclass
class Layer:
    """A layer, or a block with layers of its own.

    Attributes:
        kind: what class it is of; a block has layers.
        name: what the program calls it; None if Keras does.
        attribute: of the object that holds it, in a program of this form.
        sizes: inputs and outputs.
    """

    kind: str
    name: str | None
    attribute: str
    sizes: tuple[int, int] = (4, 4)
    layers: list[Layer] = field(default_factory=list)
    identity: int = field(default_factory=lambda: next(_identities))

    @property
    def variables(self) -> list[tuple[str, Shape, bool]]:
        """Name, shape, and whether it is trained, of each variable of its own."""
        inputs, outputs = self.sizes
        if self.kind == "dense":
            return [("kernel", (inputs, outputs), True), ("bias", (outputs,), True)]
        if self.kind == "plain":
            return [("kernel", (inputs, outputs), True)]
        if self.kind == "conv1d":
            return [("kernel", (3, inputs, outputs), True), ("bias", (outputs,), True)]
        if self.kind == "embedding":
            return [("embeddings", (inputs, outputs), True)]
        if self.kind == "block":
            return []
        trained = [("gamma", (outputs,), True), ("beta", (outputs,), True)]
        if self.kind == "batch_normalization":
            trained += [("moving_mean", (outputs,), False), ("moving_variance", (outputs,), False)]
        return trained

    @property
    def class_name(self) -> str:
        """What Keras calls layers of this class."""
        return "dense" if self.kind == "plain" else self.kind

    def spec(self) -> tuple[object, ...]:
        """What can be told apart by types and shapes."""
        return (self.kind, tuple(self.variables), tuple(each.spec() for each in self.layers))

    def walk(self) -> Iterator[Layer]:
        yield self
        for each in self.layers:
            yield from each.walk()


@dataclass
class Part:
    """A model."""

    attribute: str
    name: str | None
    layers: list[Layer]


@dataclass
class Program:
    """A program.

    Attributes:
        form: sequential (layers are numbered in the checkpoint) or attributes (they are called by their attributes).
        parts: its models.
        created: in which order the parts' layers were made, which numbers those without names.
        shift: how many layers of each class were made before, in the same session.
        scope: what TF1 code puts around everything.
    """

    form: str
    parts: list[Part]
    created: list[int]
    shift: int = 0
    scope: str = ""

    def walk(self) -> Iterator[Layer]:
        for part in self.parts:
            for each in part.layers:
                yield from each.walk()


@dataclass(frozen=True)
class Training:
    """How a program trains.

    Attributes:
        optimizer: one of `OPTIMIZERS`.
        copies: of the weights, one of `COPIES` or empty: those of a moving average (use_ema, MovingAverage and SWA, TF1's
            ExponentialMovingAverage), or of Lookahead.
        scaled: whether the loss is scaled, by an optimizer that wraps this one or in its place.
        schedule: one of `SCHEDULES`, or empty: of the learning rate, with or without a variable of its own.
    """

    optimizer: str
    copies: str = ""
    scaled: bool = False
    schedule: str = ""


def train(rng: random.Random) -> tuple[Training, Training]:
    """How a program trains, and how its successor does; mostly both in one way."""
    optimizer = rng.choice(list(OPTIMIZERS))
    if optimizer == "none":
        return Training("none"), Training(rng.choice(["none", "none", "adam"]))
    trained = Training(
        optimizer,
        rng.choice(COPIES) if rng.random() < 0.25 else "",
        rng.random() < 0.2,
        rng.choice(SCHEDULES) if rng.random() < 0.2 else "",
    )
    fresh = trained
    if rng.random() < 0.15:
        fresh = replace(fresh, optimizer=rng.choice([each for each in OPTIMIZERS if each != "none"]))
    if rng.random() < 0.15:
        fresh = replace(fresh, copies=rng.choice(["", *COPIES]))
    if rng.random() < 0.15:
        fresh = replace(fresh, scaled=not fresh.scaled)
    if rng.random() < 0.15:
        fresh = replace(fresh, schedule=rng.choice(["", *SCHEDULES]))
    return trained, fresh


def anew(layer: Layer) -> Layer:
    """Another layer that is like one."""
    made = copy.deepcopy(layer)
    for each in made.walk():
        each.identity = next(_identities)
    return made


def design(rng: random.Random) -> Program:
    """A program."""
    named = rng.choice(["given", "given", "automatic", "automatic", "mixed"])
    same = rng.random() < 0.6  # shapes that coincide
    names = iter(rng.sample(NAMES, len(NAMES)))

    def name(taken: str) -> str | None:
        is_given = named == "given" or (named == "mixed" and rng.random() < 0.5)
        return taken if is_given else None

    def size() -> int:
        return 4 if same else rng.choice([3, 4, 5, 6])

    def layer(kinds: tuple[str, ...] = KINDS) -> Layer:
        word = next(names)
        return Layer(rng.choice(kinds), name(word), word, (size(), size()))

    def blocks() -> list[Layer]:
        """Blocks of one kind, in a list of the program's."""
        inner = [layer() for _ in range(rng.randint(2, 3))]
        word = next(names)
        given = name(word)
        found = []
        for number in range(rng.randint(1, 3)):
            called = None if given is None else f"{given}_{number}"
            found.append(anew(Layer("block", called, f"{word}s/{number}", layers=inner)))
        return found

    def layers() -> list[Layer]:
        found = [layer(("embedding", "dense"))] if rng.random() < 0.4 else []
        if rng.random() < 0.35:
            found += [*blocks(), *(layer() for _ in range(rng.randint(0, 2)))]
        else:
            found += [layer() for _ in range(rng.randint(2, 4))]
        if rng.random() < 0.4:
            found.append(Layer("dense", name("head"), "head", (4, rng.choice([2, 4]))))
        for before, each in itertools.pairwise(found):
            if each.kind == "batch_normalization" and before.kind in ("dense", "conv1d") and each.name:
                each.name = f"{before.name or each.name}_bn"  # as people call TF-Slim's in Keras
        return found

    form = rng.choice(FORMS)
    if rng.random() < 0.2:  # two models of one architecture
        first = layers()
        second = [anew(each) for each in first]
        parts = [Part("generator", "generator", first), Part("discriminator", "discriminator", second)]
    else:
        parts = [Part("model", rng.choice([None, "net"]), layers())]
    return Program(form, parts, list(range(len(parts))), rng.choice([0, 0, 0, 1, 2]))


# Changes


def _lists(program: Program) -> list[list[Layer]]:
    return [part.layers for part in program.parts]


def rename(program: Program, rng: random.Random) -> None:
    """A layer with a name gets another."""
    given = [each for each in program.walk() if each.name is not None]
    if given:
        rng.choice(given).name = rng.choice(NEW_NAMES)


def rename_attribute(program: Program, rng: random.Random) -> None:
    """The attribute that holds a layer gets another name."""
    found = [each for each in program.walk() if "/" not in each.attribute]
    rng.choice(found).attribute = rng.choice(NEW_NAMES)


def reorder(program: Program, rng: random.Random) -> None:
    """Two layers change places."""
    layers = rng.choice(_lists(program))
    if len(layers) > 1:
        a, b = rng.sample(range(len(layers)), 2)
        layers[a], layers[b] = layers[b], layers[a]


def insert(program: Program, rng: random.Random) -> None:
    """There is another layer."""
    layers = rng.choice(_lists(program))
    like = rng.choice([each for each in layers if each.kind != "block"] or [Layer("dense", None, "extra")])
    word = rng.choice(NEW_NAMES)
    new = Layer(like.kind, None if like.name is None else word, word, like.sizes)
    layers.insert(rng.randint(0, len(layers)), new)


def remove(program: Program, rng: random.Random) -> None:
    """There is one layer less."""
    layers = rng.choice(_lists(program))
    if len(layers) > 1:
        layers.pop(rng.randrange(len(layers)))


def shift(program: Program, rng: random.Random) -> None:
    """The session made other layers before, or none."""
    program.shift = rng.choice([each for each in range(5) if each != program.shift])


def new_head(program: Program, rng: random.Random) -> None:
    """The last layer has another size, and is another one."""
    layers = rng.choice(_lists(program))
    if layers[-1].kind == "dense":
        layers[-1].sizes = (layers[-1].sizes[0], 7)
        layers[-1].identity = next(_identities)


def scope(program: Program, rng: random.Random) -> None:
    """Everything is in another scope, and the model has another name."""
    program.scope = rng.choice(["", "tower/", "outer/inner/"])
    if len(program.parts) == 1:
        program.parts[0].name = rng.choice([None, "net", "model_b"])


def swap_parts(program: Program, rng: random.Random) -> None:
    """The models are made in another order."""
    program.created.reverse()


CHANGES = (
    rename,
    rename_attribute,
    reorder,
    insert,
    remove,
    shift,
    new_head,
    scope,
    swap_parts,
)


def change(program: Program, rng: random.Random) -> tuple[Program, list[str]]:
    """A copy of a program with a few changes, and which."""
    fresh = copy.deepcopy(program)
    kinds = rng.choices(CHANGES, k=rng.choice([0, 1, 1, 1, 2, 2, 3]))
    for each in kinds:
        each(fresh, rng)
    _deduplicate(fresh)
    return fresh, [each.__name__ for each in kinds]


def _deduplicate(program: Program) -> None:
    """No two layers of one holder have one name or one attribute, as no program can have them."""
    holders = [*_lists(program), *(each.layers for each in program.walk() if each.layers)]
    for layers in holders:
        for of in ("name", "attribute"):
            seen: set[str] = set()
            for each in layers:
                value = getattr(each, of)
                while value is not None and value in seen:
                    value += "_b"
                setattr(each, of, value)
                seen.add(value)
