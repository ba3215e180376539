"""docs/format.md: TensorFlow writes the bytes of its examples, reads what the page says, and fails where it says so."""

import importlib
import itertools
import os

import numpy as np
import pytest
from google.protobuf.wrappers_pb2 import BoolValue

import tensorbundle as tb
from support.bundles import plain, snapshot, table_bytes, write_bundle
from support.contents import content
from support.format_page import (
    ENUMS,
    SCHEMA,
    TEXT,
    as_tensor,
    fences,
    fields_of,
    files,
    joined,
    messages_in,
    read_bytes,
    read_table,
    read_value,
    rows,
    stored_tensors,
    table,
)
from support.object_graphs import GRAPH_KEY, key_of
from support.tensorflow import (
    NOT_JOINED,
    restore_raw,
    save_raw,
    tensor,
    tf,
    tf1,
    their_reading,
)
from tensorbundle.coding import encode_ordered_int
from tensorbundle.dtypes import DType
from tensorbundle.entries import BundleHeader, TensorEntry
from tensorbundle.keys import decode_key
from tensorbundle.slices import TensorSlice

FENCES = fences()
WRITTEN = [pair for pair in itertools.pairwise(FENCES) if pair[0].tag == "python tensorflow"]


def cases(tag):
    """All cases in the examples of one kind, which are tables."""
    return [case for fence in FENCES if fence.tag == tag for case in table(fence)]


def dumps(tag):
    return [rows(fence.lines) for fence in FENCES if fence.tag == tag]


# What TensorFlow writes


@pytest.mark.parametrize(("code", "example"), WRITTEN, ids=str)
def test_tensorflow_writes_the_example(code, example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = {"tf": tf}
    exec(compile("\n" * code.line + code.text, "docs/format.md", "exec"), program)
    if example.tag in ("checkpoint", "v1-file"):
        shown = {name: joined(parts) for name, parts in files(example).items()}
        found = snapshot(tmp_path)
        assert {name: found.get(name) for name in shown} == shown
    elif example.tag == "variants":
        *parts, crc = rows(example.lines)
        assert (tmp_path / "m.data-00000-of-00001").read_bytes() == joined(parts)
        with tb.open(tmp_path / "m") as ckpt:
            assert ckpt.entry("v").crc32c == crc.value
    elif example.tag == "object-graph":
        reader = tf.train.load_checkpoint(program["prefix"])
        assert reader.get_tensor(GRAPH_KEY) == joined(rows(example.lines))
    else:
        assert example.tag == "state-file"
        lines = [line.rpartition("|")[0].rstrip() for line in example.lines]
        assert (tmp_path / "checkpoint").read_text(encoding="utf-8").splitlines() == lines


def test_every_whole_file_is_written():
    whole = {"checkpoint", "v1-file", "object-graph", "state-file", "variants"}
    assert [example for _, example in WRITTEN] == [fence for fence in FENCES if fence.tag in whole]


@pytest.mark.parametrize("example", [each for each in FENCES if each.tag == "checkpoint"], ids=str)
def test_tensorflow_reads_the_checkpoint(example, tmp_path):
    shown = files(example)
    for name, parts in shown.items():
        (tmp_path / name).write_bytes(joined(parts))
    *shards, index = shown
    prefix = tmp_path / index.removesuffix(".index")
    assert {name.encode() for name, _ in tf.train.list_variables(str(prefix))} == {
        key for key, _, _ in read_table(shown[index]).items if key[:1] not in (b"", b"\0")
    }
    for name in shards:
        for key, piece, dtype, values in stored_tensors(shown[name]):
            [full] = (shape for each, shape in tf.train.list_variables(str(prefix)) if each == key.decode())
            spec = f"{' '.join(map(str, full))} {piece}" if piece else ""
            expected = dtype.value, values.shape, content(values)
            assert restore_raw(prefix, key.decode(), dtype.value, spec) == expected
    their_reading(prefix)


def test_tensorflow_reads_v1(tmp_path):
    [[(name, parts)]] = [files(each).items() for each in FENCES if each.tag == "v1-file"]
    (tmp_path / name).write_bytes(joined(parts))
    assert restore_raw(tmp_path / name, "x", "float32") == ("float32", (3,), np.float32([-1, 0, 2]).tobytes())
    expected = "int32", (2, 2), np.int32([1, -1, 300, 0]).tobytes()
    assert restore_raw(tmp_path / name, "n", "int32") == expected
    reader = tf.train.load_checkpoint(str(tmp_path / name))
    assert reader.get_variable_to_shape_map() == {"x": [3], "n": [2, 2]}
    with pytest.raises(tf.errors.OpError, match="Sliced checkpoints are not supported"):
        reader.get_tensor("n")


def test_tensors(tmp_path):
    for number, case in enumerate(cases("tensor")):
        dtype, values = as_tensor(case["type"], case["shape"], case["values"])
        prefix = tmp_path / f"{number}"
        save_raw(prefix, ("k", "", tensor(values, dtype)))
        assert (tmp_path / f"{number}.data-00000-of-00001").read_bytes() == read_bytes(case["bytes"])


def test_strings(tmp_path):
    for number, (*parts, crc) in enumerate(dumps("strings")):
        values = [read_value(row.label) for row in parts if row.value is None]
        save_raw(tmp_path / f"{number}", ("k", "", tf.constant(values, tf.string)))
        assert (tmp_path / f"{number}.data-00000-of-00001").read_bytes() == joined(parts)
        with tb.open(tmp_path / f"{number}") as ckpt:
            assert ckpt.entry("k").crc32c == crc.value


def test_signed_numbers_in_slice_keys(tmp_path):
    """As starts of slices of one element, in a tensor that is never whole."""
    numbers = [read_value(case["value"]) for case in cases("ordered-code") if case["kind"] == "signed"]
    starts = [number for number in numbers if 0 <= number < 2**62]
    save_raw(tmp_path / "m", *(("k", f"{2**62} {start},1", tf.constant([1.0])) for start in starts))
    with tb.open(tmp_path / "m") as ckpt:
        keys = [key for key, entry in ckpt.index.raw_entries() if not entry.slices]
    head, tail = b"\0k\0\1\1\1", encode_ordered_int(1)
    assert len(starts) > 5
    assert sorted(keys) == sorted(head + encode_ordered_int(start) + tail for start in starts)


def test_v1_elements(tmp_path):
    """Those of types that TensorFlow writes; the page says which these are."""
    written = set()
    for number, case in enumerate(cases("v1-elements")):
        dtype, values = as_tensor(case["type"], case["shape"], case["values"])
        path = tmp_path / f"{number}"
        try:
            tf.raw_ops.SaveSlices(
                filename=str(path), tensor_names=["k"], shapes_and_slices=[""], data=[tensor(values, dtype)]
            )
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            continue
        message = read_bytes(case["bytes"])
        assert b"\x1a" + bytes([len(message)]) + message in path.read_bytes()
        written.add(case["type"])
    every = {case["type"] for case in cases("v1-elements")}
    assert every - written == {"bfloat16", "uint64"}


def test_checkpoint_keys():
    for case in cases("checkpoint-key"):
        if case["attribute"] == "VARIABLE_VALUE":
            assert key_of(each.decode() for each in read_value(case["local names"])) == case["key"]


def test_state_file_by_hand(tmp_path):
    [fence] = (each for each in FENCES if each.tag == "state-file-by-hand")
    lines = [line.rpartition("|") for line in fence.lines]
    (tmp_path / "checkpoint").write_text("".join(f"{left}\n" for left, _, _ in lines), encoding="utf-8")
    state = tf.train.get_checkpoint_state(str(tmp_path))
    found = [state.model_checkpoint_path, *state.all_model_checkpoint_paths]
    expected = dict.fromkeys(right.strip() for _, _, right in lines if right.strip())
    paths = {item: read_value(item.partition(" = ")[2]).decode() for item in expected}
    latest = [path for item, path in paths.items() if item.startswith("latest")]
    every = [path for item, path in paths.items() if item.startswith("path")]
    assert [os.path.relpath(each, tmp_path) for each in found] == latest + every


# Schemas

MODULES = [
    *("core.protobuf.tensor_bundle", "core.protobuf.trackable_object_graph", "core.framework.versions"),
    *("core.framework.tensor_shape", "core.framework.tensor_slice", "core.framework.tensor"),
    *("core.util.saved_tensor_slice", "python.training.checkpoint_state"),
]


def test_schema():
    theirs = {"BoolValue": BoolValue.DESCRIPTOR}
    for name in MODULES:
        module = importlib.import_module(f"tensorflow.{name}_pb2")
        theirs |= dict(messages_in(module.DESCRIPTOR.message_types_by_name.values()))
    assert SCHEMA.keys() - theirs.keys() == set()
    for name, shown in SCHEMA.items():
        known = fields_of(theirs[name])
        known.pop("resource_handle_val", None)
        assert shown == known, name
    endianness = theirs["BundleHeaderProto"].enum_types_by_name["Endianness"].values
    assert {"BundleHeaderProto.Endianness": {each.name: each.number for each in endianness}} == ENUMS


# The other byte order


def test_big_endian_tensors(tmp_path):
    for number, case in enumerate(cases("tensor-big-endian")):
        dtype, values = as_tensor(case["type"], case["shape"], case["values"])
        data = read_bytes(case["bytes"])
        header = BundleHeader(1, big_endian=True)
        prefix = write_bundle(
            tmp_path / f"{number}", {b"k": plain(dtype, values.shape, data)}, [data], header
        )
        if dtype.number < 24:
            assert restore_raw(prefix, "k", dtype)[1:] == (values.shape, content(values))
        else:
            with pytest.raises(tf.errors.UnimplementedError, match="Byte-swapping not supported"):
                restore_raw(prefix, "k", dtype)


def test_big_endian_strings(tmp_path):
    for *parts, crc in dumps("strings-big-endian"):
        values = [read_value(row.label) for row in parts if row.value is None]
        entry = TensorEntry(DType.string, (len(values),), len(joined(parts)), crc32c=crc.value)
        header = BundleHeader(1, big_endian=True)
        prefix = write_bundle(tmp_path / "m", {b"k": entry}, [joined(parts)], header)
        assert restore_raw(prefix, "k", "string")[2] == values


# Where the page says that TensorFlow is wrong

ONE = np.float32(1).tobytes()


def listed(prefix):
    return [name for name, _ in tf.train.list_variables(str(prefix))]


def test_keys_in_a_damaged_block_vanish(tmp_path):
    prefix = tmp_path / "m"
    with tb.create(prefix) as writer:
        for number in range(6000):
            writer.add(f"{number:05d}{'x' * 100}", np.float32(number))
    with tb.open(prefix) as ckpt:
        table_ = ckpt.index.table
        lost = {decode_key(key) for key, _ in table_.block_items(1)}
        every, place = {*ckpt}, table_.handles[1].offset + 100
    data = bytearray((tmp_path / "m.index").read_bytes())
    data[place] ^= 1
    (tmp_path / "m.index").write_bytes(data)
    assert set(listed(prefix)) == every - lost
    assert lost
    assert not tf.train.load_checkpoint(str(prefix)).has_tensor(min(lost))


def test_without_a_header_the_first_tensor_is_taken_for_it(tmp_path):
    prefix = write_bundle(tmp_path / "m", {}, [ONE + ONE])
    entries = [(key, plain("float32", (), ONE).encode()) for key in (b"a", b"b")]
    (tmp_path / "m.index").write_bytes(table_bytes(entries))
    assert listed(prefix) == ["b"]


def test_no_shards(tmp_path):
    header = bytes.fromhex("1a020801")
    prefix = write_bundle(tmp_path / "m", {b"a": plain("float32", (), ONE)}, [ONE], header)
    assert listed(prefix) == ["a"]
    with pytest.raises(tf.errors.NotFoundError, match=r"m\.data-00000-of-00000"):
        restore_raw(prefix, "a", "float32")


def test_wrong_byte_order_is_not_noticed(tmp_path):
    header = BundleHeader(1, big_endian=True)
    prefix = write_bundle(tmp_path / "m", {b"a": plain("float32", (), ONE)}, [ONE], header)
    assert restore_raw(prefix, "a", "float32")[2] == ONE[::-1]


def test_wrong_size_of_strings_is_not_noticed(tmp_path):
    save_raw(tmp_path / "m", ("a", "", tf.constant([b"hello", b"world"])))
    with tb.open(tmp_path / "m") as ckpt:
        entry = ckpt.entry("a")
    (tmp_path / "m.index").write_bytes(
        table_bytes([(b"", BundleHeader(1).encode()), (b"a", entry._replace(nbytes=10).encode())])
    )
    assert restore_raw(tmp_path / "m", "a", "string")[2] == [b"hello", b"world"]


def test_paths_are_patterns(tmp_path):
    save_raw(tmp_path / "m[1]", ("a", "", tf.constant(1.0)))
    with pytest.raises(tf.errors.OpError):
        restore_raw(tmp_path / "m[1]", "a", "float32")
    save_raw(tmp_path / "n", ("a", "", tf.constant(1.0)))
    assert tf.train.load_checkpoint(str(tmp_path / "n.index")).get_variable_to_shape_map() == {}


def test_types_that_are_not_joined():
    [row] = (line for line in TEXT.splitlines() if line.startswith("| slices of "))
    named = {name for name in DType if f" {name}," in row or f" {name} " in row}
    assert named == NOT_JOINED
    assert "the float8 types" in row


def test_slice_key_without_its_tensor(tmp_path):
    key = TensorSlice(((0, 1),)).key(b"a")
    prefix = write_bundle(tmp_path / "m", {key: plain("float32", (1,), ONE)}, [ONE])
    with pytest.raises(UnicodeDecodeError):
        listed(prefix)


def test_variants_are_listed_and_not_read(tmp_path):
    save_raw(tmp_path / "m", ("v", "", tf.raw_ops.OptionalNone()))
    assert listed(tmp_path / "m") == ["v"]
    with pytest.raises(tf.errors.OpError, match="not convertible to numpy dtype"):
        tf.train.load_checkpoint(str(tmp_path / "m")).get_tensor("v")


def test_max_shard_size(tmp_path):
    policy = tf.train.experimental.MaxShardSizePolicy(8)
    options = tf.train.CheckpointOptions(experimental_sharding_callback=policy)
    saved = {
        "empty": tf.Variable(tf.zeros([0, 2])),
        "half": tf.Variable(tf.zeros([8], tf.float16)),
        "full": tf.Variable(tf.zeros([4])),
    }
    prefix = tf.train.Checkpoint(**saved).write(str(tmp_path / "m"), options=options)
    with tb.open(prefix) as ckpt:
        assert key_of(["empty"]) not in ckpt
        assert ckpt.entry(key_of(["half"])).slices
        assert key_of(["empty"]) in [each.checkpoint_key for _, _, each in ckpt.object_graph.attributes()]
    for name, error in (("empty", tf.errors.NotFoundError), ("half", tf.errors.InvalidArgumentError)):
        with pytest.raises(error):
            tf.train.Checkpoint(**{name: tf.Variable(tf.ones_like(saved[name]))}).read(prefix)
    full = tf.Variable(tf.ones([4]))
    tf.train.Checkpoint(full=full).read(prefix).expect_partial()
    assert full.numpy().tolist() == [0.0] * 4


def test_merging_a_bundle_with_an_unused_shard(tmp_path):
    write_bundle(tmp_path / "a", {b"a": plain("float32", (), ONE)}, [ONE, ONE])
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(tmp_path / "a")],
        destination_prefix=str(tmp_path / "m"),
        delete_old_dirs=False,
    )
    assert "m.data-00000-of-00001" in snapshot(tmp_path)
    with pytest.raises(tf.errors.NotFoundError, match=r"m\.data-00000-of-00002"):
        restore_raw(tmp_path / "m", "a", "float32")


def test_object_with_the_name_of_a_mark(tmp_path):
    prefix = tf.train.Checkpoint(**{"a.ATTRIBUTES": tf.Variable(1.0)}).write(str(tmp_path / "m"))
    with pytest.raises(tf.errors.NotFoundError):
        tf.train.Checkpoint(**{"a.ATTRIBUTES": tf.Variable(2.0)}).read(prefix)


def test_partitioned_variable_by_name(tmp_path):
    """Only its last part gets its values."""
    prefix = tf.train.Checkpoint(v=tf.Variable([1.0, 2.0, 3.0, 4.0], name="v")).save(str(tmp_path / "m"))
    with tf.Graph().as_default(), tf1.Session() as session:
        cut = tf1.fixed_size_partitioner(2)
        parts = list(tf1.get_variable("v", [4], initializer=tf1.zeros_initializer(), partitioner=cut))
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().restore(session, prefix)
        assert [each.tolist() for each in session.run(parts)] == [[0.0, 0.0], [3.0, 4.0]]
