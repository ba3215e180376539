"""Compares two revisions of the repository: compare.py OLD [NEW] [--only JOB...]

Each is checked out beside the other and does our part of the jobs of the quick set, in turn. NEW is the working tree by
default. Prints a table of medians, and of the medians of ratios; a ratio above 1 means that NEW is slower.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from jobs import JOBS, OURS, Sources
from measure import JOBS_OF, SETS
from running import Runner, parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("old")
    parser.add_argument("new", nargs="?")
    parser.add_argument("--only", nargs="+", choices=JOBS, default=JOBS_OF["quick"], metavar="JOB")
    parser.add_argument("--size", type=parse_size, default=SETS["quick"]["size"])
    parser.add_argument("--rounds", type=int, default=SETS["quick"]["rounds"])
    parser.add_argument("--directory", help="where files are written; a temporary directory by default")
    args = parser.parse_args()
    with Runner.started(args.directory) as runner, contextlib.ExitStack() as stack:
        sources = Sources(runner, args.size, SETS["quick"]["tensors"])
        packages = {}
        for name, revision in (("old", args.old), ("new", args.new)):
            source = stack.enter_context(checked_out(revision, runner.scratch / name)) if revision else ROOT
            packages[name] = linked(source, runner.scratch / f"{name}-package")
        print("| job | old | new | new / old | old peak | new peak |\n| --- | --- | --- | --- | --- | --- |")
        for name in args.only:
            for line in compare(name, runner, sources, packages, args.rounds):
                print(line, flush=True)


@contextlib.contextmanager
def checked_out(revision: str, path: Path) -> Iterator[Path]:
    """A work tree of a revision, while the block runs."""
    git = ["git", "-C", ROOT, "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", path, revision], check=True)
    try:
        yield path
    finally:
        subprocess.run([*git, "remove", "--force", path], check=True)


def linked(source: Path, target: Path) -> Path:
    """A directory with the import package of a work tree, made of links as in tests/link_types.py."""
    package = target / "tensorbundle"
    package.mkdir(parents=True)
    for path in (*(source / "bundle").iterdir(), source / "proto", source / "tools"):
        (package / path.name).symlink_to(path)
    return target


def compare(
    name: str, runner: Runner, sources: Sources, packages: dict[str, Path], rounds: int
) -> Iterator[str]:
    """Rows for one job."""
    job = JOBS[name](sources)
    for contender, command in job.contenders.items():
        if not contender.startswith(OURS):
            continue
        runs: dict[str, list] = {revision: [] for revision in packages}
        for _ in range(rounds):
            for revision, path in packages.items():
                runner.prepare(job.reads, job.volume, SETS["quick"]["pause"])
                runs[revision].append(runner.run(["env", f"PYTHONPATH={path}", *command]))
        old, new = ([run.seconds for run in runs[revision]] for revision in ("old", "new"))
        peaks = [max(run.peak_rss for run in each) / 1e6 for each in runs.values()]
        ratio = median(after / before for before, after in zip(old, new, strict=True))
        what = name + contender.removeprefix(OURS)
        yield (
            f"| {what} | {median(old):.3f} s | {median(new):.3f} s | {ratio:.2f} | {peaks[0]:.0f} MB | {peaks[1]:.0f} MB |"
        )


if __name__ == "__main__":
    main()
