"""The objects of a program that restoring needs: from a checkpoint that it wrote, or from a structure file.

An object graph does not contain the classes of objects. They are inferred from what TensorFlow's and Keras's classes
store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from tensorbundle.proto.paths import VARIABLE_VALUE, escape_name
from tensorbundle.specs import Spec
from tensorbundle.tools.operations.inspecting.hints import OBJECT_CONFIG_JSON
from tensorbundle.tools.optimizers.nodes import POWERS, generation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tensorbundle.proto.graph import Node, ObjectGraph
    from tensorbundle.slices import TensorSlice
    from tensorbundle.tools.operations.inspecting.hints import Tensors

__all__ = ["TABLE", "LiveObject", "Program", "ProgramTensor", "SlotHandling", "slot_handling"]

# How an object handles slot variables. Only optimizers have some. An optimizer of tf_keras (legacy) returns them, to be
# restored with everything else; one of tf.compat.v1 restores each at once; one of Keras 2.11 and later refuses them. It
# is not known of an object without any state.
SlotHandling = Literal["none", "queued", "at once", "refused", "unknown"]

# The tensors of a lookup table.
TABLE: Final = ("table-keys", "table-values")
_PYTHON_STATE: Final = "py_state"
# Attributes that refer to tensors of other names (python/checkpoint/saveable_compat.py, `legacy_saveable_name`).
_TENSORS_OF: Final = {"table": TABLE, "ITERATOR": ("ITERATOR_STATE",)}


class ProgramTensor(NamedTuple):
    """A tensor of a program: a `Spec` and slices, as TensorFlow restores a partitioned tensor slice by slice.

    Attributes:
        spec: its type and shape as the program expects them, as far as they are known.
        slices: the slices that the program keeps it in; empty for one that is not partitioned.
    """

    spec: Spec = Spec()
    slices: tuple[TensorSlice, ...] = ()


@dataclass(slots=True, eq=False)
class LiveObject:
    """An object of the program.

    Attributes:
        path: its object path.
        children: the objects it has, by local name.
        tensors: the tensors that it stores in checkpoints, by their names.
        legacy_name: the attribute that refers to all of these, if they are not attributes themselves.
        full_name: a variable's name in TF1 terms.
        python: whether it is a PythonState.
        saver: the registered saver that saves it, if one does.
        handling: how it handles slot variables.
        slots: of an optimizer, its slot variables by variable and name.
        deferred: numbers of the checkpoint's objects that wait for a child of this name.
        updated: whether it has been restored.
    """

    path: str
    children: dict[str, LiveObject] = field(default_factory=dict)
    tensors: dict[str, ProgramTensor] = field(default_factory=dict)
    legacy_name: str = ""
    full_name: str = ""
    python: bool = False
    saver: str | None = None
    handling: SlotHandling = "none"
    slots: dict[tuple[LiveObject, str], LiveObject] = field(default_factory=dict)
    deferred: dict[str, list[int]] = field(default_factory=dict)
    updated: bool = False

    @property
    def is_variable(self) -> bool:
        """Whether it is a variable."""
        return VARIABLE_VALUE in self.tensors

    @property
    def is_sliced(self) -> bool:
        """Whether it is a variable that is kept in slices."""
        return self.is_variable and bool(self.tensors[VARIABLE_VALUE].slices)

    @property
    def wanted(self) -> Spec | None:
        """The type and the shape that it expects of its tensor, the first one if there are several."""
        return next((each.spec for each in self.tensors.values()), None)

    def __repr__(self) -> str:
        return f"LiveObject({self.path!r})"


@dataclass(slots=True)
class Program:
    """The objects that a program restores into, with the first as the root.

    Attributes:
        objects: all of them, in the order in which TensorFlow lists them.
        attached: what `Checkpoint(root, name=object)` attaches to the root, in order; None without a root object of
            the program's own.
    """

    objects: list[LiveObject]
    attached: list[tuple[str, LiveObject]] | None = None

    @property
    def root(self) -> LiveObject:
        """The root object."""
        return self.objects[0]

    @classmethod
    def of(cls, graph: ObjectGraph, tensors: Tensors) -> Program:
        """The program that wrote an object-based checkpoint, at that time."""

        def describe(node: Node, live: LiveObject) -> None:
            for each in node.attributes:
                if each.name == OBJECT_CONFIG_JSON:
                    continue  # Keras stored this up to TensorFlow 2.2; no object has it as a tensor now
                stored = {escape_name(name): entry for name, entry in tensors.of(each)}
                live.tensors |= {
                    name: ProgramTensor(entry.spec, entry.slices) for name, entry in stored.items()
                }
                for name in () if stored else _TENSORS_OF.get(each.name, (escape_name(each.name),)):
                    live.tensors[name] = ProgramTensor()

        return cls._build(graph, describe)

    @classmethod
    def of_structure(cls, graph: ObjectGraph, expected: Mapping[str, Spec]) -> Program:
        """The program that a structure file describes."""

        def describe(node: Node, live: LiveObject) -> None:
            for each in node.attributes:
                live.tensors[escape_name(each.name)] = ProgramTensor(
                    expected.get(each.checkpoint_key, Spec())
                )

        return cls._build(graph, describe)

    @classmethod
    def _build(cls, graph: ObjectGraph, describe: Callable[[Node, LiveObject], None]) -> Program:
        objects = {node: LiveObject(path) for path, node in graph.walk()}
        for node, live in objects.items():
            describe(node, live)
            live.legacy_name = next((each.name for each in node.attributes if each.name in _TENSORS_OF), "")
            live.full_name = next((each.full_name for each in node.attributes if each.full_name), "")
            live.python = any(each.name == _PYTHON_STATE for each in node.attributes)
            live.saver = node.registered_saver.name if node.registered_saver is not None else None
            live.handling = slot_handling(node)
            if node.slots and live.handling == "none":
                live.handling = "queued"  # a wrapper of a Keras optimizer
            live.children = {name: objects[child] for name, child in node.children.items()}
            live.slots = {
                (objects[slot.variable], slot.name): objects[slot.slot]
                for slot in node.slots
                if slot.variable in objects and slot.slot in objects
            }
        attached = _attached(graph.root)
        if attached is None:
            return cls(list(objects.values()))
        root = objects[graph.root]
        del root.children["root"]
        return cls(list(objects.values()), [(name, root.children.pop(name)) for name in attached])


def _attached(root: Node) -> list[str] | None:
    """The names of the objects that `Checkpoint(root, name=object)` attached to its root, or None if it has no root.

    It adds an edge `root` from the root to itself, and arguments in sorted order; the save counter comes last. An
    edge before `root` may also be an attribute of the root object. This matters for optimizers, which are more often
    arguments: their slot variables are then restored after everything else.
    """
    if root.children.get("root") is not root:
        return None
    names = list(root.children)
    first = names.index("root")
    while first and names[first - 1] < names[first] and _is_optimizer(root.children[names[first - 1]]):
        first -= 1
    return [name for name in names[first:] if root.children[name] is not root]


def _is_optimizer(node: Node) -> bool:
    return "_iterations" in node.children or slot_handling(node) != "none"


def slot_handling(node: Node) -> SlotHandling:
    """How an object with these edges handles slot variables."""
    names = node.children.keys()
    generation = generation_of(node)
    if generation == "keras2":
        return "refused"
    if generation == "legacy" or "iter" in names:
        return "queued"
    if generation == "tf1" and names <= POWERS:
        return "at once"
    return "unknown" if not names and not node.owns_something else "none"  # Keras 3 has no slot variables
