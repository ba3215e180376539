"""The parts of one save that died before they were merged, as one checkpoint."""

import pickle

import numpy as np
import pytest

import tensorbundle as tb
from support.parts import EMB, write_parts
from tensorbundle.checkpoint import open_index
from tensorbundle.parts import PartsIndex
from tensorbundle.tools import verify


def test_a_directory_of_parts_is_read_as_one(tmp_path):
    folder = write_parts(tmp_path)
    with tb.open(folder) as ckpt:
        assert ckpt.prefix == f"{folder}/part-?????-of-00003"
        assert list(ckpt) == ["bias", "emb", "kernel", "step"]
        assert (ckpt["emb"] == EMB).all()
        assert (ckpt["step"], ckpt.num_shards, ckpt.entry("emb").nbytes) == (5, 3, EMB.nbytes)
        assert ckpt.read("emb", np.s_[3:8]).tolist() == EMB[3:8].tolist()
        assert ckpt.entry("kernel").shard == 1
        assert ckpt.index.shard_path(1) == f"{folder}/part-00001-of-00003.data-00000-of-00001"
        assert dict(ckpt.index.raw_entries()).keys() >= {b"emb", b"kernel"}
    with tb.open(f"{folder}/part-00001-of-00003") as part:
        assert list(part) == ["emb", "kernel"]


def test_another_process_opens_it_for_itself(tmp_path):
    with open_index(f"{write_parts(tmp_path)}/part-?????-of-00003") as index:
        assert isinstance(index, PartsIndex)
        with pickle.loads(pickle.dumps(index)) as again:
            assert list(again.raw_entries()) == list(index.raw_entries())


def test_a_part_is_missing(tmp_path):
    folder = write_parts(tmp_path)
    (folder / "part-00001-of-00003.index").unlink()
    with pytest.raises(
        tb.MissingFileError, match=r"part-00001-of-00003.index: 1 of the 3 parts of this save"
    ):
        tb.open(folder)


def test_one_name_in_two_parts(tmp_path):
    folder = write_parts(tmp_path)
    with tb.create(folder / "part-00001-of-00003", overwrite=True) as writer:
        writer.add("bias", np.float32(1))
    with tb.open(folder) as ckpt:
        with pytest.raises(tb.CorruptionError, match="several parts of this save contain this tensor"):
            ckpt["bias"]
        with pytest.raises(tb.CorruptionError, match="several parts of this save contain this tensor"):
            list(ckpt)
    assert "several parts" in str(verify(folder).problems)


def test_verify_looks_at_every_part(tmp_path):
    folder = write_parts(tmp_path)
    report = verify(folder)
    assert (report.problems, report.bytes) == ([], EMB.nbytes + 4 + 8 + 8)
    shard = folder / "part-00002-of-00003.data-00000-of-00001"
    shard.write_bytes(bytes(shard.stat().st_size))
    assert {each.kind for each in verify(folder).problems} == {"checksum"}
