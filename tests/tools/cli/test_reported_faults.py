"""Faults that people reported in public, each made as files: the cause is one line, in `verify`, and in `explain` by the message."""

import shutil

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain, write_bundle
from tensorbundle.coding import crc32c, crc32c_of_zeros
from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry

NEVER_WRITTEN = "all zeros: these bytes were never written (a full disk, or a crash while saving)"
WRONG_PATH = "the path is not the checkpoint's prefix, such as run/model.ckpt-1000"
BAD_MAGIC = (
    "DataLossError: Unable to open table file {path}: Data loss: not an sstable (bad magic number): perhaps your file is in a "
    "different file format and you need to use a different restore operator?"
)
DATA = "model.ckpt.data-00000-of-00001"


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of TF1, with the files that a `Saver` writes beside it; its second tensor has 1,024 bytes."""
    return write(tmp_path, 1)


def write(directory, seed):
    random = np.random.default_rng(seed)
    directory.mkdir(exist_ok=True)
    with tb.create(directory / "model.ckpt") as writer:
        for name, size in (("conv1/biases", 64), ("conv1/weights", 256), ("fc/weights", 20_000)):
            writer.add(name, random.standard_normal(size).astype(np.float32))
    (directory / "model.ckpt.meta").write_bytes(b"\n\x9b\x01\n\x0c")
    (directory / "checkpoint").write_text('model_checkpoint_path: "model.ckpt"\n')
    return directory


def causes(run, path, status=1):
    """The causes that `verify` gives, each once; each is in the line of its problem."""
    output = run("verify", path, "--json", status=status)
    found = [each["cause"] or each["message"] for each in output.records[:-1]]
    lines = run("verify", path, status=status).out.splitlines()
    assert all(each in line for each, line in zip(found, lines, strict=False))
    return list(dict.fromkeys(found))


def explained(run, text):
    """The causes that `explain` gives for a message, and what the text tells."""
    found, *_ = run("explain", text, "--json").records
    return [each["cause"] for each in found["causes"]], found["details"]


def checksums(prefix, key, computed):
    """TensorFlow's message for a tensor of a checkpoint whose bytes have another checksum."""
    with tb.open(prefix, verify=False) as ckpt:
        stored = ckpt.entry(key).crc32c
    return f"Checksum does not match: stored {stored} vs. calculated on the restored bytes {computed}"


@pytest.mark.parametrize(
    ("nbytes", "calculated"),
    [(1024, 4004437628), (65_536, 1925235876)],
    ids=["PyramidBox-22", "AttSets-1"],
)
def test_bytes_that_were_never_written(run, tmp_path, nbytes, calculated):
    """EricZgw/PyramidBox#22 and Yang7879/AttSets#1: the checksum is that of zeros."""
    random = np.random.default_rng(1)
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", random.random(9))
        writer.add("w", random.random(nbytes // 8))
        writer.add("z", random.random(9))
    path = tmp_path / "m.data-00000-of-00001"
    data = path.read_bytes()
    path.write_bytes(data[:72] + bytes(nbytes) + data[72 + nbytes :])
    assert crc32c_of_zeros(nbytes) == calculated
    assert causes(run, tmp_path / "m") == [NEVER_WRITTEN]
    found, details = explained(run, checksums(tmp_path / "m", "w", calculated))
    assert found[0] == NEVER_WRITTEN
    assert details[-1] == f"the bytes that were read are {nbytes:,} zeros"


def test_a_data_shard_whose_end_was_never_written(run, saved):
    """YangZeyu95/unofficial-implement-of-openpose#33: the shard has its size, but zeros from some place on."""
    data = (saved / DATA).read_bytes()
    (saved / DATA).write_bytes(data[:256] + bytes(len(data) - 256))
    assert causes(run, saved / "model.ckpt") == [NEVER_WRITTEN]
    text = "Checksum does not match: stored 2112521139 vs. calculated on the restored bytes 4004437628"
    assert explained(run, text)[0][0] == NEVER_WRITTEN


def test_index_and_data_of_different_checkpoints(run, saved, tmp_path):
    """imcaspar/gpt2-ml#76: every size is right, and no checksum."""
    shutil.copy(write(tmp_path / "other", 2) / DATA, saved / DATA)
    expected = "nothing in this file matches the index: one of the two belongs to another checkpoint"
    assert causes(run, saved / "model.ckpt") == [expected]
    message = checksums(saved / "model.ckpt", "fc/weights", crc32c((saved / DATA).read_bytes()[1280:]))
    assert expected in explained(run, message)[0]


def test_a_data_shard_given_as_the_checkpoint(run, saved):
    """tensorflow/models#2675 and #2676: nothing is wrong but the path, and the path is no problem here."""
    assert run("verify", saved / DATA).out.endswith("no problems\n")
    assert explained(run, BAD_MAGIC.format(path=DATA))[0][0] == WRONG_PATH


def test_the_state_file_given_as_the_checkpoint(run, saved):
    """koth/kcws#16 and tensorflow/tensorflow#9465."""
    assert run("verify", saved / "checkpoint").out.endswith("no problems\n")
    shutil.copy(saved / "checkpoint", saved / "weights.index")
    assert causes(run, saved / "weights") == ["a 'checkpoint' state file: give its directory instead"]
    assert explained(run, BAD_MAGIC.format(path="logs/checkpoint"))[0][0] == WRONG_PATH


def test_the_graph_given_as_the_checkpoint(run, saved):
    """DrSleep/tensorflow-deeplab-resnet#94: the .meta file."""
    assert run("verify", saved / "model.ckpt.meta").out.endswith("no problems\n")
    (saved / "model.ckpt.meta").replace(saved / "alone.meta")
    error = run.error("verify", saved / "alone.meta")
    assert "the graph of a checkpoint, without its values: these are in an .index and data shards" in error
    assert explained(run, BAD_MAGIC.format(path="alone.meta"))[0][0] == WRONG_PATH


def test_an_index_that_is_empty(run, saved):
    """tensorflow/tensorflow#39033 and #13588: the save was interrupted, or is going on."""
    (saved / "model.ckpt.index").write_bytes(b"")
    assert causes(run, saved / "model.ckpt") == ["the file is empty"]
    found, _ = explained(run, "impl.OpError: file is too short to be an sstable")
    assert "the file is empty" in found


def test_a_data_shard_that_was_cut_short(run, saved):
    """sampepose/flownet2-tf#26: a download that did not finish."""
    data = (saved / DATA).read_bytes()
    (saved / DATA).write_bytes(data[:50_000])
    assert causes(run, saved / "model.ckpt") == [
        f"the file was cut short: it has 50000 of at least {len(data)} bytes, {len(data) - 50_000} are missing"
    ]
    assert explained(run, "OutOfRangeError: Read less bytes than requested")[0][0] == "the file was cut short"


def test_a_damaged_block_of_an_index_of_several(run, tmp_path):
    """Variables vanish where TensorFlow reads it, or a reader of the first block alone (shawwn/tensorflow-checkpoint-reader)."""
    with tb.create(tmp_path / "m") as writer:
        for number in range(600):
            writer.add(f"{number:04}{'/scope' * 100}", np.float32(number))
    with tb.open(tmp_path / "m") as ckpt:
        assert len(ckpt) == 600
        handle = ckpt.index.table.handles[1]
    data = bytearray((tmp_path / "m.index").read_bytes())
    data[handle.offset + 100 : handle.offset + 108] = b"\xff" * 8
    (tmp_path / "m.index").write_bytes(data)
    assert causes(run, tmp_path / "m") == [
        "its bytes changed after they were written, on disk or while copying"
    ]
    assert (
        f"offset {handle.offset:#x}: data block 1: crc32c stored"
        in run("verify", tmp_path / "m", status=1).out
    )
    assert "data block 1" in run("ls", tmp_path / "m", status=2).err


def test_an_index_that_crashes_tensorflow(run, tmp_path):
    """EnigmaConsultant/tf-tensor-bundle-nullderef-poc: a tensor of more strings than memory has bytes."""
    entries = {b"poc": TensorEntry(DType.string, (1 << 40,), 8), b"w": plain("float32", [2], bytes(8))}
    write_bundle(tmp_path / "m", entries, [bytes(8)])
    expected = (
        "an impossible entry, under a correct checksum: a faulty program or an attacker wrote the index"
    )
    assert causes(run, tmp_path / "m") == [expected]
    assert run.error("show", tmp_path / "m", "poc")
    message = "Invalid size in bundle entry: key poc; stored size 8; expected size is at least 1099511627776"
    assert explained(run, message)[0][0] == expected
