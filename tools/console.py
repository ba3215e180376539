"""How commands print: text for a person, or one JSON object a line. Nothing of a checkpoint reaches a terminal raw."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Self, TextIO, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["Console", "Progress", "branches", "columns", "escape", "human_bytes", "shape_text"]

Item = TypeVar("Item")


def escape(text: str) -> str:
    """`text` with everything that a terminal might act upon, or could not print, written out."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def human_bytes(size: float) -> str:
    """A size in bytes for a person: `27.2 KiB`."""
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def shape_text(shape: Sequence[int]) -> str:
    """A shape as it is printed everywhere: `[38,32]`, `[]` for a scalar."""
    return f"[{','.join(map(str, shape))}]"


def columns(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> Iterable[str]:
    """Lines with the cells of each row in columns, those numbered in `right` aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = set(right)
    for row in rows:
        cells = [
            cell.rjust(width) if number in aligned else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def branches(top: Sequence[Item], below: Callable[[Item], Sequence[Item]]) -> Iterator[tuple[str, Item]]:
    """Every item of a tree, depth first, with the lines that lead to it; no recursion, as trees may be deep."""
    stack = [(top, 0, "")]
    while stack:
        siblings, position, indent = stack.pop()
        if position == len(siblings):
            continue
        stack.append((siblings, position + 1, indent))
        last = position + 1 == len(siblings)
        yield f"{indent}{'└─ ' if last else '├─ '}", siblings[position]
        stack.append((below(siblings[position]), 0, f"{indent}{'   ' if last else '│  '}"))


class Console:
    """Where one command prints.

    Attributes:
        json: whether standard output takes JSON objects and nothing else.
    """

    def __init__(self, *, as_json: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.json = as_json
        self._out = out or sys.stdout
        self._err = err or sys.stderr

    def text(self, line: str) -> None:
        """Print a line for a person; nothing with `--json`."""
        if not self.json:
            print(line, file=self._out)

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines for a person; nothing with `--json`."""
        if not self.json:
            self._out.writelines(f"{line}\n" for line in lines)

    def record(self, fields: Mapping[str, Any]) -> None:
        """Print a JSON object; nothing without `--json`."""
        if self.json:
            print(json.dumps(fields, separators=(", ", ": ")), file=self._out)

    def note(self, line: str) -> None:
        """Print a message beside the results, on standard error."""
        print(line, file=self._err)

    def progress(self, what: str, total: int) -> Progress:
        """A progress bar on standard error, if that is a terminal and there is enough to do."""
        return Progress(what, total if self._err.isatty() else 0)


class Progress:
    """A progress bar while bytes are moved; shows nothing for less than 256 MiB."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._bar: Any = None
        self._task: Any = None
        self._pending = 0
        self._shown = 0.0

    def __enter__(self) -> Self:
        if self._total >= 1 << 28:
            from rich import console, progress  # take longer to import than most commands take

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
        """So many bytes more are done."""
        self._pending += amount
        if self._bar is not None and time.monotonic() - self._shown > 0.1:
            self._bar.advance(self._task, self._pending)
            self._pending, self._shown = 0, time.monotonic()

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
