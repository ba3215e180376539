"""HDF5 files, opened as checkpoints and written by plans."""

import errno
import io
import json
import zipfile

import ml_dtypes
import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.errors import (
    BundleError,
    ConflictError,
    CorruptionError,
    MissingFileError,
    UnsupportedError,
)
from tensorbundle.tools import rewrite

h5py = pytest.importorskip("h5py")

RNG = np.random.default_rng(0)
TENSORS = {
    "layers/dense/vars/0": RNG.normal(size=(30, 40)).astype("f4"),
    "layers/dense/vars/1": RNG.normal(size=40).astype("f4"),
    "optimizer/vars/0": np.array(7, "i8"),
    "vars/0": RNG.normal(size=(7, 2)).astype(ml_dtypes.bfloat16),
    "flags": np.array([True, False]),
    "complex": np.array([1 + 2j], "c8"),
    "empty": np.zeros((0, 3), "f4"),
}


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "m.weights.h5"
    with h5py.File(path, "w") as file:
        for key, values in TENSORS.items():
            dataset = file.create_dataset(key, data=values)
            if values.dtype == ml_dtypes.bfloat16:
                dataset.attrs["dtype"] = "bfloat16"
        file["layers/dense/vars"].attrs["name"] = "my_dense"
    return path


def assert_has(path, expected=TENSORS):
    with tb.open(path) as checkpoint:
        assert list(checkpoint) == sorted(expected)
        for key, values in expected.items():
            found = checkpoint[key]
            assert (found.dtype, found.shape) == (values.dtype.newbyteorder("<"), values.shape)
            np.testing.assert_array_equal(found, values)


def test_a_weights_file(weights, tmp_path):
    assert_has(weights)
    with tb.open(weights) as checkpoint:
        assert checkpoint.index.attributes == {"layers/dense/vars": {"name": "my_dense"}}
    rewrite(weights, tmp_path / "ckpt")
    assert_has(tmp_path / "ckpt")
    assert (tmp_path / "ckpt.data-00000-of-00001").samefile(weights)


def test_back_and_forth(weights, tmp_path):
    rewrite(weights, tmp_path / "again.h5")
    assert_has(tmp_path / "again.h5")
    with h5py.File(tmp_path / "again.h5") as file:
        assert file["layers/dense/vars"].attrs["name"] == "my_dense"
        assert file["vars/0"].attrs["dtype"] == "bfloat16"
        assert (file["flags"].dtype, file["complex"].dtype) == (bool, "c8")
        assert file["layers/dense/vars/0"].id.get_offset() is not None
    rewrite(weights, tmp_path / "same.h5")
    assert (tmp_path / "same.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()


def test_what_hdf5_has_to_decode(tmp_path):
    arrays = {
        "chunked": RNG.normal(size=(50, 60)),
        "big": np.arange(5, dtype=">i4"),
        "compact": np.arange(3.0),
        "half": RNG.normal(size=(300, 400)).astype("f2"),
    }
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset(
            "chunked", data=arrays["chunked"], chunks=(7, 9), compression="gzip", shuffle=True
        )
        file["big"] = arrays["big"]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3,))
        h5py.Dataset(h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F64LE, space, properties))[...] = (
            arrays["compact"]
        )
        file.create_dataset("half", data=arrays["half"], chunks=True, compression="lzf")
    assert_has(tmp_path / "m.h5", arrays)
    with tb.open(tmp_path / "m.h5") as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("half", np.s_[10:20, 3]), arrays["half"][10:20, 3])
    rewrite(tmp_path / "m.h5", tmp_path / "ckpt")
    assert_has(tmp_path / "ckpt", arrays)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_keras_archive(compression, weights, tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w", compression) as archive:
        archive.writestr("config.json", "{}")
        archive.write(weights, "model.weights.h5")
    assert_has(tmp_path / "m.keras")
    rewrite(tmp_path / "m.keras", tmp_path / "ckpt")
    assert_has(tmp_path / "ckpt")
    shared = (tmp_path / "ckpt.data-00000-of-00001").samefile(tmp_path / "m.keras")
    assert shared == (compression == zipfile.ZIP_STORED)
    with zipfile.ZipFile(tmp_path / "none.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(CorruptionError, match=r"no member 'model.weights.h5'"):
        tb.open(tmp_path / "none.keras")


@pytest.mark.parametrize("name", ["out.keras", "out.weights.json"])
def test_formats_that_are_only_read(name, tmp_path):
    with tb.create(tmp_path / "ckpt") as writer:
        writer.add("layers/dense/vars/0", np.zeros(2, "f4"))
    with pytest.raises(UnsupportedError, match=r"write a .weights.h5 file"):
        rewrite(tmp_path / "ckpt", tmp_path / name)
    assert not list(tmp_path.glob("out*"))


def in_two_files(tmp_path, **change):
    halves = [dict(list(TENSORS.items())[:3]), dict(list(TENSORS.items())[3:])]
    weights = {}
    for number, tensors in enumerate(halves):
        with h5py.File(tmp_path / f"m_0000{number}.weights.h5", "w") as file:
            for key, values in tensors.items():
                dataset = file.create_dataset(key, data=values)
                if values.dtype == ml_dtypes.bfloat16:
                    dataset.attrs["dtype"] = "bfloat16"
                weights.setdefault(f"/{key.rpartition('/')[0]}", []).append(f"m_0000{number}.weights.h5")
    (tmp_path / "m.weights.json").write_text(json.dumps({"weight_map": weights | change}))
    return tmp_path / "m.weights.json"


def test_weights_in_several_files(tmp_path):
    path = in_two_files(tmp_path)
    assert_has(path)
    rewrite(path, tmp_path / "ckpt")
    assert_has(tmp_path / "ckpt")
    for number in range(2):
        part = tmp_path / f"m_0000{number}.weights.h5"
        assert (tmp_path / f"ckpt.data-0000{number}-of-00002").samefile(part)
    for name, message in (("../x.h5", "is not the name of a file"), (7, "7 is not the name of a file")):
        with pytest.raises(CorruptionError, match=rf"m.weights.json: key '/x': .*{message}"):
            tb.open(in_two_files(tmp_path, **{"/x": name}))
    with pytest.raises(MissingFileError, match=r"no.h5: no such file"):
        tb.open(in_two_files(tmp_path, **{"/x": "no.h5"}))
    (tmp_path / "again.h5").write_bytes((tmp_path / "m_00000.weights.h5").read_bytes())
    with pytest.raises(CorruptionError, match="another file has this dataset too"):
        tb.open(in_two_files(tmp_path, **{"/x": "again.h5"}))
    for content in (b"{", b"[]", b'{"weight_map": []}'):
        path.write_bytes(content)
        with pytest.raises(CorruptionError, match=r"m.weights.json: (not JSON|no 'weight_map')"):
            tb.open(path)


def hostile(path, name):
    with h5py.File(path, "w") as file:
        file["fine"] = np.zeros(3)
        if name == "external link":
            file["a"] = h5py.ExternalLink("/etc/passwd", "/x")
        elif name == "soft link":
            file["a"] = h5py.SoftLink("/fine")
        elif name == "external storage":
            file.create_dataset("a", (3,), "f4", external=[("/etc/passwd", 0, 12)])
        elif name == "virtual":
            layout = h5py.VirtualLayout((3,), "f8")
            layout[:] = h5py.VirtualSource("other.h5", "fine", (3,))
            file.create_virtual_dataset("a", layout)
        elif name == "shape bomb":
            file.create_dataset("a", (2**20, 2**20), "f4", chunks=(1024, 1024), compression="gzip")
        elif name == "huge and never written":
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
            space = h5py.h5s.create_simple((2**40,))
            h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F32LE, space, properties)
        elif name == "strings":
            file["a"] = np.array(["x"], h5py.string_dtype())
        elif name == "records":
            file["a"] = np.zeros(1, "f4,i4")
        elif name == "raw bytes":
            file["a"] = np.zeros(1, "V3")


HOSTILE = {
    "external link": "a soft or external link",
    "soft link": "a soft or external link",
    "external storage": "stored in other files",
    "virtual": "stored in other files",
    "shape bomb": "4398046511104 bytes by its shape",
    "huge and never written": "4398046511104 bytes by its shape, 0 are stored",
    "strings": "strings, references or records",
    "records": "strings, references or records",
    "raw bytes": "raw elements of 3 bytes",
}


@pytest.mark.parametrize(("name", "message"), HOSTILE.items(), ids=HOSTILE)
def test_what_is_not_read(name, message, tmp_path):
    hostile(tmp_path / "m.h5", name)
    with pytest.raises(UnsupportedError, match=rf"m.h5: .*'a' \({message}"):
        tb.open(tmp_path / "m.h5")


def test_groups_inside_groups(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_group("a/" * 102)
    with pytest.raises(CorruptionError, match="groups more than 100 deep"):
        tb.open(tmp_path / "m.h5")


@pytest.mark.parametrize("ends", [True, False])
def test_groups_in_several_places(ends, tmp_path):
    """Of groups that are in each other twice, there are as many paths as a power of two; of one in itself, endless ones."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        group = file
        for _ in range(30):
            inner = group.create_group("a")
            group["b"] = inner
            group = inner
        if not ends:
            group["a"] = file["a"]
    with pytest.raises(
        CorruptionError, match=r"key '[ab/]+': a group that is in several places, or in itself"
    ):
        tb.open(tmp_path / "m.h5")


@pytest.mark.parametrize("size", [0, 4, 100, 900])
def test_damaged_files(size, weights, tmp_path):
    (tmp_path / "cut.h5").write_bytes(weights.read_bytes()[:size])
    with pytest.raises(BundleError, match=r"cut.h5"):
        tb.open(tmp_path / "cut.h5")


@pytest.mark.slow
def test_flipped_bytes_give_a_value_or_an_error(weights, tmp_path):
    data = weights.read_bytes()
    for position in range(0, 2000, 41):
        changed = bytearray(data)
        changed[position] ^= 0xFF
        (tmp_path / "x.h5").write_bytes(changed)
        try:
            with tb.open(tmp_path / "x.h5") as checkpoint:
                for key in checkpoint:
                    checkpoint[key]
        except BundleError:
            pass


def test_paths_that_can_not_be(tmp_path):
    with tb.create(tmp_path / "ckpt") as writer:
        writer.add("a", np.zeros(1))
        writer.add("a/b", np.zeros(1))
    with pytest.raises(ConflictError, match="no dataset in a dataset: 'a/b' in 'a'; rename"):
        rewrite(tmp_path / "ckpt", tmp_path / "out.h5")
    rewrite(tmp_path / "ckpt", tmp_path / "fine", rename={"a": "/a", "a/b": "b//c"})
    with pytest.raises(UnsupportedError, match="not a path that a dataset can have"):
        rewrite(tmp_path / "fine", tmp_path / "out.h5")
    assert not list(tmp_path.glob("out*"))


def test_tensors_of_one_origin_share_a_dataset(tmp_path):
    graph = tb.ObjectGraph.from_nested(
        {"by": {"z": {"kernel": "net/dense/kernel"}, "a": {"kernel": "net/dense_1/kernel"}}}
    )
    with tb.create(tmp_path / "ckpt") as writer:
        for number, key in enumerate(each.checkpoint_key for _, _, each in graph.attributes()):
            writer.add(key, np.full((100, 100), number, "f4"))
        writer.add_object_graph(graph)
    rewrite(tmp_path / "ckpt", tmp_path / "out.weights.h5")
    with h5py.File(tmp_path / "out.weights.h5") as file:
        assert file["by/z/vars/0"] == file["by/dense/vars/0"]
        assert file["by/a/vars/0"] == file["by/dense_1/vars/0"]
        assert isinstance(file["vars"], h5py.Group)
    assert (tmp_path / "out.weights.h5").stat().st_size < 3 * 40_000


def test_without_h5py(weights, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UnsupportedError, match=r"need h5py: pip install 'tensorbundle\[keras\]'"):
        tb.open(weights)


def test_bytes_that_are_no_hdf5(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    (tmp_path / "m.h5").write_bytes(buffer.getvalue())
    with pytest.raises(CorruptionError, match="HDF5 can't read it"):
        tb.open(tmp_path / "m.h5")


def test_no_room_for_the_structure(tmp_path, monkeypatch):
    """It is made where the system has its temporary files, which may be another disk than the output's."""
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", np.zeros(3))
    monkeypatch.setattr(h5py.h5d, "create", failing(OSError(errno.ENOSPC, "in HDF5's words")))
    with pytest.raises(tb.BundleError, match=r"empty.h5': No space left on device"):
        rewrite(tmp_path / "m", tmp_path / "m.h5")
    monkeypatch.setattr(h5py.h5d, "create", failing(ValueError("HDF5's words")))
    with pytest.raises(tb.BundleError, match=r"empty.h5': HDF5's words"):
        rewrite(tmp_path / "m", tmp_path / "m.h5")
    assert not list(tmp_path.glob("m.h5*"))


def failing(error):
    def fail(*_, **__):
        raise error

    return fail
