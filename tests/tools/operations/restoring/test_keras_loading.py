"""Whether Keras 3 would load a weights file into the model that wrote another, and why not."""

import re

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.errors import UnsupportedError
from tensorbundle.tools import check, diff
from tensorbundle.tools.cli import main
from tensorbundle.tools.operations.restoring.causes import find_causes
from tensorbundle.tools.operations.restoring.forecasting import RestoreTarget, Source, predict

h5py = pytest.importorskip("h5py")


def write(path, groups, empty=()):
    """A weights file: by the path of each object, the shapes of its variables; and objects without variables."""
    with h5py.File(path, "w") as file:
        for group, shapes in groups.items():
            variables = file.create_group(f"{group}/vars")
            if group != "optimizer":
                variables.attrs["name"] = f"my_{group.rpartition('/')[2]}"
            for number, shape in enumerate(shapes):
                variables[str(number)] = np.zeros(shape, "f4")
        for group in empty:
            file.create_group(f"{group}/vars").attrs["name"] = "empty"
    return path


DENSE = [(3, 4), (4,)]
MODEL = {"layers/dense": DENSE, "layers/dense_1": [(4, 2), (2,)], "layers/dense_2": [(2, 2), (2,)]}


def causes(source, target):
    one, other = Source.read(source), RestoreTarget.read(target)
    return find_causes(predict(one, other, "restore"), one, other)


def statuses(found):
    return {each.path: each.status for each in found.findings}


def test_the_same_model(tmp_path):
    a, b = (
        write(tmp_path / "a.weights.h5", MODEL),
        write(tmp_path / "b.weights.h5", MODEL, ["layers/dropout"]),
    )
    found = check(a, b)
    assert (found.way, found.failure, found.found) == ("keras", None, False)
    assert set(statuses(found).values()) == {"restored"}
    assert found.changed["layers/dense/vars/0"] == "layers/dense/vars/0"
    assert causes(a, b) == []


def test_other_numbers_of_layers(tmp_path):
    a = write(tmp_path / "a.weights.h5", {**dict(list(MODEL.items())[:2]), "layers/conv2d": DENSE})
    b = write(tmp_path / "b.weights.h5", MODEL)
    found = check(a, b)
    said = "Layer 'my_dense_2' expected 2 variables, but received 0 variables during loading"
    assert str(found.failure) == (
        f"ValueError: A total of 1 objects could not be loaded. Example error message: {said}"
    )
    assert statuses(found)["layers/dense_2/vars/1"] == "missing"
    assert statuses(found)["layers/conv2d/vars/0"] == "unused"
    [cause] = causes(a, b)
    assert cause.what == "the models have other numbers of layers: dense in 'layers': 2 in A, 3 in B"


def test_other_shapes(tmp_path):
    other = {**MODEL, "layers/dense": [(3, 5), (5,)]}
    a, b = write(tmp_path / "a.weights.h5", other), write(tmp_path / "b.weights.h5", MODEL)
    found = check(a, b)
    assert "A total of 1 objects" in str(found.failure)
    assert "layers/dense/vars/0: shape [3,5] in A, [3,4] in B" in str(found.failure)
    assert [each.what for each in causes(a, b)] == ["2 tensors have another shape in B"]


def test_layers_that_were_not_built(tmp_path):
    a = write(tmp_path / "a.weights.h5", {"layers/dense": DENSE}, ["layers/dense_1", "layers/dense_2"])
    b = write(tmp_path / "b.weights.h5", MODEL)
    [cause] = causes(a, b)
    assert cause.what == "A has these layers without variables: the model that wrote it had not built them"
    assert len(cause.findings) == 4


def test_an_optimizer_of_another_size_is_left_as_it_is(tmp_path):
    a = write(tmp_path / "a.weights.h5", {**MODEL, "optimizer": [(), ()]})
    b = write(tmp_path / "b.weights.h5", {**MODEL, "optimizer": [(), (), (3, 4)]})
    found = check(a, b)
    assert found.failure is None
    assert found.found
    [cause] = causes(a, b)
    assert cause.what.startswith("the optimizers have other numbers of variables")


def test_names_that_keras_takes_for_others(tmp_path):
    a = write(
        tmp_path / "a.weights.h5",
        {"_layer_checkpoint_dependencies/multi_head_attention/_query_dense": DENSE},
    )
    b = write(tmp_path / "b.weights.h5", {"layers/multi_head_attention/query_dense": DENSE})
    assert not check(a, b).found


def test_a_checkpoint_is_to_be_converted(tmp_path, capsys):
    graph = tb.ObjectGraph.from_nested(
        {
            f"layer-{number}": {"kernel": f"dense_{number}/kernel", "bias": f"dense_{number}/bias"}
            for number in range(3)
        }
    )
    shapes = iter(shape for shapes in MODEL.values() for shape in shapes)
    with tb.create(tmp_path / "ckpt") as writer:
        for _, _, each in graph.attributes():
            writer.add(each.checkpoint_key, np.zeros(next(shapes), "f4"))
        writer.add_object_graph(graph)
    b = write(tmp_path / "b.weights.h5", MODEL)
    assert main(["check", str(tmp_path / "ckpt"), "--against", str(b)]) == 1
    out = capsys.readouterr().out
    assert "load_weights raises ValueError: File format not supported" in out
    assert f"$ tensorbundle convert {tmp_path / 'ckpt'} DST.weights.h5 --template {b}" in out
    [cause] = causes(b, tmp_path / "ckpt")
    assert cause.what == "A is a file of Keras weights, which TensorFlow does not restore"
    assert cause.command[-1] == str(tmp_path / "ckpt")
    small = write(tmp_path / "small.weights.h5", {"layers/dense": DENSE})
    [cause] = causes(tmp_path / "ckpt", small)
    assert "it can't be converted: the layers in 'layers' of the template" in cause.what
    assert not cause.command


def test_what_is_loaded_is_said(tmp_path, capsys):
    a = write(tmp_path / "a.weights.h5", MODEL)
    assert main(["check", str(a), "--against", str(a)]) == 0
    assert capsys.readouterr().out.startswith("model.load_weights loads it\n6 objects: 6 restored")


def write_legacy(path, layers, version="3.8.0"):
    """A legacy file: the shapes of each layer's weights, in order."""
    with h5py.File(path, "w") as file:
        names = [f"layer_{number}" for number in range(len(layers))]
        file.attrs["layer_names"], file.attrs["keras_version"] = names, version
        for name, shapes in zip(names, layers, strict=True):
            file.create_group(name).attrs["weight_names"] = [f"w{number}" for number in range(len(shapes))]
            for number, shape in enumerate(shapes):
                file[f"{name}/w{number}"] = np.zeros(shape, "f4")
    return path


@pytest.mark.parametrize(
    ("layers", "failure", "found"),
    [
        ([DENSE, [], DENSE], None, ["restored"] * 4),
        (
            [DENSE],
            "Layer count mismatch .* expected 2 layers, found 1 saved",
            ["restored"] * 2 + ["missing"] * 2,
        ),
        (
            [DENSE, [*DENSE, (4,)]],
            r"layer #1. Layer expects 2 weight\(s\). Received 3",
            ["restored"] * 4 + ["unused"],
        ),
        (
            [DENSE, [(3, 5), (4,)]],
            r"Weight expects shape \(3, 4\). Received saved weight with shape \(3, 5\)",
            ["restored", "restored", "shape", "restored"],
        ),
    ],
)
def test_a_legacy_file_is_loaded_by_order(layers, failure, found, tmp_path):
    a, b = write_legacy(tmp_path / "a.h5", layers), write_legacy(tmp_path / "b.h5", [DENSE, DENSE])
    forecast = check(a, b)
    assert [each.status for each in forecast.findings] == found
    assert (forecast.failure is None) == (failure is None)
    if failure:
        assert re.search(failure, str(forecast.failure))
        [cause] = causes(a, b)
        assert cause.kind == "legacy-order"


def write_named(path, names, writer):
    """A legacy file with a dense layer of each name."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = names
        file.attrs["keras_version"] = writer
        for name in names:
            weights = [f"net/{name}/kernel", f"net/{name}/bias"]
            file.create_group(name).attrs["weight_names"] = weights
            for each, shape in zip(weights, DENSE, strict=True):
                file[name][each] = np.zeros(shape, "f4")
    return path


@pytest.mark.parametrize(
    ("names", "writer", "told"),
    [
        (["dense_5", "dense_4"], "2.15.0", ["'dense_5' to 'dense', 'dense_4' to 'dense_1'"]),
        (["dense_4", "dense_5"], "2.15.0", []),
        (["dense_1", "dense"], "3.8.0", []),
    ],
)
def test_layers_that_two_kerases_may_exchange(names, writer, told, tmp_path, capsys):
    a = write_named(tmp_path / "a.h5", names, writer)
    b = write_named(tmp_path / "b.h5", ["dense", "dense_1"], "3.15.1")
    assert [each.what.partition("weights: ")[2] for each in causes(a, b)] == told
    assert main(["check", str(a), "--against", str(b)]) == 0
    assert ("each other's weights" in capsys.readouterr().out) == bool(told)


def test_a_legacy_file_and_files_of_other_kinds(tmp_path):
    legacy = write_legacy(tmp_path / "a.h5", [DENSE])
    weights = write(tmp_path / "b.weights.h5", {"layers/dense": DENSE})
    for one, other in ((legacy, weights), (weights, legacy)):
        with pytest.raises(UnsupportedError, match=r"a.h5: only one of the two is a legacy .h5 file"):
            check(one, other)
    graph = tb.ObjectGraph.from_nested({"layer-0": {"kernel": "dense/kernel", "bias": "dense/bias"}})
    with tb.create(tmp_path / "ckpt") as writer:
        for (_, _, each), shape in zip(graph.attributes(), DENSE, strict=True):
            writer.add(each.checkpoint_key, np.zeros(shape, "f4"))
        writer.add_object_graph(graph)
    [cause] = causes(legacy, tmp_path / "ckpt")
    assert cause.what == "A is a file of Keras weights, which TensorFlow does not restore"
    assert cause.command[0] == "convert"
    [cause] = causes(tmp_path / "ckpt", legacy)
    assert cause.command == ("convert", str(tmp_path / "ckpt"), "DST.h5")
    assert diff(tmp_path / "ckpt", legacy).counts["same"] == 2
    assert diff(legacy, tmp_path / "ckpt").counts["same"] == 2
    old = write_legacy(tmp_path / "old.h5", [DENSE], "2.15.0")
    with pytest.raises(
        UnsupportedError, match=r"old.h5: tf_keras, which wrote this file, restores TensorFlow checkpoints"
    ):
        check(tmp_path / "ckpt", old)
