"""`tensorbundle drop`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import write


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "m", {"a": np.float32(1), "b": np.float32(2)})


def test_patterns(run, tmp_path, source):
    assert check_writing(run, tmp_path, "drop", [source], "a")["changes"]["dropped"] == 1
    assert list(tb.open(tmp_path / "out")) == ["b"]
    assert "1 tensor (1 dropped)" in run("drop", source, tmp_path / "o", "a").out


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("*", "SOURCE: this would remove every tensor"), ("c", "SOURCE: no tensor matches the pattern 'c'")],
)
def test_errors(run, tmp_path, source, pattern, message):
    found = check_refusal(run, tmp_path, "drop", source, tmp_path / "out", pattern)
    assert found == message.replace("SOURCE", source)
