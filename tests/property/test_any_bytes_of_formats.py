"""Any bytes where a file of another format is expected: a value or a BundleError, nothing else, and soon."""

import contextlib
import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from support.strategies import damaged
from tensorbundle.dtypes import DType
from tensorbundle.tools.formats.npy import START_BYTES, encode_npy, npy_size, parse_npy
from tensorbundle.tools.formats.safetensors import (
    encode_header,
    header_size,
    parse_header,
    parse_weight_map,
)
from tensorbundle.tools.formats.zips import InflatedFile, members_of


class Bytes:
    path = "file"

    def __init__(self, data):
        self.data = data
        self.size = len(data)

    def read(self, offset, size):
        assert 0 <= offset <= offset + size <= self.size, "asked for bytes that are not there"
        return self.data[offset : offset + size]


def safetensors(data):
    size = header_size(data[:8], len(data))
    return parse_header(data[:size], len(data))


def npy(data):
    return parse_npy(data[: npy_size(data[:START_BYTES])]) if len(data) >= START_BYTES else None


def archive(data):
    file = Bytes(data)
    for each in members_of(file):
        if each.deflated:
            InflatedFile(file, each).read(0, min(each.size, 1000))


def zipped(compression):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name in ("a.npy", "b/c.npy"):
            with file.open(name, "w", force_zip64=name == "a.npy") as member:
                np.lib.format.write_array(member, np.arange(40))
    return buffer.getvalue()


# name -> (parser, an encoded example)
PARSERS = {
    "safetensors": (
        safetensors,
        encode_header([("a", DType.float32, (2,)), ("b", DType.bool, ())], {"k": "v"}) + bytes(9),
    ),
    "weight map": (
        parse_weight_map,
        json.dumps({"metadata": {"total_size": 8}, "weight_map": {"a": "f"}}).encode(),
    ),
    "npy": (npy, encode_npy(DType.int16, (3, 4)) + bytes(24)),
    "stored zip": (archive, zipped(zipfile.ZIP_STORED)),
    "deflated zip": (archive, zipped(zipfile.ZIP_DEFLATED)),
}


@pytest.mark.parametrize(("parse", "example"), PARSERS.values(), ids=PARSERS)
@given(data=st.data())
def test_parser(parse, example, data):
    parse(example)
    content = data.draw(st.one_of(damaged(example), damaged(example), st.binary(max_size=40)))
    with contextlib.suppress(tb.BundleError):
        parse(content)
