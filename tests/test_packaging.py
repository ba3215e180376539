"""The package's metadata, in the places that repeat it."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

import tensorbundle as tb

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_conda_has_the_same_dependencies(project):
    recipe = (ROOT / "conda/recipe.yaml").read_text(encoding="utf-8")
    run = recipe.partition("  run:\n")[2].partition("\n\n")[0]
    found = {line.strip("- ").replace(" ", "") for line in run.splitlines()}
    assert found == {f"python{project['requires-python']}", *project["dependencies"]}
    assert f'version: "{tb.__version__}"' in recipe
    assert f"- tensorbundle = {project['scripts']['tensorbundle']}" in recipe


def test_versions_of_python(project):
    named = [re.search(r":: (3\.\d+)$", each) for each in project["classifiers"]]
    versions = [each[1] for each in named if each]
    assert project["requires-python"] == f">={versions[0]}"
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    assert f"Python {', '.join(versions[:-1])} and {versions[-1]} on Linux" in page


def test_the_description_has_no_relative_links():
    """Which lead nowhere on PyPI."""
    try:
        text = importlib.metadata.metadata("tensorbundle").get_payload()
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed")
    assert "docs/commands.md" in text
    assert re.findall(r"\]\((?!https?:)[^)]*\)", text) == []


def test_every_extra_is_on_the_install_page_or_for_development(project):
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    development = re.compile("test|interop.*|remote-tests|fuzz|browser|docs|dev")
    for extra in project["optional-dependencies"]:
        assert development.fullmatch(extra) or f"tensorbundle[{extra}]" in page


def test_every_extra_that_is_named_exists(project):
    """In documentation, and in messages that tell what to install."""
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    files += [each for folder in ("bundle", "tools") for each in ROOT.glob(f"{folder}/**/*.py")]
    named = {
        (extra, file.name)
        for file in files
        for each in re.findall(
            r"(?:tensorbundle|install -e '?\.|install '?\.)\[([a-z][a-z,-]*)\]", file.read_text("utf-8")
        )
        for extra in each.split(",")
    }
    assert {("remote", "remote.md"), ("distributed", "cluster.py"), ("keras", "hdf5_index.py")} <= named
    assert {extra for extra, _ in named} <= set(project["optional-dependencies"])
