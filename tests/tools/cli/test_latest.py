"""`tensorbundle latest`."""

import pytest

from support.cli import V215
from support.directories import EPOCH, managed, write_checkpoints, write_state

FIELDS = [
    *(
        "path",
        "prefix",
        "exists",
        "latest",
        "timestamp",
        "modified",
        "managed",
        "file_format",
        "files",
        "nbytes",
    ),
    "problem",
]


@pytest.mark.parametrize(
    ("golden", "name"),
    [
        ("manager", "ckpt-6"),
        ("guide-tf1", "tf1-ckpt"),
        ("v1-format", "model.ckpt-7"),
        ("v1-sharded", "model.ckpt-?????-of-00002"),
    ],
)
def test_prefix(run, golden, name):
    output = run("latest", V215 / golden)
    assert (output.out, output.err) == (f"{V215 / golden}/{name}\n", "")


def test_json(run, tmp_path):
    managed(tmp_path, 2)
    output = run("latest", tmp_path, "--json")
    [found] = output.records
    assert list(found) == [*FIELDS, "source", "tensorflow"]
    assert found["prefix"] == f"{tmp_path}/ckpt-2"
    assert (found["timestamp"], found["modified"]) == (EPOCH + 3600, EPOCH + 3600)
    assert (found["source"], found["tensorflow"], output.err) == ("state", True, "")


def test_relative_directories(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    managed(tmp_path / "run", 1)
    assert run("latest", "run").out == "run/ckpt-1\n"
    assert run("latest", "run/").out == "run/ckpt-1\n"
    monkeypatch.chdir(tmp_path / "run")
    assert run("latest", ".").out == "./ckpt-1\n"


def test_a_moved_directory(run, tmp_path):
    write_checkpoints(tmp_path, ["m-1"])
    write_state(tmp_path, ["/gone/m-1"])
    output = run("latest", tmp_path)
    assert output.out == f"{tmp_path}/m-1\n"
    assert output.err == (
        f"{tmp_path}: the state file names '/gone/m-1', where TensorFlow finds nothing; "
        "'tensorbundle manage DIR repair' fixes this\n"
    )


def test_an_absent_checkpoint(run, tmp_path):
    write_checkpoints(tmp_path, ["m-1", "m-2"])
    write_state(tmp_path, ["m-1", "m-9"])
    assert run.error("latest", tmp_path) == (
        f"{tmp_path}: its state file names 'm-9' as the latest checkpoint, which is not there; the last one that it "
        "names and that is there is 'm-1'; found 'm-1', 'm-2'; --newest takes the one whose index was written last"
    )
    assert run.error("latest", tmp_path, "--json")
    output = run("latest", tmp_path, "--newest")
    assert output.out == f"{tmp_path}/m-2\n"
    assert output.err.endswith(
        "; using the checkpoint whose index was written last, which may not be the latest\n"
    )
    [found] = run("latest", tmp_path, "--newest", "--json").records
    assert (found["path"], found["source"], found["tensorflow"]) == (None, "newest", False)


def test_no_state_file(run, tmp_path):
    assert run.error("latest", tmp_path) == (
        f"{tmp_path}: a directory without a 'checkpoint' state file; no checkpoint is there"
    )
    assert run.error("latest", tmp_path, "--newest")
    assert run.error("latest", tmp_path / "nope") == f"{tmp_path}/nope: no such directory"
    (tmp_path / "checkpoint").write_text("{")
    assert run.error("latest", tmp_path).startswith(f"{tmp_path}/checkpoint: not a state file: 1:1")


def test_all(run, tmp_path):
    managed(tmp_path, 2)
    write_checkpoints(tmp_path, ["other"])
    output = run("latest", tmp_path, "--all")
    assert output.err == ""
    assert output.out == (
        "ckpt-1  2023-11-14 22:13:20 UTC  128 B\n"
        "ckpt-2  2023-11-14 23:13:20 UTC  128 B  latest\n"
        "other   2023-11-14 22:13:20 UTC  128 B  not in the state file\n"
    )
    records = run("latest", tmp_path, "--all", "--json").records
    assert [list(each) for each in records] == [FIELDS] * 3
    assert [each["path"] for each in records] == ["ckpt-1", "ckpt-2", None]


def test_all_without_a_latest(run, tmp_path):
    """The list is there all the same."""
    managed(tmp_path, 2)
    (tmp_path / "ckpt-2.index").unlink()
    output = run("latest", tmp_path, "--all", status=2)
    assert output.out.splitlines()[1] == (
        "ckpt-2  2023-11-14 23:13:20 UTC    8 B  latest, its index is missing, although 1 of its data shards is"
    )
    reason = "which is not there (its index is missing, although 1 of its data shards is); the last one"
    assert f"names 'ckpt-2' as the latest checkpoint, {reason}" in output.err
    assert output.err.count("\n") == 1
