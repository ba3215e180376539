"""A file that a thread of its own writes."""

from __future__ import annotations

import errno
import threading

import pytest

from tensorbundle.storage.behind import BUFFERS, WriteBehind
from tensorbundle.storage.local import LocalWriter

MIB = 1 << 20


class Sink:
    """A file that keeps what it is given (`WritableFile`)."""

    def __init__(self, on_write=lambda data: None):
        self.size, self.chunks, self.threads = 0, [], set()
        self._on_write = on_write

    def write(self, data):
        self._on_write(data)
        self.threads.add(threading.current_thread())
        self.chunks.append(bytes(data))
        self.size += len(data)

    def close(self):
        raise AssertionError("it is the caller's to close")

    @property
    def contents(self):
        return b"".join(self.chunks)


def test_the_bytes_are_those_that_were_written_in_order(tmp_path):
    expected = bytearray()
    (tmp_path / "file").touch()
    with LocalWriter(str(tmp_path / "file")) as below, WriteBehind(below) as file:
        for number, size in enumerate([3, MIB, 5 * MIB, 1, 2, 70_000, *[9] * 100_000, MIB, 4]):
            data = bytes([number % 251]) * size
            file.write(data)
            expected += data
            assert file.size == len(expected)
    assert (tmp_path / "file").read_bytes() == expected


def test_positions_count_from_the_start_of_the_file():
    sink = Sink()
    sink.write(b"head")
    with WriteBehind(sink) as file:
        assert file.size == 4
        file.write(b"tail")
    assert sink.contents == b"headtail"


def test_little_is_written_without_a_thread():
    sink = Sink()
    with WriteBehind(sink) as file:
        file.write(b"x" * MIB)
    assert sink.threads == {threading.current_thread()}


def test_the_thread_ends_with_the_block():
    sink = Sink()
    with WriteBehind(sink) as file:
        for _ in range(6):
            file.write(bytes(MIB))
    others = sink.threads - {threading.current_thread()}
    assert len(others) == 1
    assert not any(each.is_alive() for each in others)


def test_small_chunks_are_collected():
    sink = Sink()
    with WriteBehind(sink) as file:
        file.write(bytes(5 * MIB))
        before = len(sink.chunks)
        for _ in range(1000):
            file.write(b"1234567890")
        assert len(sink.chunks) <= before + 1
    assert sink.contents == bytes(5 * MIB) + b"1234567890" * 1000


def test_writing_falls_behind_by_as_many_chunks_as_buffers_allow():
    """A buffer may be filled again as soon as `BUFFERS - 1` others were written; before that it must be on its way."""
    returned = threading.Semaphore(0)  # of calls of `write`
    seen = []

    def wait_for_others(data):
        if len(data) == MIB:  # not what is written directly
            if len(seen) < 4:
                for _ in range(BUFFERS - 1 if not seen else 1):
                    assert returned.acquire(timeout=30)
            seen.append(bytes(data[:1]))

    buffers = [bytearray(MIB) for _ in range(BUFFERS)]
    with WriteBehind(Sink(wait_for_others)) as file:
        file.write(bytes(3 * MIB + 1))
        for number in range(20):
            buffer = buffers[number % BUFFERS]
            buffer[0] = number
            file.write(buffer)
            returned.release()
    assert seen == [bytes([number]) for number in range(20)]


@pytest.mark.parametrize("chunks", [1, 2, 30])
def test_what_a_write_failed_with_is_raised(chunks):
    def fail(data):
        if len(data) < 5 * MIB:
            raise OSError(errno.ENOSPC, "No space left on device")

    def job():
        with WriteBehind(sink) as file:
            file.write(bytes(5 * MIB))
            for _ in range(chunks):
                file.write(bytes(MIB))

    sink = Sink(fail)
    with pytest.raises(OSError, match="No space left"):
        job()
    assert sink.size == 5 * MIB


def test_an_interrupt_in_the_thread_interrupts_the_caller():
    def interrupt(data):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), WriteBehind(Sink(interrupt)) as file:
        file.write(bytes(5 * MIB))


def test_nothing_more_is_written_once_the_block_failed():
    entered, go_on = threading.Event(), threading.Event()

    def wait(data):
        entered.set()
        assert go_on.wait(30)

    sink = Sink(wait)

    def failing():
        with WriteBehind(sink) as file:
            file.write(bytes(5 * MIB))
            file.write(bytes(MIB))
            assert entered.wait(30)
            threading.Timer(0, go_on.set).start()
            raise ValueError("the source is damaged")

    with pytest.raises(ValueError, match="damaged"):
        failing()
    assert len(sink.chunks) <= 2
    assert all(not each.is_alive() for each in sink.threads)
