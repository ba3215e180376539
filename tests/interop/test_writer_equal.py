"""For the same tensors, we write the bytes that TensorFlow writes: index and data shards."""

import numpy as np
import pytest

import tensorbundle as tb
from support.contents import any_bits, assert_same_files, rebuild
from support.tensorflow import NUMERIC, PLAIN, below, in_session, save_raw, tensor, tf, tf1
from tensorbundle.dtypes import DType

SHAPES = {"matrix": (3, 5), "scalar": (), "empty": (0, 4), "one": (1,), "long": (70_000,)}


@pytest.fixture
def ours(tmp_path):
    return tmp_path / "ours"


@pytest.fixture
def theirs(tmp_path):
    return tmp_path / "theirs"


def strings(*values):
    return np.array(values, object)


@pytest.mark.parametrize("dtype", PLAIN)
def test_numbers(dtype, ours, theirs):
    arrays = {name: any_bits(dtype, shape, seed) for seed, (name, shape) in enumerate(SHAPES.items())}
    save_raw(theirs, *((name, "", tensor(array)) for name, array in arrays.items()))
    with tb.create(ours) as writer:
        for name, array in arrays.items():
            writer.add(name, array)
    assert_same_files(ours, theirs)


@pytest.mark.parametrize("dtype", NUMERIC)
def test_chunks(dtype, ours, theirs):
    array = any_bits(dtype, (4, 6))
    save_raw(theirs, ("x", "", tensor(array, dtype)), ("y", "", tensor(array[:0], dtype)))
    with tb.create(ours) as writer:
        writer.add_chunks("x", dtype, (4, 6), (array[row] for row in range(4)))
        writer.add_chunks("y", dtype, (0, 6), [])
    assert_same_files(ours, theirs)


def test_strings(ours, theirs):
    values = {
        "scalar": strings(b"hello").reshape(()),
        "lengths": strings(*(b"x" * size for size in (0, 1, 127, 128, 16_383, 16_384, 100_000))),
        "matrix": strings(b"", b"\0", b"a\0\0", b"\xff\xfe", "ünï".encode(), b"b").reshape(2, 3),
        "empty": strings().reshape(0, 2),
        "many": strings(*(b"%d" % number for number in range(5000))),
    }
    save_raw(theirs, *((name, "", tf.constant(array)) for name, array in values.items()))
    with tb.create(ours) as writer:
        for name, array in values.items():
            writer.add(name, array)
    assert_same_files(ours, theirs)


def check_names(names, ours, theirs):
    """Scalars of these names, in this order; returns how many data blocks the index has."""
    save_raw(theirs, *((name, "", tf.constant(np.float32(number))) for number, name in enumerate(names)))
    with tb.create(ours) as writer:
        for number, name in enumerate(names):
            writer.add(name, np.float32(number))
    assert_same_files(ours, theirs)
    with tb.open(ours) as ckpt:
        return len(ckpt.index.table.handles)


def test_several_blocks(ours, theirs):
    scope = "a_rather_long_scope/" * 4
    names = [f"layer_{number:04d}/{scope}kernel_{number}" for number in range(6000)]
    assert check_names(names, ours, theirs) == 3


# LevelDB's separators and successors depend on which byte differs first, and on bytes of 0xff.
ENDINGS = ["", "a", "b", "~", "\x7f", "é", "\U0010ffff", "\U0010ffff\U0010ffff", "z" * 30]


@pytest.mark.parametrize("ending", ENDINGS, ids=ascii)
def test_separators_between_blocks(ending, ours, theirs):
    names = [f"{letter * 100_000}{ending}" for letter in "abcdefg"] + [
        f"g{ending}" * 3,
        ending + "h" * 270_000,
    ]
    assert check_names(names, ours, theirs) == 3


@pytest.mark.parametrize(("size", "blocks"), [(524_287, 1), (524_288, 2), (524_289, 2), (600_000, 2)])
def test_long_key_starts_a_block_of_its_own(size, blocks, ours, theirs):
    """From 524288 bytes of key and value on; a lone scalar's value takes 11 bytes in the index."""
    assert check_names(["k" * (size - 11)], ours, theirs) == blocks


def test_full_block(tmp_path):
    """A block ends once it has 262144 bytes: lengths around that, one by one."""
    found = set()
    for size in range(262_050, 262_100):
        names = ["k" * size, "l", "m", "n"]
        found.add(check_names(names, tmp_path / f"ours-{size}", tmp_path / f"theirs-{size}"))
    assert found == {1, 2}


def test_long_keys_among_short_ones(ours, theirs):
    names = ["a", "b" * 600_000, "b" * 600_001, "c", "d" * 300_000, "e" * 524_288, "f"]
    assert check_names(names, ours, theirs) == 6


def graph_variables():
    """One variable cut in twelve, one in three along axis 1, two whole ones; some live on the other CPU."""
    normal = tf1.random_normal_initializer(seed=1)
    cut = tf1.fixed_size_partitioner
    with tf1.device(lambda op: "/cpu:1" if op.name.startswith(("wide", "whole")) else "/cpu:0"):
        tf1.get_variable("scope/emb", [30, 4], initializer=normal, partitioner=cut(12))
        tf1.get_variable("wide", [4, 8], initializer=normal, partitioner=cut(3, axis=1))
        tf1.get_variable("whole", [3], initializer=normal)
        tf1.get_variable("counts", initializer=np.arange(5))


def add_variable(writer, variable, value):
    part = variable._get_save_slice_info()
    if part is None:
        writer.add(variable.op.name, value)
    else:
        extents = tuple(zip(part.var_offset, part.var_shape, strict=True))
        writer.add_slice(part.full_name, part.full_shape, tb.TensorSlice(extents), value)


@pytest.mark.parametrize("sharded", [False, True])
def test_saver(sharded, ours, theirs):
    """A `Saver` sorts by name, slices too: part_0, part_10, part_11, part_1. Sharded, each device has a data file."""

    def save(session, _):
        tf1.train.Saver(sharded=sharded).save(session, str(theirs), write_meta_graph=False)
        variables = sorted(tf1.global_variables(), key=lambda each: each.name)
        devices = sorted({each.device for each in variables}) if sharded else [None]
        with tb.create(ours) as writer:
            for number, device in enumerate(devices):
                if number:
                    writer.start_shard()
                for each in variables:
                    if device in (None, each.device):
                        add_variable(writer, each, session.run(each))
        return len(devices)

    assert in_session(graph_variables, save) == 1 + sharded
    assert_same_files(ours, theirs)


def test_merged(tmp_path, ours, theirs):
    """MergeV2Checkpoints, on slices that are in the second part and in the third."""
    rows = any_bits(DType.float32, (4, 3))
    parts = [str(tmp_path / name) for name in "abc"]
    save_raw(parts[0], ("first", "", tf.constant(1.0)))
    save_raw(parts[1], ("rows", "4 3 0,1:-", rows[:1]), ("second", "", tf.constant(2)))
    save_raw(parts[2], ("rows", "4 3 1,3:-", rows[1:]))
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=str(theirs), delete_old_dirs=False
    )
    with tb.create(ours) as writer:
        writer.add("first", np.float32(1))
        writer.start_shard()
        writer.add_slice("rows", (4, 3), tb.TensorSlice.parse_spec("0,1:-"), rows[:1])
        writer.add("second", np.int32(2))
        writer.start_shard()
        writer.add_slice("rows", (4, 3), tb.TensorSlice.parse_spec("1,3:-"), rows[1:])
    assert_same_files(ours, theirs)


@pytest.mark.parametrize("dtype", [*PLAIN, DType.string])
def test_slices(dtype, ours, theirs):
    """Open-ended, closed, in no order, and one that is the whole tensor."""
    array = (
        any_bits(dtype, (6, 4)) if dtype.itemsize else strings(*(b"s" * n for n in range(24))).reshape(6, 4)
    )
    pieces = {"4,2:-": array[4:], "0,4:0,1": array[:4, :1], "0,4:1,3": array[:4, 1:]}
    whole = ("whole", "6 4 -:-", tensor(array))
    save_raw(theirs, *(("x", f"6 4 {spec}", tensor(piece)) for spec, piece in pieces.items()), whole)
    with tb.create(ours) as writer:
        for spec, piece in pieces.items():
            writer.add_slice("x", (6, 4), tb.TensorSlice.parse_spec(spec), piece)
        writer.add_slice("whole", (6, 4), tb.TensorSlice.parse_spec("-:-"), array)
    assert_same_files(ours, theirs)


NAMES = ["b", "a/x", "z.y", "a.Sb", "/", "..", "ünï ✓", "part_0", "Z"]


@pytest.mark.parametrize("root", ["vars", "", "other/nested"])
@pytest.mark.parametrize("counter", [True, False])
def test_checkpoint(root, counter, tmp_path, theirs):
    """`tf.train.Checkpoint` of a dictionary: `save`, which counts, and `write`, which does not.

    A dictionary keeps its order, but the arguments of `Checkpoint` are sorted.
    """
    names = NAMES if root else sorted(NAMES)
    values = {name: any_bits(DType.float32, (number,), number) for number, name in enumerate(names)}
    checkpoint = tf.train.Checkpoint(
        **below(root, {name: tf.Variable(value, name=f"{name}_") for name, value in values.items()})
    )
    prefix = checkpoint.save(str(theirs)) if counter else checkpoint.write(str(theirs))
    graph = tb.ObjectGraph.from_names(names, root=root, save_counter=counter)
    with tb.create(tmp_path / "ours") as writer:
        for _, _, each in graph.attributes():
            if each.full_name == "save_counter":
                writer.add(each.checkpoint_key, np.int64(1))
            else:
                writer.add(each.checkpoint_key, values[each.full_name])
                each.full_name += "_"
        writer.add_object_graph(graph)
    assert_same_files(tmp_path / "ours", prefix)


def test_keras_model_with_its_optimizer(tmp_path, theirs):
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [layers.Input((4,)), layers.Dense(8), layers.BatchNormalization(), layers.Dense(2)]
    )
    model.compile("adam", "mse")
    model.fit(np.ones((8, 4), np.float32), np.zeros((8, 2), np.float32), verbose=0)
    prefix = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(theirs))
    with tb.open(prefix) as ckpt:
        assert len(ckpt) > 15
    rebuild(prefix, tmp_path / "ours")
    assert_same_files(tmp_path / "ours", prefix)
