"""`tensorbundle compact`."""

import numpy as np

import tensorbundle as tb
from support.commands import check_writing
from support.rewriting import write


def test_dead_bytes_go(run, tmp_path):
    whole = write(tmp_path / "m", {"a": np.zeros(100), "b": np.float32(2)})
    source = tmp_path / "dead"
    run("drop", whole, source, "a")
    assert source.with_name("dead.data-00000-of-00001").stat().st_size == 804
    summary = check_writing(run, tmp_path, "compact", [source])
    assert (summary["bytes_shared"], summary["bytes_read"]) == (0, 4)
    assert (tmp_path / "out.data-00000-of-00001").stat().st_size == 4
    assert tb.open(tmp_path / "out")["b"] == 2
