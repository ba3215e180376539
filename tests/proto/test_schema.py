"""checkpoint.proto, the code generated from it, and the decoders written by hand all mean the same messages."""

import importlib.resources
import math
import re

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

import tensorbundle as tb
from support.strategies import damaged, int32s, int64s, uint64s, wire_fields
from tensorbundle.coding import encode_varint, unmask
from tensorbundle.dtypes import DType
from tensorbundle.entries import MAX_SHARDS, BundleHeader, TensorEntry, parse_entry
from tensorbundle.proto import checkpoint_pb2 as pb
from tensorbundle.proto.nodes import (
    Attribute,
    Node,
    RegisteredSaver,
    Slot,
    decode_nodes,
    encode_nodes,
    stored_edges,
)
from tensorbundle.slices import MAX_RANK, WHOLE

TEXT = importlib.resources.files("tensorbundle.proto").joinpath("checkpoint.proto").read_text()

_TYPES = {
    getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name
    for name in ("int32", "int64", "fixed32", "bool", "string", "double")
}


def fields_in_text():
    """(message, label, type, field, number) for every field that the schema's text declares."""
    scope, found = [], set()
    for line in re.sub(r"//.*", "", TEXT).splitlines():
        if opened := re.match(r"\s*(message|enum|oneof) (\w+) \{", line):
            scope.append(opened.groups())
        elif line.strip() == "}":
            scope.pop()
        elif declared := re.match(r"\s*(repeated )?([\w.]+) (\w+) = (\d+);", line):
            label, kind, name, number = declared.groups()
            message = ".".join(each for what, each in scope if what == "message")
            found.add((message, bool(label), kind, name, int(number)))
    return found


def fields_in_descriptor(messages, prefix=""):
    for message in messages:
        path = f"{prefix}{message.name}"
        for field in message.fields:
            kind = field.message_type or field.enum_type
            name = _TYPES[field.type] if kind is None else kind.name
            repeated = (
                field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
            )
            yield path, repeated, name, field.name, field.number
        yield from fields_in_descriptor(message.nested_types, f"{path}.")


def test_generated_code_is_of_this_schema():
    text = {
        (*rest, kind.removeprefix("google.protobuf."), name, number)
        for *rest, kind, name, number in fields_in_text()
    }
    assert set(fields_in_descriptor(pb.DESCRIPTOR.message_types_by_name.values())) == text
    assert len(text) > 40


def test_messages_are_in_a_package_of_our_own():
    """TensorFlow registers its own under `tensorflow`; two files of one name can't be loaded in one process."""
    assert pb.DESCRIPTOR.package == "tensorbundle.proto.v1"
    assert "package tensorbundle.proto.v1;" in TEXT
    assert not pb.DESCRIPTOR.name.startswith("tensorflow")


@given(st.integers(1, MAX_SHARDS), st.booleans(), int32s, int32s, st.lists(int32s, max_size=3))
def test_header_is_encoded_like_protobuf(num_shards, big_endian, producer, min_consumer, bad):
    version = pb.VersionDef(producer=producer, min_consumer=min_consumer, bad_consumers=bad)
    message = pb.BundleHeaderProto(num_shards=num_shards, endianness=int(big_endian), version=version)
    header = BundleHeader(num_shards, big_endian, producer, min_consumer, tuple(bad))
    assert header.encode() == message.SerializeToString()
    if producer >= 0 and min_consumer <= 1 and 1 not in bad:
        assert BundleHeader.parse(message.SerializeToString()) == header


lengths = st.one_of(st.just(WHOLE), st.integers(1, 2**63 - 1))
slices = st.lists(st.tuples(st.integers(0, 2**63 - 1), lengths), max_size=4).map(
    lambda extents: tb.TensorSlice(tuple(extents))
)
sizes = st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1))


def shape_message(shape):
    return pb.TensorShapeProto(dim=[pb.TensorShapeProto.Dim(size=size) for size in shape])


def slice_message(part):
    extents = [
        {"start": start} | ({} if length == WHOLE else {"length": length}) for start, length in part.extents
    ]
    return pb.TensorSliceProto(extent=[pb.TensorSliceProto.Extent(**each) for each in extents])


@given(
    st.sampled_from([*DType]),
    st.lists(sizes, max_size=4).map(tuple),
    sizes,
    st.integers(0, 2**31 - 1),
    sizes,
    st.integers(0, 2**32 - 1),
)
@example(DType.float32, (), 0, 0, 0, unmask(0))  # the one checksum whose stored form is 0, which is left out
def test_entry_is_encoded_like_protobuf(dtype, shape, nbytes, shard, offset, crc):
    entry = TensorEntry(dtype, shape, nbytes, shard, offset, crc)
    stored = ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
    message = pb.BundleEntryProto(
        dtype=dtype.number,
        shape=shape_message(shape),
        shard_id=shard,
        offset=offset,
        size=nbytes,
        crc32c=stored,
    )
    assert entry.encode() == message.SerializeToString()
    assert parse_entry(entry.encode()) == entry


@given(
    st.sampled_from([*DType]),
    st.lists(sizes, max_size=4).map(tuple),
    st.lists(slices, min_size=1, max_size=3),
)
def test_partitioned_entry_is_encoded_like_protobuf(dtype, shape, parts):
    entry = TensorEntry(dtype, shape, math.prod(shape) * dtype.itemsize, slices=tuple(parts))
    message = pb.BundleEntryProto(
        dtype=dtype.number, shape=shape_message(shape), slices=[slice_message(part) for part in parts]
    )
    assert entry.encode() == message.SerializeToString()
    assert parse_entry(entry.encode()) == entry


def entry_of(message):
    """What `parse_entry` should make of a message that protobuf decoded."""
    if any(len(each.extent) > MAX_RANK for each in message.slices) or len(message.shape.dim) > MAX_RANK:
        raise tb.CorruptionError("rank")
    shape = tuple(dim.size for dim in message.shape.dim)
    parts = []
    for part in message.slices:
        extents = [
            (each.start, each.length if each.WhichOneof("has_length") else WHOLE) for each in part.extent
        ]
        if any(start < 0 or length < WHOLE for start, length in extents):
            raise tb.CorruptionError("slice")
        if any(each.WhichOneof("has_length") and each.length < 0 for each in part.extent):
            raise tb.CorruptionError("slice")
        parts.append(tb.TensorSlice(tuple(extents)))
    if any(size < 0 for size in shape):
        raise tb.CorruptionError("shape")
    dtype = DType.from_number(message.dtype)
    if parts:
        nbytes = math.prod(shape) * dtype.itemsize
        return TensorEntry(dtype, shape, nbytes, max(message.shard_id, 0), slices=tuple(parts))
    if min(message.shard_id, message.offset, message.size) < 0:
        raise tb.CorruptionError("place")
    return TensorEntry(dtype, shape, message.size, message.shard_id, message.offset, unmask(message.crc32c))


def field(number, strategy):
    """An encoded length-delimited field."""
    return strategy.map(lambda value: encode_varint(number << 3 | 2) + encode_varint(len(value)) + value)


def varint_field(number, strategy=int64s):
    return strategy.map(lambda value: encode_varint(number << 3) + encode_varint(value))


unknown = wire_fields(16, 2**29 - 1, depth=1)  # above those of the schema


def message(*parts):
    """Fields in any order, each any number of times, among unknown ones."""
    return st.lists(st.one_of(*parts, unknown), max_size=7).map(b"".join)


def once(*parts):
    """Fields in any order, each at most once, among unknown ones."""
    optional = [st.one_of(st.just(b""), part) for part in (*parts, unknown)]
    return st.tuples(*optional).flatmap(st.permutations).map(b"".join)


# A negative number is refused wherever it stands, also where protobuf would let a later one replace it: hence `once`.
extent = once(varint_field(1), varint_field(2))
dim = once(varint_field(1), field(2, st.text(max_size=3).map(str.encode)))
shape = message(field(2, dim), varint_field(3, st.integers(0, 1)))
entry = message(
    varint_field(1, st.sampled_from([each.number for each in DType])),
    varint_field(1, st.integers(1, 9)),
    field(2, shape),
    varint_field(3),
    varint_field(4),
    varint_field(5),
    st.binary(min_size=4, max_size=4).map(lambda value: b"\x35" + value),
    field(7, message(field(1, extent))),
)


def outcome(function, *args):
    """The value, or that there is none."""
    try:
        return function(*args)
    except (tb.BundleError, DecodeError):
        return "refused"


@given(entry)
@example(
    bytes.fromhex("0801 1204 1202 0802 1204 1202 0803 2818")
)  # a message in two parts: protobuf joins them
@example(bytes.fromhex("0801 1206 1801 1202 0805 2804"))  # unknown rank, and a dimension after it
@example(bytes.fromhex("0801 1801 3a00"))  # a partitioned tensor with a shard, as merging writes it
@example(bytes.fromhex("0801 1204 1801 1800 2804"))  # unknown rank, taken back
@example(bytes.fromhex("0801 1203 1801 ff 2804"))  # unknown rank, then something that is no field
def test_entry_is_decoded_like_protobuf(data):
    expected = outcome(lambda: entry_of(pb.BundleEntryProto.FromString(data)))
    assert outcome(parse_entry, data) == expected


@pytest.mark.parametrize(
    ("data", "meaning"),
    [
        ("0801 1200 2804 30 07", "a checksum as varint instead of fixed32"),
        ("0801 1200 25 01000000 2804", "an offset as fixed32 instead of varint"),
        ("0801 1200 2804 29 0500000000000000", "a size as fixed64 instead of varint"),
        ("0801 1200 15 01000000 2804", "a shape as fixed32 instead of a message"),
        ("0801 1203 1d 00000080 2804", "an unknown rank as fixed32 instead of varint"),
        ("0801 1202 1a 00 2804", "an unknown rank as bytes instead of varint"),
    ],
)
def test_a_known_field_of_another_wire_type_is_an_unknown_field(data, meaning):
    data = bytes.fromhex(data)
    assert outcome(parse_entry, data) == outcome(lambda: entry_of(pb.BundleEntryProto.FromString(data))), (
        meaning
    )


def header_of(message):
    """What `BundleHeader.parse` should make of a message that protobuf decoded."""
    version = message.version
    if not 1 <= message.num_shards <= MAX_SHARDS:
        raise tb.CorruptionError("shards")
    if version.producer < 0 or version.min_consumer > 1 or 1 in version.bad_consumers:
        raise tb.UnsupportedError("version")
    return BundleHeader(
        message.num_shards,
        message.endianness == pb.BundleHeaderProto.BIG,
        version.producer,
        version.min_consumer,
        tuple(version.bad_consumers),
    )


packed = st.lists(uint64s, max_size=3).map(lambda values: b"".join(map(encode_varint, values)))
version = message(varint_field(1), varint_field(2), varint_field(3), field(3, packed))
header = message(
    varint_field(1), varint_field(1, st.integers(1, 9)), varint_field(2, st.integers(0, 2)), field(3, version)
)


@given(header)
def test_header_is_decoded_like_protobuf(data):
    assert outcome(BundleHeader.parse, data) == outcome(
        lambda: header_of(pb.BundleHeaderProto.FromString(data))
    )


def nodes_of(message):
    """What `decode_nodes` should make of a message that protobuf decoded."""
    count = len(message.nodes)
    if not count:
        raise tb.CorruptionError("no nodes")
    ends = [each.node_id for node in message.nodes for each in node.children]
    ends += [
        end
        for node in message.nodes
        for each in node.slot_variables
        for end in (each.original_variable_node_id, each.slot_variable_node_id)
    ]
    if any(not 0 <= end < count for end in ends):
        raise tb.CorruptionError("edges")
    return [node_of(number, node) for number, node in enumerate(message.nodes)]


def node_of(number, message):
    rest = type(message)()
    rest.CopyFrom(message)
    for descriptor, _ in message.ListFields():
        rest.ClearField(descriptor.name)
    saver, mark = message.registered_saver, message.has_checkpoint_values
    slots = [
        (each.slot_name, each.original_variable_node_id, each.slot_variable_node_id)
        for each in message.slot_variables
    ]
    return (
        number,
        list({each.local_name: each.node_id for each in reversed(message.children)}.items())[::-1],
        [
            Attribute(each.name, each.full_name, each.checkpoint_key, each.optional_restore)
            for each in message.attributes
        ],
        list(dict.fromkeys(slots)),
        RegisteredSaver(saver.name, saver.object_name) if message.HasField("registered_saver") else None,
        mark.value if message.HasField("has_checkpoint_values") else None,
        rest.SerializeToString(),
    )


def plainly(node):
    """A node as `node_of` gives one."""
    return (
        node.id,
        [(name, child.id) for name, child in node.children.items()],
        node.attributes,
        [(each.name, each.variable.id, each.slot.id) for each in node.slots],
        node.registered_saver,
        node.has_checkpoint_values,
        node.unknown,
    )


texts = st.one_of(
    st.text(max_size=3).map(str.encode), st.just(b"VARIABLE_VALUE"), st.sampled_from([b"\xff", b"n" * 200])
)
ends = st.one_of(st.integers(0, 3), st.sampled_from([-1, 2**31, 2**32, 2**32 + 1, 2**63]))
flags = st.sampled_from([0, 1, 2, 2**32])
group = st.lists(wire_fields(1, 20, depth=0), max_size=2).map(
    lambda inner: b"\x2b" + b"".join(inner) + b"\x2c"
)
# A known number of another wire type, and an unknown one.
odd = st.one_of(wire_fields(1, 6, depth=0), group)
node = message(
    field(1, message(varint_field(1, ends), field(2, texts))),
    field(1, message(varint_field(1, ends), field(2, texts), odd)),
    field(2, message(*(field(number, texts) for number in (1, 2, 3)), varint_field(4, flags))),
    field(2, message(field(2, texts), odd)),
    field(3, message(varint_field(1, ends), field(2, texts), varint_field(3, ends))),
    field(4, message(field(1, texts), field(2, texts))),
    field(5, message(varint_field(1, flags))),
    odd,
)
graph = st.lists(st.one_of(field(1, node), field(1, node), odd), max_size=5).map(b"".join)


@given(graph)
@example(bytes.fromhex("0a0a 2203 0a0161 2203 120162"))  # a saver in two parts
@example(bytes.fromhex("0a06 2a02 0801 2a00"))  # a mark, and nothing of it
@example(bytes.fromhex("0a04 2a02 0802"))  # true is any number but 0
@example(bytes.fromhex("0a0a 0a08 0880808080 101200"))  # an int32 of five bytes, of which 32 bits count
@example(bytes.fromhex("8a00 00"))  # a tag longer than need be
@example(bytes.fromhex("0a09 8a00 06 888000 00 1200"))
@example(bytes.fromhex("0a04 8a80 00 00"))
@example(bytes.fromhex("0a08 3001 2a00 3802 3003"))  # unknown fields keep their order
@example(bytes.fromhex("0a06 3308 0112 0034"))  # a group
@example(bytes.fromhex("0a00 0b0c"))
def test_nodes_are_decoded_as_protobuf_does(data):
    expected = outcome(lambda: nodes_of(pb.TrackableObjectGraph.FromString(data)))
    assert outcome(lambda: [*map(plainly, decode_nodes(data))]) == expected
    if expected != "refused":
        decoded = pb.TrackableObjectGraph.FromString(data)
        edges = [[(each.local_name, each.node_id) for each in node.children] for node in decoded.nodes]
        assert stored_edges(data) == edges


@given(graph, st.data())
def test_damaged_nodes_are_refused_or_mean_the_same(data, draw):
    """Numbers wider than 64 bits, or written with more bytes than they need to have, are no graphs here."""
    data = draw.draw(damaged(data))
    found = outcome(lambda: [*map(plainly, decode_nodes(data))])
    assert found in ("refused", outcome(lambda: nodes_of(pb.TrackableObjectGraph.FromString(data))))


def test_nodes_are_encoded_as_protobuf_does():
    """Every field, with and without a value; numbers and sizes of two bytes; characters of several."""
    many = [Node(id=number + 1) for number in range(200)]
    root = Node(children={f"{each.id}é" * (1 + each.id % 99): each for each in many} | {"": many[0]})
    for node, saver in zip(many, (RegisteredSaver("", ""), RegisteredSaver("s", "o" * 130)), strict=False):
        node.registered_saver = saver
    for node, value in zip(many, (True, False, None), strict=False):
        node.has_checkpoint_values = value
    many[3].attributes = [Attribute("", "", ""), Attribute("a", "n" * 300, "k", optional_restore=True)]
    many[4].slots = [Slot("", root, root), Slot("m", many[150], many[5])]
    encoded = encode_nodes([root, *many])
    assert encoded == pb.TrackableObjectGraph.FromString(encoded).SerializeToString(deterministic=True)
    assert encode_nodes(decode_nodes(encoded)) == encoded
