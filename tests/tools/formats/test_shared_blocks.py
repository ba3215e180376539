"""Safetensors files share the blocks of a checkpoint's data shard, where the file system can."""

import os
import shutil
import subprocess

import numpy as np
import pytest

import tensorbundle as tb
from support.cloning import clone_ranges
from tensorbundle.errors import CorruptionError
from tensorbundle.tools import TransferOptions, convert, diff, drop, rewrite


@pytest.fixture
def source(tmp_path):
    """A checkpoint of 1.2 MB, with an object graph."""
    rng = np.random.default_rng(0)
    graph = tb.ObjectGraph.from_nested({name: {"kernel": name} for name in "abcd"})
    with tb.create(tmp_path / "ckpt") as writer:
        for number, (_, _, each) in enumerate(graph.attributes()):
            writer.add(each.checkpoint_key, rng.normal(size=(75_000 + number,)).astype("f4"))
        writer.add_object_graph(graph)
    return tmp_path / "ckpt"


def assert_same(path, source):
    with tb.open(path) as made, tb.open(source) as original:
        for name in made:
            np.testing.assert_array_equal(made[name], original[f"{name}/.ATTRIBUTES/VARIABLE_VALUE"])
        return list(made)


def test_blocks_are_shared(source, tmp_path, monkeypatch):
    cloned = clone_ranges(monkeypatch)
    told = []
    summary = rewrite(source, tmp_path / "m.safetensors", options=TransferOptions(progress=told.append))
    assert (summary.sharing, summary.bytes_shared) == ("reflink", 4 * (4 * 75_000 + 6))
    assert summary.bytes_written < 8192
    [(_, size, _)] = cloned
    assert size > summary.bytes_shared - 8192
    assert sum(told) == summary.bytes_shared
    assert sorted(assert_same(tmp_path / "m.safetensors", source)) == [f"{name}/kernel" for name in "abcd"]


def test_the_longest_range_is_shared_and_the_rest_copied(source, tmp_path, monkeypatch):
    cloned = clone_ranges(monkeypatch)
    with tb.open(source) as ckpt:
        extra = {"z": np.arange(100, dtype="f8"), **{key: ckpt[key] for key in list(ckpt)[1:]}}
    with tb.create(tmp_path / "names") as writer:
        for name in sorted(extra):
            writer.add(name, extra[name])
    other = np.arange(10_000, dtype="f4")
    with tb.create(tmp_path / "more") as writer:
        writer.add("more", other)
    summary = rewrite(
        tmp_path / "names",
        tmp_path / "m.safetensors",
        merge={"with": [str(tmp_path / "more")]},
        cast={"z": "float32"},
    )
    assert len(cloned) == 1
    assert summary.bytes_shared == 4 * (4 * 75_000 + 6)
    assert summary.bytes_written > other.nbytes
    with tb.open(tmp_path / "m.safetensors") as made:
        np.testing.assert_array_equal(made["more"], other)
        np.testing.assert_array_equal(made["z"], extra["z"].astype("f4"))


def test_copies_have_the_bytes_of_the_package(source, tmp_path, monkeypatch):
    rewrite(source, tmp_path / "a.safetensors", options=TransferOptions(data="copy"))
    cloned = clone_ranges(monkeypatch)
    rewrite(source, tmp_path / "b.safetensors", options=TransferOptions(data="copy"))
    drop(source, tmp_path / "small.safetensors", ["a/*", "b/*", "c/*"])
    assert not cloned
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize("place", [1000, 1_000_000])
def test_all_is_checked_as_the_file_will_have_no_checksums(source, tmp_path, monkeypatch, place):
    clone_ranges(monkeypatch)
    with open(f"{source}.data-00000-of-00001", "r+b") as file:
        file.seek(place)
        file.write(b"damage")
    with pytest.raises(CorruptionError, match=f"key '{'ad'[place > 1000]}/kernel"):
        rewrite(source, tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()
    summary = rewrite(source, tmp_path / "m.safetensors", options=TransferOptions(verify=False))
    assert summary.bytes_read == 0


@pytest.mark.parametrize(("size", "shared"), [(300_000, ["b", "c", "d"]), (300_001, [])])
def test_tensors_stay_aligned(tmp_path, monkeypatch, size, shared):
    clone_ranges(monkeypatch)
    saved = {
        "flag": np.array([True]),  # what follows is aligned for no type
        "odd": np.arange(3, dtype="f4"),
        "text": np.array(b"ab"),
        "a": np.arange(1, dtype="f4"),
        "b": np.arange(size, dtype="f4"),
        "c": np.arange(5),
        "d": np.arange(1, dtype="f4"),
        "e": np.array([True, False, True]),
    }
    with tb.create(tmp_path / "ckpt") as writer:
        for name, each in saved.items():
            writer.add(name, each)
    summary = drop(tmp_path / "ckpt", tmp_path / "m.safetensors", ["text"])
    assert summary.bytes_shared == sum(saved[name].nbytes for name in shared)
    with tb.open(tmp_path / "m.safetensors") as made:
        for name in made:
            np.testing.assert_array_equal(made[name], saved[name])
            entry = made.entry(name)
            assert entry.offset % entry.dtype.itemsize == 0


def mounted(tmp_path, kind, *options):
    """A file system of this kind in a file; the test is skipped where none can be made."""
    program = f"mkfs.{kind}"
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program}")
    image, place = tmp_path / "image", tmp_path / "mounted"
    with image.open("wb") as file:
        file.truncate(400 << 20)  # XFS needs 300 MB
    place.mkdir()
    subprocess.run([program, "-q", *options, image], check=True, capture_output=True)
    made = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"{kind} can't be mounted here: {made.stderr.strip()}")
    return place


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "options"), [("xfs", ["-m", "reflink=1"]), ("btrfs", [])])
def test_real_file_systems(kind, options, source, tmp_path):
    place = mounted(tmp_path, kind, *options)
    try:
        for path in tmp_path.glob("ckpt.*"):
            shutil.copy(path, place)
        with tb.open(place / "ckpt") as ckpt:
            size = sum(ckpt[name].nbytes for name in ckpt if name.endswith("VALUE"))

        def free():
            os.sync()
            found = os.statvfs(place)
            return found.f_bfree * found.f_bsize

        before = free()
        summary = convert(place / "ckpt", place / "m.safetensors")
        assert (summary.sharing, summary.bytes_shared) == ("reflink", size)
        if kind == "xfs":
            assert before - free() <= 4 * 4096
        assert_same(place / "m.safetensors", source)
        assert diff(place / "ckpt", place / "m.safetensors", values=True).counts["value"] == 0
    finally:
        subprocess.run(["umount", place], check=True)
