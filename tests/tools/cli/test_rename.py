"""`tensorbundle rename`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import assert_sound, keras_like, write, write_objects


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "m", {"a/w": np.float32(1), "a/b": np.float32(2), "c": np.int32(3)})


def test_rules(run, tmp_path, source):
    summary = check_writing(run, tmp_path, "rename", [source], "a/=z/", "c=d")
    assert summary["changes"] == {"renamed": 3, "cast": 0, "dropped": 0}
    assert (summary["bytes_shared"], summary["bytes_written"]) == (
        12,
        (tmp_path / "out.index").stat().st_size,
    )
    assert list(tb.open(tmp_path / "out")) == ["d", "z/b", "z/w"]


def test_map_and_regex(run, tmp_path, source):
    (tmp_path / "map").write_text("# as TensorFlow takes it\na/w=w\n")
    run(
        "rename",
        source,
        tmp_path / "out",
        "--map",
        tmp_path / "map",
        "--regex",
        r"^a/(.)$=>\1_",
        "--regex",
        "c=>k",
    )
    assert list(tb.open(tmp_path / "out")) == ["b_", "k", "w"]


def test_plan(run, tmp_path, source):
    records = run("rename", source, tmp_path / "out", "c=d", "--dry-run", "--json").records
    assert records[2] == {
        "key": "d", "action": "share", "source": "c", "dtype": "int32", "shape": [], "nbytes": 4,
    }  # fmt: skip
    assert run("rename", source, tmp_path / "out", "c=d", "--dry-run").out.splitlines() == [
        "share  d  int32  []  4 B  from c",
        "2 tensors unchanged and not listed (--long lists them)",
        "3 tensors: 12 B to share, 0 B to read, 0 B and the index to write, in about 47.7 MiB of memory",
    ]


def test_plan_with_everything(run, tmp_path, source):
    lines = run("rename", source, tmp_path / "out", "c=d", "--dry-run", "--long").out.splitlines()
    assert lines[:-1] == [
        "share  a/w  float32  []  4 B  from a/w",
        "share  a/b  float32  []  4 B  from a/b",
        "share  d    int32    []  4 B  from c",
    ]


def test_in_place(run, tmp_path, source):
    run("rename", source, source, "c=d", "--overwrite")
    assert_sound(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.data-00000-of-00001", "m.index"]
    assert "d" in tb.open(source)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to rename: give OLD=NEW, --map or --regex"),
        (["c"], "'c' is not OLD=NEW"),
        (["--regex", "c"], "'c' is not PATTERN=>REPLACEMENT"),
        (["a/=z"], "rename 'a/=z': a scope ends in '/' on both sides"),
        (["x=y"], "SOURCE: rename 'x=y' matches nothing"),
        (["c=a/w"], "SOURCE: key 'a/w': both 'a/w' and 'c' would get this name"),
        (["--map", "none"], "none: no such map"),
    ],
    ids=str,
)
def test_errors(run, tmp_path, source, arguments, message):
    assert check_refusal(run, tmp_path, "rename", source, tmp_path / "out", *arguments) == message.replace(
        "SOURCE", source
    )


@pytest.mark.parametrize("content", [b"\xff=a", b"[1]", b"{[]: 1}", b"a"], ids=str)
def test_maps_that_are_none(run, tmp_path, source, content):
    (tmp_path / "map").write_bytes(content)
    assert check_refusal(run, tmp_path, "rename", source, tmp_path / "out", "--map", tmp_path / "map")


def test_a_name_that_is_no_path(run, tmp_path):
    source = write_objects(tmp_path / "m", keras_like())
    message = check_refusal(run, tmp_path, "rename", source, tmp_path / "out", "model/last=model/layer.1")
    assert "layer.1" in message
