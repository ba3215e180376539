"""Boxes of tensors are read in few ranges, which are known before."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorbundle import gathering
from tensorbundle.boxes import whole_box
from tensorbundle.gathering import gather, ranges_of
from tensorbundle.storage.spans import merged


@st.composite
def boxes(draw):
    shape = tuple(draw(st.lists(st.integers(1, 5), max_size=4)))
    starts = [draw(st.integers(0, size - 1)) for size in shape]
    return shape, tuple(
        slice(low, draw(st.integers(low + 1, size))) for low, size in zip(starts, shape, strict=True)
    )


def gathered(shape, box):
    """The ranges that were read of a tensor, and that were said to be."""
    values = np.arange(np.prod(shape, dtype=int), dtype="<i4").reshape(shape)
    data, read = values.tobytes(), []

    def fill(start, buffer):
        read.append((100 + start, len(buffer)))
        buffer[:] = data[start : start + len(buffer)]

    out = np.empty([each.stop - each.start for each in box], np.int32)
    gather(fill, shape, box, out)
    assert out.tolist() == values[box].tolist()
    return read, list(ranges_of(shape, box, 4, 100))


def test_rows_are_read_together_unless_they_are_far_apart(monkeypatch):
    box = (slice(0, 1000), slice(2, 3))
    assert len(gathered((1000, 8), box)[0]) == 1
    monkeypatch.setattr(gathering, "GAP_BYTES", 24)
    assert [size for _, size in gathered((1000, 8), box)[0]] == [4] * 1000
    assert len(gathered((1000, 7), box)[0]) == 1
    assert gathered((1000, 8), whole_box((1000, 8)))[1] == [(100, 32_000)]


@pytest.fixture(scope="module", params=[(1, 1), (12, 8), (100, 1000)], ids=str)
def limits(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "_GATHER_BYTES", request.param[0])
        patch.setattr(gathering, "GAP_BYTES", request.param[1])
        yield


@pytest.mark.usefixtures("limits")
@given(boxes())
def test_what_is_read_is_known_before(case):
    read, known = gathered(*case)
    assert merged(read, 0) == merged(known, 0)
    assert sorted(read) == read
