"""Measures how processor time and peak memory grow with the number of tensors, and with their bytes: growth.py [--most N]

Whole processes of ours alone. Processor time, unlike seconds, differs little between runs on a busy machine. Results are
written to `results/growth.json`, of which `report.py` makes a table and a plot. It takes about a minute and 1 GB of disk;
with a million tensors and 4 GB, ten minutes and 10 GB.
"""

from __future__ import annotations

import argparse
import datetime
import json
from typing import TYPE_CHECKING

from jobs import ours
from measure import RESULTS, about_this_machine
from running import Runner, program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TENSORS = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000]
BYTES = [16_000_000, 64_000_000, 256_000_000, 1_000_000_000, 4_000_000_000]
BY_TENSORS: dict[str, Callable[[Path, Path], list[object]]] = {
    "ls": lambda source, out: ours("ls", source),
    "rename": lambda source, out: ours("rename", source, out / "model.ckpt", "/=scope/"),
    "convert to TF2": lambda source, out: ours("convert", "--to", "tf2", source, out / "model.ckpt-1"),
    "graph, one level": lambda source, out: ours("graph", "--depth", "1", objects(source)),
}
BY_BYTES: dict[str, Callable[[Path, Path], list[object]]] = {
    "copy": lambda source, out: ours("compact", source, out / "model.ckpt"),
    "cast to bfloat16": lambda source, out: ours("cast", source, out / "model.ckpt", "*=bfloat16"),
    "to safetensors": lambda source, out: ours("convert", source, out / "model.safetensors"),
    "verify": lambda source, out: ours("verify", source),
}


def objects(source: Path) -> Path:
    """The object-based checkpoint with the same tensors."""
    return source.with_name("objects.ckpt-1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--most", type=int, default=100_000, help="tensors at most; of bytes, 4,000 times as many"
    )
    parser.add_argument("--directory", help="where files are written; a temporary directory by default")
    args = parser.parse_args()
    tensors = [each for each in TENSORS if each <= args.most]
    sizes = [each for each in BYTES if each <= 4_000 * args.most]
    with Runner.started(args.directory) as runner:
        results = about_this_machine() | measure(runner, tensors, sizes)
    (RESULTS / "growth.json").write_text(json.dumps(results, indent=1) + "\n")


def measure(runner: Runner, tensors: list[int], sizes: list[int]) -> dict[str, object]:
    """For each job the number of tensors or bytes, and for it seconds of processor time and the peak memory in bytes."""
    found: dict[str, object] = {"date": datetime.datetime.now(datetime.UTC).date().isoformat()}
    for unit, numbers, jobs in (("tensors", tensors, BY_TENSORS), ("bytes", sizes, BY_BYTES)):
        table: dict[str, list[list[float]]] = {name: [] for name in jobs}
        for number in numbers:
            source = runner.scratch / f"{unit}-{number}" / "model.ckpt"
            source.parent.mkdir()
            what = ["many", source, "--tensors", number]
            if unit == "bytes":
                what = ["name-based", source, "--size", number, "--tensors", 200]
            runner.run([*program("make_checkpoint"), *what])
            if unit == "tensors":
                runner.run(ours("convert", "--to", "tf2", source, objects(source)))
            for name, command in jobs.items():
                runner.prepare([], 0, 0)
                run = runner.run(command(source, runner.out))
                table[name].append([number, run.cpu_seconds, run.peak_rss])
                print(
                    f"{name} of {number:,} {unit}: {run.cpu_seconds:.2f} s, {run.peak_rss / 1e6:.0f} MB",
                    flush=True,
                )
            for path in source.parent.iterdir():
                path.unlink()
        found[unit] = table
    return found


if __name__ == "__main__":
    main()
