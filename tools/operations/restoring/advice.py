"""Causes of mismatches, and what to do about them, as data. Commands are lists of arguments, without quoting."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tensorbundle.tools.operations.explaining.catalogue import CAUSES, cause_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorbundle.tools.operations.restoring.outcomes import Finding

__all__ = ["Advice", "Arguments", "FoundCause", "Place", "fill_in"]


class Place(enum.Enum):
    """The name of a checkpoint in a command, left open until it is known which other commands come before."""

    SOURCE = "the checkpoint"
    MADE = "the new checkpoint"


# Of the command `tensorbundle`; empty if there is none.
Arguments = tuple[str | Place, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """Something to do.

    Attributes:
        text: what to do, for a person.
        command: the command that does or shows it, if there is one.
        leaves: what does not match after the command, as in `Trial.leaves`; None if it was not tried, as it only shows
            something.
    """

    text: str
    command: Arguments = ()
    leaves: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class FoundCause:
    """Why some objects do not match.

    Attributes:
        kind: the cause's name in the catalogue.
        what: the cause, for a person.
        findings: the mismatches that it explains.
        advice: what can be done about it, the catalogue's first.
        command: a command that removes it, if there is one.
        examples: lines that show the cause, if the findings do not.
        leaves: what does not match after the command, as in `Advice`.
    """

    kind: str
    what: str
    findings: tuple[Finding, ...] = ()
    advice: tuple[Advice, ...] = ()
    command: Arguments = ()
    examples: tuple[str, ...] = ()
    leaves: dict[str, int] | None = None

    @classmethod
    def of(
        cls,
        kind: str,
        findings: Iterable[Finding],
        advice: Iterable[Advice] = (),
        *,
        examples: tuple[str, ...] = (),
        **facts: str,
    ) -> FoundCause:
        """A cause of the catalogue with what was found, and with advice for this case."""
        general = tuple(map(Advice, CAUSES[kind].advice))
        return cls(kind, cause_line(kind, **facts), tuple(findings), (*general, *advice), examples=examples)

    @property
    def commands(self) -> list[tuple[Arguments, dict[str, int] | None]]:
        """The command that removes it, and those of the advice, each with what it leaves."""
        found = [(self.command, self.leaves), *((each.command, each.leaves) for each in self.advice)]
        return [(command, leaves) for command, leaves in found if command]


def fill_in(causes: Sequence[FoundCause], source: str) -> list[FoundCause]:
    """The causes with the names of checkpoints in their commands: each reads the output of the one before it."""
    count = sum(bool(each.command) for each in causes)
    out = []
    given, step = source, 0
    for each in causes:
        names = {Place.SOURCE: given, Place.MADE: "DST" if step == 0 and count < 2 else f"DST{step + 1}"}
        advice = tuple(replace(one, command=_filled(one.command, names)) for one in each.advice)
        out.append(replace(each, advice=advice, command=_filled(each.command, names)))
        if each.command:
            given, step = names[Place.MADE], step + 1
    return out


def _filled(command: Arguments, names: dict[Place, str]) -> Arguments:
    return tuple(names[each] if isinstance(each, Place) else each for each in command)
