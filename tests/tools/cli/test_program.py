"""The command line as a whole: dispatch, errors, signals, and what may reach a terminal."""

import contextlib
import errno
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import threading
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain, write_bundle
from support.cli import GOLDEN, SLOW, V215, spawn
from tensorbundle.proto.graph import Attribute, Node, ObjectGraph, RegisteredSaver
from tensorbundle.tools.cli.arguments import load, parser_of
from tensorbundle.tools.cli.catalog import COMMANDS
from tensorbundle.tools.cli.program import main

HERE = Path(__file__).parent
# Commands that only read, with what they need besides the checkpoint.
READING = {"ls": [], "tree": [], "show": ["a"], "graph": [], "verify": []}
# What a command imports at its start takes most of the time that it takes: the modules that `ls` needs. `dataclasses`,
# which imports `inspect`, is not among them.
STANDARD = [
    *("__future__", "argparse", "bisect", "contextlib", "contextvars", "enum", "errno", "fcntl", "functools"),
    *(
        "gc",
        "importlib",
        "importlib.machinery",
        "io",
        "locale",
        "math",
        "mmap",
        "os",
        "re",
        "signal",
        "stat",
        "struct",
        "time",
        "typing",
    ),
]
OVERVIEW = ["errors", "tools", "tools.cli", "tools.cli.catalog", "tools.cli.console", "tools.cli.program"]
LISTING = [
    *(
        "block",
        "checkpoint",
        "coding",
        "dtypes",
        "entries",
        "filenames",
        "foreign",
        "index",
        "keys",
        "limits",
    ),
    *("locating", "members", "slices", "specs", "table"),
    *("storage", "storage.content", "storage.flushing", "storage.local", "storage.paths"),
    *("tools.cli.arguments", "tools.cli.commands", "tools.cli.commands.ls"),
    *("tools.operations", "tools.operations.inspecting", "tools.operations.inspecting.listing"),
]
ARGUMENTS = READING | {"convert": ["{}/new", "--to", "tf2"]}


def arguments(command, path, directory):
    return [command, path, *(each.format(directory) for each in ARGUMENTS[command])]


class TestDispatch:
    @pytest.mark.parametrize("argv", [["--help"], ["-h"], ["help"], []], ids=" ".join)
    def test_help_lists_every_command(self, run, argv, monkeypatch):
        monkeypatch.setenv("COLUMNS", "110")
        out = run(*argv).out
        for name, text in COMMANDS.items():
            assert re.search(rf"^  {name} +{re.escape(text)}$", out, re.MULTILINE)
        assert max(map(len, out.splitlines())) <= 110

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_is_a_module(self, name):
        command = load(name)
        assert shlex.split(command.EXAMPLE)[:2] == ["tensorbundle", name]

    @pytest.mark.parametrize("name", COMMANDS)
    def test_the_example_of_a_command_can_be_parsed(self, name):
        command = load(name)
        parser_of(name, command).parse_args(shlex.split(command.EXAMPLE)[2:])

    @pytest.mark.parametrize("argv", [["{}", "--help"], ["help", "{}"]], ids=["option", "command"])
    @pytest.mark.parametrize("name", COMMANDS)
    def test_help_of_a_command(self, capsys, name, argv):
        with pytest.raises(SystemExit) as caught:
            main([each.format(name) for each in argv])
        assert caught.value.code == 0
        out = capsys.readouterr().out
        assert out.startswith(f"usage: tensorbundle {name} ")
        assert "--json" in out
        assert COMMANDS[name] in " ".join(out.split())

    @pytest.mark.parametrize("name", COMMANDS)
    def test_short_help_of_a_command(self, capsys, name):
        """Fits on a screen, and has an example."""
        with pytest.raises(SystemExit) as caught:
            main([name, "-h"])
        assert caught.value.code == 0
        out = capsys.readouterr().out
        assert out.startswith(f"usage: tensorbundle {name} ")
        assert f"example: {load(name).EXAMPLE}\n" in out
        assert len(out.splitlines()) <= 25
        assert "--json" not in out
        assert not re.search(r"^  [A-Z]+$", out, re.MULTILINE)  # an argument without a word of help

    @pytest.mark.parametrize(
        "argv", [["--help"], ["convert", "--help"], ["convert", "-h"], ["ls", "-h"], ["bench", "-h"]]
    )
    def test_help_on_a_narrow_terminal(self, capsys, monkeypatch, argv):
        def words(width):
            monkeypatch.setenv("COLUMNS", str(width))
            with contextlib.suppress(SystemExit):
                main(argv)
            return capsys.readouterr().out

        wide, narrow = words(200), words(40)
        assert narrow.split() == wide.split()
        assert all(
            len(line) <= 40 or line.startswith("example:") or len(line.split()) < 3
            for line in narrow.splitlines()
        )

    def test_version(self, run):
        assert run("--version").out == f"tensorbundle {tb.__version__}\n"

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            (["frob"], "no command 'frob'; 'tensorbundle help' lists all"),
            (["verfy"], "no command 'verfy'; near: 'verify'; 'tensorbundle help' lists all"),
            (["help", "renam"], "no command 'renam'; near: 'rename'; 'tensorbundle help' lists all"),
            (
                ["--json", "ls"],
                "no option '--json' before the command; 'tensorbundle COMMAND --help' lists those after it",
            ),
            (["\x1b[1m"], r"no command '\x1b[1m'; 'tensorbundle help' lists all"),
        ],
    )
    def test_no_such_command(self, run, argv, message):
        assert run(*argv, status=2).err == f"tensorbundle: {message}\n"

    @pytest.mark.parametrize(
        ("argv", "usage", "message"),
        [
            (
                ["rename", "a", "b", "--regex", "-x=>"],
                "rename SRC DST [OLD=NEW...] [OPTION...]",
                "argument --regex: expected one argument; one that begins with '-' is given as --regex=-...",
            ),
            (
                ["ls"],
                "ls CKPT [PATTERN...] [OPTION...]",
                "the following arguments are required: CKPT",
            ),
            (["ls", "--frob", "x"], "ls CKPT [PATTERN...] [OPTION...]", "no option '--frob'"),
            (
                ["slim", "a", "b", "--overwite=1"],
                "slim SRC DST [OPTION...]",
                "no option '--overwite'; near: '--overwrite', '--no-verify'",
            ),
            (["slim", "a", "b", "c", "d"], "slim SRC DST [OPTION...]", "too many arguments: c d"),
            (
                ["slim", "a", "b", "--over"],
                "slim SRC DST [OPTION...]",
                "no option '--over'; near: '--overwrite', '--no-verify'",
            ),
            (
                ["convert", "a", "b", "--to", "V1"],
                "convert SRC DST [OPTION...]",
                "argument --to: invalid choice: 'V1' (choose from 'tf1', 'tf2', 'v1', 'v2')",
            ),
            (
                ["manage"],
                "manage DIR [ACTION] [OPTION...]",
                "the following arguments are required: DIR",
            ),
            (
                ["reshard", "a", "b"],
                "reshard SRC DST (--shards N | --max-shard-size SIZE)\n       [OPTION...]",
                "one of the arguments --shards --max-shard-size is required",
            ),
        ],
    )
    def test_arguments_that_can_not_be_parsed(self, capsys, argv, usage, message):
        """The usage of the command itself, and what is wrong."""
        with pytest.raises(SystemExit) as caught:
            main(argv)
        out, err = capsys.readouterr()
        assert (caught.value.code, out) == (2, "")
        assert err == f"usage: tensorbundle {usage}\ntensorbundle {argv[0]}: error: {message}\n"

    def test_python_m(self):
        process = spawn("ls", V215 / "guide-tf1")
        assert process.communicate()[0].endswith("3 tensors, 3 elements, 12 B in 1 data shard\n")
        assert process.returncode == 0

    def test_not_in_the_main_thread(self, capsys):
        found = []
        thread = threading.Thread(target=lambda: found.append(main(["ls", str(V215 / "guide-tf1")])))
        thread.start()
        thread.join()
        assert found == [0]

    def test_handlers_of_signals_are_put_back(self, run):
        before = signal.getsignal(signal.SIGTERM)
        run("ls", V215 / "guide-tf1")
        run("ls", V215 / "nope", status=2)
        assert signal.getsignal(signal.SIGTERM) is before

    @pytest.mark.parametrize(
        ("argv", "own"),
        [
            (["ls", V215 / "guide-tf1/tf1-ckpt"], {*OVERVIEW, *LISTING}),
            (["--help"], OVERVIEW),
            (["--version"], OVERVIEW),
            (["help"], OVERVIEW),
        ],
        ids=["ls", "--help", "--version", "help"],
    )
    def test_start_up_imports_little(self, argv, own):
        """Only these modules of ours, and of others only these and what they import themselves."""
        script = (
            f"import sys, {', '.join(STANDARD)}; before = set(sys.modules); "
            "from tensorbundle.tools.cli.program import main; "
            "main(sys.argv[1:]); print(*sys.modules.keys() - before)"
        )
        output = spawn(*argv, script=script).communicate()[0]
        found = {each.removeprefix("tensorbundle.") for each in output.split("\n")[-2].split()}
        # Old versions of crc32c are one extension module.
        assert found - {"tensorbundle", "crc32c"} == set(own)

    @pytest.mark.slow
    def test_without_values_little_is_imported(self, tmp_path):
        """Of name-based checkpoints; importing NumPy takes longer than to check a hundred megabytes."""
        source = V215 / "guide-tf1/tf1-ckpt"
        commands = {
            "verify": ["--jobs=1"],  # several threads need `logging`
            "compact": [tmp_path / "compact"],
            "rename": [tmp_path / "rename", "b=d"],
            "drop": [tmp_path / "drop", "b"],
            "reshard": [tmp_path / "reshard", "--shards=2"],
            "convert": [tmp_path / "convert", "--to=tf2"],
            "diff": [source],
        }
        words = [[name, source, *more] for name, more in commands.items()]
        words += [
            ["convert", source, tmp_path / "m.safetensors"],
            ["compact", tmp_path / "m.safetensors", tmp_path / "m"],
        ]
        found = modules_after(words)
        unneeded = ("markup", "proto.checkpoint_pb2", "tools.keras.layers", "tools.matching.deciding")
        unneeded += ("tools.optimizers.table", "tools.rewriting.multipart")
        others = {"numpy", "google.protobuf", "rich", "html", "logging"}
        assert found & {*others, *unneeded} == set()
        assert all(importlib.util.find_spec(f"tensorbundle.{each}") for each in unneeded)

    @pytest.mark.slow
    def test_object_graphs_need_neither_numpy_nor_protobuf(self, tmp_path):
        source = V215 / "guide-tf2/tf2-ckpt-1"
        commands = {
            "ls": ["--long"],
            "graph": [],
            "verify": ["--jobs=1"],
            "rename": [tmp_path / "rename", "variables=vars"],
            "drop": [tmp_path / "drop", "variables/0"],
            "convert": [tmp_path / "convert", "--to=tf1"],
            "diff": [source],
            "check": ["--against", source],
        }
        found = modules_after([[name, source, *more] for name, more in commands.items()])
        assert found & {"numpy", "google.protobuf", "rich", "logging"} == set()


def modules_after(commands):
    """The modules that commands, which succeed, import in one process; ours without the name of the package."""
    script = (
        "import json, sys; from tensorbundle.tools.cli.program import main; "
        "print([main(each) for each in json.loads(sys.argv[1])], *sys.modules)"
    )
    output = spawn(json.dumps(commands, default=str), script=script).communicate()[0].splitlines()[-1]
    statuses, _, modules = output.partition("] ")
    assert statuses == f"[{', '.join('0' for _ in commands)}"
    return {each.removeprefix("tensorbundle.") for each in modules.split()}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_tests(name):
    assert list(HERE.rglob(f"test_{name}.py"))


def copy(golden, directory):
    shutil.copytree(V215 / golden, directory / "m")
    return directory / "m"


def missing(directory):
    return (
        directory / "nope",
        "{0}: no checkpoint of this name (nope.index does not exist); no checkpoint is there",
    )


def misspelt(directory):
    return copy(
        "guide-tf1", directory
    ) / "tf1-ckp", "{0}: no checkpoint of this name (tf1-ckp.index does not exist); found 'tf1-ckpt'"


def no_directory(directory):
    return directory / "no/m", "{0}: no such directory: '{1}/no'"


def no_state_file(directory):
    path = copy("guide-tf1", directory)
    (path / "checkpoint").unlink()
    shutil.copy(path / "tf1-ckpt.index", path / "other.index")
    return path, "{0}: a directory without a 'checkpoint' state file; found 'other', 'tf1-ckpt'"


def stale_state_file(directory):
    path = copy("guide-tf1", directory)
    (path / "checkpoint").write_text('model_checkpoint_path: "tf1-ckpt-9"\n')
    return (
        path,
        "{0}: its state file names 'tf1-ckpt-9' as the latest checkpoint, which is not there; found 'tf1-ckpt'",
    )


def no_index(directory):
    path = copy("guide-tf1", directory) / "tf1-ckpt"
    path.with_name("tf1-ckpt.index").unlink()
    return path, (
        "{0}.index: no such file, although there is 1 data shard of that name: without its index, "
        "a checkpoint can't be read"
    )


def an_empty_directory(directory):
    (directory / "m").mkdir()
    return directory / "m", "{0}: a directory without a 'checkpoint' state file; no checkpoint is there"


def one_of_two_v1_files(directory):
    path = copy("v1-sharded", directory) / "model.ckpt"
    path.with_name("model.ckpt-00000-of-00002").unlink()
    return path, "{0}-00000-of-00002: no such file: one of the files of a V1 checkpoint is missing"


MISSING = [missing, misspelt, no_directory, no_state_file, stale_state_file, no_index, an_empty_directory]


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("make", MISSING, ids=lambda each: each.__name__)
def test_there_is_no_checkpoint(run, tmp_path, name, make):
    path, message = make(tmp_path)
    assert run.error(*arguments(name, path, tmp_path)) == message.format(path, tmp_path)


@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name != "verify"])
def test_a_file_of_several_is_missing(run, tmp_path, name):
    path, message = one_of_two_v1_files(tmp_path)
    assert run.error(*arguments(name, path, tmp_path)) == message.format(path)


NOT_A_TABLE = r"offset 0x\w+: not a table: magic number 0x\w{16}, expected 0xdb4775248b80fb57: it was cut short, or is something else"


def truncated(data):
    return data[:-1], NOT_A_TABLE


def cut_to_nothing(data):
    return b"", r"offset 0x0: 0 bytes, too short for a table \(its footer takes 48\)"


def of_wrong_magic(data):
    return data[:-1] + b"\0", NOT_A_TABLE


def gzipped(data):
    return b"\x1f\x8b" + data[2:-1] + b"\0", r"offset 0x\w+: not a table: gzip-compressed: unpack it first"


def flipped(data):
    return bytes([data[0] ^ 1]) + data[1:], r"offset 0x0: data block 0: crc32c stored \w{8}, computed \w{8}"


@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name != "verify"])
@pytest.mark.parametrize(
    "damage", [truncated, cut_to_nothing, of_wrong_magic, gzipped, flipped], ids=lambda each: each.__name__
)
def test_the_index_is_damaged(run, tmp_path, name, damage):
    path = copy("guide-tf1", tmp_path) / "tf1-ckpt.index"
    data, message = damage(path.read_bytes())
    path.write_bytes(data)
    found = run.error(*arguments(name, path.with_suffix(""), tmp_path))
    assert re.fullmatch(f"{re.escape(str(path))}: {message}", found)
    assert not list(tmp_path.glob("new*"))


@pytest.mark.parametrize("name", ["show", "convert"])
def test_a_data_shard_is_missing_or_of_another_checkpoint(run, tmp_path, name):
    path = copy("guide-tf1", tmp_path) / "tf1-ckpt.data-00000-of-00001"
    prefix = path.with_suffix("")
    path.write_bytes(b"ANOTHERCKPT!")
    found = run.error(*arguments(name, prefix, tmp_path))
    assert found.startswith(f"{path}: offset 0x0: key 'a': crc32c of 4 bytes: stored dd54c4ab, computed ")
    path.write_bytes(b"TINY")
    found = run.error(*arguments(name, prefix, tmp_path)) if name == "convert" else ""
    assert found in (
        "",
        f"{path}: offset 0x4: key 'b': 4 bytes wanted, the file ends at 4: it is cut short, or belongs to another checkpoint",
    )
    path.unlink()
    assert run.error(*arguments(name, prefix, tmp_path)).startswith(f"{path}: key 'a': no such file")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "some/file"), "some/file: Permission denied"),
        (OSError(errno.EIO, "Input/output error"), "m: Input/output error"),
        (MemoryError(), "not enough memory"),
        (
            tb.CorruptionError("two\nlines", path="a\x1b", key="\udcff\n"),
            r"a\x1b: key '\udcff\n': two\nlines",
        ),
    ],
)
def test_errors_are_one_line(run, monkeypatch, error, message):
    def fail(*_):
        raise error

    monkeypatch.setattr("tensorbundle.tools.cli.commands.ls.open_checkpoint", fail)
    assert run.error("ls", "m") == message
    [record] = run("ls", "m", "--json", status=2).records
    assert list(record) == ["error", "path", "offset", "key", "message"]
    assert record["error"] == ("damaged" if isinstance(error, tb.BundleError) else "failed")


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    "error", [ValueError("a\x1b"), TypeError("a\x1b"), RecursionError("a\x1b")], ids=repr
)
def test_errors_that_nobody_foresaw(run, monkeypatch, error, debug):
    def fail(*_):
        raise error

    monkeypatch.setattr("tensorbundle.tools.cli.commands.ls.open_checkpoint", fail)
    if debug:
        monkeypatch.setenv("TENSORBUNDLE_DEBUG", "1")
    *before, last = run("ls", "m", status=2).err.splitlines()
    assert last == rf"tensorbundle ls: unexpected {type(error).__name__}: a\x1b; please report it"
    assert bool(before) == debug


def test_interrupted(run, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tensorbundle.tools.cli.commands.ls.open_checkpoint", interrupt)
    output = run("ls", "m", status=130)
    assert output.err == "tensorbundle ls: interrupted\n"


class TestQuiet:
    @pytest.mark.parametrize(
        "argv",
        [
            ["ls", V215 / "guide-tf1"],
            ["verify", V215 / "guide-tf1"],
            ["convert", V215 / "guide-tf2", "{}/new", "--to", "tf1"],
            ["slim", GOLDEN / "sample", "{}/new"],
            ["suggest", V215 / "guide-tf1", V215 / "guide-tf1", "-o", "{}/map"],
        ],
        ids=lambda argv: argv[0],
    )
    def test_no_notes_and_no_summary(self, run, tmp_path, argv):
        argv = [each.format(tmp_path) if isinstance(each, str) else each for each in argv]
        output = run(*argv, "-q")
        assert output.err == ""
        assert len(output.out.splitlines()) == (3 if argv[0] == "ls" else 0)

    def test_errors_and_findings_are_printed(self, run, tmp_path):
        assert run("ls", tmp_path / "nope", "--quiet", status=2).err
        assert run("verify", V215 / "unreadable-slices/model.ckpt", "--quiet", status=1).out


class TestJSON:
    @pytest.mark.parametrize("name", ARGUMENTS)
    def test_nothing_but_objects_on_standard_output(self, run, tmp_path, name):
        path = V215 / ("guide-tf2" if name == "graph" else "guide-tf1")
        output = run(*arguments(name, path, tmp_path), "--json")
        assert output.records
        assert output.err == ""

    def test_dry_run_and_found_problems(self, run, tmp_path):
        output = run(*arguments("convert", V215 / "guide-tf1", tmp_path), "--json", "--dry-run")
        assert len(output.records) >= 5
        assert run("verify", V215 / "unreadable-slices/model.ckpt", "--json", status=1).records

    @pytest.mark.parametrize("name", ARGUMENTS)
    def test_errors_are_the_last_object(self, run, name, tmp_path):
        [record] = run(*arguments(name, tmp_path / "nope", tmp_path), "--json", status=2).records
        assert record["error"] == "missing-file"
        assert record["path"] == str(tmp_path / "nope")
        assert record["message"].startswith("no checkpoint of this name")


# Keys as bytes: controls of terminals, C1, the end of a line, text that runs backwards, no UTF-8.
NASTY = [
    b"\x1b[31mred",
    b"a\nb",
    b"c\rd",
    b"\xc2\x9bm",
    "\u202eabc".encode(),
    b"\xff\xfe",
    b"\x00",
    b"\x7f",
    "\u2028".encode(),
]


def harmless(text):
    return all(char.isprintable() or char == "\n" for char in text)


@pytest.fixture
def nasty(tmp_path):
    """A checkpoint with keys that a terminal would act upon, the first tensor damaged."""
    data = np.float32(1).tobytes()
    entries = {key: plain("float32", [], data) for key in NASTY}
    entries[NASTY[0]] = entries[NASTY[0]]._replace(crc32c=1)
    return write_bundle(tmp_path / "m\x1b[1m\udcff", entries, [data])


class TestNothingRawReachesATerminal:
    @pytest.mark.parametrize("options", [[], ["--json"]])
    @pytest.mark.parametrize("name", ["ls", "tree", "verify"])
    def test_keys(self, run, nasty, name, options):
        output = run(name, nasty, *options, status=int(name == "verify"))
        assert harmless(output.out + output.err)
        if options:
            assert output.out.isascii()
        if options and name == "ls":
            keys = {record["key"].encode("utf-8", "surrogateescape") for record in output.records}
            assert keys == set(NASTY)

    def test_long_listing(self, run, nasty):
        output = run("ls", nasty, "-l")
        assert harmless(output.out)
        shown = r"\x1b[31mred a\nb c\rd \x9bm \u202eabc \udcff\udcfe \x00 \x7f \u2028"
        assert {line.split("  ")[0] for line in output.out.split("\n")[1:-2]} == set(shown.split())

    @pytest.mark.parametrize("key", NASTY[1:])
    def test_show(self, run, nasty, key):
        output = run("show", nasty, key.decode("utf-8", "surrogateescape"))
        assert harmless(output.out + output.err)

    def test_errors(self, run, nasty, tmp_path):
        for argv in (
            ["show", nasty, "\x1b[31mred"],
            ["show", nasty, "\x1b[31mre"],
            ["ls", nasty, "\x1b*nope"],
            ["ls", nasty, "re:\x1b("],
            ["ls", tmp_path / "x\x1b\n\x9b"],
            ["convert", nasty, tmp_path / "no\x1b/m", "--to", "tf2"],
            ["convert", nasty, tmp_path / "m", "--to", "tf1"],
        ):
            assert harmless(run.error(*argv))

    @pytest.fixture
    def object_based(self, tmp_path):
        """An object graph with such texts everywhere: names, full names, keys, attributes and savers."""
        nasty = [key.decode() for key in NASTY if key != b"\xff\xfe"]
        root = Node()
        for number, text in enumerate(nasty):
            root.children[text] = Node(
                attributes=[
                    Attribute("VARIABLE_VALUE", f"{number}{text}", f"k{number}{text}"),
                    Attribute(text, text, text),
                ],
                registered_saver=RegisteredSaver(text, text),
            )
        # `verify` has to find something.
        root.children["gone"] = Node(attributes=[Attribute("VARIABLE_VALUE", "", "\x1b[31mgone")])
        with tb.create(tmp_path / "g") as writer:
            for number, text in enumerate(nasty):
                writer.add(f"k{number}{text}", np.float32(number))
                writer.add(f"{text}/.ATTRIBUTES/other", np.float32(number))
            writer.add("text", np.array(list(NASTY), object))
            writer.add("_CHECKPOINTABLE_OBJECT_GRAPH", np.array(ObjectGraph(root).encode(), object))
        return tmp_path / "g"

    @pytest.mark.parametrize(
        "argv",
        [
            ["graph", "{}"],
            ["graph", "{}", "--format", "dot"],
            ["graph", "{}", "--format", "mermaid"],
            ["graph", "{}", "--json"],
            ["verify", "{}"],
            ["show", "{}", "text"],
            ["convert", "{}", "{}-new", "--to", "tf1"],
            ["convert", "{}", "{}-new", "--to", "tf1", "--json"],
            ["convert", "{}", "{}-new", "--to", "tf1", "--dry-run"],
        ],
        ids=" ".join,
    )
    def test_object_graphs(self, run, object_based, argv):
        output = run(*(each.format(object_based) for each in argv), status=int(argv[0] == "verify"))
        assert output.out
        assert harmless(output.out + output.err)


class TestStreams:
    """What standard output may be."""

    @pytest.fixture
    def large(self, tmp_path):
        with tb.create(tmp_path / "m") as writer:
            for number in range(5000):
                writer.add(f"{number:05d}{'x' * 100}", np.float32(1))
        return tmp_path / "m"

    @pytest.mark.slow
    @pytest.mark.parametrize("argv", [["ls"], ["ls", "--json"], ["tree"]], ids=" ".join)
    def test_a_pipe_that_is_closed_early(self, large, argv):
        with spawn(argv[0], large, *argv[1:]) as process:
            assert process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == 0

    @pytest.mark.slow
    def test_a_full_disk(self):
        commands = {"ls": ["ls", V215 / "guide-tf1"], "completion": ["completion", "bash"], "": ["--version"]}
        with open("/dev/full", "w") as full:
            processes = {name: spawn(*argv, stdout=full) for name, argv in commands.items()}
        for name, process in processes.items():
            head = f"tensorbundle {name}".strip()
            assert process.communicate()[1] == f"{head}: standard output: No space left on device\n"
            assert process.returncode == 2

    @pytest.mark.slow
    @pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
    @pytest.mark.parametrize("name", ["ls", "tree", "graph"])
    def test_an_encoding_that_lacks_characters(self, name, encoding):
        """Characters that cannot be printed are written out, as other unprintable ones are."""
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        process = spawn(name, V215 / "odd-names", env=environment, encoding=encoding)
        out, err = process.communicate()
        assert (process.returncode, err) == (0, "")
        assert "odd" in out

    def test_closed(self):
        process = spawn("ls", V215 / "guide-tf1", preexec_fn=lambda: os.close(1))
        assert process.communicate()[1] == ""
        assert process.returncode == 0

    def test_both_closed(self):
        process = spawn("ls", V215 / "nope", preexec_fn=lambda: (os.close(1), os.close(2)))
        process.communicate()
        assert process.returncode == 2


class TestSignals:
    @pytest.fixture
    def large(self, tmp_path):
        with tb.create(tmp_path / "m") as writer:
            for number in range(2):
                if number:
                    writer.start_shard()
                writer.add(f"{number}", np.zeros(3 << 20, np.uint8))
        return tmp_path / "m"

    @pytest.mark.parametrize("jobs", [[], ["--jobs", 2]], ids=["alone", "jobs"])
    @pytest.mark.parametrize(
        ("number", "status", "message"),
        [
            (signal.SIGTERM, 128 + signal.SIGTERM, ""),
            (signal.SIGHUP, 128 + signal.SIGHUP, ""),
            (signal.SIGINT, 130, "tensorbundle convert: interrupted\n"),
        ],
        ids=["SIGTERM", "SIGHUP", "SIGINT"],
    )
    def test_no_temporary_files_are_left(self, tmp_path, large, number, status, message, jobs):
        (tmp_path / "out").mkdir()
        process = spawn(
            "convert",
            large,
            tmp_path / "out/m",
            "--to",
            "tf2",
            "--data",
            "copy",
            *jobs,
            script=SLOW,
            stdin=PIPE,
        )
        assert process.stdout.readline() == "copying\n"
        assert [path for path in (tmp_path / "out").iterdir() if "tempstate" in path.name]
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (status, message)
        assert list((tmp_path / "out").iterdir()) == []

    def test_nohup(self, run, monkeypatch):
        """A signal that our caller ignores stays ignored."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        seen = []
        monkeypatch.setattr(
            "tensorbundle.tools.cli.commands.ls.open_checkpoint",
            lambda *_: seen.append(signal.getsignal(signal.SIGHUP)),
        )
        try:
            run("ls", "m", status=2)
        finally:
            signal.signal(signal.SIGHUP, before)
        assert seen == [signal.SIG_IGN]

    @pytest.mark.slow
    def test_an_overwritten_checkpoint_stays(self, tmp_path, large):
        (tmp_path / "out").mkdir()
        assert main(["convert", str(V215 / "guide-tf1"), str(tmp_path / "out/m"), "--to", "tf2"]) == 0
        before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        process = spawn(
            "convert",
            large,
            tmp_path / "out/m",
            "--to",
            "tf2",
            "--data",
            "copy",
            "--overwrite",
            script=SLOW,
            stdin=PIPE,
        )
        assert process.stdout.readline() == "copying\n"
        process.terminate()
        process.communicate(timeout=30)
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_records_are_the_same_as_the_text(run):
    """One and the same listing, for people and for programs."""
    text = run("ls", V215 / "guide-tf1").out.split("\n")[:-2]
    records = [json.loads(line) for line in run("ls", V215 / "guide-tf1", "--json").out.split("\n")[:-1]]
    assert [line.split()[0] for line in text] == [record["key"] for record in records]
