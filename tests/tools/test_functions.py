"""Every command is a function under its name, with the errors and the words of the command."""

import inspect

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import snapshot
from support.rewriting import assert_sound, by_path, keras_like, write, write_objects
from tensorbundle import tools
from tensorbundle.tools import Summary, TransferOptions
from tensorbundle.tools.cli.catalog import COMMANDS
from tensorbundle.tools.operations import functions
from tensorbundle.tools.operations.steps.recipe import STEPS

W = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "m", {"a/w": W, "a/w/Adam": W, "n": np.int64(1)}, cuts={"a/w/Adam": (2, 0)})


@pytest.fixture
def call(tmp_path, source):
    """Calls a function with what a person might give it, on a source and into `tmp_path`/out."""
    (tmp_path / "v").write_text("x\ny\n")
    out = tmp_path / "out"
    arguments = {
        "average": ([source, source], out),
        "merge": ({"one": source, "two": source}, out),
        "cast": (source, out, {"*w": "float16"}),
        "compact": (source, out),
        "concat": (source, out, ["n"], "m"),
        "convert": (source, out),
        "drop": (source, out, "n"),
        "extract": (source, out, ["a*"]),
        "partition": (source, out, {"a/w": 2}),
        "rename": (source, out, {"a/": "b/"}),
        "reshape": (source, out, {"a/w": [-1]}),
        "reshard": (source, out),
        "resize": (source, out, "a/w"),
        "set": (source, out, {"n": 3}),
        "slim": (source, out),
        "split": (source, out, "a/w/Adam", {"p": 1, "q": 1}),
        "transpose": (source, out, {"a/w": [1, 0]}),
        "unpartition": (source, out),
    }
    options = {
        "convert": {"to": "tf2"},
        "concat": {"axis": 0},
        "reshard": {"shards": 2},
        "resize": {"old_vocab": tmp_path / "v", "new_vocab": tmp_path / "v", "oov": 1},
        "rename": {"regex": {"b": "c"}},
    }

    def make(name, **more):
        if name == "concat" and not (tmp_path / "vector.index").exists():
            write(tmp_path / "vector", {"n": W[0]})
            arguments["concat"] = (tmp_path / "vector", out, ["n"], "m")
        return getattr(tools, name)(*arguments[name], **options.get(name, {}), **more)

    return make


def test_every_command_is_a_function():
    commands = COMMANDS.keys() - {"completion"}  # which is about the command line itself
    assert commands <= set(tools.__all__)
    assert sorted(tools.__all__) == sorted(tools._HOMES)
    for name in commands:
        assert inspect.getdoc(getattr(tools, name)), name


def test_every_step_is_a_function_and_a_command():
    assert STEPS.keys() <= set(functions.__all__) & COMMANDS.keys()


@pytest.mark.parametrize("name", sorted(STEPS))
def test_functions_make_checkpoints(tmp_path, call, name):
    before = snapshot(tmp_path)
    summary = call(name, options=TransferOptions(data="copy"))
    assert isinstance(summary, Summary)
    assert summary.bytes_shared == 0
    assert_sound(tmp_path / "out")
    with pytest.raises(tb.ConflictError, match="exists"):
        call(name)
    assert call(name, options=TransferOptions(overwrite=True)).prefix == str(tmp_path / "out")
    after = snapshot(tmp_path)
    assert {path: after[path] for path in before} == before


def test_what_rename_does(tmp_path, source):
    tools.rename(source, tmp_path / "out", {"a/": "b/"}, regex={"^b": "c"})
    assert sorted(tb.open(tmp_path / "out")) == ["c/w", "c/w/Adam", "n"]
    (tmp_path / "map").write_text("n = m\n")
    tools.rename(source, tmp_path / "two", map=tmp_path / "map")
    assert sorted(tb.open(tmp_path / "two")) == ["a/w", "a/w/Adam", "m"]


def test_merging_under_names(tmp_path, call):
    call("merge")
    assert sorted(tb.open(tmp_path / "out"))[:2] == ["one/a/w", "one/a/w/Adam"]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("convert", {"to": "V1"}, "step convert: to = 'V1', expected 'tf1', 'tf2', 'v1' or 'v2'"),
        ("convert", {"to": "tf2", "names": "nice"}, "step convert: names = 'nice', expected 'auto', 'keys' or 'full-names'"),
        ("convert", {"to": ["tf2"]}, "step convert: to = ['tf2'], expected"),
        ("convert", {"to": "tf2", "save_counter": "no"}, "step convert: 'no' is neither true nor false"),
        ("convert", {"to": "tf2", "map": {1: "a"}}, "step convert: {1: 'a'} is not a table"),
        ("cast", {"rules": {"*": "Float16"}}, "no data type 'Float16'"),
        ("cast", {"rules": "bfloat16"}, "'bfloat16' is not a table"),
        ("reshard", {"shards": "2"}, "step reshard: '2' is not a whole number"),
        ("reshard", {"max_shard_size": "big"}, "'big' is not a size"),
        ("rename", {"rules": {"a/w": 1}}, "step rename: 1 is not text"),
        ("rename", {"map": "nope"}, "nope: no such map"),
        ("transpose", {"axes": {"a/w": "10"}}, "step transpose: '10' is not a list of whole numbers"),
        ("partition", {"parts": {"a/w": 1.5}}, "step partition: 1.5 is not a whole number"),
    ],
    ids=str,
)  # fmt: skip
def test_arguments_are_refused_as_on_the_command_line(tmp_path, source, name, arguments, message):
    with pytest.raises(tb.BundleError) as caught:
        getattr(tools, name)(source, tmp_path / "out", **arguments)
    assert message in str(caught.value)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: TransferOptions(data="cpy"), "data = 'cpy', expected 'share' or 'copy'"),
        (lambda path: tools.merge([path, path], "o", prefer="frist"), "prefer = 'frist', expected 'first' or 'last'"),
        (lambda path: tools.average([], "o"), "[] is not a list of checkpoints"),
        (lambda path: tools.merge(path, "o"), "is not a list of checkpoints"),
        (lambda path: tools.average([path], "o", accumulator="float16"), "accumulator = 'float16', expected"),
        (lambda path: tools.check(path, path, method="load"), "method = 'load', expected 'restore' or 'read'"),
        (lambda path: tools.manage("/", "delete"), "action = 'delete', expected 'list', 'add'"),
        (lambda path: tools.manage("/", "prune"), "prune needs max_to_keep"),
        (lambda path: tools.rewrite(path, "o", cast={"*": "float16"}, slimm=True), "no step 'slimm'; near: 'slim'"),
    ],
)  # fmt: skip
def test_words(source, call, message):
    with pytest.raises(tb.BundleError) as caught:
        call(source)
    assert message in str(caught.value)


def test_functions_that_look(tmp_path, source):
    assert [each.key for each in tools.ls(source, ["a*"])] == ["a/w", "a/w/Adam"]
    assert tools.ls(source)[0].to_json()["shape"] == [2, 3]
    assert [(path, scope.tensors) for path, scope in tools.tree(source).walk(1)] == [
        ("", 3),
        ("a", 2),
        ("n", 1),
    ]
    [shown] = tools.show(source, ["a/w[1,:]"])
    assert (shown.key, shown.values.tolist(), shown.verified) == ("a/w", [3, 4, 5], False)
    with pytest.raises(tb.UnsupportedError, match="has no object graph"):
        tools.graph(source)
    objects = write_objects(tmp_path / "o", keras_like())
    view = tools.graph(objects, depth=1)
    assert set(view.paths.values()) >= {"", "model", "optimizer"}
    assert len(by_path(objects)) < len(view.graph.nodes)
    assert tools.manage(tmp_path).state is None
    tools.manage(tmp_path, "add", ["m"])
    assert tools.latest(str(tmp_path)).found.prefix == source
    assert tools.manage(tmp_path, "prune", max_to_keep=1, dry_run=True).steps == ()
