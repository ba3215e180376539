"""Content hashes: as docs/hash.md says, whatever the layout; manifests."""

import hashlib
import re
import struct
from pathlib import Path

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain, variant_payload, write_bundle
from support.golden import SAMPLE
from tensorbundle.dtypes import DType
from tensorbundle.entries import BundleHeader, TensorEntry
from tensorbundle.tools import convert, hash  # noqa: A004
from tensorbundle.tools.operations.inspecting.hashing import (
    CheckpointHash,
    Deviation,
    TensorHash,
    compare_hashes,
    parse_manifest,
)

PAGE = Path(__file__).resolve().parents[4] / "docs" / "hash.md"
HALVES = [tb.TensorSlice.parse_spec(spec) for spec in ("-:0,2", "-:2,2")]


def sha(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def by_key(found: CheckpointHash) -> dict[str, str]:
    return {each.key: each.sha256 for each in found.tensors}


def test_each_tensor_is_hashed_as_specified(tmp_path):
    complex_ = np.array([1 + 2j], "c8")
    with tb.create(tmp_path / "m") as writer:
        writer.add("scalar", np.int64(7))
        writer.add("rows", np.arange(6, dtype="f4").reshape(2, 3))
        writer.add("words", np.array([b"ab", b""], object))
        writer.add("flags", np.array([True, False]))
        writer.add("complex", complex_)
        writer.add("empty", np.zeros((0, 5), "f2"))
    assert by_key(hash(tmp_path / "m")) == {
        "scalar": sha(b"int64 \n", struct.pack("<q", 7)),
        "rows": sha(b"float32 2,3\n", struct.pack("<6f", *range(6))),
        "words": sha(b"string 2\n", struct.pack("<Q", 2), b"ab", struct.pack("<Q", 0)),
        "flags": sha(b"bool 2\n", b"\1\0"),
        "complex": sha(b"complex64 1\n", struct.pack("<2f", 1, 2)),
        "empty": sha(b"float16 0,5\n"),
    }


def test_variants_and_resources(tmp_path):
    payload, crc = variant_payload([b"one", b"three"])
    entries = {
        b"v": TensorEntry(DType.variant, (2,), len(payload), 0, 0, crc),
        b"r": plain("resource", (), b""),
    }
    found = by_key(hash(write_bundle(tmp_path / "m", entries, [payload])))
    assert found["v"] == sha(b"variant 2\n", struct.pack("<Q", 3), b"one", struct.pack("<Q", 5), b"three")
    assert found["r"] == sha(b"resource \n")
    broken = write_bundle(tmp_path / "n", entries, [payload[:-1] + b"\0"])
    with pytest.raises(tb.CorruptionError):
        hash(broken)


def test_layout_does_not_matter(tmp_path):
    """Partitions, shards, order, byte order, rank and the file format."""
    values = np.arange(12, dtype="f4").reshape(3, 4)
    with tb.create(tmp_path / "whole") as writer:
        writer.add("w", values)
        writer.add("x", np.int32(5))
    with tb.create(tmp_path / "parts") as writer:
        writer.add("x", np.int32(5))
        writer.start_shard()
        for part, box in zip(HALVES, (np.s_[:, :2], np.s_[:, 2:]), strict=True):
            writer.add_slice("w", [3, 4], part, values[box])
    big = values.astype(">f4").tobytes() + np.array(5, ">i4").tobytes()
    swapped = {
        b"w": plain("float32", (3, 4), big[:48]),
        b"x": plain("int32", (), big[48:], offset=48),
    }
    write_bundle(tmp_path / "big", swapped, [big], BundleHeader(1, big_endian=True))
    convert(tmp_path / "whole", tmp_path / "old", to="v1")
    expected = hash(tmp_path / "whole")
    for name in ("parts", "big", "old"):
        assert hash(tmp_path / name) == expected, name
        assert hash(tmp_path / name, jobs=3) == expected, name


def test_names_of_objects_and_keys_of_their_values_are_the_same_names(tmp_path):
    with tb.create(tmp_path / "names") as writer:
        writer.add("a/w", np.float32(1))
    with tb.create(tmp_path / "keys") as writer:
        writer.add("a/w/.ATTRIBUTES/VARIABLE_VALUE", np.float32(1))
    one, other = hash(tmp_path / "names"), hash(tmp_path / "keys")
    assert one.checkpoint == other.checkpoint
    assert compare_hashes(one, other) == []


def test_the_example_of_the_page(monkeypatch, capsys):
    monkeypatch.chdir(PAGE.parents[1])
    [example] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, PAGE.name, "exec"), {})
    assert capsys.readouterr().out == f"{hash(SAMPLE).checkpoint}\n"


def test_a_shape_that_numpy_can_not_have(tmp_path):
    path = write_bundle(tmp_path / "m", {b"a": plain("float32", (1,) * 69 + (2,), bytes(8))}, [bytes(8)])
    assert by_key(hash(path))["a"] == sha(f"float32 {'1,' * 69}2\n".encode(), bytes(8))


@pytest.mark.parametrize("key", ["a/b", 'quoted "key"', '"quoted"', "new\nline", " space", "\udcff", "café"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0)])
def test_lines_of_manifests(key, shape):
    found = TensorHash(key, "float32", shape, "ab" * 32)
    assert str(found).isprintable()
    whole = CheckpointHash("cd" * 32, (found,))
    assert parse_manifest(f"{found}\n{'cd' * 32}  checkpoint\n", "m") == whole


@pytest.mark.parametrize("text", ["", "\n", "nonsense", '{"key": 1}', "{", "[1]", f"{'ab' * 32} float32[] a"])
def test_what_is_no_manifest(text):
    with pytest.raises(tb.BundleError, match=r"MANIFEST: (line 1 is not|an empty manifest)"):
        parse_manifest(text, "MANIFEST")


def test_how_hashes_differ():
    def made(*tensors):
        return CheckpointHash("", tuple(TensorHash(*each) for each in tensors))

    before = made(
        ("a", "int32", (), "1"), ("b", "int32", (), "2"), ("c", "int32", (), "3"), ("d", "int32", (), "4")
    )
    after = made(
        ("b", "int64", (), "x"), ("c", "int32", (1,), "y"), ("d", "int32", (), "z"), ("e", "int32", (), "5")
    )
    found = compare_hashes(before, after)
    assert found == [
        Deviation("a", "removed", "1", None),
        Deviation("b", "dtype", "2", "x"),
        Deviation("c", "shape", "3", "y"),
        Deviation("d", "value", "4", "z"),
        Deviation("e", "added", None, "5"),
    ]
    assert compare_hashes(before, after, partial=True) == found[1:]
