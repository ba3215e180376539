"""Damage of every kind that a disk or a network does, everywhere in a small checkpoint, is noticed when it is read."""

import contextlib
import io
import struct
import zipfile

import h5py
import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import read_everything, snapshot
from support.depth import DEEP, sample
from support.v1_files import item, saved, snappy_table, v1_bytes
from tensorbundle.storage.local import LocalFile
from tensorbundle.table import FOOTER_BYTES, TRAILER_BYTES, Footer, TableReader
from tensorbundle.tools import convert, salvage, verify


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The directory of a checkpoint with two data shards and every kind of entry: plain, string, graph, partitioned."""
    directory = tmp_path_factory.mktemp("whole")
    with tb.create(directory / "m") as writer:
        writer.add("a", np.array([1.5, -2.0], np.float32))
        writer.add("b", np.int64(7))
        writer.add("names", np.array([b"hello", b"", b"world"], object))
        writer.add_slice("parts", [3, 2], tb.TensorSlice.parse_spec("0,1:-"), np.array([[1, 2]], np.int16))
        writer.start_shard()
        rest = np.array([[3, 4], [5, 6]], np.int16)
        writer.add_slice("parts", [3, 2], tb.TensorSlice.parse_spec("1,2:0,2"), rest)
        writer.add_object_graph(tb.ObjectGraph.from_names(["a", "b"]))
    return directory


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The directory of a V1 checkpoint in two files with every kind of record: numbers, strings, slices."""
    directory = tmp_path_factory.mktemp("old")
    values = {
        "a": np.array([1.5, -2.0], np.float32),
        "b": np.array(-7),
        "names": np.array([b"hello", b""], object),
    }
    parts = {"0,1:-": np.array([[1, 2]], np.int16), "1,2:-": np.array([[3, 4], [5, 6]], np.int16)}
    first, second = parts
    tensors = [saved(name, tb.DType.of(each.dtype), each.shape) for name, each in values.items()]
    items = [item(name, each) for name, each in values.items()]
    (directory / OLD[0]).write_bytes(
        v1_bytes(
            [*tensors, saved("parts", "int16", (3, 2), [first])], [*items, item("parts", parts[first], first)]
        )
    )
    (directory / OLD[1]).write_bytes(
        v1_bytes([saved("parts", "int16", (3, 2), [second])], [item("parts", parts[second], second)])
    )
    return directory


@pytest.fixture(scope="module")
def compressed(whole, tmp_path_factory):
    """The directory of the first one, with an index whose blocks are compressed."""
    directory = tmp_path_factory.mktemp("compressed")
    for name in DATA:
        (directory / name).write_bytes((whole / name).read_bytes())
    with LocalFile(str(whole / INDEX)) as file:
        (directory / INDEX).write_bytes(snappy_table(TableReader(file).items()))
    return directory


@pytest.fixture
def damaged(whole, tmp_path):
    """A copy of the checkpoint, and a function that says what reading all of it gives after a file has changed."""
    return reader(whole, tmp_path)


@pytest.fixture
def damaged_old(old, tmp_path):
    """The same of the V1 checkpoint."""
    return reader(old, tmp_path)


def reader(source, tmp_path):
    for name, data in snapshot(source).items():
        (tmp_path / name).write_bytes(data)

    def read(name, data):
        path = tmp_path / name
        path.unlink()  # a map of the old file may still be there
        path.write_bytes(data)
        try:
            return read_everything(tmp_path / "m")
        except tb.BundleError as error:
            found = error
        assert str(tmp_path) in str(found)  # it says where
        return None

    return read


OLD = ["m-00000-of-00002", "m-00001-of-00002"]
INDEX = "m.index"
DATA = ["m.data-00000-of-00002", "m.data-00001-of-00002"]


@pytest.mark.parametrize("name", [INDEX, *DATA])
def test_every_truncation_is_noticed(whole, damaged, name):
    data = (whole / name).read_bytes()
    assert [size for size in sample(range(len(data)), 40) if damaged(name, data[:size]) is not None] == []
    assert damaged(name, data) == read_everything(whole / "m")


def flips(data):
    """Pairs of a place (offset, bit) and the data with that bit flipped: everywhere, or at a prime distance."""
    for place in range(0, 8 * len(data), 1 if DEEP else 37):
        offset, bit = divmod(place, 8)
        flipped = bytearray(data)
        flipped[offset] ^= 1 << bit
        yield (offset, bit), bytes(flipped)


def flips_of_bytes(data):
    """The same with one bit of each byte, or of every fifth."""
    for offset in range(0, len(data), 1 if DEEP else 5):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << offset % 8
        yield (offset, offset % 8), bytes(flipped)


def tried(data, places):
    """Those of the places that `flips` visits."""
    return places & {place for place, _ in flips(data)}


def undetected_flips(damaged, name, data, expected, flips=flips):
    """The (offset, bit) pairs whose flip goes unnoticed; what is read must then be what it was."""
    found = set()
    for (offset, bit), flipped in flips(data):
        result = damaged(name, flipped)
        if result is not None:
            assert result == expected, (offset, bit)
            found.add((offset, bit))
    return found


@pytest.mark.parametrize("name", DATA)
def test_every_flipped_bit_of_data_is_noticed(whole, damaged, name):
    expected = read_everything(whole / "m")
    assert undetected_flips(damaged, name, (whole / name).read_bytes(), expected) == set()


def test_every_flipped_bit_of_the_index_is_noticed(whole, damaged):
    data = (whole / INDEX).read_bytes()
    assert undetected_flips(damaged, INDEX, data, read_everything(whole / "m")) == tried(
        data, unread_bits(data)
    )


def test_every_flipped_byte_of_a_compressed_index_is_noticed(compressed, tmp_path):
    data = (compressed / INDEX).read_bytes()
    damaged = reader(compressed, tmp_path)
    expected = read_everything(compressed / "m")
    found = undetected_flips(damaged, INDEX, data, expected, flips_of_bytes)
    assert found == unread_bits(data) & {place for place, _ in flips_of_bytes(data)}


def test_every_truncation_of_a_compressed_index_is_noticed(compressed, tmp_path):
    data = (compressed / INDEX).read_bytes()
    damaged = reader(compressed, tmp_path)
    assert [size for size in sample(range(len(data)), 40) if damaged(INDEX, data[:size]) is not None] == []


def unread_bits(data):
    """The (offset, bit) pairs of a table on which nothing depends."""
    end = len(data) - FOOTER_BYTES
    footer = Footer.parse(data[end:])
    first, both = (
        len(footer.metaindex_handle.encode()),
        len(footer.metaindex_handle.encode() + footer.index_handle.encode()),
    )
    unread = {
        # The metaindex block and its trailer: it is always empty, and nobody reads it.
        *range(
            footer.metaindex_handle.offset,
            footer.metaindex_handle.offset + footer.metaindex_handle.size + TRAILER_BYTES,
        ),
        # The footer's padding, between the two handles and the magic number.
        *range(end + both, end + 40),
    }
    # The metaindex handle in the footer: its values are not used, but where its varints end matters (bit 7).
    values = {(offset, bit) for offset in range(end, end + first) for bit in range(7)}
    # The last byte of the index handle, a size below 128: with bit 7 the varint takes a padding zero and stays equal.
    assert data[end + both - 1] < 0x80
    longer = {(end + both - 1, 7)}
    return {(offset, bit) for offset in unread for bit in range(8)} | values | longer


def test_flipped_bits_that_no_reader_needs_are_found(whole, tmp_path):
    """`verify` warns of them: the disk is faulty all the same."""
    data = (whole / INDEX).read_bytes()
    for name, content in snapshot(whole).items():
        (tmp_path / name).write_bytes(content)
    for offset, bit in sorted(unread_bits(data))[:: 1 if DEEP else 37]:
        flipped = bytearray(data)
        flipped[offset] ^= 1 << bit
        (tmp_path / INDEX).write_bytes(flipped)
        problems = verify(tmp_path / "m", quick=True).problems
        assert {(each.severity, each.kind) for each in problems} == {("warning", "index")}, (offset, bit)


@pytest.mark.parametrize("name", [INDEX, *DATA])
def test_every_missing_file_is_noticed(whole, tmp_path, name):
    for other, data in snapshot(whole).items():
        if other != name:
            (tmp_path / other).write_bytes(data)
    with pytest.raises(tb.MissingFileError, match="no such file") as caught:
        read_everything(tmp_path / "m")
    assert caught.value.path == str(tmp_path / name)


@pytest.mark.parametrize("name", [INDEX, *DATA])
def test_zeros_instead_of_content_are_noticed(whole, damaged, name):
    """What a crash leaves on some file systems: the right size, nothing written."""
    assert damaged(name, bytes((whole / name).stat().st_size)) is None


@pytest.mark.parametrize("name", DATA)
def test_bytes_after_the_last_tensor_are_legal(whole, damaged, name):
    assert damaged(name, (whole / name).read_bytes() + b"junk") == read_everything(whole / "m")


# V1 files, which are tables and nothing else


@pytest.mark.parametrize("name", OLD)
def test_every_truncation_of_a_v1_file_is_noticed(old, damaged_old, name):
    data = (old / name).read_bytes()
    assert [size for size in sample(range(len(data)), 40) if damaged_old(name, data[:size]) is not None] == []
    assert damaged_old(name, data) == read_everything(old / "m")
    assert damaged_old(name, data + b"junk") is None  # unlike a data shard, a table ends with the file


@pytest.mark.parametrize("name", OLD)
def test_every_flipped_bit_of_a_v1_file_is_noticed(old, damaged_old, name):
    data = (old / name).read_bytes()
    assert undetected_flips(damaged_old, name, data, read_everything(old / "m")) == tried(
        data, unread_bits(data)
    )


@pytest.mark.parametrize("name", OLD)
def test_verify_notices_every_flipped_bit_of_a_v1_file(old, damaged_old, tmp_path, name):
    data = (old / name).read_bytes()
    harmless = unread_bits(data)
    for place, flipped in flips(data):
        (tmp_path / name).write_bytes(flipped)
        problems = verify(tmp_path / "m").problems
        severity = "warning" if place in harmless else "error"
        assert {(each.severity, each.path) for each in problems} == {(severity, str(tmp_path / name))}, place


@pytest.mark.parametrize("name", OLD)
def test_a_missing_v1_file_is_noticed(old, damaged_old, tmp_path, name):
    (tmp_path / name).unlink()
    with pytest.raises(tb.MissingFileError, match="one of the files of a V1 checkpoint is missing") as caught:
        read_everything(tmp_path / "m")
    assert caught.value.path == str(tmp_path / name)
    [problem] = verify(tmp_path / "m").problems
    assert (problem.kind, problem.path) == ("missing-shard", str(tmp_path / name))


@pytest.mark.parametrize("name", OLD)
def test_zeros_instead_of_a_v1_file_are_noticed(old, damaged_old, name):
    assert damaged_old(name, bytes((old / name).stat().st_size)) is None


@pytest.fixture(params=["m.safetensors", "m.npz"])
def foreign(request, tmp_path):
    """A file of another format, and a function that says what reading all of it gives after it has changed."""
    path = tmp_path / request.param
    with tb.create(tmp_path / "source") as writer:
        writer.add("a", np.array([1.5, -2.0], np.float32))
        writer.add("b/c", np.arange(6, dtype=np.int16).reshape(2, 3))
    convert(tmp_path / "source", path)

    def read(data):
        path.write_bytes(data)
        with contextlib.suppress(tb.BundleError):
            return read_everything(path)
        return None

    return path, read


def test_every_truncation_of_another_format_is_noticed(foreign):
    path, read = foreign
    data = path.read_bytes()
    assert [size for size in sample(range(len(data)), 40) if read(data[:size]) is not None] == []
    for size in range(0, len(data), 29):
        path.write_bytes(data[:size])
        assert {each.path for each in verify(path).problems} == {str(path)}


def test_every_flipped_byte_of_another_format_is_noticed_or_gives_values(foreign):
    path, read = foreign
    data, expected = path.read_bytes(), read_everything(path)
    found = {offset: read(flipped) for (offset, _), flipped in flips_of_bytes(data)}
    if path.suffix == ".npz":  # the members of an archive have checksums, which `verify` checks
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
        places = []
        for each in members:
            name, extra = struct.unpack_from("<HH", data, each.header_offset + 26)
            places.append((each.header_offset + 30 + name + extra, each.compress_size))
        assert all(data[start : start + 6] == b"\x93NUMPY" for start, _ in places)
        values = {each for start, size in places for each in range(start, start + size)}
        for (offset, _), flipped in flips_of_bytes(data):
            if offset in values:
                path.write_bytes(flipped)
                assert [each.path for each in verify(path).problems] == [str(path)]
    else:  # nothing tells that values changed
        start = 8 + int.from_bytes(data[:8], "little")
        assert {found[offset] in (None, expected) for offset in found if offset >= start} == {False}


@pytest.mark.parametrize(("kind", "name"), [("compressed", INDEX), ("old", OLD[0])], ids=["snappy", "v1"])
@pytest.mark.parametrize("cut", [True, False], ids=["cut", "flipped"])
def test_what_is_salvaged_is_as_it_was(request, tmp_path, kind, name, cut):
    source = request.getfixturevalue(kind)
    expected = read_everything(source / "m")
    data = (source / name).read_bytes()
    changed = (
        [data[:size] for size in range(len(data))] if cut else [each for _, each in flips_of_bytes(data)]
    )
    kept = []
    for each in sample(changed[:: len(changed) // 60 or 1], 12):
        directory = tmp_path / "damaged"
        directory.mkdir(exist_ok=True)
        for other, content in snapshot(source).items():
            (directory / other).write_bytes(each if other == name else content)
        before = snapshot(directory)
        found = {}
        with contextlib.suppress(tb.BundleError):  # nothing is left
            salvage(directory / "m", tmp_path / "saved", overwrite=True)
            found = read_everything(tmp_path / "saved")
        assert snapshot(directory) == before
        tensors = {
            key: value for key, value in found.items() if not key.startswith("\0")
        }  # no slices of lost ones
        assert tensors == {key: expected[key] for key in tensors}
        kept.append(len(tensors))
    assert max(kept) >= len(expected) - 1  # blocks are found without the end, which says where they are


HDF5 = ["m.weights.h5", "m.h5", "m.keras"]
PLACES = 60 if DEEP else 12  # of bytes: most of such a file is reserved and unused


@pytest.fixture(params=HDF5)
def hdf5(request, tmp_path):
    """A file of Keras weights and what is in it."""
    path = tmp_path / request.param
    weights = {
        "dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "dense/bias": np.ones(3, np.float32),
    }
    keys = ["layers/dense/vars/0", "layers/dense/vars/1"]
    if path.name == "m.h5":
        with h5py.File(path, "w", track_order=True) as file:
            file.attrs["layer_names"] = [b"dense"]
            group = file.create_group("dense")
            group.attrs["weight_names"] = [name.encode() for name in weights]
            for name, each in weights.items():
                group[name] = each
    else:
        with tb.create(tmp_path / "source") as writer:
            for key, each in zip(keys, weights.values(), strict=True):
                writer.add(key, each)
        convert(tmp_path / "source", tmp_path / "m.weights.h5")
    if path.name == "m.keras":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("config.json", "{}")
            archive.write(tmp_path / "m.weights.h5", "model.weights.h5")
    return path


def read_hdf5(path, data):
    """What reading all of a damaged file gives, or None, after an error that names the file; `verify` lists one, then."""
    path.write_bytes(data)
    found = None
    with contextlib.suppress(tb.BundleError):
        found = read_everything(path)
    problems = verify(path).problems
    assert found is not None or {each.path for each in problems} == {str(path)}
    return found


@pytest.mark.slow
def test_every_truncation_of_hdf5_is_noticed(hdf5):
    data, expected = hdf5.read_bytes(), read_everything(hdf5)
    assert [
        size for size in range(0, len(data), len(data) // PLACES) if read_hdf5(hdf5, data[:size]) is not None
    ] == []
    assert read_hdf5(hdf5, data[:-1]) is None
    assert read_hdf5(hdf5, data) == expected


@pytest.mark.slow
def test_flipped_bytes_of_hdf5_are_noticed_or_give_values(hdf5):
    """HDF5 has no checksums, and its library reads the file: nothing worse than other values comes of it."""
    data, expected = hdf5.read_bytes(), read_everything(hdf5)
    flipped = bytearray(data)
    flipped[0] ^= 1  # of the signature
    found = [read_hdf5(hdf5, bytes(flipped))]
    for offset in range(0, len(data), len(data) // PLACES):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << offset % 8
        found.append(read_hdf5(hdf5, bytes(flipped)))
    assert None in found
    assert hdf5.suffix == ".keras" or expected in found  # an archive has checksums
