"""V1 checkpoints: files, meta records, slices and values; and writing one, all or nothing."""

import os
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from support.bundles import read_everything, snapshot, table_bytes, write_bundle
from support.contents import any_bits, content, our_reading
from support.strategies import names, shapes
from support.v1_files import (
    SavedTensorSlices,
    item,
    saved,
    slice_of,
    snappy_table,
    v1_bytes,
    whole_bytes,
    write_v1_file,
)
from tensorbundle.dtypes import DType
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY
from tensorbundle.tools.operations.editing.layout import even_slices
from tensorbundle.v1 import index as v1
from tensorbundle.v1.index import V1Index, whole_slice, write_v1
from tensorbundle.v1.saved_slices import WRITABLE, SavedTensor, encode_meta

GRID = np.arange(24, dtype=np.float32).reshape(6, 4)
BOTH = ["0,2:-", "2,4:-"]


def strings(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


ARRAYS = {
    "a": np.array([1.5, -2.0], np.float32),
    "b": np.array(7),
    "empty": np.zeros((0, 3), np.int16),
    "names": strings(b"hello", b"", b"w\0rld"),
    "no names": strings().reshape(0, 2),
    "one": np.array(b"scalar", object),
}


def cut(name, array, specs):
    """The records of slices of an array."""
    return [item(name, array[slice_of(spec, array.ndim).box(array.shape)], spec) for spec in specs]


def write_parts(path, array, *files):
    """Files `path-00000-of-00002` and so on, each with these slices of the tensor `emb`."""
    for number, specs in enumerate(files):
        tensors = [saved("emb", DType.of(array.dtype), array.shape, specs)] if specs else []
        file = path.with_name(f"{path.name}-{number:05d}-of-{len(files):05d}")
        file.write_bytes(v1_bytes(tensors, cut("emb", array, specs)))
    return str(path)


# Reading


def test_whole_tensors(tmp_path):
    with tb.open(write_v1_file(tmp_path / "m", ARRAYS)) as ckpt:
        assert list(ckpt) == sorted(ARRAYS)
        assert (ckpt.num_shards, ckpt.index.file_format, ckpt.object_graph) == (1, "v1", None)
        for name, array in ARRAYS.items():
            found, entry = ckpt[name], ckpt.entry(name)
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
            assert content(found) == content(array)
            assert (entry.dtype, entry.shape, entry.slices) == (DType.of(array.dtype), array.shape, ())
            assert (entry.shard, entry.offset, entry.crc32c) == (0, 0, 0)
            assert name in ckpt
        assert "c" not in ckpt
        with pytest.raises(tb.TensorNotFoundError, match="no such tensor; near: 'names'"):
            ckpt["name"]


@given(
    st.dictionaries(
        names,
        st.builds(any_bits, st.sampled_from(sorted(WRITABLE - {DType.string})), shapes, st.integers(0, 9)),
    )
)
def test_any_tensors(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("v1") / "m"
    write_v1_file(path, arrays)
    with tb.open(path) as ckpt:
        found = {name: (array.shape, array.dtype, content(array)) for name, array in ckpt.items()}
    assert found == {name: (array.shape, array.dtype, content(array)) for name, array in arrays.items()}


LARGE = np.arange(350_000, dtype=np.float32).reshape(700, 500)  # has a block of its own


@pytest.fixture
def no_decoding(monkeypatch):
    """Values of more than 100 bytes are read where they are."""
    monkeypatch.setattr("tensorbundle.v1.index._LARGE_BYTES", 100)
    monkeypatch.setattr(V1Index, "decode", lambda *_: pytest.fail("decoded"))


@pytest.mark.usefixtures("no_decoding")
def test_large_values_are_read_where_they_are(tmp_path):
    pieces = [item("cut", LARGE[:, :290], "0,700:0,290"), item("cut", LARGE[:, 290:], "0,700:290,210")]
    tensors = [saved("cut", "float32", LARGE.shape, ["0,700:0,290", "0,700:290,210"])]
    path = tmp_path / "m"
    path.write_bytes(v1_bytes([*tensors, saved("w", "float32", LARGE.shape)], [*pieces, item("w", LARGE)]))
    with tb.open(path) as ckpt:
        for key in ("w", "cut"):
            assert content(ckpt[key]) == content(LARGE)
            assert content(ckpt.read(key, np.s_[7:9, 280:300])) == content(LARGE[7:9, 280:300])
        [found] = [ckpt.index.values(b"w", ckpt.entry("w"), (slice(3, 3), slice(0, 500)))]
        assert found.shape == (0, 500)


@pytest.mark.usefixtures("no_decoding")
def test_large_values_are_checked(tmp_path):
    path = tmp_path / "m"
    write_v1_file(path, {"w": LARGE})
    data = bytearray(path.read_bytes())
    data[400_000] ^= 1
    path.write_bytes(data)
    with tb.open(path) as ckpt, pytest.raises(tb.CorruptionError, match="crc32c stored") as caught:
        ckpt.index.values(b"w", ckpt.entry("w"), (slice(0, 1), slice(0, 500)))
    assert caught.value.key == "w"


def test_values_that_share_a_block_are_decoded(tmp_path, monkeypatch):
    """Also those in another encoding than TensorFlow's own, and in compressed blocks."""
    monkeypatch.setattr("tensorbundle.v1.index._LARGE_BYTES", 100)
    small = {"a": LARGE[:2], "b": LARGE[2:4], "c": LARGE.astype(np.int32)}
    with tb.open(write_v1_file(tmp_path / "m", small)) as ckpt:
        for key, array in small.items():
            assert content(ckpt[key]) == content(array)
            assert ckpt.index.place(key.encode(), ckpt.entry(key)) is None
    (tmp_path / "s").write_bytes(
        snappy_table([(b"", encode_meta([saved("w", "float32", LARGE.shape)])), item("w", LARGE)])
    )
    with tb.open(tmp_path / "s") as ckpt:
        assert content(ckpt["w"]) == content(LARGE)


def test_sizes_are_those_of_a_bundle(tmp_path):
    """Also of strings, for which the strings have to be read."""
    write_v1_file(tmp_path / "m", ARRAYS)
    with tb.create(tmp_path / "two") as writer:
        for name, array in ARRAYS.items():
            writer.add(name, array)
    with tb.open(tmp_path / "m") as old, tb.open(tmp_path / "two") as new:
        sizes = [{key: entry.nbytes for key, entry in each.entries()} for each in (old, new)]
        assert sizes[0] == sizes[1]
        assert {name: old.entry(name).nbytes for name in ARRAYS} == sizes[1]


@pytest.mark.parametrize(
    "specs", [BOTH, [*reversed(BOTH)], ["0,6:0,1", "0,6:1,3"], ["0,3:0,4", "3,3:0,2", "3,3:2,2"]]
)
@pytest.mark.parametrize("dtype", [*sorted(WRITABLE - {DType.string}), DType.string])
def test_slices(tmp_path, specs, dtype):
    words = strings(*(b"w" * number for number in range(24))).reshape(6, 4)
    array = any_bits(dtype, (6, 4)) if dtype.itemsize else words
    pieces = [item("emb", array[slice_of(spec, 2).box((6, 4))], spec, dtype=dtype) for spec in specs]
    (tmp_path / "m").write_bytes(v1_bytes([saved("emb", dtype, (6, 4), specs)], pieces))
    with tb.open(tmp_path / "m") as ckpt:
        assert list(ckpt) == ["emb"]
        entry = ckpt.entry("emb")
        assert (entry.dtype, entry.shape, [str(each) for each in entry.slices]) == (dtype, (6, 4), specs)
        if dtype.itemsize:
            assert entry.nbytes == 24 * dtype.itemsize
        else:
            assert entry.nbytes == sum(range(24)) + 24 + 4 * len(specs)
        assert content(ckpt["emb"]) == content(array)
        for region in (np.s_[1:5, 1:3], np.s_[-1], np.s_[::2, ::-1], np.s_[5, 3], np.s_[...], np.s_[3:3]):
            assert content(ckpt.read("emb", region)) == content(np.asarray(array[region], array.dtype))
        assert [key for key, _ in ckpt.index.raw_entries()] == sorted(
            [b"emb", *(each.key(b"emb") for each in entry.slices)]
        )
        for part, key, piece in ckpt.index.stored_slices(b"emb", entry):
            assert piece.shape == part.shape((6, 4))
            assert content(ckpt.shards.read_entry(key, piece)) == content(array[part.box((6, 4))])


def test_regions_of_whole_tensors(tmp_path):
    with tb.open(write_v1_file(tmp_path / "m", {"x": GRID})) as ckpt:
        for region in (np.s_[1:3], np.s_[::-2, 1], np.s_[2, 2], np.s_[..., 0]):
            np.testing.assert_array_equal(ckpt.read("x", region), GRID[region])
        with pytest.raises(IndexError):
            ckpt.read("x", np.s_[6])


def test_a_slice_that_is_everything(tmp_path):
    """With its extents spelt out, as of a variable in one part."""
    (tmp_path / "m").write_bytes(
        v1_bytes([saved("emb", "float32", (6, 4), ["0,6:0,4"])], cut("emb", GRID, ["0,6:0,4"]))
    )
    with tb.open(tmp_path / "m") as ckpt:
        assert ckpt.entry("emb").slices == ()
        np.testing.assert_array_equal(ckpt["emb"], GRID)
        assert [key for key, _ in ckpt.index.raw_entries()] == [b"emb"]


def test_slices_without_elements(tmp_path):
    array = np.zeros((0, 4), np.float32)
    (tmp_path / "m").write_bytes(
        v1_bytes([saved("emb", "float32", (0, 4), ["-:0,1", "-:1,3"])], cut("emb", array, ["-:0,1", "-:1,3"]))
    )
    with tb.open(tmp_path / "m") as ckpt:
        assert ckpt["emb"].shape == (0, 4)
        assert len(ckpt.entry("emb").slices) == 2


def test_several_blocks(tmp_path):
    """Tensors of more than half a megabyte have blocks of their own."""
    arrays = {f"{number}/x": np.full(70_000 * (1 + number % 3), number, np.float32) for number in range(7)}
    with tb.open(write_v1_file(tmp_path / "m", arrays)) as ckpt:
        assert len(ckpt.index.tables[0].handles) > 5
        for name in sorted(arrays, reverse=True):
            np.testing.assert_array_equal(ckpt[name], arrays[name])


def test_compressed_blocks(tmp_path):
    """TensorFlow reads them, and writes none."""
    arrays = {"a": np.zeros((300, 200), np.float32), "b": strings(b"ab" * 500)}
    tensors = [saved(name, DType.of(each.dtype), each.shape) for name, each in arrays.items()]
    items = [(b"", encode_meta(tensors)), *(item(name, array) for name, array in arrays.items())]
    (tmp_path / "m").write_bytes(snappy_table(items))
    assert (tmp_path / "m").stat().st_size < 50_000
    with tb.open(tmp_path / "m") as ckpt:
        assert {name: content(array) for name, array in ckpt.items()} == {
            name: content(array) for name, array in arrays.items()
        }
        assert ckpt.index.tables[0].compressed


def test_object_graph(tmp_path):
    """TensorFlow restores an object-based checkpoint from a V1 file too."""
    graph = tb.ObjectGraph.from_names(["w"], save_counter=False)
    key = "vars/w/.ATTRIBUTES/VARIABLE_VALUE"
    path = write_v1_file(tmp_path / "m", {key: GRID, OBJECT_GRAPH_KEY: np.array(graph.encode(), object)})
    with tb.open(path) as ckpt:
        assert ckpt.object_graph.encode() == graph.encode()
        assert list(ckpt) == [OBJECT_GRAPH_KEY, key]


def test_names_that_only_this_format_has(tmp_path):
    """None at all, and such as begin like the keys of slices."""
    arrays = {"": np.array(1.5), "\0a": np.array(2.5), "\0": np.array(3.5)}
    with tb.open(write_v1_file(tmp_path / "m", arrays)) as ckpt:
        assert {name: array.item() for name, array in ckpt.items()} == {"": 1.5, "\0a": 2.5, "\0": 3.5}
        assert ckpt[""] == 1.5


def test_arrays_can_not_be_changed_and_outlive_the_checkpoint(tmp_path):
    arrays = ARRAYS | {"flags": np.array([True, False])}
    with tb.open(write_v1_file(tmp_path / "m", arrays)) as ckpt:
        found = dict(ckpt.items())
        again = dict(ckpt.items())
    for name, array in found.items():
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = array
        assert content(array) == content(again[name]) == content(arrays[name])


def test_closing(tmp_path):
    large = np.zeros(1 << 20)
    ckpt = tb.open(write_v1_file(tmp_path / "m", {"a": large, "b": large}))
    ckpt.close()
    ckpt.close()
    with pytest.raises(tb.BundleError, match="this checkpoint was closed"):
        ckpt["b"]


def test_a_checkpoint_that_can_not_be_opened_leaves_no_file_open(tmp_path):
    for number in range(2):
        write_v1_file(tmp_path / f"m-{number:05d}-of-00003", {"x": np.array(number)})
    (tmp_path / "m-00002-of-00003").write_bytes(table_bytes([(b"", b"\x0a\xff")]))
    open_files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(tb.CorruptionError):
        tb.open(tmp_path / "m")
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_another_process_opens_the_files_for_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_parts(tmp_path / "m", GRID, ["0,2:-"], ["2,4:-"])
    with V1Index("m-?????-of-00002") as index:
        copy = pickle.loads(pickle.dumps(index))
    with copy:
        assert [*copy.raw_entries()] == [*index.raw_entries()]
        assert copy.values(*next(copy.raw_entries())).shape == (2, 4)


@pytest.mark.slow
def test_several_threads(tmp_path):
    """A table remembers a block; that must not be one that another thread asked for."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    arrays = {f"{number:03d}": np.full(800, number, np.int64) for number in range(300)}
    try:
        with tb.open(write_v1_file(tmp_path / "m", arrays)) as ckpt, ThreadPoolExecutor(8) as executor:
            order = np.random.default_rng(0).permutation(300).tolist() * 3
            found = list(executor.map(lambda number: ckpt[f"{number:03d}"], order))
    finally:
        sys.setswitchinterval(interval)
    assert [set(array.tolist()) for array in found] == [{number} for number in order]


def test_parts_of_one_tensor_are_decoded_once(tmp_path, monkeypatch):
    """Or twice: what is read once is not kept."""
    calls = []
    decode = v1.decode_values
    monkeypatch.setattr(v1, "decode_values", lambda *rest: (calls.append(1), decode(*rest))[1])
    with tb.open(write_v1_file(tmp_path / "m", {"x": GRID, "y": GRID})) as ckpt:
        for row in range(6):
            np.testing.assert_array_equal(ckpt.read("x", row), GRID[row])
        assert len(calls) == 2
        for name in "xyxyxy":
            np.testing.assert_array_equal(ckpt[name], GRID)
        assert len(calls) == 7


# Several files


def test_slices_in_several_files(tmp_path):
    path = write_parts(tmp_path / "m", GRID, ["2,1:-"], ["0,2:-", "4,2:-"], [], ["3,1:-"])
    for name in ("m", "m-00000-of-00004", "m-00003-of-00004", "m-?????-of-00004"):
        with tb.open(tmp_path / name) as ckpt:
            assert (ckpt.num_shards, ckpt.prefix) == (4, f"{path}-?????-of-00004")
            np.testing.assert_array_equal(ckpt["emb"], GRID)
            entry = ckpt.entry("emb")
            assert [str(each) for each in entry.slices] == ["2,1:-", "0,2:-", "4,2:-", "3,1:-"]
            shards = {str(part): piece.shard for part, _, piece in ckpt.index.stored_slices(b"emb", entry)}
            assert shards == {"2,1:-": 0, "0,2:-": 1, "4,2:-": 1, "3,1:-": 3}
            assert ckpt.index.shard_path(3) == f"{path}-00003-of-00004"


def test_a_file_is_missing(tmp_path):
    write_parts(tmp_path / "m", GRID, ["0,2:-"], ["2,4:-"], [])
    (tmp_path / "m-00001-of-00003").unlink()
    open_files = len(os.listdir("/proc/self/fd"))
    for name in ("m", "m-?????-of-00003"):
        with pytest.raises(
            tb.MissingFileError, match="one of the files of a V1 checkpoint is missing"
        ) as caught:
            tb.open(tmp_path / name)
        assert caught.value.path == str(tmp_path / "m-00001-of-00003")
    assert len(os.listdir("/proc/self/fd")) == open_files
    with tb.open(tmp_path / "m-00000-of-00003") as ckpt, pytest.raises(tb.CorruptionError) as caught:
        _ = ckpt["emb"]
    assert caught.value.reason == "its slices hold 8 of the 24 elements wanted"


def test_whole_tensors_in_several_files(tmp_path):
    for number, name in enumerate("ba"):
        write_v1_file(tmp_path / f"m-{number:05d}-of-00002", {name: np.array(number)})
    with tb.open(tmp_path / "m") as ckpt:
        assert {name: array.item() for name, array in ckpt.items()} == {"a": 1, "b": 0}


# What can be wrong


def test_slices_that_overlap(tmp_path):
    for specs in (["0,3:-", "2,4:-"], ["-:-", "-:-"], ["0,6:0,4", "-:-"], ["0,2:-", "0,2:-", "2,4:-"]):
        records = dict(cut("emb", GRID, specs))
        (tmp_path / "m").write_bytes(
            v1_bytes([saved("emb", "float32", (6, 4), specs), saved("z", "int8", ())], records.items())
        )
        with tb.open(tmp_path / "m") as ckpt:
            assert list(ckpt) == ["emb", "z"]
            with pytest.raises(tb.CorruptionError, match="overlap") as caught:
                ckpt["emb"]
            assert caught.value.key == "emb"


def test_one_tensor_in_two_files(tmp_path):
    """Of two values nobody knows which is right; that of a scalar has no place at which they would overlap."""
    for number in range(2):
        write_v1_file(tmp_path / f"m-{number:05d}-of-00002", {"x": GRID, "s": np.array(number)})
    with tb.open(tmp_path / "m") as ckpt:
        with pytest.raises(tb.CorruptionError, match="slices 0 and 1 overlap"):
            ckpt["x"]
        with pytest.raises(tb.CorruptionError, match="its slices hold 2 of the 1 elements wanted"):
            ckpt["s"]


def test_a_hole(tmp_path):
    specs = ["0,2:-", "3,3:-"]
    (tmp_path / "m").write_bytes(v1_bytes([saved("emb", "float32", (6, 4), specs)], cut("emb", GRID, specs)))
    with tb.open(tmp_path / "m") as ckpt:
        with pytest.raises(tb.CorruptionError, match="its slices hold 20 of the 24 elements wanted"):
            ckpt["emb"]
        np.testing.assert_array_equal(ckpt.read("emb", np.s_[3:]), GRID[3:])


@pytest.mark.parametrize(
    ("specs", "reason"),
    [
        (["0,2:-", "2,5:-"], r"slice 2,5:- reaches outside the shape \[6, 4\]"),
        (["0,2"], r"slice 0,2 has 1 dimensions, the tensor has 2"),
        ([], "a tensor without slices"),
    ],
)
def test_slices_that_can_not_be(tmp_path, specs, reason):
    slices = tuple(map(tb.TensorSlice.parse_spec, specs))
    (tmp_path / "m").write_bytes(v1_bytes([SavedTensor(b"emb", (6, 4), DType.float32, slices)], []))
    with pytest.raises(tb.CorruptionError, match=reason) as caught:
        tb.open(tmp_path / "m")
    assert (caught.value.path, caught.value.key) == (str(tmp_path / "m"), "emb")


@pytest.mark.parametrize(("dtype", "shape"), [("float64", (6, 4)), ("float32", (6, 5)), ("float32", (24,))])
def test_files_that_contradict_each_other(tmp_path, dtype, shape):
    write_parts(tmp_path / "m", GRID, ["0,2:-"], ["2,4:-"])
    second = tmp_path / "m-00001-of-00002"
    second.write_bytes(v1_bytes([saved("emb", dtype, shape)], []))
    with pytest.raises(tb.CorruptionError, match=r"in another file float32 \[6, 4\]") as caught:
        tb.open(tmp_path / "m")
    assert (caught.value.path, caught.value.key) == (str(second), "emb")


def damaged_record(change):
    """A file whose only tensor has a record changed by `change`, as a message or as bytes."""
    key, record = item("x", GRID)
    message = SavedTensorSlices.FromString(record)
    changed = change(message)
    record = changed if isinstance(changed, bytes) else message.SerializeToString()
    return v1_bytes([saved("x", "float32", (6, 4))], [(key, record)])


def rename(message):
    message.data.name = b"y"


def respell(message):
    message.data.slice.extent[0].length = 6


def shorten(message):
    message.data.data.float_val.pop()


def lengthen(message):
    message.data.data.float_val.append(1)


def empty(message):
    message.data.data.Clear()


def retype(message):
    message.data.data.Clear()
    message.data.data.double_val.extend(range(24))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (rename, "its record is of 'y[-:-]'"),
        (respell, "its record is of 'x[0,6:-]'"),
        (shorten, "23 values stored, the slice has 24 elements"),
        (lengthen, "25 values stored, the slice has 24 elements"),
        (empty, "0 values stored, the slice has 24 elements"),
        (retype, "0 values stored, the slice has 24 elements"),
        (lambda message: b"", "its record is of '[]'"),
        (lambda message: b"\x12\xff", "varint cut short after 1 bytes"),
        (lambda message: message.SerializeToString()[:-1], "protobuf field 2 claims 109 bytes of 108"),
    ],
)
def test_a_wrong_record(tmp_path, change, reason):
    (tmp_path / "m").write_bytes(damaged_record(change))
    with tb.open(tmp_path / "m") as ckpt:
        assert ckpt.entry("x").shape == (6, 4)
        for read in (lambda: ckpt["x"], lambda: ckpt.read("x", 0)):
            with pytest.raises(tb.CorruptionError) as caught:
                read()
            assert (caught.value.path, caught.value.key, caught.value.reason) == (
                str(tmp_path / "m"),
                "x",
                reason,
            )


def test_a_missing_record(tmp_path):
    (tmp_path / "m").write_bytes(
        v1_bytes([saved("a", "int8", (2,)), saved("z", "int8", (2,))], [item("a", np.zeros(2, np.int8))])
    )
    with tb.open(tmp_path / "m") as ckpt:
        assert ckpt["a"].tolist() == [0, 0]
        with pytest.raises(
            tb.CorruptionError, match="the meta record lists it, but its record is missing"
        ) as caught:
            ckpt["z"]
    assert (caught.value.path, caught.value.key) == (str(tmp_path / "m"), "z")


def test_a_missing_record_of_a_slice(tmp_path):
    (tmp_path / "m").write_bytes(
        v1_bytes([saved("emb", "float32", (6, 4), BOTH)], cut("emb", GRID, BOTH[:1]))
    )
    with tb.open(tmp_path / "m") as ckpt:
        np.testing.assert_array_equal(ckpt.read("emb", np.s_[:2]), GRID[:2])
        with pytest.raises(tb.CorruptionError, match="the meta record lists it") as caught:
            ckpt["emb"]
    assert caught.value.key == "emb[2,4:-]"


def test_strings_that_can_not_be_read(tmp_path):
    """A listing needs their sizes."""
    (tmp_path / "m").write_bytes(v1_bytes([saved("a", "int8", ()), saved("s", "string", (2,))], []))
    with tb.open(tmp_path / "m") as ckpt:
        entries = ckpt.entries()
        assert next(entries)[0] == "a"
        with pytest.raises(tb.CorruptionError, match="the meta record lists it") as caught:
            next(entries)
    assert caught.value.key == "s"


def test_a_record_that_nobody_lists(tmp_path):
    """It is not in anybody's way."""
    (tmp_path / "m").write_bytes(
        v1_bytes([saved("a", "float32", (6, 4))], [item("a", GRID), item("b", GRID)])
    )
    with tb.open(tmp_path / "m") as ckpt:
        assert list(ckpt) == ["a"]
        assert "b" not in ckpt


def test_a_tensor_with_the_name_of_a_slice(tmp_path):
    """The format keeps them apart; whoever reads it by keys could not."""
    name = slice_of(BOTH[1], 2).key(b"emb").decode("latin-1")
    tensors = [
        saved("emb", "float32", (6, 4), BOTH),
        SavedTensor(name.encode("latin-1"), (), DType.int8, (whole_slice(0),)),
    ]
    (tmp_path / "m").write_bytes(v1_bytes(tensors, cut("emb", GRID, BOTH)))
    with pytest.raises(tb.CorruptionError, match="slice 2,4:- and a tensor have one name"):
        tb.open(tmp_path / "m")


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (b"", tb.CorruptionError, "0 bytes, too short for a table"),
        (b"x" * 100, tb.CorruptionError, "not a table: text: "),
        (table_bytes([]), tb.CorruptionError, "no meta record: neither a V1 checkpoint nor an index"),
        (table_bytes([(b"a", b"b")]), tb.CorruptionError, "no meta record"),
        (table_bytes([(b"", b"\x0a\x05")]), tb.CorruptionError, "protobuf field 1 claims 5 bytes of 0"),
        (
            table_bytes([(b"", b"\x08\x01\x1a\x02\x08\x01")]),
            tb.CorruptionError,
            "the index of a V2 checkpoint under a name",
        ),
        (table_bytes([(b"", b"\x0a\x04\x12\x02\x10\x02")]), tb.UnsupportedError, "min_consumer 2"),
        (v1_bytes([saved("a", "int8", ())], [])[:-1], tb.CorruptionError, "not a table: magic number"),
    ],
)
def test_files_that_are_no_v1_checkpoint(tmp_path, data, error, reason):
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(error, match=reason) as caught:
        tb.open(tmp_path / "m")
    assert caught.value.path == str(tmp_path / "m")
    if "claims" in reason:
        assert caught.value.offset is None  # in the record, not in the file


def test_a_damaged_block(tmp_path):
    """Whatever is elsewhere can be read."""
    arrays = {name: np.full(70_000, ord(name), np.float64) for name in "abc"}
    data = bytearray(whole_bytes(arrays))
    with tb.open(write_v1_file(tmp_path / "m", arrays)) as ckpt:
        handle = ckpt.index.tables[0].handles[-2]
    data[handle.offset + handle.size // 2] ^= 4
    (tmp_path / "m").write_bytes(data)
    with tb.open(tmp_path / "m") as ckpt:
        for name in "ac":
            np.testing.assert_array_equal(ckpt[name], arrays[name])
        with pytest.raises(tb.CorruptionError, match="crc32c stored") as caught:
            ckpt["b"]
    assert (caught.value.path, caught.value.offset, caught.value.key) == (
        str(tmp_path / "m"),
        handle.offset,
        "b",
    )


@pytest.mark.parametrize(
    "shape", [(2**40,), (2**62, 2**62), (0, 2**62, 2**62), (2**20, 2**20), (1,) * 100, (2**31, 0)]
)
@pytest.mark.parametrize("dtype", ["float32", "int8", "string", "complex128"])
def test_huge_shapes_with_hardly_any_data(tmp_path, shape, dtype):
    _, record = item("x", np.zeros(1, np.int8))
    part = whole_slice(len(shape))
    message = SavedTensorSlices.FromString(record)
    message.data.slice.ParseFromString(part.encode())
    (tmp_path / "m").write_bytes(
        v1_bytes([saved("x", dtype, shape)], [(part.key(b"x"), message.SerializeToString())])
    )
    with tb.open(tmp_path / "m") as ckpt:
        for read in (lambda: ckpt["x"], lambda: ckpt.read("x", np.s_[..., :1])):
            try:
                assert read().size == 0
            except (tb.CorruptionError, tb.UnsupportedError):
                continue
            assert shape == (2**31, 0)


def test_types_that_the_format_does_not_have(tmp_path):
    """Nobody writes them, but a meta record can say so."""
    (tmp_path / "m").write_bytes(v1_bytes([saved("x", "int4", (2,)), saved("y", "variant", ())], []))
    with tb.open(tmp_path / "m") as ckpt:
        assert [entry.dtype for _, entry in ckpt.entries()] == ["int4", "variant"]
        with pytest.raises(tb.CorruptionError, match="its record is missing"):
            ckpt["x"]
    (tmp_path / "m").write_bytes(v1_bytes([saved("x", "int4", (2,))], [item("x", np.zeros(2, np.int8))]))
    with (
        tb.open(tmp_path / "m") as ckpt,
        pytest.raises(tb.UnsupportedError, match="no values of type int4") as caught,
    ):
        ckpt["x"]
    assert (caught.value.path, caught.value.key) == (str(tmp_path / "m"), "x")


# Writing


def write(path, arrays, *, specs=None, **options):
    """Write arrays, those in `specs` in slices."""
    cuts = {
        name: tuple(slice_of(spec, arrays[name].ndim) for spec in each)
        for name, each in (specs or {}).items()
    }
    tensors = [
        SavedTensor(
            name.encode(), array.shape, DType.of(array.dtype), cuts.get(name, (whole_slice(array.ndim),))
        )
        for name, array in arrays.items()
    ]

    def values(name, part):
        array = arrays[name.decode()]
        return array[part.box(array.shape)] if array.ndim else array

    return write_v1(str(path), tensors, values, **options)


def test_what_is_written(tmp_path):
    size = write(tmp_path / "m", ARRAYS)
    assert (tmp_path / "m").read_bytes() == whole_bytes(ARRAYS)
    assert list(snapshot(tmp_path)) == ["m"]
    assert size == (tmp_path / "m").stat().st_size
    assert our_reading(tmp_path / "m").keys() == ARRAYS.keys()


def test_slices_are_written(tmp_path):
    write(tmp_path / "m", {"emb": GRID, "a": np.array(1)}, specs={"emb": ["2,4:0,4", "0,2:-"]})
    with tb.open(tmp_path / "m") as ckpt:
        assert [str(each) for each in ckpt.entry("emb").slices] == ["2,4:0,4", "0,2:-"]
        np.testing.assert_array_equal(ckpt["emb"], GRID)


def test_values_are_asked_for_one_slice_at_a_time_in_the_order_of_keys(tmp_path):
    asked = []

    def values(name, part):
        asked.append((name, str(part)))
        return GRID[part.box(GRID.shape)]

    parts = even_slices(GRID.shape, 3, 0)
    tensors = [SavedTensor(name, (6, 4), DType.float32, parts) for name in (b"z", b"a")]
    write_v1(str(tmp_path / "m"), tensors, values)
    specs = ["0,2:0,4", "2,2:0,4", "4,2:0,4"]
    assert asked == [(name, spec) for name in (b"a", b"z") for spec in specs]


def test_nothing(tmp_path):
    write(tmp_path / "m", {})
    with tb.open(tmp_path / "m") as ckpt:
        assert list(ckpt) == []


def test_files_beside_it(tmp_path):
    (tmp_path / "checkpoint").write_bytes(b"old")
    write(tmp_path / "m", ARRAYS, beside={str(tmp_path / "checkpoint"): b"new"})
    assert (tmp_path / "checkpoint").read_bytes() == b"new"
    assert sorted(snapshot(tmp_path)) == ["checkpoint", "m"]


def test_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("m", ARRAYS)
    assert list(snapshot(tmp_path)) == ["m"]


def test_a_checkpoint_that_exists(tmp_path):
    write(tmp_path / "m", {"a": np.array(1)})
    before = snapshot(tmp_path)
    with pytest.raises(tb.ConflictError, match=r"exists; use --overwrite \(overwrite=True\)") as caught:
        write(tmp_path / "m", ARRAYS)
    assert caught.value.path == str(tmp_path / "m")
    assert snapshot(tmp_path) == before
    write(tmp_path / "m", ARRAYS, overwrite=True)
    assert snapshot(tmp_path) == {"m": whole_bytes(ARRAYS)}


@pytest.mark.parametrize("overwrite", [False, True])
def test_where_a_v2_checkpoint_would_be_read_instead(tmp_path, overwrite):
    write_bundle(tmp_path / "m", {}, [b""])
    before = snapshot(tmp_path)
    with pytest.raises(
        tb.ConflictError, match="a V2 checkpoint of this name exists, and would be read instead"
    ):
        write(tmp_path / "m", ARRAYS, overwrite=overwrite)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("checkpoint", "the name of the state file"),
        ("m-00000-of-00002", "the name of one of several V1 files"),
        ("m-?????-of-00002", "the name of one of several V1 files"),
        ("m.index", "this names a file of a checkpoint"),
        ("m.meta", "this names a file of a checkpoint"),
        ("m.data-00000-of-00001", "this names a file of a checkpoint"),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_names_that_stand_for_something_else(tmp_path, name, reason, overwrite):
    with pytest.raises(tb.ConflictError, match=reason):
        write(tmp_path / name, ARRAYS, overwrite=overwrite)
    assert snapshot(tmp_path) == {}


def test_directories(tmp_path):
    (tmp_path / "m").mkdir()
    with pytest.raises(tb.ConflictError):
        write(tmp_path / "m", ARRAYS, overwrite=True)
    with pytest.raises(tb.MissingFileError, match="no such directory; make it first"):
        write(tmp_path / "none/m", ARRAYS)
    assert not [*(tmp_path / "m").iterdir()]


@pytest.mark.parametrize("dtype", sorted({*DType} - WRITABLE))
def test_types_that_are_not_written(tmp_path, dtype):
    with pytest.raises(tb.UnsupportedError, match=f"the V1 format has no values of type {dtype}") as caught:
        write_v1(
            str(tmp_path / "m"), [saved("x", dtype, ())], lambda *_: pytest.fail("nothing is to be read")
        )
    assert (caught.value.path, caught.value.key) == (str(tmp_path / "m"), "x")
    assert snapshot(tmp_path) == {}


def test_names_that_are_not_utf8(tmp_path):
    """TensorFlow writes them, and can't read the file afterwards."""
    tensor = SavedTensor(b"\xff", (), DType.float32, (whole_slice(0),))
    with pytest.raises(
        tb.UnsupportedError, match="names in the V1 format must be UTF-8, and this one is not"
    ) as caught:
        write_v1(str(tmp_path / "m"), [tensor], lambda *_: pytest.fail("nothing is to be read"))
    assert caught.value.key == "\udcff"
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize(
    ("dtype", "elements"),
    [("float32", 2**29), ("int8", 2**31 // 10), ("complex128", 2**27), ("string", 2**28)],
)
def test_slices_of_more_than_two_gigabytes(tmp_path, dtype, elements):
    """Refused as by TensorFlow, by an estimate, and before anything is read or written."""
    with pytest.raises(
        tb.UnsupportedError, match=r"V1 allows 2147483648; partition the tensor first"
    ) as caught:
        write_v1(
            str(tmp_path / "m"),
            [saved("x", dtype, (elements,))],
            lambda *_: pytest.fail("nothing is to be read"),
        )
    assert caught.value.key == "x"
    assert snapshot(tmp_path) == {}


def test_strings_of_more_than_two_gigabytes(tmp_path, monkeypatch):
    """That shows when they are read; nothing is left then."""
    monkeypatch.setattr(v1, "MAX_RECORD_BYTES", 2000)
    write(tmp_path / "m", {"x": strings(b"a" * 900)})
    with pytest.raises(tb.UnsupportedError, match="a slice of up to 2041 bytes, V1 allows 2000"):
        write(tmp_path / "n", {"x": strings(b"a" * 1000)})
    assert list(snapshot(tmp_path)) == ["m"]


@pytest.mark.parametrize("error", [tb.CorruptionError("bad"), RuntimeError("stop"), KeyboardInterrupt()])
@pytest.mark.parametrize("overwrite", [False, True])
def test_values_that_can_not_be_had(tmp_path, error, overwrite):
    if overwrite:
        write(tmp_path / "m", {"a": np.array(1)})
    before = snapshot(tmp_path)

    def values(name, part):
        if name == b"b":
            raise error
        return ARRAYS[name.decode()]

    tensors = [saved(name, DType.of(array.dtype), array.shape) for name, array in ARRAYS.items()]
    with pytest.raises(type(error)):
        write_v1(str(tmp_path / "m"), tensors, values, overwrite=overwrite)
    assert snapshot(tmp_path) == before


def test_a_source_that_fails_is_not_taken_for_the_destination(tmp_path):
    def values(name, part):
        raise tb.UnreadableFileError("can't be read: Input/output error", path="/dev/source")

    with pytest.raises(tb.UnreadableFileError, match="can't be read: Input/output error") as caught:
        write_v1(str(tmp_path / "m"), [saved("x", "int8", ())], values)
    assert caught.value.path == "/dev/source"
    assert snapshot(tmp_path) == {}


def test_nothing_is_visible_before_the_end(tmp_path):
    seen = []

    def values(name, part):
        seen.append(sorted(path.partition(".tempstate")[::2] for path in snapshot(tmp_path)))
        return ARRAYS[name.decode()]

    tensors = [saved(name, DType.of(array.dtype), array.shape) for name, array in ARRAYS.items()]
    write_v1(str(tmp_path / "m"), tensors, values)
    assert len(seen) == len(ARRAYS)
    assert all(name == "m" and random for [(name, random)] in seen)


@pytest.mark.parametrize("overwrite", [True, False])
def test_writers_at_one_destination_at_once(tmp_path, overwrite):
    """What is there in the end is one of theirs, whole."""
    start = threading.Barrier(8)
    refused = []

    def run(number):
        start.wait()
        try:
            write(tmp_path / "m", {"a": np.full(9, number), "b": np.array(number)}, overwrite=overwrite)
        except tb.ConflictError:
            refused.append(number)

    threads = [threading.Thread(target=run, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {key: np.frombuffer(each[2], "<i8") for key, each in read_everything(tmp_path / "m").items()}
    assert set(found["a"]) == set(found["b"])
    assert len(refused) == (0 if overwrite else 7)
    assert list(snapshot(tmp_path)) == ["m"]


# Failing disks


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(tb.BundleError, match="can't write into this directory"):
        write(tmp_path / "m", ARRAYS)
    tmp_path.chmod(0o755)
