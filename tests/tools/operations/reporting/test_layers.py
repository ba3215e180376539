"""The largest layers of a model, and integers that JavaScript would round."""

import re

import numpy as np
import pytest

import tensorbundle as tb
from support.golden import GOLDEN
from support.reports import data_of
from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.tools import report
from tensorbundle.tools.operations.reporting.layers import is_weight, largest_layers


def layers(full_names=None, most=9, **shapes):
    entries = {
        key.replace("__", "/"): TensorEntry(DType.float32, shape, nbytes=4 * int(np.prod(shape)))
        for key, shape in shapes.items()
    }
    found = largest_layers(entries, full_names or {}, most)
    return [(each.path, each.parameters, each.to_json()["scope"]) for each in found]


def test_variables_count_for_the_scope_that_directly_contains_them():
    assert layers(a__w=(2, 3), a__b=(3,), a__in__w=(5,), top=(1,)) == [
        ("a", 9, None),
        ("a/in", 5, None),
        ("top", 1, None),
    ]
    assert layers(most=1, a__w=(2,), b__w=(3,)) == [("b", 3, None)]


def test_items_of_a_list_belong_to_the_layer_of_their_full_name():
    names = {"variables/0": "dense/kernel", "variables/1": "dense/bias", "variables/2": "scale"}
    assert layers(names, variables__0=(4, 2), variables__1=(2,), variables__2=(1,)) == [
        ("dense", 10, None),
        ("variables/2", 1, None),
    ]


def test_a_layer_has_the_scope_of_its_full_names_if_all_have_one():
    assert layers({"l/w": "dense_5/kernel"}, l__w=(1,), l__b=(1,)) == [("l", 2, "dense_5")]
    assert layers({"l/w": "dense_5/kernel", "l/b": "other/b"}, l__w=(1,), l__b=(1,)) == [("l", 2, None)]


def test_layers_of_one_size_are_in_the_order_of_their_numbers():
    found = layers(conv_10__w=(2,), conv_2__w=(2,), conv__w=(2,), conv_1__w=(2,))
    assert [path for path, *_ in found] == ["conv", "conv_1", "conv_2", "conv_10"]


@pytest.mark.parametrize(
    ("key", "dtype", "shape", "expected"),
    [
        ("dense/kernel", DType.float32, (2, 3), True),
        ("scale", DType.float32, (), True),
        ("vocabulary", DType.string, (9,), False),
        ("global_step", DType.int64, (), False),
        ("buffer_index", DType.int64, (1,), False),
        ("mask", DType.bool, (2, 3), False),
        ("codes", DType.int32, (2, 3), True),
        ("save_counter/.ATTRIBUTES/VARIABLE_VALUE", DType.int64, (), False),
        ("keras_api/metrics/0/total/.ATTRIBUTES/VARIABLE_VALUE", DType.float32, (), False),
        ("model/keras_api/metrics/1/true_positives/.ATTRIBUTES/VARIABLE_VALUE", DType.float32, (200,), False),
        ("metrics/dense/kernel", DType.float32, (2, 3), True),  # a scope of the user's
    ],
)
def test_metrics_counters_and_text_are_no_weights(key, dtype, shape, expected):
    assert is_weight(key, TensorEntry(dtype, shape, nbytes=8)) is expected


def test_a_report_lists_layers_without_slots_and_without_the_object_graph():
    page = report(GOLDEN / "tf-2.15" / "keras-saved-model", values=False)
    data = data_of(page)
    assert data["title"] == "keras-saved-model"
    assert data["layers"]
    assert not [each for each in data["layers"] if re.search("optimizer|metrics|counter", each["path"])]
    assert [
        each
        for each, kind in zip(data["tensors"]["keys"], data["tensors"]["kinds"], strict=True)
        if kind == 2
    ] == ["_CHECKPOINTABLE_OBJECT_GRAPH"]


def test_integers_that_javascript_would_round_are_text(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("w", np.array([2**53 + 1, 2**53], np.int64))
    statistics = data_of(report(tmp_path / "m"))["tensors"]["stats"]
    assert (statistics["min"], statistics["max"]) == ([2**53], [str(2**53 + 1)])
