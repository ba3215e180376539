"""The tensors of a checkpoint by scope, with numbers of tensors, parameters and bytes: `tree`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.proto.paths import VARIABLE_VALUE, attribute_key, key_path
from tensorbundle.tools.patterns import select

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorbundle.checkpoint import Checkpoint, Path
    from tensorbundle.entries import TensorEntry

__all__ = ["Scope", "scopes_of", "tree"]

_SLOT_MARK: Final = "/.OPTIMIZER_SLOT/"


@dataclass(slots=True)
class Scope:
    """The tensors at or below one path. The path is not stored: paths along a long key would take quadratic memory.

    Attributes:
        name: the last part of the path; for an optimizer slot and for a tensor beside an object's value, several parts.
        depth: how many parts the path has.
        tensors: how many tensors there are.
        parameters: their elements.
        nbytes: their bytes.
        entry: the tensor whose key is the path itself, or the value of the variable at this path; or None.
        below: scopes by their names.
    """

    name: str = ""
    depth: int = 0
    tensors: int = 0
    parameters: int = 0
    nbytes: int = 0
    entry: TensorEntry | None = None
    below: dict[str, Scope] = field(default_factory=dict)

    def count(self, tensors: int, parameters: int, nbytes: int) -> None:
        """Add to the counts."""
        self.tensors += tensors
        self.parameters += parameters
        self.nbytes += nbytes

    def within(self, depth: int | None) -> list[Scope]:
        """The scopes below; none if they are deeper than `depth`."""
        return list(self.below.values()) if depth is None or self.depth < depth else []

    def walk(self, depth: int | None = None) -> Iterator[tuple[str, Scope]]:
        """Every scope with its path, this one first, depth first; none deeper than `depth`."""
        parts: list[str] = []
        stack = [self]
        while stack:
            scope = stack.pop()
            stack += reversed(scope.within(depth))
            parts[max(scope.depth - 1, 0) :] = [scope.name] if scope.depth else []
            yield "/".join(parts), scope


def tree(source: Path, patterns: Sequence[str] = ()) -> Scope:
    """The root of the scopes of a checkpoint, from its index alone.

    Args:
        source: anything that `tensorbundle.open` takes.
        patterns: only tensors that match one of them; all if there is none.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        BundleError: the checkpoint can't be read.
    """
    with open_checkpoint(source) as checkpoint:
        return scopes_of(checkpoint, patterns)


def scopes_of(checkpoint: Checkpoint, patterns: Sequence[str] = ()) -> Scope:
    """`tree` of an open checkpoint."""
    root = Scope()
    made: list[tuple[Scope, Scope]] = []  # each scope, and before it the one that it is in
    for key, entry in select(checkpoint.entries(), patterns, checkpoint.naming):
        scope = root
        for part in _parts(key):
            inner = scope.below.get(part)
            if inner is None:
                inner = scope.below[part] = Scope(part, scope.depth + 1)
                made.append((scope, inner))
            scope = inner
        scope.count(1, entry.elements, entry.nbytes)
        scope.entry = entry
    for outer, inner in reversed(made):  # not for each tensor, which may be in hundreds of scopes
        outer.count(inner.tensors, inner.parameters, inner.nbytes)
    return root


def _parts(key: str) -> list[str]:
    """The parts of a key's path in the tree; a variable's value has the variable's path, and each slot is one part."""
    path = key_path(key)
    if path is None:
        return key.split("/")
    variable, *slots = path.split(_SLOT_MARK)
    parts = variable.split("/") + [f"{_SLOT_MARK[1:]}{each}" for each in slots]
    return parts if key == attribute_key(path, VARIABLE_VALUE) else [*parts, key[len(path) + 1 :]]
