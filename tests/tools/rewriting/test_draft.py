"""Drafts: what each key is, before and after edits, and the plan that comes of it."""

import numpy as np
import pytest

import tensorbundle as tb
from support.rewriting import finished, keras_like, strings, tree, write, write_objects
from tensorbundle.dtypes import DType
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, attribute_key
from tensorbundle.slices import readable_key
from tensorbundle.tools.operations.editing.layout import even_slices, partition, unpartition
from tensorbundle.tools.operations.editing.renaming import rename
from tensorbundle.tools.operations.editing.rules import parse_rule
from tensorbundle.tools.rewriting.draft import Draft
from tensorbundle.tools.rewriting.expressions import Cast, Constant
from tensorbundle.tools.rewriting.plan import Carried, Converted, Literal, PlannedEntry
from tensorbundle.tools.rewriting.planning import Layout


@pytest.fixture
def draft_of():
    opened = []

    def make(prefix):
        opened.append(tb.open(prefix))
        return Draft.of(opened[-1])

    yield make
    for each in opened:
        each.close()


def outline(draft):
    """Each output's key, how it comes about, from what, and its place."""
    found = []
    for each in draft.plan().entries:
        origin = each.origin
        source = readable_key(origin.key) if isinstance(origin, Carried) else None
        source = str(origin.expression) if isinstance(origin, Converted) else source
        found.append((readable_key(each.key), type(origin).__name__.lower(), source, each.shard))
    return found


def test_as_it_is(tmp_path, draft_of):
    """In the order of the files, not of the keys."""
    tensors = {"z": np.float32(1), "a": np.arange(4), "m": strings(b"x")}
    draft = draft_of(write(tmp_path / "m", tensors, cuts={"a": (2, 0)}, new_shard_at=["m"]))
    assert list(draft.tensors) == ["z", "a", "m"]
    assert (draft.graph, draft.shards, draft.must_copy) == (None, 2, False)
    assert outline(draft) == [
        ("z", "carried", "z", 0),
        ("a[0,2]", "carried", "a[0,2]", 0),
        ("a[2,2]", "carried", "a[2,2]", 0),
        ("m", "carried", "m", 1),
    ]
    plan = draft.plan()
    assert plan.tensors == 3
    assert {key: entry.slices for key, entry in plan.partitioned.items()} == {b"a": even_slices((4,), 2, 0)}


def test_an_object_graph_that_did_not_change_is_carried(tmp_path, draft_of):
    draft = draft_of(write_objects(tmp_path / "m", keras_like()))
    assert OBJECT_GRAPH_KEY not in draft.tensors
    assert outline(draft)[-1] == (OBJECT_GRAPH_KEY, "carried", OBJECT_GRAPH_KEY, 0)
    rename(draft, [parse_rule("model", "net")])
    assert outline(draft)[-1] == (OBJECT_GRAPH_KEY, "literal", None, 0)


def test_the_checkpoints_own_graph_does_not_change(tmp_path):
    with tb.open(write_objects(tmp_path / "m", keras_like())) as ckpt:
        before = ckpt.object_graph.encode()
        draft = Draft.of(ckpt)
        rename(draft, [parse_rule("model", "net")])
        draft.drop([attribute_key("net/last/w")])
        assert ckpt.object_graph.encode() == before


def test_pieces(tmp_path, draft_of):
    """What is carried, what has a checksum already, and what is computed."""
    matrix = np.arange(24, dtype=np.float32).reshape(4, 6)
    prefix = write(tmp_path / "m", {"e": matrix, "p": matrix}, cuts={"p": (2, 0)})
    draft = draft_of(prefix)
    partition(draft, "e", 2)
    unpartition(draft, ["p"])
    plan = draft.plan()
    whole = draft.tensors["e"].expression.entry
    assert [
        (readable_key(each.key), each.origin.part_of, each.origin.entry.offset) for each in plan.entries
    ] == [
        ("e[0,2:0,6]", whole, 0),
        ("e[2,2:0,6]", whole, 48),
        ("p", None, 96),
    ]
    with tb.open(write(tmp_path / "whole", {"p": matrix})) as ckpt:
        assert plan.entries[-1].origin.entry.crc32c == ckpt.entry("p").crc32c
    partition(draft, "e", 2, 1)
    partition(draft, "p", 3, 0)
    assert outline(draft)[:3] == [
        ("e[0,4:0,3]", "converted", "e[0:4, 0:3]", 0),
        ("e[0,4:3,3]", "converted", "e[0:4, 3:6]", 0),
        ("p[0,2:0,6]", "carried", "p[0,2:0,6]", 0),
    ]


@pytest.mark.parametrize("edit", ["rename", "drop"])
def test_editing_the_graph(tmp_path, draft_of, edit):
    """Tensors follow their objects, or go with them."""
    draft = draft_of(write_objects(tmp_path / "m", tree({"a": {"x": None}, "b": None})))
    with draft.editing_graph() as graph:
        if edit == "rename":
            graph.rename("a", "c.d")
        else:
            graph.drop("a")
    expected = {"rename": ["b", "c..d/x"], "drop": ["b"]}[edit]
    assert sorted(draft.tensors) == [attribute_key(path) for path in expected]
    assert (draft.tally.renamed, draft.tally.dropped) == ((1, 0) if edit == "rename" else (0, 1))


def test_a_name_based_draft_has_no_graph(tmp_path, draft_of):
    draft = draft_of(write(tmp_path / "m", {"a": 1.0}))
    with pytest.raises(TypeError, match="name-based"), draft.editing_graph():
        pass


def test_values(tmp_path, draft_of):
    draft = draft_of(write(tmp_path / "m", {"a": np.float32([1, 2]), "b": 1.0}, new_shard_at=["b"]))
    draft.set_tensor("a", Cast(draft.tensors["a"].expression, DType.float16))
    draft.set_tensor("b", Constant(np.array(2.0), "2.0", DType.float64))
    draft.set_tensor("new", Constant.scalar(5, DType.int64))
    assert outline(draft) == [
        ("a", "converted", "cast a to float16", 0),
        ("b", "converted", "2.0", 0),
        ("new", "converted", "new values", 0),
    ]


def test_select_keeps_the_order(tmp_path, draft_of):
    draft = draft_of(write(tmp_path / "m", {"b": 1.0, "a": 2.0, "c": 3.0}))
    assert list(draft.select(["c", "b", "none"])) == ["b", "c"]


@pytest.mark.parametrize(
    ("layout", "sizes", "shards"),
    [
        (Layout(), [4, 4, 4], [0, 0, 0]),
        (Layout(shards=1), [4, 8], [0, 0]),
        (Layout(shards=2), [4, 4, 4, 4], [0, 0, 1, 1]),
        (Layout(shards=2), [100, 4, 4], [0, 1, 1]),
        (Layout(shards=4), [100, 4, 4], [1, 3, 3]),
        (Layout(shards=3), [0, 0], [0, 0]),
        (Layout(max_bytes=8), [4, 4, 4], [0, 0, 1]),
        (Layout(max_bytes=8), [16, 4, 0, 4, 1], [0, 1, 1, 1, 2]),
        (Layout(max_bytes=1), [4, 4], [0, 1]),
        (Layout(max_bytes=1), [], []),
    ],
    ids=str,
)
def test_layouts(layout, sizes, shards):
    entries = [
        PlannedEntry(b"%d" % number, Literal(bytes(size), tb.TensorEntry(DType.uint8, (size,), size)))
        for number, size in enumerate(sizes)
    ]
    assert [each.shard for each in layout.assign(entries)] == shards


def test_two_entries_with_one_key(tmp_path, draft_of):
    """The last line of defence, which names both origins."""
    draft = draft_of(write(tmp_path / "m", {"a": 1.0, "b": 2.0}))
    plan = draft.plan()
    plan.entries = [PlannedEntry(b"x", each.origin) for each in plan.entries]
    with pytest.raises(tb.ConflictError, match=r"^key 'x': two tensors would get this key: 'a' and 'b'$"):
        plan.check_keys()


def test_the_graph_is_numbered_as_tensorflow_does(tmp_path, draft_of):
    draft = draft_of(write_objects(tmp_path / "m", keras_like()))
    assert draft.graph.encode() == finished(keras_like()).encode()
