"""The table file: written as TensorFlow writes it, read whatever else wrote it."""

import cramjam
import pytest

from support.altered import Table
from support.bundles import raw, table_bytes
from tensorbundle import table
from tensorbundle.block import BlockBuilder
from tensorbundle.coding import FIXED32, crc32c, encode_varint, mask
from tensorbundle.errors import ConflictError, CorruptionError
from tensorbundle.storage.local import LocalFile
from tensorbundle.table import (
    BLOCK_BYTES,
    BlockHandle,
    Footer,
    TableReader,
    TableWriter,
    separator,
    successor,
)

# The index that SaveV2 writes for `v/b` = float32 [1, 2], then `v/a` = int32 7 (offsets on the left).
WORKED_ITEMS = [
    (b"", raw("0801 1a02 0801")),
    (b"v/a", raw("0803 1200 2008 2804 35a78d9d88")),
    (b"v/b", raw("0801 1204 12020802 2808 35593ce535")),
]
WORKED = raw(
    "00 00 06          0801 1a02 0801"  #                       0  header: 1 shard, producer 1
    '00 03 0d "v/a"    0803 1200 2008 2804 35a78d9d88'  #       9  int32 [], offset 8, size 4, crc
    '02 01 0f "b"      0801 1204 12020802 2808 35593ce535'  #  28  shares "v/"; float32 [2], size 8, crc
    "00000000 01000000"  #                                     47  one restart point
    "00 9f11d190"  #                                           55  not compressed; checksum
    "00000000 01000000"  #                                     60  metaindex block: empty
    "00 c0f2a1b0"  #                                           68
    '00 01 02 "w" 00 37 00000000 01000000'  #                  73  index block: up to "w", offset 0, size 55
    "00 d2c9ad15"  #                                           87
    "3c 08 49 0e"  #                                           92  footer: metaindex and index handles
    + "00" * 36  #                                             96  padding
    + "57fb808b247547db"  #                                   132  magic
)


@pytest.fixture
def opened(tmp_path):
    """Opens a table with the bytes given; closed at the end."""
    files = []

    def open_(data):
        path = tmp_path / f"table{len(files)}"
        path.write_bytes(data)
        files.append(LocalFile(str(path)))
        return TableReader(files[-1])

    yield open_
    for file in files:
        file.close()


def stored(content, compression=0):
    """A block as it lies in a file: its trailer with the right checksum behind it."""
    body = content + bytes([compression])
    return body + FIXED32.pack(mask(crc32c(body)))


def block(pairs, interval=16):
    builder = BlockBuilder(interval)
    for key, value in pairs:
        builder.add(key, value)
    return builder.finish()


def assemble(*blocks, before=b"", gap=b"", compression=0, order=None):
    """A table of data blocks that are lists of pairs (or bytes): each separator is the block's last key."""
    out, index = before, []
    for number, pairs in enumerate(blocks):
        content = pairs if isinstance(pairs, bytes) else block(pairs, 3)
        key = b"~%d" % number if isinstance(pairs, bytes) else pairs[-1][0]
        index.append((key, BlockHandle(len(out), len(content)).encode() + b"extra"))
        out += stored(content, compression) + gap
    last = block(index if order is None else [index[i] for i in order], 1)
    return out + stored(last) + Footer(BlockHandle(0, 0), BlockHandle(len(out), len(last))).encode()


# Writing


@pytest.mark.parametrize(
    ("last", "following", "expected"),
    [
        (b"the quick brown fox", b"the who", b"the r"),
        (b"ab1zzz", b"ab3", b"ab2"),
        (b"ab1", b"ab2", b"ab1"),
        (b"abc", b"abcd", b"abc"),
        (b"abcd", b"abc", b"abcd"),
        (b"a\xfd", b"a\xff", b"a\xfe"),
        (b"a\xff", b"b", b"a\xff"),
        (b"", b"x", b""),
        (b"a", b"a", b"a"),
    ],
)
def test_separator(last, following, expected):
    assert separator(last, following) == expected


@pytest.mark.parametrize(
    ("last", "expected"),
    [(b"abc", b"b"), (b"\xff\xffa", b"\xff\xffb"), (b"\xff\xff", b"\xff\xff"), (b"", b""), (b"v/b", b"w")],
)
def test_successor(last, expected):
    assert successor(last) == expected


def test_worked_file(opened):
    assert table_bytes(WORKED_ITEMS) == WORKED
    table = opened(WORKED)
    assert list(table.items()) == WORKED_ITEMS
    assert (table.separators, table.handles) == ([b"w"], [BlockHandle(0, 55)])


def test_a_table_by_its_blocks(opened):
    """The end of the file is not read, so it may be lost."""
    whole = opened(assemble([(b"a", b"1"), (b"b", b"2")], [(b"c", b"3")]))
    blocks = list(zip(whole.separators, whole.handles, strict=True))
    table = TableReader(whole.file, blocks)
    assert [table.get(key) for key in (b"a", b"b", b"c", b"d")] == [b"1", b"2", b"3", None]
    assert list(table.items()) == list(whole.items())
    outside = TableReader(whole.file, [(b"z", BlockHandle(10, 10**6))])
    with pytest.raises(CorruptionError, match="the blocks end at"):
        outside.get(b"a")


def test_a_table_without_entries(opened):
    data = table_bytes([])
    assert data == (
        stored(raw("00000000 01000000")) * 2  # metaindex and index block
        + raw("00 08 0d 08") + bytes(36) + raw("57fb808b247547db")
    )  # fmt: skip
    assert list(opened(data).items()) == []
    assert opened(data).get(b"") is None


def keyed(sizes):
    return [(b"%05d" % number, b"v" * (size - 5)) for number, size in enumerate(sizes)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pairs", "blocks"),
    [
        # An entry takes 3 to 9 bytes more than key and value; a restart point and the count take 8.
        (keyed([BLOCK_BYTES - 14]), 1),
        (keyed([BLOCK_BYTES - 14, 9]), 1),
        (keyed([BLOCK_BYTES - 13, 9]), 2),  # the first block is full at exactly 262144 bytes
        (keyed([9] * 5 + [2 * BLOCK_BYTES - 1]), 1),
        (keyed([9] * 5 + [2 * BLOCK_BYTES]), 2),  # oversized: not even a small block before it is shared
        (keyed([2 * BLOCK_BYTES]), 1),
        (keyed([2 * BLOCK_BYTES] * 3), 3),
        (keyed([9, 2 * BLOCK_BYTES, 9]), 3),
        ([(b"a", b""), (b"b" * 2 * BLOCK_BYTES, b"")], 2),  # the key counts too
        (keyed([40] * 20_000), 4),
    ],
)
def test_where_blocks_end(opened, pairs, blocks):
    table = opened(table_bytes(pairs))
    assert len(table.handles) == blocks
    assert list(table.items()) == pairs
    assert [table.get(key) == value for key, value in pairs[::97]] == [True] * len(pairs[::97])
    assert table.get(b"zzz") is table.get(b"000005") is None


@pytest.mark.parametrize(
    "sizes", [[9, 2 * BLOCK_BYTES, 9], [2 * BLOCK_BYTES] * 2, [3 * BLOCK_BYTES, 9], [9, 8]]
)
def test_values_in_parts(sizes):
    whole, parts = bytearray(), bytearray()
    one, other = TableWriter(whole.extend), TableWriter(parts.extend)
    for number, size in enumerate(sizes):
        value = bytes([number]) * size
        one.add(b"k%d" % number, value)
        other.add_parts(b"k%d" % number, size, iter([value[:5], memoryview(value)[5:]]))
    for each in (one, other):
        each.finish()
    assert parts == whole
    with pytest.raises(ConflictError):
        other.add_parts(b"k0", 2 * BLOCK_BYTES, [])


def test_a_value_alone_in_its_block(tmp_path):
    """Where it begins; nothing of another block, of one with a wrong end, or of one that is said to be compressed."""
    value = bytes(2 * BLOCK_BYTES)
    written = bytearray()
    writer = TableWriter(written.extend)
    writer.add(b"a", b"small")
    writer.add(b"b", b"start" + value)
    writer.finish()
    path = tmp_path / "table"
    path.write_bytes(written)
    place = written.index(b"bstart") + 6
    with LocalFile(str(path)) as file:
        reader = TableReader(file)
        assert reader.find_alone(b"b", b"start", len(value)) == place
        assert reader.find_alone(b"b", b"other", len(value)) is None
        for key in (b"a", b"c"):
            assert reader.find_alone(key, b"start", len(value)) is None
        handle = reader.handles[1]
        beyond = TableReader(file, [(b"b", BlockHandle(handle.offset + 100, handle.size))])
        beyond._stop = handle.offset
        assert beyond.find_alone(b"b", b"start", len(value)) is None
    end = handle.offset + handle.size
    written[end : end + 5] = stored(bytes(written[handle.offset : end]), 1)[-5:]
    path.write_bytes(written)
    with LocalFile(str(path)) as file:
        assert TableReader(file).find_alone(b"b", b"start", len(value)) is None
    written[end - 20] ^= 1
    path.write_bytes(written)
    with LocalFile(str(path)) as file, pytest.raises(CorruptionError, match="crc32c stored"):
        TableReader(file).find_alone(b"b", b"start", len(value))


def test_the_block_threshold_is_exact():
    for size, blocks in [(BLOCK_BYTES - 14, 1), (BLOCK_BYTES - 13, 2)]:
        builder = BlockBuilder(16)
        builder.add(*keyed([size])[0])
        assert (builder.size >= BLOCK_BYTES) == (blocks == 2)


@pytest.mark.parametrize("following", [b"a", b"A", b""])
def test_keys_must_ascend(following):
    table = TableWriter(lambda chunk: None)
    table.add(b"a", b"")
    with pytest.raises(ConflictError, match=f"table key {following!r} does not follow b'a'"):
        table.add(following, b"")


# Reading


def test_junk_between_blocks_and_any_restart_interval_are_legal(opened):
    first, second = [(b"a", b"1"), (b"b", b"2")], [(b"%d" % i, b"") for i in range(3, 9)]
    table = opened(assemble(second, first, before=b"junkjunk", gap=b"gap"))
    assert list(table.items()) == second + first
    assert table.get(b"b") == b"2"


def test_an_empty_data_block_is_legal(opened):
    table = opened(assemble(block([]), [(b"~b", b"1")]))
    assert list(table.items()) == [(b"~b", b"1")]
    assert table.get(b"a") is None


def test_only_the_block_of_a_key_is_read(opened):
    """And the last block read is kept."""
    data = bytearray(assemble([(b"a", b"1")], [(b"b", b"2")]))
    data[3] ^= 1
    table = opened(bytes(data))
    assert table.get(b"b") == b"2"
    with pytest.raises(CorruptionError, match="data block 0: crc32c"):
        table.get(b"a")


@pytest.mark.parametrize(
    ("data", "offset", "reason"),
    [
        (b"", 0, "0 bytes, too short for a table"),
        (WORKED[-47:], 0, "47 bytes, too short for a table .its footer takes 48."),
        (b"version https://git-lfs.github", 0, "a Git-LFS pointer: fetch the real file with 'git lfs pull'"),
        (bytes(20), 0, "all zeros"),
        (
            WORKED[:-1],
            131,
            "not a table: magic number 0x[0-9a-f]{16}, expected 0xdb4775248b80fb57: it was cut short, or is something else$",
        ),
        (
            WORKED + b"\0",
            133,
            "not a table: magic number 0x00db4775248b80fb, expected 0xdb4775248b80fb57: it was cut",
        ),
        (bytes(140), 132, "not a table: all zeros"),
        (b"\x1f\x8b" + bytes(100), 94, "not a table: gzip-compressed: unpack it first"),
        (WORKED[40:], 73, "index block claims 14 bytes, the blocks end at 0x34"),
    ],
)
def test_no_table(opened, data, offset, reason):
    with pytest.raises(CorruptionError, match=reason) as caught:
        opened(data)
    assert caught.value.offset == offset
    assert caught.value.path.endswith("table0")


def footer(metaindex, index):
    return b"".join(map(encode_varint, (*metaindex, *index))).ljust(40, b"\0") + WORKED[-8:]


@pytest.mark.parametrize(
    ("end", "offset", "reason"),
    [
        (footer((0, 0), (80, 8)), 80, "index block claims 8 bytes, the blocks end at 0x5c"),
        (footer((0, 0), (2**64 - 1, 1)), 2**64 - 1, "index block claims 1 bytes"),
        (footer((0, 0), (0, 2**45)), 0, "index block claims 35184372088832 bytes"),
        (footer((0, 0), (0, 2**64 - 5)), 0, "index block claims 18446744073709551611 bytes"),
        (footer((0, 0), (73, 13)), 73, "index block: crc32c stored [0-9a-f]{8}, computed [0-9a-f]{8}"),
        (b"\xff" * 40 + WORKED[-8:], 92, "varint wider than 64 bits"),
    ],
)
def test_bad_footer(opened, end, offset, reason):
    with pytest.raises(CorruptionError, match=reason) as caught:
        opened(WORKED[:-48] + end)
    assert caught.value.offset == offset


def test_a_damaged_block_says_both_checksums(opened):
    data = bytearray(WORKED)
    data[5] ^= 0x10
    body = bytes(data[:56])
    expected, computed = crc32c(WORKED[:56]), crc32c(body)
    with pytest.raises(CorruptionError) as caught:
        opened(bytes(data)).get(b"")
    assert caught.value.reason == f"data block 0: crc32c stored {expected:08x}, computed {computed:08x}"
    assert caught.value.offset == 0


def test_unknown_compression(opened):
    with pytest.raises(
        CorruptionError, match=r"data block 0: compression type 2, only 0 \(none\) and 1 \(snappy\) exist"
    ) as caught:
        list(opened(assemble([(b"a", b"1")], compression=2)).items())
    assert caught.value.offset == len(block([(b"a", b"1")]))


PAIRS = [[(b"a%02d" % i, b"v" * 50) for i in range(40)], [(b"b", b"2")], [(b"c", b"3"), (b"d", b"4")]]


@pytest.mark.parametrize("damaged", range(3))
def test_a_damaged_block_hides_no_keys(opened, damaged):
    """TensorFlow passes over it, and the keys in it vanish."""
    data = bytearray(assemble(*PAIRS))
    data[opened(bytes(data)).handles[damaged].offset] ^= 0x80
    table = opened(bytes(data))
    found = []
    with pytest.raises(CorruptionError, match=f"data block {damaged}: crc32c") as caught:
        found.extend(table.items())
    assert caught.value.offset == table.handles[damaged].offset
    for number, pairs in enumerate(PAIRS):
        if number == damaged:
            with pytest.raises(CorruptionError, match=f"data block {damaged}: crc32c"):
                table.get(pairs[0][0])
            with pytest.raises(CorruptionError, match=f"data block {damaged}: crc32c"):
                table.get(
                    bytes([*pairs[-1][0][:-1], pairs[-1][0][-1] - 1]) + b"~"
                )  # absent, for all that we know
        else:
            assert list(table.block_items(number)) == pairs
            assert table.get(pairs[0][0]) == pairs[0][1]


@pytest.mark.parametrize(
    ("data", "number", "inside", "reason"),
    [
        (assemble([(b"c", b"")], [(b"a", b""), (b"d", b"")]), 1, 0, "key b'a' of data block 1 belongs before it"),
        (assemble([(b"c", b"")], [(b"c", b""), (b"d", b"")]), 1, 0, "key b'c' of data block 1 belongs before it"),
        (assemble(block([]), block([(b"~2", b"")])), 1, 0, "key b'~2' of data block 1 belongs after it"),
        (assemble(raw('0001 00 "b" 0001 00 "a" 00000000 01000000')), 0, 4, "keys do not ascend: b'a' after b'b'"),
        (assemble(raw('0001 05 "b" 00000000 01000000')), 0, 0, "block entry shares 0 of the 0 bytes before it"),
        (assemble(b"\0\0\0"), 0, 0, "block of 3 bytes, at least 4 needed"),
    ],
)  # fmt: skip
def test_bad_data_block(opened, data, number, inside, reason):
    table = opened(data)
    with pytest.raises(CorruptionError, match=reason) as caught:
        list(table.items())
    assert caught.value.offset == table.handles[number].offset + inside
    assert caught.value.path == table.path


def test_data_blocks_may_be_empty(opened):
    table = opened(assemble([(b"a", b"1")], block([]), [(b"~~", b"2")]))
    assert list(table.items()) == [(b"a", b"1"), (b"~~", b"2")]


def test_a_lookup_in_a_bad_data_block(opened):
    """The error says where in the file."""
    table = opened(assemble([(b"a", b"1")], raw('0001 05 "b" 00000000 01000000')))
    with pytest.raises(CorruptionError, match="block entry shares 0 of the 0 bytes before it") as caught:
        table.get(b"~1")
    assert (caught.value.path, caught.value.offset) == (table.path, table.handles[1].offset)


def index_table(index):
    return stored(index) + Footer(BlockHandle(0, 0), BlockHandle(0, len(index))).encode()


@pytest.mark.parametrize(
    ("index", "offset", "reason"),
    [
        ('0001 02 "a" 0000 0001 02 "a" 0000 00000000 01000000', 6, "keys do not ascend: b'a' after b'a'"),
        ('0001 00 "a" 00000000 01000000', 0, "varint cut short after 0 bytes"),
        ('0001 02 "a" 0000 0001 02 "b" 0080 00000000 01000000', 0, "varint cut short after 1 bytes"),
        ("0000", 0, "block of 2 bytes, at least 4 needed"),
    ],
)
def test_bad_index_block(opened, index, offset, reason):
    """Of a bad handle, the place of the index block is told."""
    with pytest.raises(CorruptionError, match=reason) as caught:
        opened(index_table(raw(index)))
    assert caught.value.offset == offset


def test_a_data_block_outside_the_file(opened):
    handle = BlockHandle(3, 2**40).encode()
    table = opened(index_table(block([(b"z", handle)])))
    for read in (lambda: table.get(b"a"), lambda: list(table.items())):
        with pytest.raises(
            CorruptionError, match="data block 0 claims 1099511627776 bytes, the blocks end at"
        ) as caught:
            read()
        assert caught.value.offset == 3


def test_data_blocks_that_overlap(opened):
    """A small file could list one block thousands of times, and each would be read and decoded."""
    empty = bytes(396) + FIXED32.pack(99)  # only restart points
    handle = BlockHandle(0, 400).encode()

    def table(count):
        index = block([(b"%04d" % number, handle) for number in range(count)], 1)
        place = BlockHandle(len(stored(empty)), len(index))
        return stored(empty) + stored(index) + Footer(place, place).encode()

    assert list(opened(table(1)).items()) == []
    with pytest.raises(CorruptionError, match="data blocks of 810 bytes together in a file of 490") as caught:
        opened(table(2))
    assert caught.value.offset == 405


def test_more_entries_than_a_file_may_have(opened, monkeypatch):
    monkeypatch.setattr(table, "MIN_ENTRIES", 10)
    monkeypatch.setattr(table, "ENTRY_BYTES", 50)
    blocks = [[(b"%d%d" % (first, number), b"") for number in range(6)] for first in range(3)]
    size = len(assemble(*blocks))
    found = opened(assemble(*blocks))
    allowed = 10 + size // 50
    assert 12 < allowed < 18
    assert len(found.block_items(0)) == len(found.block_items(0)) == len(found.block_items(1)) == 6
    with pytest.raises(
        CorruptionError, match=f"more than {allowed} entries in a file of {size} bytes"
    ) as caught:
        found.block_items(2)
    assert caught.value.path == found.path
    assert found.get(b"25") == b""


# Compression: some indexes in the wild have it


def test_snappy(opened):
    pairs = [(b"key%04d" % i, b"value" * 20) for i in range(300)]
    compressed = bytes(cramjam.snappy.compress_raw(block(pairs)))
    assert len(compressed) < 6_000
    table = opened(assemble(compressed, compression=1))
    assert list(table.items()) == pairs
    assert table.get(b"key0007") == b"value" * 20
    assert table.compressed == 2  # blocks read: one for the listing, one for the key


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encode_varint(2**40) + b"\x00a", "bad snappy data: claims 1099511627776 bytes from 8"),
        (encode_varint(45) + b"\x00a", "bad snappy data: claims 45 bytes from 3"),
        (raw("08 0061"), "bad snappy data"),  # stops short of the 8 bytes claimed
        (raw('00 00"a"'), "bad snappy data"),  # runs past the 0 bytes claimed
        (raw('04 00"a" 1204 0000'), "bad snappy data"),  # a copy from before the start
        (raw('04 00"a" 0600'), "bad snappy data"),  # a copy cut short
        (raw("04 fc ffffffff"), "bad snappy data"),  # a literal of 4 GiB
        (b"", "bad snappy data"),
        (b"\xff" * 12, "bad snappy data: .*varint wider than 64 bits"),
    ],
)
def test_bad_snappy(opened, content, reason):
    table = opened(assemble(content, compression=1))
    with pytest.raises(CorruptionError, match=f"^.*table0: offset 0x0: data block 0: {reason}"):
        list(table.items())


def test_the_next_key(opened):
    """It may be in the block after the one whose separator is not before what is looked for."""
    table = opened(assemble(block([(b"a", b""), (b"c", b"")]), block([(b"~0x", b"")])))
    keys = [b"", b"a", b"b", b"c~", b"~0x", b"~0y", b"~2"]
    assert [table.next_key(key) for key in keys] == [b"a", b"a", b"c", b"~0x", b"~0x", None, None]
    assert [table.next_key(b"b") for _ in range(20)] == [b"c"] * 20  # the block is decoded as a whole


def test_the_previous_key(opened):
    table = opened(assemble(block([(b"a", b""), (b"c", b"")]), block([(b"~0x", b"")])))
    keys = [b"", b"a", b"b", b"c~", b"~0x", b"~0y", b"~2"]
    assert [table.previous_key(key) for key in keys] == [None, None, b"a", b"c", b"c", b"~0x", b"~0x"]


def test_a_next_key_is_not_looked_for_in_many_blocks(opened):
    table = opened(assemble(*[block([(b"a%d" % number, b"")]) for number in range(3)]))
    with pytest.raises(
        CorruptionError, match="data block 1 contains no key after those of the block before"
    ) as caught:
        table.next_key(b"b")
    assert (caught.value.path, caught.value.offset) == (table.path, table.handles[1].offset)
    assert table.next_key(table.separators[1] + b"x") is None


def test_many_lookups_in_one_block_decode_it_once(tmp_path, monkeypatch):
    """Counts what is decoded: with one restart point, each lookup would go through the block from its start."""
    items = [(b"%06d" % number, b"value") for number in range(2000)]
    (tmp_path / "t").write_bytes(Table(items, interval=1 << 30).encode())
    calls = []
    real = table.seek
    monkeypatch.setattr(table, "seek", lambda *args: calls.append(args) or real(*args))
    with LocalFile(str(tmp_path / "t")) as file:
        reader = TableReader(file)
        assert [reader.get(key) for key, _ in items] == [value for _, value in items]
        assert reader.get(b"000000x") is None
    assert len(calls) < 50


def test_lookups_in_two_blocks_by_turns_read_each_once(opened, monkeypatch):
    """Slices are in another block than the entries of their tensors."""
    reader = opened(assemble([(b"a", b"1"), (b"b", b"2")], [(b"c", b"3"), (b"d", b"4")]))
    loaded = []
    real = TableReader._load
    monkeypatch.setattr(TableReader, "_load", lambda *args: loaded.append(args) or real(*args))
    assert [reader.get(key) for key in (b"a", b"c", b"b", b"d", b"a")] == [b"1", b"3", b"2", b"4", b"1"]
    assert len(loaded) == 2
    monkeypatch.setattr(table, "BLOCK_BYTES", 1)  # all blocks are large, then, and none is kept
    reader = opened(assemble([(b"a", b"1")]))
    loaded.clear()
    assert [reader.get(b"a"), reader.get(b"a")] == [b"1", b"1"]
    assert len(loaded) == 2


def test_lookups_far_apart_decode_little_of_a_block(tmp_path, monkeypatch):
    """Those of completion skip all tensors of a scope."""
    items = [(b"%06d" % number, b"value") for number in range(10_000)]
    (tmp_path / "t").write_bytes(Table(items).encode())
    monkeypatch.delattr(TableReader, "_all_of")
    with LocalFile(str(tmp_path / "t")) as file:
        reader = TableReader(file)
        assert [reader.next_key(key) for key, _ in items[::100]] == [key for key, _ in items[::100]]


def test_many_lookups_in_a_bad_data_block(opened):
    """A key before the damage is found until the block is decoded as a whole, which says where it is damaged."""
    bad = raw('000201 "~0" "1" 000205 "~1" 00000000 01000000')
    table = opened(assemble([(b"a", b"1")], bad))
    assert table.get(b"~0") == b"1"
    with pytest.raises(CorruptionError, match="block entry shares 0") as caught:
        assert {table.get(b"~0") for _ in range(100)} == {b"1"}
    assert (caught.value.path, caught.value.offset) == (table.path, table.handles[1].offset + 6)


class FarFile(LocalFile):
    """A file whose every request takes long, that counts them."""

    near_bytes = 100

    def __init__(self, path):
        super().__init__(path)
        self.requests = 0

    def read(self, offset, size):
        self.requests += 1
        return super().read(offset, size)


@pytest.mark.parametrize(("most", "requests"), [(64 << 20, 1), (3 * BLOCK_BYTES, 5), (1, 10)])
def test_blocks_are_read_together_where_requests_take_long(tmp_path, monkeypatch, most, requests):
    monkeypatch.setattr(table, "_AT_ONCE_BYTES", most)
    items = [(b"%02d" % number, bytes([number]) * BLOCK_BYTES) for number in range(10)]
    (tmp_path / "table").write_bytes(table_bytes(items))
    file = FarFile(str(tmp_path / "table"))
    reader = TableReader(file)
    before = file.requests
    assert list(reader.items()) == items
    assert file.requests - before == requests
    file.close()


def test_large_blocks_are_read_one_by_one(tmp_path):
    items = [(b"%02d" % number, bytes([number]) * 4 * BLOCK_BYTES) for number in range(3)]
    (tmp_path / "table").write_bytes(table_bytes([(b"", b"small"), *items]))
    with FarFile(str(tmp_path / "table")) as file:
        reader = TableReader(file)
        before = file.requests
        assert len(list(reader.items())) == 4
        assert file.requests - before == 4


@pytest.mark.parametrize(("small", "requests", "of_all"), [(8 << 20, 1, 1), (0, 2, 3)])
def test_a_few_keys_are_looked_up_at_once_where_requests_take_long(
    tmp_path, monkeypatch, small, requests, of_all
):
    monkeypatch.setattr(table, "_SMALL_BYTES", small)
    items = [(b"%02d" % number, bytes([number]) * BLOCK_BYTES) for number in range(10)]
    (tmp_path / "table").write_bytes(table_bytes(items))
    with FarFile(str(tmp_path / "table")) as file:
        reader = TableReader(file)
        before = file.requests
        assert reader.get_together(b"00", b"07", b"99") == [items[0][1], items[7][1], None]
        assert file.requests - before == requests
        assert list(reader.items()) == items
        assert file.requests - before == of_all


def test_a_table_that_is_partly_at_hand(tmp_path):
    """The end, which was read at first, is not read again; it begins inside a block."""
    items = [(b"%02d" % number, bytes([number]) * BLOCK_BYTES) for number in range(3)]
    (tmp_path / "table").write_bytes(table_bytes(items))
    with FarFile(str(tmp_path / "table")) as file:
        file.near_bytes = BLOCK_BYTES // 2
        reader = TableReader(file)
        asked, read = [], file.read
        file.read = lambda offset, size: asked.append((offset, size)) or read(offset, size)
        assert list(reader.items()) == items
        assert asked == [(0, file.size - file.near_bytes)]


def test_a_block_beyond_the_end_is_refused_where_requests_take_long(tmp_path):
    (tmp_path / "table").write_bytes(table_bytes([(b"a", b"1" * BLOCK_BYTES), (b"b", b"2")]))
    file = FarFile(str(tmp_path / "table"))
    reader = TableReader(file)
    reader.handles[0] = BlockHandle(0, 1 << 20)
    with pytest.raises(CorruptionError, match="the blocks end at"):
        list(reader.items())
    file.close()


@pytest.mark.parametrize(("size", "reads"), [(4 * BLOCK_BYTES - 100, 1), (4 * BLOCK_BYTES, 3)])
def test_only_blocks_that_are_not_large_are_kept(opened, monkeypatch, size, reads):
    """A large one has one tensor, or a slice, which is looked up once."""
    value = bytes(size)
    reader = opened(table_bytes([(b"a", value)]))
    read = LocalFile.read
    offsets = []
    monkeypatch.setattr(
        LocalFile, "read", lambda file, offset, size: offsets.append(offset) or read(file, offset, size)
    )
    assert [reader.get(b"a") == value for _ in range(3)] == [True, True, True]
    assert offsets == [0] * reads
