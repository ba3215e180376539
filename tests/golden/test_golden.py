"""Files that TensorFlow wrote: read as TensorFlow reads them, or better, and written again byte for byte."""

import re

import ml_dtypes
import numpy as np
import pytest

import tensorbundle as tb
from support import golden
from support.contents import assert_same_files, content, our_reading, rebuild
from support.depth import DEEP
from tensorbundle.filenames import index_path, shard_path
from tensorbundle.members import v1_files
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, VARIABLE_VALUE, attribute_key
from tensorbundle.state import CheckpointState
from tensorbundle.tools import convert, verify
from tensorbundle.writer import BundleWriter

CASES = golden.load()
V2 = [case for case in CASES if not case.is_v1]
V1 = [case for case in CASES if case.is_v1]
UNREADABLE = [(case, key) for case in V2 for key, record in case.records.items() if "error" in record]
PATHS = {**{str(case): case.path for case in V2}, "sample": golden.SAMPLE}
TOO_NEW = [name for name in ("float4_e2m1fn", "int2", "uint2") if not hasattr(ml_dtypes, name)]

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_v1 = pytest.mark.parametrize("case", V1, ids=str)
every_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
every_graph = pytest.mark.parametrize("case", [case for case in V2 if case.object_based], ids=str)

HALF_OF_4 = (np.arange(4) / 4 - 1).astype("<f2")
HALF_OF_6_8 = (np.arange(48) / 4 - 1).astype("<f2").reshape(6, 8)
# What TensorFlow cannot read: the value that was saved, or our error.
BEYOND_TENSORFLOW = {
    ("iterator/ckpt-1", "iterator/.ATTRIBUTES/ITERATOR_STATE"): tb.UnsupportedError(
        "values of type variant can't be NumPy arrays"
    ),
    ("unreadable-slices/model.ckpt", "hole"): tb.CorruptionError(
        "its slices hold 6 of the 8 elements wanted"
    ),
    ("unreadable-slices/model.ckpt", "half"): HALF_OF_4,
    ("unreadable-slices/model.ckpt", "words"): np.array([b"one", b"two", b""], object),
    ("max-shard-size-lossy/ckpt-1", "half/.ATTRIBUTES/VARIABLE_VALUE"): HALF_OF_6_8,
    ("max-shard-size-lossy/ckpt-1", "words/.ATTRIBUTES/VARIABLE_VALUE"): np.array(
        [b"one", b"two" * 20, b"three" * 10, b""], object
    ),
}
LOST_KEY = "empty/.ATTRIBUTES/VARIABLE_VALUE"  # MaxShardSizePolicy drops empty tensors
PROBLEMS = {
    "unreadable-slices/model.ckpt": [
        ("error", "slices", "hole", "its slices hold 6 of the 8 elements wanted"),
    ],
    "max-shard-size-lossy/ckpt-1": [
        ("warning", "dangling-key", LOST_KEY, "object 'empty' names this key, which is not in the index"),
    ],
}


def test_nothing_is_missing():
    """As many as `make_golden.py` wrote: a parametrized test over an empty list would pass."""
    everything = golden.load_all()
    counts = {name: sum(case.folder == name for case in everything) for name in ("tf-2.15", "tf-2.21")}
    assert counts == {"tf-2.15": 51, "tf-2.21": 44}
    assert {case.prefix for case in CASES} == {case.prefix for case in everything}
    assert (len(V1), len(UNREADABLE)) == ((8, 10) if DEEP else (4, 6))


@every_case
def test_tensors(case):
    with tb.open(case.path) as ckpt:
        assert list(ckpt) == sorted(case.records, key=str.encode)
        for key, record in case.records.items():
            entry = ckpt.entry(key)
            assert (entry.dtype, list(entry.shape)) == (record["dtype"], record["shape"]), key
            if entry.dtype in TOO_NEW:
                with pytest.raises(tb.UnsupportedError, match=f"ml_dtypes .* has no {entry.dtype}: install"):
                    ckpt[key]
                assert golden.holds(record, bytes(ckpt.shards.payload(key.encode(), entry))), key
            elif "error" not in record:
                array = ckpt[key]
                assert (array.dtype, array.shape) == (entry.dtype.numpy, entry.shape), key
                assert golden.holds(record, content(array)), key


@pytest.mark.parametrize(("case", "key"), UNREADABLE, ids=str)
def test_what_tensorflow_can_not_read(case, key):
    expected = BEYOND_TENSORFLOW[case.prefix, key]
    with tb.open(case.path) as ckpt:
        if isinstance(expected, tb.BundleError):
            with pytest.raises(type(expected), match=re.escape(expected.reason)) as caught:
                ckpt[key]
            assert caught.value.key == key
        else:
            assert ckpt[key].dtype == expected.dtype
            np.testing.assert_array_equal(ckpt[key], expected)


@every_v1
def test_any_path_of_a_v1_checkpoint_will_do(case):
    """A directory, the file or any of several, and what they have in common, with TensorFlow's question marks or not."""
    files = v1_files(str(case.path))
    assert len(files) == 1 + ("v1-sharded" in case.prefix)
    common = case.path.with_name(case.path.name.partition("-?")[0])
    for path in (case.path, common, case.path.parent, *files):
        with tb.open(path) as ckpt:
            assert ckpt.prefix == str(case.path)
            assert list(ckpt) == sorted(case.records, key=str.encode)


@every_v1
def test_v1_files_of_the_same_tensors(case, tmp_path):
    """Written again, also by way of a bundle, a file is what TensorFlow wrote; of several there is one afterwards."""
    convert(case.path, tmp_path / "v1", to="v1")
    convert(case.path, tmp_path / "v2", to="v2")
    convert(tmp_path / "v2", tmp_path / "back", to="v1")
    assert our_reading(tmp_path / "v2") == our_reading(tmp_path / "v1") == our_reading(case.path)
    again = (tmp_path / "v1").read_bytes()
    assert again == (tmp_path / "back").read_bytes()
    if "v1-sharded" not in case.prefix:
        assert again == case.path.read_bytes()


@every_v1
def test_verify_v1(case):
    report = verify(case.path)
    assert report.problems == []
    with tb.open(case.path) as ckpt:
        assert report.tensors == sum(not entry.slices for _, entry in ckpt.index.raw_entries())
        handles = [handle for table in ckpt.index.tables for handle in table.handles]
    assert report.bytes == sum(handle.size for handle in handles)


@every_path
def test_any_file_of_it_will_do(path):
    with tb.open(path) as ckpt:
        names = [shard_path(str(path), number, ckpt.num_shards) for number in range(ckpt.num_shards)]
    for each in (index_path(str(path)), *names):
        with tb.open(each) as ckpt:
            assert ckpt.prefix == str(path)


STATE_FILES = sorted({path.parent for path in PATHS.values() if path.with_name("checkpoint").exists()})


@pytest.mark.parametrize("folder", STATE_FILES, ids=lambda folder: "/".join(folder.parts[-2:]))
def test_directory_means_its_latest(folder):
    def number(prefix):
        return int(re.search(r"\d*$", prefix)[0] or 0)

    there = sorted((path.name.removesuffix(".index") for path in folder.glob("*.index")), key=number)
    with tb.open(folder) as ckpt:
        assert ckpt.prefix == str(folder / there[-1])
    listed = CheckpointState.read(str(folder)).all_paths
    assert listed in (tuple(there), tuple(there[-1:]))  # `Checkpoint.save` lists none but its own


@pytest.mark.parametrize("case", [case for case in V2 if "saved-model" in case.prefix], ids=str)
def test_saved_model_directory(case):
    with tb.open(case.path.parents[1]) as ckpt:
        assert ckpt.prefix == str(case.path)


@every_graph
def test_graph_encodes_to_the_same_bytes(case):
    with tb.open(case.path) as ckpt:
        graph, encoded = ckpt.object_graph, ckpt[OBJECT_GRAPH_KEY].item()
    assert graph.encode() == encoded
    # TensorFlow's numbers and marks are those that we would give.
    graph.renumber()
    graph.mark_values()
    assert graph.encode() == encoded


@every_graph
def test_keys_of_variables_follow_from_their_paths(case):
    with tb.open(case.path) as ckpt:
        for path, _, each in ckpt.object_graph.attributes():
            assert each.checkpoint_key == attribute_key(path, each.name)
            if each.name == VARIABLE_VALUE:
                assert (each.checkpoint_key in ckpt) == (each.checkpoint_key != LOST_KEY)


@every_path
def test_index_of_the_same_entries(path, tmp_path):
    with tb.open(path) as ckpt, BundleWriter(str(tmp_path / "again")) as writer:
        for number in range(ckpt.num_shards):
            with open(ckpt.index.shard_path(number), "rb") as file:
                writer.add_shard()[1].write(file.read())
        for key, entry in reversed([*ckpt.index.raw_entries()]):  # the writer sorts
            writer.put(key, entry)
    assert_same_files(tmp_path / "again", path)


@pytest.mark.parametrize(
    "path",
    [path for name, path in PATHS.items() if "iterator" not in name],
    ids=lambda p: "/".join(p.parts[-3:]),
)
def test_files_of_the_same_tensors(path, tmp_path):
    """All but variants, which can't be added."""
    rebuild(path, tmp_path / "again")
    assert_same_files(tmp_path / "again", path)


@pytest.mark.parametrize(("name", "path"), PATHS.items(), ids=PATHS)
def test_verify(name, path):
    report = verify(path)
    found = [(each.severity, each.kind, each.key, each.message) for each in report.problems]
    assert found == PROBLEMS.get(name.partition(":")[2], [])
    with tb.open(path) as ckpt:
        stored = [entry for _, entry in ckpt.index.raw_entries() if not entry.slices]
    assert (report.tensors, report.bytes) == (len(stored), sum(entry.nbytes for entry in stored))


def test_sample():
    with tb.open(golden.SAMPLE.parent) as ckpt:
        assert ckpt.prefix == str(golden.SAMPLE)
        assert ckpt.object_graph is None
        assert ckpt["global_step"] == 300
        partitioned = {
            key: [str(part) for part in entry.slices] for key, entry in ckpt.entries() if entry.slices
        }
        embedding = "dnn/input_from_feature_columns/input_layer/profile_embedding/embedding_weights"
        names = [embedding, f"{embedding}/Adam", f"{embedding}/Adam_1"]
        assert partitioned == {key: ["0,32:0,8", "32,32:0,8"] for key in names}
        np.testing.assert_array_equal(ckpt.read(embedding, np.s_[30:34]), ckpt[embedding][30:34])
        assert len(ckpt) == 33
