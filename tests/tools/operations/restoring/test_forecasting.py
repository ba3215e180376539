"""Forecasts of restores, rule by rule; tests/interop/test_check.py holds them against TensorFlow."""

import numpy as np
import pytest

import tensorbundle as tb
from support import golden
from support.cost import growth
from support.depth import DEEP
from support.rewriting import finished, keras_like, tree, variable, write, write_objects
from tensorbundle.proto.graph import Attribute, Node, ObjectGraph, RegisteredSaver, Slot
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, attribute_key
from tensorbundle.tools import forecast

GOLDEN = [each for each in golden.load() if each.object_based and not each.is_v1]
ONES = np.ones([2, 3], np.float32)


@pytest.fixture
def save(tmp_path):
    """Writes objects, every variable two by three ones unless told otherwise; returns the prefix."""
    numbers = iter(range(1000))

    def save(root, **values):
        graph = root if isinstance(root, ObjectGraph) else finished(root)
        keys = dict.fromkeys(each.checkpoint_key for _, _, each in graph.attributes())
        given = {attribute_key(path.replace("__", "/")): value for path, value in values.items()}
        tensors = {key: given.get(key, ONES) for key in keys if given.get(key, ONES) is not None}
        return write(tmp_path / f"c{next(numbers)}", tensors, graph=graph)

    return save


def statuses(found):
    return {each.path: each.status for each in found.findings}


def details(found):
    return {each.path: each.detail for each in found.findings if each.status != "restored"}


def passes(found):
    return [value is True for value in found.assertions().values()]


@pytest.mark.parametrize("case", GOLDEN, ids=str)
def test_every_program_restores_what_it_wrote(case):
    found = forecast(case.path, case.path, method="read")
    if "lossy" in case.prefix:  # TensorFlow lost a tensor when it wrote this
        assert found.failure.error == "NotFoundError"
        return
    assert set(statuses(found).values()) <= {"restored"}
    assert found.failure is None
    assert passes(found) == [True, True, "variable-root" not in case.prefix]
    assert not details(found)


def test_save_counter(save):
    """`restore` makes one and misses its value; `read` does not look for one."""
    counted = save(tree({"a": None, "save_counter": None}), save_counter=np.int64(3))
    plain = save(tree({"a": None}))
    outcomes = {
        (counted, plain, "restore"): {"a": "restored", "save_counter": "restored"},
        (counted, plain, "read"): {"a": "restored", "save_counter": "unused"},
        (plain, plain, "restore"): {"a": "restored", "save_counter": "missing"},
        (plain, plain, "read"): {"a": "restored"},
        (plain, counted, "read"): {"a": "restored", "save_counter": "missing"},
    }
    for (source, against, method), expected in outcomes.items():
        found = forecast(source, against, method=method)
        assert statuses(found) == expected
        assert passes(found) == [
            set(expected.values()) == {"restored"},
            "missing" not in expected.values(),
            True,
        ]


def test_save_counter_of_another_type(save):
    """It is made with the stored value, whose shape is not looked at, but whose type is."""
    plain = save(tree({"a": None}))
    vector = save(tree({"a": None, "save_counter": None}), save_counter=np.int64([3, 4]))
    found = forecast(vector, plain)
    assert passes(found) == [True, True, True]
    found = forecast(save(tree({"a": None, "save_counter": None})), plain)
    assert found.failure.error == "ValueError"
    assert statuses(found) == {"a": "restored", "save_counter": "dtype"}
    assert found.changed.keys() == {"a"}


def test_errors_come_in_order(save):
    """What is missing, before types, before shapes; values are handed out in the order of keys until one fails."""
    names = ["a", "b", "c", "d", "e"]
    against = save(tree(dict.fromkeys(names)))
    shapes = save(tree(dict.fromkeys(names)), c=np.ones([3, 2], "f4"), e=np.ones([4], "f4"))
    found = forecast(shapes, against, method="read")
    assert str(found.failure) == (
        "ValueError: Received incompatible tensor with shape (3, 2) when attempting to restore variable with shape "
        "(2, 3) and name c"
    )
    assert found.changed.keys() == {"a", "b"}
    assert passes(found) == [False, False, False]
    assert statuses(found) == dict.fromkeys(names, "restored") | {"c": "shape", "e": "shape"}
    types = save(tree(dict.fromkeys(names)), b=ONES.astype("f8"), c=np.ones([3, 2], "f4"))
    found = forecast(types, against, method="read")
    assert found.failure.error == "InvalidArgumentError"
    assert found.changed == {}
    assert details(found) == {
        "b": "float64 in A, float32 in B",
        "c": "[3,2] in A, [2,3] in B",
    }
    absent = save(tree(dict.fromkeys(names)), b=ONES.astype("f8"), d=None)
    found = forecast(absent, against, method="read")
    assert str(found.failure) == "NotFoundError: Key d/.ATTRIBUTES/VARIABLE_VALUE not found in checkpoint"
    assert statuses(found)["d"] == "dangling"
    assert statuses(found)["b"] == "dtype"


def test_keys_are_made_of_the_first_mark(save):
    """R1: the text before the first mark, and the name of the object's own tensor."""
    graph = finished(tree({"a": None, "b": None}))
    graph["a"].attributes[0].checkpoint_key = "zzz/.ATTRIBUTES/VARIABLE_VALUE"
    graph["b"].attributes[0] = Attribute("OTHER", "", "y.ATTRIBUTES/x/.ATTRIBUTES/VARIABLE_VALUE")
    source = save(graph)
    found = forecast(source, save(tree({"a": None, "b": None})), method="read")
    assert found.changed == {}
    assert details(found) == {"b": "'y.ATTRIBUTES/VARIABLE_VALUE' is not stored"}
    graph["b"].attributes[0].checkpoint_key = "no mark"
    found = forecast(save(graph), save(tree({"a": None, "b": None})), method="read")
    assert str(found.failure) == "ValueError: substring not found"
    assert statuses(found) == {"a": "restored", "b": "dangling"}


def test_nodes_that_share_a_key(save):
    """R2: the last one is restored, and all assertions pass."""
    graph = finished(tree({"a": None, "b": None}))
    graph["a"].attributes[0].checkpoint_key = graph["b"].attributes[0].checkpoint_key
    found = forecast(save(graph), save(tree({"a": None, "b": None})), method="read")
    assert statuses(found) == {"a": "missing", "b": "restored"}
    assert passes(found) == [True, True, True]
    assert found.found
    assert found.changed.keys() == {"b"}


def test_what_waits_for_the_program(save):
    """R4: unused values come later, unless the graph says that there are none."""
    graph = finished(tree({"a": None, "m": {"x": None, "y": {"z": None}}, "n": {"x": None}}))
    graph["n"].has_checkpoint_values = False
    found = forecast(save(graph), save(tree({"a": None})), method="read")
    assert details(found) == {
        "m/x": "float32 [2,3], not in B; restored with 'm'",
        "m/y/z": "float32 [2,3], not in B; restored with 'm'",
        "n/x": "float32 [2,3], not in B, nor restored when it gets there",
    }
    assert passes(found) == [False, True, True]


def test_what_waits_is_told_by_contents_where_old_releases_say_nothing(save):
    """Of TensorFlow before 2.9: objects with tensors, slot variables or children may have values."""
    graph = finished(tree({"a": None, "empty": {}, "m": {"x": None}, "v": None}))
    for node in graph.nodes:
        node.has_checkpoint_values = None
    against = save(tree({"a": None}))
    found = forecast(save(graph), against, method="read")
    assert details(found) == {
        "m/x": "float32 [2,3], not in B; restored with 'm'",
        "v": "float32 [2,3], not in B; restored as soon as the root gets 'v'",
    }
    assert passes(found) == [False, True, True]
    # An object with nothing at all does not wait for the counter that `restore` creates.
    graph = finished(tree({"a": None, "save_counter": {}}))
    assert details(forecast(save(graph), against))["save_counter"] == "not in A"
    for node in graph.nodes:
        node.has_checkpoint_values = None
    assert details(forecast(save(graph), against))["save_counter"] == "not in A"


def test_attributes_that_nothing_takes(save):
    """R7: on an object with tensors they are overlooked; on one without, they are not consumed."""
    graph = finished(tree({"a": None, "m": {"x": None}}))
    graph["a"].attributes.append(Attribute("OBJECT_CONFIG_JSON", "", "a/.ATTRIBUTES/OBJECT_CONFIG_JSON"))
    against = save(tree({"a": None, "m": {"x": None}}))
    assert passes(forecast(save(graph), against, method="read")) == [True, True, True]
    graph["m"].attributes.append(Attribute("OBJECT_CONFIG_JSON", "", "m/.ATTRIBUTES/OBJECT_CONFIG_JSON"))
    found = forecast(save(graph), against, method="read")
    assert passes(found) == [False, True, True]
    assert statuses(found)["m"] == "unused"
    # What Keras stored up to TensorFlow 2.2 is not expected of a program.
    assert passes(forecast(against, save(graph), method="read")) == [True, True, True]


def test_an_object_without_values(save):
    """It is matched, so that no assertion fails, and nothing is restored."""
    found = forecast(
        save(tree({"a": {"x": None}, "b": None})), save(tree({"a": None, "b": None})), method="read"
    )
    assert statuses(found) == {"a": "missing", "b": "restored", "a/x": "unused"}
    assert passes(found) == [False, True, True]


def test_one_object_here_and_several_there(save):
    shared = variable()
    one = save(tree({"a": shared, "b": shared, "c": None}))
    two = save(tree({"a": None, "b": None, "c": None}))
    # TensorFlow does not look at b once its object is taken, so that b is just not matched.
    found = forecast(one, two, method="read")
    assert statuses(found) == {"a": "restored", "b": "missing", "c": "restored"}
    assert details(found) == {"b": "A has one object for this and for 'a'"}
    assert passes(found) == [False, False, True]
    # Both are matched with one, which gets the first one's value.
    found = forecast(two, one, method="read")
    assert statuses(found) == {"a": "restored", "b": "unused", "c": "restored"}
    assert passes(found) == [True, True, True]
    assert found.changed == {"a": attribute_key("a"), "c": attribute_key("c")}


def test_cycles(save):
    def cyclic(*names):
        root = tree(dict.fromkeys(names))
        root.children["self"] = root
        root.children["inner"] = Node(children={"outer": root})
        return root

    found = forecast(save(cyclic("a", "b")), save(cyclic("a", "b")), method="read")
    assert passes(found) == [True, True, True]
    found = forecast(save(cyclic("a", "b")), save(cyclic("a", "c")), method="read")
    assert statuses(found) == {"a": "restored", "c": "missing", "b": "unused"}


def with_edges(graph, number, *names_and_numbers):
    """The graph with more edges from a node, encoded; there may be two of one name."""
    from tensorbundle.proto import checkpoint_pb2

    message = checkpoint_pb2.TrackableObjectGraph.FromString(graph.encode())
    for name, child in names_and_numbers:
        message.nodes[number].children.add(local_name=name, node_id=child)
    return ObjectGraph.parse(message.SerializeToString())


def test_two_edges_of_one_name(save):
    """Both objects are matched with the one of that name; it gets the values of the first."""
    graph = finished(tree({"a": None, "b": {"c": None}}))
    source = with_edges(graph, 0, ("a", graph["b/c"].id))
    found = forecast(save(source), save(tree({"a": None})), method="read")
    assert statuses(found) == {"a": "restored", "b/c": "unused"}
    assert passes(found) == [True, True, True]
    assert found.changed == {"a": attribute_key("a")}


def optimizing(*, slots=True, names=("iter", "decay"), extra=None):
    """A variable, an optimizer of these edges, and a slot."""
    kernel = variable("kernel")
    optimizer = tree(dict.fromkeys(names))
    if slots:
        optimizer.slots = [Slot("m", kernel, variable("kernel/m"))]
    return tree({"model": {"kernel": kernel}, "optimizer": optimizer, **(extra or {})})


SLOT = "model/kernel/.OPTIMIZER_SLOT/optimizer/m"


def test_slot_variables_are_made(save):
    """A legacy Keras optimizer makes them with their values, an optimizer of TF1 only in the variable's shape."""
    source = save(optimizing())
    found = forecast(source, save(optimizing(slots=False)), method="read")
    assert statuses(found)[SLOT] == "restored"
    assert passes(found) == [True, True, True]
    odd = save(optimizing(), **{SLOT.replace("/", "__"): np.ones([5], "f4")})
    assert passes(forecast(odd, save(optimizing(slots=False)), method="read")) == [True, True, True]
    assert statuses(forecast(odd, source, method="read"))[SLOT] == "shape"
    names = ("beta1_power",)
    odd = save(optimizing(names=names), **{SLOT.replace("/", "__"): np.ones([5], "f4")})
    found = forecast(odd, save(optimizing(slots=False, names=names)), method="read")
    assert found.failure.error == "ValueError"
    assert statuses(found)[SLOT] == "shape"


def test_slot_variables_without_a_place(save):
    source = save(optimizing())
    newer = save(optimizing(slots=False, names=("_iterations", "_learning_rate", "_variables")))
    found = forecast(source, newer, method="read")
    assert found.failure.error == "ValueError"
    assert "legacy TF-Keras optimizer" in found.failure.message
    keras3 = save(optimizing(slots=False, names=("_iterations", "_variables", "_trainable_variables")))
    found = forecast(source, keras3, method="read")
    assert found.failure is None
    assert details(found)[SLOT] == "float32 [2,3], a slot variable; B lacks its variable or its optimizer"
    assert (
        statuses(forecast(source, save(tree({"model": {"kernel": None}})), method="read"))[SLOT] == "unused"
    )
    no_model = save(optimizing(slots=False).children["optimizer"])
    assert statuses(forecast(source, no_model, method="read"))[SLOT] == "unused"


def test_attached_objects_come_last(save):
    """`Checkpoint(model, optimizer=optimizer)` restores the optimizer after the model; some then fail."""

    def rooted(**names):
        root = optimizing(**names)
        root.children = {**root.children.pop("model").children, **root.children, "root": root}
        return root

    source = save(rooted())
    assert passes(forecast(source, source, method="read")) == [True, True, True]
    found = forecast(source, source)
    assert statuses(found)["save_counter"] == "missing"
    keras3 = save(rooted(slots=False, names=("_iterations", "_variables", "_trainable_variables")))
    assert forecast(source, keras3, method="read").failure.error == "AttributeError"


def state(name="py_state"):
    return Node(attributes=[Attribute(name, "", "")])


def test_python_state(tmp_path, save):
    graph = finished(tree({"p": state()}))
    key = graph["p"].attributes[0].checkpoint_key
    against = write(tmp_path / "b", {key: np.array(b"text", object)}, graph=graph)
    assert statuses(forecast(against, against, method="read")) == {"p": "restored"}
    found = forecast(save(tree({"p": None})), against, method="read")
    assert statuses(found) == {"p": "dtype"}
    assert "deserialize" in found.failure.error
    assert statuses(forecast(write(tmp_path / "a", {}, graph=graph), against, method="read")) == {
        "p": "dangling"
    }
    # A variable looks for its own tensor, which a Python state has not.
    assert forecast(against, save(tree({"p": None})), method="read").failure.error == "NotFoundError"


def test_tables(tmp_path):
    def table(name, keys, values):
        graph = finished(tree({"t": state("table")}))
        key = graph["t"].attributes[0].checkpoint_key
        return write(
            tmp_path / name,
            {f"{key}-keys": np.asarray(keys), f"{key}-values": np.asarray(values)},
            graph=graph,
        )

    against = table("b", np.int64([1]), np.int64([[1, 2]]))
    outcomes = {
        "restored": (np.int64([1, 2, 3]), np.int64([[1, 2]] * 3)),
        "shape": (np.int64([1]), np.int64([1])),
        "dtype": (np.int32([1]), np.int64([[1, 2]])),
    }
    for status, (keys, values) in outcomes.items():
        assert statuses(forecast(table(status, keys, values), against, method="read")) == {"t": status}
    uneven = forecast(table("uneven", np.int64([1, 2]), np.int64([[1, 2]])), against, method="read")
    assert uneven.failure.error == "InvalidArgumentError"


def test_registered_savers(tmp_path):
    def saved(name, saver):
        root = tree({"a": None, "s": Node(registered_saver=saver)})
        return write_objects(tmp_path / name, root)

    one = saved("one", RegisteredSaver("Package.One", "s"))
    assert statuses(forecast(one, one, method="read")) == {"a": "restored", "s": "restored"}
    # Whether a saver is registered is told by the program's having an object of it.
    other = forecast(one, saved("other", RegisteredSaver("Package.Other", "s")), method="read")
    assert other.failure is None
    root = tree({"a": None, "s": None, "t": Node(registered_saver=RegisteredSaver("Package.One", "t"))})
    found = forecast(one, write_objects(tmp_path / "third", root), method="read")
    assert found.failure.error == "ValueError"


def test_partitioned_variables(tmp_path):
    """Slices that are not stored so are put together, but not of every type."""

    def partitioned(name, dtype, cuts):
        graph = finished(tree({"v": None}))
        key = attribute_key("v")
        return write(
            tmp_path / name, {key: np.ones([4, 3], dtype)}, cuts={key: (cuts, 0)} if cuts else {}, graph=graph
        )

    for dtype in ("f4", "f2"):
        whole, two, four = (partitioned(f"{dtype}{cuts}", dtype, cuts) for cuts in (0, 2, 4))
        pairs = {
            (one, other): forecast(one, other, method="read")
            for one in (whole, two, four)
            for other in (whole, two, four)
        }
        for (one, other), found in pairs.items():
            fits = dtype == "f4" or one == other
            assert statuses(found) == {"v": "restored" if fits else "dtype"}
            assert (found.failure is None) == fits
    wide = write(
        tmp_path / "wide", {attribute_key("v"): np.ones([5, 3], "f4")}, graph=finished(tree({"v": None}))
    )
    found = forecast(wide, tmp_path / "f42", method="read")
    assert (found.failure.error, statuses(found)) == ("InvalidArgumentError", {"v": "shape"})


@pytest.mark.parametrize("cuts", [0, 2, 3])
def test_slices_that_are_not_stored(tmp_path, cuts):
    """One part of a save, into a variable that is whole, or partitioned in other slices or in the same ones."""
    key, graph = attribute_key("v"), finished(tree({"v": None}))
    cut = {key: (cuts, 0)} if cuts else {}
    against = write(tmp_path / "whole", {key: np.ones([3, 2], "f4")}, cuts=cut, graph=graph)
    with tb.create(tmp_path / "part") as writer:
        writer.add_slice(key, (3, 2), tb.TensorSlice.parse_spec("1,1:-"), np.ones([1, 2], "f4"))
        writer.add(OBJECT_GRAPH_KEY, np.array(graph.encode(), object))
    found = forecast(tmp_path / "part", against, method="read")
    assert statuses(found) == {"v": "dangling"}
    assert str(found.failure).startswith("InvalidArgumentError: Does not have sufficient slices")


# Name-based checkpoints


def test_names_into_objects(tmp_path, save):
    """Full names decide; all three assertions are one test; the save counter need not be there."""
    against = save(tree({"x": variable("a"), "y": {"z": variable("scope/b")}}))
    names = {"a": ONES, "scope/b": ONES, "more": ONES}
    source = write(tmp_path / "all", names)
    for method in ("restore", "read"):
        found = forecast(source, against, method=method)
        assert statuses(found) == {"x": "restored", "y/z": "restored", "more": "unused"}
        assert passes(found) == [True, True, True]
        assert found.changed == {"x": "a", "y/z": "scope/b"}
    found = forecast(write(tmp_path / "less", {"a": ONES}), against)
    assert statuses(found) == {"x": "restored", "y/z": "missing"}
    assert passes(found) == [False, False, False]


def test_names_are_assigned_one_after_another(tmp_path, save):
    against = save(tree({"x": variable("a"), "y": variable("b"), "z": variable("c")}))
    found = forecast(
        write(tmp_path / "shape", {"a": ONES, "b": np.ones([7], "f8"), "c": ONES}), against, method="read"
    )
    assert found.failure.error == "ValueError"  # the shape is looked at first
    assert found.changed == {"x": "a"}
    assert statuses(found) == {"x": "restored", "y": "shape", "z": "restored"}
    found = forecast(write(tmp_path / "type", {"a": ONES.astype("i4")}), against, method="read")
    assert (found.failure.error, found.changed) == ("InvalidArgumentError", {})


def test_names_and_the_counter_of_a_root_object(tmp_path, save):
    """`restore` overlooks the counter that it makes for `Checkpoint(model)`, so that nothing can be asserted."""
    root = tree({"x": variable("a")})
    root.children["root"] = root
    against = save(root)
    source = write(tmp_path / "names", {"a": ONES, "save_counter": np.int64(1)})
    assert passes(forecast(source, against)) == [False, False, False]
    assert passes(forecast(source, against, method="read")) == [True, True, True]


def test_names_and_a_counter_of_the_program(tmp_path, save):
    """`restore` does without it, `read` does not."""
    against = save(tree({"a": None, "save_counter": None}), save_counter=np.int64(0))
    source = write(tmp_path / "names", {"a": ONES})
    found = forecast(source, against)
    assert (statuses(found), passes(found)) == ({"a": "restored"}, [True, True, True])
    found = forecast(source, against, method="read")
    assert statuses(found) == {"a": "restored", "save_counter": "missing"}
    assert passes(found) == [False, False, False]
    complete = write(tmp_path / "complete", {"a": ONES, "save_counter": np.int64(7)})
    assert passes(forecast(complete, against, method="read")) == [True, True, True]


def test_names_and_variables_of_keras3(tmp_path, save):
    """TensorFlow does not know them as variables, and finds none of them."""
    layer = tree({"_kernel": variable("dense/kernel"), "bias": variable("dense/bias")})
    source = write(tmp_path / "names", {"dense/kernel": ONES, "dense/bias": ONES})
    found = forecast(source, save(tree({"layer": layer})), method="read")
    assert set(statuses(found).values()) == {"missing", "unused"}
    layer = tree({"kernel": variable("dense/kernel"), "bias": variable("dense/bias")})
    assert passes(forecast(source, save(tree({"layer": layer})), method="read")) == [True, True, True]


# Savers


def test_saver(tmp_path):
    against = write(tmp_path / "b", {"a": ONES, "b": ONES, "c": ONES})
    same = forecast(against, against)
    assert (same.way, passes(same)) == ("saver", [True, True, True])
    found = forecast(write(tmp_path / "less", {"a": ONES, "d": ONES}), against)
    assert found.failure.error == "NotFoundError"
    assert statuses(found) == {"a": "restored", "b": "missing", "c": "missing", "d": "unused"}
    assert found.changed == {}
    found = forecast(write(tmp_path / "shape", {"a": ONES, "b": np.ones([7], "f4"), "c": ONES}), against)
    assert (found.failure.error, found.changed) == ("ValueError", {"a": "a"})
    found = forecast(write(tmp_path / "type", {"a": ONES, "b": ONES.astype("f8"), "c": ONES}), against)
    assert (found.failure.error, found.changed) == ("InvalidArgumentError", {})


def test_saver_takes_full_names(tmp_path, save):
    """Of an object-based checkpoint, if it lacks a key; of equal full names the last one counts."""
    against = write(tmp_path / "b", {"a": ONES, "b": ONES})
    root = tree({"x": variable("a"), "y": variable("b"), "z": variable("b")})
    found = forecast(save(root), against)
    assert found.changed == {"a": attribute_key("x"), "b": attribute_key("z")}
    assert statuses(found) == {"a": "restored", "b": "restored", attribute_key("y"): "unused"}
    found = forecast(save(root, x=None), against)
    assert statuses(found)["a"] == "dangling"
    cut = write(tmp_path / "cut", {"a": ONES, "b": ONES}, cuts={"b": (2, 0)})
    assert statuses(forecast(save(root), cut))["b"] == "missing"  # all but the last slice


# Structure files


def test_structure_file(tmp_path, save):
    (tmp_path / "s.json").write_text(
        '{"a": "x", "l": [{"$shape": [2, 3], "$dtype": "float32"}, {"$shape": [7]}]}'
    )
    source = save(tree({"a": None, "l": {"0": None, "1": None}}))
    found = forecast(source, tmp_path / "s.json", method="read")
    assert statuses(found) == {"a": "restored", "l/0": "restored", "l/1": "shape"}
    assert found.failure.error == "ValueError"
    names = write(tmp_path / "names", {"x": ONES, "l/0": ONES, "l/1": np.ones([7], "f4")})
    assert passes(forecast(names, tmp_path / "s.json")) == [True, True, True]


# Limits


def large(shape, count):
    """The root of an object graph of this size."""
    if shape == "chain":
        root = node = Node()
        for _ in range(count):
            node.children["n"] = node = Node()
        node.children["v"] = variable()
        return root
    if shape == "fan":
        return tree({f"v{number}": None for number in range(count)})
    if shape == "slots":
        root = keras_like()
        kernel, optimizer = root.children["model"].children["last"].children["w"], root.children["optimizer"]
        optimizer.slots += [Slot(f"s{number}", kernel, variable()) for number in range(count)]
        return root
    inner = tree({f"v{number}": None for number in range(count)})
    return tree({f"a{number}": inner for number in range(count)})


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "size"), [("chain", 300), ("fan", 75), ("slots", 75), ("aliases", 75)])
def test_large_graphs_take_linear_time(tmp_path, shape, size):
    """No recursion, and no time with the square of the number of objects."""

    def prepare(count):
        source = write_objects(tmp_path / f"a{count}", large(shape, count))
        empty = write_objects(tmp_path / f"b{count}", tree({"other": None}))

        def work():
            assert set(statuses(forecast(source, source, method="read")).values()) == {"restored"}
            assert set(statuses(forecast(source, empty, method="read")).values()) == {"missing", "unused"}
            assert set(statuses(forecast(empty, source, method="read")).values()) == {"missing", "unused"}

        return work

    many = 340 if shape == "chain" else 1_000  # paths of longer chains are refused
    assert growth(prepare, many if DEEP else size) < 5
