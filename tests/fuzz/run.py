"""Fuzzes the targets: python tests/fuzz/run.py [--seconds N] [TARGET...].

Each runs for so many seconds in a process of its own: with atheris, which follows the coverage, where it is installed; else with
random bytes from a fixed seed. An input that fails is kept in `build/fuzz`, and is tried first the next time.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

KEPT = TESTS.parent / "build/fuzz"


def load() -> Any:
    """The module of the targets; with atheris, everything of the package is instrumented while it is imported."""
    if find_spec("atheris") is None:
        return import_module("fuzz.targets")
    import atheris

    with atheris.instrument_imports(include=["tensorbundle"]):
        return import_module("fuzz.targets")


def kept(name: str) -> list[Path]:
    """The inputs of a target that failed before."""
    return sorted(KEPT.glob(f"{name}-*"))


def fuzz_with_atheris(name: str, target: Callable[[bytes], None], seeds: list[bytes], seconds: int) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris

    corpus = KEPT / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-max_len=2000",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], str(corpus), f"-artifact_prefix={KEPT / name}-", *options], target)
    atheris.Fuzz()


def fuzz_at_random(name: str, target: Callable[[bytes], None], seconds: int, seed: int) -> None:
    """Random bytes, many of them small, until the time is over."""
    source = random.Random(seed)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        size = source.choice((8, 40, 200, 1000))
        data = bytearray(source.randbytes(source.randrange(size)))
        for _ in range(source.randrange(4)):
            data += source.choice((bytes(9), b"\xff" * 9, b"\1\2\3\4" * 3))
        count += 1
        try:
            target(bytes(data))
        except Exception:
            KEPT.mkdir(parents=True, exist_ok=True)
            (KEPT / f"{name}-{count}").write_bytes(data)
            raise
    print(f"{name}: {count} inputs")


def main() -> None:
    """Run the targets one after another; exit with 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="TARGET", help="all by default")
    parser.add_argument("--seconds", type=int, default=10, help="for each target")
    parser.add_argument("--seed", type=int, default=1, help="of random bytes")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    if args.inside:
        [name] = args.names
        targets = load()
        target = targets.TARGETS[name]
        for path in kept(name):
            target(path.read_bytes())
        if find_spec("atheris") is None:
            fuzz_at_random(name, target, args.seconds, args.seed)
        else:
            fuzz_with_atheris(name, target, targets.SEEDS, args.seconds)
        return
    failed = []
    names = args.names or list(import_module("fuzz.targets").TARGETS)
    for name in names:
        command = [
            sys.executable,
            "-P",
            __file__,
            "--inside",
            "--seconds",
            str(args.seconds),
            "--seed",
            str(args.seed),
            name,
        ]
        done = subprocess.run(  # noqa: PLW1510
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        executed = [
            line for line in done.stdout.splitlines() if "number_of_executed" in line or " inputs" in line
        ]
        print(
            name, *(done.stdout.splitlines()[-25:] if done.returncode else executed), sep="\n  ", flush=True
        )
        if done.returncode:
            failed.append(name)
    print(f"{len(names)} targets, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
