"""Restores by name: of a name-based checkpoint into objects, and of either kind of checkpoint with a v1 Saver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorbundle.dtypes import DType
from tensorbundle.proto.paths import SAVE_COUNTER, VARIABLE_VALUE
from tensorbundle.specs import Spec
from tensorbundle.tools.operations.restoring.outcomes import (
    Failure,
    Finding,
    Forecast,
    counted,
    differ_text,
    some,
    unreadable,
)
from tensorbundle.tools.operations.restoring.programs import LiveObject, ProgramTensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tensorbundle.entries import TensorEntry
    from tensorbundle.proto.graph import Node, ObjectGraph
    from tensorbundle.tools.operations.restoring.outcomes import Method, Status
    from tensorbundle.tools.operations.restoring.programs import Program

__all__ = ["restore_by_names", "restore_into_saver", "unname_keras3"]

_KERAS3_EDGES: Final = frozenset(
    {"_kernel", "_embeddings"}
)  # attributes of layers of Keras 3, and of no others


def restore_by_names(entries: Mapping[str, TensorEntry], program: Program, method: Method) -> Forecast:
    """Restore a name-based checkpoint (python/checkpoint/checkpoint.py, `_NameBasedRestoreCoordinator`).

    Every variable is looked up by its full name and assigned at once, in the order of the objects. `restore` accepts
    a missing save counter; but if the program has a root object of its own, it overlooks the one that it creates.
    """
    result = Forecast("names", method)
    unmatched: list[str] = []
    used = set()
    overlooked = False
    objects = list(program.objects)
    names = {*program.root.children, *(name for name, _ in program.attached or ())}
    if method == "restore" and SAVE_COUNTER not in names:
        overlooked = program.attached is not None
        if not overlooked:
            counter = LiveObject(SAVE_COUNTER, tensors={VARIABLE_VALUE: ProgramTensor(Spec(DType.int64, ()))})
            counter.full_name = SAVE_COUNTER
            objects.append(counter)
    for live in objects:
        if not live.tensors:
            continue
        name = live.full_name
        entry = entries.get(name) if live.is_variable else None
        if entry is not None:
            used.add(name)
            _assign(result, live, name, entry)
            continue
        if method == "restore" and live.path == SAVE_COUNTER:
            continue
        detail = f"A has no {name!r}" if live.is_variable and name else "only variables are restored by name"
        result.findings.append(Finding(live.path, "missing", detail, None, live.wanted, name))
        unmatched.append(live.path)
    if result.failure is not None:
        result.assert_all(f"{method} raises {result.failure}")
    elif unmatched:
        result.assert_all(f"{counted(unmatched, 'object')} of B not in A: {some(unmatched)}")
    elif overlooked:
        reason = (
            "restore overlooks the save counter that it makes, as the Checkpoint has a root object; use read"
        )
        result.assert_all(reason)
        result.findings.append(Finding(SAVE_COUNTER, "missing", reason))
    result.findings += _unused(entries, used)
    return result


def _assign(result: Forecast, live: LiveObject, key: str, entry: TensorEntry) -> None:
    """Assign one tensor to one variable, unless that fails or an earlier step failed."""
    wanted, slices = live.tensors[VARIABLE_VALUE]
    if slices and wanted.shape is not None:
        # Every part reads the whole tensor; if parts have the same name, only the last one is restored.
        wanted = Spec(wanted.dtype, slices[-1].shape(wanted.shape))
    found = unreadable(entry, ProgramTensor())
    if found is None and wanted.shape not in (None, entry.shape):
        message = f"Received incompatible tensor with shape {entry.shape}, variable with shape {wanted.shape}"
        found = "shape", differ_text(entry.shape, wanted.shape), Failure("ValueError", message)
    if found is None and wanted.dtype not in (None, entry.dtype):
        message = f"Trying to assign variable with wrong dtype. Expected {wanted.dtype} got {entry.dtype}"
        found = "dtype", differ_text(entry.dtype, wanted.dtype), Failure("InvalidArgumentError", message)
    if found is not None:
        status, detail, failure = found
        result.failure = result.failure or failure.of(key)
    else:
        status, detail = "restored", str(entry.spec)
        if result.failure is None:
            result.changed[live.path] = key
    result.findings.append(Finding(live.path, status, f"{detail}, A's {key!r}", key, wanted, key))


def unname_keras3(program: Program, hint: Mapping[Node, str], paths: Mapping[Node, str]) -> None:
    """Remove the full names of Keras 3's variables, which name-based restores do not recognize as variables.

    They have no `_gather_saveables_for_checkpoint`, so that a tensor called VARIABLE_VALUE is looked for
    (python/training/saving/saveable_object_util.py, `saveable_objects_from_trackable`).

    Args:
        program: its variables are changed.
        hint: the kinds of objects in its object graph.
        paths: the paths of these objects.
    """
    objects = {live.path: live for live in program.objects}
    marked = [objects[path] for node, path in paths.items() if hint.get(node, "").startswith("Keras 3")]
    marked += [live for live in objects.values() if not live.children.keys().isdisjoint(_KERAS3_EDGES)]
    seen = set(marked)
    while marked:
        for child in marked.pop().children.values():
            if child not in seen:
                seen.add(child)
                marked.append(child)
    for live in program.objects[1:]:
        # An object with one variable of Keras is a layer, and has no others.
        own = [child for child in live.children.values() if child.is_variable]
        if not seen.isdisjoint(own):
            for child in own:
                child.full_name = VARIABLE_VALUE


def restore_into_saver(
    graph: ObjectGraph | None, entries: Mapping[str, TensorEntry], variables: Mapping[str, TensorEntry]
) -> Forecast:
    """Restore with a `tf.compat.v1.train.Saver` (python/training/saver.py, `Saver.restore`).

    It reads all of its names; if an object-based checkpoint lacks one, it reads all by full names instead.

    Args:
        graph: the checkpoint's object graph, if it has one.
        entries: the checkpoint's tensors.
        variables: the Saver's variables, as they were when it saved them.
    """
    result = Forecast("saver", "restore")
    keys = {name: name for name in variables}
    if graph is not None and any(name not in entries for name in variables):
        keys = {each.full_name: each.checkpoint_key for node in graph.nodes for each in node.attributes}
    missing: list[str] = []
    unread: list[Failure] = []
    unfit: list[Failure] = []
    for name, own in sorted(variables.items()):
        key = keys.get(name)
        entry = entries.get(key) if key is not None else None
        status: Status = "restored"
        if key is None or entry is None:
            status, detail = "missing", "not in A"
            if key not in (None, name):
                status, detail = "dangling", f"{key!r} is not stored"
            missing.append(name)
        elif (fault := unreadable(entry, ProgramTensor(own.spec, own.slices))) is not None:
            status, detail = fault[:2]
            unread.append(fault[2].of(key))
        elif entry.shape != own.shape:
            status, detail = "shape", differ_text(entry.shape, own.shape)
            message = (
                f"Received incompatible tensor with shape {entry.shape}, variable with shape {own.shape}"
            )
            unfit.append(Failure("ValueError", message).of(key))
        elif own.slices and key != name:
            status, detail = "missing", "by full names, TensorFlow restores only the last slice of a variable"
        else:
            detail = str(entry.spec)
            if not unfit:
                result.changed[name] = key
        if key not in (None, name):
            detail = f"{detail}, A's {key!r}"
        result.findings.append(Finding(name, status, detail, key, own.spec, name))
    result.findings += _unused(entries, {each.key for each in result.findings})
    if missing:
        result.failure = Failure("NotFoundError", f"{counted(missing, 'variable')} not in A: {some(missing)}")
    elif unread or unfit:
        result.failure = [*unread, *unfit][0]
    if missing or unread:
        result.changed = {}  # everything is read before anything is assigned
    if result.failure is not None:
        result.assert_all(f"restore raises {result.failure}")
    return result


def _unused(entries: Mapping[str, TensorEntry], used: set[str] | set[str | None]) -> Iterator[Finding]:
    for key, entry in entries.items():
        if key not in used:
            yield Finding(key, "unused", f"{entry.spec}, no variable of B", key)
