"""The checksum of a tensor's content, from the index where that has it."""

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.coding import crc32c, crc32c_of_zeros
from tensorbundle.tools.operations.comparing.checksums import computed_checksum, stored_checksum
from tensorbundle.tools.rewriting.draft_index import expression_of

VALUES = np.arange(2 * 3 * 4, dtype="f4").reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("specs", "known"),
    [
        ([], True),
        (["0,1:-:-", "1,1:-:-"], True),
        (["1,1:-:-", "0,1:0,2:-", "0,1:2,1:-"], True),
        (["-:0,1:-", "-:1,2:-"], False),
    ],
)
def test_of_runs_of_rows(tmp_path, specs, known):
    with tb.create(tmp_path / "m") as writer:
        if not specs:
            writer.add("w", VALUES)
        for part in map(tb.TensorSlice.parse_spec, specs):
            writer.add_slice("w", VALUES.shape, part, VALUES[part.box(VALUES.shape)])
    with tb.open(tmp_path / "m") as ckpt:
        values = expression_of(ckpt.index, "w", ckpt.entry("w"))
        stored = stored_checksum(values)
        assert stored == (crc32c(VALUES.tobytes()) if known else None)
        assert computed_checksum(values) == crc32c(VALUES.tobytes())


@pytest.mark.parametrize("size", [0, 1, 7, 64, 1000, 2**20 + 3])
def test_of_zeros(size):
    assert crc32c_of_zeros(size) == crc32c(bytes(size))
