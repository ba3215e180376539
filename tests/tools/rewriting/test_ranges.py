"""Runs of ranges, and checksums of ranges that buffers cut anywhere."""

from dataclasses import replace

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain
from support.contents import any_bits, array_dtypes
from support.golden import GOLDEN
from tensorbundle.entries import StoredRange
from tensorbundle.storage.local import LocalStore
from tensorbundle.tools.rewriting import ranges
from tensorbundle.tools.rewriting.ranges import OpenFiles, TensorRange, runs

CHECKSUM = r"crc32c of {} bytes: stored \w{{8}}, computed \w{{8}}"


def stream_ranges(run, **options):
    with OpenFiles() as files:
        return ranges.stream_ranges(run, files, **options)


def in_file(path, entry, key=b"k"):
    """The range of an entry, in some file."""
    stored = StoredRange(str(path), entry.offset, entry.nbytes, entry.crc32c)
    return TensorRange(LocalStore(), stored, key, entry.dtype, entry.elements)


def zeros(path, offset, nbytes):
    return in_file(path, plain("uint8", [nbytes], bytes(nbytes), offset=offset))


def ranges_of(prefix):
    """Every stored tensor and slice of a checkpoint, in the order of their places in its files."""
    with tb.open(prefix) as ckpt:
        found = [
            TensorRange.of(ckpt.index, key, entry, ckpt.index.stored(key, entry))
            for key, entry in ckpt.index.raw_entries()
            if not entry.slices
        ]
    return sorted(found, key=lambda each: (each.stored.path, each.stored.offset, each.stored.nbytes))


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], []),
        ([("a", 0, 4)], [1]),
        ([("a", 0, 4), ("a", 4, 2), ("a", 6, 1)], [3]),
        ([("a", 0, 4), ("b", 4, 2)], [1, 1]),  # another file
        ([("a", 0, 4), ("a", 5, 2), ("a", 7, 1)], [1, 2]),  # a gap
        ([("a", 4, 4), ("a", 0, 4)], [1, 1]),  # backwards
        ([("a", 0, 4), ("a", 0, 4)], [1, 1]),  # the same again
        ([("a", 0, 0), ("a", 0, 4), ("a", 4, 0), ("a", 4, 3)], [4]),  # empty ones
    ],
)
def test_runs(places, expected):
    given = [zeros(*place) for place in places]
    found = list(runs(iter(given)))
    assert [len(run) for run in found] == expected
    assert [each for run in found for each in run] == given


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A data shard with tensors of every type, empty ones and strings of many lengths among them."""
    prefix = tmp_path_factory.mktemp("everything") / "m"
    with tb.create(prefix) as writer:
        for dtype in array_dtypes():
            if dtype.itemsize:
                writer.add(f"{dtype}", any_bits(dtype, (3, 2)))
        for size in (0, 1, 127, 128, 300):
            writer.add(f"text {size}", np.array([b"x" * size] * 3, object))
        writer.add("no text", np.array([], object))
        writer.add("nothing", np.zeros((0, 4)))
        writer.add("single", np.array(b"x" * 70, object))
    return prefix


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 20])
def test_buffers_may_cut_anywhere(everything, monkeypatch, size):
    monkeypatch.setattr(ranges, "BUFFER_BYTES", size)
    [run] = runs(ranges_of(everything))
    read = bytearray()
    told = []
    total = stream_ranges(run, write=read.extend, progress=told.append)
    with open(run[0].stored.path, "rb") as file:
        assert read == file.read()
    assert total == sum(told) == len(read)
    assert max(told) <= size


def test_variants(monkeypatch):
    monkeypatch.setattr(ranges, "BUFFER_BYTES", 5)
    for run in runs(ranges_of(GOLDEN / "tf-2.15/iterator")):
        stream_ranges(run)


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_each_damaged_range_is_reported(everything, tmp_path, monkeypatch, size):
    """One byte in every fourth range changes; those, and no others, fail."""
    monkeypatch.setattr(ranges, "BUFFER_BYTES", size)
    [run] = runs(ranges_of(everything))
    with open(run[0].stored.path, "rb") as file:
        data = bytearray(file.read())
    damaged = [each for each in run[::4] if each.stored.nbytes]
    for each in damaged:
        data[each.end - 1] ^= 1
    path = tmp_path / "data"
    path.write_bytes(data)
    failed = []
    here = [replace(each, stored=each.stored._replace(path=str(path))) for each in run]
    assert stream_ranges(here, failed=lambda *failure: failed.append(failure)) == len(data)
    assert [each.key for each, _ in failed] == [each.key for each in damaged]
    for each, error in failed:
        assert (error.path, error.offset, error.key) == (str(path), each.stored.offset, each.key)
    with pytest.raises(tb.CorruptionError, match=CHECKSUM.format(damaged[0].stored.nbytes)) as caught:
        stream_ranges(here)
    assert caught.value.key == damaged[0].key
    assert stream_ranges(here, verify=False) == len(data)


def test_what_fails_is_not_written_on(tmp_path):
    """Chunks before the damage are handed over, those after it are not."""
    (tmp_path / "data").write_bytes(bytes(8) + b"\1" + bytes(7))
    chunks = []
    run = [zeros(tmp_path / "data", 0, 8), zeros(tmp_path / "data", 8, 8)]
    with pytest.raises(tb.CorruptionError):
        stream_ranges(run, write=lambda chunk: chunks.append(bytes(chunk)))
    assert b"".join(chunks) in (b"", bytes(8))


@pytest.mark.parametrize("size", [0, 3, 11])
def test_a_file_that_ends_too_early(tmp_path, size):
    (tmp_path / "data").write_bytes(bytes(size))
    with pytest.raises(tb.CorruptionError, match=f"12 bytes wanted, the file ends at {size}") as caught:
        stream_ranges([zeros(tmp_path / "data", 0, 12)])
    assert (caught.value.path, caught.value.offset) == (str(tmp_path / "data"), 0)


def test_no_file(tmp_path):
    with pytest.raises(tb.MissingFileError, match="no such file"):
        stream_ranges([zeros(tmp_path / "data", 0, 12)])


def test_strings_that_can_not_fit(tmp_path):
    """More strings than bytes: told without reading lengths that are not there."""
    (tmp_path / "data").write_bytes(bytes(12))
    entry = plain("string", [1000], bytes(12))
    with pytest.raises(tb.CorruptionError, match="1000 strings can't fit in 12 bytes"):
        stream_ranges([in_file(tmp_path / "data", entry)])
    failed = []
    assert stream_ranges([in_file(tmp_path / "data", entry)], failed=lambda *each: failed.append(each)) == 12
    assert len(failed) == 1
