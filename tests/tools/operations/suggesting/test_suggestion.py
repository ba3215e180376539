"""Maps from one checkpoint's names to another's: what is found, what is certain, and that it can be applied."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from support.cli import V215, V221
from support.cost import growth
from support.depth import DEEP, sample
from support.rewriting import finished, tensors_in, tree, variable, write
from tensorbundle.proto.graph import Attribute, Node
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, attribute_key
from tensorbundle.tools import convert, suggest
from tensorbundle.tools.cli import main
from tensorbundle.tools.matching.deciding import match
from tensorbundle.tools.matching.items import Item
from tensorbundle.tools.matching.substitutions import Substitutions
from tensorbundle.tools.operations.editing.renaming import new_names
from tensorbundle.tools.operations.editing.rules import parse_map, rule_line
from tensorbundle.tools.operations.suggesting.rules import rules_for


def values(seed, *shape, dtype="f4"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def numbered(shapes, seed=0):
    """Values of these shapes, no two the same."""
    return {name: values((seed, number), *shape) for number, (name, shape) in enumerate(shapes.items())}


def found(tmp_path, one, other, *, graphs=(None, None)):
    """What is suggested for two checkpoints of these tensors."""
    for name, tensors, graph in zip(("a", "b"), (one, other), graphs, strict=True):
        write(tmp_path / name, tensors, graph=graph)
    return suggest(tmp_path / "a", tmp_path / "b")


def map_of(tmp_path, overwrite=True):
    """The file that the command makes."""
    path = tmp_path / "map"
    assert main(["suggest", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(path), "--overwrite"]) == 0
    return path


def check(tmp_path, suggestion):
    """That pairs are one to one, equal in type and shape, and what `rename --map` makes of the file."""
    before, target = tensors_in(tmp_path / "a"), tensors_in(tmp_path / "b")
    for side in ("old", "new"):
        names = [getattr(each, side) for each in suggestion.matches]
        left = [name for name, _ in getattr(suggestion, f"left_{side}")]
        assert len({*names, *left}) == len(names) + len(left)
    applied = {each.old: each.new for each in suggestion.matches if each.confidence != "possible"}
    assert {old: new for old, new in applied.items() if old != new} == suggestion.names
    path = map_of(tmp_path)
    if suggestion.rules:
        status = main(
            ["rename", str(tmp_path / "a"), str(tmp_path / "out"), "--map", str(path), "--overwrite"]
        )
        assert status == 0
        after = tensors_in(tmp_path / "out")
    else:
        after = before
    return applied, before, after, target


def check_keys(tmp_path, suggestion):
    """As `check`, of name-based checkpoints."""
    applied, before, after, target = check(tmp_path, suggestion)
    for old, new in applied.items():
        assert after[new] == before[old]
        assert after[new][:2] == target[new][:2]
    return applied


# Names, and how they change

WORDS = [
    "bert",
    "encoder",
    "layer_0",
    "layer_1",
    "layer_2",
    "dense",
    "dense_1",
    "kernel",
    "bias",
    "w",
    "gamma",
    "Adam",
    "x y",
    "é",
]
names = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map("/".join)
SHAPES = [(3, 4), (4, 3), (4,), (2, 2), (5,)]


@st.composite
def renamed(draw, least=1):
    """Names, and each one's new name: scopes and last parts change alike everywhere, some names for themselves."""
    old = draw(st.lists(names, min_size=least, max_size=12, unique=True))
    new = {name: name for name in old}
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["scope", "leaf", "part", "one", "swap"]))
        name = draw(st.sampled_from(old))
        parts = new[name].split("/")
        fresh = draw(st.sampled_from(["model", "net/tower", "other", "layers/7", "q=r", "#z", "new*"]))
        if kind == "scope":
            scope = "/".join(parts[: draw(st.integers(0, len(parts) - 1))])
            change = {
                each: f"{fresh}/{value.removeprefix(f'{scope}/')}"
                for each, value in new.items()
                if not scope or value.startswith(f"{scope}/")
            }
        elif kind == "leaf":
            change = {
                each: "/".join([*value.split("/")[:-1], fresh])
                for each, value in new.items()
                if value.split("/")[-1] == parts[-1]
            }
        elif kind == "part":
            change = {
                each: "/".join(fresh if part == parts[0] else part for part in value.split("/"))
                for each, value in new.items()
            }
        elif kind == "one":
            change = {name: fresh}
        else:
            other = draw(st.sampled_from(old))
            change = {name: new[other], other: new[name]}
        if len({*(new | change).values()}) == len(new):
            new |= change
    return new


@pytest.mark.slow
@given(renamed(), st.integers(0, 5), st.randoms(use_true_random=False))
def test_equal_values_give_the_exact_map(tmp_path_factory, names, alike, random):
    """Whatever the names: each tensor that has values of its own is found, and for certain. Zeros may not be."""
    tmp_path = tmp_path_factory.mktemp("m")
    tensors = {name: values(number, *random.choice(SHAPES)) for number, name in enumerate(names)}
    zeros = set(list(tensors)[:alike])
    tensors |= {name: np.zeros_like(tensors[name]) for name in zeros}
    suggestion = found(tmp_path, tensors, {new: tensors[old] for old, new in names.items()})
    by_checksum = {each.old: each.new for each in suggestion.matches if each.evidence.startswith("checksum")}
    by_slot = {each.old: each.new for each in suggestion.matches if each.evidence == "slot"}
    assert by_checksum == {old: new for old, new in names.items() if old not in zeros | by_slot.keys()}
    assert by_slot.items() <= names.items()
    applied = check_keys(tmp_path, suggestion)
    for each in suggestion.matches:
        assert each.old in zeros or each.confidence == "certain" or is_in_the_way(each, applied)
    if not zeros:
        assert applied == names
        assert tensors_in(tmp_path / "b") == tensors_in(tmp_path / ("out" if suggestion.rules else "a"))


def is_in_the_way(possible, applied):
    """Whether a tensor that nothing is known of has the name that another would get."""
    return possible.evidence.endswith("in the way of another") and possible.new not in applied


@given(renamed(), st.randoms(use_true_random=False), st.data())
def test_some_values_changed(tmp_path_factory, names, random, data):
    """And some tensors are on one side only. What is certain is right."""
    tmp_path = tmp_path_factory.mktemp("m")
    one = {name: values(number, *random.choice(SHAPES)) for number, name in enumerate(names)}
    other = {new: one[old] for old, new in names.items()}
    for name in data.draw(st.lists(st.sampled_from(list(other)), unique=True)):
        other[name] = values((1, len(name)), *other[name].shape)
    missing = data.draw(st.lists(st.sampled_from(list(one)), unique=True, max_size=len(one) - 1))
    one = {name: value for name, value in one.items() if name not in missing}
    if len(other) > 1:
        other.pop(data.draw(st.sampled_from(list(other))))
    suggestion = found(tmp_path, one, other)
    for each in suggestion.matches:
        if each.confidence == "certain":
            assert names[each.old] == each.new
    applied = check_keys(tmp_path, suggestion)
    same = {
        old: names[old] for old in one if names[old] in other and np.array_equal(one[old], other[names[old]])
    }
    by_checksum = {each.old: each for each in suggestion.matches if each.evidence.startswith("checksum")}
    by_slot = {each.old: each.new for each in suggestion.matches if each.evidence == "slot"}
    same = {old: new for old, new in same.items() if old not in by_slot}
    assert {old: each.new for old, each in by_checksum.items()} == same
    assert by_slot.items() <= names.items()
    assert all(each.confidence == "certain" or is_in_the_way(each, applied) for each in by_checksum.values())


@given(renamed())
def test_other_values_but_shapes_of_their_own(tmp_path_factory, names):
    tmp_path = tmp_path_factory.mktemp("m")
    shapes = {name: (number + 2, 3) for number, name in enumerate(names)}
    one, other = numbered(shapes), numbered({names[name]: shape for name, shape in shapes.items()}, 1)
    suggestion = found(tmp_path, one, other)
    check_keys(tmp_path, suggestion)
    assert {each.old: each.new for each in suggestion.matches}.items() <= names.items()
    assert suggestion.counts["certain"] == 0


def bert(layers=3, width=4, slots=True):
    """Shapes of a BERT's tensors, by name."""
    shapes = {"bert/embeddings/word_embeddings": (30, width)}
    for number in range(layers):
        at = f"bert/encoder/layer_{number}"
        for part in ("attention/self/query", "attention/self/key", "attention/output/dense"):
            shapes |= {f"{at}/{part}/kernel": (width, width), f"{at}/{part}/bias": (width,)}
        shapes |= {f"{at}/output/LayerNorm/{name}": (width,) for name in ("gamma", "beta")}
    shapes |= {"bert/pooler/dense/kernel": (width, width), "bert/pooler/dense/bias": (width,)}
    if slots:
        shapes |= {f"{name}/{slot}": shape for name, shape in shapes.items() for slot in ("adam_m", "adam_v")}
    return shapes | {"global_step": ()}


def as_model(name):
    new = name.replace("bert/encoder/layer_", "model/layers/").replace("bert/", "model/")
    return new.replace("gamma", "scale").replace("beta", "offset").replace("attention/self", "attn")


RENAMES = {
    "scope": lambda name: name.replace("bert/", "model/", 1),
    "root": lambda name: f"all/{name}",
    "to the root": lambda name: name.removeprefix("bert/"),
    "layers": lambda name: name.replace("encoder/layer_", "layers/"),
    "layers into one part": lambda name: name.replace("encoder/layer_", "l"),
    "leaf": lambda name: name.replace("kernel", "w"),
    "many": as_model,
    "none": lambda name: name,
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "retrained"), sample(itertools.product(RENAMES, [False, True]), 6), ids=str)
def test_consistent_renames_become_few_rules(tmp_path, name, retrained):
    change = RENAMES[name]
    shapes = bert(layers=11)
    one = numbered(shapes)
    other = numbered(shapes, 1) if retrained else one
    suggestion = found(tmp_path, one, {change(name): value for name, value in other.items()})
    assert check_keys(tmp_path, suggestion) == {name: change(name) for name in shapes}
    assert len(suggestion.rules) <= 12
    assert suggestion.counts["certain"] == (0 if retrained else len(shapes) - 1)  # the step is one number
    assert suggestion.counts["unchanged"] == sum(name == change(name) for name in shapes)


def test_one_scope_is_one_line(tmp_path):
    tensors = numbered(bert(layers=5))
    suggestion = found(tmp_path, tensors, {RENAMES["scope"](name): each for name, each in tensors.items()})
    assert [each.text for each in suggestion.rules] == ["bert/=model/"]
    assert len(suggestion.rules[0].names) == len(tensors) - 1


def test_layers_are_one_line(tmp_path):
    tensors = numbered(bert(layers=5))
    suggestion = found(tmp_path, tensors, {RENAMES["layers"](name): each for name, each in tensors.items()})
    assert [each.text for each in suggestion.rules] == ["bert/encoder/layer_*/*=bert/layers/*/*"]


def test_exceptions_come_before_the_rule(tmp_path):
    tensors = numbered({f"a/{number}": (2, 2) for number in range(9)})
    new = {name: f"b/{name[2:]}" for name in tensors} | {"a/3": "a/3", "a/4": "c"}
    suggestion = found(tmp_path, tensors, {new[name]: each for name, each in tensors.items()})
    assert [each.text for each in suggestion.rules] == ["a/3=a/3", "a/4=c", "a/=b/"]
    assert check_keys(tmp_path, suggestion) == new


class TestWhatIsNotTold:
    """Left over, or only possible, where there is no telling."""

    def test_zeros(self, tmp_path):
        one = {f"a{name}": np.zeros(4, "f4") for name in "xyz"}
        other = {f"b{name}": np.zeros(4, "f4") for name in "pqr"}
        suggestion = found(tmp_path, one, other)
        assert [(each.old, each.new, each.evidence, each.confidence) for each in suggestion.matches] == [
            (f"a{old}", f"b{new}", "order, checksum", "possible")
            for old, new in zip("xyz", "pqr", strict=True)
        ]
        assert suggestion.rules == ()
        check_keys(tmp_path, suggestion)

    def test_ones_and_zeros_are_not_certain(self, tmp_path):
        for value in (
            np.zeros(5, "f4"),
            np.ones(5, "f4"),
            np.ones((2, 3), "i8"),
            np.float64(3),
            np.zeros(300_000),
        ):
            (tmp_path / str(value.size)).mkdir(exist_ok=True)
            folder = tmp_path / str(value.size) / value.dtype.name / str(float(value.flat[0]))
            folder.mkdir(parents=True)
            suggestion = found(folder, {"one": value}, {"other": value})
            assert suggestion.counts["certain"] == 0
            assert len(suggestion.matches) == 1

    def test_copies_are_told_by_their_names(self, tmp_path):
        same = values(0, 4)
        suggestion = found(
            tmp_path, {"a/x": same, "a/y": same, "q": same}, {"b/y": same, "b/x": same, "r": same, "s": same}
        )
        assert suggestion.names == {"a/x": "b/x", "a/y": "b/y"}
        assert suggestion.counts["certain"] == 0
        assert [name for name, _ in suggestion.left_old] == ["q"]
        assert [name for name, _ in suggestion.left_new] == ["r", "s"]

    def test_values_go_before_names(self, tmp_path):
        """The names say the opposite."""
        one = {"a": values(0, 4), "b": values(1, 4)}
        suggestion = found(tmp_path, one, {"a": one["b"], "b": one["a"]})
        assert suggestion.names == {"a": "b", "b": "a"}
        assert check_keys(tmp_path, suggestion) == suggestion.names

    def test_a_tensor_whose_values_are_elsewhere_has_no_other_partner(self, tmp_path):
        """`w` is stored twice on the other side, and `v` is not its partner, although the name and shape fit."""
        w = values(0, 4)
        suggestion = found(tmp_path, {"w": w}, {"p": w, "q": w, "w": values(1, 4)})
        assert suggestion.matches == ()

    def test_numbers_that_begin_elsewhere(self, tmp_path):
        """Layers 0 to 2 are hardly 1 to 3 by their numbers."""
        one = numbered({f"enc/layer_{number}/w": (3, 3) for number in range(3)})
        other = numbered({f"dec/layer_{number}/w": (3, 3) for number in range(1, 4)}, 1)
        suggestion = found(tmp_path, one, other)
        assert suggestion.rules == ()
        assert [(each.old[-3], each.new[-3], each.confidence) for each in suggestion.matches] == [
            ("0", "1", "possible"),
            ("1", "2", "possible"),
            ("2", "3", "possible"),
        ]

    def test_the_last_ones_of_a_row(self, tmp_path):
        """Layer 1 is not layer 2 for the sole reason that the others are known."""
        one = numbered({"enc/l_0": (3, 3), "enc/l_1": (3, 3)})
        suggestion = found(tmp_path, one, {"dec/l_0": one["enc/l_0"], "dec/l_2": values(7, 3, 3)})
        assert suggestion.names == {"enc/l_0": "dec/l_0"}
        assert [each.confidence for each in suggestion.matches] == ["certain", "possible"]

    def test_two_scopes_become_one(self, tmp_path):
        """Both `a/r` and `c/r` would be `m/r`."""
        one = numbered({"a/p": (3, 3), "c/q": (3, 3), "a/r": (4, 4), "c/r": (4, 4)})
        suggestion = found(tmp_path, one, {"m/p": one["a/p"], "m/q": one["c/q"], "m/r": values(7, 4, 4)})
        assert suggestion.names == {"a/p": "m/p", "c/q": "m/q"}
        assert [name for name, _ in suggestion.left_old] == ["a/r", "c/r"]

    def test_fewer_layers(self, tmp_path):
        """Which six of twelve is not told by their numbers."""
        one = numbered({f"enc/layer_{number}/w": (3, 3) for number in range(12)})
        other = numbered({f"dec/layer_{number}/w": (3, 3) for number in range(6)}, 1)
        suggestion = found(tmp_path, one, other)
        assert suggestion.matches == ()
        assert (len(suggestion.left_old), len(suggestion.left_new)) == (12, 6)

    def test_scalars_without_a_common_word(self, tmp_path):
        suggestion = found(tmp_path, {"temperature": np.float32(1)}, {"rate": np.float32(2)})
        assert [each.confidence for each in suggestion.matches] == ["possible"]

    def test_nothing_in_common(self, tmp_path):
        suggestion = found(tmp_path, {"a": values(0, 3)}, {"b": values(0, 4), "c": values(0, 5)})
        assert (suggestion.matches, suggestion.rules) == ((), ())
        assert suggestion.left_old == (("a", "float32 [3]"),)
        assert suggestion.left_new == (("b", "float32 [4]"), ("c", "float32 [5]"))
        check_keys(tmp_path, suggestion)

    def test_another_type_is_another_tensor(self, tmp_path):
        suggestion = found(tmp_path, {"a": np.zeros(4, "f4")}, {"a": np.zeros(4, "f8")})
        assert suggestion.matches == ()


def test_a_place_that_is_taken(tmp_path):
    """`b` is left over, and would have to go before `a` gets its name."""
    one = {"a": values(0, 4), "b": values(1, 3), "c/x": values(2, 4), "c/y": values(3, 4)}
    other = {"b": one["a"], "d/x": one["c/x"], "d/y": one["c/y"]}
    suggestion = found(tmp_path, one, other)
    assert suggestion.names == {"c/x": "d/x", "c/y": "d/y"}
    [possible] = [each for each in suggestion.matches if each.confidence == "possible"]
    assert (possible.old, possible.new, possible.evidence) == (
        "a",
        "b",
        "checksum, but in the way of another",
    )
    check_keys(tmp_path, suggestion)


def test_a_resized_tensor_goes_with_its_scope(tmp_path):
    one = numbered({f"old/{number}": (2, 2) for number in range(6)} | {"old/emb": (10, 4)})
    other = {name.replace("old", "new"): each for name, each in one.items()} | {"new/emb": values(9, 12, 4)}
    suggestion = found(tmp_path, one, other)
    assert [each.text for each in suggestion.rules] == ["old/=new/"]
    assert suggestion.left_old == (("old/emb", "float32 [10, 4]"),)
    check_keys(tmp_path, suggestion)
    assert "new/emb" in tensors_in(tmp_path / "out")


def test_what_is_left_over_keeps_out_of_the_way(tmp_path):
    """No rule gives it a name that another tensor of its kind has on the other side, as `old/=new/` would."""
    one = numbered({"old/a": (2, 2), "old/b": (2, 3), "old/c": (2, 4), "old/l_0": (5, 5), "old/l_1": (5, 5)})
    other = {name.replace("old", "new"): each for name, each in one.items() if each.shape != (5, 5)}
    other |= {"new/l_1": values(7, 5, 5), "new/l_2": values(8, 5, 5)}
    suggestion = found(tmp_path, one, other)
    assert check_keys(tmp_path, suggestion) == {"old/a": "new/a", "old/b": "new/b", "old/c": "new/c"}
    assert [each.text for each in suggestion.rules] == ["old/a=new/a", "old/b=new/b", "old/c=new/c"]
    assert [each.old for each in suggestion.matches if each.confidence == "possible"] == [
        "old/l_0",
        "old/l_1",
    ]


ODD = [
    "a=b",
    "#a",
    '"a"',
    "[a]",
    "a*b",
    "a?",
    " a ",
    "a/",
    "/a",
    "a//b",
    "a\nb",
    "\u2028",
    "é",
    "{a}",
    "'",
    "\\",
    "a:0",
    "\udcff",
    "=",
    "*",
    "\x85x",
]


def test_odd_names(tmp_path):
    one = numbered(dict.fromkeys(ODD, (2, 3)) | {f"z{name}": (2, 3) for name in ODD})
    news = random.Random(1).sample(ODD, len(ODD)) + [f"{name}y" for name in ODD]
    new = dict(zip(one, news, strict=True))
    suggestion = found(tmp_path, one, {new[name]: each for name, each in one.items()})
    assert check_keys(tmp_path, suggestion) == new
    lines = map_of(tmp_path).read_text("utf-8")
    assert lines.isprintable() or all(line.isprintable() for line in lines.split("\n"))


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_line_is_read_as_it_was_meant(old, new):
    [rule] = parse_map(f"# a map\n{rule_line(old, new)}\n", "f")
    assert (rule.whole, rule.apply(old)) == (old, new)


@pytest.mark.parametrize("line", ['"a"', '"a"=b', '"a"="b" c', '"a="b"', '"a"=1', '"a" "b"', '"a"="b'])
def test_quotes_that_are_wrong(line):
    with pytest.raises(tb.BundleError, match=r'^f: line 2: .* is not "OLD"="NEW"$'):
        parse_map(f"x=y\n{line}", "f")


def test_quotes_may_have_space_around_them():
    [rule] = parse_map(' "a=b"  =  "c*" ', "f")
    assert (rule.whole, rule.apply("a=b")) == ("a=b", "c*")


def test_partitioned(tmp_path):
    one = {"a/x": values(0, 6, 2), "a/y": values(1, 6, 2)}
    write(tmp_path / "a", one, cuts={"a/x": (2, 0), "a/y": (3, 0)})
    write(
        tmp_path / "b",
        {f"b{name[1:]}": each for name, each in one.items()},
        cuts={"b/x": (2, 0), "b/y": (3, 0)},
    )
    suggestion = suggest(tmp_path / "a", tmp_path / "b")
    assert suggestion.counts["certain"] == 2
    assert check_keys(tmp_path, suggestion) == {"a/x": "b/x", "a/y": "b/y"}


def test_v1_files_have_no_checksums(tmp_path):
    one = numbered({"a/x": (2, 2), "a/y": (2, 3), "z": (4, 4)})
    write(tmp_path / "v2", one)
    convert(tmp_path / "v2", tmp_path / "a", to="v1")
    write(tmp_path / "b", {name.replace("a/", "b/"): each for name, each in one.items()})
    suggestion = suggest(tmp_path / "a", tmp_path / "b")
    assert (suggestion.counts["certain"], suggestion.counts["likely"]) == (0, 3)
    assert suggestion.names == {"a/x": "b/x", "a/y": "b/y"}
    assert suggest(tmp_path / "a", tmp_path / "a").counts["certain"] == 0


def test_deterministic(tmp_path):
    shapes = {name: shape if shape != (4,) else (4, 4) for name, shape in bert().items()}
    suggestion = found(
        tmp_path, numbered(shapes), numbered({as_model(name): each for name, each in shapes.items()}, 1)
    )
    assert suggest(tmp_path / "a", tmp_path / "b") == suggestion


# Objects


def objects(shapes, seed=0, full_names=None):
    """Tensors and object graph of variables at these paths."""
    root = {}
    for path in shapes:
        place = root
        *above, last = path.split("/")
        for part in above:
            place = place.setdefault(part, {})
        place[last] = variable((full_names or {}).get(path, ""))
    graph = finished(tree(root))
    return {attribute_key(path): each for path, each in numbered(shapes, seed).items()}, graph


PATHS = {
    **{
        f"model/layers/{number}/{name}": shape
        for number in range(4)
        for name, shape in (("w", (3, 3)), ("b", (3,)))
    },
    "model/head/w": (3, 2),
    "step": (2,),
}
MOVES = {
    "scope": lambda path: path.replace("model/", "net/"),
    "deeper": lambda path: path.replace("model/", "a/b/"),
    "to the root": lambda path: path.removeprefix("model/"),
    "leaf": lambda path: f"{path[:-2]}/kernel" if path.endswith("/w") else path,
    "layers": lambda path: path.replace("layers/", "encoder/layer_"),
    "one": lambda path: "top" if path == "model/head/w" else path,
    "shorter": lambda path: path.replace("layers/", "l"),
    "below itself": lambda path: path.replace("model/", "model/inner/"),
    "none": lambda path: path,
}


@pytest.mark.parametrize("retrained", [False, True])
@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_objects(tmp_path, move, retrained):
    one, graph = objects(PATHS)
    other, target = objects({move(path): shape for path, shape in PATHS.items()}, int(retrained))
    suggestion = found(tmp_path, one, other, graphs=(graph, target))
    applied, _, after, expected = check(tmp_path, suggestion)
    assert applied == {path: move(path) for path in PATHS}
    assert suggestion.counts["certain"] == (0 if retrained else len(PATHS))
    assert {key: each[:2] for key, each in after.items()} == {key: each[:2] for key, each in expected.items()}
    assert len(suggestion.rules) <= 4 or move is MOVES["below itself"]
    if not retrained:
        assert after == expected


@given(renamed(), st.booleans())
def test_objects_of_any_names(tmp_path_factory, names, retrained):
    tmp_path = tmp_path_factory.mktemp("m")
    for some in (names, names.values()):
        if any(
            f"{each}/" in f"{other}/" for each in some for other in some if each != other
        ) or "#" in "".join(some):
            return  # what holds others is no variable here
    shapes = {name: (number + 2, 3) for number, name in enumerate(names)}
    one, graph = objects(shapes)
    other, target = objects({names[name]: shape for name, shape in shapes.items()}, int(retrained))
    suggestion = found(tmp_path, one, other, graphs=(graph, target))
    applied, _, after, expected = check(tmp_path, suggestion)
    assert {each.old: each.new for each in suggestion.matches}.items() <= names.items()
    if not retrained:
        assert applied == names
        assert after == expected


def test_a_variable_may_move_below_itself(tmp_path):
    one, graph = objects({"w": (2, 3), "v": (2, 4)})
    other, target = objects({"w/kernel": (2, 3), "u": (2, 4)})
    suggestion = found(tmp_path, one, other, graphs=(graph, target))
    assert suggestion.names == {"v": "u", "w": "w/kernel"}
    applied, _, after, expected = check(tmp_path, suggestion)
    assert applied == suggestion.names
    assert after == expected


def test_slots_follow_and_are_not_named(tmp_path):
    source = V215 / "keras-legacy-adam-slots"
    assert main(["rename", str(source), str(tmp_path / "b"), "net/=model/", "optimizer/=adam/"]) == 0
    suggestion = suggest(source, tmp_path / "b")
    assert [each.text for each in suggestion.rules] == ["net/=model/", "optimizer/=adam/"]
    assert all("OPTIMIZER_SLOT" not in each.old for each in suggestion.matches)
    assert (suggestion.left_old, suggestion.left_new) == ((), ())


def test_tables_and_state(tmp_path):
    for name in ("tables", "python-state", "iterator", "random-generator"):
        root = {
            "tables": "module/",
            "python-state": "progress",
            "iterator": "iterator",
            "random-generator": "generator/",
        }
        old = root[name]
        new = "moved/" if old.endswith("/") else "moved"
        folder = tmp_path / name
        folder.mkdir()
        assert main(["rename", str(V221 / name), str(folder / "b"), f"{old}={new}"]) == 0
        suggestion = suggest(V221 / name, folder / "b")
        assert old.rstrip("/") in {
            each.old.split("/")[0] for each in suggestion.matches if each.old != each.new
        }
        assert (suggestion.left_old, suggestion.left_new) == ((), ())


def test_from_keras_2_to_keras_3(tmp_path):
    """The same model, trained alike: its weights are found among the optimizer's by their values."""
    suggestion = suggest(V215 / "keras-adam", V221 / "keras-adam")
    assert suggestion.names["model/layer_with_weights-0/kernel"] == "optimizer/_trainable_variables/0"
    assert suggestion.counts["certain"] == 20


def test_full_names_tell_objects(tmp_path):
    one, graph = objects({"p": (3,), "q": (3,)}, 0, {"p": "dense/kernel", "q": "dense/bias"})
    other, target = objects({"x": (3,), "y": (3,)}, 1, {"y": "dense/kernel", "x": "dense/bias"})
    suggestion = found(tmp_path, one, other, graphs=(graph, target))
    assert suggestion.names == {"p": "y", "q": "x"}
    assert {each.evidence for each in suggestion.matches} == {"full name"}


def test_names_that_nobody_gave_tell_nothing(tmp_path):
    one, graph = objects({"p": (3,), "r": (3,)}, 0, {"p": "Variable"})
    other, target = objects({"x": (3,), "y": (3,)}, 1, {"y": "Variable"})
    suggestion = found(tmp_path, one, other, graphs=(graph, target))
    assert suggestion.names == {}


class TestOfTwoKinds:
    def test_towards_a_template(self, tmp_path):
        """A's names become B's object paths; the state of optimizers is for `convert` to find."""
        tensors = numbered(bert(layers=2))
        variables = {
            name: each.shape for name, each in tensors.items() if "adam" not in name and name != "global_step"
        }
        paths = {name: as_model(name) for name in variables}
        other, target = objects({paths[name]: shape for name, shape in variables.items()}, 1)
        suggestion = found(tmp_path, tensors, other, graphs=(None, target))
        assert suggestion.use == "template"
        assert suggestion.names == paths
        rules = parse_map(map_of(tmp_path).read_text("utf-8"), "map")
        renamed = new_names(variables, rules, "", objects=False)
        assert {name: new for name, [new] in renamed.items()} == paths
        assert [each for each in suggestion.left_old if "optimizer state" not in each[1]] == [
            ("global_step", "float32 []")
        ]

    def test_a_slot_is_no_variable(self, tmp_path):
        """Although it alone has the type and shape of what is left in the template."""
        write(tmp_path / "a", numbered({"w": (3, 3), "w/Momentum": (3, 3)}))
        other, target = objects({"layer/w": (3, 3), "fresh": (3, 3)}, 1)
        write(tmp_path / "b", other, graph=target)
        suggestion = suggest(tmp_path / "a", tmp_path / "b")
        assert suggestion.names == {"w": "layer/w"}
        assert [name for name, _ in suggestion.left_new] == ["fresh"]
        assert suggestion.left_old == (("w/Momentum", "float32 [3, 3], optimizer state"),)

    def test_towards_a_template_by_full_names(self, tmp_path):
        write(tmp_path / "a", numbered({"scope/one": (3,), "scope/two": (3,), "two": (3,)}))
        other, target = objects(
            {"x": (3,), "y": (3,), "z": (3,)}, 1, {"x": "scope/two", "y": "two", "z": "scope/one"}
        )
        write(tmp_path / "b", other, graph=target)
        suggestion = suggest(tmp_path / "a", tmp_path / "b")
        assert suggestion.names == {"scope/one": "z", "scope/two": "x", "two": "y"}

    def test_towards_names(self, tmp_path):
        """What is left after `convert --to tf1 --names keys` is renamed."""
        one, graph = objects(PATHS)
        write(tmp_path / "a", one, graph=graph)
        other = {
            key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE").replace("model/", "m/"): each
            for key, each in one.items()
        }
        write(tmp_path / "b", other)
        suggestion = suggest(tmp_path / "a", tmp_path / "b")
        assert suggestion.use == "rename-converted"
        assert [each.text for each in suggestion.rules] == ["model/=m/"]
        convert(tmp_path / "a", tmp_path / "names", to="tf1", names="keys")
        assert (
            main(["rename", str(tmp_path / "names"), str(tmp_path / "out"), "--map", str(map_of(tmp_path))])
            == 0
        )
        assert tensors_in(tmp_path / "out") == tensors_in(tmp_path / "b")

    def test_back_from_a_conversion(self, tmp_path):
        tensors = numbered({"a.b/c": (2, 2), "d/e": (2, 2)})
        write(tmp_path / "a", tensors)
        convert(tmp_path / "a", tmp_path / "b", to="tf2")
        assert suggest(tmp_path / "a", tmp_path / "b").names == {"a.b/c": "vars/a..b.Sc", "d/e": "vars/d.Se"}
        back = suggest(tmp_path / "b", tmp_path / "a")
        assert (back.names, back.counts["unchanged"]) == ({}, 2)


def test_what_can_not_be_read(tmp_path):
    write(tmp_path / "a", {"x": 1.0})
    with pytest.raises(tb.MissingFileError):
        suggest(tmp_path / "a", tmp_path / "none")


def test_no_values_are_read(tmp_path):
    """Indexes of checkpoints whose data shards are gone will do."""
    tensors = numbered({"a/x": (2, 2), "a/y": (2, 3)})
    for name, some in (("a", tensors), ("b", {f"b{key[1:]}": each for key, each in tensors.items()})):
        write(tmp_path / name, some)
        (tmp_path / f"{name}.data-00000-of-00001").unlink()
    assert suggest(tmp_path / "a", tmp_path / "b").names == {"a/x": "b/x", "a/y": "b/y"}


# Thousands of tensors


def items(named, kinds, sums=None):
    return [
        Item(name, kind, checksum, full_name=name)
        for name, kind, checksum in zip(named, kinds, sums or [None] * len(named), strict=True)
    ]


NAMES = {
    "numbers": lambda number: f"a/{number}/w",
    "layers": lambda number: f"enc/layer_{number // 10}/part_{number % 10}/w",
    "one word": lambda number: f"a{'b' * (number % 40)}_{number}",
    "random": lambda number: (
        f"{random.Random(number).getrandbits(60):x}/{random.Random(-number).getrandbits(60):x}"
    ),
    "deep": lambda number: "/".join([*"abcdefghijklmnopqrstuvwxyz", str(number)]),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kinds"), sample(itertools.product(NAMES, [20, 1]), 1), ids=str)
def test_many_in_little_time(name, kinds):
    """Whatever they are called, also where all have one type and shape and no checksum says anything."""

    def prepare(count):
        names = list(map(NAMES[name], range(count)))
        numbers = range(count)
        left = items(names, [number % kinds for number in numbers])
        right = items(
            [f"z/{each}"[::-1] for each in reversed(names)], [number % kinds for number in reversed(numbers)]
        )

        def work():
            wanted = {each.old: each.new for each in match(left, right).matches}
            rules_for(wanted, [], lambda name, new: True)
            assert len(wanted) == len(set(wanted.values()))

        return work

    assert growth(prepare, 200) < 8 if DEEP else growth(prepare, 100) < 12


class TestSubstitutions:
    def learned(self, *pairs):
        known = Substitutions()
        known.learn(pairs)
        return known

    @pytest.mark.parametrize(
        ("pairs", "name", "new"),
        [
            ([("a/x", "b/x")], "a/y", "b/y"),
            ([("a/x", "b/x")], "a/c/y", "b/c/y"),
            ([("a/layer_0/x", "b/0/x")], "a/layer_17/y", "b/17/y"),
            ([("a/w", "a/kernel")], "c/w", "c/kernel"),
            ([("a/l_1/w", "b/1/kernel")], "a/l_2/w", "b/2/kernel"),
            ([("a/l_1/w", "b/2/w")], "a/l_1/v", "b/2/v"),
            ([("l1_w", "k1")], "l2_w", "k2"),
            ([("x", "top/x")], "y/z", "top/y/z"),
        ],
    )
    def test_predicted(self, pairs, name, new):
        assert next(self.learned(*pairs).predict(name), None) == new

    @pytest.mark.parametrize(
        ("pairs", "name"),
        [
            ([("a/x", "b/x"), ("a/y", "c/y")], "a/z"),  # half say this, half that
            ([("a/x", "b/x")], "c/y"),
            ([("a/l_1/w", "b/2/w")], "a/l_2/w"),
            ([], "a"),
            ([("a", "b")], "a\0b"),
            ([("a/x", "b/x")], "/".join("a" * 100)),
        ],
    )
    def test_not_predicted(self, pairs, name):
        assert list(self.learned(*pairs).predict(name)) == []

    @given(renamed(least=2))
    def test_rules_do_what_is_wanted(self, names):
        rules = rules_for(names, ["other/name", "bert/dense/x"], lambda name, new: False)
        found = new_names(names, [each.rule for each in rules], "", objects=False)
        assert {name: found.get(name, [name]) for name in names} == {
            name: [new] for name, new in names.items()
        }
        assert [line.rule.text for line in rules] == [
            rule.text for rule in parse_map("# m\n" + "\n".join(each.text for each in rules), "f")
        ]
        decided = [name for each in rules for name in each.names]
        assert sorted(decided) == sorted(
            name for name in {*names, "other/name", "bert/dense/x"} if name in found
        )


def test_a_saver_of_its_own(tmp_path):
    """What a registered saver saved has keys that no object owns."""
    suggestion = suggest(V221 / "registered-saver", V221 / "registered-saver")
    assert [each.old for each in suggestion.matches] == ["v"]


def test_an_object_with_a_tensor_that_is_not_stored(tmp_path):
    root = Node(
        children={
            "lost": Node(attributes=[Attribute("VARIABLE_VALUE", "", "lost/.ATTRIBUTES/VARIABLE_VALUE")])
        }
    )
    graph = finished(root)
    suggestion = found(tmp_path, {"x": 1.0}, {"x": 1.0}, graphs=(graph, graph))
    assert (suggestion.matches, suggestion.left_old) == ((), ())
    assert OBJECT_GRAPH_KEY not in suggestion.names


def test_full_names_tell_where_objects_become_names(tmp_path):
    """The map is for paths, and yet a layer is known by its name: not the one that is left over and alike is meant."""
    layers = {"norm": {"gamma": variable("m/trunk_bn/gamma")}, "d": {"gamma": variable("m/stem/gamma")}}
    graph = finished(tree({"m": layers}))
    one = {each.checkpoint_key: values(number, 4) for number, (_, _, each) in enumerate(graph.attributes())}
    other = numbered({f"m/{name}/gamma": (4,) for name in ("router", "trunk_bn", "stem")}, seed=9)
    suggestion = found(tmp_path, one, other, graphs=(graph, None))
    assert suggestion.names == {"m/norm/gamma": "m/trunk_bn/gamma", "m/d/gamma": "m/stem/gamma"}


def test_a_slot_on_one_side_only(tmp_path):
    """Its values prove what it is, although its variable is called otherwise now, and nothing is a slot there."""
    one = {"bert": values(1, 4), "bert/Adam": values(2, 4)}
    suggestion = found(tmp_path, one, {"model": one["bert"], "bert/Adam": one["bert/Adam"]})
    assert {(each.old, each.new, each.confidence) for each in suggestion.matches} == {
        ("bert", "model", "certain"),
        ("bert/Adam", "bert/Adam", "certain"),
    }
