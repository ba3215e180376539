"""Why a checkpoint does not match a program, and what to do: a few causes for hundreds of mismatches."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tensorbundle.dtypes import DType
from tensorbundle.proto.paths import SAVE_COUNTER
from tensorbundle.tools.keras.lost import left_out_by_keras_3, lost_text
from tensorbundle.tools.operations.editing.selection import slim
from tensorbundle.tools.operations.editing.values import set_values
from tensorbundle.tools.operations.restoring.advice import Advice, Cause, Place, fill_in
from tensorbundle.tools.operations.restoring.keras_causes import conversion_cause, find_keras_causes
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


def find_causes(forecast: Forecast, source: Source, target: RestoreTarget) -> list[Cause]:
    """The causes of the mismatches of a forecast; each mismatch has one cause.

    Commands are filled in. If there are several, each reads the checkpoint that the one before it writes. Causes after a
    command are those of what it leaves.
    """
    lost = _lost(source)
    if all(each.status == "restored" for each in forecast.findings):
        return lost
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


def _lost(source: Source) -> list[Cause]:
    """Layers that Keras 3 left out of a checkpoint, which no assertion notices."""
    if source.graph is None:
        return []
    shapes = {key: entry.shape for key, entry in source.entries.items()}
    lost = left_out_by_keras_3(source.graph, Optimizers.of(source.graph, shapes))
    if not lost:
        return []
    advice = Advice(
        "save with model.save_weights, which stores all layers; restoring this checkpoint does not set them"
    )
    names = tuple(f"{each.key.partition('/.ATTRIBUTES/')[0]}: {each.full_name}" for each in lost)
    return [Cause(lost_text(lost), (), (advice,), examples=names)]


# Other names


def _moved(trials: Trials) -> Iterator[Cause]:
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
        if not fits and len(moves) == 1 and unused == moves[0].pairs.keys():
            what = _everything_text(*moves[0].rules[0])
        else:
            texts = [
                f"{_place(old)} of A is {_place(new)} in B"
                for move in moves
                for old, new in move.rules
                if new not in move.aside
            ]
            more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
            what = "; ".join(texts[:_SHOWN]) + more
        arguments = [f"{old}={new}" for move in moves for old, new in move.rules]
        pairs = tuple(f"{old} -> {new}" for move in moves for old, new in move.pairs.items())
        edit = renaming(moves)
        trial = trials.attempt(edit)
        if trial is None:
            return
        trials.keep(trial, edit)
        aside = tuple(f"{each}/" for move in moves for each in move.aside)
        trials.explain([each for each in trials.open("unused") if each.path.startswith(aside)])
        command: Arguments = ("rename", Place.SOURCE, Place.MADE, *arguments)
        yield Cause(what, tuple(explained), (), command, pairs, trial.leaves)


def _name_based(trials: Trials) -> Iterator[Cause]:
    missing = trials.open("missing") if trials.now.forecast.way == "names" else []
    if missing and any("overlooks" not in each.detail for each in missing):
        yield _fitted(
            trials,
            restructuring(trials),
            "A is name-based (TF1): variables are looked up by their full names, and A lacks some of B's",
            (*missing, *trials.open("unused")),
            (Advice("rules, --map FILE, help where names and shapes do not tell which is which"),),
        )


def _renamed(trials: Trials) -> Iterator[Cause]:
    """What has another name or place in the program, and is found by all that tells which is which."""
    if trials.open("unused", "shape") and trials.open("missing", "shape"):
        fitting = restructuring(trials)
        if fitting is not None and fitting.trial.own > trials.now.own:
            yield _fitted(
                trials,
                fitting,
                "A has some objects under other names or in other places than B",
                trials.open("missing"),
                (),
            )


def _fitted(
    trials: Trials,
    fitting: Restructuring | None,
    what: str,
    findings: Sequence[Finding],
    advice: tuple[Advice, ...],
) -> Cause:
    """A cause that such a command removes, if there is one, for those mismatches that it does remove."""
    if fitting is None:
        return Cause(what, tuple(findings), advice)
    left = {(each.status, each.path) for each in fitting.trial.forecast.findings}
    mismatches = [*findings, *trials.open("missing", "unused", "shape", "dtype", "dangling")]
    found = {(each.status, each.path): each for each in mismatches}
    found = {what: each for what, each in found.items() if what not in left}
    trials.keep(fitting.trial, fitting.edit)
    others = [each for each in found.values() if each not in findings and each.path != SAVE_COUNTER]
    if others:
        have = "have other names or places" if len(others) > 1 else "has another name or place"
        what = f"{what}; {counted(others, 'other object')} {have} in B"
    return Cause(what, tuple(found.values()), advice, fitting.command, leaves=fitting.trial.leaves)


# Optimizers and counters


def _optimizers(trials: Trials) -> Iterator[Cause]:
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
        what = "A has the optimizer's state in another place or order than B, or of another kind"
        advice = removing(f"{'or ' if fitting else ''}remove A's state")
        if refused:
            what = (
                "A's optimizer is of Keras up to 2.10 (legacy), and B's newer one refuses its slot variables"
            )
            advice = (Advice("or take B's from tf_keras.optimizers.legacy"), *removing("or remove A's state"))
        yield _fitted(trials, fitting, what, found, advice)
    elif "unused" in statuses:
        only = "only " if len(found) == len(trials.open("unused", "missing")) else ""
        yield Cause(
            f"{only}the optimizer's state in A has no place in B",
            tuple(found),
            (
                Advice("if the program does not train: call expect_partial(), and not assert_consumed()"),
                *removing("or remove it"),
            ),
        )
    elif found:
        yield Cause(
            "A lacks state that B's optimizer has, which starts from its initial values",
            tuple(found),
            (Advice("of the assertions, only assert_nontrivial_match can pass"),),
        )


def _counter(trials: Trials) -> Iterator[Cause]:
    for each in trials.open("missing", "unused"):
        if each.path != SAVE_COUNTER or "overlooks" in each.detail:
            continue
        command = ("set", Place.SOURCE, Place.MADE, f"{SAVE_COUNTER}=1:int64")
        adding = trials.advice(
            "or add a counter", command, lambda draft: set_values(draft, SAVE_COUNTER, "1:int64")
        )
        advice: tuple[Advice, ...]
        if each.status == "unused":
            what = "A has a save counter, which Checkpoint.save writes and read does not look for"
            advice = (Advice("call restore instead of read"),)
        elif trials.now.forecast.method == "restore":
            what = "A has no save counter, as Checkpoint.write writes none; restore makes one and misses its value"
            advice = (Advice("call read instead of restore"), *adding)
        else:
            what = "A has no save counter, and the program has one, as it called save or restore before"
            advice = (Advice("compare with what the program writes before that"), *adding)
        yield Cause(what, (each,), advice)


# Objects without a one-to-one match


def _not_one_to_one(trials: Trials) -> Iterator[Cause]:
    kinds: tuple[tuple[Status, Reason, str, Advice], ...] = (
        (
            "missing",
            "one key",
            "objects of A share a key; TensorFlow restores the last one of them, and says nothing",
            Advice("look for damage", ("verify", Place.SOURCE)),
        ),
        (
            "missing",
            "no values",
            "A has an object of this name which has no values; TensorFlow says nothing",
            Advice("look at it", ("graph", Place.SOURCE)),
        ),
        (
            "missing",
            "one in A",
            "one object in A is several objects in B, of which the first gets the values ('Inconsistent references')",
            Advice("let the program share the object, too"),
        ),
        (
            "unused",
            "one in B",
            "several objects in A are one object in B, which gets the values of the first",
            Advice("nothing fails"),
        ),
        (
            "unused",
            "no tensors",
            "A has tensors of objects which have none in B",
            Advice("call expect_partial(), and not assert_consumed()"),
        ),
    )
    for status, reason, what, advice in kinds:
        found = trials.open(status, reason=reason)
        if found:
            yield Cause(what, tuple(found), (advice,))


def _dangling(trials: Trials) -> Iterator[Cause]:
    found = trials.open("dangling")
    if found:
        yield Cause(
            "A names tensors that it does not store: of variables that had no value yet, or removed since",
            tuple(found),
            (Advice("look for damage", ("verify", Place.SOURCE)),),
        )


# Objects that one side lacks


def _left(trials: Trials) -> Iterator[Cause]:
    missing, unused = trials.open("missing"), trials.open("unused")
    for scope, found in _by_scope(missing):
        what = f"A lacks {counted(found, 'object')} that B has{scope}"
        yield Cause(what, tuple(found), _adding(trials, found))
    for scope, found in _by_scope(unused):
        by_objects = trials.now.forecast.way == "objects"
        advice = (Advice("if that is meant: call expect_partial()"),) if by_objects else ()
        yield Cause(f"B lacks {counted(found, 'object')} that A has{scope}", tuple(found), advice)
    if missing and unused and trials.target.expected is None:
        proposal = Advice("find out which", ("suggest", Place.SOURCE, trials.target.path))
        yield Cause("if some of these are the same, under other names", (), (proposal,))


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


def _everything_text(old: str, new: str) -> str:
    if new == "/":
        return f"everything that A has in {old!r} is at the root in B"
    if old == "/":
        return f"everything that A has at the root is in {new!r} in B"
    return f"everything that A has in {old!r} is in {new!r} in B"


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
