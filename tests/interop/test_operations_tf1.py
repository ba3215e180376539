"""Rewritten name-based checkpoints: TensorFlow restores what the operations made, with the values they should have."""

import re

import numpy as np
import pytest

import tensorbundle as tb
from support import golden
from support.contents import any_bits, as_array, assert_same_files, content, our_reading
from support.tensorflow import (
    NUMERIC,
    PLAIN,
    QUANTISED,
    described,
    in_session,
    joined_by_tensorflow,
    restore_by_name,
    save_raw,
    tensor,
    tf,
    tf1,
    their_reading,
)
from tensorbundle.dtypes import DType
from tensorbundle.tools import rewrite
from tensorbundle.tools.cli import main

V215, V221 = golden.GOLDEN / "tf-2.15", golden.GOLDEN / "tf-2.21"
WIDE_DEEP = V215 / "est-wide-deep/model.ckpt-3"
FLOATS = [dtype for dtype in PLAIN if dtype.startswith(("float", "bfloat"))]
NOT_FOR_VARIABLES = {"qint16", "quint16", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz"}


def command(*arguments):
    assert main([str(each) for each in arguments]) == 0


def assert_holds(prefix, expected):
    """TensorFlow's reader, its restore op and a v1 `Saver` find exactly this."""
    assert their_reading(prefix) == expected
    held = {name: each for name, each in expected.items() if each[0] not in NOT_FOR_VARIABLES}
    if held:
        restore_by_name(prefix, held)


def test_the_parts_of_a_save_that_was_not_merged(tmp_path):
    """Byte for byte what MergeV2Checkpoints makes of them, whatever makes it here."""
    emb = numbers(10, 4)
    rows = [(0, 4), (4, 3), (7, 3)]
    others = [("step", np.int64(5)), ("kernel", numbers(4, 2)), ("bias", numbers(2))]
    parts, copies = [], []
    for number, ((start, length), (name, values)) in enumerate(zip(rows, others, strict=True)):
        spec, piece = f"10 4 {start},{length}:0,4", emb[start : start + length]
        for folder, made in ((tmp_path / "m_temp_3f2a", parts), (tmp_path / "copy", copies)):
            folder.mkdir(exist_ok=True)
            made.append(f"{folder}/part-{number:05}-of-00003")
            save_raw(
                made[-1], ("emb", spec, piece), ("emb/Adam", spec, 2 * piece), (name, "", tensor(values))
            )
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=copies, destination_prefix=str(tmp_path / "theirs"))
    command("merge", *reversed(parts), tmp_path / "ours")
    command("merge", tmp_path / "m_temp_3f2a", tmp_path / "copied", "--data", "copy")
    for made in ("ours", "copied"):
        assert_same_files(tmp_path / made, tmp_path / "theirs")


def numbers(*shape, start=0, dtype=np.float32):
    return np.arange(start, start + np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def save(prefix, values, parts=()):
    """Save arrays by name; `parts` says in how many slices along which axis some of them are stored."""
    parts = dict(parts)
    saved = []
    for name, array in values.items():
        count, axis = parts.get(name, (1, 0))
        start = 0
        for piece in np.array_split(array, count, axis) if count > 1 else [array]:
            spec = ""
            if count > 1:
                extents = [f"0,{size}" for size in array.shape]
                extents[axis] = f"{start},{piece.shape[axis]}"
                spec = f"{' '.join(map(str, array.shape))} {':'.join(extents)}"
                start += piece.shape[axis]
            saved.append((name, spec, tensor(piece)))
    save_raw(prefix, *saved)
    return (
        their_reading(prefix)
        if all(joined_by_tensorflow(each.dtype.name) for each in values.values())
        else None
    )


def cut_in(name, shape, parts, axis=0, dtype=tf.float32):
    return tf1.get_variable(
        name, shape, tf.as_dtype(dtype), partitioner=tf1.fixed_size_partitioner(parts, axis)
    )


def restored_in_parts(prefix, name, shape, parts, axis=0, dtype=tf.float32):
    """A variable that a v1 `Saver` restores in a graph where it is partitioned."""

    def restore(session, variable):
        tf1.train.Saver().restore(session, str(prefix))
        return session.run(variable.as_tensor())

    return in_session(lambda: cut_in(name, shape, parts, axis, dtype), restore)


def initialised_from(prefix, shapes):
    """Variables that `init_from_checkpoint` initialises, all by their own names."""

    def build():
        variables = {name: tf1.get_variable(name, shape, dtype) for name, (dtype, shape) in shapes.items()}
        tf1.train.init_from_checkpoint(str(prefix), {"/": "/"})
        return variables

    return in_session(build, lambda session, variables: session.run(variables))


# rename

SHAPE = (7, 3)
SCOPES = {
    "dec/b": numbers(3, start=100),
    "dec/w": numbers(2, 2, start=200, dtype=np.float64),
    "enc/b": numbers(3, start=300),
    "enc/emb": numbers(*SHAPE, start=400),
    "enc/w": numbers(2, 2, start=500, dtype=np.float64),
    "encoder": numbers(4, start=600),
    "global_step": np.array(7, np.int64),
}
RULES = {
    "whole": ({"dec/w": "kernel"}, {"dec/w": "kernel"}),
    "whole, partitioned": ({"enc/emb": "z/table"}, {"enc/emb": "z/table"}),
    "exchange": ({"enc/w": "dec/w", "dec/w": "enc/w"}, {"enc/w": "dec/w", "dec/w": "enc/w"}),
    "scope": (
        {"enc/": "model/encoder/"},
        {"enc/b": "model/encoder/b", "enc/emb": "model/encoder/emb", "enc/w": "model/encoder/w"},
    ),
    "scope to root": ({"enc/": "/"}, {"enc/b": "b", "enc/emb": "emb", "enc/w": "w"}),
    "root to scope": ({"/": "all/"}, {name: f"all/{name}" for name in SCOPES}),
    "first rule decides": (
        {"enc/emb": "kept", "enc/": "e/"},
        {"enc/b": "e/b", "enc/emb": "kept", "enc/w": "e/w"},
    ),
    "glob": (
        {"*c/?": "*.*"},
        {f"{scope}c/{name}": f"{scope}.{name}" for scope in ("de", "en") for name in "bw"},
    ),
    "regex": (
        {"regex": {r"^(\w+)/(?P<last>\w+)$": r"\g<last>/\1"}},
        {
            f"{scope}/{name}": f"{name}/{scope}"
            for scope, name in (each.split("/") for each in SCOPES if "/" in each)
        },
    ),
}


@pytest.fixture(scope="module")
def scopes(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("scopes") / "model.ckpt-7"
    return prefix, save(prefix, SCOPES, {"enc/emb": (3, 0)})


@pytest.mark.parametrize(("rules", "moved"), RULES.values(), ids=RULES)
def test_rename(rules, moved, scopes, tmp_path):
    """Read, restored and initialised from under the new names, the partitioned variable in other parts too."""
    source, values = scopes
    rewrite(source, tmp_path / "out", rename=rules)
    expected = {moved.get(name, name): value for name, value in values.items()}
    assert_holds(tmp_path / "out", expected)
    table = moved.get("enc/emb", "enc/emb")
    for parts in (2, 3):
        np.testing.assert_array_equal(
            restored_in_parts(tmp_path / "out", table, SHAPE, parts), SCOPES["enc/emb"]
        )
    found = initialised_from(tmp_path / "out", {name: each[:2] for name, each in expected.items()})
    assert {name: content(value) for name, value in found.items()} == {
        name: each[2] for name, each in expected.items()
    }


def test_init_from_checkpoint_needs_no_map(scopes, tmp_path):
    """What an assignment map does when reading, `rename` does once: both variables are initialised alike."""
    source, _ = scopes
    assignments = {"enc/emb": "tower/table", "dec/": "tower/out/"}
    (tmp_path / "map").write_text(str(assignments))
    command("rename", source, tmp_path / "out", "--map", tmp_path / "map")

    def build(prefix, mapping):
        def inner():
            table = cut_in("tower/table", SHAPE, 2)
            out = tf1.get_variable("tower/out/w", (2, 2), tf.float64)
            tf1.train.init_from_checkpoint(str(prefix), mapping)
            return [table.as_tensor(), out]

        return in_session(inner, lambda session, variables: session.run(variables))

    for theirs, ours in zip(build(source, assignments), build(tmp_path / "out", {"/": "/"}), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("folder", ["partitioned/model.ckpt-100", "partitioned-sharded/model.ckpt-100"])
@pytest.mark.parametrize("version", [V215, V221])
def test_rename_partitioned(version, folder, tmp_path):
    values = their_reading(version / folder)
    rewrite(version / folder, tmp_path / "out", rename={"/": "z/"})
    assert_holds(tmp_path / "out", {f"z/{name}": value for name, value in values.items()})


# drop and extract


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ({"drop": ["enc/*", "dec/b"]}, {"dec/w", "encoder", "global_step"}),
        ({"drop": "re:^enc/(b|emb)$"}, {"dec/b", "dec/w", "enc/w", "encoder", "global_step"}),
        ({"extract": ["enc/*"]}, {"enc/b", "enc/emb", "enc/w"}),
        ({"extract": ["enc/emb", "global_step"]}, {"enc/emb", "global_step"}),
    ],
)
def test_drop_and_extract(steps, kept, scopes, tmp_path):
    source, values = scopes
    rewrite(source, tmp_path / "out", **steps)
    assert_holds(tmp_path / "out", {name: values[name] for name in sorted(kept)})
    if "enc/emb" in kept:
        np.testing.assert_array_equal(
            restored_in_parts(tmp_path / "out", "enc/emb", SHAPE, 2), SCOPES["enc/emb"]
        )


# slim

OPTIMIZERS = {
    "Adadelta": tf1.train.AdadeltaOptimizer,
    "Adagrad": lambda: tf1.train.AdagradOptimizer(0.1),
    "AdagradDA": lambda: tf1.train.AdagradDAOptimizer(0.1, tf1.train.get_global_step()),
    "Adam": tf1.train.AdamOptimizer,
    "Ftrl": lambda: tf1.train.FtrlOptimizer(0.1),
    "Momentum": lambda: tf1.train.MomentumOptimizer(0.1, 0.9),
    "ProximalAdagrad": lambda: tf1.train.ProximalAdagradOptimizer(0.1),
    "RMSProp": lambda: tf1.train.RMSPropOptimizer(0.1, momentum=0.9),
    "RMSProp, centred": lambda: tf1.train.RMSPropOptimizer(0.1, momentum=0.9, centered=True),
}
MODEL = {"dense/bias": [3], "dense/kernel": [2, 3], "emb": [6, 2]}


def model():
    """Variables as networks have them, one of them partitioned, and what a loss does to them."""
    tf1.train.get_or_create_global_step()
    for name, shape in MODEL.items():
        if name == "emb":
            cut_in(name, shape, 2)
        else:
            tf1.get_variable(name, shape)
    return tf.add_n([tf.reduce_sum(tf.square(each)) for each in tf1.trainable_variables()])


def trained(prefix, make_step):
    """Save a model after one step of training."""

    def build():
        return make_step(model())

    def run(session, step):
        session.run(step)
        tf1.train.Saver().save(session, str(prefix), write_meta_graph=False, write_state=False)

    in_session(build, run)
    return their_reading(prefix)


def assert_model_alone(prefix, values):
    """Only the model is left, and restored by a graph that has no optimizer."""
    assert_holds(prefix, {name: values[name] for name in (*MODEL, "global_step")})

    def restore(session, loss):
        tf1.train.Saver().restore(session, str(prefix))
        return session.run(loss)

    expected = sum(np.square(as_array(values[name])).sum() for name in MODEL)
    np.testing.assert_allclose(in_session(model, restore), expected, rtol=1e-5)


def minimise(make, **options):
    def step(loss):
        optimizer = make()
        gradients = optimizer.compute_gradients(loss)
        return optimizer.apply_gradients(gradients, tf1.train.get_global_step(), **options)

    return step


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_slim(make, tmp_path):
    values = trained(tmp_path / "in", minimise(make))
    assert len(values) >= 2 * len(MODEL) + 1
    rewrite(tmp_path / "in", tmp_path / "out", slim=True)
    assert_model_alone(tmp_path / "out", values)


def test_slim_two_optimizers(tmp_path):
    """`Adam_2` and `Adam_3`, `beta1_power_1`."""

    def step(loss):
        return tf.group([minimise(tf1.train.AdamOptimizer)(loss) for _ in range(2)])

    values = trained(tmp_path / "in", step)
    assert {"emb/Adam_3", "beta2_power_1"} <= values.keys()
    rewrite(tmp_path / "in", tmp_path / "out", slim=True)
    assert_model_alone(tmp_path / "out", values)


def test_slim_optimizer_in_a_scope(tmp_path):
    """`with variable_scope("train")` around the optimizer puts all of its variables below `train/`."""

    def step(loss):
        whole = [each for each in tf1.trainable_variables() if "/part_" not in each.name]
        with tf1.variable_scope("train"):
            return tf1.train.AdamOptimizer().minimize(loss, tf1.train.get_global_step(), whole)

    values = trained(tmp_path / "in", step)
    assert "train/dense/kernel/Adam" in values
    rewrite(tmp_path / "in", tmp_path / "out", slim=True)
    assert_model_alone(tmp_path / "out", values)


def test_slim_bert(tmp_path):
    """The optimizer of the BERT code, and LAMB after it: `adam_m` and `adam_v` beside each variable."""

    def step(loss):
        slots = [
            tf1.get_variable(f"{name}/{slot}", shape, initializer=tf1.ones_initializer(), trainable=False)
            for name, shape in MODEL.items()
            for slot in ("adam_m", "adam_v")
        ]
        return [loss, *slots]

    values = trained(tmp_path / "in", step)
    rewrite(tmp_path / "in", tmp_path / "out", slim=True)
    assert_model_alone(tmp_path / "out", values)


def test_slim_leaves_names_that_only_look_like_slots(tmp_path):
    """A slot lies below a variable; moving averages are what models are exported with."""
    kept = ["Adam", "a/Adam", "a/m", "a/v", "linear/linear", "w", "w/ExponentialMovingAverage", "w/kernel"]
    gone = ["w/Adam", "w/Adam_1", "w/Momentum", "w/m", "beta1_power", "scope/beta2_power_1"]
    values = save(tmp_path / "in", {name: numbers(2, start=len(name)) for name in kept + gone})
    rewrite(tmp_path / "in", tmp_path / "out", slim=True)
    assert_holds(tmp_path / "out", {name: values[name] for name in sorted(kept)})


@pytest.mark.parametrize("source", [golden.SAMPLE, WIDE_DEEP], ids=["sample", "wide-deep"])
def test_slim_estimators(source, tmp_path):
    values = their_reading(source)
    rewrite(source, tmp_path / "out", slim=True)
    state = re.compile(r"/(Adam|Ftrl)(_1)?$|^head/beta|^training/")
    assert_holds(tmp_path / "out", {name: value for name, value in values.items() if not state.search(name)})


# cast


def every_bit_pattern(dtype):
    """All values of a type of up to 16 bits; of longer ones, many."""
    if dtype == "float4_e2m1fn":
        return np.arange(16, dtype=np.uint8).astype(np.int8).view(dtype.numpy)
    return (
        any_bits(dtype, (20_000,))
        if dtype.itemsize > 2
        else np.arange(1 << 8 * dtype.itemsize).astype(f"u{dtype.itemsize}").view(dtype.numpy)
    )


def telling_values(source, target):
    """Values of `source`: all of `target`'s, those half-way between two of these and next to that, and the extremes."""
    with np.errstate(all="ignore"):
        there = every_bit_pattern(target).astype(np.float64)
        there = np.unique(there[np.isfinite(there)])
        halves = (there[1:] + there[:-1]) / 2
        beyond = there[-1] * np.array([1 + 2**-12, 1.03, 1.07, 1.5, 2, 1e30])
        special = [np.inf, -np.inf, np.nan, -np.nan, 0.0, -0.0, 1e-310, 1e-40]
        values = np.concatenate([there, halves, beyond, -beyond, special]).astype(source.numpy)
        if source.itemsize >= 4:
            values = np.concatenate([values, np.nextafter(values, 1), np.nextafter(values, -1)])
        return np.concatenate([values, every_bit_pattern(source)])


def cast_by_tensorflow(values, target):
    """`tf.cast`; from float64 to float16 it rounds twice, to float32 first: rounded to odd here, so that it is once."""
    if values.dtype == np.float64 and target == "float16":
        with np.errstate(all="ignore"):
            near = values.astype(np.float32)
            toward = np.where(near < values, np.float32(np.inf), np.float32(-np.inf))
            even = near.view(np.uint32) % 2 == 0
            values = np.where(np.isfinite(values) & (near != values) & even, np.nextafter(near, toward), near)
    return tf.cast(tf.constant(values), target.value).numpy()


def castable(source, target):
    if source is target:
        return False
    try:
        tf.cast(tf.constant([1.0]).numpy().astype(source.numpy), target.value)
    except (tf.errors.UnimplementedError, TypeError):
        return False
    return True


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param(source, target, id=f"{source}-{target}")
        for source in FLOATS
        for target in FLOATS
        if castable(source, target)
    ],
)
def test_cast(source, target, tmp_path):
    """As `tf.cast`, bit for bit. It flushes what is subnormal in float32 or float64 to zero; NaNs have any payload."""
    values = telling_values(source, target)
    save(tmp_path / "in", {"x": values})
    rewrite(tmp_path / "in", tmp_path / "out", cast={"*": target.value})
    ours = as_array(their_reading(tmp_path / "out")["x"])
    restore_by_name(tmp_path / "out", {"x": (target.value, values.shape, content(ours))})
    theirs = cast_by_tensorflow(values, target)
    with np.errstate(all="ignore"):
        wide = values.astype(np.float64)
        flushed = (wide != 0) & (theirs.astype(np.float64) == 0) & (abs(wide) < np.finfo(np.float32).tiny)
        same = ours.view(f"u{target.itemsize}") == theirs.view(f"u{target.itemsize}")
        both_nan = np.isnan(ours.astype(np.float64)) & np.isnan(theirs.astype(np.float64))
    wrong = ~(same | both_nan | flushed)
    assert not wrong.any(), list(zip(values[wrong][:5], ours[wrong][:5], theirs[wrong][:5], strict=True))


@pytest.mark.parametrize("target", ["float16", "bfloat16", "float64"])
def test_cast_partitioned(target, scopes, tmp_path):
    """Slices stay slices; a partitioned variable of the new type restores them."""
    source, values = scopes
    rewrite(source, tmp_path / "out", cast={"enc/*": target})
    expected = tf.cast(SCOPES["enc/emb"], target)
    found = restored_in_parts(tmp_path / "out", "enc/emb", SHAPE, 3, dtype=target)
    np.testing.assert_array_equal(found, expected.numpy())
    reader = tf.train.load_checkpoint(str(tmp_path / "out"))
    types = {name: dtype.name for name, dtype in reader.get_variable_to_dtype_map().items()}
    assert types == {name: target if name.startswith("enc/") else each[0] for name, each in values.items()}


@pytest.mark.parametrize(
    ("name", "target"), [("global_step", "int32"), ("global_step", "float32"), ("w", "int8")]
)
def test_cast_by_whole_name(name, target, tmp_path):
    """Integers too."""
    values = {"global_step": np.array(300, np.int64), "w": np.array([-1.5, 0, 2.5, 127], np.float32)}
    save(tmp_path / "in", values)
    rewrite(tmp_path / "in", tmp_path / "out", cast={name: target, "allow_lossy": target != "float32"})
    expected = {
        each: tf.cast(array, target) if each == name else tf.constant(array) for each, array in values.items()
    }
    assert_holds(tmp_path / "out", {each: described(value) for each, value in expected.items()})


def test_cast_leaves_what_is_no_floating_point_number(tmp_path):
    values = {f"x/{dtype}": any_bits(dtype, (3,)) for dtype in PLAIN} | {
        "x/words": np.array([b"a", b""], object)
    }
    save(tmp_path / "in", values)
    before = our_reading(tmp_path / "in")
    rewrite(tmp_path / "in", tmp_path / "out", cast={"x/*": "float32"})
    after = their_reading(tmp_path / "out")
    changed = {name for name in values if after[name] != before[name]}
    assert changed == {f"x/{dtype}" for dtype in FLOATS if dtype != "float32"}
    assert {after[name][0] for name in changed} == {"float32"}


# set


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("dec/b", "[1.5, -2, 3e4]", [1.5, -2, 3e4]),
        ("dec/w", "0.1", np.full((2, 2), 0.1)),
        ("global_step", 12, 12),
        ("enc/emb", "FILE", numbers(*SHAPE, start=-9)),
        ("enc/w", np.eye(2), np.eye(2)),
    ],
)
def test_set(name, given, expected, scopes, tmp_path):
    source, values = scopes
    if isinstance(given, str) and given == "FILE":
        given = str(tmp_path / "values.npy")
        np.save(given, expected)
    rewrite(source, tmp_path / "out", set={name: given})
    new = np.asarray(expected).astype(SCOPES[name].dtype)
    assert_holds(tmp_path / "out", values | {name: (*values[name][:2], content(new))})
    np.testing.assert_array_equal(
        restored_in_parts(tmp_path / "out", "enc/emb", SHAPE, 3),
        new if name == "enc/emb" else SCOPES["enc/emb"],
    )


def test_set_strings(tmp_path):
    save(tmp_path / "in", {"words": np.array([b"a", b"bc"], object)})
    rewrite(tmp_path / "in", tmp_path / "out", set={"words": '["x\\u00e9", ""]'})
    assert_holds(tmp_path / "out", {"words": ("string", (2,), ["x\u00e9".encode(), b""])})


# reshard and compact


def mixed():
    """Tensors of many types and sizes, with strings, scalars and empty ones."""
    values = {f"n/{dtype}": any_bits(dtype, (5, 2), seed=1) for dtype in PLAIN}
    values |= {
        "large": numbers(40, 10),
        "empty": np.zeros((0, 3), np.float32),
        "step": np.array(3, np.int64),
        "words": np.array([b"long" * 50, b"", b"\0x"], object),
    }
    return values


@pytest.mark.parametrize(
    "how",
    [
        1,
        2,
        3,
        7,
        50,
        {"max_shard_size": "500"},
        {"max_shard_size": "1KB"},
        {"max_shard_size": 600, "cut": True},
    ],
)
@pytest.mark.parametrize("jobs", [1, 4])
def test_reshard(how, jobs, tmp_path):
    values = mixed()
    save(tmp_path / "in", values)
    expected = their_reading(tmp_path / "in")
    options = ["--shards", how] if isinstance(how, int) else ["--max-shard-size", how["max_shard_size"]]
    if not isinstance(how, int) and how.get("cut"):
        options.append("--cut")
    command("reshard", tmp_path / "in", tmp_path / "out", *options, "--jobs", jobs)
    assert_holds(tmp_path / "out", expected)
    sizes = [path.stat().st_size for path in tmp_path.glob("out.data-*")]
    if isinstance(how, int):
        assert len(sizes) == how
    elif how.get("cut"):
        assert max(sizes) <= 600
        found = restored_in_parts(tmp_path / "out", "large", (40, 10), 3)
        np.testing.assert_array_equal(found, values["large"])


def test_reshard_partitioned(tmp_path):
    """And back into one data file, which TensorFlow would have written."""
    source = V221 / "partitioned-sharded/model.ckpt-100"
    values = their_reading(source)
    rewrite(source, tmp_path / "three", reshard=3)
    rewrite(tmp_path / "three", tmp_path / "one", reshard=1)
    for prefix in (tmp_path / "three", tmp_path / "one"):
        assert_holds(prefix, values)


def test_compact(scopes, tmp_path):
    """What slimming or renaming by sharing left behind is gone, and the rest as it was."""
    _, values = scopes
    rewrite(scopes[0], tmp_path / "shared", drop=["dec/*"])
    rewrite(tmp_path / "shared", tmp_path / "out", compact=True)
    kept = {name: value for name, value in values.items() if not name.startswith("dec/")}
    assert_holds(tmp_path / "out", kept)
    [data] = tmp_path.glob("out.data-*")
    assert data.stat().st_size == sum(len(each[2]) for each in kept.values())


# partition and unpartition


@pytest.mark.parametrize(("parts", "axis"), [(2, 0), (3, 0), (7, 0), (2, 1), (3, 1)])
def test_partition(parts, axis, tmp_path):
    """Every type that TensorFlow can put together, cut as its own partitioner cuts."""
    dtypes = [dtype for dtype in PLAIN if joined_by_tensorflow(dtype)]
    values = {str(dtype): any_bits(dtype, SHAPE) for dtype in dtypes}
    expected = save(tmp_path / "in", values)
    rewrite(
        tmp_path / "in",
        tmp_path / "out",
        partition={name: {"slices": parts, "axis": axis} for name in values},
    )
    assert_holds(tmp_path / "out", expected)
    for other in (parts, 2):
        found = restored_in_parts(tmp_path / "out", "float32", SHAPE, other, axis)
        assert content(found) == expected["float32"][2]

    def save_theirs(session, variable):
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().save(session, str(tmp_path / "theirs"), write_meta_graph=False, write_state=False)

    in_session(lambda: cut_in("float32", SHAPE, parts, axis), save_theirs)
    with tb.open(tmp_path / "out") as ours, tb.open(tmp_path / "theirs") as theirs:
        assert ours.entry("float32").slices == theirs.entry("float32").slices


@pytest.mark.parametrize("dtype", [*NUMERIC, "string"], ids=str)
def test_unpartition(dtype, tmp_path):
    """What TensorFlow can't put together it reads when it is whole."""
    if dtype == "string":
        array = np.array([b"%d" % number * number for number in range(21)], object).reshape(SHAPE)
        pieces = [tf.constant(array[:3]), tf.constant(array[3:])]
    else:
        array = any_bits(dtype, SHAPE)
        pieces = [tensor(array[:3], dtype), tensor(array[3:], dtype)]
    save_raw(tmp_path / "in", ("x", "7 3 0,3:-", pieces[0]), ("x", "7 3 3,4:-", pieces[1]))
    expected = {"x": (str(dtype), SHAPE, content(array))}
    if not joined_by_tensorflow(dtype):
        with pytest.raises(tf.errors.OpError, match="not supported"):
            their_reading(tmp_path / "in")
    rewrite(tmp_path / "in", tmp_path / "out", unpartition=True)
    if dtype in QUANTISED:
        assert their_reading(tmp_path / "out") == expected
    else:
        assert_holds(tmp_path / "out", expected)


@pytest.mark.parametrize("version", [V215, V221])
def test_unpartition_golden(version, tmp_path):
    rewrite(
        version / "unreadable-slices/model.ckpt", tmp_path / "out", drop="hole", unpartition=["half", "words"]
    )
    assert_holds(tmp_path / "out", our_reading(tmp_path / "out"))
    with tb.open(version / "unreadable-slices/model.ckpt") as before:
        for name in ("half", "words"):
            assert their_reading(tmp_path / "out")[name][2] == content(before[name])


def test_partition_what_tensorflow_can_not_join(tmp_path):
    """Strings and float16 go into slices, which TensorFlow reads one by one, and come back whole."""
    values = {"half": numbers(6, 2, dtype=np.float16), "words": np.array([b"a", b"", b"c" * 300], object)}
    save(tmp_path / "in", values)
    rewrite(tmp_path / "in", tmp_path / "cut", partition={"half": 2, "words": 3})
    restored = restored_in_parts(tmp_path / "cut", "half", (6, 2), 2, dtype=tf.float16)
    np.testing.assert_array_equal(restored, values["half"])
    rewrite(tmp_path / "cut", tmp_path / "out", unpartition=True)
    assert_holds(tmp_path / "out", their_reading(tmp_path / "in"))


# merge and average


@pytest.fixture
def pair(tmp_path):
    """Two checkpoints that share one name and the partition of another."""
    first = {"a/w": numbers(2, 3), "both": numbers(4), "table": numbers(*SHAPE)}
    second = {"b/w": numbers(3, start=50), "both": numbers(4, start=90), "words": np.array([b"x"], object)}
    return (
        (tmp_path / "first", save(tmp_path / "first", first, {"table": (2, 0)})),
        (tmp_path / "second", save(tmp_path / "second", second)),
    )


@pytest.mark.parametrize("prefer", ["first", "last"])
@pytest.mark.parametrize("data", ["share", "copy"])
def test_merge(prefer, data, pair, tmp_path):
    (first, mine), (second, other) = pair
    command("merge", first, second, tmp_path / "out", "--prefer", prefer, "--data", data)
    assert_holds(
        tmp_path / "out", dict(sorted((other | mine if prefer == "first" else mine | other).items()))
    )
    np.testing.assert_array_equal(restored_in_parts(tmp_path / "out", "table", SHAPE, 3), numbers(*SHAPE))


@pytest.mark.parametrize("steps", [{"with": {"old/b": "second"}}, {"with": ["second"], "prefer": "last"}])
def test_merge_step(steps, pair, tmp_path, monkeypatch):
    """Under a name, and in the middle of other steps."""
    (_, mine), (_, other) = pair
    monkeypatch.chdir(tmp_path)
    rewrite("first", "out", drop="a/*", merge=steps, rename={"table": "t"})
    mine["t"] = mine.pop("table")
    del mine["a/w"]
    named = {f"old/b/{name}": each for name, each in other.items()} if "prefer" not in steps else other
    assert_holds(tmp_path / "out", mine | named)


def test_merge_a_clash(pair, tmp_path):
    (first, _), (second, _) = pair
    with pytest.raises(tb.ConflictError, match="have 'both'; --prefer first or last decides"):
        rewrite(first, tmp_path / "out", merge={"with": [str(second)]})


@pytest.mark.parametrize("accumulator", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_average(accumulator, count, tmp_path, capsys):
    """Of floating-point numbers of every type the mean, of partitioned ones too; the rest is the last one's."""
    means = [
        dtype
        for dtype in PLAIN
        if dtype.startswith(("float", "bfloat", "complex")) and dtype != "float4_e2m1fn"
    ]
    sources = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        values = {f"x/{dtype}": random.normal(size=SHAPE).astype(dtype.numpy) for dtype in means}
        values |= {
            "step": np.array(seed, np.int64),
            "same": np.array([b"s"], object),
            "table": numbers(*SHAPE, start=seed),
        }
        save(tmp_path / f"in{seed}", values, {"table": (3, 0)})
        sources.append(their_reading(tmp_path / f"in{seed}"))
    command(
        "average",
        *(tmp_path / f"in{seed}" for seed in range(count)),
        tmp_path / "out",
        "--accumulator",
        accumulator,
    )
    assert ("from the last: step\n" in capsys.readouterr().err) == (count > 1)
    found = their_reading(tmp_path / "out")
    for name, (dtype, shape, _) in sources[0].items():
        if dtype in (*means, "float32"):
            wide = np.complex128 if dtype.startswith("complex") else accumulator
            arrays = [as_array(each[name]).astype(wide) for each in sources]
            expected = np.mean(np.stack(arrays), axis=0, dtype=wide).astype(DType[dtype].numpy)
            np.testing.assert_array_equal(as_array(found[name]), expected, err_msg=name)
            assert found[name][:2] == (dtype, shape)
        else:
            assert found[name] == sources[-1][name]
    restore_by_name(
        tmp_path / "out", {name: each for name, each in found.items() if each[0] not in NOT_FOR_VARIABLES}
    )


# resize

OLD = ["a", "b", "c", "d", "e", "f", "g"]
VOCABULARIES = {
    "example of the documentation": (["d", "x", "a"], 1, None),
    "same": (OLD, 0, None),
    "longer": ([*OLD, "h", "i"], 3, None),
    "none in common": (["x", "y"], 2, None),
    "only the first three": (["g", "c", "b", "d"], 0, 3),
    "first token after an unknown one": (["x", "a", "y", "z", "a2", "b"], 0, None),
    "shuffled": (list("gfedcba"), 0, 7),
}


@pytest.mark.parametrize(("new", "oov", "old_size"), VOCABULARIES.values(), ids=VOCABULARIES)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("parts", [1, 2])
def test_resize(new, oov, old_size, axis, parts, tmp_path):
    """The values that `warm_start` gives the variable and its slots; another variable stays."""
    old_size = None if axis else old_size  # TensorFlow counts all tokens of columns
    names = ["emb", "emb/Adam", "emb/Adam_1"]
    shape = (7, 3) if axis == 0 else (3, 7)
    cut = dict.fromkeys(names, (parts, axis))
    values = {name: numbers(*shape, start=10**number) for number, name in enumerate(names)}
    before = save(tmp_path / "in", values | {"other": numbers(7)}, cut)
    for file, tokens in (("old", OLD), ("new", new)):
        (tmp_path / file).write_text("".join(f"{token}\n" for token in tokens))
    step = {"old_vocab": str(tmp_path / "old"), "new_vocab": str(tmp_path / "new"), "axis": axis, "oov": oov}
    if old_size is not None:
        step["old_vocab_size"] = old_size
    rewrite(tmp_path / "in", tmp_path / "out", resize={"emb": step})

    rows = len(new) + oov
    resized = (rows, 3) if axis == 0 else (3, rows)
    info = tf1.train.VocabInfo(
        str(tmp_path / "new"), len(new), oov, str(tmp_path / "old"), old_size or -1, axis=axis
    )

    def build():
        variables = [tf1.get_variable(name, resized) for name in names]
        tf1.train.warm_start(str(tmp_path / "in"), ".*", dict.fromkeys(names, info))
        return variables

    expected = in_session(build, lambda session, variables: session.run(variables))
    resized_values = {
        name: ("float32", resized, content(array)) for name, array in zip(names, expected, strict=True)
    }
    assert_holds(tmp_path / "out", resized_values | {"other": before["other"]})
    found = restored_in_parts(tmp_path / "out", "emb", resized, 2, axis)
    np.testing.assert_array_equal(found, expected[0])


# all of it


def test_everything_in_one_pass(tmp_path):
    """A TF1 checkpoint with Adam's slots becomes a slim bfloat16 TF2 checkpoint with other names."""
    values = trained(tmp_path / "model.ckpt-300", minimise(tf1.train.AdamOptimizer))
    (tmp_path / "recipe.toml").write_text(
        'slim = true\nrename = { "dense/" = "encoder/layer/", "emb" = "encoder/emb" }\n'
        'cast = { "*" = "bfloat16" }\n[convert]\nto = "tf2"\nroot = "model"\n'
    )
    command("rewrite", tmp_path / "model.ckpt-300", tmp_path / "ckpt-5", "--recipe", tmp_path / "recipe.toml")
    names = {
        "dense/bias": "encoder/layer/bias",
        "dense/kernel": "encoder/layer/kernel",
        "emb": "encoder/emb",
        "global_step": "global_step",
    }
    variables = {
        new: tf.Variable(tf.zeros(values[old][1], "int64" if old == "global_step" else "bfloat16"))
        for old, new in names.items()
    }
    checkpoint = tf.train.Checkpoint(model=variables)
    checkpoint.restore(str(tmp_path / "ckpt-5")).assert_consumed()
    assert checkpoint.save_counter == 5
    for old, new in names.items():
        array = as_array(values[old])
        expected = tf.constant(array) if old == "global_step" else tf.cast(array, "bfloat16")
        assert described(variables[new]) == described(expected)
