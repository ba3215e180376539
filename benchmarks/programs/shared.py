"""What the programs beside this file have in common: shapes, random values, and how they tell their times."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COLUMNS = 1024
CHUNK_BYTES = 4 << 20
PARTS = [
    f"{part}/{name}"
    for part in (
        "attention/query",
        "attention/key",
        "attention/value",
        "attention/output",
        "mlp/up",
        "mlp/down",
    )
    for name in ("kernel", "bias")
] + ["norm/scale", "norm/bias", "attention/norm/scale", "attention/norm/bias"]


def model_shapes(nbytes: int, tensors: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a float32 model of about `nbytes`: an embedding, a few large kernels, many small vectors."""
    kernels = max(1, tensors // 10)
    vectors = max(1, tensors - kernels - 1)
    rows = max(4, nbytes // (4 * COLUMNS) - vectors)
    shapes: dict[str, tuple[int, ...]] = {"embedding/table": (rows // 4, COLUMNS)}
    for number in range(kernels):
        shapes[f"encoder/layer_{number:03d}/mlp/kernel"] = (max(1, rows * 3 // 4 // kernels), COLUMNS)
    for number in range(vectors):
        shapes[f"encoder/layer_{number % kernels:03d}/norm_{number // kernels:03d}/scale"] = (COLUMNS,)
    return dict(sorted(shapes.items()))


def many_shapes(tensors: int) -> dict[str, tuple[int, ...]]:
    """Names of the usual length and tiny shapes: a checkpoint that is nearly all index."""
    out: dict[str, tuple[int, ...]] = {}
    for number in range(tensors):
        block, part = divmod(number, len(PARTS))
        out[f"model/encoder/block_{block:06d}/{PARTS[part]}"] = (1 + number % 3, 2)[: 1 + part % 2]
    return dict(sorted(out.items()))


def adam_shapes(nbytes: int, layers: int = 24) -> dict[str, tuple[int, ...]]:
    """A BERT-like encoder and the two slots of Adam for each variable, `nbytes` in all: widths follow from the size."""
    width = max(
        8, int((nbytes / 12 / (12 * layers + 30)) ** 0.5)
    )  # 12 w**2 a layer, and 30 w rows of w embeddings
    model: dict[str, tuple[int, ...]] = {"bert/embeddings/word_embeddings": (30 * width, width)}
    for layer in range(layers):
        for part in PARTS:
            inner = 4 * width if "mlp" in part else width
            shape = (width, inner) if part.startswith("mlp/up") else (inner, width)
            vector = (inner if part == "mlp/up/bias" else width,)
            model[f"bert/encoder/layer_{layer}/{part}"] = shape if part.endswith("kernel") else vector
    slots = {f"{name}/{slot}": shape for name, shape in model.items() for slot in ("adam_m", "adam_v")}
    return dict(sorted((model | slots).items()))


def embedding_shapes(nbytes: int) -> dict[str, tuple[int, ...]]:
    """A table of 16 columns with as many rows as `nbytes` take (10 million at 640 MB), and a small tower."""
    return {"tower/kernel": (16, 256), "users/embedding": (max(1, nbytes // 64), 16)}


def random_chunks(nbytes: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Normally distributed float32 values in chunks, `nbytes` in all."""
    while nbytes > 0:
        count = min(nbytes, CHUNK_BYTES) // 4
        yield random.standard_normal(count, dtype=np.float32)
        nbytes -= 4 * count


def model_arrays(nbytes: int, tensors: int, seed: int = 1) -> dict[str, np.ndarray]:
    """The model of `model_shapes` in memory."""
    random = np.random.default_rng(seed)
    return {
        name: random.standard_normal(shape, dtype=np.float32)
        for name, shape in model_shapes(nbytes, tensors).items()
    }


def timed(job: Callable[[], object], *, given: int = 0, scratch: str | None = None) -> object:
    """Run `job` once, print what it took as a JSON object, and return what it returns.

    Args:
        job: the part of the program that counts.
        given: bytes of the arrays that it was handed, which are not its own memory.
        scratch: a file to fill with as many bytes and to delete first; `back_memory.py` says why.
    """
    if scratch is not None:
        fill(scratch, given)
    before = bytes_written()
    started = time.perf_counter()
    result = job()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "given": given, "written_before": before}))
    return result


def fill(path: str, nbytes: int) -> None:
    """Write so many bytes to a file, and delete it."""
    chunk = bytes(CHUNK_BYTES)
    with open(path, "wb") as file:
        file.writelines(chunk for _ in range(nbytes // CHUNK_BYTES))
    os.unlink(path)


def bytes_written() -> int:
    """What this process handed to the operating system so far; 0 where that is not known."""
    try:
        with open("/proc/self/io") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("wchar:"))
    except OSError:
        return 0
