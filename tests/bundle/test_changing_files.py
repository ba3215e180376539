"""Files that are cut or overwritten in place while they are open."""

import os
import sys

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain, write_bundle
from tensorbundle.entries import BundleHeader

VALUES = np.arange(6000, dtype=np.float32).reshape(60, 100)
RAW = VALUES.tobytes()
SHARD = "m.data-00000-of-00001"


@pytest.fixture
def prefix(tmp_path):
    entries = {
        b"a": plain("float32", [60, 100], RAW),
        b"b": plain("float32", [60, 100], RAW, offset=len(RAW)),
    }
    return write_bundle(tmp_path / "m", entries, [RAW * 2])


def overwrite(path, offset, data):
    """Write in place, at another time than before."""
    before = os.stat(path).st_mtime_ns
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
    os.utime(path, ns=(before + 1000, before + 1000))


def test_what_was_verified_is_so_until_the_file_is_written_to(prefix, tmp_path):
    with tb.open(prefix) as ckpt:
        assert ckpt["a"].tolist() == VALUES.tolist()
        overwrite(tmp_path / SHARD, 8, b"other")
        with pytest.raises(tb.CorruptionError, match="key 'a': crc32c of 24000 bytes: stored"):
            ckpt["a"]
        assert ckpt["b"].tolist() == VALUES.tolist()
        overwrite(tmp_path / SHARD, 0, RAW)
        assert ckpt["a"].tolist() == VALUES.tolist()


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("region", [None, np.s_[3:5], np.s_[3:5, ::2], np.s_[59, 99]])
def test_a_file_that_shrank(prefix, tmp_path, copy, region):
    with tb.open(prefix) as ckpt:
        ckpt["b"]
        os.truncate(tmp_path / SHARD, len(RAW))
        assert ckpt.read("a", region, copy=copy).tolist() == VALUES[region or np.s_[:]].tolist()
        with pytest.raises(tb.CorruptionError) as caught:
            ckpt.read("b", region, copy=copy)
        error = caught.value
        assert (error.reason, error.path, error.offset, error.key) == (
            "the file shrank while it was read",
            str(tmp_path / SHARD),
            len(RAW),
            "b",
        )


def test_a_copy_is_an_array_of_its_own(prefix, tmp_path):
    with tb.open(prefix) as ckpt:
        whole, rows = ckpt.read("a", copy=True), ckpt.read("a", np.s_[1:3], copy=True)
        view = ckpt["a"]
        os.truncate(tmp_path / SHARD, 0)
    del view
    assert whole.tolist() == VALUES.tolist()
    assert rows.tolist() == VALUES[1:3].tolist()
    whole[0], rows[0] = 1, 1
    assert whole[0].sum() == rows[0].sum() == 100


def test_a_copy_is_checked_each_time(prefix, tmp_path):
    with tb.open(prefix) as ckpt:
        ckpt.read("a", copy=True)
        status = os.stat(tmp_path / SHARD)
        overwrite(tmp_path / SHARD, 8, b"other")
        os.utime(tmp_path / SHARD, ns=(status.st_atime_ns, status.st_mtime_ns))  # nobody saw it
        with pytest.raises(tb.CorruptionError, match="crc32c"):
            ckpt.read("a", copy=True)


def test_values_of_every_kind_can_be_copied(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("names", np.array([[b"a", b""]], object))
        writer.add("none", np.zeros((0, 3), np.int8))
        writer.add("one", np.int64(7))
        writer.add_slice("parts", [3, 2], tb.TensorSlice.parse_spec("0,1:-"), np.array([[1, 2]], np.int16))
        writer.add_slice("parts", [3, 2], tb.TensorSlice.parse_spec("1,2:-"), np.full((2, 2), 3, np.int16))
    with tb.open(tmp_path / "m") as ckpt:
        for key in ckpt:
            copied = ckpt.read(key, copy=True)
            assert copied.tolist() == ckpt[key].tolist()
            assert copied.dtype == ckpt[key].dtype
            assert copied.flags.writeable
            assert copied.flags.owndata
        assert ckpt.read("parts", np.s_[1:, 1], copy=True).tolist() == [3, 3]
        assert ckpt.read("names", np.s_[0, :1], copy=True).tolist() == [b"a"]
        assert ckpt.read("one", (), copy=True).tolist() == 7


def test_big_endian_values_can_be_copied(tmp_path):
    header = BundleHeader(1, big_endian=True)
    data = VALUES.astype(">f4").tobytes()
    write_bundle(tmp_path / "m", {b"a": plain("float32", [60, 100], data)}, [data], header)
    with tb.open(tmp_path / "m") as ckpt:
        assert ckpt.read("a", copy=True).tolist() == VALUES.tolist()
        assert ckpt.read("a", np.s_[3:5, ::2], copy=True).tolist() == VALUES[3:5, ::2].tolist()
        assert ckpt["a"].tolist() == VALUES.tolist()


def test_a_region_that_numpy_can_not_have(tmp_path):
    write_bundle(tmp_path / "m", {b"a": plain("float32", [1] * 70, bytes(4))}, [bytes(4)])
    with tb.open(tmp_path / "m") as ckpt, pytest.raises(tb.UnsupportedError, match="NumPy can't have"):
        ckpt.read("a", np.s_[0], copy=True)


def test_many_files_are_not_all_open_at_a_time(tmp_path):
    entries = {b"t%03d" % number: plain("int8", [1], b"\1", shard=number) for number in range(300)}
    write_bundle(tmp_path / "m", entries, [b"\1"] * 300)
    with tb.open(tmp_path / "m") as ckpt:
        for key in [*ckpt, *ckpt]:
            assert ckpt.read(key, copy=True).tolist() == [1]
        assert len(os.listdir("/proc/self/fd")) < 300 if sys.platform == "linux" else True
