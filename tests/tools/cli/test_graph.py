"""`tensorbundle graph`."""

import json

import numpy as np
import pytest

import tensorbundle as tb
from support.cli import GOLDEN
from support.depth import sample
from tensorbundle import tools
from tensorbundle.index import BundleIndex
from tensorbundle.proto.graph import Attribute, Node, ObjectGraph, RegisteredSaver, Slot
from tensorbundle.tools.operations.inspecting.graph_view import graph

CYCLIC = """\
(root) #0  tf.train.Checkpoint
├─ module #1
│  ├─ self_ref -> #1
│  ├─ child #3
│  │  ├─ parent -> #1
│  │  └─ v #5  float32 [2]
│  ├─ w #4  float32 [3]
│  └─ checkpoint -> #0
└─ save_counter #2  int64 []
"""
SHARED = """\
(root) #0  tf.train.Checkpoint
├─ all #1  list-like
│  ├─ 0 -> #2
│  ├─ 1 -> #3
│  └─ 2 #5  float32 [2,3] 'kernel'
├─ decoder #2
│  ├─ tied -> #5
│  ├─ encoder -> #3
│  └─ bias #6  float32 [3]
├─ encoder #3
│  └─ kernel -> #5
└─ save_counter #4  int64 []
"""
SLOTS = """\
(root) #0  tf.train.Checkpoint
├─ net #1  Keras 2 Sequential model
│  ├─ layer_with_weights-0 #5
│  │  ├─ kernel #13  float32 [2,3] 'dense/kernel'
│  │  │  ├─ m (slot of #2) #17  float32 [2,3] 'Adam/dense/kernel/m'
│  │  │  └─ v (slot of #2) #21  float32 [2,3] 'Adam/dense/kernel/v'
│  │  └─ bias #14  float32 [3] 'dense/bias'
│  │     ├─ m (slot of #2) #18  float32 [3] 'Adam/dense/bias/m'
│  │     └─ v (slot of #2) #22  float32 [3] 'Adam/dense/bias/v'
│  ├─ layer-0 -> #5
│  ├─ layer_with_weights-1 #6
│  │  ├─ kernel #15  float32 [3,1] 'dense_1/kernel'
│  │  │  ├─ m (slot of #2) #19  float32 [3,1] 'Adam/dense_1/kernel/m'
│  │  │  └─ v (slot of #2) #23  float32 [3,1] 'Adam/dense_1/kernel/v'
│  │  └─ bias #16  float32 [1] 'dense_1/bias'
│  │     ├─ m (slot of #2) #20  float32 [1] 'Adam/dense_1/bias/m'
│  │     └─ v (slot of #2) #24  float32 [1] 'Adam/dense_1/bias/v'
│  ├─ layer-1 -> #6
│  ├─ optimizer -> #2
│  ├─ train_tf_function #7  Keras bookkeeping
│  └─ train_function -> #7
├─ optimizer #2  Keras legacy optimizer
│  ├─ iter #8  int64 [] 'Adam/iter'
│  ├─ beta_1 #9  float32 [] 'Adam/beta_1'
│  ├─ beta_2 #10  float32 [] 'Adam/beta_2'
│  ├─ decay #11  float32 [] 'Adam/decay'
│  └─ learning_rate #12  float32 [] 'Adam/learning_rate'
├─ step #3  int32 []
└─ save_counter #4  int64 []
"""


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("cyclic", CYCLIC),
        ("shared-nodes", SHARED),
        ("keras-legacy-adam-slots", SLOTS),
        (
            "python-state",
            (
                "(root) #0  tf.train.Checkpoint\n├─ progress #1  Python state  py_state string []\n"
                "├─ v #2  float32 []\n└─ save_counter #3  int64 []\n"
            ),
        ),
        (
            "registered-saver",
            (
                "(root) #0  tf.train.Checkpoint\n├─ blob #1  saved by Golden.Blob\n"
                "├─ v #2  float32 [2]\n└─ save_counter #3  int64 []\n"
            ),
        ),
        (
            "tables",
            (
                "(root) #0  tf.train.Checkpoint\n├─ module #1\n"
                "│  ├─ table #3  lookup table  table-keys string [1]  table-values int64 [1]\n"
                "│  └─ v #4  float32 []\n└─ save_counter #2  int64 []\n"
            ),
        ),
        (
            "iterator",
            (
                "(root) #0  tf.train.Checkpoint\n├─ iterator #1  dataset iterator  ITERATOR_STATE variant [4]\n"
                "├─ step #2  int32 []\n└─ save_counter #3  int64 []\n"
            ),
        ),
        (
            "sharded-variable",
            "(root) #0  tf.train.Checkpoint\n├─ emb #1  float32 [5,2] in 2 slices\n└─ save_counter #2  int64 []\n",
        ),
        ("variable-root/only", "(root) #0  float32 [] 'only'\n└─ root -> #0\n"),
        ("graph-only/nothing", "(root) #0\n├─ empty #1\n└─ settings #2\n"),
    ],
    ids=lambda each: each.partition("\n")[0],
)
def test_tree(run, in_golden, path, text):
    output = run("graph", path)
    assert (output.out, output.err) == (text, "")
    assert run("graph", path, "--format", "tree") == output


@pytest.mark.parametrize(
    ("depth", "text"),
    [
        (-1, "(root) #0  tf.train.Checkpoint\n├─ module #1 ...\n└─ save_counter #2 ...\n"),
        (0, "(root) #0  tf.train.Checkpoint\n├─ module #1 ...\n└─ save_counter #2 ...\n"),
        (
            1,
            (
                "(root) #0  tf.train.Checkpoint\n├─ module #1\n│  ├─ self_ref -> #1\n│  ├─ child #3 ...\n│  ├─ w #4 ...\n"
                "│  └─ checkpoint -> #0\n└─ save_counter #2  int64 []\n"
            ),
        ),
        (3, CYCLIC),
        (99, CYCLIC),
    ],
)
def test_depth(run, in_golden, depth, text):
    assert run("graph", "cyclic", "--depth", depth).out == text


def test_slots_have_the_depth_of_their_variables(run, in_golden):
    def ids(depth):
        return {
            record["id"]
            for record in run("graph", "keras-legacy-adam-slots", "--depth", depth, "--json").records
        }

    assert ids(2) == set(range(13))
    assert ids(3) == set(range(25))


LAYER = """\
net/layer_with_weights-1 #6
├─ kernel #15  float32 [3,1] 'dense_1/kernel'
│  ├─ m (slot of #2) #19  float32 [3,1] 'Adam/dense_1/kernel/m'
│  └─ v (slot of #2) #23  float32 [3,1] 'Adam/dense_1/kernel/v'
└─ bias #16  float32 [1] 'dense_1/bias'
   ├─ m (slot of #2) #20  float32 [1] 'Adam/dense_1/bias/m'
   └─ v (slot of #2) #24  float32 [1] 'Adam/dense_1/bias/v'
"""


@pytest.mark.parametrize(
    ("checkpoint", "path", "text"),
    [
        ("cyclic", "", CYCLIC),
        ("cyclic", "(root)", CYCLIC),
        ("cyclic", "module/checkpoint", CYCLIC),
        ("cyclic", "module/child", "module/child #3\n├─ parent -> #1\n└─ v #5  float32 [2]\n"),
        (
            "cyclic",
            "module/child/parent",
            (
                "module #1\n├─ self_ref -> #1\n├─ child #3\n│  ├─ parent -> #1\n│  └─ v #5  float32 [2]\n"
                "├─ w #4  float32 [3]\n└─ checkpoint -> #0\n"
            ),
        ),
        ("shared-nodes", "encoder", "encoder #3\n└─ kernel #5  float32 [2,3]\n"),
        ("keras-legacy-adam-slots", "net/layer_with_weights-1", LAYER),
        ("keras-legacy-adam-slots", "net/layer-1", LAYER),
        ("keras-legacy-adam-slots", "(root).net.layer_with_weights-1", LAYER),
        (
            "keras-legacy-adam-slots",
            "Adam/dense_1/bias/m",
            (
                "net/layer_with_weights-1/bias/.OPTIMIZER_SLOT/optimizer/m #20  float32 [1] 'Adam/dense_1/bias/m'\n"
            ),
        ),
        (
            "keras-legacy-adam-slots",
            "net/layer_with_weights-1/bias/.ATTRIBUTES/VARIABLE_VALUE",
            (
                "net/layer_with_weights-1/bias #16  float32 [1] 'dense_1/bias'\n"
                "├─ m (slot of #2) #20  float32 [1] 'Adam/dense_1/bias/m'\n"
                "└─ v (slot of #2) #24  float32 [1] 'Adam/dense_1/bias/v'\n"
            ),
        ),
    ],
)
def test_a_part(run, in_golden, checkpoint, path, text):
    assert run("graph", checkpoint, path).out == text


def test_a_part_has_the_ids_and_paths_of_the_whole(run, in_golden):
    whole = run("graph", "keras-legacy-adam-slots", "--json").records
    part = run("graph", "keras-legacy-adam-slots", "net/layer_with_weights-1", "--json").records
    assert part == [whole[number] for number in (6, 15, 16, 19, 20, 23, 24)]


def test_the_depth_of_a_part_is_from_its_top(run, in_golden):
    output = run("graph", "keras-legacy-adam-slots", "net/layer_with_weights-1", "--depth", 0)
    assert output.out == "net/layer_with_weights-1 #6\n├─ kernel #15 ...\n└─ bias #16 ...\n"
    assert run("graph", "keras-legacy-adam-slots", "net/layer_with_weights-1", "--depth", 1).out == LAYER


@pytest.mark.parametrize("form", ["tree", "json", "dot"])
def test_a_path_that_does_not_exist(run, in_golden, form):
    assert run.error("graph", "cyclic", "module/chid", "--format", form) == (
        "cyclic/ckpt-1: no object has the name 'module/chid'; near: 'module/child', 'module/child/v', 'module/w'"
    )


VARIABLES = """\
(root) #0
├─ save_counter #2  int64 []
├─ module/w #4  float32 [3] 'w'
└─ module/child/v #5  float32 [2] 'v'
"""


def test_variables(run, in_golden):
    """Only variables, in each form, by their paths."""
    assert run("graph", "cyclic", "--variables").out == VARIABLES
    assert run("graph", "cyclic", "module/child", "--variables").out == (
        "module/child #3\n└─ module/child/v #5  float32 [2] 'v'\n"
    )
    assert run("graph", "cyclic", "--variables", "--depth", 1).out == (
        "(root) #0\n└─ save_counter #2  int64 []\n"
    )
    whole = run("graph", "cyclic", "--json").records
    assert run("graph", "cyclic", "--variables", "--json").records == [whole[2], whole[4], whole[5]]
    assert run("graph", "cyclic", "--variables", "--format", "mermaid").out == (
        'flowchart LR\n  n2["save_counter  int64 []"]\n  n4["module/w  float32 [3] \'w\'"]\n'
        "  n5[\"module/child/v  float32 [2] 'v'\"]\n"
    )


def test_slots_among_variables(run, in_golden):
    """Each below its variable, once; drawn as arrows between the two."""
    command = ["graph", "keras-legacy-adam-slots", "--variables"]
    lines = run(*command).out.splitlines()
    at = lines.index("├─ net/layer_with_weights-0/bias #14  float32 [3] 'dense/bias'")
    assert lines[at + 1] == "│  ├─ m (slot of #2) #18  float32 [3] 'Adam/dense/bias/m'"
    ids = [int(line.split("#")[-1].split()[0]) for line in lines]
    assert sorted(ids) == [0, 3, 4, *range(8, 25)]
    arrows = [line for line in run(*command, "--format", "dot").out.splitlines() if "->" in line]
    assert len(arrows) == 8
    assert '  n13 -> n17 [label="m of #2", style=dashed];' in arrows


def test_a_root_that_is_a_variable(run, in_golden):
    assert run("graph", "variable-root/only", "--variables").out == "(root) #0  float32 [] 'only'\n"


def test_parts_in_python(in_golden):
    view = tools.graph("cyclic", path="module/child", variables=True)
    assert list(view.paths.values()) == ["module/child/v"]
    assert (view.root.id, view.path, [node.id for node in view.nodes]) == (3, "module/child", [5])
    with pytest.raises(tb.TensorNotFoundError, match=r"'modul'; near: 'module'"):
        tools.graph("cyclic", path="modul")


def test_json(run, in_golden):
    output = run("graph", "shared-nodes", "--json")
    assert output.records[:4] == [
        {"id": 0, "path": "", "children": {"all": 1, "decoder": 2, "encoder": 3, "save_counter": 4}}
        | {"attributes": [], "slots": [], "hint": "tf.train.Checkpoint"},
        {"id": 1, "path": "all", "children": {"0": 2, "1": 3, "2": 5}}
        | {"attributes": [], "slots": [], "hint": "list-like"},
        {"id": 2, "path": "decoder", "children": {"tied": 5, "encoder": 3, "bias": 6}}
        | {"attributes": [], "slots": [], "hint": None},
        {"id": 3, "path": "encoder", "children": {"kernel": 5}}
        | {"attributes": [], "slots": [], "hint": None},
    ]
    assert output.records[5] == {
        "id": 5,
        "path": "all/2",
        "children": {},
        "attributes": [
            {
                "name": "VARIABLE_VALUE",
                "full_name": "kernel",
                "checkpoint_key": "all/2/.ATTRIBUTES/VARIABLE_VALUE",
            }
        ],
        "slots": [],
        "hint": "variable",
    }
    assert [record["id"] for record in output.records] == list(range(7))  # shared nodes once
    assert output.err == ""
    assert run("graph", "shared-nodes", "--format", "json") == output
    assert run("graph", "shared-nodes", "--format", "json", "--json") == output


def test_json_slots(run, in_golden):
    records = run("graph", "keras-legacy-adam-slots", "--json").records
    assert [record["id"] for record in records if record["slots"]] == [2]
    assert records[2]["slots"][:2] == [
        {"name": "m", "optimizer": 2, "variable": 13, "slot": 17},
        {"name": "m", "optimizer": 2, "variable": 14, "slot": 18},
    ]
    assert (records[2]["hint"], records[17]["hint"]) == ("Keras legacy optimizer", "slot variable")
    assert records[17]["path"] == "net/layer_with_weights-0/kernel/.OPTIMIZER_SLOT/optimizer/m"
    assert list(records[0]) == ["id", "path", "children", "attributes", "slots", "hint"]


def test_json_of_a_registered_saver(run, in_golden):
    records = run("graph", "registered-saver", "--json").records
    assert records[1]["registered_saver"] == {"name": "Golden.Blob", "object_name": "blob"}


def test_dot(run, in_golden):
    assert run("graph", "cyclic", "--format", "dot").out == (
        "digraph checkpoint {\n"
        "  node [shape=box, fontname=monospace];\n"
        '  n0 [label="(root)  tf.train.Checkpoint"];\n'
        '  n1 [label="module"];\n'
        '  n2 [label="save_counter  int64 []"];\n'
        '  n3 [label="child"];\n'
        '  n4 [label="w  float32 [3]"];\n'
        '  n5 [label="v  float32 [2]"];\n'
        '  n0 -> n1 [label="module"];\n'
        '  n0 -> n2 [label="save_counter"];\n'
        '  n1 -> n1 [label="self_ref"];\n'
        '  n1 -> n3 [label="child"];\n'
        '  n1 -> n4 [label="w"];\n'
        '  n1 -> n0 [label="checkpoint"];\n'
        '  n3 -> n1 [label="parent"];\n'
        '  n3 -> n5 [label="v"];\n'
        "}\n"
    )


def test_mermaid(run, in_golden):
    assert run("graph", "cyclic", "--format", "mermaid", "--depth", 1).out == (
        "flowchart LR\n"
        '  n0["(root)  tf.train.Checkpoint"]\n'
        '  n1["module"]\n'
        '  n2["save_counter  int64 []"]\n'
        '  n0 -->|"module"| n1\n'
        '  n0 -->|"save_counter"| n2\n'
        '  n1 -->|"self_ref"| n1\n'
        '  n1 -->|"checkpoint"| n0\n'
    )


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("dot", '  n13 -> n17 [label="m of #2", style=dashed];'),
        ("mermaid", '  n13 -.->|"m of #35;2"| n17'),
    ],
)
def test_slots_are_dashed(run, in_golden, form, line):
    assert line in run("graph", "keras-legacy-adam-slots", "--format", form).out.split("\n")


def write(prefix, graph, *keys):
    with tb.create(prefix) as writer:
        for key in keys:
            writer.add(key, np.float32(1))
        writer.add("_CHECKPOINTABLE_OBJECT_GRAPH", np.array(graph.encode(), object))
    return prefix


NAMES = ['"quoted"', "back\\slash", "<b>&amp;", "ünïcode ✓", "#35;", "a;b|c", "x\ty"]


@pytest.mark.parametrize("form", ["dot", "mermaid"])
def test_names_that_mean_something_in_a_drawing(run, tmp_path, form):
    """Whatever a name is, its quotes stay closed, and what is no control character is shown as it is."""
    graph = ObjectGraph(Node(children={name: Node() for name in NAMES}))
    output = run("graph", write(tmp_path / "m", graph), "--format", form)
    lines = output.out.split("\n")
    assert len(lines) == 2 + len(NAMES) * 2 + (1 if form == "mermaid" else 3)
    assert all(line.replace('\\"', "").count('"') in (0, 2) for line in lines)
    assert sum("ünïcode ✓" in line for line in lines) == 2
    if form == "mermaid":
        assert sum("#lt;b#gt;#amp;amp;" in line for line in lines) == 2
        assert sum('"#35;35;"' in line for line in lines) == 2  # else it shows as '#'
    else:
        assert sum("x\\\\ty" in line for line in lines) == 2


def test_a_variable_that_is_not_stored_or_stored_elsewhere(run, tmp_path):
    root = Node()
    root.children["lost"] = Node(attributes=[Attribute("VARIABLE_VALUE", "lost", "lost/.ATTRIBUTES/V")])
    root.children["moved"] = Node(attributes=[Attribute("VARIABLE_VALUE", "", "somewhere")])
    root.children["mine"] = Node(registered_saver=RegisteredSaver("My.Saver", "mine"))
    path = write(tmp_path / "m", ObjectGraph(root), "somewhere")
    assert run("graph", path).out == (
        "(root) #0\n"
        "├─ lost #1  not stored key lost/.ATTRIBUTES/V\n"
        "├─ moved #2  float32 [] key somewhere\n"
        "└─ mine #3  saved by My.Saver\n"
    )


def test_a_graph_that_ends_with_an_object_without_values(run, tmp_path):
    """The last byte of its encoding is then 00."""
    graph = ObjectGraph(Node(children={"empty": Node()}))
    graph.mark_values()
    with tb.create(tmp_path / "m") as writer:
        writer.add_object_graph(graph)
    assert run("graph", tmp_path / "m").out == "(root) #0\n└─ empty #1\n"


def test_nodes_that_nothing_leads_to(run, tmp_path):
    graph = ObjectGraph(Node(children={"a": Node()}))
    graph.nodes.append(Node(id=2, attributes=[Attribute("VARIABLE_VALUE", "lost", "k")]))
    path = write(tmp_path / "m", graph)
    assert run("graph", path).out == "(root) #0\n└─ a #1\n"
    assert [record["path"] for record in run("graph", path, "--json").records] == ["", "a", None]
    assert len(run("graph", path, "--json", "--depth", 9).records) == 2


def test_slots_of_slots(run, tmp_path):
    """A slot variable may be somebody's variable, and the optimizer's own slot; nothing goes round in circles."""
    root = Node(children={"v": Node(), "o": Node()})
    variable, optimizer = root.children.values()
    optimizer.slots = [
        Slot("m", variable, Node()),
        Slot("self", optimizer, optimizer),
        Slot("v", variable, variable),
    ]
    graph = ObjectGraph(root)
    assert run("graph", write(tmp_path / "m", graph)).out == (
        "(root) #0\n"
        "├─ v #1\n"
        "│  ├─ m (slot of #2) #3\n"
        "│  └─ v (slot of #2) -> #1\n"
        "└─ o #2  TF1 optimizer\n"
        "   └─ self (slot of #2) -> #2\n"
    )
    variable.attributes = [Attribute("VARIABLE_VALUE", "", "v")]
    optimizer.slots[0].slot.attributes = [Attribute("VARIABLE_VALUE", "", "m")]
    assert run("graph", write(tmp_path / "n", graph, "m", "v"), "--variables").out == (
        "(root) #0\n"
        "└─ v #1  float32 [] key v\n"
        "   ├─ m (slot of #2) #3  float32 [] key m\n"
        "   └─ v (slot of #2) -> #1\n"
    )


@pytest.mark.parametrize("form", ["tree", "json", "dot", "mermaid"])
def test_a_long_chain_of_objects(run, tmp_path, form):
    """Longer than Python's stack."""
    root = node = Node()
    for _ in range(1200):
        node.children["n"] = node = Node()
    path = write(tmp_path / "m", ObjectGraph(root))
    output = run("graph", path, "--format", form)
    assert output.out.count("\n") == {"tree": 202, "json": 1201, "dot": 2404, "mermaid": 2402}[form]
    assert len(run("graph", path, "n/n/n", "--json").records) == 1198
    assert form != "tree" or output.out.endswith("└─ n #201 ...\n")
    assert run("graph", path, "--depth", 300).out.endswith("└─ n #301 ...\n")
    assert run("graph", path, "--depth", 2).out == "(root) #0\n└─ n #1\n   └─ n #2\n      └─ n #3 ...\n"


def test_two_edges_to_every_object(run, tmp_path):
    """2**100 ways lead to the last one, and each object is visited once."""
    root = node = Node()
    for _ in range(100):
        child = Node()
        node.children.update(a=child, b=child)
        node = child
    path = write(tmp_path / "m", ObjectGraph(root))
    assert run("graph", path).out.count("\n") == 201
    assert run("graph", path, "a").out.count("\n") == 199
    assert len(run("graph", path, "--json", "--depth", 10**12).records) == 101


@pytest.mark.parametrize("form", [[], ["--json"], ["--format", "dot"]])
def test_a_name_based_checkpoint_has_no_graph(run, in_golden, form):
    assert run.error("graph", "guide-tf1", *form) == (
        "guide-tf1/tf1-ckpt: a name-based (TF1) checkpoint, which has no object graph; "
        "'tensorbundle ls' lists its tensors"
    )


@pytest.mark.parametrize("form", ["tree", "dot", "mermaid"])
def test_json_of_another_format(run, in_golden, form):
    message = run.error("graph", "guide-tf2", "--json", "--format", form)
    assert message == f"--json prints JSON, and --format {form} does not"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"\xff\xff", "not an object graph: "),
        (b"", "an object graph without nodes"),
        (bytes.fromhex("0a05 0a03 0801 12"), "not an object graph: "),
        (bytes.fromhex("0a04 0a02 0807"), "object graph node 0: child '' is node 7, there are 1"),
        (np.float32([1, 2]), "2 values of float32, expected one string"),
    ],
    ids=["garbage", "empty", "cut", "edge", "numbers"],
)
def test_a_damaged_graph(run, tmp_path, value, message):
    with tb.create(tmp_path / "m") as writer:
        writer.add("_CHECKPOINTABLE_OBJECT_GRAPH", value)
    found = run.error("graph", tmp_path / "m")
    assert found.startswith(f"{tmp_path / 'm'}: key '_CHECKPOINTABLE_OBJECT_GRAPH': {message}")


def test_the_readme_of_goldens_is_not_a_checkpoint(run):
    assert run.error("graph", GOLDEN / "README.md").startswith(f"{GOLDEN / 'README.md'}: offset ")


def test_every_golden_graph(run):
    """Each form is printed, and the JSON has as many objects as the graph has."""
    for index in sample(sorted(GOLDEN.rglob("*.index")), 12):
        with tb.open(index) as ckpt:
            graph = ckpt.object_graph
        if graph is None:
            continue
        lines = run("graph", index, "--json").out.split("\n")[:-1]
        assert [json.loads(line)["id"] for line in lines] == [node.id for node in graph.nodes]
        for form in ("tree", "dot", "mermaid"):
            assert run("graph", index, "--format", form).err == ""


@pytest.mark.parametrize("name", ["keras-legacy-adam-slots", "tables"])
def test_a_view_of_few_objects_reads_few_entries(in_golden, monkeypatch, name):
    """And says the same of them as a view of all."""
    whole = graph(name)
    if name != "tables":  # whose keys only begin with the keys in the graph
        monkeypatch.setattr(BundleIndex, "raw_groups", None)
    part = graph(name, 2)
    assert len(part.nodes) > 1
    by_id = {node.id: node for node in whole.nodes}
    for node in part.nodes:
        same = by_id[node.id]
        assert part.hints.get(node) == whole.hints.get(same)
        for each, other in zip(node.attributes, same.attributes, strict=True):
            assert list(part.tensors.of(each)) == list(whole.tensors.of(other))
