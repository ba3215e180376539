"""`tensorbundle manage`."""

import shutil
import signal
import time

import pytest

from support.bundles import snapshot
from support.cli import V215, spawn
from support.directories import EPOCH, managed, read_state, write_checkpoints, write_state
from tensorbundle.tools.cli import main

SUMMARY = ["directory", "latest", "checkpoints", "changed", "deleted", "bytes_freed", "dry_run"]
STEP = ["action", "path", "prefix", "files", "nbytes", "reason"]


@pytest.fixture
def three(tmp_path):
    managed(tmp_path, 3)
    return tmp_path


class TestList:
    @pytest.mark.parametrize("action", [[], ["list"]])
    def test_by_default(self, run, three, action):
        write_checkpoints(three, ["other"])
        output = run("manage", three, *action)
        assert output.err == ""
        assert output.out == (
            "ckpt-1  2023-11-14 22:13:20 UTC  128 B\n"
            "ckpt-2  2023-11-14 23:13:20 UTC  128 B\n"
            "ckpt-3  2023-11-15 00:13:20 UTC  128 B  latest\n"
            "other   2023-11-14 22:13:20 UTC  128 B  not in the state file\n"
        )

    @pytest.mark.parametrize("argv", [["--json", "{}"], ["{}", "--json"], ["{}", "list", "--json"]])
    def test_json(self, run, three, argv):
        records = run("manage", *(each.format(three) for each in argv)).records
        assert [each["path"] for each in records] == ["ckpt-1", "ckpt-2", "ckpt-3"]
        assert records[0] == {
            "path": "ckpt-1",
            "prefix": f"{three}/ckpt-1",
            "exists": True,
            "latest": False,
            "timestamp": EPOCH,
            "modified": EPOCH,
            "managed": True,
            "file_format": "v2",
            "files": [f"{three}/ckpt-1.index", f"{three}/ckpt-1.data-00000-of-00001"],
            "nbytes": 128,
            "problem": None,
        }

    def test_what_is_odd(self, run, tmp_path):
        write_checkpoints(tmp_path, ["a", "b\x1b"])
        (tmp_path / "a.data-00000-of-00001").unlink()
        (tmp_path / "note").touch()
        times = [EPOCH, float("nan"), float("inf"), 1e300, -1e12]
        write_state(tmp_path, ["/gone/a", "gone\n", "note", "nope", "b\x1b"], times)
        output = run("manage", tmp_path)
        assert output.out == (
            f"/gone/a  2023-11-14 22:13:20 UTC  120 B  moved to {tmp_path}/a, 1 of 1 data shards is not there\n"
            "gone\\n   nan                          -  not there\n"
            "note     inf                          -  not a checkpoint: a file of another kind\n"
            "nope     1e+300                       -  not there\n"
            "b\\x1b    -1000000000000.0         128 B  latest\n"
        )
        records = run("manage", tmp_path, "--json").records
        assert [each["timestamp"] for each in records] == [EPOCH, None, None, 1e300, -1e12]
        assert [each["exists"] for each in records] == [True, False, False, False, True]

    def test_no_state_file(self, run, tmp_path):
        output = run("manage", tmp_path)
        assert output == (
            "",
            f"{tmp_path}: no 'checkpoint' state file; 'tensorbundle manage DIR repair' makes one\n",
        )
        (tmp_path / "checkpoint").write_text("{")
        assert run("manage", tmp_path).err.startswith(f"{tmp_path}: not a state file: 1:1")
        assert run.error("manage", tmp_path / "nope") == f"{tmp_path}/nope: no such directory"


class TestPrune:
    def test_text(self, run, three):
        before = snapshot(three)
        output = run("manage", three, "prune", "--max-to-keep", "1", "--keep-every-n-hours", "1", "--dry-run")
        assert output.err == ""
        assert output.out == (
            "would forget ckpt-2: kept permanently\n"
            "would delete ckpt-1: 2 files, 128 B\n"
            f"{three}: would have 1 checkpoint in the state file, the latest ckpt-3; 128 B would be freed\n"
        )
        assert snapshot(three) == before
        output = run("manage", three, "prune", "--max-to-keep", "1", "--keep-every-n-hours", "1")
        assert output.out == (
            "forget ckpt-2: kept permanently\n"
            "delete ckpt-1: 2 files, 128 B\n"
            f"{three}: has 1 checkpoint in the state file, the latest ckpt-3; 128 B freed\n"
        )
        output = run("manage", three, "prune", "--max-to-keep", "1")
        assert output.out == (
            f"{three}: has 1 checkpoint in the state file, the latest ckpt-3; nothing to change\n"
        )

    def test_json(self, run, three):
        argv = ["manage", three, "prune", "--max-to-keep", "1"]
        *planned, _ = run(*argv, "--dry-run", "--json").records
        *steps, summary = run(*argv, "--json").records
        assert steps == planned
        assert [list(each) for each in steps] == [STEP, STEP]
        assert [(each["action"], each["path"]) for each in steps] == [
            ("delete", "ckpt-1"),
            ("delete", "ckpt-2"),
        ]
        assert summary == dict(zip(SUMMARY, [str(three), "ckpt-3", 1, True, 2, 256, False], strict=True))

    def test_v1_savers_have_no_timestamps(self, run, tmp_path):
        shutil.copytree(V215 / "monitored-session", tmp_path / "m")
        output = run("manage", tmp_path / "m", "prune", "--max-to-keep", "2")
        assert (
            "the state file has no timestamps, which only a CheckpointManager writes; 'tensorbundle"
            in output.err
        )
        run("manage", tmp_path / "m", "repair")
        run("manage", tmp_path / "m", "prune", "--max-to-keep", "2")
        assert read_state(tmp_path / "m").all_paths == ("model.ckpt-6", "model.ckpt-7")
        assert len(snapshot(tmp_path / "m")) == 5

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--max-to-keep", "0"], "0 checkpoints to keep, at least 1 must stay"),
            (
                ["--max-to-keep", "1", "--keep-every-n-hours", "-2"],
                "a checkpoint every -2.0 hours: give a positive number",
            ),
        ],
    )
    def test_numbers_that_make_no_sense(self, run, three, options, message):
        assert message in run.error("manage", three, "prune", *options)

    def test_how_many_must_be_said(self, three, capsys):
        with pytest.raises(SystemExit):
            main(["manage", str(three), "prune"])
        assert "required: --max-to-keep" in capsys.readouterr().err


class TestRemove:
    def test_the_latest(self, run, three):
        before = snapshot(three)
        output = run("manage", three, "remove", "ckpt-3", "--dry-run")
        assert output.out.startswith("would delete ckpt-3: 2 files, 128 B\n")
        assert snapshot(three) == before
        output = run("manage", three, "remove", "ckpt-3", "ckpt-1")
        assert output.out == (
            "delete ckpt-3: 2 files, 128 B\n"
            "delete ckpt-1: 2 files, 128 B\n"
            f"{three}: has 1 checkpoint in the state file, the latest ckpt-2; 256 B freed\n"
        )

    def test_all(self, run, three):
        output = run("manage", three, "remove", "ckpt-1", "ckpt-2", "ckpt-3")
        assert output.out.splitlines()[-1] == f"{three}: has no state file; 384 B freed"
        assert output.err == f"{three}: the state file is removed too: it would name no checkpoint\n"
        assert snapshot(three) == {}

    def test_what_is_not_there(self, run, three):
        assert run.error("manage", three, "remove", "ckpt-33") == (
            f"{three}/ckpt-33: no checkpoint of this name; found 'ckpt-3', 'ckpt-2', 'ckpt-1'"
        )


class TestAdd:
    def test_text(self, run, three):
        write_checkpoints(three, ["ckpt-0"])
        output = run("manage", three, "add", "ckpt-0", "--in-order", "--dry-run")
        assert output.out == (
            "would add ckpt-0: in order\n"
            f"{three}: would have 4 checkpoints in the state file, the latest ckpt-3\n"
        )
        run("manage", three, "add", "ckpt-0", "--in-order")
        assert read_state(three).all_paths == ("ckpt-0", "ckpt-1", "ckpt-2", "ckpt-3")
        output = run("manage", three, "add", "ckpt-0")
        assert output.out.startswith("add ckpt-0: the latest\n")
        assert read_state(three).latest_path == "ckpt-0"

    def test_json(self, run, three):
        write_checkpoints(three, ["new"])
        [step, summary] = run("manage", three, "add", "new", "--json").records
        assert step == dict(zip(STEP, ["add", "new", f"{three}/new", [], 0, "the latest"], strict=True))
        assert summary["latest"] == "new"


class TestRepair:
    def test_text(self, run, three):
        (three / "ckpt-1.index").unlink()
        (three / "ckpt-1.data-00000-of-00001").unlink()
        write_state(three, [f"/gone/ckpt-{number}" for number in (1, 2, 3)])
        output = run("manage", three, "repair")
        assert output.out == (
            "forget /gone/ckpt-1: not there\n"
            "change ckpt-2: was '/gone/ckpt-2'\n"
            "change ckpt-3: was '/gone/ckpt-3'\n"
            f"{three}: has 2 checkpoints in the state file, the latest ckpt-3\n"
        )
        assert output.err.startswith(f"{three}: timestamps are the times at which the files were written")
        output = run("manage", three, "repair")
        assert output == (
            f"{three}: has 2 checkpoints in the state file, the latest ckpt-3; nothing to change\n",
            "",
        )

    def test_json(self, run, three):
        (three / "checkpoint").unlink()
        *steps, summary = run("manage", three, "repair", "--json").records
        assert [each["action"] for each in steps] == ["add"] * 3
        assert summary == dict(zip(SUMMARY, [str(three), "ckpt-3", 3, True, 0, 0, False], strict=True))


@pytest.mark.parametrize("action", ["frob", "frob\x1b"])
def test_no_such_action(three, capsys, action):
    with pytest.raises(SystemExit):
        main(["manage", str(three), action])
    err = capsys.readouterr().err
    assert "invalid choice: 'frob" in err
    assert "\x1b" not in err


def test_killed(tmp_path):
    """Whenever it ends, the state file names what is there."""
    managed(tmp_path, 40)
    script = "import sys; from tensorbundle.tools.cli.program import main; print('ready', flush=True); main(sys.argv[1:])"
    argv = ["manage", tmp_path, "prune", "--max-to-keep", "1"]
    process = spawn(*argv, script=script)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    state = read_state(tmp_path)
    assert len(state.listed) in (1, 40)
    for path in state.listed:
        assert (tmp_path / f"{path}.index").exists()
