"""`tensorbundle slim`."""

import re
import shlex

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


@pytest.fixture
def large(tmp_path):
    """Slots of 3 MB beside a variable of as much, in one data shard."""
    return write(tmp_path / "l", {name: np.ones(750_000, "f4") for name in ("a", "a/Adam")})


def test_dead_bytes_are_counted_and_how_to_reclaim_them_is_said(run, tmp_path, large):
    out = tmp_path / "it's out"
    planned = run("slim", large, out, "--dry-run").out
    assert "1 tensor unchanged and not listed (--long lists them)\n" in planned
    assert "5.7 MiB to share (2.9 MiB of it dead)" in planned
    summary, advice = run("slim", large, out).out.splitlines()
    assert re.search(r"5\.7 MiB shared( \(\w.*\))?, 2\.9 MiB of it dead, ", summary)
    said, command, _ = re.split(r"; '(tensorbundle .+)' ", advice)
    assert said == "2.9 MiB of the shared bytes belong to no tensor"
    _, *argv = shlex.split(command)
    argv[-1] = tmp_path / "compact"
    [record] = run(*argv, "--json").records
    assert (record["bytes_dead"], record["bytes_written"] > 3_000_000) == (0, True)
    [record] = run("slim", large, out, "--overwrite", "--json").records
    assert record["bytes_dead"] == 3_000_000


def test_a_few_dead_bytes_are_counted_in_the_summary(run, tmp_path):
    source = write(tmp_path / "s", {"a": np.float32(1), "a/Adam": np.float32(1)})
    assert "8 B to share (4 B of it dead)" in run("slim", source, tmp_path / "out", "--dry-run").out
    [summary] = run("slim", source, tmp_path / "out").out.splitlines()
    assert ", 4 B of it dead ('compact' reclaims them), " in summary


def test_many_are_counted_and_listed_with_long(run, tmp_path):
    tensors = {f"v{number}{slot}": np.float32(1) for number in range(50) for slot in ("", "/Adam")}
    source = write(tmp_path / "m", tensors)
    note = run("slim", source, tmp_path / "a").err
    assert note == "optimizer state removed: 50 tensors (v0/Adam, v1/Adam, v2/Adam, ...; --long lists them)\n"
    assert len(run("slim", source, tmp_path / "b", "--long").err.splitlines()) == 50
    quiet = run("slim", source, tmp_path / "c", "--quiet")
    assert (quiet.out, quiet.err) == ("", "")
    [record] = run("slim", source, tmp_path / "d", "--json", "-q").records
    assert record["notes"] == [
        {"what": "optimizer state removed", "keys": [f"v{number}/Adam" for number in range(50)]}
    ]


def test_error(run, tmp_path):
    source = write(tmp_path / "m", {"a": np.float32(1)})
    message = check_refusal(run, tmp_path, "slim", source, tmp_path / "out")
    assert (
        message
        == f"{source}: no optimizer state was found; 'drop' removes what patterns match, such as '*/Adam*'"
    )


def test_an_output_that_exists_is_refused_in_one_line(run, tmp_path, source):
    check_refusal(run, tmp_path, "slim", source, source)
