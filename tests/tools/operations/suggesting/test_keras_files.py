"""Maps with a file of Keras weights on one side."""

import numpy as np
import pytest

import tensorbundle as tb
from support.rewriting import write as write_checkpoint
from tensorbundle.proto.graph import ObjectGraph
from tensorbundle.tools import suggest
from tensorbundle.tools.cli import main

h5py = pytest.importorskip("h5py")

VARIABLES = {
    "stem/kernel": (3, 3, 3, 4),
    "stem/bias": (4,),
    "norm/gamma": (4,),
    "norm/beta": (4,),
    "norm/moving_mean": (4,),
    "norm/moving_variance": (4,),
    "second/kernel": (3, 3, 3, 4),
    "head/kernel": (4, 2),
    "head/bias": (2,),
}
PLACES = {
    "stem/kernel": "layers/conv2d/vars/0",
    "stem/bias": "layers/conv2d/vars/1",
    "norm/gamma": "layers/batch_normalization/vars/0",
    "norm/beta": "layers/batch_normalization/vars/1",
    "norm/moving_mean": "layers/batch_normalization/vars/2",
    "norm/moving_variance": "layers/batch_normalization/vars/3",
    "second/kernel": "layers/conv2d_1/vars/0",
    "head/kernel": "layers/dense/vars/0",
    "head/bias": "layers/dense/vars/1",
}


def write_weights(path, *, names=True, state=True):
    """A file that Keras might have written; the values say nothing."""
    with h5py.File(path, "w") as file:
        for name, place in PLACES.items():
            file[place] = np.zeros(VARIABLES[name], "f4")
            if names:
                file[place.rpartition("/")[0]].attrs["name"] = name.partition("/")[0]
        if state:
            file["optimizer/vars/0"], file["optimizer/vars/1"] = np.int64(3), np.float32(0.1)
    return path


def write_names(path, names=VARIABLES):
    with tb.create(path) as writer:
        for name, shape in zip(names, VARIABLES.values(), strict=True):
            writer.add(name, np.ones(shape, "f4"))
    return path


def write_objects(path):
    """What tf_keras stores of the same model."""
    layers = {}
    for number, layer in enumerate(dict.fromkeys(name.partition("/")[0] for name in VARIABLES)):
        inside = [name.partition("/")[2] for name in VARIABLES if name.startswith(f"{layer}/")]
        layers[f"layer-{number}"] = {each: f"{layer}/{each}" for each in inside}
    graph = ObjectGraph.from_nested(layers)
    keys = [each.checkpoint_key for _, _, each in graph.attributes()]
    shapes = [VARIABLES[each.full_name] for _, _, each in graph.attributes()]
    write_checkpoint(
        path, {key: np.ones(shape, "f4") for key, shape in zip(keys, shapes, strict=True)}, graph=graph
    )
    return path


def pairs(found):
    return {each.old: each.new for each in found.matches if each.confidence != "possible"}


def test_names_of_layers_tell_the_places(tmp_path):
    names, weights = write_names(tmp_path / "names"), write_weights(tmp_path / "fresh.weights.h5")
    there, back = suggest(names, weights), suggest(weights, names)
    assert pairs(there) == PLACES
    assert pairs(back) == {place: name for name, place in PLACES.items()}
    assert (there.use, there.to_weights, back.to_weights) == ("rename", True, False)
    assert [name for name, _ in there.left_new] == ["optimizer/vars/0", "optimizer/vars/1"]


def test_the_map_is_of_use(tmp_path, capsys):
    write_names(tmp_path / "names")
    write_weights(tmp_path / "fresh.weights.h5")
    paths = [str(tmp_path / name) for name in ("names", "fresh.weights.h5", "map", "out.weights.h5")]
    assert main(["suggest", *paths[:2], "-o", paths[2]]) == 0
    assert "DST.weights.h5 --map" in (tmp_path / "map").read_text()
    assert main(["rename", paths[0], paths[3], "--map", paths[2]]) == 0
    with tb.open(paths[3]) as made, tb.open(paths[1]) as fresh:
        assert {key: made[key].shape for key in made} == {
            key: fresh[key].shape for key in fresh if not key.startswith("optimizer/")
        }
    assert "9 renamed" in capsys.readouterr().out


def test_groups_are_called_as_layers_are_by_default(tmp_path):
    """Before 3.6, Keras did not store names of layers."""
    weights = write_weights(tmp_path / "fresh.weights.h5", names=False)
    automatic = {"stem": "conv2d", "norm": "batch_normalization", "second": "conv2d_1", "head": "dense"}
    names = {f"{automatic[layer]}/{rest}": name for name in VARIABLES for layer, rest in [name.split("/")]}
    write_names(tmp_path / "names", names)
    assert pairs(suggest(tmp_path / "names", weights)) == {new: PLACES[name] for new, name in names.items()}


def test_objects_are_matched_as_convert_matches_them(tmp_path, capsys):
    objects, weights = (
        write_objects(tmp_path / "old"),
        write_weights(tmp_path / "fresh.weights.h5", state=False),
    )
    there, back = suggest(objects, weights), suggest(weights, objects)
    assert there.use, back.use == ("to-weights", "from-weights")
    assert len(pairs(there)) == len(PLACES)
    assert pairs(there)["layer-2/kernel"] == "layers/conv2d_1/vars/0"
    assert pairs(back) == {new: old for old, new in pairs(there).items()}
    assert main(["suggest", str(objects), str(weights)]) == 0
    assert f"convert {objects} DST.weights.h5 --template {weights}\n" in capsys.readouterr().out
    assert main(["suggest", str(weights), str(objects)]) == 0
    assert f"convert {weights} DST --to tf2 --template {objects}\n" in capsys.readouterr().out


def test_models_that_differ_are_compared_by_names(tmp_path, capsys):
    objects, weights = (
        write_objects(tmp_path / "old"),
        write_weights(tmp_path / "fresh.weights.h5", state=False),
    )
    with h5py.File(weights, "a") as file:
        del file["layers/conv2d_1"]
    found = suggest(objects, weights)
    assert found.use == "rename-converted"
    assert pairs(found)["layer-0/kernel"] == "layers/conv2d/vars/0"
    assert main(["suggest", str(objects), str(weights)]) == 0
    assert "convert --template says: the layers in 'layers'" in capsys.readouterr().out


def test_two_files_of_weights(tmp_path):
    one, other = write_weights(tmp_path / "a.weights.h5"), write_weights(tmp_path / "b.weights.h5")
    found = suggest(one, other)
    assert found.counts["unchanged"] == len(PLACES) + 2
    assert not found.rules
