"""`tensorbundle rewrite`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import write


@pytest.fixture
def source(tmp_path):
    return write(
        tmp_path / "m", {"old/w": np.float32([1, 2]), "old/w/Adam": np.float32([0, 0]), "n": np.int64(1)}
    )


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(
        'slim = true\nrename = { "old/" = "new/" }\ncast = { "*" = "bfloat16" }\nconvert = "tf2"\n'
    )
    return path


def test_recipe(run, tmp_path, source, recipe):
    summary = check_writing(run, tmp_path, "rewrite", [source], "--recipe", recipe)
    assert summary["changes"] == {"renamed": 1, "cast": 1, "dropped": 1}
    assert list(tb.open(tmp_path / "out")) == [
        "_CHECKPOINTABLE_OBJECT_GRAPH",
        "save_counter/.ATTRIBUTES/VARIABLE_VALUE",
        "vars/n/.ATTRIBUTES/VARIABLE_VALUE",
        "vars/new.Sw/.ATTRIBUTES/VARIABLE_VALUE",
    ]


def test_plan(run, tmp_path, source, recipe):
    records = run("rewrite", source, tmp_path / "out", "--recipe", recipe, "--dry-run", "--json").records
    assert [(each["action"], each["source"]) for each in records[:-1]] == [
        ("write", None),
        ("share", "n"),
        ("convert", "cast old/w to bfloat16"),
        ("write", None),
    ]
    assert [path.name for path in tmp_path.glob("out*")] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "r.toml: no step 'x'"),
        ("rename = { a = 'b' }", "SOURCE: rename 'a=b' matches nothing"),
        ("steps = ['slim']", "r.toml"),
        ("[[steps]]\nslim = true\n" * 201, "r.toml: 201 steps, a recipe is limited to 200"),
        ("partition = { 'old/w' = { slices = 'x' } }", "partition"),
    ],
)
def test_errors(run, tmp_path, source, recipe, text, message):
    recipe.write_text(text)
    found = check_refusal(run, tmp_path, "rewrite", source, tmp_path / "out", "--recipe", recipe)
    assert message.replace("SOURCE", source) in found


def test_no_recipe(run, tmp_path, source):
    found = check_refusal(run, tmp_path, "rewrite", source, tmp_path / "out", "--recipe", tmp_path / "none")
    lists = "'tensorbundle recipes' lists those that are included"
    assert found == f"{tmp_path}/none: no such recipe; {lists}"
