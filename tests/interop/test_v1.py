"""V1 files: TensorFlow writes them and we read them, byte for byte the same the other way, and it restores ours."""

from pathlib import Path

import numpy as np
import pytest

import tensorbundle as tb
from support import golden
from support.bundles import raw, table_bytes
from support.contents import any_bits, our_reading
from support.object_graphs import COUNTER_KEY, GRAPH_KEY, key_of
from support.tensorflow import (
    NUMERIC,
    QUANTISED,
    VERSION,
    ShardedVariable,
    below,
    described,
    in_session,
    other_values,
    restore_by_name,
    restore_raw,
    save_raw,
    tensor,
    tf,
    tf1,
)
from support.v1_files import SavedTensorSlices, item, saved, snappy_table, v1_bytes
from tensorbundle.coding import encode_varint
from tensorbundle.dtypes import DType
from tensorbundle.locating import resolve_prefix
from tensorbundle.members import v1_files
from tensorbundle.tools import convert, verify
from tensorbundle.v1.saved_slices import WRITABLE, encode_meta

SHAPES = {"matrix": (3, 5), "scalar": (), "empty": (0, 4), "one": (1,), "long": (9_000,)}
CASES = [case for case in golden.load() if case.is_v1 and case.version <= VERSION]


def strings(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


def save_slices(path, *saved):
    """Run SaveSlices on (key, shape and slice, tensor) triples."""
    keys, specs, values = zip(*saved, strict=True)
    tf.raw_ops.SaveSlices(filename=str(path), tensor_names=keys, shapes_and_slices=specs, data=values)


def restored(prefix, keys=None):
    """Every tensor, or some, as TensorFlow's restore op reads them; its reader does not read everything."""
    prefix = resolve_prefix(str(prefix))
    dtypes = tf.train.load_checkpoint(prefix).get_variable_to_dtype_map()
    return {key: restore_raw(prefix, key, dtypes[key].name) for key in (keys or sorted(dtypes))}


def assert_same_file(ours, theirs):
    assert ours.read_bytes() == theirs.read_bytes()


def assert_readable(path, expected):
    """What we read, and that nothing is wrong; then TensorFlow of all that we make of it, which is the same file."""
    folder = path.parent / f"again-{path.name.replace('?', 'x')}"
    folder.mkdir()
    assert our_reading(path) == expected
    assert verify(path).problems == []
    convert(path, folder / "v1", to="v1")
    convert(path, folder / "v2", to="v2")
    convert(folder / "v2", folder / "back", to="v1")
    for name in ("v1", "v2", "back"):
        assert restored(folder / name) == expected
    assert_same_file(folder / "v1", folder / "back")
    return folder / "v1"


# What TensorFlow writes


@pytest.mark.parametrize("dtype", [each for each in NUMERIC if each in WRITABLE])
def test_numbers(dtype, tmp_path):
    arrays = {name: any_bits(dtype, shape, seed) for seed, (name, shape) in enumerate(SHAPES.items())}
    save_slices(tmp_path / "m", *((name, "", tensor(array, dtype)) for name, array in arrays.items()))
    expected = {name: described(tensor(array, dtype)) for name, array in arrays.items()}
    assert restored(tmp_path / "m") == expected
    assert_same_file(assert_readable(tmp_path / "m", expected), tmp_path / "m")
    if dtype not in QUANTISED:  # arrays have these types one to one
        with tb.create(tmp_path / "numpy") as writer:
            for name, array in arrays.items():
                writer.add(name, array)
        convert(tmp_path / "numpy", tmp_path / "ours", to="v1")
        assert_same_file(tmp_path / "ours", tmp_path / "m")


@pytest.mark.parametrize("dtype", [each for each in NUMERIC if each not in WRITABLE])
def test_types_that_tensorflow_does_not_write_either(dtype, tmp_path):
    with pytest.raises((tf.errors.UnimplementedError, tf.errors.InvalidArgumentError)):
        save_slices(tmp_path / "m", ("x", "", tensor(any_bits(dtype, (2,)), dtype)))
    save_raw(tmp_path / "v2", ("x", "", tensor(any_bits(dtype, (2,)), dtype)))
    with pytest.raises(tb.UnsupportedError, match=f"the V1 format has no values of type {dtype}"):
        convert(tmp_path / "v2", tmp_path / "v1", to="v1")


def test_strings(tmp_path):
    values = {
        "scalar": strings(b"hello").reshape(()),
        "lengths": strings(*(b"x" * size for size in (0, 1, 127, 128, 16_383, 16_384, 300_000))),
        "matrix": strings(b"", b"\0", b"a\0\0", b"\xff\xfe", "ünï".encode(), b"b").reshape(2, 3),
        "empty": strings().reshape(0, 2),
        "many": strings(*(b"%d" % number for number in range(5000))),
    }
    save_slices(tmp_path / "m", *((name, "", tf.constant(array)) for name, array in values.items()))
    expected = {name: described(tf.constant(array)) for name, array in values.items()}
    assert_same_file(assert_readable(tmp_path / "m", expected), tmp_path / "m")


GRID = np.arange(24).reshape(6, 4)
CUTS = {
    "rows": ["0,2:-", "2,4:-"],
    "spelt out": ["0,2:0,4", "2,4:0,4"],
    "not in order": ["4,2:-", "0,1:-", "1,3:-"],
    "columns": ["-:0,1", "-:1,3"],
    "both": ["0,3:-", "3,3:0,2", "3,3:2,2"],
}


@pytest.mark.parametrize("specs", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("dtype", [*sorted(each for each in NUMERIC if each in WRITABLE), DType.string])
def test_slices(specs, dtype, tmp_path):
    whole = (
        any_bits(dtype, (6, 4))
        if dtype.itemsize
        else strings(*(b"w" * each for each in range(24))).reshape(6, 4)
    )
    boxes = [tb.TensorSlice.parse_spec(spec).box((6, 4)) for spec in specs]
    pieces = [
        ("emb", f"6 4 {spec}", tensor(whole[box], dtype)) for spec, box in zip(specs, boxes, strict=True)
    ]
    save_slices(tmp_path / "m", *pieces, ("a", "", tf.constant(1.5)))
    convert(tmp_path / "m", tmp_path / "v2", to="v2")
    convert(tmp_path / "v2", tmp_path / "v1", to="v1")
    assert_same_file(tmp_path / "v1", tmp_path / "m")
    expected = (dtype.value, (6, 4), described(tensor(whole, dtype))[2])
    assert our_reading(tmp_path / "m")["emb"] == expected
    for (_, spec, piece), prefix in zip(
        pieces * 2, [tmp_path / "m"] * len(specs) + [tmp_path / "v2"] * len(specs), strict=True
    ):
        assert restore_raw(prefix, "emb", dtype, spec) == described(piece)
    try:
        theirs = restore_raw(tmp_path / "m", "emb", dtype)
    except tf.errors.OpError:  # it puts together some types only
        return
    assert theirs == expected


def test_names(tmp_path):
    """In the order of their bytes, whatever they are, as far as they are text."""
    names = [
        "",
        "a",
        "a/b",
        "a:0",
        "é",
        "\0",
        "\0a",
        "\x01",
        "~",
        "\U0010ffff",
        "x" * 300,
        " ",
        "scope/w_1",
        "A",
    ]
    save_slices(
        tmp_path / "m", *((name, "", tf.constant(float(number))) for number, name in enumerate(names))
    )
    assert {name: each.item() for name, each in tb.open(tmp_path / "m").items()} == {
        name: float(number) for number, name in enumerate(names)
    }
    convert(tmp_path / "m", tmp_path / "ours", to="v1")
    assert_same_file(tmp_path / "ours", tmp_path / "m")
    save_slices(tmp_path / "bad", (b"\xff", "", tf.constant(1.0)))
    with pytest.raises(tf.errors.OpError, match="Failed to find the saved tensor slices"):
        tf.train.load_checkpoint(str(tmp_path / "bad"))
    assert tb.open(tmp_path / "bad")["\udcff"] == 1.0


def test_several_blocks(tmp_path):
    """Many tensors in one, and large ones in blocks of their own."""
    values = [
        (f"scope/{number:04d}", "", tf.constant(any_bits(DType.float32, (30,), number)))
        for number in range(4000)
    ]
    values += [(f"z{size}", "", tf.zeros(size)) for size in (60_000, 131_050, 131_060, 131_072, 200_000)]
    save_slices(tmp_path / "m", *values)
    convert(tmp_path / "m", tmp_path / "ours", to="v1")
    assert_same_file(tmp_path / "ours", tmp_path / "m")
    with tb.open(tmp_path / "m") as ckpt:
        assert len(ckpt.index.tables[0].handles) > 5
    assert our_reading(tmp_path / "m") == {name: described(value) for name, _, value in values}


# What a Saver writes


def partitioned(name, array, parts, axis=0):
    """A variable in parts along an axis, with these values."""

    def initial(shape, dtype=None, partition_info=None):
        start = partition_info.var_offset
        return array[tuple(slice(low, low + size) for low, size in zip(start, shape, strict=True))]

    partitioner = tf1.fixed_size_partitioner(parts, axis)
    return tf1.get_variable(name, array.shape, array.dtype, initializer=initial, partitioner=partitioner)


def variable(name, array):
    return tf1.get_variable(name, initializer=tf.constant(array), use_resource=True)


EMB = np.arange(40, dtype=np.float32).reshape(10, 4)
WIDE = np.arange(36, dtype=np.float32).reshape(4, 9)
VALUES = {
    "half": np.float16([1, -2.5]),
    "double": np.array([[1.5], [-2]]),
    "complex": np.complex64([1 + 2j]),
    "step/int8": np.int8([-128, 127]),
    "unsigned": np.uint16([65535, 0]),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float32),
    "long": np.array([-1, 2**62]),
    "words": strings(b"x", b"", b"\0\xff"),
}


def everything():
    """Variables of every kind; those with an odd number in their name are on the other device."""
    for name, array in VALUES.items():
        variable(name, array)
    partitioned("emb", EMB, 3)
    partitioned("wide", WIDE, 2, axis=1)
    partitioned("alone", EMB, 1)
    tf1.train.get_or_create_global_step()


def expected():
    found = {name: described(tf.constant(array)) for name, array in VALUES.items()}
    found |= {
        "emb": described(tf.constant(EMB)),
        "wide": described(tf.constant(WIDE)),
        "alone": described(tf.constant(EMB)),
    }
    return found | {"global_step": described(tf.constant(0, tf.int64))}


def on_two(operation):
    return f"/cpu:{sum(map(ord, operation.name)) % 2}"


def saved_by_saver(folder, *, sharded, **options):
    """Save `everything`, and return the path that TensorFlow gives."""

    def build():
        with tf1.device(on_two if sharded else None):
            everything()
        return tf1.train.Saver(sharded=sharded, write_version=tf1.train.SaverDef.V1, **options)

    return in_session(build, lambda session, saver: saver.save(session, str(folder / "m"), global_step=12))


@pytest.mark.parametrize("sharded", [False, True])
def test_what_a_saver_writes(sharded, tmp_path):
    path = saved_by_saver(tmp_path, sharded=sharded)
    assert path == str(tmp_path / ("m-12-?????-of-00002" if sharded else "m-12"))
    assert len(v1_files(path)) == 1 + sharded
    for given in (path, tmp_path, tmp_path / "m-12", tmp_path / "m-12.meta", *v1_files(path)):
        assert our_reading(given) == expected()
    again = assert_readable(Path(path), expected())
    if not sharded:
        with tb.open(path) as ckpt:
            assert ckpt.entry("alone").slices == ()
        keys = expected().keys() - {"alone"}  # whose only slice is spelt out, and is not by us
        assert restored(again, sorted(keys)) == restored(path, sorted(keys))


@pytest.mark.parametrize("sharded", [False, True])
def test_a_saver_restores_what_we_write(sharded, tmp_path):
    """Into variables in parts, from what was in parts and from what was not."""
    path = saved_by_saver(tmp_path, sharded=sharded)
    convert(path, tmp_path / "v1", to="v1")
    convert(path, tmp_path / "v2", to="v2")
    convert(tmp_path / "v2", tmp_path / "back", to="v1")

    def build():
        everything()
        return tf1.train.Saver(), tf1.global_variables()

    def restore(session, built):
        saver, variables = built
        right = session.run(variables)
        for name in ("v1", "v2", "back"):
            for each in variables:
                session.run(
                    each.assign(tf.zeros_like(each)) if each.dtype != tf.string else each.assign(["?"] * 3)
                )
            saver.restore(session, str(tmp_path / name))
            for one, other in zip(session.run(variables), right, strict=True):
                np.testing.assert_array_equal(one, other)

    in_session(build, restore)


def test_a_saver_called_eagerly(tmp_path):
    values = {name: tf.Variable(tf.constant(array), name=name) for name, array in VALUES.items()}
    tf1.train.Saver(values, write_version=tf1.train.SaverDef.V1).save(None, str(tmp_path / "m"))
    found = {name: described(each) for name, each in values.items()}
    assert_same_file(assert_readable(tmp_path / "m", found), tmp_path / "m")
    restore_by_name(tmp_path / "again-m/v1", found)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_golden_files(case, tmp_path):
    """Name-based ones become object-based, and TensorFlow restores that too."""
    values = restored(case.path)
    assert our_reading(case.path) == values
    convert(case.path, tmp_path / "tf2", to="tf2")
    usable = {name: each for name, each in values.items() if each[0] not in QUANTISED}
    variables = {name: other_values(each) for name, each in usable.items()}
    status = tf.train.Checkpoint(**below("vars", variables)).restore(str(tmp_path / "tf2"))
    status.assert_existing_objects_matched()
    if usable == values:
        status.assert_consumed()
    assert {name: described(each) for name, each in variables.items()} == usable
    convert(tmp_path / "tf2", tmp_path / "tf1", to="tf1")
    convert(tmp_path / "tf1", tmp_path / "v1", to="v1")
    assert restored(tmp_path / "v1") == values


# What TensorFlow restores from ours


def test_the_ways_to_restore_by_name(tmp_path):
    arrays = {"w": np.float32([1, 2]), "scope/n": np.array(7), "word": np.array(b"x\0", object)}
    with tb.create(tmp_path / "v2") as writer:
        for name, array in arrays.items():
            writer.add(name, array)
    convert(tmp_path / "v2", tmp_path / "v1", to="v1")
    path = str(tmp_path / "v1")
    found = {name: described(tf.constant(array)) for name, array in arrays.items()}
    reader = tf.train.load_checkpoint(path)
    assert {name: reader.get_tensor(name).tolist() for name in ("w", "scope/n")} == {
        "w": [1, 2],
        "scope/n": 7,
    }
    assert dict(tf.train.list_variables(path)) == {name: list(array.shape) for name, array in arrays.items()}
    restore_by_name(path, found)
    variables = {name: other_values(each, name=name) for name, each in found.items()}
    tf.train.Checkpoint(anything=list(variables.values())).restore(path).assert_existing_objects_matched()
    assert {name: described(each) for name, each in variables.items()} == found

    def build():
        fresh = tf1.get_variable("other/w", [2])
        tf1.train.init_from_checkpoint(path, {"w": "other/w"})
        return fresh

    in_session(build, lambda session, fresh: np.testing.assert_array_equal(session.run(fresh), [1, 2]))


def objects():
    """Variables of types that TensorFlow's reader of V1 files knows and does not know, in all kinds of places."""
    module = tf.Module()
    module.half = tf.Variable(np.float16([1, -2]), name="half")
    module.list = [tf.Variable(3, name="three"), tf.Variable(["x", ""], name="words")]
    module.table = {"a.b/c": tf.Variable(np.complex64([1j]), name="complex")}
    sharded = ShardedVariable(
        [tf.Variable([[1.0]], name="part_0"), tf.Variable([[2.0], [3.0]], name="part_1")]
    )
    return module, tf.train.Checkpoint(module=module, sharded=sharded)


@pytest.mark.parametrize("way", ["restore", "read", "deferred"])
def test_an_object_based_checkpoint_in_a_v1_file(way, tmp_path):
    """TensorFlow finds its object graph there and restores it: everything is consumed, also what comes later."""
    module, checkpoint = objects()
    prefix = checkpoint.save(str(tmp_path / "m"))
    right = our_reading(prefix)
    convert(prefix, tmp_path / "v1", to="v1")
    assert our_reading(tmp_path / "v1") == right
    assert our_reading(tmp_path / "v1").keys() >= {GRAPH_KEY, COUNTER_KEY, key_of(["module", "half"])}
    for each in module.variables:
        each.assign(tf.zeros_like(each) if each.dtype != tf.string else ["?", "?"])
    if way == "deferred":
        module, _ = objects()
        fresh = tf.train.Checkpoint()
        status = fresh.restore(str(tmp_path / "v1"))
        for each in module.variables:
            each.assign(tf.zeros_like(each) if each.dtype != tf.string else ["?", "?"])
        fresh.module = module
        status.assert_existing_objects_matched()
    else:
        getattr(checkpoint, way)(str(tmp_path / "v1")).assert_consumed()
    assert described(module.half) == right[key_of(["module", "half"])]
    assert described(module.list[1]) == right[key_of(["module", "list", "1"])]
    assert described(module.table["a.b/c"]) == right[key_of(["module", "table", "a.b/c"])]
    convert(tmp_path / "v1", tmp_path / "v2", to="v2")
    tf.train.Checkpoint(module=module).restore(str(tmp_path / "v2")).assert_existing_objects_matched()
    assert our_reading(tmp_path / "v2") == right


# Which file is read


def test_which_of_several_is_read(tmp_path):
    """A bundle before a V1 file, one file before several, and several by their pattern."""
    save_slices(tmp_path / "m-00000-of-00002", ("x", "", tf.constant(1.0)))
    save_slices(tmp_path / "m-00001-of-00002", ("y", "", tf.constant(1.0)))
    pattern = tmp_path / "m-?????-of-00002"
    assert our_reading(pattern).keys() == restored(pattern).keys() == {"x", "y"}
    save_slices(tmp_path / "m", ("x", "", tf.constant(2.0)))
    assert our_reading(tmp_path / "m") == restored(tmp_path / "m") == {"x": described(tf.constant(2.0))}
    assert our_reading(pattern).keys() == {"x", "y"}
    save_raw(tmp_path / "m", ("x", "", tf.constant(3.0)))
    assert our_reading(tmp_path / "m") == restored(tmp_path / "m") == {"x": described(tf.constant(3.0))}


# Encodings that nobody writes


def file_of(dtype, shape, proto):
    """A file of one tensor, whose values are encoded like that."""
    key, record = item("x", np.zeros(shape, np.int8))
    message = SavedTensorSlices.FromString(record)
    message.data.ClearField("data")
    head = message.data.SerializeToString()
    data = head + b"".join(b"\x1a" + encode_varint(len(each)) + each for each in proto)
    return v1_bytes([saved("x", dtype, shape)], [(key, b"\x12" + encode_varint(len(data)) + data)])


def varint(number):
    return encode_varint(number).hex()


ODD = {
    "floats one by one": ("float32", (2,), ["2d 0000803f 2d 00000040"]),
    "floats in two lists": ("float32", (2,), ["2a04 0000803f 2a04 00000040"]),
    "values in two messages": ("float32", (2,), ["2a04 0000803f", "2a04 00000040"]),
    "numbers one by one": ("int16", (3,), ["38 05 38 ac02 38 ffffffffffffffffff01"]),
    "a list and one": ("int64", (2,), ["5201 05 50 07"]),
    "beyond int8": ("int8", (4,), [f"3a 11 {varint(300)} {varint(2**64 - 200)} {varint(2**31)}"]),
    "beyond uint8": ("uint8", (2,), [f"3a 04 {varint(300)} {varint(511)}"]),
    "beyond int32": ("int32", (2,), [f"3a 0a {varint(2**32 + 5)} {varint(2**33 - 1)}"]),
    "beyond half": ("float16", (2,), [f"6a 06 {varint(70000)} {varint(2**17 - 1)}"]),
    "beyond bool": ("bool", (3,), [f"5a 08 {varint(7)} {varint(2**33)} 00 00"]),
    "beyond 64 bits": ("int64", (1,), ["52 0a ffffffffffffffffff7f"]),
    "other values too": ("int64", (2,), ['0801 2202 "ab" 2a04 0000803f 5202 0304 3a01 05']),
    "too few": ("int64", (3,), ["5202 0304"]),
    "too many": ("int64", (1,), ["5202 0304"]),
    "no values": ("int64", (2,), ['2210 "0123456789abcdef"']),
    "empty list": ("int64", (0,), ["5200"]),
    "cut short": ("int64", (2,), ["5202 0380"]),
    "eleven bytes": ("int64", (1,), ["520b ffffffffffffffffffff01"]),
}


@pytest.mark.parametrize(("dtype", "shape", "proto"), ODD.values(), ids=ODD)
def test_odd_encodings_mean_the_same(dtype, shape, proto, tmp_path):
    (tmp_path / "m").write_bytes(file_of(dtype, shape, map(raw, proto)))
    try:
        theirs = restore_raw(tmp_path / "m", "x", dtype)
    except tf.errors.OpError:
        theirs = None
    try:
        ours = our_reading(tmp_path / "m")["x"]
    except tb.CorruptionError:
        ours = None
    assert ours == theirs


def test_compressed_blocks(tmp_path):
    arrays = {"a": np.zeros((300, 200), np.float32), "b": np.arange(5)}
    tensors = [saved(name, DType.of(each.dtype), each.shape) for name, each in arrays.items()]
    items = [item(name, array) for name, array in arrays.items()]
    (tmp_path / "m").write_bytes(snappy_table([(b"", encode_meta(tensors)), *items]))
    assert our_reading(tmp_path / "m") == restored(tmp_path / "m")


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ("0a06 1204 0801 1002", "min consumer version 2"),
        ("0a0d 120b 08ffffffffffffffffff01", "producer version -1"),
        ("0a05 1203 1a01 01", "disallows consumer version 1"),
        ("0a05 1203", "Failed to find the saved tensor slices"),
    ],
)
def test_meta_records_that_both_refuse(meta, reason, tmp_path):
    (tmp_path / "m").write_bytes(table_bytes([(b"", raw(meta))]))
    with pytest.raises((ValueError, tf.errors.OpError), match=reason):
        tf.train.load_checkpoint(str(tmp_path / "m"))
    with pytest.raises((tb.UnsupportedError, tb.CorruptionError)):
        tb.open(tmp_path / "m")


def test_sizes_that_both_refuse(tmp_path):
    """An estimate above 2 GiB; the values are a sixth of that."""
    elements = 2**31 // 10
    with pytest.raises(tf.errors.InvalidArgumentError, match="Tensor slice is too large to serialize"):
        save_slices(tmp_path / "theirs", ("x", "", tf.zeros(elements, tf.int8)))
    with tb.create(tmp_path / "v2") as writer:
        writer.add("x", np.zeros(elements, np.int8))
    with pytest.raises(tb.UnsupportedError, match="V1 allows 2147483648; partition the tensor first"):
        convert(tmp_path / "v2", tmp_path / "v1", to="v1")
