"""Tests other names for a checkpoint's objects: renames it, without writing anything, and restores it again.

If more objects are restored, these need not be the right ones. So moves that contradict `tools/matching` are not
tested.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError
from tensorbundle.proto.paths import SAVE_COUNTER, VARIABLE_VALUE, key_path
from tensorbundle.specs import Spec
from tensorbundle.tools.matching.deciding import match
from tensorbundle.tools.matching.items import Item
from tensorbundle.tools.operations.editing.renaming import rename
from tensorbundle.tools.operations.editing.rules import parse_rule, whole_rule
from tensorbundle.tools.operations.restoring.forecasting import Source, predict
from tensorbundle.tools.operations.restoring.moves import renumberings, scope_moves
from tensorbundle.tools.optimizers.finding import Optimizers
from tensorbundle.tools.rewriting.draft import Draft
from tensorbundle.tools.rewriting.expressions import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.tools.operations.editing.rules import Rule
    from tensorbundle.tools.operations.restoring.forecasting import RestoreTarget
    from tensorbundle.tools.operations.restoring.moves import Move
    from tensorbundle.tools.operations.restoring.outcomes import Finding, Forecast, Status

__all__ = ["MoveSearch", "name_of", "path_in_source", "state_in", "stored_spec"]

# Restores of a renamed checkpoint: the greatest number of them, and of objects in all of them.
_TRIALS: Final = 12
_TRIED: Final = 200_000


class MoveSearch:
    """The search for names under which a checkpoint matches better.

    Attributes:
        source: the checkpoint, with the names that were found so far.
        forecast: of restoring it.
        state: paths, or names, of its optimizer's state.
        moves: the moves that were found so far.
    """

    def __init__(self, forecast: Forecast, source: Source, target: RestoreTarget) -> None:
        self.source = source
        self.forecast = forecast
        self.state = state_in(source.path)
        self.moves: list[Move] = []
        self._target = target
        self._meant = _meant(source, target)
        self._givers = {new: old for old, new in self._meant.items()}

    @property
    def rules(self) -> list[Rule]:
        """The rules of all moves."""
        return [_rule(old, new) for move in self.moves for old, new in move.rules]

    def run(self) -> None:
        """Search for scopes first, then for numbers of layers."""
        if self.forecast.way == "saver" and self.source.graph is not None:
            return  # full names are not renamed with paths
        for propose in (self._scope_moves, self._renumberings):
            if any(each.status != "restored" for each in self.forecast.findings):
                moves = [each for each in propose() if self._may_be(each)]
                self.moves += self._helpful(moves)

    def _may_be(self, move: Move) -> bool:
        """Whether no settled match of variables contradicts a move."""
        return all(
            self._meant.get(old, new) == new and self._givers.get(new, old) == old
            for old, new in ((self._before(old), new) for old, new in move.pairs.items())
        )

    def _before(self, name: str) -> str:
        """The checkpoint's own name of an object that earlier moves renamed."""
        for move in reversed(self.moves):
            name = {new: old for old, new in move.pairs.items()}.get(name, name)
        return name

    def _open(self, status: Status) -> list[Finding]:
        return [each for each in self.forecast.findings if each.status == status and not each.reason]

    def _scope_moves(self) -> Iterator[Move]:
        missing = {name_of(each): each.wanted or Spec() for each in self._open("missing")}
        unused = {each.path: stored_spec(self.source, each) for each in self._open("unused")}
        kept = {path_in_source(self.source, each) for each in self.forecast.findings if each.key is not None}
        for each in (missing, unused):
            each.pop(SAVE_COUNTER, None)
        return scope_moves(missing, unused, kept - unused.keys() - {SAVE_COUNTER}, self.state)

    def _renumberings(self) -> Iterator[Move]:
        """Moves of layers that have other numbers; some layers may now be matched with wrong ones."""
        if self.source.graph is None:
            return iter(())
        program = {
            each.path: each.wanted
            for each in self.forecast.findings
            if each.status != "unused" and each.wanted is not None
        }
        stored = {
            path_in_source(self.source, each): stored_spec(self.source, each)
            for each in self.forecast.findings
            if each.key is not None
        }
        return renumberings(program, stored)

    def _helpful(self, proposed: Sequence[Move]) -> list[Move]:
        """The moves that make the checkpoint match better: all together, or else those that help one by one.

        The search continues with the moved checkpoint.
        """
        gain = 2 * sum(len(move.pairs) for move in proposed)
        if proposed and self._rename([*self.moves, *proposed], gain):
            return list(proposed)
        chosen: list[Move] = []
        trials = min(_TRIALS, _TRIED // len(self.forecast.findings)) if proposed else 0
        for move in proposed[:trials]:
            if self._rename([*self.moves, *chosen, move], 1):
                chosen.append(move)
        return chosen

    def _rename(self, moves: Sequence[Move], gain: int) -> bool:
        """Continue with the renamed checkpoint, if its score is better by at least `gain`."""
        rules = [_rule(old, new) for move in moves for old, new in move.rules]
        try:
            with open_checkpoint(self.source.path) as checkpoint:
                draft = Draft.of(checkpoint)
                rename(draft, rules)
        except BundleError:
            return False
        entries = {
            key: tensor.expression.entry
            for key, tensor in draft.tensors.items()
            if isinstance(tensor.expression, Stored)
        }
        source = Source(self.source.path, draft.graph, entries)
        after = predict(source, self._target, self.forecast.method)
        if _score(after) < _score(self.forecast) + gain:
            return False
        self.source, self.forecast, self.state = source, after, _state_of(draft)
        return True


def path_in_source(source: Source, finding: Finding) -> str:
    """The checkpoint's name of the object, or of the tensor, that a finding is about."""
    key = finding.key or ""
    return key if source.graph is None else key_path(key) or key


def stored_spec(source: Source, finding: Finding) -> Spec:
    """Type and shape of the stored tensor that a finding is about."""
    entry = source.entries.get(finding.key or "")
    return Spec() if entry is None else entry.spec


def name_of(finding: Finding) -> str:
    """The name or path that an object is restored by."""
    return finding.name or finding.path


def state_in(path: str) -> set[str]:
    """The paths, or the names, of the optimizer's state in a checkpoint."""
    try:
        with open_checkpoint(path) as checkpoint:
            return _state_of(Draft.of(checkpoint))
    except BundleError:
        return set()


def _state_of(draft: Draft) -> set[str]:
    return {key_path(key) or key for key in Optimizers.of_draft(draft).state}


def _rule(old: str, new: str) -> Rule:
    return parse_rule(old, new) if old.endswith("/") else whole_rule(old, new)


def _score(forecast: Forecast) -> int:
    """How well a checkpoint matches: a restored object counts twice as much as one that differs in type or shape."""
    return sum({"restored": 2, "dtype": 1, "shape": 1}.get(each.status, 0) for each in forecast.findings)


def _meant(source: Source, target: RestoreTarget) -> dict[str, str]:
    """The program's names of a checkpoint's variables, where the match is settled."""
    specs = target.expected or {key: each.spec for key, each in target.entries.items()}
    by_name = source.graph is None
    ours = _items(source.graph, {key: each.spec for key, each in source.entries.items()}, by_name=by_name)
    return {
        each.old: each.new
        for each in match(ours, _items(target.graph, specs, by_name=by_name)).matches
        if each.settled
    }


def _items(graph: ObjectGraph | None, specs: Mapping[str, Spec], *, by_name: bool) -> list[Item]:
    """The variables of one side, without optimizers' own, by the name or path that they are restored by."""
    optimizers = Optimizers.of(
        graph, {key: each.shape for key, each in specs.items() if each.shape is not None}
    )
    own = optimizers.owned | optimizers.private
    if graph is None:
        return [Item(key, _kind(spec), full_name=key) for key, spec in specs.items() if key not in own]
    found = [
        Item(
            each.full_name if by_name else path,
            _kind(specs[each.checkpoint_key]),
            full_name=each.full_name,
            path="" if by_name else path,
        )
        for path, _, each in graph.attributes()
        if each.name == VARIABLE_VALUE and each.checkpoint_key in specs and each.checkpoint_key not in own
    ]
    count = Counter(each.name for each in found)
    return [each for each in found if count[each.name] == 1 and each.name]


def _kind(spec: Spec) -> Spec | None:
    """A type and a shape, or None if they are not known."""
    return None if spec.dtype is None or spec.shape is None else spec
