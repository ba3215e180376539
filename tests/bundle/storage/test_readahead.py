"""What is read ahead: only what was announced, each part once, in bounded number."""

import threading

import pytest

from tensorbundle.storage import readahead
from tensorbundle.storage.readahead import MAX_PARTS, ReadAhead
from tensorbundle.storage.spans import PART_BYTES, cut

DATA = bytes(range(256)) * 64


class Source:
    def __init__(self):
        self.reads = []
        self._lock = threading.Lock()

    def read(self, offset, size):
        with self._lock:
            self.reads.append((offset, size))
        return DATA[offset : offset + size]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(readahead, "cut", lambda spans: cut(spans, 100))
    yield
    assert readahead._budget._taken == 0


def test_reads_each_part_once():
    source = Source()
    ahead = ReadAhead(source.read, [(10, 950)])
    got = b""
    for offset in range(10, 960, 64):
        size = min(64, 960 - offset)
        buffer = bytearray(size)
        assert ahead.fill(offset, memoryview(buffer))
        got += buffer
    assert got == DATA[10:960]
    assert sorted(source.reads) == [(each, min(100, 960 - each)) for each in range(10, 960, 100)]
    assert ahead.is_used_up


def test_parts_that_are_passed_over_are_given_up():
    source = Source()
    ahead = ReadAhead(source.read, [(0, 1000), (2000, 100), (1500, 10)])
    buffer = bytearray(50)
    assert ahead.fill(2010, memoryview(buffer))
    assert buffer == DATA[2010:2060]
    assert not ahead.fill(0, memoryview(buffer))  # backwards
    assert not ahead.fill(1505, memoryview(buffer))  # beyond its end
    assert ahead.fill(1500, memoryview(buffer)[:10])
    assert ahead.is_used_up


def test_the_number_of_parts_is_bounded():
    source = Source()
    first = ReadAhead(source.read, [(0, 5000)])
    second = ReadAhead(source.read, [(0, 5000)])
    first.fill(0, memoryview(bytearray(1)))
    second.fill(0, memoryview(bytearray(1)))
    assert len(first._coming) == MAX_PARTS
    assert len(second._coming) == 2
    first.close()
    second.fill(100, memoryview(bytearray(1)))
    assert len(second._coming) == MAX_PARTS
    second.close()
    assert MAX_PARTS * PART_BYTES <= 64 << 20


def test_an_error_comes_when_its_bytes_are_used():
    def read(offset, size):
        if offset >= 200:
            raise OSError("gone")
        return DATA[offset : offset + size]

    ahead = ReadAhead(read, [(0, 400)])
    assert ahead.fill(100, memoryview(bytearray(100)))
    with pytest.raises(OSError, match="gone"):
        ahead.fill(200, memoryview(bytearray(1)))
    ahead.close()
