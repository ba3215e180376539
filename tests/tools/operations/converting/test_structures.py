"""Structure files: what they mean, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from support.strategies import names
from tensorbundle.dtypes import DType
from tensorbundle.proto.paths import VARIABLE_VALUE, attribute_key, split_path
from tensorbundle.tools import convert
from tensorbundle.tools.operations.converting.structures import read_structure

LOCAL_NAMES = names.filter(lambda name: not name.endswith(".ATTRIBUTES"))
LEAVES = names.filter(lambda name: not name.endswith(".ATTRIBUTES"))


def structures():
    """Nested dictionaries and lists with texts at the ends."""
    inner = st.recursive(
        LEAVES,
        lambda each: st.one_of(st.lists(each, max_size=3), st.dictionaries(LOCAL_NAMES, each, max_size=3)),
        max_leaves=12,
    )
    return st.dictionaries(LOCAL_NAMES, inner, max_size=4)


def marked(value):
    """As a file has it: names that begin with '$' have one more."""
    if isinstance(value, dict):
        return {f"${name}" if name.startswith("$") else name: marked(each) for name, each in value.items()}
    return [marked(each) for each in value] if isinstance(value, list) else value


def breadth_first(value):
    """Local names to the text at the end, or None, in the order in which TensorFlow numbers objects."""
    queue = [((name,), value[name]) for name in sorted(value)]
    for path, each in queue:
        yield path, each if isinstance(each, str) else None
        if not isinstance(each, str):
            items = each.items() if isinstance(each, dict) else ((str(n), e) for n, e in enumerate(each))
            queue += [((*path, name), below) for name, below in items]


def read(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_structure(str(path))


def outline(structure):
    return {
        path: [(each.full_name, each.checkpoint_key) for each in node.attributes]
        for path, node in structure.graph.walk()
    }


@given(value=structures())
def test_any_structure(value, tmp_path_factory):
    """Objects are numbered breadth first, the root's children sorted, all others as written."""
    structure = read(tmp_path_factory.mktemp("any") / "s.json", marked(value))
    expected = list(breadth_first(value))
    found = [(path, node) for path, node in structure.graph.walk() if path]
    assert [tuple(split_path(path)) for path, _ in found] == [path for path, _ in expected]
    assert [node.id for node in structure.graph.nodes] == list(range(len(expected) + 1))
    for (path, node), (_, text) in zip(found, expected, strict=True):
        assert [(each.name, each.full_name, each.checkpoint_key) for each in node.attributes] == (
            [] if text is None else [(VARIABLE_VALUE, text, attribute_key(path))]
        )
        assert (attribute_key(path) in structure.expected) == (text is not None)
    assert set(structure.expected.values()) <= {(None, None)}
    tb.ObjectGraph.parse(structure.graph.encode())


def test_toml_and_json_mean_the_same(tmp_path):
    toml = """
        step = "global_step"
        [model]
        layers = ["a/kernel", {w = "b/kernel", "x.y/z" = "odd"}]
        [model.head]
        "$name" = "head"
        "$dtype" = "float32"
        "$shape" = [2, 0]
    """
    same = {
        "step": "global_step",
        "model": {
            "layers": ["a/kernel", {"w": "b/kernel", "x.y/z": "odd"}],
            "head": {"$name": "head", "$dtype": "float32", "$shape": [2, 0]},
        },
    }
    one, two = read(tmp_path / "s.toml", toml), read(tmp_path / "s.json", same)
    assert outline(one) == outline(two)
    assert outline(one) == {
        "": [],
        "model": [],
        "step": [("global_step", attribute_key("step"))],
        "model/layers": [],
        "model/head": [("head", attribute_key("model/head"))],
        "model/layers/0": [("a/kernel", attribute_key("model/layers/0"))],
        "model/layers/1": [],
        "model/layers/1/w": [("b/kernel", attribute_key("model/layers/1/w"))],
        "model/layers/1/x..y.Sz": [("odd", attribute_key("model/layers/1/x..y.Sz"))],
    }
    assert one.expected == two.expected
    assert one.expected[attribute_key("model/head")] == (DType.float32, (2, 0))
    assert one.path == str(tmp_path / "s.toml")


def test_kind_of_file_without_an_extension(tmp_path):
    assert outline(read(tmp_path / "a", '\ufeff {"v": "w"}')) == outline(read(tmp_path / "b", 'v = "w"'))


def test_parts_of_a_variable(tmp_path):
    """Without a name it is called by its place."""
    structure = read(
        tmp_path / "s.json", {"a/b": [{"$shape": [3]}, {"$dtype": "int64"}, {"$name": "n", "$shape": []}]}
    )
    assert [each.full_name for _, _, each in structure.graph.attributes()] == ["a/b/0", "a/b/1", "n"]
    assert list(structure.expected.values()) == [(None, (3,)), (DType.int64, None), (None, ())]


def test_empty_containers_are_objects(tmp_path):
    assert outline(read(tmp_path / "s.json", {"a": [], "b": {}, "c": [[]]})) == {
        path: [] for path in ("", "a", "b", "c", "c/0")
    }


@pytest.mark.parametrize(
    ("content", "key", "reason"),
    [
        ("{", None, "not JSON: Expecting property name"),
        ("x", None, "not TOML: "),
        ("a = 1e400000000000", "a", "a float, where a variable is to be named"),
        (f"a = 0x{'f' * 9999}", "a", "a int, where"),
        ('{"a": 3}', "a", "a int, where a variable is to be named"),
        ('{"a": {"b": [null]}}', "a/b/0", "a NoneType, where"),
        ('{"a": {"b.c": [true]}}', "a/b..c/0", "a bool, where"),
        ("a = 1979-05-27", "a", "a date, where"),
        ('{"a": "x", "a": "y"}', None, "the name 'a' appears twice in one dictionary"),
        ('{"": "x"}', "", "an object needs a name"),
        ('{"a": {"x.ATTRIBUTES": "y"}}', "a/x..ATTRIBUTES", "TensorFlow can't restore"),
        ('{"\\ud800": "y"}', "\ud800", "the names of objects are UTF-8"),
        ('{"a": "\\ud800"}', "a", r"\$name is not a name: '\\ud800'"),
        ('{"a": ""}', "a", r"\$name is not a name: ''"),
        ('{"a": {"$name": 5}}', "a", r"\$name is not a name: a int"),
        ('{"a": {"$name": "x", "b": "y"}}', "a", r"'b' is not '\$name', '\$dtype' or '\$shape'"),
        ('{"a": {"$nam": "x"}}', "a", r"'\$nam' is not"),
        ('{"$name": "x"}', "", r"'\$name' belongs to a variable; a child of this name is '\$\$name'"),
        ('{"a": {"$dtype": "float31"}}', "a", r"\$dtype is not a data type: 'float31'"),
        ('{"a": {"$dtype": [1]}}', "a", r"\$dtype is not a data type: a list"),
        ('{"a": {"$shape": 3}}', "a", r"\$shape is not a list of sizes"),
        ('{"a": {"$shape": [-1]}}', "a", r"\$shape is not a list of sizes"),
        ('{"a": {"$shape": [true]}}', "a", r"\$shape is not a list of sizes"),
        ('{"a": {"$shape": [9223372036854775808]}}', "a", r"\$shape is not a list of sizes"),
        (json.dumps({"a": {"$shape": [1] * 255}}), "a", r"\$shape is not a list of sizes"),
        ('{"a": ' + "[" * 100_000, None, "nested too deeply"),
        ("a = " + "[" * 100_000, None, "nested too deeply"),
        ("a." * 101 + "b = 'x'", None, "line 1: a key of more than 100 parts; use JSON"),
        ("a." * 1_000_000 + "b = 'x'", None, "line 1: a key of more than 100 parts; use JSON"),
        ("a = '" + "x" * (2 << 20) + "'", None, "a TOML structure is limited to 2 MiB; use JSON"),
        ('{"a": "' + "x" * (32 << 20) + '"}', None, "a structure file is limited to 32 MiB"),
    ],
    ids=range(31),
)
def test_refused(content, key, reason, tmp_path):
    with pytest.raises(tb.BundleError, match=reason) as caught:
        read(tmp_path / "s", content)
    assert (caught.value.path, caught.value.key) == (str(tmp_path / "s"), key)


def test_too_many_objects_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorbundle.tools.operations.converting.structures.MAX_OBJECTS", 100)
    read(tmp_path / "s", {"a": [[]] * 99})
    with pytest.raises(tb.BundleError, match="more than 100 objects, or"):
        read(tmp_path / "s", {"a": [[]] * 100})


def test_long_paths_are_refused_in_time(tmp_path):
    """A megabyte of a name above 100,000 variables."""
    with pytest.raises(tb.BundleError, match="67108864 characters in all their paths"):
        read(tmp_path / "s.json", {"x" * (1 << 20): ["y"] * 100_000})


def test_dots_in_quotes_are_no_depth(tmp_path):
    structure = read(tmp_path / "s.toml", f'"{"." * 200}" = "a{"." * 200}"')
    assert len(structure.expected) == 1


def test_not_utf8(tmp_path):
    (tmp_path / "s").write_bytes(b'{"\xff": ""}')
    with pytest.raises(tb.BundleError, match="not UTF-8") as caught:
        read_structure(str(tmp_path / "s"))
    assert caught.value.offset == 2


@pytest.mark.parametrize("content", ["[]", '"x"', "3"])
def test_root_is_a_dictionary(content, tmp_path):
    with pytest.raises(tb.BundleError, match="the root is a dictionary"):
        read(tmp_path / "s.json", content)


def test_no_such_file(tmp_path):
    with pytest.raises(tb.MissingFileError, match="no such structure file"):
        read_structure(str(tmp_path / "s"))


def test_a_variable_whose_tensor_is_not_stored(tmp_path):
    """The object graph names it, as after an interrupted save."""
    with tb.create(tmp_path / "m") as writer:
        writer.add("x", np.zeros(2, np.float32))
        writer.add_object_graph(tb.ObjectGraph.from_names(["w"]))
    (tmp_path / "s.json").write_text('{"a": "w", "b": "x"}')
    options = {"to": "tf2", "structure": tmp_path / "s.json", "allow_unused": True}
    with pytest.raises(tb.ConflictError, match="'w', needed for 'a'"):
        convert(tmp_path / "m", tmp_path / "out", **options)
    convert(tmp_path / "m", tmp_path / "out", **options, allow_missing=True)
    assert "b/.ATTRIBUTES/VARIABLE_VALUE" in tb.open(tmp_path / "out")
