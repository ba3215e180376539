"""Checkpoints with something odd or wrong in them: hypothesis takes a sound one and changes any part of any file.

What it changes is listed in `Altered.changes`, for a person who has to understand a failure.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cramjam
from hypothesis import strategies as st

from support.strategies import damaged, wire_fields
from tensorbundle.block import BlockBuilder
from tensorbundle.coding import crc32c, encode_varint, fields, mask
from tensorbundle.errors import CorruptionError
from tensorbundle.storage.local import LocalFile
from tensorbundle.table import BlockHandle, Footer, TableReader

if TYPE_CHECKING:
    Field = tuple[int, int, int | bytes]
    Schema = dict[int, Any]

# The messages in a table: field numbers, each with the message in it or None.
VERSIONS: Schema = {1: None, 2: None, 3: None}
SHAPE: Schema = {2: {1: None, 2: None}, 3: None}
SLICE: Schema = {1: {1: None, 2: None}}
HEADER: Schema = {1: None, 2: None, 3: VERSIONS}
ENTRY: Schema = {1: None, 2: SHAPE, 3: None, 4: None, 5: None, 6: None, 7: SLICE}
V1_META: Schema = {1: {1: {1: None, 2: SHAPE, 3: None, 4: SLICE}, 2: VERSIONS}}
V1_DATA: Schema = {2: {1: None, 2: SLICE, 3: dict.fromkeys(range(1, 19))}}

_edges = [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**40, 2**62, 2**63 - 1]
_telling = st.sampled_from(
    [*range(36), 57, 100, 101, 107, 127, 128, 200, 255, *_edges, -1, -2, -8, -(2**31), -(2**63)]
)


@dataclass
class Table:
    """A table in parts.

    Attributes:
        items: its keys and values, in the order in which they are written.
        interval: entries between restart points.
        block_items: entries in a data block; None for all of them.
        compressed: whether blocks are.
        before: bytes before each block, which belong to none.
        after_handle: bytes after each block's handle in the index block.
        types: the compression type that a block claims, by its number.
        bad_checksums: numbers of the blocks with wrong ones.
        damage: all of its bytes, if they are not what these parts make.
    """

    items: list[tuple[bytes, bytes]]
    interval: int = 16
    block_items: int | None = None
    compressed: bool = False
    before: bytes = b""
    after_handle: bytes = b""
    types: dict[int, int] = field(default_factory=dict)
    bad_checksums: set[int] = field(default_factory=set)
    damage: bytes | None = None

    def encode(self) -> bytes:
        if self.damage is not None:
            return self.damage
        out = bytearray()
        size = self.block_items or max(1, len(self.items))
        starts = range(0, len(self.items), size)
        index = BlockBuilder(1)
        for number, start in enumerate(starts):
            block = BlockBuilder(self.interval)
            for key, value in self.items[start : start + size]:
                block.add(key, value)
            handle = self._put(out, number, block.finish())
            index.add(self.items[start : start + size][-1][0], handle.encode() + self.after_handle)
        metaindex = self._put(out, len(starts), BlockBuilder(1).finish())
        out += Footer(metaindex, self._put(out, len(starts) + 1, index.finish())).encode()
        return bytes(out)

    def _put(self, out: bytearray, number: int, block: bytes) -> BlockHandle:
        stored = bytes(cramjam.snappy.compress_raw(block)) if self.compressed else block
        out += self.before
        handle = BlockHandle(len(out), len(stored))
        stored += bytes([self.types.get(number, int(self.compressed))])
        out += stored + struct.pack("<I", mask(crc32c(stored)) ^ (number in self.bad_checksums))
        return handle


@dataclass
class Altered:
    """A checkpoint's files in parts.

    Attributes:
        files: by the ends of their names; None for one that is missing.
        header: the message that the table has under its empty key.
        entry: the message under all others.
        changes: what was changed so far.
    """

    files: dict[str, Table | bytes | None]
    header: Schema
    entry: Schema
    changes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, prefix: str) -> Altered:
        """The checkpoint at `prefix`, as it is: a bundle or a V1 file, in a folder of its own."""
        name = prefix.rpartition("/")[2]
        found: dict[str, Table | bytes | None] = {}
        for path in sorted(Path(prefix).parent.glob(f"{name}*")):
            end = path.name.removeprefix(name)
            found[end] = read_table(str(path)) if end in ("", ".index") else path.read_bytes()
        return cls(found, *((V1_META, V1_DATA) if "" in found else (HEADER, ENTRY)))

    @property
    def table(self) -> Table:
        return next(each for each in self.files.values() if isinstance(each, Table))

    def write(self, prefix: Path) -> str:
        for end, each in self.files.items():
            if each is not None:
                content = each.encode() if isinstance(each, Table) else each
                prefix.with_name(prefix.name + end).write_bytes(content)
        return str(prefix)


def read_table(path: str) -> Table:
    with LocalFile(path) as file:
        return Table(list(TableReader(file).items()))


def encode_fields(parts: list[Field]) -> bytes:
    """A protobuf message of these fields: number, wire type, value."""
    out = bytearray()
    for number, wire_type, value in parts:
        out += encode_varint(number << 3 | wire_type)
        if isinstance(value, bytes):
            out += encode_varint(len(value)) + value
        else:
            out += (
                encode_varint(value)
                if wire_type == 0
                else value.to_bytes(8 if wire_type == 1 else 4, "little")
            )
    return bytes(out)


@st.composite
def messages(draw, message, schema):
    """An encoded message with one change somewhere in it."""
    try:
        parts = list(fields(message))
    except CorruptionError:
        return draw(damaged(message))
    kinds = ["set"] * 5 + ["add"] * 3 + ["damage", "unknown", "other type", "drop", "repeat", "order"]
    kind = draw(st.sampled_from(kinds))
    if kind == "damage" or not parts:
        return draw(damaged(message))
    at = draw(st.integers(0, len(parts) - 1))
    if kind == "unknown":
        return encode_fields(parts[:at]) + draw(wire_fields(max(schema) + 1, 200)) + encode_fields(parts[at:])
    if kind == "other type":
        number = draw(st.sampled_from(sorted(schema)))
        return encode_fields(parts[:at]) + draw(wire_fields(number, number)) + encode_fields(parts[at:])
    if kind == "add":
        parts.insert(at, (draw(st.sampled_from(sorted(schema))), 0, draw(_telling) % 2**64))
    elif kind == "drop":
        del parts[at]
    elif kind == "repeat":
        parts.insert(draw(st.integers(0, len(parts))), parts[at])
    elif kind == "order":
        parts = draw(st.permutations(parts))
    else:
        parts[at] = draw(_values(*parts[at], schema))
    return encode_fields(parts)


@st.composite
def _values(draw, number, wire_type, value, schema):
    """A field with another value."""
    if isinstance(value, bytes):
        inner = schema.get(number)
        return number, wire_type, draw(messages(value, inner) if inner else damaged(value))
    near = st.integers(-16, 16).map(lambda change: value + change)
    return number, wire_type, draw(st.one_of(_telling, near)) % 2 ** {0: 64, 1: 64, 5: 32}[wire_type]


@st.composite
def alterations(draw, found):
    """Changes one part of an `Altered`, or two."""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        kinds = [_message] * 5 + [_layout, _items, _block, _damage]
        kinds += [_data] if len(found.files) > 1 else []
        found.changes.append(draw(st.sampled_from(kinds))(draw, found))
    return found


def _message(draw, found):
    items = found.table.items
    if not items:
        return "nothing"
    at = draw(st.one_of(st.just(0), st.integers(0, len(items) - 1)))  # the header as often as all others
    key, value = items[at]
    new = draw(messages(value, found.entry if key else found.header))
    items[at] = key, new
    return f"{key!r}: {value.hex()} became {new.hex()}"


def _layout(draw, found):
    table = found.table
    kind = draw(st.sampled_from(["interval", "block_items", "compressed", "before", "after_handle"]))
    numbers, junk = st.sampled_from([1, 2, 3, 1000]), st.binary(min_size=1, max_size=12)
    drawn = draw(
        {"interval": numbers, "block_items": st.integers(1, 3), "compressed": st.just(True)}.get(kind, junk)
    )
    setattr(table, kind, drawn)
    return f"{kind} is {drawn}"


def _items(draw, found):
    items = found.table.items
    if not items:
        return "nothing"
    at, other = (draw(st.integers(0, len(items) - 1)) for _ in range(2))
    key, value = items[at]
    kind = draw(st.sampled_from(["drop", "repeat", "swap", "rename"]))
    if kind == "drop":
        del items[at]
    elif kind == "repeat":
        items.insert(at, items[at])
    elif kind == "swap":
        items[at], items[other] = items[other], items[at]
    else:
        items[at] = key + draw(st.binary(min_size=1, max_size=3)), value
        items.sort()
    return f"{kind} {key!r}"


def _block(draw, found):
    table = found.table
    table.block_items = draw(st.sampled_from([1, 2, 3, None]))
    number = draw(st.integers(0, 4))
    if draw(st.booleans()):
        table.bad_checksums.add(number)
        return f"wrong checksum of block {number} of {table.block_items} entries"
    table.types[number] = draw(st.sampled_from([0, 1, 2, 7, 255]))
    return f"type {table.types[number]} of block {number} of {table.block_items} entries"


def _damage(draw, found):
    found.table.damage = draw(damaged(found.table.encode()))
    return "the table's bytes"


def _data(draw, found):
    end = draw(
        st.sampled_from(sorted(end for end, each in found.files.items() if not isinstance(each, Table)))
    )
    data = found.files[end]
    if data is None:
        return "nothing"
    kind = draw(st.sampled_from(["missing", "changed", "changed", "longer", "cut"]))
    if kind == "missing":
        found.files[end] = None
    elif kind == "changed":
        found.files[end] = draw(damaged(data))
    elif kind == "longer":
        found.files[end] = data + draw(st.binary(min_size=1, max_size=12))
    else:
        found.files[end] = data[: draw(st.integers(0, len(data)))]
    return f"{end} is {kind}"
