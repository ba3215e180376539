"""Jobs done with tensorbundle in one process; imports and a first run on something small are not timed."""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING

from shared import model_arrays, timed

import tensorbundle as tb

if TYPE_CHECKING:
    import numpy as np


def entries(small: str, prefix: str) -> None:
    """Open a checkpoint and list names, types and shapes."""

    def job(path: str) -> list[object]:
        with tb.open(path) as ckpt:
            return [(key, entry.dtype, entry.shape) for key, entry in ckpt.entries()]

    job(small)
    listed = timed(lambda: job(prefix))
    print(len(listed))


def one(small: str, prefix: str, key: str) -> None:
    """Open a checkpoint and read one tensor."""

    def job(path: str, key: str) -> np.ndarray:
        with tb.open(path) as ckpt:
            return ckpt[key]

    with tb.open(small) as ckpt:
        first = next(iter(ckpt))
    job(small, first)
    value = timed(lambda: job(prefix, key))
    print(zlib.crc32(value.tobytes()))


def save(small: str, prefix: str, nbytes: str, tensors: str) -> None:
    """Write arrays."""

    def job(path: str, arrays: dict[str, np.ndarray]) -> None:
        with tb.create(path) as writer:
            for name, array in arrays.items():
                writer.add(name, array)

    job(small, model_arrays(1 << 14, 5))
    arrays = model_arrays(int(nbytes), int(tensors))
    timed(lambda: job(prefix, arrays), given=sum(each.nbytes for each in arrays.values()), scratch=small)


if __name__ == "__main__":
    {"entries": entries, "one": one, "save": save}[sys.argv[1]](*sys.argv[2:])
