"""The least that a job can take: bytes read and checksummed, or written, and nothing else."""

from __future__ import annotations

import os
import sys

BUFFER_BYTES = 1 << 18
PIECE_BYTES = 16 << 20


def checksum(*paths: str) -> None:
    """Read files and compute a crc32c over each piece of 16 MiB, on all cores."""
    from concurrent.futures import ThreadPoolExecutor

    from crc32c import crc32c

    def check(path: str, start: int, stop: int) -> None:
        buffer = memoryview(bytearray(BUFFER_BYTES))
        crc = 0
        with open(path, "rb", buffering=0) as file:
            while start < stop and (size := os.preadv(file.fileno(), [buffer[: stop - start]], start)):
                crc = crc32c(buffer[:size], crc)
                start += size

    with ThreadPoolExecutor(os.cpu_count()) as executor:
        for path in paths:
            size = os.path.getsize(path)
            for start in range(0, size, PIECE_BYTES):
                executor.submit(check, path, start, min(start + PIECE_BYTES, size))
            print(size, path)


def halve(source: str, destination: str) -> None:
    """Read a file, write every second part of it, and flush that."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    with open(source, "rb", buffering=0) as file, open(destination, "wb", buffering=0) as new:
        while size := file.readinto(buffer):
            new.write(buffer[: size // 2])
        os.fsync(new.fileno())


def write(small: str, path: str, nbytes: str, tensors: str, flush: str) -> None:
    """Write the bytes of arrays to one file."""
    from shared import model_arrays, timed

    def job() -> None:
        with open(path, "wb", buffering=0) as file:
            for each in arrays.values():
                content = memoryview(each.reshape(-1).view("u1"))
                while content:
                    content = content[file.write(content) :]
            if flush == "fsync":
                os.fsync(file.fileno())

    arrays = model_arrays(int(nbytes), int(tensors))
    timed(job, given=sum(each.nbytes for each in arrays.values()), scratch=small)


if __name__ == "__main__":
    {"checksum": checksum, "halve": halve, "write": write}[sys.argv[1]](*sys.argv[2:])
