"""How thoroughly tests look: at samples by default, at everything if TENSORBUNDLE_DEEP is set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DEEP", "sample"]

DEEP = os.environ.get("TENSORBUNDLE_DEEP", "") not in ("", "0")

Case = TypeVar("Case")


def sample(cases: Iterable[Case], count: int) -> list[Case]:
    """All cases if TENSORBUNDLE_DEEP is set, else `count` of them at equal distances, the first and the last included."""
    found = list(cases)
    if DEEP or count >= len(found):
        return found
    return [found[place * (len(found) - 1) // max(count - 1, 1)] for place in range(count)]
