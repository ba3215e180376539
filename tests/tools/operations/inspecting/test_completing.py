"""Names for completion: the same as an opened checkpoint has, whatever the format, and little is read for them."""

import io
import json
import struct
import sys
import zipfile

import h5py
import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.errors import BundleError
from tensorbundle.keys import encode_key
from tensorbundle.table import TableReader
from tensorbundle.tools.formats.hdf5_names import OtherLayoutError, names_below
from tensorbundle.tools.operations.inspecting.completing import _names, _searches, names_at

NAMES = (
    *("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/.hidden", "d", "denser", "z/y/x/w"),
    *("model/a/.ATTRIBUTES/VARIABLE_VALUE", "model/b/.ATTRIBUTES/VARIABLE_VALUE", "größe/x"),
)
ASCII = NAMES[:-1]
OPENED = ("h5 utf-8", "h5 latest", "keras deflated")  # by h5py, which the others do without


def hdf5(path, names, **options):
    with h5py.File(path, "w", **options) as file:
        for name in names:
            file[name] = np.float32(1)
        file.create_group("empty/inside")
        file["deep"] = np.float32(1)
        del file["deep"]


def safetensors(names, metadata=None, **options):
    members = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * number, 4 * number + 4]}
        for number, name in enumerate(names)
    }
    header = json.dumps(({"__metadata__": metadata} if metadata else {}) | members, **options).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * len(names))


def write(form, directory):
    """A file of a format with tensors of these names; returns its path."""
    path = directory / "m"
    match form.split():
        case ["bundle"]:
            with tb.create(path) as writer:
                for name in NAMES:
                    writer.add(name, np.float32(1))
            return path
        case ["npz"]:
            np.savez(path, **dict.fromkeys(NAMES, np.float32(1)))
        case ["safetensors", "escaped"]:
            path.with_suffix(".safetensors").write_bytes(safetensors(NAMES))
        case ["safetensors", "spaced"]:
            path.with_suffix(".safetensors").write_bytes(safetensors(NAMES, ensure_ascii=False, indent=1))
        case ["safetensors", "metadata"]:
            text = {"config": '{"a": {"dtype": {}}}', "format": "pt"}
            path.with_suffix(".safetensors").write_bytes(safetensors(NAMES, text, ensure_ascii=False))
        case ["safetensors", "set"]:
            (directory / "m-1.safetensors").write_bytes(safetensors(NAMES[:4]))
            (directory / "m-2.safetensors").write_bytes(safetensors(NAMES[4:]))
            weights = {name: f"m-{1 if number < 4 else 2}.safetensors" for number, name in enumerate(NAMES)}
            index = {"metadata": {"total_size": 4 * len(NAMES)}, "weight_map": weights}
            (directory / "m.safetensors.index.json").write_text(
                json.dumps(index, ensure_ascii=False), encoding="utf-8"
            )
            return directory / "m.safetensors.index.json"
        case ["h5"]:
            hdf5(path.with_suffix(".h5"), ASCII)
        case ["h5", "utf-8"]:
            hdf5(path.with_suffix(".h5"), NAMES)
        case ["h5", "latest"]:
            hdf5(path.with_suffix(".h5"), ASCII, libver="latest")
        case ["keras", ("stored" | "deflated") as method]:
            content = io.BytesIO()
            hdf5(content, ASCII)
            with zipfile.ZipFile(directory / "m.keras", "w", {"stored": 0, "deflated": 8}[method]) as archive:
                archive.writestr("config.json", "{}")
                archive.writestr("model.weights.h5", content.getvalue())
        case ["keras", "set"]:
            hdf5(directory / "m_00000.weights.h5", ASCII[:4])
            hdf5(directory / "m_00001.weights.h5", ASCII[4:])
            weights = {"/dense": "m_00000.weights.h5", "/z/y/x": ["m_00000.weights.h5", "m_00001.weights.h5"]}
            (directory / "m.weights.json").write_text(json.dumps({"weight_map": weights}), encoding="utf-8")
            return directory / "m.weights.json"
    return next(each for each in directory.iterdir() if each.name.startswith("m."))


@pytest.mark.parametrize(
    "form",
    [
        *("bundle", "npz", "h5", "keras stored", "keras set", *OPENED),
        *("safetensors escaped", "safetensors spaced", "safetensors metadata", "safetensors set"),
    ],
)
def test_names_are_those_of_the_opened_checkpoint(form, tmp_path):
    path = str(write(form, tmp_path))
    with tb.open(path) as ckpt:
        keys = sorted(map(encode_key, ckpt))
    assert len(keys) in (len(NAMES), len(ASCII))
    beginnings = {name[:end] for name in NAMES for end in range(len(name) + 1)}
    texts = (
        ["", "dense", "model/a"]
        if form in OPENED
        else sorted(beginnings | {"missing/", "dense/kernel/x", "emp"})
    )
    for text in texts:
        expected = _names(encode_key(text), 100, *_searches(keys))
        assert names_at(path, text, 100) == expected, text


@pytest.mark.parametrize("form", ["h5", "keras stored", "keras set"])
def test_names_in_hdf5_files_do_not_need_h5py(form, tmp_path, monkeypatch):
    path = str(write(form, tmp_path))
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert names_at(path, "dense", 9) == ["dense/", "dense_1", "dense_1/", "denser"]


def test_large_groups_of_hdf5(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        first = file.create_dataset("layers/0000", data=np.float32(1))
        for number in range(1, 1500):
            file[f"layers/{number:04d}"] = first
    found = names_at(str(tmp_path / "m.h5"), "layers/", 1000)
    assert found == [*(f"layers/{number:04d}" for number in range(1000)), "layers/1499"]


def test_damaged_hdf5_ends_soon():
    content = io.BytesIO()
    hdf5(content, ("dense/kernel", "dense/bias", "z/y/x"))
    data = content.getvalue()
    assert names_below(memoryview(data), b"dense/") == [b"dense/bias", b"dense/kernel"]
    for position in sorted({*range(0, len(data), 31), *range(900)}):
        for value in (0, 255):
            changed = bytearray(data)
            changed[position] = value
            for start in (b"", b"dense/", b"z/y/"):
                try:
                    names_below(memoryview(changed), start)
                except OtherLayoutError:
                    pass
    for size in range(0, 2000, 61):
        with pytest.raises(OtherLayoutError):
            names_below(memoryview(data)[:size], b"z/y/")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.safetensors", b"\xff" * 9),
        ("m.safetensors", struct.pack("<Q", 100) + b"{"),
        ("m.safetensors.index.json", b"{}"),
        ("m.npz", b"PK"),
        ("m.keras", b"PK"),
        ("m.h5", b""),
        ("m.weights.json", b'{"weight_map": {"/x": "other.weights.h5"}}'),
    ],
)
def test_damaged_files(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError):
        names_at(str(tmp_path / name), "a", 9)


@pytest.mark.parametrize("form", ["m", "m.npz"])
def test_of_many_names_the_last_one_says_what_all_have_in_common(tmp_path, form):
    names = ["-", *(f"a/{number:02d}/x" for number in range(20)), "b"]
    with tb.create(tmp_path / "m") as writer:
        for name in names:
            writer.add(name, 1)
    np.savez(tmp_path / "m.npz", **dict.fromkeys(names, 1))
    path = str(tmp_path / form)
    assert names_at(path, "a/", 3) == ["a/00/", "a/01/", "a/02/", "a/19/"]
    assert names_at(path, "a/1", 3) == ["a/10/", "a/11/", "a/12/", "a/19/"]
    assert names_at(path, "", 2) == ["-", "a/", "b"]
    assert names_at(path, "", 1) == ["-", "b"]
    assert names_at(path, "a/0", 20) == [f"a/{number:02d}/" for number in range(10)]


@pytest.fixture
def read_blocks(monkeypatch):
    """The names of a checkpoint, and how many blocks were read and keys were decoded for them."""

    def ask(path, text, most=2000):
        loaded, decoded = [], []
        with monkeypatch.context() as patch:
            load, whole = TableReader._load, TableReader._all_of
            patch.setattr(TableReader, "_load", lambda *args: loaded.append(args[2]) or load(*args))
            patch.setattr(TableReader, "_all_of", lambda *args: decoded.append(args[1]) or whole(*args))
            names = names_at(str(path), text, most)
        return names, sum(each.startswith("data block") for each in loaded), len(set(decoded))

    return ask


@pytest.mark.slow
def test_few_blocks_of_a_large_index_are_read(tmp_path, read_blocks):
    with tb.create(tmp_path / "m") as writer:
        for scope in ("a", "b"):
            for number in range(10_000):
                writer.add(f"{scope}/{number:05d}/{'x' * 60}", np.int8(0))
        writer.add("c", 1)
    with tb.open(tmp_path / "m") as ckpt:
        assert len(ckpt.index.table.handles) > 6
    assert read_blocks(tmp_path / "m", "") == (["a/", "b/", "c"], 3, 0)
    assert read_blocks(tmp_path / "m", "a/0999") == ([f"a/0999{digit}/" for digit in range(10)], 2, 0)
    names, read, decoded = read_blocks(tmp_path / "m", "a/", 2000)
    assert names == [*(f"a/{number:05d}/" for number in range(2000)), "a/09999/"]
    assert read == 2  # with that of the last name; the first ones are in the block with the header
    assert decoded == 1
