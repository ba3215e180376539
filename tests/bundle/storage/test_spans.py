"""Merging and cutting byte ranges."""

import pytest

from tensorbundle.storage.spans import Span, cut, joined, merged


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], []),
        ([(5, 0)], []),
        ([(10, 5), (0, 5)], [(0, 5), (10, 5)]),
        ([(0, 5), (7, 3)], [(0, 10)]),
        ([(0, 5), (8, 3)], [(0, 5), (8, 3)]),
        ([(0, 100), (10, 5), (90, 20)], [(0, 110)]),
    ],
)
def test_merged(ranges, expected):
    assert merged(ranges, gap=2) == expected


@pytest.mark.slow
def test_merged_is_linear_in_the_number_of_ranges():
    assert merged(((each * 10, 5) for each in range(200_000)), gap=4) == [
        (each * 10, 5) for each in range(200_000)
    ]


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], []),
        ([(0, 5), (5, 5), (20, 0), (30, 1)], [(0, 10), (30, 1)]),
        ([(30, 5), (0, 5), (6, 1)], [(30, 5), (0, 7)]),  # in the order of use
        ([(0, 5), (3, 5)], [(0, 5), (3, 5)]),
    ],
)
def test_joined(ranges, expected):
    assert list(joined(ranges, gap=2)) == expected


def test_cut():
    assert list(cut([Span(3, 10), Span(20, 4)], 4)) == [(3, 4), (7, 4), (11, 2), (20, 4)]
