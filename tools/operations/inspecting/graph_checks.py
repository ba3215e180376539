"""Problems of an object graph: of `verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorbundle.errors import BundleError, CorruptionError
from tensorbundle.keys import decode_key, encode_key
from tensorbundle.proto.graph import ObjectGraph
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, VARIABLE_VALUE
from tensorbundle.shards import ShardReader
from tensorbundle.slices import is_slice_key
from tensorbundle.tools.keras.lost import left_out_by_keras_3, variables_text
from tensorbundle.tools.operations.explaining.catalogue import cause_line
from tensorbundle.tools.optimizers.finding import Optimizers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.tools.operations.inspecting.problems import Report

__all__ = ["check_graph"]

_NESTED: Final = 8  # named keys that begin with one another


def check_graph(
    report: Report, index: Index, entries: Mapping[bytes, TensorEntry], *, complete: bool
) -> None:
    """Report what is wrong with the object graph, which there is.

    Args:
        report: gets the problems.
        index: the checkpoint's.
        entries: those that could be read.
        complete: whether these are all.
    """
    try:
        graph = ObjectGraph.parse(ShardReader(index).read_string(OBJECT_GRAPH_KEY))
    except BundleError as error:
        if error.key is None:  # a damaged payload was reported before
            report.add("graph", error.locate(path=index.prefix, key=OBJECT_GRAPH_KEY))
        return
    except OSError:
        return  # the data shard was reported before
    _check_objects(report, index, entries, graph)
    _check_layers(report, index, entries, graph)
    owners: dict[str, str] = {}
    for path, _, each in graph.attributes():
        key = each.checkpoint_key
        if complete and each.name == VARIABLE_VALUE and key.encode() not in entries:
            missing = CorruptionError(
                f"object {path!r} names this key, which is not in the index",
                path=index.path,
                key=key,
            )
            report.add(
                "dangling-key",
                missing,
                severity="warning",
                cause=cause_line("not-initialized"),
            )
        other = owners.setdefault(key, path)
        if other != path:
            shared = CorruptionError(
                f"objects {other!r} and {path!r} share one key; TensorFlow restores only one of them",
                path=index.path,
                key=key,
            )
            report.add("shared-key", shared, severity="warning")


def _check_layers(
    report: Report, index: Index, entries: Mapping[bytes, TensorEntry], graph: ObjectGraph
) -> None:
    """Report layers that Keras 3 did not store; only its optimizers show that they exist."""
    if not any("_trainable_variables" in node.children for node in graph.nodes):
        return
    shapes = {decode_key(key): entry.shape for key, entry in entries.items()}
    lost = left_out_by_keras_3(graph, Optimizers.of(graph, shapes))
    if lost:
        what = cause_line("left-out-layers", variables=variables_text(lost))
        left_out = CorruptionError(what, path=index.path, key=lost[0].key)
        report.add("left-out-layers", left_out, severity="warning")


def _check_objects(
    report: Report, index: Index, entries: Mapping[bytes, TensorEntry], graph: ObjectGraph
) -> None:
    """Report objects that can't be reached, and tensors that no object names."""
    reached = {node for _, node in graph.walk()}
    lost = [node for node in graph.nodes if node not in reached]
    if lost:
        what = f"node {lost[0].id} and {len(lost) - 1} more" if len(lost) > 1 else f"node {lost[0].id}"
        unreachable = CorruptionError(
            f"no edge leads to {what} of the object graph", path=index.prefix, key=OBJECT_GRAPH_KEY
        )
        report.add("unreachable-node", unreachable, severity="warning", cause=cause_line("edited-graph"))
    if any(node.registered_saver for node in graph.nodes):
        return  # which may give its tensors any names
    named = sorted(encode_key(each.checkpoint_key) for node in graph.nodes for each in node.attributes)
    above: list[bytes] = []  # named keys that the current key begins with
    at = 0
    for key in sorted(entries):
        while at < len(named) and named[at] <= key:
            above = [*(each for each in above[-_NESTED:] if named[at].startswith(each)), named[at]]
            at += 1
        above = [each for each in above if key.startswith(each)]
        is_slice = key.startswith(b"\0") and is_slice_key(key)
        if above or is_slice or key == OBJECT_GRAPH_KEY.encode():
            continue  # also keys that continue a named key: tensors of tables and iterators
        unnamed = CorruptionError(
            "no object names this tensor, so no restore reads it", path=index.path, key=decode_key(key)
        )
        report.add("unnamed-key", unnamed, severity="warning", cause=cause_line("edited-graph"))
