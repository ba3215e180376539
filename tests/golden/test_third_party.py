"""Checkpoints of other people, from TensorFlow 0.12 to 2.19: what the manifest says of them, and what is broken."""

import re
from collections import Counter
from pathlib import Path

import pytest

import tensorbundle as tb
from support.contents import our_reading
from support.corpus import ROWS, THIRD_PARTY
from tensorbundle.members import v1_files
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY
from tensorbundle.tools import TransferOptions, convert, verify

LFS = "a Git-LFS pointer: fetch the real file with 'git lfs pull'"
# Broken: which data shard can't be read, why not, and how many tensors that takes away.
MISSING = {
    "ByeongjunCho__tf2-TIL/training_1-missing-shard1/cp.ckpt": (1, 17),
    "Escavine__asl-sign-detector/my_ssd_mobnet-indexonly/ckpt-10": (0, 622),
    "Escavine__asl-sign-detector/my_ssd_mobnet-indexonly/ckpt-11": (0, 622),
    "Escavine__asl-sign-detector/pretrained-ckpt0-indexonly-snappy/ckpt-0": (0, 386),
    "google-research__bert/bert_base-indexonly/bert_model.ckpt": (0, 206),
    "google-research__text-to-text-transfer-transformer/t5-mtf-tpu-bf16-missing-shard1/model.ckpt-0": (
        1,
        104,
    ),
    "jessiemjones__TF-2.0-saving-and-restoring/training_1-indexonly/cp.ckpt": (0, 25),
    "tensorflow__swift-models/minigo-indexonly-snappy/minigo": (0, 333),
    "tensorflow__swift-models/style-indexonly/style": (0, 92),
}
POINTER_AS_DATA = "jordyn-knock__Sustainabite/recipe_model-keras3-sm-2025-lfsdata/variables/variables"
BROKEN = {
    **{
        path: (tb.MissingFileError, f"no such file: data shard {shard} is missing", shard, count)
        for path, (shard, count) in MISSING.items()
    },
    POINTER_AS_DATA: (tb.CorruptionError, LFS, 0, 21),
}
POINTER_AS_INDEX = [path for path, row in ROWS.items() if row["notes"].startswith("MALFORMED: ")]
V1 = [path for path, row in ROWS.items() if row["format"] == "V1"]
READABLE = [path for path in ROWS if path not in {*BROKEN, *POINTER_AS_INDEX}]


def where(path):
    """As text: one prefix ends in a slash, having no name of its own."""
    return f"{THIRD_PARTY}/{path}"


def test_nothing_is_missing():
    assert len(ROWS) == 66
    assert (len(BROKEN), len(POINTER_AS_INDEX), len(V1), len(READABLE)) == (10, 2, 4, 54)
    assert ROWS.keys() >= BROKEN.keys()


@pytest.mark.parametrize("path", [*READABLE, *BROKEN])
def test_listing(path):
    row = ROWS[path]
    with tb.open(where(path)) as ckpt:
        dtypes = Counter(entry.dtype.value for _, entry in ckpt.entries())
        assert ",".join(f"{name}:{dtypes[name]}" for name in sorted(dtypes)) == row["dtypes"]
        assert len(ckpt) == int(row["n_tensors"])
        assert ckpt.num_shards == int(row["n_shards"])
        assert (OBJECT_GRAPH_KEY in ckpt) == (row["has_object_graph"] == "yes")
        tables = ckpt.index.tables if path in V1 else [ckpt.index.table]
        assert sum(len(table.handles) for table in tables) == int(row["index_data_blocks"])
        compressed = sum(table.compressed for table in tables)
        assert bool(compressed) == (row["index_compression"] == "snappy")


@pytest.mark.parametrize("path", READABLE)
def test_reading(path):
    with tb.open(where(path)) as ckpt:
        variants = {key for key, entry in ckpt.entries() if entry.dtype == "variant"}
        for key in ckpt.keys() - variants:
            assert ckpt[key].shape == ckpt.entry(key).shape
        for key in variants:
            with pytest.raises(tb.UnsupportedError, match="values of type variant can't be NumPy arrays"):
                ckpt[key]
    assert len(variants) == ROWS[path]["dtypes"].count("variant")
    assert verify(where(path)).problems == []


@pytest.mark.parametrize("path", [path for path in READABLE if ROWS[path]["has_object_graph"] == "yes"])
def test_graph_encodes_to_the_same_bytes(path):
    """Also that of tensorflow/tfx, whose writer put fields in another order than TensorFlow's C++ code does."""
    with tb.open(where(path)) as ckpt:
        assert ckpt.object_graph.encode() == ckpt[OBJECT_GRAPH_KEY].item()


@pytest.mark.parametrize("path", BROKEN)
def test_what_can_not_be_read(path):
    error, reason, shard, count = BROKEN[path]
    with tb.open(where(path)) as ckpt:
        lost = f"{where(path)}.data-{shard:05d}-of-{ckpt.num_shards:05d}"
        unreadable = 0
        for key in ckpt:
            if ckpt.entry(key).shard != shard:
                assert ckpt[key].shape == ckpt.entry(key).shape
                continue
            with pytest.raises(error) as caught:
                ckpt[key]
            assert str(caught.value) == f"{lost}: key {key!r}: {reason}"
            unreadable += 1
    assert unreadable == count


@pytest.mark.parametrize("path", MISSING)
def test_verify_names_the_missing_shard(path):
    [problem] = verify(where(path)).problems
    shard, count = MISSING[path]
    assert (problem.severity, problem.kind, problem.key) == ("error", "missing-shard", None)
    assert f".data-{shard:05d}-of-" in problem.path
    assert problem.message.startswith(f"no such file; {count} tensors are stored in it, ")
    assert problem.cause == "it was not copied along, or was deleted"


def test_verify_sees_a_pointer_in_place_of_data():
    problems = verify(where(POINTER_AS_DATA)).problems
    assert {(each.kind, each.cause) for each in problems} == {("truncated", LFS)}
    assert len(problems) == 21


@pytest.mark.parametrize("path", POINTER_AS_INDEX)
def test_pointer_in_place_of_an_index(path):
    with pytest.raises(tb.CorruptionError, match=re.escape(LFS)) as caught:
        tb.open(where(path))
    assert caught.value.path == f"{where(path)}.index"


@pytest.mark.parametrize("path", V1)
def test_v1_files_of_the_same_tensors(path, tmp_path):
    """From TensorFlow 0.11 and 0.12, and the file is the same byte for byte; so it is by way of a bundle."""
    [file] = v1_files(where(path))
    convert(where(path), tmp_path / "again", to="v1")
    convert(where(path), tmp_path / "v2", to="v2")
    convert(tmp_path / "v2", tmp_path / "back", to="v1")
    for name in ("again", "back"):
        assert (tmp_path / name).read_bytes() == Path(file).read_bytes()


@pytest.mark.parametrize("path", [path for path in READABLE if ROWS[path]["has_object_graph"] == "no"])
def test_to_tf2_and_back(path, tmp_path):
    """The way back gives the same file, but for gaps and index compression, which are not made again."""
    copy = TransferOptions(data="copy")
    convert(where(path), tmp_path / "tf2", to="tf2", options=copy)
    convert(tmp_path / "tf2", tmp_path / "tf1", to="tf1", options=copy)
    assert our_reading(tmp_path / "tf1") == our_reading(where(path))
