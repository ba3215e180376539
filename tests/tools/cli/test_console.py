"""How commands print."""

import io
import json

import pytest

from tensorbundle.tools.cli.console import (
    Console,
    Progress,
    branches,
    columns,
    counted,
    escape,
    human_bytes,
    wrapped,
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text/with_all~things!", None),
        ("ünïcode ✓ 漢字 😀", None),
        ("back\\slash", None),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[31m\x07\x7f\x00", r"\x1b[31m\x07\x7f\x00"),
        ("\x9b\x85\u2028\u202e\ufeff", r"\x9b\x85\u2028\u202e\ufeff"),
        ("\udcff\udc80", r"\udcff\udc80"),
        ("\U000e0001ü", r"\U000e0001ü"),
        ("", None),
    ],
)
def test_escape(text, expected):
    assert escape(text) == (text if expected is None else expected)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (27880, "27.2 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (1 << 20, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (3 << 40, "3.0 TiB"),
        (5000 << 40, "5000.0 TiB"),
    ],
)
def test_human_bytes(size, expected):
    assert human_bytes(size) == expected


def test_columns():
    rows = [["a", "1", ""], ["long", "1000", "x"], ["", "20", "yy"]]
    assert list(columns(rows, right=(1,))) == ["a        1", "long  1000  x", "        20  yy"]
    assert list(columns([["a", ""]])) == ["a"]
    assert list(columns([])) == []


def test_columns_of_a_long_table_are_printed_before_its_end_is_known():
    taken = []
    rows = (taken.append(number) or ("long" if number == 9 else "", str(number)) for number in range(10_002))
    lines = columns(rows, right=(1,))
    assert next(lines) == "         0"
    assert len(taken) == 10_000
    assert list(lines)[-3:] == ["      9999", "      10000", "      10001"]


def test_branches():
    tree = {"a": {"b": {}, "c": {"d": {}}}, "e": {}}
    found = [
        lead + item[0] for lead, item in branches(list(tree.items()), lambda item: list(item[1].items()))
    ]
    assert found == ["├─ a", "│  ├─ b", "│  └─ c", "│     └─ d", "└─ e"]
    assert list(branches([], lambda _: [])) == []


def test_branches_of_a_deep_tree():
    found = list(branches([0], lambda number: [number + 1] if number < 4000 else []))
    assert len(found) == 4001
    assert found[2] == ("      └─ ", 2)


class TestConsole:
    @pytest.fixture
    def streams(self):
        return io.StringIO(), io.StringIO()

    def test_text(self, streams):
        console = Console(as_json=False, out=streams[0], err=streams[1])
        console.text("one")
        console.lines(iter(["two", "three"]))
        console.record({"no": 1})
        console.note("beside")
        assert [each.getvalue() for each in streams] == ["one\ntwo\nthree\n", "beside\n"]

    def test_nothing_raw(self, streams):
        console = Console(as_json=False, out=streams[0], err=streams[1])
        console.text("a\x1b")
        console.lines(["b\n"])
        console.note("c\x9b")
        assert [each.getvalue() for each in streams] == ["a\\x1b\nb\\n\n", "c\\x9b\n"]

    def test_json(self, streams):
        console = Console(as_json=True, out=streams[0], err=streams[1])
        console.text("one")
        console.lines(["two"])
        console.record({"a": [1, None], "b": "ü\n\x1b\udcff"})
        console.record({})
        console.note("beside")
        assert [each.getvalue() for each in streams] == [
            '{"a": [1, null], "b": "\\u00fc\\n\\u001b\\udcff"}\n{}\n',
            "beside\n",
        ]
        assert json.loads(streams[0].getvalue().split("\n")[0])["b"] == "ü\n\x1b\udcff"


class TestProgress:
    @pytest.mark.parametrize(("total", "shown"), [(1 << 28, True), (1 << 27, False), (0, False)])
    def test_a_bar_is_shown_on_a_terminal_if_there_is_much_to_do(self, monkeypatch, total, shown):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        with Console(as_json=True, out=io.StringIO(), err=terminal).progress("copy", total) as progress:
            progress(total // 2)
            progress(total // 2)
        assert ("copy" in terminal.getvalue()) == shown

    def test_nothing_is_shown_elsewhere(self):
        out, err = io.StringIO(), io.StringIO()
        with Console(as_json=False, out=out, err=err).progress("copy", 1 << 40) as progress:
            progress(1 << 39)
        assert out.getvalue() == err.getvalue() == ""

    def test_the_bar_goes_when_something_fails(self, monkeypatch):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)

        def copy():
            with Progress("copy", 1 << 30):
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            copy()
        assert "\x1b[?25h" in terminal.getvalue()  # the cursor is back


def test_a_very_long_name_leaves_the_other_lines_as_they_are():
    rows = [["a", "float32", "4 B"], ["x" * 200, "int8", "1 B"], ["bc", "int8", "10 B"]]
    assert list(columns(rows, right=(2,))) == [
        "a   float32   4 B",
        f"{'x' * 200}  int8      1 B",
        "bc  int8     10 B",
    ]
    assert next(iter(columns([["x" * 200, "1"]]))) == f"{'x' * 200}  1"


def test_counted():
    assert (counted(0, "tensor"), counted(1, "tensor"), counted(2000, "tensor")) == (
        "0 tensors",
        "1 tensor",
        "2,000 tensors",
    )


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(monkeypatch, variables, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    out = Terminal()
    Console(as_json=False, out=out).text("gone\x1b[0m", "bad")
    assert out.getvalue() == ("\x1b[31mgone\\x1b[0m\x1b[0m\n" if coloured else "gone\\x1b[0m\n")
    out = io.StringIO()
    Console(as_json=False, out=out).text("gone", "bad")
    assert out.getvalue() == "gone\n"


def test_lines_are_wrapped_between_words():
    assert wrapped("  one two-three four", 10, 4) == ["  one", "    two-three", "    four"]
    assert wrapped("x" * 30, 10) == ["x" * 30]
    assert wrapped("short  text", 11) == ["short  text"]
