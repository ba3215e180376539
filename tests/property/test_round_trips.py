"""What is written comes back, whatever it is."""

import itertools
import pathlib
import tempfile
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from support.bundles import snapshot, table_bytes
from support.strategies import arrays, int64s, names, shapes
from tensorbundle import coding
from tensorbundle.block import BlockBuilder, iterate, seek
from tensorbundle.payloads import decode_strings, encode_strings
from tensorbundle.storage.local import LocalFile
from tensorbundle.table import TableReader


@given(st.integers(0, 2**64 - 1), st.binary(max_size=5))
def test_varint(value, tail):
    encoded = coding.encode_varint(value)
    assert coding.read_varint(b"x" + encoded + tail, 1) == (value, 1 + len(encoded))


@given(st.integers(0, 2**32 - 1))
def test_mask(crc):
    assert coding.unmask(coding.mask(crc)) == crc


@given(int64s, int64s, st.binary(max_size=5))
def test_ordered_int_keeps_order(value, other, tail):
    encoded = coding.encode_ordered_int(value)
    assert coding.read_ordered_int(encoded + tail, 0) == (value, len(encoded))
    assert (encoded < coding.encode_ordered_int(other)) == (value < other)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=5))
def test_ordered_uint_keeps_order(value, other, tail):
    encoded = coding.encode_ordered_uint(value)
    assert coding.read_ordered_uint(encoded + tail, 0) == (value, len(encoded))
    assert (encoded < coding.encode_ordered_uint(other)) == (value < other)


@given(st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=5))
def test_ordered_string_keeps_order(value, other, tail):
    encoded = coding.encode_ordered_string(value)
    assert coding.read_ordered_string(encoded + tail, 0) == (value, len(encoded))
    assert (encoded < coding.encode_ordered_string(other)) == (value < other)


extents = st.lists(
    st.tuples(st.integers(0, 2**63 - 1), st.one_of(st.just(-1), st.integers(1, 2**63 - 1))), max_size=6
)


@given(st.binary(min_size=1, max_size=20), extents)
def test_slice(name, each):
    part = tb.TensorSlice(tuple(each))
    assert tb.TensorSlice.parse(part.encode()) == part
    assert tb.TensorSlice.parse_key(part.key(name)) == (name, part)


@given(st.lists(st.binary(max_size=300), max_size=40))
def test_strings(values):
    head, nbytes, _ = encode_strings(values)
    payload = head + b"".join(values)
    assert len(payload) == nbytes
    assert decode_strings(memoryview(payload), len(values)) == values


items = st.dictionaries(st.binary(max_size=12), st.binary(max_size=40), max_size=60).map(
    lambda found: sorted(found.items())
)


@given(items, st.sampled_from([1, 2, 16, 1024]))
def test_block(pairs, interval):
    builder = BlockBuilder(interval)
    for key, value in pairs:
        builder.add(key, value)
    block = builder.finish()
    assert builder.size == len(block)
    assert list(iterate(block)) == pairs
    for key, value in pairs:
        found, start, end, _ = seek(block, key) or pytest.fail(f"{key!r} is not found")
        assert (found, block[start:end]) == (key, value)


@given(items, st.binary(max_size=12), st.integers(150_000, 300_000))
def test_table(pairs, absent, size):
    """Every third value is large, so that most tables have several blocks."""
    pairs = [(key, value.ljust(size, b"v") if i % 3 == 2 else value) for i, (key, value) in enumerate(pairs)]
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "table")
        path.write_bytes(table_bytes(pairs))
        with LocalFile(str(path)) as file:
            table = TableReader(file)
            assert list(table.items()) == pairs
            assert {key: table.get(key) for key, _ in pairs} == dict(pairs)
            assert table.get(absent) == dict(pairs).get(absent)


@st.composite
def partitions(draw):
    """An array of at least one dimension, and slices that tile it, in any order."""
    shape = draw(shapes.filter(lambda each: len(each) > 0))
    array = draw(arrays(shape=shape))
    axis = draw(st.integers(0, len(shape) - 1))
    cuts = sorted({0, shape[axis], *draw(st.lists(st.integers(0, shape[axis]), max_size=3))})
    slices = [
        tb.TensorSlice(tuple((low, high - low) if each == axis else (0, -1) for each in range(len(shape))))
        for low, high in itertools.pairwise(cuts)
    ]
    return array, draw(st.permutations(slices))


texts = st.text(st.characters(codec="utf-8"), max_size=4)
contents = st.one_of(
    st.tuples(st.just("array"), arrays()),
    st.tuples(st.just("array"), st.binary(max_size=9)),
    st.tuples(st.just("array"), st.lists(st.binary(max_size=9), min_size=1)),
    st.tuples(st.just("array"), st.lists(texts, min_size=1)),
    st.tuples(st.just("slices"), partitions()),
    st.tuples(st.just("shard"), st.none()),
)


@given(st.lists(st.tuples(names, contents), max_size=8, unique_by=lambda pair: pair[0]))
def test_checkpoint(plan):
    expected = {}
    for name, (kind, content) in plan:
        if kind == "slices" and content[1]:
            expected[name] = content[0]
        elif kind == "array":
            expected[name] = content

    def write(prefix):
        with tb.create(prefix) as writer:
            for name, (kind, content) in plan:
                if kind == "array":
                    writer.add(name, content)
                elif kind == "shard":
                    writer.start_shard()
                else:
                    array, slices = content
                    for part in slices:
                        writer.add_slice(name, array.shape, part, array[part.box(array.shape)])

    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        with mock.patch("os.fsync"):  # which takes most of the time
            write(f"{first}/m")
            write(f"{second}/m")
        assert snapshot(pathlib.Path(first)) == snapshot(pathlib.Path(second))
        with tb.open(f"{first}/m") as ckpt:
            assert list(ckpt) == sorted(expected, key=str.encode)
            for name, content in expected.items():
                assert_same(ckpt[name], content)


def assert_same(found, added):
    if isinstance(added, np.ndarray):
        assert (found.dtype, found.shape, found.tobytes()) == (added.dtype, added.shape, added.tobytes())
    elif isinstance(added, bytes):
        assert (found.shape, found.item()) == ((), added)
    else:
        assert found.tolist() == [each.encode() if isinstance(each, str) else each for each in added]
