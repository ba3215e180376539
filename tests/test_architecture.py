"""The code is what CONTRIBUTING.md and the folders' docstrings say: which modules there are, and who imports whom."""

import ast
import functools
import re

import pytest

from support.source import ROOT, TOPS, statements
from tensorbundle.tools.cli.catalog import COMMANDS

PATHS = sorted(path.relative_to(ROOT).as_posix() for top in TOPS for path in (ROOT / top).rglob("*.py"))
FOLDERS = [path.removesuffix("/__init__.py") for path in PATHS if path.endswith("/__init__.py")]
COMMAND_FOLDER = "tools/cli/commands"
GENERATED = "proto/checkpoint_pb2.py"
ENTRANCES = {  # they import from all layers, lazily; modules import nothing but `__version__` from them
    "bundle/__init__.py",
    "bundle/__main__.py",
    "tools/__init__.py",
}
# Imports against the order: (importing module, imported module). None may be added.
UPWARDS: set[tuple[str, str]] = set()
MOST_LINES = 600


def layers(text):
    """What the table of layers says: the number of the layer of each module (`a.py`) or folder (`b/`), lowest first."""
    rows = re.findall(r"^\| [\w ]+ \| (`[^|]*) \|", text, re.MULTILINE)
    found = {}
    for layer, row in enumerate(rows):
        for name in re.findall(r"`([^`]+)`", row):
            found[name if name.startswith(tuple(TOPS)) else f"bundle/{name}"] = layer
    return found


PLACES = layers((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def tree(path):
    """The syntax tree of a module."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


@functools.cache
def listed(folder):
    """The modules (`a.py`) and folders (`b/`) that the docstring of a folder names, in its order."""
    return re.findall(r"`(\w+(?:\.py|/))`", ast.get_docstring(tree(f"{folder}/__init__.py")))


def contained(folder):
    """The modules and folders in a folder."""
    inner = [path.removeprefix(f"{folder}/").split("/") for path in PATHS if path.startswith(f"{folder}/")]
    return {first + "/" * bool(rest) for first, *rest in inner} - {"__init__.py"}


def places(path):
    """Where the table of layers has a module: once, if all is well."""
    return [place for place in PLACES if path == place or (place.endswith("/") and path.startswith(place))]


@functools.cache
def rank(path):
    """Orders all modules: by layer, place in the table, and places in the docstrings of the folders; `__init__` is last."""
    place = next(iter(places(path)), None) or pytest.fail(
        f"{path} is not in CONTRIBUTING.md's table of layers"
    )
    ranks, folder, rest = [PLACES[place], list(PLACES).index(place)], place, path.removeprefix(place)
    while rest and folder != COMMAND_FOLDER + "/":
        name, slash, rest = rest.partition("/")
        names = listed(folder.removesuffix("/"))
        ranks.append(names.index(name + slash) if name + slash in names else len(names))
        folder += name + slash
    return ranks


@functools.cache
def module_path(name):
    """The file of a module of ours with a dotted name, or None."""
    top, package = next(
        ((top, each) for top, each in reversed(TOPS.items()) if f"{name}.".startswith(f"{each}.")),
        (None, None),
    )
    if top is None:
        return None
    base = "/".join([top, *name.removeprefix(package).split(".")[1:]])
    return next((each for each in (f"{base}.py", f"{base}/__init__.py") if each in PATHS), None)


def imports(module):
    """The files of ours that a module imports, in functions and for type checkers too."""
    for node in statements(module):
        if isinstance(node, ast.Import):
            found = [module_path(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names if alias.name != "__version__"]
            found = [module_path(f"{node.module}.{name}") or module_path(node.module) for name in names]
        else:
            continue
        yield from filter(None, found)


def upwards(path, imported):
    """Whether an import is one of a module that does not come before the importing one."""
    return imported in ENTRANCES or rank(imported) >= rank(path)


def test_every_module_is_in_one_layer():
    """A new module of `bundle/`, or a new folder, needs a place in CONTRIBUTING.md."""
    assert {path: places(path) for path in PATHS if len(places(path)) != (path not in ENTRANCES)} == {}
    assert [place for place in PLACES if not any(place in places(path) for path in PATHS)] == []


@pytest.mark.parametrize("folder", [each for each in FOLDERS if each not in ("bundle", COMMAND_FOLDER)])
def test_docstrings_of_folders_list_their_modules(folder):
    assert sorted(listed(folder)) == sorted(contained(folder))


def test_the_docstring_of_the_package_lists_the_layers():
    """In the order of CONTRIBUTING.md, as far as they are in `bundle/`."""
    assert listed("bundle") == [
        place.removeprefix("bundle/") for place in PLACES if place.startswith("bundle/")
    ]


def test_every_module_in_the_folder_of_commands_is_a_command():
    assert contained(COMMAND_FOLDER) == {f"{name}.py" for name in COMMANDS}


def test_modules_import_only_from_those_before_them():
    found = {
        (path, each)
        for path in PATHS
        if path not in ENTRANCES
        for each in imports(tree(path))
        if upwards(path, each)
    }
    assert found == UPWARDS


def test_imports_in_functions_and_for_type_checkers_count():
    module = ast.parse(
        "import tensorbundle.table\nif TYPE_CHECKING:\n from tensorbundle import block, DType\n"
        "def f():\n from tensorbundle.storage.local import LocalFile\n import os\n from tensorbundle.proto import paths"
    )
    assert sorted(imports(module)) == [
        "bundle/__init__.py",
        "bundle/block.py",
        "bundle/storage/local.py",
        "bundle/table.py",
        "proto/paths.py",
    ]


@pytest.mark.parametrize(
    ("path", "imported", "expected"),
    [
        ("bundle/table.py", "bundle/block.py", False),
        ("bundle/block.py", "bundle/table.py", True),  # the order in a row of the table
        ("bundle/table.py", "bundle/index.py", True),  # a higher layer
        ("bundle/storage/staging.py", "bundle/storage/local.py", True),  # the order in a docstring
        ("bundle/storage/local.py", "bundle/storage/staging.py", False),
        ("tools/operations/editing/layout.py", "tools/operations/converting/fitting.py", True),
        ("tools/cli/commands/ls.py", "tools/cli/commands/show.py", True),
        ("tools/cli/commands/ls.py", "tools/cli/console.py", False),
        ("tools/cli/program.py", "tools/cli/commands/ls.py", False),
        ("bundle/table.py", "bundle/__init__.py", True),
    ],
)
def test_order(path, imported, expected):
    assert upwards(path, imported) == expected


def test_modules_can_be_read_in_one_sitting():
    lines = {
        path: len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for path in PATHS
        if path != GENERATED
    }
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}
