"""The objects of an object graph, and their encoding as TrackableObjects.

An encoded graph is a list of nodes whose edges are positions in that list (TensorFlow
core/protobuf/trackable_object_graph.proto).
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tensorbundle.coding import encode_varint, read_varint
from tensorbundle.errors import ConflictError, CorruptionError
from tensorbundle.limits import MIN_NODES, NODE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from google.protobuf.wrappers_pb2 import BoolValue

    from tensorbundle.proto import checkpoint_pb2

    _Type = checkpoint_pb2.TrackableObjectGraph.TrackableObject

_NODES: Final = 0x0A  # the tag of a node
_AT_ONCE: Final = 1000  # nodes

__all__ = ["Attribute", "Node", "RegisteredSaver", "Slot", "decode_nodes", "encode_nodes", "is_encoding_of"]


@dataclass(slots=True)
class Attribute:
    """A tensor that an object owns.

    Attributes:
        name: its name among the object's tensors; `VARIABLE_VALUE` for a variable.
        full_name: the variable's name in TF1 terms; empty for other objects. Not always unique.
        checkpoint_key: the tensor's key in the index.
        optional_restore: a flag that TensorFlow up to 2.2 wrote.
    """

    name: str
    full_name: str
    checkpoint_key: str
    optional_restore: bool = False


@dataclass(slots=True)
class Slot:
    """A slot variable that an optimizer keeps for a variable.

    Attributes:
        name: the slot's name, for example `m` or `momentum`.
        variable: the variable's node.
        slot: the slot variable's node.
    """

    name: str
    variable: Node
    slot: Node


@dataclass(frozen=True, slots=True)
class RegisteredSaver:
    """The saver of an object whose values were not saved by the checkpoint itself."""

    name: str
    object_name: str


@dataclass(slots=True, eq=False)
class Node:
    """One object.

    Attributes:
        id: its position in the encoded graph; set by `ObjectGraph.renumber`.
        children: its edges, local name (not escaped) to node, in order.
        attributes: the tensors it owns.
        slots: the slot variables of an optimizer.
        registered_saver: its own saver, or None.
        has_checkpoint_values: whether it or any node below it has values; None in checkpoints of old releases.
        unknown: encoded fields that this reader does not know; kept unchanged.
    """

    id: int = 0
    children: dict[str, Node] = field(default_factory=dict)
    attributes: list[Attribute] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    registered_saver: RegisteredSaver | None = None
    has_checkpoint_values: bool | None = None
    unknown: bytes = b""

    @property
    def owns_something(self) -> bool:
        """Whether it has more than children."""
        return bool(self.attributes or self.slots or self.registered_saver)

    def __repr__(self) -> str:
        keys = [each.checkpoint_key for each in self.attributes]
        return f"Node({self.id}, children={list(self.children)}, keys={keys})"


def decode_nodes(data: bytes) -> list[Node]:
    """The nodes in an encoded TrackableObjectGraph, the root first.

    Raises:
        CorruptionError: not such a message, no nodes, or an edge to a node that does not exist.
    """
    return [*_decoded(_Parts(data))]


def is_encoding_of(data: bytes, count: int, stored: bytes) -> bool:
    """Whether `data`, with `count` nodes, is what `encode_nodes` makes of the nodes in `stored`.

    It looks no further than the first difference.

    Raises:
        CorruptionError: as for `decode_nodes`.
    """
    parts = _Parts(stored)
    if parts.count != count:
        return False
    end = 0
    for node in _decoded(parts):
        encoded = _message(b"\x0a", _encode_node(node))
        if not data.startswith(encoded, end):
            return False
        end += len(encoded)
    return end == len(data)


class _Parts:
    """An encoded TrackableObjectGraph in parts of `_AT_ONCE` nodes: decoded at once, it takes several times its bytes.

    Attributes:
        count: how many nodes it has.
    """

    def __init__(self, data: bytes) -> None:
        """Count the nodes.

        Raises:
            CorruptionError: not such a message, or no nodes; parts are decoded only in `messages`.
        """
        self._data = data
        self.count, self._ends = _nodes_and_ends(data)
        if not self._ends:
            self.count, self._ends = len(_parsed(data).nodes), [len(data)]
        if not self.count:
            raise CorruptionError("an object graph without nodes")
        if self.count > MIN_NODES + len(data) // NODE_BYTES:
            raise CorruptionError(
                f"an object graph of {self.count} nodes in {len(data)} bytes: too few for their edges"
            )

    def messages(self) -> Iterator[checkpoint_pb2.TrackableObjectGraph]:
        """The nodes in order, as graphs with some of them each.

        Raises:
            CorruptionError: a part is not such a message.
        """
        start = 0
        for end in self._ends:
            yield _parsed(self._data[start:end])
            start = end


def _nodes_and_ends(data: bytes) -> tuple[int, list[int]]:
    """How many nodes an encoded graph has, and where parts of it end; no ends if it has something besides nodes."""
    size, pos, count = len(data), 0, 0
    ends = []
    try:
        while pos < size:
            if data[pos] != _NODES:
                return 0, []
            length, start = read_varint(data, pos + 1)
            pos = start + length
            count += 1
            if count % _AT_ONCE == 0:
                ends.append(pos)
    except CorruptionError:
        return 0, []
    if pos > size:
        return 0, []
    if ends[-1:] != [size]:
        ends.append(size)
    return count, ends


def _parsed(data: bytes) -> checkpoint_pb2.TrackableObjectGraph:
    from google.protobuf.message import (
        DecodeError,  # which takes longer to import than most commands need otherwise
    )

    from tensorbundle.proto import checkpoint_pb2

    message = checkpoint_pb2.TrackableObjectGraph()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise CorruptionError(f"not an object graph: {error}") from None
    return message


def _decoded(parts: _Parts) -> Iterator[Node]:
    """Each node, when all of it is decoded."""
    nodes = [Node(number) for number in range(parts.count)]
    number = 0
    for message in parts.messages():
        extended = _has_unknown_fields(message)
        for source in message.nodes:
            node = nodes[number]
            for (
                descriptor,
                value,
            ) in source.ListFields():  # much cheaper than to ask for each: most are absent
                _FIELDS[descriptor.number](node, value, nodes)
            if extended:
                node.unknown = _unknown_fields(source)
            number += 1
            yield node


def _add_children(node: Node, references: Iterable[_Type.ObjectReference], nodes: Sequence[Node]) -> None:
    children = node.children
    for each in references:
        name, number = each.local_name, each.node_id
        if not 0 <= number < len(nodes):
            raise _no_such_node(nodes, node, f"child {name!r}", number)
        children.setdefault(name, nodes[number])  # of two edges with one name, TensorFlow takes the first


def _add_attributes(node: Node, tensors: Iterable[_Type.SerializedTensor], _nodes: Sequence[Node]) -> None:
    node.attributes = [
        # Most have the same name, which is then in memory once.
        Attribute(sys.intern(each.name), each.full_name, each.checkpoint_key, each.optional_restore)
        for each in tensors
    ]


def _add_slots(node: Node, references: Iterable[_Type.SlotVariableReference], nodes: Sequence[Node]) -> None:
    listed = (
        (each.original_variable_node_id, each.slot_name, each.slot_variable_node_id) for each in references
    )
    for variable, name, slot in dict.fromkeys(listed):  # what is listed twice counts once
        if not 0 <= variable < len(nodes):
            raise _no_such_node(nodes, node, "a slot's variable", variable)
        if not 0 <= slot < len(nodes):
            raise _no_such_node(nodes, node, f"slot {name!r}", slot)
        node.slots.append(Slot(name, nodes[variable], nodes[slot]))


def _add_saver(node: Node, saver: checkpoint_pb2.RegisteredSaver, _nodes: Sequence[Node]) -> None:
    node.registered_saver = RegisteredSaver(saver.name, saver.object_name)


def _add_mark(node: Node, mark: BoolValue, _nodes: Sequence[Node]) -> None:
    node.has_checkpoint_values = mark.value


_FIELDS: Final[dict[int, Callable[[Node, Any, Sequence[Node]], None]]] = {  # by their numbers in the schema
    1: _add_children,
    2: _add_attributes,
    3: _add_slots,
    4: _add_saver,
    5: _add_mark,
}


def _no_such_node(nodes: Sequence[Node], of: Node, what: str, number: int) -> CorruptionError:
    return CorruptionError(f"object graph node {of.id}: {what} is node {number}, there are {len(nodes)}")


def encode_nodes(nodes: Sequence[Node]) -> bytes:
    """The TrackableObjectGraph of nodes whose numbers are their positions, as TensorFlow serializes it.

    It is encoded by hand: there may be a node for every tensor.

    Raises:
        ConflictError: an edge to a node that is not among them, or a name that is not UTF-8.
    """
    out = io.BytesIO()  # whose bytes are not copied at the end
    for node in nodes:
        ends = [*node.children.values()]
        for slot in node.slots:
            ends += (slot.variable, slot.slot)
        for end in ends:
            if not 0 <= end.id < len(nodes) or nodes[end.id] is not end:
                raise ConflictError(f"object graph node {node.id}: an edge to an object outside of the graph")
        try:
            out.write(_message(b"\x0a", _encode_node(node)))
        except UnicodeEncodeError as error:
            raise ConflictError(
                f"names in object graphs must be UTF-8, and {error.object!r} is not"
            ) from None
    return out.getvalue()


def _encode_node(node: Node) -> bytes:
    """The TrackableObject of a node: fields in order, zeros and empty texts left out."""
    out = []
    for name, child in node.children.items():
        edge = b"\x08" + encode_varint(child.id) if child.id else b""
        text = name.encode()
        if text:
            edge += b"\x12" + encode_varint(len(text)) + text
        out.append(b"\x0a" + encode_varint(len(edge)) + edge)
    for each in node.attributes:
        names = (
            _text(b"\x0a", each.name) + _text(b"\x12", each.full_name) + _text(b"\x1a", each.checkpoint_key)
        )
        out.append(_message(b"\x12", names + _number(b"\x20", each.optional_restore)))
    for slot in node.slots:
        variable, end = _number(b"\x08", slot.variable.id), _number(b"\x18", slot.slot.id)
        out.append(_message(b"\x1a", variable + _text(b"\x12", slot.name) + end))
    if node.registered_saver is not None:
        saver = node.registered_saver
        out.append(_message(b"\x22", _text(b"\x0a", saver.name) + _text(b"\x12", saver.object_name)))
    if node.has_checkpoint_values is not None:
        out.append(_message(b"\x2a", _number(b"\x08", node.has_checkpoint_values)))
    return b"".join(out) + node.unknown


def _message(tag: bytes, data: bytes) -> bytes:
    return tag + encode_varint(len(data)) + data


def _number(tag: bytes, value: int) -> bytes:
    return tag + encode_varint(value) if value else b""


def _text(tag: bytes, value: str) -> bytes:
    return _message(tag, value.encode()) if value else b""


def _has_unknown_fields(message: checkpoint_pb2.TrackableObjectGraph) -> bool:
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    return known.ByteSize() != message.ByteSize()


def _unknown_fields(message: _Type) -> bytes:
    """The fields of a node's encoding that are not in our schema."""
    rest = type(message)()
    rest.CopyFrom(message)
    for descriptor, _ in message.ListFields():
        rest.ClearField(descriptor.name)
    return rest.SerializeToString()
