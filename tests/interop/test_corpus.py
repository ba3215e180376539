"""Checkpoints of other people, and those of `corpus/golden`: TensorFlow and we list and read the same.

Where TensorFlow reads less, we say why. What we convert of them, TensorFlow restores.
"""

import json
import re

import pytest

import tensorbundle as tb
from support.contents import our_reading
from support.corpus import ROWS, THIRD_PARTY
from support.differences import EMPTY, VALUE, our_listing, our_outcome, their_listing, their_outcome
from support.object_graphs import tf1_names
from support.tensorflow import described, other_values, restore_by_name, restore_raw, tf
from support.tensorflow_process import TensorFlowProcess
from tensorbundle.keys import encode_key
from tensorbundle.locating import resolve_prefix
from tensorbundle.tools import convert, verify

GOLDEN = {
    f"{path.parent.name}/{prefix}": path.parent / prefix
    for path in sorted(THIRD_PARTY.parent.glob("golden/tf-*/expected.json"))
    for prefix in json.loads(path.read_text(encoding="utf-8"))
}
LFS = "Git-LFS pointer"
NO_FILE = "No such file or directory"
# How many tensors can't be read: what we say, and what TensorFlow does.
UNREADABLE = {
    "ByeongjunCho__tf2-TIL/training_1-missing-shard1/cp.ckpt": (17, "data shard 1 is missing", NO_FILE),
    "Escavine__asl-sign-detector/my_ssd_mobnet-indexonly/ckpt-10": (622, "data shard 0 is missing", NO_FILE),
    "Escavine__asl-sign-detector/my_ssd_mobnet-indexonly/ckpt-11": (622, "data shard 0 is missing", NO_FILE),
    "Escavine__asl-sign-detector/pretrained-ckpt0-indexonly-snappy/ckpt-0": (
        386,
        "data shard 0 is missing",
        NO_FILE,
    ),
    "google-research__bert/bert_base-indexonly/bert_model.ckpt": (206, "data shard 0 is missing", NO_FILE),
    "google-research__text-to-text-transfer-transformer/t5-mtf-tpu-bf16-missing-shard1/model.ckpt-0": (
        104,
        "data shard 1 is missing",
        NO_FILE,
    ),
    "jessiemjones__TF-2.0-saving-and-restoring/training_1-indexonly/cp.ckpt": (
        25,
        "data shard 0 is missing",
        NO_FILE,
    ),
    "tensorflow__swift-models/minigo-indexonly-snappy/minigo": (333, "data shard 0 is missing", NO_FILE),
    "tensorflow__swift-models/style-indexonly/style": (92, "data shard 0 is missing", NO_FILE),
    # One of its tensors has no elements, for which TensorFlow needs no bytes.
    "jordyn-knock__Sustainabite/recipe_model-keras3-sm-2025-lfsdata/variables/variables": (
        21,
        LFS,
        f"Read less bytes than requested|{EMPTY}",
    ),
}
# The state of iterators: TensorFlow restores it, and its reader has no array of it, as we have none.
VARIANTS = {
    "ganatma__PINNs_Adaptive_thermal/tf_ckpts-2022-06/ckpt-3323": 1,
    "ganatma__PINNs_Adaptive_thermal/tf_ckpts-2022-06/ckpt-3332": 1,
    "ganatma__PINNs_Adaptive_thermal/tf_ckpts-2022-05-03/ckpt-297": 1,
    "tf-2.15/iterator/ckpt-1": 1,
    "tf-2.21/iterator/ckpt-1": 1,
}
NO_INDEX = [path for path, row in ROWS.items() if row["notes"].startswith("MALFORMED: ")]
COMPLETE = [path for path in ROWS if path not in {*UNREADABLE, *NO_INDEX}]


@pytest.fixture(scope="module")
def process():
    with TensorFlowProcess() as found:
        yield found


def where(path):
    """The prefix by which TensorFlow, too, knows a checkpoint: of several V1 files their pattern."""
    return resolve_prefix(f"{THIRD_PARTY}/{path}")


def test_nothing_is_missing():
    assert (len(ROWS), len(UNREADABLE), len(NO_INDEX), len(COMPLETE)) == (66, 10, 2, 54)
    assert sum(row["format"] == "V1" for row in ROWS.values()) == 4
    assert len(GOLDEN) == 59
    assert sum(not path.with_name(f"{path.name}.index").exists() for path in GOLDEN.values()) == 4


def check(name, prefix, process):
    """Both list the same, and read the same to the byte, or refuse a tensor for the reason that is known."""
    (mine, listed), (_, their_list) = our_listing(prefix), their_listing(process, prefix)
    assert mine == VALUE.strip("^$")
    assert listed == their_list
    refused = []
    for key, (dtype, _) in listed.items():
        (what, found), (other, expected) = (
            our_outcome(prefix, encode_key(key)),
            their_outcome(process, prefix, encode_key(key), dtype),
        )
        if found is None:
            refused.append((what, other))
        else:
            assert found == expected, key
    count, reason, their_reason = UNREADABLE.get(name, (0, "", ""))
    if name in VARIANTS:
        count, reason, their_reason = VARIANTS[name], "variant can't be NumPy arrays", VALUE
    assert len(refused) == count
    for what, other in refused:
        assert re.search(reason, what)
        assert re.search(their_reason, other)


@pytest.mark.parametrize("path", [path for path in ROWS if path not in NO_INDEX])
def test_same_reading(path, process):
    check(path, where(path), process)


@pytest.mark.parametrize("name", GOLDEN)
def test_same_reading_of_golden(name, process):
    check(name, str(GOLDEN[name]), process)
    assert verify(GOLDEN[name]).problems == []


@pytest.mark.parametrize("path", NO_INDEX)
def test_no_index(path, process):
    prefix = f"{THIRD_PARTY}/{path}"
    assert re.search(LFS, our_listing(prefix)[0])
    assert "not an sstable" in their_listing(process, prefix)[0]


FOLDERS = sorted({path.parent for path in THIRD_PARTY.parent.rglob("checkpoint") if path.is_file()})
# Where TensorFlow finds nothing: the checkpoint that was meant, as the directory was moved, or what we say.
NO_LATEST = {
    "Mellorison__Deep-Learning-Tensorflow-Model-Rock-and-Mine-Classification-Gradient-Descent-Optimizer/"
    "empty-prefix-2018": "",
    "tensorflow__serving/bad_half_plus_two-v1-2017": "export",
    "ByeongjunCho__tf2-TIL/training_2-cp0000": re.compile(
        "'cp-0050.ckpt' .* not there; found 'cp-0000.ckpt'"
    ),
    "ganatma__PINNs_Adaptive_thermal/tf_ckpts-2022-05-03": re.compile(
        "'ckpt-306' .* not there; found 'ckpt-297'"
    ),
}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: "/".join(folder.parts[-2:]))
def test_latest_of_a_directory(folder):
    latest = tf.train.latest_checkpoint(str(folder))
    name = "/".join(folder.parts[-2:])
    if latest is not None:
        assert name not in NO_LATEST
        assert resolve_prefix(str(folder)) == latest
    elif isinstance(NO_LATEST[name], str):
        assert resolve_prefix(str(folder)) == f"{folder}/{NO_LATEST[name]}"
    else:
        with pytest.raises(tb.MissingFileError, match=NO_LATEST[name]):
            tb.open(folder)


def their_values(path):
    """Every tensor as TensorFlow restores it, but for variants."""
    listed = our_listing(where(path))[1]
    return {
        key: restore_raw(where(path), key, dtype) for key, (dtype, _) in listed.items() if dtype != "variant"
    }


@pytest.mark.parametrize("path", [path for path in COMPLETE if ROWS[path]["flavour"] == "name-based"])
def test_to_tf2(path, tmp_path):
    values = their_values(path)
    variables = {name: other_values(value) for name, value in values.items()}
    convert(where(path), tmp_path / "tf2", to="tf2")
    tf.train.Checkpoint(vars=variables).restore(str(tmp_path / "tf2")).assert_consumed()
    assert {name: described(variable) for name, variable in variables.items()} == values


@pytest.mark.parametrize("path", [path for path in COMPLETE if ROWS[path]["flavour"] == "object-based"])
def test_to_tf1(path, tmp_path):
    """By object paths: the names of variables are not always distinct."""
    source = their_values(path)
    expected = {name: source[key] for name, key in tf1_names(source, "keys") if key in source}
    convert(where(path), tmp_path / "tf1", to="tf1", names="keys")
    assert our_reading(tmp_path / "tf1") == expected
    if expected:
        restore_by_name(tmp_path / "tf1", expected)
