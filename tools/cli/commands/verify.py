"""`tensorbundle verify`: every checksum and the whole layout."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tensorbundle.errors import BundleError
from tensorbundle.names import resolve_prefix, shards_of, v1_files
from tensorbundle.tools.cli.console import escape, human_bytes
from tensorbundle.tools.operations.inspecting.verification import verify

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.inspecting.verification import Problem

EXAMPLE = "tensorbundle verify run/model.ckpt-1000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print every problem and a summary; the status is 1 if there is one."""
    with console.progress("verify", _size(args.checkpoint)) as progress:
        report = verify(args.checkpoint, progress=progress)
    for problem in report.problems:
        console.record(problem.to_json())
        console.text(_line(problem))
    found = len(report.problems)
    console.record({"tensors": report.tensors, "bytes": report.bytes, "problems": found})
    console.text(
        f"{report.tensors} tensors, {human_bytes(report.bytes)} checked: "
        + (f"{found} problem{'s' if found > 1 else ''}" if found else "no problems")
    )
    return 1 if found else 0


def _line(problem: Problem) -> str:
    where = [escape(problem.path)]
    if problem.offset is not None:
        where.append(f"offset {problem.offset:#x}")
    if problem.key is not None:
        where.append(f"key {problem.key!r}")
    cause = f" ({problem.cause})" if problem.cause else ""
    return f"{problem.severity}: {problem.kind}: {': '.join(where)}: {escape(problem.message + cause)}"


def _size(path: str) -> int:
    try:
        prefix = resolve_prefix(path)
        return sum(map(os.path.getsize, v1_files(prefix) or shards_of(prefix).values()))
    except (BundleError, OSError):
        return 0
