"""Files of other formats, opened as checkpoints and written by plans. What needs HDF5 is in `test_hdf5.py`."""

import json
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.dtypes import DType
from tensorbundle.errors import ConflictError, CorruptionError, MissingFileError, UnsupportedError
from tensorbundle.foreign import foreign_ending
from tensorbundle.tools import TransferOptions, rewrite, verify
from tensorbundle.tools.cli import main
from tensorbundle.tools.formats.safetensors import encode_header, written_order

RNG = np.random.default_rng(0)
TENSORS = {
    "a/kernel": RNG.normal(size=(30, 40)).astype("f4"),
    "a/bias": RNG.normal(size=40).astype("f4"),
    "step": np.array(7, "i8"),
    "brain": RNG.normal(size=(7, 2)).astype(ml_dtypes.bfloat16),
    "tiny": RNG.normal(size=5).astype(ml_dtypes.float8_e4m3fn),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), "f4"),
}


def write_safetensors(path, tensors=TENSORS, metadata=None):
    order = written_order({key: DType.of(values.dtype) for key, values in tensors.items()})
    header = encode_header(
        [(key, DType.of(tensors[key].dtype), tensors[key].shape) for key in order], metadata or {}
    )
    path.write_bytes(header + b"".join(tensors[key].tobytes() for key in order))


def assert_has(path, expected=TENSORS):
    with tb.open(path) as checkpoint:
        assert list(checkpoint) == sorted(expected)
        for key, values in expected.items():
            found = checkpoint[key]
            assert (found.dtype, found.shape) == (values.dtype.newbyteorder("<"), values.shape)
            np.testing.assert_array_equal(found, values)


@pytest.fixture
def bundle(tmp_path):
    with tb.create(tmp_path / "ckpt") as writer:
        for key, values in TENSORS.items():
            writer.add(key, values)
    return tmp_path / "ckpt"


def test_endings():
    endings = [
        "a.safetensors",
        "d.npz/a.safetensors.index.json",
        "a.npz",
        "a.weights.h5",
        "a.keras",
        "a.h5",
        "a",
    ]
    assert [foreign_ending(each) is not None for each in endings] == [True] * 6 + [False]


def test_safetensors(tmp_path):
    write_safetensors(tmp_path / "m.safetensors", metadata={"format": "tf"})
    assert_has(tmp_path / "m.safetensors")
    with tb.open(tmp_path / "m.safetensors") as checkpoint:
        entry = checkpoint.entry("a/kernel")
        assert (entry.dtype, entry.shape, entry.nbytes) == ("float32", (30, 40), 4800)
        assert checkpoint.index.attributes == {"": {"format": "tf"}}
        assert checkpoint.object_graph is None
        with pytest.raises(tb.TensorNotFoundError, match="near: 'a/kernel'"):
            checkpoint["a/kernal"]


@pytest.mark.parametrize("name", ["out.safetensors", "out.npz"])
def test_a_bundle_becomes_a_file_and_a_bundle_again(name, bundle, tmp_path):
    written = rewrite(bundle, tmp_path / name)
    assert written.bytes_written == (tmp_path / name).stat().st_size
    assert_has(tmp_path / name)
    summary = rewrite(tmp_path / name, tmp_path / "again")
    assert summary.bytes_shared == (tmp_path / name).stat().st_size
    assert (tmp_path / "again.data-00000-of-00001").samefile(tmp_path / name)
    assert_has(tmp_path / "again")
    rewrite(tmp_path / name, tmp_path / "copied", options=TransferOptions(data="copy"))
    assert_has(tmp_path / "copied")


def test_the_same_bytes_come_back(tmp_path):
    write_safetensors(tmp_path / "m.safetensors", metadata={"format": "tf"})
    rewrite(tmp_path / "m.safetensors", tmp_path / "ckpt")
    rewrite(
        tmp_path / "ckpt", tmp_path / "again.safetensors", options=TransferOptions(metadata={"format": "tf"})
    )
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()
    rewrite(tmp_path / "m.safetensors", tmp_path / "kept.safetensors")
    assert (tmp_path / "kept.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()


def test_options_that_a_format_has_no_place_for(bundle, tmp_path):
    for name in ("out.npz", "out"):
        with pytest.raises(ConflictError, match="no text beside the tensors; leave out --metadata"):
            rewrite(bundle, tmp_path / name, options=TransferOptions(metadata={"format": "tf"}))
    with pytest.raises(UnsupportedError, match="files: npz is written as one file"):
        rewrite(bundle, tmp_path / "out.npz", options=TransferOptions(max_shard_bytes=1))
    assert not list(tmp_path.glob("out*"))


def test_editing_on_the_way(tmp_path):
    write_safetensors(tmp_path / "m.safetensors")
    rewrite(
        tmp_path / "m.safetensors",
        tmp_path / "m.npz",
        rename={"a/": "b/"},
        drop=["tiny"],
        cast={"b/*": "float16"},
        transpose={"b/kernel": [1, 0]},
        reshape={"brain": [-1]},
    )
    expected = {key.replace("a/", "b/"): values for key, values in TENSORS.items() if key != "tiny"}
    expected |= {key: values.astype("f2") for key, values in expected.items() if key.startswith("b/")}
    assert_has(
        tmp_path / "m.npz",
        expected | {"b/kernel": expected["b/kernel"].T, "brain": expected["brain"].reshape(-1)},
    )


def test_numpy_reads_what_is_written(bundle, tmp_path):
    rewrite(bundle, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as loaded:
        assert sorted(loaded.files) == sorted(TENSORS)
        np.testing.assert_array_equal(loaded["a/kernel"], TENSORS["a/kernel"])
        np.testing.assert_array_equal(loaded["brain"].view(ml_dtypes.bfloat16), TENSORS["brain"])


def test_arrays_of_every_layout(tmp_path):
    arrays = {
        "fortran": np.asfortranarray(RNG.normal(size=(5, 6, 7)).astype(">f4")),
        "big": np.arange(5, dtype=">i4"),
        "one": np.asfortranarray(np.arange(3.0)),
        "scalar": np.array(1.5),
        "brain": TENSORS["brain"],
        "large": RNG.integers(0, 3, (700, 1000)).astype("f4"),
    }
    for name, save in (("stored.npz", np.savez), ("deflated.npz", np.savez_compressed)):
        save(tmp_path / name, **arrays)
        assert_has(tmp_path / name, arrays)
        rewrite(tmp_path / name, tmp_path / "ckpt", options=TransferOptions(overwrite=True))
        assert_has(tmp_path / "ckpt", arrays)
        with tb.open(tmp_path / name) as checkpoint:
            np.testing.assert_array_equal(
                checkpoint.read("large", np.s_[100:300, 5]), arrays["large"][100:300, 5]
            )


def test_members_that_are_no_tensors_are_all_named(tmp_path):
    np.savez(tmp_path / "m.npz", a=np.zeros(1), text=np.array(["x"]), any=np.array([None], object))
    with zipfile.ZipFile(tmp_path / "m.npz", "a") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises((UnsupportedError, CorruptionError)) as caught:
        tb.open(tmp_path / "m.npz")
    assert "readme.txt" in str(caught.value) or "'text.npy': strings (<U1); 'any.npy'" in str(caught.value)


def sharded(tmp_path, **change):
    write_safetensors(
        tmp_path / "m-00001-of-00002.safetensors", {"a": TENSORS["a/bias"], "x": TENSORS["flags"]}
    )
    write_safetensors(tmp_path / "m-00002-of-00002.safetensors", {"b": TENSORS["step"]})
    weights = {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"} | change
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    return tmp_path / "m.safetensors.index.json"


def test_a_sharded_set(tmp_path):
    path = sharded(tmp_path)
    assert_has(path, {"a": TENSORS["a/bias"], "b": TENSORS["step"]})
    rewrite(path, tmp_path / "ckpt")
    assert_has(tmp_path / "ckpt", {"a": TENSORS["a/bias"], "b": TENSORS["step"]})
    for number in (1, 2):
        part = tmp_path / f"m-0000{number}-of-00002.safetensors"
        assert (tmp_path / f"ckpt.data-0000{number - 1}-of-00002").samefile(part)
    with pytest.raises(CorruptionError, match="tensors that the named files do not have: 'c'"):
        tb.open(sharded(tmp_path, c="m-00002-of-00002.safetensors"))
    with pytest.raises(
        MissingFileError, match=r"n.safetensors: no such file, which .*m.safetensors.index.json names"
    ):
        tb.open(sharded(tmp_path, c="n.safetensors"))


def test_a_sharded_set_is_replaced_at_once(tmp_path):
    """New files take new names, so that the old index is valid until the new one is there; then the old files go."""
    write_safetensors(tmp_path / "m.safetensors")
    options = TransferOptions(max_shard_bytes=300, overwrite=True)
    for _ in range(2):
        rewrite(tmp_path / "m.safetensors", tmp_path / "out.safetensors", options=options)
        files = {each.name for each in tmp_path.glob("out-*")}
        index = json.loads((tmp_path / "out.safetensors.index.json").read_text())
        assert set(index["weight_map"].values()) <= files
        assert_has(tmp_path / "out.safetensors.index.json")
        assert_has(tmp_path / "out.safetensors")  # the name that was given
    assert len(files) == 4  # one more than the first time
    rewrite(
        tmp_path / "out.safetensors.index.json",
        tmp_path / "out.safetensors",
        options=TransferOptions(overwrite=True),
    )
    assert [each.name for each in tmp_path.glob("out*")] == ["out.safetensors"]
    assert_has(tmp_path / "out.safetensors")


def test_what_exists_is_refused(bundle, tmp_path):
    for name in ("m.safetensors", "m.npz"):
        (tmp_path / name).write_bytes(b"mine")
        with pytest.raises(ConflictError, match="exists"):
            rewrite(bundle, tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["out.safetensors", "out.npz"])
def test_tensors_that_can_not_be_stored_are_all_named(name, tmp_path):
    with tb.create(tmp_path / "ckpt") as writer:
        writer.add("text", [b"a"])
        writer.add("more", [b"b"])
        writer.add("fine", np.zeros(3, "f4"))
    with pytest.raises(UnsupportedError) as caught:
        rewrite(tmp_path / "ckpt", tmp_path / name)
    assert "'text': " in str(caught.value)
    assert "'more': " in str(caught.value)
    assert "--allow-unused" in str(caught.value)
    assert not list(tmp_path.glob("out*"))
    summary = rewrite(tmp_path / "ckpt", tmp_path / name, options=TransferOptions(allow_unused=True))
    assert sorted(each.key for each in summary.left_out) == ["more", "text"]
    assert_has(tmp_path / name, {"fine": np.zeros(3, "f4")})


def test_object_based_tensors_are_named_by_their_paths(tmp_path):
    graph = tb.ObjectGraph.from_names(["a", "b"], root="vars")
    with tb.create(tmp_path / "ckpt") as writer:
        for path, _, each in graph.attributes():
            writer.add(each.checkpoint_key, np.array(len(path)))
        writer.add_object_graph(graph)
    summary = rewrite(tmp_path / "ckpt", tmp_path / "out.safetensors")
    assert_has(tmp_path / "out.safetensors", {"vars/a": np.array(6), "vars/b": np.array(6)})
    assert [each.key for each in summary.left_out] == ["save_counter/.ATTRIBUTES/VARIABLE_VALUE"]


def test_partitioned_tensors_are_stored_whole(tmp_path):
    with tb.create(tmp_path / "ckpt") as writer:
        writer.add("a", np.arange(12.0).reshape(4, 3))
    rewrite(tmp_path / "ckpt", tmp_path / "parts", partition={"a": 3})
    rewrite(tmp_path / "parts", tmp_path / "out.npz")
    assert_has(tmp_path / "out.npz", {"a": np.arange(12.0).reshape(4, 3)})


def test_a_damaged_source_leaves_nothing_half_written(tmp_path):
    np.savez_compressed(tmp_path / "m.npz", a=np.arange(10_000))
    data = bytearray((tmp_path / "m.npz").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "m.npz").write_bytes(data)
    for name in ("out.safetensors", "out.npz", "out"):
        with pytest.raises(CorruptionError):
            rewrite(tmp_path / "m.npz", tmp_path / name)
    assert [each.name for each in tmp_path.iterdir()] == ["m.npz"]


def test_hostile_files_are_refused(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(
        CorruptionError, match=r"m.safetensors: offset 0x0: a header of 1152921504606846976 bytes"
    ):
        tb.open(tmp_path / "m.safetensors")
    (tmp_path / "m.npz").write_bytes(b"PK\3\4")
    with pytest.raises(CorruptionError, match=r"m.npz: no end record"):
        tb.open(tmp_path / "m.npz")
    with pytest.raises(MissingFileError, match=r"n.safetensors: no such file; near: 'm.safetensors'"):
        tb.open(tmp_path / "n.safetensors")


def test_verify_checks_what_the_format_has(bundle, tmp_path, capsys):
    np.savez_compressed(tmp_path / "deflated.npz", a=np.arange(10_000))
    for name in ("m.safetensors", "m.npz"):
        rewrite(bundle, tmp_path / name)
    for name in ("m.safetensors", "m.npz", "deflated.npz"):
        assert verify(tmp_path / name).problems == []
        assert verify(tmp_path / name).bytes > 4000
    for name in ("m.npz", "deflated.npz"):
        data = bytearray((tmp_path / name).read_bytes())
        data[1000] ^= 1
        (tmp_path / name).write_bytes(data)
        (problem,) = verify(tmp_path / name).problems
        assert (problem.kind, problem.severity) == ("values", "error")
        assert main(["verify", str(tmp_path / name)]) == 1
    assert "CRC-32" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["ls"], ["ls", "--long"], ["tree"], ["verify"]])
def test_reading_commands(command, bundle, tmp_path, capsys):
    for name in ("m.safetensors", "m.npz"):
        rewrite(bundle, tmp_path / name)
        assert main([command[0], str(tmp_path / name), *command[1:]]) == 0
        assert capsys.readouterr().out
