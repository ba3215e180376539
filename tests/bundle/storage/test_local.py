"""Random access to one file, and what a file is that is none of ours."""

import errno
import os

import pytest

from tensorbundle.errors import BundleError, CorruptionError, MissingFileError
from tensorbundle.storage import flushing, store_of
from tensorbundle.storage.content import describe_content
from tensorbundle.storage.local import WRITE_BYTES, LocalFile, LocalStore, LocalWriter
from tensorbundle.storage.paths import is_far, local_path
from tensorbundle.storage.staging import readable_like


@pytest.fixture
def digits(tmp_path):
    path = tmp_path / "digits"
    path.write_bytes(b"0123456789")
    with LocalFile(str(path)) as file:
        yield file


@pytest.mark.parametrize(
    ("name", "path"),
    [("file:///run/m", "/run/m"), ("file://", "/"), ("file://run/m", "run/m"), ("/run/m", "/run/m")],
)
def test_urls_of_this_machine_are_paths(name, path):
    assert local_path(name) == path
    assert not is_far(name)
    assert is_far("s3://run/m")
    assert is_far(f"simplecache::{name}") is ("://" in name)


def test_files_by_urls_are_those_of_the_disk(tmp_path):
    """They are staged, linked, locked and protected like others."""
    url = f"file://{tmp_path}"
    store = store_of(f"{url}/a")
    assert store == LocalStore()
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "a").chmod(0o600)
    with readable_like([f"{url}/a"]), store.stage(f"{url}/b") as staging:
        with staging.writer(f"{url}/b") as file:
            file.write(b"23")
        shared, _ = staging.share(f"{url}/a", f"{url}/c")
        assert store.exists(shared)
        with staging.locked():
            staging.commit()
    assert sorted(store.list(url)) == ["a", "b", "c"]
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "c").read_bytes() == b"1"
    with store.open(f"{url}/b") as opened:
        assert opened.read(0, 2) == b"23"
    assert store.same_file(f"{url}/a", str(tmp_path / "a"))
    assert (store.size(f"{url}/b"), store.modified(f"{url}/b") > 0) == (2, True)
    assert store.is_file(f"{url}/a")
    assert store.is_directory(url)
    with store.stage(f"{url}/b", overwrite=True) as staging:
        with staging.writer(f"{url}/b") as file:
            file.write(b"4")
        staging.commit()
    assert (tmp_path / "b").read_bytes() == b"4"
    store.remove(f"{url}/b")
    assert not store.exists(f"{url}/b")
    with pytest.raises(MissingFileError, match="no such directory"):
        store.stage(f"{url}/missing/b")


def test_read(digits):
    assert digits.size == 10
    assert digits.read(0, 10) == b"0123456789"
    assert digits.read(8, 2) == b"89"
    assert digits.read(10, 0) == digits.read(0, 0) == b""


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 11), (10, 1), (-1, 1), (0, -1), (2**63, 1), (5, 2**63), (2**70, 2**70)]
)
def test_read_outside(digits, offset, size):
    with pytest.raises(
        CorruptionError, match=f"{size} bytes wanted, the file ends at 10: it is cut short"
    ) as caught:
        digits.read(offset, size)
    assert (caught.value.path, caught.value.offset) == (digits.path, offset)


def test_read_goes_on_where_the_system_stops_early(digits, monkeypatch):
    """One `pread` gives at most 2 GiB on Linux; here, three bytes."""
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: pread(descriptor, min(size, 3), offset))
    assert digits.read(1, 8) == b"12345678"


def test_a_file_that_shrinks_while_it_is_read(digits):
    os.truncate(digits.path, 4)
    with pytest.raises(CorruptionError, match="the file shrank while it was read") as caught:
        digits.read(2, 5)
    assert caught.value.offset == 4


def test_close_twice(digits):
    digits.close()
    digits.close()
    with pytest.raises(BundleError, match="this checkpoint was closed"):
        digits.read(0, 1)


def test_a_file_that_is_forgotten_is_closed(tmp_path):
    (tmp_path / "f").write_bytes(b"")
    before = len(os.listdir("/proc/self/fd"))
    LocalFile(str(tmp_path / "f"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_missing(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "none", tmp_path / "none" / "x", tmp_path / "file" / "x"):
        with pytest.raises(MissingFileError, match="no such file") as caught:
            LocalFile(str(path))
        assert caught.value.path == str(path)


def test_not_a_regular_file(tmp_path):
    """Opening a pipe must not wait for its other end."""
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path, tmp_path / "pipe", "/dev/null"):
        with pytest.raises(MissingFileError, match="not a regular file") as caught:
            LocalFile(str(path))
        assert caught.value.path == str(path)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("head", "meaning"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "Git-LFS pointer"),
        (b'\n model_checkpoint_path: "m-1"', "'checkpoint' state file"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"PK\x03\x04", "zip"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x93NUMPY\x01\0", "NumPy"),
        (b"\x80\x02}q\0", "pickle"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"\r\n<html>", "HTML"),
        (bytes(100), "all zeros"),
        (b"", None),
        (b"\0\0\x06\x08", None),
        (b"hello", None),
    ],
)
def test_describe_content(head, meaning):
    described = describe_content(head)
    assert described is None if meaning is None else meaning in described


@pytest.fixture
def begun(monkeypatch):
    """The ranges that the system was asked to store, after every 300 KB."""
    ranges = []
    monkeypatch.setattr(flushing, "FLUSH_BYTES", 300_000)
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, size, advice: ranges.append((start, size)))
    return ranges


def test_what_is_written_arrives_in_order(tmp_path, begun):
    """Small pieces, large ones, and arrays of any type; flushing begins on the way."""
    (tmp_path / "f").touch()
    pieces = [b"a" * 10, b"b" * 300_000, memoryview(b"c" * 3_000_001), bytearray(b"d"), b"", b"e" * 70_000]
    with LocalWriter(str(tmp_path / "f")) as file:
        for piece in [*pieces, memoryview(bytes(80_000)).cast("Q", [100, 100])]:
            file.write(piece)
        assert file.size == sum(map(len, pieces)) + 80_000
    assert (tmp_path / "f").read_bytes() == b"".join(pieces) + bytes(80_000)
    starts = [start for start, _ in begun]
    assert starts[0] == 0
    assert starts[1:] == [start + size for start, size in begun[:-1]]
    assert all(300_000 <= size < 300_000 + WRITE_BYTES for _, size in begun)
    assert (tmp_path / "f").stat().st_size - sum(size for _, size in begun) < 300_000


def test_a_system_that_takes_no_advice(tmp_path, monkeypatch):
    monkeypatch.setattr(flushing, "FLUSH_BYTES", 10)
    monkeypatch.delattr(os, "posix_fadvise")
    (tmp_path / "f").touch()
    with LocalWriter(str(tmp_path / "f")) as file:
        file.write(b"x" * 25)
    assert (tmp_path / "f").read_bytes() == b"x" * 25


def test_parts_of_a_file_are_written_in_any_order(tmp_path, begun):
    (tmp_path / "f").touch()
    with LocalWriter(str(tmp_path / "f")) as file:
        file.write(b"head")
        part = file.spread(1_000_000)
        assert file.size == 1_000_004
        with part(600_000) as last:
            last.write(b"c" * 400_000)
        with part(0) as first, part(200_000) as second:
            second.write(memoryview(bytes(400_000)).cast("Q"))
            first.write(b"a" * 200_000)
        with part(5):
            pass
        file.write(b"tail")
    expected = b"head" + b"a" * 200_000 + bytes(400_000) + b"c" * 400_000 + b"tail"
    assert (tmp_path / "f").read_bytes() == expected
    assert sum(size for _, size in begun) == 1_000_004


def test_a_disk_that_is_full_while_parts_are_written(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "f").touch()
    with LocalWriter(str(tmp_path / "f")) as file:
        part = file.spread(10)
        monkeypatch.setattr(os, "pwrite", refuse)
        with pytest.raises(OSError, match="No space left"), part(0) as writer:
            writer.write(b"x")
