"""A file that begins with some bytes and a range of another file, whose blocks it shares."""

import errno
import fcntl

import pytest

from support.cloning import clone_ranges
from tensorbundle.storage import begin_with_shared
from tensorbundle.storage.local import LocalWriter

CONTENT = bytes(range(256)) * 64  # four blocks


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").write_bytes(CONTENT)
    (tmp_path / "out").write_bytes(b"")
    return tmp_path / "source"


def test_blocks_inside_the_range_are_shared(source, tmp_path, monkeypatch):
    cloned = clone_ranges(monkeypatch)
    start = b"s" * (2 * 4096 + 100)
    with LocalWriter(str(tmp_path / "out")) as file:
        assert begin_with_shared(file, start, str(source), 100, 16000)
        assert file.size == len(start) + 16000
        file.write(b"end")
    assert (tmp_path / "out").read_bytes() == start + CONTENT[100:16100] + b"end"
    assert cloned == [(4096, 2 * 4096, 3 * 4096)]


@pytest.mark.parametrize(
    ("length", "offset", "size"), [(4096, 100, 16000), (100, 100, 4000)], ids=["place in the block", "size"]
)
def test_a_range_without_a_block_that_can_be_shared(source, tmp_path, monkeypatch, length, offset, size):
    cloned = clone_ranges(monkeypatch)
    with LocalWriter(str(tmp_path / "out")) as file:
        assert not begin_with_shared(file, bytes(length), str(source), offset, size)
        assert file.size == 0
    assert not cloned
    assert (tmp_path / "out").read_bytes() == b""


def test_a_file_system_that_can_not_share(source, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    with LocalWriter(str(tmp_path / "out")) as file:
        assert not begin_with_shared(file, b"", str(source), 0, len(CONTENT))
    assert (tmp_path / "out").read_bytes() == b""


def test_files_that_are_not_local(source, tmp_path):
    with LocalWriter(str(tmp_path / "out")) as file:
        assert not begin_with_shared(file, b"", "memory://m", 0, 1)
    assert not begin_with_shared(None, b"", str(source), 0, 1)
