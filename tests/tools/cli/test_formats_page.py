"""The commands in `docs/formats.md` that need a model's files, on files of a small model."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import tensorbundle as tb
from support.published import bert
from tensorbundle.tools import diff
from tensorbundle.tools.cli import main

pytest.importorskip("h5py")

PAGE = Path(__file__).resolve().parents[3] / "docs/formats.md"
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]
RNG = np.random.default_rng(0)
SHAPES = {"kernel": (20, 20), "bias": (20,)}  # so many values tell tensors apart


def dense(name):
    return {each: f"{name}/{each}" for each in SHAPES}


def write_model(path):
    """A model of two layers, as tf_keras saves its weights."""
    graph = tb.ObjectGraph.from_nested({"layer-0": dense("dense"), "layer-1": dense("dense_1")})
    with tb.create(path) as writer:
        for _, _, each in graph.attributes():
            shape = SHAPES[each.full_name.rpartition("/")[2]]
            writer.add(each.checkpoint_key, RNG.normal(size=shape).astype("f4"))
        writer.add_object_graph(graph)


def write_names(path, shapes):
    with tb.create(path) as writer:
        for name, shape in shapes.items():
            writer.add(name, RNG.normal(size=shape).astype("f4"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What a user of the page has."""
    monkeypatch.chdir(tmp_path)
    for name in ("run", "hf", "tf1", "saved_model/variables"):
        Path(name).mkdir(parents=True)
    for name in ("run/ckpt-1000", "fresh", "saved_model/variables/variables"):
        write_model(name)
    Path("saved_model/saved_model.pb").write_bytes(b"")
    layers = [{"class_name": "Dense", "config": {"name": name}} for name in ("dense", "dense_1")]
    Path("model.json").write_text(json.dumps({"class_name": "Sequential", "config": {"layers": layers}}))
    assert main(["convert", "fresh", "fresh.weights.h5"]) == 0
    write_names("bert_model.ckpt", bert((0, 1)))
    write_names(
        "tf1/model.ckpt",
        {f"{layer}/{name}": SHAPES[name] for layer in ("dense", "dense_1") for name in SHAPES},
    )
    return tmp_path


def test_every_command_succeeds(folder, capsys):
    assert len(COMMANDS) == 11
    for command in COMMANDS:
        program, name, source, *rest = shlex.split(command)
        assert program == "tensorbundle"
        if name in ("convert", "rename", "rewrite"):
            (folder / rest[0]).unlink(missing_ok=True)  # of an earlier command
        assert main([name, source, *rest]) == 0, command
        if name == "convert" and rest[0] != "run/ckpt":
            changes = diff(source, rest[0], values=True).differences
            allowed = ("same",) if rest[0].endswith(".h5") else ("renamed",)
            lost = [each.key for each in changes if each.change not in allowed]
            assert not lost, (command, lost)
    assert "model.load_weights loads it" in capsys.readouterr().out
    assert main(["diff", "bert_model.ckpt", "again.ckpt"]) == 0
