"""`tensorbundle extract`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import write


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "m", {"a": np.float32(1), "b": np.float32(2), "c": np.float32(3)})


def test_patterns(run, tmp_path, source):
    assert check_writing(run, tmp_path, "extract", [source], "a", "re:c")["changes"]["dropped"] == 1
    assert list(tb.open(tmp_path / "out")) == ["a", "c"]


def test_error(run, tmp_path, source):
    found = check_refusal(run, tmp_path, "extract", source, tmp_path / "out", "a", "x*")
    assert found == f"{source}: no tensor matches the pattern 'x*'"
