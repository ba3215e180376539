"""The arithmetic of `docs/remote.md` follows from the sizes in the code, and from what a copy was seen to ask for."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.storage.pool import AHEAD_BYTES, EITHER_BYTES
from tensorbundle.storage.s3 import part_bytes
from tensorbundle.storage.spans import PART_BYTES
from tensorbundle.tools import extract

PAGE = (Path(__file__).parents[2] / "docs" / "remote.md").read_text(encoding="utf-8")
SIZE, SHARDS = 10**12, 400
LINE = 10**10 / 8  # bytes a second
CONNECTION = 85_000_000
WORKERS, PROCESSES = 20, 4
READS = SHARDS * math.ceil(SIZE / SHARDS / PART_BYTES)
WRITES = SHARDS * math.ceil(SIZE / SHARDS / part_bytes(SIZE // SHARDS))


def rounded(number, digits=2):
    """With so many digits, and commas."""
    unit = 10 ** (len(str(round(number))) - digits)
    return f"{round(number / unit) * unit:,}"


def test_requests_and_their_price():
    assert f"{rounded(READS)} reads and {rounded(WRITES)} writes of 8 MiB" in PAGE
    read, write = map(float, re.findall(r"\$(0\.0\d+)\b", PAGE)[:2])
    assert f"${READS / 1000 * read:.2f} and ${WRITES / 1000 * write:.2f};" in PAGE
    assert PART_BYTES == 8 << 20


@pytest.mark.usefixtures("small_parts")
def test_the_other_requests(s3, tmp_path):
    """Those for each data shard, and the few that there are once."""
    found = []
    for shards in (1, 3):
        with tb.create(tmp_path / f"model{shards}") as writer:
            for number in range(shards):
                if number:
                    writer.start_shard()
                writer.add(f"t{number}", np.ones(9000, np.uint8))
        s3.put(tmp_path)
        extract(f"s3://bucket/model{shards}", f"s3://bucket/new{shards}", "*")
        parts = [each for each in s3.log.requests if "partNumber" in each.query]
        assert len(parts) == 3 * shards
        read = [
            each for each in s3.log.requests if each.method == "GET" and each.range and ".data-" in each.path
        ]
        found.append(len(s3.log.requests) - len(parts) - len(read))
    one_more = (found[1] - found[0]) / 2
    assert f"about {rounded(found[0] + (SHARDS - 1) * one_more, 1)} others" in PAGE


def test_time():
    parts = EITHER_BYTES // PART_BYTES
    process = parts * CONNECTION
    assert f"{parts} parts in each direction, about {CONNECTION // 10**6} MB/s for each" in PAGE
    assert f"together: {math.ceil(SIZE / min(LINE, process) / 60)} minutes" in PAGE
    seconds = SIZE / WORKERS / min(LINE, PROCESSES * process)
    assert f"the line is full: {math.ceil(seconds)} seconds" in PAGE
    assert f"{SHARDS // (WORKERS * PROCESSES)} data shards for each process" in PAGE
    assert f"--nworkers {PROCESSES} --nthreads 1" in PAGE
    assert f"make up to {rounded(WORKERS * LINE / PART_BYTES)} of each" in PAGE


def test_memory():
    alone, either = AHEAD_BYTES >> 20, EITHER_BYTES >> 20
    # Two files are written at a time: of each a part is collected, and of the second one is read and one sent.
    files = (2 + 2) * PART_BYTES >> 20
    assert (
        f"{either} MiB that are read ahead, {either} MiB on their way out, {files} MiB for two files" in PAGE
    )
    assert f"At most {alone} MiB are read ahead, or {either} MiB while something is written" in PAGE
