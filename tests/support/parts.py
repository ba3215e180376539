"""The parts of a save that nobody merged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import tensorbundle as tb
from tensorbundle.slices import TensorSlice

if TYPE_CHECKING:
    from pathlib import Path

EMB = np.arange(40, dtype="f4").reshape(10, 4)


def write_parts(directory: Path) -> Path:
    """Three parts: rows of `EMB` in each, and one more tensor in each."""
    folder = directory / "model.ckpt-5_temp_3f2a"
    folder.mkdir()
    others = {"step": np.int64(5), "kernel": np.float32([1]), "bias": np.float32([2, 3])}
    rows = [(0, 4), (4, 3), (7, 3)]
    for number, ((start, length), (name, value)) in enumerate(zip(rows, others.items(), strict=True)):
        with tb.create(folder / f"part-{number:05}-of-00003") as writer:
            part = TensorSlice(((start, length), (0, 4)))
            writer.add_slice("emb", EMB.shape, part, EMB[start : start + length])
            writer.add(name, value)
    return folder
