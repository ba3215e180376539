"""Data types: TensorFlow's numbers and names, sizes on disk, NumPy's types."""

import ml_dtypes
import numpy as np
import pytest

from tensorbundle.dtypes import DType
from tensorbundle.errors import UnsupportedError

# number, name, bytes an element, NumPy type (TensorFlow core/framework/types.proto, and what its writer does)
TYPES = [
    (1, "float32", 4, "<f4"),
    (2, "float64", 8, "<f8"),
    (3, "int32", 4, "<i4"),
    (4, "uint8", 1, "u1"),
    (5, "int16", 2, "<i2"),
    (6, "int8", 1, "i1"),
    (7, "string", 0, "O"),
    (8, "complex64", 8, "<c8"),
    (9, "int64", 8, "<i8"),
    (10, "bool", 1, "?"),
    (11, "qint8", 1, "i1"),
    (12, "quint8", 1, "u1"),
    (13, "qint32", 4, "<i4"),
    (14, "bfloat16", 2, ml_dtypes.bfloat16),
    (15, "qint16", 2, "<i2"),
    (16, "quint16", 2, "<u2"),
    (17, "uint16", 2, "<u2"),
    (18, "complex128", 16, "<c16"),
    (19, "float16", 2, "<f2"),
    (20, "resource", 0, None),
    (21, "variant", 0, None),
    (22, "uint32", 4, "<u4"),
    (23, "uint64", 8, "<u8"),
    (24, "float8_e5m2", 1, ml_dtypes.float8_e5m2),
    (25, "float8_e4m3fn", 1, ml_dtypes.float8_e4m3fn),
    (26, "float8_e4m3fnuz", 1, ml_dtypes.float8_e4m3fnuz),
    (27, "float8_e4m3b11fnuz", 1, ml_dtypes.float8_e4m3b11fnuz),
    (28, "float8_e5m2fnuz", 1, ml_dtypes.float8_e5m2fnuz),
    (29, "int4", 1, "int4"),
    (30, "uint4", 1, "uint4"),
    (31, "int2", 1, "int2"),
    (32, "uint2", 1, "uint2"),
    (33, "float4_e2m1fn", 1, "float4_e2m1fn"),
]


def test_the_table_is_complete():
    assert [(each.number, each.value, each.itemsize) for each in DType] == [row[:3] for row in TYPES]


@pytest.mark.parametrize(("number", "name", "itemsize", "numpy"), TYPES)
def test_type(number, name, itemsize, numpy):
    dtype = DType.from_number(number)
    assert dtype is DType[name]
    assert dtype == name
    assert str(dtype) == f"{dtype}" == name
    if numpy is None:
        with pytest.raises(UnsupportedError, match=f"values of type {name} can't be NumPy arrays"):
            _ = dtype.numpy
        return
    if (isinstance(numpy, str) and "int" in numpy) or numpy == "float4_e2m1fn":
        numpy = getattr(ml_dtypes, numpy, None)
        if numpy is None:  # an older ml_dtypes
            with pytest.raises(UnsupportedError, match=f"has no {name}: install a newer one"):
                _ = dtype.numpy
            return
    assert dtype.numpy == np.dtype(numpy)
    assert dtype.numpy.itemsize == itemsize or name == "string"
    if not name.startswith("q"):
        assert DType.of(dtype.numpy) is dtype


def test_an_older_ml_dtypes(monkeypatch):
    monkeypatch.delattr(ml_dtypes, "float8_e5m2")
    monkeypatch.delitem(vars(DType.float8_e5m2), "numpy", raising=False)
    with pytest.raises(
        UnsupportedError, match=r"the installed ml_dtypes \d\S* has no float8_e5m2: install a newer one"
    ):
        _ = DType.float8_e5m2.numpy


@pytest.mark.parametrize("number", [0, 34, 101, 133, 200, 2**64 - 1, -1])
def test_numbers_that_no_checkpoint_stores(number):
    """0 is INVALID, from 101 on are references."""
    with pytest.raises(
        UnsupportedError, match=f"data type number {number} is not one that a checkpoint stores"
    ):
        DType.from_number(number)


@pytest.mark.parametrize("dtype", [">f4", ">i8", ">c16", "<f4", "=u2"])
def test_byte_order_does_not_matter_to_the_type(dtype):
    assert DType.of(np.dtype(dtype)) == np.dtype(dtype).name


@pytest.mark.parametrize("dtype", ["O", "S3", "U7", "S", "U"])
def test_text_bytes_and_objects_are_strings(dtype):
    assert DType.of(np.dtype(dtype)) is DType.string


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[ns]", "V3", [("a", "f4")], "g", "G"])
def test_numpy_types_without_a_counterpart(dtype):
    dtype = np.dtype(dtype)
    if dtype.itemsize in (8, 16) and dtype.kind in "fc" and dtype.name in ("float64", "complex128"):
        pytest.skip("long double is double here")
    with pytest.raises(UnsupportedError, match=r"NumPy type .* has no TensorFlow counterpart"):
        DType.of(dtype)


@pytest.mark.parametrize(
    ("name", "width"),
    [("complex64", 4), ("complex128", 8), ("float64", 8), ("bfloat16", 2), ("bool", 1), ("int4", 1)],
)
def test_swap_width(name, width):
    assert DType[name].swap_width == width


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            "is_floating",
            (
                "bfloat16 float16 float32 float64 float4_e2m1fn float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz float8_e5m2 "
                "float8_e5m2fnuz"
            ),
        ),
        ("is_complex", "complex64 complex128"),
        (
            "is_integer",
            "int2 int4 int8 int16 int32 int64 uint2 uint4 uint8 uint16 uint32 uint64 qint8 qint16 qint32 quint8 quint16",
        ),
        ("is_quantized", "qint8 qint16 qint32 quint8 quint16"),
    ],
)
def test_kinds_of_numbers(kind, names):
    assert {each.value for each in DType if getattr(each, kind)} == set(names.split())


def test_types_without_numbers():
    assert {each.value for each in DType if not each.is_numeric} == {"string", "variant", "resource"}
    assert {each.value for each in DType if not each.has_values} == {"variant", "resource"}


def test_a_type_is_a_string_in_json_and_in_dictionaries():
    import json

    assert json.dumps([DType.int8, DType.bool]) == '["int8", "bool"]'
    assert {"float32": 1}[DType.float32] == 1
