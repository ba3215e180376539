"""The header of an array file, against NumPy's own."""

import io

import ml_dtypes
import numpy as np
import pytest

from tensorbundle.dtypes import DType
from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.tools.formats.npy import START_BYTES, encode_npy, npy_size, parse_npy


def saved(array, version=None):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version)
    return buffer.getvalue()


def header(text, version=1):
    data = text.encode("utf-8" if version == 3 else "latin-1")
    return b"\x93NUMPY" + bytes([version, 0]) + len(data).to_bytes(2 if version == 1 else 4, "little") + data


def parse(data):
    return parse_npy(data[: npy_size(data[:START_BYTES])])


@pytest.mark.parametrize("code", list("?bhiqBHIQefdFD"))
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (1,) * 20, (10**3, 0)])
def test_numbers(code, shape):
    array = np.zeros(shape, code)
    data = saved(array)
    found = parse(data)
    assert found == (DType.of(array.dtype), array.itemsize, shape, False, False, len(data) - array.nbytes)
    assert encode_npy(DType.of(array.dtype), shape) == data[: found.start]


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "int4"])
def test_types_of_ml_dtypes_are_raw_bytes(name):
    array = np.zeros((2, 3), getattr(ml_dtypes, name))
    data = saved(array)
    assert encode_npy(DType[name], (2, 3)) == data[: parse(data).start]
    assert parse(data)[:2] == (None, array.itemsize)


def test_the_eight_bit_type_that_has_a_code():
    assert parse(saved(np.zeros(2, ml_dtypes.float8_e5m2)))[:2] == (DType.float8_e5m2, 1)
    assert parse(encode_npy(DType.float8_e5m2, (2,)))[:2] == (None, 1)  # a code that NumPy alone can't read


def test_orders_and_versions():
    array = np.zeros((2, 3), ">f4", order="F")
    for version in ((1, 0), (2, 0), (3, 0)):
        data = saved(array, version)
        assert parse(data) == (DType.float32, 4, (2, 3), True, True, len(data) - 24)
    assert not parse(saved(np.asfortranarray(np.zeros(3, "f4")))).fortran_order
    assert parse(header("{'shape': (3L, 40L), 'fortran_order': False, 'descr': '<f4'}")).shape == (3, 40)


@pytest.mark.parametrize(
    ("array", "what"),
    [
        (np.array(["text"]), r"strings \(<U4\)"),
        (np.array([b"bytes"]), r"strings \(\|S5\)"),
        (np.array([None]), r"Python objects \(\|O\)"),
        (np.array(["2020-01-01"], "M8[D]"), r"dates \(<M8\[D\]\)"),
        (np.zeros(1, "f4,i4"), r"elements of type \[\('f0', '<f4'\)"),
        (np.zeros(1, "V5"), r"elements of type '\|V5'"),
        (np.zeros(1, np.longdouble), "elements of type '<f16'"),
    ],
)
def test_what_is_no_tensor(array, what):
    with pytest.raises(UnsupportedError, match=what):
        parse(
            saved(array)
            if array.dtype != object
            else header(str(np.lib.format.header_data_from_array_1_0(array)))
        )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an array file"),
        (b"\x93NUMPY", "cut short"),
        (b"\x93NUMPY\7\0\0\0\0\0", "version 7.0"),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff", "a header of 4294967295 bytes"),
        (header("   "), "not a dictionary"),
        (header("[" * 9000), "not a dictionary"),
        (header("{'descr': '<f4'}"), "not one of an array"),
        (header("{[]: 1}"), "not a dictionary"),
        (header("__import__('os')"), "not a dictionary"),
        (header("'\\d'", 3), "not one of an array"),
        (header("{'descr': 7, 'fortran_order': False, 'shape': (1,)}"), "elements of type 7"),
        (header("{'descr': '', 'fortran_order': False, 'shape': (1,)}"), "elements of type ''"),
        (header("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}"), "fortran_order 0"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"), r"shape \(-1,\) is not"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}"), r"shape \(True,\) is not"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': [1]}"), r"shape \[1\] is not"),
        (header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'1,' * 300})}}"), "at most 254"),
    ],
)
def test_damaged_headers(data, message):
    with pytest.raises((CorruptionError, UnsupportedError), match=message):
        parse(data)
