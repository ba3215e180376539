"""Rename tensors: by whole names, scopes, globs and regular expressions.

In a name-based checkpoint names are keys. In an object-based one they are object paths, escaped as in keys, and the
object graph changes with the keys; slot variables are renamed with their variable, tensors of tables and iterators
with their object.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tensorbundle.errors import BundleError, ConflictError, TensorNotFoundError, near_hint, quoted
from tensorbundle.proto.naming import new_path
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, SAVE_COUNTER, join_path, key_path
from tensorbundle.tools.operations.editing.rules import has_wildcards, parse_rule, whole_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.tools.operations.editing.rules import Rule
    from tensorbundle.tools.rewriting.draft import Draft, DraftTensor

__all__ = ["new_names", "rename", "resolved"]


def rename(draft: Draft, rules: Sequence[Rule]) -> None:
    """Rename a draft's tensors; if several pairs match a name, the first applies, but all of an assignment map.

    Regular expressions apply after the pairs, as in `new_names`. The left side of a pair is any name of a tensor or an
    object (`proto/naming.py`); with objects the right side is a path, which may be given as a key or as `(root).a.b`.

    Raises:
        TensorNotFoundError: a rule matches nothing; the reason suggests similar names.
        ConflictError: two tensors would get one name, a tensor a name that tensors can't have, or an object several
            names.
    """
    if draft.graph is None:
        _rename_keys(draft, rules)
    else:
        _rename_objects(draft, draft.graph, rules)


def _rename_keys(draft: Draft, rules: Sequence[Rule]) -> None:
    given = resolved(rules, draft.tensors, draft.naming().find, str)
    renamed = new_names(draft.tensors, given, draft.prefix, objects=False)
    tensors: dict[str, DraftTensor] = {}
    for key, tensor in draft.tensors.items():
        for new in renamed.get(key) or (key,):
            if new in tensors:
                other = next(old for old in draft.tensors if new in renamed.get(old, [old]))
                raise ConflictError(
                    f"both {other!r} and {key!r} would get this name", path=draft.prefix, key=new
                )
            if not new:
                raise ConflictError("a tensor needs a name", path=draft.prefix, key=key)
            if new != key and (new.startswith("\0") or new == OBJECT_GRAPH_KEY):
                raise ConflictError(f"{new!r} is not a name for a tensor", path=draft.prefix, key=key)
            tensors[new] = tensor
            draft.tally.renamed += new != key
    draft.tensors = tensors


def _rename_objects(draft: Draft, graph: ObjectGraph, rules: Sequence[Rule]) -> None:
    # Follows every edge, as an object may be in several places at once; edges back to the root lead to no new object.
    paths = [
        join_path(path, name, of_root=node is graph.root)
        for path, node in graph.walk()
        for name, child in node.children.items()
        if child is not graph.root
    ]
    naming, every = draft.naming(), frozenset(paths)
    given = resolved(rules, every, naming.path, new_path)
    targets = {}
    for path, names in new_names(
        [*paths, *_aliases(graph, given)], given, draft.prefix, objects=True
    ).items():
        if len(names) > 1:
            raise ConflictError(
                f"an object can move to only one place, not to {quoted(names)}",
                path=draft.prefix,
                key=path,
            )
        targets[path] = names[0]
    # Moving the root's children somewhere leaves the save counter, which TensorFlow looks for at the root.
    if not any(rule.whole == SAVE_COUNTER for rule in given):
        targets.pop(SAVE_COUNTER, None)
    moves: dict[str, str] = {}
    nearest: dict[str, str | None] = {}
    for path in sorted(targets, key=lambda each: each.count("/")):
        above = _moved_above(path, moves, nearest)
        if above is not None and targets[path] == (moves[above] + path[len(above) :]).removeprefix("/"):
            continue  # it moves with the object that contains it
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
    """The new names of every name that a rule matches; with objects, rule `a/` also matches object `a` itself.

    Pairs apply at the same time: the first that matches a name applies, unless they are from an assignment map. Regular
    expressions then apply one after another to the resulting names.

    Raises:
        TensorNotFoundError: a rule matches nothing; the reason names similar names, or the rule that applied before it.
        BundleError: a glob with fewer '*' on the right.
    """
    out: dict[str, list[str]] = {}
    used: set[int] = set()
    known = list(names)
    wholes: dict[str, list[int]] = {}  # so that a rule for a whole name need not try all names
    for number, rule in enumerate(rules):
        if rule.whole is not None:
            wholes.setdefault(rule.whole, []).append(number)
        if rule.fault is not None:
            raise BundleError(rule.fault, path=prefix)
    others = [number for number, rule in enumerate(rules) if rule.whole is None and not rule.search]
    searches = [number for number, rule in enumerate(rules) if rule.search]
    for name in known:
        found: list[str] = []
        for number in sorted([*others, *wholes[name]]) if name in wholes else others:
            new = _applied(rules[number], name, objects=objects)
            if new is not None:
                used.add(number)
                found.append(new)
                if not rules[number].assigns:
                    break
        for number in searches:
            replaced = {each: rules[number].apply(each) for each in found or (name,)}
            if any(new is not None for new in replaced.values()):
                used.add(number)
                found = [each if new is None else new for each, new in replaced.items()]
        if found:
            out[name] = list(dict.fromkeys(found)) if len(found) > 1 else found
    for number, rule in enumerate(rules):
        if number not in used:
            raise TensorNotFoundError(
                f"rename {rule.text!r} {_why_unused(rule, rules[:number], known, out, objects=objects)}",
                path=prefix,
            )
    return out


def resolved(
    rules: Sequence[Rule],
    names: Container[str],
    find: Callable[[str], str | None],
    new_name: Callable[[str], str],
) -> list[Rule]:
    """The rules, with the names that they apply to in place of other names that a person may give a tensor.

    Args:
        rules: as they were given.
        names: the names that the rules will be applied to. A left side that equals one of them means that name, even if
            it has special characters.
        find: returns the name in `names` that another name means, or None.
        new_name: returns what a new name means.
    """
    out = []
    for rule in rules:
        if rule.search or rule.scope is not None:
            out.append(rule)
            continue
        new = new_name(rule.new)
        old = rule.old if rule.old in names else find(rule.old)
        if old is not None:
            if rule.old.endswith(":0") and rule.old != old:
                new = new.removesuffix(":0")
            made = whole_rule(old, new)
        elif key_path(rule.old) is not None or new != rule.new:
            made = parse_rule(new_name(rule.old), new)
        else:
            made = rule
        out.append(replace(made, text=rule.text, assigns=rule.assigns))
    return out


def _applied(rule: Rule, name: str, *, objects: bool) -> str | None:
    new = rule.apply(name)
    if objects and new is None and rule.scope and f"{name}/" == rule.scope:
        new = rule.apply(rule.scope)
        return None if new is None else new.rstrip("/")
    return new


def _why_unused(
    rule: Rule, earlier: Sequence[Rule], known: list[str], out: Mapping[str, list[str]], *, objects: bool
) -> str:
    """Why a rule applied to no name, as the end of a sentence."""
    taken = next((name for name in known if _applied(rule, name, objects=objects) is not None), None)
    if taken is not None and rule.search:
        return f"matches nothing: {taken!r} was renamed to {out[taken][0]!r} before"
    if taken is not None:
        taker = next(each for each in earlier if _applied(each, taken, objects=objects) is not None)
        return f"has no effect: {taker.text!r} before it applies to every name that it matches, such as {taken!r}; give it first"
    if rule.scope is not None and has_wildcards(rule.scope):
        return "matches nothing: a scope has no wildcards; --regex replaces parts of names"
    return f"matches nothing{near_hint(rule.old if rule.scope is None else rule.scope, known)}"


def _aliases(graph: ObjectGraph, rules: Sequence[Rule]) -> list[str]:
    """Other paths than the shortest by which rules name objects."""
    named = [path for rule in rules if (path := rule.whole or (rule.scope or "").rstrip("/"))]
    shortest = set(graph.paths().values()) if named else set()
    return [path for path in named if path not in shortest and path in graph]


def _moved_above(path: str, moves: Mapping[str, str], nearest: dict[str, str | None]) -> str | None:
    """The nearest path above one that moves, or None; `nearest` caches the result of each path.

    Callers ask for a path before the paths below it, so that each call takes one step, however deep the path is.
    """
    passed = []
    above = path.rpartition("/")[0]
    while above and above not in moves and above not in nearest:
        passed.append(above)
        above = above.rpartition("/")[0]
    found = above if above in moves else nearest.get(above)
    nearest.update(dict.fromkeys(passed, found))
    return found
