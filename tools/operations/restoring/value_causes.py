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
from tensorbundle.tools.operations.restoring.advice import Advice, Cause, Place
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


def find_type_causes(trials: Trials) -> Iterator[Cause]:
    """Why tensors differ in type, with commands that cast them."""
    groups: dict[tuple[DType, DType], list[Finding]] = defaultdict(list)
    for each in trials.open("dtype"):
        stored = stored_spec(trials.now.source, each).dtype
        wanted = each.wanted.dtype if each.wanted is not None else None
        if stored is not None and wanted is not None and stored is not wanted:
            groups[stored, wanted].append(each)
    for (stored, wanted), found in groups.items():
        what = f"{counted(found, 'tensor')} {_is(found)} {stored} in A, and {wanted} in B"
        if not (stored.is_numeric and wanted.is_numeric):
            yield Cause(what, tuple(found), (Advice("no command casts these"),))
            continue
        patterns = _patterns(trials.now.source, found, stored, wanted)
        if len(patterns) > IN_ONE_COMMAND:
            advice = Advice("a recipe for 'tensorbundle rewrite' takes any number of casts")
            yield Cause(what, tuple(found), (advice,))
            continue
        casts = dict.fromkeys(patterns, wanted)
        command: Arguments = ("cast", Place.SOURCE, Place.MADE, *(f"{each}={wanted}" for each in patterns))
        yield trials.remedy(what, found, command, lambda draft, casts=casts: cast(draft, casts))  # type: ignore[misc]
    rest = trials.open("dtype")
    if rest:
        yield Cause("B's objects can't take what A stores", tuple(rest))


def find_shape_causes(trials: Trials) -> Iterator[Cause]:
    """Why tensors differ in shape, with commands that change them."""
    source, differing = trials.now.source, trials.open("shape")
    meant = settled_names(source, trials.target) if differing else {}
    givers = {new: old for old, new in meant.items()}
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for each in differing:
        old, new = path_in_source(source, each), name_of(each)
        same = meant.get(old, new) == new and givers.get(new, old) == old
        kinds[_difference(source, each) if same else "renamed"].append(each)
    for kind, found in kinds.items():
        count = counted(found, "tensor")
        advice: tuple[Advice, ...]
        if kind == "transposed":
            what = f"{count} {_is(found)} transposed in B"
            advice = _reshaping(trials, "transpose", found)
        elif kind == "reshaped":
            what = f"{count} {_has(found)} as many values in B, in another shape"
            advice = _reshaping(trials, "reshape", found)
        elif kind == "rows":
            what = f"{count} {_has(found)} another number of rows in B"
            advice = _resizing(trials, found)
        elif kind == "renamed":
            what = f"{count} {_is(found)} another variable in B, under the same path"
            advice = _without(trials)
        else:
            what = f"{count} {_has(found)} another size in B"
            advice = (
                Advice("the program was made with other sizes than the one that A is from"),
                *_without(trials),
            )
        yield Cause(what, tuple(found), advice)


def _difference(source: Source, finding: Finding) -> str:
    """How the shapes of a stored tensor and of the one in the program differ."""
    stored = stored_spec(source, finding).shape
    wanted = finding.wanted.shape if finding.wanted is not None else None
    if stored is None or wanted is None:
        return "other"
    if len(stored) == 2 and stored == wanted[::-1]:
        return "transposed"
    if math.prod(stored) == math.prod(wanted):
        return "reshaped"
    return "rows" if len(stored) == 2 == len(wanted) and stored[1] == wanted[1] else "other"


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
