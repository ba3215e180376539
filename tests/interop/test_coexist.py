"""TensorFlow and tensorbundle in one process: no clash of messages, and both decode the same from the same bytes."""

import os
import subprocess
import sys

import pytest

import tensorbundle as tb
from support import golden
from support.tensorflow import tensor_bundle_pb2, tf, trackable_object_graph_pb2
from tensorbundle.coding import mask
from tensorbundle.proto import checkpoint_pb2
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY
from tensorbundle.state import CheckpointState

CASES = [case for case in golden.load() if not case.is_v1]
GRAPHS = [case for case in CASES if case.object_based]
STATES = sorted(golden.GOLDEN.glob("*/*/checkpoint"))

DECODE_WITH_BOTH = """
import importlib, sys

path, *modules = sys.argv[1:]
for name in modules:
    importlib.import_module(name)

import tensorbundle as tb
import tensorflow as tf
from google.protobuf.internal import api_implementation
from tensorbundle.proto import checkpoint_pb2
from tensorflow.core.protobuf import trackable_object_graph_pb2

found = tf.train.load_checkpoint(path).get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
theirs = trackable_object_graph_pb2.TrackableObjectGraph.FromString(found)
ours = checkpoint_pb2.TrackableObjectGraph.FromString(found)
assert str(ours) == str(theirs), (ours, theirs)
assert ours.SerializeToString() == theirs.SerializeToString() == found
with tb.open(path) as ckpt:
    assert ckpt.object_graph.encode() == found
print(api_implementation.Type())
"""
OURS = "tensorbundle.proto.checkpoint_pb2"


@pytest.mark.parametrize("modules", [(OURS, "tensorflow"), ("tensorflow", OURS)], ids=" then ".join)
@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_either_may_be_imported_first(modules, implementation):
    path = golden.GOLDEN / "tf-2.15/keras-legacy-adam-slots/ckpt-1"
    done = subprocess.run(
        [sys.executable, "-c", DECODE_WITH_BOTH, path, *modules],
        env=os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{implementation}\n"), done.stderr[-2000:]


def test_tensorflow_is_not_imported():
    """By anything of ours, also where it is installed."""
    script = (
        "import sys, tensorbundle, tensorbundle.tools.cli.program as cli;"
        "tensorbundle.open(sys.argv[1]).object_graph; cli.main(['verify', sys.argv[1]]);"
        "sys.exit('tensorflow' in sys.modules)"
    )
    path = golden.GOLDEN / "tf-2.21/keras-adam/ckpt-1"
    subprocess.run([sys.executable, "-c", script, path], check=True, capture_output=True)


@pytest.mark.parametrize("case", GRAPHS, ids=str)
def test_same_object_graph(case):
    with tb.open(case.path) as ckpt:
        graph, encoded = ckpt.object_graph, ckpt[OBJECT_GRAPH_KEY].item()
    theirs = trackable_object_graph_pb2.TrackableObjectGraph.FromString(encoded)
    assert str(checkpoint_pb2.TrackableObjectGraph.FromString(encoded)) == str(theirs)
    assert len(graph) == len(theirs.nodes)
    for ours, node in zip(graph.nodes, theirs.nodes, strict=True):
        assert [(child.node_id, child.local_name) for child in node.children] == [
            (child.id, name) for name, child in ours.children.items()
        ]
        assert [(each.name, each.full_name, each.checkpoint_key) for each in node.attributes] == [
            (each.name, each.full_name, each.checkpoint_key) for each in ours.attributes
        ]
        assert [
            (each.slot_name, each.original_variable_node_id, each.slot_variable_node_id)
            for each in node.slot_variables
        ] == [(each.name, each.variable.id, each.slot.id) for each in ours.slots]
        assert node.has_checkpoint_values.value == ours.has_checkpoint_values


@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_index(case):
    """Our decoder of entries is written by hand; theirs is protobuf's."""
    with tb.open(case.path) as ckpt:
        header, *items = ckpt.index.table.items()
        entries = list(ckpt.index.raw_entries())
    assert tensor_bundle_pb2.BundleHeaderProto.FromString(header[1]).num_shards == ckpt.num_shards
    assert len(items) == len(entries)
    for (key, value), (our_key, ours) in zip(items, entries, strict=True):
        theirs = tensor_bundle_pb2.BundleEntryProto.FromString(value)
        assert key == our_key
        assert ours.encode() == value
        assert ours.dtype.number == theirs.dtype
        assert ours.shape == tuple(dim.size for dim in theirs.shape.dim)
        slices = [
            tuple((each.start, each.length if each.HasField("length") else -1) for each in part.extent)
            for part in theirs.slices
        ]
        assert [part.extents for part in ours.slices] == slices
        if not slices:
            place = (theirs.shard_id, theirs.offset, theirs.size, theirs.crc32c)
            assert (ours.shard, ours.offset, ours.nbytes, mask(ours.crc32c)) == place


@pytest.mark.parametrize("path", STATES, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_same_state_file(path):
    theirs = tf.train.get_checkpoint_state(str(path.parent))
    ours = CheckpointState.read(str(path.parent))
    assert ours.latest == theirs.model_checkpoint_path
    assert [os.path.join(path.parent, each) for each in ours.all_paths] == theirs.all_model_checkpoint_paths
    assert ours.timestamps == tuple(theirs.all_model_checkpoint_timestamps)
    assert (ours.last_preserved or 0) == theirs.last_preserved_timestamp
    assert ours.encode() == path.read_bytes()
