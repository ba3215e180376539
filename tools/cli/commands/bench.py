"""`tensorbundle bench`: how long jobs take with the user's own checkpoint, beside others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.arguments import positive
from tensorbundle.tools.operations.inspecting.timing import OURS, bench

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.inspecting.timing import Timing

EXAMPLE = "tensorbundle bench run/model.ckpt-1000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument(
        "--rounds", type=positive, default=3, metavar="N", help="do each job N times and report the median"
    )
    parser.add_argument(
        "--directory", metavar="DIR", help="write copies there, each removed at once; beside CKPT by default"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Print a line for each job and contender."""
    rows = [["job", "by", "median", "speed", "beside ours"]]
    ours = None
    for each in bench(args.checkpoint, rounds=args.rounds, directory=args.directory):
        console.record(each.to_json())
        ours = each.median if each.contender == OURS else ours
        rows.append(_row(each, ours))
    console.table(rows)
    return 0


def _row(timing: Timing, ours: float | None) -> list[str]:
    median = timing.median
    if median is None or ours is None:
        return [timing.job, timing.contender, "failed", "", timing.error or ""]
    speed = f"{timing.nbytes / median / 1e9:.2f} GB/s" if timing.nbytes else ""
    beside = "" if timing.contender == OURS else f"{median / ours:.2f} times as long"
    return [timing.job, timing.contender, f"{median:.3f} s", speed, beside]
