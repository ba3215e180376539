"""`tensorbundle slim`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import write


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "m", {"a": np.float32(1), "a/Adam": np.float32(2), "beta1_power": np.float32(3)})


def test_what_it_found(run, tmp_path, source):
    assert check_writing(run, tmp_path, "slim", [source])["changes"]["dropped"] == 2
    assert list(tb.open(tmp_path / "out")) == ["a"]
    told = run("slim", source, tmp_path / "o", "--json").err
    assert told.splitlines() == ["optimizer state removed: a/Adam, beta1_power"]


def test_error(run, tmp_path):
    source = write(tmp_path / "m", {"a": np.float32(1)})
    message = check_refusal(run, tmp_path, "slim", source, tmp_path / "out")
    assert message == f"{source}: no optimizer state was found; 'drop' takes patterns"


def test_an_output_that_exists_is_refused_in_one_line(run, tmp_path, source):
    check_refusal(run, tmp_path, "slim", source, source)
