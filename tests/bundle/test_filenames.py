"""The names of a checkpoint's files, which need not exist."""

import pytest

from tensorbundle.filenames import (
    V1Name,
    bundle_prefix,
    index_path,
    is_member_name,
    is_v1_shard_name,
    parse_shard_name,
    parse_v1_name,
    part_prefixes,
    parts_prefix,
    shard_path,
)


def test_names_of_a_bundle():
    assert index_path("d/m") == "d/m.index"
    assert shard_path("d/m", 7, 12) == "d/m.data-00007-of-00012"
    assert shard_path("m", 123_456, 1_000_000) == "m.data-123456-of-1000000"


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("m.data-00007-of-00012", ("m", 7, 12)),
        ("m.data-123456-of-1000000", ("m", 123_456, 1_000_000)),
        ("a.data-00000-of-00001.data-00001-of-00002", ("a.data-00000-of-00001", 1, 2)),
        ("m.data-0007-of-00012", None),
        ("m.data-00007-of-0012", None),
        ("m-00007-of-00012", None),
        ("m.data-00007-of-00012.tmp", None),
    ],
)
def test_names_of_data_shards(name, parsed):
    assert parse_shard_name(name) == parsed


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("m.index", "m"),
        ("m.meta", "m"),
        ("m.data-00000-of-00001", "m"),
        ("m.index.index", "m.index"),
        (".index", ""),
        ("m", None),
        ("m.data-0-of-1", None),
        ("m.index2", None),
        ("checkpoint", None),
    ],
)
def test_names_of_members(name, prefix):
    assert bundle_prefix(name) == prefix
    assert is_member_name(name) == (prefix is not None)


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("m-00000-of-00002", V1Name("m", "00000", "00002")),
        ("m-?????-of-00002", V1Name("m", "?????", "00002")),
        ("m-00000-of-00002-00001-of-00003", V1Name("m-00000-of-00002", "00001", "00003")),
        ("m.data-00000-of-00002", None),
        ("m-0000-of-00002", None),
        ("m", None),
    ],
)
def test_names_of_v1_files(name, parsed):
    assert parse_v1_name(name) == parsed
    assert is_v1_shard_name(name) == (parsed is not None)


@pytest.mark.parametrize(
    ("prefix", "pattern"),
    [
        ("d_temp_1/part-00000-of-00002", "d_temp_1/part-?????-of-00002"),
        ("part-?????-of-00002", "part-?????-of-00002"),
        ("m.part-00001-of-00002", "m.part-?????-of-00002"),
        ("apart-00001-of-00002", None),
        ("m-00001-of-00002", None),
    ],
)
def test_parts_of_a_save(prefix, pattern):
    assert parts_prefix(prefix) == pattern
    assert part_prefixes(prefix) == (
        [pattern.replace("?????", each) for each in ("00000", "00001")] if "?" in prefix else []
    )
