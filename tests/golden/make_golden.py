"""Write the golden checkpoints of this folder with whatever TensorFlow is installed.

    python make_golden.py OUT

OUT gets one folder for each situation in `SITUATIONS`, and `expected.json`, which says what
TensorFlow itself reads from each of them:

    {"versions": {"numpy": ..., "python": ..., "tensorflow": ...},
     prefix: {key: {"dtype": name, "shape": [...], ...}}}

where the rest of a key's record is one of

    "values": "..."     base64 of the elements in C order, little endian
    "values": [...]     strings: base64 of each element in C order
    "sha256": "..."     of the same bytes (strings: joined), where they are more than 4096
    "error": "..."      TensorFlow cannot read this tensor: the first 80 characters of why

Prefixes are relative to OUT. A prefix without an `.index` file is a V1 checkpoint.

Works with TensorFlow 2.15, the last with Estimator and Keras 2, and 2.21. The same version writes
the same bytes every time.
"""

import argparse
import base64
import contextlib
import hashlib
import itertools
import json
import os
import platform
import shutil
from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest import mock

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as tf1
from tensorflow.python.distribute.sharded_variable import ShardedVariable
from tensorflow.python.saved_model import registration

VERSION: Final = tuple(int(part) for part in tf.__version__.split(".")[:2])
LARGEST_VALUE: Final = 4096  # bytes of a tensor that expected.json spells out


@dataclass(frozen=True)
class Situation:
    """One folder of golden files.

    Attributes:
        folder: its name.
        write: fills the folder; gets its name, relative to the working directory.
        since: oldest (major, minor) of TensorFlow that can write it.
        until: newest such version.
    """

    folder: str
    write: Callable[[str], None]
    since: tuple[int, int]
    until: tuple[int, int]

    @property
    def possible(self) -> bool:
        return self.since <= VERSION <= self.until


SITUATIONS: Final[list[Situation]] = []


def situation(
    folder: str, *, since: tuple[int, int] = (2, 0), until: tuple[int, int] = (2, 99)
) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
    """Register the decorated function as the writer of `folder`."""

    def register(write: Callable[[str], None]) -> Callable[[str], None]:
        SITUATIONS.append(Situation(folder, write, since, until))
        return write

    return register


def ramp(*shape: int, start: float = -1.0, dtype: Any = "<f4") -> Any:
    """An array whose elements all differ: start, start + 1/4, start + 2/4, ..."""
    size = int(np.prod(shape, dtype=int))
    return (start + np.arange(size) / 4).reshape(shape).astype(dtype)


def count(*shape: int, start: int = 0, dtype: Any = "<i4") -> Any:
    """An array of consecutive integers."""
    return np.arange(start, start + int(np.prod(shape, dtype=int))).reshape(shape).astype(dtype)


# Name-based checkpoints: tf.compat.v1.train.Saver


def v1_variable(name: str, value: Any, **options: Any) -> Any:
    """A variable of the current graph that starts as `value`."""
    value = np.asarray(value)
    return tf1.get_variable(
        name,
        shape=value.shape,
        dtype=tf.as_dtype(value.dtype),
        initializer=tf1.constant_initializer(value),
        **options,
    )


def guide_variables() -> None:
    """The three variables of the migration guide's TF1 model."""
    v1_variable("a", np.float32(1))
    v1_variable("b", np.float32(2))
    with tf1.variable_scope("scoped"):
        v1_variable("c", np.float32(3))


def partitioned_variables() -> None:
    """One variable cut in three along axis 0, one in four along axis 1, one whole."""
    cut = tf1.fixed_size_partitioner
    tf1.get_variable("emb", [10, 4], initializer=tf1.random_normal_initializer(seed=1), partitioner=cut(3))
    tf1.get_variable(
        "w2", [4, 9], initializer=tf1.random_normal_initializer(seed=2), partitioner=cut(4, axis=1)
    )
    v1_variable("plain", ramp(3))


def save_graph(
    prefix: str,
    build: Callable[[], None],
    *,
    step: int | None = None,
    meta: bool = False,
    **saver_options: Any,
) -> None:
    """Build variables in a graph of their own, initialise them, save them with a `Saver`.

    The session has two CPU devices, so that a sharded saver has something to spread over.
    """
    with tf.Graph().as_default():
        tf1.set_random_seed(1)
        build()
        with tf1.Session(config=tf1.ConfigProto(device_count={"CPU": 2})) as session:
            session.run(tf1.global_variables_initializer())
            saver = tf1.train.Saver(**saver_options)
            saver.save(session, prefix, global_step=step, write_meta_graph=meta)


@situation("guide-tf1")
def guide_tf1(folder: str) -> None:
    """The migration guide's TF1 checkpoint; the only one here that keeps its `.meta`."""
    save_graph(f"{folder}/tf1-ckpt", guide_variables, meta=True)


@situation("tf1-in-eager")
def tf1_in_eager(folder: str) -> None:
    """The v1 `Saver` called eagerly, on TF2 variables."""
    a = tf.Variable(1.0, name="a")
    b = tf.Variable(2.0, name="b")
    with tf.name_scope("scoped"):
        c = tf.Variable(3.0, name="c")
    saver = tf1.train.Saver(var_list=[a, b, c])
    saver.save(sess=None, save_path=f"{folder}/tf1-ckpt-saved-in-eager")


@situation("partitioned")
def partitioned(folder: str) -> None:
    """Variables stored in slices."""
    save_graph(f"{folder}/model.ckpt", partitioned_variables, step=100)


def odd_parts_on_second_cpu(op: Any) -> str:
    """Device of a graph operation: parts 1 and 3 of a variable, and `plain`, on CPU 1."""
    return "/cpu:1" if any(s in op.name for s in ("part_1", "part_3", "plain")) else "/cpu:0"


@situation("partitioned-sharded")
def partitioned_sharded(folder: str) -> None:
    """Slices of one variable in two data files, one for each device."""

    def build() -> None:
        with tf1.device(odd_parts_on_second_cpu):
            partitioned_variables()

    save_graph(f"{folder}/model.ckpt", build, step=100, sharded=True)


@situation("partitioned-v1")
def partitioned_v1(folder: str) -> None:
    """Slices in a V1 file. TensorFlow's CheckpointReader refuses them, its restore op does not."""
    save_graph(f"{folder}/model.ckpt", partitioned_variables, step=100, write_version=tf1.train.SaverDef.V1)


@situation("v1-format")
def v1_format(folder: str) -> None:
    """A V1 file with every dtype that a variable and the format share."""

    def build() -> None:
        guide_variables()
        for dtype in ("<f2", "<f4", "<f8", "<c8", "<c16"):
            v1_variable(f"float/{np.dtype(dtype).name}", ramp(2, 5, dtype=dtype))
        for dtype in ("i1", "<i2", "<i4", "<i8"):
            v1_variable(f"int/{np.dtype(dtype).name}", count(2, 3, start=-3, dtype=dtype))
        for dtype in ("u1", "<u2"):
            v1_variable(f"uint/{np.dtype(dtype).name}", count(4, start=100, dtype=dtype))
        v1_variable("flags", np.array([True, False, True]))
        v1_variable("empty", ramp(0, 4))
        words = np.array([b"x", b"", b"\x00\xff", b"hello"], object)
        tf1.get_variable("words", initializer=tf.constant(words))

    save_graph(f"{folder}/model.ckpt", build, step=7, write_version=tf1.train.SaverDef.V1)


@situation("v1-sharded")
def v1_sharded(folder: str) -> None:
    """Two V1 files, one for each device. Their prefix, as TensorFlow calls it, is a glob."""

    def build() -> None:
        with tf1.device(odd_parts_on_second_cpu):
            partitioned_variables()
            guide_variables()

    save_graph(f"{folder}/model.ckpt", build, sharded=True, write_version=tf1.train.SaverDef.V1)


@situation("v1-raw-slices")
def v1_raw_slices(folder: str) -> None:
    """A V1 file from the SaveSlices op: open-ended slices, and quantised dtypes."""
    grid = count(6, 4, dtype="<i8")
    tf.raw_ops.SaveSlices(
        filename=f"{folder}/model.ckpt",
        tensor_names=["grid", "grid", "q/int8", "q/uint8", "q/int32"],
        shapes_and_slices=["6 4 0,2:-", "6 4 2,4:-", "", "", ""],
        data=[
            tf.constant(grid[:2]),
            tf.constant(grid[2:]),
            tf.bitcast(count(5, start=-2, dtype="i1"), tf.qint8),
            tf.bitcast(count(5, start=126, dtype="u1"), tf.quint8),
            tf.bitcast(count(2, 2, start=-70000), tf.qint32),
        ],
    )
    tf1.train.update_checkpoint_state(folder, f"{folder}/model.ckpt")


@situation("monitored-session")
def monitored_session(folder: str) -> None:
    """The five newest checkpoints that a MonitoredTrainingSession leaves behind."""
    with tf.Graph().as_default():
        step = tf1.train.get_or_create_global_step()
        variable = v1_variable("var", ramp(2))
        train = tf.group(variable.assign_add([2.0, 3.0]), step.assign_add(1))
        with tf1.train.MonitoredTrainingSession(
            checkpoint_dir=folder, save_checkpoint_steps=1, log_step_count_steps=None
        ) as session:
            for _ in range(7):
                session.run(train)


# Object-based checkpoints: tf.train.Checkpoint


@situation("guide-tf2")
def guide_tf2(folder: str) -> None:
    """The migration guide's TF2 checkpoint: a list of variables."""
    a = tf.Variable(5.0, name="a")
    b = tf.Variable(6.0, name="b")
    with tf.name_scope("scoped"):
        c = tf.Variable(7.0, name="c")
    tf.train.Checkpoint(variables=[a, b, c]).save(f"{folder}/tf2-ckpt")


@situation("guide-root-tf2")
def guide_root_tf2(folder: str) -> None:
    """The migration guide's checkpoint of a dictionary, a variable and a module."""
    module = tf.Module(name="module")
    module.d = tf.Variable(0.0, name="d")
    tf.train.Checkpoint(
        v={"a": tf.Variable(5.0, name="a"), "b": tf.Variable(6.0, name="b")},
        c=tf.Variable(7.0, name="c"),
        module=module,
    ).save(f"{folder}/root-tf2-ckpt")


@situation("tf2-in-session")
def tf2_in_session(folder: str) -> None:
    """`tf.train.Checkpoint` of a graph's variables, saved in a session."""
    with tf.Graph().as_default():
        guide_variables()
        with tf1.Session() as session:
            session.run(tf1.global_variables_initializer())
            by_name = {v.op.name: v for v in tf1.global_variables()}
            checkpoint = tf.train.Checkpoint(var_list=by_name)
            checkpoint.save(f"{folder}/tf2-ckpt-saved-in-session")


@situation("odd-names")
def odd_names(folder: str) -> None:
    """Names that need escaping in keys, and names that only look so."""
    names = ["a/b.c", "x.Sy", ".", "..", "/", "", "a b", "a:0", "\t", "ünïcode ✓", "part_0"]
    odd = {name: tf.Variable(float(i), name=f"n{i}") for i, name in enumerate(names)}
    tf.train.Checkpoint(odd=odd).save(f"{folder}/ckpt")


Pair = namedtuple("Pair", ["first", "second"])


@situation("structures")
def structures(folder: str) -> None:
    """Lists, dictionaries, tuples and a namedtuple, nested, empty, and with things not saved."""

    def variable(value: float) -> Any:
        return tf.Variable(value, name=f"v{value:.0f}")

    tf.train.Checkpoint(
        list=[variable(1), "not saved", [variable(2), {"k": variable(3)}]],
        tuple=(variable(4), (5, variable(6))),
        pair=Pair(variable(7), [variable(8)]),
        dict={"z": variable(9), "a": {}, "m": (1, 2)},
        empty=[],
    ).save(f"{folder}/ckpt")


@situation("shared-nodes")
def shared_nodes(folder: str) -> None:
    """Objects that several parents hold: stored once, under the shortest way to them."""
    kernel = tf.Variable(ramp(2, 3), name="kernel")
    encoder = tf.Module(name="encoder")
    encoder.kernel = kernel
    decoder = tf.Module(name="decoder")
    decoder.tied = kernel
    decoder.encoder = encoder
    decoder.bias = tf.Variable(ramp(3), name="bias")
    tf.train.Checkpoint(encoder=encoder, decoder=decoder, all=[decoder, encoder, kernel]).save(
        f"{folder}/ckpt"
    )


@situation("cyclic")
def cyclic(folder: str) -> None:
    """Modules that refer to themselves, to each other and to the root."""
    module = tf.Module(name="module")
    module.self_ref = module
    module.child = tf.Module(name="child")
    module.child.parent = module
    module.child.v = tf.Variable(ramp(2), name="v")
    module.w = tf.Variable(ramp(3), name="w")
    checkpoint = tf.train.Checkpoint(module=module)
    module.checkpoint = checkpoint
    checkpoint.save(f"{folder}/ckpt")


@situation("module-root")
def module_root(folder: str) -> None:
    """A module as the root itself, written without save counter and without state file."""
    module = tf.Module(name="module")
    module.w = tf.Variable(ramp(2, 2), name="w")
    module.layers = [tf.Variable(ramp(2), name="b")]
    tf.train.Checkpoint(module, step=tf.Variable(count(dtype="<i8"), name="step")).write(f"{folder}/weights")


@situation("variable-root")
def variable_root(folder: str) -> None:
    """A variable as the root: its key has no path.

    It is a scalar and not zero because `tf.train.Checkpoint` asks whether its root is true.
    """
    tf.train.Checkpoint(tf.Variable(1.5, name="only")).write(f"{folder}/only")


@situation("graph-only")
def graph_only(folder: str) -> None:
    """Nothing to save: an object graph, and no tensor beside it."""
    tf.train.Checkpoint(settings={}, empty=[]).write(f"{folder}/nothing")


@situation("tables")
def tables(folder: str) -> None:
    """A lookup table: two tensors under a key that itself is not in the index."""
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    table.insert(tf.constant([b"a"]), tf.constant([1], tf.int64))
    module = tf.Module(name="module")
    module.table = table
    module.v = tf.Variable(1.0, name="v")
    tf.train.Checkpoint(module=module).save(f"{folder}/ckpt")


@situation("iterator")
def iterator(folder: str) -> None:
    """The state of a tf.data iterator: a variant tensor."""
    numbers = iter(tf.data.Dataset.range(20).batch(2))
    next(numbers)
    next(numbers)
    tf.train.Checkpoint(iterator=numbers, step=tf.Variable(2, name="step")).save(f"{folder}/ckpt")


@situation("random-generator")
def random_generator(folder: str) -> None:
    """The state of a tf.random.Generator."""
    generator = tf.random.Generator.from_seed(7, alg="philox")
    generator.normal([3])
    tf.train.Checkpoint(generator=generator).save(f"{folder}/ckpt")


class Progress(tf.train.experimental.PythonState):  # type: ignore[misc]
    """A Python object that saves itself as a string."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def serialize(self) -> str:
        return json.dumps({"epoch": self.epoch})

    def deserialize(self, string_value: str) -> None:
        self.epoch = json.loads(string_value)["epoch"]


@situation("python-state")
def python_state(folder: str) -> None:
    """Python state beside a variable."""
    tf.train.Checkpoint(progress=Progress(5), v=tf.Variable(1.0, name="v")).save(f"{folder}/ckpt")


def save_blobs(trackables: dict[str, Any], file_prefix: Any) -> Any:
    """Save function of the registered saver: one shard with the numbers of each object."""
    tf.raw_ops.SaveV2(
        prefix=file_prefix,
        tensor_names=[f"{name}/numbers" for name in trackables],
        shape_and_slices=[""] * len(trackables),
        tensors=[tf.constant(blob.numbers) for blob in trackables.values()],
    )
    return file_prefix


def restore_blobs(trackables: dict[str, Any], merged_prefix: Any) -> None:
    """Restore function of the registered saver."""
    for name, blob in trackables.items():
        (blob.numbers,) = tf.raw_ops.RestoreV2(
            prefix=merged_prefix,
            tensor_names=[f"{name}/numbers"],
            shape_and_slices=[""],
            dtypes=[tf.float32],
        )


@situation("registered-saver")
def registered_saver(folder: str) -> None:
    """An object with a registered saver of its own, which adds a shard."""
    registration.register_checkpoint_saver(
        package="Golden",
        name="Blob",
        predicate=lambda item: isinstance(item, tf.Module) and item.name == "blob",
        save_fn=save_blobs,
        restore_fn=restore_blobs,
    )
    blob = tf.Module(name="blob")
    blob.numbers = ramp(5)
    tf.train.Checkpoint(blob=blob, v=tf.Variable(ramp(2), name="v")).save(f"{folder}/ckpt")


@situation("sharded-variable")
def sharded_variable(folder: str) -> None:
    """A ShardedVariable of a parameter server strategy: one object, stored in slices."""
    rows = ramp(5, 2)
    shards = [tf.Variable(rows[:3], name="emb/part_0"), tf.Variable(rows[3:], name="emb/part_1")]
    tf.train.Checkpoint(emb=ShardedVariable(shards, name="emb")).save(f"{folder}/ckpt")


def save_in_small_shards(prefix: str, max_shard_size: int, **variables: Any) -> None:
    """Save through the sharding policy that cuts tensors; its sizes are bytes."""
    policy = tf.train.experimental.MaxShardSizePolicy(max_shard_size=max_shard_size)
    options = tf.train.CheckpointOptions(experimental_sharding_callback=policy)
    tf.train.Checkpoint(**variables).save(prefix, options=options)


@situation("max-shard-size", since=(2, 16))
def max_shard_size(folder: str) -> None:
    """MaxShardSizePolicy: tensors cut to fit into shards of 64 bytes."""
    save_in_small_shards(
        f"{folder}/ckpt",
        64,
        matrix=tf.Variable(ramp(6, 4), name="matrix"),
        cube=tf.Variable(count(2, 3, 4, dtype="<i8"), name="cube"),
        vector=tf.Variable(ramp(3), name="vector"),
        long_text=tf.Variable(b"longer than one shard " * 8, name="long_text"),
    )


@situation("max-shard-size-lossy", since=(2, 16))
def max_shard_size_lossy(folder: str) -> None:
    """MaxShardSizePolicy's limits: cut float16 and strings, and a lost empty tensor.

    The object graph names `empty`, the index does not have it: TensorFlow cannot restore this.
    """
    words = np.array([b"one", b"two" * 20, b"three" * 10, b""], object)
    save_in_small_shards(
        f"{folder}/ckpt",
        64,
        half=tf.Variable(ramp(6, 8, dtype="<f2"), name="half"),
        words=tf.Variable(tf.constant(words), name="words"),
        empty=tf.Variable(ramp(0, 3), name="empty"),
    )


@situation("v1-optimizer-slots")
def v1_optimizer_slots(folder: str) -> None:
    """Optimizer slots in an object graph: the v1 Adam, saved with `tf.train.Checkpoint`."""
    module = tf.Module(name="module")
    module.w = tf.Variable(ramp(2, 2), name="w")
    module.b = tf.Variable(ramp(2), name="b")
    optimizer = tf1.train.AdamOptimizer(0.1)
    optimizer.apply_gradients([(tf.ones_like(v), v) for v in (module.w, module.b)])
    tf.train.Checkpoint(module=module, optimizer=optimizer).save(f"{folder}/ckpt")


@situation("manager")
def manager(folder: str) -> None:
    """A CheckpointManager's directory: the last three of six, with times in the state file."""
    variable = tf.Variable(0.0, name="v")
    clock = itertools.count(1_700_000_000.25, 60.0)
    with mock.patch("time.time", clock.__next__):
        keeper = tf.train.CheckpointManager(tf.train.Checkpoint(v=variable), folder, max_to_keep=3)
        for value in range(6):
            variable.assign(value)
            keeper.save()


# Keras


def keras_model() -> Any:
    """A small Sequential model, with weights that training does not touch among them."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(8, activation="relu", name="d1"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(2, name="d2"),
        ]
    )


@situation("keras-adam")
def keras_adam(folder: str) -> None:
    """A trained Keras model and its optimizer, as two children of the root."""
    model = keras_model()
    model.compile("adam", "mse")
    model.fit(ramp(8, 4), ramp(8, 2), verbose=0)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(f"{folder}/ckpt")


@situation("keras-root")
def keras_root(folder: str) -> None:
    """A Keras model as the root."""
    tf.train.Checkpoint(keras_model()).write(f"{folder}/weights")


@situation("keras-save-weights", until=(2, 15))
def keras_save_weights(folder: str) -> None:
    """Keras 2's own way to write a checkpoint."""
    keras_model().save_weights(f"{folder}/weights", save_format="tf")


@situation("keras-legacy-adam-slots", until=(2, 15))
def keras_legacy_adam_slots(folder: str) -> None:
    """The optimizer of Keras before 2.11: slots, and hyperparameters as variables."""
    layers = tf.keras.layers
    model = tf.keras.Sequential([layers.Input((2,)), layers.Dense(3), layers.Dense(1)])
    optimizer = tf.keras.optimizers.legacy.Adam(0.1)
    model.compile(optimizer, "mse")
    model.fit(ramp(4, 2), ramp(4, 1), verbose=0)
    step = tf.Variable(1, name="step")
    tf.train.Checkpoint(net=model, optimizer=optimizer, step=step).save(f"{folder}/ckpt")


@situation("keras-saved-model", until=(2, 15))
def keras_saved_model(folder: str) -> None:
    """A SavedModel directory of a Keras 2 model."""
    layers = tf.keras.layers
    model = tf.keras.Sequential([layers.Input((3,)), layers.Dense(2, name="d1")])
    tf.saved_model.save(model, folder)


@situation("saved-model")
def saved_model(folder: str) -> None:
    """A SavedModel directory of a plain module: its variables are an object-based checkpoint."""
    module = tf.Module(name="module")
    module.w = tf.Variable(ramp(2, 2), name="w")
    module.shared = {"w": module.w, "b": tf.Variable(ramp(2), name="b")}
    tf.saved_model.save(module, folder)


# Estimator


def train_estimator(folder: str, warm_start: str | None, object_based: bool) -> None:
    """One step of the migration guide's Estimator, saved by name or through an object graph."""

    def model_fn(features: Any, labels: Any, mode: str) -> Any:
        del features, labels
        step = tf1.train.get_or_create_global_step()
        variable = v1_variable("var", np.float32(0))
        scaffold = None
        if object_based:
            saver = tf.train.Checkpoint(var_list={"var": variable}, step=step)
            scaffold = tf1.train.Scaffold(saver=saver)
        return tf.estimator.EstimatorSpec(
            mode,
            predictions=variable,
            train_op=tf.group(variable.assign_add(2), step.assign_add(1)),
            loss=tf.constant(1.0),
            scaffold=scaffold,
        )

    def examples() -> Any:
        return tf.data.Dataset.from_tensor_slices(([1, 2, 3], [4, 5, 6]))

    config = tf.estimator.RunConfig(model_dir=folder, tf_random_seed=1)
    estimator = tf.estimator.Estimator(model_fn, config=config, warm_start_from=warm_start)
    estimator.train(examples, steps=1)


@situation("est-tf1", until=(2, 15))
def est_tf1(folder: str) -> None:
    """An Estimator's directory."""
    train_estimator(folder, None, object_based=False)


@situation("est-tf2", until=(2, 15))
def est_tf2(folder: str) -> None:
    """The same Estimator, warm-started from `est-tf1`, with a `tf.train.Checkpoint` as saver."""
    train_estimator(folder, "est-tf1", object_based=True)


@situation("est-wide-deep", until=(2, 15))
def est_wide_deep(folder: str) -> None:
    """A canned Estimator with two optimizers and an embedding."""
    column = tf.feature_column
    number = column.numeric_column("x", shape=[3])
    letter = column.categorical_column_with_vocabulary_list("k", ["a", "b", "c"])

    def examples() -> Any:
        features = {"x": ramp(6, 3), "k": np.array([b"a", b"b", b"c", b"a", b"b", b"c"])}
        return tf.data.Dataset.from_tensors((features, np.array([0, 1, 0, 1, 0, 1]))).repeat()

    estimator = tf.estimator.DNNLinearCombinedClassifier(
        config=tf.estimator.RunConfig(model_dir=folder, tf_random_seed=1),
        linear_feature_columns=[number],
        dnn_feature_columns=[number, column.embedding_column(letter, 4)],
        dnn_hidden_units=[8, 4],
    )
    estimator.train(examples, steps=3)


# What only the save ops write


def save_raw(prefix: str, *tensors: tuple[str, str, Any]) -> None:
    """Run SaveV2 on (key, shape and slice, tensor) triples."""
    keys, slices, values = zip(*tensors, strict=True)
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=keys, shape_and_slices=slices, tensors=list(values))


def narrow_dtypes() -> list[Any]:
    """The float8, float4 and sub-byte dtypes of this TensorFlow."""
    names = ["float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz"]
    names += ["float8_e5m2fnuz", "float4_e2m1fn", "int4", "uint4", "int2", "uint2"]
    types = tf.dtypes.experimental
    return [getattr(types, name) for name in names if hasattr(types, name)]


def narrow(dtype: Any) -> Any:
    """Five values, the negative ones included where `dtype` has them."""
    low = 2 if dtype.name.startswith("uint") else -2
    return tf.constant(np.array([0, 1, low, 1, low + 1]).astype(dtype.as_numpy_dtype), dtype)


@situation("all-dtypes")
def all_dtypes(folder: str) -> None:
    """Variables of every ordinary dtype, scalar, empty and long."""
    values: dict[str, Any] = {}
    for dtype in (tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.complex64, tf.complex128):
        values[dtype.name] = tf.cast(ramp(3, 5), dtype)
    for dtype in (tf.int8, tf.int16, tf.int32, tf.int64):
        values[dtype.name] = tf.cast(count(4, 3, start=-5), dtype)
    for dtype in (tf.uint8, tf.uint16, tf.uint32, tf.uint64):
        values[dtype.name] = tf.constant(count(4, 3, start=60, dtype=dtype.as_numpy_dtype))
    values["bool"] = tf.constant([True, False])
    words = [[b"", b"a" * 200], [b"\x00\xff", b"utf-8 \xe2\x9c\x93"]]
    values["string"] = tf.constant(np.array(words, object))
    values["string_scalar"] = tf.constant(b"scalar")
    values["string_empty"] = tf.zeros([0, 2], tf.string)
    values["scalar"] = tf.constant(3.5)
    values["empty"] = tf.zeros([0, 4])
    values["empty_in_the_middle"] = tf.zeros([2, 0, 3], tf.int32)
    values["special"] = tf.constant([np.nan, np.inf, -np.inf, -0.0, 1e-45])
    values["long"] = tf.range(1500)
    variables = {name: tf.Variable(value, name=name) for name, value in values.items()}
    tf.train.Checkpoint(dtypes=variables).save(f"{folder}/ckpt")


@situation("rare-dtypes")
def rare_dtypes(folder: str) -> None:
    """Float8, float4, sub-byte and quantised tensors, which variables cannot all hold."""
    quantised = [
        (tf.qint8, count(5, start=-2, dtype="i1")),
        (tf.quint8, count(5, start=126, dtype="u1")),
        (tf.qint16, count(5, start=-2, dtype="<i2")),
        (tf.quint16, count(5, start=300, dtype="<u2")),
        (tf.qint32, count(5, start=-70000)),
    ]
    save_raw(
        f"{folder}/model.ckpt",
        *((dtype.name, "", narrow(dtype)) for dtype in narrow_dtypes()),
        *((dtype.name, "", tf.bitcast(value, dtype)) for dtype, value in quantised),
    )


@situation("raw-slices")
def raw_slices(folder: str) -> None:
    """Slices of uneven shapes, some of them open-ended, in no particular order."""
    grid = ramp(8, 4)
    line = count(300, dtype="<i2")
    cube = count(2, 3, 4, dtype="<i8")
    save_raw(
        f"{folder}/model.ckpt",
        ("grid", "8 4 3,5:2,2", grid[3:, 2:]),
        ("grid", "8 4 0,3:-", grid[:3]),
        ("grid", "8 4 3,5:0,2", grid[3:, :2]),
        ("line", "300 0,70", line[:70]),
        ("line", "300 70,230", line[70:]),
        ("cube", "2 3 4 -:0,1:-", cube[:, :1]),
        ("cube", "2 3 4 -:1,2:-", cube[:, 1:]),
        ("whole", "2 2 -:-", ramp(2, 2)),
        ("plain", "", ramp(3)),
    )


@situation("unreadable-slices")
def unreadable_slices(folder: str) -> None:
    """Slices that TensorFlow does not join: one is missing, and dtypes it has no code for."""
    grid = ramp(4, 2)
    half = ramp(4, dtype="<f2")
    words = np.array([b"one", b"two", b""], object)
    save_raw(
        f"{folder}/model.ckpt",
        ("hole", "4 2 0,1:-", grid[:1]),
        ("hole", "4 2 2,2:-", grid[2:]),
        ("half", "4 0,1", half[:1]),
        ("half", "4 1,3", half[1:]),
        ("words", "3 0,2", words[:2]),
        ("words", "3 2,1", words[2:]),
    )


@situation("merged")
def merged(folder: str) -> None:
    """Two checkpoints made one by MergeV2Checkpoints, a tensor's slices in both data files."""
    rows = ramp(4, 3)
    parts = [f"{folder}/part-0/model", f"{folder}/part-1/model"]
    save_raw(parts[0], ("rows", "4 3 0,1:-", rows[:1]), ("first", "", ramp(2)))
    save_raw(parts[1], ("rows", "4 3 1,3:-", rows[1:]), ("second", "", count(2)))
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=f"{folder}/model.ckpt", delete_old_dirs=True
    )


@situation("many-names")
def many_names(folder: str) -> None:
    """So many names that the index has two blocks of 256 KiB."""
    parts = ("attention/query", "attention/key", "attention/value", "feed_forward/inner")
    scope = "a_scope_of_some_length/" * 5
    keys = (f"layer_{i:04d}/{scope}{parts[i % 4]}/kernel/Momentum" for i in range(1700))
    tensors = ((key, "", tf.constant(float(i))) for i, key in enumerate(keys))
    save_raw(f"{folder}/model.ckpt", *tensors)


# The files of OUT


def tidy(folder: Path) -> None:
    """Delete what is not part of a checkpoint, and what is different in every run."""
    for pattern in ("events.out.*", "graph.pbtxt", "fingerprint.pb"):
        for path in folder.rglob(pattern):
            path.unlink()
    if folder.name != "guide-tf1":
        for path in folder.rglob("*.meta"):
            path.unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def prefixes(folder: Path) -> list[str]:
    """Prefixes of all checkpoints below `folder`: its indexes, and what state files list."""
    found = {path.with_suffix("").as_posix() for path in folder.rglob("*.index")}
    for path in folder.rglob("checkpoint"):
        state = tf.train.get_checkpoint_state(path.parent.as_posix())
        found.update(state.all_model_checkpoint_paths)
    return sorted(found)


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def describe_value(value: Any) -> dict[str, Any]:
    """The part of a record that depends on the elements."""
    array = np.asarray(value)
    strings = array.dtype.kind in "OS"
    if strings:
        pieces = [bytes(element) for element in np.asarray(value, object).ravel()]
    else:
        pieces = [array.tobytes()]
    content = b"".join(pieces)
    if len(content) > LARGEST_VALUE:
        return {"sha256": hashlib.sha256(content).hexdigest()}
    return {"values": [in_base64(piece) for piece in pieces] if strings else in_base64(content)}


def read(reader: Any, prefix: str, key: str, dtype: Any) -> Any:
    """The value of a tensor: from the reader, or from the restore op, which can do more."""
    try:
        return reader.get_tensor(key)
    except Exception:
        with contextlib.suppress(Exception):
            return tf.raw_ops.RestoreV2(
                prefix=prefix, tensor_names=[key], shape_and_slices=[""], dtypes=[dtype]
            )[0].numpy()
        raise


def describe(prefix: str) -> dict[str, Any]:
    """A record for each tensor of a checkpoint, as TensorFlow reads it."""
    reader = tf.train.load_checkpoint(prefix)
    shapes = reader.get_variable_to_shape_map()
    records: dict[str, Any] = {}
    for key, dtype in reader.get_variable_to_dtype_map().items():
        records[key] = {"dtype": dtype.name, "shape": list(shapes[key])}
        try:
            records[key].update(describe_value(read(reader, prefix, key, dtype)))
        except Exception as error:  # whatever TensorFlow says belongs to the record
            records[key]["error"] = str(error)[:80]
    return records


def write_all(out: Path) -> None:
    """Write every situation that this TensorFlow can, and expected.json, into `out`."""
    expected: dict[str, Any] = {
        "versions": {
            "numpy": np.__version__,
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
        }
    }
    with contextlib.chdir(out):
        for item in SITUATIONS:
            if not item.possible:
                continue
            folder = Path(item.folder)
            folder.mkdir()
            tf.keras.backend.clear_session()
            tf.keras.utils.set_random_seed(1)
            item.write(item.folder)
            tidy(folder)
            found = prefixes(folder)
            expected.update((prefix, describe(prefix)) for prefix in found)
            print(item.folder, *(prefix.removeprefix(f"{item.folder}/") for prefix in found))
        text = json.dumps(expected, indent=0, sort_keys=True)
        Path("expected.json").write_text(text + "\n", encoding="ascii")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write golden checkpoints with TensorFlow.")
    parser.add_argument("out", type=Path, help="folder to write; an older one is replaced")
    out: Path = parser.parse_args(argv).out
    if out.exists():
        if any(out.iterdir()) and not (out / "expected.json").exists():
            parser.error(f"{out} is not empty and has no expected.json: not one of ours")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.get_logger().setLevel("ERROR")
    write_all(out)


if __name__ == "__main__":
    main()
