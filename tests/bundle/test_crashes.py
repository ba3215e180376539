"""Crashes at any point of a write leave the old files or the new ones; a disk that is full leaves nothing half-written."""

import contextlib

import numpy as np
import pytest

import tensorbundle as tb
from support.contents import content
from support.memory_disk import MemoryDisk, crashes
from tensorbundle.dtypes import DType
from tensorbundle.keys import decode_key
from tensorbundle.state import CheckpointState
from tensorbundle.v1.index import whole_slice, write_v1
from tensorbundle.v1.saved_slices import SavedTensor

OLD = {"a": np.arange(5, dtype=np.int32), "b": np.float32(1.5)}
NEW = {"a": np.arange(7, dtype=np.int32), "b": np.float32(2.5), "c": np.zeros(3)}


def write_bundle(disk, tensors, *, shards=1, overwrite=True):
    with tb.create("run/m", overwrite=overwrite, store=disk) as writer:
        for number, (key, value) in enumerate(tensors.items()):
            if 0 < number < shards:
                writer.start_shard()
            writer.add(key, value)


def write_v1_file(disk, tensors):
    arrays = {key: np.asarray(value) for key, value in tensors.items()}
    saved = [
        SavedTensor(key.encode(), array.shape, DType.of(array.dtype), (whole_slice(array.ndim),))
        for key, array in arrays.items()
    ]
    beside = {"run/checkpoint": f'model_checkpoint_path: "{len(tensors)}"\n'.encode()}
    write_v1(
        "run/m", saved, lambda name, part: arrays[decode_key(name)], overwrite=True, beside=beside, store=disk
    )


def found(disk):
    """What a reader finds; None if there is no checkpoint."""
    try:
        with tb.open("run/m", store=disk) as ckpt:
            return {key: content(ckpt[key]) for key in ckpt}
    except tb.MissingFileError:
        assert not disk.is_file("run/m.index")
        return None


def contents(tensors):
    return {key: content(np.asarray(value)) for key, value in tensors.items()}


def after(write, *args, **options):
    """The files that a write leaves on an empty disk."""
    disk = MemoryDisk(directories=["run"])
    write(disk, *args, **options)
    return disk.files


@pytest.mark.slow
@pytest.mark.parametrize("old_shards", [0, 1, 2, 3])
@pytest.mark.parametrize("new_shards", [1, 2, 3])
def test_bundles(old_shards, new_shards):
    old = after(write_bundle, OLD, shards=old_shards) if old_shards else {}
    disk = MemoryDisk(old, directories=["run"])
    write_bundle(disk, NEW, shards=new_shards)
    assert found(disk) == contents(NEW)
    allowed = [contents(OLD) if old else None, contents(NEW)]
    seen = []
    for when, left in crashes(old, disk.requests, ["run"]):
        assert found(left) in allowed, when
        seen.append(allowed.index(found(left)))
    assert {0, 1} == set(seen)
    assert len(seen) > 50


def test_v1_files():
    old = after(write_v1_file, OLD)
    disk = MemoryDisk(old, directories=["run"])
    write_v1_file(disk, NEW)
    allowed = [contents(OLD), contents(NEW)]
    for when, left in crashes(old, disk.requests, ["run"]):
        assert found(left) in allowed, when
        assert left.files["run/checkpoint"] in (old["run/checkpoint"], disk.files["run/checkpoint"]), when


def test_state_files():
    old, new = CheckpointState("run", "m-1"), CheckpointState("run", "m-2", ("m-1", "m-2"))
    before = after(old.write)
    disk = MemoryDisk(before, directories=["run"])
    new.write(disk)
    states = [CheckpointState.read("run", left) for _, left in crashes(before, disk.requests, ["run"])]
    assert {each.latest_path for each in states} == {"m-1", "m-2"}
    assert all(each in (old, new) for each in states)


@pytest.mark.parametrize(("index_first", "flushed"), [(False, False), (True, True)])
def test_what_the_replay_would_find(index_first, flushed):
    """Files that are not flushed, or an index that appears before its data shard."""
    whole = after(write_bundle, OLD)
    disk = MemoryDisk(directories=["run"])
    for name in sorted(whole, key=lambda name: name.endswith(".index"), reverse=index_first):
        disk.create(name)
        disk.append(name, whole[name])
        if flushed:
            disk.flush(name)
        disk.flush("run")
    outcomes = []
    for _, left in crashes({}, disk.requests, ["run"]):
        try:
            outcomes.append(found(left) in (None, contents(OLD)))
        except (tb.BundleError, AssertionError):
            outcomes.append(False)
    assert not all(outcomes)


@pytest.mark.parametrize("write", [write_bundle, write_v1_file])
@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_disk_that_is_full_at_any_point(write, lasting, overwrite):
    """What is there is the old one or the new one, with nothing left over, and the error says which.

    The file beside it comes after, and may then be the old one still.
    """
    old = after(write, OLD) if overwrite else {}
    clean = MemoryDisk(old, directories=["run"])
    write(clean, NEW)
    beside = {"run/checkpoint"} & {*old, *clean.files}
    new = {path: data for path, data in clean.files.items() if path not in beside}
    for fails in range(len(clean.asked)):
        disk = MemoryDisk(old, directories=["run"])
        disk.fails, disk.lasting = fails, lasting
        error = None
        with contextlib.suppress(OSError):  # what the caller of `add` gets
            try:
                write(disk, NEW)
            except tb.BundleError as caught:
                error = str(caught)
        kept = {path: data for path, data in disk.files.items() if path not in beside}
        assert kept in (new, {path: data for path, data in old.items() if path not in beside}), fails
        if error is not None and "nothing was changed" in error:
            assert disk.files == old, fails
