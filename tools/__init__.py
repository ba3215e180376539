"""Operations on whole checkpoints, and the command line.

- `patterns.py`: patterns of tensor names.
- `rewriting/`: the engine that makes checkpoints: drafts, plans and how plans are carried out.
- `formats/`: files that are not TensorFlow checkpoints.
- `optimizers/`: what optimizers call their state.
- `matching/`: which tensor of one checkpoint is which of another.
- `operations/`: operations on whole checkpoints.
- `cli/`: the command line. Nothing else in the package prints.

Operations are functions that return what they did. Those that make a checkpoint edit a draft, which becomes a plan that
`rewriting` carries out; none has a second way.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorbundle.tools.operations.converting.conversion import convert
    from tensorbundle.tools.operations.inspecting.hashing import (
        CheckpointHash,
        TensorHash,
        hash,  # noqa: A004  the name of the command
    )
    from tensorbundle.tools.operations.inspecting.statistics import TensorStatistics, stats
    from tensorbundle.tools.operations.inspecting.verification import Problem, Report, verify
    from tensorbundle.tools.operations.recipes import rewrite
    from tensorbundle.tools.operations.restoring.forecasting import forecast
    from tensorbundle.tools.operations.restoring.outcomes import Finding, Forecast
    from tensorbundle.tools.operations.suggesting.suggestion import Suggestion, suggest
    from tensorbundle.tools.rewriting.transfer import Summary, TransferOptions

__all__ = [
    "CheckpointHash",
    "Finding",
    "Forecast",
    "Problem",
    "Report",
    "Suggestion",
    "Summary",
    "TensorHash",
    "TensorStatistics",
    "TransferOptions",
    "convert",
    "forecast",
    "hash",
    "rewrite",
    "stats",
    "suggest",
    "verify",
]

_HOMES = {
    "CheckpointHash": "operations.inspecting.hashing",
    "Finding": "operations.restoring.outcomes",
    "Forecast": "operations.restoring.outcomes",
    "Problem": "operations.inspecting.verification",
    "Report": "operations.inspecting.verification",
    "Suggestion": "operations.suggesting.suggestion",
    "Summary": "rewriting.transfer",
    "TensorHash": "operations.inspecting.hashing",
    "TensorStatistics": "operations.inspecting.statistics",
    "TransferOptions": "rewriting.transfer",
    "convert": "operations.converting.conversion",
    "forecast": "operations.restoring.forecasting",
    "hash": "operations.inspecting.hashing",
    "rewrite": "operations.recipes",
    "stats": "operations.inspecting.statistics",
    "suggest": "operations.suggesting.suggestion",
    "verify": "operations.inspecting.verification",
}


def __getattr__(name: str) -> object:
    """Operations are imported when first used: the command line needs one at a time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
