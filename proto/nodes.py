"""The objects of an object graph, and their encoding as TrackableObjects.

An encoded graph is a list of nodes whose edges are positions in that list (TensorFlow
core/protobuf/trackable_object_graph.proto).
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tensorbundle.coding import LEN, ONE_BYTE, encode_varint, read_field, read_varint, signed32
from tensorbundle.errors import ConflictError, CorruptionError
from tensorbundle.limits import MIN_NODES, NODE_BYTES
from tensorbundle.proto.paths import VARIABLE_VALUE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_NODE: Final = 0x0A  # the tag of a node
# Tags of the fields of a node, and the fields in each of them: the place of each in a tuple, and what it is when absent.
_CHILD, _ATTRIBUTE, _SLOT, _SAVER, _MARK = 0x0A, 0x12, 0x1A, 0x22, 0x2A
_KINDS: Final = frozenset({_CHILD, _ATTRIBUTE, _SLOT, _SAVER, _MARK})
_CHILD_FIELDS, _CHILD_EMPTY = {0x08: 0, 0x12: 1}, (0, "")
_ATTRIBUTE_FIELDS, _ATTRIBUTE_EMPTY = {0x0A: 0, 0x12: 1, 0x1A: 2, 0x20: 3}, ("", "", "", False)
_SLOT_FIELDS, _SLOT_EMPTY = {0x08: 0, 0x12: 1, 0x18: 2}, (0, "", 0)
_SAVER_FIELDS: Final = {0x0A: 0, 0x12: 1}
_MARK_FIELDS: Final = {0x08: 0}

__all__ = [
    "Attribute",
    "Node",
    "RegisteredSaver",
    "Slot",
    "decode_nodes",
    "encode_nodes",
    "is_encoding_of",
    "stored_edges",
]


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

    It is decoded by hand: there may be a node for every tensor, and the import of protobuf takes longer than most graphs.

    Raises:
        CorruptionError: not such a message, no nodes, or an edge to a node that does not exist.
    """
    return [*_decoded(data, _count(data))]


def is_encoding_of(data: bytes, count: int, stored: bytes) -> bool:
    """Whether `data`, with `count` nodes, is what `encode_nodes` makes of the nodes in `stored`.

    It looks no further than the first difference.

    Raises:
        CorruptionError: as for `decode_nodes`.
    """
    if _count(stored) != count:
        return False
    end = 0
    for node in _decoded(stored, count):
        encoded = _message(b"\x0a", _encode_node(node))
        if not data.startswith(encoded, end):
            return False
        end += len(encoded)
    return end == len(data)


def stored_edges(data: bytes) -> list[list[tuple[str, int]]]:
    """Every node's edges in an encoded graph, as name and number of a node, in order; also several of one name.

    Raises:
        CorruptionError: not such a message; the numbers are not checked.
    """
    count = _count(data)
    return [
        [(name, signed32(number)) for number, name in edges]
        for _, edges, _ in _with_ends(data, [Node(number) for number in range(count)])
    ]


def _count(data: bytes) -> int:
    """How many nodes an encoded graph has.

    Raises:
        CorruptionError: not such a message, no nodes, or too many for its size.
    """
    try:
        count = sum(1 for _ in _bodies(data))
    except CorruptionError as error:
        raise _no_graph(error.reason) from None
    if not count:
        raise CorruptionError("an object graph without nodes")
    if count > MIN_NODES + len(data) // NODE_BYTES:
        raise CorruptionError(
            f"an object graph of {count} nodes in {len(data)} bytes: too few for their edges"
        )
    return count


def _bodies(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each encoded node.

    Raises:
        CorruptionError: not a graph; what is in the nodes is not looked at.
    """
    pos, end = 0, len(data)
    while pos < end:
        if data[pos] == _NODE:
            size, start = read_varint(data, pos + 1, end)
            pos = start + size
            if pos > end:
                raise CorruptionError(f"a node claims {size} bytes of {end - start}")
            yield start, pos
            continue
        number, wire_type, value, pos = read_field(data, pos, end)
        if number == 1 and wire_type == LEN and isinstance(value, bytes):
            yield pos - len(value), pos


def _decoded(data: bytes, count: int) -> Iterator[Node]:
    """Each of `count` nodes, when all of it is decoded."""
    nodes = [Node(number) for number in range(count)]
    for node, edges, slots in _with_ends(data, nodes):
        children = node.children
        for number, name in edges:
            child = nodes[number] if number < count else _node(nodes, number, node, f"child {name!r}")
            children.setdefault(name, child)  # of two edges with one name, TensorFlow takes the first
        if slots:
            for variable, name, slot in dict.fromkeys(slots):  # what is listed twice counts once
                owner = _node(nodes, variable, node, "a slot's variable")
                node.slots.append(Slot(name, owner, _node(nodes, slot, node, f"slot {name!r}")))
        yield node


def _with_ends(
    data: bytes, nodes: Sequence[Node]
) -> Iterator[tuple[Node, list[tuple[int, str]], list[tuple[int, str, int]]]]:
    """Each node, decoded but for what leads to others, with its edges and slots, whose ends are still numbers.

    Raises:
        CorruptionError: a node is not such a message.
    """
    for node, (start, end) in zip(nodes, _bodies(data), strict=True):
        try:
            yield node, *_decode_node(node, data, start, end)
        except CorruptionError as error:
            raise _no_graph(error.reason) from None
        except UnicodeDecodeError as error:
            raise _no_graph(f"{error.object!r} is not UTF-8") from None
        except IndexError:
            raise _no_graph("it is cut short") from None


def _decode_node(
    node: Node, data: bytes, pos: int, end: int
) -> tuple[list[tuple[int, str]], list[tuple[int, str, int]]]:
    """Decode the TrackableObject in `data[pos:end]`; returns its edges and its slots, whose ends are still numbers.

    Raises:
        CorruptionError, UnicodeDecodeError, IndexError: it is none.
    """
    edges, slots = [], []
    unknown = bytearray()
    while pos < end:
        begin = pos
        tag = data[pos]
        if tag in _KINDS:
            size, start = data[pos + 1], pos + 2
            if size >= 0x80:
                size += (data[start] << 7) - 0x80
                start += 1
                if size >> 14:
                    size, start = read_varint(data, pos + 1, end)
            pos = start + size
            if pos > end:
                raise CorruptionError(f"a part of node {node.id} claims {size} bytes of {end - start}")
        else:
            number, wire_type, value, pos = read_field(data, pos, end)
            tag = number << 3 | wire_type
            start = pos - len(value) if isinstance(value, bytes) else pos
        if tag == _CHILD:
            edges.append(_record(data, start, pos, _CHILD_FIELDS, _CHILD_EMPTY))
        elif tag == _ATTRIBUTE:
            name, full_name, key, optional = _record(data, start, pos, _ATTRIBUTE_FIELDS, _ATTRIBUTE_EMPTY)
            # Most have the same name, which is then in memory once.
            node.attributes.append(Attribute(sys.intern(name), full_name, key, bool(optional)))
        elif tag == _SLOT:
            slots.append(_record(data, start, pos, _SLOT_FIELDS, _SLOT_EMPTY))
        elif tag == _SAVER:  # protobuf joins a message that comes in parts, this one and the next
            saver = node.registered_saver
            known = ("", "") if saver is None else (saver.name, saver.object_name)
            node.registered_saver = RegisteredSaver(*_record(data, start, pos, _SAVER_FIELDS, known))
        elif tag == _MARK:
            if data[start:pos] == b"\x08\x01":  # as most are
                mark = True
            else:
                [mark] = _record(data, start, pos, _MARK_FIELDS, (node.has_checkpoint_values or 0,))
            node.has_checkpoint_values = bool(mark)
        else:
            unknown += data[begin:pos]
    if unknown:
        node.unknown = bytes(unknown)
    return edges, slots


def _record(data: bytes, pos: int, end: int, places: Mapping[int, int], empty: tuple[Any, ...]) -> Any:
    """The values in `data[pos:end]`, a message without repeated fields and messages, as a tuple.

    Args:
        data: the graph.
        pos: where the message begins.
        end: where it ends.
        places: for the tag of a field that is known, its position in the tuple.
        empty: the values of fields that are absent.

    Raises:
        CorruptionError, UnicodeDecodeError, IndexError: it is no such message.
    """
    found = [*empty]
    while pos < end:
        tag, size = data[pos], data[pos + 1]
        place = places.get(tag)
        value: int | str | bytes
        if size >= 0x80 and place is not None and not tag & 7:
            value, pos = read_varint(data, pos + 1, end)
        elif place is None or size >= 0x80:
            number, wire_type, value, pos = read_field(data, pos, end)
            place = places.get(number << 3 | wire_type)
            if isinstance(value, bytes) and place is not None:
                value = value.decode()
        elif tag & 7 == LEN:
            start, pos = pos + 2, pos + 2 + size
            value = data[start:pos].decode()
        else:
            value, pos = size, pos + 2
        if place is not None:
            found[place] = value
    if pos > end:
        raise CorruptionError(f"a field ends {pos - end} bytes after its message")
    return tuple(found)


def _node(nodes: Sequence[Node], number: int, of: Node, what: str) -> Node:
    """The node that a number in the encoding of another one means; `what` is said of it in the error.

    Raises:
        CorruptionError: there is none.
    """
    if number >= len(nodes):
        number = signed32(number)
        if not 0 <= number < len(nodes):
            raise CorruptionError(
                f"object graph node {of.id}: {what} is node {number}, there are {len(nodes)}"
            )
    return nodes[number]


def _no_graph(reason: str) -> CorruptionError:
    return CorruptionError(f"not an object graph: {reason}")


def encode_nodes(nodes: Sequence[Node]) -> bytes:
    """The TrackableObjectGraph of nodes whose numbers are their positions, as TensorFlow serializes it.

    It is encoded by hand: there may be a node for every tensor.

    Raises:
        ConflictError: an edge to a node that is not among them, or a name that is not UTF-8.
    """
    out = io.BytesIO()  # whose bytes are not copied at the end
    count = len(nodes)
    for node in nodes:
        ends: Iterable[Node] = node.children.values()
        if node.slots:
            ends = [*ends, *(end for slot in node.slots for end in (slot.variable, slot.slot))]
        for end in ends:
            if not 0 <= end.id < count or nodes[end.id] is not end:
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
        out.append(_message(b"\x0a", _number(b"\x08", child.id) + _text(b"\x12", name)))
    for each in node.attributes:
        head = _VARIABLE if each.name == VARIABLE_VALUE else _text(b"\x0a", each.name)
        names = head + _text(b"\x12", each.full_name) + _text(b"\x1a", each.checkpoint_key)
        out.append(_message(b"\x12", names + _number(b"\x20", each.optional_restore)))
    for slot in node.slots:
        variable, end = _number(b"\x08", slot.variable.id), _number(b"\x18", slot.slot.id)
        out.append(_message(b"\x1a", variable + _text(b"\x12", slot.name) + end))
    if node.registered_saver is not None:
        saver = node.registered_saver
        out.append(_message(b"\x22", _text(b"\x0a", saver.name) + _text(b"\x12", saver.object_name)))
    if node.has_checkpoint_values is not None:
        out.append(_MARKED if node.has_checkpoint_values else _NOT_MARKED)
    out.append(node.unknown)
    return b"".join(out)


def _message(tag: bytes, data: bytes) -> bytes:
    size = len(data)
    return tag + (ONE_BYTE[size] if size < 0x80 else encode_varint(size)) + data


def _number(tag: bytes, value: int) -> bytes:
    return tag + encode_varint(value) if value else b""


def _text(tag: bytes, value: str) -> bytes:
    return _message(tag, value.encode()) if value else b""


_VARIABLE: Final = _text(b"\x0a", VARIABLE_VALUE)
_MARKED, _NOT_MARKED = b"\x2a\x02\x08\x01", b"\x2a\x00"
