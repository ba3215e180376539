"""Every command that writes, on a disk that fails at any of its requests: what was there stays, or the new is there, and the
error is one line."""

import argparse
import contextlib
import errno
import importlib
import io
import os
import shutil
import signal

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import read_everything
from support.depth import DEEP
from support.directories import managed
from tensorbundle.storage.local import LocalStore, LocalWriter
from tensorbundle.tools import convert
from tensorbundle.tools.cli import main
from tensorbundle.tools.cli.catalog import COMMANDS
from tensorbundle.tools.operations.directories.cleaning import clean
from tensorbundle.tools.operations.directories.managing import manage

REQUESTS = ["create", "share", "flush", "link", "replace", "remove"]  # of the disk; and writing to a file
IN = ["{src}", "{out}"]
# Arguments of each command that writes, by what is written; --overwrite is added, and the output exists.
WRITING = {
    "convert": {
        "out": [*IN, "--to", "tf2"],
        "out.v1": [*IN, "--to", "v1"],
        "out.safetensors": IN,
        "out.npz": IN,
        "out.weights.h5": ["{keras}", "{out}"],
    },
    "rename": {"out": [*IN, "a/=b/"], "src": ["{src}", "{src}", "a/=b/"]},
    "cast": {"out": [*IN, "*=bfloat16"]},
    "drop": {"out": [*IN, "a/x"]},
    "extract": {"out": [*IN, "a/*"]},
    "slim": {"out": ["{trained}", "{out}"]},
    "set": {"out": [*IN, "step=7"]},
    "reshape": {"out": [*IN, "a/x=24"]},
    "transpose": {"out": [*IN, "a/x=1,0"]},
    "split": {"out": [*IN, "a/x", "p=2", "q=2"]},
    "concat": {"out": [*IN, "joined", "a/x", "a/y"]},
    "resize": {"out": [*IN, "a/x", "--old-vocab", "{words}", "--new-vocab", "{words}"]},
    "salvage": {"out": IN},
    "rewrite": {"out": [*IN, "--recipe", "{recipe}"]},
    "reshard": {"out": [*IN, "--shards", "3"]},
    "compact": {"out": IN, "src": ["{src}", "{src}"]},
    "partition": {"out": [*IN, "a/x=2"]},
    "unpartition": {"out": ["{sliced}", "{out}"]},
    "merge": {"out": ["{src}", "{other}", "{out}"]},
    "average": {"out": ["{src}", "{src}", "{out}"]},
    "show": {"out.npy": ["{src}", "a/x", "-o", "{out}"]},
    "report": {"out.html": ["{src}", "-o", "{out}"]},
    "suggest": {"out.map": ["{src}", "{renamed}", "-o", "{out}"]},
    "manage": {
        "run add": ["{run}", "add", "ckpt-1"],
        "run remove": ["{run}", "remove", "ckpt-2"],
        "run prune": ["{run}", "prune", "--max-to-keep", "1"],
        "lost repair": ["{lost}", "repair"],
        "run clean": ["{run}", "clean"],
    },
}
FILES = ("show", "report", "suggest")  # write one file that is not a checkpoint
THOROUGH = {"convert"}  # of which every request fails: others write by the same mechanisms
CASES = [(command, made) for command, kinds in WRITING.items() for made in kinds]


def options_of(command):
    """The options that a command declares."""
    parser = argparse.ArgumentParser()
    importlib.import_module(f"tensorbundle.tools.cli.commands.{command}").add_arguments(parser)
    return parser.format_help()


def test_every_command_that_writes_is_tried():
    writing = {each for each in COMMANDS if "--overwrite" in options_of(each)}
    assert {*writing, "manage"} == WRITING.keys()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What every command begins with."""
    root = tmp_path_factory.mktemp("files")
    generator = np.random.default_rng(1)
    tensors = {"a/x": generator.random((4, 6), np.float32), "a/y": generator.random((4, 6), np.float32)}
    for name, rename, extra in (
        ("src", "a/", {"step": np.int64(3)}),
        ("renamed", "c/", {"step": np.int64(3)}),
        ("other", "z/", {}),
        ("trained", "a/", {"a/x/Adam": np.ones((4, 6), "f4"), "a/x/Adam_1": np.ones((4, 6), "f4")}),
        ("out", "old/", {}),
    ):
        with tb.create(root / name) as writer:
            for key, each in tensors.items():
                writer.add(key.replace("a/", rename), each)
            for key, each in extra.items():
                writer.add(key, each)
    with tb.create(root / "sliced") as writer:
        for start in (0, 2):
            part = tb.TensorSlice(((start, 2), (0, -1)))
            writer.add_slice("a/x", [4, 6], part, tensors["a/x"][start : start + 2])
    for number, name in enumerate(("keras", "old-keras")):
        with tb.create(root / name) as writer:
            writer.add("layers/dense/vars/0", np.full(3, number, "f4"))
    for source, ending in (("out", ".safetensors"), ("out", ".npz"), ("old-keras", ".weights.h5")):
        convert(root / source, root / f"out{ending}")
    convert(root / "out", root / "out.v1", to="v1")
    for ending in (".npy", ".html", ".map"):
        (root / f"out{ending}").write_bytes(b"old")
    (root / "words").write_text("".join(f"w{number}\n" for number in range(4)))
    (root / "recipe").write_text('[[steps]]\nrename = {"a/" = "b/"}\n')
    managed(root / "run", 3)
    managed(root / "lost", 3)
    (root / "lost/checkpoint").unlink()
    (root / "run/ckpt-9.index.tempstate1").write_bytes(b"left")
    return root


def snapshot(folder):
    """Every file in a directory and its directories, by its path from there."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def contents(folder, command, made):
    """What a reader finds of what a command makes."""
    if command == "manage":
        return {
            each: data for each, data in snapshot(folder / made.split()[0]).items() if "tempstate" not in each
        }
    if made.endswith((".npy", ".html", ".map")):
        return (folder / made).read_bytes().replace(bytes(folder), b"")  # pages and maps name it
    return read_everything(folder / made)


class Disk:
    """Counts the requests to the disk; one of them fails."""

    def __init__(self, monkeypatch, fails):
        self.asked, self.fails = [], fails
        for kind, name in [
            *((LocalStore, each) for each in REQUESTS),
            (LocalWriter, "write"),
        ]:
            monkeypatch.setattr(kind, name, self._failing(name, getattr(kind, name)))

    def _failing(self, name, real):
        def request(*args, **options):
            self.asked.append(name)
            if len(self.asked) - 1 == self.fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(args[-1]))
            return real(*args, **options)

        return request


class Places(dict):
    """The paths of what is in a directory; that of the output by `out`."""

    def __init__(self, folder, made):
        super().__init__(out=str(folder / made))
        self._folder = folder

    def __missing__(self, name):
        return str(self._folder / name)


def run(folder, command, made, fails=None):
    places = Places(folder, made)
    argv = [command, *(word.format_map(places) for word in WRITING[command][made])]
    if command != "manage":
        argv.append("--overwrite")
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        disk = Disk(patch, fails)
        status = main(argv)
    return status, err.getvalue(), disk.asked


KINDS = [*(("convert", made) for made in WRITING["convert"]), *((each, *WRITING[each]) for each in FILES)]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "made"), KINDS, ids=map("-".join, KINDS))
def test_clean_deletes_what_a_killed_process_leaves(files, tmp_path, command, made):
    folder = shutil.copytree(files, tmp_path / "files", copy_function=os.link)
    before = snapshot(folder)
    child = os.fork()
    if not child:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LocalStore, "flush", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            run(folder, command, made)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    left = snapshot(folder).keys() - before.keys()
    assert left
    assert {os.path.basename(path) for path in manage(str(folder), clean).files} == left
    assert snapshot(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize(("command", "made"), CASES, ids=map("-".join, CASES))
def test_a_request_to_the_disk_fails(files, tmp_path, command, made):
    clean = shutil.copytree(files, tmp_path / "clean", copy_function=os.link)
    old = contents(clean, command, made)
    status, err, asked = run(clean, command, made)
    assert status in (0, 1), err
    new = contents(clean, command, made)
    assert asked
    every = DEEP and command in THOROUGH
    for fails in range(len(asked)) if every else sorted({len(asked) // 2, len(asked) - 1}):
        folder = shutil.copytree(files, tmp_path / f"{fails}", copy_function=os.link)
        before = snapshot(folder)
        status, err, seen = run(folder, command, made, fails)
        where = (fails, asked[fails], err)
        assert seen[: fails + 1] == asked[: fails + 1], where
        found = contents(folder, command, made)
        if command == "manage":
            assert status == 2 or found == new, where
            left = tb.compat.latest_checkpoint(str(folder / made.split()[0]))
            assert left is None or tb.compat.checkpoint_exists(left), where
        else:
            assert found in (old, new), where
            assert status == 2 or found == new, where
        if status == 2:  # notes may come before
            assert err.splitlines()[-1].startswith(f"tensorbundle {command}: "), where
            assert "Traceback" not in err, where
        after = snapshot(folder)
        if command != "manage" and asked[fails] != "remove":
            assert not [
                name for name in after.keys() - before.keys() if ".tempstate" in name or ".tmp" in name
            ], where
        if found == old != new and "remove" not in seen[fails : fails + 1] and command != "manage":
            assert after == before, where
        sources = {
            name: data for name, data in before.items() if not name.startswith((made.split()[0], "out"))
        }
        assert {name: after.get(name) for name in sources} == sources, where
