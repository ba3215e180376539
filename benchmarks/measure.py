"""Measures jobs in turn with their alternatives: measure.py [quick|full] [--only JOB...] [--directory DIR]

Each round runs every contender of a job once, as a whole process, with the files to read in the page cache, memory at
hand (`programs/back_memory.py`) and a pause after the run before. Results are written to `results/SET.json`, job by job:
jobs that are not measured this time stay in it. `report.py` makes docs/performance.md of them.

`quick` takes about ten minutes and 2 GB of disk; `full`, with 4 GB checkpoints and copies of more shapes, takes about an hour, 17 GB of disk and,
for TensorFlow, 14 GB of memory.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path

from jobs import JOBS, SHAPES, Sources
from running import Runner, is_installed, parse_size

RESULTS = Path(__file__).parent / "results"
SETS = {
    "quick": {"size": "512MB", "tensors": 200_000, "rounds": 3, "pause": 1.0},
    "full": {"size": "4GB", "tensors": 1_000_000, "rounds": 5, "pause": 5.0},
}
PACKAGES = ("numpy", "protobuf", "crc32c", "ml_dtypes", "tensorflow", "safetensors")
JOBS_OF = {"quick": [each for each in JOBS if each.removeprefix("copy-") not in SHAPES], "full": list(JOBS)}
NEEDED = {"tensorflow", "safetensors"}  # packages, whose contenders begin with their names


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("set", choices=SETS, nargs="?", default="quick")
    parser.add_argument("--only", nargs="+", choices=JOBS, metavar="JOB")
    parser.add_argument("--size", type=parse_size, help="bytes of a checkpoint")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--directory", help="where files are written; a temporary directory by default")
    args = parser.parse_args()
    chosen = SETS[args.set]
    path = RESULTS / f"{args.set}.json"
    results = json.loads(path.read_text()) if path.exists() else {"jobs": {}}
    results |= about_this_machine()
    size = args.size or parse_size(chosen["size"])
    with Runner.started(args.directory) as runner:
        sources = Sources(runner, size, chosen["tensors"])
        for name in args.only or JOBS_OF[args.set]:
            job = measure(name, runner, sources, args.rounds or chosen["rounds"], chosen["pause"])
            known = results["jobs"] | {name: job}
            results["jobs"] = {each: known[each] for each in JOBS if each in known}
            RESULTS.mkdir(exist_ok=True)
            path.write_text(json.dumps(results, indent=1) + "\n")


def can_run(contender: str) -> bool:
    """Whether what a contender needs is installed."""
    package = contender.partition(",")[0]
    return package not in NEEDED or is_installed(package)


def measure(name: str, runner: Runner, sources: Sources, rounds: int, pause: float) -> dict[str, object]:
    """One job's results, as data."""
    job = JOBS[name](sources)
    runs: dict[str, list] = {each: [] for each in job.contenders if can_run(each)}
    for _ in range(rounds):
        for contender, found in runs.items():
            runner.prepare(job.reads, job.volume, pause)
            found.append(runner.run(job.contenders[contender]))
            job.check(contender, found[-1])
            print(f"{name}: {contender}: {found[-1].seconds:.3f} s", flush=True)
    return {
        "title": job.title,
        "volume": job.volume,
        "reach": job.reach,
        "within": job.within,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "contenders": {
            contender: {
                "seconds": [round(run.seconds, 4) for run in found],
                "cpu_seconds": [round(run.cpu_seconds, 3) for run in found],
                "peak_mb": round(max(run.peak_rss for run in found) / 1e6, 1),
                "bytes_written": found[-1].bytes_written,
            }
            for contender, found in runs.items()
        },
    }


def about_this_machine() -> dict[str, object]:
    """What kind of machine this is, and the versions of what runs on it; nothing that tells which one."""
    return {
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
            "system": platform.system(),
            "kernel": ".".join(platform.release().split("-")[0].split(".")[:2]),
        },
        "versions": {
            "python": platform.python_version(),
            **{each: importlib.metadata.version(each) for each in PACKAGES if is_installed(each)},
        },
    }


def processor() -> str:
    """The kind of processor, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    main()
