"""Recipes: order, options, and what is wrong with them."""

import re
from pathlib import Path

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import snapshot
from support.golden import GOLDEN
from support.rewriting import (
    by_path,
    finished,
    lists,
    rewritten,
    tensors_in,
    tree,
    variable,
    write,
    write_objects,
)
from tensorbundle.proto.graph import Slot
from tensorbundle.proto.paths import attribute_key
from tensorbundle.tools import rewrite, slim
from tensorbundle.tools.operations.editing.rules import parse_rule
from tensorbundle.tools.operations.steps.casting import Cast
from tensorbundle.tools.operations.steps.naming import Rename
from tensorbundle.tools.operations.steps.recipe import STEPS, read_recipe
from tensorbundle.tools.operations.steps.selecting import Drop, Extract, Slim

TENSORS = {
    "old/w": np.arange(6, dtype=np.float32).reshape(3, 2),
    "old/w/Adam": np.zeros((3, 2), np.float32),
    "beta1_power": np.float32(0.9),
    "old/b": np.float32([1, 2]),
    "global_step": np.int64(7),
}


@pytest.fixture
def recipe(tmp_path):
    """Writes a recipe and gives its path."""

    def make(text):
        path = tmp_path / "r.toml"
        path.write_text(text)
        return path

    return make


def test_order(recipe):
    text = 'slim = true\ncast = {"*" = "float16"}\n[rename]\n"a/" = "b/"\n[[steps]]\ndrop = "x"\n[[steps]]\ndrop = "y"\nextract = "z"\n'
    assert read_recipe(str(recipe(text))) == [
        Slim(),
        Cast((("*", "float16"),)),
        Rename((parse_rule("a/", "b/"),)),
        Drop(("x",)),
        Drop(("y",)),
        Extract(("z",)),
    ]


def test_all_in_one_pass(tmp_path, recipe):
    """Slim, rename, cast, partition and convert, as a person with an old checkpoint does."""
    path = recipe(
        'slim = true\nrename = { "old/" = "new/" }\ncast = { "*" = "bfloat16" }\n'
        'partition = { "new/w" = { slices = 2, axis = 1 } }\nconvert = { to = "tf2", root = "model" }\n'
    )
    found = rewritten(write(tmp_path / "m", TENSORS), tmp_path / "ckpt-3", recipe=path)
    assert lists(found) == {
        "model/global_step/.ATTRIBUTES/VARIABLE_VALUE": 7,
        "model/new.Sb/.ATTRIBUTES/VARIABLE_VALUE": [1, 2],
        "model/new.Sw/.ATTRIBUTES/VARIABLE_VALUE": [[0, 1], [2, 3], [4, 5]],
        "save_counter/.ATTRIBUTES/VARIABLE_VALUE": 3,
    }
    assert str(found["model/new.Sw/.ATTRIBUTES/VARIABLE_VALUE"].dtype) == "bfloat16"


def test_steps_see_what_came_before(tmp_path, recipe):
    path = recipe(
        '[[steps]]\nrename = {"old/b" = "b"}\n[[steps]]\ndrop = "old/*"\n[[steps]]\nset = {b = [5, 6]}\n'
    )
    found = rewritten(write(tmp_path / "m", TENSORS), tmp_path / "out", recipe=path, cast={"b": "float64"})
    assert found["b"].tolist() == [5, 6]
    assert found["b"].dtype == np.float64
    assert sorted(found) == ["b", "beta1_power", "global_step"]


def test_into_a_template_and_into_a_structure(tmp_path, recipe):
    """In the pass that does other things too; rules as a table or as a file."""
    graph = finished(
        tree({"w": variable("new/w"), "b": variable("x"), "n": variable("step"), "e": variable("extra")})
    )
    values = dict(
        zip(
            ("w", "b", "n", "e"),
            (np.zeros((3, 2), "f4"), np.zeros(2, "f2"), np.int64(0), np.float32(5)),
            strict=True,
        )
    )
    template = write(
        tmp_path / "t", {attribute_key(name): each for name, each in values.items()}, graph=graph
    )
    source = write(tmp_path / "m", TENSORS)
    (tmp_path / "rules").write_text("new/b = x\n")
    expected = {
        attribute_key("w"): TENSORS["old/w"].tolist(), attribute_key("b"): [1, 2], attribute_key("n"): 7,
        attribute_key("e"): 5,
    }  # fmt: skip
    for number, rules in enumerate(('{ "new/b" = "x" }', f"'{tmp_path / 'rules'}'")):
        text = f"convert = {{ to = 'tf2', template = '{template}', map = {rules}, allow_missing = true }}\n"
        path = recipe("slim = true\nrename = { 'old/' = 'new/' }\ncast = { 'new/b' = 'float16' }\n" + text)
        assert lists(rewritten(source, tmp_path / f"out-{number}", recipe=path)) == expected
    (tmp_path / "s.json").write_text('{"a": ["new/w"], "b": "new/b", "c": "global_step"}')
    text = (
        f"convert = {{ to = 'tf2', structure = '{tmp_path / 's.json'}', save_counter = false }}\ndrop = 'c'\n"
    )
    found = rewritten(
        source, tmp_path / "s", recipe=recipe("slim = true\nrename = { 'old/' = 'new/' }\n" + text)
    )
    assert sorted(found) == [attribute_key("a/0"), attribute_key("b")]


def test_merge_and_resize(tmp_path, recipe):
    other = write(tmp_path / "other", {"x": 1.0})
    (tmp_path / "old").write_text("a\nb\nc\n")
    (tmp_path / "new").write_text("c\nx\n")
    path = recipe(
        f'merge = {{ with = {{ o = "{other}" }} }}\n[resize."old/w"]\nold_vocab = "{tmp_path}/old"\n'
        f'new_vocab = "{tmp_path}/new"\noov = 1\n[reshard]\nmax_shard_size = "1KiB"\n'
    )
    found = rewritten(write(tmp_path / "m", TENSORS), tmp_path / "out", recipe=path)
    assert found["old/w"].tolist() == [[4, 5], [0, 0], [0, 0]]
    assert found["o/x"] == 1


def test_transpose_and_reshape(tmp_path, recipe):
    path = recipe('transpose = { "old/w" = [1, 0] }\nreshape = { "old/b" = [-1, 1] }\n')
    found = rewritten(write(tmp_path / "m", TENSORS), tmp_path / "out", recipe=path)
    assert found["old/w"].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert found["old/b"].tolist() == [[1], [2]]


def test_average(tmp_path, recipe):
    other = write(tmp_path / "other", TENSORS | {"old/b": np.float32([3, 4])})
    path = recipe(
        f"average = {{ with = ['{other}'], accumulator = 'float32' }}\ncast = {{ '*' = 'float16' }}"
    )
    found = rewritten(write(tmp_path / "m", TENSORS), tmp_path / "out", recipe=path)
    assert (found["old/b"].dtype, found["old/b"].tolist()) == (np.float16, [2, 3])


DOCS = Path(__file__).resolve().parents[4] / "docs"


def documented(page, name):
    """The recipe of this file name that a page of the documentation shows."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.search(rf"^```toml\n# {re.escape(name)}:\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[1]


def test_the_documented_recipe_for_average_slots(tmp_path, recipe, monkeypatch):
    kernel, bias = variable("dense/kernel"), variable("dense/bias")
    optimizer = tree({"iter": None, "decay": None})
    optimizer.slots = [Slot(name, each, variable()) for name in ("m", "average") for each in (kernel, bias)]
    model = {"layer": {"kernel": kernel, "bias": bias}}
    source = write_objects(tmp_path / "trained", tree({"model": model, "optimizer": optimizer}))
    monkeypatch.chdir(tmp_path)
    slim(source, "fresh")
    rewrite(source, tmp_path / "out", recipe=recipe(documented("averaging.md", "average-slots.toml")))
    before, after = by_path(source), by_path(tmp_path / "out")
    assert after == {
        path: before[f"{path}/.OPTIMIZER_SLOT/optimizer/average"]
        for path in ("model/layer/kernel", "model/layer/bias")
    }


def test_the_documented_recipe_for_lists_of_averages(tmp_path, recipe, monkeypatch):
    """The optimizer of this checkpoint of tf_keras has no scope in its names."""
    source = GOLDEN / "optimizers" / "keras2-adam-all"
    monkeypatch.chdir(tmp_path)
    slim(source, "fresh")
    text = documented("averaging.md", "ema-lists.toml").replace("Adam/", "")
    rewrite(source, tmp_path / "out", recipe=recipe(text))
    with tb.open(source) as before, tb.open(tmp_path / "out") as after:
        for number, name in enumerate(("emb", "kernel", "bias"), 1):
            assert np.array_equal(after[f"model/{name}"], before[f"optimizer/_variables/{number}"])


def test_the_documented_recipe_for_the_gru_of_tf1(tmp_path, recipe):
    """TF1 has reset, update and candidate over input and state; Keras update, reset and candidate, apart."""
    generator = np.random.default_rng(0)
    units, size = 4, 3
    shapes = {"gates/kernel": (7, 8), "candidate/kernel": (7, 4), "gates/bias": (8,), "candidate/bias": (4,)}
    given = {name: generator.random(shape, np.float32) for name, shape in shapes.items()}
    source = write(tmp_path / "m", {f"rnn/gru_cell/{name}": array for name, array in given.items()})
    found = rewritten(source, tmp_path / "out", recipe=recipe(documented("values.md", "gru.toml")))
    kernel, bias = (
        np.concatenate(
            [
                given[f"gates/{name}"][..., units:],
                given[f"gates/{name}"][..., :units],
                given[f"candidate/{name}"],
            ],
            axis=-1,
        )
        for name in ("kernel", "bias")
    )
    assert lists(found) == {
        "gru/kernel": kernel[:size].tolist(),
        "gru/recurrent_kernel": kernel[size:].tolist(),
        "gru/bias": bias.tolist(),
    }


def test_the_same_twice(tmp_path, recipe):
    path = recipe('slim = true\ncast = { "*" = "bfloat16" }\nconvert = "tf2"\nreshard = 2\n')
    source = write(tmp_path / "m", TENSORS)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        rewrite(source, tmp_path / name / "out", recipe=path)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_an_empty_one(tmp_path, recipe):
    source = write(tmp_path / "m", TENSORS)
    rewrite(source, tmp_path / "out", recipe=recipe("# nothing\n"))
    assert tensors_in(tmp_path / "out") == tensors_in(source)


def test_every_operation_is_a_step():
    """Any of these, in order."""
    assert set(STEPS) >= {
        *(
            "rename",
            "cast",
            "drop",
            "extract",
            "slim",
            "set",
            "reshard",
            "partition",
            "unpartition",
            "compact",
        ),
        *("merge", "average", "resize", "convert"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slim", r"r.toml: not TOML: "),
        ("slim = true\nslim = true", r"r.toml: not TOML: "),
        (
            "slimm = true",
            r"r.toml: no step 'slimm'; near: 'slim', 'split'; there are .*cast, compact, concat, convert",
        ),
        ("[[steps]]\nx = 1", r"r.toml: no step 'x'"),
        ("steps = ['slim']", r"r.toml: "),
        ("steps = 'slim'", r"r.toml: no step 'steps'"),
        ("rename = 'a'", r"step rename: 'a' is not a table"),
        ("rename = { a = 1 }", r"step rename: "),
        ("cast = ['a']", r"step cast: "),
        ("cast = { '*' = 16 }", r"16"),
        ("drop = 3", r"step drop: 3 is not text"),
        ("drop = []", r"drop"),
        ("extract = []", r"extract"),
        ("slim = 'yes'", r"slim"),
        ("set = 3", r"step set: "),
        ("partition = true", r"step partition: "),
        ("partition = { 'old/w' = { axis = 1 } }", r"step partition: .*slices"),
        ("partition = { 'old/w' = { slices = 'two' } }", r"step partition: "),
        ("partition = { 'old/w' = { slices = 2, axes = 1 } }", r"axes"),
        ("partition = { 'old/w' = true }", r"step partition: "),
        ("reshard = true", r"step reshard: "),
        ("reshard = { shards = 'two' }", r"step reshard: "),
        ("reshard = { shards = 2, max = 1 }", r"max"),
        ("reshard = { max_shard_size = 'big' }", r"'big' is not a size such as 2GB or 512MiB"),
        ("merge = { prefer = 'first' }", r"step merge: .*with"),
        ("merge = { with = 'SOURCE', prefer = 'frist' }", r"frist"),
        ("merge = { with = 'SOURCE', preferred = 'first' }", r"preferred"),
        ("merge = { with = 'none' }", r"none"),
        ("transpose = { 'old/w' = [0, 0] }", r"axes \[0, 0\] of a tensor of rank 2$"),
        ("reshape = { 'old/w' = [4, -1] }", r"shape \[4, -1\] for \[3, 2\]$"),
        ("slim = true\naverage = { with = 'SOURCE' }", r"^step average: .*first step$"),
        ("average = { with = 'SOURCE', accumulator = 'float16' }", r"float16"),
        ("resize = { 'old/w' = { old_vocab = 'x' } }", r"step resize: |x: no such vocabulary"),
        ("convert = { to = 'tf3' }", r"step convert: to = 'tf3', expected 'tf1', 'tf2', 'v1' or 'v2'$"),
        ("convert = 'tf1'", r"name-based \(TF1\) already"),
        ("convert = {}", r"say what the output is: "),
        ("convert = { to = 'tf2', rot = 'x' }", r"rot"),
        ("convert = { to = 'tf2', template = 'SOURCE', root = 'y' }", r"names come from the template"),
        ("convert = { to = 'tf2', template = 3 }", r"step convert: .*3 is not text"),
        (
            "convert = { to = 'tf2', structure = 'x', allow_missing = 1 }",
            r"step convert: .*1 is neither true",
        ),
        ("convert = { to = 'tf2', structure = 'x', beta_1 = '1' }", r"step convert: .*'1' is not a number"),
        ("convert = { structure = 'x' }", r"say what the output is: "),
        ("convert = { to = 'tf2', structure = 'nothing' }", r"nothing: no such structure file"),
        ("[[steps]]\nconvert = 'tf2'\n[[steps]]\nconvert = { to = 'tf1', names = 'nice' }", r"nice"),
    ],
)
def test_what_is_wrong(tmp_path, recipe, text, message):
    """One error of ours for each, and nothing is written."""
    source = write(tmp_path / "m", TENSORS)
    with pytest.raises(tb.BundleError, match=message):
        rewrite(source, tmp_path / "out", recipe=recipe(text.replace("SOURCE", source)))
    assert [each.name for each in tmp_path.glob("out*")] == []


def test_no_such_recipe(tmp_path):
    with pytest.raises(tb.MissingFileError, match=r"none.toml: no such recipe; "):
        read_recipe(str(tmp_path / "none.toml"))


def test_a_recipe_that_is_not_text(tmp_path):
    (tmp_path / "r.toml").write_bytes(b"\xff")
    with pytest.raises(tb.BundleError, match=r"r.toml: not TOML: "):
        read_recipe(str(tmp_path / "r.toml"))


def test_keywords_are_steps(tmp_path):
    source = write(tmp_path / "m", TENSORS)
    with pytest.raises(tb.BundleError, match=r"^no step 'renam'; near: 'rename'; there are "):
        rewrite(source, tmp_path / "out", renam={})
