"""`tensorbundle partition`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import write


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "m", {"a": np.arange(6.0).reshape(3, 2), "k=1:0": np.float32([1, 2])})


@pytest.mark.parametrize(
    ("argument", "key", "slices"),
    [
        ("a=3", "a", ["0,1:0,2", "1,1:0,2", "2,1:0,2"]),
        ("a=2:1", "a", ["0,3:0,1", "0,3:1,1"]),
        ("a=2:-1", "a", ["0,3:0,1", "0,3:1,1"]),
        ("k=1:0=2", "k=1:0", ["0,1", "1,1"]),
    ],
)
def test_slices(run, tmp_path, source, argument, key, slices):
    check_writing(run, tmp_path, "partition", [source], argument)
    assert [str(each) for each in tb.open(tmp_path / "out").entry(key).slices] == slices


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("a", "'a' is not KEY=N or KEY=N:AXIS"),
        ("a=x", "'a=x' is not KEY=N or KEY=N:AXIS"),
        ("a=2:y", "'a=2:y' is not KEY=N or KEY=N:AXIS"),
        ("a=4", "SOURCE: key 'a': 4 slices along axis 0 of [3, 2]"),
        ("b=4", "SOURCE: key 'b': no such tensor"),
    ],
)
def test_errors(run, tmp_path, source, argument, message):
    found = check_refusal(run, tmp_path, "partition", source, tmp_path / "out", argument)
    assert found.startswith(message.replace("SOURCE", source))
