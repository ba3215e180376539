"""Searches for names under which a checkpoint matches a program better.

If more objects are restored, these need not be the right ones. So moves that contradict `tools/matching` are not tried,
nor those that make a variable an optimizer's state.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from tensorbundle.proto.paths import SAVE_COUNTER
from tensorbundle.specs import Spec
from tensorbundle.tools.operations.editing.renaming import rename
from tensorbundle.tools.operations.editing.rules import parse_rule, whole_rule
from tensorbundle.tools.operations.restoring.moves import renumberings, scope_moves
from tensorbundle.tools.operations.restoring.trials import name_of, path_in_source, stored_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorbundle.tools.operations.editing.rules import Rule
    from tensorbundle.tools.operations.restoring.moves import Move
    from tensorbundle.tools.operations.restoring.outcomes import Forecast
    from tensorbundle.tools.operations.restoring.trials import Edit, Trials

__all__ = ["MoveSearch", "renaming"]

# Restores of a renamed checkpoint: the greatest number of them, and of objects, or quarters of what they consist of, in
# all of them.
_TRIALS: Final = 12
_TRIED: Final = 200_000
_ROUNDS: Final = 4


class MoveSearch:
    """The search.

    Attributes:
        commands: the moves that were found; those of one `rename` together. Each renames the output of the one before.
        now: the checkpoint after them.
    """

    def __init__(self, trials: Trials) -> None:
        self.now = trials.now
        self.commands: list[list[Move]] = []
        self._trials = trials
        self._own_state = {
            name_of(each) for each in self.now.forecast.findings if each.path in trials.own_state
        }
        self._left = min(_TRIALS, _TRIED // max(1, len(self.now.forecast.findings), trials.size // 4))

    def run(self) -> None:
        """Search for scopes and then for numbers of layers, again as long as it helps."""
        if self.now.forecast.way == "saver" and self.now.source.graph is not None:
            return  # full names are not renamed with paths
        for _ in range(_ROUNDS):
            found = [self._helps(propose()) for propose in (self._scope_moves, self._renumberings)]
            if not any(found) or self._left <= 0:
                return

    def _may_be(self, move: Move) -> bool:
        """Whether a move keeps variables and optimizers' state apart, and contradicts no settled match."""
        if any((old in self.now.state) != (new in self._own_state) for old, new in move.pairs.items()):
            return False
        meant = self._trials.meant
        givers = {new: old for old, new in meant.items()}
        pairs = [(self._before(old), new) for old, new in move.pairs.items()]
        return all(meant.get(old, new) == new and givers.get(new, old) == old for old, new in pairs)

    def _before(self, name: str) -> str:
        """The checkpoint's own name of an object that earlier moves renamed."""
        for move in reversed([each for moves in self.commands for each in moves]):
            name = {new: old for old, new in move.pairs.items()}.get(name, name)
        return name

    def _scope_moves(self) -> Iterator[Move]:
        source, findings = self.now.source, self.now.forecast.findings
        count = Counter(map(name_of, findings))  # variables may share a full name
        missing = {
            name_of(each): each.wanted or Spec()
            for each in findings
            if each.status == "missing" and not each.reason and count[name_of(each)] == 1
        }
        unused = {
            each.path: stored_spec(source, each)
            for each in findings
            if each.status == "unused" and not each.reason
        }
        kept = {path_in_source(source, each) for each in findings if each.key is not None}
        for each in (missing, unused):
            each.pop(SAVE_COUNTER, None)
        kept -= unused.keys() | {SAVE_COUNTER}
        return scope_moves(missing, unused, kept, self.now.state, objects=source.graph is not None)

    def _renumberings(self) -> Iterator[Move]:
        """Moves of layers that have other numbers; some layers may now be matched with wrong ones."""
        source, findings = self.now.source, self.now.forecast.findings
        if source.graph is None or all(each.status == "restored" for each in findings):
            return iter(())
        program = {
            each.path: each.wanted for each in findings if each.status != "unused" and each.wanted is not None
        }
        stored = {
            path_in_source(source, each): stored_spec(source, each)
            for each in findings
            if each.key is not None
        }
        return renumberings(program, stored)

    def _helps(self, proposed: Iterator[Move]) -> bool:
        """Whether some moves make the checkpoint match better: all together, or else some of them one by one."""
        moves = [each for each in proposed if self._may_be(each)]
        if moves and self._take(moves, 2 * sum(len(each.pairs) for each in moves)):
            return True
        found = False
        for each in moves:
            found |= self._left > 0 and self._take([each], 1)
        return found

    def _take(self, moves: list[Move], gain: int) -> bool:
        """Continue with the renamed checkpoint, if its score is better by at least `gain`.

        Lists of an optimizer's state that then meet lists in another order are no better: what has the same shape is
        restored wrongly.
        The moves become part of the last command, or one of their own if they are about names that it makes.
        """
        ways = [[*self.commands, moves]]
        if self.commands:
            ways.insert(0, [*self.commands[:-1], [*self.commands[-1], *moves]])
        for commands in ways:
            self._left -= 1
            trial = self._trials.attempt(*map(renaming, commands))
            if trial is None or _score(trial.forecast) < _score(self.now.forecast) + gain:
                continue
            if self._trials.displaced(trial) <= self._trials.displaced(self.now):
                self.now, self.commands = trial, commands
                return True
        return False


def renaming(moves: Sequence[Move]) -> Edit:
    """The edit of a `rename` with the rules of some moves."""
    rules = [_rule(old, new) for move in moves for old, new in move.rules]
    return lambda draft: rename(draft, rules)


def _rule(old: str, new: str) -> Rule:
    return parse_rule(old, new) if old.endswith("/") else whole_rule(old, new)


def _score(forecast: Forecast) -> int:
    """How well a checkpoint matches: a restored object counts twice as much as one that differs in type or shape."""
    return sum({"restored": 2, "dtype": 1, "shape": 1}.get(each.status, 0) for each in forecast.findings)
