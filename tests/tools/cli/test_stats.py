"""`tensorbundle stats`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import variant_payload, write_bundle
from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.tools import stats

FIELDS = ["key", "dtype", "shape", "min", "max", "mean", "std", "nan", "inf", "zeros"]


@pytest.fixture
def ckpt(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        for number in range(4):
            values = np.full((3, 3), number, "f4")
            values[0, 0] = (1, np.nan, np.inf, 1)[number]
            writer.add(f"layer_{number}/kernel", values)
        writer.add("words", np.array([b"abc", b""], object))
    return tmp_path / "m"


def test_one_line_for_each_tensor(run, ckpt):
    records = run("stats", ckpt, "--json").records
    assert [list(each) for each in records] == [FIELDS] * 5
    assert records[1] | {"key": "", "dtype": ""} == {
        **dict.fromkeys(["key", "dtype"], ""),
        "shape": [3, 3],
        "min": 1.0,
        "max": 1.0,
        "mean": 1.0,
        "std": 0.0,
        "nan": 1,
        "inf": 0,
        "zeros": 0,
    }
    assert records[0]["zeros"] == 8
    assert records[4]["max"] == 3  # of strings, the length
    lines = run("stats", ckpt).out.splitlines()
    assert lines[0].split() == FIELDS
    assert lines[3].split() == ["layer_2/kernel", "float32", "[3,3]", "2", "2", "2", "0", "0", "1", "0"]
    assert [each.to_json() for each in stats(ckpt, jobs=3)] == [
        each | {"dtype": DType(each["dtype"])} for each in records
    ]


def test_fail_on(run, ckpt):
    assert (
        run("stats", ckpt, "--fail-on", "nan", status=1).err
        == "tensorbundle stats: layer_1/kernel has 1 nan\n"
    )
    both = run("stats", ckpt, "--fail-on", "nan,inf", "--json", status=1)
    assert len(both.records) == 5
    assert len(both.err.splitlines()) == 2
    assert run("stats", ckpt, "layer_0/*", "layer_3/*", "--fail-on", "nan,inf").err == ""
    with pytest.raises(SystemExit):
        run("stats", ckpt, "--fail-on", "zero")


def test_patterns_must_match(run, ckpt):
    for jobs in (1, 2):
        assert "'layer_9*'" in run.error("stats", ckpt, "layer_9*", "--json", "--jobs", jobs)


def test_variants_have_no_numbers(run, tmp_path):
    payload, crc = variant_payload([b"message"])
    entries = {b"v": TensorEntry(DType.variant, (1,), len(payload), 0, 0, crc)}
    [found] = run("stats", write_bundle(tmp_path / "m", entries, [payload]), "--json").records
    assert (found["min"], found["std"], found["nan"]) == (None, None, 0)


def test_damage_is_found(run, ckpt):
    data = ckpt.with_name("m.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-40] + b"\1" + data.read_bytes()[-39:])
    assert "crc32c" in run.error("stats", ckpt, "layer_3/kernel", "--json")
    assert run("stats", ckpt, "layer_3/kernel", "--no-verify", "--json").records[0]["nan"] == 0
