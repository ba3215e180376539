"""Comparing a file of Keras weights with a checkpoint that has the objects of the model."""

import json

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.tools import convert, diff

h5py = pytest.importorskip("h5py")

MODEL = {f"layer-{number}": {each: f"d{number}/{each}" for each in ("kernel", "bias")} for number in range(3)}


@pytest.fixture
def source(tmp_path):
    """Layers of one shape, with biases that are all zero."""
    graph = tb.ObjectGraph.from_nested(MODEL)
    with tb.create(tmp_path / "ckpt") as writer:
        for number, (_, _, each) in enumerate(graph.attributes()):
            values = np.full((2, 2), number) if each.full_name.endswith("kernel") else np.zeros(2)
            writer.add(each.checkpoint_key, values.astype("f4"))
        writer.add_object_graph(graph)
    config = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": {}}] * 3}}
    (tmp_path / "model.json").write_text(json.dumps(config))
    convert(tmp_path / "ckpt", tmp_path / "m.weights.h5", config=tmp_path / "model.json")
    return tmp_path / "ckpt"


@pytest.mark.parametrize("back", [False, True])
def test_tensors_are_paired_as_convert_pairs_them(back, source, tmp_path):
    sides = (source, tmp_path / "m.weights.h5")
    found = diff(*(reversed(sides) if back else sides))
    assert found.counts["same"] == len(found.differences) == 6
    with h5py.File(tmp_path / "m.weights.h5", "r+") as file:
        file["layers/dense_1/vars/1"][0] = 7
    found = diff(*(reversed(sides) if back else sides), values=True)
    [changed] = [each for each in found.differences if each.change != "same"]
    assert {changed.key, changed.to} == {"layers/dense_1/vars/1", "layer-1/bias/.ATTRIBUTES/VARIABLE_VALUE"}
    assert changed.values.max_abs == 7


def test_another_model_is_compared_by_content(source, tmp_path):
    with h5py.File(tmp_path / "m.weights.h5", "r+") as file:
        del file["layers/dense_2"]
    counts = diff(source, tmp_path / "m.weights.h5").counts
    assert (counts["same"], counts["value"]) == (0, 0)
    assert counts["removed"] >= 2
