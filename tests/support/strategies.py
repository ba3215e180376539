"""What hypothesis makes up: names, arrays, protobuf messages, damage."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tensorbundle.coding import encode_varint
from tensorbundle.dtypes import DType

NUMERIC = [dtype for dtype in DType if dtype.itemsize]
STORED = [dtype for dtype in NUMERIC if not dtype.startswith(("qint", "quint"))]
_MASKS = {"bool": 1, "int4": 0x0F, "uint4": 0x0F, "float4_e2m1fn": 0x0F, "int2": 0x03, "uint2": 0x03}

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
int32s = st.integers(-(2**31), 2**31 - 1)
int64s = st.one_of(st.integers(-3, 300), st.integers(-(2**63), 2**63 - 1))
uint64s = st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1))


@st.composite
def arrays(draw, shape=None):
    """A numeric array of any type that NumPy arrays are stored as, any bits."""
    dtype = draw(st.sampled_from(STORED))
    shape = draw(shapes) if shape is None else shape
    size = int(np.prod(shape, dtype=int)) * dtype.itemsize
    raw = draw(st.binary(min_size=size, max_size=size))
    masked = bytes(byte & _MASKS.get(dtype, 0xFF) for byte in raw)
    return np.frombuffer(masked, dtype.numpy).reshape(shape)


@st.composite
def wire_fields(draw, least=1, most=9, depth=2):
    """One encoded protobuf field, numbered from `least` to `most`, of any wire type but the two of groups."""
    number = draw(st.integers(least, most))
    wire_type = draw(st.sampled_from([0, 0, 0, 2, 2, 1, 5]))
    tag = encode_varint(number << 3 | wire_type)
    if wire_type == 0:
        return tag + encode_varint(draw(uint64s))
    if wire_type in (1, 5):
        size = 8 if wire_type == 1 else 4
        return tag + draw(st.binary(min_size=size, max_size=size))
    content = st.binary(max_size=12)
    value = draw(st.one_of(content, wire_messages(depth=depth - 1)) if depth else content)
    return tag + encode_varint(len(value)) + value


def wire_messages(depth=2):
    """A well-formed protobuf message of no particular type."""
    return st.lists(wire_fields(depth=depth), max_size=6).map(b"".join)


@st.composite
def damaged(draw, seed):
    """The bytes `seed` after a few edits: bytes changed, cut out, put in, or the end cut off."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["change", "insert", "delete", "cut"]))
        if kind == "change" and at < len(data):
            data[at] ^= draw(st.integers(1, 255))
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "delete":
            del data[at : at + draw(st.integers(1, 8))]
        else:
            del data[at:]
    return bytes(data)
