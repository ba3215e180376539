"""Limits on the contents of files. A file that exceeds a limit is refused with an error that names the limit.

Limits are far above the values that TensorFlow writes. They keep memory and time proportional to the size of a file.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ENTRY_BYTES",
    "MAX_DATASETS",
    "MAX_DIRECTORY_BYTES",
    "MAX_ENCODED_REPEATS",
    "MAX_EXPANDED_BYTES",
    "MAX_EXPANSION",
    "MAX_GROUP_DEPTH",
    "MAX_HEADER_BYTES",
    "MAX_INPUTS",
    "MAX_KEY_RATIO",
    "MAX_OBJECTS",
    "MAX_PATHS",
    "MAX_PATH_RATIO",
    "MAX_RANK",
    "MAX_RECIPE_BYTES",
    "MAX_RECORD_BYTES",
    "MAX_REPEATS",
    "MAX_SHARDS",
    "MAX_SLOT_DEPTH",
    "MAX_SNAPPY_RATIO",
    "MAX_STATE_BYTES",
    "MAX_STEPS",
    "MAX_TEXT_BYTES",
    "MAX_TEXT_CHARACTERS",
    "MIN_ENTRIES",
    "MIN_NODES",
    "NODE_BYTES",
]

# Bytes of all keys of a block together, for each byte of the block (and a MiB besides): shared prefixes let a small block
# stand for long keys. TensorFlow stores every 16th key as a whole, so that 16 bytes for each are never exceeded.
MAX_KEY_RATIO: Final = 16
# Entries of a table, an index or a V1 file, for each byte of it and besides: with its key, each that TensorFlow writes takes at
# least 17. Compressed blocks could have hundreds of times as many.
ENTRY_BYTES: Final = 16
MIN_ENTRIES: Final = 10_000
MAX_SHARDS: Final = 1_000_000  # data shards of one checkpoint
MAX_RANK: Final = 254  # dimensions of a tensor: TensorShape's own limit
# Characters in the paths of all objects of a graph together: for each byte of the graph, and a million besides, and in any case.
MAX_PATH_RATIO: Final = 64
MAX_PATHS: Final = 1 << 26
# Objects of a graph, for each byte of it and besides: with its edge, each takes at least eight.
NODE_BYTES: Final = 8
MIN_NODES: Final = 1000
# Variables that only slot variables lead to, which have slots themselves, and so on: removing one is repeated for each level.
# TensorFlow saves no slot variable that leads to anything.
MAX_SLOT_DEPTH: Final = 100
MAX_STATE_BYTES: Final = 16 << 20  # of a state file: more than 100,000 checkpoints take
MAX_SNAPPY_RATIO: Final = 22  # of output to input: 64 bytes from 3 in one element
MAX_RECORD_BYTES: Final = 1 << 31  # of a V1 record: kMaxMessageBytes
# Other formats
MAX_HEADER_BYTES: Final = 100_000_000  # of a safetensors file: safetensors' MAX_HEADER_SIZE
MAX_DIRECTORY_BYTES: Final = 100_000_000  # of the directory of a zip archive
# What the members of an archive, or the datasets of an HDF5 file, take when decoded: so many bytes, or a multiple of the file.
# Also of tensors that share bytes, wherever each of them is read.
MAX_EXPANDED_BYTES: Final = 128 << 20
MAX_REPEATS: Final = 16  # bytes of all tensors that are read together, for each byte that they are stored in
# Of tensors of strings or variants, whose lengths must be decoded to check them; a mebibyte is allowed besides.
MAX_ENCODED_REPEATS: Final = 4
MAX_EXPANSION: Final = 100
MAX_DATASETS: Final = 1_000_000  # of an HDF5 file
MAX_GROUP_DEPTH: Final = 100  # of groups in groups of an HDF5 file
# Texts that are given beside a checkpoint
MAX_TEXT_BYTES: Final = 32 << 20  # of a map, or a structure in JSON
MAX_RECIPE_BYTES: Final = (
    2 << 20
)  # of a recipe, or a structure in TOML: parsing takes the square of the depth of keys
MAX_STEPS: Final = 200  # of a recipe: each may compute values of those that the one before it computes
MAX_INPUTS: Final = 10_000  # tensors that one is joined of; split and joined again, their number doubles
MAX_OBJECTS: Final = 1 << 20  # of a structure
MAX_TEXT_CHARACTERS: Final = 1 << 17  # of a text that `explain` is given; what follows is not looked at
