"""Causes of mismatches, and what to do about them, as data. Commands are lists of arguments, without quoting."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorbundle.tools.operations.restoring.outcomes import Finding

__all__ = ["Advice", "Arguments", "Cause", "Place", "fill_in"]


class Place(enum.Enum):
    """A placeholder for a checkpoint in a command, until it is known which other commands come before."""

    SOURCE = "the checkpoint"
    MADE = "the new checkpoint"


# Of the command `tensorbundle`; empty if there is none.
Arguments = tuple[str | Place, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """Something to do: what, for a person, and the command that does or shows it, if there is one."""

    text: str
    command: Arguments = ()


@dataclass(frozen=True, slots=True)
class Cause:
    """Why some objects do not match.

    Attributes:
        what: the cause, for a person.
        findings: the mismatches that it explains.
        advice: what can be done about it.
        command: a command that removes it, if there is one; it was tested.
        examples: lines that show the cause, if the findings do not.
    """

    what: str
    findings: tuple[Finding, ...]
    advice: tuple[Advice, ...] = ()
    command: Arguments = ()
    examples: tuple[str, ...] = ()

    @property
    def commands(self) -> list[Arguments]:
        """The command that removes it, and those of the advice."""
        return [each for each in (self.command, *(advice.command for advice in self.advice)) if each]


def fill_in(causes: Sequence[Cause], source: str) -> list[Cause]:
    """The causes with the names of checkpoints in their commands: each reads the output of the one before it."""
    count = sum(bool(each.command) for each in causes)
    out = []
    given, step = source, 0
    for each in causes:
        names = {Place.SOURCE: given, Place.MADE: "DST" if step == 0 and count < 2 else f"DST{step + 1}"}
        advice = tuple(Advice(one.text, _filled(one.command, names)) for one in each.advice)
        out.append(replace(each, advice=advice, command=_filled(each.command, names)))
        if each.command:
            given, step = names[Place.MADE], step + 1
    return out


def _filled(command: Arguments, names: dict[Place, str]) -> Arguments:
    return tuple(names[each] if isinstance(each, Place) else each for each in command)
