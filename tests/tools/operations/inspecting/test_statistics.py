"""Statistics against NumPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.contents import any_bits
from tensorbundle.dtypes import DType
from tensorbundle.tools.operations.inspecting import statistics
from tensorbundle.tools.operations.inspecting.statistics import summarize

NUMBERS = [dtype for dtype in DType if dtype.itemsize and not dtype.startswith(("qint", "quint"))]


def reference(values):
    """The same from whole arrays, in float64."""
    wide = np.abs(values) if values.dtype.kind == "c" else values.astype(np.float64)
    finite = wide[np.isfinite(wide)].astype(np.float64)
    counts = {
        "nan": int(np.isnan(wide).sum()),
        "inf": int(np.isinf(wide).sum()),
        "zeros": int((wide == 0).sum()),
    }
    if not finite.size:
        return {"min": None, "max": None, "mean": None, "std": None} | counts
    moments = {"min": finite.min(), "max": finite.max(), "mean": finite.mean(), "std": finite.std()}
    return {name: float(value) for name, value in moments.items()} | counts


def approximately(values):
    return {
        name: value and pytest.approx(value, rel=1e-6, abs=1e-6, nan_ok=True)
        for name, value in values.items()
    }


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_every_type(dtype):
    values = any_bits(dtype, (40, 5))
    with np.errstate(all="ignore"):
        if values.dtype.kind in "fc" and values.dtype.itemsize > 2:
            values = np.where(np.abs(values) < 1e100, values, values.dtype.type(0))
        assert summarize([values]) == approximately(reference(values))


@pytest.mark.parametrize("chunk", [1, 3, 1000])
@given(st.lists(st.floats(-1e6, 1e6) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0]), max_size=20))
def test_chunks_change_nothing(chunk, values):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "_CHUNK_ELEMENTS", chunk)
        array = np.array(values, np.float64)
        assert summarize([array]) == approximately(reference(array))


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_large_integers_are_exact(dtype):
    info = np.iinfo(dtype)
    found = summarize([np.array([info.min, info.max - 1], dtype)])
    assert (found["min"], found["max"]) == (info.min, info.max - 1)
    assert all(isinstance(found[name], int) for name in ("min", "max"))


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2", "uint2", "int8", "bool", "uint16"])
def test_integers_have_integers_as_limits(dtype):
    found = summarize([np.array([0, 1], np.int8).astype(DType[dtype].numpy)])
    assert [type(found[name]) for name in ("min", "max", "mean", "zeros")] == [int, int, float, int]


def test_strings_count_by_their_lengths():
    assert summarize([np.array([b"", b"abc", b"\0"], object)]) == {
        "min": 0, "max": 3, "mean": pytest.approx(4 / 3), "std": pytest.approx(np.std([0, 3, 1])),
        "nan": 0, "inf": 0, "zeros": 1,
    }  # fmt: skip


def test_a_large_offset_costs_no_precision():
    """The textbook formula, mean of squares less square of mean, gives 0 or worse here."""
    values = 1e9 + np.random.default_rng(1).random(3 << 20)
    assert summarize([values])["std"] == pytest.approx(values.std(), rel=1e-6)


def test_values_whose_squares_overflow():
    found = summarize([np.array([1e300, -1e300])])
    assert (found["min"], found["max"], found["mean"]) == (-1e300, 1e300, 0)


def test_complex_values_whose_magnitude_overflows():
    """They are finite, and the magnitude can be had in float64."""
    found = summarize([np.array([3e38 + 3e38j], np.complex64)])
    assert found["inf"] == 0
    assert found["max"] == pytest.approx(2**0.5 * 3e38, rel=1e-6)


@pytest.mark.parametrize("shape", [(0,), (2, 0, 3)])
def test_nothing(shape):
    assert summarize([np.zeros(shape)]) == dict.fromkeys(["min", "max", "mean", "std"]) | dict.fromkeys(
        ["nan", "inf", "zeros"], 0
    )


def test_views_that_are_not_contiguous():
    values = np.arange(24.0).reshape(4, 6)[::-1, ::2]
    assert summarize([values]) == approximately(reference(values))


def test_a_scalar():
    assert summarize([np.array(3, np.int32)])["mean"] == 3.0


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_few_values_have_the_same_statistics(dtype, monkeypatch):
    with np.errstate(all="ignore"):
        values = any_bits(dtype, (16,))
        found = summarize([values])
        monkeypatch.setattr(statistics, "FEW", 0)
        assert found == approximately(summarize([values]))


@pytest.mark.parametrize(
    "values", [[], [np.nan], [np.inf, -np.inf, np.nan], [0.0, -0.0], [1e300, -1e300, 1e300]]
)
def test_few_values_that_are_odd(values, monkeypatch):
    found = summarize([np.array(values)])
    monkeypatch.setattr(statistics, "FEW", 0)
    assert found == approximately(summarize([np.array(values)]))
