"""Remove tensors: those that match patterns, those that match none, or the optimizer's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import ConflictError, quoted
from tensorbundle.proto.paths import SAVE_COUNTER, attribute_key
from tensorbundle.tools.patterns import select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["drop", "extract", "slim"]


def drop(draft: Draft, patterns: Sequence[str]) -> None:
    """Remove the tensors that match the patterns.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        ConflictError: no tensor would be left.
    """
    found = {key for key, _ in select(draft.tensors.items(), patterns, draft.naming())}
    if len(found) == len(draft.tensors):
        raise ConflictError("this would remove every tensor", path=draft.prefix)
    draft.drop(found)


def extract(draft: Draft, patterns: Sequence[str]) -> None:
    """Keep only the tensors that match the patterns, and the save counter, which restoring needs.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        ConflictError: slot variables without their variable, which an object graph can't have.
    """
    wanted = dict(select(draft.tensors.items(), patterns, draft.naming()))
    kept = {*wanted, attribute_key(SAVE_COUNTER)} if draft.graph is not None else wanted.keys()
    draft.drop([key for key in draft.tensors if key not in kept])
    left = {id(tensor) for tensor in draft.tensors.values()}  # their keys may have changed
    lost = [key for key, tensor in wanted.items() if id(tensor) not in left]
    if lost:
        raise ConflictError(
            f"slot variables can't be kept without their variable and their optimizer: {quoted(lost)}",
            path=draft.prefix,
        )


def slim(draft: Draft) -> list[str]:
    """Remove the state of all optimizers, and return the keys of the removed tensors.

    Raises:
        ConflictError: there is no optimizer state.
    """
    from tensorbundle.tools.optimizers.finding import Optimizers  # which patterns do without

    optimizers = Optimizers.of_draft(draft)
    state = optimizers.state
    found = [key for key in draft.tensors if key in state]
    if not found:
        raise ConflictError(
            "no optimizer state was found; 'drop' removes what patterns match, such as '*/Adam*'",
            path=draft.prefix,
        )
    if draft.graph is not None:
        with draft.editing_graph() as graph:
            paths = graph.paths()
            nodes = [each.node for each in optimizers.found if each.node is not None]
            graph.drop(*filter(None, map(paths.get, nodes)))
    draft.drop([key for key in found if key in draft.tensors])
    return found
