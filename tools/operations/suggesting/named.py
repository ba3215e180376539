"""The tensors of a checkpoint by the names that a map may give them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tensorbundle.keys import decode_key
from tensorbundle.proto.paths import SAVE_COUNTER, VARIABLE_VALUE, key_path
from tensorbundle.tools.operations.converting.conversion import to_tf1
from tensorbundle.tools.rewriting.draft import Draft
from tensorbundle.tools.rewriting.expressions import Stored

if TYPE_CHECKING:
    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.proto.graph import Node
    from tensorbundle.tools.rewriting.draft import DraftTensor

__all__ = ["Named", "described", "kind_of", "named_tensors", "renamed_tensors"]

_SLOT_MARK: Final = "/.OPTIMIZER_SLOT/"


@dataclass(frozen=True, slots=True)
class Named:
    """The tensors with one name: a single one, or those of one object.

    Attributes:
        keys: of the tensors.
        stored: the tensors.
        labels: their names in the object; empty for a variable's tensor and for a single tensor.
    """

    keys: tuple[str, ...]
    stored: tuple[Stored, ...]
    labels: tuple[str, ...] = ("",)


def named_tensors(draft: Draft) -> dict[str, Named]:
    """The tensors to match, by name; without the save counter and slot variables, which are not renamed."""
    if draft.graph is None:
        return {
            key: Named((key,), (tensor.expression,))
            for key, tensor in sorted(draft.tensors.items())
            if isinstance(tensor.expression, Stored)
        }
    below: dict[str, list[str]] = {}
    for key in draft.tensors:
        below.setdefault(key_path(key) or "", []).append(key)
    found = {}
    for path, node in draft.graph.walk():
        tensors = _of_object(path, node, draft.tensors, below)
        if tensors is not None and path not in ("", SAVE_COUNTER) and _SLOT_MARK not in path:
            found[path] = tensors
    return found


def renamed_tensors(source: Checkpoint) -> dict[str, Named]:
    """The tensors to match, by their names after `convert --to tf1 --names keys`, but with their keys in the source."""
    draft = Draft.of(source)
    to_tf1(draft, names="keys")
    return {
        name: replace(each, keys=tuple(decode_key(stored.key) for stored in each.stored))
        for name, each in named_tensors(draft).items()
    }


def _of_object(
    path: str, node: Node, tensors: dict[str, DraftTensor], below: dict[str, list[str]]
) -> Named | None:
    labels: dict[str, str] = {}
    for each in node.attributes:
        name = "" if each.name == VARIABLE_VALUE else each.name
        start = each.checkpoint_key
        # A table's attribute has no tensor of its key, but tensors whose keys begin with it.
        for key in [start] if start in tensors else below.get(path, ()):
            if key.startswith(start):
                labels.setdefault(key, name + key[len(start) :])
    stored = {key: tensors[key].expression for key in labels}
    known = {key: each for key, each in stored.items() if isinstance(each, Stored)}
    if not known:
        return None
    return Named(tuple(known), tuple(known.values()), tuple(labels[key] for key in known))


def kind_of(tensors: Named) -> tuple[object, ...]:
    """What tensors must have in common to be each other's: their names in the object, types and shapes."""
    stored = zip(tensors.labels, tensors.stored, strict=True)
    return tuple((label, each.entry.spec) for label, each in stored)


def described(tensors: Named) -> str:
    """Types and shapes for people."""
    return ", ".join(f"{each.dtype} {list(each.shape)}" for each in tensors.stored)
