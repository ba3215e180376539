"""Temporary files that killed saves left."""

import os

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import snapshot
from tensorbundle.tools.operations.directories import cleaning
from tensorbundle.tools.operations.directories.cleaning import clean
from tensorbundle.tools.operations.directories.managing import manage

LEFT = [
    "m.data-00000-of-00001.tempstate15420822633134701627",
    "m.index.tempstate7",
    f"checkpoint.tmp{'0123456789abcdef' * 2}",
]
KEPT = ["m.tempstate", "tempstate7.txt", "checkpoint.tmp", "notes.tmp1234", ".tempstate"]


@pytest.fixture
def directory(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("w", np.zeros(3))
    for name in [*LEFT, *KEPT]:
        (tmp_path / name).write_bytes(b"12345")
    return tmp_path


def test_only_temporary_files_are_deleted(directory):
    before = snapshot(directory)
    planned = manage(str(directory), clean, dry_run=True)
    assert snapshot(directory) == before
    assert [os.path.basename(each.prefix) for each in planned.steps] == sorted(LEFT)
    done = manage(str(directory), clean)
    assert done.bytes_freed == 15
    assert snapshot(directory) == {name: data for name, data in before.items() if name not in LEFT}
    assert manage(str(directory), clean).steps == ()


def test_folders_of_sharded_saves(directory):
    folder = directory / "m_temp"
    folder.mkdir()
    (folder / "part-00000-of-00002.index").write_bytes(b"a part that can be read")
    (folder / "part-00001-of-00002.data-00000-of-00001.tempstate1").write_bytes(b"")
    manage(str(directory), clean)
    assert [path.name for path in folder.iterdir()] == ["part-00000-of-00002.index"]


def test_links_and_what_is_open_stay(directory):
    other = directory / "elsewhere"
    other.mkdir()
    (other / "file").write_bytes(b"")
    (directory / "n.index.tempstate1").symlink_to(other / "file")
    (directory / "m2.index.tempstate1").write_bytes(b"of another checkpoint")
    with open(directory / LEFT[1], "rb"):
        change = manage(str(directory), clean)
    assert change.notes == (
        f"{LEFT[0]} stays: a process is writing its checkpoint",
        f"{LEFT[1]} stays: a process has it open",
    )
    assert [(directory / name).exists() for name in LEFT] == [True, True, False]
    assert not (directory / "m2.index.tempstate1").exists()
    assert (directory / "n.index.tempstate1").is_symlink()


def test_a_save_between_two_files_is_not_touched(directory, monkeypatch):
    """Not even where other processes' files can't be seen."""
    monkeypatch.setattr(cleaning, "_open_files", set)
    before = snapshot(directory)
    with tb.create(directory / "new") as writer:
        writer.add("w", np.zeros(3))
        writer.start_shard()
        saving = snapshot(directory).keys() - before.keys()
        assert manage(str(directory), clean).notes
        assert saving <= snapshot(directory).keys()
    with tb.open(directory / "new") as ckpt:
        assert list(ckpt) == ["w"]


def test_a_copy_of_bench_is_deleted(directory):
    copies = [f"m.tempstate12.{each}" for each in ("index", "data-00000-of-00001", "index.tempstate34")]
    for name in [*copies, "m.tempstate12.txt"]:
        (directory / name).write_bytes(b"1")
    deleted = [os.path.basename(path) for path in manage(str(directory), clean).files]
    assert deleted == sorted([*copies, *LEFT])


def test_the_state_file_stays_as_it_is(directory):
    (directory / "checkpoint").write_text('model_checkpoint_path: "m"\n')
    change = manage(str(directory), clean)
    assert change.after == change.before
    assert (directory / "checkpoint").read_text() == 'model_checkpoint_path: "m"\n'


def test_on_the_command_line(run, directory):
    *steps, summary = run("manage", directory, "clean", "--dry-run", "--json").records
    assert [each["action"] for each in steps] == ["delete"] * 3
    assert summary["bytes_freed"] == 15
    lines = run("manage", directory, "clean").out.splitlines()
    assert len(lines) == 4
    assert "left by a process that was killed" in lines[0]
    assert lines[-1].endswith("15 B freed")


def test_data_shards_that_no_index_counts(directory):
    """Those of a save that was killed while it overwrote m; not those without an index, or with a damaged one."""
    for name in ("other", "damaged"):
        with tb.create(directory / name) as writer:
            writer.add("w", np.zeros(3))
    (directory / "other.index").unlink()
    (directory / "damaged.index").write_bytes(b"no index")
    (directory / "damaged.data-00000-of-00002").write_bytes(b"old")
    (directory / "link").write_bytes(b"elsewhere")
    (directory / "m.data-00001-of-00003").symlink_to(directory / "link")
    orphans = ["m.data-00000-of-00003", "m.data-00002-of-00003"]
    for name in orphans:
        (directory / name).write_bytes(b"new")
    before = snapshot(directory)
    steps = manage(str(directory), clean).steps
    assert [(os.path.basename(each.prefix), each.reason) for each in steps if "tempstate" not in each.prefix][
        1:
    ] == [(name, "a data shard that no index counts") for name in orphans]
    assert snapshot(directory) == {
        name: data for name, data in before.items() if name not in [*LEFT, *orphans]
    }
