"""`tensorbundle average`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import write


@pytest.fixture
def sources(tmp_path):
    return [
        write(tmp_path / f"m{number}", {"w": np.float32([number, 2]), "step": np.int64(number)})
        for number in range(3)
    ]


@pytest.mark.parametrize("accumulator", ["float32", "float64"])
def test_mean(run, tmp_path, sources, accumulator):
    check_writing(run, tmp_path, "average", sources, "--accumulator", accumulator)
    assert tb.open(tmp_path / "out")["w"].tolist() == [1, 2]
    assert tb.open(tmp_path / "out")["step"] == 2


def test_what_is_from_the_last(run, tmp_path, sources):
    told = run("average", *sources, tmp_path / "out").err
    assert told == "differs and is not floating-point: taken from the last: step\n"


def test_one_source(run, tmp_path, sources):
    """Such as a directory, which means the latest checkpoint in it."""
    assert run("average", sources[0], tmp_path / "out").err.startswith("the mean of one checkpoint; ")


def test_error(run, tmp_path, sources):
    other = write(tmp_path / "other", {"w": np.float32([1]), "step": np.int64(1)})
    message = check_refusal(run, tmp_path, "average", sources[0], other, tmp_path / "out")
    assert message == f"{sources[0]}: key 'w': float32 [2], in {other} float32 [1]"


def test_values_that_are_not_finite(run, tmp_path):
    sources = [
        write(tmp_path / name, {"w": np.float32(value)}) for name, value in (("a", np.inf), ("b", -np.inf))
    ]
    assert run("average", *sources, tmp_path / "out").err == ""
    assert np.isnan(tb.open(tmp_path / "out")["w"])
