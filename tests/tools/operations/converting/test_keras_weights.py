"""Keras weights files out of checkpoints with the object graphs of tf_keras and Keras 3; Keras itself is not needed."""

import json

import numpy as np
import pytest

import tensorbundle as tb
from support.golden import GOLDEN
from tensorbundle.errors import BundleError, ConflictError, TensorNotFoundError
from tensorbundle.tools import cast, convert, diff, info, slim, verify
from tensorbundle.tools.formats import hdf5_output

h5py = pytest.importorskip("h5py")


def write(path, nested, **changed):
    """A checkpoint with this object graph, each variable filled with a number of its own; by key, the numbers."""
    graph = tb.ObjectGraph.from_nested(nested)
    numbers = {}
    with tb.create(path) as writer:
        for number, (_, _, each) in enumerate(graph.attributes()):
            if each.name == "VARIABLE_VALUE":
                shape = changed.get(each.full_name.rpartition("/")[2], (2, 3))
                writer.add(each.checkpoint_key, np.full(shape, number, "f4"))
                numbers[each.checkpoint_key] = number
        writer.add_object_graph(graph)
    return path


def dense(name):
    return {"kernel": f"{name}/kernel", "bias": f"{name}/bias"}


def contents(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, each: (
                found.update({name: each[()].flat[0]}) if isinstance(each, h5py.Dataset) else None
            )
        )
    return found


MODEL = {"layer-0": dense("dense"), "layer-1": {}, "layer-2": dense("dense_1")}
PATHS = ["layers/dense/vars/0", "layers/dense/vars/1", "layers/dense_1/vars/0", "layers/dense_1/vars/1"]


def test_a_model_of_tf_keras(tmp_path):
    write(tmp_path / "ckpt", {"model": MODEL, "save_counter": "save_counter"})
    summary = convert(tmp_path / "ckpt", tmp_path / "out.weights.h5")
    assert sorted(contents(tmp_path / "out.weights.h5")) == PATHS
    assert [each.reason for each in summary.left_out] == ["the save counter of tf.train.Checkpoint"]
    with h5py.File(tmp_path / "out.weights.h5") as file:
        assert file["layers/dense_1/vars"].attrs["name"] == "dense_1"
        assert isinstance(file["vars"], h5py.Group)  # which Keras up to 3.5 opens


@pytest.mark.parametrize("name", ["out.weights.h5", "out.h5"])
def test_there_and_back(name, tmp_path):
    write(tmp_path / "ckpt", {"model": MODEL})
    convert(tmp_path / "ckpt", tmp_path / name)
    write(tmp_path / "fresh", {"first": {"w": "w"}, "model": MODEL})
    convert(tmp_path / name, tmp_path / "back", to="tf2", template=tmp_path / "fresh")
    with tb.open(tmp_path / "back") as back, tb.open(tmp_path / "ckpt") as original:
        for key in original:
            if key.startswith("model"):
                np.testing.assert_array_equal(back[key], original[key])
        assert "first/w/.ATTRIBUTES/VARIABLE_VALUE" in back


def test_by_a_template(tmp_path):
    model = {
        "layer-0": {},
        "layer-1": dense("left"),
        "layer-2": {"layer-0": dense("a"), "layer-1": dense("b")},
    }
    write(tmp_path / "ckpt", model, kernel=(2, 3), bias=(3,))
    with pytest.raises(ConflictError, match="the classes of these layers are not known: 'layer-1'"):
        convert(tmp_path / "ckpt", tmp_path / "out.weights.h5")
    with h5py.File(tmp_path / "fresh.weights.h5", "w") as file:
        for group in ("left_layer", "sequential/layers/dense", "sequential/layers/dense_1"):
            file[f"layers/{group}/vars/0"] = np.zeros((2, 3), "f4")
            file[f"layers/{group}/vars/1"] = np.zeros(3, "f4")
    convert(tmp_path / "ckpt", tmp_path / "out.weights.h5", template=tmp_path / "fresh.weights.h5")
    found = contents(tmp_path / "out.weights.h5")
    assert found.keys() == contents(tmp_path / "fresh.weights.h5").keys()
    with tb.open(tmp_path / "ckpt") as checkpoint:
        kernel = checkpoint["layer-2/layer-1/kernel/.ATTRIBUTES/VARIABLE_VALUE"]
    assert found["layers/sequential/layers/dense_1/vars/0"] == kernel[0, 0]
    with h5py.File(tmp_path / "fresh.weights.h5", "a") as file:
        file["layers/other/vars/0"] = np.zeros(7, "f4")
    with pytest.raises(
        TensorNotFoundError, match="have other numbers or shapes than the 2 of the checkpoint"
    ):
        convert(tmp_path / "ckpt", tmp_path / "no.weights.h5", template=tmp_path / "fresh.weights.h5")


def test_several_ways_to_match_a_template_are_refused(tmp_path):
    write(tmp_path / "ckpt", {"layer-0": dense("left"), "layer-1": dense("right")})
    with h5py.File(tmp_path / "fresh.weights.h5", "w") as file:
        for group in ("dense", "einsum_dense"):
            for number in range(2):
                file[f"layers/{group}/vars/{number}"] = np.zeros((2, 3), "f4")
    with pytest.raises(
        ConflictError, match=r"2 ways to match 'layer-0', 'layer-1' with the groups 'dense', 'einsum_dense'"
    ):
        convert(tmp_path / "ckpt", tmp_path / "out.weights.h5", template=tmp_path / "fresh.weights.h5")


def test_a_config_and_patterns(tmp_path):
    write(tmp_path / "ckpt", {"layer-0": {"w": "mine/w", "steps": "mine/steps"}})
    config = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Mine", "config": {}}]}}
    (tmp_path / "model.json").write_text(json.dumps(config))
    given = {"config": tmp_path / "model.json"}
    with pytest.raises(ConflictError, match="which of the variables 'w', 'steps' are trained is not known"):
        convert(tmp_path / "ckpt", tmp_path / "out.weights.h5", **given)
    convert(
        tmp_path / "ckpt", tmp_path / "out.weights.h5", **given, trainable=["*/steps"], non_trainable=["*/w"]
    )
    with tb.open(tmp_path / "ckpt") as checkpoint:
        steps = checkpoint["layer-0/steps/.ATTRIBUTES/VARIABLE_VALUE"][0, 0]
    assert contents(tmp_path / "out.weights.h5")["layers/mine/vars/0"] == steps
    with pytest.raises(BundleError, match=r"give a config .* or a template .*, not both"):
        convert(tmp_path / "ckpt", tmp_path / "no.weights.h5", **given, template=tmp_path / "out.weights.h5")


def test_what_keras_3_did_not_save_is_named(tmp_path):
    graph = tb.ObjectGraph.from_nested(
        {
            "model": {"_tracked": {}, "net": {"_kernel": "net/dense/kernel"}},
            "optimizer": {
                "_iterations": "iteration",
                "_learning_rate": "learning_rate",
                "_variables": {"0": "iteration", "1": "learning_rate"},
                "_trainable_variables": {"0": "x", "1": "net/blocks/kernel"},
            },
        }
    )
    shared = graph["model/net/_kernel"]
    graph["optimizer/_trainable_variables"].children["0"] = shared
    graph.renumber()
    with tb.create(tmp_path / "ckpt") as writer:
        for _, _, each in graph.attributes():
            writer.add(each.checkpoint_key, np.zeros(3, "f4"))
        writer.add_object_graph(graph)
    summary = convert(tmp_path / "ckpt", tmp_path / "out.weights.h5", root="model")
    state = ["optimizer/vars/0", "optimizer/vars/1"]
    assert sorted(contents(tmp_path / "out.weights.h5")) == ["net/vars/0", *state]
    reasons = {each.key.partition("/.ATT")[0]: each.reason for each in summary.left_out}
    assert "Keras 3 does not save layers in lists" in reasons["optimizer/_trainable_variables/1"]


ADAM = {
    "_iterations": "iteration",
    "_learning_rate": "learning_rate",
    "_momentums": {
        str(number): f"Adam/m/{name}" for number, name in enumerate(("dense/kernel", "dense/bias"))
    },
    "_velocities": {
        str(number): f"Adam/v/{name}" for number, name in enumerate(("dense/kernel", "dense/bias"))
    },
    "_variables": {},
}


def write_with_state(path, optimizer, **changed):
    return write(
        path, {"layer-0": dense("dense"), "optimizer": optimizer}, iteration=(), learning_rate=(), **changed
    )


def names(path):
    with tb.open(path) as checkpoint:
        values = {key.partition("/.ATT")[0]: checkpoint[key] for key in checkpoint if "/" in key}
    return {key: value.flat[0] for key, value in values.items()}


def test_optimizer_state_there_and_back(tmp_path):
    """Slots of one variable are side by side; the template of the way back says where each is stored."""
    write_with_state(tmp_path / "ckpt", ADAM)
    summary = convert(tmp_path / "ckpt", tmp_path / "out.weights.h5")
    assert not summary.left_out
    found, stored = contents(tmp_path / "out.weights.h5"), names(tmp_path / "ckpt")
    order = [
        "_iterations",
        "_learning_rate",
        "_momentums/0",
        "_velocities/0",
        "_momentums/1",
        "_velocities/1",
    ]
    assert [found[f"optimizer/vars/{number}"] for number in range(6)] == [
        stored[f"optimizer/{each}"] for each in order
    ]
    graph = tb.ObjectGraph.from_nested({"layer-0": dense("dense"), "optimizer": ADAM})
    with tb.create(tmp_path / "fresh") as writer, tb.open(tmp_path / "ckpt") as checkpoint:
        for key in checkpoint:
            if "/" in key:
                writer.add(key, np.zeros_like(checkpoint[key]))
        writer.add_object_graph(graph)
    convert(tmp_path / "out.weights.h5", tmp_path / "back", to="tf2", template=tmp_path / "fresh")
    assert names(tmp_path / "back") == stored


def test_long_lists_of_names_are_split_as_keras_does(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_output, "_MAX_TEXTS", 1)
    write(tmp_path / "ckpt", MODEL)
    convert(tmp_path / "ckpt", tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        assert [list(file.attrs[f"layer_names{number}"]) for number in (0, 1)] == [
            ["layer_00000"],
            ["layer_00002"],
        ]
        assert sorted(file["layer_00000"].attrs) == ["weight_names0", "weight_names1"]
    assert diff(tmp_path / "ckpt", tmp_path / "out.h5").counts["same"] == 4


def test_that_legacy_nadam_goes_on_otherwise_is_said(tmp_path):
    summary = convert(
        GOLDEN / "optimizers" / "legacy-nadam", tmp_path / "out.weights.h5", trainable=["model/*"]
    )
    [note] = [each for each in summary.notes if "legacy Nadam" in each.what]
    assert note.keys == ("optimizer/vars/8",)


def test_optimizer_state_of_another_optimizer_is_left_out(tmp_path):
    write_with_state(tmp_path / "ckpt", ADAM)
    with h5py.File(tmp_path / "fresh.weights.h5", "w") as file:
        for path in PATHS[:2]:
            file[path] = np.zeros((2, 3), "f4")
        for number, shape in enumerate([(), (), (2, 3)]):
            file[f"optimizer/vars/{number}"] = np.zeros(shape, "f4")
    given = {"template": tmp_path / "fresh.weights.h5"}
    summary = convert(tmp_path / "ckpt", tmp_path / "out.weights.h5", **given)
    assert sorted(contents(tmp_path / "out.weights.h5")) == PATHS[:2]
    reason = "optimizer state of another optimizer: the template's optimizer has 3 variables, this one 6"
    assert {each.reason for each in summary.left_out} == {reason}
    incomplete = {**ADAM, "_velocities": {"1": "Adam/v/dense/bias"}}
    write_with_state(tmp_path / "other", incomplete)
    summary = convert(tmp_path / "other", tmp_path / "out2.weights.h5")
    assert {each.reason for each in summary.left_out} == {
        "optimizer state that some variables have and others don't have"
    }


def test_a_schedule_in_the_template_has_no_learning_rate(tmp_path):
    write_with_state(tmp_path / "ckpt", ADAM)
    with h5py.File(tmp_path / "fresh.weights.h5", "w") as file:
        for path in PATHS[:2]:
            file[path] = np.zeros((2, 3), "f4")
        for number in range(5):
            file[f"optimizer/vars/{number}"] = np.zeros((2, 3) if number else (), "f4")
    convert(tmp_path / "ckpt", tmp_path / "out.weights.h5", template=tmp_path / "fresh.weights.h5")
    found, stored = contents(tmp_path / "out.weights.h5"), names(tmp_path / "ckpt")
    assert found["optimizer/vars/1"] == stored["optimizer/_momentums/0"]
    assert "optimizer/vars/5" not in found


def test_slim_and_info_know_the_optimizer_in_a_weights_file(tmp_path):
    write_with_state(tmp_path / "ckpt", ADAM)
    convert(tmp_path / "ckpt", tmp_path / "out.weights.h5")
    assert info(tmp_path / "out.weights.h5").parameters_without_optimizer == 12
    slim(tmp_path / "out.weights.h5", tmp_path / "small.weights.h5")
    assert sorted(contents(tmp_path / "small.weights.h5")) == PATHS[:2]


def write_lost(path, shapes):
    """A checkpoint of Keras 3 without the layers of a list, whose variables the optimizer lists."""
    listed = {str(number): f"net/v{number}" for number in range(len(shapes) + 1)}
    graph = tb.ObjectGraph.from_nested(
        {
            "model": {"_tracked": {}, "first": {"_kernel": "net/kernel"}},
            "optimizer": {
                "_iterations": "steps",
                "_variables": {"0": "steps"},
                "_trainable_variables": listed,
            },
        }
    )
    trained = graph["optimizer/_trainable_variables"].children
    trained["0"] = graph["model/first/_kernel"]
    graph["optimizer/_variables"].children["0"] = graph["optimizer/_iterations"]
    graph.renumber()
    sizes = {f"net/v{number}": shape for number, shape in enumerate(shapes, 1)}
    with tb.create(path) as writer:
        for number, (_, _, each) in enumerate(graph.attributes()):
            steps = each.full_name == "steps"
            values = np.full(sizes.get(each.full_name, ()), number, "i8" if steps else "f4")
            writer.add(each.checkpoint_key, values)
        writer.add_object_graph(graph)


def write_fresh(path, groups):
    with h5py.File(path, "w") as file:
        for group, shapes in {"first": [()], **groups}.items():
            for number, shape in enumerate(shapes):
                file[f"{group}/vars/{number}"] = np.full(shape, -1, "f4")


NORMALIZED = {"blocks/dense": [(2, 3), (3,)], "blocks/batch_normalization": [(3,)] * 4}


def test_layers_that_keras_3_left_out_are_rescued(tmp_path):
    """The moments of BatchNormalization are lost; the template's stay."""
    write_lost(tmp_path / "ckpt", [(2, 3), (3,), (3,), (3,)])
    write_fresh(tmp_path / "fresh.weights.h5", NORMALIZED)
    given = {"template": tmp_path / "fresh.weights.h5", "root": "model"}
    summary = convert(tmp_path / "ckpt", tmp_path / "out.weights.h5", **given)
    kept = ("blocks/batch_normalization/vars/2", "blocks/batch_normalization/vars/3")
    assert ("not in the checkpoint, kept from the template", kept) in [
        (each.what, each.keys) for each in summary.notes
    ]
    found = contents(tmp_path / "out.weights.h5")
    assert [key for key, value in found.items() if value == -1] == list(kept)
    assert found["blocks/dense/vars/0"] + 2 == found["blocks/batch_normalization/vars/0"]
    assert any("Keras 3 left out the layers" in each for each in info(tmp_path / "ckpt").notes)
    [problem] = verify(tmp_path / "ckpt").problems
    assert (problem.kind, problem.severity) == ("left-out-layers", "warning")


def test_a_model_that_has_all_its_layers_in_lists(tmp_path):
    variables = {"0": "net/kernel", "1": "net/bias"}
    nested = {
        "model": {"_tracked": {}},
        "optimizer": {"_iterations": "steps", "_trainable_variables": variables},
    }
    graph = tb.ObjectGraph.from_nested({**nested, "_variables": {}})
    graph["optimizer"].children["_variables"] = graph.root.children.pop("_variables")
    graph["optimizer/_variables"].children["0"] = graph["optimizer/_iterations"]
    graph.renumber()
    with tb.create(tmp_path / "ckpt") as writer:
        for _, _, each in graph.attributes():
            shape = {"net/kernel": (2, 3), "net/bias": (3,)}.get(each.full_name, ())
            writer.add(each.checkpoint_key, np.full(shape, 1, "f4" if shape else "i8"))
        writer.add_object_graph(graph)
    with h5py.File(tmp_path / "fresh.weights.h5", "w") as file:
        file["blocks/dense/vars/0"], file["blocks/dense/vars/1"] = np.zeros((2, 3), "f4"), np.zeros(3, "f4")
    convert(tmp_path / "ckpt", tmp_path / "out.weights.h5", template=tmp_path / "fresh.weights.h5")
    found = contents(tmp_path / "out.weights.h5")
    assert {key: value for key, value in found.items() if "optimizer" not in key} == {
        "blocks/dense/vars/0": 1,
        "blocks/dense/vars/1": 1,
    }


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ({"blocks/dense": [(2, 3)]}, TensorNotFoundError, "no ways to tell which of the 2 variables"),
        (
            {"blocks/dense": [(3,)], "blocks/scale": [(3,)]},
            ConflictError,
            "2 ways to tell which of the 2 variables",
        ),
    ],
)
def test_layers_that_can_not_be_told_are_not_rescued(groups, error, message, tmp_path):
    write_lost(tmp_path / "ckpt", [(3,), (3,)])
    write_fresh(tmp_path / "fresh.weights.h5", groups)
    given = {"template": tmp_path / "fresh.weights.h5", "root": "model"}
    with pytest.raises(error, match=message):
        convert(tmp_path / "ckpt", tmp_path / "out.weights.h5", **given)


def test_name_based_tensors_need_the_names_of_datasets(tmp_path):
    with tb.create(tmp_path / "ckpt") as writer:
        writer.add("dense/kernel", np.zeros((2, 3), "f4"))
        writer.add("dense/bias", np.zeros(3, "f4"))
    with pytest.raises(
        ConflictError, match=r"names such as 'layers/dense/vars/0', not 'dense/kernel', 'dense/bias'"
    ):
        convert(tmp_path / "ckpt", tmp_path / "out.weights.h5")
    rules = {"dense/kernel": "layers/dense/vars/0", "dense/bias": "layers/dense/vars/1"}
    convert(tmp_path / "ckpt", tmp_path / "out.weights.h5", map=rules)
    assert sorted(contents(tmp_path / "out.weights.h5")) == PATHS[:2]


def test_the_template_must_be_of_the_same_model(tmp_path):
    write(tmp_path / "ckpt", MODEL)
    convert(tmp_path / "ckpt", tmp_path / "out.weights.h5")
    write(tmp_path / "other", {"layer-0": dense("dense")})
    with pytest.raises(BundleError):
        convert(tmp_path / "out.weights.h5", tmp_path / "back", to="tf2", template=tmp_path / "other")
    assert not list(tmp_path.glob("back*"))


def test_every_conflict_of_types_is_listed(tmp_path):
    write(tmp_path / "ckpt", {"layer-0": dense("dense"), "layer-1": dense("dense_1")})
    convert(tmp_path / "ckpt", tmp_path / "m.weights.h5")
    cast(tmp_path / "ckpt", tmp_path / "half", {"*kernel*": "float16"})
    with pytest.raises(
        ConflictError, match=r"vars/0' is .*, the template has .*dense_1/vars/0' is .*; cast or reshape"
    ):
        convert(tmp_path / "m.weights.h5", tmp_path / "back", to="tf2", template=tmp_path / "half")
