"""Random sequences of operations do to files what the same steps do to a dictionary of arrays."""

import fnmatch
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import assume, event, given, note
from hypothesis import strategies as st

import tensorbundle as tb
from support.bundles import snapshot
from support.rewriting import (
    assert_sound,
    by_path,
    described,
    tensors_in,
    tree,
    variable,
    write,
    write_objects,
)
from tensorbundle.proto.graph import Slot
from tensorbundle.proto.paths import attribute_key, escape_name
from tensorbundle.tools import TransferOptions, rewrite
from tensorbundle.tools.operations.steps.recipe import rewrite_with, step_of

FLOATS = ["float32", "float64", "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn"]
DTYPES = [*FLOATS, "int32", "int64", "uint8", "bool", "complex64", "string"]
TARGETS = ["float16", "bfloat16", "float32", "float64", "float8_e5m2", "float8_e4m3fn", "int32", "uint8"]
NAMES = ["w", "a/w", "a/w/Adam", "a/b.c", "a/d/e", "b/w", "b/\u00e9", "global step", "x/y/z", "x-1/_", ".h"]
SCOPES = ["new/", "p/q/", "b/", "/"]
SPECIAL = [0.0, -0.0, 1.0, -2.5, 0.1, 448.0, 70000.0, -1e30, np.inf, -np.inf, np.nan, 3.0, 255.0, 1e-7]


@dataclass
class Model:
    """What is expected: arrays by name, and into how many slices they are cut."""

    arrays: dict = field(default_factory=dict)
    cuts: dict = field(default_factory=dict)

    def renamed(self, new_names):
        """With other names, or an example given up if two would be the same."""
        targets = [new_names.get(key, key) for key in self.arrays]
        assume(len(set(targets)) == len(targets))
        assume(all(targets))
        cuts = {new_names.get(key, key): cut for key, cut in self.cuts.items()}
        return Model(dict(zip(targets, self.arrays.values(), strict=True)), cuts)

    def only(self, keys):
        return Model(
            {key: array for key, array in self.arrays.items() if key in keys},
            {key: cut for key, cut in self.cuts.items() if key in keys},
        )

    def floats(self):
        return [key for key, array in self.arrays.items() if tb.DType.of(array.dtype) in FLOATS]


def cast_values(array, target):
    """What a cast should give: as NumPy rounds; integers out of range are the nearest, NaN is 0."""
    with np.errstate(all="ignore"):
        if target.kind in "iu" and array.dtype.kind not in "iub":
            info = np.iinfo(target)
            wide = np.trunc(np.nan_to_num(array.astype(np.float64), nan=0.0))
            flat = [min(max(int(each), info.min), info.max) for each in wide.reshape(-1)]
            return np.array(flat, target).reshape(array.shape)
        return array.astype(target)


def random_array(draw, dtype=None, shape=None):
    dtype = tb.DType[draw(st.sampled_from(DTYPES)) if dtype is None else dtype]
    shape = draw(st.lists(st.integers(0, 4), max_size=3).map(tuple)) if shape is None else shape
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    size = int(np.prod(shape, dtype=int))
    if dtype == "string":
        array = np.empty(size, object)
        array[:] = [rng.bytes(int(rng.integers(0, 200))) for _ in range(size)]
    elif dtype in FLOATS or dtype == "complex64":
        with np.errstate(over="ignore"):
            array = rng.choice(SPECIAL, size).astype(dtype.numpy)
    else:
        array = rng.integers(0, 100, size).astype(dtype.numpy)
    return array.reshape(shape)


def can_be_cut(array):
    return [axis for axis, size in enumerate(array.shape) if size and 0 not in array.shape]


# Steps: each takes `draw` and the model, and gives the recipe's steps and the model after them.


def rename_whole(draw, model):
    old = draw(st.sampled_from(sorted(model.arrays)))
    new = draw(st.sampled_from([*NAMES, *sorted(model.arrays)]))
    rules = {old: new, new: old} if new in model.arrays else {old: new}
    return [("rename", rules)], model.renamed(rules)


def rename_scope(draw, model):
    scopes = {key[: found.end()] for key in model.arrays for found in re.finditer("/", key)}
    # A variable of a scope's own name is another matter.
    known = ["/", *sorted(each for each in scopes if each[:-1] not in model.arrays)]
    old, new = draw(st.sampled_from(known)), draw(st.sampled_from(SCOPES))
    before, after = old.lstrip("/"), new.lstrip("/")
    names = {key: after + key.removeprefix(before) for key in model.arrays if key.startswith(before)}
    return [("rename", {old: new})], model.renamed(names)


def rename_glob(draw, model):
    old, new = draw(st.sampled_from([("*", "g/*"), ("a/*", "z_*"), ("*w*", "*v*"), ("?/*", "*-*")]))
    pattern = "".join({"*": "(.*)", "?": "(.)"}.get(each, re.escape(each)) for each in old)
    names = {}
    for key in model.arrays:
        found = re.fullmatch(pattern, key)
        if found:
            groups = iter(found.groups())
            names[key] = "".join(next(groups) if each == "*" else each for each in new)
    assume(names)
    return [("rename", {old: new})], model.renamed(names)


def rename_regex(draw, model):
    pattern, replacement = draw(st.sampled_from([("/", "//"), (r"(\w)/(\w)", r"\2/\1"), ("^", "top/")]))
    names = {key: re.sub(pattern, replacement, key) for key in model.arrays if re.search(pattern, key)}
    assume(names)
    return [("rename", {"regex": {pattern: replacement}})], model.renamed(names)


def cast(draw, model):
    target = draw(st.sampled_from(TARGETS))
    one = draw(st.booleans())
    if one:
        keys = [key for key, array in model.arrays.items() if array.dtype.kind not in "Oc"]
        assume(keys)
        keys = [draw(st.sampled_from(keys))]
    else:
        keys = model.floats()
        assume(keys)
    arrays = {
        key: cast_values(array, tb.DType[target].numpy) if key in keys else array
        for key, array in model.arrays.items()
    }
    return [("cast", {keys[0] if one else "*": target, "allow_lossy": True})], Model(arrays, model.cuts)


def select(draw, model):
    """Drop or extract."""
    patterns = draw(st.sampled_from([["a/*"], ["*w*"], ["re:/"], ["?/*", "*e"], [min(model.arrays)]]))
    found = {
        key
        for key in model.arrays
        if any(
            re.search(each[3:], key) if each.startswith("re:") else fnmatch.fnmatchcase(key, each)
            for each in patterns
        )
    }
    assume(all(set(fnmatch.filter(model.arrays, each)) or each.startswith("re:") for each in patterns))
    assume(found)
    if draw(st.booleans()):
        return [("extract", patterns)], model.only(found)
    assume(len(found) < len(model.arrays))
    return [("drop", patterns)], model.only(model.arrays.keys() - found)


def replace_values(draw, model):
    key = draw(st.sampled_from(sorted(model.arrays)))
    old = model.arrays[key]
    new = random_array(draw, tb.DType.of(old.dtype), old.shape)
    return [("set", {key: new})], Model({**model.arrays, key: new}, model.cuts)


def partition(draw, model):
    keys = [key for key, array in model.arrays.items() if can_be_cut(array)]
    assume(keys)
    key = draw(st.sampled_from(keys))
    shape = model.arrays[key].shape
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    count = draw(st.integers(1, shape[axis]))
    return [("partition", {key: {"slices": count, "axis": axis}})], Model(
        model.arrays, {**model.cuts, key: count}
    )


def unpartition(draw, model):
    cut = [key for key, count in model.cuts.items() if count > 1]
    assume(cut)
    if draw(st.booleans()):
        return [("unpartition", True)], Model(model.arrays)
    key = draw(st.sampled_from(cut))
    return [("unpartition", key)], Model(model.arrays, {**model.cuts, key: 1})


def lay_out(draw, model):
    step = st.sampled_from(
        [("reshard", 1), ("reshard", 3), ("reshard", {"max_shard_size": 50}), ("compact", True)]
    )
    return [draw(step)], model


def there_and_back(draw, model):
    root = draw(st.sampled_from(["vars", "net/..vars", ""]))
    assume(root or not any(key == "save_counter" for key in model.arrays))
    names = "keys" if root else "full-names"
    return [
        ("convert", {"to": "tf2", "root": root}),
        ("convert", {"to": "tf1", "root": root, "names": names}),
    ], model


STEPS = [
    *(rename_whole, rename_scope, rename_glob, rename_regex, cast, cast, select, replace_values),
    *(partition, partition, unpartition, lay_out, there_and_back),
]


@st.composite
def name_based(draw):
    """Tensors, how they are cut, where new shards begin; steps; and what should come out."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=7, unique=True))
    arrays = {name: random_array(draw) for name in names}
    cuts = {}
    for name, array in arrays.items():
        axes = can_be_cut(array)
        if axes and draw(st.booleans()):
            axis = draw(st.sampled_from(axes))
            cuts[name] = (draw(st.integers(1, array.shape[axis])), axis)
    shards = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    model = Model(arrays, {name: count for name, (count, _) in cuts.items()})
    steps = []
    for _ in range(draw(st.integers(1, 5))):
        made, model = draw(st.sampled_from(STEPS))(draw, model)
        steps += made
    return arrays, cuts, shards, steps, model


def recipe_steps(prefix, destination, steps, **options):
    """`rewrite` takes a step once as a keyword, a recipe as often as wanted; this is the latter, with arrays."""
    listed = [step_of(name, value) for name, value in steps]
    return rewrite_with(listed, prefix, destination, TransferOptions(**options))


@given(name_based())
def test_name_based(case):
    arrays, cuts, shards, steps, model = case
    for name, _ in steps:
        event(name)
    expected = {key: described(array) for key, array in model.arrays.items()}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(4) as executor:
        here = Path(folder)
        source = write(here / "source", arrays, cuts=cuts, new_shard_at=shards)
        before = snapshot(here)
        for name, options in {
            "share": {},
            "copy": {"data": "copy"},
            "jobs": {"data": "copy", "executor": executor},
        }.items():
            (here / name).mkdir()
            prefix = here / name / "out"
            summary = recipe_steps(source, prefix, steps, **options)
            assert tensors_in(prefix) == expected
            assert_sound(prefix)
            assert summary.tensors == len(expected)
            with tb.open(prefix) as ckpt:
                slices = {key: len(entry.slices) for key, entry in ckpt.entries() if entry.slices}
            assert slices == {key: count for key, count in model.cuts.items() if count > 1}
        assert snapshot(here / "copy") == snapshot(here / "jobs")
        for name in ("share", "copy", "jobs"):
            assert all(path.is_file() for path in (here / name).iterdir())
        assert {name: (here / name).read_bytes() for name in before} == before


OPTIMIZERS_OWN = ("/iter", "/decay")
CHILDREN = ["a", "b", "layer-1", "x/y", "d.e", "_", "kernel"]


@st.composite
def object_based(draw):
    """A root with a tree of dictionaries and variables, more edges between them, and perhaps an optimizer."""
    root = tree({"save_counter": None})
    holders, variables = [root], []
    for _ in range(draw(st.integers(2, 9))):
        parent = draw(st.sampled_from(holders))
        name = draw(st.sampled_from(CHILDREN))
        if name in parent.children:
            continue
        if draw(st.booleans()):
            node = tree({})
            holders.append(node)
        else:
            node = variable()  # without a full name, which patterns match, too
            variables.append(node)
        parent.children[name] = node
    assume(variables)
    for _ in range(draw(st.integers(0, 2))):
        parent, name = draw(st.sampled_from(holders)), draw(st.sampled_from(["again", "back"]))
        parent.children.setdefault(name, draw(st.sampled_from([*holders, *variables])))
    if draw(st.booleans()):
        optimizer = tree({"iter": None, "decay": None})
        slotted = draw(st.lists(st.sampled_from(variables), max_size=3, unique=True))
        optimizer.slots = [Slot(name, each, variable()) for each in slotted for name in ("m", "x/y")]
        root.children["optimizer"] = optimizer
    return root


def slot_values(prefix):
    """The value of each slot variable, with that of its variable."""
    with tb.open(prefix) as ckpt:
        graph = ckpt.object_graph

        def value(node):
            return ckpt[node.attributes[0].checkpoint_key].item() if node.attributes else None

        return {value(slot.slot): value(slot.variable) for node in graph.nodes for slot in node.slots}


@given(object_based(), st.data())
def test_object_based(root, data):
    with tempfile.TemporaryDirectory() as folder:
        prefix = write_objects(Path(folder, "0"), root)
        for number in range(1, data.draw(st.integers(1, 4)) + 1):
            before, slots = by_path(prefix), slot_values(prefix)
            step, kept = data.draw(object_step(before, slots))
            destination = Path(folder, str(number))
            try:
                rewrite(prefix, destination, **step)
            except tb.ConflictError as error:
                event(f"conflict: {error.reason[:30]}")
                continue
            event(next(iter(step)))
            note(f"{before} -> {step}")
            after = by_path(destination)
            if kept is None:  # a rename: nothing is lost, and what did not move is where it was
                assert sorted(after.values()) == sorted(before.values())
                assert slot_values(destination) == slots
                [(old, new)] = step["rename"].items()
                if old in before:
                    with tb.open(destination) as ckpt:  # perhaps not by its shortest path
                        assert ckpt[ckpt.object_graph[new].attributes[0].checkpoint_key] == before[old]
            else:
                assert set(after.values()) == kept
            prefix = str(destination)


@st.composite
def object_step(draw, before, slots):
    """A step, and the values that should be left, or None for a rename."""
    alone = (*OPTIMIZERS_OWN, "save_counter")
    plain = [path for path in before if ".OPTIMIZER_SLOT" not in path and not path.endswith(alone)]
    assume(plain)
    counter = {before["save_counter"]}
    path = draw(st.sampled_from(sorted(plain)))
    kind = draw(st.sampled_from(["rename", "rename", "rename a scope", "drop", "extract", "slim"]))
    if kind == "rename":
        parent = path.rpartition("/")[0]
        new = draw(
            st.sampled_from(["fresh", "new/deep/er", f"{parent}/other".lstrip("/"), escape_name("n.o/p")])
        )
        assume(new not in before)
        return {"rename": {path: new}}, None
    if kind == "rename a scope":
        scopes = {each.rpartition("/")[0] for each in before if ".OPTIMIZER_SLOT" not in each}
        scope = draw(st.sampled_from(sorted(scopes)))
        assume(scope)
        new = draw(st.sampled_from(["fresh", "new/deep", f"{scope}2"]))
        return {"rename": {f"{scope}/": f"{new}/"}}, None
    if kind == "slim":
        own = {value for where, value in before.items() if where.endswith(OPTIMIZERS_OWN)}
        assume(slots or len(own) == len(OPTIMIZERS_OWN))
        state = own | slots.keys()
        return {"slim": True}, set(before.values()) - state
    pattern = draw(st.sampled_from([path, f"{path}*", attribute_key(path)]))
    literal = re.escape(pattern.rstrip("*"))
    fitting = {
        value
        for where, value in before.items()
        if any(
            re.match(literal + (".*" if pattern.endswith("*") else "$"), each)
            for each in (where, attribute_key(where))
        )
    }
    if kind == "drop":
        gone = fitting | {slot for slot, variable in slots.items() if variable in fitting}
        return {"drop": pattern}, set(before.values()) - gone
    kept = fitting | counter
    return {"extract": pattern}, {each for each in kept if slots.get(each, each) in kept}
