"""The public way in and out: tb.open and tb.create."""

import collections.abc
import os
import pathlib

import ml_dtypes
import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import raw, snapshot
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch):
    """Flushing is the slow part, and test_commit.py looks at that."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def prefix(tmp_path):
    return tmp_path / "m"


@pytest.fixture
def written(prefix):
    """A checkpoint with one of each kind."""
    with tb.create(prefix) as writer:
        writer.add("b/kernel", np.arange(6, dtype=np.float32).reshape(2, 3))
        writer.add("a", 7)
        writer.add_slice("emb", [3], tb.TensorSlice.parse_spec("1,2"), np.array([2, 3], np.int8))
        writer.add_slice("emb", [3], tb.TensorSlice.parse_spec("0,1"), np.array([1], np.int8))
        writer.add_object_graph(tb.ObjectGraph.from_names(["a"]))
    with tb.open(prefix) as ckpt:
        yield ckpt


def one(prefix, value, **options):
    """What comes back after one value was added."""
    with tb.create(prefix, **options) as writer:
        entry = writer.add("k", value)
    with tb.open(prefix) as ckpt:
        assert ckpt.entry("k") == entry
        return ckpt["k"]


# Reading


def test_it_is_a_mapping(written):
    keys = [OBJECT_GRAPH_KEY, "a", "b/kernel", "emb"]
    assert isinstance(written, collections.abc.Mapping)
    assert list(written) == list(written.keys()) == keys
    assert len(written) == 4
    assert [key for key, _ in written.items()] == [key for key, _ in written.entries()] == keys
    assert "a" in written
    assert written.get("nope") is None
    assert written["emb"].tolist() == [1, 2, 3]
    assert dict(written)["a"] == 7


@pytest.mark.parametrize(
    "key", ["nope", "", "a/", b"a", 7, None, "\udcff", chr(0xD800), "\0emb\0\1\1\1\udc81\udc82"]
)
def test_what_it_does_not_contain(written, key):
    """The last one is the key of a piece of `emb`, which does not show, but can be asked for."""
    assert key not in written
    if isinstance(key, str) and not key.startswith("\0"):
        with pytest.raises(tb.TensorNotFoundError):
            written[key]
        assert written.get(key) is None


def test_a_missing_key_shows_near_ones(written):
    with pytest.raises(KeyError, match=r"/m: key 'b/kernal': no such tensor; near: 'b/kernel'$") as caught:
        written["b/kernal"]
    assert isinstance(caught.value, tb.TensorNotFoundError)
    assert (caught.value.path, caught.value.key) == (written.prefix, "b/kernal")


def test_entry(written):
    entry = written.entry("b/kernel")
    assert (entry.dtype, entry.shape, entry.nbytes, entry.shard, entry.offset) == (
        "float32",
        (2, 3),
        24,
        0,
        0,
    )
    assert written.entry("a") == dict(written.entries())["a"]
    assert written.entry("emb").slices == (tb.TensorSlice(((1, 2),)), tb.TensorSlice(((0, 1),)))
    with pytest.raises(tb.TensorNotFoundError):
        written.entry("nope")


def test_repr_and_attributes(written):
    assert repr(written) == f"<Checkpoint '{written.prefix}', 1 data shard>"
    assert written.num_shards == 1
    assert written.object_graph.root.children.keys() == {"vars", "save_counter"}


def test_region(written):
    assert written.read("b/kernel", np.s_[1, ::2]).tolist() == [3, 5]
    assert written.read("emb", np.s_[1:]).tolist() == [2, 3]


def test_path_objects_and_strings(written, prefix):
    for path in (prefix, str(prefix), pathlib.Path(f"{prefix}.index")):
        with tb.open(path) as ckpt:
            assert ckpt.prefix == str(prefix)


def test_close_twice(written):
    array = written["a"]
    written.close()
    written.close()
    assert array == 7


def test_two_readers_and_a_listing_in_between(written):
    listing = iter(written.entries())
    next(listing)
    assert written["a"] == 7
    assert len([*listing]) == 3


# Writing


def test_bytes_are_those_that_tensorflow_writes(prefix, tmp_path):
    """SaveV2 of `v/b`, then `v/a`. The index is spelt out in test_table.py."""
    with tb.create(prefix) as writer:
        writer.add("v/b", np.array([1, 2], np.float32))
        writer.add("v/a", np.int32(7))
    assert snapshot(tmp_path) == {
        "m.data-00000-of-00001": raw("0000803f 00000040 07000000"),
        "m.index": raw(
            '00 00 06 0801 1a02 0801 00 03 0d "v/a" 0803 1200 2008 2804 35a78d9d88'
            '02 01 0f "b" 0801 1204 12020802 2808 35593ce535 00000000 01000000 00 9f11d190'
            '00000000 01000000 00 c0f2a1b0 00 01 02 "w" 00 37 00000000 01000000 00 d2c9ad15'
            "3c08 490e" + "00" * 36 + "57fb808b247547db"
        ),
    }


def test_bytes_of_strings_and_slices(prefix, tmp_path):
    with tb.create(prefix) as writer:
        writer.add("s", [b"hello", b"world"])
        writer.add_slice("y", [8, 4], tb.TensorSlice.parse_spec("2,2:-"), np.zeros((2, 4), np.uint8))
    assert snapshot(tmp_path)["m.data-00000-of-00001"] == raw('05 05 b56f994f "helloworld"') + bytes(8)
    index = snapshot(tmp_path)["m.index"]
    assert raw("0807 1204 12020802 2810 351b4cd607") in index  # string [2], 16 bytes
    assert raw("0804 1208 12020808 12020804 3a08 0a04 0802 1002 0a00") in index  # uint8 [8, 4], one slice
    assert raw('00 "y" 0001 0102 8282 807f') in index


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        (1, "int64", ()),
        (1.5, "float64", ()),
        (True, "bool", ()),
        (1j, "complex128", ()),
        ([1, 2, 3], "int64", (3,)),
        ([[1.0], [2.0]], "float64", (2, 1)),
        (np.float16(3), "float16", ()),
        (np.zeros((0, 3), np.uint16), "uint16", (0, 3)),
        (np.array(5, ml_dtypes.bfloat16), "bfloat16", ()),
        (np.array([1, 2], ml_dtypes.float8_e4m3fn), "float8_e4m3fn", (2,)),
        (np.array([-8, 7], ml_dtypes.int4), "int4", (2,)),
        (memoryview(b"ab"), "uint8", (2,)),
    ],
)
def test_numbers(prefix, value, dtype, shape):
    array = one(prefix, value)
    assert (array.dtype, array.shape) == (np.asarray(value).dtype, shape)
    assert array.tolist() == np.asarray(value).tolist()
    with tb.open(prefix) as ckpt:
        assert ckpt.entry("k").dtype == dtype


def test_types_below_one_byte_are_stored_in_the_low_bits(prefix, tmp_path):
    with tb.create(prefix) as writer:
        writer.add("k", np.array([-8, -1, 7], ml_dtypes.int4))
    assert snapshot(tmp_path)["m.data-00000-of-00001"] == raw("08 0f 07")


@pytest.mark.parametrize(
    ("value", "values", "shape"),
    [
        (b"ab", b"ab", ()),
        ("aé", "aé".encode(), ()),
        ("", b"", ()),
        (b"ab\0", b"ab\0", ()),  # NumPy's own string types lose zeros at the end
        ("ab\0", b"ab\0", ()),
        ([b"a\0", b"bc"], [b"a\0", b"bc"], (2,)),
        (["x", "yz"], [b"x", b"yz"], (2,)),
        ([["x"], ["yz\0\0"]], [[b"x"], [b"yz\0\0"]], (2, 1)),
        (np.array(["x", "yz"]), [b"x", b"yz"], (2,)),
        (np.array([b"x", b"yz"]), [b"x", b"yz"], (2,)),
        (np.array([b"x\0", "é"], object), [b"x\0", "é".encode()], (2,)),
        (np.array(b"x\0", object), b"x\0", ()),
        (np.array([], "S1"), [], (0,)),
    ],
)
def test_text_and_bytes(prefix, value, values, shape):
    array = one(prefix, value)
    assert (array.dtype, array.shape) == (object, shape)
    assert array.tolist() == values


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy 1")
def test_numpy_strings_of_variable_size(prefix):
    assert one(prefix, np.array(["x\0", "yz"], np.dtypes.StringDType())).tolist() == [b"x\0", b"yz"]


@pytest.mark.parametrize("dtype", [">f4", ">i8", ">c16", ">u2", ">f2"])
def test_big_endian_arrays(prefix, dtype):
    values = np.array([[1, 2], [3, 4]], dtype)
    array = one(prefix, values)
    assert array.dtype == values.dtype.newbyteorder("<")
    assert array.tolist() == values.tolist()


@pytest.mark.parametrize(
    "make", [lambda a: a.T, lambda a: a[::2], lambda a: a[:, ::-1], np.asfortranarray, lambda a: a[1:2]]
)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, object])
def test_arrays_that_are_not_contiguous(prefix, make, dtype):
    whole = np.arange(12).reshape(3, 4)
    values = make(whole.astype("S").astype(object) if dtype is object else whole.astype(dtype))
    array = one(prefix, values)
    assert (array.dtype, array.shape, array.tolist()) == (values.dtype, values.shape, values.tolist())


@pytest.mark.parametrize(
    ("value", "error", "reason"),
    [
        ([None], tb.ArgumentError, "a string tensor of NoneType, expected bytes or str"),
        (object(), tb.ArgumentError, "a string tensor of object, expected bytes or str"),
        (2**70, tb.ArgumentError, "a string tensor of int, expected bytes or str"),
        (
            np.array(["2020-01-01"], "M8[D]"),
            tb.UnsupportedError,
            "NumPy type datetime64.* has no TensorFlow counterpart",
        ),
        (np.zeros(2, "V3"), tb.UnsupportedError, "has no TensorFlow counterpart"),
        ("\ud800", tb.ArgumentError, "surrogates not allowed"),
        ([[1], [2, 3]], tb.ArgumentError, "not an array: .*inhomogeneous"),
    ],
)
def test_values_that_can_not_be_stored(tmp_path, prefix, value, error, reason):
    with pytest.raises(error, match=reason), tb.create(prefix) as writer:
        writer.add("k", value)
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("key", ["k" * 600_000, "ü/\n\0\x1b", "\udcff", ":0", "\U0010ffff", " "])
def test_keys(prefix, key):
    with tb.create(prefix) as writer:
        writer.add(key, 1)
        writer.add("z", 2)
    with tb.open(prefix) as ckpt:
        assert sorted(ckpt) == sorted([key, "z"])
        assert (ckpt[key], ckpt["z"]) == (1, 2)


def test_keys_of_more_than_one_block(prefix):
    """Long ones with a common start, so that separators matter."""
    keys = [f"{'s' * 300_000}/{i}" for i in range(4)] + ["t" * 600_000, "u"]
    with tb.create(prefix) as writer:
        for i, key in enumerate(keys):
            writer.add(key, i)
    with tb.open(prefix) as ckpt:
        assert {key: int(value) for key, value in ckpt.items()} == {key: i for i, key in enumerate(keys)}


def test_the_same_input_gives_the_same_bytes(tmp_path):
    for directory in ("x", "y"):
        (tmp_path / directory).mkdir()
        with tb.create(tmp_path / directory / "m") as writer:
            for name in ("b", "a"):
                writer.add(name, np.arange(5.0))
                writer.start_shard()
            writer.add("c", ["x"])
    assert snapshot(tmp_path / "x") == snapshot(tmp_path / "y")


# Chunks


@pytest.mark.parametrize(
    "chunks",
    [
        [bytes(range(24))],
        [bytes(range(10)), bytearray(range(10, 20)), memoryview(bytes(range(20, 24)))],
        [np.arange(12, dtype=np.uint8), b"", np.arange(12, 24, dtype=np.uint8).reshape(3, 4)],
        (bytes([byte]) for byte in range(24)),
        [memoryview(bytes(range(24))[::-1])[::-1]],  # not contiguous
        [np.frombuffer(bytes(range(24)), "<f4").reshape(2, 3)],
        [np.arange(24, dtype=np.uint8).reshape(4, 6).T.copy().T],
        [memoryview(np.frombuffer(bytes(range(24)), "<f4").reshape(2, 3))],
    ],
)
def test_add_chunks(prefix, chunks):
    with tb.create(prefix) as writer:
        writer.add("before", np.int8(1))
        entry = writer.add_chunks("k", "float32", [2, 3], chunks)
    assert (entry.dtype, entry.shape, entry.nbytes, entry.offset) == (tb.DType.float32, (2, 3), 24, 1)
    with tb.open(prefix) as ckpt:
        assert ckpt["k"].tobytes() == bytes(range(24))


@pytest.mark.parametrize("dtype", [tb.DType.int4, "int4", ml_dtypes.int4, np.dtype(ml_dtypes.int4)])
def test_add_chunks_takes_types_and_their_names(prefix, dtype):
    with tb.create(prefix) as writer:
        writer.add_chunks("k", dtype, (), [b"\x07"])
    with tb.open(prefix) as ckpt:
        assert ckpt["k"].astype(int) == 7


@pytest.mark.parametrize(
    ("dtype", "shape", "chunks", "error", "reason"),
    [
        ("float32", [2], [b"1234567"], ValueError, r"key 'k': chunks of 7 bytes, float32 \[2\] takes 8"),
        ("float32", [2], [b"12345678", b"9"], ValueError, "chunks of 9 bytes"),
        ("float32", [-1, -2], [b"12345678"], ValueError, r"\[-1, -2\]"),
        ("string", [1], [b"\1"], ValueError, "tensors of type string can't be added as chunks"),
        ("variant", [], [], ValueError, "tensors of type variant can't be added as chunks"),
        ("float33", [], [b"1234"], tb.BundleError, "no data type 'float33'; near: "),
        (None, [], [b"1234"], tb.ArgumentError, "no data type None"),
        (np.longdouble, [], [b"1234"], tb.UnsupportedError, "has no TensorFlow counterpart"),
        (
            "float32",
            [1],
            [np.float64([1])],
            tb.ArgumentError,
            "a chunk of float64, the tensor is float32, little-endian",
        ),
        (
            "float32",
            [1],
            [np.ones(1, ">f4")],
            tb.ArgumentError,
            "a chunk of >f4, the tensor is float32, little-endian",
        ),
        (
            "float32",
            [2],
            [memoryview(np.ones(1))],
            tb.ArgumentError,
            "a chunk of float64, the tensor is float32",
        ),
        (
            "int16",
            [1],
            [np.ones(1, ml_dtypes.bfloat16)],
            tb.ArgumentError,
            "a chunk of bfloat16, the tensor is int16",
        ),
        ("int8", [1], [[1]], tb.ArgumentError, "a chunk of int64, the tensor is int8"),
    ],
)
def test_add_chunks_refused(tmp_path, prefix, dtype, shape, chunks, error, reason):
    with pytest.raises(error, match=reason), tb.create(prefix) as writer:
        writer.add_chunks("k", dtype, shape, chunks)
    assert snapshot(tmp_path) == {}


# Slices


def test_a_slice_that_is_all_of_a_tensor_is_an_ordinary_tensor(prefix):
    with tb.create(prefix) as writer:
        writer.add_slice("a", [2], tb.TensorSlice.parse_spec("-"), [1, 2])
        writer.add_slice("b", [2], tb.TensorSlice.parse_spec("0,2"), [3, 4])
    with tb.open(prefix) as ckpt:
        assert ckpt.entry("a").slices == ckpt.entry("b").slices == ()
        assert (ckpt["a"].tolist(), ckpt["b"].tolist()) == ([1, 2], [3, 4])


HALF = tb.TensorSlice.parse_spec("0,1")


@pytest.mark.parametrize(
    ("calls", "error", "reason"),
    [
        ([("k", [2], HALF, [1, 2])], ValueError, r"'k': slice 0,1 of \[2\] is not \[2\]"),
        (
            [("k", [2], tb.TensorSlice.parse_spec("-"), [1, 2, 3])],
            ValueError,
            r"'k': slice - of \[2\] is not \[3\]",
        ),
        ([("k", [2], HALF, [1]), ("k", [2], HALF, [1])], tb.ConflictError, "two tensors with one key"),
        (
            [("k", [2], HALF, [1]), ("k", [3], HALF, [1])],
            tb.ConflictError,
            r"slice of int64 \[3\], before it int64 \[2\]",
        ),
        (
            [("k", [2], HALF, [1]), ("k", [2], HALF, [1.5])],
            tb.ConflictError,
            r"slice of float64 \[2\], before it int64",
        ),
        (
            [("k", [2, 2], HALF, [1])],
            (tb.BundleError, ValueError),
            "slice 0,1 has 1 dimensions, the tensor has 2",
        ),
        (
            [("k", [2], tb.TensorSlice.parse_spec("1,2"), [1, 2])],
            (tb.BundleError, ValueError),
            "reaches outside",
        ),
    ],
)
def test_add_slice_refused(tmp_path, prefix, calls, error, reason):
    def write():
        with tb.create(prefix) as writer:
            for call in calls:
                writer.add_slice(*call)

    with pytest.raises(error, match=reason):
        write()
    assert snapshot(tmp_path) == {}


def test_a_slice_that_was_refused_leaves_no_trace(prefix):
    with tb.create(prefix) as writer:
        writer.add_slice("k", [2], HALF, [1])
        with pytest.raises(tb.ConflictError):
            writer.add_slice("k", [2], HALF, [9])
        writer.add_slice("k", [2], tb.TensorSlice.parse_spec("1,1"), [2])
    with tb.open(prefix) as ckpt:
        assert ckpt["k"].tolist() == [1, 2]


def test_a_tensor_and_slices_of_one_name(tmp_path, prefix):
    def write():
        with tb.create(prefix) as writer:
            writer.add_slice("k", [2], HALF, [1])
            writer.add("k", [1, 2])

    with pytest.raises(tb.ConflictError, match="two tensors with one key") as caught:
        write()
    assert caught.value.key == "k"
    assert snapshot(tmp_path) == {}


# Shards, ends, refusals


def test_start_shard(prefix, tmp_path):
    with tb.create(prefix) as writer:
        for i in range(3):
            writer.add(f"k{i}", np.int8(i))
            if i < 2:
                writer.start_shard()
    assert [name for name in snapshot(tmp_path) if "data" in name] == [
        f"m.data-0000{i}-of-00003" for i in range(3)
    ]
    with tb.open(prefix) as ckpt:
        assert [(entry.shard, entry.offset) for _, entry in ckpt.entries()] == [(0, 0), (1, 0), (2, 0)]
        assert [int(value) for value in ckpt.values()] == [0, 1, 2]


def test_two_tensors_with_one_key(tmp_path, prefix):
    def write():
        with tb.create(prefix) as writer:
            writer.add("k", 1)
            writer.add("k", 2)

    with pytest.raises(tb.ConflictError, match="two tensors with one key") as caught:
        write()
    assert (caught.value.path, caught.value.key) == (str(prefix), "k")
    assert snapshot(tmp_path) == {}


def test_the_empty_key(prefix):
    with (
        pytest.raises(ValueError, match="a tensor needs a key of at least one byte"),
        tb.create(prefix) as writer,
    ):
        writer.add("", 1)


def test_two_object_graphs(prefix):
    with tb.create(prefix) as writer:
        writer.add_object_graph(tb.ObjectGraph())
        with pytest.raises(tb.ConflictError, match="two tensors with one key"):
            writer.add_object_graph(tb.ObjectGraph())


def test_nothing_is_visible_until_the_block_ends(tmp_path, prefix):
    with tb.create(prefix) as writer:
        assert writer.prefix == str(prefix)
        writer.add("k", 1)
        with pytest.raises(tb.MissingFileError):
            tb.open(prefix)
    assert list(snapshot(tmp_path)) == ["m.data-00000-of-00001", "m.index"]


def test_an_exception_leaves_nothing(tmp_path, prefix):
    def write():
        with tb.create(prefix) as writer:
            writer.add("k", 1)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write()
    assert snapshot(tmp_path) == {}


def test_existing_and_overwrite(prefix):
    one(prefix, 1)
    with pytest.raises(tb.ConflictError, match="exists; use --overwrite") as caught:
        tb.create(prefix)
    assert caught.value.path == f"{prefix}.index"
    assert one(prefix, 2, overwrite=True) == 2


def test_reading_and_overwriting_the_same_checkpoint(prefix):
    """What was read stays what it was, though the file it came from goes."""
    one(prefix, np.arange(1000))
    with tb.open(prefix) as ckpt, tb.create(prefix, overwrite=True) as writer:
        values = ckpt["k"]
        writer.add("k", values[::-1])
    assert values.tolist() == list(range(1000))
    with tb.open(prefix) as ckpt:
        assert ckpt["k"].tolist() == list(range(1000))[::-1]


def test_missing_directory(tmp_path):
    with pytest.raises(tb.MissingFileError, match="no such directory; make it first"):
        tb.create(tmp_path / "none" / "m")
