"""The object graphs of other people's checkpoints, TensorFlow 2.0 to 2.15: what is told of them, in every form."""

import json
from collections import Counter

import pytest

import tensorbundle as tb
from support.corpus import ROWS, THIRD_PARTY
from tensorbundle.tools.cli import main
from tensorbundle.tools.operations.inspecting.hints import Tensors, hints

LEGACY = "Keras legacy optimizer"
EITHER = "Keras 2 functional or Sequential model"
# Some objects of each; their programs, or the kinds in a SavedModel beside them, say that it is so.
OBJECTS = {
    "Binjian__eos/tf_ckpts-manager-2021-04/ckpt-5": {
        "": "tf.train.Checkpoint",
        "net": EITHER,
        "optimizer": LEGACY,
    },
    "ByeongjunCho__tf2-TIL/training_1-missing-shard1/cp.ckpt": {"": EITHER, "optimizer": LEGACY},
    "ganatma__PINNs_Adaptive_thermal/tf_ckpts-2022-06/ckpt-3332": {
        "iterator": "dataset iterator",
        "net": "Keras 2 Sequential model",
        "optimizer": LEGACY,
    },
    "jhonatantirado__DemoTensorFlow/weights-2019-05-29/my_model": {
        "": "Keras Sequential",
        "layer-0": "Keras InputLayer",
        "layer-1": "Keras Flatten",
        "layer_with_weights-0": "Keras Dense",
        "layer-3": "Keras Dropout",
    },
    "tensorflow__rust/keras-multi-input-sm-2024/variables/variables": {
        "": EITHER,
        "optimizer": LEGACY,
        "keras_api/metrics/0": "Keras 2 object",
    },
    "tensorflow__rust/regression-sm-tf2-2024/variables/variables": {"optimizer": LEGACY},
    "tensorflow__serving/tf_text_regression-sm-current/variables/variables": {
        "wp_vocab_table": "static lookup table",
        "call": "function",
        "call/trace_0": "concrete function",
    },
    "tensorflow__tfx/tft_tf2-sm/variables/variables": {"resources/0": "static lookup table"},
    "tensorforce__tensorforce/ppo-2021-04/ppo-checkpoint-1": {"": "tf.train.Checkpoint"},
    "twrzeszcz__sentiment-analysis-heroku/vectorizer-sm-2021/variables/variables": {
        "layer_with_weights-0/_index_lookup_layer/_table": "lookup table",
    },
}


def readable(path):
    try:
        with tb.open(THIRD_PARTY / path) as ckpt:
            return ckpt.object_graph is not None
    except tb.BundleError:
        return False


GRAPHS = [path for path, row in ROWS.items() if row["has_object_graph"] == "yes" and readable(path)]


def test_nothing_is_missing():
    assert len(GRAPHS) == 30
    assert OBJECTS.keys() <= set(GRAPHS)


@pytest.mark.parametrize("path", GRAPHS)
def test_every_form(path, capsys):
    def printed(form):
        assert main(["graph", str(THIRD_PARTY / path), "--format", form]) == 0
        out, err = capsys.readouterr()
        assert (bool(out), err) == (True, "")
        return out

    records = [json.loads(line) for line in printed("json").splitlines()]
    assert all(record["hint"] for record in records if record["attributes"])
    slots = sum(len(record["slots"]) for record in records)
    assert printed("tree").count(" (slot of #") == slots
    assert printed("dot").count("style=dashed") == printed("mermaid").count("-.->") == slots


@pytest.mark.parametrize("path", OBJECTS)
def test_objects(path):
    with tb.open(THIRD_PARTY / path) as ckpt:
        graph = ckpt.object_graph
        found = hints(ckpt, graph, Tensors(dict(ckpt.entries())))
    assert {each: found.get(graph[each]) for each in OBJECTS[path]} == OBJECTS[path]


@pytest.mark.parametrize("path", GRAPHS)
def test_optimizers_are_all_found(path):
    """By their edges, as everywhere here before there were hints."""
    with tb.open(THIRD_PARTY / path) as ckpt:
        graph = ckpt.object_graph
        found = hints(ckpt, graph, Tensors(dict(ckpt.entries())))
    optimizers = {node for node, hint in found.items() if hint == LEGACY}
    assert optimizers == {
        node for node in graph.nodes if node.slots or {"iter", "decay"} <= node.children.keys()
    }
    assert Counter(found.values())["slot variable"] == sum(len(node.slots) for node in graph.nodes)
