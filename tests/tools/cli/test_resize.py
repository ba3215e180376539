"""`tensorbundle resize`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import write


@pytest.fixture
def arguments(tmp_path):
    (tmp_path / "old").write_text("a\nb\nc\nd\n")
    (tmp_path / "new").write_text("d\nx\na\n")
    return ["e", "--old-vocab", tmp_path / "old", "--new-vocab", tmp_path / "new"]


def test_rows(run, tmp_path, arguments):
    """TensorFlow's example."""
    emb = np.arange(8, dtype=np.float32).reshape(4, 2)
    source = write(tmp_path / "m", {"e": emb, "e/Adam": emb, "f": emb})
    check_writing(run, tmp_path, "resize", [source], *arguments, "--oov", 1)
    for key in ("e", "e/Adam"):
        assert tb.open(tmp_path / "out")[key].tolist() == [[6, 7], [0, 0], [0, 1], [0, 0]]
    said = run("resize", source, tmp_path / "o", *arguments).err
    assert said == "resized: 2 rows kept, 2 dropped, 1 new (zeros): e, e/Adam\n"


def test_columns_and_old_size(run, tmp_path, arguments):
    source = write(tmp_path / "m", {"e": np.arange(8, dtype=np.float32).reshape(2, 4)})
    run("resize", source, tmp_path / "out", *arguments, "--axis", 1, "--old-vocab-size", 3)
    assert tb.open(tmp_path / "out")["e"].tolist() == [[0, 0, 0], [0, 0, 4]]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--axis", "2"], "SOURCE: key 'e': axis 2 of a tensor of rank 2"),
        ([], "SOURCE: key 'e': 4 old tokens, axis 0 has 3 elements"),
        (["--old-vocab", "none"], "none: no such vocabulary file"),
    ],
    ids=str,
)
def test_errors(run, tmp_path, arguments, more, message):
    source = write(tmp_path / "m", {"e": np.zeros((3, 2), np.float32)})
    found = check_refusal(run, tmp_path, "resize", source, tmp_path / "out", *arguments, *more)
    assert found == message.replace("SOURCE", source)


def test_new_size(run, tmp_path, arguments):
    """Only so many new tokens; -1 for the old ones means all, as in TensorFlow."""
    source = write(tmp_path / "m", {"e": np.arange(8, dtype=np.float32).reshape(4, 2)})
    run("resize", source, tmp_path / "out", *arguments, "--new-vocab-size", 1, "--old-vocab-size=-1")
    assert tb.open(tmp_path / "out")["e"].tolist() == [[6, 7]]
