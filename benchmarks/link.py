"""Reading and writing over a simulated link: the time that each job takes, against the time that its bytes take on the line.

    python benchmarks/link.py --latency 0.05 --bandwidth 100MB --size 800MB

The link is a file system of fsspec that answers like that of S3 and waits: each request for the latency, and all of them
together for the bandwidth, which there is in each direction.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import io
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import fsspec
import numpy as np
from fsspec.asyn import get_loop
from fsspec.implementations.local import LocalFileSystem

import tensorbundle as tb
from tensorbundle.storage.spans import PART_BYTES
from tensorbundle.tools import extract
from tensorbundle.tools.operations.directories.checking import verify
from tensorbundle.tools.operations.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROWS = 1000


class Line:
    """One direction of the link, which is free again when what was sent before has passed."""

    def __init__(self) -> None:
        self.latency, self.bandwidth = 0.0, float("inf")
        self.requests, self.bytes = 0, 0
        self._lock = threading.Lock()
        self._free = 0.0

    def reset(self, latency: float, bandwidth: float) -> None:
        self.latency, self.bandwidth = latency, bandwidth
        self.requests = self.bytes = 0

    def take(self, size: int) -> float:
        """The seconds until so many bytes have passed."""
        with self._lock:
            now = time.monotonic()
            self._free = max(self._free, now + self.latency) + size / self.bandwidth
            self.requests += 1
            self.bytes += size
            return self._free - now


DOWN, UP = Line(), Line()


class Body:
    """The body of a response."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    async def read(self, size: int) -> bytes:
        return self._data.read(size)

    def close(self) -> None:
        pass


class Client:
    """botocore's client."""

    def __init__(self, files: LinkedFiles) -> None:
        self._files = files

    def __getattr__(self, method: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        return functools.partial(self._files._call_s3, method)


class LinkedFiles(LocalFileSystem):
    """Local files at the other end of the link, with the requests of S3 that tensorbundle makes."""

    protocol = "link"
    req_kw: ClassVar[dict[str, object]] = {}

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return get_loop()

    def split_path(self, path: str) -> tuple[str, str, None]:
        return "", path, None

    def info(self, path: str, **more: Any) -> Any:
        time.sleep(DOWN.take(0))
        return {**super().info(path, **more), "ETag": "1"}

    async def set_session(self) -> None:
        """See s3fs: there is nothing to begin."""

    async def get_s3(self, bucket: str) -> Client:
        del bucket
        return Client(self)

    def _get_s3_method_kwargs(self, method: object, **arguments: Any) -> dict[str, Any]:
        del method
        return arguments

    async def _call_s3(self, method: str, **arguments: Any) -> dict[str, Any]:
        name = arguments["Key"]
        if method == "get_object":
            return await self._get(name, arguments["Range"].removeprefix("bytes="))
        body = arguments["Body"].read() if "Body" in arguments else b""
        await asyncio.sleep(UP.take(len(body)))
        if body:
            offset = (arguments.get("PartNumber", 1) - 1) * PART_BYTES
            await asyncio.to_thread(self._store, name, offset, body)
        return {"UploadId": "1", "ETag": "1"}

    async def _get(self, name: str, span: str) -> dict[str, Any]:
        size = os.path.getsize(name)
        first, last = span.split("-")
        start = int(first) if first else max(0, size - int(last))
        end = min(size, int(last) + 1) if first else size
        with open(name, "rb") as file:
            file.seek(start)
            data = file.read(end - start)
        await asyncio.sleep(DOWN.take(len(data)))
        return {"Body": Body(data), "ContentRange": f"bytes {start}-{end - 1}/{size}", "ETag": "1"}

    def _store(self, name: str, offset: int, data: bytes) -> None:
        descriptor = os.open(name, os.O_CREAT | os.O_WRONLY)
        try:
            os.pwrite(descriptor, data, offset)
        finally:
            os.close(descriptor)


class Row(NamedTuple):
    job: str
    requests: int
    bytes: int
    seconds: float
    line: float  # the share of the time in which the busier direction was in use


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
            "copy from a disk": lambda: extract(prefix, f"{url}-up", "*"),
            "copy in the store": lambda: extract(url, f"{url}-over", "*"),
        }
        return [_row(name, job, latency, bandwidth) for name, job in jobs.items()]


def _row(name: str, job: Callable[[], object], latency: float, bandwidth: float) -> Row:
    for line in (DOWN, UP):
        line.reset(latency, bandwidth)
    started = time.perf_counter()
    job()
    seconds = time.perf_counter() - started
    moved = max(DOWN.bytes, UP.bytes)
    return Row(name, DOWN.requests + UP.requests, moved, seconds, moved / bandwidth / seconds)


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
    parser.add_argument("--size", type=parse_size, default=800_000_000, help="of the checkpoint")
    args = parser.parse_args()
    print(f"{'job':<22}{'requests':>9}{'MB':>8}{'seconds':>9}{'of the line':>13}")
    for row in measure(args.size, args.latency, args.bandwidth):
        print(f"{row.job:<22}{row.requests:>9}{row.bytes / 1e6:>8.1f}{row.seconds:>9.2f}{row.line:>12.0%}")


if __name__ == "__main__":
    main()
