"""How much work a function does, counted, so that a busy machine makes no difference."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["growth", "steps"]


def steps(function: Callable[[], Any]) -> int:
    """The lines of Python that are executed while `function` runs; what is inside a call of C is not seen."""
    count = 0

    def trace(_frame: Any, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    re.purge()  # else the larger of two cases would compile what the smaller one finds compiled
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def growth(prepare: Callable[[int], Callable[[], Any]], size: int) -> float:
    """How many times as many steps four times the size takes: 4 if they are proportional, 16 if quadratic.

    Args:
        prepare: makes what is to be counted, for a size.
        size: the smaller one.
    """
    return steps(prepare(4 * size)) / steps(prepare(size))
