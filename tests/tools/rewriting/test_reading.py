"""Tensors larger than memory may be: the peak of a process that converts one stays small."""

import subprocess
import sys

import numpy as np
import pytest

import tensorbundle as tb
from support.depth import DEEP

BLOCK = np.arange(1 << 20, dtype=np.float32).reshape(-1, 4)
BLOCKS = 100 if DEEP else 8  # of 4 MB
ROWS = BLOCKS * len(BLOCK)
LIMIT = 21_000_000  # above what the imports take, for two threads, and one that flushes
SCATTERED_LIMIT = 60_000_000  # where values come from all over a tensor

SCRIPT = """
import sys
import numpy
from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.dtypes import DType
from tensorbundle.tools.rewriting.draft import Draft
from tensorbundle.tools.rewriting.rearranging import (Transpose)
from tensorbundle.tools.operations.editing.casting import cast
from tensorbundle.tools.operations.editing.combining import average
from tensorbundle.tools.operations.editing.layout import partition, unpartition
from tensorbundle.tools.rewriting.options import TransferOptions
from tensorbundle.tools.rewriting.transfer import transfer

def peak():
    # Unlike ru_maxrss, not what the process was before `exec`.
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))

name, source, destination = sys.argv[1:]
before = peak()
checkpoint = open_checkpoint(source)
draft = Draft.of(checkpoint)
if name == "cast":
    cast(draft, {"*": "bfloat16"})
elif name == "average":
    draft, _ = average([draft, Draft.of(checkpoint)])
elif name == "partition":
    partition(draft, "e", 2, 1)
elif name == "unpartition":
    unpartition(draft)
else:
    stored = draft.tensors["e"].expression
    draft.set_tensor("e", Transpose(stored, (1, 0)))
transfer(draft.plan(), destination, TransferOptions(data="copy", jobs=2))
print(before, peak())
"""


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """One tensor of equal blocks, and another in slices of columns."""
    folder = tmp_path_factory.mktemp("big")
    with tb.create(folder / "narrow") as writer:
        writer.add_chunks("e", "float32", (ROWS, 4), (BLOCK for _ in range(BLOCKS)))
    with tb.create(folder / "cut") as writer:
        for start in (0, 2):
            part = tb.TensorSlice(((0, ROWS), (start, 2)))
            # A zero's memory is never touched while it is written.
            writer.add_slice("e", (ROWS, 4), part, np.broadcast_to(np.float32([start, 1]), (ROWS, 2)))
    yield folder
    for path in folder.iterdir():
        path.unlink()


def peaks(name, source, destination):
    """Of the process, before and after the work, in bytes."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, name, str(source), str(destination)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return map(int, done.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cast", "average", "partition", "unpartition", "transpose"])
def test_peak_memory(big, name):
    source = big / ("cut" if name == "unpartition" else "narrow")
    destination = big / f"out-{name}"
    try:
        before, after = peaks(name, source, destination)
        assert after - before < (SCATTERED_LIMIT if name in ("unpartition", "transpose") else LIMIT)
        with tb.open(destination, verify=False) as ckpt:
            block = BLOCK[-4:]
            last = np.s_[:, -4:] if name == "transpose" else np.s_[-4:]
            found = ckpt.read("e", last)
            expected = {
                "cast": block.astype(found.dtype),
                "transpose": block.T,
                "unpartition": np.float32([[0, 1, 2, 1]] * 4),
            }.get(name, block)
            assert found.tolist() == expected.tolist()
    finally:
        for path in big.glob(f"{destination.name}.*"):
            path.unlink()
