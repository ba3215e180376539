"""Checkpoints with something odd or wrong in them, made up by hypothesis from sound ones: any part of any file changes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cramjam
from hypothesis import strategies as st

from support.strategies import damaged, wire_fields
from tensorbundle.block import BlockBuilder
from tensorbundle.coding import crc32c, encode_varint, fields, mask
from tensorbundle.errors import CorruptionError
from tensorbundle.files import File
from tensorbundle.names import index_path, shard_path
from tensorbundle.table import BlockHandle, Footer, TableReader

if TYPE_CHECKING:
    from pathlib import Path

    Field = tuple[int, int, int | bytes]

# The messages of an index: field numbers to the message of that field, or to None.
VERSIONS: dict[int, Any] = {1: None, 2: None, 3: None}
HEADER = {1: None, 2: None, 3: VERSIONS}
SHAPE = {2: {1: None, 2: None}, 3: None}
SLICE = {1: {1: None, 2: None}}
ENTRY = {1: None, 2: SHAPE, 3: None, 4: None, 5: None, 6: None, 7: SLICE}
WIRE_TYPES = [0, 0, 1, 2, 5]

numbers = st.sampled_from(
    [
        *range(36),
        57,
        100,
        101,
        107,
        127,
        128,
        200,
        255,
        2**31 - 1,
        2**31,
        2**32 - 1,
        2**32,
        2**32 + 1,
        2**40,
        2**62,
    ]
    + [-1, -2, -8, 2**63 - 1, -(2**63), -(2**31)]
)


def encode_fields(parts: list[Field]) -> bytes:
    out = bytearray()
    for number, wire_type, value in parts:
        out += encode_varint(number << 3 | wire_type)
        if wire_type == 0:
            out += encode_varint(value)
        elif wire_type == 2:
            out += encode_varint(len(value)) + value
        else:
            out += struct.pack("<Q" if wire_type == 1 else "<I", value)
    return bytes(out)


@st.composite
def messages(draw, message, schema):
    """The encoded `message` with one thing changed, somewhere in it."""
    try:
        parts = list(fields(message))
    except CorruptionError:
        return draw(damaged(message))
    kinds = ["set", "set", "set", "set", "add", "unknown", "drop", "repeat", "swap", "damage"]
    kind = draw(st.sampled_from(kinds))
    at = draw(st.integers(0, len(parts) - 1)) if parts else 0
    if kind == "damage":
        return draw(damaged(message))
    if kind == "unknown":
        return message[: draw(st.sampled_from([0, len(message)]))] + draw(wire_fields(8, 200))
    if kind == "add" or not parts:
        number = draw(st.sampled_from(sorted(schema)))
        wire_type = draw(st.sampled_from(WIRE_TYPES))
        value = draw(numbers) if wire_type != 2 else draw(st.binary(max_size=6))
        if wire_type in (1, 5):
            value &= (1 << (64 if wire_type == 1 else 32)) - 1
        parts.insert(at, (number, wire_type, value))
    elif kind == "drop":
        del parts[at]
    elif kind == "repeat":
        parts.insert(draw(st.integers(0, len(parts))), parts[at])
    elif kind == "swap":
        parts = draw(st.permutations(parts))
    else:
        parts[at] = _changed(draw, parts[at], schema)
    return encode_fields(parts)


def _changed(draw, part, schema):
    number, wire_type, value = part
    inner = schema.get(number)
    if isinstance(value, bytes):
        return number, wire_type, draw(messages(value, inner) if inner else damaged(value))
    value = draw(st.one_of(numbers, st.integers(-16, 16).map(lambda change: value + change)))
    return number, wire_type, value & (0xFFFFFFFF if wire_type == 5 else 0xFFFFFFFFFFFFFFFF)


@dataclass
class Altered:
    """The files of a checkpoint, in parts that can be changed.

    Attributes:
        items: the index's keys and values, in the order in which they are written.
        shards: contents of the data files by number, None for a file that is missing.
        count: the number of data files in their names.
        changes: what was changed, for a person.
        interval, block_items, compressed, junk, ...: how the table is written.
    """

    items: list[tuple[bytes, bytes]]
    shards: list[bytes | None]
    changes: list[str] = field(default_factory=list)
    interval: int = 16
    block_items: int = 1 << 30
    compressed: bool = False
    junk: bytes = b""
    tail: bytes = b""
    long_separators: bool = False
    bad_block: int | None = None
    bad_type: int | None = None
    index: bytes | None = None

    @classmethod
    def of(cls, prefix: str, count: int) -> Altered:
        """The checkpoint at `prefix`, as it is."""
        with File(index_path(prefix)) as file:
            items = list(TableReader(file).items())
        shards = []
        for number in range(count):
            with open(shard_path(prefix, number, count), "rb") as data:
                shards.append(data.read())
        return cls(items, shards)

    def table(self) -> bytes:
        out = bytearray()
        number = 0

        def put(builder: BlockBuilder) -> BlockHandle:
            nonlocal number
            out.extend(self.junk)
            content, kind = builder.finish(), 0
            if self.compressed:
                content, kind = bytes(cramjam.snappy.compress_raw(content)), 1
            if self.bad_type == number:
                kind = 7
            handle = BlockHandle(len(out), len(content))
            crc = mask(crc32c(content + bytes([kind]))) ^ (self.bad_block == number)
            out.extend(content + bytes([kind]) + struct.pack("<I", crc))
            number += 1
            return handle

        index = BlockBuilder(1)
        for start in range(0, len(self.items), self.block_items):
            part = self.items[start : start + self.block_items]
            builder = BlockBuilder(self.interval)
            for key, value in part:
                builder.add(key, value)
            separator = part[-1][0] + (b"\0" if self.long_separators else b"")
            index.add(separator, put(builder).encode() + self.tail)
        metaindex = put(BlockBuilder(1))
        footer = Footer(metaindex, put(index)).encode()
        return bytes(out) + footer

    def write(self, prefix: Path) -> str:
        count = len(self.shards)
        for number, data in enumerate(self.shards):
            if data is not None:
                with open(shard_path(str(prefix), number, count), "wb") as file:
                    file.write(data)
        with open(index_path(str(prefix)), "wb") as file:
            file.write(self.table() if self.index is None else self.index)
        return str(prefix)


LAYOUTS = ("interval", "blocks", "compressed", "junk", "tail", "long_separators")


@st.composite
def alterations(draw, found):
    """Change one thing or two of an `Altered`; what was changed is added to its list."""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        kind = draw(
            st.sampled_from(
                ["header", "entry", "entry", "entry", "entry", "layout", "items", "block", "index", "data"]
            )
        )
        _ALTER[kind](draw, found)
    return found


def _alter_header(draw, found):
    if draw(st.integers(0, 9)) == 0:
        found.changes.append("no header")
        del found.items[0]
        return
    key, value = found.items[0]
    new = b"" if draw(st.integers(0, 19)) == 0 else draw(messages(value, HEADER))
    found.changes.append(f"header {value.hex()} -> {new.hex()}")
    found.items[0] = key, new


def _alter_entry(draw, found):
    number = draw(st.integers(0, len(found.items) - 1))
    key, value = found.items[number]
    new = draw(messages(value, ENTRY if key else HEADER))
    found.changes.append(f"entry {key!r} {value.hex()} -> {new.hex()}")
    found.items[number] = key, new


def _alter_layout(draw, found):
    kind = draw(st.sampled_from(LAYOUTS))
    found.changes.append(kind)
    if kind == "interval":
        found.interval = draw(st.sampled_from([1, 2, 3, 1000]))
    elif kind == "blocks":
        found.block_items = draw(st.integers(1, 3))
    elif kind == "compressed":
        found.compressed = True
    elif kind == "junk":
        found.junk = draw(st.binary(min_size=1, max_size=12))
    elif kind == "tail":
        found.tail = draw(st.binary(min_size=1, max_size=12))
    else:
        found.long_separators = True


def _alter_items(draw, found):
    at = draw(st.integers(0, len(found.items) - 1))
    kind = draw(st.sampled_from(["drop", "repeat", "swap", "rename"]))
    found.changes.append(f"items {kind} {at}")
    if kind == "drop":
        del found.items[at]
    elif kind == "repeat":
        found.items.insert(at, found.items[at])
    elif kind == "swap":
        other = draw(st.integers(0, len(found.items) - 1))
        found.items[at], found.items[other] = found.items[other], found.items[at]
    else:
        found.items[at] = found.items[at][0] + draw(st.binary(max_size=3)), found.items[at][1]
        found.items.sort()


def _alter_block(draw, found):
    if draw(st.booleans()):
        found.block_items = draw(st.integers(1, 3))
    number = draw(st.integers(0, 4))
    if draw(st.booleans()):
        found.bad_block = number
        found.changes.append(f"bad crc of block {number} blocks of {found.block_items}")
    else:
        found.bad_type = number
        found.changes.append(f"bad type of block {number}")


def _alter_index(draw, found):
    found.index = draw(damaged(found.table()))
    found.changes.append("index damaged")


def _alter_data(draw, found):
    number = draw(st.integers(0, len(found.shards) - 1))
    data = found.shards[number]
    kind = draw(st.sampled_from(["missing", "damaged", "damaged", "longer", "cut"]))
    found.changes.append(f"data {number} {kind}")
    if data is None:
        return
    if kind == "missing":
        found.shards[number] = None
    elif kind == "damaged":
        found.shards[number] = draw(damaged(data))
    elif kind == "longer":
        found.shards[number] = data + draw(st.binary(min_size=1, max_size=12))
    else:
        found.shards[number] = data[: draw(st.integers(0, len(data)))]


_ALTER = {
    "header": _alter_header,
    "entry": _alter_entry,
    "layout": _alter_layout,
    "items": _alter_items,
    "block": _alter_block,
    "index": _alter_index,
    "data": _alter_data,
}
