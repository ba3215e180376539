"""Small reads near each other, of a file where a request takes long."""

import pytest

from tensorbundle.storage import nearby
from tensorbundle.storage.nearby import NearbyFile

DATA = bytes(range(256)) * 8


class File:
    path = "file"
    size = len(DATA)

    def __init__(self, near_bytes):
        self.near_bytes = near_bytes
        self.reads = []

    def read(self, offset, size):
        self.reads.append((offset, size))
        return DATA[offset : offset + size]

    def readinto(self, offset, buffer):
        buffer[:] = self.read(offset, len(buffer))


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(nearby, "_WINDOW_BYTES", 100)
    monkeypatch.setattr(nearby, "_WINDOWS", 2)


def test_pieces_come_from_windows():
    file = File(near_bytes=1)
    near = NearbyFile(file)
    for offset, size in ((5, 10), (20, 80), (95, 10), (150, 0), (99, 102)):
        assert near.read(offset, size) == DATA[offset : offset + size]
    assert file.reads == [(0, 100), (100, 100), (99, 102)]  # the last one is longer than two windows


def test_few_windows_are_kept():
    file = File(near_bytes=1)
    near = NearbyFile(file)
    for offset in (0, 100, 0, 200, 0, 100, near.size - 1):
        assert near.read(offset, 1) == DATA[offset : offset + 1]
    assert file.reads == [(0, 100), (100, 100), (200, 100), (100, 100), (2000, 48)]


def test_large_buffers_are_filled_directly():
    file = File(near_bytes=1)
    near = NearbyFile(file)
    for size in (100, 101):
        buffer = bytearray(size)
        near.readinto(50, memoryview(buffer))
        assert buffer == DATA[50 : 50 + size]
    assert file.reads == [(0, 100), (100, 100), (50, 101)]


def test_a_file_on_disk_is_read_as_asked():
    file = File(near_bytes=0)
    assert NearbyFile(file).read(3, 4) == DATA[3:7]
    assert file.reads == [(3, 4)]
