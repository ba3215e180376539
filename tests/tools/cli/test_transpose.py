"""`tensorbundle transpose`."""

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
    check_writing(run, tmp_path, "transpose", [source], "a=1,0")
    assert tb.open(tmp_path / "out")["a/Adam"].tolist() == (W + 9).T.tolist()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("a", "'a' is not PATTERN=AXIS,AXIS,..."),
        ("a=0", "SOURCE: key 'a': axes [0] of a tensor of rank 2"),
    ],
)
def test_errors(run, tmp_path, source, argument, message):
    found = check_refusal(run, tmp_path, "transpose", source, tmp_path / "out", argument)
    assert found == message.replace("SOURCE", source)
