"""Sources of conversions: opened once, however many tensors they have."""

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.storage.local import LocalFile
from tensorbundle.tools import convert


@pytest.mark.parametrize("name", ["out.npz", "out.weights.h5", "out.safetensors", "v1"])
def test_files_are_opened_once(tmp_path, monkeypatch, name):
    with tb.create(tmp_path / "m") as writer:
        for number in range(20):
            writer.add(f"layers/d{number}/vars/0", np.full(3, number, np.float32))
    opened = []
    begin = LocalFile.__init__

    def count(file, path, *arguments, **options):
        opened.append(path)
        begin(file, path, *arguments, **options)

    monkeypatch.setattr(LocalFile, "__init__", count)
    convert(tmp_path / "m", tmp_path / name, to="v1" if name == "v1" else None)
    assert 0 < len([path for path in opened if ".data-" in path]) < 4
