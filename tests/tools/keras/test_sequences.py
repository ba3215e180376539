"""The order of weights where only that tells which they are, in tf_keras and Keras 3."""

from collections import defaultdict

import pytest

from support.keras_layers import NORM, block, dense, layer
from tensorbundle.errors import ConflictError, UnsupportedError
from tensorbundle.proto.graph import ObjectGraph
from tensorbundle.tools.keras.layers import read_layers
from tensorbundle.tools.keras.sequences import (
    as_listed,
    legacy_groups,
    legacy_layers,
    legacy_writer,
    variables_of,
)
from tensorbundle.tools.keras.weights import Ordering

SHAPES = defaultdict(lambda: (4,))  # all are equal


def test_a_legacy_file_needs_no_classes():
    inner = {
        "layer-0": dense("dense"),
        "layer-1": layer("batch_normalization", *NORM),
        "layer-2": dense("dense_1"),
    }
    graph = ObjectGraph.from_nested({"layer-0": {}, "layer-1": dense("left"), "layer-2": inner})
    groups = legacy_groups(read_layers("", graph.root), Ordering(), SHAPES)
    assert [(each.name, [variable.name for variable in each.variables]) for each in groups] == [
        ("layer_00001", ["kernel", "bias"]),
        (
            "layer_00002",
            ["kernel", "bias", "gamma", "beta", "kernel", "bias", "moving_mean", "moving_variance"],
        ),
    ]
    graph = ObjectGraph.from_nested({"d": dense("dense"), "scale": "net/scale"})
    with pytest.raises(UnsupportedError, match=r"the model itself has variables \('scale'\)"):
        legacy_groups(read_layers("", graph.root), Ordering(), SHAPES)


def legacy(nested, version=None, shapes=SHAPES, **given):
    """The paths of the layers that variables named `kernel` are of, in the order of a legacy file."""
    graph = ObjectGraph.from_nested(nested)
    groups = legacy_groups(read_layers("", graph.root), Ordering(), shapes, version=version, **given)
    keys = [variable.key for group in groups for variable in group.variables if variable.name == "kernel"]
    return [key.removesuffix("/kernel/.ATTRIBUTES/VARIABLE_VALUE") for key in keys]


def kernel(name):
    return layer(name, "kernel")


HEADS = {"z": kernel("net/dense"), "a": kernel("net/dense_1")}
DICTIONARIES = {
    "of a model": ({"heads": HEADS, "stem": kernel("net/dense_2")}, "heads", ["stem"]),
    "of a layer": (
        {
            "block": {
                "stem": kernel("net/b/stem"),
                "by": {"z": kernel("net/b/dense"), "a": kernel("net/b/dense_1")},
            }
        },
        "block/by",
        [],
    ),
}


@pytest.mark.parametrize("name", DICTIONARIES)
def test_tf_keras_sorts_dictionaries(name):
    nested, path, after = DICTIONARIES[name]
    before = ["block/stem"] if not after else []
    assert legacy(nested, 3) == [*before, f"{path}/z", f"{path}/a", *after]
    assert legacy(nested, 2) == [*before, f"{path}/a", f"{path}/z", *after]
    with pytest.raises(
        ConflictError, match=rf"'{path}/z/kernel/.*, which may be in a dictionary, .*--keras 2 or --keras 3"
    ):
        legacy(nested)
    shapes = {f"{path}/z/kernel/.ATTRIBUTES/VARIABLE_VALUE": (3,)}
    assert legacy(nested, shapes=shapes) == legacy(nested, 3)  # the wrong order is an error of Keras's loader


@pytest.mark.parametrize("version", [None, 2])
def test_a_layer_or_a_dictionary_of_variables(version):
    """tf_keras has variables that are in a dictionary in the order of its keys, too."""

    def names(nested, version):
        graph = ObjectGraph.from_nested({"outer": {"w": "net/outer/w", "e": nested}})
        every = Ordering(lambda variable: True)
        groups = legacy_groups(read_layers("", graph.root), every, SHAPES, version=version)
        return [variable.name for group in groups for variable in group.variables]

    variables = layer("net/outer", "y", "b")
    with pytest.raises(
        ConflictError, match=r"'outer/e/y/.*may be in a dictionary|in a dictionary, or of layers"
    ):
        names(variables, version)
    assert names(variables, 3) == ["w", "y", "b"]
    assert names(layer("net/outer", "b", "y"), version) == ["w", "b", "y"]
    assert names(layer("net/outer/e", "y", "b"), version) == ["w", "y", "b"]
    assert names(layer("net/outer", "gamma", "beta"), version) == ["w", "gamma", "beta"]


def test_what_may_be_a_dictionary_or_a_layer():
    built_by_hand = {"block": {"z": kernel(""), "a": kernel("")}}
    nested = {"block": {"own": "net/block/own", **built_by_hand}}
    assert legacy(nested, 3) == ["block/block/z", "block/block/a"]
    for version in (None, 2):
        with pytest.raises(ConflictError, match=r"block/block/[az]/kernel.*(dictionary|dictionaries)"):
            legacy(nested, version)


def in_turn(*names):
    """Two lists that are filled in turn, of layers with these names."""
    return {
        "p": {"0": kernel(names[0]), "1": kernel(names[2])},
        "q": {"0": kernel(names[1]), "1": kernel(names[3])},
    }


def test_lists_that_may_have_been_filled_in_turn():
    stored = ["p/0", "p/1", "q/0", "q/1"]
    assert legacy(in_turn("m/dense", "m/dense_2", "m/dense_1", "m/dense_3")) == stored
    contradicted = in_turn("m/dense", "m/dense_1", "m/dense_2", "m/dense_3")
    assert legacy(contradicted, 2) == stored
    for version in (None, 3):
        with pytest.raises(ConflictError, match=r"'p/0', 'p/1', 'q/0', 'q/1' is not known: the numbers"):
            legacy(contradicted, version, as_stored=True)
    named = in_turn("m/a", "m/b", "m/c", "m/d")
    assert legacy(named, 2) == legacy(named, 3, as_stored=True) == stored
    for version in (None, 3):
        with pytest.raises(
            ConflictError, match=r"when they were added to their lists; say that it has \(--keras 3\)"
        ):
            legacy(named, version)


def test_lists_of_which_the_order_is_known():
    blocks = {"0": block("m/one"), "1": block("m/two")}
    nested = {"before": kernel("m/x"), "list": {"0": kernel("m/y"), "1": kernel("m/w")}, "blocks": blocks}
    assert legacy(nested) == [
        "before",
        "list/0",
        "list/1",
        *(f"blocks/{n}/inner/{k}" for n in (0, 1) for k in (0, 1)),
    ]
    with pytest.raises(ConflictError, match=r"'list/0', 'list/1', 'after' have equal shapes"):
        legacy(nested | {"after": kernel("m/z")})


def test_variables_of_the_model_itself_are_last_in_tf_keras():
    graph = ObjectGraph.from_nested({"scale": "net/scale", "heads": HEADS, "stem": kernel("net/stem")})

    def order(version):
        found = variables_of(read_layers("", graph.root), version)
        return [each.key.partition("/.ATTRIBUTES")[0].removesuffix("/kernel") for each in found]

    assert order(3) == ["scale", "heads/z", "heads/a", "stem"]
    assert order(2) == ["heads/a", "heads/z", "stem", "scale"]


def test_the_order_in_which_variables_were_made():
    """An optimizer of Keras 3 lists them in it; attributes may have been set in another one."""
    graph = ObjectGraph.from_nested({"a": layer("a", "u", "v"), "b": layer("b", "w"), "c": layer("c", "x")})
    model = read_layers("", graph.root)
    u, v, w, x = (each.key for each in variables_of(model, 3))
    for listed in ([v, u, w], [u, v, w, x], [w, x], ["other", v, u]):
        assert as_listed(model, listed) == listed
    assert as_listed(model, [w, v, u]) == ()
    ordering = Ordering(lambda variable: True, made=[v, u, w])
    assert [each.name for each in ordering.order(model.parts["a"])] == ["v", "u"]
    assert [each.name for each in ordering.order(model.parts["c"])] == ["x"]


def test_long_attributes_are_in_several():
    attributes = {
        "": {"layer_names0": ["a"], "layer_names1": ["b"], "keras_version": "2.11.0"},
        "a": {"weight_names0": ["x"], "weight_names1": ["y"]},
        "b": {"weight_names": []},
    }
    assert legacy_layers(attributes) == [["a/x", "a/y"]]
    assert legacy_writer(attributes) == 2
    whole = {
        "model_weights": {"layer_names": ["a"], "keras_version": "3.3.0"},
        "model_weights/a": {"weight_names": ["x"]},
    }
    assert legacy_layers(whole) == [["model_weights/a/x"]]
    assert legacy_writer(whole) == 3
    assert (legacy_layers({}), legacy_writer({"": {"layer_names": ["a"]}})) == (None, None)
