"""String and variant tensors: their bytes, and what their checksums cover."""

import itertools
import struct

import pytest

from support.bundles import raw, variant_payload
from tensorbundle.coding import crc32c, encode_varint, mask, unmask
from tensorbundle.dtypes import DType
from tensorbundle.errors import CorruptionError
from tensorbundle.payloads import decode_strings, encode_strings, payload_checksum

# values, their bytes as TensorFlow wrote them, the tensor's checksum (unmasked)
STRINGS = [
    ([b"ab", b""], raw('02 00 78270b34 "ab"'), 0xCEDCD596),
    ([b"hello", b"world"], raw('05 05 b56f994f "helloworld"'), unmask(0x07D64C1B)),
    ([], raw("d8ea82a2"), crc32c(raw("d8ea82a2"))),
]


def checksum(data, elements, dtype=DType.string, *, big_endian=False, chunks=None):
    """The checksum of `data`, handed over in chunks of the sizes given, then the rest."""
    found = payload_checksum(dtype, elements, len(data), big_endian=big_endian)
    pos = 0
    for size in chunks or ():
        found.update(data[pos : pos + size])
        pos += size
    found.update(memoryview(data)[pos:])
    return found.finish()


@pytest.mark.parametrize(("values", "data", "crc"), STRINGS)
def test_strings(values, data, crc):
    head, nbytes, computed = encode_strings(values)
    assert (head + b"".join(values), nbytes, computed) == (data, len(data), crc)
    assert decode_strings(memoryview(data), len(values)) == values
    assert checksum(data, len(values)) == crc


def test_strings_in_big_endian():
    """The lengths enter the checksum as big-endian u32, and the stored checksum is one."""
    crc = crc32c(struct.pack(">2I", 2, 0))
    data = raw("0200") + struct.pack(">I", mask(crc)) + b"ab"
    assert decode_strings(memoryview(data), 2, big_endian=True) == [b"ab", b""]
    assert checksum(data, 2, big_endian=True) == crc32c(data[2:], crc)
    with pytest.raises(CorruptionError, match="checksum of the string lengths: stored"):
        decode_strings(memoryview(data), 2)


def test_lengths_from_4_gib_on_enter_the_checksum_as_u64():
    """Only the lengths are handed over here; then the file would go on for 4 GiB."""
    size = 2**32
    crc = crc32c(struct.pack("<IQI", 3, size, 7))
    head = encode_varint(3) + encode_varint(size) + encode_varint(7)
    found = payload_checksum(DType.string, 3, len(head) + 4 + 3 + size + 7)
    found.update(head + struct.pack("<I", mask(crc)))
    with pytest.raises(CorruptionError, match="the strings are cut short"):
        found.finish()


def test_many_strings():
    """More lengths than are checked at once."""
    values = [b"x" * (i % 300) for i in range(10_000)]
    head, nbytes, crc = encode_strings(values)
    data = head + b"".join(values)
    assert decode_strings(memoryview(data), len(values)) == values
    for chunk in (1000, 4096, 65536):
        assert checksum(data, len(values), chunks=[chunk] * (nbytes // chunk)) == crc


MESSAGES = [b"abc", b"", b"m" * 200]


def test_variants():
    data, crc = variant_payload(MESSAGES)
    assert data[:8] == b"\x03abc" + struct.pack(
        "<I", mask(crc32c(bytes.fromhex("0300000000000000") + b"abc"))
    )
    assert checksum(data, 3, DType.variant) == crc
    data, crc = variant_payload(MESSAGES, ">")
    assert checksum(data, 3, DType.variant, big_endian=True) == crc
    assert checksum(b"", 0, DType.variant) == 0


@pytest.mark.parametrize("dtype", [DType.string, DType.variant, DType.uint8])
def test_every_split_gives_the_same_checksum(dtype):
    """Cut in two and in three everywhere, and byte by byte, with empty chunks too."""
    values = [b"ab", b"", b"c" * 130]
    head, _, crc = encode_strings(values)
    data = head + b"".join(values)
    if dtype is DType.variant:
        data, crc = variant_payload(values)
    elif dtype is DType.uint8:
        crc = crc32c(data)
    for size in range(len(data) + 1):
        assert checksum(data, 3, dtype, chunks=[size, 0]) == crc
    for first, second in itertools.product(range(16), repeat=2):
        assert checksum(data, 3, dtype, chunks=[first, second]) == crc
    assert checksum(data, 3, dtype, chunks=[1, 0] * len(data)) == crc


HELLO = STRINGS[1][1]


@pytest.mark.parametrize(
    ("data", "elements", "reason"),
    [
        (HELLO, 17, "17 strings can't fit in 16 bytes"),
        (HELLO, 2**62, "4611686018427387904 strings can't fit in 16 bytes"),
        (
            raw("ffffffffffffffffff01 00000000"),
            1,
            "string lengths add up to 18446744073709551615 bytes, 4 are left",
        ),
        (raw("808080808080c0 01 00000000"), 1, r"string lengths add up to \d+ bytes, 4 are left"),
        (raw("ffffffffffffffffffff01 00000000"), 1, "varint wider than 64 bits"),
        (raw("8080"), 1, "the lengths of 1 strings are cut short"),
        (
            raw('05 05 b56f994e "helloworld"'),
            2,
            "checksum of the string lengths: stored b56f994e, computed b56f994f",
        ),
        (
            raw('05 04 b56f994f "helloworld"'),
            2,
            "checksum of the string lengths: stored b56f994f, computed [0-9a-f]{8}$",
        ),
        (raw("02 00 78270b"), 2, "string lengths add up to 2 bytes|checksum of the string lengths"),
        (HELLO + b"!", 2, "string lengths add up to 10 bytes, 11 are stored"),
        (HELLO[:-1], 2, "string lengths add up to 10 bytes, 9 are stored"),
        (raw("d8ea82a3"), 0, "checksum of the string lengths: stored d8ea82a3, computed d8ea82a2"),
        (raw("d8ea82a200"), 0, "string lengths add up to 0 bytes, 1 are stored"),
    ],
)
def test_malformed_strings(data, elements, reason):
    with pytest.raises(CorruptionError, match=reason):
        decode_strings(memoryview(data), elements)
    with pytest.raises(CorruptionError, match=reason):
        checksum(data, elements)
    with pytest.raises(CorruptionError):  # as soon as it can be known, but byte by byte it is known otherwise
        checksum(data, elements, chunks=[1] * len(data))


def test_no_strings_may_take_no_bytes():
    """TensorFlow writes the checksum of no lengths, and reads either."""
    assert decode_strings(memoryview(b""), 0) == []
    assert checksum(b"", 0) == 0


VARIANTS = variant_payload(MESSAGES)[0]


@pytest.mark.parametrize(
    ("data", "elements", "reason"),
    [
        (VARIANTS, 2, r"206 bytes after the last variant"),
        (VARIANTS, 4, "the variants are cut short"),
        (VARIANTS[:-1], 3, "checksum of a variant|cut short|more than are left"),
        (VARIANTS[:-5], 3, "a variant of 200 bytes, which are more than are left|cut short"),
        (b"\x04" + VARIANTS[1:], 3, "checksum of a variant does not match"),
        (VARIANTS[:4] + b"\0" + VARIANTS[5:], 3, "checksum of a variant does not match"),
        (
            raw("ffffffffffffffffff01"),
            1,
            "a variant of 18446744073709551615 bytes, which are more than are left",
        ),
        (raw("8080"), 1, "varint cut short after 2 bytes"),
        (raw("ffffffffffffffffffff01"), 1, "varint wider than 64 bits"),
        (b"", 1, "the variants are cut short"),
        (b"\0", 0, "1 bytes after the last variant"),
    ],
)
def test_malformed_variants(data, elements, reason):
    with pytest.raises(CorruptionError, match=reason):
        checksum(data, elements, DType.variant)
    with pytest.raises(CorruptionError):
        checksum(data, elements, DType.variant, chunks=[1] * len(data))


def test_numbers_are_checked_as_they_lie():
    assert checksum(b"123456789", 9, DType.uint8) == 0xE3069283
    assert checksum(b"", 0, DType.float32) == 0
