"""The index as a map from keys to entries."""

import os

import pytest

import tensorbundle as tb
from support.bundles import plain, raw, table_bytes, write_bundle
from tensorbundle.dtypes import DType
from tensorbundle.entries import BundleHeader, TensorEntry
from tensorbundle.index import BundleIndex
from tensorbundle.keys import decode_key, encode_key
from tensorbundle.slices import TensorSlice

ROWS = [TensorSlice.parse_spec("0,1:-"), TensorSlice.parse_spec("1,2:-")]
PARTS = TensorEntry(DType.float32, (3, 2), 0, slices=tuple(ROWS))
NAMES = TensorEntry(DType.string, (3, 2), 0, slices=tuple(ROWS))
ENTRIES = {
    b"a": plain("float32", [2], b"12345678"),
    b"parts": PARTS,
    ROWS[0].key(b"parts"): plain("float32", [1, 2], bytes(8)),
    ROWS[1].key(b"parts"): plain("float32", [2, 2], bytes(16), offset=8),
    b"names": NAMES,
    ROWS[0].key(b"names"): TensorEntry(DType.string, (1, 2), 20),
    ROWS[1].key(b"names"): TensorEntry(DType.string, (2, 2), 30),
    b"z\xff": plain("int8", [], b"1"),
}


@pytest.fixture
def index(tmp_path):
    with BundleIndex(write_bundle(tmp_path / "m", ENTRIES)) as opened:
        yield opened


def test_open_reads_no_data_shard(index):
    assert not os.path.exists(index.shard_path(0))
    assert index.header == BundleHeader(1)
    assert index.shard_path(7) == f"{index.prefix}.data-00007-of-00001"


def test_get(index):
    assert index.get(b"a") == ENTRIES[b"a"]
    assert index.get(b"parts") == PARTS._replace(nbytes=24)
    assert index.get(ROWS[0].key(b"parts")) == ENTRIES[ROWS[0].key(b"parts")]
    assert index.get(b"") is index.get(b"b") is index.get(b"~") is None


def test_entry_of_a_partitioned_tensor_adds_up_its_pieces(index):
    assert index.entry("parts").nbytes == 24
    assert index.entry("names").nbytes == 50


def test_entries_hide_the_pieces(index):
    assert [key for key, _ in index.entries()] == [b"a", b"names", b"parts", b"z\xff"]
    assert dict(index.entries())[b"names"].nbytes == 50
    assert [key for key, _ in index.raw_entries()] == sorted(ENTRIES)


def test_keys_that_are_not_utf8_come_back_as_they_were(index):
    assert decode_key(b"z\xff") == "z\udcff"
    assert encode_key("z\udcff") == b"z\xff"
    assert index.entry("z\udcff") == ENTRIES[b"z\xff"]


def test_owner(index):
    assert index.owner(ROWS[1].key(b"parts")) == b"parts"
    assert index.owner(TensorSlice.parse_spec("2,1:-").key(b"parts")) is None
    assert index.owner(ROWS[1].key(b"a")) is None
    assert index.owner(ROWS[1].key(b"none")) is None
    assert index.owner(b"\0parts") is None
    assert index.owner(b"parts") is None


def test_orphans_are_not_hidden(tmp_path):
    """A slice key that no tensor lists, and one that is none but starts like one."""
    orphan = ROWS[0].key(b"a")
    entries = {b"a": ENTRIES[b"a"], orphan: ENTRIES[ROWS[0].key(b"parts")], b"\0x": ENTRIES[b"a"]}
    with BundleIndex(write_bundle(tmp_path / "m", entries)) as index:
        assert [key for key, _ in index.entries()] == sorted(entries)


def test_a_missing_key_shows_near_ones(tmp_path):
    entries = dict.fromkeys(
        (b"dense/kernel", b"dense/bias", b"emb", b"optimizer/dense/kernel/m"), ENTRIES[b"a"]
    )
    with BundleIndex(write_bundle(tmp_path / "m", entries)) as index:
        with pytest.raises(
            tb.TensorNotFoundError, match=r"no such tensor; near: 'dense/kernel', 'optimizer/dense/kernel/m'$"
        ) as caught:
            index.entry("Dense/kernel")
        assert (caught.value.path, caught.value.key) == (index.prefix, "Dense/kernel")
        with pytest.raises(KeyError, match=r"no such tensor$"):
            index.entry("q")


def test_pieces(index):
    assert list(index.stored_slices(b"parts", PARTS)) == [
        (part, part.key(b"parts"), ENTRIES[part.key(b"parts")]) for part in ROWS
    ]


def test_slices_that_a_pass_has_met_are_not_looked_up_again(tmp_path, monkeypatch):
    with BundleIndex(write_bundle(tmp_path / "m", ENTRIES)) as index:
        looked_up = []
        get = index.get
        monkeypatch.setattr(index, "get", lambda key: looked_up.append(key) or get(key))
        for key, entry in index.entries():
            assert len(list(index.stored_slices(key, entry))) == len(entry.slices)
        assert looked_up == [b"names", b"parts"]  # as their owners


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        (None, "slice 1,2:- is listed, but its entry is missing"),
        (
            plain("int32", [2, 2], bytes(16)),
            r"slice 1,2:- is stored as int32 \[2, 2\], expected float32 \[2, 2\]",
        ),
        (
            plain("float32", [4], bytes(16)),
            r"slice 1,2:- is stored as float32 \[4\], expected float32 \[2, 2\]",
        ),
        (TensorEntry(DType.float32, (2, 2), 0, slices=(ROWS[0],)), "slice 1,2:- is stored as"),
    ],
)
def test_bad_pieces(tmp_path, piece, reason):
    entries = ENTRIES | {ROWS[1].key(b"parts"): piece}
    if piece is None:
        del entries[ROWS[1].key(b"parts")]
    with BundleIndex(write_bundle(tmp_path / "m", entries)) as index:
        with pytest.raises(tb.CorruptionError, match=reason) as caught:
            list(index.stored_slices(b"parts", PARTS))
        assert (caught.value.path, caught.value.key) == (f"{index.prefix}.index", "parts")


@pytest.mark.parametrize("spec", ["0,9:-", "0,1", "3,1:-"])
def test_a_slice_outside_its_tensor(tmp_path, spec):
    part = TensorSlice.parse_spec(spec)
    entries = {b"t": PARTS._replace(slices=(part,)), part.key(b"t"): ENTRIES[b"a"]}
    with BundleIndex(write_bundle(tmp_path / "m", entries)) as index:
        with pytest.raises(
            tb.CorruptionError, match=f"slice {spec} (reaches outside|has 1 dimensions)"
        ) as caught:
            list(index.stored_slices(b"t", index.get(b"t")))
        assert caught.value.key == "t"


def write_table(directory, items):
    (directory / "m.index").write_bytes(table_bytes(items))
    return str(directory / "m")


@pytest.mark.parametrize(
    ("items", "error", "reason"),
    [
        ([], tb.CorruptionError, "no header: not the index of a checkpoint"),
        ([(b"a", ENTRIES[b"a"].encode())], tb.CorruptionError, "no header: not the index of a checkpoint"),
        ([(b"", b"")], tb.CorruptionError, "header says 0 data shards"),
        ([(b"", b"\x08")], tb.CorruptionError, "varint cut short"),
        ([(b"", raw("0801 1a04 0801 1002"))], tb.UnsupportedError, "a newer tensorbundle is needed"),
    ],
)
def test_no_bundle(tmp_path, items, error, reason):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error, match=reason) as caught:
        BundleIndex(write_table(tmp_path, items))
    assert caught.value.path == str(tmp_path / "m.index")
    del caught
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("bad", [b"\x08", raw("0801 1200 20"), raw("08c801 1200 2804 355e2fe1a7")])
def test_a_bad_entry_among_good_ones(tmp_path, bad):
    """Good ones can be read, and are listed up to it."""
    items = {
        b"": BundleHeader(1).encode(),
        b"a": ENTRIES[b"a"].encode(),
        b"b": bad,
        b"c": ENTRIES[b"a"].encode(),
    }
    prefix = write_table(tmp_path, items.items())
    with BundleIndex(prefix) as index:
        assert index.get(b"a") == index.get(b"c") == ENTRIES[b"a"]
        listing = index.entries()
        assert next(listing) == (b"a", ENTRIES[b"a"])
        for read in (lambda: next(listing), lambda: index.get(b"b"), lambda: index.entry("b")):
            with pytest.raises(tb.BundleError) as caught:
                read()
            assert (caught.value.path, caught.value.key) == (f"{prefix}.index", "b")
            # A place in the encoded entry is not a place in the file.
            start = (tmp_path / "m.index").read_bytes().index(b"b" + bad) + 1
            assert caught.value.offset is None or start <= caught.value.offset <= start + len(bad)
