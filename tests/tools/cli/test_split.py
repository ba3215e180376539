"""`tensorbundle split`."""

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
    check_writing(run, tmp_path, "split", [source], "a", "b=1", "c=-1", "--axis", "1")
    with tb.open(tmp_path / "out") as ckpt:
        assert sorted(ckpt) == ["b", "b/Adam", "c", "c/Adam", "n"]
        assert ckpt["c"].tolist() == W[:, 1:].tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "b"], "'b' is not NAME=LENGTH"),
        (["a", "b=x"], "'x' is not a whole number"),
        (["a", "b=1", "b=1"], "'b' is given twice"),
        (["a", "b=1", "c=2"], "SOURCE: key 'a': lengths [1, 2] for the 2 of axis 0"),
    ],
)
def test_errors(run, tmp_path, source, arguments, message):
    found = check_refusal(run, tmp_path, "split", source, tmp_path / "out", *arguments)
    assert found == message.replace("SOURCE", source)
