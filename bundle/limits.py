"""Limits on the contents of files. A file that exceeds a limit is refused with an error that names the limit.

Limits are far above the values that TensorFlow writes. They keep memory and time proportional to the size of a file.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "MAX_KEY_RATIO",
    "MAX_PATHS",
    "MAX_RANK",
    "MAX_SHARDS",
    "MAX_STATE_BYTES",
    "MIN_NODES",
    "NODE_BYTES",
]

# Bytes of all keys of a block together, for each byte of the block (and a MiB besides): shared prefixes let a small block
# stand for long keys. Names with 1,400 scopes take 45.
MAX_KEY_RATIO: Final = 64
MAX_SHARDS: Final = 1_000_000  # data shards of one checkpoint
MAX_RANK: Final = 254  # dimensions of a tensor: TensorShape's own limit
MAX_PATHS: Final = 1 << 26  # characters in the paths of all objects of a graph together
# Objects of a graph, for each byte of it and besides: with its edge, each takes at least eight.
NODE_BYTES: Final = 8
MIN_NODES: Final = 1000
MAX_STATE_BYTES: Final = (
    16 << 20
)  # of a state file: more than 100,000 checkpoints take; a second or two to parse
