"""The code of the project as syntax trees, each module parsed and walked once."""

import ast
import functools
from pathlib import Path

__all__ = ["ROOT", "TOPS", "nodes"]

ROOT = Path(__file__).resolve().parents[2]
TOPS = {"bundle": "tensorbundle", "proto": "tensorbundle.proto", "tools": "tensorbundle.tools"}


@functools.cache
def nodes(path):
    """All nodes of a module, itself first. `path` is relative to the root of the project."""
    return list(ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))))
