"""Output of commands: text for people, or one JSON object per line. Text from checkpoints is always escaped."""

from __future__ import annotations

import itertools
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Self, TextIO, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tensorbundle.errors import BundleError
    from tensorbundle.tools.rewriting.plan import LeftOut

__all__ = [
    "DRAWN_DEPTH",
    "STANDARD_OUTPUT",
    "Console",
    "Progress",
    "about",
    "branches",
    "columns",
    "counted",
    "escape",
    "fitted",
    "human_bytes",
    "left_out_lines",
    "print_message",
    "shell",
    "terminal_width",
    "wrapped",
]

Item = TypeVar("Item")
# SGR codes of colours, by what they say of a line.
_COLOURS: Final = {"good": "32", "bad": "31", "changed": "33"}
STANDARD_OUTPUT: Final = "standard output"
_COLUMNS: Final = 80
_DRAWN: Final = " │├└─"  # what may be before the text of a line: indents and the branches of trees
_GOES_ON: Final = str.maketrans("├└─", "│  ")  # what is below these
_LONG_NAME: Final = 100  # characters of a first cell; longer ones do not widen their column
_SHOWN: Final = 3  # keys in a note
_ROWS_AT_ONCE: Final = 10_000  # of a table, whose columns are as wide as they need
DRAWN_DEPTH: Final = 200  # of trees by default: the length of all indents grows with the square of the depth


def escape(text: str) -> str:
    """`text` with control characters and unprintable characters replaced by escape sequences."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def human_bytes(size: float) -> str:
    """A size in bytes as text for people: `27.2 KiB`."""
    if round(size) < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if round(size, 1) < 1024:  # as it is printed: never "1024.0 KiB"
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 tensor`, `2,000 tensors`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def terminal_width() -> int:
    """Columns of the terminal; 80 where there is none, or one without a size. `COLUMNS` decides if it is set."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size().columns or _COLUMNS
    except OSError:  # not a terminal
        return _COLUMNS


def wrapped(text: str, width: int, indent: int = 0, lead: str = "") -> list[str]:
    """`text` in lines of at most `width` columns, further ones indented, after `lead`.

    No word is broken, except that a name that is longer than a line is broken after `/`.
    """
    if len(text) <= width:
        return [text]
    lines = []
    line, spaces = "", 0
    for word in text.split(" "):
        if not word:
            spaces += 1
            continue
        whole = len(word) <= width - indent
        for part in [word] if whole else word.replace("/", "/ ").split():
            if len(line) + spaces + len(part) <= width or not line.strip(_DRAWN):
                line += " " * spaces + part
            else:
                lines.append(line)
                line = lead.ljust(indent) + part
            spaces = 0
        spaces = 1
    return [*lines, line]


def fitted(line: str, width: int | None) -> list[str]:
    """An output line in as many lines as a terminal needs, if there is one. Shell commands stay whole, to be copied."""
    if width is None or len(line) <= width:
        return [line]
    text = line.lstrip(_DRAWN)
    if text.startswith("$ "):
        return [line]
    indent = min(len(line) - len(text) + 4, width // 2)
    return wrapped(line, width, indent, line[: len(line) - len(text)].translate(_GOES_ON)[:indent])


def shell(*arguments: str) -> str:
    """A tensorbundle command, quoted for a shell."""
    import shlex  # which only advice needs

    return shlex.join(["tensorbundle", *arguments])


def print_message(message: str, stream: TextIO) -> None:
    """Print a message for people, escaped; on a narrow terminal in several lines."""
    width = terminal_width() if stream.isatty() else None
    stream.writelines(f"{line}\n" for line in fitted(escape(message), width))


def columns(
    rows: Iterable[Sequence[str]], right: Iterable[int] = (), width: int | None = None
) -> Iterator[str]:
    """Lines with the cells of each row in columns, those numbered in `right` aligned to the right.

    If they would be wider than `width`, there are only two spaces between cells, so that most lines fit.

    Rows are read 10,000 at a time, so that lines of a long table can be printed before its end is known: its columns may
    get wider on the way.
    """
    aligned = set(right)
    left = iter(rows)
    widths: list[int] = []
    while some := list(itertools.islice(left, _ROWS_AT_ONCE)):
        found = [max(map(len, column)) for column in zip(*some, strict=True)]
        # A very long name takes its own line out of the columns, and not all others too.
        found[0] = max((len(row[0]) for row in some if len(row[0]) <= _LONG_NAME), default=0) or found[0]
        widths = list(map(max, found, widths or found))
        if width is not None and sum(widths) + 2 * len(widths) - 2 > width:
            for row in some:
                yield "  ".join(filter(None, row))
            continue
        line = "  ".join(
            f"{{:{'>' if number in aligned else '<'}{width}}}" for number, width in enumerate(widths)
        )
        for row in some:
            yield line.format(*row).rstrip()


def branches(top: Sequence[Item], below: Callable[[Item], Sequence[Item]]) -> Iterator[tuple[str, Item]]:
    """Every item of a tree, depth first, with the lines to draw before it; no recursion, because trees may be deep."""
    stack = [(top, 0)]
    indents: list[
        str
    ] = []  # a part for each level; complete indents for all of them would need quadratic memory
    while stack:
        siblings, position = stack.pop()
        del indents[len(stack) :]
        if position == len(siblings):
            continue
        stack.append((siblings, position + 1))
        last = position + 1 == len(siblings)
        yield f"{''.join(indents)}{'└─ ' if last else '├─ '}", siblings[position]
        indents.append("   " if last else "│  ")
        stack.append((below(siblings[position]), 0))


def about(what: str, keys: Sequence[str], *, everything: bool, option: str = "--long") -> list[str]:
    """A note about some tensors: one line with the first of them, or with `everything`, which `option` sets, one for each."""
    if everything:
        return [f"{what}: {escape(key)}" for key in keys]
    first = ", ".join(map(escape, keys[:_SHOWN]))
    if len(keys) <= _SHOWN:
        return [f"{what}: {first}"]
    return [f"{what}: {len(keys)} tensors ({first}, ...; {option} lists them)"]


def left_out_lines(left_out: Iterable[LeftOut], *, everything: bool, option: str = "--long") -> Iterator[str]:
    """Notes about tensors that an output has no place for, by reason."""
    reasons: dict[str, list[str]] = {}
    for left in left_out:
        reasons.setdefault(left.reason, []).append(left.key)
    for reason, keys in reasons.items():
        yield from about(f"left out, {reason}", keys, everything=everything, option=option)


class Console:
    """The output of one command. Lines are escaped here again, in case a caller did not.

    Attributes:
        json: whether standard output contains only JSON objects.
        quiet: whether notes, summaries and progress are omitted.
        width: columns of the terminal that standard output is; None if it is none.
    """

    def __init__(
        self,
        *,
        as_json: bool,
        quiet: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self.json = as_json
        self.quiet = quiet
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self.width = terminal_width() if self._out.isatty() else None
        self._coloured = (  # https://no-color.org
            self.width is not None and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )

    def text(self, line: str, colour: str | None = None) -> None:
        """Print a line for people, on a terminal as several if it is too narrow; nothing with `--json`.

        Args:
            line: the text.
            colour: "good", "bad" or "changed", for terminals that want colours.
        """
        if not self.json:
            for each in fitted(escape(line), self.width):
                self._put(f"\x1b[{_COLOURS[colour]}m{each}\x1b[0m" if colour and self._coloured else each)

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines for people, as `text` does."""
        if self.width is None:
            self.file(lines)
            return
        for line in () if self.json else lines:
            self.text(line)

    def table(self, rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> None:
        """Print rows of cells in columns, as `columns` does, as wide as the terminal; nothing with `--json`."""
        if not self.json:
            self.lines(columns(rows, right, self.width))

    def file(self, lines: Iterable[str]) -> None:
        """Print the lines of a file, as they are; nothing with `--json`."""
        for line in () if self.json else lines:
            self._put(escape(line))

    def summary(self, line: str) -> None:
        """Print a summary line for people; nothing with `--json` or `--quiet`."""
        if not self.quiet:
            self.text(line)

    def record(self, fields: Mapping[str, Any]) -> None:
        """Print a JSON object; nothing without `--json`."""
        if self.json:
            import json  # not needed without --json

            self._put(json.dumps(fields))

    def note(self, line: str) -> None:
        """Print a message on standard error; nothing with `--quiet`."""
        if not self.quiet:
            print_message(line, self._err)

    def error(self, command: str, error: BundleError) -> None:
        """Print why something could not be done on standard error, also with `--quiet`; with `--json` as an object, too."""
        print_message(f"tensorbundle {command}: {error}", self._err)
        fields = {"error": error.kind, "path": error.path, "offset": error.offset, "key": error.key}
        self.record({**fields, "message": error.reason})

    def flush(self) -> None:
        """Write buffered output.

        Raises:
            OSError: standard output can't be written; the error names it.
        """
        try:
            self._out.flush()
        except OSError as error:
            raise _named(error) from None

    def _put(self, line: str) -> None:
        try:
            self._out.write(f"{line}\n")
        except OSError as error:
            raise _named(error) from None

    @property
    def shows_progress(self) -> bool:
        """Whether standard error is a terminal, without `--quiet`."""
        return not self.quiet and self._err.isatty()

    def progress(self, what: str, total: int) -> Progress:
        """A progress bar on standard error, if that is a terminal and the total is large."""
        return Progress(what, total if self.shows_progress else 0)


def _named(error: OSError) -> OSError:
    """An error of standard output, with this as its file name."""
    return OSError(error.errno, error.strerror, STANDARD_OUTPUT)


class Progress:
    """A progress bar for processed bytes; not shown for less than 256 MiB."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._bar: Any = None
        self._task: Any = None
        self._pending = 0
        self._shown = 0.0

    def __enter__(self) -> Self:
        if self._total >= 1 << 28:
            from rich import console, progress  # importing these takes longer than most commands

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.DownloadColumn(binary_units=True),
                progress.TransferSpeedColumn(),
                progress.TimeRemainingColumn(),
                console=console.Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=self._total)
        return self

    def __call__(self, amount: int) -> None:
        """Add `amount` bytes to the processed ones."""
        self._pending += amount
        if self._bar is not None and time.monotonic() - self._shown > 0.1:
            self._bar.advance(self._task, self._pending)
            self._pending, self._shown = 0, time.monotonic()

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
