"""`tensorbundle suggest`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import snapshot
from support.rewriting import finished, tree, write

MAP = """\
# Names in a, and what they are called in b. To use this map:
#   tensorbundle rename a DST --map FILE
# Pairs: 3 certain, 2 likely. Names that are the same: 1. Of several rules that match a name, the first applies.

# Only possible: to use one, remove the '#' before it.
# order, checksum
#p=x
# order, checksum
#q=y

# certain: checksum
"odd=name"="odd"

# 3 names, likely: checksum (2); scope, checksum (1)
enc/=model/enc/

# Left over in a: 1
#   gone  float32 [7]

# Left over in b: 2
#   n\\ny  float32 [9]
#   new  float32 [8]
"""


def values(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A place with two checkpoints, `a` and `b`."""
    monkeypatch.chdir(tmp_path)
    w, v, odd, two = values(0, 2, 2), values(1, 3), values(2, 4), np.full(2, 2, "f4")
    zeros, step = np.zeros(5, "f4"), np.int64(7)
    one = {
        "enc/w": w,
        "enc/v": v,
        "enc/zeros": np.zeros(6, "f4"),
        "odd=name": odd,
        "step": step,
        "p": zeros,
        "q": zeros,
    }
    other = {
        "model/enc/w": w,
        "model/enc/v": v,
        "model/enc/zeros": np.zeros(6, "f4"),
        "odd": odd,
        "step": step,
    }
    write("a", one | {"gone": values(3, 7)})
    write("b", other | {"x": zeros, "y": zeros, "new": values(4, 8), "n\ny": values(5, 9)})
    del two
    return tmp_path


def test_the_map_is_printed(run, folder):
    before = snapshot(folder)
    output = run("suggest", "a", "b")
    assert (output.out, output.err) == (MAP, "")
    assert snapshot(folder) == before


def test_the_map_is_written_and_applied(run, folder):
    output = run("suggest", "a", "b", "-o", "map.txt")
    assert output.out == (
        "map.txt: 2 rules; 3 certain, 2 likely, 2 possible; 1 unchanged; 1 and 2 left over\n"
    )
    assert (folder / "map.txt").read_text() == MAP.replace("FILE", "map.txt")
    run("rename", "a", "out", "--map", "map.txt")
    with tb.open("out") as ckpt, tb.open("b") as expected:
        assert {*ckpt} == {"model/enc/w", "model/enc/v", "model/enc/zeros", "odd", "step", "p", "q", "gone"}
        for key in {*ckpt} & {*expected}:
            assert ckpt[key].tobytes() == expected[key].tobytes()


def test_possibilities_can_be_taken(run, folder):
    text = MAP.replace("#p=", "p=").replace("#q=", "q=")
    (folder / "map").write_text(text)
    run("rename", "a", "out", "--map", "map")
    assert {"x", "y"} <= {*tb.open("out")}


def test_json(run, folder):
    *records, summary = run("suggest", "a", "b", "--json").records
    assert records == [
        {"old": "enc/v", "new": "model/enc/v", "evidence": "checksum", "confidence": "certain"},
        {"old": "enc/w", "new": "model/enc/w", "evidence": "checksum", "confidence": "certain"},
        {"old": "enc/zeros", "new": "model/enc/zeros", "evidence": "scope, checksum", "confidence": "likely"},
        {"old": "odd=name", "new": "odd", "evidence": "checksum", "confidence": "certain"},
        {"old": "p", "new": "x", "evidence": "order, checksum", "confidence": "possible"},
        {"old": "q", "new": "y", "evidence": "order, checksum", "confidence": "possible"},
        {"old": "step", "new": "step", "evidence": "name, checksum", "confidence": "likely"},
        {"old": "gone", "new": None, "evidence": None, "confidence": None},
        {"old": None, "new": "n\ny", "evidence": None, "confidence": None},
        {"old": None, "new": "new", "evidence": None, "confidence": None},
    ]
    assert summary == {
        "use": "rename",
        "certain": 3,
        "likely": 2,
        "possible": 2,
        "unchanged": 1,
        "rules": 2,
        "left_old": 1,
        "left_new": 2,
    }


def test_json_and_a_file(run, folder):
    output = run("suggest", "a", "b", "--json", "-o", "map")
    assert len(output.records) == 11
    assert (folder / "map").read_text() == MAP.replace("FILE", "map")


def test_a_file_that_exists(run, folder):
    (folder / "map").write_text("mine")
    assert (
        run.error("suggest", "a", "b", "-o", "map")
        == "map: exists; use --overwrite (overwrite=True) to replace it"
    )
    assert (folder / "map").read_text() == "mine"
    run("suggest", "a", "b", "-o", "map", "--overwrite")
    assert (folder / "map").read_text() == MAP.replace("FILE", "map")


def test_equal_checkpoints(run, folder):
    assert run("suggest", "a", "a").out == (
        "# Names in a, and what they are called in a. To use this map:\n"
        "#   tensorbundle rename a DST --map FILE\n"
        "# Pairs: 4 certain, 4 likely. Names that are the same: 8. Of several rules that match a name, the first applies.\n"
        "\n# Left over in a: nothing\n\n# Left over in a: nothing\n"
    )


@pytest.mark.parametrize(
    ("one", "other", "commands"),
    [
        ("a", "objects", ["convert a DST --to tf2 --template objects --map FILE"]),
        ("objects", "a", ["convert objects TMP --to tf1 --names keys", "rename TMP DST --map FILE"]),
        ("objects", "objects", ["rename objects DST --map FILE"]),
    ],
)
def test_how_a_map_is_used(run, folder, one, other, commands):
    graph = finished(tree({"v": None}))
    write("objects", {"v/.ATTRIBUTES/VARIABLE_VALUE": values(1, 3)}, graph=graph)
    lines = run("suggest", one, other).out.split("\n")
    assert lines[1 : 1 + len(commands)] == [f"#   tensorbundle {each}" for each in commands]


def test_names_of_files_are_quoted(run, folder):
    write("c d", {"x": values(9, 4)})
    assert run("suggest", "c d", "a").out.split("\n")[1] == "#   tensorbundle rename 'c d' DST --map FILE"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "none"], "none: no checkpoint of this name"),
        (["none", "a"], "none: no checkpoint of this name"),
        (["a", "b", "-o", "no/map"], "no: no such directory; make it first"),
    ],
    ids=str,
)
def test_errors(run, folder, arguments, message):
    assert run.error("suggest", *arguments).startswith(message)


def test_what_a_terminal_would_act_upon(run, folder):
    write("c\x1b[1m", {"a\x1b[31m": values(9, 4), "b\x85": values(8, 3)})
    write("d", {"\u202ex": values(9, 4)})
    output = run("suggest", "c\x1b[1m", "d")
    assert all(char.isprintable() or char == "\n" for char in output.out)
    assert '"a\\u001b[31m"="\\u202ex"' in output.out
