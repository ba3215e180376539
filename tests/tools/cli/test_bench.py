"""`tensorbundle bench`."""

import importlib.util
import shutil

import pytest

from support.bundles import snapshot
from support.golden import SAMPLE
from tensorbundle.errors import CorruptionError, MissingFileError
from tensorbundle.tools import bench
from tensorbundle.tools.operations.inspecting import timing

JOBS = [
    ("list", "tensorbundle"),
    ("read", "tensorbundle"),
    ("verify", "tensorbundle"),
    ("copy", "tensorbundle"),
]


@pytest.fixture
def ckpt(tmp_path):
    for path in SAMPLE.parent.glob(f"{SAMPLE.name}.*"):
        shutil.copy(path, tmp_path)
    return tmp_path / SAMPLE.name


@pytest.fixture
def no_processes(monkeypatch):
    """Commands are recorded instead of run, and each takes a second."""
    commands = []

    def timed(command):
        commands.append(command)
        return 1.0

    monkeypatch.setattr(timing, "_timed", timed)
    return commands


def with_tensorflow(monkeypatch, *, installed):
    found = importlib.util.find_spec("os") if installed else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)


@pytest.mark.slow
def test_whole_processes(run, ckpt, monkeypatch):
    with_tensorflow(monkeypatch, installed=False)
    before = snapshot(ckpt.parent)
    records = run("bench", ckpt, "--rounds", 1, "--json").records
    assert [(each["job"], each["contender"]) for each in records] == [*JOBS, ("copy", "copy and fsync")]
    assert [list(each) for each in records] == [["job", "contender", "nbytes", "seconds", "error"]] * 5
    assert all(len(each["seconds"]) == 1 and each["seconds"][0] > 0 and not each["error"] for each in records)
    assert snapshot(ckpt.parent) == before


def test_a_table(run, ckpt, no_processes, monkeypatch):
    with_tensorflow(monkeypatch, installed=True)
    head, *lines = run("bench", ckpt).out.splitlines()
    assert head.split() == ["job", "by", "median", "speed", "beside", "ours"]
    assert [line.split()[0] for line in lines] == ["list"] * 2 + ["read"] * 2 + ["verify"] + ["copy"] * 3
    assert lines[1].split() == ["list", "tensorflow", "1.000", "s", "1.00", "times", "as", "long"]
    assert "GB/s" in lines[2]


def test_contenders_take_turns_and_copies_are_removed(tmp_path, ckpt, monkeypatch):
    with_tensorflow(monkeypatch, installed=True)
    place = tmp_path / "copies"
    place.mkdir()
    turns = []

    def timed(command):
        assert list(place.iterdir()) == []
        if command[-1].startswith(str(place)):
            (place / f"{command[-1].rpartition('/')[2]}.index").touch()
            turns.append("compact" if "compact" in command else "other")
        return 1.0

    monkeypatch.setattr(timing, "_timed", timed)
    assert len(list(bench(ckpt, rounds=2, directory=str(place)))) == 8
    assert turns == ["compact", "other", "other"] * 2
    assert list(place.iterdir()) == []


def test_a_contender_that_can_not_do_it_is_left_out(run, ckpt, monkeypatch):
    with_tensorflow(monkeypatch, installed=True)
    tried = []

    def timed(command):
        if "tensorflow" in command[2]:
            tried.append(command)
            raise timing.BundleError("status 1: no such module")
        return 2.0

    monkeypatch.setattr(timing, "_timed", timed)
    found = {(each.job, each.contender): each for each in bench(ckpt, rounds=3)}
    assert len(tried) == 3  # of each job only the first round
    assert found["read", "tensorflow"].error == "status 1: no such module"
    assert found["read", "tensorflow"].median is None
    assert found["read", "tensorbundle"].seconds == (2.0, 2.0, 2.0)
    assert "failed" in run("bench", ckpt).out


def test_what_a_process_says_last_is_why_it_failed():
    with pytest.raises(timing.BundleError, match="status 1: ValueError: no reason"):
        timing._timed(timing._program("raise ValueError('no reason')"))


def test_a_damaged_checkpoint_is_an_error(ckpt):
    ckpt.with_name(f"{ckpt.name}.index").write_bytes(b"damaged")
    with pytest.raises(CorruptionError):
        list(bench(ckpt))
    with pytest.raises(MissingFileError):
        list(bench(ckpt.parent / "other"))
