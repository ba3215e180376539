"""Data type and shape of a tensor, known or not."""

import pytest

from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.specs import Spec, shape_text

ROWS = Spec(DType.float32, (38, 32))


@pytest.mark.parametrize(("shape", "text"), [((), "[]"), ((7,), "[7]"), ([38, 0, 1], "[38,0,1]")])
def test_shapes_as_text(shape, text):
    assert shape_text(shape) == text


@pytest.mark.parametrize(
    ("spec", "text", "rank"),
    [
        (ROWS, "float32 [38,32]", 2),
        (Spec(DType.string, ()), "string []", 0),
        (Spec(DType.int64), "int64", None),
        (Spec(shape=(7,)), "[7]", 1),
        (Spec(), "", None),
    ],
)
def test_text_and_rank(spec, text, rank):
    assert (str(spec), spec.rank) == (text, rank)


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        (ROWS, True),
        (Spec(), True),
        (Spec(DType.float32), True),
        (Spec(shape=(38, 32)), True),
        (Spec(DType.float64), False),
        (Spec(shape=(32, 38)), False),
        (Spec(DType.float32, (38,)), False),
        (Spec(DType.bfloat16, (38, 32)), False),
    ],
)
def test_what_is_not_known_allows_anything(spec, allowed):
    assert spec.allows(ROWS) is allowed


def test_what_is_not_known_is_allowed_by_nothing_that_is():
    assert not ROWS.allows(Spec(DType.float32))
    assert not ROWS.allows(Spec(shape=(38, 32)))


def test_of_an_entry():
    assert TensorEntry(DType.float32, (38, 32), 4864, 1).spec == ROWS
