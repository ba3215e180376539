"""`tensorbundle unpartition`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import write


@pytest.fixture
def source(tmp_path):
    tensors = {"a": np.arange(6.0).reshape(3, 2), "b": np.arange(4), "c": np.float32(1)}
    return write(tmp_path / "m", tensors, cuts={"a": (2, 1), "b": (2, 0)})


def test_all(run, tmp_path, source):
    check_writing(run, tmp_path, "unpartition", [source])
    assert not any(entry.slices for _, entry in tb.open(tmp_path / "out").entries())
    assert run("unpartition", source, tmp_path / "o").err.splitlines() == ["now whole: a, b"]


def test_some(run, tmp_path, source):
    check_writing(run, tmp_path, "unpartition", [source], "b")
    assert [key for key, entry in tb.open(tmp_path / "out").entries() if entry.slices] == ["a"]


def test_error(run, tmp_path, source):
    message = check_refusal(run, tmp_path, "unpartition", source, tmp_path / "out", "c")
    assert message == f"{source}: no partitioned tensor among them"
