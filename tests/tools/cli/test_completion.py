"""`tensorbundle completion`: in real shells, and what the scripts are told."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import tensorbundle as tb
from support.golden import GOLDEN
from support.terminal import typed
from tensorbundle.tools.cli.arguments import load, parser_of
from tensorbundle.tools.cli.catalog import COMMANDS
from tensorbundle.tools.cli.completing import TABLE, table_of

SAMPLE = GOLDEN / "sample"
COMPINIT = "autoload -U compinit; compinit -u -D; "
HOSTILE = "$(touch pwned)`touch pwned`"


@pytest.fixture(scope="module")
def table():
    return table_of({name: parser_of(name, load(name)) for name in COMMANDS})


@pytest.fixture
def complete(run, monkeypatch, table):
    """What is answered for a line: the first line of the answer, and the others."""

    def ask(*words, shell="zsh"):
        monkeypatch.setenv(TABLE, table)
        kind, *found = run("__complete", shell, *words).out.splitlines()
        return kind, found

    return ask


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A `tensorbundle` of this tree on PATH, in a working directory with a checkpoint `run/m`."""
    program = tmp_path / "bin/tensorbundle"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m tensorbundle "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(each for each in sys.path if each))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    with tb.create(tmp_path / "run/m") as writer:
        for name in (
            "dense/kernel",
            "dense/bias",
            "other words/x",
            f"hostile{HOSTILE}/x",
            "quotes\"\\'",
            "exclaimed!",
        ):
            writer.add(name, np.float32(1))
    return tmp_path


def complete_in(shell, script, line, expected):
    """What this shell shows for a line and a tab, once it has read a script."""
    arguments, setup = {"bash": (["bash", "--norc"], ""), "zsh": (["zsh", "-f"], COMPINIT)}[shell]
    return typed(arguments, f"{setup}source {script}", line, expected)


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tensorbundle conv", "tensorbundle convert "),
        ("tensorbundle cast run/m x dense/k", "dense/kernel"),
        ("tensorbundle cast run/m x dense/kernel=bf", "dense/kernel=bfloat16"),
        ("tensorbundle ls ru", "ls run/"),
        ("tensorbundle show run/m other", "other\\ words/"),
        ("tensorbundle show run/m 'other", "'other words/"),
        ("tensorbundle slim run/m x --data=s", "--data=share"),
    ],
)
def test_in_a_terminal(run, path, shell, line, expected):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    (path / "script").write_text(run("completion", shell).out, encoding="utf-8")
    assert expected in complete_in(shell, path / "script", line, expected)


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_names_are_never_evaluated(run, path, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    (path / "script").write_text(run("completion", shell).out, encoding="utf-8")
    assert "touch" in complete_in(shell, path / "script", "tensorbundle show run/m host", "touch\\ pwned\\)")
    assert not (path / "pwned").exists()


@pytest.mark.slow
def test_in_fish(run, path):
    if shutil.which("fish") is None:
        pytest.skip("there is no fish")
    (path / "script").write_text(run("completion", "fish").out, encoding="utf-8")
    asked = "; ".join(
        f"complete -C '{line}'"
        for line in (
            "tensorbundle conv",
            "tensorbundle show run/m de",
            'tensorbundle show run/m "oth',
            r"tensorbundle show run/m other\\ w",
            "tensorbundle show run/m host",
        )
    )
    command = ["fish", "--no-config", "-c", f"source script; {asked}"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert found[:4] == [f"convert\t{COMMANDS['convert']}", "dense/", "other words/", "other words/"]
    assert found[4].startswith("hostile")
    assert not (path / "pwned").exists()


@pytest.mark.parametrize(
    ("words", "kind", "found"),
    [
        (["ls", str(SAMPLE), "dnn/logits/k"], "words", ["dnn/logits/kernel", "dnn/logits/kernel/"]),
        (["ls", "--sort", ""], "words", ["key", "size"]),
        (["ls", "--sort", "key", str(SAMPLE), "gl"], "words", ["global_step"]),
        (["ls", "--lo"], "words", ["--long"]),
        (["diff", str(SAMPLE), str(SAMPLE), "gl"], "words", ["global_step"]),
        (["merge", f"a={SAMPLE}", ""], "words", None),
        (["convert", str(SAMPLE), ""], "files", []),
        (["convert", "--to", "t"], "words", ["tf1", "tf2"]),
        (["verify", "--all", ""], "directories", []),
        (["manage", "run", "pr"], "words", ["prune"]),
        (["manage", "run", "prune", "--max"], "words", ["--max-to-keep"]),
        (["show", "nowhere", "x"], "words", []),
        (["nothing", "x"], "words", []),
        (["help", "extr"], "words", ["extract"]),
        (["ls", "~/x"], "files", []),
        (["ls", str(SAMPLE / "model.c")], "words", [str(SAMPLE / "model.ckpt-300")]),
    ],
)
def test_answers(complete, words, kind, found):
    own, shown = complete("tensorbundle", *words)
    assert own == kind
    assert found is None or shown == found


def test_objects_are_completed_by_their_paths(complete):
    ckpt = str(GOLDEN / "tf-2.21/guide-tf2/tf2-ckpt-1")
    with tb.open(ckpt) as opened:
        paths = {key.split("/.ATTRIBUTES/")[0] for key in opened if "/.ATTRIBUTES/" in key}
    start = min(paths).partition("/")[0]
    assert complete("tensorbundle", "show", ckpt, start)[1]
    for path in paths:
        assert path in complete("tensorbundle", "show", ckpt, path[:-1])[1]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("tensorbundle cast run/m x a=bfl", ["bfloat16"]),
        ("tensorbundle show run/m other", [r"other\ words/"]),
        ('tensorbundle show run/m "oth', ["other words/"]),
        (r"tensorbundle show run/m other\ wo", [r"other\ words/"]),
        ("tensorbundle show run/m 'dense/k", ["dense/kernel"]),
        ("tensorbundle show run/m 'hos", [f"hostile{HOSTILE}/"]),
        ('tensorbundle show run/m "hos', [r"hostile\$(touch pwned)\`touch pwned\`/"]),
        (r'tensorbundle show run/m "hostile\$(', [r"hostile\$(touch pwned)\`touch pwned\`/"]),
        (r'tensorbundle show run/m "quo', [r"quotes\"\\'"]),
        ("tensorbundle show run/m 'quo", []),
        ("tensorbundle show run/m quo", [r"quotes\"\\\'"]),
        ('tensorbundle show run/m "exc', []),
        ("tensorbundle show run/m 'exc", ["exclaimed!"]),
        ("tensorbundle show run/m exc", [r"exclaimed\!"]),
    ],
)
def test_words_of_bash(complete, path, line, found):
    assert complete(line, shell="bash") == ("words", found)


def test_files_of_other_formats(complete, tmp_path):
    np.savez(tmp_path / "m.npz", first=1, second=2)
    assert complete("tensorbundle", "show", str(tmp_path / "m.npz"), "f")[1] == ["first"]
    assert complete("tensorbundle", "ls", str(tmp_path / "m"))[1] == [str(tmp_path / "m.npz")]


def test_names_with_control_characters_are_left_out(complete, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        for name in ("a\x1b[31m", "a\nb", "ab"):
            writer.add(name, 1)
    assert complete("tensorbundle", "show", str(tmp_path / "m"), "a")[1] == ["ab"]


def test_an_answer_imports_little(table):
    """Imports are what an answer takes its time for: none of what is slow, and few modules in all."""
    script = (
        "import sys; before = set(sys.modules); from tensorbundle.tools.cli.program import main; "
        f"main(['__complete', 'zsh', 'tensorbundle', 'cast', {str(SAMPLE / 'model.ckpt-300')!r}, 'x', 'dnn/']); "
        "print(*set(sys.modules) - before)"
    )
    env = {**os.environ, TABLE: table, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    command = [sys.executable, "-P", "-c", script]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.splitlines()
    assert "dnn/logits/" in found
    modules = found[-1].split()
    slow = {
        *("numpy", "google.protobuf", "rich", "argparse", "dataclasses", "inspect", "json", "subprocess"),
        *("tempfile", "importlib.metadata", "tensorbundle.storage.protocols"),
    }
    assert slow.isdisjoint(modules)
    assert sum(each.startswith("tensorbundle.") for each in modules) <= 31
    assert (
        sum(not each.startswith("crc32c") for each in modules) <= 73
    )  # an old version has no extension module alone


def test_json(run):
    [record] = run("completion", "fish", "--json").records
    assert record["shell"] == "fish"
    assert "complete -c tensorbundle" in record["script"]
