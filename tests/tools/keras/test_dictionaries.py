"""Dictionaries of variables, which Keras takes for variables of the layer around them."""

from collections import defaultdict

import pytest

from support.keras_layers import layer
from tensorbundle.errors import ConflictError, TensorNotFoundError
from tensorbundle.proto.graph import ObjectGraph
from tensorbundle.tools.keras.classes import Classes
from tensorbundle.tools.keras.dictionaries import absorb_dictionaries, doubts
from tensorbundle.tools.keras.layers import read_layers
from tensorbundle.tools.keras.sequences import legacy_groups, variables_of
from tensorbundle.tools.keras.template import groups_of, weights_by_template
from tensorbundle.tools.keras.weights import Ordering, weights_of

EVERY = Ordering(lambda variable: True)
SHAPES = defaultdict(lambda: (4,))  # all are equal


def model(**nested):
    """A subclassed model with another layer."""
    return read_layers("", ObjectGraph.from_nested({"stem": layer("net/stem", "kernel"), **nested}).root)


def paths(variables):
    return [each.key.partition("/.ATTRIBUTES")[0] for each in variables if "stem" not in each.key]


BLOCK = {"w": "net/block/w", "d": layer("net/block", "z", "a"), "v": "net/block/v"}
AS_STORED = ["block/w", "block/d/z", "block/d/a", "block/v"]
BY_KEY = ["block/w", "block/d/a", "block/d/z", "block/v"]


@pytest.mark.parametrize(
    ("nested", "expected"),
    [
        ({"block": BLOCK}, ["block/d"]),
        ({"d": layer("net", "z")}, ["d"]),
        ({"block": {"d": {"0": layer("net/block", "z")}}}, ["block/d/0"]),
        ({"block": {"d": {"y": layer("net/block", "z"), "c": layer("net/block", "z")}}}, ["block/d/c", "block/d/y"]),
        ({"block": BLOCK | {"d": layer("net/block/d", "z", "a")}}, []),
        ({"block": {"d": layer("net/block/d", "z", "a")}}, []),  # more names than objects around it
        ({"block": BLOCK | {"d": layer("net/block", "gamma", "kernel")}}, []),  # a layer built by hand
        ({"block": BLOCK | {"d": {"cell": layer("x", "kernel"), "z": "net/block/z"}}}, []),
        ({"block": {"cell": layer("net/block", "z", "a")}}, []),
        ({"block": BLOCK | {"d": layer("net/block", "w", "v")}}, ["block/d"]),
        ({"layer-0": layer("", "z")}, []),
        ({"opt": {"iter": "iter", "beta_1": "beta_1", "decay": "decay"}}, []),
    ],
)  # fmt: skip
def test_what_may_be_a_dictionary_of_variables(nested, expected):
    found = model(**nested)
    assert sorted(doubts(found)) == expected
    if expected:
        with pytest.raises(
            ConflictError, match=r"do not say whether .* dictionaries of variables; .*--template"
        ):
            weights_of(found, Classes(), EVERY)


def test_variables_that_are_stored_twice():
    """Those of `add_weight` are the layer's own, and also the items of its lists and dictionaries."""
    graph = ObjectGraph.from_nested({"block": layer("block", "u", "v"), "stem": layer("stem", "kernel")})
    block = graph.root.children["block"]
    u, v = block.children.values()
    for name, items in (("list", {"0": v, "1": u}), ("d", {"z": v, "a": u})):
        inner = ObjectGraph.from_nested({}).root
        inner.children |= items
        block.children[name] = inner
    block.children["second"], block.children["first"] = v, u
    found = read_layers("", graph.root)
    assert doubts(found) == []
    assert paths(found.parts["block"].own) == ["block/u", "block/v"]


def test_variables_of_one_name_are_in_the_order_of_their_list():
    """`add_weight` stores only the last of them by its name."""
    items = dict.fromkeys(("0", "1", "2"), "block/w")
    graph = ObjectGraph.from_nested({"block": {"w": "block/w", "list": items}})
    block = graph.root.children["block"]
    block.children["list"].children["2"] = block.children["w"]
    assert paths(read_layers("", graph.root).parts["block"].own) == [
        "block/list/0",
        "block/list/1",
        "block/w",
    ]


def test_keras_3_does_not_store_dictionaries():
    assert doubts(model(block=BLOCK, head={"_kernel": "net/kernel"})) == []
    optimizer = {each: {"0": "x"} for each in ("_iterations", "_variables", "_trainable_variables")}
    assert doubts(model(block=BLOCK, optimizer=optimizer)) == []


def test_a_saved_model_tells_which_are_dictionaries():
    found = model(block=BLOCK)
    layers = [each.node for each in found.walk() if each.path != "block/d"]
    assert absorb_dictionaries(found, layers) == ["block/d"]
    assert [each.path for each in weights_of(found, Classes(by_node=dict.fromkeys(layers, "X")), EVERY)] == [
        "stem/vars/0",
        *(f"block/vars/{number}" for number in range(4)),
    ]
    assert paths(variables_of(found, 3, layers)) == AS_STORED
    assert paths(variables_of(found, 2, layers)) == BY_KEY


def by_template(nested, groups, **given):
    names = {f"{group}/vars": given.pop("name", "") for group in groups}
    shapes = {f"{group}/vars/{number}": (4,) for group, count in groups.items() for number in range(count)}
    found = weights_by_template(model(**nested), groups_of(shapes, names), SHAPES, EVERY, **given)
    return [each.variable.key.partition("/.ATTRIBUTES")[0] for each in found if "stem" not in each.path]


def test_a_template_tells_which_are_dictionaries():
    groups = {"block": 4, "stem": 1}
    assert by_template({"block": BLOCK}, groups, name="block") == AS_STORED
    assert by_template({"block": BLOCK}, groups, version=3) == AS_STORED
    assert by_template({"block": BLOCK}, groups, version=2) == BY_KEY
    with pytest.raises(ConflictError, match=r"'w', 'z', 'a', 'v'.*--keras 2 or --keras 3"):
        by_template({"block": BLOCK}, groups)
    groups = {"block": 2, "block/d": 2, "stem": 1}
    assert by_template({"block": BLOCK}, groups) == ["block/w", "block/v", "block/d/z", "block/d/a"]
    in_a_list = {"list": {"0": layer("", "z", "a"), "1": layer("", "y")}, "v": "net/block/v"}
    assert by_template({"block": in_a_list}, {"block": 4, "stem": 1}, version=2) == [
        *(f"block/list/{each}" for each in ("0/a", "0/z", "1/y")),
        "block/v",
    ]
    with_layers = {"d": {"z": layer("net/dense", "kernel"), "m": "m", "a": layer("net/dense_1", "kernel")}}
    groups = {"block": 1, "block/d/dense": 1, "block/d/dense_1": 1, "stem": 1}
    assert by_template({"block": with_layers}, groups) == [
        *("block/d/m", "block/d/z/kernel", "block/d/a/kernel"),
    ]
    with pytest.raises(TensorNotFoundError, match=r"'block' has \[\(4,\), \(4,\)\]"):
        by_template({"block": BLOCK}, {"block": 5, "stem": 1})


def legacy(version=None, **nested):
    groups = legacy_groups(model(**nested), EVERY, SHAPES, version=version)
    return paths(each for group in groups for each in group.variables)


@pytest.mark.parametrize("version", [None, 2, 3])
def test_where_a_legacy_file_has_them(version):
    """A layer inside another one comes after its own variables, a dictionary at its place among them."""
    with pytest.raises(ConflictError, match=r"'block/v/.*dictionary"):
        legacy(version, block={"d": layer("net/block", "a", "z"), "v": "net/block/v"})
    last = {"v": "net/block/v", "d": layer("net/block", "a", "z")}
    assert legacy(version, block=last) == ["block/v", "block/d/a", "block/d/z"]
    with pytest.raises(ConflictError, match=r"whether 'd' .* of the model, which Keras can't load"):
        legacy(version, d=layer("net", "z", "a"))
