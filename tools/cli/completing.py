"""What a shell offers for the word at its cursor: commands, options, words, paths, and names in the checkpoint on the line.

Scripts for shells (`scripts.py`) call `tensorbundle __complete`, which must answer faster than a command is imported. So
the arguments of all commands are in the script, as the table that `table_of` makes from their parsers; the script hands
it back in an environment variable, and nothing but the index of a checkpoint is read.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorbundle.dtypes import DType
from tensorbundle.errors import BundleError
from tensorbundle.foreign import foreign_ending
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import is_url, join, split

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["TABLE", "answer", "table_of"]

TABLE: Final = "TENSORBUNDLE_COMPLETION"  # the environment variable with the table
# What bash needs a backslash before, and what can't be written, by the quote that is open.
_SPECIAL: Final = {"": r"[^\w@%+=:,./-]", '"': r"[\\$`\"]", "'": "(?!)"}
_IMPOSSIBLE: Final = {'"': "!", "'": "'"}
_MOST: Final = 1000  # names; a shell asks before it shows a hundred
# What the metavariable of an argument says of its values. Of `KEY=...`, the part before the sign counts.
_KINDS: Final = {
    "CKPT": "checkpoint",
    "SRC": "checkpoint",
    "A": "checkpoint",
    "B": "checkpoint",
    "KEY": "name",
    "PATTERN": "name",
    "OLD": "name",
    "PATH": "name",
    "DIR": "directory",
    "DST": "file",
    "FILE": "file",
    "X": "file",
    "MANIFEST": "file",
}


class _Argument(NamedTuple):
    """An option, or an argument without names; `many` if it takes all that follow."""

    names: list[str]
    many: bool
    kind: str
    help: str


def table_of(parsers: Mapping[str, argparse.ArgumentParser]) -> str:
    """The arguments of commands, a line each: names, how many values, kind, help; a line without tabs begins a command."""
    import argparse  # answers do not need it, and it takes longer than most of them

    lines = []
    for name, parser in parsers.items():
        actions = [each for each in parser._actions if each.help != argparse.SUPPRESS]
        lines.append(name)
        nested = {}
        for action in actions:
            kind, many = "flag" if action.nargs == 0 else _kind(action), str(int(action.nargs in ("*", "+")))
            text = re.sub(r"\s+", " ", str(action.help or "")).replace("%%", "%")
            lines.append("\t".join([",".join(action.option_strings), many, kind, text]))
            if isinstance(action, argparse._SubParsersAction):
                nested = {f"{name} {each}": below for each, below in action.choices.items()}
        if nested:
            lines.append(table_of(nested))
    return "\n".join(lines)


def _kind(action: argparse.Action) -> str:
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    metavar = str(action.metavar or "")
    if metavar == "PATTERN=DTYPE":
        return "cast"
    if metavar in ("KEY=VALUE", "X"):  # metadata; a number
        return "text"
    return _KINDS.get(re.split(r"[=.\[]", metavar)[0], "text")


def _parse(table: str) -> dict[str, list[_Argument]]:
    commands: dict[str, list[_Argument]] = {}
    arguments: list[_Argument] = []
    for line in table.splitlines():
        if "\t" not in line:
            arguments = commands[line] = []
            continue
        names, many, kind, text = line.split("\t")
        arguments.append(_Argument(names.split(",") if names else [], many == "1", kind, text))
    return commands


def answer(arguments: Sequence[str], table: str, described: Mapping[str, str]) -> int:
    """Print what `__complete` is asked for; returns the exit status.

    The first line is `files` or `directories` if the shell is to offer these itself, else `words`; then comes a line for
    each candidate, with a tab and its description for fish.

    Args:
        arguments: the shell, then the line up to the cursor (bash), or its words up to the one at the cursor.
        table: as `table_of` makes it.
        described: the commands, with a line of help each.
    """
    shell, *words = arguments
    quote = ""
    if shell == "bash":
        words, quote = _words(words[0])
    elif shell == "fish":
        words[-1] = _words(words[-1])[0][-1]  # which it gives as it is typed, and quotes anew
    *before, current = words[1:] or [""]
    kind, candidates = _candidates(before, current, _parse(table), described)
    sys.stdout.write(f"{kind}\n")
    if shell == "bash":
        breaks = os.environ.get("COMP_WORDBREAKS", "=:")
        cut = 0 if quote else max((current.rfind(each) for each in "=:" if each in breaks), default=-1) + 1
    for word, text in candidates:
        if not word.isprintable() or (quote and _IMPOSSIBLE[quote] in word):
            continue  # nothing of a checkpoint reaches a terminal raw
        if shell == "bash":
            rest = re.sub(_SPECIAL[quote], r"\\\g<0>", word[cut:])
            sys.stdout.write(f"{rest}\n")
        else:
            sys.stdout.write(f"{word}\t{text}\n" if shell == "fish" and text else f"{word}\n")
    return 0


def _words(line: str) -> tuple[list[str], str]:
    """The words of a line of bash, the last one as far as it is typed, and the quote that is still open in it."""
    words, quote, position = [""], "", 0
    while position < len(line):
        char = line[position]
        position += 1
        if quote:
            if char == quote:
                quote = ""
            elif char == "\\" and quote == '"' and line[position : position + 1] in tuple('\\$`"'):
                words[-1] += line[position]
                position += 1
            else:
                words[-1] += char
        elif char in "'\"":
            quote = char
        elif char == "\\":
            words[-1] += line[position : position + 1]
            position += 1
        elif char.isspace():
            words += [""] if words[-1] else []
        else:
            words[-1] += char
    return words, quote


def _candidates(
    before: Sequence[str], current: str, commands: Mapping[str, list[_Argument]], described: Mapping[str, str]
) -> tuple[str, Iterable[tuple[str, str]]]:
    """What the shell is to offer itself, and candidates with their descriptions."""
    if not before or before == ["help"]:
        return "words", ((each, text) for each, text in described.items() if each.startswith(current))
    if before[0] not in commands:
        return "words", ()
    arguments = commands[before[0]]
    checkpoint = ""
    pending: _Argument | None = None  # the option whose value comes next
    free = [each for each in arguments if not each.names]
    for word in before[1:]:
        if pending:
            pending = None
        elif word.startswith("-") and len(word) > 1:
            named = next((each for each in arguments if word in each.names), None)
            pending = named if named and named.kind != "flag" else None
        elif free:
            if free[0].kind == "checkpoint" and not checkpoint:
                checkpoint = word.partition("=")[2] if "=" in word else word
            inner = commands.get(f"{before[0]} {word}")
            if inner is not None:
                arguments, free = inner, [each for each in inner if not each.names]
            elif not free[0].many:
                del free[0]
    if pending is None and current.startswith("-"):
        option, equals, value = current.partition("=")
        if not equals:
            names = ((name, each.help) for each in arguments for name in each.names)
            return "words", (each for each in names if each[0].startswith(current) and each[0] != "-h")
        named = next((each for each in arguments if option in each.names), None)
        own, found = _values(named.kind if named else "text", value, checkpoint)
        return own, ((f"{option}={word}", text) for word, text in found)
    wanted = pending or (free[0] if free else None)
    return _values(wanted.kind if wanted else "text", current, checkpoint)


def _values(kind: str, current: str, checkpoint: str) -> tuple[str, Iterable[tuple[str, str]]]:
    """Candidates for the value of an argument of this kind."""
    if kind == "file" or (kind == "checkpoint" and (current.startswith("~") or is_url(current))):
        return "files", ()
    if kind == "directory":
        return "directories", ()
    if kind == "checkpoint":
        return "words", ((each, "") for each in _checkpoints(current))
    if kind == "cast" and "=" in current:
        name, _, start = current.rpartition("=")
        types = (each.value for each in DType if each.is_numeric)
        return "words", ((f"{name}={each}", "") for each in types if each.startswith(start))
    if kind in ("name", "cast"):
        return "words", ((each, "") for each in _names(checkpoint, current))
    words = kind.split("|") if "|" in kind else []
    return "words", ((each, "") for each in words if each.startswith(current))


def _checkpoints(current: str) -> Iterator[str]:
    """Prefixes, files of other formats and directories whose names begin with `current`."""
    try:
        store = store_of(current)
        directory, start = split(current)
        found = set()
        for name in store.list(directory):
            path = join(directory, name)
            if not name.startswith(start) or (name.startswith(".") and not start):
                continue
            if store.is_directory(path):
                found.add(f"{path}/")
            elif name.endswith(".index"):
                found.add(path.removesuffix(".index"))
            elif foreign_ending(name) is not None:
                found.add(path)
        yield from sorted(found)
    except (BundleError, OSError):
        return


def _names(checkpoint: str, current: str) -> list[str]:
    """Names in a checkpoint that begin with `current`; none if it can't be read."""
    from tensorbundle.tools.operations.inspecting.completing import names_at  # not needed for options

    if not checkpoint or is_url(checkpoint):  # a network is too slow for this
        return []
    if checkpoint.startswith("~/"):  # which no shell has expanded for us
        checkpoint = os.environ.get("HOME", "~") + checkpoint[1:]
    try:
        return names_at(checkpoint, current, _MOST)
    except (BundleError, OSError):
        return []
