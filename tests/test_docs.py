"""What README and the pages in `docs/` show is what happens: their commands, recipes and Python code are run."""

import ast
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import tensorbundle as tb
from support.metadata import keras_metadata
from support.published import bert
from tensorbundle.tools import convert
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


def _stand_ins(page: str, folder: Path) -> None:
    """What the commands of a page name and this repository does not have, small."""
    golden = ROOT / "tests/golden/tf-2.15"
    rng = np.random.default_rng(0)
    if page == "formats.md":
        (folder / "tf1").mkdir()
        for name in ("saved_model", "fresh"):
            shutil.copytree(golden / "keras-saved-model", folder / name)
        shutil.copytree(golden / "keras-saved-model/variables", folder / "run")
        for path in (folder / "run").iterdir():
            path.rename(path.with_name(path.name.replace("variables", "ckpt-1000")))
        inner = {"class_name": "Dense", "config": {"name": "d1", "units": 2}}
        model = {"class_name": "Sequential", "config": {"name": "model", "layers": [inner]}}
        (folder / "model.json").write_text(json.dumps(model), encoding="utf-8")
        convert(folder / "run/ckpt-1000", folder / "fresh.weights.h5", config=folder / "model.json")
        metadata = keras_metadata({"root": model, "root.layer_with_weights-0": inner})
        (folder / "saved_model/keras_metadata.pb").write_bytes(metadata)
        with tb.create(folder / "bert_model.ckpt") as writer:
            for name, shape in bert((0, 11)).items():
                writer.add(name, rng.normal(size=shape).astype(np.float32))
        (folder / "hf").mkdir()
        convert(folder / "saved_model", folder / "tf1/model.ckpt", to="tf1")
    if page == "values.md":
        with tb.create(folder / "run/model.ckpt-1000") as writer:
            writer.add("embeddings/word", rng.normal(size=(3, 2)).astype(np.float32))
        (folder / "old.txt").write_text("a\nb\nc\n", encoding="utf-8")
        (folder / "new.txt").write_text("c\nd\na\ne\n", encoding="utf-8")


@pytest.mark.parametrize("page", ["formats.md", "values.md"])
def test_commands_on_other_files(page, checkout, capsys):
    """Those in blocks of shell commands, on stand-ins for the files; each may write what an earlier one wrote."""
    (checkout / "run").mkdir() if page == "values.md" else None
    _stand_ins(page, checkout)
    lines = [line for block in blocks(ROOT / "docs" / page, "sh") for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("tensorbundle ")]
    assert commands
    for command in commands:
        replaced = ["--overwrite"] if command[0] in ("convert", "rename", "rewrite") else []
        assert main([*command, *replaced]) == 0, command


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
