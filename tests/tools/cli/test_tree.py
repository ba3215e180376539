"""`tensorbundle tree`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.cli import GOLDEN


def test_text(run, in_golden):
    output = run("tree", "guide-root-tf2", "c", "v/*")
    assert output.out == (
        ".        3 tensors   3  12 B\n"
        "├─ c     float32 []  1   4 B\n"
        "└─ v     2 tensors   2   8 B\n"
        "   ├─ a  float32 []  1   4 B\n"
        "   └─ b  float32 []  1   4 B\n"
    )
    assert output.err == ""


def test_depth(run):
    assert run("tree", GOLDEN / "sample", "--depth", 2).out == (
        ".                                 33 tensors  6,969  27.2 KiB\n"
        "├─ dnn                            21 tensors  6,915  27.0 KiB\n"
        "│  ├─ hiddenlayer_0               6 tensors   3,744  14.6 KiB\n"
        "│  ├─ hiddenlayer_1               6 tensors   1,584   6.2 KiB\n"
        "│  ├─ input_from_feature_columns  3 tensors   1,536   6.0 KiB\n"
        "│  └─ logits                      6 tensors      51     204 B\n"
        "├─ global_step                    int64 []        1       8 B\n"
        "├─ head                           2 tensors       2       8 B\n"
        "│  ├─ beta1_power                 float32 []      1       4 B\n"
        "│  └─ beta2_power                 float32 []      1       4 B\n"
        "└─ linear                         9 tensors      51     204 B\n"
        "   └─ linear_model                9 tensors      51     204 B\n"
    )


@pytest.mark.parametrize("options", [[], ["--depth", 99]])
def test_whole_depth(run, in_golden, options):
    assert run("tree", "guide-tf1", *options).out == (
        ".          3 tensors   3  12 B\n"
        "├─ a       float32 []  1   4 B\n"
        "├─ b       float32 []  1   4 B\n"
        "└─ scoped  1 tensor    1   4 B\n"
        "   └─ c    float32 []  1   4 B\n"
    )


def test_depth_0_is_the_total(run, in_golden):
    assert run("tree", "guide-tf1", "--depth", 0).out == ".  3 tensors  3  12 B\n"


def test_json(run, in_golden):
    output = run("tree", "partitioned-sharded", "--json")
    assert output.records == [
        {"path": "", "tensors": 3, "parameters": 79, "nbytes": 316},
        {"path": "emb", "tensors": 1, "parameters": 40, "nbytes": 160},
        {"path": "plain", "tensors": 1, "parameters": 3, "nbytes": 12},
        {"path": "w2", "tensors": 1, "parameters": 36, "nbytes": 144},
    ]
    assert output.err == ""


def test_json_paths_of_objects(run, in_golden):
    records = run("tree", "guide-tf2", "--json", "--depth", 2).records
    assert [record["path"] for record in records] == [
        "",
        "_CHECKPOINTABLE_OBJECT_GRAPH",
        "save_counter",
        "variables",
        "variables/0",
        "variables/1",
        "variables/2",
    ]


def test_a_tensor_that_is_a_scope_too(run, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("w", np.zeros(3, np.float32))
        writer.add("w/Adam", np.zeros(3, np.float32))
    assert run("tree", tmp_path / "m").out == (
        ".           2 tensors                       6  24 B\n"
        "└─ w        float32 [3] and 1 tensor below  6  24 B\n"
        "   └─ Adam  float32 [3]                     3  12 B\n"
    )
    assert run("tree", tmp_path / "m", "--json").records[1:] == [
        {"path": "w", "tensors": 2, "parameters": 6, "nbytes": 24},
        {"path": "w/Adam", "tensors": 1, "parameters": 3, "nbytes": 12},
    ]


def test_patterns(run, in_golden):
    records = run("tree", "guide-tf2", "variables/[01]", "--depth", 1, "--json").records
    assert [(record["path"], record["tensors"]) for record in records] == [("", 2), ("variables", 2)]
    message = run.error("tree", "guide-tf1", "nothing")
    assert message == "guide-tf1/tf1-ckpt: no tensor matches the pattern 'nothing'"


@pytest.mark.slow
def test_a_key_of_many_parts(run, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("/".join("abc" * 1000), np.float32(1))
    assert len(run("tree", tmp_path / "m", "--json").records) == 3001
    lines = run("tree", tmp_path / "m").out.splitlines()
    assert (len(lines), lines[-1].strip()) == (202, "...  --depth N draws more")
    assert run("tree", tmp_path / "m", "--depth", 300).out.count("\n") == 301


def test_json_paths(run, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        for key in ("a/b/c", "a/d", "a//e", "f"):
            writer.add(key, np.float32(1))
    found = [record["path"] for record in run("tree", tmp_path / "m", "--json").records]
    assert found == ["", "a", "a/", "a//e", "a/b", "a/b/c", "a/d", "f"]


def test_slots_and_other_tensors_of_objects(run, tmp_path):
    """A line for each: a variable, its slots, and what an object stores besides a value."""
    with tb.create(tmp_path / "m") as writer:
        for key in ("a/w/.ATTRIBUTES/VARIABLE_VALUE", "a/w/.OPTIMIZER_SLOT/opt/m/.ATTRIBUTES/VARIABLE_VALUE"):
            writer.add(key, np.zeros(3, np.float32))
        writer.add("it/.ATTRIBUTES/py_state", np.array(b"{}", object))
    assert run("tree", tmp_path / "m").out == (
        ".                               3 tensors                       7  31 B\n"
        "├─ a                            2 tensors                       6  24 B\n"
        "│  └─ w                         float32 [3] and 1 tensor below  6  24 B\n"
        "│     └─ .OPTIMIZER_SLOT/opt/m  float32 [3]                     3  12 B\n"
        "└─ it                           1 tensor                        1   7 B\n"
        "   └─ .ATTRIBUTES/py_state      string []                       1   7 B\n"
    )
