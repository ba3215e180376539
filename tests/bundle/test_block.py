"""One block: built, iterated, searched, damaged."""

import pytest

from tensorbundle.block import BlockBuilder, iterate, seek
from tensorbundle.coding import FIXED32, encode_varint
from tensorbundle.errors import CorruptionError


def build(pairs, interval):
    builder = BlockBuilder(interval)
    for key, value in pairs:
        builder.add(key, value)
    assert builder.size == len(builder.finish())
    return builder.finish()


def value_of(block, key):
    """The value of a key that `seek` finds."""
    found, start, end, _ = seek(block, key)
    assert found == key
    return block[start:end]


def test_bytes_of_a_block():
    """The data block of FORMAT B.1, without its header entry, at both ends of the restart interval."""
    pairs = [(b"v/a", b"one"), (b"v/b", b"")]
    assert (
        build(pairs, 16)
        == (
            b"\x00\x03\x03" + b"v/a" + b"one"  # shared, unshared, value size; key; value
            b"\x02\x01\x00" + b"b"  # shares "v/"
            b"\x00\x00\x00\x00"  # the one restart point
            b"\x01\x00\x00\x00"  # their number
        )
    )
    assert (
        build(pairs, 1)
        == (
            b"\x00\x03\x03" + b"v/a" + b"one"
            b"\x00\x03\x00" + b"v/b"  # whole again
            b"\x00\x00\x00\x00" + b"\x09\x00\x00\x00"  # two restart points
            b"\x02\x00\x00\x00"
        )
    )


def test_empty_block():
    builder = BlockBuilder(16)
    assert builder.empty
    assert builder.finish() == bytes.fromhex("00000000 01000000")
    assert list(iterate(builder.finish())) == []
    assert seek(builder.finish(), b"") is None
    assert list(iterate(bytes(4))) == []  # no restart point at all
    assert seek(bytes(4), b"a") is None


KEYS = {
    "one empty key": [b""],
    "one key": [b"a"],
    "a prefix of each next": [b"a" * size for size in range(1, 40)],
    "numbers": [b"%05d" % number for number in range(200)],
    "all bytes": [bytes([byte]) for byte in range(256)],
    "runs of ff": [b"\xff" * size for size in range(40)],
    "long": [b"k" * 300 + bytes([byte]) for byte in range(40)],  # sizes of two bytes
    "very long": [b"k" * 200_000, b"k" * 200_000 + b"\0", b"l" * 300_000],  # and of three
}


@pytest.mark.parametrize("interval", [1, 2, 3, 16, 1024])
@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_seek_finds_what_iterate_yields(keys, interval):
    pairs = [(key, b"v" * (i % 200)) for i, key in enumerate(keys)]
    block = build(pairs, interval)
    assert list(iterate(block)) == pairs
    assert [value_of(block, key) for key in keys] == [value for _, value in pairs]
    present = set(keys)
    absent = {
        change(key)
        for key in keys
        for change in (lambda k: k + b"\0", lambda k: k[:-1], lambda k: k[:-1] + b"~")
    }
    for key in absent - present:
        found = seek(block, key)
        assert (found and found[0]) == min((each for each in keys if each > key), default=None)


RESTART_0 = "00000000 01000000"


@pytest.mark.parametrize(
    ("block", "offset", "reason"),
    [
        ("", 0, "block of 0 bytes, at least 4 needed"),
        ("010000", 0, "block of 3 bytes, at least 4 needed"),
        ("00000000 03000000", 4, "3 restart points in a block of 8 bytes"),
        ("00000000 ffffffff", 4, "4294967295 restart points in a block of 8 bytes"),
        ("0001006100 00000000", 5, "0 restart points in a block of 9 bytes"),
        (
            "000100" + RESTART_0,
            0,
            r"shares 0 of the 0 bytes before it and claims 1 \+ 0 bytes, entries end at 0x3",
        ),
        ("00010261" + RESTART_0, 0, r"claims 1 \+ 2 bytes, entries end at 0x4"),
        ("00010461" + RESTART_0, 0, r"claims 1 \+ 4 bytes, entries end at 0x4"),  # into the restart array
        ("00010861" + RESTART_0, 0, r"claims 1 \+ 8 bytes, entries end at 0x4"),  # up to the end of the block
        ("01010061" + RESTART_0, 0, "shares 1 of the 0 bytes before it"),
        ("00010061 02010062" + RESTART_0, 4, "shares 2 of the 1 bytes before it"),
        ("0001ffffffffff01 61" + RESTART_0, 0, "block entry with a size over 32 bits"),
        ("ffffffff10 0100 61" + RESTART_0, 0, "block entry with a size over 32 bits"),
        ("00ffffffff0f 00 61" + RESTART_0, 0, r"claims 4294967295 \+ 0 bytes"),
        ("80" + RESTART_0, 0, "varint cut short after 1 bytes|entries end at 0x1"),
        ("8080" + RESTART_0, 0, "varint cut short after 2 bytes|entries end at 0x2"),
    ],
)
@pytest.mark.parametrize("read", [lambda block: list(iterate(block)), lambda block: seek(block, b"~")])
def test_malformed(block, offset, reason, read):
    with pytest.raises(CorruptionError, match=reason) as caught:
        read(bytes.fromhex(block))
    assert caught.value.offset == offset


@pytest.mark.parametrize("second", ["0001 00 61", "0100 00", "0000 00"])
def test_keys_that_do_not_ascend(second):
    """Twice `a`, plain and by its prefix; and the empty key after `a`."""
    block = bytes.fromhex("0001 00 61" + second + RESTART_0)
    with pytest.raises(CorruptionError, match=r"keys do not ascend: b'a?' after b'a'$") as caught:
        list(iterate(block))
    assert caught.value.offset == 4


def shared_keys(count, size, padding):
    """A block of keys of one size, each of which shares all but two bytes with the one before."""
    first = b"\0" + encode_varint(size) + encode_varint(padding) + b"k" * (size - 2) + bytes(2 + padding)
    rest = b"".join(
        encode_varint(size - 2) + b"\2\0" + number.to_bytes(2, "big") for number in range(1, count)
    )
    return first + rest + bytes.fromhex(RESTART_0)


def test_keys_far_larger_than_their_block_are_refused():
    """Up to 16 times its size and a MiB: prefixes that are shared could make gigabytes of a few bytes."""
    count, size = 440, 40 * 256
    padding = (count * size - (1 << 20)) // 16 - len(shared_keys(count, size, 20000)) + 20000
    largest = shared_keys(count, size, padding)
    assert 16 * len(largest) + (1 << 20) == count * size
    assert len(iterate(largest)) == count
    with pytest.raises(
        CorruptionError, match=f"keys of over {count * size - 16} bytes in a block of"
    ) as caught:
        iterate(shared_keys(count, size, padding - 1))
    assert caught.value.offset == len(largest) - 1 - 8
    with pytest.raises(CorruptionError, match="keys of over") as caught:
        iterate(longer := shared_keys(2 * count, size, padding))
    assert caught.value.offset < len(longer) - 8  # and not only after all of them


def test_restart_points_come_at_equal_distances():
    block = build([(b"k%d" % number, b"") for number in range(9)], 2)
    limit = len(block) - 4 - 5 * 4
    points = [FIXED32.unpack_from(block, at)[0] for at in range(limit, len(block) - 4, 4)]
    assert points == [0, 9, 18, 27, 36]
    assert [block[at] for at in points] == [0] * 5  # which share nothing
    assert [block[at + 5] for at in points[:-1]] == [1] * 4  # unlike those after them


@pytest.mark.parametrize(
    ("restarts", "offset", "reason"),
    [
        ([0, 8, 99], 20, "restart point 2 at 99, entries end at 12"),
        ([0, 12, 8], 16, "restart point 1 at 12, entries end at 12"),
        ([0, 4, 2**32 - 1], 20, "restart point 2 at 4294967295, entries end at 12"),
        ([0, 5, 8], 5, "shares 1 of the 0 bytes before it|claims"),  # into the middle of an entry
    ],
)
def test_bad_restart_points(restarts, offset, reason):
    entries = bytes.fromhex("0001 00 61 0001 00 62 0001 00 63")
    block = entries + b"".join(map(FIXED32.pack, [*restarts, len(restarts)]))
    assert [key for key, _ in iterate(block)] == [b"a", b"b", b"c"]
    with pytest.raises(CorruptionError, match=reason) as caught:
        seek(block, b"d")
    assert caught.value.offset == offset
