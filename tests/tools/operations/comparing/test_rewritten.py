"""What a rewriting would make is compared with another checkpoint, and the command that a conversion prints does so."""

import json
import re
import shlex

import numpy as np
import pytest

import tensorbundle as tb
from support.golden import GOLDEN, SAMPLE
from support.rewriting import write
from tensorbundle.errors import BundleError, CorruptionError
from tensorbundle.tools import diff, rewrite
from tensorbundle.tools.cli import main

VALUES = np.arange(6, dtype="f4").reshape(2, 3)
RECIPE = """
drop = ["*/Adam"]
rename = { "a/" = "b/" }
[[steps]]
transpose = { "*/w" = [1, 0] }
[[steps]]
cast = { "*/h" = "bfloat16" }
[[steps]]
reshape = { "*/r" = [-1] }
"""


@pytest.fixture
def source(tmp_path):
    tensors = {"a/w": VALUES, "a/w/Adam": VALUES, "a/h": VALUES / 3, "a/r": VALUES, "a/same": VALUES}
    (tmp_path / "r.toml").write_text(RECIPE)
    return write(tmp_path / "m", tensors | {"a/text": np.array([b"x", b""], object)})


@pytest.fixture
def recipe(tmp_path):
    return tmp_path / "r.toml"


def changes(found):
    return {each.key: each.change for each in found.differences if each.change != "same"}


@pytest.mark.parametrize("name", ["out", "out.npz"])
def test_every_kind_of_value(name, source, recipe, tmp_path):
    (tmp_path / "more.toml").write_text('drop = ["*/text"]')
    recipes = [recipe, tmp_path / "more.toml"]
    rewrite(source, tmp_path / name, recipe=recipes)
    assert not diff(source, tmp_path / name).equal
    found = diff(source, tmp_path / name, recipe=recipes, jobs=2)
    assert [each.key for each in found.differences] == ["b/h", "b/r", "b/same", "b/w"]
    assert found.equal
    assert diff(source, tmp_path / name, ["*/w"], recipe=recipes).counts["same"] == 1


def test_what_differs(source, recipe, tmp_path, run):
    rewrite(source, tmp_path / "out", recipe=recipe, drop=["b/same"])
    with tb.open(tmp_path / "out") as ckpt, tb.create(tmp_path / "other.npz") as writer:
        for key in ("b/h", "b/r", "b/w"):
            writer.add(key, ckpt[key] + (key == "b/w"))
    found = diff(source, tmp_path / "other.npz", recipe=recipe, values=True)
    assert changes(found) == {"b/same": "removed", "b/w": "value"}
    [changed] = [each for each in found.differences if each.values]
    assert (changed.a.shape, changed.values.max_abs, changed.values.different) == ((3, 2), 1.0, 6)
    [left_out] = found.left_out
    assert left_out.key == "b/text"
    lines = run("diff", source, tmp_path / "other.npz", "--recipe", recipe, status=1).out.splitlines()
    assert lines[-1].startswith("left out, ")
    *records, counts = run(
        "diff", source, tmp_path / "other.npz", "--recipe", recipe, "--json", status=1
    ).records
    assert records[-1] == {"key": "b/text", "left_out": left_out.reason}
    assert counts["same"] == 2


def test_errors(source, recipe, tmp_path, run):
    rewrite(source, tmp_path / "out", recipe=recipe)
    assert "no such recipe; near: 'hf:bert'" in run.error("diff", source, source, "--recipe", "hf:bret")
    with pytest.raises(BundleError, match="no tensor matches"):
        diff(tmp_path / "out", source, recipe=recipe)
    with (tmp_path / "m.data-00000-of-00001").open("r+b") as file:
        file.write(b"\xff" * 20)  # of "a/h" and what follows
    with pytest.raises(CorruptionError):
        diff(source, tmp_path / "out", recipe=recipe)


def test_a_map(source, tmp_path, capsys):
    (tmp_path / "names.map").write_text("a/=c/\n")
    arguments = [str(source), str(tmp_path / "out")]
    assert main(["rename", *arguments, "--map", str(tmp_path / "names.map")]) == 0
    assert proven(capsys.readouterr().err) == 0


def proven(err):
    """The status of the command that a conversion printed."""
    [command] = re.findall(r"^'(tensorbundle diff .*)' compares the two$", err, re.MULTILINE)
    return main(shlex.split(command)[1:])


KERAS = {"keras-save-weights": 3, "keras-root/weights": 0, "keras-saved-model": 1, "keras-adam": 3}  # layers
WAYS = (".weights.h5", ".h5", ".npz", "tf1", "v1")
CONVERSIONS = [
    *(
        (GOLDEN / "tf-2.15" / name, what)
        for name in KERAS
        for what in WAYS
        if KERAS[name] or what != ".weights.h5"
    ),
    *((SAMPLE, what) for what in (".safetensors", ".npz", "tf2", "v1")),
]


@pytest.mark.parametrize(("source", "what"), CONVERSIONS, ids=lambda each: getattr(each, "name", each))
def test_the_command_that_a_conversion_prints(source, what, tmp_path, capsys):
    pytest.importorskip("h5py")
    options = ["--allow-unused"] if what[0] == "." else ["--to", what]
    if what == ".weights.h5":
        dense = {"class_name": "Dense", "config": {}}
        model = {"class_name": "Sequential", "config": {"layers": [dense] * KERAS[source.name]}}
        (tmp_path / "model.json").write_text(json.dumps(model))
        options += ["--config", str(tmp_path / "model.json")]
    target = str(tmp_path / f"out{what if what[0] == '.' else ''}")
    assert main(["convert", str(source), target, *options]) == 0
    assert proven(capsys.readouterr().err) == 0
