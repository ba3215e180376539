"""`tensorbundle reshape`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import write

W = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "m", {"a": W, "a/Adam": W + 9, "n": np.float32([[1]])})


def test_patterns(run, tmp_path, source):
    summary = check_writing(run, tmp_path, "reshape", [source], "a=3,-1", "n=[]")
    assert summary["bytes_shared"] > 0
    assert summary["notes"] == [{"what": "reshaped", "keys": ["a", "n", "a/Adam"]}]
    with tb.open(tmp_path / "out") as ckpt:
        assert {key: array.shape for key, array in ckpt.items()} == {"a": (3, 2), "a/Adam": (3, 2), "n": ()}


def test_own_lengths(run, tmp_path, source):
    """`...` is the shape without the axes of length 1; slots follow."""
    check_writing(run, tmp_path, "reshape", [source], "a=1,...,1", "n=...")
    with tb.open(tmp_path / "out") as ckpt:
        assert {key: array.shape for key, array in ckpt.items()} == {
            "a": (1, 2, 3, 1),
            "a/Adam": (1, 2, 3, 1),
            "n": (),
        }


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("a", "'a' is not PATTERN=LENGTH,LENGTH,..."),
        ("a=x", "'a=x' is not PATTERN=LENGTH,LENGTH,..."),
        ("a=", "'a=' is not PATTERN=LENGTH,LENGTH,..."),
        ("a=...,...", "SOURCE: key 'a': shape [2, 3, 2, 3] for [2, 3]"),
        ("a=7", "SOURCE: key 'a': shape [7] for [2, 3]"),
    ],
)
def test_errors(run, tmp_path, source, argument, message):
    found = check_refusal(run, tmp_path, "reshape", source, tmp_path / "out", argument)
    assert found == message.replace("SOURCE", source)
