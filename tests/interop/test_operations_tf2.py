"""Rewritten object-based checkpoints: TensorFlow restores what the operations made, with nothing missing and nothing left.

Objects are saved, the operation is applied, and other objects of the same kind restore the result. What these save again
has the keys and values that the operation made.
"""

from itertools import permutations

import numpy as np
import pytest

import tensorbundle as tb
from support import golden
from support.contents import as_array, content
from support.mirror import GRAPH_KEY, mirrored, nested, tensors
from support.tensorflow import (
    VERSION,
    ShardedVariable,
    below,
    tensor,
    tf,
    tf1,
    their_reading,
    trackable_object_graph_pb2,
)
from tensorbundle.tools import rewrite
from tensorbundle.tools.cli import main

# Keras 2 draws its seeds so.
pytestmark = pytest.mark.filterwarnings("ignore:non-integer arguments to randrange")


def command(*arguments):
    assert main([str(each) for each in arguments]) == 0


def save(prefix, **objects):
    """What `Checkpoint.save` writes; the prefix has the number 1."""
    return tf.train.Checkpoint(**objects).save(str(prefix))


def state(variables):
    """The values of variables by name: TensorFlow's or Keras's."""
    found = {name: np.asarray(each.numpy()) for name, each in variables.items()}
    return {name: (array.dtype.name, array.shape, content(array)) for name, array in found.items()}


def assert_restores(prefix, **objects):
    """The objects take exactly what is there, and save the same under the same keys."""
    checkpoint = tf.train.Checkpoint(**objects)
    status = checkpoint.restore(str(prefix))
    status.assert_consumed()
    status.assert_existing_objects_matched()
    assert tensors(checkpoint.save(f"{prefix}-again")) == tensors(prefix)


def variable(seed, *shape, dtype=np.float32):
    return tf.Variable(tensor(np.random.default_rng(seed).normal(size=shape).astype(dtype)))


# Dictionaries of variables


PATHS = [
    ("model", "dec", "b"),
    ("model", "dec", "w"),
    ("model", "enc", "b"),
    ("model", "enc", "w"),
    ("odd", "a.S"),
    ("odd", "a/b"),
    ("odd", "x.y/z"),
    ("step",),
]


def dictionaries(seed, paths=PATHS):
    """A variable at each path."""
    return {
        path: variable(seed + number, 2, number + 1) for number, path in enumerate(PATHS) if path in paths
    }


def swapped(path):
    names = {"dec": "enc", "enc": "dec"}
    return tuple(names.get(each, each) for each in path)


RENAMES = {
    "variable": (
        {"model/enc/w": "model/enc/kernel"},
        lambda p: (*p[:2], "kernel") if p[1:] == ("enc", "w") else p,
    ),
    "object": (
        {"model/enc": "model/encoder"},
        lambda p: (p[0], "encoder", p[2]) if p[1:2] == ("enc",) else p,
    ),
    "scope": ({"model/enc/": "tower/"}, lambda p: ("tower", p[2]) if p[1:2] == ("enc",) else p),
    "scope to root": ({"model/": "/"}, lambda p: p[1:] if p[0] == "model" else p),
    "root to scope": ({"/": "all/"}, lambda p: ("all", *p)),
    "out of its scope": ({"model/enc/w": "w"}, lambda p: ("w",) if p[1:] == ("enc", "w") else p),
    "into another": (
        {"model/dec/": "model/enc/d/"},
        lambda p: ("model", "enc", "d", p[2]) if p[1:2] == ("dec",) else p,
    ),
    "exchange variables": (
        {"model/enc/w": "model/dec/w", "model/dec/w": "model/enc/w"},
        lambda p: swapped(p) if p[2:] == ("w",) else p,
    ),
    "exchange objects": ({"model/enc": "model/dec", "model/dec": "model/enc"}, swapped),
    "from escaped": ({"odd/a.Sb": "odd/plain"}, lambda p: ("odd", "plain") if p[1:] == ("a/b",) else p),
    "to escaped": ({"model/enc/w": "odd/..S.Sq"}, lambda p: ("odd", ".S/q") if p[1:] == ("enc", "w") else p),
    "escaped scope": ({"odd/": "o.Sd..d/"}, lambda p: ("o/d.d", *p[1:]) if p[0] == "odd" else p),
    "glob": ({"model/*/w": "model/*/kernel"}, lambda p: (*p[:2], "kernel") if p[2:] == ("w",) else p),
    "regex": (
        {"regex": {r"^model/(\w+)/(\w+)$": r"\2/\1"}},
        lambda p: (p[2], p[1]) if p[0] == "model" else p,
    ),
}


@pytest.mark.parametrize(("rules", "moved"), RENAMES.values(), ids=RENAMES)
def test_rename(rules, moved, tmp_path):
    before = dictionaries(0)
    source = save(tmp_path / "in", **nested(before))
    rewrite(source, tmp_path / "out-1", rename=rules)
    after = {moved(path): value for path, value in dictionaries(100).items()}
    assert_restores(tmp_path / "out-1", **nested(after))
    assert state(after) == {moved(path): value for path, value in state(before).items()}


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ({"drop": ["model/dec/*"]}, lambda p: "dec" not in p),
        ({"drop": ["model/*", "odd/x..y.Sz"]}, lambda p: p[-1] in ("a.S", "a/b", "step")),
        ({"extract": ["model/enc/*"]}, lambda p: "enc" in p),
        ({"extract": ["re:/w/", "step"]}, lambda p: p[-1] in ("w", "step")),
    ],
)
def test_drop_and_extract(steps, kept, tmp_path):
    before = dictionaries(0)
    source = save(tmp_path / "in", **nested(before))
    rewrite(source, tmp_path / "out-1", **steps)
    paths = [path for path in PATHS if kept(path)]
    after = dictionaries(100, paths)
    assert_restores(tmp_path / "out-1", **nested(after))
    assert state(after) == {path: state(before)[path] for path in paths}


@pytest.mark.parametrize("target", ["bfloat16", "float16", "float64"])
def test_cast(target, tmp_path):
    """Into variables of the new type; the save counter stays what it is."""
    before = dictionaries(0)
    source = save(tmp_path / "in", **nested(before))
    rewrite(source, tmp_path / "out-1", cast={"*": target})
    after = {path: tf.Variable(tf.zeros(each.shape, target)) for path, each in before.items()}
    assert_restores(tmp_path / "out-1", **nested(after))
    assert state(after) == state({path: tf.Variable(tf.cast(each, target)) for path, each in before.items()})


def test_set(tmp_path):
    before = dictionaries(0)
    source = save(tmp_path / "in", **nested(before))
    rewrite(source, tmp_path / "out-1", set={"odd/x..y.Sz": 0.5, "save_counter": 41})
    after = dictionaries(100)
    before["odd", "x.y/z"].assign(tf.fill(before["odd", "x.y/z"].shape, 0.5))
    checkpoint = tf.train.Checkpoint(**nested(after))
    checkpoint.restore(str(tmp_path / "out-1")).assert_consumed()
    assert state(after) == state(before)
    assert checkpoint.save(str(tmp_path / "next")).endswith("next-42")


@pytest.mark.parametrize(
    "steps",
    [
        {"reshard": 1},
        {"reshard": 4},
        {"reshard": {"max_shard_size": "40"}},
        {"reshard": {"max_shard_size": "16", "cut": True}},
        {"reshard": 3, "compact": True},
        {"partition": {"model/enc/w": 2, "odd/a.Sb": {"slices": 3, "axis": 1}}},
        {"partition": {"model/enc/w": 2}, "unpartition": "model/*"},
        {"compact": True},
    ],
    ids=str,
)
def test_layout(steps, tmp_path):
    """Strings and the object graph move with the rest."""
    before = dictionaries(0) | {("words",): tf.Variable([b"a", b"long" * 99, b""])}
    source = save(tmp_path / "in", **nested(before))
    rewrite(source, tmp_path / "out-1", **steps)
    after = dictionaries(100) | {("words",): tf.Variable([b""] * 3)}
    assert_restores(tmp_path / "out-1", **nested(after))
    assert state(after) == state(before)


@pytest.mark.parametrize("cut", [(2, 3), (1, 4), None])
def test_sharded_variable(cut, tmp_path):
    """A ShardedVariable restores what was partitioned here, and a variable what it saved, made whole."""

    def sharded(array, sizes):
        pieces = np.split(array, np.cumsum(sizes)[:-1])
        return ShardedVariable(
            [tf.Variable(each, name=f"emb/part_{n}") for n, each in enumerate(pieces)], name="emb"
        )

    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    if cut is None:
        source = save(tmp_path / "in", emb=sharded(values, (3, 2)))
        rewrite(source, tmp_path / "out-1", unpartition=True)
        found = tf.Variable(np.zeros_like(values))
    else:
        source = save(tmp_path / "in", emb=tf.Variable(values))
        rewrite(source, tmp_path / "out-1", partition={"emb": 2})
        found = sharded(np.zeros_like(values), cut)
    tf.train.Checkpoint(emb=found).restore(str(tmp_path / "out-1")).assert_consumed()
    np.testing.assert_array_equal(tf.convert_to_tensor(found), values)


# Objects that several hold, tables, states


def holders(seed, first="x", second="x"):
    shared = variable(seed, 3)
    a, b = tf.Module(), tf.Module()
    setattr(a, first, shared)
    setattr(b, second, shared)
    b.own, b.other = variable(seed + 1, 2), a
    return a, b, {"shared": shared, "own": b.own}


@pytest.mark.parametrize(
    ("rules", "names", "root"),
    [
        ({"a": "aa"}, {"a": "aa"}, ""),
        ({"a/x": "a/y"}, {"first": "y"}, ""),
        ({"b/x": "b/y"}, {"second": "y"}, ""),
        ({"/": "deep/"}, {}, "deep"),
    ],
    ids=str,
)
def test_rename_shared(rules, names, root, tmp_path):
    """An object is stored once, below whichever name is the shortest."""
    a, b, before = holders(0)
    source = save(tmp_path / "in", a=a, b=b)
    rewrite(source, tmp_path / "out-1", rename=rules)
    a, b, after = holders(9, names.get("first", "x"), names.get("second", "x"))
    assert_restores(tmp_path / "out-1", **below(root, {names.get("a", "a"): a, "b": b}))
    assert state(after) == state(before)


class Epoch(tf.train.experimental.PythonState):
    def __init__(self, number):
        self.number = number

    def serialize(self):
        return str(self.number)

    def deserialize(self, text):
        self.number = int(text)


def everything(seed, *words):
    """A table, a Python object's state, a generator's and an iterator's."""
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    if words:
        table.insert(list(words), tf.range(len(words), dtype=tf.int64))
    numbers = iter(tf.data.Dataset.range(20))
    for _ in range(seed):
        next(numbers)
    return {
        "generator": tf.random.Generator.from_seed(seed, alg="philox"),
        "iterator": numbers,
        "progress": Epoch(seed),
        "table": table,
        "v": variable(seed, 2),
    }


@pytest.mark.parametrize(
    ("steps", "arrange"),
    [
        ({"rename": {"/": "run/"}}, lambda each: {"run": each}),
        (
            {"rename": {name: f"{name}.S2" for name in ("table", "progress", "iterator", "generator")}},
            lambda each: {name if name == "v" else f"{name}/2": value for name, value in each.items()},
        ),
        ({"reshard": 3}, dict),
        (
            {"drop": ["iterator", "generator/*"]},
            lambda each: {name: each[name] for name in ("progress", "table", "v")},
        ),
        (
            {"extract": ["table*", "progress"]},
            lambda each: {name: each[name] for name in ("progress", "table")},
        ),
        (
            {"cast": {"*": "float16"}, "rename": {"v": "half"}},
            lambda each: (
                {"half": tf.Variable(tf.cast(each["v"], tf.float16))}
                | {n: v for n, v in each.items() if n != "v"}
            ),
        ),
    ],
    ids=["root to scope", "escaped", "reshard", "drop", "extract", "cast"],
)
def test_tables_and_states(steps, arrange, tmp_path):
    before = everything(5, b"a", b"\0b")
    source = save(tmp_path / "in", **before)
    rewrite(source, tmp_path / "out-1", **steps)
    after = everything(2, b"z")
    arranged = arrange(after)
    checkpoint = tf.train.Checkpoint(**arranged)
    checkpoint.restore(str(tmp_path / "out-1")).assert_consumed()
    held = arranged.get("run", arranged)
    kept = {name for name in before if any(name == each.partition("/")[0] for each in held)}
    if "table" in kept:
        keys, values = after["table"].export()
        assert dict(zip(keys.numpy().tolist(), values.numpy().tolist(), strict=True)) == {b"a": 0, b"\0b": 1}
    if "progress" in kept:
        assert after["progress"].number == 5
    if "iterator" in kept:
        assert next(after["iterator"]).numpy() == 5
    if "generator" in kept:
        assert state({"g": after["generator"].state}) == state({"g": before["generator"].state})
    if "half" in held:
        assert state({"v": held["half"]}) == state({"v": tf.Variable(tf.cast(before["v"], tf.float16))})


# Optimizers


def train(optimizer, variables):
    gradients = [
        tf.constant(np.random.default_rng(n).normal(size=each.shape), tf.float32)
        for n, each in enumerate(variables)
    ]
    optimizer.apply_gradients(list(zip(gradients, variables, strict=True)))


def v1_adam(seed):
    """A module, and the optimizer of TensorFlow 1 with its slots."""
    module = tf.Module()
    module.w, module.b = variable(seed, 4, 2), variable(seed + 1, 2)
    optimizer = tf1.train.AdamOptimizer(0.1)
    train(optimizer, [module.w, module.b])
    found = {"w": module.w, "b": module.b}
    for name in ("w", "b"):
        for slot in optimizer.get_slot_names():
            found[f"{name}/{slot}"] = optimizer.get_slot(getattr(module, name), slot)
    beta1, beta2 = optimizer._get_beta_accumulators()
    return module, optimizer, found | {"beta1": beta1, "beta2": beta2}


def keras_model(seed):
    tf.keras.utils.set_random_seed(seed)
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(3, name="d1"),
            layers.BatchNormalization(),
            layers.Dense(2, name="d2"),
        ]
    )


def keras_with(make):
    def build(seed):
        model = keras_model(seed)
        optimizer = make()
        train(optimizer, model.trainable_variables)
        own = optimizer.variables
        named = {"weight": model.weights, "state": own() if callable(own) else own}
        found = {f"{kind} {number}": each for kind, some in named.items() for number, each in enumerate(some)}
        return model, optimizer, found

    return build


def schedule():
    return tf.keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)


KERAS = {
    "Adam": lambda: tf.keras.optimizers.Adam(0.1),
    "Adam, schedule": lambda: tf.keras.optimizers.Adam(schedule()),
    "Adam, averaged": lambda: tf.keras.optimizers.Adam(0.1, use_ema=True),
    "SGD": lambda: tf.keras.optimizers.SGD(0.1),
    "SGD, momentum": lambda: tf.keras.optimizers.SGD(0.1, momentum=0.9),
    "RMSprop": lambda: tf.keras.optimizers.RMSprop(0.1, centered=True),
    "Ftrl": lambda: tf.keras.optimizers.Ftrl(0.1),
    "Adagrad": lambda: tf.keras.optimizers.Adagrad(0.1),
    "Nadam": lambda: tf.keras.optimizers.Nadam(0.1),
}
if VERSION >= (2, 16):
    KERAS["Lamb"] = lambda: tf.keras.optimizers.Lamb(0.1)
    KERAS["LossScale"] = lambda: tf.keras.optimizers.LossScaleOptimizer(tf.keras.optimizers.Adam(0.1))
else:
    KERAS["legacy Adam"] = lambda: tf.keras.optimizers.legacy.Adam(0.1)
    KERAS["legacy Adam, schedule"] = lambda: tf.keras.optimizers.legacy.Adam(schedule())
    KERAS["legacy SGD"] = lambda: tf.keras.optimizers.legacy.SGD(schedule())
    KERAS["LossScale"] = lambda: tf.keras.mixed_precision.LossScaleOptimizer(tf.keras.optimizers.Adam(0.1))
TRAINED = {"v1 Adam": v1_adam} | {name: keras_with(make) for name, make in KERAS.items()}
by_optimizer = pytest.mark.parametrize("build", TRAINED.values(), ids=TRAINED)
FEW = [name for name in ("v1 Adam", "Adam", "legacy Adam") if name in TRAINED]
by_few_optimizers = pytest.mark.parametrize("build", [TRAINED[name] for name in FEW], ids=FEW)


@by_optimizer
def test_slim(build, tmp_path):
    """The model alone takes all that is left, wherever its weights were stored."""
    model, optimizer, before = build(0)
    source = save(tmp_path / "in", model=model, optimizer=optimizer)
    rewrite(source, tmp_path / "out-1", slim=True)
    other, _, after = build(1)
    assert_restores(tmp_path / "out-1", model=other)
    kept = [name for name in before if name.startswith("weight") or name in ("w", "b")]
    assert [state(after)[name] for name in kept] == [state(before)[name] for name in kept]


def reachable(prefix, name):
    """The keys of all variables that a child of the root leads to, not by way of the child `optimizer`."""
    nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        their_reading(prefix)[GRAPH_KEY][2][0]
    ).nodes
    children = {each.local_name: each.node_id for each in nodes[0].children}
    queue = [children[name]]
    for number in queue:
        queue += {each.node_id for each in nodes[number].children} - {*queue, children.get("optimizer")}
    return {each.checkpoint_key for number in queue for each in nodes[number].attributes}


GOLDEN = [
    (case, name)
    for case in golden.load()
    for prefix, name in (("keras-adam/", "model"), ("keras-legacy", "net"), ("v1-optimizer", "module"))
    if case.prefix.startswith(prefix) and case.version <= VERSION
]


@pytest.mark.parametrize(("case", "name"), GOLDEN, ids=str)
def test_slim_golden(case, name, tmp_path):
    """What the model leads to is left, the optimizer's view of it or not, and what is no part of either."""
    source = their_reading(case.path)
    rewrite(case.path, tmp_path / "out-1", slim=True)
    kept = [source[key] for key in source if key in reachable(case.path, name) or key.startswith("step/")]
    assert sorted(mirrored(tmp_path / "out-1").values()) == sorted(kept)


@by_few_optimizers
@pytest.mark.parametrize(
    "steps", [{}, {"cast": {"model/*": "bfloat16"}, "rename": {"model/": "/"}}], ids=["", "more"]
)
def test_slim_in_the_model(build, steps, tmp_path):
    """An optimizer below the model it trains, and a step counter of the person's own."""
    model, optimizer, _ = build(0)
    model.optimizer_of_its_own = optimizer
    source = save(tmp_path / "in", model=model, step=tf.Variable(3))
    rewrite(source, tmp_path / "out-1", slim=True, **steps)
    left = tensors(tmp_path / "out-1")
    shapes = [
        tuple(each.shape) for each in (model.weights if hasattr(model, "weights") else [model.w, model.b])
    ]
    assert sorted(each[1] for each in left.values()) == sorted([(), *shapes])
    assert {each[0] for each in left.values()} == {"int32", "bfloat16" if steps else "float32"}


@by_few_optimizers
@pytest.mark.parametrize(
    ("rules", "names"),
    [
        ({"model/": "net/"}, ("net", "optimizer")),
        ({"model": "net", "optimizer": "opt"}, ("net", "opt")),
        ({"model": "optimizer", "optimizer": "model"}, ("optimizer", "model")),
        ({"optimizer": "a/b"}, ("model", "a/b")),
        ({"model": "m..x.Sy"}, ("m.x/y", "optimizer")),
        ({"/": "run/"}, ("run/model", "run/optimizer")),
    ],
    ids=str,
)
def test_rename_with_optimizer(build, rules, names, tmp_path):
    """Slots go with their variable and their optimizer."""
    model, optimizer, before = build(0)
    source = save(tmp_path / "in", model=model, optimizer=optimizer)
    rewrite(source, tmp_path / "out-1", rename=rules)
    other, trainer, after = build(1)
    objects = {}
    for name, each in zip(names, (other, trainer), strict=True):
        if name == "m.x/y":
            objects[name] = each
        else:
            *above, last = name.split("/")
            objects.setdefault(above[0], {}).update({last: each}) if above else objects.update({last: each})
    assert_restores(tmp_path / "out-1", **objects)
    assert state(after) == state(before)


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ({"drop": ["optimizer/*", "*/.OPTIMIZER_SLOT/*"]}, ["w", "b"]),
        ({"drop": "model/b"}, ["w", "w/m", "w/v", "beta1", "beta2"]),
        ({"extract": ["model/w", "model/b"]}, ["w", "b"]),
        ({"extract": ["model/w*", "optimizer/*"]}, ["w", "w/m", "w/v", "beta1", "beta2"]),
    ],
    ids=str,
)
def test_drop_with_slots(steps, kept, tmp_path):
    """Slots never stay without their variable, nor an optimizer with nothing."""
    model, optimizer, before = v1_adam(0)
    source = save(tmp_path / "in", model=model, optimizer=optimizer)
    rewrite(source, tmp_path / "out-1", **steps)
    other = tf.Module()
    for name in ("w", "b"):
        if name in kept:
            setattr(other, name, tf.Variable(tf.zeros_like(before[name])))
    if "beta1" in kept:
        trainer = tf1.train.AdamOptimizer(0.1)
        train(trainer, [other.w])
        assert_restores(tmp_path / "out-1", model=other, optimizer=trainer)
        after = {f"w/{slot}": trainer.get_slot(other.w, slot) for slot in ("m", "v")}
        after |= dict(zip(("beta1", "beta2"), trainer._get_beta_accumulators(), strict=True))
    else:
        assert_restores(tmp_path / "out-1", model=other)
        after = {}
    after |= {name: getattr(other, name) for name in ("w", "b") if name in kept}
    assert state(after) == {name: value for name, value in state(before).items() if name in kept}


# merge and average


@pytest.mark.parametrize("how", ["command", "step"])
@by_few_optimizers
def test_merge_under_names(how, build, tmp_path):
    """Each as a child of the root, with everything that belongs to it."""
    trained = [build(seed) for seed in (0, 1)]
    sources = [save(tmp_path / f"in{n}", model=m, optimizer=o) for n, (m, o, _) in enumerate(trained)]
    if how == "command":
        command("merge", f"a={sources[0]}", f"b={sources[1]}", tmp_path / "out-1")
    else:
        rewrite(sources[0], tmp_path / "out-1", rename={"/": "a/"}, merge={"with": {"b": sources[1]}})
    others = [build(seed) for seed in (2, 3)]
    objects = {name: {"model": m, "optimizer": o} for name, (m, o, _) in zip("ab", others, strict=True)}
    assert_restores(tmp_path / "out-1", **objects)
    for (_, _, before), (_, _, after) in zip(trained, others, strict=True):
        assert state(after) == state(before)


def test_merge_modules(tmp_path):
    """Written with a module as the root, restored as attributes."""
    modules = [v1_adam(seed)[0] for seed in (0, 1)]
    sources = [tf.train.Checkpoint(each).write(str(tmp_path / f"in{n}")) for n, each in enumerate(modules)]
    command("merge", f"x={sources[0]}", f"y.z={sources[1]}", tmp_path / "out")
    others = [v1_adam(seed)[0] for seed in (2, 3)]
    tf.train.Checkpoint(**dict(zip(("x", "y.z"), others, strict=True))).read(
        str(tmp_path / "out")
    ).assert_consumed()
    for before, after in zip(modules, others, strict=True):
        assert state({"w": after.w, "b": after.b}) == state({"w": before.w, "b": before.b})


@pytest.mark.parametrize("prefer", ["first", "last"])
@by_few_optimizers
def test_merge_prefer(prefer, build, tmp_path):
    """Of what both have at the root, one is taken with all its slots; the rest is the union."""
    trained = [build(seed) for seed in (0, 1)]
    extra = [variable(seed, 2) for seed in (10, 11)]
    sources = [
        save(tmp_path / f"in{n}", model=m, optimizer=o, **{f"only{n}": extra[n]})
        for n, (m, o, _) in enumerate(trained)
    ]
    command("merge", *sources, tmp_path / "out-1", "--prefer", prefer)
    model, optimizer, after = build(2)
    only = {f"only{n}": variable(20 + n, 2) for n in (0, 1)}
    assert_restores(tmp_path / "out-1", model=model, optimizer=optimizer, **only)
    assert state(after) == state(trained[0 if prefer == "first" else 1][2])
    assert state(only) == state({f"only{n}": extra[n] for n in (0, 1)})


def test_merge_disjoint_roots(tmp_path):
    module, optimizer, before = v1_adam(0)
    variables = dictionaries(50)
    sources = [
        save(tmp_path / "in0", module=module, optimizer=optimizer),
        save(tmp_path / "in1", **nested(variables)),
    ]
    for order in permutations(sources):
        out = tmp_path / f"out{sources.index(order[0])}-1"
        command("merge", *order, out)
        other, trainer, after = v1_adam(1)
        others = dictionaries(90)
        assert_restores(out, module=other, optimizer=trainer, **nested(others))
        assert (state(after), state(others)) == (state(before), state(variables))


@by_few_optimizers
def test_average(build, tmp_path):
    """Weights and slots are averaged; the step is the last one's."""
    trained = [build(seed) for seed in range(3)]
    sources = [save(tmp_path / f"in{n}", model=m, optimizer=o) for n, (m, o, _) in enumerate(trained)]
    command("average", *sources, tmp_path / "out-1")
    model, optimizer, after = build(9)
    assert_restores(tmp_path / "out-1", model=model, optimizer=optimizer)
    found = [state(each) for _, _, each in trained]
    for name, value in state(after).items():
        arrays = [as_array(each[name]) for each in found]
        if arrays[0].dtype.kind == "f":
            mean = np.mean(np.stack(arrays).astype(np.float64), axis=0).astype(arrays[0].dtype)
            np.testing.assert_array_equal(as_array(value), mean)
        else:
            assert value == found[-1][name]


# resize


@pytest.mark.parametrize(("new", "oov"), [("dxa", 1), ("dcba", 0), ("abcdef", 2)])
def test_resize(new, oov, tmp_path):
    """Slots follow their variable's rows."""
    model, optimizer, before = v1_adam(0)
    source = save(tmp_path / "in", model=model, optimizer=optimizer)
    for file, tokens in (("old", "abcd"), ("new", new)):
        (tmp_path / file).write_text("\n".join(tokens) + "\n")
    files = {"old_vocab": str(tmp_path / "old"), "new_vocab": str(tmp_path / "new")}
    rewrite(source, tmp_path / "out-1", resize={"model/w": files | {"oov": oov}})
    other = tf.Module()
    other.w, other.b = tf.Variable(tf.zeros([len(new) + oov, 2])), tf.Variable(tf.zeros([2]))
    trainer = tf1.train.AdamOptimizer(0.1)
    train(trainer, [other.w, other.b])
    assert_restores(tmp_path / "out-1", model=other, optimizer=trainer)
    resized = {"w": other.w} | {f"w/{slot}": trainer.get_slot(other.w, slot) for slot in ("m", "v")}
    for name, each in resized.items():
        old = before[name].numpy()
        rows = [old["abcd".index(token)] if token in "abcd" else 0 * old[0] for token in new] + [
            0 * old[0]
        ] * oov
        np.testing.assert_array_equal(each.numpy(), rows)
    np.testing.assert_array_equal(other.b.numpy(), before["b"].numpy())


# several at once


def test_slim_cast_and_convert_to_tf1(tmp_path):
    """The other way round: a TF2 checkpoint with slots becomes a slim bfloat16 one for a v1 `Saver`."""
    model, optimizer, before = v1_adam(0)
    source = save(tmp_path / "in", vars={"scope/w": model.w, "b": model.b}, optimizer=optimizer)
    rewrite(
        source,
        tmp_path / "out",
        slim=True,
        cast={"*": "bfloat16"},
        rename={"vars/b": "vars/scope.Sb"},
        convert="tf1",
    )
    variables = {
        name: tf.Variable(tf.zeros_like(before[name[6:]], "bfloat16")) for name in ("scope/w", "scope/b")
    }
    tf1.train.Saver(variables).restore(None, str(tmp_path / "out"))
    expected = {name: tf.Variable(tf.cast(before[name[6:]], "bfloat16")) for name in variables}
    assert state(variables) == state(expected)
    assert sorted(tb.open(tmp_path / "out")) == sorted(variables)


@pytest.mark.parametrize("root", ["", "vars", "deep/vars"])
def test_converted_names(root, tmp_path):
    """Renaming before converting, and after it, comes to the same."""
    source = save(tmp_path / "in", vars={"a/w": variable(0, 2), "b": variable(1, 3)})
    rewrite(source, tmp_path / "tf1", convert="tf1")
    rewrite(tmp_path / "tf1", tmp_path / "x-1", rename={"a/w": "c.d"}, convert={"to": "tf2", "root": root})
    path = f"{root}/" if root else ""
    rewrite(
        tmp_path / "tf1",
        tmp_path / "y-1",
        convert={"to": "tf2", "root": root},
        rename={f"{path}a.Sw": f"{path}c..d"},
    )
    for prefix in (tmp_path / "x-1", tmp_path / "y-1"):
        after = {"c.d": variable(8, 2), "b": variable(9, 3)}
        assert_restores(prefix, **below(root, after))
        assert state(after) == state({"c.d": variable(0, 2), "b": variable(1, 3)})
