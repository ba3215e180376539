"""What `docs/shell.md` and the man pages promise, in real programs; tests of those that are not installed are skipped.

With TENSORBUNDLE_REQUIRE_PROGRAMS=1, as in `.ci/run`, they fail then.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.terminal import typed
from tensorbundle.tools import compact, drop
from tensorbundle.tools.cli.catalog import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests/golden/sample"
PAGE = (ROOT / "docs/shell.md").read_text(encoding="utf-8")


REQUIRED = os.environ.get("TENSORBUNDLE_REQUIRE_PROGRAMS") == "1"


def need(program):
    """Skip a test where this program, or else this Python package, is not installed."""
    if shutil.which(program) is None and importlib.util.find_spec(program) is None:
        pytest.fail(f"there is no {program}") if REQUIRED else pytest.skip(f"there is no {program}")


def block(language, part=""):
    """The page's only block in this language that contains a text."""
    [found] = [each for each in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if part in each]
    return found


def shell(command, cwd):
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True, cwd=cwd).stdout


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A working directory with the sample, and a `tensorbundle` of this tree on PATH."""
    program = tmp_path / "bin/tensorbundle"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m tensorbundle "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(each for each in sys.path if each))
    shutil.copytree(SAMPLE, tmp_path / "tests/golden/sample")
    return tmp_path


BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"
SHELLS = {
    # Without the package, bash reads the script that it would read.
    "bash": (
        ["bash", "--norc"],
        f"source {BASH_COMPLETION} || source $HOME/.local/share/bash-completion/*/*",
    ),
    "zsh": (["zsh", "--no-globalrcs"], "ZSH_DISABLE_COMPFIX=true"),
}


@pytest.mark.slow
@pytest.mark.parametrize("program", ["bash", "zsh", "fish"])
def test_completion_is_installed(path, monkeypatch, program):
    """As the page says, in a new home directory; then a new shell completes."""
    need(program)
    for name in ("HOME", "ZDOTDIR"):
        monkeypatch.setenv(name, str(path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "BASH_COMPLETION_USER_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(path)
    shell(block("sh", f"completion {program}"), path)
    line = "tensorbundle show tests/golden/sample dnn/lo"
    if program == "fish":
        assert shell(f"fish -c \"complete -C '{line}'\"", path) == "dnn/logits/\n"
    else:
        assert "dnn/logits/" in typed(*SHELLS[program], line, "dnn/logits/")


@pytest.mark.slow
def test_git_diff(path):
    need("git")
    repository = path / "repository"
    repository.mkdir()
    git = "git -c user.name=t -c user.email=t -c commit.gpgsign=false"
    shutil.copy(SAMPLE / "model.ckpt-300.index", repository / "m.index")
    setup = block("sh", "gitattributes")
    shell(f"git init -q && {setup} git add -A && {git} commit -qm first", repository)
    drop(SAMPLE, path / "changed", "dnn/logits/bias/Adam_1")
    shutil.copy(path / "changed.index", repository / "m.index")
    changed = [line for line in shell("git diff", repository).splitlines() if re.match(r"[-+]\{", line)]
    assert len(changed) == 1
    assert changed[0].startswith('-{"key": "dnn/logits/bias/Adam_1"')

    need("jq")
    compact(path / "changed", path / "moved")
    shutil.copy(path / "moved.index", repository / "m.index")
    shell(block("sh", "del("), repository)
    changed = [line for line in shell("git diff", repository).splitlines() if re.match(r"[-+]\{", line)]
    assert len(changed) == 1
    assert changed[0].startswith('-{"key":"dnn/logits/bias/Adam_1"')


def test_jq(path):
    need("jq")
    assert "dnn/hiddenlayer_0/kernel" in shell(block("sh", "jq -r"), path).splitlines()


def test_python_and_pandas_read_json_lines(path, monkeypatch):
    monkeypatch.chdir(path)
    names = {}
    exec(block("python"), names)
    assert len(names["tensors"]) == 33
    need("pandas")
    *statements, last = block("py").splitlines()
    exec("import io, pandas\n" + "\n".join(statements), names)
    assert dict(eval(last, names))["float32"] == sum(each["nbytes"] for each in names["tensors"]) - 8


def test_duckdb(path, monkeypatch):
    need("duckdb")
    monkeypatch.chdir(path)
    import duckdb

    command, query = block("sql").split("\n", 1)
    shell(command.removeprefix("-- "), path)
    assert dict(duckdb.sql(query).fetchall())["int64"] == 8


def test_man_pages(tmp_path):
    spec = importlib.util.spec_from_file_location("man_pages", ROOT / ".ci/man_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {
        "tensorbundle.1",
        *(f"tensorbundle-{name}.1" for name in COMMANDS),
    }
    text = (tmp_path / "tensorbundle-ls.1").read_text(encoding="utf-8")
    assert "\\fB\\-\\-long\\fR" in text
    assert not re.search(r"^\.(?!TH |SH |SS |TP$|nf$|fi$|BR )", text, re.MULTILINE)
    if REQUIRED or shutil.which("mandoc"):
        assert shell(f"mandoc -Tlint -W error {tmp_path}/*.1", tmp_path) == ""
