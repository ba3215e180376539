"""Runs whole processes and tells what each took; the same for every script beside this file."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROGRAMS = Path(__file__).parent / "programs"
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
READ_BYTES = 4 << 20


def parse_size(text: str) -> int:
    """Bytes: `4GB` is 4 * 10**9 of them, `4GiB` 4 * 2**30."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?I?)B?", text.strip().upper())
    if found is None or found[2] not in UNITS:
        raise ValueError(f"not a size: {text!r}; 16MB and 4GiB are")
    return int(float(found[1]) * UNITS[found[2]])


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run of a command took.

    Attributes:
        seconds: from start to exit, or what the program itself told.
        cpu_seconds: of the whole process, in the kernel too; on a busy machine, a steadier measure.
        peak_rss: the most memory the process had, in bytes, without arrays that it was given to write.
        bytes_written: what it handed to the operating system, to any file.
        output: what it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_rss: int
    bytes_written: int
    output: str


class Runner:
    """Runs commands, one after another, each in a fresh process (`programs/launcher.py`).

    Attributes:
        scratch: a directory of its own.
        out: a directory for what a command writes, emptied by `prepare`.
    """

    def __init__(self, scratch: Path, launcher: subprocess.Popen[str]) -> None:
        self.scratch, self.out, self._launcher = scratch, scratch / "out", launcher
        self.out.mkdir()

    @classmethod
    @contextmanager
    def started(cls, directory: str | None = None) -> Iterator[Runner]:
        """A runner with its scratch files below `directory`, which are removed at the end."""
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages are compiled
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            command = [sys.executable, "-S", PROGRAMS / "launcher.py", scratch]
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
            ) as launcher:
                yield cls(Path(scratch), launcher)
                launcher.stdin.close()

    def run(self, command: Iterable[object]) -> Measurement:
        """Run a command, which must succeed."""
        words = [str(word) for word in command]
        print(json.dumps(words), file=self._launcher.stdin, flush=True)
        took = json.loads(self._launcher.stdout.readline())
        output = (self.scratch / "stdout").read_text(errors="surrogateescape")
        if took["status"] != 0:
            errors = (self.scratch / "stderr").read_text(errors="surrogateescape")
            raise RuntimeError(f"status {took['status']}: {words}\n{output}{errors}")
        told = {"seconds": took["seconds"], "given": 0, "written_before": 0}
        for line in output.splitlines():
            if line.startswith('{"seconds": '):
                told |= json.loads(line)
        return Measurement(
            told["seconds"],
            took["cpu_seconds"],
            took["peak_rss"] - told["given"],
            took["bytes_written"] - told["written_before"],
            output,
        )

    def prepare(self, reads: Iterable[Path], volume: int, pause: float) -> None:
        """Before a run: nothing of the last one is left to do, files to read are cached, and memory is at hand."""
        for path in self.out.iterdir():
            path.unlink()
        os.sync()
        time.sleep(pause)  # what was deleted is discarded in the background
        for path in reads:
            read_through(path)
        if volume:
            subprocess.run([*program("back_memory"), self.scratch / "backed", str(volume)], check=True)


def program(name: str) -> list[object]:
    """The beginning of a command that runs one of `programs/`."""
    return [sys.executable, PROGRAMS / f"{name}.py"]


def is_installed(package: str) -> bool:
    """Whether a package can be imported, told without importing it."""
    return importlib.util.find_spec(package) is not None


def read_through(path: Path) -> None:
    """Read a file, so that it is in the page cache."""
    buffer = bytearray(READ_BYTES)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
