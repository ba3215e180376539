"""TensorFlow reads what we write, and we read what TensorFlow writes, whatever it is."""

import itertools
import pathlib
import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from support.contents import any_bits, content, our_reading
from support.strategies import names, shapes
from support.tensorflow import (
    NUMERIC,
    PLAIN,
    QUANTISED,
    VERSION,
    joined_by_tensorflow,
    restore_raw,
    save_raw,
    tensor,
    tf,
    their_reading,
)
from tensorbundle.dtypes import DType


def described(array, dtype=None):
    """What both readings say of an array."""
    return DType.of(array.dtype).value if dtype is None else dtype, array.shape, content(array)


def strings(values, shape=None):
    """An object array; NumPy's own byte strings lose zero bytes at their end."""
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(len(values) if shape is None else shape)


def test_nothing_is_missing():
    newer = {"float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz", "int2", "uint2", "float4_e2m1fn"}
    unknown = {dtype.value for dtype in DType if dtype.itemsize and dtype not in NUMERIC}
    assert unknown == (newer if VERSION < (2, 16) else set())


def test_every_dtype(tmp_path):
    arrays = {
        f"{dtype}/{shape}": any_bits(dtype, shape, 1) for dtype in PLAIN for shape in [(3, 5), (), (0, 4)]
    }
    quantised = {dtype.value: any_bits(dtype, (4, 2)) for dtype in QUANTISED}
    with tb.create(tmp_path / "m") as writer:
        for key, array in arrays.items():
            writer.add(key, array)
        for dtype, array in quantised.items():
            writer.add_chunks(dtype, dtype, array.shape, array)
    expected = {key: described(array) for key, array in arrays.items()}
    expected |= {dtype: described(array, dtype) for dtype, array in quantised.items()}
    assert their_reading(tmp_path / "m") == expected
    assert our_reading(tmp_path / "m") == expected


@pytest.mark.parametrize(
    ("given_as", "values"),
    [
        (b"bytes", [b"bytes"]),
        ("ünï", ["ünï".encode()]),
        (b"ends with zeros\0\0", [b"ends with zeros\0\0"]),
        ([b"\0", b"", b"a\0b\0"], [b"\0", b"", b"a\0b\0"]),
        (["x", "yz\0"], [b"x", b"yz\0"]),
        (np.array([b"ab", b"c"]), [b"ab", b"c"]),
        (strings([b"long" * 50_000, b""]), [b"long" * 50_000, b""]),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_strings(given_as, values, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("s", given_as)
    shape = () if isinstance(given_as, str | bytes) else (len(values),)
    assert their_reading(tmp_path / "m") == {"s": ("string", shape, values)}


def test_data_shards(tmp_path):
    arrays = {f"t{number}": any_bits(DType.float32, (number,), number) for number in range(6)}
    with tb.create(tmp_path / "m") as writer:
        for number, (key, array) in enumerate(arrays.items()):
            if number % 2 == 0 and number:
                writer.start_shard()
            writer.add(key, array)
        writer.start_shard()  # an empty one
    assert len(list(tmp_path.glob("m.data-*-of-00004"))) == 4
    assert their_reading(tmp_path / "m") == {key: described(array) for key, array in arrays.items()}


BOXES = {"0,2:-": np.s_[:2], "2,4:0,3": np.s_[2:, :3], "2,4:3,2": np.s_[2:, 3:]}
REGIONS = {"-:-": np.s_[:], "1,4:1,3": np.s_[1:5, 1:4], "5,1:-": np.s_[5:], "0,6:4,1": np.s_[:, 4:]}


@pytest.mark.parametrize("dtype", [*PLAIN, DType.string])
def test_slices(dtype, tmp_path):
    """In three data shards. Of some types TensorFlow reads only what was stored as one slice."""
    words = strings([b"w" * number for number in range(30)], (6, 5))
    array = any_bits(dtype, (6, 5)) if dtype.itemsize else words
    with tb.create(tmp_path / "m") as writer:
        for number, (spec, box) in enumerate(BOXES.items()):
            if number:
                writer.start_shard()
            writer.add_slice("x", (6, 5), tb.TensorSlice.parse_spec(spec), array[box])
    for spec, box in {**BOXES, **(REGIONS if joined_by_tensorflow(dtype) else {})}.items():
        assert restore_raw(tmp_path / "m", "x", dtype, f"6 5 {spec}") == described(array[box])
    assert our_reading(tmp_path / "m") == {"x": described(array)}


def test_object_graph_without_values(tmp_path):
    """Also where the encoded graph ends with a zero byte."""
    graph = tb.ObjectGraph.from_names([], save_counter=False)
    with tb.create(tmp_path / "m") as writer:
        writer.add_object_graph(graph)
    assert their_reading(tmp_path / "m") == {
        "_CHECKPOINTABLE_OBJECT_GRAPH": ("string", (), [graph.encode()]),
    }
    checkpoint = tf.train.Checkpoint(vars={})
    checkpoint.read(str(tmp_path / "m")).assert_consumed()


numbers = st.builds(any_bits, st.sampled_from(PLAIN), shapes, st.integers(0, 2**32))
words = st.builds(strings, st.lists(st.binary(max_size=9), max_size=5))
checkpoints = st.dictionaries(names, st.one_of(numbers, numbers, words), min_size=1, max_size=6)


def spec_of(low, high, size):
    return "-" if (low, high) == (0, size) else f"{low},{high - low}"


@st.composite
def cuts(draw):
    """An array that TensorFlow can put together, and where to cut it along each dimension."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple))
    dtypes = [dtype for dtype in PLAIN if joined_by_tensorflow(dtype)]
    array = any_bits(draw(st.sampled_from(dtypes)), shape, draw(st.integers(0, 99)))
    axis = draw(st.integers(0, len(shape) - 1))
    places = sorted({0, shape[axis], *draw(st.lists(st.integers(0, shape[axis]), max_size=3))})
    pieces = []
    for low, high in itertools.pairwise(places):
        box = tuple(slice(low, high) if each == axis else slice(None) for each in range(len(shape)))
        spec = ":".join(spec_of(low, high, size) if each == axis else "-" for each, size in enumerate(shape))
        pieces.append((spec, array[box]))
    return array, draw(st.permutations(pieces))


@given(checkpoints, st.lists(st.booleans(), min_size=6, max_size=6))
def test_any_checkpoint_of_ours(arrays, new_shards):
    with tempfile.TemporaryDirectory() as directory:
        prefix = pathlib.Path(directory, "m")
        with tb.create(prefix) as writer:
            for (key, array), new_shard in zip(arrays.items(), new_shards, strict=False):
                if new_shard:
                    writer.start_shard()
                writer.add(key, array)
        assert their_reading(prefix) == {key: described(array) for key, array in arrays.items()}


@given(checkpoints)
def test_any_checkpoint_of_theirs(arrays):
    with tempfile.TemporaryDirectory() as directory:
        prefix = pathlib.Path(directory, "m")
        save_raw(prefix, *((key, "", tensor(array)) for key, array in arrays.items()))
        assert our_reading(prefix) == {key: described(array) for key, array in arrays.items()}


@given(names, cuts())
def test_any_slices(name, cut):
    array, pieces = cut
    with tempfile.TemporaryDirectory() as directory:
        ours, theirs = pathlib.Path(directory, "ours"), pathlib.Path(directory, "theirs")
        with tb.create(ours) as writer:
            for spec, piece in pieces:
                writer.add_slice(name, array.shape, tb.TensorSlice.parse_spec(spec), piece)
        shape = " ".join(map(str, array.shape))
        save_raw(theirs, *((name, f"{shape} {spec}", tensor(piece)) for spec, piece in pieces))
        assert their_reading(ours) == our_reading(theirs) == {name: described(array)}
