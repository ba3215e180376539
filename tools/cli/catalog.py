"""The commands in the order of the help, with a line each, as data: so help does not import the commands."""

from __future__ import annotations

from typing import Final

__all__ = ["COMMANDS", "GROUPS"]

GROUPS: Final[dict[str, dict[str, str]]] = {
    "look at a checkpoint": {
        "info": "summarize a checkpoint on one screen",
        "ls": "list keys, types, shapes and sizes",
        "tree": "show keys by scope, with parameter counts and sizes",
        "show": "show values",
        "stats": "min, max, mean, std, NaN, Inf and zeros of each tensor",
        "graph": "show the object graph",
        "verify": "check every checksum and the whole layout",
        "report": "write an HTML page about a checkpoint, or about the differences of two",
        "diff": "compare two checkpoints",
        "hash": "content hash of each tensor and of the whole",
        "bench": "time listing, reading, checking and copying, beside a plain copy and TensorFlow",
    },
    "before a restore": {
        "check": "forecast whether a program would restore a checkpoint",
        "explain": "explain an error message of TensorFlow or Keras, and what to do",
        "suggest": "propose a rename map from A's names to B's",
    },
    "make a new checkpoint from one": {
        "convert": "convert between TF1 (names) and TF2 (objects), V1 and V2 files, and other formats",
        "rename": "rename tensors, or objects of a TF2 checkpoint",
        "cast": "cast tensors to another type",
        "drop": "remove matching tensors",
        "extract": "keep only matching tensors",
        "slim": "remove the optimizer's state",
        "set": "replace the values of tensors, or add tensors",
        "reshape": "change the shapes of tensors and their optimizer slots, with the same elements",
        "transpose": "permute the axes of tensors and their optimizer slots",
        "split": "split a tensor into several",
        "concat": "join several tensors into one",
        "resize": "remap embedding rows and optimizer slots to a new vocabulary",
        "salvage": "save every tensor of a damaged checkpoint that can still be proven good",
        "rewrite": "apply several of these in one pass, from a recipe",
        "recipes": "list the recipes that come with the package",
    },
    "change how tensors are stored": {
        "reshard": "distribute tensors over new data shards",
        "compact": "rewrite data shards without unreferenced bytes",
        "partition": "store tensors in slices",
        "unpartition": "store partitioned tensors whole",
    },
    "make one checkpoint from several": {
        "merge": "write the union of checkpoints",
        "average": "write the mean of checkpoints",
    },
    "use it in a shell": {
        "completion": "print a script by which bash, zsh or fish complete commands, options, and names in checkpoints",
    },
    "manage a directory": {
        "latest": "print the prefix of a directory's latest checkpoint, with notes on inconsistencies",
        "manage": "list, add, remove or prune the checkpoints of a directory, or repair its state file",
    },
}
COMMANDS: Final[dict[str, str]] = {name: text for group in GROUPS.values() for name, text in group.items()}
