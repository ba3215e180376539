"""`tensorbundle explain`: the meaning of an error message, and what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError
from tensorbundle.tools.cli.console import escape
from tensorbundle.tools.cli.reading import problem_line
from tensorbundle.tools.operations.directories.checking import verify
from tensorbundle.tools.operations.explaining.explanation import explain

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tensorbundle.entries import TensorEntry
    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.explaining.explanation import Explanation

EXAMPLE = "tensorbundle explain 'not an sstable (bad magic number)' --checkpoint run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "text", metavar="TEXT", nargs="*", help="the message, or - to read it from standard input"
    )
    parser.add_argument(
        "--checkpoint", metavar="CKPT", help="the checkpoint that the message is about, to be examined, too"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the meaning of the messages; the status is 2 if none is known. Without TEXT, only look at the checkpoint."""
    text = " ".join(args.text)
    is_asked = bool(text) or args.checkpoint is None
    if is_asked and text in ("", "-"):
        text = sys.stdin.read()
    found = explain(text, _entries(args.checkpoint))
    for each in found:
        console.record(each.to_json())
        console.lines(_text(each))
    if args.checkpoint is not None:
        _look(args.checkpoint, console)
    if is_asked and not found:
        raise BundleError(
            "not a known message; give the text of TensorFlow or Keras, or its first line if it is long"
            + ("" if args.checkpoint else ", or --checkpoint CKPT")
        )
    return 0


def _entries(path: str | None) -> list[tuple[str, TensorEntry]]:
    if path is None:
        return []
    try:
        with open_checkpoint(path) as checkpoint:
            return list(checkpoint.entries())
    except (BundleError, OSError):
        return []  # `verify` reports the problem


def _look(path: str, console: Console) -> None:
    """Print the findings of `verify` for the checkpoint."""
    report = verify(path)
    for problem in report.problems:
        console.record(problem.to_json())
        console.text(problem_line(problem))
    if not report.problems:
        console.text(f"{escape(report.prefix)}: no problems; the files are sound")


def _text(each: Explanation) -> Iterator[str]:
    yield f"{escape(each.found)}"
    yield f"  {each.meaning}"
    for detail in each.details:
        yield f"  {escape(detail)}"
    for number, cause in enumerate(each.causes, 1):
        sure = "certain" if cause.certain else "likely" if number == 1 else "possible"
        yield f"  {number}. {sure}: {escape(cause.line)}"
        for advice in cause.advice:
            yield f"     - {advice}"
    for advice in each.advice:
        yield f"  - {advice}"
