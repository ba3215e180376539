"""`tensorbundle explain`."""

import io

import numpy as np

import tensorbundle as tb
from tensorbundle.tools import explain

TEXT = "DataLossError: not an sstable (bad magic number): perhaps your file is in a different file format"


def test_prints_meaning_causes_and_advice(run):
    [record] = run("explain", TEXT, "--json").records
    assert record == explain(TEXT)[0].to_json()
    assert list(record) == ["kind", "found", "source", "meaning", "details", "causes", "advice"]
    assert list(record["causes"][0]) == ["kind", "cause", "advice", "certain"]
    lines = run("explain", *TEXT.split()).out.splitlines()
    assert lines[0].startswith("not an sstable (bad magic number)")
    assert lines[2] == "  1. likely: the path is not the checkpoint's prefix, such as run/model.ckpt-1000"


def test_text_from_standard_input(run, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(TEXT))
    assert run("explain", "-", "--json").records[0]["kind"] == "bad-magic"


def test_unknown_text(run):
    assert "not a known message" in run.error("explain", "all is well")


def test_a_checkpoint_without_a_text(run, tmp_path, monkeypatch):
    """Nothing is read from standard input, where nobody may write."""
    with tb.create(tmp_path / "m") as writer:
        writer.add("w", np.ones(1, "f4"))
    monkeypatch.setattr("sys.stdin", None)
    assert (
        run("explain", "--checkpoint", tmp_path / "m").out
        == f"{tmp_path / 'm'}: no problems; the files are sound\n"
    )


def test_looks_at_the_checkpoint(run, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("w", np.ones(100, "f4"))
    with tb.open(tmp_path / "m") as ckpt:
        stored = ckpt.entry("w").crc32c
    text = f"Checksum does not match: stored {stored} vs. calculated on the restored bytes 7"
    output = run("explain", text, "--checkpoint", tmp_path / "m")
    assert "  the stored one is that of 'w'" in output.out.splitlines()
    assert output.out.endswith("m: no problems; the files are sound\n")
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(400))
    records = run("explain", text, "--checkpoint", tmp_path / "m", "--json").records
    assert [each["kind"] for each in records] == ["tensor-checksum", "checksum"]
    assert records[1]["cause"].startswith("all zeros")
