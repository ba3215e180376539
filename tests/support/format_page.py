"""The examples on docs/format.md, taken apart. The page itself says how its notation is to be read."""

from __future__ import annotations

import ast
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from tensorbundle.coding import encode_varint
from tensorbundle.dtypes import DType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

TEXT = (Path(__file__).parents[2] / "docs/format.md").read_text(encoding="utf-8")

_FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)
_BYTES = re.compile(r'"((?:[^"\\]|\\.)*)"|(?:([0-9]+) \* )?([0-9a-f]{2})(?= |$)')
_REMARK = re.compile(r"\s+# .*")


@dataclass(frozen=True)
class Fence:
    """One fenced block of the page."""

    tag: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.tag}, line {self.line}"

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@dataclass
class Row:
    """A line of bytes and what they mean, and the lines that are part of it.

    Attributes:
        data: the bytes left of the bar.
        items: the meaning: labels in order, each with its value, or None.
        parts: the indented lines below.
    """

    data: bytes
    items: dict[str, Any]
    parts: list[Row] = field(default_factory=list)

    @property
    def label(self) -> str:
        return next(iter(self.items))

    @property
    def value(self) -> Any:
        return self.items[self.label]

    @property
    def all_data(self) -> bytes:
        return self.data + joined(self.parts)


def joined(parts: Iterable[Row]) -> bytes:
    """The bytes of rows and of all that is part of them."""
    return b"".join(each.all_data for each in parts)


def fences() -> list[Fence]:
    """Every fenced block, in order."""
    found = [
        Fence(match[1], match[2], TEXT.count("\n", 0, match.start()) + 1) for match in _FENCE.finditer(TEXT)
    ]
    assert TEXT.count("```") == 2 * len(found)
    return found


# Notation


def read_bytes(text: str) -> bytes:
    """Bytes as the page writes them: hex digits, "text" and `36 * 00`."""
    out, pos = b"", 0
    while pos < len(text):
        found = _BYTES.match(text, pos)
        assert found, f"not bytes: {text[pos:]!r}"
        quoted, times, byte = found.groups()
        out += read_value(f'"{quoted}"') if byte is None else bytes.fromhex(byte) * int(times or 1)
        pos = found.end() + 1
    return out


def read_value(text: str) -> Any:
    """A number, text (as bytes), a list of such, true or false, a message in braces; anything else is a word."""
    if text in ("true", "false"):
        return text == "true"
    if text[:1] == "{":
        return [read_item(each) for each in _split(text[1:-1])]
    if text[:1] in ('"', "[") or re.fullmatch(r"-?[0-9][0-9a-fx.ej+-]*", text):
        python = re.sub(r"\b(true|false)\b", lambda found: found[0].title(), text)
        return ast.literal_eval(re.sub(r'("(?:[^"\\]|\\.)*")', r"b\1", python))
    return text


def read_item(text: str) -> tuple[str, Any]:
    """`label = value`, or a label alone."""
    label, equals, value = text.partition(" = ")
    return label, read_value(value) if equals else None


def _split(text: str) -> list[str]:
    """What stands between the commas that are in no quotes, brackets or braces."""
    parts, depth, quoted = [""], 0, False
    for token in re.findall(r"\\.|, |.", text):
        quoted ^= token == '"'
        depth += 0 if quoted else (token in "[{") - (token in "]}")
        if token == ", " and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += token
    return [part for part in parts if part]


def rows(lines: Iterable[str]) -> list[Row]:
    """The rows of a dump, each with those that are part of it."""
    top: list[Row] = []
    above: list[Row] = []
    for line in lines:
        left, bar, right = _REMARK.sub("", line).partition("| ")
        assert bar, f"no bar: {line!r}"
        depth, odd = divmod(len(right) - len(right.lstrip()), 2)
        assert not odd, line
        assert depth <= len(above), line
        items = [read_item(each) for each in _split(right.strip())]
        row = Row(read_bytes(left.strip()), dict(items))
        assert len(row.items) == len(items) > 0, line
        del above[depth:]
        (above[-1].parts if above else top).append(row)
        above.append(row)
    return top


def table(fence: Fence) -> list[dict[str, str]]:
    """The cases of an example that is a table; its first line names the columns."""
    head, *body = ([cell.strip() for cell in _REMARK.sub("", line).split("|")] for line in fence.lines)
    assert body
    return [dict(zip(head, cells, strict=True)) for cells in body]


def files(fence: Fence) -> dict[str, list[Row]]:
    """The files that an example shows; a line without a bar is the name of the next one."""
    found: dict[str, list[str]] = {}
    for line in fence.lines:
        if "|" in line:
            found[list(found)[-1]].append(line)
        elif line:
            found[line] = []
    return {name: rows(lines) for name, lines in found.items()}


# Messages

Schema = dict[str, dict[str, tuple[int, str, bool]]]


def read_schema(text: str) -> tuple[Schema, dict[str, dict[str, int]]]:
    """The messages in a schema, field name to number, type and whether it is repeated; and the enumerations."""
    messages: Schema = {}
    enums: dict[str, dict[str, int]] = {}
    scope: list[str] = []
    for statement in re.findall(r"[^{};]+[{;]|}", re.sub(r"//.*", "", text)):
        words = statement.rstrip("{;").split()
        inside = ".".join(filter(None, scope))
        if statement == "}":
            scope.pop()
        elif statement.endswith("{"):
            scope.append("" if words[0] == "oneof" else words[1])
            if words[0] != "oneof":
                {"message": messages, "enum": enums}[words[0]][".".join(scope)] = {}
        elif inside in enums:
            enums[inside][words[0]] = int(words[2])
        else:
            repeated = words[0] == "repeated"
            kind, name, _, number = words[repeated:]
            messages[inside][name] = int(number), kind, repeated
    return messages, enums


SCHEMA, ENUMS = read_schema("".join(fence.text for fence in fences() if fence.tag == "proto"))


def full_type(kind: str, scope: str) -> str:
    """The full name of the message or enumeration that the message `scope` calls `kind`."""
    parts = scope.split(".")
    names = (".".join([*parts[:size], kind]) for size in range(len(parts), -1, -1))
    return next((name for name in names if name in SCHEMA or name in ENUMS), kind)


_FIXED = {"fixed32": (5, "<I"), "float": (5, "<f"), "double": (1, "<d")}


def _scalar(kind: str, value: Any) -> tuple[int, bytes]:
    """Wire type and bytes."""
    if kind in ("string", "bytes"):
        return 2, encode_varint(len(value)) + value
    if kind in _FIXED:
        return _FIXED[kind][0], struct.pack(_FIXED[kind][1], value)
    return 0, encode_varint(int(value))


def _field(message: str, label: str, value: Any) -> tuple[bytes, Any]:
    """The bytes of one field, by the page's schema, and its value with inner messages as dictionaries."""
    number, kind, repeated = SCHEMA[message][label]
    kind = full_type(kind, message)
    wire_type, found = 2, value
    if kind in SCHEMA:
        parts = [(name, _field(kind, name, each)) for name, each in value or []]
        inner = b"".join(data for _, (data, _) in parts)
        found = _collect(kind, [(name, each) for name, (_, each) in parts])
    elif repeated and isinstance(value, list):
        inner = b"".join(_scalar(kind, each)[1] for each in value)
    else:
        wire_type, encoded = _scalar(kind, value)
        return encode_varint(number << 3 | wire_type) + encoded, found
    return encode_varint(number << 3 | wire_type) + encode_varint(len(inner)) + inner, found


def _collect(message: str, items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for label, value in items:
        if SCHEMA[message][label][2] and not isinstance(value, list):
            found.setdefault(label, []).append(value)
        else:
            assert label not in found
            found[label] = value
    return found


def check_message(message: str, parts: Sequence[Row]) -> dict[str, Any]:
    """Encode every field by the page's schema and compare; the values, repeated ones as lists, messages as dictionaries."""

    def value_of(row: Row) -> Any:
        return [(part.label, value_of(part)) for part in row.parts] if row.parts else row.value

    items = []
    for row in parts:
        data, value = _field(message, row.label, value_of(row))
        assert row.all_data == data, (row.label, row.all_data.hex(" "), data.hex(" "))
        if row.parts:
            check_message(full_type(SCHEMA[message][row.label][1], message), row.parts)
        items.append((row.label, value))
    return _collect(message, items)


_TYPES = {
    getattr(FieldDescriptor, name): name[5:].lower() for name in dir(FieldDescriptor) if name[:5] == "TYPE_"
}


def fields_of(descriptor: Any) -> dict[str, tuple[int, str, bool]]:
    """A message as the protobuf library knows it, in the form of `SCHEMA`."""
    found = {}
    for each in descriptor.fields:
        kind = each.message_type or each.enum_type
        repeated = each.is_repeated if hasattr(each, "is_repeated") else each.label == each.LABEL_REPEATED
        found[each.name] = each.number, kind.name if kind else _TYPES[each.type], repeated
    return found


def messages_in(descriptors: Iterable[Any], scope: str = "") -> Iterator[tuple[str, Any]]:
    """Messages and those inside them, by the names that they have in `SCHEMA`."""
    for descriptor in descriptors:
        name = scope + descriptor.name
        yield name, descriptor
        yield from messages_in(descriptor.nested_types, f"{name}.")


# Tables

_CODES = {"restart": "<I", "restarts": "<I", "checksum": "<I", "compression": "B", "magic": "<Q"}
_SIZES = ["shared", "unshared", "value size"]
_HANDLE = ["offset", "size"]
_BLOCKS = ["data block", "metaindex block", "index block", "footer"]


def check_fields(row: Row, labels: Sequence[str]) -> None:
    """Encode the numbers of a row, which must have these labels, and compare: varints, but for a few."""
    assert [*row.items] == [*labels]
    data = b"".join(
        struct.pack(_CODES[label], value) if label in _CODES else encode_varint(value)
        for label, value in row.items.items()
    )
    assert row.data == data, (row.items, row.data.hex(" "), data.hex(" "))


@dataclass
class TableFile:
    """A table as the page shows it.

    Attributes:
        data: the whole file.
        items: the keys and values of its data blocks, and the rows of each value.
        blocks: for each data block its separator, offset and size, as the index block says.
    """

    data: bytes = b""
    items: list[tuple[bytes, bytes, list[Row]]] = field(default_factory=list)
    blocks: list[tuple[bytes, int, int]] = field(default_factory=list)


def check_text(row: Row) -> None:
    """A row of text, which says the same on both sides."""
    assert row.items == {row.label: None}
    assert row.data == read_value(row.label)


def read_table(parts: Sequence[Row]) -> TableFile:
    """Put a table, or a block, together from its rows; all of them are checked but those that values consist of."""
    out = TableFile()
    block, key, sizes = _BLOCKS[0], b"", []
    for row in parts:
        if "at" in row.items:
            assert row.items == {row.label: None, "at": len(out.data)}
            assert 0 <= _BLOCKS.index(row.label) - _BLOCKS.index(block) <= 1
            block, key = row.label, b""
        elif row.label == "key":
            key = key[: sizes[0]] + row.data
            value = joined(row.parts)
            assert [row.value, len(row.data), len(value)] == [key, *sizes[1:]]
            if block == "index block":
                [handle] = row.parts
                check_fields(handle, _HANDLE)
                out.blocks.append((key, *handle.items.values()))
            else:
                out.items.append((key, value, row.parts))
        elif row.label == "shared":
            check_fields(row, _SIZES)
            sizes = [*row.items.values()]
        elif row.label == "offset":
            check_fields(row, _HANDLE)
        elif row.label != "padding":
            check_fields(row, [row.label] if row.label in _CODES else [])
        out.data += row.all_data
    return out


# Tensors


def as_tensor(dtype: str, shape: str, values: str) -> tuple[DType, np.ndarray]:
    """A tensor from its type, its shape and its elements in C order."""
    kind, elements = DType[dtype], read_value(values)
    array = np.empty(read_value(shape), kind.numpy)
    array.reshape(-1)[:] = elements
    assert array.reshape(-1).tolist() == (elements if isinstance(elements, list) else [elements])
    return kind, array


def stored_tensors(parts: Iterable[Row]) -> Iterator[tuple[bytes, str, DType, np.ndarray]]:
    """What a data shard holds, in order: key, slice or nothing, type, values; the rows' bytes are not looked at."""
    for row in parts:
        key, _, piece = row.label.partition(" [")
        found = re.fullmatch(r"(\w+) (\[[^\]]*\]) (.*)", row.value)
        assert found, row.value
        yield read_value(key), piece.rstrip("]"), *as_tensor(*found.groups())
