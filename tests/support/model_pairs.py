"""Pairs of programs, made at random from a seed: the checkpoint of one, to be restored into the other.

A program is built from blueprints, plain data with the sharing and the cycles that the objects will have. The other
program's blueprints are a copy with changes. Checkpoints are also edited by hand, into what no program writes.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import itertools
import random
from collections import namedtuple
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

import tensorbundle as tb
from support.keras import KERAS_2, KERAS_3
from support.object_graphs import GRAPH_KEY
from support.tensorflow import (
    ShardedVariable,
    checkpoint_util,
    tf,
    tf1,
    trackable_object_graph_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Blueprints = dict[str, "Blueprint"]

DTYPES = [
    *("float32", "float32", "float32", "float64", "float16", "bfloat16"),
    *("int32", "int64", "uint8", "bool", "string", "complex64"),
]
SHAPES = [(), (), (2,), (3,), (2, 3), (3, 2), (1,), (0,)]
NAMES = [
    "a",
    "b",
    "c",
    "kernel",
    "bias",
    "scale",
    "step",
    "encoder",
    "decoder",
    "x/y",
    "p.q",
    "0",
    "1",
    "root",
    "w_1",
]
HOLDERS = ("module", "trackable", "checkpoint", "list", "dict", "tuple", "namedtuple")
PLACES = ("module", "trackable", "checkpoint", "dict")  # what takes any name
LEAVES = ("variable", "python", "table", "dense", "generator", "sharded")


def forget() -> None:
    """Let go of what Keras keeps of all models."""
    for library in (KERAS_2, KERAS_3):
        if library is not None:
            library.backend.clear_session()
    gc.collect()


class Text(tf.train.experimental.PythonState):
    """Python state that takes any string, and nothing else."""

    def __init__(self, value: str) -> None:
        self.value = value

    def serialize(self) -> str:
        return self.value

    def deserialize(self, string_value: bytes) -> None:
        self.value = string_value.decode()


class Saved(tf.Module):
    """What a registered saver saves."""

    def __init__(self) -> None:
        super().__init__()
        self.value = np.float32(0)


def _save_saved(trackables: dict[str, Saved], file_prefix: Any) -> Any:
    names = [f"{name}/saved" for name in trackables]
    values = [tf.constant(each.value) for each in trackables.values()]
    tf.raw_ops.SaveV2(
        prefix=file_prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=values
    )
    return file_prefix


def _restore_saved(trackables: dict[str, Saved], merged_prefix: Any) -> None:
    for name, each in trackables.items():
        [value] = tf.raw_ops.RestoreV2(
            prefix=merged_prefix, tensor_names=[f"{name}/saved"], shape_and_slices=[""], dtypes=[tf.float32]
        )
        each.value = value.numpy()


with contextlib.suppress(ValueError):  # there is one registry in a process
    from tensorflow.python.saved_model import registration

    registration.register_checkpoint_saver(
        name="PairsSaved",
        predicate=lambda each: isinstance(each, Saved),
        save_fn=_save_saved,
        restore_fn=_restore_saved,
    )


class NoProgramError(Exception):
    """TensorFlow can't build or save this program."""


@dataclass(eq=False)
class Blueprint:
    """An object to be built. One blueprint at two places is one object at two places."""

    kind: str
    children: Blueprints = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Plan:
    """A program to be built: how `tf.train.Checkpoint` is called."""

    form: str  # plain: Checkpoint(**children); root: Checkpoint(root, **children)
    children: Blueprints
    root: Blueprint | None = None


@dataclass
class Pair:
    """A checkpoint and a program.

    Attributes:
        label: what kind of pair it is.
        source: prefix of the checkpoint.
        against: prefix of what shows the program.
        method: how the checkpoint is restored.
        restore: does it; returns the status, or None if there is no such thing.
        objects: the program's objects with values, by their paths.
    """

    label: str
    source: str
    against: str
    method: str
    restore: Callable[[], Any]
    objects: dict[str, Any]


# Blueprints


class Designer:
    """Makes and changes blueprints at random."""

    def __init__(self, rng: random.Random, *, leaves: tuple[str, ...]) -> None:
        self.rng = rng
        self.leaves = leaves
        self.made: list[Blueprint] = []

    def plan(self) -> Plan:
        rng = self.rng
        form = rng.choice(["plain", "plain", "root"])
        children = self.children(2, rng.randint(1, 4))
        if form == "plain":
            for name in ("root", "save_counter"):
                children.pop(name, None)
            if rng.random() < 0.45:
                children |= self.model_and_optimizer()
            return Plan(
                "plain", {name.replace("/", "_").replace(".", "_"): each for name, each in children.items()}
            )
        for name in ("root", "save_counter"):
            children.pop(name, None)
        attached = {name: each for name, each in self.model_and_optimizer().items() if rng.random() < 0.6}
        if rng.random() < 0.5:
            attached["step"] = self.variable()
        if rng.random() < 0.3 and "model" in attached and attached["model"].kind != "dict":
            if "optimizer" in attached:  # the optimizer of a compiled model looks the same as an attached one
                attached["optimizer"].options["compiled"] = False
            return Plan("root", {k: v for k, v in attached.items() if k != "model"}, attached["model"])
        if "model" in attached:  # only what sorts behind "root" is certainly attached, and optimizers
            attached["trained"] = attached.pop("model")
        # An own child that can't be taken for an attached one comes last.
        own = {f"own_{name}".replace("/", "_").replace(".", "_"): each for name, each in children.items()}
        root = Blueprint(rng.choice(["module", "trackable"]), {**own, "_last": self.variable()})
        return Plan("root", attached, root)

    def children(self, depth: int, count: int) -> Blueprints:
        names = self.rng.sample(NAMES, count)
        return {name: self.any(depth) for name in names}

    def any(self, depth: int) -> Blueprint:
        rng = self.rng
        if self.made and rng.random() < 0.12:
            return rng.choice(self.made)
        if depth and rng.random() < 0.5:
            return self.holder(depth)
        kind = rng.choice([*["variable"] * 12, *self.leaves])
        return self.variable() if kind == "variable" else self.remember(self.leaf(kind))

    def remember(self, blueprint: Blueprint) -> Blueprint:
        self.made.append(blueprint)
        return blueprint

    def variable(self) -> Blueprint:
        rng = self.rng
        name = rng.choice([None, "v", "w", f"layer/{rng.randint(0, 20)}", f"scope/v{rng.randint(0, 99)}"])
        options = {"dtype": rng.choice(DTYPES), "shape": rng.choice(SHAPES), "name": name}
        return self.remember(Blueprint("variable", options=options))

    def leaf(self, kind: str) -> Blueprint:
        rng = self.rng
        options: dict[str, Any] = {}
        if kind in ("table", "dense"):
            options = {
                "key": rng.choice(["int64", "string"] if kind == "table" else ["int64"]),
                "value": rng.choice(["int64", "float32"]),
                "shape": rng.choice([(), (), (2,)]),
                "entries": rng.randint(kind == "dense", 3),
            }
        if kind == "sharded":
            options = {"shards": rng.randint(2, 3), "dtype": rng.choice(["float32", "int32", "float16"])}
        return Blueprint(kind, options=options)

    def holder(self, depth: int) -> Blueprint:
        rng = self.rng
        kind = rng.choice(HOLDERS)
        blueprint = Blueprint(kind)
        if kind in ("module", "trackable"):
            self.made.append(blueprint)  # before its children: these may lead back
        children = self.children(depth - 1, rng.randint(0, 4))
        if kind in ("tuple", "namedtuple") and not children:
            children = {"0": self.variable()}
        if kind in ("list", "tuple"):
            children = {str(number): each for number, each in enumerate(children.values())}
        if kind == "namedtuple":
            children = {f"f{number}": each for number, each in enumerate(children.values())}
        if kind in ("module", "trackable", "checkpoint"):
            children = {name.replace("/", "_").replace(".", "_"): each for name, each in children.items()}
            children.pop("save_counter", None)
        if kind == "checkpoint":
            children = {f"k{name}": each for name, each in children.items()}
        blueprint.children = children
        if kind not in ("module", "trackable"):
            self.made.append(blueprint)
        return blueprint

    def model_and_optimizer(self) -> Blueprints:
        rng = self.rng
        library = rng.choice([name for name, there in (("2", KERAS_2), ("3", KERAS_3), ("1", tf1)) if there])
        if library == "1":
            variables = [
                Blueprint(
                    "variable",
                    options={
                        "dtype": rng.choice(["float32", "float32", "float64"]),
                        "shape": rng.choice([(2,), (2, 3)]),
                        "name": f"n{number}",
                    },
                )
                for number in range(rng.randint(1, 3))
            ]
            holder = Blueprint(
                rng.choice(["module", "dict"]), {f"v{number}": each for number, each in enumerate(variables)}
            )
            kind = rng.choice(["v1-momentum", "v1-adam", *(["k2-legacy-adam"] if KERAS_2 else [])])
            options = {"kind": kind, "of": holder, "trained": rng.random() < 0.6}
            return {"model": holder, "optimizer": Blueprint("optimizer", options=options)}
        model = self.model(library)
        kinds = {
            "2": ["k2-legacy-adam", "k2-legacy-sgd", "k2-adam", "k2-sgd"],
            "3": ["k3-adam", "k3-sgd"],
        }
        found = {"model": model}
        if rng.random() < 0.8:
            options = {
                "kind": rng.choice(kinds[library]),
                "of": model,
                "trained": rng.random() < 0.6,
                "compiled": rng.random() < 0.3,
            }
            found["optimizer"] = Blueprint("optimizer", options=options)
        return found

    def model(self, library: str) -> Blueprint:
        rng = self.rng
        form = rng.choice(["sequential", "functional", "subclassed"])
        options = {
            "library": library,
            "form": form,
            "built": form == "functional" or rng.random() < 0.7,
            "layers": [
                rng.choice(["dense2", "dense3", "norm", "dropout", "flatten"])
                for _ in range(rng.randint(1, 3))
            ],
        }
        return Blueprint("model", options=options)

    # Changes

    def change(self, plan: Plan) -> None:
        """Change a plan in one way, if there is a place for it."""
        self._change(plan)
        if plan.root is not None and "_last" in plan.root.children:
            plan.root.children["_last"] = plan.root.children.pop("_last")
        if plan.root is None:
            for name in {"root", "save_counter"} & plan.children.keys():  # these mean something else
                plan.children[f"{name}_"] = plan.children.pop(name)

    def _change(self, plan: Plan) -> None:
        rng = self.rng
        holders = [each for each in _walk(plan) if each.kind in HOLDERS]
        places: list[Blueprints] = [plan.children] if plan.form == "plain" else []
        places += [each.children for each in holders if each.kind in PLACES and each.children]
        how = rng.choice(
            ["rename", "move", "drop", "add", "type", "kind", "share", "model", "optimizer", "cycle"]
        )
        if how == "cycle":
            modules = [each for each in holders if each.kind in ("module", "trackable")]
            if modules:
                rng.choice(modules).children["back"] = rng.choice(modules)
        elif how in ("type", "model", "optimizer"):
            self.change_options(plan, how)
        elif places:
            place = rng.choice(places)
            names = [name for name in place if name != "_last"]
            if how == "add" or not names:
                place[f"new{rng.randint(0, 3)}"] = self.any(1)
                return
            name = rng.choice(names)
            if how == "rename":
                new = f"{name}{rng.choice(['2', '_new'])}"
                items = [(new if each == name else each, value) for each, value in place.items()]
                place.clear()
                place.update(items)
            elif how == "move":
                other = rng.choice(places)
                if not any(each.children is other for each in _walk_from([place[name]])):
                    other.setdefault(name, place.pop(name))
            elif how == "drop":
                del place[name]
            elif how == "kind":
                place[name] = self.any(1)
            else:
                place[name] = rng.choice([copy.copy(place[name]), place[rng.choice(names)]])

    def change_options(self, plan: Plan, how: str) -> None:
        rng = self.rng
        kinds = {
            "type": ("variable", "table", "dense", "sharded"),
            "model": ("model",),
            "optimizer": ("optimizer",),
        }
        found = [each for each in _walk(plan) if each.kind in kinds[how]]
        if not found:
            return
        blueprint = rng.choice(found)
        if blueprint.kind == "variable":
            blueprint.options |= rng.choice([{"dtype": rng.choice(DTYPES)}, {"shape": rng.choice(SHAPES)}])
        elif blueprint.kind in ("table", "dense", "sharded"):
            blueprint.options |= self.leaf(blueprint.kind).options
        elif blueprint.kind == "model":
            blueprint.options |= {
                key: value
                for key, value in self.model(blueprint.options["library"]).options.items()
                if rng.random() < 0.5
            }
            blueprint.options["built"] = (
                blueprint.options["built"] or blueprint.options["form"] == "functional"
            )
        else:
            prefix = blueprint.options["kind"][:2]
            alike = {
                "k2": ["k2-legacy-adam", "k2-legacy-sgd", "k2-adam"],
                "k3": ["k3-adam", "k3-sgd"],
                "v1": ["v1-adam", "v1-momentum"],
            }
            blueprint.options["kind"] = rng.choice(alike[prefix])
            blueprint.options["trained"] = rng.random() < 0.5


def _walk(plan: Plan) -> Iterator[Blueprint]:
    return _walk_from([*plan.children.values(), *([plan.root] if plan.root else [])])


def _walk_from(start: list[Blueprint]) -> Iterator[Blueprint]:
    found = dict.fromkeys(start)
    queue = list(found)
    for each in queue:
        yield each
        for child in (*each.children.values(), *([each.options["of"]] if "of" in each.options else [])):
            if child not in found:
                found[child] = None
                queue.append(child)


# Programs


class Builder:
    """Builds the objects of one program."""

    def __init__(self) -> None:
        self._built: dict[Blueprint, Any] = {}

    def checkpoint(self, plan: Plan) -> Any:
        try:
            made = self._checkpoint_of(plan)
            objects_of(made)
        except (RecursionError, ValueError) as error:
            # It compares containers with what they were: variables with other things, and containers with themselves.
            raise NoProgramError from error
        return made

    def _checkpoint_of(self, plan: Plan) -> Any:
        children = {name: self.build(each) for name, each in plan.children.items()}
        if plan.root is None:
            return tf.train.Checkpoint(**children)
        root = self.build(plan.root)
        root._maybe_initialize_trackable()
        self.kept = root  # a checkpoint holds its root weakly
        free = {name: each for name, each in children.items() if root._lookup_dependency(name) is None}
        return tf.train.Checkpoint(root, **free)

    def build(self, blueprint: Blueprint) -> Any:
        if blueprint not in self._built:
            made = getattr(self, f"_{blueprint.kind}")(blueprint)
            self._built[blueprint] = made
        return self._built[blueprint]

    def _module(self, blueprint: Blueprint) -> Any:
        made = tf.Module() if blueprint.kind == "module" else tf.__internal__.tracking.AutoTrackable()
        self._built[blueprint] = made
        for name, child in blueprint.children.items():
            setattr(made, name, self.build(child))
        return made

    _trackable = _module

    def _checkpoint(self, blueprint: Blueprint) -> Any:
        return tf.train.Checkpoint(**{name: self.build(each) for name, each in blueprint.children.items()})

    def _list(self, blueprint: Blueprint) -> Any:
        return [self.build(each) for each in blueprint.children.values()]

    def _dict(self, blueprint: Blueprint) -> Any:
        return {name: self.build(each) for name, each in blueprint.children.items()}

    def _tuple(self, blueprint: Blueprint) -> Any:
        return tuple(self.build(each) for each in blueprint.children.values())

    def _namedtuple(self, blueprint: Blueprint) -> Any:
        return namedtuple("Fields", list(blueprint.children))(*self._tuple(blueprint))

    def _variable(self, blueprint: Blueprint) -> Any:
        dtype, shape = blueprint.options["dtype"], blueprint.options["shape"]
        value = tf.fill(shape, "") if dtype == "string" else tf.zeros(shape, dtype)
        return tf.Variable(value, name=blueprint.options["name"])

    def _sharded(self, blueprint: Blueprint) -> Any:
        dtype = blueprint.options["dtype"]
        return ShardedVariable(
            [
                tf.Variable(tf.zeros([2, 2], dtype), name=f"part_{number}")
                for number in range(blueprint.options["shards"])
            ]
        )

    def _python(self, _: Blueprint) -> Any:
        return Text("")

    def _saved(self, _: Blueprint) -> Any:
        return Saved()

    def _iterator(self, _: Blueprint) -> Any:
        return iter(tf.data.Dataset.range(5))

    def _generator(self, _: Blueprint) -> Any:
        return tf.random.Generator.from_seed(1)

    def _table(self, blueprint: Blueprint) -> Any:
        options = blueprint.options
        default = tf.zeros(options["shape"], options["value"])
        if blueprint.kind == "dense":
            made = tf.lookup.experimental.DenseHashTable(
                options["key"],
                options["value"],
                default,
                empty_key=-1,
                deleted_key=-2,
                initial_num_buckets=8,
            )
        else:
            made = tf.lookup.experimental.MutableHashTable(options["key"], options["value"], default)
        made.pairs_options = options
        return made

    _dense = _table

    def _model(self, blueprint: Blueprint) -> Any:
        options = blueprint.options
        library = KERAS_2 if options["library"] == "2" else KERAS_3
        layers = [_layer(library, name) for name in options["layers"]]
        if options["form"] == "functional":
            outputs = inputs = library.Input([3])
            for layer in layers:
                outputs = layer(outputs)
            return library.Model(inputs, outputs)
        model = (
            library.Sequential(layers) if options["form"] == "sequential" else _subclassed(library)(layers)
        )
        if options["built"]:
            model(tf.zeros([1, 3]))
        return model

    def _optimizer(self, blueprint: Blueprint) -> Any:
        options = blueprint.options
        of = self.build(options["of"])
        made = OPTIMIZERS[options["kind"]]()
        if options.get("compiled") and hasattr(of, "compile"):
            of.compile(made, loss="mse")
        if options["trained"] and options["of"].options.get("built", True):
            variables = (
                of.trainable_variables
                if options["of"].kind == "model"
                else [self.build(each) for each in options["of"].children.values()]
            )
            floating = [
                each for each in variables if is_variable(each) and tf.as_dtype(each.dtype).is_floating
            ]
            if floating:
                made.apply_gradients([(tf.zeros(each.shape, each.dtype), each) for each in floating])
        return made


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "v1-momentum": lambda: tf1.train.MomentumOptimizer(0.1, 0.9),
    "v1-adam": lambda: tf1.train.AdamOptimizer(0.1),
    "k2-legacy-adam": lambda: KERAS_2.optimizers.legacy.Adam(0.1),
    "k2-legacy-sgd": lambda: KERAS_2.optimizers.legacy.SGD(0.1, momentum=0.9),
    "k2-adam": lambda: KERAS_2.optimizers.Adam(0.1),
    "k2-sgd": lambda: KERAS_2.optimizers.SGD(0.1, momentum=0.9),
    "k3-adam": lambda: KERAS_3.optimizers.Adam(0.1),
    "k3-sgd": lambda: KERAS_3.optimizers.SGD(0.1, momentum=0.9),
}


def _layer(library: Any, name: str) -> Any:
    return {
        "dense2": lambda: library.layers.Dense(2),
        "dense3": lambda: library.layers.Dense(3),
        "norm": library.layers.BatchNormalization,
        "dropout": lambda: library.layers.Dropout(0.5),
        "flatten": library.layers.Flatten,
    }[name]()


def _subclassed(library: Any) -> Any:
    class Subclassed(library.Model):
        def __init__(self, layers: list[Any]) -> None:
            super().__init__()
            self.count = len(layers)
            for number, layer in enumerate(layers):
                setattr(self, f"block_{number}", layer)

        def call(self, inputs: Any) -> Any:
            for number in range(self.count):
                inputs = getattr(self, f"block_{number}")(inputs)
            return inputs

    return Subclassed


def objects_of(checkpoint: Any) -> list[Any]:
    """The objects of a program, in the order of their numbers in a checkpoint."""
    return list(checkpoint_util.list_objects(checkpoint._saver._graph_view))


def is_variable(each: Any) -> bool:
    return isinstance(each, tf.Variable) or (KERAS_3 is not None and isinstance(each, KERAS_3.Variable))


def fill(objects: list[Any], first: int) -> None:
    """Give everything that has values one of its own, counting from `first`."""
    for number, each in enumerate(objects, first):
        if isinstance(each, Text):
            each.value = f"text {number}"
        elif isinstance(each, Saved):
            each.value = np.float32(number)
        elif hasattr(each, "pairs_options"):
            options = each.pairs_options
            keys = [number * 10 + each for each in range(options["entries"])]
            if keys:
                values = tf.fill([len(keys), *options["shape"]], number)
                texts = [str(key) for key in keys]
                each.insert(
                    tf.constant(texts if options["key"] == "string" else keys, options["key"]),
                    tf.cast(values, options["value"]),
                )
        elif isinstance(each, ShardedVariable):
            for part in each.variables:
                part.assign(_filled(part, number))
        elif is_variable(each):
            each.assign(_filled(each, number))


def _filled(variable: Any, number: int) -> Any:
    dtype = tf.as_dtype(variable.dtype)
    if dtype == tf.string:
        return tf.fill(variable.shape, f"text {number}")
    if dtype == tf.bool:
        return tf.fill(variable.shape, number < 100)
    return tf.cast(tf.fill(variable.shape, number), dtype)


def value_of(each: Any) -> Any:
    """What can be compared of an object's value; None if it has none."""
    if isinstance(each, Text | Saved):
        return str(each.value)
    if hasattr(each, "pairs_options"):
        keys, values = each.export()
        return sorted(zip(keys.numpy().tolist(), values.numpy().tolist(), strict=True))
    if isinstance(each, ShardedVariable):
        return [value_of(part) for part in each.variables]
    if is_variable(each):
        array = np.asarray(each.numpy())
        return array.tolist() if array.dtype == object else (array.shape, array.tobytes())
    return None


# Pairs


def pair(folder: Path, seed: int, number: int) -> Pair:
    """The pair of this number: always the same one for a seed."""
    for attempt in itertools.count():
        place = folder / f"{seed}-{number}-{attempt}"
        place.mkdir()
        with contextlib.suppress(NoProgramError):
            return _pair(place, random.Random(f"{seed}/{number}/{attempt}"))
    raise AssertionError


def _pair(place: Path, rng: random.Random) -> Pair:
    kind = rng.choice([*["objects"] * 5, *["edited"] * 5, *["names"] * 2, "saver"])
    # The editor can't write the variants that iterators store.
    designer = Designer(rng, leaves=(*LEAVES, *(["iterator"] if kind == "objects" else [])))
    plan = designer.plan()
    other = copy.deepcopy(plan)
    designer.made = [each for each in _walk(other) if each.kind not in ("model", "optimizer")]
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        designer.change(other)
    if rng.random() < 0.5:
        plan, other = other, plan
    if kind != "edited" and rng.random() < 0.15 and plan.form == other.form == "plain":
        plan.children["registered"] = Blueprint("saved")
        other.children["registered"] = Blueprint("saved")
    if kind == "saver":
        return _saver_pair(place, rng, plan, other)
    if kind == "names":
        for each in _walk(other):
            if each.options.get("library") == "3":  # batch normalization of Keras 2 and 3 looks the same
                each.options["layers"] = [name.replace("norm", "dense2") for name in each.options["layers"]]
    builder = Builder()
    target = builder.checkpoint(other)
    method = rng.choice(["restore", "read"])
    against = _save(target, 100, str(place / "b"), numbered=rng.random() < 0.4)
    if kind == "names":
        source = _named(place, rng, against)
    else:
        exported = kind == "objects" and rng.random() < 0.3 and _can_be_exported(plan)
        source = _exported(place, plan, method) if exported else _source(place, rng, plan)
        if kind == "edited":
            source = Editor(rng, source).write(str(place / "edited"))
    live = dict(zip(_paths(against), objects_of(target), strict=True))

    def restore() -> Any:
        assert builder is not None  # and what it has built lives as long
        return getattr(target, method)(source)

    return Pair(f"{kind}, {method}", source, against, method, restore, live)


def _source(place: Path, rng: random.Random, plan: Plan) -> str:
    builder = Builder()
    checkpoint = builder.checkpoint(plan)
    return _save(checkpoint, 1, str(place / "a"), numbered=rng.random() < 0.5)


def _can_be_exported(plan: Plan) -> bool:
    return plan.root is not None and all(
        each.kind in ("variable", "python") or each.kind in HOLDERS for each in _walk_from([plan.root])
    )


def _exported(place: Path, plan: Plan, method: str) -> str:
    """A SavedModel, whose variables are a checkpoint; `read` takes only that."""
    builder = Builder()
    checkpoint = builder.checkpoint(plan)
    fill(objects_of(checkpoint), 1)
    tf.saved_model.save(builder.kept, str(place / "a"))
    return str(place / ("a/variables/variables" if method == "read" else "a"))


def _save(checkpoint: Any, first: int, prefix: str, *, numbered: bool) -> str:
    if not numbered:
        fill(objects_of(checkpoint), first)
        return checkpoint.write(prefix)
    checkpoint.save_counter.assign(0)  # so that there is one to be filled
    fill(objects_of(checkpoint), first)
    return checkpoint.save(prefix)


def _paths(prefix: str) -> list[str]:
    """The paths of a checkpoint's objects by number."""
    with tb.open(prefix) as ckpt:
        paths = ckpt.object_graph.paths()
        return [paths[node] for node in ckpt.object_graph.nodes]


def _named(place: Path, rng: random.Random, against: str) -> str:
    """A name-based checkpoint with about what a program has."""
    variables = {}
    whole = rng.random() < 0.5
    with tb.open(against) as ckpt:
        for _, _, each in ckpt.object_graph.attributes():
            if each.full_name and (whole or rng.random() < 0.9) and each.checkpoint_key in ckpt:
                entry = ckpt.entry(each.checkpoint_key)
                options = {"dtype": str(entry.dtype), "shape": entry.shape, "name": None}
                if rng.random() < 0.03:
                    options |= rng.choice([{"dtype": rng.choice(DTYPES)}, {"shape": rng.choice(SHAPES)}])
                variables[each.full_name] = Builder().build(Blueprint("variable", options=options))
    if whole and rng.random() < 0.3:
        variables.pop("save_counter", None)
    variables["extra/v"] = tf.Variable(1.0)
    if rng.random() < 0.1:
        variables["VARIABLE_VALUE"] = tf.Variable([1.0, 2.0])
    fill(list(variables.values()), 1)
    return tf1.train.Saver(variables).save(None, str(place / "a"))


def _saver_pair(place: Path, rng: random.Random, plan: Plan, other: Plan) -> Pair:
    """A v1 `Saver` with some variables, and a checkpoint of either kind."""
    builder = Builder()
    live: dict[str, Any] = {}
    for number, each in enumerate(_walk(other)):
        if each.kind == "variable":
            live[each.options["name"] or f"unnamed_{number}"] = builder.build(each)
    live.setdefault("one", tf.Variable(1.0))
    fill(list(live.values()), 100)
    saver = tf1.train.Saver(live)
    against = saver.save(None, str(place / "b"))
    if rng.random() < 0.5:
        source = _source(place, rng, plan)
    else:
        made = {
            name: Builder().build(
                Blueprint(
                    "variable",
                    options={
                        "dtype": each.dtype.name if rng.random() < 0.95 else rng.choice(DTYPES),
                        "shape": tuple(each.shape) if rng.random() < 0.95 else rng.choice(SHAPES),
                        "name": name,
                    },
                )
            )
            for name, each in live.items()
            if rng.random() < 0.95
        }
        made["extra"] = tf.Variable(1.0, name="extra")
        fill(list(made.values()), 1)
        if rng.random() < 0.5:
            source = tf1.train.Saver(made).save(None, str(place / "a"))
        else:
            source = tf.train.Checkpoint(vars=made).write(str(place / "a"))
    return Pair("saver", source, against, "restore", lambda: saver.restore(None, source), live)


class Editor:
    """Changes an object-based checkpoint into one that no program writes."""

    def __init__(self, rng: random.Random, prefix: str) -> None:
        self._rng = rng
        with tb.open(prefix) as ckpt:
            self.tensors = dict(ckpt.items())
        data = self.tensors.pop(GRAPH_KEY).item()
        self.graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(data)

    def write(self, prefix: str) -> str:
        """Edit, and write the outcome."""
        ways = [getattr(self, name) for name in dir(Editor) if name.startswith("edit_")]
        for _ in range(self._rng.choice([1, 1, 2, 3])):
            self._rng.choice(ways)()
        with tb.create(prefix) as writer:
            for key, value in self.tensors.items():
                writer.add(key, value)
            writer.add(GRAPH_KEY, np.array(self.graph.SerializeToString(), object))
        return prefix

    def _node(self, *, attributes: bool = False) -> Any:
        """A node; with attributes, if there is one and that is wanted."""
        nodes = list(self.graph.nodes)
        return self._rng.choice([each for each in nodes if each.attributes] or nodes if attributes else nodes)

    def _edges(self) -> list[tuple[Any, Any]]:
        return [(node, child) for node in self.graph.nodes for child in node.children]

    def _number(self) -> int:
        return self._rng.randrange(len(self.graph.nodes))

    def edit_delete_tensor(self) -> None:
        keys = [key for key in self.tensors if ".ATTRIBUTES/" in key]  # not what a registered saver looks for
        if keys:
            del self.tensors[self._rng.choice(keys)]

    def edit_share_key(self) -> None:
        one, other = self._node(attributes=True), self._node(attributes=True)
        if one.attributes and other.attributes:
            one.attributes[0].checkpoint_key = other.attributes[0].checkpoint_key

    def edit_flag(self) -> None:
        counters = [child for child in self.graph.nodes[0].children if child.local_name == "save_counter"]
        node = (
            self.graph.nodes[counters[0].node_id] if counters and self._rng.random() < 0.5 else self._node()
        )
        node.has_checkpoint_values.value = self._rng.random() < 0.2

    def edit_no_flags(self) -> None:
        for node in self.graph.nodes:
            node.ClearField("has_checkpoint_values")

    def edit_add_attribute(self) -> None:
        name = self._rng.choice(["VARIABLE_VALUE", "OTHER", "OBJECT_CONFIG_JSON", "py_state"])
        key = self._rng.choice([*self.tensors, "no/.ATTRIBUTES/such", "none"])
        self._node().attributes.add(name=name, checkpoint_key=key)

    def edit_drop_attributes(self) -> None:
        self._node(attributes=True).ClearField("attributes")

    def edit_second_edge(self) -> None:
        node = self._node()
        names = [child.local_name for child in node.children]
        if names:
            node.children.add(local_name=self._rng.choice(names), node_id=self._number())
            children = list(node.children)
            self._rng.shuffle(children)
            del node.children[:]
            node.children.extend(children)

    def edit_add_edge(self) -> None:
        self._node().children.add(local_name=self._rng.choice(NAMES), node_id=self._number())

    def edit_lead_elsewhere(self) -> None:
        if self._edges():
            self._rng.choice(self._edges())[1].node_id = self._number()

    def edit_rename_edge(self) -> None:
        if self._edges():
            self._rng.choice(self._edges())[1].local_name = self._rng.choice(NAMES)

    def edit_move_key(self) -> None:
        node = self._node(attributes=True)
        for each in node.attributes:
            if each.checkpoint_key in self.tensors:
                new = self._rng.choice(
                    ["zzz/.ATTRIBUTES/VARIABLE_VALUE", "no_mark", "a.ATTRIBUTES/VARIABLE_VALUE"]
                )
                self.tensors[new] = self.tensors.pop(each.checkpoint_key)
                each.checkpoint_key = new

    def edit_retype(self) -> None:
        keys = [key for key in self.tensors if self._rng.random() < 0.3 or "save_counter" in key]
        if keys:
            value = np.asarray(np.float32(1)).astype(self._rng.choice(["float32", "int64", "int32"]))
            self.tensors[self._rng.choice(keys)] = np.full(self._rng.choice(SHAPES), value)

    def edit_unreachable(self) -> None:
        node = self.graph.nodes.add()
        if self._rng.random() < 0.5 and self.tensors:
            node.attributes.add(name="VARIABLE_VALUE", checkpoint_key=self._rng.choice(list(self.tensors)))

    def edit_waiting_slot(self) -> None:
        self.graph.nodes.add()
        self.graph.nodes.add()
        self._node(attributes=True).slot_variables.add(
            original_variable_node_id=len(self.graph.nodes) - 1,
            slot_name="m",
            slot_variable_node_id=len(self.graph.nodes) - 2,
        )

    def edit_slots(self) -> None:
        optimizers = [node for node in self.graph.nodes if node.slot_variables]
        if not optimizers:
            variables = [number for number, node in enumerate(self.graph.nodes) if node.attributes]
            if variables:
                self._node(attributes=True).slot_variables.add(
                    original_variable_node_id=self._rng.choice(variables),
                    slot_name="m",
                    slot_variable_node_id=self._rng.choice(variables),
                )
            return
        node = self._rng.choice(optimizers)
        slot = self._rng.choice(node.slot_variables)
        how = self._rng.choice(["drop", "rename", "child", "again", "all"])
        if how == "drop":
            node.slot_variables.remove(slot)
        elif how == "rename":
            slot.slot_name = self._rng.choice(["m", "v", "momentum", "other"])
        elif how == "child":
            self.graph.nodes[slot.slot_variable_node_id].children.add(local_name="a", node_id=0)
        elif how == "again":
            node.slot_variables.add().CopyFrom(slot)
        else:
            node.ClearField("slot_variables")
