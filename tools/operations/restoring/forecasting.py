"""Predicts what restoring a checkpoint would do, without TensorFlow and without the program that restores.

The program's object structure is taken from a checkpoint that it wrote, or from a structure file. Only indexes and
object graphs are read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import UnsupportedError, check_word
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY
from tensorbundle.tools.keras.sequences import legacy_layers, legacy_writer
from tensorbundle.tools.operations.converting.keras_weights import are_keras_weights
from tensorbundle.tools.operations.converting.structures import read_structure
from tensorbundle.tools.operations.inspecting.hints import Tensors, hints
from tensorbundle.tools.operations.restoring.keras_loading import (
    load_legacy_weights,
    load_weights,
    no_keras_weights,
)
from tensorbundle.tools.operations.restoring.outcomes import (
    METHODS,
    Finding,
    Forecast,
    counted,
    some,
)
from tensorbundle.tools.operations.restoring.programs import Program
from tensorbundle.tools.operations.restoring.restoring import Restoration
from tensorbundle.tools.operations.restoring.restoring_by_name import (
    restore_by_names,
    restore_into_saver,
    unname_keras3,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tensorbundle.checkpoint import Checkpoint, Path
    from tensorbundle.entries import TensorEntry
    from tensorbundle.proto.graph import Node, ObjectGraph
    from tensorbundle.specs import Spec
    from tensorbundle.tools.keras.order import KerasVersion
    from tensorbundle.tools.operations.restoring.outcomes import Method, Reason

__all__ = ["RestoreTarget", "Source", "check", "forecast", "predict"]

_STRUCTURES: Final = (".json", ".toml")


@dataclass(frozen=True, slots=True)
class Source:
    """The parts of a checkpoint that restoring needs.

    Attributes:
        path: the path, as it was given.
        graph: its object graph, or None if it is name-based.
        entries: its tensors, without the object graph.
        layers: of a legacy file of Keras weights, the keys of each layer's weights.
        writer: the Keras that wrote that file, if it says so.
    """

    path: str
    graph: ObjectGraph | None
    entries: dict[str, TensorEntry]
    layers: list[list[str]] | None = None
    writer: KerasVersion | None = None

    @classmethod
    def read(cls, path: Path) -> Source:
        """The checkpoint at `path`.

        Raises:
            BundleError: as `open_checkpoint`, or the object graph is damaged.
        """
        with open_checkpoint(path) as checkpoint:
            attributes = checkpoint.index.attributes
            layers, writer = legacy_layers(attributes), legacy_writer(attributes)
            return cls(str(path), checkpoint.object_graph, _entries(checkpoint), layers, writer)

    @property
    def is_keras_weights(self) -> bool:
        """Whether it is a file of Keras weights."""
        return self.graph is None and (self.layers is not None or are_keras_weights(self.entries))


@dataclass(frozen=True, slots=True)
class RestoreTarget:
    """The known facts about a program.

    Attributes:
        path: the checkpoint or the structure file that they are from.
        graph: its objects, or None if it is a v1 Saver.
        entries: the tensors in its checkpoint.
        expected: types and shapes by key from a structure file, if it is one.
        names: of a Keras weights file, the names of layers by the paths of their variables' groups.
        layers: of a legacy file of Keras weights, the keys of each layer's weights.
        writer: the Keras that wrote that file, if it says so.
    """

    path: str
    graph: ObjectGraph | None
    entries: dict[str, TensorEntry] = field(default_factory=dict)
    expected: Mapping[str, Spec] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    layers: list[list[str]] | None = None
    writer: KerasVersion | None = None

    @classmethod
    def read(cls, path: Path) -> RestoreTarget:
        """The program that `path` shows: a structure file if its name has such an ending, otherwise a checkpoint.

        Raises:
            BundleError: it can't be read.
        """
        if os.path.isfile(path) and str(path).endswith(_STRUCTURES):
            structure = read_structure(str(path))
            return cls(str(path), structure.graph, expected=structure.expected)
        with open_checkpoint(path) as checkpoint:
            names = {
                group: str(texts.get("name", "")) for group, texts in checkpoint.index.attributes.items()
            }
            return cls(
                str(path),
                checkpoint.object_graph,
                _entries(checkpoint),
                names=names,
                layers=legacy_layers(checkpoint.index.attributes),
                writer=legacy_writer(checkpoint.index.attributes),
            )

    @property
    def is_keras_weights(self) -> bool:
        """Whether it is a file of Keras weights."""
        return self.graph is None and (self.layers is not None or are_keras_weights(self.entries))

    def program(self, graph: ObjectGraph) -> Program:
        """Its objects, created anew for every restore."""
        if self.expected is not None:
            return Program.of_structure(graph, self.expected)
        return Program.of(graph, Tensors(self.entries))


def _entries(checkpoint: Checkpoint) -> dict[str, TensorEntry]:
    return {key: entry for key, entry in checkpoint.entries() if key != OBJECT_GRAPH_KEY}


def check(source: Path, against: Path, *, method: Method = "restore") -> Forecast:
    """What restoring the checkpoint `source` would do to the program that `against` shows.

    Args:
        source: anything that `tensorbundle.open` takes.
        against: a checkpoint that the program wrote, a SavedModel directory of it, or a structure file (.json, .toml).
            It describes the objects that exist when the restore is called. A name-based one describes a v1 Saver with
            its variables; a `.weights.h5`, `.keras` or legacy `.h5` file, the Keras model that wrote it and its `load_weights`.
        method: "restore" creates a save counter if the program has none, "read" does not.

    Raises:
        UnsupportedError: one is a legacy `.h5` file, the other Keras weights of another format.
        BundleError: one of the two can't be read, or `method` is another word.
    """
    check_word("method", method, METHODS)
    return predict(Source.read(source), RestoreTarget.read(against), method)


forecast = check  # the name before commands and functions had the same


def predict(source: Source, target: RestoreTarget, method: Method) -> Forecast:
    """`check` with a source and a target that were read."""
    if target.is_keras_weights:
        if source.is_keras_weights and (source.layers is None) != (target.layers is None):
            raise UnsupportedError(
                "only one of the two is a legacy .h5 file, which has weights by their order and no classes of layers; compare files "
                "of one format: give one that the model wrote",
                path=source.path if target.layers is None else target.path,
            )
        if source.layers is not None and target.layers is not None:
            return load_legacy_weights(source.entries, source.layers, target.entries, target.layers, method)
        if source.is_keras_weights:
            return load_weights(source.entries, target.entries, target.names, method)
        if target.layers is not None and target.writer != 3:
            raise UnsupportedError(
                "tf_keras, which wrote this file, restores TensorFlow checkpoints by their objects; give a checkpoint that the "
                "program wrote (save_weights with save_format='tf')",
                path=target.path,
            )
        return no_keras_weights(target.entries, source.path, method)
    if target.graph is None:
        return restore_into_saver(source.graph, source.entries, target.entries)
    program = target.program(target.graph)
    if source.graph is not None:
        return _by_objects(source, source.graph, program, method)
    if target.expected is None:
        with open_checkpoint(target.path) as checkpoint:
            hint = hints(checkpoint, target.graph, Tensors(target.entries))
        unname_keras3(program, hint, target.graph.paths())
    return restore_by_names(source.entries, program, method)


def _by_objects(source: Source, graph: ObjectGraph, program: Program, method: Method) -> Forecast:
    restoration = Restoration(graph, source.entries, program)
    restoration.run(counter=method == "restore")
    result = Forecast("objects", method)
    paths = _all_paths(graph)
    inconsistent = {live: number for number, live in restoration.inconsistent}
    for live in program.objects:
        outcome = restoration.outcomes.get(live)
        if outcome is not None:
            detail = outcome.detail
            if outcome.number is not None and paths[outcome.number] != live.path:
                detail = f"{detail}, A's {paths[outcome.number]!r}"
            result.findings.append(
                Finding(live.path, outcome.status, detail, outcome.key, live.wanted, reason=outcome.reason)
            )
        elif live.tensors:
            reason: Reason = ""
            detail = "not in A"
            if live in inconsistent:
                other = restoration.bound[inconsistent[live]].path
                reason, detail = "one in A", f"A has one object for this and for {other!r}"
            elif live.updated:
                reason, detail = "no values", "A's object of this name has no values"
            result.findings.append(Finding(live.path, "missing", detail, None, live.wanted, reason=reason))
    result.findings += _unused(source, graph, restoration, paths)
    result.changed = {live.path: key for live, key in restoration.changed.items()}
    if restoration.failures:
        result.failure = restoration.failures[0]
        result.assert_all(f"{method} raises {result.failure}")
    else:
        _assert_objects(result, restoration, paths)
    return result


def _assert_objects(result: Forecast, restoration: Restoration, paths: list[str]) -> None:
    """The three assertions (python/checkpoint/checkpoint.py, `CheckpointLoadStatus`)."""
    unmatched = [live.path for live in restoration.unmatched()]
    unresolved = [paths[number] for number in restoration.unresolved()]
    if unmatched:
        result.assert_existing_objects_matched = (
            f"{counted(unmatched, 'object')} of B not in A: {some(unmatched)}"
        )
        result.assert_consumed = result.assert_existing_objects_matched
    elif unresolved:
        result.assert_consumed = f"{counted(unresolved, 'object')} of A not in B: {some(unresolved)}"
    elif restoration.waits_for_slots:
        result.assert_consumed = "A has slot variables of objects that are not in B"
    elif restoration.unused:
        unused = [f"{paths[number]} ({', '.join(names)})" for number, names in restoration.unused.items()]
        result.assert_consumed = f"A has tensors of objects that have none in B: {some(unused)}"
    if len(restoration.bound) <= 1:
        result.assert_nontrivial_match = "nothing but the root object was matched"


def _unused(
    source: Source, graph: ObjectGraph, restoration: Restoration, paths: list[str]
) -> Iterable[Finding]:
    """Findings for tensors of the checkpoint that no object gets."""
    waiting = _waiting(graph, restoration, paths)
    slots = {slot.slot.id for node in graph.nodes for slot in node.slots}
    told = {outcome.number for outcome in restoration.outcomes.values()}  # also of slots that can't be made
    for node in graph.nodes:
        number = node.id
        reason: Reason = ""
        if not node.attributes and node.registered_saver is None:
            continue
        if number in restoration.second:
            live = restoration.second[number]
            reason, detail = "one in B", f"B's {live.path!r} was matched with another object of A before"
        elif number in restoration.unused:
            names = ", ".join(restoration.unused[number])
            reason, detail = "no tensors", f"B's {restoration.bound[number].path!r} takes no {names}"
        elif number in restoration.bound or number in told:
            continue
        elif number in waiting:
            detail = waiting[number]
        elif number in slots:
            detail = "a slot variable; B lacks its variable or its optimizer"
        else:
            detail = "not in B, nor restored when it gets there"
        key = node.attributes[0].checkpoint_key if node.attributes else None
        entry = source.entries.get(key) if key is not None else None
        if entry is not None:
            detail = f"{entry.spec}, {detail}"
        yield Finding(paths[number], "unused", detail, key, reason=reason)


def _waiting(graph: ObjectGraph, restoration: Restoration, paths: list[str]) -> dict[int, str]:
    """The checkpoint's objects that would be restored if the program got others, with a text that names these."""
    out: dict[int, str] = {}
    for live in restoration.program.objects:
        for name, numbers in live.deferred.items():
            for first in numbers:
                if first in out:
                    continue
                where = f"{live.path!r}" if live.path else "the root"
                out[first] = f"not in B; restored as soon as {where} gets {name!r}"
                stack = [graph.nodes[first]]
                while stack:
                    for child in stack.pop().children.values():
                        if child.id not in out and child.id not in restoration.bound and _keeps(child):
                            out[child.id] = f"not in B; restored with {paths[first]!r}"
                            stack.append(child)
    return out


def _keeps(node: Node) -> bool:
    return node.has_checkpoint_values is not False


def _all_paths(graph: ObjectGraph) -> list[str]:
    """The path of every object by number, or a substitute for objects that can't be reached."""
    known = graph.paths()
    return [known.get(node, f"(node {node.id}, which nothing refers to)") for node in graph.nodes]
