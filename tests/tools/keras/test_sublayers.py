"""The layers of a subclassed model, in and out of lists and dictionaries."""

import tracemalloc

import pytest

from support.keras_layers import block, dense, layer
from tensorbundle.errors import ConflictError
from tensorbundle.proto.graph import ObjectGraph
from tensorbundle.tools.keras.layers import read_layers
from tensorbundle.tools.keras.sublayers import sublayers_of


def sublayers(nested, layers=()):
    """The paths of the sublayers of a subclassed model."""
    graph = ObjectGraph.from_nested(nested)
    known = {graph[path] for path in layers}
    return [each.path for each in sublayers_of(read_layers("", graph.root), known)]


def test_dictionaries_are_told_from_layers_by_names():
    heads = {"z": dense("net/dense"), "a": dense("net/dense_1")}
    nested = {
        "stem": dense("net/stem"),
        "tail": block("net/block"),
        "heads": heads,
        "after": dense("net/after"),
    }
    assert sublayers(nested) == ["stem", "tail", "heads/z", "heads/a", "after"]
    assert sublayers({"heads": heads, "more": {"x": block("net/block_1"), "y": heads["a"]}}) == [
        "heads/z",
        "heads/a",
        "more/x",
        "more/y",
    ]
    assert sublayers({"all": {"0": block("block"), "1": {"p": dense("p"), "q": dense("q")}}}) == [
        "all/0",
        "all/1/p",
        "all/1/q",
    ]
    assert sublayers({"one": block("net/block")}) == ["one"]
    assert sublayers({"many": {str(number): dense(f"d{number}") for number in range(11)}}) == [
        f"many/{number}" for number in range(11)
    ]


def test_dictionaries_of_one_dictionary():
    heads = {"z": dense("net/dense"), "a": dense("net/dense_1")}
    assert sublayers({"d": {"heads": heads}, "stem": dense("net/stem")}) == ["d/heads/z", "d/heads/a", "stem"]
    assert sublayers({"d": {"tail": block("net/block")}, "stem": dense("net/stem")}) == ["d/tail", "stem"]
    with pytest.raises(ConflictError, match=r"whether 'd/heads' are layers or dictionaries"):
        sublayers({"d": {"heads": heads}})


def test_layers_that_are_shared_do_not_make_a_dictionary():
    inner, other = dense("net/block/dense"), dense("net/block/dense_1")
    graph = ObjectGraph.from_nested({"block": {"a": inner, "b": other}, "stem": dense("net/stem"), "x": {}})
    graph.root.children["x"] = graph["block/a"]
    assert [each.path for each in sublayers_of(read_layers("", graph.root))] == ["block", "stem", "block/a"]


def test_a_saved_model_tells_dictionaries():
    nested = {
        "d": {"a": layer("", "kernel"), "b": layer("", "kernel")},
        "l": {"a": dense(""), "b": dense("")},
    }
    assert sublayers(nested, ["d/a", "d/b", "l"]) == ["d/a", "d/b", "l"]


@pytest.mark.parametrize(
    "nested",
    [
        {
            "one": {"a": dense("net/dense"), "b": dense("net/dense_1")}
        },  # of the model `net`, or of the layer `net`
        {
            "one": {"a": {"kernel": "kernel"}, "b": {"kernel": "kernel"}},
            "stem": dense("stem"),
        },  # built by hand
    ],
)
def test_names_that_do_not_tell(nested):
    with pytest.raises(ConflictError, match=r"whether 'one' are layers or dictionaries"):
        sublayers(nested)


def test_dictionaries_in_each_other():
    graph = ObjectGraph.from_nested({"a": {"b": {"c": dense("c"), "d": dense("d")}, "e": dense("e")}})
    graph["a/b"].children["a"] = graph["a"]
    assert [each.path for each in sublayers_of(read_layers("", graph.root))] == ["a/b/c", "a/b/d", "a/e"]


def test_names_in_very_many_scopes_take_memory_in_proportion():
    around = "/".join("a" * 2000)
    nested = {"stem": dense(f"{around}/stem"), "tail": block(f"{around}/tail"), "heads": block(around)}
    tracemalloc.start()
    try:
        assert sublayers(nested) == ["stem", "tail", "heads/norm", "heads/inner/0", "heads/inner/1"]
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
