"""What kind of object each node was: from files of TensorFlow, and from graphs made to mislead.

`tests/interop/test_object_graphs.py` compares with the classes of live objects.
"""

import json

import numpy as np
import pytest

import tensorbundle as tb
from support.cli import GOLDEN, V215, V221
from support.rewriting import finished, keras_like, tree, variable, write
from tensorbundle.proto.graph import Attribute, Node, ObjectGraph, RegisteredSaver, Slot
from tensorbundle.tools.operations.inspecting import hints as module
from tensorbundle.tools.operations.inspecting.hints import Tensors, hints

COUNTER = "save_counter"


def of(prefix):
    """Path to hint, of every object that has one."""
    with tb.open(prefix) as ckpt:
        graph = ckpt.object_graph
        found = hints(ckpt, graph, Tensors(dict(ckpt.entries())))
    paths = graph.paths()
    return {paths.get(node): hint for node, hint in found.items()}


def made(tmp_path, root, values=None):
    """The hints of a graph; `values` are those of some attributes by path, all others are numbers."""
    graph = finished(root)
    keys = {
        each.checkpoint_key: (values or {}).get(path, np.float32(1)) for path, _, each in graph.attributes()
    }
    return of(write(tmp_path / "m", keys, graph=graph))


ROOT = {"": "tf.train.Checkpoint", COUNTER: "variable"}
GOLDENS = {
    "tf-2.21/structures": {
        **ROOT,
        "list": "list-like",
        "list/2": "list-like",
        "pair": "namedtuple",
        "pair/second": "list-like",
        "tuple": "list-like",
        "tuple/1": "list-like",
    },
    "tf-2.21/odd-names": {**ROOT, "odd": "dict-like"},
    "tf-2.21/tables": {**ROOT, "module/table": "lookup table", "module/v": "variable"},
    "tf-2.21/iterator": {**ROOT, "iterator": "dataset iterator", "step": "variable"},
    "tf-2.21/random-generator": {**ROOT, "generator": "random generator", "generator/_state_var": "variable"},
    "tf-2.21/python-state": {**ROOT, "progress": "Python state", "v": "variable"},
    "tf-2.21/registered-saver": {**ROOT, "blob": "saved by Golden.Blob", "v": "variable"},
    "tf-2.21/sharded-variable": {**ROOT, "emb": "partitioned variable"},
    "tf-2.21/cyclic": {**ROOT, "module/w": "variable", "module/child/v": "variable"},
    "tf-2.15/v1-optimizer-slots": {**ROOT, "optimizer": "TF1 optimizer"},
    "tf-2.15/keras-legacy-adam-slots": {
        **ROOT,
        "net": "Keras 2 Sequential model",
        "optimizer": "Keras legacy optimizer",
        "net/train_tf_function": "Keras bookkeeping",
    },
    "tf-2.15/keras-adam": {
        **ROOT,
        "model": "Keras 2 Sequential model",
        "optimizer": "Keras 2 optimizer",
        "optimizer/_index_dict": "Keras bookkeeping",
        "optimizer/_momentums": "list-like",
    },
    "tf-2.21/keras-adam": {
        **ROOT,
        "model": "Keras 3 Sequential model",
        "model/_functional": "Keras 3 functional model",
        "model/_functional/_tracked": "Keras bookkeeping",
        "model/_functional/_operations": "list-like",
        "optimizer": "Keras 3 optimizer",
        "optimizer/_trainable_variables_indices": "Keras bookkeeping",
    },
    "tf-2.15/keras-save-weights": {"": "Keras 2 Sequential model"},
    "tf-2.15/keras-saved-model": {
        "": "Keras 2 Sequential model",
        "layer_with_weights-0": "Keras 2 object",
        "keras_api": "Keras bookkeeping",
        "__call__": "function",
        "variables": "list-like",
    },
}
WHOLE = ("structures", "odd-names", "tables", "iterator", "generator", "state", "saver", "sharded", "cyclic")


@pytest.mark.parametrize("path", GOLDENS)
def test_golden(path):
    [index] = [
        each for each in (GOLDEN / path).rglob("*.index") if "ckpt-1" in each.name or "ckpt" not in each.name
    ]
    found = of(index)
    expected = GOLDENS[path]
    assert {each: hint for each, hint in found.items() if each in expected} == expected
    if any(name in path for name in WHOLE):
        assert {each for each, hint in found.items() if hint != "variable"} <= expected.keys()


def test_every_golden_variable_has_a_hint():
    count = 0
    for index in [*V215.rglob("*.index"), *V221.rglob("*.index")]:
        with tb.open(index) as ckpt:
            graph = ckpt.object_graph
            if graph is None:
                continue
            found = hints(ckpt, graph, Tensors(dict(ckpt.entries())))
            slots = {slot.slot for node in graph.nodes for slot in node.slots}
        for node in graph.nodes:
            if any(each.name == "VARIABLE_VALUE" for each in node.attributes):
                count += 1
                assert (found[node] == "slot variable") == (node in slots)
                assert found[node].endswith("variable")
    assert count > 200


def config(text, path):
    return Node(attributes=[Attribute("OBJECT_CONFIG_JSON", "", f"{path}/.ATTRIBUTES/OBJECT_CONFIG_JSON")])


def strings(text):
    return np.array(text, object)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (strings(b'{"class_name": "Dense", "config": {}}'), "Keras Dense"),
        (strings(json.dumps({"class_name": "a" * 1000}).encode()), f"Keras {'a' * 100}"),
        (strings(b'{"class_name": ["Dense"]}'), "Keras object"),
        (strings(b'{"class_name": ""}'), "Keras object"),
        (strings(b"[]"), "Keras object"),
        (strings(b"\xff{"), "Keras object"),
        (strings(b""), "Keras object"),
        (strings(b"[" * 100_000), "Keras object"),
        (np.array([b'{"class_name": "Dense"}'], object), "Keras object"),  # not a scalar
        (np.float32(1), "Keras object"),
    ],
    ids=range(10),
)
def test_configs(tmp_path, value, hint):
    root = Node(children={"layer": config("", "layer")})
    assert made(tmp_path, root, {"layer": value})["layer"] == hint


def test_a_config_that_can_not_be_read(tmp_path):
    root = Node(children={"layer": config("", "layer")})
    prefix = write(
        tmp_path / "m",
        {"layer/.ATTRIBUTES/OBJECT_CONFIG_JSON": strings(b'{"class_name": "Dense"}')},
        graph=finished(root),
    )
    path = tmp_path / "m.data-00000-of-00001"
    path.write_bytes(path.read_bytes().replace(b"Dense", b"dense"))
    assert of(prefix)["layer"] == "Keras object"


def test_no_more_than_so_many_bytes_of_configs(tmp_path, monkeypatch):
    values = {name: strings(b'{"class_name": "Dense"}') for name in ("a", "b", "c")}
    root = Node(children={name: config("", name) for name in values})
    monkeypatch.setattr(module, "_CONFIG_BYTES", 70)
    assert list(made(tmp_path, root, values).values()) == ["Keras Dense", "Keras Dense", "Keras object"]


def plain(**children):
    return tree(children)


LOOKALIKES = {
    "numbers that are none": ({"01": None, "٣": None}, "dict-like"),
    "numbers with a hole": ({"2": None, "5": None}, "list-like"),
    "a field and another number": ({"a": None, "0": None}, "dict-like"),
    "attributes": ({"a": None, "b": None}, None),
    "keywords": ({"class": None, "import": None}, None),
    "an empty name": ({"": None}, "dict-like"),
    "nothing": ({}, None),
    "iter and decay of no optimizer": ({"iter": None, "decay": None}, None),
    "_iterations alone": ({"_iterations": None, "_learning_rate": None}, None),
    "a state of another kind": ({"_state_var": None}, None),
    "an initializer with a variable": ({"_initializer": {"v": None}}, None),
    "an initializer and more": ({"_initializer": {}, "other": {}}, None),
    "an initializer that is one": ({"_initializer": {}}, "static lookup table"),
    "traces": ({"trace_0": {}, "trace_1": {"capture_1": {}}}, "function"),
    "traces and more": ({"trace_0": {}, "x": {}}, None),
    "a list of losses": ({"_losses": {}, "_tracked": {}}, None),
    "operations of a person": ({"_operations": {"0": {}}}, None),
    "a layer": (
        {"layer-0": {}, "layer_with_weights-0": {"w": None}},
        "Keras 2 functional or Sequential model",
    ),
    "another layer": ({"layer-1": {}}, "dict-like"),
}


@pytest.mark.parametrize(("children", "hint"), LOOKALIKES.values(), ids=LOOKALIKES)
def test_lookalikes(tmp_path, children, hint):
    assert made(tmp_path, tree({"x": tree(children)})).get("x") == hint


def test_bookkeeping_is_what_keras_keeps(tmp_path):
    """Objects of such names without values, below an object of Keras; and `keras_api`, whatever is in it."""
    of_keras = {
        "layer-0": {},
        "_losses": {},
        "_tracked": {"0": None},
        "mine": {},
        "keras_api": {"layers": {"0": None}},
    }
    found = made(tmp_path, tree({"keras": of_keras, "mine": {"_losses": {}}}))
    assert {path for path, hint in found.items() if hint == "Keras bookkeeping"} == {
        "keras/_losses",
        "keras/keras_api",
    }
    assert found["keras/_tracked"] == "list-like"


def test_optimizers(tmp_path):
    found = made(tmp_path, keras_like())
    assert found["optimizer"] == "Keras legacy optimizer"
    assert found["model/layer-0/kernel/.OPTIMIZER_SLOT/optimizer/m"] == "slot variable"
    count = variable("SGD/iter")
    sgd = {"iter": count, "decay": None}
    assert (
        made(tmp_path / "2", tree({"sgd": sgd}), {"sgd/iter": np.int64(0)})["sgd"] == "Keras legacy optimizer"
    )
    assert "sgd" not in made(tmp_path / "3", tree({"sgd": sgd}))  # counts in float32
    mine = {"iter": variable("iter"), "decay": None}
    found = made(tmp_path / "4", tree({"mine": mine}), {"mine/iter": np.int64(0)})
    assert found["mine"] == "Keras legacy optimizer"  # whose variables have no scope in their names


@pytest.fixture(autouse=True)
def folders(tmp_path):
    for name in "234":
        (tmp_path / name).mkdir()


def test_the_root(tmp_path):
    counter = {COUNTER: np.int64(1)}
    assert made(tmp_path, tree({COUNTER: None}), counter)[""] == "tf.train.Checkpoint"
    assert "" not in made(tmp_path / "2", tree({COUNTER: None}))  # a number, but no counter
    given = tree({COUNTER: None})
    given.children["root"] = given
    assert "" not in made(tmp_path / "3", given, counter)


class TestKeysThatGoOn:
    """An attribute whose own key is not stored."""

    @pytest.fixture
    def found(self, tmp_path):
        def find(name, key, stored):
            root = Node(children={"x": Node(attributes=[Attribute(name, "", key)])})
            return of(write(tmp_path / "m", stored, graph=ObjectGraph(root))).get("x")

        return find

    def test_a_table(self, found):
        keys = {"x/.ATTRIBUTES/table-keys": strings([b"a"]), "x/.ATTRIBUTES/table-values": np.int64([1])}
        assert found("table", "x/.ATTRIBUTES/table", keys) == "lookup table"

    def test_a_tensor_called_table(self, found):
        assert found("table", "x/.ATTRIBUTES/table", {"x/.ATTRIBUTES/table": np.int64([1])}) is None

    def test_an_iterator_that_is_none(self, found):
        assert found("ITERATOR", "x/.ATTRIBUTES/ITERATOR", {"x/.ATTRIBUTES/ITERATOR": np.int64([1])}) is None

    def test_state_that_is_none(self, found):
        assert found("py_state", "x/.ATTRIBUTES/py_state", {"x/.ATTRIBUTES/py_state": np.int64(1)}) is None

    def test_a_key_that_is_nothing(self, found):
        stored = {f"{number:05}": np.int8(0) for number in range(1000)}
        assert found("table", "", stored) is None

    def test_a_variable_that_is_not_stored(self, found):
        assert found("VARIABLE_VALUE", "", {"x": np.int8(0)}) == "variable"

    def test_bounded(self):
        tensors = Tensors(dict.fromkeys(f"{number:05}" for number in range(1000)))
        assert len(list(tensors.of(Attribute("table", "", "")))) == 4


def test_saved_by_its_name(tmp_path):
    root = Node(children={"x": Node(registered_saver=RegisteredSaver("My.\x1bSaver", "x"))})
    assert made(tmp_path, root)["x"] == "saved by My.\x1bSaver"


def test_cycles_and_what_nothing_leads_to(tmp_path):
    root = Node(children={"keras": Node(children={"layer-0": Node()})})
    keras = root.children["keras"]
    keras.children |= {"_losses": keras, "root": root}
    root.slots = [Slot("m", root, root)]
    graph = ObjectGraph(root)
    alone = Node(id=len(graph.nodes), children={"0": keras})
    alone.children["1"] = alone
    graph.nodes.append(alone)
    found = of(write(tmp_path / "m", {}, graph=graph))
    assert found == {
        "": "TF1 optimizer",
        "keras": "Keras 2 functional or Sequential model",
        None: "list-like",
    }


def test_a_chain_of_1200_objects(tmp_path):  # more than calls may be nested
    root = node = Node()
    for _ in range(1200):
        node.children["0"] = node = Node()
    node.attributes = [Attribute("VARIABLE_VALUE", "", "x")]
    found = of(write(tmp_path / "m", {"x": 1.0}, graph=ObjectGraph(root)))
    assert len(found) == 1201
