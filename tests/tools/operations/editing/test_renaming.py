"""Other names: whole ones, scopes, globs, regular expressions; keys of TF1, paths of TF2."""

import fnmatch
import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tensorbundle as tb
from support.cli import V215
from support.rewriting import (
    assert_sound,
    by_path,
    finished,
    keras_like,
    lists,
    rewritten,
    strings,
    tensors_in,
    tree,
    variable,
    write,
    write_objects,
)
from tensorbundle.proto.paths import escape_name
from tensorbundle.tools import convert, rewrite
from tensorbundle.tools import rename as rename_to
from tensorbundle.tools.operations.editing import rules
from tensorbundle.tools.operations.editing.renaming import _moved_above
from tensorbundle.tools.operations.editing.rules import parse_map, parse_rule, regex_rule

NAMES = ["a/b/w", "a/b/w/Adam", "a/c", "d", "[x]", "e.f"]


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("d", "z", {"d": "z"}),
        ("a/c", "c", {"a/c": "c"}),
        ("a/", "z/", {"a/b/w": "z/b/w", "a/b/w/Adam": "z/b/w/Adam", "a/c": "z/c"}),
        ("a/b/", "/", {"a/b/w": "w", "a/b/w/Adam": "w/Adam"}),
        ("/", "top/", {name: f"top/{name}" for name in NAMES}),
        ("a/*", "z/*", {"a/b/w": "z/b/w", "a/b/w/Adam": "z/b/w/Adam", "a/c": "z/c"}),
        ("*/Adam", "*/m", {"a/b/w/Adam": "a/b/w/m"}),
        ("*/?", "*-*", {"a/b/w": "a/b-w", "a/c": "a-c"}),
        ("?", "*2", {"d": "d2"}),
        ("[x]", "y", {"[x]": "y"}),  # exactly a name, before it is a glob
        ("d:0", "z:0", {"d": "z"}),  # the name of a variable's tensor
        ("[c-e]", "*_", {"d": "d_"}),
        ("[[]x]", "x", {"[x]": "x"}),
        ("a[/]*/Adam", "a/*/m", {"a/b/w/Adam": "a/b/w/m"}),  # one character in brackets is no wildcard
        ("e.f", r"\1", {"e.f": r"\1"}),  # nothing in a name is special
        ("d", "a\\g<0>", {"d": "a\\g<0>"}),
    ],
)
def test_rules(tmp_path, old, new, names):
    source = write(tmp_path / "m", {name: np.float32(number) for number, name in enumerate(NAMES)})
    found = rewritten(source, tmp_path / "out", rename={old: new})
    assert lists(found) == {names.get(name, name): number for number, name in enumerate(NAMES)}


@pytest.mark.parametrize("name", ["_CHECKPOINTABLE_OBJECT_GRAPH", "\0a"])
def test_names_that_mean_something_else(tmp_path, name):
    """The key of an object graph, and keys of slices, would make another checkpoint of it."""
    source = write(tmp_path / "m", {"a": strings(b"x"), "b": np.float32(1)})
    with pytest.raises(tb.ConflictError, match="is not a name for a tensor") as caught:
        rewrite(source, tmp_path / "out", rename={"a": name})
    assert (caught.value.path, caught.value.key) == (source, "a")


@pytest.mark.parametrize(
    ("pattern", "replacement", "names"),
    [
        (r"^a/(\w)/", r"\1_", {"a/b/w": "b_w", "a/b/w/Adam": "b_w/Adam"}),
        ("/", ".", {"a/b/w": "a.b.w", "a/b/w/Adam": "a.b.w.Adam", "a/c": "a.c"}),
        (r"(?P<n>[df])$", r"<\g<n>>", {"d": "<d>", "e.f": "e.<f>"}),
        ("$", "/x", {name: f"{name}/x" for name in NAMES}),
    ],
)
def test_regex(tmp_path, pattern, replacement, names):
    source = write(tmp_path / "m", {name: np.float32(number) for number, name in enumerate(NAMES)})
    found = rewritten(source, tmp_path / "out", rename={"regex": {pattern: replacement}})
    assert lists(found) == {names.get(name, name): number for number, name in enumerate(NAMES)}


def test_the_first_rule_that_fits_decides(tmp_path):
    source = write(tmp_path / "m", {"a/x": 1.0, "a/y": 2.0, "z": 3.0})
    rename = {"a/x": "z", "a/*": "b/*", "z": "a/x"}
    assert lists(rewritten(source, tmp_path / "out", rename=rename)) == {"a/x": 3, "b/y": 2, "z": 1}


def test_slices_follow(tmp_path):
    source = write(tmp_path / "m", {"e": np.arange(6.0)}, cuts={"e": (2, 0)})
    summary = rewrite(source, tmp_path / "out", rename={"e": "\u00e9"})
    assert_sound(tmp_path / "out")
    assert tensors_in(tmp_path / "out") == {"\u00e9": tensors_in(source)["e"]}
    assert summary.changes == {"renamed": 1, "cast": 0, "dropped": 0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: parse_rule("a/", "b"), r"^rename 'a/=b': a scope ends in '/' on both sides$"),
        (lambda: parse_rule("a", "b/"), r"^rename 'a=b/': a scope ends in '/' on both sides$"),
        (
            lambda: parse_rule("a*", "*b*"),
            r"^rename 'a\*=\*b\*': 2 '\*' on the right, 1 wildcards on the left$",
        ),
        (lambda: regex_rule("(", "x"), r"^rename '\(=>x': "),
        (lambda: regex_rule("a", r"\1"), r"^rename 'a=>\\\\1': invalid group reference 1"),
        (lambda: regex_rule("(a)", r"\g<n>"), r"^rename "),
    ],
)
def test_rules_that_are_none(make, message):
    with pytest.raises(tb.BundleError, match=message):
        make()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"q": "r"}, r"m: rename 'q=r' matches nothing$"),
        ({"a/d": "r"}, r"m: rename 'a/d=r' matches nothing; near: 'a/c'"),
        ({"d": "z", "q/": "r/"}, r"rename 'q/=r/' matches nothing$"),
        ({"q*": "r*"}, r"rename 'q\*=r\*' matches nothing"),
        ({"regex": {"q": "r"}}, r"rename 'q=>r' matches nothing"),
        ({"d": "x", "[d]": "y"}, r"rename '\[d\]=y' has no effect"),
    ],
    ids=str,
)
def test_strict(tmp_path, rule, message):
    source = write(tmp_path / "m", {name: np.float32(0) for name in NAMES})
    with pytest.raises(tb.TensorNotFoundError, match=message):
        rewrite(source, tmp_path / "out", rename=rule)


def test_a_scope_is_what_is_in_it(tmp_path):
    """A variable `a` is not in the scope `a/`."""
    source = write(tmp_path / "m", {"a": 1.0, "a/x": 2.0})
    assert lists(rewritten(source, tmp_path / "out", rename={"a/": "b/"})) == {"a": 1, "b/x": 2}
    assert lists(rewritten(source, tmp_path / "up", rename={"a/": "/"})) == {"a": 1, "x": 2}


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=b\n\n# no rule\n  c/ = d/  \nx*=y*\n", ["a=b", "c/=d/", "x*=y*"]),
        ("a=b=c", ["a=b=c"]),
        ("{'a': 'b', 'c/': 'd/'}", ["a=b", "c/=d/"]),
        ('[["a", "b"], ["c", "d"]]', ["a=b", "c=d"]),
        ("[('a', 'b')]", ["a=b"]),
        ("{'a': ['b/part_0', 'b/part_1']}", ["a=b"]),  # the parts of a partitioned variable
        ("[('a', 'b'), ('a', 'c')]", ["a=b", "a=c"]),
        ("", []),
        ("{}", []),
    ],
)
def test_maps(text, pairs):
    assert [rule.text for rule in parse_map(text, "f")] == pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=b\nc", r"^f: line 2: 'c' is not OLD=NEW$"),
        ("{'a': 1}", r"^f: \('a', 1\) is not a pair of names$"),
        ("[['a']]", r"is not a pair of names$"),
        ("[1]", r"is not a pair of names$"),
        ("{[]: 1}", r"^f: "),
        ("{'a'", r"^f: not a dictionary or a list of pairs"),
        ("{a: b}", r"^f: not a dictionary or a list of pairs"),
        ("{'a': ['b', 'c']}", r"are not the parts \(NAME/part_0, ...\) of one variable$"),
        ("{'a': ['b/part_0', 'c/part_1']}", r"are not the parts"),
        ("{'a': []}", r"is not a pair of names$"),
        ("{'a/': 'b'}", r"a scope ends in '/' on both sides$"),
    ],
)
def test_maps_that_are_none(text, message):
    with pytest.raises(tb.BundleError, match=message):
        parse_map(text, "f")


@pytest.mark.parametrize("data", ["share", "copy"])
def test_a_map_gives_several_names(tmp_path, run, data):
    """As in TensorFlow, where one tensor may initialise several variables; a line's rule is only one."""
    source = write(tmp_path / "m", {"a/x": 1.0, "a/y": 2.0})
    (tmp_path / "map").write_text("[('a/', 'b/'), ('a/x', 'z'), ('/', 'all/')]")
    run("rename", source, tmp_path / "out", "--map", tmp_path / "map", "--data", data)
    with tb.open(tmp_path / "out") as ckpt:
        found = {name: float(value) for name, value in ckpt.items()}
    assert found == {"b/x": 1, "b/y": 2, "z": 1, "all/a/x": 1, "all/a/y": 2}
    (tmp_path / "map").write_text("a/=b/\na/x=z")
    assert "has no effect" in run.error("rename", source, tmp_path / "no", "--map", tmp_path / "map")


class TestObjects:
    def moved(self, tmp_path, root, **rename):
        source = write_objects(tmp_path / "m", root)
        rewrite(source, tmp_path / "out", rename=rename["rename"])
        return by_path(tmp_path / "out")

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("model/last", "model/top"),
            ("model/", "net/deep/"),
            ("model", "net"),
            ("model/layer-0/kernel", "model/layer-0/w"),
            ("model/layer-0/kernel", "elsewhere"),
            ("optimizer", "opt"),
            ("optimizer/", "trainer/opt/"),
            ("model/last/w", escape_name("a/b.c")),
            ("*/kernel", "*/w"),
        ],
    )
    def test_paths_keys_and_slots(self, tmp_path, old, new):
        """A path's beginning changes wherever it is, also in those of slots."""
        before = finished(keras_like())
        start, end = (each.strip("*").strip("/") for each in (old, new))
        values = {path: number for number, (path, _, _) in enumerate(before.attributes())}

        def moved(path):
            variable_path, mark, slot = path.partition("/.OPTIMIZER_SLOT/")
            out = []
            for each in (variable_path, *([slot] if mark else [])):
                if old.startswith("*"):
                    out.append(each.replace("/kernel", "/w"))
                else:
                    fits = each == start or each.startswith(f"{start}/")
                    out.append(end + each[len(start) :] if fits else each)
            return mark.join(out) if mark else out[0]

        found = self.moved(tmp_path, keras_like(), rename={old: new})
        assert found == {moved(path): value for path, value in values.items()}

    def test_names_exchanged(self, tmp_path):
        found = self.moved(tmp_path, tree({"a": {"x": None}, "b": {"y": None}}), rename={"a": "b", "b": "a"})
        assert found == {"b/x": 0, "a/y": 1}

    def test_up_to_the_root(self, tmp_path):
        found = self.moved(
            tmp_path, tree({"a": {"x": None, "y": {"z": None}}, "b": None}), rename={"a/": "/"}
        )
        assert sorted(found) == ["b", "x", "y/z"]

    def test_down_from_the_root(self, tmp_path):
        """The save counter stays, as TensorFlow looks for it at the root."""
        found = self.moved(tmp_path, keras_like(), rename={"/": "all/"})
        assert found["save_counter"] == 0
        assert all(path.startswith("all/") for path in found if path != "save_counter")

    def test_all_names_of_what_is_shared(self, tmp_path):
        """A layer of a Keras model has two; what moves out of a scope is gone there."""
        shared = tree({"kernel": None})
        root = tree({"layer-0": shared, "layer_with_weights-0": shared, "save_counter": None})
        root.children["root"] = root
        self.moved(tmp_path, root, rename={"/": "model/"})
        with tb.open(tmp_path / "out") as ckpt:
            graph = ckpt.object_graph
            assert list(graph.root.children) == ["save_counter", "root", "model"]
            assert list(graph["model"].children) == ["layer-0", "layer_with_weights-0"]
            assert graph["model/layer-0"] is graph["model/layer_with_weights-0"]

    def test_an_object_gets_one_place(self, tmp_path, run):
        source = write_objects(tmp_path / "m", tree({"a": {"x": None}}))
        (tmp_path / "map").write_text("[('a/', 'b/'), ('a/x', 'z')]")
        message = run.error("rename", source, tmp_path / "out", "--map", tmp_path / "map")
        assert message.endswith("key 'a/x': an object can move to only one place, not to 'b/x', 'z'")

    def test_by_another_name(self, tmp_path):
        shared = variable()
        root = tree({"a": shared, "deep": {"er": {"b": shared}}})
        found = self.moved(tmp_path, root, rename={"deep/er/b": "deep/er/c"})
        assert found == {"a": 0}
        with tb.open(tmp_path / "out") as ckpt:
            assert ckpt.object_graph["deep/er/c"] is ckpt.object_graph["a"]

    def test_the_shortest_name_goes(self, tmp_path):
        """The tensor's key is then another path."""
        shared = variable()
        found = self.moved(tmp_path, tree({"a": shared, "b": {"c": shared}}), rename={"a": "x/y/z"})
        assert found == {"b/c": 0}

    @pytest.mark.parametrize(
        ("rule", "message"),
        [
            ({"model/last": "model/layer-0/kernel"}, r"m: "),
            ({"model/last": "model/la.st"}, r"m: "),  # not an escaped name
        ],
        ids=str,
    )
    def test_what_can_not_be(self, tmp_path, rule, message):
        source = write_objects(tmp_path / "m", keras_like())
        with pytest.raises(tb.BundleError, match=message):
            rewrite(source, tmp_path / "out", rename=rule)

    def test_strict(self, tmp_path):
        with pytest.raises(
            tb.TensorNotFoundError, match=r"rename 'modle=net' matches nothing; near: 'model'"
        ):
            rewrite(write_objects(tmp_path / "m", keras_like()), tmp_path / "out", rename={"modle": "net"})

    def test_tables_follow_their_object(self, tmp_path):
        """Their keys go on after what the graph says."""
        source = next((V215 / "tables").glob("*.index")).with_suffix("")
        with tb.open(source) as ckpt:
            name = next(iter(ckpt.object_graph.root.children))
        rewrite(source, tmp_path / "out", rename={"regex": {f"^{name}(?=/|$)": "moved"}})
        assert_sound(tmp_path / "out")
        expected = {
            ("moved" + key[len(name) :] if key.startswith(f"{name}/") else key) for key in tensors_in(source)
        }
        assert set(tensors_in(tmp_path / "out")) == expected

    @pytest.mark.parametrize("rule", [{"blob": "moved"}, {"/": "all/"}], ids=str)
    def test_what_a_registered_saver_saved(self, tmp_path, rule):
        """Its tensors have names of the saver's own, made of the object name that the graph tells it at restore."""
        source = next((V215 / "registered-saver").glob("*.index")).with_suffix("")
        rewrite(source, tmp_path / "out", rename=rule)
        with tb.open(tmp_path / "out") as ckpt:
            [saver] = [node.registered_saver for _, node in ckpt.object_graph.walk() if node.registered_saver]
            assert f"{saver.object_name}/numbers" in ckpt

    def test_objects_on_a_slot_variable(self, tmp_path):
        """TensorFlow writes none, but what is there stays, with edges that lead to it."""
        root = keras_like()
        root.children["optimizer"].slots[0].slot.children["extra"] = variable()
        source = write_objects(tmp_path / "m", root)
        rewrite(source, tmp_path / "out", rename={"optimizer": "adam"})
        expected = {path.replace("optimizer", "adam"): value for path, value in by_path(source).items()}
        assert by_path(tmp_path / "out") == expected
        rewrite(source, tmp_path / "few", extract=["model/layer-0/*"])
        assert "model/layer-0/kernel" in by_path(tmp_path / "few")
        rewrite(source, tmp_path / "both", merge={"with": {"other": source}})
        assert len(by_path(tmp_path / "both")) == 2 * len(expected) - 1

    def test_a_scope_moves_inside_itself(self, tmp_path):
        source = write_objects(tmp_path / "m", keras_like())
        rewrite(source, tmp_path / "out", rename={"model/": "model/net/"})
        assert by_path(tmp_path / "out") == {
            path.replace("model/", "model/net/"): value for path, value in by_path(source).items()
        }

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("model/layer-0/kernel/.ATTRIBUTES/VARIABLE_VALUE", "enc/w/.ATTRIBUTES/VARIABLE_VALUE"),
            ("(root).model.layer-0.kernel", "(root).enc.w"),
            ("dense/kernel", "enc/w"),
            ("dense/kernel:0", "enc/w"),
            ("model/*-0/kernel/.ATTRIBUTES/VARIABLE_VALUE", "enc/w*/.ATTRIBUTES/VARIABLE_VALUE"),
        ],
    )
    def test_every_name_of_an_object(self, tmp_path, old, new):
        source = write_objects(tmp_path / "m", keras_like())
        rewrite(source, tmp_path / "out", rename={old: new})
        renamed = by_path(tmp_path / "out")
        place = "enc/wlayer" if "*" in old else "enc/w"
        assert renamed[place] == by_path(source)["model/layer-0/kernel"]
        assert f"{place}/.OPTIMIZER_SLOT/optimizer/m" in renamed


class TestOrder:
    """Pairs at the same time, then each regular expression on what has become of the names."""

    def test_expressions_apply_after_the_pairs_one_after_another(self, tmp_path):
        source = write(tmp_path / "m", {"a/x": np.float32(0), "b/x": np.float32(1)})
        rules = {"regex": {"^b/": "c/", "^c/x": "c/y"}, "a/": "b/", "b/": "a/"}
        assert lists(rewritten(source, tmp_path / "out", rename=rules)) == {"c/y": 0, "a/x": 1}

    @pytest.mark.parametrize(
        ("rules", "message"),
        [
            (
                {"m/": "q/", "m/target/": "t/"},
                (
                    "rename 'm/target/=t/' has no effect: 'm/=q/' before it applies to every name that it matches, such as "
                    "'m/target/w'; give it first"
                ),
            ),
            (
                {"m/w": "q", "regex": {"^m/w$": "t"}},
                "rename '^m/w$=>t' matches nothing: 'm/w' was renamed to 'q' before",
            ),
            (
                {"m*/": "q/"},
                "rename 'm*/=q/' matches nothing: a scope has no wildcards; --regex replaces parts of names",
            ),
            (
                {"m/*/*": "q/*"},
                (
                    "rename 'm/*/*=q/*': 1 '*' on the right, 2 wildcards on the left: what the others match would be lost from "
                    "the names; --regex replaces parts of names"
                ),
            ),
        ],
        ids=["scope", "expression", "wildcards in a scope", "fewer"],
    )
    def test_refused(self, tmp_path, rules, message):
        source = write(tmp_path / "m", {"m/target/w": np.float32(0), "m/w": np.float32(1)})
        with pytest.raises(tb.BundleError) as caught:
            rewrite(source, tmp_path / "out", rename=rules)
        assert caught.value.reason == message

    def test_a_rule_for_the_rest_may_follow_one_for_a_part(self, tmp_path):
        source = write(tmp_path / "m", {"m/target/w": np.float32(0), "m/w": np.float32(1)})
        found = rewritten(source, tmp_path / "out", rename={"m/target/": "t/", "m/": "q/"})
        assert lists(found) == {"t/w": 0, "q/w": 1}


@pytest.mark.parametrize(
    "text",
    [
        "{'a': <tf.Variable 'new/a:0' shape=(2,) dtype=float32, numpy=array([0., 1.], dtype='>f4')>, 'b': 'c'}",
        "OrderedDict([('a', <tf.Variable 'new/a:0' shape=() dtype=string, numpy=b\"it's > 1\">), ('b', 'c')])",
        (
            "{'a': [<tf.Variable 'new/a/part_0:0' shape=(1,) dtype=float32>, <tf.Variable 'new/a/part_1:0' shape=(1,)>],"
            "\n 'b': <tf.Variable 'c:0' shape=(2,) dtype=float32_ref>}"
        ),
        "{'a': <Variable path=new/a, shape=(2,), dtype=float32, value=[0. 1.]>, 'b': 'c'}",
    ],
    ids=["eager", "ordered", "partitioned", "keras"],
)
def test_a_printed_assignment_map(text):
    assert [(rule.old, rule.new) for rule in parse_map(text, "map")] == [("a", "new/a"), ("b", "c")]


def test_deep_paths_take_a_step_each():
    """Counts what is kept of the paths above: one for each object of a chain, not one for each pair of them."""
    moves, nearest = {"a": "zz/a"}, {}
    paths = ["/".join("a" * depth) for depth in range(2, 200)]
    assert [_moved_above(path, moves, nearest) for path in paths] == ["a"] * len(paths)
    assert len(nearest) < len(paths)
    assert _moved_above("b/c", moves, nearest) is None


class TestAnObjectWithoutAName:
    """TensorFlow saves a child of the root that is called "", and its children as `/a` and so on."""

    @pytest.mark.parametrize(
        ("rule", "moved"),
        [
            ({"/a": "/z"}, {"/a": "/z"}),
            ({"/c/": "/d/"}, {"/c/w": "/d/w"}),
            ({"/*": "m/*"}, {"/a": "m/a", "/c/w": "m/c/w"}),
            ({"a": "z"}, {"a": "z"}),
            ({"b/x": "/q"}, {"b/x": "/q"}),
        ],
    )
    def test_children(self, rule, moved, tmp_path):
        root = tree({"": {"a": None, "c": {"w": None}}, "a": None, "b": {"x": None}})
        before = by_path(write_objects(tmp_path / "a", root))
        rename_to(tmp_path / "a", tmp_path / "b", rule)
        assert_sound(tmp_path / "b")
        assert by_path(tmp_path / "b") == {moved.get(path, path): value for path, value in before.items()}

    def test_in_the_library(self):
        graph = finished(tree({"": {"a": None}, "a": None}))
        assert graph.rename("/a", "z") == {"/a": "/z"}
        assert graph.rename("a", "y") == {"a": "y"}
        assert {path for path, _ in graph.walk()} == {"", "/z", "y"}

    def test_into_a_template(self, tmp_path):
        """Rules name paths as TensorFlow does."""
        root = tree({"": {"a": variable("x")}, "a": variable("y")})
        source = write_objects(tmp_path / "a", root)
        convert(source, tmp_path / "b", to="tf2", template=source, map={"/a": "a", "a": "/a"})
        before, after = by_path(source), by_path(tmp_path / "b")
        assert (after["a"], after["/a"]) == (before["/a"], before["a"])


@given(
    st.text("ab*?[]!", min_size=1, max_size=8).filter(lambda old: "*" in old and not old.endswith("/")),
    st.text("ab!", max_size=9),
)
def test_globs_match_what_regular_expressions_do(old, name):
    """The first '*' matches as much as it can, then the second one, and so on."""
    rule = parse_rule(old, "x")
    assume(rule.whole is None)  # '*' in brackets means itself
    pieces = re.split(r"(\[[^!]\]|\*|\?|\[!?\]?[^\]]*\])", old)
    groups = []
    for number, piece in enumerate(pieces):
        if number % 2 == 0:
            groups.append(re.escape(piece))
        elif len(piece) == 3 and piece[1] != "!":
            groups.append(re.escape(piece[1]))
        else:
            groups.append(f"({fnmatch.translate(piece)[4:].rpartition(')')[0]})")
    expected = re.fullmatch("".join(groups), name, re.DOTALL)
    assert rule.matched(name) == (None if expected is None else list(expected.groups()))


@pytest.mark.parametrize("old", ["*a*b*a*b*c", "c*a*b*a*b*", "*b?a*b[a]*c*", "*a*" * 9 + "c"])
def test_globs_on_long_names_take_no_time(old):
    """A regular expression that tries everything would take longer than anybody waits."""
    name = "ab" * 100_000 + "c" + "ab" * 100_000
    assert parse_rule(old, "x").apply(name) is None


def test_many_rules_are_not_tried_as_regular_expressions(monkeypatch):
    compiled = []
    monkeypatch.setattr(rules, "_backwards", lambda *glob: compiled.append(glob))
    for number in range(100):
        assert parse_rule(f"*/a{number}/*", "*").apply("b/c/d") is None
    assert not compiled
