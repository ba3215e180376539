"""The contents of a report, as data for JSON: of one checkpoint, or of two."""

from __future__ import annotations

import contextlib
import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tensorbundle import __version__
from tensorbundle.checkpoint import Checkpoint, open_checkpoint
from tensorbundle.errors import BundleError, UnsupportedError
from tensorbundle.keys import decode_key
from tensorbundle.members import shards_of
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, key_path
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import basename, dirname, join
from tensorbundle.tools.operations.comparing.differences import diff
from tensorbundle.tools.operations.inspecting.histograms import Histogram
from tensorbundle.tools.operations.inspecting.layout import Layout
from tensorbundle.tools.operations.inspecting.overview import info, info_of
from tensorbundle.tools.operations.inspecting.passes import flat_values, over_tensors
from tensorbundle.tools.operations.inspecting.statistics import TensorStatistics, numbers
from tensorbundle.tools.operations.inspecting.verification import verify_checkpoint
from tensorbundle.tools.operations.reporting.graphs import graph_contents
from tensorbundle.tools.operations.reporting.layers import is_weight, largest_layers
from tensorbundle.tools.operations.reporting.page import html_page
from tensorbundle.tools.optimizers.finding import Optimizers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tensorbundle.checkpoint import Path
    from tensorbundle.dtypes import Array
    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.tools.operations.inspecting.overview import Info
    from tensorbundle.tools.rewriting.ranges import OpenFiles

__all__ = ["report"]

_BINS: Final = 40
_MOST_PROBLEMS: Final = 1000
_MOST_SHARDS: Final = 1_000  # that are looked for one by one
_LARGEST_LAYERS: Final = 5
_STATISTICS: Final = ("min", "max", "mean", "std", "nan", "inf", "zeros")
_LARGEST_EXACT: Final = 2**53  # integers up to this are exact in JavaScript
_WEIGHTS, _STATE, _GRAPH, _OTHER = range(4)  # kinds of tensors


def report(
    path: Path,
    other: Path | None = None,
    *,
    values: bool = True,
    jobs: int = 1,
    progress: Callable[[int], None] | None = None,
) -> str:
    """A report of a checkpoint, or of how another one differs from it, as an HTML page that needs no network.

    Args:
        path: anything that `tensorbundle.open` takes.
        other: a second checkpoint.
        values: whether values are read: for statistics, histograms and checksums, or to compute how far values that
            differ are apart. Otherwise only the indexes are read.
        jobs: tensors that are read at the same time.
        progress: told how many bytes of the first checkpoint are done.

    Raises:
        MissingFileError: there is no checkpoint.
        CorruptionError: its index is damaged; with two checkpoints, also a tensor that must be read. Damaged tensors of
            one checkpoint are problems in the report.
    """
    if other is None:
        return html_page(_of_one(path, values=values, jobs=jobs, progress=progress))
    found = diff(path, other, values=values, jobs=jobs, progress=progress)
    sides = [info(path), info(other)]
    names = list(map(_title, sides))
    if names[0] == names[1]:
        names = [join(basename(dirname(each.prefix)), _title(each)) for each in sides]
    return html_page(
        {
            "page": "comparison",
            "title": " and ".join(names),
            "names": names,
            "subtitle": f"{sides[0].prefix} compared with {sides[1].prefix}",
            "footer": _footer(),
            "sides": [each.to_json() for each in sides],
            "counts": found.counts,
            "rows": [_plain(each.to_json()) for each in found.differences],
        }
    )


def _title(about: Info) -> str:
    """The name of a checkpoint; of a SavedModel, whose variables are always called the same, that of its directory."""
    named = dirname(dirname(about.prefix)) if about.kind == "SavedModel" else about.prefix
    return basename(named) or about.prefix


def _of_one(path: Path, *, values: bool, jobs: int, progress: Callable[[int], None] | None) -> dict[str, Any]:
    with (
        open_checkpoint(path, verify=False) as checkpoint,
        Checkpoint(checkpoint.prefix, index=checkpoint.index) as verified,
    ):
        entries = dict(checkpoint.entries())
        about = info_of(verified, entries)
        state: set[str] = set()
        full_names: dict[str, str] = {}
        graph = None
        with contextlib.suppress(BundleError):  # here and below, `problems` has the error
            shapes = {key: entry.shape for key, entry in entries.items()}
            state = Optimizers.of(checkpoint.object_graph, shapes).state
        with contextlib.suppress(BundleError):
            if checkpoint.object_graph is not None:
                attributes = (each for node in checkpoint.object_graph.nodes for each in node.attributes)
                full_names = {each.checkpoint_key: each.full_name for each in attributes if each.full_name}
                graph = graph_contents(checkpoint, checkpoint.object_graph)
        kinds = [_kind(key, entry, state) for key, entry in entries.items()]
        weights = {
            key: entry for (key, entry), kind in zip(entries.items(), kinds, strict=True) if kind == _WEIGHTS
        }
        layers = largest_layers(weights, full_names, len(weights))
        data: dict[str, Any] = {
            "page": "checkpoint",
            "title": _title(about),
            "subtitle": f"{checkpoint.prefix}; written by {about.written_by or 'an unknown program'}",
            "footer": _footer(),
            "info": about.to_json(),
            "notes": about.notes,
            "layers": [each.to_json() for each in layers[:_LARGEST_LAYERS]],
            "equally_large": sum(each.parameters == layers[0].parameters for each in layers),
            "tensors": _tensors(entries, kinds, full_names),
            "graph": graph,
            "shards": list(_shards(checkpoint, entries)),
            "problems": _problems(path, checkpoint.index, quick=not values),
        }
        if values:
            stats: list[dict[str, Any] | None] = []
            with contextlib.suppress(UnsupportedError):  # tensors that share bytes, more often than is read
                stats.extend(
                    over_tensors(
                        checkpoint, (), partial(_statistics, checkpoint.index), jobs=jobs, progress=progress
                    )
                )
            rows = stats + [None] * (len(entries) - len(stats))
            data["tensors"]["stats"] = _columns(rows)
            numeric = [entry.dtype.is_numeric for entry in entries.values()]
            data["unread"] = sum(number and row is None for number, row in zip(numeric, rows, strict=True))
    return data


def _footer() -> str:
    return f"Made by tensorbundle {__version__}. This page loads nothing from anywhere."


def _kind(key: str, entry: TensorEntry, state: set[str]) -> int:
    if key == OBJECT_GRAPH_KEY:
        return _GRAPH
    if key in state:
        return _STATE
    return _WEIGHTS if is_weight(key, entry) else _OTHER


def _tensors(entries: dict[str, TensorEntry], kinds: list[int], full_names: dict[str, str]) -> dict[str, Any]:
    """Columns with one item for each tensor, in key order: a path or full name only if it differs from the key."""
    return {
        "keys": list(entries),
        "paths": [None if (path := key_path(key)) == key else path for key in entries],
        "full_names": [full_names.get(key) for key in entries],
        "dtypes": [str(entry.dtype) for entry in entries.values()],
        "shapes": [list(entry.shape) for entry in entries.values()],
        "nbytes": [entry.nbytes for entry in entries.values()],
        "kinds": kinds,
        "places": [
            len(entry.slices) if entry.slices else [entry.shard, entry.offset] for entry in entries.values()
        ],
        "stats": None,
    }


def _columns(rows: list[dict[str, Any] | None]) -> dict[str, Any]:
    """Statistics as columns, which are half as long as rows; None for a tensor without."""
    return {name: [row and row.get(name) for row in rows] for name in (*_STATISTICS, "histogram")}


def _statistics(index: Index, key: str, entry: TensorEntry, files: OpenFiles) -> dict[str, Any] | None:
    """The statistics of one tensor, with a histogram; None where it has no numbers, or they are damaged."""
    if not entry.dtype.is_numeric:
        return None
    histogram = Histogram()

    def counted(chunks: Iterator[Array]) -> Iterator[Array]:
        for chunk in chunks:
            for part in numbers(chunk):
                histogram.add(part)
            yield chunk

    try:
        values = flat_values(index, key, entry, verify=False, files=files)
        found = TensorStatistics.of(key, entry, counted(values))
    except BundleError:
        return None
    out = {name: getattr(found, name) for name in _STATISTICS}
    if found.min is not None and found.max is not None:
        out["histogram"] = histogram.even(found.min, found.max, _BINS)
    return _plain(out)


def _shards(checkpoint: Checkpoint, entries: dict[str, TensorEntry]) -> Iterator[dict[str, Any]]:
    """Each data shard that is there: its size, and the extents of the tensors in it, by number."""
    index = checkpoint.index
    numbered = {key: number for number, key in enumerate(entries)}
    extents: dict[int, list[tuple[bytes, int, int]]] = {}
    owners: dict[bytes, int] = {}
    for key, entry in index.raw_entries():
        if not entry.slices:
            extents.setdefault(entry.shard, []).append((key, entry.offset, entry.nbytes))
            owner = index.owner(key) if key.startswith(b"\0") else None
            owners[key] = numbered.get(decode_key(owner or key), 0)
    for shard in _numbers(index):
        path = index.shard_path(shard)
        try:
            with store_of(path).open(path) as file:
                size = file.size
        except BundleError:
            continue  # `problems` has the error
        inside = sorted(extents.get(shard, []), key=lambda each: each[1])
        yield {
            "name": basename(path),
            "size": size,
            "dead": Layout.of(inside, size).dead_bytes,
            "extents": [[start, start + nbytes, owners[key]] for key, start, nbytes in inside if nbytes],
        }


def _numbers(index: Index) -> Iterable[int]:
    """The numbers of the data shards; of very many, only of those that are there, as a header may count any number."""
    count = index.header.num_shards
    if count <= _MOST_SHARDS:
        return range(count)
    return sorted(shard for shard, of in shards_of(index.prefix, index.store) if of == count)


def _problems(path: Path, index: Index, *, quick: bool) -> list[dict[str, Any]]:
    found = verify_checkpoint(path, quick=quick, index=index).problems
    listed = [each.to_json() for each in found[:_MOST_PROBLEMS]]
    if len(found) > _MOST_PROBLEMS:
        more = f"{len(found) - _MOST_PROBLEMS} more problems; 'tensorbundle verify' lists all"
        listed.append({"key": None, "path": str(path), "kind": "more", "message": more, "cause": None})
    return listed


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with text in place of numbers that JSON can't have, or that JavaScript would round."""
    return {name: str(value) if _needs_text(value) else value for name, value in fields.items()}


def _needs_text(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and abs(value) > _LARGEST_EXACT
