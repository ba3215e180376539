"""Plans for a directory of checkpoints, and how they are carried out."""

import errno
import fcntl
import os
import pathlib
import shutil
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from support.bundles import snapshot
from support.directories import EPOCH, managed, read_state, touch, write_checkpoints, write_state, write_v1
from tensorbundle.state import CheckpointState
from tensorbundle.tools.operations.directories import adding, removing, repairing
from tensorbundle.tools.operations.directories.changes import Step
from tensorbundle.tools.operations.directories.inspection import inspect
from tensorbundle.tools.operations.directories.inventory import survey
from tensorbundle.tools.operations.directories.managing import manage


def add(directory, *names, dry_run=False, **options):
    return manage(str(directory), lambda found: adding.add(found, names, **options), dry_run=dry_run)


def remove(directory, *names, dry_run=False):
    return manage(str(directory), lambda found: removing.remove(found, names), dry_run=dry_run)


def prune(directory, *arguments, dry_run=False):
    return manage(str(directory), lambda found: removing.prune(found, *arguments), dry_run=dry_run)


def repair(directory, *, dry_run=False):
    return manage(str(directory), repairing.repair, dry_run=dry_run)


def there(directory):
    """The names of the checkpoints in a directory."""
    return sorted(path.name.removesuffix(".index") for path in directory.glob("*.index"))


def actions(change):
    return [(step.action, step.path) for step in change.steps]


def reasons(change):
    return {step.path: step.reason for step in change.steps}


class TestPrune:
    """What CheckpointManager does is compared side by side in tests/interop; here is what it does not do."""

    def test_the_oldest_go(self, tmp_path):
        managed(tmp_path, 5)
        change = prune(tmp_path, 2)
        assert actions(change) == [("delete", "ckpt-1"), ("delete", "ckpt-2"), ("delete", "ckpt-3")]
        assert there(tmp_path) == ["ckpt-4", "ckpt-5"]
        assert read_state(tmp_path) == change.after
        assert change.after.all_paths == ("ckpt-4", "ckpt-5")
        assert change.after.last_preserved == EPOCH - 1
        assert change.bytes_freed == sum(step.nbytes for step in change.steps) > 0

    def test_some_are_kept_for_good(self, tmp_path):
        managed(tmp_path, 7)
        change = prune(tmp_path, 1, 2)
        assert [step.path for step in change.steps if step.reason == "kept permanently"] == [
            "ckpt-3",
            "ckpt-5",
        ]
        assert there(tmp_path) == ["ckpt-3", "ckpt-5", "ckpt-7"]
        assert change.after.last_preserved == EPOCH + 4 * 3600
        again = prune(tmp_path, 1, 2)
        assert (again.steps, again.after) == ((), change.after)

    def test_a_state_file_without_timestamps(self, tmp_path):
        write_checkpoints(tmp_path, ["a", "b"])
        write_state(tmp_path, ["a", "b"])
        before = snapshot(tmp_path)
        change = prune(tmp_path, 1)
        assert (change.steps, change.files) == ((), [])
        assert change.notes[0].startswith("nothing is managed: the state file has no timestamps")
        assert snapshot(tmp_path) == before
        write_state(tmp_path, ["a", "b"], [1.0, 2.0], 3.0)
        assert prune(tmp_path, 1).notes == (
            "nothing is managed: all were saved before the last one that is kept permanently",
        )

    def test_no_state_file(self, tmp_path):
        write_checkpoints(tmp_path, ["a", "b"])
        with pytest.raises(
            tb.MissingFileError, match="without a 'checkpoint' state file; 'tensorbundle manage"
        ):
            prune(tmp_path, 1)
        (tmp_path / "checkpoint").write_text("{")
        with pytest.raises(tb.CorruptionError, match="'tensorbundle manage DIR repair' makes a new one"):
            prune(tmp_path, 1)
        assert there(tmp_path) == ["a", "b"]

    @pytest.mark.parametrize("arguments", [(0,), (-1,), (1, 0.0), (1, -1.0), (1, float("nan"))])
    def test_numbers_that_make_no_sense(self, tmp_path, arguments):
        managed(tmp_path, 2)
        with pytest.raises(tb.BundleError, match=r"at least 1 must stay|give a positive number"):
            prune(tmp_path, *arguments)

    def test_what_the_state_file_does_not_name_stays(self, tmp_path):
        managed(tmp_path, 3)
        write_checkpoints(tmp_path, ["ckpt-0", "ckpt-11", "ckpt-1-best"])
        (tmp_path / "ckpt-1.txt").touch()
        (tmp_path / "ckpt-1.data-00000-of-00002").touch()
        (tmp_path / "ckpt-1.index.tempstate7").touch()
        prune(tmp_path, 1)
        assert there(tmp_path) == ["ckpt-0", "ckpt-1-best", "ckpt-11", "ckpt-3"]
        for name in ("ckpt-1.txt", "ckpt-1.data-00000-of-00002", "ckpt-1.index.tempstate7"):
            assert (tmp_path / name).exists()

    def test_graphs_go_with_their_checkpoint(self, tmp_path):
        managed(tmp_path, 3)
        for name in ("ckpt-1", "ckpt-3", "ckpt"):
            (tmp_path / f"{name}.meta").touch()
        prune(tmp_path, 1)
        assert sorted(path.name for path in tmp_path.glob("*.meta")) == ["ckpt-3.meta", "ckpt.meta"]

    def test_what_is_no_checkpoint_stays(self, tmp_path):
        write_checkpoints(tmp_path, ["ckpt-1", "ckpt-2"])
        (tmp_path / "train.py").write_text("print()")
        (tmp_path / "search.index").write_text("of another program")
        (tmp_path / "torn.index").touch()
        (tmp_path / "torn.data-00000-of-00001").touch()
        (tmp_path / "folder").mkdir()
        names = ["train.py", "search", "torn", "folder", "checkpoint", "gone", "ckpt-1", "ckpt-2"]
        write_state(tmp_path, names, [EPOCH + number for number in range(8)], EPOCH - 1)
        change = prune(tmp_path, 1)
        assert [step.path for step in change.steps if step.action == "delete"] == ["ckpt-1"]
        assert reasons(change)["gone"] == "not there"
        assert reasons(change)["train.py"] == "not a checkpoint: a file of another kind"
        assert "torn.index: 0 bytes" in reasons(change)["torn"]
        kept = {"train.py", "search.index", "torn.index", "torn.data-00000-of-00001", "folder", "checkpoint"}
        assert kept < {path.name for path in tmp_path.iterdir()}
        assert read_state(tmp_path).all_paths == ("ckpt-2",)

    def test_what_lies_elsewhere_stays(self, tmp_path):
        """By an absolute path, a relative one, or through a link to a directory."""
        run, other = tmp_path / "run", tmp_path / "other"
        write_checkpoints(run, ["ckpt-5"])
        write_checkpoints(other, ["ckpt-1", "ckpt-2", "ckpt-3"])
        write_checkpoints(run / "below", ["ckpt-4"])
        (run / "link").symlink_to(other)
        names = [f"{other}/ckpt-1", "../other/ckpt-2", "link/ckpt-3", "below/ckpt-4", "ckpt-5"]
        write_state(run, names, [EPOCH + number for number in range(5)], EPOCH - 1)
        change = prune(run, 1)
        assert list(reasons(change).values()) == ["outside of the directory"] * 3 + [None]
        assert there(other) == ["ckpt-1", "ckpt-2", "ckpt-3"]
        assert there(run / "below") == []

    def test_what_a_link_points_at_stays(self, tmp_path):
        managed(tmp_path, 5)
        for ending in (".index", ".data-00000-of-00001"):
            (tmp_path / f"best{ending}").symlink_to(f"ckpt-1{ending}")
            (tmp_path / f"same{ending}").hardlink_to(tmp_path / f"ckpt-2{ending}")
        (tmp_path / "graph").symlink_to(tmp_path / "ckpt-3.data-00000-of-00001")
        change = prune(tmp_path, 1)
        assert actions(change) == [
            ("forget", "ckpt-1"),
            ("delete", "ckpt-2"),
            ("forget", "ckpt-3"),
            ("delete", "ckpt-4"),
        ]
        assert "is a symbolic link to it" in reasons(change)["ckpt-1"]
        assert there(tmp_path) == ["best", "ckpt-1", "ckpt-3", "ckpt-5", "same"]
        with tb.open(tmp_path / "best") as best, tb.open(tmp_path / "same") as same:
            assert (best["step"], same["step"]) == (0, 1)
        [freed] = {step.nbytes for step in change.steps if step.path == "ckpt-4"}
        assert change.bytes_freed == freed  # those of ckpt-2 have another name

    def test_links_go_and_not_what_they_point_at(self, tmp_path):
        write_checkpoints(tmp_path / "store", ["big"])
        run = tmp_path / "run"
        write_checkpoints(run, ["ckpt-2"])
        for ending in (".index", ".data-00000-of-00001"):
            (run / f"ckpt-1{ending}").symlink_to(tmp_path / "store" / f"big{ending}")
        write_state(run, ["ckpt-1", "ckpt-2"], [EPOCH, EPOCH + 1])
        prune(run, 1)
        assert there(run) == ["ckpt-2"]
        assert there(tmp_path / "store") == ["big"]

    def test_one_checkpoint_under_two_names(self, tmp_path):
        write_checkpoints(tmp_path, ["a", "b"])
        write_state(tmp_path, ["./a", "b", "a"], [1.0, 2.0, 3.0])
        change = prune(tmp_path, 2)
        assert reasons(change) == {"./a": "'a' has the same files"}
        assert there(tmp_path) == ["a", "b"]
        prune(tmp_path, 1)
        assert there(tmp_path) == ["a"]

    @pytest.mark.parametrize("times", [[3.0, 4.0, 5.0], [0.5, 4.0, 5.0]])
    def test_the_latest_never_goes(self, tmp_path, times):
        """Though a state file may name one first, or one that nobody manages."""
        write_checkpoints(tmp_path, ["a", "b", "c"])
        write_state(tmp_path, ["a", "b", "c"], times, 1.0, latest="a")
        change = prune(tmp_path, 1)
        assert change.after.latest_path == change.after.all_paths[-1] == "a"
        assert len(change.after.timestamps) == len(change.after.all_paths)
        assert "a" in there(tmp_path)

    def test_of_a_moved_directory(self, tmp_path):
        write_checkpoints(tmp_path, ["a", "b", "c"])
        write_state(tmp_path, ["/gone/a", "/gone/b", "/gone/c"], [1.0, 2.0, 3.0])
        assert prune(tmp_path, 2).after.all_paths == ("b", "c")
        assert there(tmp_path) == ["b", "c"]

    def test_v1(self, tmp_path):
        write_v1(tmp_path / "m-1")
        for shard in range(2):
            write_v1(tmp_path / f"m-2-{shard:05d}-of-00002")
        write_v1(tmp_path / "m-3")
        (tmp_path / "m-2.meta").touch()
        write_state(tmp_path, ["m-1", "m-2-?????-of-00002", "m-3"], [1.0, 2.0, 3.0])
        prune(tmp_path, 1)
        assert sorted(snapshot(tmp_path)) == ["checkpoint", "m-3"]


class TestBroken:
    """Checkpoints that are known to be broken are neither counted as kept nor made the latest."""

    @pytest.fixture(params=["cut", "missing", "torn"])
    def broken(self, request, tmp_path):
        """Three managed checkpoints, the last two of them broken."""
        managed(tmp_path, 3)
        for name in ("ckpt-2", "ckpt-3"):
            shard, index = tmp_path / f"{name}.data-00000-of-00001", tmp_path / f"{name}.index"
            if request.param == "cut":
                shard.write_bytes(shard.read_bytes()[:-1])
            elif request.param == "missing":
                shard.unlink()
            else:
                index.write_bytes(index.read_bytes()[:-1])
        return tmp_path

    def test_prune_keeps_the_last_whole_one(self, broken):
        change = prune(broken, 1)
        assert (broken / "ckpt-1.data-00000-of-00001").exists()
        assert read_state(broken).all_paths == ("ckpt-1", "ckpt-2", "ckpt-3")
        [note] = change.notes
        assert note.startswith("broken, so not counted as kept: 'ckpt-2' (")

    def test_prune_of_what_is_older(self, broken):
        write_checkpoints(broken, ["ckpt-4"])
        write_state(
            broken, [f"ckpt-{number}" for number in (1, 2, 3, 4)], [EPOCH + n for n in range(4)], EPOCH - 1
        )
        prune(broken, 1)
        assert read_state(broken).all_paths == ("ckpt-4",)

    def test_repair_makes_the_last_whole_one_the_latest(self, broken):
        change = repair(broken)
        assert read_state(broken).all_paths == (read_state(broken).latest_path,) == ("ckpt-1",)
        assert {step.path for step in change.steps if step.action == "forget"} == {"ckpt-2", "ckpt-3"}

    def test_remove_makes_a_whole_one_the_latest(self, broken):
        remove(broken, "ckpt-3")
        assert read_state(broken).latest_path == "ckpt-1"

    def test_repair_where_nothing_is_whole(self, broken):
        (broken / "ckpt-1.data-00000-of-00001").write_bytes(b"")
        with pytest.raises(tb.MissingFileError, match="there is no complete checkpoint"):
            repair(broken)


class TestRemove:
    def test_the_latest(self, tmp_path):
        managed(tmp_path, 3)
        change = remove(tmp_path, "ckpt-3")
        assert actions(change) == [("delete", "ckpt-3")]
        assert change.after.latest_path == "ckpt-2"
        assert change.after.timestamps == (EPOCH, EPOCH + 3600)
        assert change.after.last_preserved == EPOCH - 1
        assert read_state(tmp_path) == change.after
        assert there(tmp_path) == ["ckpt-1", "ckpt-2"]

    def test_one_that_is_not_the_latest(self, tmp_path):
        managed(tmp_path, 3)
        assert remove(tmp_path, "ckpt-1").after.all_paths == ("ckpt-2", "ckpt-3")

    def test_the_latest_is_one_that_is_there(self, tmp_path):
        write_checkpoints(tmp_path, ["a", "c"])
        write_state(tmp_path, ["a", "gone", "c"], [1.0, 2.0, 3.0])
        after = remove(tmp_path, "c").after
        assert (after.latest_path, after.all_paths, after.timestamps) == ("a", ("gone", "a"), (2.0, 1.0))
        assert remove(tmp_path, "a").after.latest_path == "gone"

    def test_all_of_them(self, tmp_path):
        managed(tmp_path, 2)
        write_checkpoints(tmp_path, ["other"])
        change = remove(tmp_path, "ckpt-1", "ckpt-2")
        assert (change.after, change.notes) == (
            None,
            ("the state file is removed too: it would name no checkpoint",),
        )
        assert there(tmp_path) == ["other"]
        assert not (tmp_path / "checkpoint").exists()
        assert remove(tmp_path, "other").before is None

    @pytest.mark.parametrize("name", ["a", "./a", "{}/a", "run/a", "../run/a"])
    def test_names(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        write_checkpoints(tmp_path, ["a"])  # not this one, whatever the name
        write_checkpoints(tmp_path / "run", ["a", "b"])
        write_state(tmp_path / "run", ["/gone/a", "b"])
        assert actions(remove("run", name.replace("{}", str(tmp_path / "run")))) == [("delete", "/gone/a")]
        assert there(tmp_path) == ["a"]
        assert there(tmp_path / "run") == ["b"]

    def test_as_the_state_file_names_it(self, tmp_path):
        write_checkpoints(tmp_path, ["a", "b"])
        write_state(tmp_path, ["/gone/a", "./b", "b"])
        assert actions(remove(tmp_path, "/gone/a")) == [("delete", "/gone/a")]
        assert set(actions(remove(tmp_path, "b"))) == {("delete", "./b"), ("delete", "b")}
        assert sorted(snapshot(tmp_path)) == []

    def test_one_that_is_not_there_is_forgotten(self, tmp_path):
        write_checkpoints(tmp_path, ["a"])
        write_state(tmp_path, ["gone", "a"])
        assert remove(tmp_path, "gone").steps == (
            Step("forget", "gone", f"{tmp_path}/gone", reason="not there"),
        )
        assert read_state(tmp_path).all_paths == ("a",)

    def test_one_that_the_state_file_does_not_name(self, tmp_path):
        state = managed(tmp_path, 1)
        write_checkpoints(tmp_path, ["other"])
        change = remove(tmp_path, "other")
        assert actions(change) == [("delete", None)]
        assert change.after == state
        assert there(tmp_path) == ["ckpt-1"]

    @pytest.mark.parametrize("files", [["m.index", "m.data-00000-of-00001"], ["m.data-00001-of-00002"]])
    def test_damaged_ones(self, tmp_path, files):
        """Those whose index is lost or can't be read: their data shards are those of their name."""
        for name in files:
            (tmp_path / name).touch()
        write_state(tmp_path, ["m"])
        assert remove(tmp_path, "m").files == [f"{tmp_path}/{name}" for name in files]
        assert snapshot(tmp_path) == {}

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("ckpt-9", r"ckpt-9: no checkpoint of this name; found 'ckpt-2', 'ckpt-1'"),
            ("ckpt-1.index", r"ckpt-1\.index: this names a file of a checkpoint; give the prefix"),
            ("ckpt-1.data-00000-of-00001", "this names a file of a checkpoint"),
            ("checkpoint", "no checkpoint of this name"),
            ("note.txt", "no checkpoint of this name"),
            ("search", "no checkpoint of this name"),
            (".", "no checkpoint of this name"),
            ("", "no checkpoint of this name"),
        ],
    )
    def test_no_such_checkpoint(self, tmp_path, name, reason):
        managed(tmp_path, 2)
        (tmp_path / "note.txt").touch()
        (tmp_path / "search.index").write_text("of another program")
        before = snapshot(tmp_path)
        with pytest.raises(tb.MissingFileError, match=reason):
            remove(tmp_path, "ckpt-1", name)
        assert snapshot(tmp_path) == before

    def test_what_is_needed(self, tmp_path):
        managed(tmp_path, 2)
        for ending in (".index", ".data-00000-of-00001"):
            (tmp_path / f"best{ending}").symlink_to(f"ckpt-1{ending}")
        before = snapshot(tmp_path)
        with pytest.raises(
            tb.ConflictError, match=r"not deleted: 'best.*' is a symbolic link to it"
        ) as caught:
            remove(tmp_path, "ckpt-1")
        assert caught.value.path == f"{tmp_path}/ckpt-1"
        assert snapshot(tmp_path) == before
        remove(tmp_path, "best", "ckpt-1")  # both of them may go
        assert there(tmp_path) == ["ckpt-2"]

    def test_a_link_of_a_link(self, tmp_path):
        write_checkpoints(tmp_path / "store", ["big"])
        managed(tmp_path / "run", 1)
        for ending in (".index", ".data-00000-of-00001"):
            (tmp_path / "run" / f"middle{ending}").symlink_to(f"../store/big{ending}")
            (tmp_path / "run" / f"first{ending}").symlink_to(f"middle{ending}")
        with pytest.raises(tb.ConflictError, match=r"'first.*' is a symbolic link to it"):
            remove(tmp_path / "run", "middle")
        remove(tmp_path / "run", "first")
        remove(tmp_path / "run", "middle")
        assert there(tmp_path / "store") == ["big"]

    def test_elsewhere(self, tmp_path):
        write_checkpoints(tmp_path / "other", ["a", "b"])
        managed(tmp_path / "run", 1)
        with pytest.raises(tb.ConflictError, match="not deleted: outside of the directory"):
            remove(tmp_path / "run", f"{tmp_path}/other/a")
        write_state(tmp_path / "run", ["../other/a", "ckpt-1"])
        change = remove(tmp_path / "run", "../other/a")
        assert reasons(change) == {"../other/a": "outside of the directory"}
        assert read_state(tmp_path / "run").all_paths == ("ckpt-1",)
        assert there(tmp_path / "other") == ["a", "b"]

    def test_v1_in_several_files(self, tmp_path):
        for count in (2, 3):
            for shard in range(count):
                write_v1(tmp_path / f"m-{shard:05d}-of-{count:05d}")
        write_state(tmp_path, ["m-?????-of-00003", "m-?????-of-00002"])
        remove(tmp_path, "m-?????-of-00002")
        assert len(snapshot(tmp_path)) == 1 + 3
        assert read_state(tmp_path).latest_path == "m-?????-of-00003"

    def test_a_state_file_that_can_not_be_read(self, tmp_path):
        write_checkpoints(tmp_path, ["a"])
        (tmp_path / "checkpoint").write_text("{")
        with pytest.raises(tb.CorruptionError, match="makes a new one"):
            remove(tmp_path, "a")
        assert there(tmp_path) == ["a"]


class TestAdd:
    def test_as_the_latest(self, tmp_path):
        state = managed(tmp_path, 2)
        write_checkpoints(tmp_path, ["ckpt-0"])
        touch(tmp_path, "ckpt-0", EPOCH - 60)
        change = add(tmp_path, "ckpt-0")
        assert actions(change) == [("add", "ckpt-0")]
        assert change.after == state.saved("ckpt-0", EPOCH + 3600)  # times rise along the list
        touch(tmp_path, "ckpt-0", EPOCH + 5000)
        assert add(tmp_path, "ckpt-0").after == state.saved("ckpt-0", EPOCH + 5000)

    def test_without_a_state_file(self, tmp_path):
        write_checkpoints(tmp_path, ["a", "b"])
        assert add(tmp_path, "b", "a").after == CheckpointState(str(tmp_path), "a", ("b", "a"))
        assert read_state(tmp_path).all_paths == ("b", "a")

    @pytest.mark.parametrize(
        ("listed", "name", "expected"),
        [
            (["m-1", "m-3"], "m-2", ["m-1", "m-2", "m-3"]),
            (["m-9", "m-11"], "m-10", ["m-9", "m-10", "m-11"]),
            (["m-2", "m-3"], "m-1", ["m-1", "m-2", "m-3"]),
            (["m-1", "m-2"], "m-3", ["m-1", "m-2", "m-3"]),
            (["m-3", "m-1"], "m-2", ["m-2", "m-3", "m-1"]),  # whose order was another before
            (["other", "m-1", "x-1"], "m-2", ["other", "m-1", "m-2", "x-1"]),
            (["early", "late"], "between", ["early", "between", "late"]),
            (["early", "between"], "late", ["early", "between", "late"]),
            (["m-1", "m-2", "m-3"], "m-2", ["m-1", "m-2", "m-3"]),
            (["m-1", "m-2", "m-3"], "m-02", ["m-1", "m-2", "m-02", "m-3"]),  # after one of an equal number
        ],
    )
    @pytest.mark.parametrize("timed", [True, False])
    def test_in_order(self, tmp_path, listed, name, expected, timed):
        every = ["early", "between", "late"] if "late" in expected else expected
        write_checkpoints(tmp_path, every)
        times = {each: EPOCH + 60 * number for number, each in enumerate(every)}
        write_state(tmp_path, listed, [times[each] for each in listed] if timed else [])
        after = add(tmp_path, name, in_order=True).after
        assert list(after.all_paths) == expected
        assert after.latest_path == expected[-1]
        assert len(after.timestamps) == (len(expected) if timed else 0)
        if timed and [times[each] for each in listed] == sorted(times[each] for each in listed):
            assert list(after.timestamps) == sorted(after.timestamps)

    def test_times_in_order_stay_between_those_beside(self, tmp_path):
        managed(tmp_path, 3)
        write_state(tmp_path, ["ckpt-1", "ckpt-3"], [EPOCH, EPOCH + 60])
        touch(tmp_path, "ckpt-2", EPOCH + 5000)
        assert add(tmp_path, "ckpt-2", in_order=True).after.timestamps == (EPOCH, EPOCH + 60, EPOCH + 60)
        touch(tmp_path, "ckpt-2", EPOCH - 5000)
        assert add(tmp_path, "ckpt-2", in_order=True).after.timestamps == (EPOCH, EPOCH, EPOCH + 60)

    def test_one_of_the_same_time_comes_after(self, tmp_path):
        """Names without numbers that were saved in one second."""
        write_checkpoints(tmp_path, ["early", "late", "new"])
        for name, time in (("early", EPOCH), ("new", EPOCH), ("late", EPOCH + 60)):
            touch(tmp_path, name, time)
        write_state(tmp_path, ["early", "late"], [EPOCH, EPOCH + 60])
        assert list(add(tmp_path, "new", in_order=True).after.all_paths) == ["early", "new", "late"]

    @pytest.mark.parametrize("name", ["a", "a.index", "./a", "{}/a", "run/a"])
    def test_names(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        write_checkpoints(tmp_path / "run", ["a"])
        assert add("run", name.replace("{}", str(tmp_path / "run"))).after.all_paths == ("a",)

    def test_elsewhere(self, tmp_path):
        write_checkpoints(tmp_path / "other", ["a"])
        managed(tmp_path / "run", 1)
        assert add(tmp_path / "run", f"{tmp_path}/other/a").after.latest_path == "../other/a"

    def test_v1(self, tmp_path):
        for shard in range(2):
            write_v1(tmp_path / f"m-{shard:05d}-of-00002")
        for name in ("m", "m-?????-of-00002", "m-00001-of-00002"):
            assert add(tmp_path, name).after.all_paths == ("m-?????-of-00002",)

    @pytest.mark.parametrize(
        ("name", "kind", "reason"),
        [
            ("nope", tb.MissingFileError, "nope: no checkpoint of this name; found 'm'"),
            (".", tb.MissingFileError, "no checkpoint of this name"),
            ("sub", tb.MissingFileError, "no checkpoint of this name"),
            ("m", tb.BundleError, "m: not a complete checkpoint: 1 of 1 data shards is not there"),
            ("note", tb.BundleError, "not a complete checkpoint: not a checkpoint: a file of another kind"),
        ],
    )
    def test_no_such_checkpoint(self, tmp_path, name, kind, reason):
        write_checkpoints(tmp_path, ["m"])
        (tmp_path / "m.data-00000-of-00001").unlink()
        (tmp_path / "note").touch()
        managed(tmp_path / "sub", 1)
        with pytest.raises(kind, match=reason):
            add(tmp_path, name)
        assert not (tmp_path / "checkpoint").exists()


class TestRepair:
    def test_nothing_to_repair(self, tmp_path):
        state = managed(tmp_path, 3)
        before = (tmp_path / "checkpoint").stat().st_ino
        change = repair(tmp_path)
        assert (change.steps, change.notes, change.after) == ((), (), state)
        assert (tmp_path / "checkpoint").stat().st_ino == before

    def test_a_moved_directory(self, tmp_path):
        write_checkpoints(tmp_path, ["a", "b"])
        write_state(tmp_path, ["/gone/a", "../gone/b"], [1.0, 2.0], 0.5)
        change = repair(tmp_path)
        assert reasons(change) == {"a": "was '/gone/a'", "b": "was '../gone/b'"}
        assert read_state(tmp_path) == CheckpointState(str(tmp_path), "b", ("a", "b"), (1.0, 2.0), 0.5)

    def test_a_copied_directory(self, tmp_path):
        """The copies are what its state file should name, although the others are still there."""
        write_checkpoints(tmp_path / "run", ["a", "b", "c"])
        write_state(tmp_path / "run", [f"{tmp_path}/run/{name}" for name in "abc"])
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        for path in (tmp_path / "copy").glob("b.*"):
            path.unlink()
        assert repair(tmp_path / "copy").after.all_paths == ("a", f"{tmp_path}/run/b", "c")

    def test_absent_ones(self, tmp_path):
        write_checkpoints(tmp_path, ["a", "c"])
        write_state(tmp_path, ["a", "b", "c", "d"], [1.0, 2.0, 3.0, 4.0], 0.5)
        change = repair(tmp_path)
        assert actions(change) == [("forget", "b"), ("forget", "d")]
        assert change.after == CheckpointState(str(tmp_path), "c", ("a", "c"), (1.0, 3.0), 0.5)

    def test_the_latest_goes_to_the_end(self, tmp_path):
        write_checkpoints(tmp_path, ["a", "b"])
        write_state(tmp_path, ["a", "b"], [1.0, 2.0], latest="a")
        assert repair(tmp_path).after.all_paths == ("b", "a")

    def test_one_checkpoint_under_two_names(self, tmp_path):
        write_checkpoints(tmp_path, ["a", "b"])
        write_state(tmp_path, ["./a", "b", "a"], [1.0, 2.0, 3.0])
        change = repair(tmp_path)
        assert reasons(change) == {"./a": "also listed as 'a'"}
        assert change.after.all_paths == ("b", "a")
        assert change.after.timestamps == (2.0, 3.0)

    @pytest.mark.parametrize("state", [None, "", "{", "# nothing\n", 'model_checkpoint_path: "/gone/m-7"'])
    def test_a_lost_state_file(self, tmp_path, state):
        write_checkpoints(tmp_path, ["m-9", "m-10", "m-2"])
        if state is not None:
            (tmp_path / "checkpoint").write_text(state)
        change = repair(tmp_path)
        assert actions(change)[-3:] == [("add", "m-2"), ("add", "m-9"), ("add", "m-10")]
        # By number; times rise all the same.
        assert change.after.timestamps == (EPOCH + 120, EPOCH + 120, EPOCH + 120)
        assert change.after.latest_path == "m-10"
        assert change.notes[-1].startswith("timestamps are the times at which the files were written")
        assert read_state(tmp_path) == change.after
        assert repair(tmp_path).steps == ()

    def test_names_that_differ_in_more_than_a_number(self, tmp_path):
        write_checkpoints(tmp_path, ["z-9", "m-2", "a-1"])
        assert repair(tmp_path).after.all_paths == ("z-9", "m-2", "a-1")

    def test_timestamps_that_do_not_fit(self, tmp_path):
        write_checkpoints(tmp_path, ["a", "b"])
        for timestamps in ([], [1.0], [1.0, 2.0, 3.0]):
            write_state(tmp_path, ["a", "b"], timestamps)
            assert repair(tmp_path).after.timestamps == (EPOCH, EPOCH + 60)

    def test_what_is_not_whole_is_not_added(self, tmp_path):
        write_checkpoints(tmp_path, ["m-1", "m-2", "m-3"])
        (tmp_path / "m-2.data-00000-of-00001").unlink()
        (tmp_path / "m-3.index").write_bytes(b"")
        change = repair(tmp_path)
        assert change.after.all_paths == ("m-1",)
        assert change.notes[0] == "not in the state file: found 'm-2', 'm-3'; 'add' lists a checkpoint"

    def test_what_the_state_file_does_not_name_is_told(self, tmp_path):
        """It may be what a manager keeps for good, and would delete if it were listed."""
        write_checkpoints(tmp_path, ["kept", "a"])
        write_state(tmp_path, ["/gone/a"], [1.0])
        change = repair(tmp_path)
        assert change.after.all_paths == ("a",)
        assert change.notes == ("not in the state file: found 'kept'; 'add' lists a checkpoint",)

    def test_nothing_is_there(self, tmp_path):
        write_state(tmp_path, ["a"])
        with pytest.raises(tb.MissingFileError, match="there is no complete checkpoint"):
            repair(tmp_path)
        assert (tmp_path / "checkpoint").exists()

    @pytest.mark.parametrize(
        ("contents", "reason"),
        [
            (b"version https://git-lfs.github.com/spec/v1\n", "not a state file: a Git-LFS pointer: fetch"),
            (None, "a V1 checkpoint, not a state file; rename it first"),
        ],
    )
    def test_what_is_no_state_file_stays(self, tmp_path, contents, reason):
        write_checkpoints(tmp_path, ["a"])
        write_v1(tmp_path / "checkpoint")
        if contents is not None:
            (tmp_path / "checkpoint").write_bytes(contents)
        before = snapshot(tmp_path)
        with pytest.raises(tb.ConflictError, match=reason):
            repair(tmp_path)
        assert snapshot(tmp_path) == before

    def test_v1(self, tmp_path):
        write_v1(tmp_path / "m-1")
        touch(tmp_path, "m-1", EPOCH)
        for shard in range(2):
            write_v1(tmp_path / f"m-2-{shard:05d}-of-00002")
        touch(tmp_path, "m-2", EPOCH + 1)
        assert repair(tmp_path).after.all_paths == ("m-1", "m-2-?????-of-00002")

    def test_a_checkpoint_without_a_name(self, tmp_path):
        write_checkpoints(tmp_path, ["m"])
        for path in tmp_path.iterdir():
            path.rename(tmp_path / path.name[1:])
        write_state(tmp_path, ["/gone/"])
        assert repair(tmp_path).after.latest_path == "./"
        assert repair(tmp_path).steps == ()


PLANS = {
    "prune": lambda found: removing.prune(found, 1, 2),
    "remove": lambda found: removing.remove(found, ["ckpt-4", "ckpt-2", "ckpt-1"]),
    "remove all": lambda found: removing.remove(found, [each.name for each in found.listed]),
    "add": lambda found: adding.add(found, ["other"]),
    "repair": repairing.repair,
}


@pytest.fixture
def run(tmp_path):
    """Four managed checkpoints and another one; the state file also names one that is gone."""
    state = managed(tmp_path, 4)
    write_checkpoints(tmp_path, ["other"])
    write_state(tmp_path, ["gone", *state.all_paths], [EPOCH - 1, *state.timestamps], EPOCH - 2)
    return tmp_path


class TestCarryingOut:
    @pytest.mark.parametrize("name", PLANS)
    def test_a_dry_run_changes_nothing(self, run, name):
        before = snapshot(run)
        planned = manage(str(run), PLANS[name], dry_run=True)
        assert snapshot(run) == before
        assert manage(str(run), PLANS[name]) == planned
        assert snapshot(run) != before

    @pytest.mark.parametrize("name", PLANS)
    def test_a_crash_anywhere(self, run, tmp_path_factory, monkeypatch, name):
        """The state file is the old one, or the new one; it names nothing that this deleted."""
        old = read_state(run)
        new = manage(str(run), PLANS[name], dry_run=True).after
        before = {path for path in old.listed if inspect(old.resolved(path)).file_format}
        for calls in range(40):
            copy = tmp_path_factory.mktemp("copy") / "run"
            shutil.copytree(run, copy)
            with monkeypatch.context() as patch:
                left = [calls]

                def crashing(call, left=left):
                    def wrapped(*arguments, **options):
                        if not left[0]:
                            raise KeyboardInterrupt
                        left[0] -= 1
                        return call(*arguments, **options)

                    return wrapped

                for function in ("unlink", "replace", "link", "fsync"):
                    patch.setattr(os, function, crashing(getattr(os, function)))
                try:
                    manage(str(copy), PLANS[name])
                except KeyboardInterrupt:
                    finished = False
                else:
                    finished = True
            if not (copy / "checkpoint").exists():
                assert new is None
                if finished:
                    break
                continue
            found = read_state(copy)
            assert found.encode() in (old.encode(), new.encode() if new else b"")
            for path in found.listed:
                assert path not in before or inspect(found.resolved(path)).problem is None
                assert path not in before or inspect(found.resolved(path)).file_format
            if finished:
                assert found.encode() == new.encode()
                break
        else:
            pytest.fail("it never finished")
        assert calls > 2

    def test_indexes_go_before_their_data(self, run, monkeypatch):
        gone = []
        unlink = os.unlink
        monkeypatch.setattr(os, "unlink", lambda path: (gone.append(os.path.basename(path)), unlink(path)))
        remove(run, "ckpt-1", "ckpt-2")
        assert [name for name in gone if "tempstate" not in name] == [
            *("ckpt-1.index", "ckpt-1.data-00000-of-00001"),
            *("ckpt-2.index", "ckpt-2.data-00000-of-00001"),
        ]

    @pytest.mark.parametrize("name", ["prune", "remove", "remove all"])
    def test_the_state_file_is_on_disk_before_anything_is_deleted(self, run, monkeypatch, name):
        calls = []
        unlink = os.unlink
        monkeypatch.setattr(os, "unlink", lambda path: (calls.append(os.path.basename(path)), unlink(path)))
        monkeypatch.setattr(os, "fsync", lambda _: calls.append("flush"))
        manage(str(run), PLANS[name])
        calls = [call for call in calls if "tempstate" not in call]
        first = next(i for i, call in enumerate(calls) if call.startswith("ckpt"))
        before = (
            ["checkpoint", "flush"] if name == "remove all" else ["flush", "flush"]
        )  # the file, the directory
        assert calls[:first] == before
        assert calls[-1] == "flush"

    def test_files_that_can_not_be_deleted(self, run, monkeypatch):
        """The others go nevertheless, and the state file names none of them."""
        unlink = os.unlink

        def fail(path):
            if path.endswith("ckpt-1.index"):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            unlink(path)

        monkeypatch.setattr(os, "unlink", fail)
        with pytest.raises(
            tb.BundleError, match="can't be deleted: Permission denied; the state file"
        ) as caught:
            prune(run, 1)
        assert caught.value.path == f"{run}/ckpt-1.index"
        assert there(run) == ["ckpt-1", "ckpt-4", "other"]
        assert read_state(run).all_paths == ("ckpt-4",)

    def test_files_that_are_gone_already(self, run, monkeypatch):
        unlink = os.unlink

        def twice(path):
            unlink(path)
            if "ckpt" in path:
                unlink(path)

        monkeypatch.setattr(os, "unlink", twice)
        prune(run, 1)
        assert there(run) == ["ckpt-4", "other"]

    def test_others_wait(self, run):
        """The lock is that of `commit.py`."""
        descriptor = os.open(run, os.O_RDONLY)

        def plan(found):
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return repairing.repair(found)

        manage(str(run), plan)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)

    def test_no_directory(self, tmp_path):
        with pytest.raises(tb.MissingFileError, match="no such directory"):
            repair(tmp_path / "nope")


NAMES = ["a-1", "a-2", "a-3", "b", "old-1", "note"]
listed = st.lists(
    st.tuples(
        st.sampled_from(["", "./", "/gone/", "../gone/", "sub/../"]),
        st.sampled_from([*NAMES, "gone", "checkpoint", "a-1.index"]),
    ).map("".join),
    min_size=1,
    max_size=6,
)
actions_on_any = st.one_of(
    st.builds(
        lambda count, hours: lambda found: removing.prune(found, count, hours),
        st.integers(1, 4),
        st.sampled_from([None, 0.5, 1.0]),
    ),
    st.builds(
        lambda names: lambda found: removing.remove(found, names),
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=2),
    ),
    st.builds(
        lambda name, in_order: lambda found: adding.add(found, [name], in_order=in_order),
        st.sampled_from(NAMES),
        st.booleans(),
    ),
    st.just(repairing.repair),
)


@pytest.mark.slow
@given(st.data(), listed, st.sets(st.sampled_from(NAMES)), st.lists(actions_on_any, min_size=1, max_size=3))
def test_whatever_is_there(data, paths, names, plans):
    """Nothing goes but what was planned; strangers stay, and so does the latest checkpoint that was not to go."""
    times = st.sampled_from([float("nan"), -1.0, 0.0, 1.0, 3600.0, 3601.0, 7200.0, float("inf")])
    with tempfile.TemporaryDirectory() as root:
        directory = pathlib.Path(root, "run")
        directory.mkdir()
        (directory / "sub").mkdir()
        for name in names:
            if name.startswith("old"):
                write_v1(directory / name)
            elif name == "note":
                (directory / name).touch()
            else:
                write_checkpoints(directory, [name])
        (directory / "stranger.index").write_text("not ours")
        write_state(
            directory,
            paths,
            data.draw(st.lists(times, max_size=len(paths) + 1)),
            data.draw(st.one_of(st.none(), times)),
            data.draw(st.sampled_from(paths)),
        )
        for plan in plans:
            before = {path for path in directory.rglob("*") if path.is_file()}
            seen = survey(str(directory))
            try:
                change = manage(str(directory), plan)
            except tb.BundleError:
                assert {path for path in directory.rglob("*") if path.is_file()} == before
                continue
            after = {path for path in directory.rglob("*") if path.is_file()}
            gone = before - after - {directory / "checkpoint"}
            assert gone == {pathlib.Path(os.path.normpath(file)) for file in change.files}
            known = {os.path.normpath(file) for each in seen.checkpoints for file in each.files}
            assert set(map(str, gone)) <= known
            assert directory / "stranger.index" in after
            assert directory / "note" in after or "note" not in names
            if change.after is None:
                continue
            state = read_state(directory)
            assert repr(state) == repr(change.after)
            assert state.latest_path == state.all_paths[-1] or change.after == change.before
            was_there = {each.path for each in seen.listed if each.file_format}
            for each in survey(str(directory)).listed:
                assert each.file_format or each.path not in was_there
            if plan is repairing.repair:
                assert all(inspect(state.resolved(path)).file_format for path in state.all_paths)
                assert len(state.timestamps) == len(state.all_paths)
                assert repr(manage(str(directory), plan).after) == repr(change.after)
