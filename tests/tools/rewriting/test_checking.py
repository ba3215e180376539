"""Checksums of many ranges, checked in pieces by several threads."""

import random

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.errors import CorruptionError
from tensorbundle.tools.rewriting import checking
from tensorbundle.tools.rewriting.checking import checked
from tensorbundle.tools.rewriting.ranges import OpenFiles, TensorRange, runs, stream_ranges


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """Tensors of 1 to 999 bytes, strings among them, in two data shards."""
    path = tmp_path_factory.mktemp("checked") / "m"
    with tb.create(path) as writer:
        for number in range(40):
            if number == 20:
                writer.start_shard()
            size = random.Random(number).randrange(1, 1000)
            writer.add(f"bytes {number:02}", np.arange(size, dtype=np.uint8))
            if number % 5 == 0:
                writer.add(f"text {number:02}", [b"a" * size, b"", b"bc"])
    return path


def ranges_of(prefix):
    with tb.open(prefix) as ckpt:
        found = [
            TensorRange.of(ckpt.index, key, entry, ckpt.index.stored(key, entry))
            for key, entry in ckpt.index.raw_entries()
        ]
    return sorted(found, key=lambda each: each.stored[:2])


@pytest.fixture(params=[37, 500, 1 << 24])
def piece_bytes(request, monkeypatch):
    monkeypatch.setattr(checking, "PIECE_BYTES", request.param)
    return request.param


@pytest.mark.parametrize("jobs", [1, 3])
def test_tasks_of_any_size_find_nothing_wrong(prefix, piece_bytes, jobs):
    ranges = ranges_of(prefix)
    failures = []
    sizes = list(checked(ranges, lambda *failure: failures.append(failure), jobs=jobs))
    assert failures == []
    assert sum(sizes) == sum(each.stored.nbytes for each in ranges)


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_is_wrong_is_told_as_by_one_pass(tmp_path, prefix, piece_bytes, jobs):
    damaged = tmp_path / "m"
    for path in prefix.parent.glob("m.*"):
        contents = bytearray(path.read_bytes())
        if "data" in path.name:
            for position in (5, 1500, 1501, len(contents) - 1):
                contents[position] ^= 4
        (tmp_path / path.name).write_bytes(contents)
    expected, failures = [], []
    ranges = ranges_of(damaged)
    with OpenFiles() as files:
        for run in runs(ranges):
            stream_ranges(run, files, failed=lambda *failure: expected.append(failure))
    for _ in checked(ranges, lambda *failure: failures.append(failure), jobs=jobs):
        pass
    assert len(expected) >= 6
    assert [(each, str(error)) for each, error in failures] == [
        (each, str(error)) for each, error in expected
    ]


def test_a_file_that_ends_too_early_is_an_error_after_what_was_checked(tmp_path, prefix, monkeypatch):
    monkeypatch.setattr(checking, "PIECE_BYTES", 100)
    for path in prefix.parent.glob("m.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes()[: -5 if "00001-of" in path.name else None])
    sizes = []
    with pytest.raises(CorruptionError, match="cut short"):
        sizes.extend(checked(ranges_of(tmp_path / "m"), lambda *_: None, jobs=2))
