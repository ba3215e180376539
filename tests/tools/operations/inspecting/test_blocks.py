"""Finding the blocks of an index without its end."""

from pathlib import Path

import numpy as np
import pytest

import tensorbundle as tb
from support.altered import Table
from support.hostile import INPUTS
from tensorbundle.block import BlockBuilder
from tensorbundle.filenames import index_path
from tensorbundle.tools.operations.inspecting import blocks
from tensorbundle.tools.operations.inspecting.blocks import find_blocks, loose_entries, mended_block

ITEMS = [(f"key/{number:04}".encode(), bytes([number % 251]) * (number % 40)) for number in range(300)]


def items_of(data):
    return [item for block in find_blocks(data) for item in block.items]


@pytest.mark.parametrize("interval", [1, 16])
@pytest.mark.parametrize("block_items", [7, 100, 300])
def test_every_block_is_found(interval, block_items):
    data = Table(ITEMS, interval=interval, block_items=block_items).encode()
    assert items_of(data[: -48 - 10])[: len(ITEMS)] == ITEMS


def test_blocks_after_a_damaged_one():
    data = bytearray(Table(ITEMS, block_items=50).encode())
    data[100] ^= 1
    found = items_of(bytes(data))
    assert [each for each in found if each in ITEMS] == ITEMS[50:]


def test_blocks_after_bytes_that_are_lost():
    data = Table(ITEMS, block_items=50).encode()
    assert [each for each in items_of(data[33:]) if each in ITEMS] == ITEMS[50:]


def test_a_real_index(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        for number in range(5000):
            writer.add(
                f"scope_{number}/a long name of a variable, of which there are many", np.float32(number)
            )
    data = (tmp_path / "m.index").read_bytes()
    found = list(find_blocks(data[:-48]))
    assert len(found) == 2
    assert sum(len(each.items) for each in found) == 5001


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 40000, b"\0\1\0a" * 10000, b"\0\1" * 20000, bytes(range(256)) * 150],
    ids=["empty", "zeros", "entries", "short", "all"],
)
def test_bytes_that_are_none_take_bounded_time(data, monkeypatch):
    """Counts the entries that are looked at."""
    seen = []
    real = blocks._sizes
    monkeypatch.setattr(blocks, "_sizes", lambda *args: seen.append(1) or real(*args))
    assert list(find_blocks(data)) == []
    assert len(seen) <= 2 * len(data) + 1000


def test_loose_entries():
    builder = BlockBuilder(16)
    for key, value in ITEMS:
        builder.add(key, value)
    data = builder.finish()
    assert list(loose_entries(data, 0, len(data)))[: len(ITEMS)] == ITEMS
    assert list(loose_entries(data, 1, len(data))) != ITEMS
    assert list(loose_entries(b"", 0, 0)) == []


def test_loose_entries_after_damage():
    """They continue where a key is stored as a whole."""
    builder = BlockBuilder(16)
    items = [(key, b"\x08\x01\x12" + value) for key, value in ITEMS]
    for key, value in items:
        builder.add(key, value)
    whole = builder.finish()
    for at, lost in ((0, 16), (100, 32), (len(whole) // 2, 32)):
        data = whole[:at] + b"\xff" * 20 + whole[at + 20 :]
        found = dict(loose_entries(data, 0, len(data)))
        assert len(items) - len(found) <= lost, at
        assert sum(found[key] != value for key, value in items if key in found) <= 1, at
        assert found.keys() <= {key for key, _ in items}, at


def test_many_damaged_blocks_are_not_each_searched_to_the_end(tmp_path):
    """Of blocks with one flipped bit each; the work for each is the same in a large file."""
    work = []
    for count in (100, 400):
        (tmp_path / str(count)).mkdir()
        source = INPUTS["flipped_blocks"].make(tmp_path / str(count), count)
        data = index_path(str(source))
        looked_at = []
        content = Path(data).read_bytes()

        class Counted(bytes):
            def __getitem__(self, place, looked_at=looked_at):
                found = super().__getitem__(place)
                looked_at.append(len(found) if isinstance(place, slice) else 1)
                return found

        size = len(content) // count
        for start in range(0, count * size - 2 * size, 2 * size):
            mended_block(Counted(content), start, start + size)
        work.append(sum(looked_at))
    assert work[1] < 5 * work[0]


def test_zeros_are_not_entries_after_the_first():
    """A compressed block of them would be millions."""
    assert [*loose_entries(bytes(1000), 0, 1000)] == [(b"", b"")]
