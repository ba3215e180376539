"""Rename tensors: by whole names, scopes, globs and regular expressions.

In a name-based checkpoint names are keys. In an object-based one they are object paths, escaped as in keys, and the
object graph changes with the keys; slot variables follow their variable, tables and the like their object.
"""

from __future__ import annotations

import ast
import fnmatch
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import BundleError, ConflictError, TensorNotFoundError, near_names
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, SAVE_COUNTER, join_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = [
    "Rule",
    "is_plain",
    "new_names",
    "parse_map",
    "parse_rule",
    "read_map",
    "regex_rule",
    "rename",
    "rule_line",
    "whole_rule",
]

_QUOTE: Final = '"'
_PART: Final = re.compile(r"(?P<name>.+)/part_\d+", re.DOTALL)
_WILDCARD: Final = re.compile(r"\*|\?|\[!?\]?[^\]]*\]")


@dataclass(frozen=True, slots=True)
class Rule:
    """How some names change.

    Attributes:
        text: as it was given.
        pattern: fits the names that change; `fullmatch` unless `search`.
        replacement: as `re.Match.expand` takes it.
        whole: the whole name that is meant, or None if several are.
        scope: the scope that is meant, with its '/' at the end, empty for all names; None if not a scope.
        search: whether every place in a name that the pattern fits is replaced.
        assigns: whether it is of an assignment map, where a tensor gets the names of all rules that fit it.
    """

    text: str
    pattern: re.Pattern[str]
    replacement: str
    whole: str | None = None
    scope: str | None = None
    search: bool = False
    assigns: bool = False

    def apply(self, name: str) -> str | None:
        """The new name, or None if the rule does not fit."""
        if self.search:
            new, count = self.pattern.subn(self.replacement, name)
            return new if count else None
        found = self.pattern.fullmatch(name)
        return found.expand(self.replacement) if found else None


def parse_rule(old: str, new: str) -> Rule:
    """The rule that `OLD=NEW` means.

    A whole name; or a scope, where both end in '/' ('/' alone is the root); or a glob in OLD, whose wildcards fill the
    '*' of NEW in order.

    Raises:
        BundleError: a scope on one side only, or more '*' in NEW than wildcards in OLD.
    """
    text = f"{old}={new}"
    if old.endswith("/") or new.endswith("/"):
        if not (old.endswith("/") and new.endswith("/")):
            raise BundleError(f"rename {text!r}: a scope ends in '/' on both sides")
        scope, target = (each if each != "/" else "" for each in (old, new))
        return Rule(
            text, re.compile(f"{re.escape(scope)}(.*)", re.DOTALL), _literal(target) + r"\g<1>", scope=scope
        )
    wildcards = _WILDCARD.findall(old)
    if not wildcards:
        return whole_rule(old, new)
    if new.count("*") > len(wildcards):
        raise BundleError(
            f"rename {text!r}: {new.count('*')} '*' on the right, {len(wildcards)} wildcards on the left"
        )
    parts = [re.escape(part) for part in _WILDCARD.split(old)]
    # fnmatch knows what is special in brackets; its translation is `(?s:` ... `)` and an anchor.
    groups = [f"({fnmatch.translate(each)[4:].rpartition(')')[0]})" for each in wildcards]
    pattern = "".join(part + group for part, group in zip(parts, [*groups, ""], strict=True))
    pieces = [_literal(part) for part in new.split("*")]
    replacement = pieces[0] + "".join(rf"\g<{number}>{part}" for number, part in enumerate(pieces[1:], 1))
    return Rule(text, re.compile(pattern, re.DOTALL), replacement)


def whole_rule(old: str, new: str) -> Rule:
    """The rule for one name, in which nothing is special."""
    return Rule(f"{old}={new}", re.compile(re.escape(old)), _literal(new), whole=old)


def regex_rule(pattern: str, replacement: str) -> Rule:
    r"""The rule that replaces every place that a regular expression fits; groups are `\1` or `\g<name>`.

    Raises:
        BundleError: not a regular expression, or a group that it does not have.
    """
    text = f"{pattern}=>{replacement}"
    try:
        compiled = re.compile(pattern)
        re.sub(f"(?:{pattern})|", lambda found: found.expand(replacement) if found[0] else "", "")
        re.compile(pattern).sub(replacement, "")
    except (re.error, IndexError) as error:
        raise BundleError(f"rename {text!r}: {error}") from None
    return Rule(text, compiled, replacement, search=True)


def parse_map(text: str, path: str) -> list[Rule]:
    """The rules in a file.

    Either one `OLD=NEW` a line, with '#' comments and empty lines between; or a dictionary or a list of pairs, in
    Python or JSON syntax, as TensorFlow's `init_from_checkpoint` takes for its assignment map: there every pair counts,
    so that one tensor may get several names, and a list of the parts of a partitioned variable stands for the variable.

    A line may also be `"OLD"="NEW"`, two whole names in double quotes as in JSON. Nothing else is special in them, neither
    '=' and '#' nor '*' nor a '/' at the end.

    Raises:
        BundleError: neither.
    """
    stripped = text.strip()
    if stripped.startswith(("{", "[")):
        try:
            value = ast.literal_eval(stripped)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise BundleError(f"not a dictionary or a list of pairs: {error}", path=path) from None
        pairs = list(value.items()) if isinstance(value, dict) else value
        return [replace(_assignment(each, path), assigns=True) for each in pairs]
    rules = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        if content.startswith(_QUOTE):
            rules.append(_quoted_rule(content, number, path))
            continue
        old, mark, new = content.partition("=")
        if not mark:
            raise BundleError(f"line {number}: {content!r} is not OLD=NEW", path=path)
        rules.append(parse_rule(old.strip(), new.strip()))
    return rules


def _quoted_rule(content: str, number: int, path: str) -> Rule:
    decode = json.JSONDecoder().raw_decode
    try:
        old, end = decode(content)
        mark, text = content[end:].lstrip()[:1], content[end:].lstrip()[1:].lstrip()
        new, end = decode(text)
    except ValueError:
        mark, text, old, new, end = "", "", None, None, 0
    if mark != "=" or not isinstance(old, str) or not isinstance(new, str) or text[end:]:
        raise BundleError(f'line {number}: {content!r} is not "OLD"="NEW"', path=path)
    return whole_rule(old, new)


def rule_line(old: str, new: str) -> str:
    """The line of a map that renames one tensor or object, with quotes where they are needed."""
    if all(is_plain(name) for name in (old, new)):
        return f"{old}={new}"
    return f"{json.dumps(old)}={json.dumps(new)}"


def is_plain(name: str) -> bool:
    """Whether a name means itself in a line of a map."""
    special = name.startswith(("#", _QUOTE)) or name.endswith("/") or any(char in name for char in "=*?[")
    return bool(name) and name.isprintable() and name == name.strip() and not special


def _assignment(pair: object, path: str) -> Rule:
    """The rule of one pair of an assignment map."""
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise BundleError(f"{pair!r} is not a pair of names", path=path)
    old, new = pair
    if isinstance(new, (list, tuple)) and new:
        parts = [_PART.fullmatch(each) if isinstance(each, str) else None for each in new]
        wholes = {None if part is None else part["name"] for part in parts}
        if len(wholes) > 1 or None in wholes:
            raise BundleError(f"{new!r} are not the parts (NAME/part_0, ...) of one variable", path=path)
        new = wholes.pop()
    if not isinstance(old, str) or not isinstance(new, str):
        raise BundleError(f"{pair!r} is not a pair of names", path=path)
    return parse_rule(old, new)


def read_map(path: str) -> list[Rule]:
    """The rules in the file at `path`, as `parse_map`.

    Raises:
        OSError: it can't be read.
        BundleError: not UTF-8, or no rules.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return parse_map(file.read(), path)
    except UnicodeDecodeError as error:
        raise BundleError(f"not UTF-8: {error}", path=path) from None


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


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")
