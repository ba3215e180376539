"""Boxes of tensors: what they have in common, and whether they are all of a tensor."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorbundle.boxes import (
    BoxPlaces,
    corners,
    find_overlap,
    flat_boxes,
    flat_runs,
    intersect,
    must_cover,
    must_tile,
    relative,
    whole_box,
)
from tensorbundle.errors import CorruptionError
from tensorbundle.slices import TensorSlice


@pytest.mark.parametrize(
    ("specs", "reason"),
    [
        (["0,2:-", "2,2:-"], None),
        (["0,2:-", "2,2:0,1", "2,2:1,2"], None),
        (["0,2:-"], "its slices hold 6 of the 12 elements wanted"),
        (["0,3:-", "2,2:-"], "slices .* and .* overlap"),
        ([], "its slices hold 0 of the 12 elements wanted"),
    ],
)
def test_slices_must_hold_every_element_once(specs, reason):
    boxes = [TensorSlice.parse_spec(spec).box((4, 3)) for spec in specs]
    if reason is None:
        must_tile(boxes, (4, 3))
        return
    with pytest.raises(CorruptionError, match=reason):
        must_tile(boxes, (4, 3))


def test_slices_may_overlap_but_not_be_missing():
    def boxes(*specs):
        return [TensorSlice.parse_spec(spec).box((4,)) for spec in specs]

    must_cover(boxes("0,2", "2,2"), (4,))
    must_cover(boxes("0,3", "2,1"), (4,))  # reading refuses it
    with pytest.raises(
        CorruptionError, match="its slices hold 2 of the 4 elements wanted: slices are missing"
    ):
        must_cover(boxes("0,2"), (4,))


def test_boxes_in_boxes():
    a, b = (slice(0, 4), slice(2, 5)), (slice(3, 9), slice(0, 3))
    assert intersect(a, b) == intersect(b, a) == (slice(3, 4), slice(2, 3))
    assert relative((slice(3, 4), slice(2, 3)), a) == (slice(3, 4), slice(0, 1))
    assert intersect(a, (slice(4, 5), slice(2, 5))) is None
    assert intersect((), ()) == ()
    assert whole_box((2, 3)) == (slice(0, 2), slice(0, 3))


boxes = st.integers(1, 3).flatmap(
    lambda rank: st.lists(
        st.lists(
            st.tuples(st.integers(0, 6), st.integers(0, 4)).map(lambda each: slice(each[0], sum(each))),
            min_size=rank,
            max_size=rank,
        ).map(tuple),
        max_size=8,
    )
)


@pytest.mark.slow
@given(boxes)
def test_find_overlap_agrees_with_trying_all_pairs(found):
    pairs = {
        (i, j)
        for (i, a), (j, b) in itertools.combinations(enumerate(found), 2)
        if all(set(range(x.start, x.stop)) & set(range(y.start, y.stop)) for x, y in zip(a, b, strict=True))
    }
    overlap = find_overlap(found)
    assert (overlap in pairs) if pairs else overlap is None


@pytest.mark.slow
def test_find_overlap_is_quick_for_many_pieces():
    rows = [(slice(i, i + 1), slice(0, 9)) for i in range(20_000)]
    assert find_overlap(rows) is None
    assert find_overlap([*rows, (slice(7, 8), slice(3, 4))]) == (7, 20_000)


def test_boxes_of_a_grid_are_not_compared_with_each_other(monkeypatch):
    compared = []
    monkeypatch.setattr("tensorbundle.boxes.intersect", lambda a, b: compared.append(a) or intersect(a, b))
    grid = [tuple(slice(at, at + 1) for at in each) for each in itertools.product(range(10), repeat=3)]
    assert find_overlap(grid) is None
    assert not compared
    assert find_overlap([*grid, grid[123]]) == (123, 1000)
    assert len(compared) < 6000


def test_boxes_without_elements_do_not_overlap():
    assert (
        find_overlap([(slice(0, 0), slice(0, 3)), (slice(0, 0), slice(0, 2)), (slice(5, 6), slice(0, 1))])
        is None
    )


def test_corners():
    assert corners((slice(1, 3), slice(0, 2))) == ((1, 3), (0, 2))
    assert corners(whole_box(())) == ()


SHAPES = [shape for rank in range(4) for shape in itertools.product(range(4), repeat=rank)] + [(2, 1, 3, 2)]


@pytest.mark.parametrize("shape", [each for each in SHAPES if 0 not in each], ids=str)
def test_flat_boxes(shape):
    """Every run of elements, put together of boxes, is that of the flat array."""
    array = np.arange(math.prod(shape)).reshape(shape)
    for start, stop in itertools.combinations_with_replacement(range(array.size + 1), 2):
        boxes = list(flat_boxes(shape, start, stop))
        found = [value for box in boxes for value in array[box].reshape(-1).tolist()]
        assert found == list(range(start, stop))
        assert all(len(box) == len(shape) for box in boxes)
        assert len(boxes) <= max(1, 2 * len(shape) - 1)


@pytest.mark.parametrize("shape", [each for each in SHAPES if 0 in each], ids=str)
def test_flat_boxes_of_nothing(shape):
    assert list(flat_boxes(shape, 0, 0)) == []


@pytest.mark.parametrize("shape", [each for each in SHAPES if 0 not in each and len(each) < 4], ids=str)
def test_flat_runs(shape):
    """The runs of every box are its elements, in its order."""
    array = np.arange(math.prod(shape)).reshape(shape)
    for ends in itertools.product(*[itertools.combinations(range(size + 1), 2) for size in shape]):
        box = tuple(slice(*each) for each in ends)
        found = [value for start, stop in flat_runs(shape, box) for value in range(start, stop)]
        assert found == array[box].reshape(-1).tolist()


@pytest.mark.parametrize("shape", [(), (30,), (6, 5), (1, 30)])
def test_near_boxes_are_found_without_looking_at_all(shape):
    whole = whole_box(shape)
    boxes = [tuple(slice(at, at + 1) for at in place) for place in np.ndindex(shape)] + [whole] * (not shape)
    places = BoxPlaces(boxes)
    for number, box in enumerate(boxes):
        near = places.near(box)
        assert number in near
        assert near == sorted(near)
        assert len(near) <= max(1, len(boxes) // max(shape, default=1))
    assert places.near(whole) == list(range(len(boxes)))


def test_near_boxes_of_none_and_of_long_ones():
    assert BoxPlaces([]).near(()) == []
    places = BoxPlaces([(slice(0, 100),), (slice(5, 6),), (slice(50, 60),)])
    assert places.near((slice(55, 56),)) == [0, 1, 2]
    assert places.near((slice(0, 5),)) == [0]
    assert places.near((slice(100, 101),)) == []
