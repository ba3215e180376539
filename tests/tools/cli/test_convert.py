"""`tensorbundle convert`: arguments, what is printed, errors. What comes out is `test_conversion.py`'s."""

import errno
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import snapshot
from support.cli import V215
from support.commands import check_writing
from support.contents import files, our_reading
from support.rewriting import by_path, finished, tensors_in, tree, variable, write

SUMMARY = ["prefix", "tensors", "bytes_written", "bytes_shared", "bytes_read", "bytes_dead", "seconds"]
HOW = r"\((hard link|reflink)\)"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The working directory, with copies of golden checkpoints: `one` is name-based, `two` object-based."""
    for name, golden in {"one": "guide-tf1", "two": "guide-tf2", "parts": "partitioned-sharded"}.items():
        shutil.copytree(V215 / golden, tmp_path / name)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def out(here):
    return here / "out"


def test_text_towards_tf2(run, out):
    output = run("convert", "one", "out/m-3", "--to", "tf2")
    assert output.err == "'tensorbundle diff one out/m-3' compares the two\n"
    written = sum(len(data) for name, data in files(out / "m-3").items() if name != ".data-00000-of-00002")
    assert re.fullmatch(
        rf"out/m-3: 5 tensors, 12 B shared {HOW}, {written} B written, 12 B read, \d\.\d{{3}} s\n", output.out
    )
    with tb.open("out/m-3") as ckpt:
        assert ckpt["save_counter/.ATTRIBUTES/VARIABLE_VALUE"] == 3
        assert ckpt["vars/scoped.Sc/.ATTRIBUTES/VARIABLE_VALUE"] == 3.0
        assert ckpt.object_graph["vars/scoped.Sc"].attributes[0].full_name == "scoped/c"


def test_text_towards_tf1_says_what_is_left_out(run, out):
    output = run("convert", "two", "out/m", "--to", "tf1", "--data", "copy")
    written = sum(len(data) for data in files(out / "m").values())
    assert re.fullmatch(
        r"left out, the save counter of tf\.train\.Checkpoint: save_counter/\.ATTRIBUTES/VARIABLE_VALUE\n"
        rf"out/m: 3 tensors, 0 B shared, {written} B written, 12 B read, \d\.\d{{3}} s\n",
        output.out,
    )
    assert our_reading("out/m").keys() == {"a", "b", "scoped/c"}


def test_json(run):
    output = run("convert", "two", "out/m", "--to", "tf1", "--json")
    [summary] = output.records
    assert list(summary)[:7] == SUMMARY
    assert summary["prefix"] == "out/m"
    assert (summary["tensors"], summary["bytes_read"]) == (3, 12)
    assert summary["bytes_shared"] == os.path.getsize("two/tf2-ckpt-1.data-00000-of-00001")
    assert summary["bytes_written"] == os.path.getsize("out/m.index")
    assert 0 < summary["seconds"] < 60
    assert summary["left_out"] == [
        {
            "key": "save_counter/.ATTRIBUTES/VARIABLE_VALUE",
            "reason": "the save counter of tf.train.Checkpoint",
        }
    ]
    assert output.err == ""


def test_where_sharing_is_impossible_it_is_said(run, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr("fcntl.ioctl", refuse)
    monkeypatch.setattr(os, "link", refuse)
    assert "0 B shared (copied instead: can't be linked there: Invalid cross-device link)" in (
        run("convert", "one", "out/m", "--to", "tf2").out
    )


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ([], ["save_counter", "vars/a", "vars/b", "vars/scoped.Sc"]),
        (["--root", "my/model"], ["my/model/a", "my/model/b", "my/model/scoped.Sc", "save_counter"]),
        (["--root", ""], ["a", "b", "save_counter", "scoped.Sc"]),
        (["--no-save-counter"], ["vars/a", "vars/b", "vars/scoped.Sc"]),
    ],
)
def test_options_towards_tf2(run, options, keys):
    run("convert", "one", "out/m", "--to", "tf2", *options)
    assert list(our_reading("out/m")) == [
        "_CHECKPOINTABLE_OBJECT_GRAPH",
        *(f"{key}/.ATTRIBUTES/VARIABLE_VALUE" for key in keys),
    ]


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ([], {"a", "b", "scoped/c"}),
        (["--names", "full-names"], {"a", "b", "scoped/c"}),
        (["--names", "keys"], {"variables/0", "variables/1", "variables/2"}),
        (["--names", "keys", "--root", "variables"], {"0", "1", "2"}),
        (["--root", "variables"], {"0", "1", "2"}),
    ],
)
def test_options_towards_tf1(run, options, keys):
    run("convert", "two", "out/m", "--to", "tf1", *options)
    assert our_reading("out/m").keys() == keys


@pytest.mark.parametrize(
    "options", [[], ["--data", "share"], ["--data", "copy"], ["--data", "copy", "--jobs", 3]]
)
def test_data(run, options):
    run("convert", "parts", "out/two", "--to", "tf2", *options)
    run("convert", "out/two", "out/one", "--to", "tf1", *options)
    assert our_reading("out/one") == our_reading("parts")
    shared = os.path.samefile("out/one.data-00000-of-00002", "parts/model.ckpt-100.data-00000-of-00002")
    assert shared == ("copy" not in options)


def test_no_verify(run, out):
    Path("one/tf1-ckpt.data-00000-of-00001").write_bytes(bytes(12))
    message = run.error("convert", "one", "out/m", "--to", "tf2")
    assert message.startswith(
        "one/tf1-ckpt.data-00000-of-00001: offset 0x0: key 'a': crc32c of 4 bytes: stored dd54c4ab, "
    )
    assert list(out.iterdir()) == []
    run("convert", "one", "out/m", "--to", "tf2", "--no-verify")
    assert run("verify", "out/m", status=1).out.count("error: checksum") == 3


def test_state(run):
    run("convert", "one", "out/m", "--to", "tf2", "--state")
    assert run("ls", "out").out == run("ls", "out/m").out


def test_overwrite(run, out):
    run("convert", "one", "out/m", "--to", "tf2")
    before = snapshot(out)
    for dry in ([], ["--dry-run"]):
        assert run.error("convert", "two", "out/m", "--to", "tf1", *dry) == (
            "out/m.index: exists; use --overwrite (overwrite=True) to replace it"
        )
    assert snapshot(out) == before
    run("convert", "two", "out/m", "--to", "tf1", "--overwrite")
    assert sorted(snapshot(out)) == ["m.data-00000-of-00001", "m.index"]
    assert our_reading("out/m").keys() == {"a", "b", "scoped/c"}


def test_in_place(run):
    expected = our_reading("one")
    assert "exists; use --overwrite" in run.error("convert", "one", "one/tf1-ckpt", "--to", "tf2")
    run("convert", "one", "one/tf1-ckpt", "--to", "tf2", "--overwrite")
    run("convert", "one", "one/tf1-ckpt", "--to", "tf1", "--overwrite", "--data", "copy")
    assert our_reading("one") == expected


class TestDryRun:
    def test_text(self, run, here):
        before = snapshot(here / "out"), snapshot(here / "two")
        output = run("convert", "two", "out/m", "--to", "tf1", "--dry-run")
        *rows, total = output.out.split("\n")[:-1]
        end = "/.ATTRIBUTES/VARIABLE_VALUE"
        assert rows == [
            f"share      a                                        float32  []  4 B  from variables/0{end}",
            f"share      b                                        float32  []  4 B  from variables/1{end}",
            f"share      scoped/c                                 float32  []  4 B  from variables/2{end}",
            f"leave out  save_counter{end}                    the save counter of tf.train.Checkpoint",
        ]
        assert total.startswith("3 tensors: ")
        assert output.err == ""
        assert (snapshot(here / "out"), snapshot(here / "two")) == before

    def test_slices_are_readable(self, run, out):
        rows = run("convert", "parts", "out/m", "--to", "tf2", "--dry-run", "--data", "copy").out.split("\n")
        assert rows[:3] == [
            "write  save_counter/.ATTRIBUTES/VARIABLE_VALUE       int64    []       8 B  new",
            "copy   vars/emb/.ATTRIBUTES/VARIABLE_VALUE[0,4:0,4]  float32  [4,4]   64 B  from emb[0,4:0,4]",
            "copy   vars/emb/.ATTRIBUTES/VARIABLE_VALUE[7,3:0,4]  float32  [3,4]   48 B  from emb[7,3:0,4]",
        ]
        assert list(out.iterdir()) == []

    def test_json(self, run):
        records = run("convert", "two", "out/m", "--to", "tf1", "--dry-run", "--json").records
        assert records[0] == {
            "key": "a",
            "action": "share",
            "source": "variables/0/.ATTRIBUTES/VARIABLE_VALUE",
            "dtype": "float32",
            "shape": [],
            "nbytes": 4,
        }
        left = records[3]
        assert (left["key"], left["action"]) == ("save_counter/.ATTRIBUTES/VARIABLE_VALUE", "leave out")
        assert left["reason"] == "the save counter of tf.train.Checkpoint"

    def test_what_would_fail_fails(self, run):
        Path("one/tf1-ckpt.data-00000-of-00001").unlink()
        assert run.error("convert", "one", "out/m", "--to", "tf2", "--dry-run") == (
            "one/tf1-ckpt.data-00000-of-00001: key 'a': no such file: this data shard is missing"
        )
        assert (
            run.error("convert", "two", "nope/m", "--to", "tf1", "--dry-run")
            == "nope: no such directory; make it first"
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["two", "out/m", "--to", "tf2"],
            "two/tf2-ckpt-1: object-based (TF2) already; --to tf1 is the other way",
        ),
        (
            ["one", "out/m", "--to", "tf1"],
            "one/tf1-ckpt: name-based (TF1) already; --to tf2 is the other way",
        ),
        (["one", "nope/m", "--to", "tf2"], "nope: no such directory; make it first"),
        (
            ["two", "out/m", "--to", "tf1", "--root", "variabels"],
            "two/tf2-ckpt-1: key 'variabels': no such object; near: 'variables', 'variables/2', 'variables/1'",
        ),
        (
            ["nope", "out/m", "--to", "tf1"],
            "nope: no checkpoint of this name (nope.index does not exist); no checkpoint is there",
        ),
        (
            ["out", "out/m", "--to", "tf1"],
            "out: a directory without a 'checkpoint' state file; no checkpoint is there",
        ),
    ],
)
def test_errors(run, out, arguments, message):
    assert run.error("convert", *arguments) == message
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("root", ["a.b", "x."])
def test_a_root_that_is_no_path(run, out, root):
    assert root in run.error("convert", "one", "out/m", "--to", "tf2", "--root", root)
    assert list(out.iterdir()) == []


def test_clashes(run, out):
    graph = tb.ObjectGraph.from_names(["a", "b"], root="")
    for name in ("a", "b"):
        graph[name].attributes[0].full_name = "same"
    with tb.create("m") as writer:
        for name in ("a", "b"):
            writer.add(f"{name}/.ATTRIBUTES/VARIABLE_VALUE", np.float32(1))
        writer.add_object_graph(graph)
    assert run.error("convert", "m", "out/m", "--to", "tf1") == (
        "m: variables without a distinct TF1 name: 'same' (a, b); --names keys takes object paths instead"
    )
    run("convert", "m", "out/m", "--to", "tf1", "--names", "keys")


def test_a_directory_that_can_not_be_written_to(run, out, monkeypatch):
    real = os.open

    def refuse(path, flags, *arguments, **named):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    assert run.error("convert", "one", "out/m", "--to", "tf2") == (
        "out: can't write into this directory: Permission denied"
    )


def test_a_destination_in_the_working_directory(run, here):
    run("convert", "one", "m", "--to", "tf2")
    assert (here / "m.index").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        "one out/m --to tf3",
        "one --to tf2",
        "one out/m --to tf2 --jobs x",
        "one out/m --to tf2 --data move",
    ],
)
def test_arguments_that_can_not_be_parsed(run, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        run("convert", *arguments.split())
    assert caught.value.code == 2
    assert "tensorbundle convert: error: " in capsys.readouterr().err


def test_what_the_output_is_has_to_be_said(run, here):
    printed = run("convert", "one", "out/m", status=2)
    assert (
        "say what the output is: --to (to) tf1, tf2, v1, v2, or a name that ends in .safetensors"
        in printed.err
    )


@pytest.mark.parametrize("jobs", [0, -1])
def test_jobs_are_at_least_one(run, capsys, out, jobs):
    with pytest.raises(SystemExit):
        run("convert", "one", "out/m", "--to", "tf2", "--jobs", jobs)
    assert list(out.iterdir()) == []


class TestIntoAStructure:
    """What comes out of it is `test_fitting.py`'s."""

    @pytest.fixture
    def work(self, here):
        """`fresh` is a template for `one`, `names` for `two`."""
        work = here / "work"
        work.mkdir()
        variables = {"x": variable("a"), "y": variable("b"), "z": variable("other")}
        graph = finished(tree({"m": variables, "save_counter": None}))
        values = {each.checkpoint_key: np.float32(7) for _, _, each in graph.attributes()}
        write(work / "fresh", values | {"save_counter/.ATTRIBUTES/VARIABLE_VALUE": np.int64(7)}, graph=graph)
        write(work / "names", {"a": np.float32(7), "b": np.float32(8), "z": np.float32(9)})
        (work / "rules").write_text("# what is called otherwise\nscoped/c=m/z\n")
        (work / "back").write_text("variables/2=z\n")
        (work / "s.toml").write_text('m = ["b", "scoped/c"]\n')
        return work

    def test_template(self, run, work):
        options = ["--to", "tf2", "--template", work / "fresh", "--map", work / "rules"]
        summary = check_writing(run, work, "convert", ["one"], *options)
        assert summary["changes"] == {"renamed": 0, "cast": 0, "dropped": 0, "by name": 2, "by rule": 1}
        assert by_path(work / "out") == {"m/x": 1, "m/y": 2, "m/z": 3, "save_counter": 1}

    def test_template_of_names(self, run, work):
        options = ["--to", "tf1", "--template", work / "names", "--map", work / "back"]
        summary = check_writing(run, work, "convert", ["two"], *options)
        assert {key: each[2] for key, each in tensors_in(work / "out").items()} == {
            name: np.float32(value).tobytes() for name, value in (("a", 5), ("b", 6), ("z", 7))
        }
        assert [each["key"] for each in summary["left_out"]] == ["save_counter/.ATTRIBUTES/VARIABLE_VALUE"]

    def test_structure(self, run, work):
        options = ["--to", "tf2", "--structure", work / "s.toml", "--allow-unused"]
        summary = check_writing(run, work, "convert", ["one"], *options)
        assert summary["left_out"] == [{"key": "a", "reason": "no place in the structure"}]
        assert by_path(work / "out") == {"m/0": 2, "m/1": 3, "save_counter": 1}

    def test_dry_run_says_how(self, run, work):
        argv = ["convert", "one", work / "out", "--to", "tf2", "--template", work / "fresh", "--dry-run"]
        argv += ["--map", work / "rules"]
        end = "/.ATTRIBUTES/VARIABLE_VALUE"
        expected = [
            (f"save_counter{end}", "write", None, None),
            (f"m/x{end}", "share", "a", "by name"),
            (f"m/y{end}", "share", "b", "by name"),
            (f"m/z{end}", "share", "scoped/c", "by rule"),
            ("_CHECKPOINTABLE_OBJECT_GRAPH", "write", None, None),
        ]
        *records, _ = run(*argv, "--json").records
        found = [(each["key"], each["action"], each["source"], each.get("matched")) for each in records]
        assert found == expected
        for line, (key, action, source, how) in zip(run(*argv).out.splitlines(), expected, strict=False):
            assert line.startswith(f"{action}  ")
            assert key in line
            assert line.endswith(f"  from {source}, {how}" if source else "  new")

    def test_slices_are_matched_too(self, run, work):
        (work / "s").write_text('{"e": "emb"}')
        argv = [
            "convert",
            "parts",
            work / "out",
            "--to",
            "tf2",
            "--structure",
            work / "s",
            "--allow-unused",
            "--dry-run",
        ]
        matched = [each.get("matched") for each in run(*argv, "--json").records if each.get("source")]
        assert len(matched) > 1
        assert set(matched) == {"by name"}

    def test_what_is_missing_is_listed(self, run, work):
        """On standard error, where it may be missing."""
        run("drop", "one", work / "less", "scoped/c")
        argv = [
            "convert",
            work / "less",
            work / "out",
            "--to",
            "tf2",
            "--template",
            work / "fresh",
            "--allow-missing",
        ]
        key, line = "m/z/.ATTRIBUTES/VARIABLE_VALUE", "missing, kept from the template"
        dry = run(*argv, "--dry-run")
        assert dry.err == f"{line}: {key}\n"
        assert f"from {key}, {line}\n" in dry.out
        output = run(*argv)
        assert output.err == dry.err
        assert "(2 by name, 1 missing, kept from the template)" in output.out

    def test_summary(self, run, work):
        argv = ["convert", "one", work / "out", "--to", "tf2", "--template", work / "fresh"]
        argv += ["--map", work / "rules"]
        assert f"{work / 'out'}: 5 tensors (2 by name, 1 by rule), " in run(*argv).out

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (
                "--to tf2 --template work/fresh --map work/back",
                "one/tf1-ckpt: rename 'variables/2=z' matches nothing",
            ),
            ("--to tf2 --template nothing", "nothing: no checkpoint of this name"),
            ("--to tf2 --structure nothing", "nothing: no such structure file"),
            ("--to tf2 --template work/fresh --map nothing", "nothing: no such map"),
            ("--to tf1 --template work/fresh", "work/fresh: --to tf1 (to='tf1'), but this is object-based"),
            ("--to tf2 --structure work/s.toml", "one/tf1-ckpt: does not match work/s.toml: 1 left over, "),
            ("--to tf2 --allow-unused", "a template (--template) or a structure (--structure) is needed"),
            ("--to tf2 --learning-rate 1", "a template (--template) or a structure (--structure) is needed"),
            ("--to tf2 --template work/fresh --root x", "names come from the template or the structure"),
        ],
    )
    def test_refused(self, run, work, out, options, reason):
        assert reason in run.error("convert", "one", "out/m", *options.split())
        assert list(out.iterdir()) == []
