"""Whether slices that are stored cover those that a program reads."""

import pytest

from support.cost import steps
from tensorbundle import TensorSlice
from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.errors import UnsupportedError
from tensorbundle.specs import Spec
from tensorbundle.tools.operations.restoring.outcomes import unreadable
from tensorbundle.tools.operations.restoring.programs import ProgramTensor

SIZE = 2_000


def slices(*places):
    return tuple(TensorSlice((place,)) for place in places)


def told(stored, wanted, size=SIZE):
    """The status of a tensor of `size` numbers, by the starts and lengths of slices that are stored, and wanted."""
    found = unreadable(
        TensorEntry(DType.float32, (size,), 0, slices=slices(*stored)),
        ProgramTensor(Spec(DType.float32, (size,)), slices(*wanted)),
    )
    return None if found is None else found[0]


SINGLE = [(start, 1) for start in range(SIZE)]
PAIRS = [(start, 2) for start in range(0, SIZE, 2)]


@pytest.mark.parametrize(
    ("stored", "wanted", "status"),
    [
        ([(0, 2), (2, 2)], [(1, 2)], None),
        ([(0, 2), (2, 2)], [], None),
        ([(0, 1), (1, 1)], [(0, 2)], None),
        ([(0, 1), (1, 1)], [(1, 3)], "dangling"),
        ([(0, 1), (1, 1)], [], "dangling"),
        ([(0, 3), (1, 3)], [(1, 2)], "dangling"),
        ([(0, 3), (1, 3)], [(0, 3)], None),
    ],
)
def test_slices_cover_others(stored, wanted, status):
    assert told(stored, wanted, 4) == status


@pytest.mark.parametrize("wanted", [SINGLE, PAIRS, []], ids=["same", "pairs", "whole"])
def test_thousands_of_slices_are_not_compared_with_each_other(wanted):
    assert told(SINGLE, wanted) is None
    assert steps(lambda: told(SINGLE, wanted)) < 100 * SIZE


def test_thousands_that_leave_something_out_are_refused():
    with pytest.raises(UnsupportedError, match=r"1000 slices of shape .* too many to compare"):
        told(SINGLE[1:], PAIRS)
    assert told(SINGLE[1:], SINGLE[1:]) is None
    assert told(SINGLE[1:], [(0, 2), (2, 2)]) == "dangling"
