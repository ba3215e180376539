"""Which group of a weights file is which layer of a subclassed model, in files of tf_keras and of Keras 3."""

from collections import defaultdict

import pytest

from support.keras_layers import layer
from tensorbundle.errors import ConflictError
from tensorbundle.proto.graph import ObjectGraph
from tensorbundle.tools.keras.layers import read_layers
from tensorbundle.tools.keras.template import groups_of, weights_by_template
from tensorbundle.tools.keras.weights import Ordering


def matched(nested, groups, version=None, names=None):
    """The layers for these groups, which each have one variable of equal shape."""
    root = read_layers("", ObjectGraph.from_nested(nested).root)
    template = groups_of(
        {f"{each}/vars/0": (4,) for each in groups},
        {f"{each}/vars": name for each, name in zip(groups, names or [], strict=bool(names))},
    )
    found = weights_by_template(root, template, defaultdict(lambda: (4,)), Ordering(), version=version)
    by_path = {
        each.path.removesuffix("/vars/0"): each.variable.key.partition("/kernel/")[0] for each in found
    }
    return [by_path[each] for each in groups]


def kernel(name):
    return layer(f"net/{name}", "kernel")


HEADS = {"z": kernel("dense"), "a": kernel("dense_1")}
LISTED = ["layers/dense", "layers/dense_1", "layers/dense_2"]


def test_the_writer_is_told_by_the_attributes_that_have_groups():
    before = {"heads": HEADS, "stem": kernel("dense_2")}
    assert matched(before, ["heads/dense", "heads/dense_1", "layers/dense_2"]) == [
        "heads/z",
        "heads/a",
        "stem",
    ]
    tf_keras = ["layers/dense", "layers/dense_1", "stem"]  # which walks attributes backwards
    assert matched(before, tf_keras) == ["heads/a", "heads/z", "stem"]
    after = {"tails": HEADS, "stem": kernel("dense_2")}
    assert matched(after, LISTED) == ["tails/z", "tails/a", "stem"]
    assert matched(after, LISTED, version=2) == ["tails/a", "tails/z", "stem"]


def in_turn(*names):
    return {"p": {"0": kernel(names[0]), "1": kernel(names[2])}, "q": {"0": kernel(names[1])}}


def test_layers_that_were_added_to_lists_in_turn():
    stored, added = ["p/0", "p/1", "q/0"], ["p/0", "q/0", "p/1"]
    assert matched(in_turn("dense", "dense_2", "dense_1"), LISTED) == stored
    assert matched(in_turn("dense_3", "dense_9", "dense_10"), LISTED) == added
    named = in_turn("x", "y", "z")
    assert matched(named, LISTED, names=["x", "y", "z"]) == added
    assert matched(named, LISTED, names=["x", "z", "y"]) == stored
    assert matched(named, LISTED, version=3) == stored
    with pytest.raises(
        ConflictError, match=r"'p/0', 'p/1', 'q/0' have equal shapes.* say that it has \(--keras 3\)"
    ):
        matched(named, LISTED)


def test_metrics_of_tf_keras_are_no_layers():
    shapes = {"layers/dense/vars/0": (4,), "metrics/mean/vars/0": (), "optimizer/vars/0": ()}
    assert list(groups_of(shapes, {}).groups) == ["layers"]
