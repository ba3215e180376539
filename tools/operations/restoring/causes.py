"""Why a checkpoint does not match a program, and what to do: a few causes for hundreds of mismatches."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tensorbundle.dtypes import DType
from tensorbundle.errors import listed
from tensorbundle.proto.paths import SAVE_COUNTER
from tensorbundle.tools.keras.lost import left_out_by_keras_3, variables_text
from tensorbundle.tools.operations.editing.selection import slim
from tensorbundle.tools.operations.editing.values import set_values
from tensorbundle.tools.operations.restoring.advice import Advice, FoundCause, Place, fill_in
from tensorbundle.tools.operations.restoring.keras_causes import (
    conversion_cause,
    exchanged_layers,
    find_keras_causes,
)
from tensorbundle.tools.operations.restoring.move_search import MoveSearch, renaming
from tensorbundle.tools.operations.restoring.outcomes import counted
from tensorbundle.tools.operations.restoring.restructuring import restructuring
from tensorbundle.tools.operations.restoring.trials import SLOT_MARK, Trials, name_of
from tensorbundle.tools.operations.restoring.value_causes import (
    IN_ONE_COMMAND,
    find_shape_causes,
    find_type_causes,
)
from tensorbundle.tools.optimizers.finding import Optimizers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tensorbundle.tools.operations.restoring.advice import Arguments
    from tensorbundle.tools.operations.restoring.forecasting import RestoreTarget, Source
    from tensorbundle.tools.operations.restoring.moves import Move
    from tensorbundle.tools.operations.restoring.outcomes import Finding, Forecast, Reason, Status
    from tensorbundle.tools.operations.restoring.restructuring import Restructuring
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["find_causes"]

_SHOWN: Final = 3  # scopes in one sentence
_GROUPS: Final = 8


def find_causes(forecast: Forecast, source: Source, target: RestoreTarget) -> list[FoundCause]:
    """The causes of the mismatches of a forecast; each mismatch has one cause.

    Commands are filled in. If there are several, each reads the checkpoint that the one before it writes. Causes after a
    command are those of what it leaves.
    """
    lost = _lost(source)
    if all(each.status == "restored" for each in forecast.findings):
        return [*lost, *exchanged_layers(forecast, source, target)]
    trials = Trials(forecast, source, target)
    if forecast.way == "keras":
        return fill_in(list(find_keras_causes(trials)), source.path)
    if source.is_keras_weights and target.graph is not None and target.expected is None:
        return fill_in([conversion_cause(trials)], source.path)
    found = [*lost]
    for look in (
        _moved,
        _name_based,
        _optimizers,
        _counter,
        _not_one_to_one,
        _dangling,
        find_type_causes,
        _renamed,
        find_shape_causes,
        _left,
    ):
        for each in look(trials):
            trials.explain(each.findings)
            found.append(each)
    return fill_in(found, source.path)


def _lost(source: Source) -> list[FoundCause]:
    """Layers that Keras 3 left out of a checkpoint, which no assertion notices."""
    if source.graph is None:
        return []
    shapes = {key: entry.shape for key, entry in source.entries.items()}
    lost = left_out_by_keras_3(source.graph, Optimizers.of(source.graph, shapes))
    if not lost:
        return []
    names = tuple(f"{each.key.partition('/.ATTRIBUTES/')[0]}: {each.full_name}" for each in lost)
    return [FoundCause.of("left-out-layers", (), examples=names, variables=variables_text(lost))]


# Other names


def _moved(trials: Trials) -> Iterator[FoundCause]:
    """Objects that have other names in the program, if renaming makes the checkpoint match better."""
    search = MoveSearch(trials)
    search.run()
    conflicts = [
        sum(each.status == "shape" for each in trial.forecast.findings) for trial in (trials.now, search.now)
    ]
    if conflicts[1] > conflicts[0]:  # positions that mean something else in the program, or other sizes
        fitting = restructuring(trials)
        if fitting is not None and fitting.trial.own >= search.now.own:
            return
    for moves in search.commands:
        unused = {each.path for each in trials.open("unused") if not _follows(each)}
        fits = any(
            each.status != "unused" and each.key is not None
            for each in trials.now.forecast.findings
            if not _follows(each)
        )
        before = trials.open("missing", "unused", "shape", "dtype")
        explained = [each for each in before if any(_accounts_for(move, each) for move in moves)]
        pairs = tuple(f"{old} -> {new}" for move in moves for old, new in move.pairs.items())
        if not fits and len(moves) == 1 and unused == moves[0].pairs.keys():
            old, new = moves[0].rules[0]
            cause = FoundCause.of(
                "other-scope", explained, examples=pairs, old=_inside(old), new=_inside(new)
            )
        else:
            texts = [
                f"{_place(old)} of A is {_place(new)} in B"
                for move in moves
                for old, new in move.rules
                if new not in move.aside
            ]
            cause = FoundCause.of(
                "other-names", explained, examples=pairs, names=listed(texts, separator="; ", most=_SHOWN)
            )
        arguments = [f"{old}={new}" for move in moves for old, new in move.rules]
        edit = renaming(moves)
        trial = search.now if moves is search.commands[-1] else trials.attempt(edit)
        if trial is None:
            return
        trials.keep(trial, edit)
        aside = tuple(f"{each}/" for move in moves for each in move.aside)
        trials.explain([each for each in trials.open("unused") if each.path.startswith(aside)])
        command: Arguments = ("rename", Place.SOURCE, Place.MADE, *arguments)
        yield replace(cause, command=command, leaves=trial.leaves)


def _name_based(trials: Trials) -> Iterator[FoundCause]:
    missing = trials.open("missing") if trials.now.forecast.way == "names" else []
    if missing and any("overlooks" not in each.detail for each in missing):
        yield _fitted(
            trials,
            restructuring(trials),
            "name-based",
            (*missing, *trials.open("unused")),
        )


def _renamed(trials: Trials) -> Iterator[FoundCause]:
    """What has another name or place in the program, and is found by all that tells which is which."""
    if trials.open("unused", "shape") and trials.open("missing", "shape"):
        fitting = restructuring(trials)
        if fitting is not None and fitting.trial.own > trials.now.own:
            yield _fitted(
                trials,
                fitting,
                "other-places",
                trials.open("missing"),
            )


def _fitted(
    trials: Trials,
    fitting: Restructuring | None,
    kind: str,
    findings: Sequence[Finding],
    advice: Iterable[Advice] = (),
) -> FoundCause:
    """A cause that such a command removes, if there is one, for those mismatches that it does remove."""
    if fitting is None:
        return FoundCause.of(kind, findings, advice)
    left = {(each.status, each.path) for each in fitting.trial.forecast.findings}
    mismatches = [*findings, *trials.open("missing", "unused", "shape", "dtype", "dangling")]
    found = {(each.status, each.path): each for each in mismatches}
    found = {what: each for what, each in found.items() if what not in left}
    trials.keep(fitting.trial, fitting.edit)
    known = set(findings)
    others = [each for each in found.values() if each not in known and each.path != SAVE_COUNTER]
    if others:
        have = "have other names or places" if len(others) > 1 else "has another name or place"
        cause = FoundCause.of(
            kind, found.values(), advice, others=f"{counted(others, 'other object')} {have}"
        )
    else:
        cause = FoundCause.of(kind, found.values(), advice)
    return replace(cause, command=fitting.command, leaves=fitting.trial.leaves)


# Optimizers and counters


def _optimizers(trials: Trials) -> Iterator[FoundCause]:
    found = [
        *(each for each in trials.open("unused") if each.path in trials.now.state),
        *(each for each in trials.open("missing") if each.path in trials.own_state),
        *(each for each in trials.open("shape", "dtype") if trials.is_displaced(each, trials.now)),
    ]
    statuses = {each.status for each in found}
    failure = trials.now.forecast.failure
    refused = failure is not None and "legacy TF-Keras optimizer" in failure.message

    def removing(text: str) -> tuple[Advice, ...]:
        return trials.advice(text, ("slim", Place.SOURCE, Place.MADE), slim)

    if refused or statuses >= {"unused", "missing"} or statuses & {"shape", "dtype"}:
        fitting = restructuring(trials)
        kind = "legacy-optimizer" if refused else "other-optimizer"
        advice = removing(f"{'or ' if fitting or refused else ''}remove A's state")
        yield _fitted(trials, fitting, kind, found, advice)
    elif "unused" in statuses:
        only = "only " if len(found) == len(trials.open("unused", "missing")) else ""
        yield FoundCause.of("optimizer-left", found, removing("or remove it"), only=only)
    elif found:
        yield FoundCause.of("optimizer-missing", found)


def _counter(trials: Trials) -> Iterator[FoundCause]:
    for each in trials.open("missing", "unused"):
        if each.path != SAVE_COUNTER or "overlooks" in each.detail:
            continue
        command = ("set", Place.SOURCE, Place.MADE, f"{SAVE_COUNTER}=1:int64")
        adding = trials.advice(
            "or add a counter", command, lambda draft: set_values(draft, SAVE_COUNTER, "1:int64")
        )
        if each.status == "unused":
            yield FoundCause.of("counter-left", [each])
        else:
            restored = trials.now.forecast.method == "restore"
            yield FoundCause.of("no-counter" if restored else "counter-made-before", [each], adding)


# Objects without a one-to-one match


def _not_one_to_one(trials: Trials) -> Iterator[FoundCause]:
    kinds: tuple[tuple[Status, Reason, str, tuple[Advice, ...]], ...] = (
        ("missing", "one key", "shared-key", (Advice("look for damage", ("verify", Place.SOURCE)),)),
        ("missing", "no values", "no-values", (Advice("look at it", ("graph", Place.SOURCE)),)),
        ("missing", "one in A", "one-in-checkpoint", ()),
        ("unused", "one in B", "one-in-program", ()),
        ("unused", "no tensors", "no-tensors", ()),
    )
    for status, reason, kind, advice in kinds:
        found = trials.open(status, reason=reason)
        if found:
            yield FoundCause.of(kind, found, advice)


def _dangling(trials: Trials) -> Iterator[FoundCause]:
    stored = trials.now.source.entries
    found = trials.open("dangling")
    cut = [each for each in found if each.key in stored]
    if cut:
        yield FoundCause.of("missing-slices", cut, ())
    lost = [each for each in found if each.key not in stored]
    if lost:
        yield FoundCause.of("not-initialized", lost, [Advice("look for damage", ("verify", Place.SOURCE))])


# Objects that one side lacks


def _left(trials: Trials) -> Iterator[FoundCause]:
    missing, unused = trials.open("missing"), trials.open("unused")
    for scope, found in _by_scope(missing):
        objects = counted(found, "object")
        yield FoundCause.of("missing-objects", found, _adding(trials, found), objects=objects, scope=scope)
    for scope, found in _by_scope(unused):
        by_objects = trials.now.forecast.way == "objects"
        advice = (Advice("if that is meant: call expect_partial()"),) if by_objects else ()
        objects = counted(found, "object")
        yield FoundCause.of("unused-objects", found, advice, objects=objects, scope=scope)
    if missing and unused and trials.target.expected is None:
        proposal = Advice("find out which", ("suggest", Place.SOURCE, trials.target.path))
        yield FoundCause.of("perhaps-the-same", (), [proposal])


def _adding(trials: Trials, found: Sequence[Finding]) -> tuple[Advice, ...]:
    """Advice to add missing counters, which may begin at 0."""
    counters = {
        name_of(each): str(each.wanted.dtype)
        for each in found
        if each.wanted is not None
        and each.wanted.shape == ()
        and each.wanted.dtype in (DType.int32, DType.int64)
    }

    def add(draft: Draft) -> None:
        for name, dtype in counters.items():
            set_values(draft, name, 0, dtype)

    if not counters or len(counters) > IN_ONE_COMMAND:
        return ()
    arguments = (f"{name}=0:{dtype}" for name, dtype in counters.items())
    return trials.advice("to begin with 0", ("set", Place.SOURCE, Place.MADE, *arguments), add)


def _accounts_for(move: Move, finding: Finding) -> bool:
    """Whether a finding is about one of a move's pairs, on either side, or about a slot variable of one."""
    name = name_of(finding).partition(SLOT_MARK)[0]
    return name in move.pairs if finding.status == "unused" else name in move.targets


def _follows(finding: Finding) -> bool:
    """Whether an object moves with others (a slot variable), or never moves (the save counter)."""
    return finding.path == SAVE_COUNTER or SLOT_MARK in finding.path


def _place(name: str) -> str:
    return "the root" if name == "/" else repr(name)


def _inside(name: str) -> str:
    return "at the root" if name == "/" else f"in {name!r}"


def _by_scope(findings: Iterable[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    """Findings by the scope that contains them, as the end of a sentence; in one group if there are many scopes."""
    groups: dict[str, list[Finding]] = defaultdict(list)
    for each in findings:
        groups[each.path.partition("/")[0]].append(each)
    if len(groups) > _GROUPS:
        yield "", [each for found in groups.values() for each in found]
        return
    for found in groups.values():
        if len(found) == 1:
            yield f", {found[0].path!r}", found
        else:
            yield f" below {_common_scope([each.path for each in found])!r}", found


def _common_scope(paths: Sequence[str]) -> str:
    """The longest path that several paths begin with."""
    first, last = min(paths).split("/"), max(paths).split("/")
    shared = itertools.takewhile(lambda parts: parts[0] == parts[1], zip(first, last, strict=False))
    return "/".join(part for part, _ in shared)
