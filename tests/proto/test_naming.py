"""What a person calls a tensor."""

import numpy as np
import pytest

import tensorbundle as tb
from support.rewriting import finished, keras_like, tree, variable, write, write_objects
from tensorbundle.proto.graph import Attribute, Node, ObjectGraph
from tensorbundle.proto.naming import Naming, new_path
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, attribute_key

KERNEL = attribute_key("model/layer-0/kernel")
SLOT = attribute_key("model/layer-0/kernel/.OPTIMIZER_SLOT/optimizer/m")


def naming(root):
    graph = finished(root)
    return Naming([each.checkpoint_key for _, _, each in graph.attributes()], lambda: graph, "ckpt")


@pytest.fixture
def keras():
    """The first layer is an entry of a dictionary too, under a name with a dot."""
    root = keras_like()
    root.children["layers"] = Node(children={"a.b": root.children["model"].children["layer-0"]})
    return naming(root)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (KERNEL, KERNEL),
        ("model/layer-0/kernel", KERNEL),
        ("layers/a..b/kernel", KERNEL),
        (attribute_key("layers/a..b/kernel"), KERNEL),
        ("dense/kernel", KERNEL),
        ("dense/kernel:0", KERNEL),
        ("(root).model.layer-0.kernel", KERNEL),
        ("(root).layers.a.b.kernel", KERNEL),
        ("(root).model.layer-0.kernel:0", KERNEL),
        ("(root).optimizer's state 'm' for (root).layers.a.b.kernel", SLOT),
        ("model/layer-0/kernel/.OPTIMIZER_SLOT/optimizer/m", SLOT),
        ("layers/a.b/kernel", None),  # not escaped
        ("(root).layers.a.c.kernel", None),
        ("(root)model", None),
        ("(root)", None),
        ("dense", None),
        ("", None),
        (attribute_key("model/layer-0/kernel", "OTHER"), None),
        ("(root).optimizer's state 'x' for (root).layers.a.b.kernel", None),
        ("(root).nothing's state 'm' for (root).layers.a.b.kernel", None),
    ],
)
def test_every_name_of_a_tensor(keras, name, key):
    assert keras.find(name) == key


def test_labels_are_what_patterns_are_matched_against(keras):
    assert list(keras.labels(KERNEL)) == [KERNEL, "model/layer-0/kernel", "dense/kernel"]


def test_a_dictionary_lists_variables_by_their_names():
    found = naming(tree({"vars": {"a/b": variable("Variable")}}))
    assert list(found.labels(attribute_key("vars/a.Sb")))[1:] == ["vars/a.Sb", "Variable", "a/b"]
    assert found.find("a/b") == attribute_key("vars/a.Sb")


def test_full_names_are_not_always_unique():
    found = naming(tree({"gen": {"k": variable("dense/kernel")}, "dis": {"k": variable("dense/kernel")}}))
    keys = [attribute_key("gen/k"), attribute_key("dis/k")]
    with pytest.raises(tb.ConflictError) as caught:
        found.find("dense/kernel")
    assert (
        caught.value.reason == f"'dense/kernel' means 2 tensors; a key says which: {keys[0]!r}, {keys[1]!r}"
    )
    assert found.meant("dense/kernel") == keys


def test_a_path_that_is_the_full_name_of_another_is_refused():
    """As in a program whose second model has attributes `dense` and `dense_1`."""
    found = naming(tree({"dense": {"k": variable("dense_1/k")}, "dense_1": {"k": variable("dense_2/k")}}))
    for find in (found.find, found.meant):
        with pytest.raises(tb.ConflictError, match="'dense_1/k' is the path of one object and the full name"):
            find("dense_1/k")
    assert found.find("dense_2/k") == attribute_key("dense_1/k")
    assert found.path("dense_1/k") == "dense_1/k"


def test_an_object_of_several_tensors():
    table = Node(attributes=[Attribute("keys", "", ""), Attribute("values", "", "")])
    both = Node(attributes=[Attribute("VARIABLE_VALUE", "v", ""), Attribute("other", "", "")])
    found = naming(tree({"t": table, "b": both, "again": {"t": table}}))
    keys = [attribute_key("t", "keys"), attribute_key("t", "values")]
    assert found.meant("t") == found.meant("again/t") == keys
    assert found.find(attribute_key("again/t", "values")) == keys[1]
    assert found.find("b") == attribute_key("b")
    with pytest.raises(tb.ConflictError, match="'t' means 2 tensors"):
        found.find("t")


def test_the_names_of_a_tables_tensors_begin_with_its_key():
    """In the graph of a table there is one key, and what a checkpoint stores has more at its end."""
    table = Node(attributes=[Attribute("table", "", attribute_key("t", "table"))])
    graph = ObjectGraph(Node(children={"t": table, "u": Node()}))
    keys = [attribute_key("t", "table-keys"), attribute_key("t", "table-values"), attribute_key("u")]
    assert Naming(keys, lambda: graph, "ckpt").meant("t") == keys[:2]


def test_a_key_means_itself(keras):
    assert keras.meant(KERNEL) == [KERNEL]


def test_paths_that_are_asked_for_one_after_another(keras):
    """The one that was given, else the shortest."""
    assert keras.path("layers/a..b") == "layers/a..b"
    assert keras.path("(root).layers.a.b") == keras.path("(root).model.layer-0") == "model/layer-0"
    assert keras.path("dense/kernel") == "model/layer-0/kernel"
    assert keras.path("nothing") is None


def test_dots_may_be_read_in_several_ways():
    shared = tree({"c": None})
    found = naming(tree({"a.b": shared, "a": {"b": shared}}))
    assert found.find("(root).a.b.c") is not None
    assert found.find("(root).a.b.d") is None


def test_without_an_object_graph():
    found = Naming(["a/b", attribute_key("c")], lambda: None, "ckpt")
    assert [found.find(name) for name in ("a/b", "a/b:0", "c", "a")] == [
        "a/b",
        "a/b",
        attribute_key("c"),
        None,
    ]
    assert found.near("a/c") == "; near: 'a/b', 'c'"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("model/layer-0", "model/layer-0"),
        ("layers/a..b/bias", "layers/a..b/bias"),
        (attribute_key("layers/a..b/bias"), "model/layer-0/bias"),
        ("(root).layers.a.b", "model/layer-0"),
        ("dense/bias", "model/layer-0/bias"),
        ("dense", None),
    ],
)
def test_paths_of_objects(keras, name, path):
    assert keras.path(name) == path


@pytest.mark.parametrize(
    ("name", "path"),
    [("a/b", "a/b"), (attribute_key("a/b"), "a/b"), ("(root).a.b", "a/b"), ("(root)", "(root)")],
)
def test_new_paths(name, path):
    assert new_path(name) == path


class TestCheckpoints:
    def test_reading_takes_every_name(self, tmp_path):
        source = write_objects(tmp_path / "m", keras_like())
        with tb.open(source) as ckpt:
            expected = ckpt[KERNEL].tolist()
            for name in ("model/layer-0/kernel", "dense/kernel", "(root).model.layer-0.kernel"):
                assert ckpt[name].tolist() == ckpt.read(name, np.s_[:]).tolist() == expected
                assert ckpt.entry(name) == ckpt.entry(KERNEL)
                assert name not in ckpt
            with pytest.raises(tb.TensorNotFoundError, match=r"no such tensor; near: .*'dense/kernel'"):
                ckpt["dense/kernl"]

    def test_full_names_are_lost_with_the_object_graph(self, tmp_path):
        source = write(tmp_path / "m", {KERNEL: np.float32(1), OBJECT_GRAPH_KEY: np.array(b"\xff", object)})
        with tb.open(source) as ckpt:
            assert ckpt["model/layer-0/kernel"] == 1
            with pytest.raises(tb.TensorNotFoundError):
                ckpt["dense/kernel"]
