"""Varints, checksums, protobuf fields and ordered code, by published vectors."""

import importlib

import pytest

from tensorbundle import coding
from tensorbundle.errors import CorruptionError

# Varints (LevelDB util/coding_test.cc)

VARINTS = [
    (0, "00"),
    (1, "01"),
    (127, "7f"),
    (128, "8001"),
    (300, "ac02"),
    (2**14 - 1, "ff7f"),
    (2**14, "808001"),
    (2**32 - 1, "ffffffff0f"),
    (2**63, "80808080808080808001"),
    (2**64 - 1, "ffffffffffffffffff01"),
]


@pytest.mark.parametrize(("value", "encoded"), VARINTS)
def test_varint(value, encoded):
    data = bytes.fromhex(encoded)
    assert coding.encode_varint(value) == data
    assert coding.read_varint(b"?" + data + b"?", 1) == (value, 1 + len(data))
    assert coding.read_varint(memoryview(data), 0) == (value, len(data))


@pytest.mark.parametrize("shift", range(64))
def test_varints_around_powers_of_two(shift):
    for value in (2**shift - 1, 2**shift, 2**shift + 1):
        encoded = coding.encode_varint(value)
        assert len(encoded) == max(1, -(-value.bit_length() // 7))
        assert coding.read_varint(encoded, 0) == (value, len(encoded))


def test_negative_numbers_are_varints_of_ten_bytes():
    """As protobuf writes int32 and int64."""
    assert coding.encode_varint(-1) == bytes.fromhex("ffffffffffffffffff01")
    assert coding.encode_varint(-(2**63)) == bytes.fromhex("80808080808080808001")
    assert [coding.signed64(value) for value in (0, 2**63 - 1, 2**63, 2**64 - 1)] == [
        0,
        2**63 - 1,
        -(2**63),
        -1,
    ]


def test_a_longer_form_than_needed_is_accepted():
    assert coding.read_varint(bytes.fromhex("8500"), 0) == (5, 2)
    assert coding.read_varint(bytes.fromhex("85808080808080808000"), 0) == (5, 10)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        ("", "varint cut short after 0 bytes"),
        ("80", "varint cut short after 1 bytes"),
        ("ffffffffffffffffff", "varint cut short after 9 bytes"),
        ("ffffffffffffffffff02", "varint wider than 64 bits"),
        ("80808080808080808002", "varint wider than 64 bits"),
        ("8080808080808080808000", "varint wider than 64 bits"),
        ("ffffffffffffffffffffff", "varint wider than 64 bits"),
    ],
)
def test_malformed_varint(encoded, reason):
    with pytest.raises(CorruptionError, match=f"^offset 0x2: {reason}$") as caught:
        coding.read_varint(b"??" + bytes.fromhex(encoded), 2)
    assert caught.value.offset == 2


def test_a_varint_ends_before_the_limit():
    data = bytes.fromhex("ac02")
    assert coding.read_varint(data, 0, 2) == (300, 2)
    with pytest.raises(CorruptionError, match="cut short after 1 bytes"):
        coding.read_varint(data, 0, 1)


@pytest.mark.parametrize("values", [[], [5] * 600, [1] * 255 + [300] * 3 + [0] * 300, [2**64 - 1, 0, 128]])
def test_varints_are_read_together_as_one_by_one(values):
    data = b"".join(map(coding.encode_varint, values))
    assert coding.read_varints(b"?" + data + b"?", 1, len(values)) == (values, 1 + len(data))
    assert coding.read_varints(memoryview(data), 0, len(values) + 1) == (values, len(data))


def test_varints_end_before_one_that_is_cut():
    assert coding.read_varints(bytes.fromhex("05ac02ac"), 0, 3) == ([5, 300], 3)
    assert coding.read_varints(bytes.fromhex("ffff"), 0, 3) == ([], 0)
    with pytest.raises(CorruptionError, match="varint wider than 64 bits"):
        coding.read_varints(bytes.fromhex("05ffffffffffffffffffff"), 0, 3)


# Checksums


@pytest.mark.parametrize(
    ("data", "crc"),
    [  # RFC 3720 B.4, and LevelDB util/crc32c_test.cc
        (b"", 0),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (  # an iSCSI SCSI Read (10) command
            bytes.fromhex(
                "01c00000000000000000000000000000140000000000040000000014000000182800000000000000"
                "0200000000000000"
            ),
            0xD9963A56,
        ),
    ],
)
def test_crc32c(data, crc):
    assert coding.crc32c(data) == crc
    for cut in range(len(data) + 1):
        assert coding.crc32c(data[cut:], coding.crc32c(data[:cut])) == crc
        assert coding.combine_crc32c(
            coding.crc32c(data[:cut]), coding.crc32c(data[cut:]), len(data) - cut
        ) == crc  # fmt: skip


def test_the_checksum_of_zeros():
    for size in (0, 1, 7, 8, 100, 4096):
        assert coding.crc32c_of_zeros(size) == coding.crc32c(bytes(size))


@pytest.mark.parametrize("size", [1, 4, 511, 512, 513, 2_000])
def test_a_flipped_bit_is_found_by_the_checksum(size):
    """At both ends, and on both sides of where the search takes larger steps (512 bytes before the end)."""
    data = bytes(number * 7 & 0xFF for number in range(size))
    places = {(place, bit) for place in (0, size // 2, size - 512, size - 513, size - 1) for bit in (0, 3, 7)}
    for place, bit in places:
        if place >= 0:
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            difference = coding.crc32c(data) ^ coding.crc32c(bytes(flipped))
            assert coding.find_flipped_bit(difference, size) == (place, bit)
    two = bytearray(data)
    two[0] ^= 3
    assert coding.find_flipped_bit(coding.crc32c(data) ^ coding.crc32c(bytes(two)), size) is None
    assert coding.find_flipped_bit(0, size) is None


def test_no_bit_of_a_shorter_run_is_found():
    """Its checksum differs as that of a bit of 600 bytes would, and there are only 599."""
    difference = coding.crc32c(bytes(600)) ^ coding.crc32c(b"\x80" + bytes(599))
    assert coding.find_flipped_bit(difference, 600) == (0, 7)
    assert coding.find_flipped_bit(difference, 599) is None
    assert coding.find_flipped_bit(difference, 0) is None


def test_the_package_of_checksums_may_be_installed_in_any_way(monkeypatch):
    """Where its extension module is not found by its usual name, the package is imported as a whole."""
    importlib.import_module("crc32c")  # which the import system then has
    monkeypatch.setattr(coding.PathFinder, "find_spec", lambda *_: None)
    assert coding._crc32c_function()(b"123456789") == 0xE3069283


def test_combining_checksums_of_long_runs():
    zeros = bytes(1 << 20)
    assert coding.combine_crc32c(coding.crc32c(b"a"), coding.crc32c(zeros), len(zeros)) == coding.crc32c(
        b"a" + zeros
    )
    assert coding.combine_crc32c(0x1234, 0, 0) == 0x1234


@pytest.mark.parametrize(
    ("crc", "stored"),
    [(0, 0xA282EAD8), (0xE3069283, 0xC78AB0E5), (0x8A942EBE, 0), (0xFFFFFFFF, 0xA282EAD7)],
)
def test_mask(crc, stored):
    assert coding.mask(crc) == stored
    assert coding.unmask(stored) == crc


def test_many_checksums_are_unmasked_at_once():
    crcs = [0, 0xFFFFFFFF, 0x8A942EBE, 1 << 31, *range(0, 1 << 32, 0x01234567)]
    assert coding.unmask_all([coding.FIXED32.pack(coding.mask(crc)) for crc in crcs]) == tuple(crcs)
    assert coding.unmask_all([]) == ()


def test_masking_changes_a_checksum_every_time():
    """LevelDB util/crc32c_test.cc, Mask."""
    crc = coding.crc32c(b"foo")
    assert len({crc, coding.mask(crc), coding.mask(coding.mask(crc))}) == 3
    assert coding.unmask(coding.unmask(coding.mask(coding.mask(crc)))) == crc


# Protobuf fields


def test_fields_of_every_wire_type():
    data = bytes.fromhex(
        "08 9601"  # 1, varint: 150
        "12 02 6869"  # 2, bytes: hi
        "1d 01020304"  # 3, 4 bytes little-endian
        "21 0102030405060708"  # 4, 8 bytes little-endian
        "f8ffffff0f 00"  # 2**29 - 1, varint: 0
        "2a 00"  # 5, no bytes
    )
    assert list(coding.fields(data)) == [
        (1, 0, 150),
        (2, 2, b"hi"),
        (3, 5, 0x04030201),
        (4, 1, 0x0807060504030201),
        (2**29 - 1, 0, 0),
        (5, 2, b""),
    ]
    assert list(coding.fields(data, 3, 7)) == [(2, 2, b"hi")]
    assert list(coding.fields(b"")) == []


@pytest.mark.parametrize(
    ("data", "offset", "reason"),
    [
        ("00 01", 0, "protobuf field number 0"),
        ("8080808010 00", 0, "protobuf field number 536870912"),
        ("0801 12 03 6869", 2, "protobuf field 2 claims 3 bytes of 2"),
        ("12 ffffffffffffffffff01", 0, "protobuf field 2 claims 18446744073709551615 bytes of 0"),
        ("1d 010203", 0, "protobuf field 3 is cut short"),
        ("0801 21 01020304050607", 2, "protobuf field 4 is cut short"),
        ("0c", 0, "protobuf field 1 has wire type 4"),
        ("0801 0b", 3, "varint cut short after 0 bytes"),  # a group without its end
        ("0b 14", 1, "protobuf field 1 is a group without its end"),
        ("0b 03", 1, "protobuf field 1 is a group without its end"),  # a group in it, whose number is 0
        ("0b 12 05 0c", 1, "protobuf field 2 claims 5 bytes of 1"),
        (101 * "0b" + 101 * "0c", 1, "protobuf field 1 is a group without its end"),
        ("0f", 0, "protobuf field 1 has wire type 7"),
        ("08", 1, "varint cut short after 0 bytes"),
        ("0801 80", 2, "varint cut short after 1 bytes"),
    ],
)
def test_malformed_fields(data, offset, reason):
    with pytest.raises(CorruptionError, match=f"{reason}$") as caught:
        list(coding.fields(bytes.fromhex(data)))
    assert caught.value.offset == offset


def test_groups_are_left_out():
    """As unknown fields are: no message here has any."""
    data = "0801 0b 1005 13 1a01 ff 14 1b 1c 0c 1002" + 100 * "23" + 100 * "24" + "1803"
    assert list(coding.fields(bytes.fromhex(data))) == [(1, 0, 1), (2, 0, 2), (3, 0, 3)]


def test_a_field_ends_before_the_end_given():
    with pytest.raises(CorruptionError, match="claims 2 bytes of 1"):
        list(coding.fields(bytes.fromhex("12 02 6869"), 0, 3))


# Ordered code (TensorFlow core/lib/strings/ordered_code_test.cc, and keys that TensorFlow wrote)

INTS = [
    (0, "80"),
    (-1, "7f"),
    (3, "83"),
    (63, "bf"),
    (64, "c040"),
    (8191, "dfff"),
    (8192, "e02000"),
    (70000, "e11170"),
    (2**20, "f0100000"),
    (2**34, "fc0400000000"),
    (2**55, "ff8080000000000000"),
    (2**62, "ffc04000000000000000"),
    (2**63 - 1, "ffc07fffffffffffffff"),
    (-64, "40"),
    (-65, "3fbf"),
    (-(2**63), "003f8000000000000000"),
]


@pytest.mark.parametrize(("value", "encoded"), INTS)
def test_ordered_int(value, encoded):
    data = bytes.fromhex(encoded)
    assert coding.encode_ordered_int(value) == data
    assert coding.read_ordered_int(b"?" + data + b"?", 1) == (value, 1 + len(data))


def test_ordered_ints_around_every_length():
    values = sorted({sign * 2**bits + near for bits in range(63) for near in (-1, 0, 1) for sign in (1, -1)})
    encoded = [coding.encode_ordered_int(value) for value in values]
    assert encoded == sorted(encoded)
    assert [coding.read_ordered_int(each, 0)[0] for each in encoded] == values


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "c0",  # cut short
        "ffc040000000000000",  # cut short
        "c000",  # 0 in two bytes
        "e0003f",  # 63 in three
        "ffc08000000000000000",  # 2**63
        "ffe0" + "00" * 9,  # eleven bytes
        "ffff" + "ff" * 9,
        "0000" + "00" * 9,
    ],
)
def test_malformed_ordered_int(encoded):
    with pytest.raises(CorruptionError, match="not an ordered-code signed number") as caught:
        coding.read_ordered_int(b"?" + bytes.fromhex(encoded), 1)
    assert caught.value.offset == 1


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (2, "0102"), (255, "01ff"), (300, "02012c"), (2**64 - 1, "08" + "ff" * 8)],
)
def test_ordered_uint(value, encoded):
    data = bytes.fromhex(encoded)
    assert coding.encode_ordered_uint(value) == data
    assert coding.read_ordered_uint(b"?" + data + b"?", 1) == (value, 1 + len(data))


@pytest.mark.parametrize("encoded", ["", "01", "0201", "0100", "020001", "09" + "01" * 9, "ff"])
def test_malformed_ordered_uint(encoded):
    with pytest.raises(CorruptionError, match="not an ordered-code number") as caught:
        coding.read_ordered_uint(b"?" + bytes.fromhex(encoded), 1)
    assert caught.value.offset == 1


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (b"", "0001"),
        (b"emb", "656d62 0001"),
        (b"\0", "00ff 0001"),
        (b"\xff", "ff00 0001"),
        (b"a\0\xffb", "61 00ff ff00 62 0001"),
        (b"\x01\xfe", "01fe 0001"),
    ],
)
def test_ordered_string(value, encoded):
    data = bytes.fromhex(encoded)
    assert coding.encode_ordered_string(value) == data
    assert coding.read_ordered_string(b"?" + data + b"?", 1) == (value, 1 + len(data))


@pytest.mark.parametrize("encoded", ["", "61", "6100", "0002", "00", "ff", "ff01 0001", "ffff 0001", "00ff"])
def test_malformed_ordered_string(encoded):
    with pytest.raises(CorruptionError, match="not an ordered-code string") as caught:
        coding.read_ordered_string(b"?" + bytes.fromhex(encoded), 1)
    assert caught.value.offset == 1


def test_lost_bytes():
    data = bytes(range(256)) * 40
    places = range(100, 9000, 97)
    for at in (places[0], places[20], places[-1]):
        expected = coding.crc32c(data[:at] + b"\r" + data[at:])
        assert coding.find_lost(data, places, b"\r", 1, expected) == (at,)
        assert coding.find_lost(data, [place for place in places if place != at], b"\r", 1, expected) is None
        assert coding.find_lost(data, places, b"\n", 1, expected) is None
        assert coding.find_lost(data, places, b"\r", 2, expected) is None
    first, second = places[3], places[70]
    expected = coding.crc32c(data[:first] + b"\r" + data[first:second] + b"\r" + data[second:])
    assert coding.find_lost(data, places, b"\r", 2, expected) == (first, second)
    assert coding.find_lost(data, places, b"\r", 1, expected) is None
    twice = coding.crc32c(data[:first] + b"\r\r" + data[first:])
    assert coding.find_lost(data, places, b"\r", 2, twice) is None
    assert coding.find_lost(data, [], b"\r", 2, twice) is None
