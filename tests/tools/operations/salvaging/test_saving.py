"""What can be saved of damaged checkpoints, and that nothing is saved that is not proven."""

import os
import shutil

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain, read_everything, snapshot, write_bundle
from support.cli import V221
from support.golden import SAMPLE
from support.v1_files import item, snappy_table, v1_bytes, whole_bytes
from support.v1_files import saved as listed
from tensorbundle.storage.local import LocalFile, LocalStore
from tensorbundle.table import TableReader
from tensorbundle.tools import convert, salvage, verify

LONG = "a long name of a variable " * 25
DATA = "m.data-00000-of-00001"


@pytest.fixture
def ckpt(tmp_path):
    """A checkpoint with an index of three blocks; its folder."""
    directory = tmp_path / "damaged"
    directory.mkdir()
    random = np.random.default_rng(1)
    with tb.create(directory / "m") as writer:
        for number in range(900):
            key = f"scope_{number}/{LONG}"
            writer.add(key, random.random(3, np.float32))
    return directory


def blocks_of(path):

    with LocalFile(str(path)) as file:
        return TableReader(file).handles


def saved(directory, **options):
    """Salvages m, checks that nothing of the source changed, and that all that was saved is as it was."""
    before = snapshot(directory)
    found = salvage(directory / "m", directory.parent / "saved", overwrite=True, **options)
    assert snapshot(directory) == before
    assert [
        each.kind for each in verify(directory.parent / "saved").problems if each.severity == "error"
    ] == []
    return found


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def flip(path, *offsets):
    data = bytearray(path.read_bytes())
    for each in offsets:
        data[each] ^= 4
    path.write_bytes(data)


@pytest.mark.slow
def test_a_sound_checkpoint(ckpt):
    expected = read_everything(ckpt / "m")
    found = saved(ckpt)
    assert (found.saved, found.fates, found.notes) == (900, (), ())
    assert read_everything(ckpt.parent / "saved") == expected


@pytest.mark.slow
def test_an_index_without_its_end(ckpt):
    expected = read_everything(ckpt / "m")
    cut(ckpt / "m.index", os.path.getsize(ckpt / "m.index") - 30)
    found = saved(ckpt)
    assert (found.saved, found.fates) == (900, ())
    assert read_everything(ckpt.parent / "saved") == expected


@pytest.mark.slow
def test_an_index_that_ends_in_a_block(ckpt):
    expected = read_everything(ckpt / "m")
    last = blocks_of(ckpt / "m.index")[-1]
    cut(ckpt / "m.index", last.offset + last.size // 2)
    found = saved(ckpt)
    assert 600 < found.saved < 900
    assert all(each.status == "unproven" and "damaged block" in each.detail for each in found.fates)
    assert read_everything(ckpt.parent / "saved").items() <= expected.items()


@pytest.mark.slow
def test_an_index_without_its_start(ckpt):
    expected = read_everything(ckpt / "m")
    data = (ckpt / "m.index").read_bytes()
    (ckpt / "m.index").write_bytes(bytes(1000) + data[1000:])
    found = saved(ckpt)
    assert found.saved > 500
    assert any("header is lost" in note for note in found.notes)
    assert read_everything(ckpt.parent / "saved").items() <= expected.items()


@pytest.mark.slow
def test_one_flipped_bit_in_the_index_is_put_right(ckpt):
    expected = read_everything(ckpt / "m")
    flip(ckpt / "m.index", 5000)
    found = saved(ckpt)
    assert (found.saved, found.fates) == (900, ())
    assert found.notes == ("a flipped bit in the index, at offset 0x1388, was put right",)
    assert read_everything(ckpt.parent / "saved") == expected


@pytest.mark.slow
def test_two_flipped_bits_in_one_block(ckpt):
    expected = read_everything(ckpt / "m")
    first, second = blocks_of(ckpt / "m.index")[:2]
    flip(ckpt / "m.index", second.offset + 1000, second.offset + 5000)
    found = saved(ckpt)
    assert found.saved >= 500
    proven = {each.key for each in found.fates}
    content = read_everything(ckpt.parent / "saved")
    assert all(expected[key] == value for key, value in content.items() if key not in proven)
    assert first.offset == 0


@pytest.mark.slow
def test_damaged_data_is_lost(ckpt):
    expected = read_everything(ckpt / "m")
    keys = sorted(expected)
    flip(ckpt / DATA, 5)
    found = saved(ckpt)
    assert found.saved == 899
    [fate] = found.fates
    assert (fate.key, fate.status) == (f"scope_0/{LONG}", "lost")
    assert fate.detail.startswith("its bytes have the checksum ")
    assert sorted(read_everything(ckpt.parent / "saved")) == [key for key in keys if key != fate.key]


def test_a_data_shard_that_was_cut(ckpt):
    cut(ckpt / DATA, 12 * 100 + 5)
    found = saved(ckpt)
    assert (found.saved, found.lost) == (100, 800)


def test_nothing_is_left(ckpt):
    (ckpt / DATA).unlink()
    with pytest.raises(tb.CorruptionError, match="nothing can be saved: no such file"):
        salvage(ckpt / "m", ckpt.parent / "saved")
    (ckpt / "m.index").write_bytes(b"nothing")
    with pytest.raises(tb.CorruptionError, match="nothing can be saved: no entry of a tensor is left"):
        salvage(ckpt / "m", ckpt.parent / "saved")
    (ckpt / "m.index").unlink()
    with pytest.raises(
        tb.MissingFileError, match="its index is missing, and so is a temporary file of it; --index CKPT"
    ):
        salvage(ckpt / "m", ckpt.parent / "saved")
    assert list(ckpt.parent.glob("saved*")) == []


@pytest.mark.slow
def test_temporary_files_of_a_killed_save(ckpt):
    expected = read_everything(ckpt / "m")
    (ckpt / "m.index").rename(ckpt / "m.index.tempstate123")
    (ckpt / DATA).rename(ckpt / f"{DATA}.tempstate456")
    found = saved(ckpt)
    assert found.notes == ("entries are from m.index.tempstate123, which a killed save left",)
    assert read_everything(ckpt.parent / "saved") == expected
    assert salvage(ckpt / f"{DATA}.tempstate456", None).saved == 900


def test_a_data_shard_with_the_index_of_another_save(tmp_path):
    (tmp_path / "damaged").mkdir()
    for name, step in (("damaged/m", 1), ("other", 2)):
        with tb.create(tmp_path / name) as writer:
            writer.add("w", np.full(10, step, "f4"))
            writer.add("words", np.array([b"a", b"same"], object))
    expected = read_everything(tmp_path / "damaged/m")
    (tmp_path / "damaged/m.index").unlink()
    found = saved(tmp_path / "damaged", sibling=tmp_path / "other")
    assert [(each.key, each.status) for each in found.fates] == [("w", "unproven")]
    assert read_everything(tmp_path / "saved") == expected
    with tb.create(tmp_path / "larger") as writer:
        writer.add("w", np.zeros(11, "f4"))
    with pytest.raises(tb.CorruptionError, match="not the same model, or cut short"):
        salvage(tmp_path / "damaged/m", None, sibling=tmp_path / "larger")
    convert(SAMPLE, tmp_path / "old", to="v1")
    with pytest.raises(tb.UnsupportedError):
        salvage(tmp_path / "damaged/m", None, sibling=tmp_path / "old")


@pytest.mark.parametrize(
    "path", ["keras-adam/ckpt-1", "partitioned-sharded/model.ckpt-100", "tables/ckpt-1", "iterator/ckpt-1"]
)
def test_golden_checkpoints_without_the_end_of_their_index(tmp_path, path):
    folder, name = path.split("/")
    shutil.copytree(V221 / folder, tmp_path / "damaged")
    index = tmp_path / "damaged" / f"{name}.index"
    cut(index, os.path.getsize(index) - 1)
    found = salvage(tmp_path / "damaged" / name, tmp_path / "saved")
    assert (found.lost, found.fates) == (0, ())
    with tb.open(V221 / path) as before, tb.open(tmp_path / "saved") as after:
        assert dict(before.index.raw_entries()).keys() == dict(after.index.raw_entries()).keys()
        for key, entry in before.index.raw_entries():
            found_entry = after.index.get(key)
            assert (found_entry.dtype, found_entry.shape, found_entry.crc32c) == (*entry[:2], entry.crc32c)


def test_a_slice_that_is_lost_loses_its_tensor(tmp_path):
    parts = [tb.TensorSlice.parse_spec(spec) for spec in ("0,2:-", "2,2:-")]
    (tmp_path / "damaged").mkdir()
    with tb.create(tmp_path / "damaged/m") as writer:
        for part in parts:
            writer.add_slice("w", [4, 3], part, np.ones((2, 3), "f4"))
        writer.add("x", np.float32(1))
    flip(tmp_path / "damaged" / DATA, 30)
    found = saved(tmp_path / "damaged")
    assert found.saved == 2  # x, and the slice that is left
    assert {each.key for each in found.fates} == {"w", "w[2,2:-]"}


def test_the_source_is_never_written_to(ckpt):
    before = snapshot(ckpt)
    with pytest.raises(tb.ConflictError, match="the source is never changed"):
        salvage(ckpt / "m", ckpt / "m", overwrite=True)
    with pytest.raises(tb.ConflictError, match="the source is never changed"):
        salvage(ckpt / "m", f"file://{ckpt}/m", overwrite=True)
    assert snapshot(ckpt) == before


def test_files_of_other_formats_have_no_checksums(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"damaged")
    with pytest.raises(tb.UnsupportedError, match="only TensorFlow's checkpoints can be salvaged"):
        salvage(tmp_path / "m.safetensors", tmp_path / "saved")


def test_a_v1_checkpoint(tmp_path):
    values = {"a": np.arange(9, dtype=np.float32), "b": np.array([b"x", b""], object), "c": np.arange(4)}
    directory = tmp_path / "damaged"
    directory.mkdir()
    path = directory / "m"
    path.write_bytes(whole_bytes(values))
    with LocalFile(str(path)) as file:
        path.write_bytes(snappy_table(TableReader(file).items()))
    with LocalFile(str(path)) as file:
        handle = TableReader(file).handles[1]  # of a: the first block has the record that lists all
    data = bytearray(path.read_bytes())
    data[handle.offset + 3] ^= 3  # two bits
    path.write_bytes(data)
    found = saved(directory)
    assert [(each.key, each.status) for each in found.fates] == [("a", "lost")]
    assert "data block 1: crc32c stored" in found.fates[0].detail
    assert found.notes == ("a V1 checkpoint: what can be read is written as V2",)
    kept = read_everything(tmp_path / "saved")
    assert kept == {"b": ("object", (2,), [b"x", b""]), "c": ("int64", (4,), values["c"].tobytes())}
    path.write_bytes(b"nothing" * 20)
    with pytest.raises(tb.CorruptionError, match="not a table: text: "):
        saved(directory)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [0, 1 << 20])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_v1_checkpoint_without_its_end(tmp_path, compressed, at_once, monkeypatch):
    """At every length, the tensors whose blocks are complete; with a flipped bit, those of the other blocks."""
    monkeypatch.setattr("tensorbundle.tools.operations.salvaging.tables._AT_ONCE_BYTES", at_once)
    values = {name: np.arange(40_000 if name == "b" else 9, dtype=np.float32) for name in "abc"}
    (tmp_path / "damaged").mkdir()
    path = tmp_path / "damaged/m"
    path.write_bytes(whole_bytes(values))
    if compressed:
        with LocalFile(str(path)) as file:
            path.write_bytes(snappy_table(TableReader(file).items()))
    whole = path.read_bytes()
    expected = read_everything(path)
    with LocalFile(str(path)) as file:
        handles = TableReader(file).handles
    ends = [each.offset + each.size + 5 for each in handles]
    for length in [*ends, ends[-1] - 1, len(whole) - 1]:
        path.write_bytes(whole[:length])
        complete = sum(end <= length for end in ends)
        if complete <= (1 if compressed else 0):
            with pytest.raises(tb.CorruptionError, match=r"not a table|nothing can be saved"):
                salvage(path, None)
            continue
        found = saved(tmp_path / "damaged")
        assert found.notes[1:] == ("the end of m is damaged: its blocks were looked for",)
        content = read_everything(tmp_path / "saved")
        assert content.items() <= expected.items()
        assert len(content) == (complete - 1 if compressed else 3)
        assert {each.key for each in found.fates} == expected.keys() - content.keys()
        assert found.saved == len(content)
    if compressed:
        damaged = bytearray(whole[:-1])
        damaged[handles[2].offset + 9] ^= 9  # of b
        path.write_bytes(damaged)
        assert [each.key for each in saved(tmp_path / "damaged").fates] == ["b"]


V1_VALUES = {"a": np.arange(70_000, dtype=np.int32), "b": np.ones(80_000, np.float32), "c": np.arange(4)}


@pytest.fixture(params=["raw", "snappy"])
def v1_file(request, tmp_path):
    """A file of several blocks, its bytes, and the places of its blocks."""
    path = tmp_path / "damaged/m"
    path.parent.mkdir()
    path.write_bytes(whole_bytes(V1_VALUES))
    if request.param == "snappy":
        with LocalFile(str(path)) as file:
            path.write_bytes(snappy_table(TableReader(file).items()))
    return path, path.read_bytes(), blocks_of(path)


@pytest.mark.parametrize("at", ["content", "checksum"])
@pytest.mark.parametrize("cut_bytes", [0, 1, 70])
def test_one_flipped_bit_in_a_v1_file_is_put_right(v1_file, at, cut_bytes):
    path, whole, blocks = v1_file
    expected = read_everything(path)
    for offset, size in blocks:
        place = offset + (size // 2 if at == "content" else size + 3)
        path.write_bytes(whole[: len(whole) - cut_bytes])
        flip(path, place)
        found = saved(path.parent)
        assert found.fates == ()
        assert f"a flipped bit in m, at offset {place:#x}, was put right" in found.notes
        assert read_everything(path.parent.parent / "saved") == expected


def test_the_last_block_of_a_v1_file_that_ends_after_it(v1_file):
    """The metaindex block follows it, and is cut short."""
    path, whole, blocks = v1_file
    expected = read_everything(path)
    end = blocks[-1].offset + blocks[-1].size + 5
    for more in (0, 1, 12):
        path.write_bytes(whole[: end + more])
        flip(path, blocks[-1].offset + 9)
        assert saved(path.parent).fates == ()
        assert read_everything(path.parent.parent / "saved") == expected


@pytest.mark.slow
def test_a_v1_file_whose_list_is_in_a_damaged_block(v1_file):
    """What it says of tensors in other blocks is believed, and not proven."""
    path, whole, blocks = v1_file
    expected = read_everything(path)
    for lost_bytes in (0, 60):
        path.write_bytes(whole[: len(whole) - lost_bytes])
        flip(path, blocks[0].size - 2, blocks[0].size + 1)
        found = saved(path.parent)
        fates = {each.key: each.status for each in found.fates}
        content = read_everything(path.parent.parent / "saved")
        assert content == {key: expected[key] for key, status in fates.items() if status == "unproven"}
        assert "c" in content
        assert fates.keys() == expected.keys()


@pytest.mark.slow
def test_a_compressed_index(ckpt):
    """One flipped bit is put right; of a block with two, the entries before the damage are kept."""
    expected = read_everything(ckpt / "m")
    with LocalFile(str(ckpt / "m.index")) as file:
        items = list(TableReader(file).items())
    (ckpt / "m.index").write_bytes(snappy_table(items, 300))
    assert read_everything(ckpt / "m") == expected
    whole, blocks = (ckpt / "m.index").read_bytes(), blocks_of(ckpt / "m.index")
    flip(ckpt / "m.index", blocks[1].offset + 1000)
    assert saved(ckpt).fates == ()
    assert read_everything(ckpt.parent / "saved") == expected
    (ckpt / "m.index").write_bytes(whole[:-20])
    flip(ckpt / "m.index", blocks[1].offset + 3000, blocks[1].offset + 3001)
    found = saved(ckpt)
    assert 600 < found.saved < 900
    assert {each.status for each in found.fates} <= {"unproven", "lost"}
    content = read_everything(ckpt.parent / "saved")
    assert content.items() <= expected.items()


def test_a_v1_checkpoint_without_one_of_its_files(tmp_path):
    (tmp_path / "damaged").mkdir()
    parts = [np.ones((1, 2), np.float32), np.full((2, 2), 2, np.float32)]
    for number, (spec, each, name) in enumerate(zip(("0,1:-", "1,2:-"), parts, "xy", strict=True)):
        tensors = [listed("w", "float32", (3, 2), [spec]), listed(name, "float32", (1, 2))]
        items = [item("w", each, spec), item(name, parts[0])]
        (tmp_path / f"damaged/m-{number:05}-of-00002").write_bytes(v1_bytes(tensors, items))
    (tmp_path / "damaged/m-00001-of-00002").unlink()
    found = saved(tmp_path / "damaged")
    assert found.notes[1:] == ("m-00001-of-00002 is missing, with all that is only in it",)
    assert [(each.key, each.status) for each in found.fates] == [("w", "lost")]
    assert read_everything(tmp_path / "saved") == {"x": ("float32", (1, 2), parts[0].tobytes())}


def test_bytes_that_tensors_share_are_checked_once(tmp_path, monkeypatch):
    opened = []
    open_file = LocalStore.open
    monkeypatch.setattr(LocalStore, "open", lambda store, path: opened.append(path) or open_file(store, path))
    entry = plain("float32", [2], bytes(8))
    write_bundle(tmp_path / "m", {b"a%03d" % number: entry for number in range(200)}, [bytes(8)])
    assert salvage(tmp_path / "m", tmp_path / "out").saved == 200
    assert len(opened) < 100
