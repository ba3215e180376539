"""On a narrow terminal no command's lines are wider than it, and nothing is broken in the middle of a word."""

import os
import sys

import pytest

from support.golden import GOLDEN
from tensorbundle.tools.cli import main
from tensorbundle.tools.cli.console import fitted, terminal_width, wrapped

SAMPLE = "sample/model.ckpt-300"
KERAS = "tf-2.15/keras-saved-model"
COMMANDS = [
    ("info", SAMPLE),
    ("ls", SAMPLE),
    ("ls", SAMPLE, "--long"),
    ("ls", KERAS, "--long"),
    ("tree", SAMPLE),
    ("stats", SAMPLE),
    ("show", SAMPLE, "dnn/hiddenlayer_0/kernel"),
    ("graph", KERAS),
    ("graph", KERAS, "--variables"),
    ("verify", SAMPLE),
    ("verify", "tf-2.15/nothing-here"),
    ("diff", SAMPLE, KERAS),
    ("hash", SAMPLE),
    ("check", SAMPLE, "--against", KERAS, "--all"),
    ("convert", SAMPLE, "out", "--to", "tf2", "--dry-run"),
    ("slim", SAMPLE, "out", "--dry-run"),
    ("cast", SAMPLE, "out", "*=bfloat16", "--dry-run", "--long"),
    ("salvage", SAMPLE, "out", "--dry-run"),
    ("manage", "tf-2.15/manager"),
    ("recipes",),
    ("explain", "Key dense/kernel not found in checkpoint"),
]
WIDTH = 60


@pytest.fixture
def printed(capsys, monkeypatch):
    """What a command prints, on standard output and error, on a terminal or not."""
    monkeypatch.chdir(GOLDEN)
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("TERM", "dumb")

    def call(argv, *, terminal):
        for stream in (sys.stdout, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: terminal)
        capsys.readouterr()
        main(argv)
        return "".join(capsys.readouterr())

    return call


def parts(text):
    """The words, and the parts of names that a line may be broken between; drawn branches are not words."""
    return [part for word in text.split() if word.strip("│├└─") for part in word.replace("/", "/ ").split()]


@pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
def test_lines_are_no_wider_than_the_terminal(printed, argv):
    wide, narrow = printed(argv, terminal=False), printed(argv, terminal=True)
    assert parts(narrow) == parts(wide)
    for line in narrow.splitlines():
        unbroken = len(line.split()) == 1 and line.count("/", 0, -1) == 0
        assert len(line) <= WIDTH or unbroken or line.lstrip().startswith("$ tensorbundle ")


def test_no_table_is_changed_where_all_of_it_is_shown(printed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    for argv in COMMANDS:
        if argv[0] not in ("show", "explain", "check"):
            assert printed(argv, terminal=True) == printed(argv, terminal=False)


def test_files_are_printed_as_they_are(printed):
    for argv in (
        ("graph", KERAS, "--format", "dot"),
        ("suggest", SAMPLE, KERAS),
        ("recipes", "--show", "hf:bert"),
    ):
        assert printed(argv, terminal=True) == printed(argv, terminal=False)


@pytest.mark.parametrize(
    ("given", "size", "width"),
    [
        ("", 100, 100),
        ("", 0, 80),
        ("", None, 80),
        ("70", 100, 70),
        ("0", 100, 100),
        ("wide", 100, 100),
        ("-5", 0, 80),
    ],
)
def test_the_width_of_a_terminal(monkeypatch, given, size, width):
    """A terminal that was not told its size says 0, for example in a container."""

    def terminal_size():
        if size is None:
            raise OSError
        return os.terminal_size((size, 24))

    monkeypatch.setenv("COLUMNS", given)
    monkeypatch.setattr(os, "get_terminal_size", terminal_size)
    assert terminal_width() == width


def test_a_name_is_broken_after_a_slash():
    assert wrapped("scope/" * 3 + "x  float32", 13, 2) == ["scope/scope/", "  scope/x", "  float32"]
    assert wrapped("a scope/x", 8) == ["a", "scope/x"]


def test_lines_of_a_tree_are_continued_below_their_text():
    assert fitted("│  ├─ kernel  float32 [38,32]", 20) == [
        "│  ├─ kernel",
        "│  │      float32",
        "│  │      [38,32]",
    ]
    assert fitted("│  └─ a/name/longer/than/lines  4 B", 14) == [
        "│  └─ a/name/",
        "│      longer/",
        "│      than/",
        "│      lines",
        "│      4 B",
    ]
    assert fitted("   $ tensorbundle ls x", 10) == ["   $ tensorbundle ls x"]
    assert fitted("no terminal at all", None) == ["no terminal at all"]
