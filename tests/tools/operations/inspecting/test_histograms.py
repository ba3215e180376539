"""Histograms in one pass, beside those that NumPy makes of all values at once."""

import ml_dtypes
import numpy as np
import pytest

from tensorbundle.tools.operations.inspecting import histograms
from tensorbundle.tools.operations.inspecting.histograms import Histogram


def even(values, bins):
    made = Histogram()
    for part in np.array_split(values, 3):
        made.add(part)
    finite = values[np.isfinite(values.astype(np.float64))].astype(np.float64)
    return made.even(finite.min(), finite.max(), bins)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "uint8", "int8"])
def test_counts_are_about_those_of_numpy(dtype, monkeypatch):
    monkeypatch.setattr(histograms, "_CHUNK", 1000)
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    values = np.random.default_rng(1).normal(3, 20, 20_000)
    if kind.kind == "u":
        values = np.abs(values)
    values = values.astype(kind)
    found = even(values, 10)
    expected, _ = np.histogram(values.astype(np.float64), 10)
    assert sum(found) == values.size
    assert np.abs(np.cumsum(found) - np.cumsum(expected)).max() < values.size * 0.05


def test_a_single_value_and_no_value():
    assert even(np.full(5, 7.5, np.float32), 4) == [5, 0, 0, 0]
    assert Histogram().even(0.0, 0.0, 3) == [0, 0, 0]


def test_zeros_are_not_smeared():
    values = np.concatenate([np.zeros(1000), [-1.0, 1.0]]).astype(np.float32)
    assert even(values, 5) == [1, 0, 1000, 0, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_finite_does_not_count(dtype):
    values = np.array([1, np.nan, np.inf, -np.inf, 2], dtype)
    assert even(values, 2) == [1, 1]


def test_values_beyond_float32_count_at_its_ends():
    assert even(np.array([-1e300, 0.0, 1e300]), 3) == [1, 1, 1]


def test_few_values_are_counted_exactly():
    values = np.random.default_rng(2).normal(0, 1, 50)
    assert even(values, 7) == np.histogram(values, 7)[0].tolist()
    assert even(np.array([2**63 - 1, -(2**63), 0, 1]), 2) == [1, 3]
    assert even(np.array([-1.7e308, 1.7e308]), 4) == [1, 0, 0, 1]
