"""The jobs over a simulated link do what they should, once, without waiting."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("fsspec", reason="URLs need the [remote] extra")
sys.path.insert(0, str(Path(__file__).parent))  # the scripts beside this file

import link


def test_each_job_moves_its_bytes_once():
    size = 4_000_000
    rows = {row.job: row for row in link.measure(size, 0.0, 1e12)}
    assert rows["ten rows of a tensor"].bytes < size / 4 / 50
    assert size / 4 <= rows["a tensor"].bytes < size / 4 + 10_000
    assert size <= rows["verify"].bytes < size + 10_000
    for copy in ("copy to a disk", "copy from a disk", "copy in the store"):
        assert size <= rows[copy].bytes < size + 10_000
