"""Contents cut into pieces, and put together again: by one thread or several, onto files of any kind."""

import random

import numpy as np
import pytest

import tensorbundle as tb
from support.memory_disk import MemoryDisk
from tensorbundle.dtypes import DType
from tensorbundle.tools.operations.editing.casting import cast
from tensorbundle.tools.rewriting import appending, expressions
from tensorbundle.tools.rewriting.draft import Draft
from tensorbundle.tools.rewriting.options import TransferOptions
from tensorbundle.tools.rewriting.pieces import cut
from tensorbundle.tools.rewriting.rearranging import Transpose
from tensorbundle.tools.rewriting.transfer import transfer

SIZES = [50, 700]


def test_pieces_have_the_size_that_was_asked_for():
    contents = [bytes(size) for size in (3, 0, 25, 1, 1, 10, 0)]
    pieces = list(cut(contents, 10))
    assert [sum(part.nbytes for part in piece.parts) for piece in pieces] == [10, 10, 10, 10]
    assert [piece.offset for piece in pieces] == [0, 10, 20, 30]
    parts = [part for piece in pieces for part in piece.parts]
    assert [part.number for part in parts if part.starts] == list(range(7))
    assert [part.number for part in parts if part.ends] == list(range(7))
    assert list(cut([], 10)) == []


@pytest.fixture(scope="module")
def files():
    """Tensors of all kinds and of up to a few kilobytes, in an order that is not that of their bytes."""
    disk = MemoryDisk(directories=["d"])
    generator = np.random.default_rng(3)
    with tb.create("d/m", store=disk) as writer:
        writer.add("words", np.array([b"x" * 300, b"", b"abc"], object))
        for number in random.Random(1).sample(range(12), 12):
            writer.add(f"{number}", generator.random((number * 5, 7), np.float32))
        writer.add("empty", np.zeros((0, 3)))
        writer.add("last words", np.array([b"y" * 90], object))
        writer.add("bytes", generator.integers(0, 255, 777, np.uint8))
    return disk.files


def rewritten(files, edit, jobs, progress=None):
    disk = MemoryDisk(files, directories=["d"])
    with tb.open("d/m", store=disk) as ckpt:
        draft = Draft.of(ckpt)
        edit(draft)
        options = TransferOptions(data="copy", store=disk, jobs=jobs, progress=progress)
        summary = transfer(draft.plan(), "d/n", options)
    return {name: data for name, data in disk.files.items() if "/n." in name}, summary, disk


def nothing(draft):
    del draft


def some_cast(draft):
    cast(draft, {"*1": "float64"})
    cast(draft, {"5": "int32"}, allow_lossy=True)


def turned(draft):
    draft.set_tensor("11", Transpose(draft.tensors["11"].expression, (1, 0)))


@pytest.mark.parametrize("piece", SIZES)
@pytest.mark.parametrize("edit", [nothing, some_cast, turned])
def test_threads_write_what_one_writes(files, edit, piece, monkeypatch):
    monkeypatch.setattr(expressions, "CHUNK_ELEMENTS", 16)
    expected, alone, _ = rewritten(files, edit, 1)
    monkeypatch.setattr(appending, "PIECE_BYTES", piece)
    told = []
    for jobs in (1, 3):
        found, summary, disk = rewritten(files, edit, jobs, told.append)
        assert found == expected
        assert ("place" in disk.asked) == (jobs == 3)
        assert summary.bytes_read == alone.bytes_read
        assert summary.lost == alone.lost
    assert bool(alone.lost) == (edit is some_cast)
    assert edit is turned or sum(told) == 2 * sum(len(data) for name, data in files.items() if "data" in name)


@pytest.mark.parametrize("piece", SIZES)
@pytest.mark.parametrize("edit", [nothing, some_cast, turned])
def test_every_byte_is_checked(files, edit, piece, monkeypatch):
    """Whichever bit is wrong, the error names the tensor that it belongs to."""
    monkeypatch.setattr(expressions, "CHUNK_ELEMENTS", 16)
    monkeypatch.setattr(appending, "PIECE_BYTES", piece)
    name = "d/m.data-00000-of-00001"
    places = {}
    with tb.open("d/m", store=MemoryDisk(files, directories=["d"])) as ckpt:
        for key, entry in ckpt.entries():
            places |= dict.fromkeys(range(entry.offset, entry.offset + entry.nbytes), key)
            assert entry.dtype is not DType.variant
    assert len(places) == len(files[name])
    for position in random.Random(piece).sample(sorted(places), 4):
        data = bytearray(files[name])
        data[position] ^= 4
        with pytest.raises(tb.CorruptionError) as caught:
            rewritten({**files, name: bytes(data)}, edit, 2)
        assert caught.value.key == places[position]


def test_without_checks_checksums_stay(files, monkeypatch):
    monkeypatch.setattr(appending, "PIECE_BYTES", 64)
    name = "d/m.data-00000-of-00001"
    data = bytearray(files[name])
    data[-1] ^= 4
    disk = MemoryDisk({**files, name: bytes(data)}, directories=["d"])
    with tb.open("d/m", store=disk) as ckpt:
        options = TransferOptions(data="copy", store=disk, jobs=2, verify=False)
        transfer(Draft.of(ckpt).plan(), "d/n", options)
    assert disk.files["d/n.index"] == disk.files["d/m.index"]
    assert disk.files["d/n.data-00000-of-00001"] == data


def test_no_threads_are_an_error():
    with pytest.raises(tb.BundleError, match="jobs=0"):
        TransferOptions(jobs=0)
