"""Rename tensors: by whole names, scopes, globs and regular expressions.

In a name-based checkpoint names are keys. In an object-based one they are object paths, escaped as in keys, and the
object graph changes with the keys; slot variables follow their variable, tables and the like their object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import BundleError, ConflictError, TensorNotFoundError, near_names
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, SAVE_COUNTER, join_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.tools.operations.editing.rules import Rule
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["new_names", "rename"]


def rename(draft: Draft, rules: Sequence[Rule]) -> None:
    """Rename a draft's tensors; of several rules that fit a name, the first decides, unless it is of an assignment map.

    Raises:
        TensorNotFoundError: a rule fits nothing; the reason names near names.
        ConflictError: two tensors would get one name, one gets a name that tensors can't have, or an object several.
    """
    if draft.graph is None:
        _rename_keys(draft, rules)
    else:
        _rename_objects(draft, draft.graph, rules)


def _rename_keys(draft: Draft, rules: Sequence[Rule]) -> None:
    renamed = new_names(draft.tensors, rules, draft.prefix, objects=False)
    tensors = {}
    origins: dict[str, str] = {}
    for key, tensor in draft.tensors.items():
        for new in renamed.get(key, [key]):
            if new in tensors:
                raise ConflictError(
                    f"both {origins[new]!r} and {key!r} would get this name", path=draft.prefix, key=new
                )
            if not new:
                raise ConflictError("a tensor needs a name", path=draft.prefix, key=key)
            if new != key and (new.startswith("\0") or new == OBJECT_GRAPH_KEY):
                raise ConflictError(f"{new!r} is not a name for a tensor", path=draft.prefix, key=key)
            tensors[new], origins[new] = tensor, key
            draft.tally.renamed += new != key
    draft.tensors = tensors


def _rename_objects(draft: Draft, graph: ObjectGraph, rules: Sequence[Rule]) -> None:
    # By every edge, as an object may be in several places at once; edges back to the root lead nowhere new.
    paths = [
        join_path(path, name)
        for path, node in graph.walk()
        for name, child in node.children.items()
        if child is not graph.root
    ]
    targets = {}
    for path, names in new_names(
        [*paths, *_aliases(graph, rules)], rules, draft.prefix, objects=True
    ).items():
        if len(names) > 1:
            raise ConflictError(
                f"an object moves to one place, not to {' and '.join(map(repr, names))}",
                path=draft.prefix,
                key=path,
            )
        targets[path] = names[0]
    # Moving the root's children somewhere leaves the save counter, which TensorFlow looks for at the root.
    if not any(rule.whole == SAVE_COUNTER for rule in rules):
        targets.pop(SAVE_COUNTER, None)
    moves: dict[str, str] = {}
    for path in sorted(targets, key=lambda each: each.count("/")):
        above = next((each for each in _parents(path) if each in moves), None)
        if above is not None and targets[path] == (moves[above] + path[len(above) :]).removeprefix("/"):
            continue  # it goes along with what it is in
        if targets[path] != path:
            moves[path] = targets[path]
    try:
        with draft.editing_graph():
            graph.move(moves)
    except BundleError as error:
        raise error.locate(path=draft.prefix) from None


def new_names(
    names: Iterable[str], rules: Sequence[Rule], prefix: str, *, objects: bool
) -> dict[str, list[str]]:
    """The new names of every name that a rule fits; among objects, a scope's rule fits what it is the inside of."""
    out: dict[str, list[str]] = {}
    used: set[int] = set()
    known = list(names)
    wholes: dict[str, list[int]] = {}  # so that thousands of whole names do not each look at all others
    for number, rule in enumerate(rules):
        if rule.whole is not None:
            wholes.setdefault(rule.whole, []).append(number)
    others = [number for number, rule in enumerate(rules) if rule.whole is None]
    for name in known:
        for number in sorted([*others, *wholes[name]]) if name in wholes else others:
            rule = rules[number]
            new = rule.apply(name)
            if objects and new is None and rule.scope and f"{name}/" == rule.scope:
                new = rule.apply(rule.scope)
                new = None if new is None else new.rstrip("/")
            if new is not None:
                used.add(number)
                known_as = out.setdefault(name, [])
                if new not in known_as:
                    known_as.append(new)
                if not rule.assigns:
                    break
    for number, rule in enumerate(rules):
        if number not in used:
            near = near_names(rule.whole or rule.scope or rule.text.partition("=")[0], known)
            hint = f"; near: {', '.join(map(repr, near))}" if near else ""
            raise TensorNotFoundError(f"rename {rule.text!r} fits nothing{hint}", path=prefix)
    return out


def _aliases(graph: ObjectGraph, rules: Sequence[Rule]) -> list[str]:
    """Objects that a rule names by a path through another than their shortest."""
    shortest = set(graph.paths().values())
    named = [rule.whole or (rule.scope or "").rstrip("/") for rule in rules]
    return [path for path in named if path and path not in shortest and path in graph]


def _parents(path: str) -> list[str]:
    """The paths above a path, the nearest first."""
    parts = path.split("/")
    return ["/".join(parts[:size]) for size in range(len(parts) - 1, 0, -1)]
