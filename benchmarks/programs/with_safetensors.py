"""Writing arrays with safetensors."""

from __future__ import annotations

import os
import sys

from safetensors.numpy import save_file
from shared import model_arrays, timed


def save(small: str, path: str, nbytes: str, tensors: str, flush: str = "") -> None:
    """Write arrays to one file; `flush` is "fsync" if they must be on disk then."""

    def job() -> None:
        save_file(arrays, path)
        if flush == "fsync":
            with open(path, "rb") as file:
                os.fsync(file.fileno())

    save_file(model_arrays(1 << 14, 5), small)
    arrays = model_arrays(int(nbytes), int(tensors))
    timed(job, given=sum(each.nbytes for each in arrays.values()), scratch=small)


if __name__ == "__main__":
    save(*sys.argv[1:])
