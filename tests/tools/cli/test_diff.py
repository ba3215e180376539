"""`tensorbundle diff`."""

import os

import numpy as np
import pytest

import tensorbundle as tb
from support.cli import V221
from support.golden import SAMPLE
from support.rewriting import finished, tree, variable
from tensorbundle.proto.paths import attribute_key
from tensorbundle.tools import convert, diff
from tensorbundle.tools.operations.comparing import checksums, pairs, sides

CHANGES = ["added", "removed", "renamed", "dtype", "shape", "value", "same"]
WORDS = np.array([b"ab", b""], object)


def write(path, **tensors):
    with tb.create(path) as writer:
        for key, values in tensors.items():
            writer.add(key.replace("__", "/"), values)
    return path


def changes(a, b, *patterns, **options):
    """Change by key, or by both keys where they differ; equal tensors left out."""
    found = diff(a, b, patterns, **options).differences
    return {
        each.key if each.to is None else (each.key, each.to): each.change
        for each in found
        if each.change != "same" or each.to is not None
    }


@pytest.fixture
def ramp():
    return np.arange(100, dtype="f4")


@pytest.fixture
def no_reading(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("values are read")

    for module in (checksums, pairs):
        monkeypatch.setattr(module, "flat_values_of", refuse)


def test_every_change(run, tmp_path, ramp, no_reading):
    a = write(tmp_path / "a", same=ramp, gone=WORDS, cast=ramp, cut=ramp, other=ramp, old__w=ramp * 2)
    b = write(
        tmp_path / "b",
        same=ramp,
        new=ramp[:3],
        cast=ramp.astype("f2"),
        cut=ramp[1:],
        other=-ramp,
        new__w=ramp * 2,
    )
    *found, counts = run("diff", a, b, "--json", status=1).records
    assert {each["key"]: each["change"] for each in found} == {
        "cast": "dtype",
        "cut": "shape",
        "gone": "removed",
        "new": "added",
        "old/w": "renamed",
        "other": "value",
    }
    assert [list(each) for each in found if each["key"] != "old/w"] == [["key", "change", "a", "b"]] * 5
    [renamed] = [each for each in found if each["key"] == "old/w"]
    assert list(renamed) == ["key", "change", "a", "b", "to"]
    assert renamed["to"] == "new/w"
    assert renamed["a"] == renamed["b"]
    assert list(renamed["a"]) == ["dtype", "shape", "nbytes", "crc32c"]
    assert counts == dict.fromkeys(CHANGES, 1)
    assert len(run("diff", a, b, "--json", "--all", status=1).records) == 8
    text = run("diff", a, b, status=1).out.splitlines()
    assert (
        text[-1]
        == "1 added, 1 removed, 1 renamed, 1 of another type, 1 of another shape, 1 with other values, 1 same"
    )
    assert text[0].split() == ["~", "dtype", "cast", "float32", "[100]", "->", "float16", "[100]"]
    assert any(line.startswith(">  renamed  old/w -> new/w") for line in text)


def test_equal_checkpoints(run, no_reading):
    assert run("diff", SAMPLE, SAMPLE).out == "33 same\n"
    assert run("diff", SAMPLE, SAMPLE, "--json").records == [dict.fromkeys(CHANGES, 0) | {"same": 33}]


def test_patterns(run, tmp_path, ramp):
    a = write(tmp_path / "a", x__w=ramp, y__w=ramp)
    b = write(tmp_path / "b", x__w=ramp, y__w=-ramp, z=ramp)
    assert changes(a, b, "x*") == {}
    assert changes(a, b, "y*", "z") == {"y/w": "value", "z": "added"}
    assert "'q*'" in run.error("diff", a, b, "q*")


def test_values(run, tmp_path, ramp):
    a = write(tmp_path / "a", w=ramp, cast=ramp, text=WORDS)
    b = write(tmp_path / "b", w=ramp + (ramp == 50), cast=ramp.astype("f8") + 0.5, text=WORDS[::-1].copy())
    found = {each["key"]: each for each in run("diff", a, b, "--values", "--json", status=1).records[:-1]}
    assert [found["w"][name] for name in ("max_abs", "max_rel", "different")] == [1.0, 1 / 51, 1]
    assert (found["cast"]["change"], found["cast"]["max_abs"], found["cast"]["different"]) == (
        "dtype",
        0.5,
        100,
    )
    assert (found["text"]["max_abs"], found["text"]["different"]) == (None, 2)
    assert (
        "1 element differs, by up to 1, relative 0.019607843"
        in run("diff", a, b, "w", "--values", status=1).out
    )
    assert run("diff", a, b, "w", "--atol", "1").out == "1 same\n"
    assert changes(a, b, "w", values=True, rtol=0.1) == {}
    assert changes(a, b, values=True, atol=1, jobs=2) == {"cast": "dtype", "text": "value"}


@pytest.mark.parametrize("option", ["--rtol", "--atol"])
@pytest.mark.parametrize("value", ["-1", "nan", "x"])
def test_tolerances_are_numbers_from_0_on(run, option, value):
    with pytest.raises(SystemExit):
        run("diff", SAMPLE, SAMPLE, f"{option}={value}")
    with pytest.raises(tb.BundleError, match="can't be negative"):
        diff(SAMPLE, SAMPLE, rtol=-1)


def test_only_the_indexes_are_needed(tmp_path, ramp, no_reading):
    a, b = write(tmp_path / "a", w=ramp, v=ramp), write(tmp_path / "b", w=ramp + 1, v=ramp)
    for path in tmp_path.glob("*.data-*"):
        os.unlink(path)
    assert changes(a, b) == {"w": "value"}


def test_partitions_file_formats_and_byte_order(tmp_path):
    for other in ("partitioned-v1", "partitioned-sharded"):
        assert diff(V221 / "partitioned", V221 / other).equal
    convert(SAMPLE, tmp_path / "old", to="v1")
    assert diff(SAMPLE, tmp_path / "old").equal
    assert diff(tmp_path / "old", SAMPLE, jobs=2).equal


@pytest.mark.parametrize("swap", [False, True])
def test_objects_against_names(tmp_path, swap):
    """A conversion is the same tensors; their full names say which is which."""
    convert(SAMPLE, tmp_path / "objects", to="tf2")
    sides = (tmp_path / "objects", SAMPLE) if swap else (SAMPLE, tmp_path / "objects")
    found = diff(*sides)
    assert found.counts == dict.fromkeys(CHANGES, 0) | {"same": 33}
    assert [each.key for each in found.left_out] == ["save_counter/.ATTRIBUTES/VARIABLE_VALUE"]
    assert found.only_graph == str(tmp_path / "objects")
    assert all(each.to for each in found.differences if each.change == "same")
    assert diff(*sides, ["dnn/*"]).equal


def export(path, names, first):
    """Variables in a list whose order is not that of another export, as in SavedModels of Keras 3."""
    listed = {str(number): variable(name) for number, name in enumerate(names)}
    graph = finished(tree({"_all_variables": listed}))
    values = {name: np.full(20, first + number, "f4") for number, name in enumerate(sorted(names))}
    with tb.create(path) as writer:
        for _, _, each in graph.attributes():
            writer.add(each.checkpoint_key, values[each.full_name])
        writer.add("_CHECKPOINTABLE_OBJECT_GRAPH", graph.encode())
    return path


def test_positions_are_no_identity(tmp_path, run):
    """Variables at equal positions of a list are compared by their names, as far as these tell."""
    one = export(tmp_path / "one", ["net/a/kernel", "net/b/kernel", "net/c/kernel"], 1)
    places = [attribute_key(f"_all_variables/{number}") for number in range(3)]
    moved = {(places[0], places[1]), (places[1], places[2]), (places[2], places[0])}
    for first, change in ((1, "renamed"), (7, "value")):
        names = ["net_1/c/kernel", "net_1/a/kernel", "net_1/b/kernel"]
        other = export(tmp_path / change, names, first)
        assert changes(one, other) == dict.fromkeys(moved, change) | {"_CHECKPOINTABLE_OBJECT_GRAPH": "value"}
    other = export(tmp_path / "other", ["x/kernel", "y/kernel", "z/kernel"], 4)
    assert diff(one, other).doubtful == tuple(places)
    assert "may be other variables: _all_variables/0" in run("diff", one, other, status=1).out
    assert diff(one, one).doubtful == ()
    (tmp_path / "one.data-00000-of-00001").unlink()
    assert changes(one, other) == dict.fromkeys((*places, "_CHECKPOINTABLE_OBJECT_GRAPH"), "value")


def test_names_that_two_variables_have_prove_nothing(tmp_path):
    """Two objects with one full name, of different values: neither is taken for the variable of that name."""
    graph = tb.ObjectGraph.from_nested({"one": "w", "two": "w"})
    with tb.create(tmp_path / "objects") as writer:
        for number, (_, _, each) in enumerate(graph.attributes()):
            writer.add(each.checkpoint_key, np.full(20, number, "f4"))
        writer.add("_CHECKPOINTABLE_OBJECT_GRAPH", graph.encode())
    write(tmp_path / "names", w=np.full(20, 7, "f4"))
    assert sorted(changes(tmp_path / "objects", tmp_path / "names").values()) == [
        "added",
        "removed",
        "removed",
    ]


def test_small_and_zero_tensors_need_names_that_end_alike(tmp_path):
    zeros = np.zeros(100)
    a = write(tmp_path / "a", a__bias=zeros, a__beta=zeros, a__step=np.int64(5), a__gone=zeros)
    b = write(tmp_path / "b", b__bias=zeros, b__beta=zeros, b__count=np.int64(5))
    assert changes(a, b) == {
        ("a/bias", "b/bias"): "renamed",
        ("a/beta", "b/beta"): "renamed",
        "a/step": "removed",
        "b/count": "added",
        "a/gone": "removed",
    }


def test_equal_checksums_of_other_bytes_are_no_proof(tmp_path, ramp, monkeypatch):
    """Where nothing but the checksum says so, the bytes are compared, if they can be read."""
    a, b = write(tmp_path / "a", x=ramp), write(tmp_path / "b", y=-ramp)
    monkeypatch.setattr(sides, "stored_checksum", lambda *_: 7)
    assert changes(a, b) == {"x": "removed", "y": "added"}
    os.unlink(tmp_path / "b.data-00000-of-00001")
    assert changes(a, b) == {("x", "y"): "renamed"}


def test_many_equal_tensors_take_linear_time(tmp_path, monkeypatch):
    """Counts how often names are looked at."""
    calls = []
    monkeypatch.setattr(pairs, "key_path", calls.append)
    value = np.zeros(1, "f4")
    with tb.create(tmp_path / "a") as one, tb.create(tmp_path / "b") as other:
        for number in range(500):
            one.add(f"a/{number}/x", value)
            other.add(f"b/{number}/x", value)
    assert len(changes(tmp_path / "a", tmp_path / "b")) == 500
    assert len(calls) <= 2 * 500 * 5
