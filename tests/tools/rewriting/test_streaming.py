"""Runs of pieces, and checksums of pieces that buffers cut anywhere."""

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain
from support.contents import any_bits, array_dtypes
from support.golden import GOLDEN
from tensorbundle.tools.rewriting import streaming
from tensorbundle.tools.rewriting.streaming import Piece, runs, stream

CHECKSUM = r"crc32c of {} bytes: stored \w{{8}}, computed \w{{8}}"


def piece(path, offset, nbytes, key="k"):
    return Piece(str(path), key, plain("uint8", [nbytes], bytes(nbytes), offset=offset))


def pieces_of(prefix):
    """Every stored tensor and slice of a checkpoint, in the order in which they lie in its files."""
    with tb.open(prefix) as ckpt:
        found = [
            Piece(ckpt.index.shard_path(entry.shard), key.decode("utf-8", "replace"), entry)
            for key, entry in ckpt.index.raw_entries()
            if not entry.slices
        ]
    return sorted(found, key=lambda each: (each.path, each.entry.offset, each.entry.nbytes))


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
    given = [piece(*place) for place in places]
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
    monkeypatch.setattr(streaming, "BUFFER_BYTES", size)
    [run] = runs(pieces_of(everything))
    read = bytearray()
    told = []
    total = stream(run, write=read.extend, progress=told.append)
    with open(run[0].path, "rb") as file:
        assert read == file.read()
    assert total == sum(told) == len(read)
    assert max(told) <= size


def test_variants(monkeypatch):
    monkeypatch.setattr(streaming, "BUFFER_BYTES", 5)
    for run in runs(pieces_of(GOLDEN / "tf-2.15/iterator")):
        stream(run)


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_each_damaged_piece_is_told(everything, tmp_path, monkeypatch, size):
    """One byte in every fourth piece changes; those, and no others, fail."""
    monkeypatch.setattr(streaming, "BUFFER_BYTES", size)
    [run] = runs(pieces_of(everything))
    with open(run[0].path, "rb") as file:
        data = bytearray(file.read())
    damaged = [each for each in run[::4] if each.entry.nbytes]
    for each in damaged:
        data[each.entry.offset + each.entry.nbytes - 1] ^= 1
    path = tmp_path / "data"
    path.write_bytes(data)
    failed = []
    here = [Piece(str(path), each.key, each.entry) for each in run]
    assert stream(here, failed=lambda *failure: failed.append(failure)) == len(data)
    assert [each.key for each, _ in failed] == [each.key for each in damaged]
    for each, error in failed:
        assert (error.path, error.offset, error.key) == (str(path), each.entry.offset, each.key)
    with pytest.raises(tb.CorruptionError, match=CHECKSUM.format(damaged[0].entry.nbytes)) as caught:
        stream(here)
    assert caught.value.key == damaged[0].key
    assert stream(here, verify=False) == len(data)


def test_what_fails_is_not_written_on(tmp_path):
    """Chunks before the damage are handed over, those after it are not."""
    (tmp_path / "data").write_bytes(bytes(8) + b"\1" + bytes(7))
    chunks = []
    run = [piece(tmp_path / "data", 0, 8), piece(tmp_path / "data", 8, 8)]
    with pytest.raises(tb.CorruptionError):
        stream(run, write=lambda chunk: chunks.append(bytes(chunk)))
    assert b"".join(chunks) in (b"", bytes(8))


@pytest.mark.parametrize("size", [0, 3, 11])
def test_a_file_that_ends_too_early(tmp_path, size):
    (tmp_path / "data").write_bytes(bytes(size))
    with pytest.raises(tb.CorruptionError, match="the file ends too early") as caught:
        stream([piece(tmp_path / "data", 0, 12)])
    assert (caught.value.path, caught.value.offset) == (str(tmp_path / "data"), size)


def test_no_file(tmp_path):
    with pytest.raises(tb.MissingFileError, match="no such file"):
        stream([piece(tmp_path / "data", 0, 12)])


def test_strings_that_can_not_fit(tmp_path):
    """More strings than bytes: told without reading lengths that are not there."""
    (tmp_path / "data").write_bytes(bytes(12))
    entry = plain("string", [1000], bytes(12))
    with pytest.raises(tb.CorruptionError, match="1000 strings can't fit in 12 bytes"):
        stream([Piece(str(tmp_path / "data"), "k", entry)])
    failed = []
    assert stream([Piece(str(tmp_path / "data"), "k", entry)], failed=lambda *each: failed.append(each)) == 12
    assert len(failed) == 1
