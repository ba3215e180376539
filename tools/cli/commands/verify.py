"""`tensorbundle verify`: check every checksum and the whole layout."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import BundleError
from tensorbundle.locating import resolve_prefix
from tensorbundle.members import shards_of, v1_files
from tensorbundle.storage import store_of
from tensorbundle.tools.cli.arguments import add_scheduler
from tensorbundle.tools.cli.console import counted, escape, human_bytes
from tensorbundle.tools.cli.reading import add_jobs, problem_line, readers
from tensorbundle.tools.operations.directories.checking import verify, verify_all

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tensorbundle.tools.cli.console import Console, Progress
    from tensorbundle.tools.operations.inspecting.problems import Report
    from tensorbundle.tools.rewriting.ordered import Jobs

_SHOWN: Final = 10  # tensors behind the end of one data shard
EXAMPLE = "tensorbundle verify run/model.ckpt-1000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoints", metavar="CKPT", nargs="*")
    parser.add_argument("--all", metavar="DIR", help="every checkpoint in DIR, and its state file")
    parser.add_argument(
        "--quick", action="store_true", help="do not read data shards: no checksums, no object graph"
    )
    add_jobs(parser)
    add_scheduler(parser, "read tensors")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print every problem and a summary; the status is 1 if there is one, 2 if a checkpoint can't be read."""
    if not args.checkpoints and args.all is None:
        raise BundleError("which checkpoint? give CKPT, or --all DIR")
    found = failed = False
    total = 0 if args.quick or not console.shows_progress else sum(map(_size, args.checkpoints))
    with readers(args) as jobs, console.progress("verify", total) as progress:
        for each in _reports(args, console, jobs, progress):
            failed = failed or each is None
            if each is not None:
                _print(each, args, console)
                found = found or bool(each.problems)
    return 2 if failed else int(found)


def _reports(
    args: argparse.Namespace, console: Console, jobs: Jobs, progress: Progress
) -> Iterator[Report | None]:
    """A report on each checkpoint; None for one that can't be read, if there are several."""
    for path in args.checkpoints:
        try:
            yield verify(path, quick=args.quick, jobs=jobs, progress=progress)
        except BundleError as error:
            if len(args.checkpoints) == 1 and args.all is None:
                raise
            console.error("verify", error)
            yield None
    if args.all is not None:
        yield from verify_all(args.all, quick=args.quick, jobs=jobs, progress=progress)


def _print(report: Report, args: argparse.Namespace, console: Console) -> None:
    cut = Counter[tuple[str, str | None]]()
    for problem in report.problems:
        console.record(problem.to_json())
        if problem.kind == "truncated":  # the same is wrong with all tensors behind the end
            cut[problem.path, problem.cause] += 1
            if cut[problem.path, problem.cause] > _SHOWN:
                continue
        console.text(problem_line(problem), "bad" if problem.severity == "error" else "changed")
    for (path, _), number in cut.items():
        if number > _SHOWN:
            more = counted(number - _SHOWN, "more tensor")
            console.text(f"error: truncated: {escape(path)}: {more}; --json lists them", "bad")
    found = len(report.problems)
    console.record(
        {"prefix": report.prefix, "tensors": report.tensors, "bytes": report.bytes, "problems": found}
    )
    what = f"{counted(report.tensors, 'tensor')}, {human_bytes(report.bytes)} checked"
    if args.quick:
        what = "index and layout checked"
    if report.prefix == args.all:
        what = "state file checked"
    if [report.prefix] != args.checkpoints:
        what = f"{escape(report.prefix)}: {what}"
    what += f": {counted(found, 'problem')}" if found else ": no problems"
    if report.dead_bytes:
        what += f"; {human_bytes(report.dead_bytes)} that no tensor refers to"
    if report.aliases:
        share = "share" if report.aliases > 1 else "shares"
        what += f"; {counted(report.aliases, 'tensor')} {share} bytes with another"
    console.summary(what)


def _size(path: str) -> int:
    try:
        prefix = resolve_prefix(path)
        return sum(map(store_of(prefix).size, v1_files(prefix) or shards_of(prefix).values()))
    except (BundleError, OSError):
        return 0
