"""Values of many tensors are read in batches of about a megabyte."""

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.tools.operations.inspecting.passes import in_batches
from tensorbundle.tools.rewriting.draft_index import expression_of


@pytest.mark.parametrize(
    "save", [np.savez, np.savez_compressed]
)  # compressed values are in no range of the file
def test_small_tensors_are_read_together_and_large_ones_apart(save, tmp_path):
    arrays = {f"a{number}": np.zeros(10) for number in range(100)}
    arrays |= {f"b{number}": np.zeros(1 << 17) for number in range(3)}
    save(tmp_path / "arrays.npz", **arrays)
    with tb.open(tmp_path / "arrays.npz") as ckpt:
        items = [(key, [expression_of(ckpt.index, key, entry)]) for key, entry in ckpt.entries()]
        found = list(in_batches(lambda key, files: files, items))
    assert [key for key, _ in found] == sorted(arrays)
    counts = [sum(each is files for _, each in found) for files in dict.fromkeys(files for _, files in found)]
    assert counts == [64, 37, 1, 1]
