"""What fixed jobs ask of storage and of memory, counted: files opened, reads, writes, flushes, bytes and allocations.

Unlike times, these are the same on every machine. A change that makes one of them larger needs a reason.
"""

import gc
import os
import sys
from collections import Counter

import numpy as np
import pytest

import tensorbundle as tb
from support.counting import CountingDisk
from tensorbundle import tools
from tensorbundle.proto.graph import ObjectGraph
from tensorbundle.tools.operations.editing.casting import cast
from tensorbundle.tools.rewriting.appending import SAMPLE_TENSORS
from tensorbundle.tools.rewriting.draft import Draft
from tensorbundle.tools.rewriting.options import TransferOptions
from tensorbundle.tools.rewriting.transfer import transfer

TENSORS, ROWS = 3_000, 700
LARGE = 4 * ROWS * 1024  # bytes of the large tensor
DATA = LARGE + 8 * TENSORS
BLOCK = 82_712  # bytes of the index's data block
INDEX = BLOCK + 82  # and of the index
ENDS = BLOCK + 69  # read when it is opened: footer, index block, and the data block for its header


@pytest.fixture(scope="module")
def files():
    """3,000 tiny tensors and one of 2.9 MB; the index has one data block."""
    disk = CountingDisk(directories=["d"])
    with tb.create("d/m", store=disk) as writer:
        for number in range(TENSORS):
            writer.add(f"a/layer_with_a_long_name_{number * 7919 % TENSORS:06}/kernel", np.int64(number))
        writer.add("z/large", np.ones((ROWS, 1024), np.float32))
    assert len(disk.files["d/m.data-00000-of-00001"]) == DATA
    return disk.files


@pytest.fixture
def disk(files):
    return CountingDisk(files, directories=["d"])


def rewrite(disk, change=lambda draft: None, **options):
    """Make `d/n` of `d/m`; what that asked of the disk."""
    disk.counts.clear()
    with tb.open("d/m", store=disk) as ckpt:
        draft = Draft.of(ckpt)
        change(draft)
        transfer(draft.plan(), "d/n", TransferOptions(store=disk, **options))
    return dict(disk.counts)


def test_list(disk):
    with tb.open("d/m", store=disk) as ckpt:
        assert disk.counts == {"open": 1, "read": 3, "bytes read": ENDS}
        assert len(list(ckpt.entries())) == TENSORS + 1
    assert disk.counts == {"open": 1, "read": 4, "bytes read": ENDS + BLOCK}


def test_one_tensor(disk):
    with tb.open("d/m", store=disk) as ckpt:
        ckpt["z/large"]
    assert disk.counts == {"open": 2, "read": 4, "bytes read": ENDS + LARGE}


def test_share(disk):
    assert rewrite(disk) == {
        "open": 2,
        "read": 5,
        "bytes read": ENDS + BLOCK + 8 * SAMPLE_TENSORS,
        "create": 2,
        "share": 1,
        "append": 13,
        "bytes written": INDEX,
        "flush": 3,
        "link": 2,
        "remove": 2,
    }


@pytest.mark.slow
def test_copy(disk):
    assert rewrite(disk, data="copy") == {
        "open": 2,
        "read": 4 + 6,
        "bytes read": ENDS + BLOCK + DATA,
        "create": 2,
        "append": 13 + 6,
        "bytes written": INDEX + DATA,
        "flush": 4,
        "link": 2,
        "remove": 2,
    }


def test_cast(disk):
    counts = rewrite(disk, lambda draft: cast(draft, {"z/large": "bfloat16"}), data="copy")
    assert counts == {
        "open": 2,
        "read": 4 + 4,
        "bytes read": ENDS + BLOCK + DATA,
        "create": 2,
        "append": 13 + 4,
        "bytes written": INDEX - 1 + DATA - LARGE // 2,
        "flush": 4,
        "link": 2,
        "remove": 2,
    }


@pytest.fixture
def called(files, tmp_path, monkeypatch):
    """Counts what a job on files of a disk asks of the system."""
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    counts = Counter()

    def counting(name, of):
        real = getattr(os, name)

        def call(*arguments):
            counts[name] += 1
            found = real(*arguments)
            counts["bytes"] += of(found)
            return found

        monkeypatch.setattr(os, name, call)

    counting("open", lambda _: 0)
    counting("pread", len)
    counting("preadv", int)
    return counts


def read_by(job, called):
    called.clear()
    job()
    return dict(called)


def test_verify(called):
    """Data in pieces of half a megabyte."""
    head = 4096  # of the data shard, which may be a file of another kind
    end = 48 + 13  # the footer and the metaindex block
    assert read_by(lambda: tools.verify("d/m", jobs=1), called) == {
        "open": 3,
        "pread": 7,
        "preadv": 6,
        "bytes": ENDS + BLOCK + DATA + head + end,
    }


@pytest.mark.slow
def test_stats_and_hash(called):
    """Each tensor by one call, a large one by several; the file is opened once for 64 tensors."""
    expected = {
        "open": 1 + -(-TENSORS // 64),
        "pread": 4,
        "preadv": TENSORS + 3,
        "bytes": ENDS + BLOCK + DATA,
    }
    assert read_by(lambda: list(tools.stats("d/m", jobs=1)), called) == expected
    assert read_by(lambda: tools.hash("d/m", jobs=1), called) == expected


def calls(job):
    """How many functions a job calls, those written in C among them."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        job()
    finally:
        sys.setprofile(None)
    return count


def kept(job):
    """How many allocations a job's result holds, for each of the tensors."""
    job()  # the first time, modules are imported and what is cached is made
    gc.collect()
    before = sys.getallocatedblocks()
    result = job()
    gc.collect()
    count = sys.getallocatedblocks() - before
    assert result is not None
    return count / TENSORS


@pytest.mark.slow
def test_what_is_kept_in_memory_for_each_tensor(disk):
    with tb.open("d/m", store=disk) as ckpt:
        # The key, the entry, its offset, its checksum, and the pair of key and entry.
        assert kept(lambda: list(ckpt.entries())) == pytest.approx(5, abs=0.1)
        # The key as text; the tensor, its expression, the key there, the entry, its offset and its checksum.
        assert kept(lambda: Draft.of(ckpt)) == pytest.approx(7, abs=0.1)
        # Both keys; the planned entry, its origin, the entry, its offset, its checksum, and the range.
        assert kept(lambda: Draft.of(ckpt).plan(last=True)) == pytest.approx(8, abs=0.1)


@pytest.mark.slow
def test_what_is_kept_in_memory_for_each_object():
    """The object, its empty children and slots, its attributes, which take two, one of them, three names and its number."""
    encoded = ObjectGraph.from_names([f"layer_{number}/kernel" for number in range(TENSORS)]).encode()
    assert kept(lambda: ObjectGraph.parse(encoded)) == pytest.approx(10, abs=0.1)


JOBS = {
    "ls": tools.ls,
    "tree": tools.tree,
    "rename": lambda path: tools.rename(path, f"{path}.new", {"model/": "net/"}),
    "convert": lambda path: tools.convert(path, f"{path}.new", to="tf2"),
    "verify": tools.verify,
    "hash": lambda path: tools.hash(path, jobs=1),
    "graph": lambda path: (
        tools.convert(path, f"{path}.new", to="tf2") and [*tb.open(f"{path}.new").object_graph.walk()]
    ),
}


@pytest.mark.parametrize("job", JOBS)
def test_no_job_grows_faster_than_the_number_of_tensors(tmp_path, job):
    """Ten times the tensors take at most ten times the calls of functions."""
    counts = []
    for number, tensors in enumerate((60, 60, 600)):  # the first time, modules are imported
        with tb.create(tmp_path / f"{number}") as writer:
            for each in range(tensors):
                writer.add(f"model/layer_{each * 7919 % tensors}/kernel", np.int32(each))
        counts.append(calls(lambda path=tmp_path / f"{number}": JOBS[job](path)))
    assert counts[2] <= 10 * counts[1]
