"""The header and the entries of an index: worked bytes, what is accepted, what is refused."""

import pytest

from support.bundles import raw
from tensorbundle.coding import unmask
from tensorbundle.dtypes import DType
from tensorbundle.entries import (
    MAX_SHARDS,
    BundleHeader,
    StoredRange,
    TensorEntry,
    check_range,
    parse_entries,
    parse_entry,
)
from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.slices import MAX_RANK, TensorSlice

# Header


@pytest.mark.parametrize(
    ("encoded", "header"),
    [
        ("0801 1a02 0801", BundleHeader(1)),
        ("0803 1001 1a02 0801", BundleHeader(3, big_endian=True)),
        ("0801 1a00", BundleHeader(1, producer=0)),
        ("0801 1a0a 0801 1001 1a04 0003 8001", BundleHeader(1, False, 1, 1, (0, 3, 128))),
        ("0801 1a0d 1a0b 02 ffffffffffffffffff01", BundleHeader(1, producer=0, bad_consumers=(2, -1))),
        ("08c0843d 1a02 0801", BundleHeader(MAX_SHARDS)),
    ],
)
def test_header(encoded, header):
    assert header.encode() == raw(encoded)
    assert BundleHeader.parse(raw(encoded)) == header


@pytest.mark.parametrize(
    ("encoded", "header"),
    [
        ("0801", BundleHeader(1, producer=0)),  # no version: all zeros
        ("0801 1a02 0863", BundleHeader(1, producer=99)),  # a newer writer alone is fine
        ("0801 1a04 1802 1803", BundleHeader(1, producer=0, bad_consumers=(2, 3))),  # not packed
        ("0801 1007 1a02 0801", BundleHeader(1)),  # no endianness that there is: little
        ('1a02 0801 9801 05 0801 3a01"x"', BundleHeader(1)),  # another order, unknown fields
    ],
)
def test_header_in_other_forms(encoded, header):
    assert BundleHeader.parse(raw(encoded)) == header


@pytest.mark.parametrize(
    ("encoded", "error", "reason"),
    [
        ("", CorruptionError, "header says 0 data shards, not 1 to 1000000"),
        ("1a02 0801", CorruptionError, "header says 0 data shards"),
        ("08ffffffffffffffffff01", CorruptionError, "header says -1 data shards"),
        ("08c1843d", CorruptionError, "header says 1000001 data shards"),
        ("0801 1a03 0801", CorruptionError, "protobuf field 3 claims 3 bytes of 2"),
        (
            "0801 1a0b 08ffffffffffffffffff01",
            UnsupportedError,
            r"producer -1, .* a newer tensorbundle is needed",
        ),
        ("0801 1a04 0801 1002", UnsupportedError, "min_consumer 2, .* excludes readers of version 1"),
        ("0801 1a05 0801 1a01 01", UnsupportedError, r"bad_consumers \[1\]"),
        ("0801 1a04 0801 1801", UnsupportedError, r"bad_consumers \[1\]"),
    ],
)
def test_header_refused(encoded, error, reason):
    with pytest.raises(error, match=reason):
        BundleHeader.parse(raw(encoded))


# Entries: as TensorFlow 2.21 wrote them

WORKED = [
    (
        "0803 1200 2008 2804 35a78d9d88",  # int32 [], offset 8, size 4
        TensorEntry(DType.int32, (), 4, 0, 8, unmask(0x889D8DA7)),
    ),
    (
        "0801 1200 2804 355e2fe1a7",  # float32 [] at 0: shard, offset left out
        TensorEntry(DType.float32, (), 4, 0, 0, unmask(0xA7E12F5E)),
    ),
    (
        "0801 1204 12020802 2808 35593ce535",  # float32 [2], size 8
        TensorEntry(DType.float32, (2,), 8, 0, 0, unmask(0x35E53C59)),
    ),
    (
        "0801 1202 1200 2004 35d8ea82a2",  # float32 [0] at 4: size left out, the crc of nothing
        TensorEntry(DType.float32, (0,), 0, 0, 4, 0),
    ),
    (
        "0801 120a 12020803 1200 12020802 2004 35d8ea82a2",  # float32 [3, 0, 2]
        TensorEntry(DType.float32, (3, 0, 2), 0, 0, 4, 0),
    ),
    (
        "0802 1205 1203 08ac02 18c801 208080808010 28e012 3500000001",  # float64 [300], shard 200, offset 2**32
        TensorEntry(DType.float64, (300,), 2400, 200, 2**32, unmask(2**24)),
    ),
    (
        "0803 1200 20ab939eabb424 2804 35a78d9d88",  # int32 [], an offset of 41 bits
        TensorEntry(DType.int32, (), 4, 0, 0x123456789AB, unmask(0x889D8DA7)),
    ),
    (
        "0801 1200 2804",  # the one crc whose masked form is 0 is left out
        TensorEntry(DType.float32, (), 4, 0, 0, 0x8A942EBE),
    ),
    (
        "0801 1208 1202080a 12020804 3a08 0a021004 0a021004 3a0a 0a04 08041003 0a021004",  # float32 [10, 4]: slices
        TensorEntry(
            DType.float32,
            (10, 4),
            160,
            slices=(TensorSlice(((0, 4), (0, 4))), TensorSlice(((4, 3), (0, 4)))),
        ),
    ),
]


def parsed_both_ways(data):
    """By the general parser, and by the quick one for listings."""
    entry = parse_entry(data)
    assert list(parse_entries((b"k", b"l"), (data, data))) == [((b"k", b"l"), [entry, entry])]
    return entry


@pytest.mark.slow
def test_more_types_and_shapes_than_are_remembered():
    entries = [TensorEntry(DType.int8, (number,), number, offset=number) for number in range(10_050)]
    values = [entry.encode() for entry in entries]
    found = list(parse_entries([b"k"] * len(values), values))
    assert [entry for _, some in found for entry in some] == entries


def test_a_negative_offset_after_an_entry_of_the_same_type_and_shape():
    good = raw("0801 1200 2004 2804 35 01020304")
    bad = raw("0801 1200 20 ffffffffffffffffff01 2804 35 01020304")
    with pytest.raises(CorruptionError) as expected:
        parse_entry(bad)
    with pytest.raises(CorruptionError) as caught:
        list(parse_entries((b"a", b"b"), (good, bad)))
    assert (caught.value.reason, caught.value.key) == (expected.value.reason, "b")


@pytest.mark.parametrize(("encoded", "entry"), WORKED)
def test_entry(encoded, entry):
    assert entry.encode() == raw(encoded)
    assert parsed_both_ways(raw(encoded)) == entry


@pytest.mark.parametrize(
    ("encoded", "changes"),
    [
        ("9003 05 0801 1204 12020802 2808 1d00000000 35593ce535", {}),  # unknown fields
        ("35593ce535 2808 1204 12020802 0801", {}),  # another order
        ("0801 1204 12020802 1800 2000 2808 35593ce535", {}),  # zeros written out
        ('0801 1207 1205 0802 1201"d" 2808 35593ce535', {}),  # a dimension with a name
        ("0801 1206 12020802 1800 2808 35593ce535", {}),  # unknown_rank: false
        ("0801 2808 35593ce535", {"shape": ()}),  # no shape: a scalar
        ("0801 1202 1801 2808 35593ce535", {"shape": ()}),  # unknown_rank: true, likewise
        ("0801 1206 12020802 1801 2808 35593ce535", {}),  # the same beside a dimension, which counts
        ("0801 1204 12020802 2808 2809 35593ce535", {"nbytes": 9}),  # the last one counts
        ("0801 1204 12020802 288800 35593ce535", {}),  # a longer varint than needed
        ("0801 1204 12020802 20808000 2808 35593ce535", {}),  # the same of an offset
        ("0801 1204 12020802 18818000 2808 35593ce535", {"shard": 1}),  # and of a shard
        ("0801 1204 12020802 2008 2007 2808 35593ce535", {"offset": 7}),
    ],
)
def test_entry_in_other_forms(encoded, changes):
    assert parsed_both_ways(raw(encoded)) == WORKED[2][1]._replace(**changes)


def test_the_place_of_a_partitioned_tensor_means_nothing():
    encoded = "0801 1204 12020802 18ffffffffffffffffff01 2007 2808 35593ce535 3a02 0a00"
    entry = parsed_both_ways(raw(encoded))
    assert entry == TensorEntry(DType.float32, (2,), 8, slices=(TensorSlice(((0, -1),)),))


MINUS_1 = "ffffffffffffffffff01"


@pytest.mark.parametrize(
    ("encoded", "error", "reason"),
    [
        ("", UnsupportedError, "data type number 0 is not one that a checkpoint stores"),
        ("1200 2804 355e2fe1a7", UnsupportedError, "data type number 0 "),
        ("0865 1200 2804 355e2fe1a7", UnsupportedError, "data type number 101 "),
        ("08c801 1200 2804 355e2fe1a7", UnsupportedError, "data type number 200 "),
        ("0801 1200 2804 355e2fe1", CorruptionError, "protobuf field 6 is cut short"),
        ("0801 1203 120208 2804 355e2fe1a7", CorruptionError, "protobuf field 2 claims 2 bytes of 1"),
        ("0801 12ff01 2804 355e2fe1a7", CorruptionError, "protobuf field 2 claims 255 bytes of 7"),
        ("0801 1200 2080 355e2fe1a7", CorruptionError, "protobuf field 11 has wire type 6"),
        ("0801 1200 20 8080808080808080808000 2804 355e2fe1a7", CorruptionError, "varint wider than 64 bits"),
        ("0801 1200 2804 0f 355e2fe1a7", CorruptionError, "protobuf field 1 has wire type 7"),
        (f"0801 120d 120b 08{MINUS_1} 2804 355e2fe1a7", CorruptionError, "dimension of -1 elements"),
        (f"0801 1200 20{MINUS_1} 2804 355e2fe1a7", CorruptionError, "negative number: shard 0, offset -1, 4 bytes"),
        (f"0801 1200 28{MINUS_1} 355e2fe1a7", CorruptionError, "negative number: shard 0, offset 0, -1 bytes"),
        (f"0801 1200 18{MINUS_1} 2804 355e2fe1a7", CorruptionError, "negative number: shard -1, offset 0, 4 bytes"),
        ("0801 12fe07" + "1200" * 511, CorruptionError, f"shape of 511 dimensions, at most {MAX_RANK}"),
        (f"0801 1200 3a0d 0a0b 08{MINUS_1}", CorruptionError, "slice that starts at -1"),
        ("0801 1200 3a02 0a05", CorruptionError, "protobuf field 1 claims 5 bytes of 0"),
    ],
)  # fmt: skip
def test_malformed_entry(encoded, error, reason):
    data = raw(encoded)
    with pytest.raises(error, match=reason):
        parse_entry(data)
    with pytest.raises(error, match=reason) as caught:
        list(parse_entries((b"a\xff",), (data,)))
    assert caught.value.key == "a\udcff"


def test_entries_come_until_the_first_bad_one():
    good = raw(WORKED[0][0])
    values = parse_entries((b"a", b"b", b"c"), (good, b"\0", good))
    assert next(values) == ((b"a",), [WORKED[0][1]])
    with pytest.raises(CorruptionError, match="key 'b': protobuf field number 0"):
        next(values)


def test_sizes_are_exact_numbers():
    entry = TensorEntry(DType.float32, (2**62, 2**62), 0)
    assert (entry.elements, entry.expected_nbytes) == (2**124, 2**126)
    assert TensorEntry(DType.float32, (0, 2**62, 2**62), 0).expected_nbytes == 0
    assert TensorEntry(DType.string, (3,), 99).expected_nbytes is None


def in_file(entry):
    return StoredRange("some/path", entry.offset, entry.nbytes)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (TensorEntry(DType.int16, (3,), 5, 0, 0), r"5 bytes stored, int16 \[3\] takes 6$"),
        (
            TensorEntry(DType.int16, (2**40, 2**40), 6, 0, 0),
            "6 bytes stored, int16 .* takes 2417851639229258349412352$",
        ),
        (
            TensorEntry(DType.int16, (3,), 6, 0, 5),
            "6 bytes wanted, the file ends at 10: it is cut short, or belongs to",
        ),
        (
            TensorEntry(DType.string, (3,), 2**63 - 1, 0, 2**63 - 1),
            "9223372036854775807 bytes wanted, the file ends",
        ),
    ],
)
def test_range_refused(entry, reason):
    with pytest.raises(CorruptionError, match=reason) as caught:
        check_range(entry, in_file(entry), 10)
    assert (caught.value.path, caught.value.offset) == ("some/path", entry.offset)


def test_range():
    for entry in (
        TensorEntry(DType.int16, (3,), 6, 0, 4),
        TensorEntry(DType.int16, (0,), 0, 0, 10),
        TensorEntry(DType.string, (3,), 10, 0, 0),
    ):
        check_range(entry, in_file(entry), 10)


@pytest.mark.parametrize("count", [1, 500], ids=["short", "long"])
def test_entries_with_slices_are_decoded_once(count):
    """Each pass over an index has them, and each slice asks for its owner's."""
    slices = tuple(TensorSlice(((start, 1),)) for start in range(count))
    entry = TensorEntry(DType.int8, (count,), count, slices=slices)
    encoded = entry.encode()
    found = parse_entry(encoded)
    assert found == entry
    assert next(parse_entries([b"a"], [bytes(bytearray(encoded))])) == ([b"a"], [entry])
    assert parse_entry(bytes(bytearray(encoded))) is found
