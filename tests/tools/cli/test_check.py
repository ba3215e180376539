"""`tensorbundle check`."""

import json

import numpy as np
import pytest

import tensorbundle as tb
from support.cli import V221
from support.golden import SAMPLE
from support.rewriting import finished, keras_like, tree, variable, write, write_objects
from tensorbundle.tools import Forecast, forecast

ASSERTIONS = ["assert_consumed", "assert_existing_objects_matched", "assert_nontrivial_match"]
HOLD = dict.fromkeys(ASSERTIONS, True)


def objects(path, names):
    """A checkpoint of variables at these paths, and a save counter."""
    nested = {}
    for name in names:
        *above, last = name.split("/")
        inner = nested
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = None
    return write_objects(path, tree({**nested, "save_counter": None}))


def told(records):
    """What JSON output consists of: the findings, the assertions, and the causes after them."""
    place = next(number for number, each in enumerate(records) if "assert_consumed" in each)
    assert all(list(each) == ["path", "status", "detail"] for each in records[:place])
    assert all(
        list(each) == ["kind", "cause", "examples", "commands", "leaves"] for each in records[place + 1 :]
    )
    return records[:place], records[place], records[place + 1 :]


def test_what_fits(run, tmp_path):
    source = objects(tmp_path / "a", ["x/w", "x/b"])
    output = run("check", source, "--against", source)
    assert output.out.splitlines() == [
        "assert_consumed                  passes",
        "assert_existing_objects_matched  passes",
        "assert_nontrivial_match          passes",
        "3 objects: 3 restored",
    ]
    found, assertions, _ = told(run("check", source, "--against", source, "--json").records)
    assert assertions == HOLD
    assert [list(each) for each in found] == [["path", "status", "detail"]] * 3
    assert {(each["path"], each["status"]) for each in found} == {
        (path, "restored") for path in ("x/w", "x/b", "save_counter")
    }


def test_what_does_not(run, tmp_path):
    source = objects(tmp_path / "a", ["x/w", "x/old"])
    target = objects(tmp_path / "b", ["x/w", "x/new"])
    found, assertions, _ = told(run("check", source, "--against", target, "--json", status=1).records)
    assert {each["path"]: each["status"] for each in found} == {
        "x/w": "restored",
        "save_counter": "restored",
        "x/new": "missing",
        "x/old": "unused",
    }
    assert list(assertions) == ASSERTIONS
    assert assertions["assert_nontrivial_match"] is True
    assert "x/new" in assertions["assert_existing_objects_matched"]
    assert isinstance(assertions["assert_consumed"], str)


@pytest.mark.parametrize(
    ("stored", "wanted", "status"),
    [
        (np.zeros((2, 3), "f4"), np.zeros((3, 2), "f4"), "shape"),
        (np.zeros(2, "f4"), np.zeros(2, "f8"), "dtype"),
    ],
)
def test_shapes_and_types(run, tmp_path, stored, wanted, status):
    paths = []
    for name, value in (("a", stored), ("b", wanted)):
        paths.append(objects(tmp_path / name, ["w"]))
        with tb.open(paths[-1]) as ckpt:
            graph = ckpt.object_graph
        write(f"{paths[-1]}-1", {key("w"): value, key("save_counter"): np.int64(1)}, graph=graph)
    found, _, _ = told(
        run("check", f"{paths[0]}-1", "--against", f"{paths[1]}-1", "--json", status=1).records
    )
    assert {each["path"]: each["status"] for each in found}["w"] == status


def key(path):
    return f"{path}/.ATTRIBUTES/VARIABLE_VALUE"


def test_key_without_a_tensor(run, tmp_path):
    target = objects(tmp_path / "b", ["w", "v"])
    with tb.open(target) as ckpt:
        write(
            tmp_path / "a",
            {key(path): ckpt[key(path)] for path in ("w", "save_counter")},
            graph=ckpt.object_graph,
        )
    found, assertions, _ = told(run("check", tmp_path / "a", "--against", target, "--json", status=1).records)
    assert {each["path"]: each["status"] for each in found}["v"] == "dangling"
    assert "NotFoundError" in run("check", tmp_path / "a", "--against", target, status=1).out
    assert all(isinstance(each, str) for each in assertions.values())


@pytest.mark.parametrize(
    ("old", "new", "command"),
    [("model/", "/", "model/=/"), ("/", "model/", "/=model/"), ("enc/", "encoder/", "enc/=encoder/")],
)
def test_one_cause_and_the_command_that_helps(run, tmp_path, old, new, command):
    """The command it names makes everything fit."""
    paths = [f"layer-{number}/{name}" for number in range(3) for name in ("kernel", "bias")]
    source, target = (
        objects(tmp_path / name, [f"{scope.strip('/')}/{each}".strip("/") for each in paths])
        for name, scope in (("a", old), ("b", new))
    )
    lines = run("check", source, "--against", target, status=1).out.splitlines()
    assert [line for line in lines if line[:2] in ("1.", "2.")] == [lines[5]]
    [line] = [line for line in lines if line.startswith("   $ ")]
    assert line == f"   $ tensorbundle rename {source} DST {command}"
    _, _, [cause] = told(run("check", source, "--against", target, "--json", status=1).records)
    assert cause["commands"] == [f"tensorbundle rename {source} DST {command}"]
    assert len(cause["examples"]) == 3
    run("rename", source, tmp_path / "out", command)
    assert run("check", tmp_path / "out", "--against", target, "--json").records[-1] == HOLD


def test_name_based(run, tmp_path):
    """By full names, as TensorFlow restores what has no object graph."""
    source = write(tmp_path / "a", {"scope/w": np.float32(1), "scope/v": np.float32(2)})
    structure = tmp_path / "b.json"
    structure.write_text(json.dumps({"layers": ["scope/w", "scope/u"]}))
    found, assertions, _ = told(run("check", source, "--against", structure, "--json", status=1).records)
    assert {each["path"]: each["status"] for each in found} == {
        "layers/0": "restored",
        "layers/1": "missing",
        "scope/v": "unused",
    }
    assert len(set(assertions.values())) == 1  # one and the same test
    structure.write_text(json.dumps({"layers": ["scope/w", "scope/v"]}))
    assert run("check", source, "--against", structure, "--json").records[-1] == HOLD


@pytest.mark.parametrize(("method", "status"), [("restore", 1), ("read", 0)])
def test_counter(run, tmp_path, method, status):
    """`restore` makes a counter, which a checkpoint that was written, not saved, does not have."""
    source = write_objects(tmp_path / "a", tree({"w": None}))
    output = run("check", source, "--against", source, "--with", method, "--json", status=status)
    _, assertions, _ = told(output.records)
    assert (assertions == HOLD) is (status == 0)


def test_slots(run, tmp_path):
    """A slim checkpoint lacks the optimizer, and the program's objects say so."""
    source = write_objects(tmp_path / "a", keras_like())
    run("slim", source, tmp_path / "slim")
    found, assertions, _ = told(
        run("check", tmp_path / "slim", "--against", source, "--json", status=1).records
    )
    missing = {each["path"] for each in found if each["status"] == "missing"}
    assert "optimizer/iter" in missing
    assert sum("OPTIMIZER_SLOT" in path for path in missing) == 4
    found, _, _ = told(run("check", source, "--against", tmp_path / "slim", "--json", status=1).records)
    assert {each["status"] for each in found if "optimizer" in each["path"]} == {"unused"}
    assert assertions["assert_existing_objects_matched"] is not True


def test_saved_model(run):
    folder = V221 / "saved-model"
    assert run("check", folder, "--against", folder, "--with", "read", "--json").records[-1] == HOLD


def test_all_and_limit(run, tmp_path):
    source = objects(tmp_path / "a", [f"x{number}" for number in range(20)])
    target = objects(tmp_path / "b", ["w"])
    short = run("check", source, "--against", target, status=1).out
    assert "x19" not in short
    assert "x19" in run("check", source, "--against", target, "--all", status=1).out


def test_shared_and_cyclic(run, tmp_path):
    shared = variable()
    root = tree({"a": shared, "b": {"c": shared}, "save_counter": None})
    root.children["b"].children["up"] = root
    source = write_objects(tmp_path / "a", root)
    assert run("check", source, "--against", source, "--json").records[-1] == HOLD
    assert forecast(source, source).assertions() == HOLD


def test_names_are_escaped(run, tmp_path):
    source = objects(tmp_path / "a", ["\x1b[31mred", "w"])
    target = objects(tmp_path / "b", ["\x1b[32mgreen", "w"])
    output = run("check", source, "--against", target, "--all", status=1)
    assert "\x1b" not in output.out + output.err


def test_errors(run, tmp_path):
    source = objects(tmp_path / "a", ["w"])
    assert "no checkpoint of this name" in run.error("check", tmp_path / "z", "--against", source)
    assert "no checkpoint of this name" in run.error("check", source, "--against", tmp_path / "z")
    (tmp_path / "b.json").write_text("{")
    assert run.error("check", source, "--against", tmp_path / "b.json").startswith(f"{tmp_path}/b.json: ")


# What is printed


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a checkpoint `a` of a program, and `b` of one whose model is not in an attribute."""
    root = keras_like()
    write_objects(tmp_path / "a", root)
    model = root.children.pop("model")
    del root.children["optimizer"]
    root.children = {**model.children, **root.children}
    write_objects(tmp_path / "b", root)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_does_not_fit(run, folder):
    output = run("check", "a", "--against", "b", status=1)
    assert (
        output.out
        == """\
assert_consumed                  fails: 3 objects of B not in A: 'layer-0/kernel', 'layer-0/bias', 'last/w'
assert_existing_objects_matched  fails for the same reason
assert_nontrivial_match          passes
13 objects: 1 restored, 3 missing in A, 9 in A unused

1. 'model/' of A is the root in B
   model/layer-0/kernel -> layer-0/kernel
   model/layer-0/bias -> layer-0/bias
   model/last/w -> last/w
   $ tensorbundle rename a DST model/=/
     leaves 6 in A unused

2. only the optimizer's state in A has no place in B
   unused optimizer/iter: float32 [1], not in B; restored with 'optimizer'
   unused optimizer/decay: float32 [1], not in B; restored with 'optimizer'
   unused layer-0/kernel/.OPTIMIZER_SLOT/optimizer/m: float32 [1], a slot variable; B lacks its variable or its optimizer
   and 3 more
   - if the program does not train: call expect_partial(), and not assert_consumed()
   - or remove it: tensorbundle slim DST DST2
"""
    )
    assert run("rename", "a", "c", "model/=/")
    assert run("slim", "c", "d")
    assert run("check", "d", "--against", "b").out.endswith("4 objects: 4 restored\n")


def test_every_object(run, folder):
    lines = run("check", "a", "--against", "b", "--all", status=1).out.splitlines()
    assert [line.split() for line in lines[-13:-8]] == [
        ["restored", "save_counter", "int64", "[]"],
        ["missing", "layer-0/kernel", "not", "in", "A"],
        ["missing", "layer-0/bias", "not", "in", "A"],
        ["missing", "last/w", "not", "in", "A"],
        [
            "unused",
            "optimizer/iter",
            *["float32", "[1],", "not", "in", "B;", "restored", "with", "'optimizer'"],
        ],
    ]


def test_exceptions(run, folder):
    for name, shape in (("one", 1), ("two", 2)):
        graph = finished(tree({"a": variable("name")}))
        write(folder / name, {"a/.ATTRIBUTES/VARIABLE_VALUE": np.zeros(shape, "f4")}, graph=graph)
    output = run("check", "two", "--against", "one", "--with", "read", status=1)
    message = (
        "read raises ValueError: Received incompatible tensor with shape (2,) when attempting to restore variable with "
        "shape (1,) and name name"
    )
    assert output.out.splitlines()[0] == message
    _, summary, _ = told(
        run("check", "two", "--against", "one", "--with", "read", "--json", status=1).records
    )
    assert summary == dict.fromkeys(ASSERTIONS, message)


def test_structure_file(run, folder):
    (folder / "program.toml").write_text('layer-0 = {kernel = "k", bias = "b"}\nlast = {w = "w"}\n')
    run(
        "check", "b", "--against", "program.toml", "--with", "read", status=1
    )  # which leaves the save counter
    _, summary, _ = told(run("check", "b", "--against", "program.toml", "--json").records)
    assert summary == dict.fromkeys(ASSERTIONS, True)


def test_saver(run):
    """A v1 Saver has no assertions: they stand for its restoring."""
    assert run("check", SAMPLE, "--against", SAMPLE).out == (
        "tf.compat.v1.train.Saver restores\n33 objects: 33 restored\n"
    )


def test_directory(run):
    run("check", V221 / "manager", "--against", V221 / "manager")


def test_in_python(folder):
    found = forecast("a", "b")
    assert isinstance(found, Forecast)
    assert found.found
    assert found.changed == {"save_counter": "save_counter/.ATTRIBUTES/VARIABLE_VALUE"}
    assert not forecast("a", "a").found
