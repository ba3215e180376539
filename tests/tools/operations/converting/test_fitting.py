"""What goes where, when a checkpoint takes the structure of another or of a structure file."""

import json
import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tensorbundle as tb
from support.contents import our_reading
from support.golden import load
from support.rewriting import (
    assert_sound,
    by_path,
    finished,
    strings,
    tensors_in,
    tree,
    variable,
    write,
)
from support.strategies import names as any_names
from tensorbundle.proto.graph import Attribute, Node, Slot
from tensorbundle.proto.paths import attribute_key
from tensorbundle.tools import TransferOptions, convert, rename

COUNTER = attribute_key("save_counter")


def write_graph(prefix, root, values=None):
    """Write a graph; each variable has the value given for its path, or -1 at its place, of the save counter 5."""
    graph = finished(root)
    tensors = {}
    for path, _, each in graph.attributes():
        default = np.int64(5) if path == "save_counter" else np.float32(-1)
        tensors[each.checkpoint_key] = (values or {}).get(path, default)
    return write(prefix, tensors, graph=graph)


def fit(tmp_path, source, template, to="tf2", **options):
    """What comes out: the values by path, or by name; and the summary."""
    summary = convert(source, tmp_path / "out", to=to, template=template, **options)
    assert_sound(tmp_path / "out")
    if to == "tf2":
        return by_path(tmp_path / "out"), summary
    return {key: value[2] for key, value in tensors_in(tmp_path / "out").items()}, summary


def refused(tmp_path, source, template, error=tb.ConflictError, **options):
    """Why it was refused; nothing is written."""
    with pytest.raises(error) as caught:
        convert(source, tmp_path / "out", to=options.pop("to", "tf2"), template=template, **options)
    assert not list(tmp_path.glob("out*"))
    return str(caught.value)


def count(summary):
    return {name: number for name, number in summary.changes.items() if number}


def left_out(summary):
    return {each.key: each.reason for each in summary.left_out}


@st.composite
def models(draw):
    """Names of variables, each with a value; and the nested objects that hold variables of these names."""
    names = draw(
        st.lists(any_names.filter(lambda name: "\0" not in name), min_size=1, max_size=8, unique=True)
    )
    values = {name: np.float32([number, 1]) for number, name in enumerate(names, 1)}
    nested = {"save_counter": None}
    for name in draw(st.permutations(names)):
        holder = nested.setdefault(draw(st.sampled_from(["a", "b/c", "d.e"])), {})
        holder[f"v{len(holder)}"] = variable(name)
    return values, nested


class TestAnyModel:
    @given(model=models(), object_based=st.booleans(), seed=st.integers(0, 99))
    def test_by_name(self, model, object_based, seed, tmp_path_factory):
        """The template's structure, the source's values."""
        values, nested = model
        folder = tmp_path_factory.mktemp("any")
        graph = finished(tree(nested))
        fresh = {each.checkpoint_key: np.float32([0, 0]) for _, _, each in graph.attributes()}
        template = write(folder / "template", fresh | {COUNTER: np.int64(3)}, graph=graph)
        order = np.random.default_rng(seed).permutation(list(values))
        source = write(folder / "source", {name: values[name] for name in order})
        if object_based:
            convert(source, folder / "objects", to="tf2", root="model/parts")
            source = folder / "objects"
        summary = convert(source, folder / "out-9", to="tf2", template=template)
        assert_sound(folder / "out-9")
        assert count(summary) == {"by name": len(values)}
        with tb.open(folder / "out-9") as out, tb.open(template) as old:
            assert out.object_graph.encode() == old.object_graph.encode()
            assert out[COUNTER] == 9
            for path, _, each in out.object_graph.attributes():
                if path != "save_counter":
                    assert out[each.checkpoint_key].tolist() == values[each.full_name].tolist()

        convert(folder / "out-9", folder / "back", to="tf1", template=folder / "source")
        assert our_reading(folder / "back") == our_reading(folder / "source")

    @given(model=models(), data=st.data())
    def test_by_rules(self, model, data, tmp_path_factory):
        """Rules, to full names and to object paths, go before names; every one of them is needed."""
        values, nested = model
        folder = tmp_path_factory.mktemp("any")
        graph = finished(tree(nested))
        paths = {each.full_name: path for path, _, each in graph.attributes() if path != "save_counter"}
        fresh = {each.checkpoint_key: np.float32([0, 0]) for _, _, each in graph.attributes()}
        template = write(folder / "template", fresh | {COUNTER: np.int64(3)}, graph=graph)
        source = write(folder / "source", values)
        targets = data.draw(st.permutations(list(values)))
        ways = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
        pairs = [
            (old, paths[new] if way else new) for old, new, way in zip(values, targets, ways, strict=True)
        ]
        (folder / "rules").write_text(repr(pairs), encoding="utf-8")
        assume(all(is_whole(name) for pair in pairs for name in pair))
        summary = convert(source, folder / "out-1", to="tf2", template=template, map=folder / "rules")
        assert count(summary) == {"by rule": len(values)}
        found = by_path(folder / "out-1")
        assert found == {"save_counter": 1} | {
            paths[new]: values[old].tolist()[0] for old, new in zip(values, targets, strict=True)
        }


def is_whole(name):
    """Whether a rule takes this for one name."""
    return not re.search(r"[*?\[]|/$", name)


# Of one, a slice is not stored; of the other, an empty tensor that its graph names.
GOLDEN = [each for each in load() if not re.search("unreadable-slices|max-shard-size-lossy", each.prefix)]


@pytest.mark.parametrize("golden", GOLDEN, ids=str)
def test_every_checkpoint_fits_itself(golden, tmp_path):
    """As its own template: everything finds its place, nothing is missing, nothing is left."""
    convert(golden.path, tmp_path / "out", to="tf2" if golden.object_based else "tf1", template=golden.path)
    before, after = our_reading(golden.path), our_reading(tmp_path / "out")
    assert before.pop(COUNTER, ())[:2] == after.pop(COUNTER, ())[:2]
    assert after == before


class TestNamesAndPaths:
    def test_scope_in_front(self, tmp_path):
        """As Keras 3 has the model's name there, or TF1 code a scope; a shorter name is not enough."""
        root = tree({"m": {"a": variable("net/d/k"), "b": variable("net/d/b"), "c": variable("net/o/k")}})
        template = write_graph(tmp_path / "template", root)
        source = write(
            tmp_path / "source", {"d/k": np.float32(1), "d/b": np.float32(2), "o/k": np.float32(3)}
        )
        found, summary = fit(tmp_path, source, template)
        assert found == {"m/a": 1, "m/b": 2, "m/c": 3}
        assert count(summary) == {"by name": 3}

    def test_scope_in_front_of_the_source(self, tmp_path):
        template = write_graph(tmp_path / "template", tree({"a": variable("d/k"), "b": variable("d/b")}))
        source = write(tmp_path / "source", {"s/t/d/k": np.float32(1), "s/t/d/b": np.float32(2)})
        assert fit(tmp_path, source, template)[0] == {"a": 1, "b": 2}

    def test_scopes_that_rival(self, tmp_path):
        """Two layers could be meant: nobody guesses."""
        nested = {
            layer: {name: variable(f"{layer}/{name}") for name in ("k", "b")} for layer in ("one", "two")
        }
        template = write_graph(tmp_path / "template", tree(nested))
        source = write(tmp_path / "source", {"k": np.float32(1), "b": np.float32(2)})
        assert "4 missing, " in refused(tmp_path, source, template)

    def test_the_larger_scope_wins(self, tmp_path):
        """`net/x/k` could be `k` in `net/x/`, but with `net/` everything fits."""
        root = tree({"a": variable("net/x/k"), "b": variable("net/k"), "c": variable("net/y")})
        template = write_graph(tmp_path / "template", root)
        source = write(tmp_path / "source", {"x/k": np.float32(1), "k": np.float32(2), "y": np.float32(3)})
        assert fit(tmp_path, source, template)[0] == {"a": 1, "b": 2, "c": 3}

    def test_paths(self, tmp_path):
        """Objects that are at one path, whatever their variables are called."""
        template = write_graph(tmp_path / "template", tree({"a": variable("x"), "b": {"c": variable("y")}}))
        source = write_graph(
            tmp_path / "source",
            tree({"a": variable("p"), "b": {"c": variable("q")}}),
            {"a": np.float32(1), "b/c": np.float32(2)},
        )
        found, summary = fit(tmp_path, source, template)
        assert found == {"a": 1, "b/c": 2}
        assert count(summary) == {"by path": 2}

    def test_paths_lead_past_optimizers(self, tmp_path):
        """Keras 3's list the variables that they train, which is a shorter way to these."""
        kernel = variable("a")
        optimizer = tree({"_iterations": None, "_variables": {}, "_trainable_variables": {"0": kernel}})
        root = Node(children={"o": optimizer, "m": tree({"x": {"y": {"kernel": kernel}}})})
        values = {"o/_trainable_variables/0": np.float32(1), "o/_iterations": np.int64(0)}
        source = write_graph(tmp_path / "source", root, values)
        template = write_graph(tmp_path / "template", tree({"m": {"x": {"y": {"kernel": variable("b")}}}}))
        found, summary = fit(tmp_path, source, template, allow_unused=True)
        assert (found, summary.changes["by path"]) == ({"m/x/y/kernel": 1}, 1)
        (tmp_path / "structure").write_text('["m/x/y/kernel"]'.join(('{"a": ', "}")))
        summary = convert(
            source, tmp_path / "out-2", to="tf2", structure=tmp_path / "structure", allow_unused=True
        )
        assert by_path(tmp_path / "out-2")["a/0"] == 1

    def test_names_of_layers_that_moved_on(self, tmp_path):
        """Keras counts layers of a process: the structure says more than half of the names."""
        template = write_graph(
            tmp_path / "template", tree({"a": variable("dense_1"), "b": variable("dense_2")})
        )
        source = write_graph(
            tmp_path / "source",
            tree({"a": variable("dense"), "b": variable("dense_1")}),
            {"a": np.float32(1), "b": np.float32(2)},
        )
        assert fit(tmp_path, source, template)[0] == {"a": 1, "b": 2}

    def test_names_that_say_all(self, tmp_path):
        """A layer was put in front: the paths of one variable less agree than the names."""
        template = write_graph(
            tmp_path / "template", tree({"0": variable("x"), "1": variable("y")}), {"0": np.float32([1])}
        )
        source = write_graph(
            tmp_path / "source",
            tree({"0": variable("y"), "1": variable("z"), "2": variable("x")}),
            {"0": np.float32(1), "1": np.float32(2), "2": np.float32([3])},
        )
        found, _ = fit(tmp_path, source, template, allow_unused=True)
        assert found == {"0": 3, "1": 1}

    def test_names_and_paths_contradict_each_other(self, tmp_path):
        template = write_graph(tmp_path / "template", tree({"a": variable("x"), "b": variable("y")}))
        source = write_graph(tmp_path / "source", tree({"a": variable("y"), "b": variable("x")}))
        message = refused(tmp_path, source, template)
        assert "names and paths contradict each other; give rules (--map FILE) for: " in message
        assert "'a' (x) would be 'b' (x) by its name, 'a' (y) by its path" in message
        rules = {"a": "a", "b": "b"}
        assert fit(tmp_path, source, template, map=rules)[1].changes["by rule"] == 2

    def test_names_and_paths_that_both_leave_something_contradict_each_other(self, tmp_path):
        """Neither of them is the more complete."""
        template = write_graph(
            tmp_path / "template", tree({"a": variable("x"), "b": variable("y"), "c": variable("z")})
        )
        source = write_graph(
            tmp_path / "source", tree({"a": variable("y"), "b": variable("x"), "d": variable("w")})
        )
        for options in ({}, {"allow_missing": True, "allow_unused": True}):
            assert "names and paths contradict each other" in refused(tmp_path, source, template, **options)

    def test_equal_names_decide_nothing(self, tmp_path):
        """As unnamed variables have them; an object path says which is meant."""
        template = write_graph(
            tmp_path / "template", tree({"a": variable("Variable"), "b": variable("Variable")})
        )
        source = write(tmp_path / "source", {"Variable": np.float32(1), "other": np.float32(2)})
        assert "2 missing" in refused(tmp_path, source, template)
        message = refused(tmp_path, source, template, map={"other": "Variable"})
        assert "2 variables are called 'Variable'; an object path says which: 'a', 'b'" in message
        assert fit(tmp_path, source, template, map={"other": "a"})[0] == {"a": 2, "b": 1}

    def test_keys_of_a_dictionary_of_variables(self, tmp_path):
        """What `tf.train.Checkpoint(vars={name: tf.Variable(...)})` calls its variables are the keys."""
        names = {"a/b": variable("Variable"), "c.d": variable("Variable")}
        template = write_graph(tmp_path / "template", Node(children={"vars": Node(children=names)}))
        source = write(tmp_path / "source", {"a/b": np.float32(1), "c.d": np.float32(2)})
        assert fit(tmp_path, source, template)[0] == {"vars/a.Sb": 1, "vars/c..d": 2}

    def test_shapes(self, tmp_path):
        """What is left is matched where type and shape leave no choice."""
        root = tree({"a": variable("x"), "b": variable("y"), "c": variable("z"), "d": variable("w")})
        shapes = {
            "a": np.zeros([2, 3], "f4"),
            "b": np.zeros([3, 2], "f4"),
            "c": np.zeros([2], "f4"),
            "d": np.zeros([2], "f4"),
        }
        template = write_graph(tmp_path / "template", root, shapes)
        values = {
            "p": np.ones([3, 2], "f4"), "q": np.full([2, 3], 2, "f4"), "r": np.zeros([2, 3], "i4"),
            "w": np.full([2], 4, "f4"), "s": np.full([2], 5, "f4"),
        }  # fmt: skip
        source = write(tmp_path / "source", values)
        found, summary = fit(tmp_path, source, template, allow_unused=True)
        assert found == {"a": 2, "b": 1, "c": 5, "d": 4}
        assert count(summary) == {"by name": 1, "by shape": 3}
        assert left_out(summary) == {"r": "no place in the template"}


class TestRules:
    @pytest.fixture
    def pair(self, tmp_path):
        template = write_graph(tmp_path / "template", tree({"m": {"a": variable("x"), "b": variable("y")}}))
        return write(tmp_path / "source", {"s/p": np.float32(1), "s/q": np.float32(2)}), template

    @pytest.mark.parametrize(
        "rules",
        [
            {"s/p": "x", "s/q": "y"},
            {"s/p": "m/a", "s/q": "m/b"},
            {"s/p:0": "x", "s/q": "(root).m.b"},
            {"s/p": "m/a/.ATTRIBUTES/VARIABLE_VALUE", "s/q": "y"},
        ],
    )
    def test_names_and_paths(self, rules, pair, tmp_path):
        assert fit(tmp_path, *pair, map=rules)[0] == {"m/a": 1, "m/b": 2}

    def test_scopes(self, tmp_path):
        template = write_graph(tmp_path / "template", tree({"m": {"a": variable("x"), "b": variable("y")}}))
        source = write(tmp_path / "source", {"s/a": np.float32(1), "s/b": np.float32(2)})
        assert fit(tmp_path, source, template, map={"s/": "m/"})[0] == {"m/a": 1, "m/b": 2}

    @pytest.mark.parametrize(
        ("rules", "reason"),
        [
            ({"s/z": "x"}, "source: rename 's/z=x' matches nothing; near: "),
            ({"s/p": "xx"}, "template: rule 's/p=xx' gives 'xx', which does not exist; near: "),
            ({"s/": "n/"}, "template: rule 's/=n/' gives 'n/p', which does not exist"),
        ],
    )
    def test_mistakes(self, rules, reason, pair, tmp_path):
        assert reason in refused(tmp_path, *pair, tb.TensorNotFoundError, map=rules)

    def test_two_for_one_place(self, pair, tmp_path):
        message = refused(tmp_path, *pair, map={"s/p": "x", "s/q": "m/a"})
        assert message.endswith("both 's/p' and 's/q' would be 'm/a'")

    def test_one_for_two_places(self, pair, tmp_path):
        """As an assignment map can say it."""
        (tmp_path / "map").write_text("[('s/p', 'x'), ('s/p', 'y')]")
        found, _ = fit(tmp_path, *pair, map=tmp_path / "map", allow_unused=True)
        assert found == {"m/a": 1, "m/b": 1}

    def test_of_an_object_based_source(self, tmp_path):
        """Its variables go by their paths or by their full names."""
        template = write_graph(tmp_path / "template", tree({"m": {"a": variable("x"), "b": variable("y")}}))
        source = write_graph(
            tmp_path / "source",
            tree({"p": {"q": variable("u"), "r": variable("v")}}),
            {"p/q": np.float32(1), "p/r": np.float32(2)},
        )
        assert fit(tmp_path, source, template, map={"p/q": "m/b", "v": "x"})[0] == {"m/a": 2, "m/b": 1}


class TestStrictness:
    @pytest.fixture
    def pair(self, tmp_path):
        template = write_graph(
            tmp_path / "template", tree({"a": variable("x"), "b": variable("y"), "c": variable("z")})
        )
        tensors = {"x": np.float32(1), "p": np.float32([2, 2]), "q": np.zeros([2, 3], "i8")}
        return write(tmp_path / "source", tensors), template

    def test_what_is_missing_and_left_over_is_listed(self, pair, tmp_path):
        assert refused(tmp_path, *pair) == (
            f"{pair[0]}: does not match {pair[1]}: 2 missing, which --allow-missing (allow_missing=True) allows: "
            "'b' (y) float32 []; 'c' (z) float32 []; 2 left over, which --allow-unused (allow_unused=True) allows: "
            "'p' float32 [2]; 'q' int64 [2,3]"
        )
        assert " missing, which" not in refused(tmp_path, *pair, allow_missing=True)
        assert " left over, which" not in refused(tmp_path, *pair, allow_unused=True)

    def test_allowed(self, pair, tmp_path):
        found, summary = fit(tmp_path, *pair, allow_missing=True, allow_unused=True)
        assert found == {"a": 1, "b": -1, "c": -1}
        assert count(summary) == {"by name": 1, "missing, kept from the template": 2}
        assert left_out(summary) == dict.fromkeys(["p", "q"], "no place in the template")

    def test_long_lists_are_cut(self, tmp_path):
        template = write_graph(
            tmp_path / "template", tree({f"v{number}": variable() for number in range(13)})
        )
        source = write(tmp_path / "source", {"x": np.float32([1])})
        assert "13 missing" in (message := refused(tmp_path, source, template))
        assert "'v9' float32 [] and 3 more; 1 left over" in message

    @pytest.mark.parametrize("value", [np.float32([1]), np.float64(1), np.int64(1)])
    def test_types_and_shapes_must_agree(self, value, tmp_path):
        template = write_graph(tmp_path / "template", tree({"a": {"b": variable("x")}}))
        source = write(tmp_path / "source", {"x": value})
        what = f"{value.dtype} {str(list(value.shape)).replace(' ', '')}"
        reshape = (
            "--allow-reshape (allow_reshape=True) reshapes that of as many elements; " if value.shape else ""
        )
        for options in ({}, {"allow_missing": True}, {"allow_unused": True}):
            assert refused(tmp_path, source, template, **options) == (
                f"{source}: types or shapes differ: 'a/b' (x) is float32 [], 'x' {what}; {reshape}"
                "--allow-missing and --allow-unused together keep the template's values there"
            )
        found, summary = fit(tmp_path, source, template, allow_missing=True, allow_unused=True)
        assert found == {"a/b": -1}
        assert count(summary) == {"missing, kept from the template": 1}
        assert left_out(summary) == {"x": "no place in the template"}

    def test_the_same_for_structures(self, tmp_path):
        source = write(tmp_path / "source", {"x": np.float32([1, 2]), "p": np.int64(1), "q": np.int64(2)})
        structure = tmp_path / "structure"

        def fitted(content, **options):
            structure.write_text(json.dumps(content))
            return convert(source, tmp_path / "out", to="tf2", structure=structure, **options)

        with pytest.raises(tb.ConflictError) as caught:
            fitted({"a": "x", "b": ["y", "p"]})
        assert str(caught.value) == (
            f"{source}: does not match {structure}: 1 missing, which --allow-missing (allow_missing=True) allows: "
            "'y', needed for 'b/0'; 1 left over, which --allow-unused (allow_unused=True) allows: 'q'"
        )
        for wrong in (
            {"$shape": [2, 1]},
            {"$shape": []},
            {"$dtype": "float64"},
            {"$dtype": "int64", "$shape": [2]},
        ):
            with pytest.raises(
                tb.ConflictError, match=r"types or shapes differ: 'a' is .*, 'x' float32 \[2\]$"
            ):
                fitted({"a": {"$name": "x"} | wrong, "b": ["p", "q"]})
        summary = fitted(
            {"a": {"$name": "x", "$dtype": "float32", "$shape": [2]}, "b": ["y", "p"]},
            allow_missing=True,
            allow_unused=True,
        )
        assert left_out(summary) == {
            "q": "no place in the structure",
            "y": "missing here; the structure has it as 'b/0'",
        }
        assert by_path(tmp_path / "out") == {"a": 1, "b/1": 1, "save_counter": 1}

    def test_near_names(self, tmp_path):
        source = write(tmp_path / "source", {"dense/kernel": np.float32(1), "dense/bias": np.float32(1)})
        (tmp_path / "s").write_text('["dense/kernl", "dense/bias"]'.join(('{"a": ', "}")))
        with pytest.raises(tb.ConflictError, match="; near 'dense/kernl': 'dense/kernel'"):
            convert(source, tmp_path / "out", to="tf2", structure=tmp_path / "s")


class TestStructures:
    @pytest.fixture
    def structure(self, tmp_path):
        content = {"list": ["c/k", "a"], "dict": {"x.y": "b", "z": {"w": "c/k"}}, "first": "b", "empty": []}
        (tmp_path / "structure").write_text(json.dumps(content))
        return tmp_path / "structure"

    def test_names(self, structure, tmp_path):
        source = write(tmp_path / "source", {"a": np.float32(1), "b": np.float32(2), "c/k": np.float32(3)})
        summary = convert(source, tmp_path / "out-7", to="tf2", structure=structure)
        assert by_path(tmp_path / "out-7") == {
            "list/0": 3, "list/1": 1, "dict/x..y": 2, "dict/z/w": 3, "first": 2, "save_counter": 7,
        }  # fmt: skip
        assert count(summary) == {"by name": 5}
        with tb.open(tmp_path / "out-7") as ckpt:
            names = {path: each.full_name for path, _, each in ckpt.object_graph.attributes()}
            assert names["list/0"] == names["dict/z/w"] == "c/k"
            assert [path for path, _ in ckpt.object_graph.walk()][1:6] == [
                "dict",
                "empty",
                "first",
                "list",
                "save_counter",
            ]

    @pytest.mark.parametrize("way", ["path", "name", "key"])
    def test_objects(self, way, tmp_path):
        """By their paths, also longer ones; by the full names of variables, which they keep; or by keys."""
        layer = tree({"k": variable("dense/kernel"), "b": variable("dense/bias")})
        root = Node(children={"m": Node(children={"l": layer}), "save_counter": variable()})
        root.children["m"].children["also"] = Node(children={"layer": layer})
        source = write_graph(tmp_path / "source", root, {"m/l/k": np.float32(1), "m/l/b": np.float32(2)})
        meant = {
            "path": ["m/l/k", "m/also/layer/b"],
            "name": ["dense/kernel", "dense/bias"],
            "key": [attribute_key("m/l/k"), attribute_key("m/l/b")],
        }
        (tmp_path / "structure").write_text(json.dumps({"x": meant[way]}))
        summary = convert(source, tmp_path / "out", to="tf2", structure=tmp_path / "structure")
        assert by_path(tmp_path / "out") == {"x/0": 1, "x/1": 2, "save_counter": 1}
        assert left_out(summary) == {COUNTER: "the save counter of tf.train.Checkpoint"}
        with tb.open(tmp_path / "out") as ckpt:
            assert ckpt.object_graph["x/0"].attributes[0].full_name == "dense/kernel"

    def test_save_counter(self, structure, tmp_path):
        source = write(tmp_path / "source", {"a": np.float32(1), "b": np.float32(2), "c/k": np.float32(3)})
        convert(source, tmp_path / "out", to="tf2", structure=structure, save_counter=False)
        assert "save_counter" not in by_path(tmp_path / "out")
        structure.write_text('{"save_counter": "a", "b": ["b", "c/k"]}')
        with pytest.raises(
            tb.ConflictError, match="structure: key 'save_counter': an object of this name takes"
        ):
            convert(source, tmp_path / "out-2", to="tf2", structure=structure)
        convert(source, tmp_path / "out-2", to="tf2", structure=structure, save_counter=False)
        assert by_path(tmp_path / "out-2") == {"save_counter": 1, "b/0": 2, "b/1": 3}

    def test_slices_stay(self, tmp_path):
        array = np.arange(12, dtype="f4").reshape(6, 2)
        write(tmp_path / "source", {"e": array}, cuts={"e": (3, 0)})
        (tmp_path / "s").write_text('{"x": ["e"]}')
        convert(tmp_path / "source", tmp_path / "out", to="tf2", structure=tmp_path / "s")
        with tb.open(tmp_path / "out") as ckpt:
            assert len(ckpt.entry(attribute_key("x/0")).slices) == 3
            assert ckpt[attribute_key("x/0")].tolist() == array.tolist()


def sgd(rate=0.5, **scalars):
    """A legacy optimizer of Keras, without slots; and the values of its variables."""
    values = {"iter": np.int64(0), "learning_rate": np.float32(rate), "decay": np.float32(0)} | scalars
    return tree(dict.fromkeys(values)), {f"o/{name}": value for name, value in values.items()}


def with_slots(optimizer, names, *variables):
    optimizer.slots = [
        Slot(name, each, variable(f"o/{each.attributes[0].full_name}/{name}"))
        for name in names
        for each in variables
    ]
    return optimizer


ADAM = {"d__w__Adam": np.float32(2), "d__w__Adam_1": np.float32(3)}


class TestOptimizers:
    """Of a model with one variable, unless said otherwise."""

    def template(self, tmp_path, optimizer, values, **others):
        """A template with the variable `w`, whose full name is `d/w`, and an optimizer at `o`."""
        self.w = variable("d/w")
        root = tree(
            {
                "w": self.w,
                "o": optimizer(self.w) if callable(optimizer) else optimizer,
                "save_counter": None,
                **others,
            }
        )
        return write_graph(tmp_path / "template", root, values)

    def source(self, tmp_path, **tensors):
        """A TF1 checkpoint with `d/w`, which is 1; `__` stands for '/'."""
        values = {name.replace("__", "/"): value for name, value in tensors.items()}
        return write(tmp_path / "source", {"d/w": np.float32(1)} | values)

    def test_slots_that_are_there(self, tmp_path):
        optimizer, values = sgd(beta_1=np.float32(0.5), beta_2=np.float32(0.75))
        template = self.template(tmp_path, lambda w: with_slots(optimizer, ("m", "v"), w), values)
        powers = {"beta1_power": np.float32(0.5**5), "beta2_power": np.float32(0.75**5)}
        source = self.source(tmp_path, **ADAM, **powers, global_step=np.int64(4))
        found, summary = fit(tmp_path, source, template)
        slot = "w/.OPTIMIZER_SLOT/o/"
        assert found == {
            "w": 1, f"{slot}m": 2, f"{slot}v": 3, "o/iter": 4, "o/learning_rate": 0.5, "o/decay": 0, "o/beta_1": 0.5,
            "o/beta_2": 0.75, "save_counter": 1,
        }  # fmt: skip
        assert count(summary) == {"by name": 1, "as optimizer state": 3, "kept from the template": 4}
        assert left_out(summary) == dict.fromkeys(
            ["beta1_power", "beta2_power"], "known from the number of steps"
        )

    def test_slots_that_are_made(self, tmp_path):
        """For an optimizer that has its hyperparameters, but has not run."""
        optimizer, values = sgd(beta_1=np.float32(0.9))
        template = self.template(tmp_path, optimizer, values)
        found, _ = fit(tmp_path, self.source(tmp_path, **ADAM, global_step=np.int64(4)), template)
        assert (found["w/.OPTIMIZER_SLOT/o/m"], found["w/.OPTIMIZER_SLOT/o/v"], found["o/iter"]) == (2, 3, 4)

    @pytest.mark.parametrize("others", [{}, {"opt_2": {}}])
    def test_optimizer_that_has_nothing(self, others, tmp_path):
        """It is known by what it is called, unless there are two."""
        template = write_graph(
            tmp_path / "template", tree({"w": variable("d/w"), "my_optimizer": {}, "other": {}, **others})
        )
        source = self.source(tmp_path, **ADAM, global_step=np.int64(4))
        if others:
            assert "3 left over" in refused(tmp_path, source, template)
            return
        found, _ = fit(tmp_path, source, template)
        slot = "w/.OPTIMIZER_SLOT/my_optimizer/"
        assert found == {"w": 1, "my_optimizer/iter": 4, f"{slot}m": 2, f"{slot}v": 3}

    def test_optimizer_of_another_kind(self, tmp_path):
        """Slots that it has no use for are left over."""
        optimizer, values = sgd(rho=np.float32(0.9), momentum=np.float32(0))
        template = self.template(tmp_path, optimizer, values)
        source = self.source(tmp_path, **ADAM, global_step=np.int64(4))
        assert "2 left over, which --allow-unused (allow_unused=True) allows: 'd/w/Adam'" in refused(
            tmp_path, source, template
        )
        found, _ = fit(tmp_path, source, template, allow_unused=True)
        assert found["o/iter"] == 4

    def test_slots_of_two_kinds_for_one_optimizer(self, tmp_path):
        """That has not run: which of them it is, nobody knows."""
        nodes = tree({"w": variable("d/w"), "u": variable("d/u"), "opt": {}})
        template = write_graph(tmp_path / "other", nodes)
        slots = {"d/w/Adam": np.float32(1), "d/w/Adam_1": np.float32(1), "d/u/Momentum": np.float32(1)}
        source = write(tmp_path / "source", {"d/w": np.float32(1), "d/u": np.float32(1)} | slots)
        assert "3 left over" in refused(tmp_path, source, template)

    @pytest.mark.parametrize(("momentum", "made"), [(0.0, ["rms"]), (0.5, ["rms", "momentum"])])
    def test_no_slot_for_a_momentum_of_zero(self, momentum, made, tmp_path):
        """RMSProp of TF1 has one always, RMSprop of Keras only if it needs it."""
        optimizer, values = sgd(rho=np.float32(0.9), momentum=np.float32(momentum))
        template = self.template(tmp_path, optimizer, values)
        source = self.source(tmp_path, d__w__RMSProp=np.float32(2), d__w__RMSProp_1=np.float32(3))
        found, _ = fit(tmp_path, source, template, allow_missing=True, allow_unused=True)
        assert [path.rpartition("/")[2] for path in found if "SLOT" in path] == made

    @pytest.mark.parametrize(("rate", "given"), [(0.5, None), (0.5, 0.25), (None, 0.25)])
    def test_momentum_contains_the_learning_rate(self, rate, given, tmp_path):
        optimizer, values = sgd(rate or 0, momentum=np.float32(0.9))
        if rate is None:
            del optimizer.children["learning_rate"], values["o/learning_rate"]
        template = self.template(tmp_path, lambda w: with_slots(optimizer, ("momentum",), w), values)
        source = self.source(tmp_path, d__w__Momentum=np.float32(2), global_step=np.int64(4))
        if rate is None:
            message = refused(tmp_path, source, template)
            assert (
                "the optimizer 'o' contains the learning rate, which is not stored; --learning-rate X"
                in message
            )
        found, _ = fit(tmp_path, source, template, learning_rate=given)
        expected = -(given or rate) * 2
        assert found["w/.OPTIMIZER_SLOT/o/momentum"] == expected
        convert(tmp_path / "out", tmp_path / "back", to="tf1", template=source, learning_rate=given)
        assert our_reading(tmp_path / "back") == our_reading(source)

    @pytest.mark.parametrize("rate", [0.0, np.inf, np.nan])
    def test_learning_rates_of_no_use(self, rate, tmp_path):
        optimizer, values = sgd(rate, momentum=np.float32(0.9))
        template = self.template(tmp_path, lambda w: with_slots(optimizer, ("momentum",), w), values)
        source = self.source(tmp_path, d__w__Momentum=np.float32(2))
        assert f"which is {rate}; --learning-rate X" in refused(tmp_path, source, template)

    @pytest.mark.parametrize("steps", [0, 1, 7, 500, 5_000, 40_000])
    @pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9), (0.9, 0.98)])
    def test_steps_behind_powers_of_beta(self, steps, betas, tmp_path):
        """As TF1's Adam computes them, in float32, one step after another; until they are too small."""
        powers = [np.float32(beta) for beta in betas]
        for _ in range(steps):
            powers = [np.float32(power * np.float32(beta)) for power, beta in zip(powers, betas, strict=True)]
        optimizer, values = sgd(beta_1=np.float32(betas[0]), beta_2=np.float32(betas[1]))
        template = self.template(tmp_path, lambda w: with_slots(optimizer, ("m", "v"), w), values)
        source = self.source(tmp_path, **ADAM, x__beta1_power=powers[0], x__beta2_power=powers[1])
        if max(powers) < 1e-35:
            assert "'o/iter' (iter)" in refused(tmp_path, source, template, allow_unused=True)
            return
        found, summary = fit(tmp_path, source, template)
        assert abs(found["o/iter"] - steps) <= (1e-3 * steps if powers[0] < 1e-35 else 0)
        assert set(left_out(summary)) == {"x/beta1_power", "x/beta2_power"}

    def test_powers_of_other_betas(self, tmp_path):
        """They contradict each other, so they say nothing; unless the betas are given."""
        optimizer, values = sgd(beta_1=np.float32(0.9), beta_2=np.float32(0.999))
        template = self.template(tmp_path, lambda w: with_slots(optimizer, ("m", "v"), w), values)
        powers = {"beta1_power": np.float32(0.5**5), "beta2_power": np.float32(0.9**5)}
        source = self.source(tmp_path, **ADAM, **powers)
        assert "1 missing" in refused(tmp_path, source, template)
        assert fit(tmp_path, source, template, beta_1=0.5, beta_2=0.9)[0]["o/iter"] == 4

    @pytest.mark.parametrize(
        "powers",
        [
            (0.9**5, 0.9**5),  # the second is of another beta
            (0.5**5, 0.0),  # the first is no power of 0.9, the second too small to say anything
            (1.5, 1.5),
            (-0.5, 0.0),
            (np.nan, np.nan),
        ],
    )
    def test_powers_that_say_nothing(self, powers, tmp_path):
        optimizer, values = sgd()
        template = self.template(tmp_path, lambda w: with_slots(optimizer, ("m", "v"), w), values)
        first, second = map(np.float32, powers)
        source = self.source(tmp_path, **ADAM, beta1_power=first, beta2_power=second)
        assert "1 missing, " in refused(tmp_path, source, template, allow_unused=True)

    def test_powers_that_contradict_the_number_of_steps(self, tmp_path):
        """The number of steps counts, and the summary says so."""
        optimizer, values = sgd()
        template = self.template(tmp_path, lambda w: with_slots(optimizer, ("m", "v"), w), values)
        powers = {"beta1_power": np.float32(0.9**5), "beta2_power": np.float32(0.999**5)}
        found, summary = fit(
            tmp_path, self.source(tmp_path, **ADAM, **powers, global_step=np.int64(70)), template
        )
        assert found["o/iter"] == 70
        reason = "global_step is the number of steps, 70; by this it would be 4"
        assert left_out(summary) == dict.fromkeys(powers, reason)

    def test_number_of_steps_of_another_integer_type(self, tmp_path):
        template = self.template(tmp_path, *sgd())
        source = self.source(tmp_path, global_step=np.int32(9))
        assert fit(tmp_path, source, template)[0]["o/iter"] == 9
        with tb.open(tmp_path / "out") as ckpt:
            assert ckpt.entry(attribute_key("o/iter")).dtype == "int64"

    @pytest.mark.parametrize(
        "steps", [np.float32(3), np.int64(-3), np.int64([3]), np.bool_(True), np.complex64(3)]
    )
    def test_numbers_of_steps_that_are_none(self, steps, tmp_path):
        template = self.template(tmp_path, *sgd())
        source = self.source(tmp_path, global_step=steps)
        assert "1 left over, " in refused(tmp_path, source, template)
        assert fit(tmp_path, source, template, allow_unused=True)[0]["o/iter"] == 0

    @pytest.mark.parametrize(
        ("place", "ok"),
        [(np.int32(0), True), (np.uint8(0), False), (np.float32(0), False), (np.int64([0]), False)],
    )
    def test_places_for_a_number_of_steps(self, place, ok, tmp_path):
        """That powers of beta tell of: 300 of them."""
        optimizer, values = sgd()
        values["o/iter"] = place
        template = self.template(tmp_path, lambda w: with_slots(optimizer, ("m", "v"), w), values)
        powers = {"beta1_power": np.float32(0.9**301), "beta2_power": np.float32(0.999**301)}
        source = self.source(tmp_path, **ADAM, **powers)
        if ok:
            assert fit(tmp_path, source, template)[0]["o/iter"] == 300
        else:
            assert "and must be 300 steps, by beta1_power and beta2_power" in refused(
                tmp_path, source, template
            )

    @pytest.mark.parametrize("beta", [-1, 0, 1, 2, np.nan, np.inf])
    def test_betas_that_are_none(self, beta, tmp_path):
        optimizer, values = sgd()
        values |= {"o/iter": np.int64(2**62), "w": np.float32(1)}
        w = variable("d/w")
        source = write_graph(
            tmp_path / "objects", tree({"w": w, "o": with_slots(optimizer, ("m", "v"), w)}), values
        )
        powers = {"beta1_power": np.float32(0.9), "beta2_power": np.float64(0.999)}
        template = self.source(tmp_path, **ADAM, **powers, global_step=np.int64(0))
        message = refused(tmp_path, source, template, to="tf1", beta_1=beta)
        assert "1 missing, which --allow-missing (allow_missing=True) allows: 'beta1_power'" in message
        found, _ = fit(tmp_path, source, template, to="tf1", beta_1=beta, allow_missing=True)
        assert (found["beta1_power"], found["beta2_power"]) == (
            np.float32(0.9).tobytes(),
            np.float64(0).tobytes(),
        )

    def test_without_any_state_the_optimizer_stays(self, tmp_path):
        optimizer, values = sgd(0.5)
        values |= {"o/iter": np.int64(3), "w/.OPTIMIZER_SLOT/o/m": np.float32(7)}
        template = self.template(tmp_path, lambda w: with_slots(optimizer, ("m",), w), values)
        found, summary = fit(tmp_path, self.source(tmp_path), template)
        assert (found["o/iter"], found["w/.OPTIMIZER_SLOT/o/m"], found["o/learning_rate"]) == (3, 7, 0.5)
        assert count(summary) == {"by name": 1, "kept from the template": 4}

    def test_a_slot_that_is_missing(self, tmp_path):
        """Half of an optimizer's state is no state."""
        optimizer, values = sgd()
        template = self.template(tmp_path, lambda w: with_slots(optimizer, ("m", "v", "vhat"), w), values)
        source = self.source(tmp_path, **ADAM)
        message = refused(tmp_path, source, template)
        assert "2 missing" in message
        assert "'o/iter' (iter) int64 []; 'w/.OPTIMIZER_SLOT/o/vhat'" in message

    def test_a_slot_of_another_shape_is_not_made(self, tmp_path):
        optimizer, values = sgd(beta_1=np.float32(0.9))
        template = self.template(tmp_path, optimizer, values)
        source = self.source(tmp_path, d__w__Adam=np.float32([2]))
        assert "1 left over" in refused(tmp_path, source, template)

    def test_what_else_an_optimizer_has(self, tmp_path):
        """It is found by name only, never by its shape, and stays where it is missing."""
        optimizer, values = sgd()
        optimizer.children["loss_scale"] = tree(
            {"current_loss_scale": variable("current_loss_scale"), "good_steps": None}
        )
        values |= {"o/loss_scale/good_steps": np.int64(3)}
        values |= {"o/loss_scale/current_loss_scale": np.float32(4)}
        template = self.template(tmp_path, optimizer, values)
        for number, (tensor, expected) in enumerate(
            (({"other": np.float32(5)}, 4), ({"current_loss_scale": np.float32(6)}, 6))
        ):
            source = write(tmp_path / f"source-{number}", {"d/w": np.float32(1)} | tensor)
            convert(source, tmp_path / f"out-{number}", to="tf2", template=template, allow_unused=True)
            found = by_path(tmp_path / f"out-{number}")
            assert (found["o/loss_scale/current_loss_scale"], found["o/loss_scale/good_steps"]) == (
                expected,
                3,
            )

    def test_optimizer_of_keras_that_was_not_built(self, tmp_path):
        optimizer = tree({"_iterations": None, "_learning_rate": None, "_variables": {}})
        template = self.template(tmp_path, optimizer, {"o/_iterations": np.int64(0)})
        message = refused(tmp_path, self.source(tmp_path, **ADAM), template)
        assert message.endswith(
            "; the template's optimizer 'o' has no slots: it has them once "
            "optimizer.build(model.trainable_variables) was called"
        )

    def test_hyperparameters_of_an_object_based_source(self, tmp_path):
        """They are taken where there is a place for them, also under another name."""
        optimizer, values = sgd(0.5, beta_1=np.float32(0.75))
        values |= {"o/iter": np.int64(8), "w": np.float32(1)}
        source = write_graph(tmp_path / "source", tree({"w": variable("d/w"), "o": optimizer}), values)
        other = tree({"_iterations": None, "_learning_rate": None, "_variables": {}})
        template = self.template(
            tmp_path, other, {"o/_iterations": np.int64(0), "o/_learning_rate": np.float32(0.1)}
        )
        found, summary = fit(tmp_path, source, template)
        assert found == {"w": 1, "o/_iterations": 8, "o/_learning_rate": 0.5, "save_counter": 1}
        assert set(left_out(summary)) == {attribute_key("o/beta_1"), attribute_key("o/decay")}

    def test_powers_towards_tf1(self, tmp_path):
        """By the number of steps, and the betas that are stored, given or usual."""
        optimizer, values = sgd(beta_1=np.float32(0.5))
        values |= {"o/iter": np.int64(3), "w": np.float32(1)}
        w = variable("d/w")
        root = tree({"w": w, "o": with_slots(optimizer, ("m", "v"), w)})
        source = write_graph(tmp_path / "objects", root, values)
        powers = {"beta1_power": np.float32(0.9), "beta2_power": np.float32(0.999)}
        template = self.source(tmp_path, **ADAM, **powers, global_step=np.int32(0))
        found, summary = fit(tmp_path, source, template, to="tf1")
        assert found["beta1_power"] == np.float32(0.5**4).tobytes()
        assert found["beta2_power"] == np.float32(np.float32(0.999) ** 4).tobytes()
        assert found["global_step"] == np.int32(3).tobytes()
        assert found["d/w/Adam"] == found["d/w/Adam_1"] == np.float32(-1).tobytes()
        assert list(left_out(summary)) == [
            attribute_key(f"o/{name}") for name in ("beta_1", "decay", "learning_rate")
        ]
        convert(source, tmp_path / "given", to="tf1", template=template, beta_1=0.25, beta_2=0.75)
        with tb.open(tmp_path / "given") as ckpt:
            assert (ckpt["beta1_power"], ckpt["beta2_power"]) == (0.25**4, 0.75**4)

    def test_from_names_to_names(self, tmp_path):
        """BERT's names to those of TF1's Adam; powers that are there are taken."""
        template = self.source(
            tmp_path,
            **ADAM,
            global_step=np.int64(0),
            beta1_power=np.float32(0),
            beta2_power=np.float32(0),
        )
        bert = {
            "d/w": np.float32(5),
            "d/w/adam_m": np.float32(6),
            "d/w/adam_v": np.float32(7),
            "global_step": np.int64(1),
        }
        source = write(tmp_path / "bert", bert)
        found, _ = fit(tmp_path, source, template, to="tf1")
        floats = {name: np.frombuffer(found[name], "f4")[0] for name in found if name != "global_step"}
        assert floats == {
            "d/w": 5, "d/w/Adam": 6, "d/w/Adam_1": 7, "beta1_power": np.float32(np.float32(0.9) ** 2),
            "beta2_power": np.float32(np.float32(0.999) ** 2),
        }  # fmt: skip
        powers = {"beta1_power": np.float32(3), "beta2_power": np.float32(4)}
        with_powers = write(tmp_path / "with", bert | powers)
        convert(with_powers, tmp_path / "out-2", to="tf1", template=template)
        with tb.open(tmp_path / "out-2") as ckpt:
            assert (ckpt["beta1_power"], ckpt["beta2_power"]) == (3, 4)

    def test_slots_of_a_converted_checkpoint(self, tmp_path):
        """In the dictionary of a plain conversion they still have their TF1 names."""
        convert(self.source(tmp_path, **ADAM, global_step=np.int64(4)), tmp_path / "objects", to="tf2")
        optimizer, values = sgd()
        template = self.template(tmp_path, lambda w: with_slots(optimizer, ("m", "v"), w), values)
        found, summary = fit(tmp_path, tmp_path / "objects", template)
        assert (found["w/.OPTIMIZER_SLOT/o/m"], found["w/.OPTIMIZER_SLOT/o/v"], found["o/iter"]) == (2, 3, 4)
        assert left_out(summary) == {COUNTER: "the save counter of tf.train.Checkpoint"}

    def test_two_optimizers(self, tmp_path):
        """As a wide and deep model has them: each slot goes to the one that keeps such slots for its variable."""
        one, two = variable("one"), variable("two")
        adam, values = sgd(beta_1=np.float32(0.9))
        ftrl = tree({"iter": None, "decay": None})
        with_slots(adam, ("m", "v"), one)
        with_slots(ftrl, ("accumulator", "linear"), two)
        values |= {"f/iter": np.int64(0)}
        template = write_graph(
            tmp_path / "template", tree({"one": one, "two": two, "o": adam, "f": ftrl}), values
        )
        names = ["one", "two", "one/Adam", "one/Adam_1", "two/Ftrl", "two/Ftrl_1"]
        tensors = {name: np.float32(number) for number, name in enumerate(names)}
        source = write(tmp_path / "source", tensors | {"global_step": np.int64(9)})
        found, _ = fit(tmp_path, source, template)
        assert found == {
            "one": 0, "two": 1, "one/.OPTIMIZER_SLOT/o/m": 2, "one/.OPTIMIZER_SLOT/o/v": 3, "o/iter": 9, "f/iter": 9,
            "two/.OPTIMIZER_SLOT/f/accumulator": 4, "two/.OPTIMIZER_SLOT/f/linear": 5, "o/learning_rate": 0.5,
            "o/decay": 0, "o/beta_1": np.float32(0.9), "f/decay": -1,
        }  # fmt: skip


class TestOtherThings:
    def test_slices_of_the_template_or_else_of_the_source(self, tmp_path):
        array = np.arange(12, dtype="f4").reshape(6, 2)
        graph = finished(tree({"a": variable("x"), "b": variable("y")}))
        tensors = {attribute_key(name): np.zeros([6, 2], "f4") for name in "ab"}
        template = write(tmp_path / "template", tensors, cuts={attribute_key("a"): (2, 1)}, graph=graph)
        source = write(tmp_path / "source", {"x": array, "y": array}, cuts={"x": (3, 0), "y": (3, 0)})
        convert(source, tmp_path / "out", to="tf2", template=template)
        with tb.open(tmp_path / "out") as ckpt, tb.open(template) as old:
            assert ckpt.entry(attribute_key("a")).slices == old.entry(attribute_key("a")).slices
            assert len(ckpt.entry(attribute_key("b")).slices) == 3
            for name in "ab":
                assert ckpt[attribute_key(name)].tolist() == array.tolist()

    def test_python_state_and_random_states_stay(self, tmp_path):
        """Unless an object-based source has the same; a random state is never taken for something else."""
        state = Node(attributes=[Attribute("py_state", "", "")])
        root = {
            "w": variable("w"),
            "py": state,
            "g": {"_state_var": variable("StateVar")},
            "s": variable("x/seed_generator_state"),
        }
        values = {"w": np.float32(0), "py": np.array(b"fresh", object)}
        values |= {"g/_state_var": np.zeros(3, "i8"), "s": np.zeros(2, "i8")}
        template = write_graph(tmp_path / "template", tree(root), values)
        source = write(
            tmp_path / "source", {"w": np.float32(1), "p": np.ones(3, "i8"), "q": np.ones(2, "i8")}
        )
        assert " 2 left over" in refused(tmp_path, source, template)
        convert(source, tmp_path / "out", to="tf2", template=template, allow_unused=True)
        with tb.open(tmp_path / "out") as ckpt:
            assert ckpt[attribute_key("py", "py_state")] == b"fresh"
            assert ckpt[attribute_key("g/_state_var")].tolist() == [0, 0, 0]
            assert ckpt[attribute_key("s")].tolist() == [0, 0]
        state.attributes[0].checkpoint_key = ""
        trained = values | {"py": np.array(b"later", object), "g/_state_var": np.ones(3, "i8")}
        other = write_graph(tmp_path / "other", tree(root), trained)
        convert(other, tmp_path / "out-2", to="tf2", template=template)
        with tb.open(tmp_path / "out-2") as ckpt:
            assert ckpt[attribute_key("py", "py_state")] == b"later"
            assert ckpt[attribute_key("g/_state_var")].tolist() == [1, 1, 1]

    @pytest.mark.parametrize("counted", [True, False])
    def test_save_counter(self, counted, tmp_path):
        """There is one if the template has one, and nobody says no."""
        template = write_graph(
            tmp_path / "template", tree({"a": None} | ({"save_counter": None} if counted else {}))
        )
        source = write(tmp_path / "source", {"a": np.float32(1)})
        convert(source, tmp_path / "out-8", to="tf2", template=template)
        assert by_path(tmp_path / "out-8") == {"a": 1} | ({"save_counter": 8} if counted else {})
        convert(source, tmp_path / "out-9", to="tf2", template=template, save_counter=False)
        assert by_path(tmp_path / "out-9") == {"a": 1}

    def test_variables_that_the_template_names_but_does_not_store(self, tmp_path):
        """As one that was not initialised when it was saved: any shape will do, but there is nothing to keep."""
        graph = finished(tree({"a": variable("x"), "b": variable("y")}))
        template = write(tmp_path / "template", {attribute_key("b"): np.float32(0)}, graph=graph)
        source = write(tmp_path / "source", {"x": np.zeros([2, 2], "i4"), "y": np.float32(1)})
        found, _ = fit(tmp_path, source, template)
        assert found == {"a": 0, "b": 1}

    def test_what_is_kept_is_not_tied_to_the_template(self, tmp_path):
        """The template may go away, whether its bytes are shared or copied."""
        template = write_graph(tmp_path / "template", tree({"a": variable("x"), "b": variable("y")}))
        source = write(tmp_path / "source", {"x": np.float32(1)}, new_shard_at=["x"])
        for data in ("share", "copy"):
            summary = convert(
                source,
                tmp_path / data,
                to="tf2",
                template=template,
                allow_missing=True,
                options=TransferOptions(data=data),
            )
            assert (summary.bytes_shared > 0) == (data == "share")
        for each in [*tmp_path.glob("source*"), *tmp_path.glob("template*")]:
            each.unlink()
        for data in ("share", "copy"):
            assert by_path(tmp_path / data) == {"a": 1, "b": -1}

    def test_in_the_place_of_the_template(self, tmp_path):
        """Which may be overwritten, and the source too."""
        template = write_graph(tmp_path / "template", tree({"a": variable("x"), "b": variable("y")}))
        source = write(tmp_path / "source", {"x": np.float32(1)})
        options = {"template": template, "allow_missing": True, "options": TransferOptions(overwrite=True)}
        convert(source, template, to="tf2", **options)
        assert by_path(template) == {"a": 1, "b": -1}
        convert(template, source, to="tf2", **options)
        assert by_path(source) == {"a": 1, "b": -1}

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"to": "tf1", "template": "objects"}, "objects: --to tf1 (to='tf1'), but this is object-based"),
            ({"to": "tf2", "template": "names"}, "names: --to tf2 (to='tf2'), but this is name-based"),
            ({"to": "v1", "template": "names"}, "--to v1 (to='v1'), but this is name-based"),
            (
                {"to": "tf1", "structure": "structure"},
                "structure: --to tf1 (to='tf1'), but this is object-based",
            ),
            ({"to": "tf2", "structure": "structure", "map": {"a": "b"}}, "rules (--map) go with a template"),
            (
                {"to": "tf2", "map": {"a": "b"}},
                "a template (--template) or a structure (--structure) is needed",
            ),
            ({"to": "tf2", "allow_missing": True}, "is needed, and not both"),
            ({"to": "tf2", "template": "objects", "structure": "structure"}, "is needed, and not both"),
            ({"to": "tf2", "template": "objects", "root": "x"}, "no --root (root) or --names (names)"),
            ({"to": "tf1", "template": "names", "names": "keys"}, "no --root (root) or --names (names)"),
        ],
    )
    def test_what_does_not_go_together(self, options, reason, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write("names", {"a": np.float32(1)})
        write_graph("objects", tree({"a": None}))
        (tmp_path / "structure").write_text('{"a": "a"}')
        with pytest.raises(tb.BundleError) as caught:
            convert("names", "out", **options)
        assert reason in str(caught.value)


class TestTablesAndIterators:
    """Of any size, as TensorFlow restores them."""

    def program(self, prefix, keys, state):
        root = Node(
            children={
                "table": Node(attributes=[Attribute("table", "", "")]),
                "iterator": Node(attributes=[Attribute("ITERATOR_STATE", "", "")]),
                "w": variable("w"),
            }
        )
        graph = finished(root)
        values = np.arange(len(keys), dtype=np.int64) + len(keys)
        tensors = {
            "table/.ATTRIBUTES/table-keys": strings(*keys),
            "table/.ATTRIBUTES/table-values": values,
            "iterator/.ATTRIBUTES/ITERATOR_STATE": strings(*state),
            "w/.ATTRIBUTES/VARIABLE_VALUE": np.float32([len(keys)]),
        }
        return write(prefix, tensors, graph=graph)

    @pytest.mark.parametrize("keys", [[b"x", b"y"], [], [b"z"]])
    def test_by_their_objects(self, keys, tmp_path):
        source = self.program(tmp_path / "source", keys, [b"s"] * 5)
        template = self.program(tmp_path / "template", [b"u", b"v", b"w"], [b"t"] * 2)
        summary = convert(source, tmp_path / "out", to="tf2", template=template)
        assert count(summary) == {"by name": 1, "by path": 3}
        before, after = our_reading(source), our_reading(tmp_path / "out")
        assert after == before

    def test_a_table_that_the_source_lacks(self, tmp_path):
        """Its contents are not the template's silently."""
        template = self.program(tmp_path / "template", [b"u"], [b"t"])
        source = write(tmp_path / "source", {"w": np.float32([3])})
        with pytest.raises(tb.ConflictError, match=r"2 missing, .* 'table/\.ATTRIBUTES/table-keys'"):
            convert(source, tmp_path / "out", to="tf2", template=template)
        summary = convert(source, tmp_path / "out", to="tf2", template=template, allow_missing=True)
        assert count(summary)["missing, kept from the template"] == 2

    def test_of_tf1_by_rules(self, tmp_path):
        tensors = {"vocab-keys": strings(b"x", b"y"), "vocab-values": np.int64([1, 2]), "w": np.float32([3])}
        source = write(tmp_path / "source", tensors)
        template = self.program(tmp_path / "template", [b"u"], [b"t"])
        rules = {f"vocab-{each}": f"table/.ATTRIBUTES/table-{each}" for each in ("keys", "values")}
        summary = convert(source, tmp_path / "out", to="tf2", template=template, map=rules)
        assert summary.changes["by rule"] == 2
        with tb.open(tmp_path / "out") as out:
            assert out["table/.ATTRIBUTES/table-keys"].tolist() == [b"x", b"y"]
            assert out["table/.ATTRIBUTES/table-values"].tolist() == [1, 2]

    @pytest.mark.parametrize(
        "rules",
        [
            {"old/": "/", "it": "iterator"},
            {"old/table": "table", "it/.ATTRIBUTES/ITERATOR_STATE": "iterator"},
            {"(root).old.table": "(root).table", "(root).it": "iterator"},
            {
                f"old/table/.ATTRIBUTES/table-{each}": f"table/.ATTRIBUTES/table-{each}"
                for each in ("keys", "values")
            }
            | {"it": "iterator"},
        ],
        ids=["scope", "paths", "spelled", "keys"],
    )
    def test_of_renamed_objects_by_rules(self, tmp_path, rules):
        other = self.program(tmp_path / "other", [b"x", b"y"], [b"s"] * 5)
        rename(other, tmp_path / "source", {"table": "old/table", "iterator": "it"})
        template = self.program(tmp_path / "template", [b"u", b"v", b"w"], [b"t"] * 2)
        summary = convert(tmp_path / "source", tmp_path / "out", to="tf2", template=template, map=rules)
        assert count(summary) == {"by name": 1, "by rule": 3}
        assert our_reading(tmp_path / "out") == our_reading(other)
