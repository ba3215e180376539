"""Options of commands that read values, and printing of numbers and problems."""

from __future__ import annotations

import contextlib
import math
import os
from typing import TYPE_CHECKING

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.tools.cli.arguments import positive
from tensorbundle.tools.cli.console import escape
from tensorbundle.tools.patterns import select

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.inspecting.problems import Problem
    from tensorbundle.tools.rewriting.ordered import Jobs

__all__ = [
    "add_jobs",
    "add_no_verify",
    "add_patterns",
    "bytes_of",
    "json_number",
    "number_text",
    "problem_line",
    "readers",
]


def add_patterns(parser: argparse.ArgumentParser) -> None:
    """Declare PATTERN."""
    parser.add_argument("patterns", metavar="PATTERN", nargs="*", help="a glob, or re:REGEX; all by default")


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Declare `--jobs`."""
    parser.add_argument(
        "--jobs",
        type=positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="read in N threads; one for each core by default",
    )


def add_no_verify(parser: argparse.ArgumentParser) -> None:
    """Declare `--no-verify`."""
    parser.add_argument("--no-verify", action="store_true", help="do not check checksums")


@contextlib.contextmanager
def readers(args: argparse.Namespace) -> Iterator[Jobs]:
    """Who reads tensors, by `--jobs` and `--scheduler`."""
    if args.scheduler is None:
        yield args.jobs
        return
    from tensorbundle.tools.rewriting.cluster import cluster

    with cluster(args.scheduler) as executor:
        yield executor


def bytes_of(path: str, patterns: Sequence[str], console: Console) -> int:
    """The size in bytes of the matching tensors, for a progress bar; 0 if none is shown."""
    if not console.shows_progress:
        return 0
    with open_checkpoint(path) as checkpoint:
        return sum(entry.nbytes for _, entry in select(checkpoint.entries(), patterns, checkpoint.naming))


def json_number(value: float | None) -> float | str | None:
    """A number for JSON: infinities and NaN by name."""
    if value is None or math.isfinite(value):
        return value
    return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")


def number_text(value: float | None) -> str:
    """A number as text for people."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.8g}"


def problem_line(problem: Problem) -> str:
    """The line that `verify` prints for a problem."""
    where = [escape(problem.path)]
    if problem.offset is not None:
        where.append(f"offset {problem.offset:#x}")
    if problem.key is not None:
        where.append(f"key {problem.key!r}")
    cause = f" ({problem.cause})" if problem.cause and problem.cause not in problem.message else ""
    return f"{problem.severity}: {problem.kind}: {': '.join(where)}: {escape(problem.message + cause)}"
