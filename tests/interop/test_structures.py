"""Structure files: `tf.train.Checkpoint` restores lists by order, dictionaries by key and renamed variables, all of them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.contents import assert_same_files
from support.tensorflow import described, other_values, save_raw, tensor, tf
from tensorbundle.tools import TransferOptions, convert
from tensorbundle.tools.cli import main

SHAPES = {
    "layer_0/kernel": (3, 2),
    "layer_0/bias": (2,),
    "layer_1/kernel": (2, 2),
    "layer_1/bias": (2,),
    "a.b/c": (),
    "global_step": (),
}
VALUES = {
    name: tensor(np.random.default_rng(number).normal(size=shape).astype("f4"))
    for number, (name, shape) in enumerate(SHAPES.items())
}
STRUCTURES = {
    "list": {"variables": list(VALUES)},
    "dictionary": {"variables": {name.upper(): name for name in VALUES}},
    "renamed": {f"v{10 - number}": name for number, name in enumerate(VALUES)},
    "nested": {
        "step": "global_step",
        "model": {
            "layers": [
                {"kernel": "layer_0/kernel", "bias": "layer_0/bias"},
                ["layer_1/kernel", "layer_1/bias"],
            ],
            "x.y/z": {"$$": "a.b/c"},
        },
    },
}


def program(structure, variables):
    """What is handed to `tf.train.Checkpoint`, with fresh variables; these come into the list, each with its name."""
    if isinstance(structure, str):
        variables.append((structure, other_values(described(VALUES[structure]), name=structure)))
        return variables[-1][1]
    if isinstance(structure, list):
        return [program(each, variables) for each in structure]
    return {name.removeprefix("$"): program(each, variables) for name, each in structure.items()}


def restored(structure, prefix):
    """A program of this structure restores the checkpoint, with nothing missing and nothing left."""
    variables = []
    checkpoint = tf.train.Checkpoint(**program(structure, variables))
    status = checkpoint.restore(str(prefix))
    status.assert_consumed()
    status.assert_existing_objects_matched()
    assert variables
    for name, each in variables:
        assert described(each) == described(VALUES[name])
    return checkpoint


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The variables by names, and in another structure."""
    folder = tmp_path_factory.mktemp("sources")
    save_raw(folder / "names", *((name, "", value) for name, value in VALUES.items()))
    variables = {name: tf.Variable(value, name=name) for name, value in VALUES.items()}
    return {
        "names": folder / "names",
        "objects": tf.train.Checkpoint(parts=list(variables.values())).save(folder / "objects"),
    }


@pytest.mark.parametrize("kind", ["names", "objects"])
@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("data", ["share", "copy"])
def test_structure(name, kind, data, sources, tmp_path):
    (tmp_path / "structure.json").write_text(json.dumps(STRUCTURES[name]))
    arguments = [
        "convert",
        sources[kind],
        tmp_path / "out-6",
        "--to",
        "tf2",
        "--structure",
        tmp_path / "structure.json",
    ]
    assert main([*map(str, arguments), "--data", data]) == 0
    checkpoint = restored(STRUCTURES[name], tmp_path / "out-6")
    assert checkpoint.save_counter == 6
    assert checkpoint.save(str(tmp_path / "next")).endswith("next-7")


@pytest.mark.parametrize("name", STRUCTURES)
def test_copied_bytes_are_those_of_checkpoint_save(name, sources, tmp_path):
    """Objects in TensorFlow's order, and variables with the names that they had."""
    (tmp_path / "structure.json").write_text(json.dumps(STRUCTURES[name]))
    structure, copy = tmp_path / "structure.json", TransferOptions(data="copy")
    convert(sources["names"], tmp_path / "ours-1", to="tf2", structure=structure, options=copy)
    variables = []
    objects = program(STRUCTURES[name], variables)
    for each, variable in variables:
        variable.assign(VALUES[each])
    theirs = tf.train.Checkpoint(**objects).save(str(tmp_path / "theirs"))
    assert_same_files(tmp_path / "ours-1", theirs)


def test_toml(sources, tmp_path):
    (tmp_path / "structure.toml").write_text(
        """
        [model]
        layers = [{ kernel = "layer_0/kernel", bias = "layer_0/bias" }, ["layer_1/kernel", "layer_1/bias"]]
        x = { "$name" = "a.b/c", "$dtype" = "float32", "$shape" = [] }
        """
    )
    options = {"structure": tmp_path / "structure.toml", "allow_unused": True, "save_counter": False}
    summary = convert(sources["names"], tmp_path / "out", to="tf2", **options)
    assert [each.key for each in summary.left_out] == ["global_step"]
    variables = []
    structure = {"model": STRUCTURES["nested"]["model"] | {"x": "a.b/c"}}
    del structure["model"]["x.y/z"]
    tf.train.Checkpoint(**program(structure, variables)).read(str(tmp_path / "out")).assert_consumed()
    assert all(described(each) == described(VALUES[name]) for name, each in variables)


def structures():
    inner = st.recursive(
        st.sampled_from(list(VALUES)),
        lambda each: st.one_of(
            st.lists(each, max_size=3),
            st.dictionaries(st.sampled_from(["a", "b.c", "d/e", "f"]), each, max_size=3),
        ),
        max_leaves=8,
    )
    return st.dictionaries(st.sampled_from(["p", "q", "r"]), inner, min_size=1, max_size=3)


@given(structure=structures().filter(lambda each: any(map(has_variables, each.values()))))
def test_any_structure(structure, sources, tmp_path_factory):
    """Also with one variable in several places."""
    folder = tmp_path_factory.mktemp("any")
    (folder / "s").write_text(json.dumps(structure))
    convert(sources["names"], folder / "out", to="tf2", structure=folder / "s", allow_unused=True)
    restored(structure, folder / "out")


def has_variables(structure):
    if isinstance(structure, str):
        return True
    return any(map(has_variables, structure if isinstance(structure, list) else structure.values()))
