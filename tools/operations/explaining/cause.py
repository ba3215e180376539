"""A cause of a fault or of a mismatch, as data: its line, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["CHECK", "COPY_AGAIN", "OPTIONAL", "SALVAGE", "VERIFY", "Cause"]

OPTIONAL: Final = re.compile(r"\[\[(.*?)\]\]")
COPY_AGAIN: Final = "copy or download the file again, and compare sizes; or use another checkpoint"
SALVAGE: Final = "'tensorbundle salvage SRC DST' keeps every tensor that can still be proven good"
CHECK: Final = "'tensorbundle check A --against B' lists every mismatch and what to do"
VERIFY: Final = "'tensorbundle verify CKPT' finds every fault and its cause"


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause of a fault, or of a restore that does not match.

    Attributes:
        kind: its name.
        line: a description in one line; names in braces are replaced by facts that were found. In double brackets is what
            is left out if there are none. A is the checkpoint, and B one that the program wrote.
        advice: what to do, a line each.
        commands: more of that where no checkpoint was read; `check` says which commands help instead.
        short: the line if no file was read, where it must be another one.
    """

    kind: str
    line: str
    advice: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    short: str = ""

    @property
    def general(self) -> str:
        """The line without facts from a particular file."""
        return self.short or OPTIONAL.sub("", self.line)

    @property
    def all_advice(self) -> tuple[str, ...]:
        """What to do where no checkpoint was read."""
        return (*self.advice, *self.commands)
