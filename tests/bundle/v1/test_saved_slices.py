"""The records of V1 files against the protobuf library, and encodings that nobody writes but everybody may."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from support.bundles import raw
from support.contents import any_bits, content
from support.cost import growth
from support.strategies import names, shapes, uint64s
from support.v1_files import (
    FIELD_OF,
    SavedTensorSlices,
    TensorProto,
    UnpackedTensor,
    listed,
    saved,
)
from tensorbundle.coding import encode_varint, fields
from tensorbundle.dtypes import DType
from tensorbundle.entries import VERSIONS
from tensorbundle.proto import checkpoint_pb2 as pb
from tensorbundle.v1 import saved_slices
from tensorbundle.v1.index import whole_slice
from tensorbundle.v1.saved_slices import (
    WRITABLE,
    SavedTensor,
    decode_values,
    encode_meta,
    encode_slice,
    parse_meta,
    parse_slice,
    size_bound,
    slice_parts,
)

NUMBERS = [DType[name] for name in FIELD_OF if name != "string"]
VARINTS = [
    dtype
    for dtype in NUMBERS
    if FIELD_OF[dtype] not in ("float_val", "double_val", "scomplex_val", "dcomplex_val")
]
FIXED = [dtype for dtype in NUMBERS if dtype not in VARINTS]
# dtype to the number of its field
NUMBER_OF = {dtype: TensorProto.DESCRIPTOR.fields_by_name[field].number for dtype, field in FIELD_OF.items()}

every_number = pytest.mark.parametrize("dtype", NUMBERS)
every_varint = pytest.mark.parametrize("dtype", VARINTS)
extents = st.one_of(st.just((0, -1)), st.tuples(st.integers(0, 2**40), st.integers(1, 2**40)))
slices = st.lists(extents, max_size=3).map(lambda found: tb.TensorSlice(tuple(found)))


def strings(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


def encoded(dtype, array):
    """The TensorProto that a record of this tensor has."""
    return bytes(parse_slice(encode_slice(b"x", whole_slice(array.ndim), dtype, array))[2])


def decoded(message, dtype, elements):
    return decode_values(memoryview(message), DType[dtype], elements)


def packed(dtype, values):
    """A packed list of varints."""
    run = b"".join(map(encode_varint, values))
    return encode_varint(NUMBER_OF[dtype] << 3 | 2) + encode_varint(len(run)) + run


def meta_of(*members):
    """A meta record of these encoded members: each its field's number and its bytes."""
    meta = b"".join(bytes([number << 3 | 2]) + encode_varint(len(each)) + each for number, each in members)
    return raw("0a") + encode_varint(len(meta)) + meta


def test_every_type_has_a_field():
    """Those that TensorFlow writes, and those for which its tables have a field."""
    assert {DType[name] for name in FIELD_OF} == {*saved_slices._VALUES}
    assert {*FIELD_OF} - {*WRITABLE} == {"qint16", "quint16", "bfloat16", "uint32", "uint64"}


# Values


@given(st.sampled_from(NUMBERS), shapes, st.integers(0, 99))
def test_any_numbers_come_back(dtype, shape, seed):
    array = any_bits(dtype, shape, seed)
    found = decoded(encoded(dtype, array), dtype, array.size)
    assert found.dtype == array.dtype
    assert content(found) == content(array)


@given(st.sampled_from(VARINTS), st.integers(0, 9), st.integers(0, 99))
def test_varints_are_those_of_the_protobuf_library(dtype, size, seed):
    array = any_bits(dtype, (size,), seed)
    message = TensorProto(**{FIELD_OF[dtype]: listed(array)})
    assert encoded(dtype, array) == message.SerializeToString()
    assert listed(decoded(message.SerializeToString(), dtype, size)) == listed(array)


@given(st.sampled_from(FIXED), st.lists(st.floats(width=32, allow_nan=False), max_size=6))
def test_floats_are_those_of_the_protobuf_library(dtype, values):
    array = np.array(values[: len(values) // 2 * 2]).view("c16" if dtype.startswith("complex") else "f8")
    array = array.astype(dtype.numpy)
    message = TensorProto(**{FIELD_OF[dtype]: listed(array)})
    assert encoded(dtype, array) == message.SerializeToString()


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_strings(values):
    message = TensorProto(string_val=values).SerializeToString()
    assert encoded(DType.string, strings(*values)) == message
    assert decoded(message, "string", len(values)).tolist() == values


@given(st.sampled_from(VARINTS), st.integers(0, 7), st.integers(0, 99), st.integers(0, 7))
def test_numbers_may_come_each_by_itself_or_in_several_lists(dtype, size, seed, cut):
    array = any_bits(dtype, (size,), seed)
    field = FIELD_OF[dtype]
    alone = UnpackedTensor(**{field: listed(array)}).SerializeToString()
    first = TensorProto(**{field: listed(array[:cut])}).SerializeToString()
    second = UnpackedTensor(**{field: listed(array[cut:])}).SerializeToString()
    for message in (alone, first + second, second + first):
        merged = listed(np.concatenate([array[cut:], array[:cut]])) if message == second + first else None
        assert listed(decoded(message, dtype, size)) == (merged or listed(array))


@pytest.mark.parametrize("dtype", FIXED)
def test_floats_may_come_each_by_itself_or_in_several_lists(dtype):
    array = any_bits(DType.int8, (4,)).astype(dtype.numpy)
    field = FIELD_OF[dtype]
    alone = UnpackedTensor(**{field: listed(array)}).SerializeToString()
    half = TensorProto(**{field: listed(array[:2])}).SerializeToString()
    rest = UnpackedTensor(**{field: listed(array[2:])}).SerializeToString()
    for message in (alone, half + rest, half + TensorProto(**{field: listed(array[2:])}).SerializeToString()):
        assert content(decoded(message, dtype, 4)) == content(array)


@every_number
def test_other_fields_are_passed_over(dtype):
    """Types, shapes, the values of other types, and a number of another wire type, as TensorFlow does."""
    array = any_bits(dtype, (3,))
    number = NUMBER_OF[dtype]
    others = [
        raw('08 01 12 02 1200 22 03 "abc"'),  # dtype, tensor_shape, tensor_content
        *(
            TensorProto(**{field: [1]}).SerializeToString()
            for field in FIELD_OF.values()
            if field != "string_val"
        ),
        *(encode_varint(number << 3 | 0) + encode_varint(2**63), encode_varint(number << 3 | 1) + bytes(8)),
        encode_varint(number << 3 | 5) + bytes(4),
    ]
    own = {0: VARINTS, 1: [DType.float64, DType.complex128], 5: [DType.float32, DType.complex64]}
    for other in others:
        for field, wire_type, _ in fields(other):
            if field == number and (wire_type == 2 or dtype in own[wire_type]):
                break
        else:
            for message in (other + encoded(dtype, array), encoded(dtype, array) + other):
                assert content(decoded(message, dtype, 3)) == content(array)


@every_varint
@given(values=st.lists(uint64s, min_size=1, max_size=4))
def test_values_beyond_a_type_lose_their_high_bits(dtype, values):
    """As in TensorFlow, where protobuf's list has 32 bits or 64, and the tensor as many as it has."""
    found = decoded(packed(dtype, values), dtype, len(values))
    if dtype is DType.bool:
        assert found.tolist() == [value != 0 for value in values]
    else:
        bits = 8 * dtype.itemsize
        assert found.view(f"u{dtype.itemsize}").tolist() == [value % 2**bits for value in values]


@every_varint
@pytest.mark.parametrize("values", [[5], [300, 2**64 - 1], [2**32 + 7], [2**63]])
def test_the_protobuf_library_means_the_same_values(dtype, values):
    """Where it has them: its lists of int32 have 32 bits."""
    message = TensorProto.FromString(packed(dtype, values))
    field = FIELD_OF[dtype]
    theirs = np.array(getattr(message, field), "u8" if field.startswith("uint") else "i8")
    ours = decoded(packed(dtype, values), dtype, len(values))
    if dtype in (DType.float16, DType.bfloat16):
        ours = ours.view("u2")
    assert ours.tolist() == (theirs != 0 if dtype is DType.bool else theirs.astype(ours.dtype)).tolist()


@pytest.mark.parametrize("chunk", [10, 11, 13, 64])
def test_varints_across_chunks(monkeypatch, chunk):
    monkeypatch.setattr(saved_slices, "_CHUNK", chunk)
    for array in (
        np.arange(-40, 40),
        np.arange(500, dtype=np.int16),
        np.full(25, -1, np.int8),
        any_bits(DType.int64, (97,)),
        np.array([2**63 - 1, -(2**63), 0]),
    ):
        dtype = DType.of(array.dtype)
        message = TensorProto(**{FIELD_OF[dtype]: array.tolist()}).SerializeToString()
        assert encoded(dtype, array) == message
        assert decoded(message, dtype, array.size).tolist() == array.tolist()


@pytest.mark.parametrize("size", range(1, 11))
def test_varints_of_every_width(size):
    edges = [1 << 7 * (size - 1), min(2**64, 1 << 7 * size) - 1]
    array = np.array([edges[0] * (size > 1), *edges, 1, edges[1]], np.uint64).view(np.int64)
    message = TensorProto(int64_val=array.tolist()).SerializeToString()
    assert len(encode_varint(edges[1])) == size
    assert encoded(DType.int64, array) == message
    assert decoded(message, "int64", 5).tolist() == array.tolist()


def test_arrays_in_other_orders():
    """Transposed, reversed, big-endian: what counts are the values in C order."""
    for array in (
        np.arange(6.0, dtype=np.float32).reshape(2, 3).T,
        np.arange(5)[::-2],
        np.array([1.5, -2], ">f8"),
        np.array([258, -1], ">i4"),
        np.array(3 + 4j, np.complex64),
        np.array(b"scalar", object),
    ):
        dtype = DType.of(array.dtype)
        found = decoded(encoded(dtype, array), dtype, array.size)
        assert found.tolist() == array.reshape(-1).tolist()


@every_number
def test_no_values(dtype):
    """An empty message; but also an empty list is none."""
    assert encoded(dtype, any_bits(dtype, (0, 3))) == b""
    empty = encode_varint(NUMBER_OF[dtype] << 3 | 2) + b"\0"
    for message in (b"", empty, empty * 2):
        found = decoded(message, dtype, 0)
        assert (found.size, found.dtype) == (0, dtype.numpy)
    assert content(decoded(empty + encoded(dtype, any_bits(dtype, (2,))), dtype, 2)) == content(
        any_bits(dtype, (2,))
    )


@pytest.mark.parametrize("dtype", [*NUMBERS, DType.string])
@pytest.mark.parametrize("claimed", [0, 2, 4, 2**31, 2**62])
def test_wrong_counts(dtype, claimed):
    """Too few, too many, and so many that there is no memory for them, which is not asked for."""
    array = strings(b"a", b"", b"c") if dtype is DType.string else any_bits(dtype, (3,))
    with pytest.raises(tb.CorruptionError, match=f"^3 values stored, the slice has {claimed} elements$"):
        decoded(encoded(dtype, array), dtype, claimed)


@every_varint
@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (b"\x01\x80", "the last value of a list is cut short"),
        (b"\xff" * 9, "the last value of a list is cut short"),
        (b"\xff" * 10 + b"\x01", "varint wider than 64 bits"),
        (b"\x01" + b"\x80" * 3000 + b"\x01", "varint wider than 64 bits"),
    ],
)
def test_damaged_varints(dtype, run, reason):
    count = sum(byte < 0x80 for byte in run)
    tag = encode_varint(NUMBER_OF[dtype] << 3 | 2)
    with pytest.raises(tb.CorruptionError, match=reason):
        decoded(tag + encode_varint(len(run)) + run, dtype, count)


def test_a_very_long_varint(monkeypatch):
    monkeypatch.setattr(saved_slices, "_CHUNK", 16)
    run = b"\x01" + b"\x80" * 40 + b"\x01"
    with pytest.raises(tb.CorruptionError, match="varint wider than 64 bits"):
        decoded(raw("3a 2a") + run, "int32", 2)


@every_varint
def test_a_varint_does_not_go_on_in_the_next_list(dtype):
    tag = encode_varint(NUMBER_OF[dtype] << 3 | 2)
    with pytest.raises(tb.CorruptionError, match="the last value of a list is cut short"):
        decoded(tag + b"\x02\x01\x80" + tag + b"\x01\x00", dtype, 2)


@pytest.mark.parametrize("dtype", FIXED)
def test_floats_cut_short(dtype):
    tag = encode_varint(NUMBER_OF[dtype] << 3 | 2)
    with pytest.raises(tb.CorruptionError, match="the last value of a list is cut short"):
        decoded(tag + b"\x03abc", dtype, 1)
    with pytest.raises(tb.CorruptionError, match="the last value of a list is cut short"):
        decoded((tag + b"\x02ab") * 8, dtype, 16 // dtype.itemsize)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_half_a_complex_number(dtype):
    width = DType[dtype].swap_width
    run = encode_varint(NUMBER_OF[dtype] << 3 | 2) + bytes([3 * width]) + bytes(3 * width)
    with pytest.raises(tb.CorruptionError, match=f"^{3 * width} bytes of values of {2 * width} bytes each$"):
        decoded(run, dtype, 1)


@pytest.mark.parametrize("dtype", ["variant", "resource", "float8_e5m2", "int4", "uint2"])
def test_types_that_the_format_does_not_have(dtype):
    with pytest.raises(tb.UnsupportedError, match=f"^the V1 format has no values of type {dtype}$"):
        decoded(b"", dtype, 0)
    with pytest.raises(tb.UnsupportedError, match=f"^the V1 format has no values of type {dtype}$"):
        encode_slice(b"x", whole_slice(1), DType[dtype], np.zeros(1, np.int8))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "bool", "float32"])
def test_memory_for_values_goes_with_their_size(dtype):
    """Not with eight bytes for the place of each, and eight more for its value."""
    array = np.ones(1 << 20, DType[dtype].numpy)
    message = memoryview(encoded(DType[dtype], array))
    tracemalloc.start()
    try:
        assert decode_values(message, DType[dtype], array.size).size == array.size
        assert tracemalloc.get_traced_memory()[1] < array.nbytes + (2 << 20)
        tracemalloc.reset_peak()
        encode_slice(b"x", whole_slice(1), DType[dtype], array)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(message) + array.nbytes + (2 << 20)
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_for_numbers_that_stand_alone():
    """Each is a field of its own, and there are many."""
    message = memoryview(raw("2d 0000803f") * 50_000)
    tracemalloc.start()
    try:
        assert decode_values(message, DType.float32, 50_000).tolist() == [1.0] * 50_000
        assert tracemalloc.get_traced_memory()[1] < 3 << 20
    finally:
        tracemalloc.stop()


# Records


@given(names, slices, st.sampled_from(NUMBERS), shapes)
def test_slice_records_are_those_of_the_protobuf_library(name, part, dtype, shape):
    array = any_bits(dtype, shape)
    record = encode_slice(name.encode(), part, dtype, array)
    message = SavedTensorSlices.FromString(record)
    assert (message.data.name, message.data.slice) == (
        name.encode(),
        pb.TensorSliceProto.FromString(part.encode()),
    )
    if dtype in VARINTS:
        assert message.SerializeToString() == record
    found_name, found_part, found = parse_slice(record)
    assert (found_name, found_part) == (name.encode(), part)
    assert content(decode_values(found, dtype, array.size)) == content(array)


@pytest.mark.parametrize("dtype", ["float32", "complex128", "int32", "bool", "string"])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_record_of_values_that_come_in_chunks(dtype, count):
    values = any_values(dtype, count)
    chunks = [values[:2], values[2:3], values[3:]]
    size, parts = slice_parts(b"x", whole_slice(1), DType[dtype], count, chunks)
    record = b"".join(parts)
    assert record == encode_slice(b"x", whole_slice(1), DType[dtype], values)
    assert len(record) == size


def any_values(dtype, count):
    if dtype == "string":
        out = np.empty(count, object)
        out[:] = [b"s" * 40 * each for each in range(count)]
        return out
    return np.arange(-3, count - 3).astype(DType[dtype].numpy)


def test_a_record_in_parts():
    """Protobuf joins the parts of a message, and of two names the last one counts."""
    message = SavedTensorSlices()
    message.data.name = b"y"
    message.data.slice.extent.add(start=1, length=2)
    message.data.data.float_val.extend([1, 2])
    more = SavedTensorSlices()
    more.data.name = b"x"
    more.data.slice.extent.add()
    more.data.data.float_val.append(3)
    joined = message.SerializeToString() + raw("08 01 30 02") + more.SerializeToString()
    name, part, values = parse_slice(joined)
    assert (name, str(part)) == (b"x", "1,2:-")
    assert decode_values(values, DType.float32, 3).tolist() == [1, 2, 3]


def test_the_worked_example():
    """What TensorFlow writes for `x` = float32 [-1, 0, 2]."""
    array = np.array([-1, 0, 2], np.float32)
    assert encode_meta([saved("x", "float32", [3])]) == raw(
        '0a15 0a0f 0a01"x" 1204 12020803 1801 2202 0a00 1202 0801'
    )
    assert encode_slice(b"x", whole_slice(1), DType.float32, array) == raw(
        '1217 0a01"x" 1202 0a00 1a0e 2a0c 000080bf 00000000 00000040'
    )


tensors = st.builds(
    SavedTensor,
    names.map(str.encode),
    shapes,
    st.sampled_from(list(DType)),
    st.lists(slices, max_size=3).map(tuple),
)


@given(st.lists(tensors, max_size=4))
def test_meta_records_are_those_of_the_protobuf_library(tensors):
    record = encode_meta(tensors)
    message = SavedTensorSlices.FromString(record)
    assert message.SerializeToString() == record
    assert message.meta.versions.producer == 1
    assert [
        (each.name, tuple(dim.size for dim in each.shape.dim), DType.from_number(each.type))
        for each in message.meta.tensor
    ] == [each[:3] for each in tensors]
    assert parse_meta(record) == tensors


def test_a_name_of_no_bytes_is_left_out():
    """As protobuf leaves out every text that is empty."""
    record = encode_meta([saved("", "int8", [])])
    assert SavedTensorSlices.FromString(record).SerializeToString() == record
    record = encode_slice(b"", whole_slice(0), DType.int8, np.int8(3).reshape(()))
    assert SavedTensorSlices.FromString(record).SerializeToString() == record


def test_a_meta_record_in_parts():
    whole = SavedTensorSlices.FromString(encode_meta([saved("a", "int8", [2, 3]), saved("b", "bool", [])]))
    first, second = SavedTensorSlices(), SavedTensorSlices()
    first.meta.tensor.append(whole.meta.tensor[0])
    second.meta.tensor.append(whole.meta.tensor[1])
    second.meta.versions.CopyFrom(whole.meta.versions)
    assert parse_meta(first.SerializeToString() + second.SerializeToString()) == parse_meta(
        whole.SerializeToString()
    )
    # A shape in two parts, and the type at first as a number of another wire type.
    meta = raw('0a01"a" 1d 00000000 12041202 0802 1806 12041202 0803 2204 0a00 0a00')
    assert parse_meta(meta_of((1, meta))) == [saved("a", "int8", [2, 3])]


@pytest.mark.parametrize(
    ("versions", "reason"),
    [
        (b"\x08\x01\x10\x02", "min_consumer 2"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "producer -1"),
        (b"\x18\x01", r"bad_consumers \[1\]"),
        (b"\x1a\x02\x05\x01", r"bad_consumers \[5, 1\]"),
    ],
)
def test_versions_that_shut_us_out(versions, reason):
    record = (
        raw("0a") + encode_varint(len(versions) + 2) + raw("12") + encode_varint(len(versions)) + versions
    )
    with pytest.raises(tb.UnsupportedError, match=f"{reason}.* excludes readers of version 1"):
        parse_meta(record)


@pytest.mark.parametrize("versions", [b"", VERSIONS, b"\x08\x05", b"\x10\x01", b"\x18\x02", b"\x20\x07"])
def test_versions_that_do_not(versions):
    record = (
        raw("0a") + encode_varint(len(versions) + 2) + raw("12") + encode_varint(len(versions)) + versions
    )
    assert parse_meta(record) == []
    assert parse_meta(b"") == []


@pytest.mark.parametrize(
    ("tensor", "error", "reason"),
    [
        ('0a01"a" 1800', tb.UnsupportedError, "data type number 0 is not one that a checkpoint stores"),
        ('0a01"a" 1865', tb.UnsupportedError, "data type number 101 is not one that a checkpoint stores"),
        ('0a01"a" 1801 120d 120b 08 ffffffffffffffffff01', tb.CorruptionError, "dimension of -1 elements"),
        ('0a01"a" 1801 2205 0a03 080110', tb.CorruptionError, "varint cut short"),
        ('0a01"a" 1801 220d 0a0b 08 ffffffffffffffffff01', tb.CorruptionError, "slice that starts at -1"),
        ('0a01"a" 1801 2206 0a04 0802 1000', tb.CorruptionError, "starts at 2 and has the length 0"),
        ('0a01"a" 1801 2204 0a02 0802', tb.CorruptionError, "starts at 2 and has the length -1"),
        ('0a01"a" 1801 2203 0a0908', tb.CorruptionError, "claims 9 bytes"),
    ],
)
def test_damaged_tensors_are_told_by_name(tensor, error, reason):
    with pytest.raises(error, match=reason) as caught:
        parse_meta(meta_of((1, raw(tensor))))
    assert caught.value.key == "a"


@pytest.mark.slow
def test_many_small_parts_take_linear_time():
    """Of a shape, of the versions and of a list."""

    def prepare(parts):
        tensor = meta_of((1, raw('0a01"a" 1801') + raw("12 02 2800") * parts))
        versions = meta_of(*[(2, VERSIONS)] * parts)
        values = raw("3a 01 05") * parts

        def work():
            assert parse_meta(tensor)[0].shape == ()
            assert parse_meta(versions) == []
            assert decoded(values, "int32", parts).sum() == 5 * parts

        return work

    assert growth(prepare, 1_000) < 5
    prepare(100_000)()  # what is quadratic in C shows here, by the time-out


# The size that TensorFlow expects


@pytest.mark.parametrize(
    ("dtype", "each"),
    [
        *(("float32", 4), ("float64", 8), ("complex64", 8), ("complex128", 16), ("bool", 1), ("string", 10)),
        *(("int32", 10), ("int16", 10), ("int8", 10), ("int64", 10), ("qint8", 10), ("qint32", 10)),
        *(("uint8", 2), ("quint8", 2), ("uint16", 3), ("float16", 3)),
    ],
)
def test_size_bound(dtype, each):
    """core/util/tensor_slice_writer.cc: name, slice, a kilobyte, and so much for each element."""
    assert size_bound(b"name", whole_slice(2), DType[dtype], 1000) == 6 + 2 + 4 + 1024 + 1000 * each
    assert size_bound(b"name", whole_slice(2), DType[dtype], 0, 77) == 6 + 2 + 4 + 1024 + 77
    assert DType[dtype] in WRITABLE


@pytest.mark.parametrize("dtype", sorted(WRITABLE - {DType.string}))
def test_records_are_no_longer_than_that(dtype):
    array = any_bits(dtype, (500,), 3)
    record = encode_slice(b"name", whole_slice(1), dtype, array)
    assert len(record) <= size_bound(b"name", whole_slice(1), dtype, array.size)
