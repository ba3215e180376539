"""A training that saves and deletes checkpoints while its directory is looked at: at every look at the disk, in turn."""

import os
import shutil

import numpy as np
import pytest

import tensorbundle as tb
from support.depth import sample
from support.directories import write_state
from tensorbundle.tools import convert, latest, manage, verify_all
from tensorbundle.tools.operations.directories.inspection import inspect

LOOKS = ("listdir", "lstat", "open", "readlink", "stat", "unlink")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Two checkpoints with a graph, one in the V1 format, a file of a killed save, and parts of one that was not merged."""
    directory = tmp_path_factory.mktemp("template")
    for name in ("m-1", "m-2"):
        with tb.create(directory / name, shards=2) as writer:
            writer.add("a", np.float32(1))
            writer.start_shard()
            writer.add("b", np.float32(2))
        (directory / f"{name}.meta").touch()
    convert(directory / "m-1", directory / "v1", to="v1")
    (directory / "m-3.index.tempstate1").touch()
    (directory / "m-4_temp").mkdir()
    (directory / "m-4_temp/part-00000-of-00001.index.tempstate1").touch()
    write_state(directory, ["m-1", "m-2"], [1.0, 2.0])
    return directory


def all_but_the_latest_goes(directory):
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not path.name.startswith(("m-2", "checkpoint")):
            path.unlink()


def the_latest_is_replaced(directory):
    with tb.create(directory / "m-2", overwrite=True) as writer:
        writer.add("a", np.float32(3))


def looked_at(directory, question, monkeypatch, event=None, number=None):
    """How often the directory is looked at for an answer; before the look of this number something happens."""
    count = 0

    def looking(real):
        def look(path, *arguments, **options):
            nonlocal count
            if isinstance(path, str) and path.startswith(str(directory)):
                count += 1
                if count == number:
                    event(directory)
            return real(path, *arguments, **options)

        return look

    with monkeypatch.context() as patch:
        for name in LOOKS:
            patch.setattr(os, name, looking(getattr(os, name)))
        question(directory)
    return count


def pruned(directory):
    manage(directory, "prune", max_to_keep=1)


def cleaned(directory):
    manage(directory, "clean")


def verified(directory):
    kinds = {problem.kind for each in verify_all(directory) for problem in each.problems}
    assert kinds <= {"state-file"}  # which names what is gone


@pytest.mark.parametrize(
    ("question", "event"),
    [
        *((question, all_but_the_latest_goes) for question in (latest, manage, pruned, cleaned, verified)),
        (latest, the_latest_is_replaced),
    ],
)
def test_a_directory_that_changes(template, tmp_path, monkeypatch, question, event):
    """There is an answer, whenever it happens."""
    shutil.copytree(template, tmp_path / "0")
    count = looked_at(tmp_path / "0", question, monkeypatch)
    for number in sample(range(1, count + 1), 15):
        directory = tmp_path / str(number)
        shutil.copytree(template, directory)
        looked_at(directory, question, monkeypatch, event, number)


def test_a_checkpoint_that_is_deleted_again_and_again(template, monkeypatch):
    """It is looked at twice; then it is said to be in motion."""

    def gone(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr("tensorbundle.tools.operations.directories.inspection.own_size", gone)
    found = inspect(str(template / "m-2"))
    assert (found.files, found.problem) == ((), "its files are being deleted or replaced")
