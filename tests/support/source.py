"""Where the code of the project is, and the statements in it."""

from pathlib import Path

__all__ = ["ROOT", "TOPS", "statements"]

ROOT = Path(__file__).resolve().parents[2]
TOPS = {"bundle": "tensorbundle", "proto": "tensorbundle.proto", "tools": "tensorbundle.tools"}


def statements(tree):
    """All statements in a syntax tree, at any depth, without what they are made of."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        for inner in ("body", "orelse", "finalbody", "handlers", "cases"):
            stack += getattr(node, inner, ())
