"""From object graphs as tf_keras and Keras 3 store them to the paths of a weights file."""

import json

import pytest

from support.keras_layers import NORM, dense, layer
from support.metadata import described, field, keras_metadata
from tensorbundle.errors import BundleError, ConflictError, CorruptionError, UnsupportedError
from tensorbundle.proto.graph import ObjectGraph
from tensorbundle.tools.keras.classes import Classes, parse_config, parse_keras_metadata, parse_saved_model
from tensorbundle.tools.keras.layers import find_model, read_layers, written_by_keras_3
from tensorbundle.tools.keras.weights import Ordering, weights_of


def paths(nested, classes=None, root=None, **ordering):
    graph = ObjectGraph.from_nested(nested)
    path, node = find_model(graph, root)
    found = weights_of(read_layers(path, node), classes or Classes(), Ordering(**ordering))
    return {each.path: each.variable.key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE") for each in found}


SEQUENTIAL = {
    "layer-0": dense("dense"),
    "layer-1": {},
    "layer-2": dense("dense_1"),
    "layer-3": layer("batch_normalization", *NORM),
}


def test_a_sequential_model():
    assert paths(SEQUENTIAL) == {
        "layers/dense/vars/0": "layer-0/kernel",
        "layers/dense/vars/1": "layer-0/bias",
        "layers/dense_1/vars/0": "layer-2/kernel",
        "layers/dense_1/vars/1": "layer-2/bias",
        "layers/batch_normalization/vars/0": "layer-3/gamma",
        "layers/batch_normalization/vars/1": "layer-3/beta",
        "layers/batch_normalization/vars/2": "layer-3/moving_mean",
        "layers/batch_normalization/vars/3": "layer-3/moving_variance",
    }


def test_the_model_is_found():
    assert paths({"model": SEQUENTIAL, "save_counter": "save_counter"}).keys() == paths(SEQUENTIAL).keys()
    assert paths({"a": SEQUENTIAL, "b": {"w": "w"}}, root="a").keys() == paths(SEQUENTIAL).keys()
    with pytest.raises(ConflictError, match=r"several models: 'a', 'b'; say which \(--root PATH\)"):
        paths({"a": SEQUENTIAL, "b": SEQUENTIAL})


def test_trained_variables_come_first():
    norm = layer("batch_normalization", "moving_mean", "gamma", "moving_variance", "beta")
    assert list(paths({"layer-0": norm}).values()) == [
        f"layer-0/{each}" for each in ("gamma", "beta", "moving_mean", "moving_variance")
    ]


def test_wrappers_and_recurrent_layers():
    nested = {
        "layer-0": {},
        "layer-1": {
            "forward_layer": {"cell": layer("bidirectional/forward_lstm/lstm_cell", "kernel", "bias")},
            "backward_layer": {"cell": layer("bidirectional/backward_lstm/lstm_cell", "kernel", "bias")},
        },
        "layer-2": {"cell": layer("gru/gru_cell", "kernel", "recurrent_kernel", "bias")},
        "layer-3": {"layer": layer("time_distributed", "kernel", "bias")},
        "layer-4": {
            "cell": {
                "cells": {
                    "0": layer("rnn/stacked_rnn_cells/lstm_cell", "kernel"),
                    "1": layer("rnn/stacked_rnn_cells/gru_cell", "kernel"),
                }
            }
        },
        "layer-5": {"_query_dense": layer("mine/query", "kernel"), "_key_dense": layer("mine/key", "kernel")},
    }
    assert list(paths(nested)) == [
        "layers/bidirectional/forward_layer/cell/vars/0",
        "layers/bidirectional/forward_layer/cell/vars/1",
        "layers/bidirectional/backward_layer/cell/vars/0",
        "layers/bidirectional/backward_layer/cell/vars/1",
        "layers/gru/cell/vars/0",
        "layers/gru/cell/vars/1",
        "layers/gru/cell/vars/2",
        "layers/time_distributed/layer/vars/0",
        "layers/time_distributed/layer/vars/1",
        "layers/rnn/cell/cells/lstm_cell/vars/0",
        "layers/rnn/cell/cells/gru_cell/vars/0",
        "layers/multi_head_attention/_query_dense/vars/0",
        "layers/multi_head_attention/_key_dense/vars/0",
    ]


def test_a_subclassed_model_has_the_groups_of_its_attributes():
    nested = {
        "stem": dense("my_stem"),
        "blocks": {
            "0": dense("net/dense"),
            "1": layer("net/batch_normalization", *NORM),
            "2": dense("net/dense_1"),
        },
        "_tail": dense("tail"),
        "scale": "net/scale",
    }
    found = paths(nested, told=lambda variable: True)
    assert [each for each in found if each.endswith("/0")] == [
        "vars/0",
        "stem/vars/0",
        "blocks/dense/vars/0",
        "blocks/batch_normalization/vars/0",
        "blocks/dense_1/vars/0",
        "_tail/vars/0",
    ]


def test_what_may_be_a_dictionary_is_stored_as_that_too():
    nested = {"by": {"z": layer("net/dense", "kernel"), "a": layer("net/dense_1", "kernel")}}
    assert paths(nested) == {
        "by/z/vars/0": "by/z/kernel",
        "by/a/vars/0": "by/a/kernel",
        "by/dense/vars/0": "by/z/kernel",
        "by/dense_1/vars/0": "by/a/kernel",
    }


def test_keras_3_counts_the_input_layer():
    def operations(*layers):
        return {"_operations": {str(number): each for number, each in enumerate(({}, *layers))}}

    kernel = {"_kernel": "dense/kernel", "bias": "dense/bias"}
    functional, sequential = operations(kernel), {"_functional": operations(kernel), "_tracked": {}}
    assert written_by_keras_3(ObjectGraph.from_nested(functional).root)
    assert not written_by_keras_3(ObjectGraph.from_nested(SEQUENTIAL).root)
    for nested in (functional, sequential):
        assert list(paths({"model": nested}, root="model")) == ["layers/dense/vars/0", "layers/dense/vars/1"]
    both = operations(functional, sequential)
    assert [each for each in paths({"model": both}) if each.endswith("/0")] == [
        "layers/functional/layers/dense/vars/0",
        "layers/sequential/layers/dense/vars/0",
    ]


def test_shared_layers_are_stored_once():
    graph = ObjectGraph.from_nested({"layer-0": dense("dense"), "layer-1": {}})
    graph.root.children["again"] = graph.root.children["layer-0"]
    found = weights_of(read_layers("", graph.root), Classes(), Ordering())
    assert [each.path for each in found] == ["layers/dense/vars/0", "layers/dense/vars/1"]


NAMED = {"layer-0": {}, "layer-1": dense("left"), "layer-2": {"layer-0": {}, "layer-1": dense("dense")}}


def test_classes_that_are_not_known_are_refused_with_what_is_known():
    with pytest.raises(ConflictError) as caught:
        paths(NAMED)
    assert "'layer-1' (left/kernel, left/bias); 'layer-2' (Functional or Sequential)" in str(caught.value)
    assert "--config model.json" in str(caught.value)


def config(name, *layers, kind="Functional"):
    inner = [
        {"class_name": each, "config": {"name": f"n{number}"}} if isinstance(each, str) else each
        for number, each in enumerate(layers)
    ]
    return {"class_name": kind, "config": {"name": name, "layers": inner}}


INNER = config("inner", "InputLayer", "InputLayer", "EinsumDense", kind="Sequential")
NAMED_CONFIG = config("m", "InputLayer", "pack>Left", config("inner", "InputLayer", "Dense"))


def test_classes_from_a_config():
    classes = Classes(parse_config(json.dumps(NAMED_CONFIG).encode(), "m.json"), config_path="m.json")
    assert [each for each in paths(NAMED, classes) if each.endswith("/0")] == [
        "layers/left/vars/0",
        "layers/functional/layers/dense/vars/0",
    ]
    without_class = json.dumps(NAMED_CONFIG["config"] | {"input_layers": []}).encode()
    assert parse_config(without_class, "m.json").class_name == "Functional"
    assert len(parse_config(json.dumps(INNER).encode(), "m.json").layers) == 1
    with pytest.raises(
        BundleError, match=r"m.json: the config describes 3 layers of 'the model', the checkpoint has 4"
    ):
        paths(SEQUENTIAL, classes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no list of layers"),
        (b'{"class_name": "Net", "config": {}}', "no list of layers"),
    ],
)
def test_configs_that_are_none(content, message):
    with pytest.raises(CorruptionError, match=f"m.json: .*{message}"):
        parse_config(content, "m.json")


def test_classes_from_a_saved_model():
    graph = ObjectGraph.from_nested(NAMED)
    saved = [
        ("root.layer-1", "Left"),
        ("root.layer-2", "Functional"),
        ("root.layer-2.layer-1", "Dense"),
        ("root.nothing", "X"),
    ]
    content = keras_metadata({path: described(name) for path, name in saved})
    classes = Classes(by_node=parse_keras_metadata(content, graph.root, "keras_metadata.pb"))
    found = weights_of(read_layers("", graph.root), classes, Ordering())
    assert {each.path for each in found if each.path.endswith("/0")} == {
        "layers/left/vars/0",
        "layers/functional/layers/dense/vars/0",
    }
    assert {each.how for each in found} == {"by the class in the SavedModel"}
    with pytest.raises(CorruptionError, match=r"not a keras_metadata.pb"):
        parse_keras_metadata(b"\xff", graph.root, "keras_metadata.pb")


def test_classes_from_the_graph_of_an_old_saved_model():
    graph = ObjectGraph.from_nested({"layer-1": dense("left")})

    def edge(number, name):
        return field(1, b"\x08" + bytes([number]) + field(2, name))

    root = edge(1, b"layer-1") + edge(9, b"gone")
    left = field(4, field(1, b"_tf_keras_layer") + field(3, json.dumps(described("Left")).encode()))
    content = field(2, field(7, field(1, root) + field(1, left)))
    found = parse_saved_model(content, graph.root, "saved_model.pb")
    assert found == {graph.root.children["layer-1"]: "Left"}
    assert parse_saved_model(b"", graph.root, "saved_model.pb") == {}
    with pytest.raises(CorruptionError, match=r"not a saved_model.pb"):
        parse_saved_model(b"\xff", graph.root, "saved_model.pb")


def test_variables_whose_order_is_not_known():
    nested = {"block": {"w": "block/w", "count_of": "block/count_of"}, "stem": {"kernel": "stem/kernel"}}
    with pytest.raises(
        ConflictError, match=r"key 'block': which of the variables 'w', 'count_of' are trained is not known"
    ):
        paths(nested)
    with pytest.raises(
        ConflictError, match=r"^which of the variables 'a/v', 'a/w', 'b/x', 'b/y' are trained"
    ):
        paths({"a": {"v": "v", "w": "w"}, "b": {"x": "x", "y": "y"}})
    assert list(paths(nested, told=lambda variable: variable.name == "count_of").values()) == [
        "block/count_of",
        "block/w",
        "stem/kernel",
    ]


def test_layers_inside_layers_without_end():
    nested = {"w": "w"}
    for _ in range(200):
        nested = {"a": nested, "b": {"kernel": "k"}}
    with pytest.raises(UnsupportedError, match="more than 100 deep"):
        paths(nested)
