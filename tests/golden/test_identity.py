"""Checkpoints rewritten with nothing changed are the same bytes: entry by entry, record by record, and as files.

With TENSORBUNDLE_CORPUS also those from public repositories, as far as all of their files are there.
"""

import math
import os

import pytest

import tensorbundle as tb
from support import golden
from support.bundles import table_bytes
from support.contents import assert_same_files
from support.depth import DEEP
from tensorbundle.entries import BundleHeader, parse_entry
from tensorbundle.filenames import index_path, shard_path
from tensorbundle.locating import resolve_prefix
from tensorbundle.members import v1_files
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY
from tensorbundle.state import CheckpointState
from tensorbundle.storage.local import LocalFile
from tensorbundle.table import TableReader
from tensorbundle.tools import TransferOptions, convert
from tensorbundle.tools.rewriting.draft import Draft
from tensorbundle.tools.rewriting.transfer import transfer
from tensorbundle.v1.saved_slices import decode_values, encode_meta, encode_slice, parse_meta, parse_slice

CASES = golden.load()
V2 = {str(case): str(case.path) for case in CASES if not case.is_v1} | {"sample": str(golden.SAMPLE)}
V1 = {str(case): str(case.path) for case in CASES if case.is_v1}
FOLDERS = {path.parent for path in golden.GOLDEN.rglob("checkpoint")}
INCOMPLETE = ("indexonly", "missing-shard", "lfs")  # in the names that the corpus gives them
WITH_CORPUS = not os.environ.keys().isdisjoint({"TENSORBUNDLE_CORPUS", "TENSORBUNDLE_REQUIRE_CORPUS"})
if WITH_CORPUS:
    from support.corpus import ROWS, THIRD_PARTY

    complete = {path: row for path, row in ROWS.items() if not any(word in path for word in INCOMPLETE)}
    V2 |= {path: f"{THIRD_PARTY}/{path}" for path, row in complete.items() if row["format"] == "V2"}
    V1 |= {path: f"{THIRD_PARTY}/{path}" for path, row in complete.items() if row["format"] == "V1"}
    FOLDERS |= {path.parent for path in THIRD_PARTY.rglob("checkpoint") if path.is_file()}

every_v2 = pytest.mark.parametrize("path", V2.values(), ids=V2)
every_v1 = pytest.mark.parametrize("path", V1.values(), ids=V1)


def items(path):
    """The keys and values of a table, whether it was compressed, and its bytes."""
    with LocalFile(path) as file:
        table = TableReader(file)
        return list(table.items()), bool(table.compressed), file.read(0, file.size)


def test_nothing_is_missing():
    assert len(V2) - 50 * WITH_CORPUS == (88 if DEEP else 50)
    assert len(V1) - 4 * WITH_CORPUS == (8 if DEEP else 4)


@every_v2
def test_entries(path):
    """Decoded and encoded again. Compressing, which is all that a table's bytes then lack, is left to others."""
    found, compressed, data = items(index_path(path))
    assert BundleHeader.parse(found[0][1]).encode() == found[0][1]
    for key, value in found[1:]:
        assert parse_entry(value).encode() == value, key
    assert compressed or table_bytes(found) == data


@every_v2
def test_object_graph(path):
    with tb.open(path) as ckpt:
        if OBJECT_GRAPH_KEY in ckpt:
            assert ckpt.object_graph.encode() == ckpt[OBJECT_GRAPH_KEY].item()


@every_v2
@pytest.mark.parametrize("data", ["copy", "share"])
def test_rewritten(path, data, tmp_path):
    again = str(tmp_path / "again")
    if "unreadable-slices" in path:
        with pytest.raises(tb.CorruptionError, match="slices are missing"), tb.open(path) as ckpt:
            Draft.of(ckpt).plan()
        return
    with tb.open(path) as ckpt:
        transfer(Draft.of(ckpt).plan(), again, TransferOptions(data=data))
        shards = range(ckpt.num_shards)
    found, compressed, _ = items(index_path(path))
    if not compressed:
        assert_same_files(again, path)
        return
    assert items(index_path(again))[0] == found
    for number in shards:
        mine, other = (shard_path(each, number, len(shards)) for each in (again, path))
        with open(mine, "rb") as one, open(other, "rb") as two:
            assert one.read() == two.read()


@every_v1
def test_records(path):
    """Of V1 files: decoded and encoded again, and the table written again."""
    for file in v1_files(resolve_prefix(path)):
        found, _, data = items(file)
        assert encode_meta(parse_meta(found[0][1])) == found[0][1]
        tensors = {each.name: each for each in parse_meta(found[0][1])}
        for key, record in found[1:]:
            name, part, message = parse_slice(record)
            tensor = tensors[name]
            shape = part.shape(tensor.shape)
            values = decode_values(message, tensor.dtype, math.prod(shape)).reshape(shape)
            assert part.key(name) == key
            assert encode_slice(name, part, tensor.dtype, values) == record, key
        assert table_bytes(found) == data


@every_v1
def test_v1_file(path, tmp_path):
    """From V1 to V2 and back, and straight to V1."""
    files = v1_files(resolve_prefix(path))
    convert(path, tmp_path / "v2", to="v2")
    convert(tmp_path / "v2", tmp_path / "back", to="v1")
    convert(path, tmp_path / "straight", to="v1")
    back = (tmp_path / "back").read_bytes()
    assert (tmp_path / "straight").read_bytes() == back
    if len(files) == 1:  # several become one
        with open(files[0], "rb") as file:
            assert file.read() == back


@pytest.mark.parametrize("folder", sorted(FOLDERS), ids=lambda folder: "/".join(folder.parts[-2:]))
def test_state_file(folder):
    assert CheckpointState.read(str(folder)).encode() == (folder / "checkpoint").read_bytes()
