"""The header of a safetensors file: byte literals in, entries or a clear error out."""

import json

import pytest

from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.limits import MAX_HEADER_BYTES
from tensorbundle.tools.formats.safetensors import (
    DTYPES,
    encode_header,
    header_size,
    parse_header,
    parse_weight_map,
    why_not_writable,
    written_order,
)

# What safetensors 0.8.0 writes for these tensors, in this order.
WRITTEN = (
    '{"__metadata__":{"format":"pt"},"é\\"\\n\\u0001\x7f":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},'
    '"":{"dtype":"C64","shape":[1],"data_offsets":[16,24]},"a":{"dtype":"F32","shape":[3],"data_offsets":[24,36]},'
    '"h":{"dtype":"BF16","shape":[3],"data_offsets":[36,42]},"q":{"dtype":"U8","shape":[0,3],"data_offsets":[42,42]},'
    '"x":{"dtype":"BOOL","shape":[],"data_offsets":[42,43]}}  '
).encode()


def sealed(text, data=0):
    """A header with its length, and the size of a file with so many bytes after it."""
    text = text if isinstance(text, bytes) else text.encode()
    header = len(text).to_bytes(8, "little") + text
    return header, len(header) + data


def one(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_what_the_package_writes():
    header, size = sealed(WRITTEN, 43)
    assert header_size(header[:8], size) == len(header)
    found = parse_header(header, size)
    assert found.metadata == {"format": "pt"}
    assert list(found.tensors.items())[:2] == [
        ('é"\n\x01\x7f', TensorEntry(DType.int64, (2,), 16, 0, len(header))),
        ("", TensorEntry(DType.complex64, (1,), 8, 0, len(header) + 16)),
    ]
    assert [(name, str(each.dtype), each.nbytes) for name, each in found.tensors.items()][2:] == [
        ("a", "float32", 12),
        ("h", "bfloat16", 6),
        ("q", "uint8", 0),
        ("x", "bool", 1),
    ]


def test_encoding_gives_the_same_bytes():
    header, size = sealed(WRITTEN, 43)
    tensors = {name: each.dtype for name, each in parse_header(header, size).tensors.items()}
    shapes = {name: each.shape for name, each in parse_header(header, size).tensors.items()}
    order = written_order(dict(sorted(tensors.items())))
    assert order == list(tensors)
    assert encode_header([(name, tensors[name], shapes[name]) for name in order], {"format": "pt"}) == header
    assert encode_header([], {}) == b"\x08\0\0\0\0\0\0\0{}      "
    assert len(encode_header([], {}, alignment=4096)) == 4096


def test_white_space_and_any_order_of_members_and_tensors():
    text = json.dumps(
        {"b": dict(reversed(one(offsets=(8, 16)).items())), "__metadata__": {}, "a": one()}, indent=2
    )
    header, size = sealed(text + " \n", 16)
    assert {name: each.offset - len(header) for name, each in parse_header(header, size).tensors.items()} == {
        "a": 0,
        "b": 8,
    }
    assert parse_header(*sealed('{"__metadata__":null}')).metadata == {}
    assert parse_header(*sealed("{}")).tensors == {}


@pytest.mark.parametrize(
    ("text", "data", "message"),
    [
        (b"", 0, "does not begin with '{'"),
        (b' {"a":1}', 0, "does not begin with '{'"),
        (b"\xff{}", 0, "offset 0x8: the JSON is not UTF-8"),
        (b"[]", 0, "does not begin with '{'"),
        (b"{", 0, "expected a string, found the end"),
        (b"{}x", 0, "characters after the object, found 'x' at character 2"),
        (b"{}\0", 0, "characters after the object"),
        (b'{"a"}', 0, "':' expected, found '}' at character 4"),
        (b'{"a":1}', 0, "no object of at most"),
        (b'{"a":[]}', 0, "no object of at most"),
        (b'{"a":{}}', 0, "key 'a': dtype None is not one of the format's types"),
        (b'{"a":{"dtype":[],"shape":[]}}', 0, r"dtype \[\] is not one"),
        (b'{"\\ud800":{}}', 0, "not a JSON string"),
        (b'{"a\n":{}}', 0, "not a JSON string"),
        (b'{"__metadata__":{"a":1}}', 0, "expected a string, found '1}}'"),
        (b'{"__metadata__":{"a":"1","a":"2"}}', 0, "key 'a': this name is given twice"),
        (
            b'{"__metadata__":{"a":"1"},"__metadata__":{"b":"1"}}',
            0,
            "'__metadata__': this name is given twice",
        ),
        (b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', 4, r"shape \[nan\] is not a list"),
        (b'{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', 4, r"shape \[1.0\] is not a list"),
        (b'{"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}', 4, r"shape \[True\] is not"),
        (b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', 4, r"shape \[-1\] is not"),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"shape":[1]}}', 4, "a member is given twice"),
        (b'{"a":{"dtype":"F32","shape":[%s]}}' % (b"9" * 5000), 4, "not the description of a tensor"),
        (b'{"a":{"dtype":"F32","shape":%s' % (b"[" * 10_000) + b"}}", 4, "not the description of a tensor"),
        (b'{"a":{"dtype":"F32","shape":[%s' % (b"1," * 10_000) + b"1]}}", 4, "no object of at most 16384"),
        (b'{"a":{"dtype":"F32","shape":[%s' % (b"1," * 300) + b'1],"data_offsets":[0,4]}}', 4, "at most 254"),
    ],
)
def test_json_of_another_form(text, data, message):
    with pytest.raises(CorruptionError, match=message):
        parse_header(*sealed(text, data))


@pytest.mark.parametrize(
    ("tensors", "data", "message"),
    [
        ({"a": one(dtype="F31")}, 8, "key 'a': dtype 'F31' is not one of the format's types"),
        ({"a": one(offsets=(0, 4))}, 4, r"key 'a': a range of 4 bytes, float32 \[2\] takes 8"),
        ({"a": one(offsets=(8, 0))}, 8, r"data_offsets \[8, 0\] are not"),
        ({"a": one(offsets=(0,))}, 8, r"data_offsets \[0\] are not"),
        ({"a": one(offsets=(0, 2**64))}, 8, "are not the begin and the end"),
        ({"a": one(shape=(2**33, 2**33, 2**33), offsets=(0, 8))}, 8, "a range of 8 bytes"),
        ({"a": one(offsets=(8, 16))}, 16, "key 'a': its range leaves 8 bytes unused after the header"),
        ({"a": one(), "b": one(offsets=(4, 12))}, 12, "key 'b': its range overlaps 'a'"),
        ({"a": one(), "b": one()}, 8, "key 'b': its range overlaps 'a'"),
        ({"a": one(), "b": one(offsets=(12, 20))}, 20, "key 'b': its range leaves 4 bytes unused after 'a'"),
        ({"a": one()}, 7, "the tensors end at .*: it is cut short"),
        ({"a": one()}, 9, "the tensors end at .*: it is longer than its tensors"),
        ({}, 1, "longer than its tensors"),
    ],
)
def test_ranges_that_do_not_add_up(tensors, data, message):
    with pytest.raises(CorruptionError, match=message):
        parse_header(*sealed(json.dumps(tensors), data))


@pytest.mark.parametrize("name", ["a", "__metadata__x"])
def test_a_name_given_twice(name):
    text = f'{{"{name}":{json.dumps(one())},"{name}":{json.dumps(one(offsets=(8, 16)))}}}'
    with pytest.raises(CorruptionError, match=f"key '{name}': this name is given twice"):
        parse_header(*sealed(text, 16))


def test_types_that_tensorflow_does_not_have_are_all_named():
    tensors = {
        "a": one("F4", (4,), (0, 2)),
        "b": one("F8_E8M0", (2,), (2, 4)),
        "c": one("U8", (1,), (4, 5)),
    }
    with pytest.raises(UnsupportedError, match=r"'a' \(F4\), 'b' \(F8_E8M0\)$"):
        parse_header(*sealed(json.dumps(tensors), 5))


def test_what_the_format_does_not_have():
    assert why_not_writable("s", DType.string) == "safetensors has no values of type string"
    assert why_not_writable("z", DType.complex128) == "safetensors has no values of type complex128"
    assert why_not_writable("__metadata__", DType.int8) == "'__metadata__' is the name of the metadata"
    assert why_not_writable("\udcff", DType.int8).startswith("names in safetensors are UTF-8")
    assert why_not_writable("", DType.int8) is None
    assert len([each for each in DTYPES.values() if each]) == 18


@pytest.mark.parametrize(
    ("start", "size", "message"),
    [
        (b"", 0, "0 bytes, a safetensors file begins with"),
        (b"\x01", 1, "1 bytes, a safetensors"),
        ((9).to_bytes(8, "little"), 16, "offset 0x0: a header of 9 bytes in a file of 16: it is cut short"),
        (
            (MAX_HEADER_BYTES + 1).to_bytes(8, "little"),
            2**40,
            "a header of 100000001 bytes, at most 100000000 are allowed",
        ),
        (b"\xff" * 8, 2**40, "a header of 18446744073709551615 bytes"),
    ],
)
def test_lengths_that_can_not_be(start, size, message):
    with pytest.raises(CorruptionError, match=message):
        header_size(start, size)


def test_a_large_hostile_header_is_refused_before_it_takes_memory():
    """Lists inside lists, a few megabytes of them, would become gigabytes of objects."""
    with pytest.raises(CorruptionError, match="no object of at most"):
        parse_header(*sealed(b'{"a":' + b"[]," * 2_000_000))
    with pytest.raises(CorruptionError, match="expected a string"):
        parse_header(*sealed(b'{"__metadata__":{"a":' + b"[" * 2_000_000))


def test_the_index_of_a_sharded_set():
    index = {"metadata": {"total_size": 8, "x": [1]}, "weight_map": {"a": "m-1.safetensors"}}
    assert parse_weight_map(json.dumps(index, indent=2).encode()) == {"a": "m-1.safetensors"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'{' expected, found the end"),
        (b"{}", "no 'weight_map'"),
        (b'{"weight_map": []}', "'{' expected"),
        (b'{"weight_map": {"a": "../m.safetensors"}}', "key 'a': file '../m.safetensors' is not the name"),
        (b'{"weight_map": {"a": ".."}}', "is not the name of a file"),
        (b'{"weight_map": {"a": ""}}', "is not the name of a file"),
        (b'{"weight_map": {"a": "x", "a": "y"}}', "key 'a': this name is given twice"),
        (b'{"weight_map": {}, "weight_map": {}}', "given twice"),
        (b'{"metadata": %s' % (b"[" * 200_000), "no JSON value of at most"),
        (b'{"metadata": "' + b"x" * (1 << 20) + b'", "weight_map": {}}', "no JSON value of at most"),
    ],
)
def test_indexes_that_are_none(content, message):
    with pytest.raises(CorruptionError, match=message):
        parse_weight_map(content)
