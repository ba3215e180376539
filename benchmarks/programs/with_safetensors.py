"""Writing arrays with safetensors."""

from __future__ import annotations

import sys

from safetensors.numpy import save_file
from shared import model_arrays, timed


def save(small: str, path: str, nbytes: str, tensors: str) -> None:
    save_file(model_arrays(1 << 14, 5), small)
    arrays = model_arrays(int(nbytes), int(tensors))
    timed(lambda: save_file(arrays, path), given=sum(each.nbytes for each in arrays.values()), scratch=small)


if __name__ == "__main__":
    save(*sys.argv[1:])
