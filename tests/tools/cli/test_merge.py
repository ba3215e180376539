"""`tensorbundle merge`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import lists, write


@pytest.fixture
def sources(tmp_path):
    return [
        write(tmp_path / "a", {"x": np.float32(1), "own": np.float32(2)}),
        write(tmp_path / "b", {"x": np.float32(3), "y": np.float32(4)}),
    ]


@pytest.mark.parametrize(("prefer", "value"), [("first", 1), ("last", 3)])
def test_prefer(run, tmp_path, sources, prefer, value):
    check_writing(run, tmp_path, "merge", sources, "--prefer", prefer)
    assert lists(tb.open(tmp_path / "out")) == {"own": 2, "x": value, "y": 4}


def test_names(run, tmp_path, sources):
    check_writing(run, tmp_path, "merge", [f"one={sources[0]}", f"two={sources[1]}"])
    assert lists(tb.open(tmp_path / "out")) == {"one/own": 2, "one/x": 1, "two/x": 3, "two/y": 4}


def test_a_path_with_an_equals_sign(run, tmp_path):
    (tmp_path / "lr=1").mkdir()
    path = write(tmp_path / "lr=1" / "m", {"z": np.float32(1)})
    run("merge", path, tmp_path / "out")
    assert list(tb.open(tmp_path / "out")) == ["z"]


def test_clash(run, tmp_path, sources):
    message = check_refusal(run, tmp_path, "merge", *sources, tmp_path / "out")
    assert message == (
        f"{sources[1]}: both this and {sources[0]} have 'x'; --prefer first or last decides, NAME=CKPT keeps both"
    )
