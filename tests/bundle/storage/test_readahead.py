"""What is read ahead: only what was announced, each part once, in bounded number."""

import threading

import pytest

from tensorbundle.storage import pool, readahead
from tensorbundle.storage.readahead import ReadAhead
from tensorbundle.storage.spans import cut

DATA = bytes(range(256)) * 64


class Source:
    def __init__(self):
        self.reads = []
        self._lock = threading.Lock()

    def read(self, offset, size, into):
        with self._lock:
            self.reads.append((offset, size))
        into[:] = DATA[offset : offset + size]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(readahead, "cut", lambda spans: cut(spans, 100))
    budget = pool.Budget(800, 400)
    monkeypatch.setattr(readahead, "budget", budget)
    yield budget
    assert not budget._read


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
    assert len(first._coming) == 8
    assert len(second._coming) == 1
    first.close()
    second.fill(100, memoryview(bytearray(1)))
    assert len(second._coming) == 8
    second.close()


def test_small_parts_are_bounded_too():
    ahead = ReadAhead(Source().read, [(offset, 1) for offset in range(0, 20 << 20, 1 << 20)])
    ahead.fill(0, memoryview(bytearray(1)))
    assert len(ahead._coming) == 16
    ahead.close()


def test_less_is_read_ahead_while_something_is_written(small_parts):
    ahead = ReadAhead(Source().read, [(0, 5000)])
    ahead.fill(0, memoryview(bytearray(1)))
    assert len(ahead._coming) == 8
    small_parts.begin_file()
    ahead.fill(500, memoryview(bytearray(1)))
    assert len(ahead._coming) == 4
    assert all(small_parts.take_for_writing(100, own) for own in range(4))
    assert not small_parts.take_for_writing(100, 1)
    assert small_parts.take_for_writing(100, 0)
    small_parts.end_file()
    ahead.fill(600, memoryview(bytearray(1)))
    assert len(ahead._coming) == 8
    ahead.close()


def test_an_error_comes_when_its_bytes_are_used():
    def read(offset, size, into):
        if offset >= 200:
            raise OSError("gone")
        into[:] = DATA[offset : offset + size]

    ahead = ReadAhead(read, [(0, 400)])
    assert ahead.fill(100, memoryview(bytearray(100)))
    with pytest.raises(OSError, match="gone"):
        ahead.fill(200, memoryview(bytearray(1)))
    ahead.close()
