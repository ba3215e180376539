"""Any bytes: a value or a BundleError, nothing else, and soon.

Random bytes rarely get past a parser's first checks. So most of these are well-formed one level up: damaged examples,
protobuf messages of no particular type, tables with right checksums around wrong contents.
"""

import contextlib
import pathlib
import tempfile

import cramjam
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from support.bundles import read_everything, table_bytes, variant_payload, write_bundle
from support.strategies import damaged, names, wire_messages
from support.v1_files import FIELD_OF, v1_bytes, whole_bytes
from tensorbundle import coding
from tensorbundle.block import BlockBuilder, iterate, seek
from tensorbundle.dtypes import DType
from tensorbundle.entries import BundleHeader, TensorEntry, parse_entries, parse_entry
from tensorbundle.keys import decode_key
from tensorbundle.payloads import decode_strings, encode_strings, payload_checksum
from tensorbundle.state import CheckpointState
from tensorbundle.storage.content import describe_content
from tensorbundle.storage.local import LocalFile
from tensorbundle.table import FOOTER_BYTES, BlockHandle, Footer, TableReader
from tensorbundle.tools import verify
from tensorbundle.v1.saved_slices import (
    SavedTensor,
    decode_values,
    encode_meta,
    encode_slice,
    parse_meta,
    parse_slice,
)

PIECE = tb.TensorSlice(((0, 4), (70, 100), (0, -1)))
ENTRY = TensorEntry(DType.float32, (4, 300, 0), 4800, 3, 70_000, 0x12345678)
PARTITIONED = TensorEntry(DType.float32, (4, 300, 9), 0, slices=(PIECE, PIECE))
STRINGS = encode_strings([b"a", b"", b"b" * 200])[0] + b"a" + b"b" * 200
VARIANTS = variant_payload([b"abc", b""])[0]
GRAPH = tb.ObjectGraph.from_names(["a", "b/c"]).encode()


def block_of(pairs):
    builder = BlockBuilder(3)
    for key, value in pairs:
        builder.add(key, value)
    return builder.finish()


BLOCK = block_of((b"key%02d" % i, b"v" * i) for i in range(8))


def checksum(dtype, elements):
    def parse(data):
        found = payload_checksum(dtype, elements, len(data))
        found.update(data)
        return found.finish()

    return parse


def numbers(dtype):
    """The parser of three values of a type in a V1 record, and an example of them."""
    array = (
        np.array([b"a", b"", b"c"], object)
        if dtype == "string"
        else np.array([1, 0, 1]).astype(DType[dtype].numpy)
    )
    example = bytes(parse_slice(encode_slice(b"x", PIECE, DType[dtype], array))[2])
    return lambda data: decode_values(memoryview(data), DType[dtype], 3), example


SAVED = [
    SavedTensor(b"a", (4, 300, 9), DType.int16, (PIECE, PIECE)),
    SavedTensor(b"b", (), DType.string, (tb.TensorSlice(()),)),
]


def graph(data):
    found = tb.ObjectGraph.parse(data)
    assert len(found.encode()) <= len(data) * 3
    return [*found.walk(), *found.attributes()]


# name -> (parser, an encoded example)
PARSERS = {
    "varint": (lambda data: coding.read_varint(data, 0), b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    "protobuf fields": (lambda data: list(coding.fields(data)), ENTRY.encode()),
    "ordered int": (lambda data: coding.read_ordered_int(data, 0), bytes.fromhex("ffc04000000000000000")),
    "ordered uint": (lambda data: coding.read_ordered_uint(data, 0), b"\x02\x01\x2c"),
    "ordered string": (lambda data: coding.read_ordered_string(data, 0), b"a\0\xffb\xff\0c\0\1"),
    "slice": (tb.TensorSlice.parse, PIECE.encode()),
    "slice key": (tb.TensorSlice.parse_key, PIECE.key(b"name")),
    "header": (BundleHeader.parse, BundleHeader(2, True, 1, 0, (2, 3)).encode()),
    "entry": (parse_entry, ENTRY.encode()),
    "partitioned entry": (parse_entry, PARTITIONED.encode()),
    "entries": (lambda data: list(parse_entries((b"k",), (data,))), ENTRY.encode()),
    "handle": (BlockHandle.parse, BlockHandle(300, 2**40).encode()),
    "footer": (
        lambda data: Footer.parse(data[:FOOTER_BYTES].ljust(FOOTER_BYTES)),
        Footer(BlockHandle(3, 8), BlockHandle(400, 9)).encode(),
    ),
    "block": (lambda data: list(iterate(data)), BLOCK),
    "block seek": (lambda data: [seek(data, key) for key in (b"", b"key03", b"z")], BLOCK),
    "strings": (lambda data: decode_strings(memoryview(data), 3), STRINGS),
    "strings checksum": (checksum(DType.string, 3), STRINGS),
    "variants checksum": (checksum(DType.variant, 2), VARIANTS),
    "object graph": (graph, GRAPH),
    "V1 meta record": (parse_meta, encode_meta(SAVED)),
    "V1 slice record": (parse_slice, encode_slice(b"name", PIECE, DType.int8, np.zeros(3, np.int8))),
    **{f"V1 values of {dtype}": numbers(dtype) for dtype in FIELD_OF},
    "content": (describe_content, b"\0\0version https://git-lfs"),
}


@pytest.mark.parametrize(("parse", "example"), PARSERS.values(), ids=PARSERS)
@given(data=st.data())
def test_parser(parse, example, data):
    parse(example)
    content = data.draw(
        st.one_of(damaged(example), damaged(example), wire_messages(), st.binary(max_size=40))
    )
    with contextlib.suppress(tb.BundleError):
        parse(content)


@given(st.one_of(wire_messages(), damaged(ENTRY.encode()), damaged(PARTITIONED.encode())))
def test_the_quick_entry_parser_agrees_with_the_general_one(content):
    """Also after an entry with the same type, shape and size, which are then known."""
    keys, values = (b"a", b"k", b"l"), (ENTRY.encode(), content, content)
    try:
        expected = parse_entry(content)
    except tb.BundleError:
        with pytest.raises(tb.BundleError):
            list(parse_entries(keys, values))
    else:
        assert list(parse_entries(keys, values)) == [(keys, [ENTRY, expected, expected])]


def read_table(data, directory):
    path = pathlib.Path(directory, "table")
    path.write_bytes(data)
    with LocalFile(str(path)) as file:
        table = TableReader(file)
        for key in (b"", b"key03", b"zzz"):
            table.get(key)
        return list(table.items())


TABLE = table_bytes((b"key%02d" % i, b"v" * i) for i in range(40))


@given(st.one_of(damaged(TABLE), st.binary(max_size=80)))
def test_table(data):
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(tb.BundleError):
        read_table(data, directory)


def stored_block(content, compression):
    """A block with its trailer, the checksum right."""
    body = content + bytes([compression])
    return body + coding.FIXED32.pack(coding.mask(coding.crc32c(body)))


def sealed_table(data_block, compression, index_value, index_block=None):
    """A table of one data block, every checksum right whatever is in the blocks."""
    stored = stored_block(data_block, compression)
    index = index_block if index_block is not None else block_of([(b"z", index_value)])
    footer = Footer(BlockHandle(0, 0), BlockHandle(len(stored), len(index)))
    return stored + stored_block(index, 0) + footer.encode()


SNAPPY = bytes(cramjam.snappy.compress_raw(BLOCK * 3))


@given(
    st.one_of(damaged(BLOCK), damaged(SNAPPY), st.binary(max_size=40)),
    st.sampled_from([0, 1, 1, 2]),
    st.one_of(st.none(), st.binary(max_size=12), st.builds(BlockHandle, *[st.integers(0, 2**64 - 1)] * 2)),
    st.one_of(st.none(), damaged(block_of([(b"z", b"\0\0")]))),
)
def test_table_with_right_checksums(data_block, compression, index_value, index_block):
    if index_value is None:
        index_value = BlockHandle(0, len(data_block))
    if isinstance(index_value, BlockHandle):
        index_value = index_value.encode()
    data = sealed_table(data_block, compression, index_value, index_block)
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(tb.BundleError):
        read_table(data, directory)


def bundles(*enormous):
    """Entries, data files, a header or None, and whether to verify; sizes fit well, nearly, or are `enormous`."""
    sizes = st.one_of(st.integers(0, 6), st.sampled_from(enormous))
    pieces = st.lists(st.tuples(sizes, st.one_of(st.just(-1), sizes)), max_size=3).map(
        lambda extents: tb.TensorSlice(tuple(extents))
    )
    entries = st.builds(
        TensorEntry,
        st.sampled_from([*DType]),
        st.lists(sizes, max_size=4).map(tuple),
        sizes,
        st.integers(0, 2),
        sizes,
        st.sampled_from([0, coding.crc32c(bytes(4))]),
        st.one_of(st.just(()), st.just(()), st.lists(pieces, max_size=3).map(tuple)),
    )
    keys = st.one_of(names.map(str.encode), st.binary(min_size=1, max_size=8))
    headers = st.one_of(
        st.none(), st.none(), wire_messages(), damaged(BundleHeader(1, big_endian=True).encode())
    )
    return st.tuples(
        st.dictionaries(keys, st.one_of(entries, entries, wire_messages()), max_size=5),
        st.lists(st.binary(max_size=24), max_size=3),
        headers,
        st.booleans(),
    )


def read_one_by_one(bundle, regions):
    """Each tensor by itself, so that one bad entry does not shield the next."""
    entries, shards, header, verify = bundle
    for key, entry in list(entries.items()):  # give partitioned tensors the pieces that they list
        for piece in entry.slices if isinstance(entry, TensorEntry) else ():
            with contextlib.suppress(tb.BundleError):
                entries[piece.key(key)] = TensorEntry(entry.dtype, piece.shape(entry.shape), 4)
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(tb.BundleError):
        prefix = write_bundle(pathlib.Path(directory, "m"), entries, shards, header)
        with tb.open(prefix, verify=verify) as ckpt:
            for name in [decode_key(key) for key, _ in ckpt.index.table.items()]:
                for region in regions:
                    with contextlib.suppress(tb.BundleError, IndexError):
                        ckpt.read(name, region)
            with contextlib.suppress(tb.BundleError):
                list(ckpt)
            _ = ckpt.object_graph


@given(bundles(2**31, 2**45, 2**62, 2**63 - 1))
def test_open_with_impossible_entries(bundle):
    read_one_by_one(bundle, [None])


@given(bundles(2**10, 2**20))
def test_regions_of_impossible_entries(bundle):
    read_one_by_one(bundle, [np.s_[...], np.s_[:1], np.s_[-1], np.s_[::-1, ...]])


@given(st.one_of(st.binary(max_size=100), damaged(TABLE)), st.binary(max_size=100))
def test_open_with_random_files(index, data):
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory, "m.index").write_bytes(index)
        pathlib.Path(directory, "m.data-00000-of-00001").write_bytes(data)
        with contextlib.suppress(tb.BundleError):
            read_everything(f"{directory}/m")
        with contextlib.suppress(tb.BundleError):
            tb.open(directory)


def v1_files(*enormous):
    """Meta records, also damaged ones, and data records; sizes fit well, nearly, or are `enormous`."""
    sizes = st.one_of(st.integers(0, 6), st.sampled_from(enormous))
    extents = st.tuples(sizes, st.one_of(st.just(-1), sizes))
    slices = st.lists(extents, max_size=2).map(lambda found: tb.TensorSlice(tuple(found)))
    keys = st.one_of(names.map(str.encode), st.binary(max_size=3))
    tensors = st.builds(
        SavedTensor,
        keys,
        st.lists(sizes, max_size=2).map(tuple),
        st.sampled_from([*DType]),
        st.lists(slices, max_size=3).map(tuple),
    )
    metas = st.lists(tensors, max_size=4)
    values = st.tuples(
        st.one_of(st.just(b""), wire_messages(), st.sampled_from([numbers(dtype)[1] for dtype in FIELD_OF])),
        st.one_of(st.none(), st.none(), wire_messages()),
    )
    return st.tuples(metas, st.lists(values, min_size=12, max_size=12), st.one_of(st.none(), wire_messages()))


def v1_file(file):
    """Its bytes: each slice has a record, whose values hardly ever are right."""
    tensors, values, meta = file
    records = {}
    parts = [(tensor.name, part) for tensor in tensors for part in tensor.slices]
    for (name, part), (proto, record) in zip(parts, values, strict=False):
        right = b"".join(map(tagged, (1, 2, 3), (name, part.encode(), proto)))
        with contextlib.suppress(OverflowError):
            records[part.key(name)] = tagged(2, right) if record is None else record
    return v1_bytes(tensors if meta is None else meta, records.items())


def tagged(number, content):
    return bytes([number << 3 | 2]) + coding.encode_varint(len(content)) + content


def read_v1(data, regions):
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(tb.BundleError):
        path = pathlib.Path(directory, "m")
        path.write_bytes(data)
        verify(path)
        with tb.open(path) as ckpt:
            for key in list(ckpt.index.listed):
                for region in regions:
                    with contextlib.suppress(tb.BundleError, IndexError):
                        ckpt.read(decode_key(key), region)
            with contextlib.suppress(tb.BundleError):
                list(ckpt)
            _ = ckpt.object_graph


@given(v1_files(2**31, 2**45, 2**62, 2**63 - 1))
def test_open_v1_with_impossible_tensors(file):
    read_v1(v1_file(file), [None])


@pytest.mark.slow
@given(v1_files(2**10, 2**20))
def test_regions_of_impossible_v1_tensors(file):
    read_v1(v1_file(file), [np.s_[...], np.s_[:1], np.s_[-1], np.s_[::-1, ...]])


@given(
    st.one_of(
        st.binary(max_size=100), damaged(TABLE), damaged(whole_bytes({"a": np.arange(3), "b": np.array(1.5)}))
    )
)
def test_open_v1_with_random_files(data):
    read_v1(data, [None])


STATE = b'model_checkpoint_path: "m-2"\nall_model_checkpoint_paths: "m-1"\nlast_preserved_timestamp: 1.5\n'
state_text = st.lists(
    st.sampled_from([
        "model_checkpoint_path", "all_model_checkpoint_timestamps", "x", ":", "{", "}", "<", ">", "[", "]", '"', "'",
        '"m"', "'m\\", "\\143", "\\xff", "\\ud800", "\\U00110000", "1", "-1e999", "nan", "#", "\n", "\0", "é",
    ])
).map(lambda tokens: " ".join(tokens).encode())  # fmt: skip


@given(st.one_of(damaged(STATE), state_text, st.binary(max_size=40)))
def test_state_file(content):
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory, "checkpoint").write_bytes(content)
        with contextlib.suppress(tb.BundleError):
            state = CheckpointState.read(directory)
            pathlib.Path(directory, "checkpoint").write_bytes(state.encode())
            assert repr(CheckpointState.read(directory)) == repr(
                state
            )  # as text, since nan is not equal to nan
        with contextlib.suppress(tb.BundleError):
            tb.open(directory)
