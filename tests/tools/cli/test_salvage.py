"""`tensorbundle salvage`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import snapshot
from support.hostile import INPUTS


@pytest.fixture
def ckpt(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", np.arange(10.0))
        writer.add("b", np.arange(20.0))
    return tmp_path / "m"


def test_a_sound_checkpoint(run, ckpt, tmp_path):
    [record] = run("salvage", ckpt, tmp_path / "out", "--json").records
    assert (record["prefix"], record["tensors"], record["saved"], record["lost"]) == (
        str(tmp_path / "out"),
        2,
        2,
        0,
    )
    assert run("verify", tmp_path / "out").out.endswith("no problems\n")


def test_damage(run, ckpt, tmp_path):
    data = ckpt.with_name("m.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-1])
    before = snapshot(tmp_path)
    planned = run("salvage", ckpt, tmp_path / "out", "--dry-run", status=1)
    assert planned.out.endswith("1 tensor can be saved, 1 lost\n")
    assert snapshot(tmp_path) == before
    fate, summary = run("salvage", ckpt, tmp_path / "out", "--json", status=1).records
    assert (list(fate), fate["key"], fate["status"]) == (["key", "status", "detail"], "b", "lost")
    assert (summary["saved"], summary["lost"], summary["unproven"]) == (1, 1, 0)
    assert "exists; use --overwrite" in run("salvage", ckpt, tmp_path / "out", status=2).err
    lines = run("salvage", ckpt, tmp_path / "out", "--overwrite", status=1).out.splitlines()
    assert lines[0].startswith("lost  b  160 bytes wanted, the file ends at 239")
    assert lines[1].startswith("1 tensor saved, 1 lost; ")


def test_nothing_there(run, tmp_path):
    assert "its index is missing" in run.error("salvage", tmp_path / "none", tmp_path / "out")


def test_more_entries_than_an_index_of_this_size_has(run, tmp_path):
    """Compressed blocks could otherwise have millions."""
    source = INPUTS["compressed_names"].make(tmp_path, 20_000)
    output = run("salvage", source, tmp_path / "out", status=2)
    assert output.err.startswith(f"tensorbundle salvage: {source}.index: more than 1")
    assert "entries in a file of" in output.err
    assert not [*tmp_path.glob("out*")]
