"""Reading tensors out of data shards: views, checksums, big-endian, partitioned tensors, regions."""

import gc
import itertools
import math
import mmap
import os
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from support.bundles import plain, write_bundle
from support.cost import steps
from tensorbundle.coding import crc32c, mask
from tensorbundle.dtypes import DType
from tensorbundle.entries import BundleHeader, TensorEntry
from tensorbundle.filenames import shard_path
from tensorbundle.payloads import encode_strings
from tensorbundle.shards import swap_bytes
from tensorbundle.slices import TensorSlice
from tensorbundle.storage import local

VALUES = np.arange(12, dtype="<f4").reshape(3, 4)
RAW = VALUES.tobytes()


def strings(values, *, offset=0):
    """A string tensor's entry and bytes."""
    head, nbytes, crc = encode_strings(values)
    return TensorEntry(DType.string, (len(values),), nbytes, 0, offset, crc), head + b"".join(values)


def deepest_base(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.base


@pytest.fixture
def opened(tmp_path):
    """Opens a bundle with the entries and data files given."""
    found = []

    def open_(entries, shards, header=None, **options):
        found.append(tb.open(write_bundle(tmp_path / "m", entries, shards, header), **options))
        return found[-1]

    yield open_
    for ckpt in found:
        ckpt.close()


# Views


def test_a_tensor_is_a_view_of_the_memory_map(opened):
    ckpt = opened({b"w": plain("float32", [3, 4], RAW, offset=8)}, [bytes(8) + RAW])
    for array in (ckpt["w"], ckpt.read("w", np.s_[1:, ::2]), ckpt.read("w", np.s_[::-1])):
        assert isinstance(deepest_base(array), mmap.mmap)
        assert not array.flags.writeable
        with pytest.raises(ValueError, match=r"read-only|WRITEABLE"):
            array[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
    assert ckpt["w"].tolist() == VALUES.tolist()
    assert np.shares_memory(ckpt["w"], ckpt["w"])


@pytest.mark.parametrize("offset", range(1, 8))
def test_unaligned_tensors(opened, offset):
    values = np.array([1.5, -2, 3e100])
    entry = plain("float64", [3], values.tobytes(), offset=offset)
    array = opened({b"w": entry}, [bytes(offset) + values.tobytes()])["w"]
    assert array.tolist() == values.tolist()
    assert isinstance(deepest_base(array), mmap.mmap)
    assert (array + 1).tolist() == (values + 1).tolist()


def test_arrays_outlive_the_checkpoint_and_the_files(tmp_path):
    prefix = write_bundle(tmp_path / "m", {b"w": plain("float32", [3, 4], RAW)}, [RAW])
    with tb.open(prefix) as ckpt:
        array = ckpt["w"]
    for path in tmp_path.iterdir():
        path.unlink()
    assert array.tolist() == VALUES.tolist()


def test_aliases_gaps_and_views_of_other_tensors_are_legal(opened):
    shared = plain("float32", [3, 4], RAW, offset=3)
    ckpt = opened(
        {
            b"a": shared,
            b"b": shared,
            b"row": plain("float32", [4], RAW[16:32], offset=3 + 16),
            b"bits": plain("uint32", [2, 6], RAW, offset=3),
        },
        [b"gap" + RAW + b"unreferenced"],
    )
    assert ckpt["a"].tolist() == ckpt["b"].tolist() == VALUES.tolist()
    assert np.shares_memory(ckpt["a"], ckpt["row"])
    assert ckpt["row"].tolist() == [4, 5, 6, 7]
    assert ckpt["bits"].tolist() == VALUES.view("<u4").reshape(2, 6).tolist()


def test_every_numeric_type(opened):
    """A pattern of bytes as each type, at odd offsets."""
    entries, data, expected = {}, b"", {}
    for dtype in DType:
        if dtype.itemsize:
            values = (
                np.arange(2 * dtype.itemsize, dtype=np.uint8) % (2 if dtype.itemsize == 1 else 251)
            ).tobytes()
            entries[dtype.encode()] = plain(dtype, [2], values, offset=len(data))
            expected[dtype] = np.frombuffer(values, dtype.numpy)
            data += values + b"?"
    ckpt = opened(entries, [data])
    assert set(ckpt) == set(expected)
    for name, values in expected.items():
        assert ckpt[name].dtype == values.dtype
        assert ckpt[name].tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("dtype", "stored", "values"),
    [
        ("int4", "f8ff07", [-8, -1, 7]),  # the high bits do not count: some writers extend the sign
        ("int4", "080f07", [-8, -1, 7]),
        ("uint4", "080f f7", [8, 15, 7]),
        ("int2", "020301", [-2, -1, 1]),
        ("int2", "fefffd", [-2, -1, 1]),
        ("uint2", "0203fd", [2, 3, 1]),
        ("float4_e2m1fn", "0f0708", [-6, 6, -0.0]),
        ("float4_e2m1fn", "ff", [-6]),
    ],
)
def test_types_below_one_byte(opened, dtype, stored, values):
    if not hasattr(ml_dtypes, dtype):
        pytest.skip(f"this ml_dtypes has no {dtype}")
    data = bytes.fromhex(stored)
    array = opened({b"w": plain(dtype, [len(data)], data)}, [data])["w"]
    assert array.astype(np.float32).tolist() == values


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), (0, 2**20)])
@pytest.mark.parametrize("data", [b"", b"x"])
def test_empty_tensors(opened, shape, data):
    """Also at the end of a data file, and in an empty one."""
    ckpt = opened({b"w": plain("float32", shape, b"", offset=len(data))}, [data])
    array = ckpt["w"]
    assert (array.shape, array.dtype, array.flags.writeable) == (shape, np.float32, False)
    assert ckpt.read("w", np.s_[:0]).shape == (0, *shape[1:])


@pytest.mark.parametrize("dtype", ["float32", "string"])
@pytest.mark.parametrize("shape", [(0, 2**62, 2**62), (1,) * 100, (0, 2**63 - 1)])
def test_shapes_that_numpy_can_not_have(opened, shape, dtype):
    entry = plain("float32", shape, bytes(4 * math.prod(shape)))
    data = bytes(4)
    if dtype == "string":
        head, nbytes, crc = encode_strings([b""] * math.prod(shape))
        entry, data = TensorEntry(DType.string, shape, nbytes, 0, 0, crc), head
    with pytest.raises(tb.UnsupportedError) as caught:
        opened({b"w": entry}, [data])["w"]
    assert caught.value.key == "w"


# Strings


def test_strings(opened):
    values = [b"ab", b"", b"\0", b"\xff\0"]
    entry, data = strings(values)
    array = opened({b"s": entry._replace(shape=(2, 2))}, [data])["s"]
    assert (array.dtype, array.shape) == (object, (2, 2))
    assert array.tolist() == [values[:2], values[2:]]


def test_string_scalars_and_regions(opened):
    scalar, data = strings([b"hello"])
    vector, more = strings([b"a", b"b", b"c"], offset=len(data))
    ckpt = opened({b"s": scalar._replace(shape=()), b"v": vector}, [data + more])
    assert ckpt["s"].shape == ()
    assert ckpt["s"].item() == b"hello"
    assert ckpt.read("v", np.s_[1:]).tolist() == [b"b", b"c"]
    assert ckpt.read("v", 1).item() == b"b"
    assert ckpt.read("v", np.s_[::-1]).tolist() == [b"c", b"b", b"a"]


@pytest.mark.parametrize("region", [None, np.s_[:], np.s_[:1]])
def test_damaged_strings(opened, region):
    """A region of strings takes reading all of them, so it is checked like the whole."""
    entry, data = strings([b"hello", b"world"])
    damaged = data[:-1] + b"!"
    ckpt = opened({b"s": entry}, [damaged])
    with pytest.raises(tb.CorruptionError, match="crc32c of 16 bytes: stored") as caught:
        ckpt.read("s", region)
    assert (caught.value.path, caught.value.offset, caught.value.key) == (
        shard_path(ckpt.prefix, 0, 1),
        0,
        "s",
    )


@pytest.mark.parametrize("dtype", ["variant", "resource"])
def test_values_that_can_not_be_arrays(opened, dtype):
    ckpt = opened({b"v": TensorEntry(DType[dtype], (), 4)}, [bytes(4)])
    with pytest.raises(tb.UnsupportedError, match=f"values of type {dtype} can't be NumPy arrays"):
        ckpt["v"]


# Shards


def test_several_shards_and_only_what_is_read_is_needed(opened, tmp_path):
    entries = {
        b"a": plain("int8", [2], b"\1\2", shard=0),
        b"b": plain("int8", [2], b"\3\4", shard=2),
        b"c": plain("int8", [2], b"\5\6", shard=1),
    }
    ckpt = opened(entries, [b"\1\2", b"\5\6", b"\3\4"])
    assert {key: ckpt[key].tolist() for key in ckpt} == {"a": [1, 2], "b": [3, 4], "c": [5, 6]}

    missing = tmp_path / "m.data-00001-of-00003"
    missing.unlink()
    ckpt = tb.open(tmp_path / "m")
    assert list(ckpt) == ["a", "b", "c"]
    assert ckpt["b"].tolist() == [3, 4]
    with pytest.raises(tb.MissingFileError, match="no such file: data shard 1 is missing") as caught:
        ckpt["c"]
    assert (caught.value.path, caught.value.key) == (str(missing), "c")
    missing.write_bytes(b"\5\6")
    assert ckpt["c"].tolist() == [5, 6]


def test_opening_and_listing_open_no_data_shard(opened, monkeypatch):
    ckpt = opened({b"w": plain("float32", [3, 4], RAW)}, [RAW])
    monkeypatch.setattr(local.LocalFile, "map", None)
    assert list(ckpt.entries()) == [("w", plain("float32", [3, 4], RAW))]
    assert "w" in ckpt
    with pytest.raises(TypeError):
        ckpt["w"]


def test_a_shard_is_mapped_once(opened):
    gc.collect()  # closes what tests before this one left
    before = len(os.listdir("/proc/self/fd"))
    ckpt = opened({b"%d" % i: plain("int8", [1], b"1", offset=i) for i in range(9)}, [b"1" * 9])
    arrays = [ckpt[key] for key in ckpt]
    assert len({id(deepest_base(array)) for array in arrays}) == 1
    ckpt.close()
    arrays.clear()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("entry", "data", "reason"),
    [
        (plain("float32", [3, 4], RAW), RAW[:-1], "48 bytes wanted, the file ends at 47: it is cut short"),
        (plain("float32", [3, 4], RAW), b"", "48 bytes wanted, the file ends at 0"),
        (plain("float32", [3, 4], RAW, offset=2**63 - 1), RAW, "48 bytes wanted, the file ends at 48"),
        (plain("float32", [3, 5], RAW), RAW, r"48 bytes stored, float32 \[3, 5\] takes 60"),
        (plain("float32", [2**40, 2**40], RAW), RAW, "48 bytes stored, .* takes"),
        (TensorEntry(DType.float32, (2**40,), 2**42), RAW, "4398046511104 bytes wanted, the file ends at 48"),
        (TensorEntry(DType.string, (2**40,), 48), RAW, "1099511627776 strings can't fit in 48 bytes"),
        (plain("float32", [0], b"", offset=49), RAW, "0 bytes wanted, the file ends at 48"),
        (plain("float32", [3, 4], RAW, shard=1), RAW, "data shard 1 of 1"),
    ],
)
@pytest.mark.parametrize("verify", [True, False])
def test_entries_that_do_not_fit_the_data(opened, entry, data, reason, verify):
    ckpt = opened({b"w": entry}, [data], verify=verify)
    for region in (None, np.s_[:1]):
        with pytest.raises(tb.CorruptionError, match=reason) as caught:
            ckpt.read("w", region)
        assert caught.value.path == shard_path(ckpt.prefix, entry.shard, 1)
        assert caught.value.key == "w"
        assert caught.value.offset == (None if entry.shard else entry.offset)


def test_a_git_lfs_pointer_instead_of_a_data_shard(opened):
    data = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 48\n"
    ckpt = opened({b"w": plain("float32", [3, 4], RAW)}, [data])
    with pytest.raises(tb.CorruptionError, match="a Git-LFS pointer: fetch the real file") as caught:
        ckpt["w"]
    assert caught.value.key == "w"


# Checksums


def test_a_checksum_is_checked_once_at_the_first_reading(opened, monkeypatch):
    ckpt = opened({b"w": plain("float32", [3, 4], RAW)}, [RAW])
    checked = []
    monkeypatch.setattr(ckpt.shards, "_check", lambda key, *_: checked.append(key))
    for _ in range(3):
        ckpt.read("w", np.s_[1])  # can't be checked
    assert checked == []
    for _ in range(3):
        assert ckpt["w"].tolist() == VALUES.tolist()
    assert checked == [b"w"]


def test_a_bad_checksum_is_an_error_every_time(opened):
    ckpt = opened(
        {b"w": plain("float32", [3, 4], RAW, offset=1), b"x": plain("int8", [], b"?")}, [b"?" + RAW[::-1]]
    )
    for _ in range(2):
        with pytest.raises(
            tb.CorruptionError,
            match=f"crc32c of 48 bytes: stored {crc32c(RAW):08x}, computed {crc32c(RAW[::-1]):08x}",
        ) as caught:
            ckpt["w"]
        assert (caught.value.path, caught.value.offset, caught.value.key) == (
            shard_path(ckpt.prefix, 0, 1),
            1,
            "w",
        )
    assert ckpt["x"] == ord("?")
    assert ckpt.read("w", np.s_[0]).shape == (4,)  # a region can't be checked


def test_without_verify_no_checksum_is_checked(opened):
    ckpt = opened({b"w": plain("float32", [3, 4], RAW)._replace(crc32c=1)}, [RAW], verify=False)
    assert ckpt["w"].tolist() == VALUES.tolist()


# Big-endian bundles


@pytest.mark.parametrize(
    ("dtype", "data", "values"),
    [
        ("float32", struct.pack(">2f", 1.5, -2), [1.5, -2]),
        ("float64", struct.pack(">2d", 1.5, -2), [1.5, -2]),
        ("int16", struct.pack(">2h", 258, -2), [258, -2]),
        ("int32", struct.pack(">2i", 70_000, -2), [70_000, -2]),
        ("uint64", struct.pack(">2Q", 2**63, 2), [2**63, 2]),
        ("complex64", struct.pack(">4f", 1, 2, 3, 4), [1 + 2j, 3 + 4j]),
        ("complex128", struct.pack(">4d", 1, 2, 3, 4), [1 + 2j, 3 + 4j]),
        ("float16", struct.pack(">2e", 1.5, -2), [1.5, -2]),
        ("bfloat16", bytes.fromhex("3f80 c000"), [1, -2]),
        ("bool", b"\1\0", [True, False]),
        ("int8", b"\1\xfe", [1, -2]),
        ("float8_e5m2", b"\x3c\xc0", [1, -2]),
        ("int4", b"\x01\x0e", [1, -2]),
    ],
)
def test_big_endian(opened, dtype, data, values):
    """The checksum is that of the bytes as they lie; each is swapped after that."""
    ckpt = opened(
        {b"w": plain(dtype, [2, 1], data, offset=1)}, [b"?" + data], BundleHeader(1, big_endian=True)
    )
    array = ckpt["w"]
    assert array.dtype == DType[dtype].numpy
    assert array.shape == (2, 1)
    assert array.astype(complex).tolist() == [[value] for value in values]
    assert not array.flags.writeable
    assert ckpt.read("w", np.s_[1:]).astype(complex).tolist() == [[values[1]]]


def test_big_endian_strings(opened):
    lengths = struct.pack(">2I", 2, 1)
    stored = struct.pack(">I", mask(crc32c(lengths)))
    data = b"\2\1" + stored + b"ab" + b"c"
    crc = crc32c(b"abc", crc32c(stored, crc32c(lengths)))
    entry = TensorEntry(DType.string, (2,), len(data), 0, 0, crc)
    assert opened({b"s": entry}, [data], BundleHeader(1, big_endian=True))["s"].tolist() == [b"ab", b"c"]


def test_big_endian_partitioned_and_empty(opened):
    parts = [TensorSlice.parse_spec("0,1"), TensorSlice.parse_spec("1,1")]
    entries = {
        b"p": TensorEntry(DType.int16, (2,), 4, slices=tuple(parts)),
        parts[0].key(b"p"): plain("int16", [1], b"\1\2"),
        parts[1].key(b"p"): plain("int16", [1], b"\3\4", offset=2),
        b"e": plain("int16", [0], b""),
    }
    ckpt = opened(entries, [b"\1\2\3\4"], BundleHeader(1, big_endian=True))
    assert ckpt["p"].tolist() == [0x0102, 0x0304]
    assert ckpt["e"].shape == (0,)


def test_swap_bytes():
    raw = np.arange(16, dtype=np.uint8)
    assert swap_bytes(raw, DType.complex64).tolist()[:8] == [3, 2, 1, 0, 7, 6, 5, 4]
    assert swap_bytes(raw, DType.float64).tolist()[:8] == [7, 6, 5, 4, 3, 2, 1, 0]


# Partitioned tensors


def partition(values, boxes, dtype, *, name=b"p"):
    """Entries and one data file for an array cut into boxes of (start, length) pairs; any NumPy array."""
    entries, data = {}, b""
    slices = [TensorSlice(tuple(box)) for box in boxes]
    for part in slices:
        piece = values[part.box(values.shape)]
        if dtype == "string":
            entry, content = strings(piece.reshape(-1).tolist(), offset=len(data))
            entry = entry._replace(shape=piece.shape)
        else:
            content = piece.tobytes()
            entry = plain(dtype, piece.shape, content, offset=len(data))
        entries[part.key(name)] = entry
        data += content
    entries[name] = TensorEntry(DType[dtype], values.shape, 0, slices=tuple(slices))
    return entries, data


QUARTERS = [((0, 2), (0, 3)), ((0, 2), (3, 1)), ((2, 1), (0, 3)), ((2, 1), (3, 1))]


@pytest.mark.parametrize(
    "boxes",
    [
        [((0, 1), (0, -1)), ((1, 2), (0, -1))],
        [((1, 2), (0, 4)), ((0, 1), (0, 4))],
        [((0, -1), (0, 1)), ((0, -1), (1, 3))],
        QUARTERS,
        [((0, -1), (0, -1))],
    ],
)
def test_partitioned(opened, boxes):
    entries, data = partition(VALUES, boxes, "float32")
    ckpt = opened(entries, [data])
    assert list(ckpt) == ["p"]
    assert ckpt["p"].tolist() == VALUES.tolist()
    assert ckpt["p"].dtype == VALUES.dtype
    assert not ckpt["p"].flags.writeable


@pytest.mark.parametrize(
    "dtype", ["float16", "uint64", "string", "float8_e5m2", "int4", "bool", "complex128", "quint16"]
)
def test_partitioned_of_every_kind_of_type(opened, dtype):
    """TensorFlow puts fewer types together than it cuts up."""
    if dtype == "string":
        values = np.array([[b"a", b""], [b"\0", b"dd"], [b"e", b"f"]], object)
    else:
        values = (np.arange(6).reshape(3, 2) % 2).astype(DType[dtype].numpy)
    entries, data = partition(values, [((1, 2), (0, -1)), ((0, 1), (0, -1))], dtype)
    ckpt = opened(entries, [data])
    assert ckpt["p"].tolist() == values.tolist()
    assert ckpt["p"].dtype == values.dtype
    assert ckpt.read("p", np.s_[1:, 0]).tolist() == values[1:, 0].tolist()


def test_pieces_in_several_shards_only_those_needed(opened, tmp_path):
    entries, data = partition(VALUES, [((i, 1), (0, -1)) for i in range(3)], "float32")
    shards = [data[16 * i : 16 * i + 16] for i in range(3)]
    for i in range(3):
        key = TensorSlice(((i, 1), (0, -1))).key(b"p")
        entries[key] = entries[key]._replace(shard=i, offset=0)
    ckpt = opened(entries, shards)
    assert ckpt["p"].tolist() == VALUES.tolist()
    (tmp_path / "m.data-00001-of-00003").unlink()
    ckpt = tb.open(tmp_path / "m")
    assert ckpt.read("p", 2).tolist() == VALUES[2].tolist()
    with pytest.raises(tb.MissingFileError, match="data shard 1 is missing"):
        ckpt.read("p", np.s_[:2])


def test_a_damaged_piece(opened):
    """Noticed where all of the piece is read."""
    entries, data = partition(VALUES, [((i, 1), (0, -1)) for i in range(3)], "float32")
    ckpt = opened(entries, [data[:17] + b"!" + data[18:]])
    for region in (None, 1, np.s_[1:]):
        with pytest.raises(tb.CorruptionError, match="crc32c of 16 bytes") as caught:
            ckpt.read("p", region)
        assert caught.value.offset == 16
        assert caught.value.key == "p[1,1:-]"
    assert ckpt.read("p", 0).tolist() == VALUES[0].tolist()
    assert ckpt.read("p", np.s_[1, 3:]).shape == (1,)  # of part of a piece it can't be known
    assert tb.open(ckpt.prefix, verify=False)["p"].shape == (3, 4)


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ([((0, 2), (0, -1)), ((1, 2), (0, -1))], "slices 0 and 1 overlap"),
        ([((0, 2), (0, -1)), ((2, 1), (0, -1)), ((2, 1), (3, 1))], "slices 1 and 2 overlap"),
        ([((0, 1), (0, -1)), ((2, 1), (0, -1))], "its slices hold 8 of the 12 elements wanted"),
        (QUARTERS[:3], "its slices hold 11 of the 12 elements wanted"),
    ],
)
def test_slices_that_do_not_tile(opened, boxes, reason):
    entries, data = partition(VALUES, boxes, "float32")
    ckpt = opened(entries, [data])
    with pytest.raises(tb.CorruptionError, match=reason) as caught:
        ckpt["p"]
    assert (caught.value.path, caught.value.key) == (ckpt.prefix, "p")


def test_a_slice_listed_twice(opened):
    entries, data = partition(VALUES, [((0, 2), (0, -1)), ((2, 1), (0, -1))], "float32")
    entries[b"p"] = entries[b"p"]._replace(slices=entries[b"p"].slices[:1] * 2 + entries[b"p"].slices[1:])
    with pytest.raises(tb.CorruptionError, match="slices 0 and 1 overlap"):
        opened(entries, [data])["p"]


def test_slices_of_a_scalar(opened):
    """There is one box of no dimensions; two pieces of it hold one element too many."""
    entries, data = partition(np.array(5, "<i4"), [()], "int32")
    assert opened(entries, [data])["p"].tolist() == 5
    entries[b"p"] = entries[b"p"]._replace(slices=(TensorSlice(()),) * 2)
    with pytest.raises(tb.CorruptionError, match=r"its slices hold 2 of the 1 elements wanted|overlap"):
        opened(entries, [data])["p"]


def test_a_missing_piece_is_told(opened):
    entries, data = partition(VALUES, [((0, 2), (0, -1)), ((2, 1), (0, -1))], "float32")
    del entries[TensorSlice.parse_spec("2,1:-").key(b"p")]
    with pytest.raises(tb.CorruptionError, match="slice 2,1:- is listed, but its entry is missing"):
        opened(entries, [data])["p"]


def test_memory_is_taken_only_for_what_the_slices_hold(opened):
    part = TensorSlice(((0, 4), (0, 1)))
    entries = {
        b"p": TensorEntry(DType.float32, (2**45, 2**10), 0, slices=(part,)),
        part.key(b"p"): plain("float32", [4, 1], bytes(16)),
    }
    with pytest.raises(
        tb.CorruptionError, match="its slices hold 4 of the 36028797018963968 elements wanted"
    ):
        opened(entries, [bytes(16)])["p"]


def test_a_region_of_a_long_dimension_takes_no_time(opened):
    """Dimensions are not counted through."""
    part = TensorSlice(((0, 4),))
    entries = {
        b"p": TensorEntry(DType.int8, (2**27,), 0, slices=(part,)),
        part.key(b"p"): plain("int8", [4], bytes(4)),
    }
    ckpt = opened(entries, [bytes(4)])

    def work():
        with pytest.raises(tb.CorruptionError, match="its slices hold 4 of the 134217728 elements wanted"):
            ckpt.read("p", np.s_[:])

    assert steps(work) < 20_000


# Regions, as NumPy has them

REGIONS = [
    np.s_[1],
    np.s_[-1],
    np.s_[...],
    np.s_[:],
    np.s_[1:3],
    np.s_[::2],
    np.s_[::-1],
    np.s_[2:0:-1],
    np.s_[:, 1],
    np.s_[..., 1],
    np.s_[1, ...],
    np.s_[1, ..., 2],
    np.s_[1, 2, ...],
    np.s_[-2:, ::-3],
    np.s_[5:9],
    np.s_[2:2],
    np.s_[0:3:7, -1:-9:-2],
    np.s_[1, 2],
    np.s_[()],
    np.int64(1),
]
PARTITIONS = [None, [((0, 1), (0, -1)), ((1, 2), (0, -1))], QUARTERS]


@pytest.mark.parametrize("boxes", PARTITIONS, ids=["whole", "rows", "quarters"])
@pytest.mark.parametrize("region", REGIONS, ids=str)
def test_region(opened, region, boxes):
    entries, data = (
        partition(VALUES, boxes, "float32") if boxes else ({b"p": plain("float32", [3, 4], RAW)}, RAW)
    )
    array = opened(entries, [data]).read("p", region)
    assert isinstance(array, np.ndarray)
    assert array.dtype == VALUES.dtype
    assert array.shape == VALUES[region].shape
    assert array.tolist() == VALUES[region].tolist()


@pytest.mark.parametrize("boxes", PARTITIONS, ids=["whole", "rows", "quarters"])
@pytest.mark.parametrize("region", [3, -4, np.s_[0, 4], np.s_[0, 0, 0], np.s_[..., ...]], ids=str)
def test_region_that_does_not_fit(opened, region, boxes):
    entries, data = (
        partition(VALUES, boxes, "float32") if boxes else ({b"p": plain("float32", [3, 4], RAW)}, RAW)
    )
    ckpt = opened(entries, [data])
    with pytest.raises(IndexError):
        ckpt.read("p", region)


def test_regions_of_scalars(opened):
    ckpt = opened({b"w": plain("int32", [], b"\7\0\0\0")}, [b"\7\0\0\0"])
    for region in ((), ..., None):
        assert ckpt.read("w", region).shape == ()
        assert ckpt.read("w", region) == 7
    with pytest.raises(IndexError):
        ckpt.read("w", 0)


integers = st.integers(-6, 6)
items = st.one_of(
    integers, st.slices(5), st.builds(slice, integers, integers, integers.filter(bool)), st.just(...)
)


@given(
    st.lists(items, max_size=3).filter(lambda found: sum(item is ... for item in found) < 2).map(tuple),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    st.lists(st.integers(0, 4), max_size=2),
)
def test_any_region_is_what_numpy_makes_of_it(tmp_path_factory, region, shape, cuts):
    values = np.arange(math.prod(shape), dtype="<i2").reshape(shape)
    edges = sorted({0, shape[0], *[cut for cut in cuts if cut < shape[0]]})
    rest = [(0, -1)] * (len(shape) - 1)
    boxes = [((low, high - low), *rest) for low, high in itertools.pairwise(edges)]
    entries, data = partition(values, boxes, "int16")
    entries[b"whole"] = plain("int16", shape, values.tobytes(), offset=len(data))
    prefix = write_bundle(tmp_path_factory.getbasetemp() / "any", entries, [data + values.tobytes()])
    with tb.open(prefix) as ckpt:
        try:
            expected = values[region]
        except IndexError:
            for key in ("p", "whole"):
                with pytest.raises(IndexError):
                    ckpt.read(key, region)
        else:
            for key in ("p", "whole"):
                array = ckpt.read(key, region)
                assert (array.shape, array.tolist()) == (expected.shape, expected.tolist())
