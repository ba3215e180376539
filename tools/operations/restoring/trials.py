"""Tries commands on a checkpoint, without writing anything, and predicts what restoring the result does.

No command is advised that was not tried: a draft of the checkpoint is edited as the command would edit it, and restored
once more. The command is advised if that is better, together with what it leaves.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.entries import TensorEntry
from tensorbundle.errors import BundleError, MissingFileError
from tensorbundle.proto.paths import key_path
from tensorbundle.specs import Spec
from tensorbundle.tools.keras.sequences import legacy_layers
from tensorbundle.tools.operations.converting.fitting import KEPT, MISSING
from tensorbundle.tools.operations.restoring.advice import Advice, FoundCause
from tensorbundle.tools.operations.restoring.forecasting import Source, predict
from tensorbundle.tools.operations.restoring.pairing import settled_names
from tensorbundle.tools.optimizers.finding import Optimizers
from tensorbundle.tools.rewriting.draft import Draft
from tensorbundle.tools.rewriting.transfer import check_sources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.tools.operations.restoring.advice import Arguments
    from tensorbundle.tools.operations.restoring.forecasting import RestoreTarget
    from tensorbundle.tools.operations.restoring.outcomes import Finding, Forecast, Reason, Status

__all__ = ["SLOT_MARK", "Edit", "Trial", "Trials", "name_of", "path_in_source", "stored_spec"]

SLOT_MARK: Final = "/.OPTIMIZER_SLOT/"

Edit = Callable[[Draft], object]
# By path, or by name: role and variable of a slot; None if it is no slot, or one of a variable that is not known.
State = dict[str, tuple[str, str] | None]


@dataclass(frozen=True, slots=True)
class Trial:
    """A checkpoint after some commands, and the outcome of restoring it.

    Attributes:
        source: the checkpoint.
        forecast: of restoring it.
        state: its optimizers' state.
        kept: how many of its tensors got the program's own values.
        left_out: how many tensors the commands left out.
    """

    source: Source
    forecast: Forecast
    state: State
    kept: int = 0
    left_out: int = 0

    @property
    def leaves(self) -> dict[str, int]:
        """What is not as it should be: mismatches by status, `kept`, and `left_out`."""
        found: Counter[str] = Counter(
            each.status for each in self.forecast.findings if each.status != "restored"
        )
        found.update(kept=self.kept, left_out=self.left_out)
        return {what: count for what, count in found.items() if count}

    def is_better_than(self, other: Trial) -> bool:
        """Whether it raises no exception where `other` does, or more is restored, or as much and fewer do not match."""
        return self._worth > other._worth

    @property
    def _worth(self) -> tuple[bool, int, int]:
        own = self.own
        return self.forecast.failure is None and own > 0, own, own + self.kept - len(self.forecast.findings)

    @property
    def own(self) -> int:
        """How many objects of the program get the checkpoint's own values."""
        return sum(each.status == "restored" for each in self.forecast.findings) - self.kept


class Trials:
    """A checkpoint that commands are tried on, with those that were found so far.

    Attributes:
        target: the program.
        size: how many tensors, slices, objects and slots the checkpoint and the program have.
        now: the checkpoint after the commands that were found so far.
        own_state: the program's optimizers' state.
    """

    def __init__(self, forecast: Forecast, source: Source, target: RestoreTarget) -> None:
        self.target = target
        self.size = sum(_size(each.graph, each.entries) for each in (source, target))
        self.now = Trial(source, forecast, _state(source.graph, source.entries))
        self.own_state = _state(target.graph, target.entries)
        self._stored = source
        self._edits: list[Edit] = []
        self._explained: set[tuple[Status, str]] = set()

    @functools.cached_property
    def meant(self) -> dict[str, str]:
        """The program's names of the variables of the checkpoint as it is stored, as far as the matching is sure."""
        return settled_names(self._stored, self.target)

    def open(self, *statuses: Status, reason: Reason | None = None) -> list[Finding]:
        """The mismatches that have no cause yet."""
        return [
            each
            for each in self.now.forecast.findings
            if each.status in statuses
            and (each.status, each.path) not in self._explained
            and reason in (None, each.reason)
        ]

    def explain(self, findings: Sequence[Finding]) -> None:
        """Note that mismatches have a cause."""
        self._explained |= {(each.status, each.path) for each in findings}

    def is_displaced(self, finding: Finding, trial: Trial) -> bool:
        """Whether the program has another part of an optimizer's state at this path than the checkpoint."""
        if finding.path not in self.own_state or SLOT_MARK in finding.path:
            return False
        own = self.own_state[finding.path]
        return own is None or trial.state.get(path_in_source(trial.source, finding)) != own

    def displaced(self, trial: Trial) -> int:
        """How many mismatches of types and shapes are due to that."""
        found = (each for each in trial.forecast.findings if each.status in ("shape", "dtype"))
        return sum(self.is_displaced(each, trial) for each in found)

    def attempt(self, *edits: Edit) -> Trial | None:
        """The checkpoint after more edits, or None if one of them is refused."""
        try:
            with open_checkpoint(self.now.source.path) as checkpoint:
                draft = Draft.of(checkpoint)
                for each in (*self._edits, *edits):
                    each(draft)
                _check(draft)
            entries = {
                key: TensorEntry(tensor.dtype, tensor.shape, 0, slices=tensor.slices)
                for key, tensor in draft.tensors.items()
            }
            layers = legacy_layers(draft.attributes)
            source = Source(self.now.source.path, draft.graph, entries, layers)
            forecast = predict(source, self.target, self.now.forecast.method)
        except BundleError:
            return None
        kept = sum(each.matched in (KEPT, MISSING) for each in draft.tensors.values())
        return Trial(source, forecast, _state(source.graph, entries), kept, len(draft.left_out))

    def keep(self, trial: Trial, *edits: Edit) -> None:
        """Continue with the checkpoint of a trial, which was made by these edits."""
        self._edits += edits
        self.now = trial

    def advice(self, text: str, command: Arguments, edit: Edit) -> tuple[Advice, ...]:
        """Advice with a command; none if the command does not make it better."""
        trial = self.attempt(edit)
        if trial is None or not trial.is_better_than(self.now):
            return ()
        return (Advice(text, command, trial.leaves),)

    def remedy(self, cause: FoundCause, command: Arguments, edit: Edit) -> FoundCause:
        """A cause with the command that removes it, after which others are tried; without one that does not help."""
        trial = self.attempt(edit)
        if trial is None or not trial.is_better_than(self.now):
            return cause
        self.keep(trial, edit)
        return replace(cause, command=command, leaves=trial.leaves)


def _check(draft: Draft) -> None:
    """Refuse what can't be written. Data that the checkpoint itself lacks is no reason, as it may be somewhere else.

    Raises:
        BundleError: as `check_sources`.
    """
    try:
        check_sources(draft.plan())
    except MissingFileError as error:
        if not (error.path or "").startswith(draft.prefix):
            raise


def path_in_source(source: Source, finding: Finding) -> str:
    """The checkpoint's name of the object, or of the tensor, that a finding is about."""
    key = finding.key or ""
    return key if source.graph is None else key_path(key) or key


def stored_spec(source: Source, finding: Finding) -> Spec:
    """Type and shape of the stored tensor that a finding is about."""
    entry = source.entries.get(finding.key or "")
    return Spec() if entry is None else entry.spec


def _size(graph: ObjectGraph | None, entries: Mapping[str, TensorEntry]) -> int:
    nodes = [] if graph is None else graph.nodes
    slices = sum(len(each.slices) for each in entries.values())
    return len(entries) + slices + len(nodes) + sum(len(node.slots) for node in nodes)


def name_of(finding: Finding) -> str:
    """The name or path that an object is restored by."""
    return finding.name or finding.path


def _state(graph: ObjectGraph | None, entries: Mapping[str, TensorEntry]) -> State:
    """The optimizers' state in a checkpoint."""
    found = Optimizers.of(graph, {key: entry.shape for key, entry in entries.items()})
    slots = {slot: what for each in found.found for what, slot in each.slots.items()}
    return {key_path(key) or key: slots.get(key) for key in found.state}
