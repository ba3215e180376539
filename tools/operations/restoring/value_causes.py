"""Causes of mismatches of types and shapes."""

from __future__ import annotations

import functools
import glob
import itertools
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tensorbundle.proto.paths import key_path
from tensorbundle.specs import shape_text
from tensorbundle.tools.operations.editing.casting import cast
from tensorbundle.tools.operations.editing.shapes import reshape, transpose
from tensorbundle.tools.operations.editing.vocabulary import resize
from tensorbundle.tools.operations.restoring.advice import Advice, FoundCause, Place
from tensorbundle.tools.operations.restoring.outcomes import counted
from tensorbundle.tools.operations.restoring.pairing import settled_names
from tensorbundle.tools.operations.restoring.restructuring import restructuring
from tensorbundle.tools.operations.restoring.trials import SLOT_MARK, name_of, path_in_source, stored_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorbundle.dtypes import DType
    from tensorbundle.tools.operations.restoring.advice import Arguments
    from tensorbundle.tools.operations.restoring.forecasting import Source
    from tensorbundle.tools.operations.restoring.outcomes import Finding
    from tensorbundle.tools.operations.restoring.trials import Trials
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["IN_ONE_COMMAND", "find_shape_causes", "find_type_causes"]

IN_ONE_COMMAND: Final = 12  # rules or patterns
_ROWS: Final = 10_000_000
_SHOWN: Final = 3


def find_type_causes(trials: Trials) -> Iterator[FoundCause]:
    """Why tensors differ in type, with commands that cast them."""
    groups: dict[tuple[DType, DType], list[Finding]] = defaultdict(list)
    for each in trials.open("dtype"):
        stored = stored_spec(trials.now.source, each).dtype
        wanted = each.wanted.dtype if each.wanted is not None else None
        if stored is not None and wanted is not None and stored is not wanted:
            groups[stored, wanted].append(each)
    for (stored, wanted), found in groups.items():
        cause_with = functools.partial(
            FoundCause.of,
            "other-dtype",
            found,
            tensors=f"{counted(found, 'tensor')} {_is(found)}",
            stored=str(stored),
            wanted=str(wanted),
        )
        if not (stored.is_numeric and wanted.is_numeric):
            yield cause_with([Advice("no command casts these")])
            continue
        patterns = _patterns(trials.now.source, found, stored, wanted)
        if len(patterns) > IN_ONE_COMMAND:
            advice = Advice("a recipe for 'tensorbundle rewrite' takes any number of casts")
            yield cause_with([advice])
            continue
        casts = dict.fromkeys(patterns, wanted)
        command: Arguments = ("cast", Place.SOURCE, Place.MADE, *(f"{each}={wanted}" for each in patterns))
        yield trials.remedy(cause_with(), command, lambda draft, casts=casts: cast(draft, casts))  # type: ignore[misc]
    rest = trials.open("dtype")
    if rest:
        yield FoundCause.of("refused-values", rest)


def find_shape_causes(trials: Trials) -> Iterator[FoundCause]:
    """Why tensors differ in shape, with commands that change them."""
    source, differing = trials.now.source, trials.open("shape")
    meant = settled_names(source, trials.target) if differing else {}
    givers = {new: old for old, new in meant.items()}
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for each in differing:
        old, new = path_in_source(source, each), name_of(each)
        same = meant.get(old, new) == new and givers.get(new, old) == old
        kinds[_difference(source, each) if same else "other-variable"].append(each)
    for kind, found in kinds.items():
        advice: tuple[Advice, ...] = ()
        if kind in ("transposed", "reshaped"):
            advice = _reshaping(trials, "transpose" if kind == "transposed" else "reshape", found)
        elif kind == "other-rows":
            advice = _resizing(trials, found)
        else:
            advice = _without(trials)
        verb = _is(found) if kind in ("transposed", "other-variable") else _has(found)
        yield FoundCause.of(kind, found, advice, tensors=f"{counted(found, 'tensor')} {verb}")


def _difference(source: Source, finding: Finding) -> str:
    """How the shapes of a stored tensor and of the one in the program differ: the kind of the cause."""
    stored = stored_spec(source, finding).shape
    wanted = finding.wanted.shape if finding.wanted is not None else None
    if stored is None or wanted is None:
        return "other-shape"
    if len(stored) == 2 and stored == wanted[::-1]:
        return "transposed"
    if math.prod(stored) == math.prod(wanted):
        return "reshaped"
    return "other-rows" if len(stored) == 2 == len(wanted) and stored[1] == wanted[1] else "other-shape"


def _variables(trials: Trials, found: Sequence[Finding]) -> dict[str, tuple[int, ...]]:
    """The shapes that the program expects of the variables among tensors; their slots change with them."""
    return {
        path: each.wanted.shape
        for each in found
        if (path := path_in_source(trials.now.source, each)) not in trials.now.state
        and SLOT_MARK not in path
        and each.wanted is not None
        and each.wanted.shape is not None
    }


def _reshaping(trials: Trials, command: str, found: Sequence[Finding]) -> tuple[Advice, ...]:
    """How to give variables the expected shapes."""
    shapes = {glob.escape(path): shape for path, shape in _variables(trials, found).items()}
    if len(shapes) > IN_ONE_COMMAND:
        return (Advice(f"a recipe for 'tensorbundle rewrite' with the step {command!r} takes any number"),)
    orders = {pattern: tuple(reversed(range(len(shape)))) for pattern, shape in shapes.items()}

    def edit(draft: Draft) -> None:
        if command == "transpose":
            transpose(draft, orders)
        else:
            reshape(draft, shapes)

    values = (
        {pattern: ",".join(map(str, order)) for pattern, order in orders.items()}
        if command == "transpose"
        else {pattern: shape_text(shape) for pattern, shape in shapes.items()}
    )
    arguments = [f"{pattern}={value}" for pattern, value in values.items()]
    return trials.advice("if the values are the same", (command, Place.SOURCE, Place.MADE, *arguments), edit)


def _resizing(trials: Trials, found: Sequence[Finding]) -> tuple[Advice, ...]:
    """How to give a variable as many rows as expected; tried with rows that are all new."""
    advice: list[Advice] = []
    for name, shape in itertools.islice(_variables(trials, found).items(), _SHOWN):
        command = ("resize", Place.SOURCE, Place.MADE, name, "--old-vocab", "FILE", "--new-vocab", "FILE")
        if shape[0] <= _ROWS:
            advice += trials.advice(
                "if these are tokens",
                command,
                functools.partial(resize, name=name, old=(), new=(), oov=shape[0]),
            )
    return tuple(advice)


def _without(trials: Trials) -> tuple[Advice, ...]:
    """How to restore all others."""
    found = restructuring(trials)
    return () if found is None else (Advice("to restore all others", found.command, found.trial.leaves),)


def _patterns(source: Source, found: Sequence[Finding], stored: DType, wanted: DType) -> list[str]:
    """Patterns for `cast` that match the tensors of the findings and no other floating-point tensors."""
    paths = sorted({path_in_source(source, each) for each in found})
    if not stored.is_floating:
        return [glob.escape(each) for each in paths]  # these are cast by their whole name only
    inside = set(paths)
    other = sorted(path for path, dtype in _floating(source) if path not in inside and dtype is not wanted)
    patterns: list[str] = []
    scopes = [""]
    while scopes and len(patterns) <= IN_ONE_COMMAND:
        scope = scopes.pop()
        if not any(each.startswith(scope) for each in other):
            patterns.append(f"{glob.escape(scope)}*")
            continue
        for name in sorted(
            {each[len(scope) :].partition("/")[0] for each in paths if each.startswith(scope)}
        ):
            if scope + name in inside:
                patterns.append(glob.escape(scope + name))
            else:
                scopes.append(f"{scope}{name}/")
    return sorted(patterns)


def _floating(source: Source) -> Iterator[tuple[str, DType]]:
    """The path, or the name, of every floating-point tensor of a checkpoint, and its type."""
    for key, entry in source.entries.items():
        if entry.dtype.is_floating:
            yield (key if source.graph is None else key_path(key) or key), entry.dtype


def _is(found: Sequence[object]) -> str:
    return "are" if len(found) > 1 else "is"


def _has(found: Sequence[object]) -> str:
    return "have" if len(found) > 1 else "has"
