"""The catalogue of causes: `verify` and `check` look for them, and `explain` names those that a message may have."""

from __future__ import annotations

from typing import Final

from tensorbundle.tools.operations.explaining.cause import OPTIONAL
from tensorbundle.tools.operations.explaining.file_causes import FILE_CAUSES
from tensorbundle.tools.operations.explaining.restore_causes import RESTORE_CAUSES

__all__ = ["CAUSES", "cause_line"]

CAUSES: Final = {each.kind: each for each in (*FILE_CAUSES, *RESTORE_CAUSES)}


def cause_line(kind: str, **found: object) -> str:
    """The line of a cause with facts that were found."""
    return OPTIONAL.sub(r"\1" if found else "", CAUSES[kind].line).format(**found)
