"""Rules for names: whole names, scopes, globs and regular expressions, and the maps that are files of rules."""

from __future__ import annotations

import ast
import fnmatch
import functools
import json
import re
from dataclasses import dataclass, replace
from typing import Final

from tensorbundle.errors import BundleError, cannot_read
from tensorbundle.limits import MAX_TEXT_BYTES

__all__ = [
    "Rule",
    "has_wildcards",
    "is_plain",
    "parse_map",
    "parse_rule",
    "read_map",
    "regex_rule",
    "rule_line",
    "whole_rule",
]

_QUOTE: Final = '"'
_PART: Final = re.compile(r"(?P<name>.+)/part_\d+", re.DOTALL)
# How TensorFlow prints a variable (python/ops/resource_variable_ops.py, variables.py), and Keras 3 one of its own.
_VARIABLE: Final = re.compile(
    r"<(?:tf\.|Keras)?Variable (?:'(?P<name>[^'\n]+)'|path=(?P<path>[^,\n]+),)"
    r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^<>'"])*>""",
    re.DOTALL,
)
_DICTIONARY: Final = re.compile(r"(?:collections\.)?OrderedDict\((.*)\)", re.DOTALL)
# Special characters in a glob; one character in brackets means itself.
_SPECIAL: Final = re.compile(r"\[(?P<escaped>[^!])\]|\*|\?|\[!?\]?[^\]]*\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that gives some names new names.

    Attributes:
        text: as it was given.
        old: the left side, as it was given.
        new: the right side, as it was given; of a regular expression, as `re.Match.expand` takes it.
        whole: the only name that it matches, or None if it may match several.
        scope: the scope that it matches, with its '/' at the end, empty for all names; None if it is not for a scope.
        literals: of a glob, what is before, between and after its wildcards.
        wildcards: of a glob.
        search: of a regular expression, every place in a name that it matches is replaced.
        assigns: whether it is from an assignment map, where a tensor gets the names of all rules that match it.
        fault: why it can't be used, unless its left side is exactly a name; None if it can be used.
    """

    text: str
    old: str
    new: str
    whole: str | None = None
    scope: str | None = None
    literals: tuple[str, ...] = ()
    wildcards: tuple[str, ...] = ()
    search: re.Pattern[str] | None = None
    assigns: bool = False
    fault: str | None = None

    def apply(self, name: str) -> str | None:
        """The new name, or None if the rule does not match."""
        if self.whole is not None:
            return self.new if name == self.whole else None
        if self.scope is not None:
            return _scope_of(self.new) + name[len(self.scope) :] if name.startswith(self.scope) else None
        if self.search is not None:
            # `expand` would parse the replacement again for each
            new, count = self.search.subn(self.new, name)
            return new if count else None
        found = self.matched(name)
        if found is None:
            return None
        first, *pieces = self.new.split("*")
        return first + "".join(map("".join, zip(found, pieces, strict=False)))

    def matched(self, name: str) -> list[str] | None:
        """What each wildcard of a glob matches, the first '*' as much as possible; None if the glob does not match."""
        if not all(map(name.__contains__, self.literals)):  # nearly always, and in no time
            return None
        found = _backwards(self.literals, self.wildcards).fullmatch(name[::-1])
        return None if found is None else [each[::-1] for each in reversed(found.groups())]


@functools.lru_cache(maxsize=1024)
def _backwards(literals: tuple[str, ...], wildcards: tuple[str, ...]) -> re.Pattern[str]:
    """A glob as a regular expression with a group for each wildcard, for names read from their ends on.

    From there on, what follows a '*' is at the first place where it can be: no other place need be tried, which takes for
    ever in long names.
    """
    runs = [re.escape(literals[-1][::-1])]  # between one '*' and the next
    for literal, wildcard in zip(reversed(literals[:-1]), reversed(wildcards), strict=True):
        if wildcard == "*":
            runs.append("")
        else:  # `fnmatch` handles special characters in brackets; its translation is `(?s:` ... `)` and an anchor
            runs[-1] += f"({fnmatch.translate(wildcard)[4:].rpartition(')')[0]})"
        runs[-1] += re.escape(literal[::-1])
    first, *between = runs
    last = f"(.*){between.pop()}" if between else ""
    return re.compile(first + "".join(f"(?>(.*?){run})" for run in between) + last, re.DOTALL)


def parse_rule(old: str, new: str) -> Rule:
    """The rule that `OLD=NEW` means.

    OLD is a whole name; or a scope, where both sides end in '/' ('/' alone is the root); or a glob, whose wildcards
    replace the '*' of NEW in order, one each.

    Raises:
        BundleError: a scope on one side only, or more '*' in NEW than wildcards in OLD.
    """
    text = f"{old}={new}"
    if old.endswith("/") or new.endswith("/"):
        if not (old.endswith("/") and new.endswith("/")):
            raise BundleError(f"rename {text!r}: a scope ends in '/' on both sides")
        return Rule(text, old, new, scope=_scope_of(old))
    literal, wildcards, end = [""], [], 0
    for found in _SPECIAL.finditer(old):
        literal[-1] += old[end : found.start()]
        end = found.end()
        if found["escaped"]:
            literal[-1] += found["escaped"]
        else:
            wildcards.append(found[0])
            literal.append("")
    literal[-1] += old[end:]
    if not wildcards:
        return replace(whole_rule(literal[0], new), text=text, old=old)
    fault = f"rename {text!r}: {new.count('*')} '*' on the right, {len(wildcards)} wildcards on the left"
    if new.count("*") > len(wildcards):
        raise BundleError(fault)
    fewer = f"{fault}: what the others match would be lost from the names; --regex replaces parts of names"
    return Rule(
        text,
        old,
        new,
        literals=tuple(literal),
        wildcards=tuple(wildcards),
        fault=fewer if new.count("*") < len(wildcards) else None,
    )


def _scope_of(side: str) -> str:
    """What a side of a rule for a scope means: '/' is the root, which adds nothing to names."""
    return "" if side == "/" else side


def has_wildcards(text: str) -> bool:
    """Whether a text contains a glob's wildcard."""
    return any(not found["escaped"] for found in _SPECIAL.finditer(text))


def whole_rule(old: str, new: str) -> Rule:
    """The rule for one name, in which no character is special."""
    return Rule(f"{old}={new}", old, new, whole=old)


def regex_rule(pattern: str, replacement: str) -> Rule:
    r"""The rule that replaces every place that a regular expression matches; groups are `\1` or `\g<name>`.

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
    return Rule(text, pattern, replacement, search=compiled)


def parse_map(text: str, path: str) -> list[Rule]:
    """The rules in a file.

    Either one `OLD=NEW` a line, with '#' comments and empty lines between; or a dictionary or a list of pairs, in
    Python or JSON syntax, as TensorFlow's `init_from_checkpoint` takes for its assignment map: there every pair
    applies, so one tensor may get several names, and a list of the parts of a partitioned variable means the variable.
    A printed map is read too, with `OrderedDict(...)` around it and variables (`<tf.Variable 'a:0' ...>`) in it.

    A line may also be `"OLD"="NEW"`, two whole names in double quotes as in JSON. No other characters are special in
    them, neither '=' and '#' nor '*' nor a '/' at the end.

    Raises:
        BundleError: the text is neither.
    """
    stripped = text.strip()
    ordered = _DICTIONARY.fullmatch(stripped)
    stripped = ordered[1] if ordered else stripped
    if stripped.startswith(("{", "[")):
        try:
            value = ast.literal_eval(_VARIABLE.sub(_variable_name, stripped))
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


def _variable_name(found: re.Match[str]) -> str:
    return repr((found["name"] or found["path"]).removesuffix(":0"))


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
        MissingFileError: no such file.
        BundleError: it can't be read, is not UTF-8, or has no rules.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_TEXT_BYTES + 1)
        if len(text) > MAX_TEXT_BYTES:
            raise BundleError(f"a map is limited to {MAX_TEXT_BYTES >> 20} MiB", path=path)
        return parse_map(text, path)
    except UnicodeDecodeError as error:
        raise BundleError(f"not UTF-8: {error}", path=path) from None
    except OSError as error:
        if isinstance(error, BundleError):
            raise
        raise cannot_read(error, path, "map") from None
