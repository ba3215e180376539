"""Operations on whole checkpoints, and the command line.

- `patterns.py`: patterns of tensor names.
- `rewriting/`: the engine that makes checkpoints: drafts, plans and how plans are carried out.
- `formats/`: files that are not TensorFlow checkpoints.
- `optimizers/`: what optimizers call their state.
- `keras/`: what Keras calls the layers and weights of a model.
- `matching/`: which tensor of one checkpoint is which of another.
- `operations/`: operations on whole checkpoints.
- `cli/`: the command line. Nothing else in the package prints.

Every command is a function here, under the command's name. Those that make a checkpoint edit a draft, which becomes a
plan that `rewriting` carries out, and return a `Summary`; none has a second way. Those that look at checkpoints return
data.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorbundle.tools.operations.comparing.differences import Comparison, Difference, diff
    from tensorbundle.tools.operations.directories.changes import Change
    from tensorbundle.tools.operations.directories.checking import verify, verify_all
    from tensorbundle.tools.operations.directories.inventory import Latest, Survey, latest
    from tensorbundle.tools.operations.explaining.explanation import Explanation, explain
    from tensorbundle.tools.operations.functions import (
        average,
        cast,
        compact,
        concat,
        convert,
        drop,
        extract,
        manage,
        merge,
        partition,
        recipes,
        rename,
        reshape,
        reshard,
        resize,
        set,  # noqa: A004  the command's name
        slim,
        split,
        transpose,
        unpartition,
    )
    from tensorbundle.tools.operations.inspecting.graph_view import GraphView, graph
    from tensorbundle.tools.operations.inspecting.hashing import (
        CheckpointHash,
        TensorHash,
        hash,  # noqa: A004  the name of the command
    )
    from tensorbundle.tools.operations.inspecting.listing import ListedTensor, ls
    from tensorbundle.tools.operations.inspecting.overview import Info, info
    from tensorbundle.tools.operations.inspecting.problems import Problem, Report
    from tensorbundle.tools.operations.inspecting.scopes import Scope, tree
    from tensorbundle.tools.operations.inspecting.showing import ShownTensor, show
    from tensorbundle.tools.operations.inspecting.statistics import TensorStatistics, stats
    from tensorbundle.tools.operations.inspecting.timing import Timing, bench
    from tensorbundle.tools.operations.reporting.contents import report
    from tensorbundle.tools.operations.restoring.forecasting import check, forecast
    from tensorbundle.tools.operations.restoring.outcomes import Finding, Forecast
    from tensorbundle.tools.operations.salvaging.saving import Salvage, salvage
    from tensorbundle.tools.operations.steps.recipe import rewrite
    from tensorbundle.tools.operations.suggesting.suggestion import Suggestion, suggest
    from tensorbundle.tools.rewriting.options import TransferOptions
    from tensorbundle.tools.rewriting.plan import LeftOut, Note
    from tensorbundle.tools.rewriting.transfer import Summary

__all__ = [
    "Change",
    "CheckpointHash",
    "Comparison",
    "Difference",
    "Explanation",
    "Finding",
    "Forecast",
    "GraphView",
    "Info",
    "Latest",
    "LeftOut",
    "ListedTensor",
    "Note",
    "Problem",
    "Report",
    "Salvage",
    "Scope",
    "ShownTensor",
    "Suggestion",
    "Summary",
    "Survey",
    "TensorHash",
    "TensorStatistics",
    "Timing",
    "TransferOptions",
    "average",
    "bench",
    "cast",
    "check",
    "compact",
    "concat",
    "convert",
    "diff",
    "drop",
    "explain",
    "extract",
    "forecast",
    "graph",
    "hash",
    "info",
    "latest",
    "ls",
    "manage",
    "merge",
    "partition",
    "recipes",
    "rename",
    "report",
    "reshape",
    "reshard",
    "resize",
    "rewrite",
    "salvage",
    "set",
    "show",
    "slim",
    "split",
    "stats",
    "suggest",
    "transpose",
    "tree",
    "unpartition",
    "verify",
    "verify_all",
]

_HOMES = {
    "Change": "operations.directories.changes",
    "CheckpointHash": "operations.inspecting.hashing",
    "Comparison": "operations.comparing.differences",
    "Difference": "operations.comparing.differences",
    "Explanation": "operations.explaining.explanation",
    "Finding": "operations.restoring.outcomes",
    "Forecast": "operations.restoring.outcomes",
    "GraphView": "operations.inspecting.graph_view",
    "Info": "operations.inspecting.overview",
    "Latest": "operations.directories.inventory",
    "LeftOut": "rewriting.plan",
    "ListedTensor": "operations.inspecting.listing",
    "Note": "rewriting.plan",
    "Problem": "operations.inspecting.problems",
    "Report": "operations.inspecting.problems",
    "Salvage": "operations.salvaging.saving",
    "Scope": "operations.inspecting.scopes",
    "ShownTensor": "operations.inspecting.showing",
    "Suggestion": "operations.suggesting.suggestion",
    "Summary": "rewriting.transfer",
    "Survey": "operations.directories.inventory",
    "TensorHash": "operations.inspecting.hashing",
    "TensorStatistics": "operations.inspecting.statistics",
    "Timing": "operations.inspecting.timing",
    "TransferOptions": "rewriting.options",
    "average": "operations.functions",
    "bench": "operations.inspecting.timing",
    "cast": "operations.functions",
    "check": "operations.restoring.forecasting",
    "compact": "operations.functions",
    "concat": "operations.functions",
    "convert": "operations.functions",
    "diff": "operations.comparing.differences",
    "drop": "operations.functions",
    "explain": "operations.explaining.explanation",
    "extract": "operations.functions",
    "forecast": "operations.restoring.forecasting",
    "graph": "operations.inspecting.graph_view",
    "hash": "operations.inspecting.hashing",
    "info": "operations.inspecting.overview",
    "latest": "operations.directories.inventory",
    "ls": "operations.inspecting.listing",
    "manage": "operations.functions",
    "merge": "operations.functions",
    "partition": "operations.functions",
    "recipes": "operations.functions",
    "rename": "operations.functions",
    "report": "operations.reporting.contents",
    "reshape": "operations.functions",
    "reshard": "operations.functions",
    "resize": "operations.functions",
    "rewrite": "operations.steps.recipe",
    "salvage": "operations.salvaging.saving",
    "set": "operations.functions",
    "show": "operations.inspecting.showing",
    "slim": "operations.functions",
    "split": "operations.functions",
    "stats": "operations.inspecting.statistics",
    "suggest": "operations.suggesting.suggestion",
    "transpose": "operations.functions",
    "tree": "operations.inspecting.scopes",
    "unpartition": "operations.functions",
    "verify": "operations.directories.checking",
    "verify_all": "operations.directories.checking",
}


def __getattr__(name: str) -> object:
    """Operations are imported when first used: the command line needs one at a time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
