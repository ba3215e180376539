"""What README and the pages in `docs/` show is what happens: their commands, recipes and Python code are run."""

import ast
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tensorbundle.tools.cli import main
from tensorbundle.tools.cli.catalog import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
STATUS = re.compile(r"\s+# exit status (?P<status>\d)$")


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def console_commands(page: Path) -> list[tuple[str, int, str]]:
    """Each command shown after a `$`, its exit status (`# exit status N` behind it), and the output shown below it."""
    found = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            status = STATUS.search(command)
            found.append((STATUS.sub("", command), int(status["status"]) if status else 0, output))
    return found


def with_blocks(*languages: str) -> list[Path]:
    return [page for page in PAGES if any(blocks(page, language) for language in languages)]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that looks like a checkout as far as the pages use it."""
    shutil.copytree(ROOT / "tests/golden/sample", tmp_path / "tests/golden/sample")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", with_blocks("console"), ids=lambda page: page.name)
def test_console_examples(page, checkout, capsys):
    for block in blocks(page, "toml"):
        name = re.match(r"# (\S+\.toml):", block)
        assert name, "a TOML block begins with its file name"
        (checkout / name[1]).write_text(block, encoding="utf-8")
    for command, status, output in console_commands(page):
        program, *arguments = shlex.split(command)
        assert program == "tensorbundle"
        assert main(arguments) == status, command
        printed = capsys.readouterr().out
        assert not output or printed == output, command


@pytest.mark.parametrize("page", with_blocks("python"), ids=lambda page: page.name)
def test_python_examples(page, checkout):
    for block in blocks(page, "python"):
        if "import tensorbundle" in block or "from tensorbundle" in block:
            exec(compile(block, page.name, "exec"), {})


def test_the_notebook_runs(monkeypatch):
    """As the site executes it, but in this process; the last value of a cell is shown as HTML where it has that."""
    monkeypatch.chdir(ROOT / "docs")
    notebook = json.loads((ROOT / "docs/migration.ipynb").read_text(encoding="utf-8"))
    names, shown = {}, []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == []  # the site makes them
        *statements, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module(statements, []), "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            shown.append(value._repr_html_() if hasattr(value, "_repr_html_") else repr(value))
        else:
            exec(compile(ast.Module([last], []), "cell", "exec"), names)
    assert sum(each.startswith("<p><b>") for each in shown) >= 5
    assert "'same'" in "".join(shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
        assert (page.parent / target).exists(), target


def test_first_line_converts_and_shows_the_sample(checkout, capsys):
    [line] = [each for each in blocks(ROOT / "README.md", "sh") if "graph" in each]
    for part in line.strip().split(" && ")[2:]:
        program, *arguments = shlex.split(part)
        assert program == ".venv/bin/tensorbundle"
        assert main(arguments) == 0
    assert "embedding_weights" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_line(command):
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| `{command} ", page, re.MULTILINE)


def test_readme_links_every_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in text] == []


def test_the_site_has_every_page():
    listed = set(
        re.findall(r"^ +- (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert listed | {"index.md"} == {page.name for page in PAGES[1:]}
