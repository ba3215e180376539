"""The object graph: decoding, looking, building, editing, encoding."""

import pytest

import tensorbundle as tb
from support.bundles import raw
from support.cost import growth
from support.depth import DEEP
from tensorbundle.proto import checkpoint_pb2, nodes
from tensorbundle.proto.graph import Attribute, Node, ObjectGraph, RegisteredSaver, Slot
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, attribute_key

# What tf.train.Checkpoint(zed=tf.Variable(1., name="a"), alpha=tf.Variable([2, 3], name="b")).save(...) writes.
WORKED = raw(
    "0a2a"  # node 0, 42 bytes
    '0a09 0801 1205 "alpha"'  # child: node 1, local name
    '0a07 0802 1203 "zed"'
    '0a10 0803 120c "save_counter"'
    "2a02 0801"  # has_checkpoint_values: true
    '0a3b 1235 0a0e "VARIABLE_VALUE" 1201 "b"'  # node 1: an attribute, its name and full name,
    '1a20 "alpha/.ATTRIBUTES/VARIABLE_VALUE" 2a02 0801'  # checkpoint key
    '0a39 1233 0a0e "VARIABLE_VALUE" 1201 "a"'
    '1a1e "zed/.ATTRIBUTES/VARIABLE_VALUE" 2a02 0801'
    '0a4d 1247 0a0e "VARIABLE_VALUE" 120c "save_counter"'
    '1a27 "save_counter/.ATTRIBUTES/VARIABLE_VALUE" 2a02 0801'
)


def variable(path, full_name=""):
    return Node(attributes=[Attribute("VARIABLE_VALUE", full_name, attribute_key(path))])


def keys(graph):
    return {path: each.checkpoint_key for path, _, each in graph.attributes()}


def check(graph):
    """What must hold after every edit."""
    assert keys(graph) == {path: attribute_key(path) for path in keys(graph)}
    assert [node.id for node in graph.nodes] == list(range(len(graph)))
    again = ObjectGraph.parse(graph.encode())
    assert keys(again) == keys(graph)
    assert [path for path, _ in again.walk()] == [path for path, _ in graph.walk()]
    assert [node.has_checkpoint_values for node in again.nodes] == [
        bool(node.attributes or node.slots or below_has_values(node)) for node in graph.nodes
    ]


def below_has_values(node):
    seen, queue = {node}, [node]
    while queue:
        for child in queue.pop().children.values():
            if child.attributes or child.slots:
                return True
            if child not in seen:
                seen.add(child)
                queue.append(child)
    return False


@pytest.fixture
def trained():
    """A layer known by two names, with a variable, and an optimizer with two slots of it and an edge back."""
    kernel = variable("model/layer/kernel", "dense/kernel")
    layer = Node(children={"kernel": kernel, "empty": Node()})
    model = Node(children={"layer": layer, "layers": Node(children={"0": layer})})
    optimizer = Node(children={"iter": variable("optimizer/iter", "iter"), "model": model})
    for name in ("m", "v"):
        slot = variable(f"model/layer/kernel/.OPTIMIZER_SLOT/optimizer/{name}", f"dense/kernel/{name}")
        optimizer.slots.append(Slot(name, kernel, slot))
    graph = ObjectGraph(Node(children={"model": model, "optimizer": optimizer}))
    graph.mark_values()
    return graph


PATHS = [
    "",
    "model",
    "optimizer",
    "model/layer",
    "model/layers",
    "optimizer/iter",
    "model/layer/kernel",
    "model/layer/empty",
    "model/layer/kernel/.OPTIMIZER_SLOT/optimizer/m",
    "model/layer/kernel/.OPTIMIZER_SLOT/optimizer/v",
]


# Decoding and encoding


def test_worked_bytes():
    graph = ObjectGraph.parse(WORKED)
    assert [(path, node.id) for path, node in graph.walk()] == [
        ("", 0),
        ("alpha", 1),
        ("zed", 2),
        ("save_counter", 3),
    ]
    assert graph["zed"].attributes == [Attribute("VARIABLE_VALUE", "a", "zed/.ATTRIBUTES/VARIABLE_VALUE")]
    assert [node.has_checkpoint_values for node in graph.nodes] == [True] * 4
    assert graph.encode() == WORKED
    assert len(graph) == 4


def test_building_the_worked_graph_gives_its_bytes():
    root = Node(children={"alpha": variable("alpha", "b"), "zed": variable("zed", "a")})
    root.children["save_counter"] = variable("save_counter", "save_counter")
    graph = ObjectGraph(root)
    graph.mark_values()
    assert graph.encode() == WORKED


@pytest.mark.parametrize(
    ("encoded", "what"),
    [
        ("0a00", "a node, nothing in it"),
        ('0a06 0a04 1202 "aa"', "an edge to the root, whose number 0 is left out"),
        ("0a04 0a020801 0a04 0a020802 0a04 0a020801", "a cycle below the root"),
        ("0a00 0a00", "a node that can't be reached"),
        ("0a02 2a00", "has_checkpoint_values: false"),
        ("0a04 2a020801", "has_checkpoint_values: true"),
        ('0a08 2206 0a01"a" 1201"b"', "a registered saver"),
        ("0a02 2200", "a registered saver without names"),
        ('0a05 1203 0a01"a"', "an attribute with a name only"),
        ('0a07 1205 0a01"a" 2001', "an attribute marked optional_restore"),
        ('0a09 1a07 0801 1201"m" 1801 0a00', "a slot"),
        ("0a04 b83e8101", "an unknown number in a node"),
        ('0a08 2a020801 c23e01"x"', "known fields and unknown bytes in a node"),
        ('0a09 0a07 1202"aa" b83e01', "an unknown field in an edge"),
        ('0a08 1206 0a01"a" b83e01', "an unknown field in an attribute"),
        ("0a00 b83e01", "an unknown field in the graph"),
        ('0a0e 0a05 0801 1201"a" 0a05 0802 1201"a" 0a00 0a00', "two edges of one name"),
    ],
)
def test_encoding_what_was_decoded_gives_the_same_bytes(encoded, what):
    assert ObjectGraph.parse(raw(encoded)).encode() == raw(encoded), what


def test_three_states_of_has_checkpoint_values():
    graph = ObjectGraph.parse(raw("0a00 0a02 2a00 0a04 2a020801"))
    assert [node.has_checkpoint_values for node in graph.nodes] == [None, False, True]


def test_fields_of_all_kinds_are_decoded():
    graph = ObjectGraph.parse(
        raw(
            '0a13 1205 0a01"a" 2001'  # node 0: an attribute, its name and optional_restore;
            '1a08 0801 1202"m2" 1801'  # a slot: variable, name, slot variable;
            "2200"  # a registered saver without names
            '0a0b 2206 0a01"s" 1201"o" b83e05'  # node 1: a registered saver; field 999
        )
    )
    assert graph.root.attributes == [Attribute("a", "", "", optional_restore=True)]
    slot = graph.root.slots[0]
    assert (slot.name, slot.variable, slot.slot) == ("m2", graph.nodes[1], graph.nodes[1])
    assert graph.root.registered_saver == RegisteredSaver("", "")
    assert graph.nodes[1].registered_saver == RegisteredSaver("s", "o")
    assert graph.nodes[1].unknown == raw("b83e05")


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        ("", "^an object graph without nodes$"),
        ("b83e05", "^an object graph without nodes$"),
        ("0a05 00", "^not an object graph: "),
        ("0a06 0a04 1202 ffff", r"^not an object graph: b'\\xff\\xff' is not UTF-8$"),
        ('0a05 0a05 1201"a"', "^not an object graph: a part of node 0 claims 5 bytes of 3$"),
        ("0a02 0a80", "^not an object graph: it is cut short$"),
        ("0a05 0a808001 00", "^not an object graph: a part of node 0 claims 16384 bytes of 1$"),
        ("0a02", "^not an object graph: a node claims 2 bytes of 0$"),
        ("0a05 0a03 1205 00", "^not an object graph: a field ends 4 bytes after its message$"),
        ("0a02 2a01", "^not an object graph: a part of node 0 claims 1 bytes of 0$"),
        ("0a03 2a01 08", "^not an object graph: it is cut short$"),
        ('0a07 0a05 0802 1201"x" 0a00', "^object graph node 0: child 'x' is node 2, there are 2$"),
        (
            '0a10 0a0e 08ffffffffffffffffff01 1201"x"',
            "^object graph node 0: child 'x' is node -1, there are 1$",
        ),
        ('0a00 0a07 1a05 0807 1201"m"', "^object graph node 1: a slot's variable is node 7, there are 2$"),
        ('0a07 1a05 1201"m" 1805', "^object graph node 0: slot 'm' is node 5, there are 1$"),
    ],
)
def test_malformed(encoded, reason):
    with pytest.raises(tb.CorruptionError, match=reason):
        ObjectGraph.parse(raw(encoded))


def test_of_two_edges_with_one_name_the_first_counts():
    graph = ObjectGraph.parse(raw('0a0e 0a05 0801 1201"a" 0a05 0802 1201"a" 0a00 0a00'))
    assert graph["a"] is graph.nodes[1]


# Looking


def test_walk_goes_breadth_first_and_slots_come_last(trained):
    assert [path for path, _ in trained.walk()] == PATHS
    assert [node.id for _, node in trained.walk()] == list(range(len(PATHS)))
    check(trained)


def test_cycles_end():
    graph = ObjectGraph.parse(raw('0a07 0a05 0801 1201"a" 0a09 0a03 1201"r" 0a02 0801'))
    assert [path for path, _ in graph.walk()] == ["", "a"]
    assert graph["a/r/a/r/a//"] is graph.nodes[1]


def test_an_object_is_found_by_every_path(trained):
    kernel = trained["model/layer/kernel"]
    for path in ("model/layers/0/kernel", "optimizer/model/layer/kernel"):
        assert trained[path] is kernel
        assert path in trained
    assert trained[PATHS[-1]] is trained["optimizer"].slots[1].slot
    assert trained[""] is trained.root


def test_a_missing_object_shows_near_ones(trained):
    with pytest.raises(tb.TensorNotFoundError, match="no such object; near: 'model/layer'") as caught:
        trained["model/layr"]
    assert caught.value.key == "model/layr"
    for path in ("nope", "model/.x", "model/layer/kernel/.OPTIMIZER_SLOT/optimizer/z", "model/"):
        assert trained.get(path) is None
        assert path not in trained


def test_names_are_escaped_in_paths_only():
    graph = ObjectGraph(Node(children={"a/b": Node(children={"c.d": variable("a.Sb/c..d")})}))
    assert list(graph.root.children) == ["a/b"]
    assert graph["a.Sb/c..d"].attributes
    assert "a/b" not in graph


# Building


def test_from_names_is_what_the_migration_guide_makes():
    graph = ObjectGraph.from_names(["w", "dense/kernel"])
    assert [(path, node.id) for path, node in graph.walk()] == [
        ("", 0),
        ("vars", 1),
        ("save_counter", 2),
        ("vars/w", 3),
        ("vars/dense.Skernel", 4),
    ]
    assert [(each.full_name, each.checkpoint_key) for _, _, each in graph.attributes()] == [
        ("save_counter", "save_counter/.ATTRIBUTES/VARIABLE_VALUE"),
        ("w", "vars/w/.ATTRIBUTES/VARIABLE_VALUE"),
        ("dense/kernel", "vars/dense.Skernel/.ATTRIBUTES/VARIABLE_VALUE"),
    ]
    check(graph)


@pytest.mark.parametrize(
    ("root", "path"), [("", "w"), ("vars", "vars/w"), ("a/b", "a/b/w"), ("a.Sb", "a.Sb/w")]
)
def test_from_names_below_another_root(root, path):
    graph = ObjectGraph.from_names(["w"], root=root, save_counter=False)
    assert keys(graph) == {path: attribute_key(path)}
    check(graph)


def test_from_names_of_nothing():
    graph = ObjectGraph.from_names([], save_counter=False)
    assert [(path, node.has_checkpoint_values) for path, node in graph.walk()] == [
        ("", False),
        ("vars", False),
    ]


@pytest.mark.parametrize(
    ("names", "root", "reason"),
    [
        (["a", "b", "a"], "vars", "two variables with one name"),
        (["save_counter"], "", "takes the save counter's place"),
    ],
)
def test_from_names_with_a_clash(names, root, reason):
    with pytest.raises(tb.ConflictError, match=reason) as caught:
        ObjectGraph.from_names(names, root=root)
    assert caught.value.key in names


def test_from_names_below_too_long_a_root():
    with pytest.raises(tb.CorruptionError, match="more than 67108864 characters in total"):
        ObjectGraph.from_names(["w"], root="a/" * 12_000 + "b")


def test_from_nested():
    """In the order given; only the counter is put in its place."""
    graph = ObjectGraph.from_nested({"b": {"1": "x", "0": {"y.z": ""}}, "a": "x", "c": {}})
    assert [(path, [each.full_name for each in node.attributes]) for path, node in graph.walk()] == [
        ("", []),
        ("b", []),
        ("a", ["x"]),
        ("c", []),
        ("b/1", ["x"]),
        ("b/0", []),
        ("b/0/y..z", [""]),
    ]
    check(graph)
    graph.add_save_counter()
    assert list(graph.root.children) == ["b", "a", "c", "save_counter"]
    assert graph["save_counter"].id == 4
    check(graph)
    with pytest.raises(tb.ConflictError, match="takes the save counter's place"):
        graph.add_save_counter()


def test_empty_graph():
    graph = ObjectGraph()
    assert graph.encode() == raw("0a00")
    assert list(graph.attributes()) == []


def test_values_are_marked_through_cycles_and_registered_savers():
    saved = Node(registered_saver=RegisteredSaver("Package.Saver", "a/b"))
    empty = Node()
    inner = Node(children={"saved": saved})
    inner.children["up"] = inner
    root = Node(children={"empty": empty, "inner": inner})
    empty.children["self"] = empty
    ObjectGraph(root).mark_values()
    assert [node.has_checkpoint_values for node in (root, inner, saved, empty)] == [True, True, True, False]


# Editing


def test_rename_moves_keys_and_slots_along(trained):
    changed = trained.rename("model/layer/kernel", "w/x")
    assert changed == {
        "model/layer/kernel": "model/layer/w.Sx",
        "model/layer/kernel/.OPTIMIZER_SLOT/optimizer/m": "model/layer/w.Sx/.OPTIMIZER_SLOT/optimizer/m",
        "model/layer/kernel/.OPTIMIZER_SLOT/optimizer/v": "model/layer/w.Sx/.OPTIMIZER_SLOT/optimizer/v",
    }
    assert list(trained["model/layer"].children) == ["w/x", "empty"]  # in its old place
    check(trained)


def test_rename_of_an_optimizer_moves_its_slots(trained):
    changed = trained.rename("optimizer", "adam")
    assert changed["model/layer/kernel/.OPTIMIZER_SLOT/optimizer/m"].endswith("/adam/m")
    assert changed["optimizer/iter"] == "adam/iter"
    check(trained)


def test_rename_where_the_shortest_path_goes_another_way(trained):
    """`layer` is the shortest name of the layer; without it, the one in the list becomes that."""
    changed = trained.rename("model/layers", "l")
    assert changed == {"model/layers": "model/l"}
    trained["model"].children["zz"] = trained["model"].children.pop("layer")
    changed = trained.rename("model/zz", "yy")
    assert changed["model/zz/kernel"] == "model/yy/kernel"


def test_rename_leaves_foreign_keys_alone():
    node = variable("a")
    node.attributes += [Attribute("x", "", "elsewhere/.ATTRIBUTES/x"), Attribute("y", "", "no mark")]
    node.registered_saver = RegisteredSaver("S", "a")
    graph = ObjectGraph(Node(children={"a": node}))
    assert graph.rename("a", "b") == {"a": "b"}
    assert [each.checkpoint_key for each in node.attributes] == [
        "b/.ATTRIBUTES/VARIABLE_VALUE",
        "elsewhere/.ATTRIBUTES/x",
        "no mark",
    ]
    assert node.registered_saver == RegisteredSaver("S", "a")


@pytest.mark.parametrize(
    ("path", "name", "error", "reason"),
    [
        ("model/layer/kernel", "empty", tb.ConflictError, "already"),
        ("nope", "x", tb.TensorNotFoundError, "no such object"),
        ("", "x", tb.ConflictError, "the root object"),
        ("model", "optimizer", tb.ConflictError, "already"),
        ("model", "model", tb.ConflictError, "already"),
        (PATHS[-1], "x", tb.ConflictError, "slot variables have no name of their own"),
    ],
)
def test_rename_refused(trained, path, name, error, reason):
    before = trained.encode()
    with pytest.raises(error, match=reason):
        trained.rename(path, name)
    assert trained.encode() == before


def test_move_exchanges_names():
    graph = ObjectGraph.from_names(["a", "b"], root="", save_counter=False)
    a, b = graph["a"], graph["b"]
    assert graph.move({"a": "b", "b": "a"}) == {"a": "b", "b": "a"}
    assert (graph["a"], graph["b"]) == (b, a)
    check(graph)


def test_move_makes_parents_and_removes_emptied_ones():
    graph = ObjectGraph.from_names(["w"], root="old/deep", save_counter=False)
    assert graph.move({"old/deep/w": "new/x.Sy/w"}) == {"old/deep/w": "new/x.Sy/w"}
    assert [path for path, _ in graph.walk()] == ["", "new", "new/x.Sy", "new/x.Sy/w"]
    check(graph)


@pytest.mark.parametrize(("new", "path"), [("", "w"), ("vars2", "vars2/w")])
def test_move_joins_containers(new, path):
    graph = ObjectGraph.from_names(["w"], save_counter=False)
    graph.root.children["vars2"] = Node(children={"v": variable("vars2/v")})
    graph.renumber()
    graph.move({"vars": new})
    assert sorted(keys(graph)) == sorted([path, "vars2/v"])
    check(graph)


@pytest.mark.parametrize(
    ("moves", "error"),
    [
        ({"model/layer/kernel": "optimizer/iter"}, tb.ConflictError),
        ({"model/layer/kernel": "x", "optimizer/iter": "x"}, tb.ConflictError),
        ({"optimizer/iter": "new", "model": "optimizer"}, tb.ConflictError),
        ({"optimizer/iter": "new", "": "x"}, tb.ConflictError),
        ({"optimizer/iter": "new", "nope": "x"}, tb.TensorNotFoundError),
    ],
)
def test_move_refused(trained, moves, error):
    before = trained.encode()
    with pytest.raises(error):
        trained.move(moves)
    assert trained.encode() == before


def test_drop_keys_removes_objects_left_with_nothing():
    table = Node(attributes=[Attribute("table", "", "t/.ATTRIBUTES/table")])
    graph = ObjectGraph(Node(children={"a": variable("a"), "b": variable("b"), "t": table}))
    parts = {"t/.ATTRIBUTES/table-keys", "t/.ATTRIBUTES/table-values"}
    graph.drop_keys({attribute_key("a")}, {attribute_key("b"), *parts})
    assert list(graph.root.children) == ["b", "t"]
    graph.drop_keys(parts, {attribute_key("b")})
    assert list(graph.root.children) == ["b"]
    check(graph)


def test_an_object_stays_with_what_else_it_has():
    both = Node(
        attributes=[
            Attribute("VARIABLE_VALUE", "", "b/.ATTRIBUTES/VARIABLE_VALUE"),
            Attribute("o", "", "b/.ATTRIBUTES/o"),
        ]
    )
    graph = ObjectGraph(Node(children={"b": both, "holder": Node(children={"x": variable("holder/x")})}))
    graph["holder"].attributes = [Attribute("o", "", "holder/.ATTRIBUTES/o")]
    gone = {"b/.ATTRIBUTES/o", "holder/.ATTRIBUTES/o"}
    graph.drop_keys(gone, {attribute_key("b"), attribute_key("holder/x")})
    assert [each.name for each in graph["b"].attributes] == ["VARIABLE_VALUE"]
    assert list(graph.root.children) == ["b", "holder"]
    check(graph)


def test_drop_takes_what_only_it_leads_to(trained):
    gone = trained.drop("model/layer")  # also known as model/layers/0
    assert sorted(each.full_name for each in gone) == ["dense/kernel", "dense/kernel/m", "dense/kernel/v"]
    assert [path for path, _ in trained.walk()] == [
        "",
        "model",
        "optimizer",
        "model/layers",
        "optimizer/iter",
    ]
    assert trained["optimizer"].slots == []
    assert trained["model"].has_checkpoint_values is False
    check(trained)


def test_drop_of_an_optimizer_takes_its_slots(trained):
    gone = trained.drop("optimizer")
    assert sorted(each.full_name for each in gone) == ["dense/kernel/m", "dense/kernel/v", "iter"]
    check(trained)


def test_drop_of_several_is_that_of_one_after_another(trained):
    other = ObjectGraph.parse(trained.encode())
    gone = trained.drop("optimizer", "model/layer")
    assert {each.full_name for each in gone} == {
        each.full_name for path in ("optimizer", "model/layer") for each in other.drop(path)
    }
    assert trained.encode() == other.encode()
    check(trained)


@pytest.mark.parametrize(("depth", "fails"), [(50, False), (150, True)])
def test_drop_of_slots_that_contain_variables_with_slots(depth, fails):
    """TensorFlow saves no such slot variables; each level would take a pass over all objects."""
    optimizer, below = Node(), Node(attributes=[Attribute("VARIABLE_VALUE", "", attribute_key("v"))])
    graph = ObjectGraph(Node(children={"optimizer": optimizer, "a": Node(children={"v": below})}))
    for number in range(depth):
        slot = Node(children={"v": Node()})
        optimizer.slots.append(Slot("m", below, slot))
        graph.root.children[f"s{number}"] = slot
        below = slot.children["v"]
    graph.renumber()
    if fails:
        with pytest.raises(tb.ConflictError, match="and these others, more than 100 deep"):
            graph.drop("a")
    else:
        graph.drop("a")
        assert list(graph.root.children) == ["optimizer"]


def test_drop_of_a_slot_variable_leaves_the_other(trained):
    gone = trained.drop(PATHS[-2])
    assert [each.full_name for each in gone] == ["dense/kernel/m"]
    assert [slot.name for slot in trained["optimizer"].slots] == ["v"]
    check(trained)


def test_drop_of_a_list_keeps_what_it_shares(trained):
    assert trained.drop("model/layers") == []
    assert "model/layer/kernel" in trained


def test_drop_of_the_shortest_way_rekeys(trained):
    """What is also reached another way stays, under that way's keys."""
    del trained["model"].children["layer"]
    shared = Node(children={"m": trained.root.children["model"]})
    graph = ObjectGraph(Node(children={"a": shared, "b": Node(children={"n": Node(children={"m": shared})})}))
    short, long = "a/m/layers/0/kernel", "b/n/o/m/layers/0/kernel"
    graph["b/n"].children["o"] = Node(children={"m": graph["a/m"]})
    graph["a/m/layers/0/kernel"].attributes[0].checkpoint_key = attribute_key(short)
    graph.renumber()
    holder = graph["a"]
    graph["b/n"].children.pop("m")
    assert graph.drop("a") == []
    assert holder not in graph.nodes
    assert keys(graph) == {long: attribute_key(long)}


@pytest.mark.parametrize(
    ("path", "error"), [("", tb.ConflictError), ("model/layer/nope", tb.TensorNotFoundError)]
)
def test_drop_refused(trained, path, error):
    before = trained.encode()
    with pytest.raises(error):
        trained.drop(path)
    assert trained.encode() == before


def test_graft_puts_a_graph_below_another(trained):
    graph = ObjectGraph.from_names(["w"], root="")
    changed = graph.graft("nested", trained)
    assert changed["model/layer/kernel"] == "nested/model/layer/kernel"
    assert (
        changed["model/layer/kernel/.OPTIMIZER_SLOT/optimizer/m"]
        == "nested/model/layer/kernel/.OPTIMIZER_SLOT/nested/optimizer/m"
    )
    assert changed[""] == "nested"
    assert "w" in graph
    check(graph)


def test_graft_below_an_object_gives_its_name(trained):
    other = ObjectGraph(variable(""))
    assert trained.graft("model/layer/a..b", other) == {"": "model/layer/a..b"}
    assert list(trained["model/layer"].children) == ["kernel", "empty", "a.b"]
    check(trained)


@pytest.mark.parametrize(
    ("path", "error"),
    [("model", tb.ConflictError), ("", tb.ConflictError), ("nope/x", tb.TensorNotFoundError)],
)
def test_graft_refused(trained, path, error):
    before = trained.encode()
    with pytest.raises(error):
        trained.graft(path, ObjectGraph())
    assert trained.encode() == before


@pytest.mark.slow
def test_a_long_chain_is_no_recursion():
    """1,200 objects, each the child of the one before."""
    top = Node()
    node = top
    for _ in range(1_200):
        node.children["x"] = Node()
        node = node.children["x"]
    node.attributes.append(Attribute("VARIABLE_VALUE", "", ""))
    graph = ObjectGraph(top)
    graph.mark_values()
    assert len(ObjectGraph.parse(graph.encode())) == 1_201
    assert top.has_checkpoint_values


def test_adding_a_variable(trained):
    attribute = trained.add_variable("model/new/a.Sb")
    assert attribute.checkpoint_key == attribute_key("model/new/a.Sb")
    assert trained["model/new"].children["a/b"].attributes == [attribute]
    with pytest.raises(tb.ConflictError, match="there is an object of this name"):
        trained.add_variable("model/layer")
    with pytest.raises(tb.ConflictError, match="not a path for an object") as caught:
        trained.add_variable("model/a.b")
    assert caught.value.key == "model/a.b"
    check(trained)


def test_one_root_for_two_graphs(trained):
    other = ObjectGraph.from_names(["w"], root="more")
    other["more"].children["back"] = other.root
    other.root.slots.append(Slot("m", other["more/w"], variable("more/w/.OPTIMIZER_SLOT//m")))
    other.renumber()
    trained.absorb(other)
    assert list(trained.root.children) == ["model", "optimizer", *other.root.children]
    assert trained["more/back"] is trained.root
    assert [each.name for each in trained.root.slots] == ["m"]
    check(trained)


@pytest.mark.parametrize(
    "owned", [{"attributes": [Attribute("a", "", "k")]}, {"registered_saver": RegisteredSaver("s", "o")}]
)
def test_a_root_with_values_of_its_own_is_not_joined(trained, owned):
    with pytest.raises(tb.ConflictError, match="its root object has values of its own"):
        trained.absorb(ObjectGraph(Node(**owned)))


def test_roots_with_children_of_one_name_are_not_joined(trained):
    other = ObjectGraph(Node(children={"optimizer": Node(), "x": Node(), "model": Node()}))
    with pytest.raises(tb.ConflictError, match=r"both root objects have 'optimizer', 'model'$"):
        trained.absorb(other)


def test_everything_below_a_fresh_root(trained):
    old = trained.root
    trained.nest("a.b")
    assert trained["a..b"] is old
    assert trained["a..b/model/layer/kernel"].attributes[0].checkpoint_key == attribute_key(
        "a..b/model/layer/kernel"
    )
    check(trained)


@pytest.mark.parametrize(
    ("moves", "reason"),
    [
        ({"model": "model"}, "an object can't move to 'model'"),
        ({"model/layer/.": "z"}, "no such object"),
        ({"model": "a.b"}, "as a path it is 'a..b'"),
        ({"": "x"}, "have no name of their own"),
        ({"model/layer/kernel/.OPTIMIZER_SLOT/optimizer/m": "x"}, "have no name of their own"),
    ],
)
def test_moves_that_can_not_be(trained, moves, reason):
    with pytest.raises(tb.BundleError, match=reason):
        trained.move(moves)


def test_an_object_that_moves_twice(trained):
    """By two paths that lead over one edge."""
    trained["optimizer"].children["model"] = trained["model"]
    with pytest.raises(tb.ConflictError, match="moves twice, by two of its paths") as caught:
        trained.move({"model/layer": "x", "optimizer/model/layer": "y"})
    assert caught.value.key == "optimizer/model/layer"


def test_a_node_in_a_debugger(trained):
    assert repr(trained["model/layer/kernel"]).startswith("Node(")
    assert repr(Node(id=3, children={"a": Node()})) == "Node(3, children=['a'], keys=[])"


def test_a_child_without_a_name_that_has_children():
    """Its path is that of the root, and those of its children are not those of the root's."""
    root = Node(children={"": Node(children={"x": Node(), "": Node()}), "x": Node()})
    root.children["x"].children[""] = Node(children={"y": Node()})
    graph = ObjectGraph(root)
    assert [path for path, _ in graph.walk()] == ["", "", "x", "/x", "/", "x/", "x//y"]
    assert graph["x"] is root.children["x"]
    assert graph["/x"] is root.children[""].children["x"]
    assert graph["x//y"] is root.children["x"].children[""].children["y"]
    nested = ObjectGraph.from_nested({"": {"x": "first"}, "x": "second"})
    assert {each.checkpoint_key: each.full_name for _, _, each in nested.attributes()} == {
        "/x/.ATTRIBUTES/VARIABLE_VALUE": "first",
        "x/.ATTRIBUTES/VARIABLE_VALUE": "second",
    }


def test_move_out_of_a_child_of_the_root_without_a_name():
    inner = variable("/x")
    graph = ObjectGraph(Node(children={"": Node(children={"x": inner}), "x": variable("x")}))
    graph.renumber()
    assert graph.move({"/x": "y"}) == {"/x": "y"}
    assert graph["y"] is inner
    assert "x" in graph.root.children
    check(graph)


@pytest.mark.slow
def test_paths_that_no_memory_holds_are_refused():
    """30,000 objects, each the child of the one before."""
    message = checkpoint_pb2.TrackableObjectGraph()
    for number in range(1, 30_001):
        message.nodes.add().children.add(node_id=number, local_name="x")
    message.nodes.add()
    with pytest.raises(tb.CorruptionError, match=r"more than [0-9]+ characters in total"):
        ObjectGraph.parse(message.SerializeToString())


def test_long_paths_of_slot_variables_are_refused():
    """A thousand slots of one variable with a long name, which is in the path of each."""
    kernel, optimizer = variable("long"), Node()
    optimizer.slots = [Slot(f"s{number}", kernel, variable("slot")) for number in range(1000)]
    graph = ObjectGraph(Node(children={"x" * 20_000: kernel, "optimizer": optimizer}))
    with pytest.raises(tb.CorruptionError, match=r"more than [0-9]+ characters in total"):
        ObjectGraph.parse(graph.encode())


def test_move_below_itself_wraps_an_object(trained):
    model = trained["model"]
    changed = trained.move({"model": "model/net"})
    assert changed["model/layer/kernel"] == "model/net/layer/kernel"
    assert list(trained.root.children) == ["model", "optimizer"]  # in its old place
    assert list(trained["model"].children) == ["net"]
    assert trained["model/net"] is model is trained["optimizer"].children["model"]
    check(trained)


def test_objects_of_a_slot_variable_count_after_it(trained):
    """TensorFlow never writes such a graph; an edit of one that exists must not lose them."""
    slot, kernel = trained["optimizer"].slots[0].slot, trained["model/layer/kernel"]
    slot.children["held"] = variable(f"{PATHS[-2]}/held")
    # The held object is an optimizer itself, with a slot for a variable that comes after it.
    late, later = (variable(f"{PATHS[-2]}/held/{name}") for name in ("late", "late/.OPTIMIZER_SLOT/x/s"))
    trained["optimizer"].slots[1].slot.children["late"] = late
    slot.children["held"].slots = [Slot("s", late, later), Slot("other", kernel, late)]
    graph = ObjectGraph(trained.root)
    assert [path for path, _ in graph.walk()] == [
        *PATHS,
        f"{PATHS[-2]}/held",
        f"{PATHS[-1]}/late",
        f"{PATHS[-1]}/late/.OPTIMIZER_SLOT/{PATHS[-2]}/held/s",
    ]
    again = ObjectGraph.parse(graph.encode())
    assert [path for path, _ in again.walk()] == [path for path, _ in graph.walk()]
    changed = again.rename("optimizer", "adam")
    assert changed[f"{PATHS[-2]}/held"] == f"{PATHS[-2]}/held".replace("/optimizer/", "/adam/")
    assert f"{PATHS[-1]}/late".replace("/optimizer/", "/adam/") in again
    assert len(ObjectGraph.parse(again.encode())) == len(graph)


def test_a_slot_waits_for_a_variable_that_hangs_on_another_slot_variable(trained):
    late = variable(f"{PATHS[-2]}/late")
    optimizer = trained["optimizer"]
    optimizer.slots[0].slot.children["late"] = late
    optimizer.slots.append(Slot("s", late, variable(f"{PATHS[-2]}/late/.OPTIMIZER_SLOT/optimizer/s")))
    graph = ObjectGraph(trained.root)
    paths = [path for path, _ in graph.walk()]
    assert paths == [*PATHS, f"{PATHS[-2]}/late", f"{PATHS[-2]}/late/.OPTIMIZER_SLOT/optimizer/s"]
    assert [path for path, _ in ObjectGraph.parse(graph.encode()).walk()] == paths


def test_encoding_refuses_what_parsing_would(trained):
    trained["model"].children["new"] = Node()
    with pytest.raises(tb.ConflictError, match="node 1: an edge to an object outside of the graph"):
        trained.encode()
    trained.renumber()
    assert "model/new" in ObjectGraph.parse(trained.encode())
    trained["optimizer"].slots[0].slot = Node(id=len(trained))
    with pytest.raises(tb.ConflictError, match="node 2: an edge to an object outside of the graph"):
        trained.encode()


def test_encoding_refuses_names_that_are_not_text():
    graph = ObjectGraph(Node(children={"\udcff": Node()}))
    with pytest.raises(tb.ConflictError, match=r"UTF-8, and '\\udcff' is not"):
        graph.encode()


def test_move_of_many_in_place_and_to_the_root():
    """In linear time, and in their order."""

    def prepare(count):
        names = [f"n{number}" for number in range(count)]
        graph = ObjectGraph.from_names(names)

        def work():
            graph.move({f"vars/{name}": f"vars/m{name}" for name in names})
            assert list(graph["vars"].children) == [f"m{name}" for name in names]
            graph.move({"vars": ""})
            assert list(graph.root.children) == ["save_counter", *(f"m{name}" for name in names)]
            check(graph)

        return work

    assert growth(prepare, 2_000 if DEEP else 100) < 5


# In a checkpoint


def test_it_comes_back_from_a_checkpoint(tmp_path):
    graph = ObjectGraph.from_names(["w"])
    with tb.create(tmp_path / "m") as writer:
        writer.add("vars/w/.ATTRIBUTES/VARIABLE_VALUE", 1.0)
        writer.add_object_graph(graph)
    with tb.open(tmp_path / "m") as ckpt:
        assert ckpt.object_graph.encode() == graph.encode()
        assert ckpt.object_graph is ckpt.object_graph


def test_its_last_byte_may_be_zero(tmp_path):
    """has_checkpoint_values false is `2a 00`."""
    graph = ObjectGraph.from_names([], save_counter=False)
    assert graph.encode()[-1] == 0
    with tb.create(tmp_path / "m") as writer:
        writer.add_object_graph(graph)
    with tb.open(tmp_path / "m") as ckpt:
        assert ckpt.object_graph.encode() == graph.encode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([b"\x0a\x00", b""], "2 values of string, expected one string"),
        (1.5, "1 values of float64, expected one string"),
        (b"no graph", "not an object graph"),
    ],
)
def test_a_value_that_is_no_graph(tmp_path, value, reason):
    with tb.create(tmp_path / "m") as writer:
        writer.add(OBJECT_GRAPH_KEY, value)
    with tb.open(tmp_path / "m") as ckpt:
        with pytest.raises(tb.CorruptionError, match=reason) as caught:
            _ = ckpt.object_graph
        assert (caught.value.path, caught.value.key) == (str(tmp_path / "m"), OBJECT_GRAPH_KEY)


def test_name_based_checkpoints_have_none(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("w", 1.0)
    with tb.open(tmp_path / "m") as ckpt:
        assert ckpt.object_graph is None


def test_a_root_stays_when_its_tensors_go():
    graph = ObjectGraph(Node(attributes=[Attribute("o", "", "k")]))
    graph.drop_keys({"k"}, set())
    assert (len(graph), graph.root.attributes) == (1, [])


def test_a_slot_that_is_listed_twice_counts_once():
    variable_node, slot = raw('1a07 0801 1201 "m" 1802'), raw('1a07 0801 1201 "n" 1802')
    optimizer = raw('0a06 0801 1202 "va" 0a06 0802 1202 "sl"') + 3 * variable_node + slot
    data = raw("0a") + bytes([len(optimizer)]) + optimizer + 2 * raw("0a00")
    graph = ObjectGraph.parse(data)
    assert [each.name for each in graph.root.slots] == ["m", "n"]
    assert graph.encode() == data  # as long as nothing was edited
    graph.root.slots.pop()
    assert graph.encode() == raw("0a") + bytes([len(optimizer) - 27]) + optimizer[:-27] + 2 * raw("0a00")


@pytest.mark.slow
def test_nodes_without_edges_are_not_believed():
    most = 1000
    assert len(ObjectGraph.parse(raw("0a00") * most)) == most
    with pytest.raises(
        tb.CorruptionError, match="object graph of 2000 nodes in 4000 bytes: too few for their edges"
    ):
        ObjectGraph.parse(raw("0a00") * 2 * most)


def test_moving_every_object_makes_no_object_that_is_not_needed(monkeypatch):
    made = []

    class Counted(Node):
        def __init__(self, *args, **kwargs):
            made.append(self)
            super().__init__(*args, **kwargs)

    graph = ObjectGraph.from_names(["a/" * 100 + f"v{number}" for number in range(10)], save_counter=False)
    monkeypatch.setattr("tensorbundle.proto.moving.Node", Counted)
    moves = {path: f"x/{path}" for path in graph.paths().values() if path}
    graph.move(moves)
    assert len(made) == 1
    assert "x/vars/" + "a.S" * 100 + "v3" in graph


def test_what_was_stored_is_encoded_no_further_than_the_first_edit(monkeypatch):
    graph = ObjectGraph.parse(ObjectGraph.from_names([f"a{number}" for number in range(100)]).encode())
    graph.rename("vars", "variables")
    encoded = []
    encode = nodes._encode_node
    monkeypatch.setattr(nodes, "_encode_node", lambda node: encoded.append(node) or encode(node))
    data = graph.encode()
    assert len(encoded) == len(graph) + 1
    assert ObjectGraph.parse(data).encode() == data


def test_what_was_stored_is_not_encoded_after_an_object_was_dropped(monkeypatch):
    graph = ObjectGraph.parse(WORKED)
    graph.drop("zed")
    encoded = []
    encode = nodes._encode_node
    monkeypatch.setattr(nodes, "_encode_node", lambda node: encoded.append(node) or encode(node))
    assert list(ObjectGraph.parse(graph.encode()).paths().values()) == ["", "alpha", "save_counter"]
    assert len(encoded) == 3


def test_a_graph_is_as_many_bytes_as_it_says():
    whole = ObjectGraph.from_names(["v1", "v2", "v3"], root="", save_counter=False)
    whole.nodes[-1].children["back"] = whole.root
    encoded = nodes.encode_nodes(whole.nodes)
    assert nodes.encode_nodes(nodes.decode_nodes(encoded)) == encoded
    assert nodes.is_encoding_of(encoded, 4, encoded)
    assert not nodes.is_encoding_of(encoded, 3, encoded)
    assert not nodes.is_encoding_of(encoded + b"\0", 4, encoded)
    for end in range(len(encoded)):
        with pytest.raises(tb.CorruptionError):
            nodes.decode_nodes(encoded[:end])


def test_keys_to_drop_may_be_a_list():
    """Each was looked for in a list of all."""
    nested = ObjectGraph.from_names([f"v{number}" for number in range(1000)])
    looked = []

    class Key(str):
        __slots__ = ()

        def __eq__(self, other):
            looked.append(other)
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    keys = [Key(each.checkpoint_key) for _, _, each in nested.attributes()]
    nested.drop_keys(keys, ())
    assert len(looked) < 5000
    assert list(nested.attributes()) == []
