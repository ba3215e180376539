"""Which bytes of a data shard are referred to."""

import pytest

from tensorbundle.tools.operations.inspecting.layout import Layout


def ranges(*places):
    return [(name.encode(), offset, nbytes) for name, offset, nbytes in places]


@pytest.mark.parametrize(
    ("entries", "holes"),
    [
        ([], [(0, 10)]),
        ([("a", 0, 10)], []),
        ([("a", 2, 3), ("b", 7, 2)], [(0, 2), (5, 7), (9, 10)]),
        ([("a", 0, 4), ("b", 4, 6)], []),
        ([("a", 0, 0), ("b", 10, 0)], [(0, 10)]),
        ([("a", 8, 100)], [(0, 8)]),  # past the end
        ([("a", 50, 5)], [(0, 10)]),
    ],
)
def test_holes(entries, holes):
    layout = Layout.of(ranges(*entries), 10)
    assert layout.holes == tuple(holes)
    assert layout.dead_bytes == sum(stop - start for start, stop in holes)


def test_overlaps_and_aliases():
    layout = Layout.of(ranges(("a", 0, 6), ("b", 2, 2), ("c", 5, 4), ("d", 5, 4), ("e", 5, 4)), 9)
    assert layout.overlaps == ((b"a", b"b", 2, 4), (b"a", b"c", 5, 6))
    assert layout.aliases == ((b"d", b"c"), (b"e", b"c"))
    assert layout.holes == ()
