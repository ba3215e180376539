"""docs/format.md: every example on it is parsed and written again, and the reader that it contains reads everything."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
import tensorbundle.table
from support import golden
from support.bundles import plain, read_everything, table_bytes, variant_payload, write_bundle
from support.contents import content
from support.format_page import (
    ENUMS,
    SCHEMA,
    TEXT,
    as_tensor,
    check_fields,
    check_message,
    check_text,
    fences,
    fields_of,
    files,
    joined,
    messages_in,
    read_bytes,
    read_table,
    read_value,
    rows,
    stored_tensors,
    table,
)
from tensorbundle.block import BlockBuilder, iterate, seek
from tensorbundle.coding import (
    FIXED32,
    crc32c,
    encode_ordered_int,
    encode_ordered_string,
    encode_ordered_uint,
    encode_varint,
    mask,
    read_ordered_int,
    read_ordered_string,
    read_ordered_uint,
    read_varint,
    unmask,
)
from tensorbundle.dtypes import DType
from tensorbundle.entries import BundleHeader, TensorEntry, parse_entries, parse_entry
from tensorbundle.filenames import shard_path
from tensorbundle.keys import decode_key, encode_key
from tensorbundle.members import shards_of
from tensorbundle.payloads import decode_strings, encode_strings, payload_checksum
from tensorbundle.proto import checkpoint_pb2
from tensorbundle.proto.graph import Attribute, ObjectGraph, RegisteredSaver, Slot
from tensorbundle.proto.nodes import Node
from tensorbundle.proto.paths import attribute_key, key_path, slot_path, split_path
from tensorbundle.shards import swap_bytes
from tensorbundle.slices import TensorSlice
from tensorbundle.state import CheckpointState
from tensorbundle.storage.local import LocalFile
from tensorbundle.table import BlockHandle, Footer, TableReader, separator, successor
from tensorbundle.tools import verify
from tensorbundle.v1.index import write_v1
from tensorbundle.v1.saved_slices import SavedTensor, decode_values, encode_slice, parse_slice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.format_page import Fence, Row

FENCES = fences()
NOT_EXAMPLES = {"proto", "python", "python tensorflow", "layout"}
KINDS: dict[str, Callable[[Fence, Path], None]] = {}


def kind(tag):
    """Makes a function the check of the examples with this tag."""

    def register(function):
        KINDS[tag] = function
        return function

    return register


def dump(fence) -> list[Row]:
    return rows(fence.lines)


# Building blocks


@kind("file-name")
def check_file_name(fence, folder):
    for number, case in enumerate(table(fence)):
        directory = folder / str(number)
        directory.mkdir()
        numbers = int(case["shard"]), int(case["shards"])
        assert shard_path(case["prefix"], *numbers) == case["name"]
        path = directory / case["name"]
        path.parent.mkdir(exist_ok=True)
        path.touch()
        assert shards_of(f"{directory}/{case['prefix']}") == {numbers: str(path)}


@kind("varint")
def check_varint(fence, _):
    for case in table(fence):
        data, value = read_bytes(case["bytes"]), read_value(case["value"])
        assert read_varint(data, 0) == (value, len(data))
        assert encode_varint(value) == data


@kind("crc32c")
def check_crc32c(fence, _):
    for case in table(fence):
        crc, stored = int(case["crc32c"], 16), read_bytes(case["stored"])
        assert crc32c(read_bytes(case["input"])) == crc
        assert FIXED32.pack(mask(crc)) == stored
        assert unmask(FIXED32.unpack(stored)[0]) == crc


# Tables


def plain_items(shown):
    """The keys and values of a table whose values are text."""
    for _, _, [row] in shown.items:
        check_text(row)
    return [(key, value) for key, value, _ in shown.items]


@kind("block")
def check_block(fence, _):
    setting, *parts = dump(fence)
    block = read_table(parts)
    items = plain_items(block)
    assert iterate(block.data) == items
    for key, value in items:
        found, start, end, _ = seek(block.data, key)
        assert (found, block.data[start:end]) == (key, value)
    builder = BlockBuilder(setting.items["restart interval"])
    for item in items:
        builder.add(*item)
    assert builder.finish() == block.data


@kind("footer")
def check_footer(fence, _):
    metaindex, index, padding, magic = dump(fence)
    check_fields(metaindex, ["metaindex offset", "metaindex size"])
    check_fields(index, ["index offset", "index size"])
    check_fields(magic, ["magic"])
    assert padding.items == {"padding": None}
    footer = Footer(BlockHandle(*metaindex.items.values()), BlockHandle(*index.items.values()))
    data = metaindex.data + index.data + padding.data + magic.data
    assert Footer.parse(data) == footer
    assert footer.encode() == data


@kind("table")
def check_table(fence, folder):
    setting, *parts = dump(fence)
    shown = read_table(parts)
    check_reading(shown, folder / "table")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorbundle.table, "BLOCK_BYTES", setting.items["block size"])
        assert table_bytes(plain_items(shown)) == shown.data
    assert len(shown.blocks) > 1


def check_reading(shown, path):
    """What is read from the table are the keys, the values and the blocks that the page shows."""
    path.write_bytes(shown.data)
    with LocalFile(str(path)) as file:
        reader = TableReader(file)
        found = zip(reader.separators, reader.handles, strict=True)
        assert [(key, each.offset, each.size) for key, each in found] == shown.blocks
        assert list(reader.items()) == [(key, value) for key, value, _ in shown.items]


@kind("snappy")
def check_snappy(fence, folder):
    size, *elements = dump(fence)
    entries = [row for row in elements if not row.data]
    items = [(read_value(row.label), row.value) for row in entries]
    builder = BlockBuilder(16)
    for item in items:
        builder.add(*item)
    contents = builder.finish()
    check_fields(size, ["size"])
    assert size.value == len(contents)
    pos = 0
    for row in (each for each in elements if each.data):
        number = row.value
        if row.label == "literal":
            expected = bytes([number - 1 << 2]) + contents[pos : pos + number]
        else:
            assert [*row.items] == ["copy", "distance"]
            distance = row.items["distance"]
            expected = bytes([distance >> 8 << 5 | number - 4 << 2 | 1, distance & 0xFF])
            assert all(contents[at] == contents[at - distance] for at in range(pos, pos + number))
        assert row.data == expected
        pos += number
    assert pos == len(contents)
    path = folder / "table"
    path.write_bytes(with_one_block(joined([size, *elements]), items[-1][0]))
    with LocalFile(str(path)) as file:
        reader = TableReader(file)
        assert list(reader.items()) == items
        assert reader.compressed == 1


def with_one_block(compressed, last):
    """A table of one compressed block."""

    def put(contents, compression):
        nonlocal out
        handle = BlockHandle(len(out), len(contents))
        contents += bytes([compression])
        out += contents + FIXED32.pack(mask(crc32c(contents)))
        return handle

    out, index = b"", BlockBuilder(1)
    index.add(last, put(compressed, 1).encode())
    footer = Footer(put(BlockBuilder(1).finish(), 0), put(index.finish(), 0))
    return out + footer.encode()


@kind("separator")
def check_separator(fence, _):
    for case in table(fence):
        last, result = read_bytes(case["last key"]), read_bytes(case["separator"])
        if case["next key"] == "end":
            assert successor(last) == result
        else:
            assert separator(last, read_bytes(case["next key"])) == result


# Header and entries


def header_of(values):
    version = values.get("version", {})
    return BundleHeader(
        values["num_shards"],
        values.get("endianness", 0) == ENUMS["BundleHeaderProto.Endianness"]["BIG"],
        version.get("producer", 0),
        version.get("min_consumer", 0),
        tuple(version.get("bad_consumers", [])),
    )


@kind("header")
def check_header(fence, _):
    parts = dump(fence)
    header = header_of(check_message("BundleHeaderProto", parts))
    assert BundleHeader.parse(joined(parts)) == header
    assert header.encode() == joined(parts)


def slice_of(values):
    return TensorSlice(
        tuple((each.get("start", 0), each.get("length", -1)) for each in values.get("extent", []))
    )


def shape_of(values):
    return tuple(dim.get("size", 0) for dim in values.get("dim", []))


def entry_of(values):
    dtype, shape = DType.from_number(values["dtype"]), shape_of(values["shape"])
    slices = tuple(map(slice_of, values.get("slices", [])))
    size, crc = values.get("size", 0), unmask(values.get("crc32c", 0))
    if slices:
        assert not {"offset", "size", "crc32c"} & values.keys()
        size, crc = int(np.prod(shape)) * dtype.itemsize, 0
    return TensorEntry(dtype, shape, size, values.get("shard_id", 0), values.get("offset", 0), crc, slices)


def check_entry(parts):
    """The entry in the rows, after a check that it is read as that and written as it stands."""
    data, entry = joined(parts), entry_of(check_message("BundleEntryProto", parts))
    assert parse_entry(data) == entry
    assert list(parse_entries((b"k",), (data,))) == [((b"k",), [entry])]
    assert entry.encode() == data
    return entry


@kind("entry")
def check_entry_example(fence, _):
    check_entry(dump(fence))


@kind("checkpoint")
def check_checkpoint(fence, folder):
    """Read from the files shown, and written anew from the values shown."""
    shown = files(fence)
    *shards, index = shown
    prefix = index.removesuffix(".index")
    theirs, ours = folder / "shown", folder / "ours"
    theirs.mkdir()
    ours.mkdir()
    for name, parts in shown.items():
        (theirs / name).write_bytes(joined(parts))
    contents = read_table(shown[index])
    check_reading(contents, folder / "table")
    (_, _, header), *entries = contents.items
    assert header_of(check_message("BundleHeaderProto", header)) == BundleHeader(len(shards))
    listed = {key: check_entry(parts) for key, _, parts in entries}

    stored = {}
    with tb.open(theirs / prefix) as ckpt, tb.create(ours / prefix) as writer:
        assert dict(ckpt.index.raw_entries()) == listed
        for number, name in enumerate(shards):
            if number:
                writer.start_shard()
            for key, piece, dtype, values in stored_tensors(shown[name]):
                text, part = decode_key(key), TensorSlice.parse_spec(piece)
                if piece:
                    writer.add_slice(text, listed[key].shape, part, values)
                    found = ckpt.read(text, part.box(listed[key].shape))
                else:
                    writer.add(text, values)
                    found = ckpt[text]
                assert (found.dtype, found.tolist()) == (dtype.numpy, values.tolist())
                stored[part.key(key) if piece else key] = number, values.nbytes
        assert set(ckpt) == {decode_key(key) for key in listed if not key.startswith(b"\0")}
    assert {key: (each.shard, each.nbytes) for key, each in listed.items() if not each.slices} == stored
    for name in shown:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()


# Tensors


def in_a_bundle(folder, entry, data, *, big_endian=False):
    """The value of a tensor whose bytes are these, as it is read."""
    prefix = write_bundle(folder / "m", {b"k": entry}, [data], BundleHeader(1, big_endian))
    with tb.open(prefix) as ckpt:
        return ckpt["k"]


@kind("tensor")
def check_tensor(fence, folder):
    seen = set()
    for number, case in enumerate(table(fence)):
        dtype, values = as_tensor(case["type"], case["shape"], case["values"])
        data = read_bytes(case["bytes"])
        found = in_a_bundle(folder, plain(dtype, values.shape, data), data)
        assert (found.dtype, found.tolist()) == (values.dtype, values.tolist())
        with tb.create(folder / f"{number}") as writer:
            writer.add_chunks("k", dtype, values.shape, [values])
        assert (folder / f"{number}.data-00000-of-00001").read_bytes() == data
        seen.add(dtype)
    assert {dtype for dtype in DType if dtype.itemsize} == seen


@kind("tensor-big-endian")
def check_big_endian_tensor(fence, folder):
    for case in table(fence):
        dtype, values = as_tensor(case["type"], case["shape"], case["values"])
        data = read_bytes(case["bytes"])
        found = in_a_bundle(folder, plain(dtype, values.shape, data), data, big_endian=True)
        assert (found.dtype, found.tolist()) == (values.dtype, values.tolist())
        if dtype.swap_width > 1:
            assert swap_bytes(np.frombuffer(values.tobytes(), np.uint8), dtype).tobytes() == data
        else:
            assert values.tobytes() == data


def payload_rows(fence):
    """The rows of a payload, and the checksum that it says the entry has."""
    *parts, crc = dump(fence)
    assert crc.label == "crc32c"
    return parts, crc.value


def strings_in(fence, byteorder):
    """The rows of the example, the strings and the bytes, after a check that each row is what it says."""
    parts, crc = payload_rows(fence)
    values = [read_value(row.label) for row in parts if row.value is None]
    lengths = [row.value for row in parts if row.label == "length"]
    assert lengths == list(map(len, values))
    assert joined(row for row in parts if row.label == "length") == b"".join(map(encode_varint, lengths))
    for row in parts:
        if row.value is None:
            check_text(row)
    [checksum] = (row for row in parts if row.label == "checksum")
    assert checksum.data == checksum.value.to_bytes(4, byteorder)
    return values, joined(parts), crc


@kind("strings")
def check_strings(fence, folder):
    values, data, crc = strings_in(fence, "little")
    head, size, computed = encode_strings(values)
    assert (head + b"".join(values), size, computed) == (data, len(data), crc)
    assert decode_strings(memoryview(data), len(values)) == values
    entry = TensorEntry(DType.string, (len(values),), len(data), crc32c=crc)
    assert in_a_bundle(folder, entry, data).tolist() == values


@kind("strings-big-endian")
def check_big_endian_strings(fence, folder):
    values, data, crc = strings_in(fence, "big")
    entry = TensorEntry(DType.string, (len(values),), len(data), crc32c=crc)
    assert in_a_bundle(folder, entry, data, big_endian=True).tolist() == values
    head = b"".join(encode_varint(len(value)) for value in values)
    lengths = crc32c(b"".join(len(value).to_bytes(4, "big") for value in values))
    assert head + mask(lengths).to_bytes(4, "big") + b"".join(values) == data


@kind("variants")
def check_variants(fence, folder):
    parts, crc = payload_rows(fence)
    messages, current = [], []
    for row in parts:
        if row.label == "length":
            check_fields(row, ["length"])
            current = []
        elif row.label == "checksum":
            check_fields(row, ["checksum"])
            check_message("VariantTensorDataProto", current)
            messages.append(joined(current))
        else:
            current.append(row)
    assert [len(each) for each in messages] == [row.value for row in parts if row.label == "length"]
    data = joined(parts)
    assert variant_payload(messages) == (data, crc)
    checksum = payload_checksum(DType.variant, len(messages), len(data))
    checksum.update(data)
    assert checksum.finish() == crc
    entry = TensorEntry(DType.variant, (len(messages),), len(data), crc32c=crc)
    prefix = write_bundle(folder / "m", {b"k": entry}, [data])
    assert verify(prefix).problems == []


# Slices


@kind("slice")
def check_slice(fence, _):
    for case in table(fence):
        data, part = read_bytes(case["bytes"]), TensorSlice.parse_spec(case["slice"])
        assert str(part) == case["slice"]
        assert TensorSlice.parse(data) == part
        assert part.encode() == data


ORDERED = {
    "unsigned": (encode_ordered_uint, read_ordered_uint),
    "string": (encode_ordered_string, read_ordered_string),
    "signed": (encode_ordered_int, read_ordered_int),
}


@kind("ordered-code")
def check_ordered_code(fence, _):
    cases = table(fence)
    for case in cases:
        encode, read = ORDERED[case["kind"]]
        value, data = read_value(case["value"]), read_bytes(case["bytes"])
        assert encode(value) == data
        assert read(data, 0) == (value, len(data))
    assert {case["kind"] for case in cases} == set(ORDERED)


@kind("slice-key")
def check_slice_key(fence, _):
    for case in table(fence):
        name, part = read_value(case["name"]), TensorSlice.parse_spec(case["slice"])
        key = read_bytes(case["key"])
        assert part.key(name) == key
        assert TensorSlice.parse_key(key) == (name, part)


# Object graph, state file


@kind("checkpoint-key")
def check_checkpoint_key(fence, _):
    for case in table(fence):
        names = json.loads(case["local names"])
        path = key_path(case["key"])
        assert path is not None
        assert split_path(path) == names
        parent = ObjectGraph().root
        for name in names:
            parent.children[name] = parent = Node()
        parent.attributes = [Attribute(case["attribute"], "", case["key"])]
        assert attribute_key(path, case["attribute"]) == case["key"]


def graph_of(values):
    """The graph with these values, made of our objects."""
    nodes = [Node() for _ in values["nodes"]]
    for node, each in zip(nodes, values["nodes"], strict=True):
        for child in each.get("children", []):
            node.children[child["local_name"].decode()] = nodes[child.get("node_id", 0)]
        node.attributes = [
            Attribute(*(item.get(name, b"").decode() for name in ("name", "full_name", "checkpoint_key")))
            for item in each.get("attributes", [])
        ]
        node.slots = [
            Slot(
                item["slot_name"].decode(),
                nodes[item["original_variable_node_id"]],
                nodes[item["slot_variable_node_id"]],
            )
            for item in each.get("slot_variables", [])
        ]
        if "registered_saver" in each:
            saver = each["registered_saver"]
            node.registered_saver = RegisteredSaver(saver["name"].decode(), saver["object_name"].decode())
    return nodes[0]


@kind("object-graph")
def check_object_graph(fence, _):
    parts = dump(fence)
    values, data = check_message("TrackableObjectGraph", parts), joined(parts)
    graph = ObjectGraph(graph_of(values))
    graph.mark_values()
    assert [node.has_checkpoint_values for node in graph.nodes] == [
        each["has_checkpoint_values"].get("value", False) for each in values["nodes"]
    ]
    assert graph.encode() == data
    parsed = ObjectGraph.parse(data)
    assert list(map(described, parsed.nodes)) == list(map(described, graph.nodes))
    for path, node, each in parsed.attributes():
        assert each.checkpoint_key == attribute_key(path)
        for slot in node.slots:
            paths = parsed.paths()
            assert paths[slot.slot] == slot_path(paths[slot.variable], path, slot.name)


def described(node):
    return (
        {name: child.id for name, child in node.children.items()},
        node.attributes,
        [(slot.name, slot.variable.id, slot.slot.id) for slot in node.slots],
        node.registered_saver,
        node.has_checkpoint_values,
    )


def state_in(fence, folder):
    """The lines of the file, and what they say together."""
    pairs = [line.rpartition("|") for line in fence.lines]
    text = "".join(f"{left.rstrip()}\n" for left, _, _ in pairs)
    found = {"latest": [], "path": [], "timestamp": [], "last preserved": []}
    for _, _, right in pairs:
        label, _, value = right.strip().partition(" = ")
        if label:
            parsed = read_value(value)
            found[label].append(parsed.decode() if isinstance(parsed, bytes) else parsed)
    [latest] = found["latest"]
    return text, CheckpointState(
        str(folder),
        latest,
        tuple(found["path"]),
        tuple(found["timestamp"]),
        *found["last preserved"],
    )


@kind("state-file")
def check_state_file(fence, folder):
    text, state = state_in(fence, folder)
    (folder / "checkpoint").write_text(text, encoding="utf-8")
    assert CheckpointState.read(str(folder)) == state
    assert state.encode() == text.encode()


@kind("state-file-by-hand")
def check_state_file_by_hand(fence, folder):
    """TensorFlow would not have written this one, so it can only be read."""
    text, state = state_in(fence, folder)
    (folder / "checkpoint").write_text(text, encoding="utf-8")
    assert CheckpointState.read(str(folder)) == state


# V1


@kind("v1-file")
def check_v1_file(fence, folder):
    [(name, parts)] = files(fence).items()
    shown = read_table(parts)
    check_reading(shown, folder / name)
    (_, _, meta), *records = shown.items
    tensors = [
        SavedTensor(
            each["name"],
            shape_of(each["shape"]),
            DType.from_number(each["type"]),
            tuple(map(slice_of, each["slice"])),
        )
        for each in check_message("SavedTensorSlices", meta)["meta"]["tensor"]
    ]
    dtypes = {tensor.name: tensor.dtype for tensor in tensors}
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    values = {}
    for key, _, rows_of_value in records:
        data = check_message("SavedTensorSlices", rows_of_value)["data"]
        part, (elements,) = slice_of(data["slice"]), data["data"].values()
        assert part.key(data["name"]) == key
        dtype = dtypes[data["name"]].numpy
        values[data["name"], part] = np.array(elements, dtype).reshape(part.shape(shapes[data["name"]]))

    with tb.open(folder / name) as ckpt:
        assert [*ckpt] == [tensor.name.decode() for tensor in tensors]
        for tensor in tensors:
            found = ckpt[tensor.name.decode()]
            assert (found.dtype, found.shape) == (tensor.dtype.numpy, tensor.shape)
            for part in tensor.slices:
                box = part.box(tensor.shape)
                assert found[box].tolist() == values[tensor.name, part].tolist()
    write_v1(str(folder / "ours"), tensors, lambda name, part: values[name, part])
    assert (folder / "ours").read_bytes() == shown.data


@kind("v1-elements")
def check_v1_elements(fence, _):
    whole = TensorSlice(())
    for case in table(fence):
        dtype, values = as_tensor(case["type"], case["shape"], case["values"])
        record = encode_slice(b"n", whole, dtype, values)
        _, _, message = parse_slice(record)
        assert bytes(message) == read_bytes(case["bytes"])
        found = decode_values(memoryview(read_bytes(case["bytes"])), dtype, values.size)
        assert (found.dtype, found.tolist()) == (values.dtype, values.reshape(-1).tolist())


# The page as a whole


@pytest.fixture(scope="module")
def page():
    """The program that the page contains."""
    program = {}
    for fence in FENCES:
        if fence.tag == "python":
            exec(compile("\n" * fence.line + fence.text, "docs/format.md", "exec"), program)
    return program


def test_every_block_is_known_and_every_kind_occurs():
    assert {fence.tag for fence in FENCES} == {*KINDS, *NOT_EXAMPLES}


@pytest.mark.parametrize("fence", [each for each in FENCES if each.tag in KINDS], ids=str)
def test_example(fence, tmp_path):
    KINDS[fence.tag](fence, tmp_path)


def test_examples_do_not_hide_among_layouts():
    layouts = [fence.text for fence in FENCES if fence.tag == "layout"]
    assert layouts
    assert not re.search(r"\b[0-9a-f]{2} [0-9a-f]{2}\b|\|", "".join(layouts))


def test_data_types(page):
    assert page["SIZES"] == {each.number: each.itemsize for each in DType if each.itemsize}
    listed = re.findall(r"^\| (\d+) \| (\w+) \| (\d+|-) \|", TEXT, re.MULTILINE)
    assert listed == [(str(each.number), each.value, str(each.itemsize or "-")) for each in DType]


def test_sections_exist():
    headings = dict(re.findall(r"^###? ([\d.]*\d)\.? (.*)$", TEXT, re.MULTILINE))
    mentioned = re.findall(r"[Ss]ections? ([\d.]*\d)", TEXT)
    assert set(mentioned) - set(headings) == set()
    assert len(set(mentioned)) > 15
    anchors = {
        f"{number}-{title.lower().replace(' ', '-')}"
        for number, title in headings.items()
        if "." not in number
    }
    links = re.findall(r"\]\(#(.*?)\)", TEXT)
    assert links
    assert set(links) - anchors == set()


def test_schema_is_that_of_the_project():
    ours = dict(messages_in(checkpoint_pb2.DESCRIPTOR.message_types_by_name.values()))
    assert len(ours) > 10
    for name, descriptor in ours.items():
        known = fields_of(descriptor)
        known.pop("optional_restore", None)  # which the page mentions as a thing of the past
        if "dtype" in known:  # a number there, so that unknown ones can be told
            known["dtype"] = (1, "DataType", False)
        assert SCHEMA[name] == known, name


# The reader on the page


CASES = golden.load()
INCOMPLETE = "unreadable-slices/model.ckpt"  # has a tensor without all of its slices


def element_bytes(elements, dtype):
    return elements if dtype in (DType.string, DType.variant) else b"".join(elements)


@pytest.mark.parametrize("case", [each for each in CASES if not each.is_v1], ids=str)
def test_reader_reads_bundles(page, case):
    if case.prefix == INCOMPLETE:
        with pytest.raises(KeyError):
            page["read_checkpoint"](str(case.path))
        return
    found = page["read_checkpoint"](str(case.path))
    with tb.open(case.path) as ckpt:
        assert [decode_key(key) for key in found] == [*ckpt]
        for key, entry in ckpt.entries():
            number, shape, elements = found[encode_key(key)]
            assert (number, tuple(shape)) == (entry.dtype.number, entry.shape), key
            if entry.dtype is DType.variant:
                payload = bytes(ckpt.shards.payload(encode_key(key), entry))
                assert variant_payload(elements) == (payload, entry.crc32c)
            else:
                assert element_bytes(elements, entry.dtype) == content(ckpt[key]), key


@pytest.mark.parametrize("case", [each for each in CASES if each.is_v1], ids=str)
def test_reader_reads_v1(page, case):
    with tb.open(case.path) as ckpt:
        paths = [ckpt.index.shard_path(number) for number in range(ckpt.num_shards)]
        found = page["read_v1"](paths)
        assert [decode_key(name) for name in sorted(found)] == [*ckpt]
        for key, entry in ckpt.entries():
            number, shape, elements = found[encode_key(key)]
            assert (number, tuple(shape)) == (entry.dtype.number, entry.shape), key
            assert element_bytes(elements, entry.dtype) == content(ckpt[key]), key


@pytest.mark.parametrize("case", [each for each in CASES if each.object_based], ids=str)
def test_reader_follows_object_graphs(page, case):
    with tb.open(case.path) as ckpt:
        graph = ckpt.object_graph
        expected = {
            path: {each.name: each.checkpoint_key for each in node.attributes} for path, node in graph.walk()
        }
        assert page["object_keys"](graph.encode()) == expected


def test_reader_reads_the_other_byte_order(page, tmp_path):
    big = [each for each in FENCES if each.tag == "tensor-big-endian"]
    cases = [case for fence in big for case in table(fence)]
    entries, data = {}, b""
    for number, case in enumerate(cases):
        dtype, values = as_tensor(case["type"], case["shape"], case["values"])
        raw = read_bytes(case["bytes"])
        entries[b"%d" % number] = plain(dtype, values.shape, raw, offset=len(data))
        data += raw
    [strings] = (each for each in FENCES if each.tag == "strings-big-endian")
    values, raw, crc = strings_in(strings, "big")
    entries[b"s"] = TensorEntry(DType.string, (len(values),), len(raw), 0, len(data), crc)
    prefix = write_bundle(tmp_path / "m", entries, [data + raw], BundleHeader(1, big_endian=True))
    found = page["read_checkpoint"](prefix)
    assert found.pop(b"s")[2] == values
    expected = read_everything(prefix)
    assert {key.decode(): b"".join(each[2]) for key, each in found.items()} == {
        key: content for key, (_, _, content) in expected.items() if key != "s"
    }


def test_reader_uncompresses(page, tmp_path):
    import cramjam

    bundle = tmp_path / "m"
    with tb.create(bundle) as writer:
        for number in range(400):
            writer.add(f"a/rather/long/name/{number}", np.float32(number))
    with tb.open(bundle) as ckpt:
        items = list(ckpt.index.table.items())
    builder = BlockBuilder(16)
    for item in items:
        builder.add(*item)
    compressed = bytes(cramjam.snappy.compress_raw(builder.finish()))
    (tmp_path / "compressed").write_bytes(with_one_block(compressed, items[-1][0]))
    assert page["read_table"](tmp_path / "compressed") == dict(items)
    noise = np.random.default_rng(0).bytes(70_000) * 2  # long literals, and copies from afar
    assert page["unsnappy"](bytes(cramjam.snappy.compress_raw(noise))) == noise


keys = st.lists(st.binary(max_size=6), unique=True, max_size=30).map(sorted)


@given(keys, st.sampled_from([16, 32, 100, 262_144]), st.integers(0, 60))
def test_writer_of_tables(page, names, block_size, size):
    items = [(name, name * size) for name in names]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorbundle.table, "BLOCK_BYTES", block_size)
        assert page["write_table"](items, block_size) == table_bytes(items)


extents = st.lists(
    st.tuples(st.integers(0, 2**63 - 1), st.one_of(st.just(-1), st.integers(1, 2**63 - 1))), max_size=5
)


@given(st.binary(max_size=8), extents)
def test_slice_keys(page, name, each):
    assert page["slice_key"](name, each) == TensorSlice(tuple(each)).key(name)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_reader_of_strings(page, values):
    head, _, crc = encode_strings(values)
    assert page["read_strings"](head + b"".join(values), len(values)) == (values, crc)


@pytest.mark.parametrize("size", [0, 1, 5])
def test_reader_of_checksums(page, size):
    data = bytes(range(size))
    assert page["crc32c"](data) == crc32c(data)
    assert page["mask"](crc32c(data)) == mask(crc32c(data))
