"""The package as a whole: what importing it costs, what it is made of, its errors."""

import copy
import pathlib
import pickle
import re
import subprocess
import sys
import tomllib

import pytest

import tensorbundle as tb
from tensorbundle import errors
from tensorbundle.errors import near_names
from tensorbundle.storage.protocols import SharingError

ROOT = pathlib.Path(__file__).resolve().parents[2]
ERRORS = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")] + [SharingError]


def loaded_after(code):
    """The top-level modules that are loaded in a fresh interpreter after running `code`."""
    script = f"{code}\nimport sys\nprint(*sorted(set(name.partition('.')[0] for name in sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"numpy", "google", "ml_dtypes", "cramjam", "rich", "crc32c", "tensorflow"}


def test_importing_the_package_imports_nothing_else():
    assert loaded_after("import tensorbundle; dir(tensorbundle); tensorbundle.__version__") & HEAVY == set()


def test_listing_needs_no_numpy_and_no_protobuf(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("k", [1.5, 2.5])
    code = f"import tensorbundle as tb; assert [str(e.dtype) for _, e in tb.open({str(tmp_path / 'm')!r}).entries()]"
    assert loaded_after(code) & HEAVY <= {"crc32c"}


def test_public_names():
    assert sorted(tb.__all__) == tb.__all__
    for name in tb.__all__:
        assert getattr(tb, name).__module__.startswith("tensorbundle.")
        assert name in dir(tb)
    with pytest.raises(AttributeError, match="module 'tensorbundle' has no attribute 'nope'"):
        _ = tb.nope
    namespace = {}
    exec("from tensorbundle import *", namespace)
    assert set(tb.__all__) <= set(namespace)


def test_the_list_of_packages_is_that_of_the_folders():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    places = {"bundle": "tensorbundle", "proto": "tensorbundle.proto", "tools": "tensorbundle.tools"}
    found = {}
    for top, package in places.items():
        for init in (ROOT / top).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / top).parts
            found[".".join([package, *inner])] = "/".join([top, *inner])
    assert sorted(settings["packages"]) == sorted(found)
    assert settings["package-dir"] == found


def test_every_module_says_what_it_offers():
    """`__all__` of each names things that exist."""
    for path in [*(ROOT / "bundle").glob("*.py"), *(ROOT / "proto").glob("*.py")]:
        if path.stem not in ("__init__", "__main__", "checkpoint_pb2"):
            package = "tensorbundle" if path.parent.name == "bundle" else "tensorbundle.proto"
            module = __import__(f"{package}.{path.stem}", fromlist=["*"])
            assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_there_are_no_doctests_that_nobody_runs():
    """pytest would import each module a second time for them, under a wrong name."""
    sources = [path for top in ("bundle", "proto", "tools") for path in (ROOT / top).rglob("*.py")]
    assert [path.name for path in sources if ">>>" in path.read_text()] == []


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("where", [{}, {"path": "p", "offset": 4096, "key": "a/b"}, {"key": "\udcff"}])
def test_errors_are_values(error, where):
    """They survive pickling, as what crosses a process boundary must, and copying."""
    original = error("what is wrong", **where)
    for again in (pickle.loads(pickle.dumps(original)), copy.copy(original), copy.deepcopy(original)):
        assert type(again) is error
        assert str(again) == str(original)
        for name in ("reason", "path", "offset", "key"):
            assert getattr(again, name) == getattr(original, name)
    assert isinstance(original, tb.BundleError)


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({}, "reason"),
        ({"path": "m.index"}, "m.index: reason"),
        ({"path": "m.index", "offset": 4096, "key": "a\n"}, "m.index: offset 0x1000: key 'a\\n': reason"),
        ({"offset": 0, "key": ""}, "offset 0x0: key '': reason"),
    ],
)
def test_error_text(where, text):
    for error in ERRORS:
        assert str(error("reason", **where)) == text


def test_errors_are_also_what_python_calls_them():
    assert issubclass(tb.CorruptionError, ValueError)
    assert issubclass(tb.TensorNotFoundError, KeyError)
    assert issubclass(tb.MissingFileError, FileNotFoundError)
    assert issubclass(tb.UnsupportedError, NotImplementedError)


def test_locate_fills_in_what_is_missing():
    error = tb.CorruptionError("reason", offset=0)
    assert error.locate(path="p", offset=7, key="k") is error
    assert (error.path, error.offset, error.key) == ("p", 0, "k")
    assert error.locate(path="q").path == "p"


def test_near_names():
    names = ["dense/kernel", "dense/bias", "dense_1/kernel", "emb", "Adam/m/dense/kernel"]
    assert near_names("dense/kernal", names) == ["dense/kernel", "dense_1/kernel", "Adam/m/dense/kernel"]
    assert near_names("kernel", names) == ["dense/kernel", "dense_1/kernel", "Adam/m/dense/kernel"]
    assert near_names("EMB", names, limit=1) == ["emb"]
    assert near_names("zzz", names) == near_names("zzz", []) == []
    assert near_names("", names) == near_names("/", names) == []


def test_errors_have_kinds_which_the_page_of_commands_lists():
    page = (ROOT / "docs/commands.md").read_text()
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| `([A-Za-z]+Error)` \|", page, re.MULTILINE))
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    kinds = {each.kind: each.__name__ for each in classes if issubclass(each, errors.BundleError)}
    assert kinds == listed
    assert pickle.loads(pickle.dumps(errors.RegionError("no"))).kind == "region"
