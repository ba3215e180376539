"""`tensorbundle cast`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import write


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "m", {"a": np.float32([1, 1e6]), "n": np.int32(3)})


def test_rules(run, tmp_path, source):
    summary = check_writing(run, tmp_path, "cast", [source], "*=float16")
    assert summary["changes"]["cast"] == 1
    assert summary["overflowed"] == {"a": 1}
    assert tb.open(tmp_path / "out")["a"].tolist() == [1, np.inf]


def test_text(run, tmp_path, source):
    lines = run("cast", source, tmp_path / "out", "*=float16").out.splitlines()
    assert lines[0] == "values too large for the new type: a (1)"
    assert run("cast", source, tmp_path / "o", "*=float16", "--dry-run").out.splitlines()[0].split() == [
        *("convert", "a", "float16", "[2]", "4", "B", "from", "cast", "a", "to", "float16"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("a", "'a' is not PATTERN=DTYPE"),
        ("a=float99", "no data type 'float99'"),
        (
            "n*=float16",
            "SOURCE: pattern 'n*' matches no floating-point tensor; others are cast only by their whole name",
        ),
        ("b=float16", "SOURCE: no tensor matches the pattern 'b'"),
    ],
)
def test_errors(run, tmp_path, source, argument, message):
    found = check_refusal(run, tmp_path, "cast", source, tmp_path / "out", argument)
    assert found.startswith(message.replace("SOURCE", source))
