"""`tensorbundle info`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.cli import V215
from support.golden import SAMPLE
from support.parts import write_parts
from tensorbundle.proto.graph import ObjectGraph
from tensorbundle.tools import info, slim

FIELDS = [
    *("prefix", "kind", "tensors", "parameters", "parameters_without_optimizer", "optimizer", "step"),
    *("dtypes", "bytes", "shards", "dead_bytes"),
]


def test_a_name_based_checkpoint(run, tmp_path):
    [found] = run("info", SAMPLE, "--json").records
    assert list(found) == FIELDS
    assert found == {
        "prefix": str(SAMPLE),
        "kind": "TF1",
        "tensors": 33,
        "parameters": 6969,
        "parameters_without_optimizer": 2322,
        "optimizer": "Adam, Ftrl",
        "step": 300,
        "dtypes": {"float32": 32, "int64": 1},
        "bytes": 27880,
        "shards": 1,
        "dead_bytes": 0,
    }
    text = run("info", SAMPLE).out.splitlines()
    assert text[0] == str(SAMPLE)
    assert "  parameters  6,969, 2,322 without optimizer" in text
    slim(SAMPLE, tmp_path / "slim")
    assert "  parameters  2,323" in run("info", tmp_path / "slim").out.splitlines()


@pytest.mark.parametrize(
    ("path", "kind", "optimizer", "step", "written_by"),
    [
        ("keras-legacy-adam-slots", "TF2", "Adam", 1, "tf.train.Checkpoint"),
        ("v1-format", "V1", None, None, None),
        ("guide-tf1", "TF1", None, None, "TensorFlow 2.15.1"),
        ("keras-saved-model", "SavedModel", None, None, "TensorFlow 2.15.1"),
        ("graph-only/nothing", "TF2", None, None, None),
    ],
)
def test_kinds(path, kind, optimizer, step, written_by):
    found = info(V215 / path)
    assert (found.kind, found.optimizer, found.step, found.written_by) == (kind, optimizer, step, written_by)
    assert found.notes == ()


def test_the_kind_of_a_save_that_was_not_merged(tmp_path):
    assert info(write_parts(tmp_path)).kind == "TF1"


def test_dead_bytes(run, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", np.zeros(10))
        writer.add("b", np.zeros(5))
    run("drop", tmp_path / "m", tmp_path / "n", "b")
    assert info(tmp_path / "n").dead_bytes == 40


def test_without_its_data(run, tmp_path):
    graph = ObjectGraph.from_names(["w"])
    with tb.create(tmp_path / "m") as writer:
        for _, _, each in graph.attributes():
            writer.add(each.checkpoint_key, np.int64(3))
        writer.add("_CHECKPOINTABLE_OBJECT_GRAPH", graph.encode())
    assert info(tmp_path / "m").parameters_without_optimizer == 1
    tmp_path.joinpath("m.data-00000-of-00001").unlink()
    output = run("info", tmp_path / "m", "--json")
    [found] = output.records
    assert (found["kind"], found["tensors"], found["dead_bytes"], found["step"]) == ("TF2", 3, None, None)
    assert found["optimizer"] == "unknown"
    assert len(output.err.splitlines()) == 2
