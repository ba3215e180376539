"""TensorFlow's object-based restore, carried out on descriptions of objects instead of on objects.

It matches the objects of a program with those of a checkpoint by local names, breadth-first from the root, and gives
each matched object its tensors. The order of all steps follows TensorFlow's python/checkpoint/restore.py
(`CheckpointPosition`), checkpoint.py (`TrackableSaver.restore`, `Checkpoint.restore`, `CheckpointLoadStatus`) and
functional_saver.py (`MultiDeviceSaver.restore`), and the methods of optimizers that create slot variables
(python/training/optimizer.py, and keras/src/optimizers of tf_keras).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.dtypes import DType
from tensorbundle.proto.nodes import stored_edges
from tensorbundle.proto.paths import SAVE_COUNTER, VARIABLE_VALUE, slot_path
from tensorbundle.specs import Spec
from tensorbundle.tools.operations.restoring.outcomes import (
    Failure,
    Reason,
    Status,
    differ_text,
    unreadable,
)
from tensorbundle.tools.operations.restoring.programs import (
    TABLE,
    LiveObject,
    Program,
    ProgramTensor,
    SlotHandling,
    slot_handling,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tensorbundle.entries import TensorEntry
    from tensorbundle.proto.graph import ObjectGraph

__all__ = ["Outcome", "Restoration"]

_MARK: Final = ".ATTRIBUTES/"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a restore for an object of the program.

    Attributes:
        status: as in `Finding`.
        detail: an explanation for a person.
        number: the checkpoint's object that it was matched with, or None.
        key: the tensor that was read for it, or None.
        reason: why it is missing.
    """

    status: Status
    detail: str
    number: int | None = None
    key: str | None = None
    reason: Reason = ""


@dataclass(slots=True)
class _Batch:
    """The tensors that one traversal found; all of them are read at its end.

    Attributes:
        python: PythonStates, their objects' numbers and their keys.
        tensors: by the name that TensorFlow sorts by, an object, its number and the keys of its tensors.
        saved: objects that a registered saver restores.
    """

    python: list[tuple[LiveObject, int, str]] = field(default_factory=list)
    tensors: dict[str, tuple[LiveObject, int, dict[str, str]]] = field(default_factory=dict)
    saved: list[LiveObject] = field(default_factory=list)


class Restoration:
    """A restore of one checkpoint into one program. It continues after an exception, to find what else does not match.

    Attributes:
        program: its target; slot variables and the save counter that restoring creates are added.
        bound: by the number of a checkpoint's object, the object that it was matched with.
        outcomes: of every object that was matched and has, or should get, values.
        changed: the objects whose values change, up to the first exception, with the keys of the tensors that they get.
        failures: the exceptions; the first one ends a real restore.
        unused: by number, attributes that no object takes.
        second: numbers of objects that were matched with an object that had already got its values from another one.
        inconsistent: objects of the checkpoint for which there is more than one in the program, and the later ones of
            these.
    """

    def __init__(self, graph: ObjectGraph, entries: Mapping[str, TensorEntry], program: Program) -> None:
        self.program = program
        self.bound: dict[int, LiveObject] = {}
        self.outcomes: dict[LiveObject, Outcome] = {}
        self.changed: dict[LiveObject, str | None] = {}
        self.failures: list[Failure] = []
        self.unused: dict[int, list[str]] = {}
        self.second: dict[int, LiveObject] = {}
        self.inconsistent: list[tuple[int, LiveObject]] = []
        self._nodes = graph.nodes
        self._edges = stored_edges(graph.encode())  # TensorFlow follows all edges of one name
        self._entries = entries
        self._touched: dict[LiveObject, None] = {}
        self._savers = {live.saver for live in program.objects if live.saver is not None}
        # By the number of a variable: optimizer, slot variable and name; then, by the number of an optimizer that was
        # not matched yet: variable, slot variable and name.
        self._slots: dict[int, list[tuple[int, int, str]]] = {}
        self._waiting_slots: dict[int, list[tuple[LiveObject, int, str]]] = {}
        for node in graph.nodes:
            for slot in node.slots:
                self._slots.setdefault(slot.variable.id, []).append((node.id, slot.slot.id, slot.name))

    def run(self, *, counter: bool) -> None:
        """Restore.

        Args:
            counter: whether a save counter is created at the end, as by `Checkpoint.restore`, but not by `read`.
        """
        self._restore(0, self.program.root)
        first = dict(reversed(self._edges[0]))
        for name, live in self.program.attached or ():
            if name in first and first[name] not in self.bound:
                self._restore(first[name], live)
        if counter:
            self._create_counter()

    # Matching

    def _restore(self, number: int, live: LiveObject) -> None:
        if not self._bind(number, live):
            return
        queue = deque([number])
        batch = _Batch()
        while queue:
            each = queue.popleft()
            self._gather(each, batch)
            self._bind_children(each, queue)
            self._bind_slots(each, queue)
        self._read(batch)

    def _bind(self, number: int, live: LiveObject) -> bool:
        self._touched[live] = None
        if number not in self.bound:
            self.bound[number] = live
            return True
        if self.bound[number] is not live:
            self.inconsistent.append((number, live))
        return False

    def _bind_children(self, number: int, queue: deque[int]) -> None:
        live = self.bound[number]
        for name, child in self._edges[number]:
            found = live.children.get(name)
            if child in self.bound:  # TensorFlow looks no further
                if found is not None and found is not self.bound[child]:
                    self.inconsistent.append((child, found))
            elif found is not None:
                if self._bind(child, found):
                    queue.append(child)
            elif self.has_values(child):
                live.deferred.setdefault(name, []).append(child)

    def has_values(self, number: int) -> bool:
        """Whether TensorFlow keeps an object that the program lacks until the program gets it."""
        node = self._nodes[number]
        if node.has_checkpoint_values is not None:
            return node.has_checkpoint_values
        return bool(node.children or node.owns_something)

    def _bind_slots(self, number: int, queue: deque[int]) -> None:
        live = self.bound[number]
        for variable, slot, name in self._waiting_slots.pop(number, ()):
            if self._handling(number) == "none":
                self._fail("AttributeError", f"{live.path!r} is not an optimizer that has slot variables")
            else:
                self._bind_slot(live, variable, slot, name, queue)
        for optimizer, slot, name in self._slots.pop(number, ()):
            owner = self.bound.get(optimizer)
            if owner is None:
                self._waiting_slots.setdefault(optimizer, []).append((live, slot, name))
            elif self._handling(optimizer) != "none":
                self._bind_slot(owner, live, slot, name, queue)

    def _handling(self, optimizer: int) -> SlotHandling:
        """How the object that the checkpoint's optimizer was matched with handles slot variables."""
        owner = self.bound[optimizer]
        if owner.handling == "unknown":  # then most likely as the checkpoint's
            owner.handling = slot_handling(self._nodes[optimizer])
        return owner.handling

    def _bind_slot(
        self, owner: LiveObject, variable: LiveObject, slot: int, name: str, queue: deque[int]
    ) -> None:
        """Give an optimizer a slot variable of the checkpoint; the optimizer creates it if needed."""
        if owner.handling == "refused":
            self._fail(
                "ValueError",
                "You are trying to restore a checkpoint from a legacy TF-Keras optimizer into a v2.11+ Optimizer",
            )
            return
        if not variable.is_variable:
            self._fail("AttributeError", f"{variable.path!r} is not a variable that can have slot variables")
            return
        live = owner.slots.get((variable, name))
        if live is None and self._is_simple(slot):
            live = self._create_slot(owner, variable, slot, name)
        if live is None:
            return
        if owner.handling == "at once":
            self._restore(slot, live)
        elif self._bind(slot, live):
            queue.append(slot)

    def _create_slot(
        self, owner: LiveObject, variable: LiveObject, slot: int, name: str
    ) -> LiveObject | None:
        """A slot variable that is created with its value, or None if that is not possible."""
        key = self._nodes[slot].attributes[0].checkpoint_key
        wanted = variable.tensors[VARIABLE_VALUE]
        live = LiveObject(slot_path(variable.path, owner.path, name), tensors={VARIABLE_VALUE: wanted})
        if owner.handling == "queued":
            # These take their shape from the value.
            live.tensors[VARIABLE_VALUE] = wanted._replace(spec=wanted.spec._replace(shape=None))
        owner.slots[variable, name] = live
        self.program.objects.append(live)
        return live if self._initialise(live, slot, key) else None

    def _initialise(self, live: LiveObject, number: int, key: str) -> bool:
        """Create a variable whose initial value is a stored tensor; returns whether that is possible."""
        entry = self._entries.get(key)
        wanted = live.tensors[VARIABLE_VALUE].spec
        if entry is None:
            self._outcome(live, "dangling", f"{key!r} is not stored", number)
            return self._fail("KeyError", repr(key))
        if wanted.dtype not in (None, entry.dtype):
            self._outcome(live, "dtype", differ_text(entry.dtype, wanted.dtype), number, key)
            return self._fail(
                "ValueError",
                f"Tensor conversion requested dtype {wanted.dtype} for Tensor with dtype {entry.dtype} ({key})",
            )
        if wanted.shape not in (None, entry.shape):
            self._outcome(live, "shape", differ_text(entry.shape, wanted.shape), number, key)
            return self._fail(
                "ValueError",
                f"the initial value's shape {_python_shape(entry.shape)} is not compatible with the explicitly "
                f"supplied `shape` argument {_python_shape(wanted.shape or ())} ({key})",
            )
        live.updated = True
        self._assign(live, number, key)
        return True

    def _is_simple(self, number: int) -> bool:
        """Whether an object can be created with its value: a single variable without children."""
        node = self._nodes[number]
        return (
            len(node.attributes) == 1
            and node.attributes[0].name == VARIABLE_VALUE
            and not self._edges[number]
        )

    def _create_counter(self) -> None:
        root, attached = self.program.root, self.program.attached
        if SAVE_COUNTER in root.children or SAVE_COUNTER in dict(attached or ()):
            return
        live = LiveObject(SAVE_COUNTER, tensors={VARIABLE_VALUE: ProgramTensor(Spec(DType.int64, ()))})
        live.full_name = SAVE_COUNTER
        self.program.objects.append(live)
        waiting = root.deferred.pop(SAVE_COUNTER, [])
        if attached is not None:
            attached.append((SAVE_COUNTER, live))
            waiting = waiting[:1]
        else:
            root.children[SAVE_COUNTER] = live
            if waiting and all(map(self._is_simple, waiting)):
                live.tensors[VARIABLE_VALUE] = ProgramTensor(Spec(DType.int64))
                self._initialise(live, waiting[0], self._nodes[waiting[0]].attributes[0].checkpoint_key)
        for number in waiting:
            self._restore(number, live)

    # Values

    def _gather(self, number: int, batch: _Batch) -> None:
        """Find the tensors to read for an object that was just matched."""
        live, node = self.bound[number], self._nodes[number]
        saver = node.registered_saver.name if node.registered_saver is not None else ""
        if live.updated:
            if live not in self.outcomes or self.outcomes[live].number != number:
                self.second[number] = live
            return
        live.updated = True
        if saver and saver != live.saver:
            self._refuse_saver(live, number, saver)
        elif saver:
            self._outcome(live, "restored", f"by the registered saver {saver}", number)
            batch.saved.append(live)
        elif not node.attributes:
            pass
        elif live.saver is not None:
            self._outcome(live, "restored", f"by the registered saver {live.saver}, if it can", number)
            batch.saved.append(live)
        elif live.python:
            batch.python.append((live, number, node.attributes[0].checkpoint_key))
        elif live.is_sliced:
            self._gather_by_name(live, number, batch)
        elif live.tensors:
            self._gather_by_prefix(live, number, batch)
        else:
            self.unused[number] = [each.name for each in node.attributes]

    def _refuse_saver(self, live: LiveObject, number: int, saver: str) -> None:
        if saver in self._savers:  # then it is registered
            self._fail(
                "ValueError", f"Object {live.path!r} was saved with the registered saver named {saver!r}"
            )
        if live.tensors:
            self._outcome(live, "missing", f"A's was saved by the registered saver {saver}", number)

    def _gather_by_prefix(self, live: LiveObject, number: int, batch: _Batch) -> None:
        """Most objects: keys are made of the first attribute's key and the names of the object's own tensors."""
        key = self._nodes[number].attributes[0].checkpoint_key
        end = key.find(_MARK)
        if end < 0:
            self._outcome(live, "dangling", f"the key {key!r} has no {_MARK!r}", number)
            self._fail("ValueError", "substring not found")
            return
        prefix = key[: end + len(_MARK)]
        keys = {name: prefix + name for name in live.tensors}
        self._add(batch, prefix + live.legacy_name, live, number, keys)

    def _gather_by_name(self, live: LiveObject, number: int, batch: _Batch) -> None:
        """Variables in slices: attributes are matched by name, and their keys are taken as they are."""
        for each in self._nodes[number].attributes:
            if each.name in live.tensors:
                self._add(batch, each.checkpoint_key, live, number, {each.name: each.checkpoint_key})
            else:
                self.unused.setdefault(number, []).append(each.name)

    def _add(self, batch: _Batch, name: str, live: LiveObject, number: int, keys: dict[str, str]) -> None:
        other = batch.tensors.get(name)
        if other is not None:
            detail = f"A has one key for this and for {live.path!r}, {name!r}; only the last one is restored"
            self.outcomes[other[0]] = Outcome("missing", detail, other[1], None, "one key")
        batch.tensors[name] = (live, number, keys)

    def _read(self, batch: _Batch) -> None:
        """Read the gathered tensors: Python state first, then all others at once; they are assigned in sorted order."""
        for live, number, key in batch.python:
            self._read_python(live, number, key)
        ordered = [batch.tensors[name] for name in sorted(batch.tensors)]
        if len({live for live, _, _ in ordered}) < len(ordered):
            self._fail("ValueError", "The same saveable will be restored with two names")
        missing, unfit = [], []
        for live, number, keys in ordered:
            for name, key in keys.items():
                entry = self._entries.get(key)
                if entry is None:
                    self._outcome(live, "dangling", f"{key!r} is not stored", number)
                    missing.append(Failure("NotFoundError", f"Key {key} not found in checkpoint"))
                    continue
                fault = unreadable(entry, live.tensors[name])
                if fault is not None:
                    self._outcome(live, *fault[:2], number, key)
                    unfit.append((key, fault[2]))
        for failure in [*missing, *(failure for _, failure in sorted(unfit))][:1]:
            self._fail(*failure)
        for live, number, keys in ordered:
            if live not in self.outcomes or self.outcomes[live].number != number:
                self._hand_out(live, number, keys)
        if not self.failures:
            self.changed |= dict.fromkeys(batch.saved)

    def _read_python(self, live: LiveObject, number: int, key: str) -> None:
        entry = self._entries.get(key)
        if entry is None:
            self._outcome(live, "dangling", f"{key!r} is not stored", number)
            self._fail("NotFoundError", f"Key {key} not found in checkpoint")
        elif entry.dtype is not DType.string or entry.shape:
            found = str(entry.spec)
            self._outcome(live, "dtype", f"{found} in A, a Python state in B", number, key)
            self._fail("an error of its `deserialize`", f"{live.path!r} gets {found} instead of a string")
        else:
            self._assign(live, number, key)

    def _hand_out(self, live: LiveObject, number: int, keys: dict[str, str]) -> None:
        for name, key in keys.items():
            entry, wanted = self._entries[key], live.tensors[name].spec.shape
            if name in TABLE and wanted is not None:  # as many values as keys, and any number of them
                wanted = self._entries[keys[TABLE[0]]].shape[:1] + wanted[1:]
            if wanted is None or entry.shape == wanted or not (live.is_variable or name in TABLE):
                continue  # other objects may use their tensors in any way
            self._outcome(live, "shape", differ_text(entry.shape, wanted), number, key)
            found, own = _python_shape(entry.shape), _python_shape(wanted)
            if live.is_variable:
                message = (
                    f"Received incompatible tensor with shape {found} when attempting to restore variable with "
                    f"shape {own} and name {live.full_name or live.path}"
                )
                self._fail("ValueError", message)
            else:
                self._fail(
                    "InvalidArgumentError", f"{live.path!r}: Expected shape {own} for value, got {found}"
                )
            return
        self._assign(live, number, next(iter(keys.values())))

    def _assign(self, live: LiveObject, number: int, key: str) -> None:
        entry = self._entries[key]
        self._outcome(live, "restored", str(entry.spec), number, key)
        if not self.failures:
            self.changed[live] = key

    def _outcome(
        self, live: LiveObject, status: Status, detail: str, number: int, key: str | None = None
    ) -> None:
        self.outcomes[live] = Outcome(status, detail, number, key)

    def _fail(self, error: str, message: str) -> Literal[False]:
        self.failures.append(Failure(error, message))
        return False

    # Assertions

    def unmatched(self) -> list[LiveObject]:
        """Objects with tensors that were not matched: `assert_existing_objects_matched` reports them."""
        matched = set(self.bound.values())
        known = dict.fromkeys([*self.program.objects, *self._touched])
        return [live for live in known if live.tensors and live not in matched]

    def unresolved(self) -> list[int]:
        """The checkpoint's objects with tensors that were not matched: `assert_consumed` reports them first."""
        return [node.id for node in self._nodes if node.attributes and node.id not in self.bound]

    @property
    def waits_for_slots(self) -> bool:
        """Whether there are slot variables of variables that were not matched."""
        return bool(self._slots)


def _python_shape(shape: Iterable[int]) -> str:
    return str(tuple(shape))
