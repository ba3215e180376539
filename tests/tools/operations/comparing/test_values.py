"""How far the values of two tensors are apart."""

import ml_dtypes
import numpy as np
import pytest

from tensorbundle.tools.operations.comparing.values import ValueDifference, compare_values

NAN, INF = np.nan, np.inf


def compared(a, b, dtype="f8", **options):
    first, second = (np.asarray(each, dtype) for each in (a, b))
    return compare_values(iter([first]), iter([second]), **options)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2], [1, 2], (0, 0, 0)),
        ([1, 2], [1, 4], (2, 0.5, 1)),
        ([NAN, 1], [NAN, 1], (0, 0, 0)),
        ([NAN, 1], [1, 1], (0, 0, 1)),
        ([INF, -INF], [INF, INF], (INF, 0, 1)),
        ([1], [0], (1, INF, 1)),
        ([0.0], [-0.0], (0, 0, 0)),
    ],
)
def test_numbers(a, b, expected):
    assert compared(a, b) == ValueDifference(*map(float, expected[:2]), expected[2])


def test_tolerances():
    assert compared([100, 1], [101, 2], rtol=0.1).different == 1
    assert compared([100, 1], [101, 2], atol=1).different == 0
    assert compared([NAN], [1], atol=9).different == 1


def test_integers_are_compared_exactly():
    assert compared([2**62], [2**62 + 1], "i8").different == 1
    assert compared([True], [False], "?") == ValueDifference(1.0, INF, 1)


def test_other_types():
    assert compared([1, 2], [1, 3], ml_dtypes.bfloat16).max_abs == 1
    assert compared([1j], [1], "c8").max_abs == pytest.approx(2**0.5)
    assert compared([b"a", b"b"], [b"a", b"c"], object) == ValueDifference(None, None, 1)


def test_runs_need_not_agree():
    values = np.arange(10.0)
    parts = iter([values[:3], values[3:4], values[4:]])
    found = compare_values(parts, iter([values[:5], values[5:] + 1]))
    assert (found.max_abs, found.different) == (1.0, 5)
    assert compare_values(iter([values[:3], values[3:]]), iter([values])).different == 0
