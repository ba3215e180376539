"""Directories of small checkpoints, with a state file or without."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

import tensorbundle as tb
from support.bundles import table_bytes
from tensorbundle.state import CheckpointState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

EPOCH = 1_700_000_000.0


def write_checkpoints(directory: Path, names: Iterable[str], *, seconds: float = 60.0) -> None:
    """Write a checkpoint under each of these names, one every so many seconds from `EPOCH` on by the clock of its files."""
    directory.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        with tb.create(directory / name) as writer:
            writer.add("step", np.int64(number))
        touch(directory, name, EPOCH + seconds * number)


def write_v1(path: Path) -> None:
    """Write what begins as a V1 checkpoint does: a table with a meta record, of no tensors."""
    path.write_bytes(table_bytes([(b"", b"\x0a\x00")]))


def touch(directory: Path, name: str, time: float) -> None:
    """Let the files of a checkpoint have been written at `time`."""
    for path in directory.iterdir():
        if path.name == name or path.name.startswith((f"{name}.", f"{name}-")):
            os.utime(path, (time, time))


def write_state(
    directory: Path,
    paths: Sequence[str],
    timestamps: Sequence[float] = (),
    last_preserved: float | None = None,
    latest: str | None = None,
) -> CheckpointState:
    """Write a state file that lists these paths; the last is the latest, unless another one is said to be."""
    state = CheckpointState(
        str(directory), latest or paths[-1], tuple(paths), tuple(timestamps), last_preserved
    )
    state.write()
    return state


def read_state(directory: Path) -> CheckpointState:
    """The state file of a directory."""
    return CheckpointState.read(str(directory))


def managed(directory: Path, count: int = 5, *, seconds: float = 3600.0) -> CheckpointState:
    """Checkpoints ckpt-1, ckpt-2, ... as a CheckpointManager leaves them, one every so many seconds."""
    names = [f"ckpt-{number}" for number in range(1, count + 1)]
    write_checkpoints(directory, names, seconds=seconds)
    return write_state(directory, names, [EPOCH + seconds * number for number in range(count)], EPOCH - 1)
