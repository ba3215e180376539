"""`tensorbundle hash`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.golden import SAMPLE
from tensorbundle.tools import hash  # noqa: A004


def test_prints_a_manifest_and_checks_it(run, tmp_path):
    expected = hash(SAMPLE)
    *tensors, whole = run("hash", SAMPLE, "--json").records
    assert tensors == [each.to_json() for each in expected.tensors]
    assert [list(each) for each in tensors] == [["key", "dtype", "shape", "sha256"]] * len(tensors)
    assert whole == {"checkpoint": expected.checkpoint}
    manifest = tmp_path / "manifest"
    for options in ([], ["--json"], ["--jobs", 1]):
        manifest.write_text(run("hash", SAMPLE, *options).out)
        checked = run("hash", SAMPLE, "--check", manifest)
        assert checked.out == f"{len(tensors)} tensors, as in the manifest\n"
    assert run("hash", SAMPLE, "global_step", "--check", manifest).out.startswith("1 tensor, as in")


def test_differences(run, tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        with tb.create(tmp_path / name) as writer:
            writer.add("w", np.int32(value))
            writer.add(name, np.int32(0))
    manifest = tmp_path / "manifest"
    manifest.write_text(run("hash", tmp_path / "a").out)
    *found, whole = run("hash", tmp_path / "b", "--check", manifest, "--json", status=1).records
    assert [(each["key"], each["change"]) for each in found] == [
        ("a", "removed"),
        ("b", "added"),
        ("w", "value"),
    ]
    assert whole == {"checkpoint": hash(tmp_path / "b").checkpoint, "differences": 3}
    text = run("hash", tmp_path / "b", "--check", manifest, status=1).out.splitlines()
    assert text[0].startswith("removed: a: ")
    assert text[-1] == "2 tensors: 3 differences"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such manifest; 'tensorbundle hash CKPT' prints one"),
        (b"\xff", "not a manifest: it is not text"),
    ],
)
def test_no_manifest(run, tmp_path, content, reason):
    path = tmp_path / "manifest"
    if content is not None:
        path.write_bytes(content)
    assert run.error("hash", SAMPLE, "--check", path) == f"{path}: {reason}"
