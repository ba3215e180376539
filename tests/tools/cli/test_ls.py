"""`tensorbundle ls`."""

import json

import numpy as np
import pytest

import tensorbundle as tb
from support.cli import V215, V221
from tensorbundle import tools
from tensorbundle.tools.cli.console import Console
from tensorbundle.tools.cli.program import main


def keys(output):
    return [record["key"] for record in output.records]


def test_text(run, in_golden):
    output = run("ls", "guide-tf2")
    assert output.out == (
        "_CHECKPOINTABLE_OBJECT_GRAPH             string   []  359 B\n"
        "save_counter/.ATTRIBUTES/VARIABLE_VALUE  int64    []    8 B\n"
        "variables/0/.ATTRIBUTES/VARIABLE_VALUE   float32  []    4 B\n"
        "variables/1/.ATTRIBUTES/VARIABLE_VALUE   float32  []    4 B\n"
        "variables/2/.ATTRIBUTES/VARIABLE_VALUE   float32  []    4 B\n"
        "5 tensors, 5 elements, 379 B in 1 data shard\n"
    )
    assert output.err == ""


@pytest.mark.parametrize("option", ["--long", "-l"])
def test_long_text(run, in_golden, option):
    assert run("ls", "partitioned-sharded", option).out == (
        "key              dtype    shape    size  shard  offset  crc32c\n"
        "emb              float32  [10,4]  160 B      -       -  3 slices\n"
        "  slice 0,4:0,4  float32  [4,4]    64 B      0       0  65913ca9\n"
        "  slice 7,3:0,4  float32  [3,4]    48 B      0      64  a0e1886c\n"
        "  slice 4,3:0,4  float32  [3,4]    48 B      1       0  a0e1886c\n"
        "plain            float32  [3]      12 B      1      48  62234275\n"
        "w2               float32  [4,9]   144 B      -       -  4 slices\n"
        "  slice 0,4:0,3  float32  [4,3]    48 B      0     112  28049003\n"
        "  slice 0,4:5,2  float32  [4,2]    32 B      0     160  6fe982d8\n"
        "  slice 0,4:3,2  float32  [4,2]    32 B      1      60  6fe982d8\n"
        "  slice 0,4:7,2  float32  [4,2]    32 B      1      92  6fe982d8\n"
        "3 tensors, 79 elements, 316 B in 2 data shards\n"
    )


def test_thousands_are_separated_and_sizes_rounded(run, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("w", np.zeros((1024, 1500), np.float32))
    assert run("ls", tmp_path / "m").out == (
        "w  float32  [1024,1500]  5.9 MiB\n1 tensor, 1,536,000 elements, 5.9 MiB in 1 data shard\n"
    )


def test_json(run, in_golden):
    output = run("ls", "partitioned-sharded", "--json")
    assert output.out.split("\n")[1] == (
        '{"key": "plain", "dtype": "float32", "shape": [3], "nbytes": 12, "shard": 1, "offset": 48, '
        '"crc32c": "62234275", "slices": []}'
    )
    assert output.records[0] == {
        "key": "emb",
        "dtype": "float32",
        "shape": [10, 4],
        "nbytes": 160,
        "shard": None,
        "offset": None,
        "crc32c": None,
        "slices": ["0,4:0,4", "7,3:0,4", "4,3:0,4"],
    }
    assert output.err == ""


@pytest.mark.parametrize("folder", [V215, V221], ids=lambda each: each.name)
def test_every_golden_checkpoint_is_listed_as_tensorflow_lists_it(run, folder):
    expected = json.loads((folder / "expected.json").read_text())
    prefixes = [prefix for prefix in expected if (folder / f"{prefix}.index").exists()]
    assert len(prefixes) > 30
    for prefix in prefixes:
        records = run("ls", folder / prefix, "--json").records
        found = {record["key"]: (record["dtype"], record["shape"]) for record in records}
        assert found == {key: (each["dtype"], each["shape"]) for key, each in expected[prefix].items()}
        assert [record["key"] for record in records] == sorted(found, key=str.encode)


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("guide-tf1/tf1-ckpt", "a"),
        ("guide-tf1/tf1-ckpt.index", "a"),
        ("guide-tf1/tf1-ckpt.meta", "a"),
        ("guide-tf1/tf1-ckpt.data-00000-of-00001", "a"),
        ("guide-tf1", "a"),
        ("guide-tf1/", "a"),
        ("guide-tf1/checkpoint", "a"),
        ("saved-model", "_CHECKPOINTABLE_OBJECT_GRAPH"),
        ("saved-model/variables/variables", "_CHECKPOINTABLE_OBJECT_GRAPH"),
    ],
)
def test_what_a_checkpoint_may_be_given_as(run, in_golden, path, first):
    assert keys(run("ls", path, "--json"))[0] == first


COUNTER = "save_counter/.ATTRIBUTES/VARIABLE_VALUE"
ZERO, ONE, TWO = (f"variables/{number}/.ATTRIBUTES/VARIABLE_VALUE" for number in range(3))


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["variables/*"], [ZERO, ONE, TWO]),  # '*' crosses '/'
        (["*VALUE"], [COUNTER, ZERO, ONE, TWO]),
        (["variables/1"], [ONE]),  # an object path
        (["*/[02]"], [ZERO, TWO]),
        (["variables/?"], [ZERO, ONE, TWO]),
        (["variables/2", "save*", "variables/2"], [COUNTER, TWO]),  # in key order, each once
        (["re:^save|/2/"], [COUNTER, TWO]),
        (["re:counter$"], [COUNTER]),  # the path alone ends there
        ([TWO], [TWO]),
    ],
)
def test_patterns(run, in_golden, patterns, expected):
    assert keys(run("ls", "guide-tf2", *patterns, "--json")) == expected


@pytest.fixture
def sizes(tmp_path):
    """Tensors whose order by size is neither that of their keys nor that of their shapes; `c` and `d` have one size."""
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", np.zeros(3, np.int8))
        writer.add("b", np.zeros((2, 2), np.float64))
        writer.add("c", np.zeros(2, np.float32))
        writer.add("d", np.zeros((8, 1), np.int8))
    return tmp_path / "m"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["a", "b", "c", "d"]),
        (["--sort", "key"], ["a", "b", "c", "d"]),
        (["--sort", "size"], ["b", "c", "d", "a"]),
        (["[acd]", "--sort", "size"], ["c", "d", "a"]),
    ],
)
def test_sort(run, sizes, options, expected):
    assert keys(run("ls", sizes, *options, "--json")) == expected
    lines = run("ls", sizes, *options, "--long").out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["key", *expected]


def test_sort_in_python(sizes):
    assert [each.key for each in tools.ls(sizes, sort="size")] == ["b", "c", "d", "a"]
    assert tools.ls(sizes, sort="key") == tools.ls(sizes)
    with pytest.raises(tb.BundleError, match=r"^sort = 'shape', expected 'key' or 'size'$"):
        tools.ls(sizes, sort="shape")


def test_json_is_printed_while_the_index_is_read(in_golden, monkeypatch):
    """The first record comes out before the last tensor is read."""
    events = []

    def entries(checkpoint):
        for key, entry in original(checkpoint):
            events.append(f"read {key}")
            yield key, entry

    original = tb.Checkpoint.entries
    monkeypatch.setattr(tb.Checkpoint, "entries", entries)
    monkeypatch.setattr(Console, "record", lambda console, fields: events.append(f"printed {fields['key']}"))
    assert main(["ls", "partitioned-sharded", "--json"]) == 0
    assert events == [f"{what} {key}" for key in ("emb", "plain", "w2") for what in ("read", "printed")]


def test_totals_count_only_what_is_listed(run, in_golden):
    assert run("ls", "partitioned-sharded", "w*").out == (
        "w2  float32  [4,9]  144 B\n1 tensor, 36 elements, 144 B in 2 data shards\n"
    )


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (
            ["scoped"],
            (
                "guide-tf1/tf1-ckpt: no tensor matches the pattern 'scoped'; near: 'scoped/c'; "
                "'*scoped*' matches names that contain it"
            ),
        ),
        (["a", "*zzz*"], "guide-tf1/tf1-ckpt: no tensor matches the pattern '*zzz*'"),
        (["A"], "guide-tf1/tf1-ckpt: no tensor matches the pattern 'A'; near: 'a'"),
        (
            ["re:("],
            "pattern 're:(' is not a regular expression: missing ), unterminated subpattern at position 0",
        ),
    ],
)
def test_patterns_that_fit_nothing_are_errors(run, in_golden, patterns, message):
    assert run.error("ls", "guide-tf1", *patterns) == message


def test_a_graph_alone(run, in_golden):
    assert keys(run("ls", "graph-only/nothing", "--json")) == ["_CHECKPOINTABLE_OBJECT_GRAPH"]


def test_a_checkpoint_without_tensors(run, tmp_path):
    with tb.create(tmp_path / "m"):
        pass
    for options in ([], ["--long"]):
        assert run("ls", tmp_path / "m", *options).out == "0 tensors, 0 elements, 0 B in 1 data shard\n"
    assert run("ls", tmp_path / "m", "--json").out == ""


def test_data_shards_are_not_needed(run, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", np.float32(1))
    (tmp_path / "m.data-00000-of-00001").unlink()
    assert keys(run("ls", tmp_path / "m", "--json")) == ["a"]


def test_rows_before_damage(run, tmp_path, monkeypatch):
    """They are printed as they are read; then the error follows, and no total."""
    prefix = tmp_path / "m"
    monkeypatch.setattr("tensorbundle.table.BLOCK_BYTES", 100)
    monkeypatch.setattr("tensorbundle.tools.cli.console._ROWS_AT_ONCE", 1)
    with tb.create(prefix) as writer:
        for number in range(10):
            writer.add(f"w{number}", np.float32(number))
    index = tmp_path / "m.index"
    data = bytearray(index.read_bytes())
    data[len(data) // 2] ^= 1
    index.write_bytes(data)
    text, as_json = run("ls", prefix, status=2), run("ls", prefix, "--json", status=2)
    assert text.err == as_json.err
    assert text.err.startswith(f"tensorbundle ls: {index}: offset 0x")
    *rows, error = as_json.records
    printed = [line.split()[0] for line in text.out.splitlines()]
    assert printed == [each["key"] for each in rows] == [f"w{number}" for number in range(len(rows))]
    assert 0 < len(rows) < 10
    assert (error["error"], error["path"]) == ("damaged", str(index))
