"""`tensorbundle concat`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import write

W = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "m", {"a": W, "a/Adam": W + 9, "n": np.float32([[1]])})


def test_parts(run, tmp_path, source):
    two = write(tmp_path / "two", {"a": W, "b": W + 9})
    check_writing(run, tmp_path, "concat", [two], "c", "b", "a", "--axis", "1")
    with tb.open(tmp_path / "out") as ckpt:
        assert list(ckpt) == ["c"]
        assert ckpt["c"].tolist() == np.concatenate([W + 9, W], 1).tolist()


def test_error(run, tmp_path, source):
    found = check_refusal(run, tmp_path, "concat", source, tmp_path / "out", "c", "a", "n")
    shapes = "'a' float32 [2, 3], 'n' float32 [1, 1]"
    assert found == f"{source}: can't be joined along axis 0: {shapes}"
