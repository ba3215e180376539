"""What the README shows is what happens."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tensorbundle.tools.cli.program import COMMANDS, main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def console_commands() -> list[tuple[str, str]]:
    """Each command shown after a `$`, and the output shown below it."""
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that looks like a checkout as far as the README goes."""
    shutil.copytree(ROOT / "tests/golden/sample", tmp_path / "tests/golden/sample")
    for block in blocks("toml"):
        name = re.match(r"# (\S+\.toml):", block)
        assert name, "a TOML block begins with its file name"
        (tmp_path / name[1]).write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_console_examples(checkout, capsys):
    assert console_commands()
    for command, output in console_commands():
        program, *arguments = shlex.split(command)
        assert program == "tensorbundle"
        assert main(arguments) == (arguments[0] == "check"), command  # which finds something
        printed = capsys.readouterr().out
        assert not output or printed == output, command


def test_python_examples(checkout):
    main(["convert", "tests/golden/sample", "sample-tf2", "--to", "tf2"])
    examples = [block for block in blocks("python") if "tensorbundle" in block]
    assert examples
    for block in examples:
        exec(compile(block, "README.md", "exec"), {})


def test_first_line_converts_and_shows_the_sample(checkout, capsys):
    [line] = [each for each in blocks("sh") if "graph" in each]
    for part in line.strip().split(" && ")[2:]:
        program, *arguments = shlex.split(part)
        assert program == ".venv/bin/tensorbundle"
        assert main(arguments) == 0
    assert "embedding_weights" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_line(command):
    assert re.search(rf"^\| `{command} ", README, re.MULTILINE)
