"""Reading over a simulated link: the time that each job takes, against the time that its bytes take on the line.

    python benchmarks/link.py --latency 0.05 --bandwidth 100MB --size 400MB

The link is a file system of fsspec that waits: each request for the latency, and all of them together for the bandwidth.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem

import tensorbundle as tb
from tensorbundle.tools import extract
from tensorbundle.tools.operations.directories.checking import verify
from tensorbundle.tools.operations.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 1000


class Link:
    """A line that is free again when what was sent before has passed."""

    def __init__(self) -> None:
        self.latency, self.bandwidth = 0.0, float("inf")
        self.requests, self.bytes = 0, 0
        self._lock = threading.Lock()
        self._free = 0.0

    def take(self, size: int) -> None:
        with self._lock:
            now = time.monotonic()
            self._free = max(self._free, now + self.latency) + size / self.bandwidth
            until = self._free
            self.requests += 1
            self.bytes += size
        time.sleep(max(0.0, until - now))


LINK = Link()


class LinkedFiles(LocalFileSystem):
    """Local files at the other end of the link."""

    protocol = "link"

    def info(self, path: str, **more: Any) -> Any:
        LINK.take(0)
        return super().info(path, **more)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> Any:
        data = super().cat_file(path, start=start, end=end, **more)
        LINK.take(len(data))
        return data


class Row(NamedTuple):
    job: str
    requests: int
    bytes: int
    seconds: float
    line: float  # the share of the time in which the line was busy


def measure(size: int, latency: float, bandwidth: float) -> list[Row]:
    """One row for each job, on a checkpoint of so many bytes."""
    fsspec.register_implementation("link", LinkedFiles, clobber=True)
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "model"
        columns = max(1, size // 4 // 4 // ROWS)
        with tb.create(prefix) as writer:
            for number in range(4):
                writer.add(f"t{number}", np.full((ROWS, columns), number, np.float32))
        url = f"link://{prefix}"
        jobs: dict[str, Callable[[], object]] = {
            "ls": lambda: _listed(url),
            "ten rows of a tensor": lambda: _read(url, np.s_[10:20]),
            "a tensor": lambda: _read(url, None),
            "verify": lambda: verify(url),
            "copy to a disk": lambda: extract(url, Path(folder) / "copy", "*"),
        }
        return [_row(name, job, latency, bandwidth) for name, job in jobs.items()]


def _row(name: str, job: Callable[[], object], latency: float, bandwidth: float) -> Row:
    LINK.latency, LINK.bandwidth = latency, bandwidth
    LINK.requests = LINK.bytes = 0
    started = time.perf_counter()
    job()
    seconds = time.perf_counter() - started
    return Row(name, LINK.requests, LINK.bytes, seconds, LINK.bytes / bandwidth / seconds)


def _listed(url: str) -> int:
    with tb.open(url) as checkpoint:
        return len(checkpoint)


def _read(url: str, region: object) -> object:
    with tb.open(url) as checkpoint:
        return checkpoint.read("t2", region)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--bandwidth", type=parse_size, default=100_000_000, help="bytes a second, say 100MB")
    parser.add_argument("--size", type=parse_size, default=400_000_000, help="of the checkpoint")
    args = parser.parse_args()
    print(f"{'job':<22}{'requests':>9}{'MB':>8}{'seconds':>9}{'of the line':>13}")
    for row in measure(args.size, args.latency, args.bandwidth):
        print(f"{row.job:<22}{row.requests:>9}{row.bytes / 1e6:>8.1f}{row.seconds:>9.2f}{row.line:>12.0%}")


if __name__ == "__main__":
    main()
