"""The example in the help of each command, run as it is printed, in a directory with what its names suggest."""

import os
import shlex
import shutil

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.tools import convert, extract, partition, slim
from tensorbundle.tools.cli.arguments import load
from tensorbundle.tools.cli.catalog import COMMANDS
from tensorbundle.tools.cli.program import main

SHAPES = {
    "embedding": (8, 4),
    "embedding/Adam": (8, 4),
    "embedding/Adam_1": (8, 4),
    "encoder/query/kernel": (768, 768),
    "decoder/kernel": (4, 4),
    **dict.fromkeys(("z", "r", "h"), (4, 4)),
    "gates": (4, 128),
    "old/x": (2,),
    "a/y": (2,),
    "bias": (3,),
    "decoder/bias": (3,),
}
REPLACED = ("extract", "slim", "rewrite")  # what these write is what other examples read


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A directory with the checkpoints and files that the examples name."""
    path = tmp_path_factory.mktemp("named")
    (path / "run").mkdir()
    for step in (1000, 2000):
        with tb.create(path / "whole") as writer:
            for name, shape in SHAPES.items():
                writer.add(name, np.full(shape, step, np.float32))
            writer.add("global_step", np.int64(step))
        partition(path / "whole", path / f"run/model.ckpt-{step}", {"decoder/kernel": 2})
        for file in path.glob("whole.*"):
            file.unlink()
    first = path / "run/model.ckpt-1000"
    assert main(["manage", str(path / "run"), "add", str(first)]) == 0
    convert(first, path / "run/ckpt-1", to="tf2")
    convert(first, path / "fresh-1", to="tf2")
    extract(first, path / "encoder", "encoder/*")
    extract(first, path / "decoder", "decoder/*")
    slim(first, path / "slim")
    np.save(path / "bias.npy", np.zeros(3, np.float32))
    (path / "slim.toml").write_text("slim = true\n", encoding="utf-8")
    (path / "old.txt").write_text("".join(f"{token}\n" for token in range(8)), encoding="utf-8")
    (path / "new.txt").write_text("".join(f"{token}\n" for token in range(9)), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted(COMMANDS.keys() - {"bench"})
)  # which takes long, and has tests of its own
def test_the_example_runs(named, tmp_path, monkeypatch, capsys, name):
    shutil.copytree(named, tmp_path / "here", copy_function=os.link)
    monkeypatch.chdir(tmp_path / "here")
    _, *arguments = shlex.split(load(name).EXAMPLE)
    if name in REPLACED:
        arguments.append("--overwrite")
    assert main(arguments) == (1 if name == "diff" else 0)
    assert capsys.readouterr().out
