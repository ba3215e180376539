"""Slices of partitioned tensors: messages, keys, specs."""

import pytest

from support.bundles import raw
from tensorbundle.errors import CorruptionError
from tensorbundle.slices import MAX_RANK, TensorSlice, is_slice_key, readable_key

# spec, TensorSliceProto, the key of that slice of a tensor `y`
SLICES = [
    ("2,2:-", "0a04 0802 1002 0a00", '00 "y" 0001 0102 8282 807f'),
    ("-", "0a00", '00 "y" 0001 0101 807f'),
    ("", "", '00 "y" 0001 00'),
    ("0,4:0,4", "0a02 1004 0a02 1004", '00 "y" 0001 0102 8084 8084'),
    ("7,3:0,4", "0a04 0807 1003 0a02 1004", '00 "y" 0001 0102 8783 8084'),
    ("64,8192", "0a05 0840 108040", '00 "y" 0001 0101 c040 e02000'),
]


@pytest.mark.parametrize(("spec", "message", "key"), SLICES)
def test_slice(spec, message, key):
    part = TensorSlice.parse_spec(spec)
    assert str(part) == spec
    assert part.encode() == raw(message)
    assert TensorSlice.parse(raw(message)) == part
    assert part.key(b"y") == raw(key)
    assert TensorSlice.parse_key(raw(key)) == (b"y", part)


def test_key_of_the_largest_rank():
    part = TensorSlice(((0, -1),) * MAX_RANK)
    assert TensorSlice.parse_key(part.key(b"y")) == (b"y", part)
    assert TensorSlice.parse(part.encode()) == part


def test_key_of_a_name_with_special_bytes():
    part = TensorSlice.parse_spec("0,1")
    key = raw("00 61 00ff ff00 0001 0101 8081")
    assert part.key(b"a\0\xff") == key
    assert TensorSlice.parse_key(key) == (b"a\0\xff", part)
    assert part.key(b"") == raw("00 0001 0101 8081")


def test_keys_sort_after_the_header_and_before_names():
    keys = [TensorSlice(((start, 2),)).key(b"w") for start in (0, 2, 64, 10_000)]
    assert [b"", *keys, b"\x01", b"w"] == sorted([b"w", *keys, b"\x01", b""])


def test_unknown_fields_and_any_order_are_accepted():
    #              field 9: 1 | extent: length 3, field 7: "x", start 2 | field 3: 4 bytes
    assert TensorSlice.parse(raw('4801 0a07 1003 3a01"x" 0802 1d00000000')) == TensorSlice(((2, 3),))
    assert TensorSlice.parse(raw("0a06 0802 1003 1805")) == TensorSlice(((2, 3),))  # field 3: 5


def test_a_slice_may_be_empty():
    """As far as a bundle's index is concerned: TensorFlow reads the other slices."""
    assert TensorSlice.parse(raw("0a04 0802 1000")) == TensorSlice(((2, 0),))
    assert TensorSlice(((2, 0),)).encode() == raw("0a04 0802 1000")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("0a0b 08ffffffffffffffffff01", "slice that starts at -1"),
        ("0a0b 10ffffffffffffffffff01", "slice of length -1"),
        ("0a0b 1080808080808080808001", "slice of length -9223372036854775808"),
        ("0a05 08", "protobuf field 1 claims 5 bytes of 1"),
        ("0a01 08", "varint cut short after 0 bytes"),
        ("0a00" * (MAX_RANK + 1), "slice of 255 dimensions, at most 254"),
    ],
)
def test_malformed_message(message, reason):
    with pytest.raises(CorruptionError, match=reason):
        TensorSlice.parse(raw(message))


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "not an ordered-code number"),
        ('"y"', "not an ordered-code number"),
        ('0101 "y" 0001 00', "not a slice key: rank 0"),
        ('00 "y"', "not an ordered-code string"),
        ('00 "y" 0001', "not an ordered-code number"),
        ('00 "y" 0001 01ff', "not a slice key: rank 255"),
        ('00 "y" 0001 0102 8080', "not an ordered-code signed number"),
        ('00 "y" 0001 0101 8080 00', "not a slice key: 1 bytes after its end"),
    ],
)
def test_malformed_key(key, reason):
    with pytest.raises(CorruptionError, match=reason):
        TensorSlice.parse_key(raw(key))


@pytest.mark.parametrize("spec", ["0,0", "1", "0,4:", ":", "-1,2", "0,-1", "0, 4", "--", "a", "0,4,5", "٣,4"])
def test_malformed_spec(spec):
    with pytest.raises(ValueError, match=f"slice '{spec}': '.*' is neither '-' nor 'start,length'"):
        TensorSlice.parse_spec(spec)


@pytest.mark.parametrize(
    ("spec", "shape", "box"),
    [
        ("", (), ()),
        ("-:-", (3, 0), (slice(0, 3), slice(0, 0))),
        ("1,2:-", (3, 5), (slice(1, 3), slice(0, 5))),
        ("0,3", (3,), (slice(0, 3),)),
    ],
)
def test_box(spec, shape, box):
    part = TensorSlice.parse_spec(spec)
    assert part.box(shape) == box
    assert part.shape(shape) == tuple(each.stop - each.start for each in box)


@pytest.mark.parametrize(
    ("extents", "shape", "reason"),
    [
        (((0, 1),), (), r"slice 0,1 has 1 dimensions, the tensor has 0"),
        (((0, 1), (0, -1)), (4,), r"slice 0,1:- has 2 dimensions, the tensor has 1"),
        (((2, 3),), (4,), r"slice 2,3 reaches outside the shape \[4\]"),
        (((5, -1),), (4,), r"slice - reaches outside the shape \[4\]"),
        (((0, 2**63 - 1),), (4,), r"slice 0,9223372036854775807 reaches outside"),
        (((2**63 - 1, 2**63 - 1),), (2**63 - 1,), "reaches outside"),
        (((-1, 2),), (4,), "reaches outside"),
        (((3, -2),), (4,), "reaches outside"),
    ],
)
def test_box_outside(extents, shape, reason):
    with pytest.raises(CorruptionError, match=reason):
        TensorSlice(extents).box(shape)


def test_readable_key():
    assert readable_key(TensorSlice.parse_spec("0,4:-").key(b"emb")) == "emb[0,4:-]"
    assert readable_key(b"emb") == "emb"
    assert readable_key(b"\0emb") == "\0emb"
    assert readable_key(b"\xff") == "\udcff"


def test_is_slice_key():
    assert is_slice_key(TensorSlice.parse_spec("0,4:-").key(b"emb"))
    assert not is_slice_key(b"emb")
    assert not is_slice_key(b"\0emb")
