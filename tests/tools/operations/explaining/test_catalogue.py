"""The catalogue of causes and messages: complete, and found in the texts that people report."""

import re
from string import Formatter

import pytest

from support.source import ROOT
from tensorbundle.coding import crc32c_of_zeros
from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.tools import explain
from tensorbundle.tools.operations.explaining.catalogue import CAUSES, cause_line
from tensorbundle.tools.operations.explaining.messages import MESSAGES

# Texts as TensorFlow 2.21, Keras 3 and tf_keras print them, and reports that people made public; the kinds of message, and
# the first cause.
TEXTS = [
    (
        (
            "tensorflow.python.framework.errors_impl.DataLossError: Unable to open table file ./model.ckpt.meta: Data loss: not "
            "an sstable (bad magic number): perhaps your file is in a different file format and you need to use a different "
            "restore operator?"
        ),
        ["unable-to-open", "bad-magic"],
        "wrong-path",
    ),
    ("file is too short to be an sstable", ["too-short"], "truncated"),
    (
        (
            "Unable to read file (m.index). Perhaps the file is corrupt or was produced by a newer version of TensorFlow with "
            "format changes (failed to seek to header entry): block checksum mismatch"
        ),
        ["version", "block-checksum"],
        "newer-version",
    ),
    ("Data loss: truncated block read", ["block-checksum"], "truncated"),
    (
        "AssertionError: No checkpoint specified (save_path=None); nothing is",
        ["state-file"],
        "moved-directory",
    ),
    ("Unable to load checkpoint saved in future version of TensorFlow.", ["version"], "newer-version"),
    ("Tensor bert/x is not found in ./ckpt checkpoint {'a': [1]}", ["key-not-found"], "other-structure"),
    ("Attempting to use uninitialized value dense/kernel", ["uninitialized"], "other-structure"),
    (
        "Error while reading resource variable w from Container: localhost. This could mean that the variable was uninitialized.",
        ["uninitialized"],
        "other-structure",
    ),
    (
        "shape in shape_and_slice spec [2,3] does not match the shape stored in checkpoint: [3,2]",
        ["assign-shape"],
        "other-shape",
    ),
    (
        (
            "Restoring from checkpoint failed. This is most likely due to a mismatch between the current graph and the graph from "
            "the checkpoint."
        ),
        ["assign-shape"],
        "other-shape",
    ),
    (
        "The shape of the target variable and the shape of the target value in `variable.assign(value)` must match.",
        ["assign-shape"],
        "other-shape",
    ),
    ("Shape mismatch in model for top-level weight x.", ["assign-shape"], "other-shape"),
    (
        "Optimizer variable m has shape (3,) not compatible with provided weight shape (4,).",
        ["assign-shape"],
        "other-shape",
    ),
    (
        "SavedModel file does not exist at: foo/{saved_model.pbtxt|saved_model.pb}",
        ["no-saved-model"],
        "wrong-path",
    ),
    ("Merging bundles with conflicting endianness; inputs corrupted?", ["merge"], "partial-save"),
    ("Duplicate tensor keyed by a encountered, when merging prefix: m", ["merge"], "partial-save"),
    (
        "Failed to find the saved tensor slices at the beginning of the checkpoint file: m.index",
        ["v1-list"],
        "wrong-path",
    ),
    (
        "Trackable X expects checkpointed values but checkpoint does not contain serialized tensors for node_id: 4.",
        ["other-attributes"],
        "other-structure",
    ),
    (
        "Size for saveable_objects for Trackable: 2 did not match the size for serialized_tensors for checkpoint: 1.",
        ["other-attributes"],
        "other-structure",
    ),
    (
        "KeyError: \"Unable to synchronously open object (object 'vars' doesn't exist)\"",
        ["keras-layer-count"],
        "other-structure",
    ),
    ("The `save_format` argument is deprecated in Keras 3.", ["keras-3-format"], "keras-3"),
    ("Invalid filepath extension for saving. Please add either a", ["keras-3-format"], "keras-3"),
    (
        "You are calling `set_weights()` on an optimizer that has not yet been built.",
        ["keras-optimizer"],
        "other-optimizer",
    ),
    ("No model config found in the file at m.h5.", ["weights-only"], "weights-only"),
    (
        "Checkpoint does not contain model configuration. This checkpoint may have been saved",
        ["weights-only"],
        "weights-only",
    ),
    ("zipfile.BadZipFile: File is not a zip file", ["keras-archive"], "wrong-path"),
    (
        "Unable to synchronously open file (truncated file: eof = 2048, sblock->base_addr = 0, stored_eof = 4096)",
        ["keras-archive"],
        "wrong-path",
    ),
    (
        (
            "TensorBundle at m shard 0 (24 bytes): Checksum does not match: stored 2020883037 vs. calculated on the restored "
            "bytes 2464715202"
        ),
        ["tensor-checksum"],
        "zero-filled",
    ),
    (
        "crc32c of 8 bytes: stored 0123abcd, computed 00000001; 'tensorbundle verify' looks for the cause",
        ["tensor-checksum"],
        "zero-filled",
    ),
    ("The length checksum does not match: expected 1 but actual is 2", ["length-checksum"], "zero-filled"),
    ("OutOfRangeError: Read less bytes than requested [Op:RestoreV2]", ["read-less"], "truncated"),
    ("NotFoundError: run/m.data-00000-of-00002; No such file or directory", ["missing-shard"], "not-copied"),
    (
        "Invalid size in bundle entry: key a; stored size 20; expected size 24",
        ["invalid-size"],
        "impossible-entry",
    ),
    (
        "Checkpoint min consumer version 2 above current version 1 for TensorFlow 2.21.0.  Please upgrade TensorFlow.",
        ["version"],
        "newer-version",
    ),
    ("Dtype half not supported.", ["slices"], "unreadable-slices"),
    (
        "Couldn't find 'checkpoint' file or checkpoints in given directory run",
        ["state-file"],
        "moved-directory",
    ),
    ("ValueError: The passed save_path is not a valid checkpoint: run/m", ["not-a-checkpoint"], "wrong-path"),
    ("Key dense/kernel not found in checkpoint", ["key-not-found"], "other-structure"),
    (
        "tensor_name = a; expected dtype float does not equal original dtype int32",
        ["dtype"],
        "other-dtype",
    ),
    (
        "Received incompatible tensor with shape (3, 4) when attempting to restore variable with shape (3, 5) and name w.",
        ["assign-shape"],
        "other-shape",
    ),
    (
        (
            "AssertionError: Unresolved object in checkpoint (root).model.layer-0.kernel: attributes { name: "
            '"VARIABLE_VALUE" }'
        ),
        ["unresolved-object"],
        "optimizer-left",
    ),
    (
        (
            "WARNING:tensorflow:Detecting that an object or model or tf.train.Checkpoint is being deleted with unrestored "
            "values. See the following logs\nWARNING:tensorflow:Value in checkpoint could not be found in the restored object: "
            "(root).optimizer.iter"
        ),
        ["unresolved-object"],
        "optimizer-left",
    ),
    (
        (
            "Nothing except the root object matched a checkpointed value. Typically this means that the checkpoint does not "
            "match the Python program."
        ),
        ["not-all-restored"],
        "other-structure",
    ),
    (
        (
            'The specified checkpoint "m" does not appear to be object-based (saved with TF2) since it is missing the key '
            '"_CHECKPOINTABLE_OBJECT_GRAPH".'
        ),
        ["name-based-status"],
        "name-based",
    ),
    (
        "Layer 'dense' expected 2 variables, but received 0 variables during loading. Expected: ['kernel', 'bias']",
        ["keras-layer-variables"],
        "not-built",
    ),
    (
        "Layer 'dense' was never built and thus it doesn't have any variables. However the weights file lists 2 variables",
        ["keras-layer-variables"],
        "not-built",
    ),
    (
        "Layer count mismatch when loading weights from file. Model expected 3",
        ["keras-layer-count"],
        "other-structure",
    ),
    (
        "A total of 4 objects could not be loaded. Example error message for object <Dense name=dense>:",
        ["keras-layer-count"],
        "other-structure",
    ),
    (
        "File format not supported: filepath=ckpt. Keras 3 only supports V3 `.keras` files and legacy H5 format files",
        ["keras-3-format"],
        "keras-3",
    ),
    (
        "You are trying to restore a checkpoint from a legacy TF-Keras optimizer into a v2.11+ Optimizer",
        ["keras-optimizer"],
        "other-optimizer",
    ),
    (
        (
            "Skipping variable loading for optimizer 'adam', because it has 2 variables whereas the saved optimizer has 10 "
            "variables."
        ),
        ["keras-optimizer"],
        "other-optimizer",
    ),
    ("OSError: Unable to synchronously open file (file signature not found)", ["hdf5"], "keras-3"),
    ("ResourceExhaustedError: run/m_temp/part: No space left on device", ["no-space"], "no-space"),
    ("NotFoundError: run/m-1.index; No such file or directory", ["missing-index"], "wrong-path"),
    (
        (
            "NotFoundError: Error when restoring from checkpoint or SavedModel at m: Unsuccessful TensorSliceReader constructor: "
            "Failed to find any matching files for m Please double-check that the path is correct. You may be missing the "
            "checkpoint suffix (e.g. the '-1' in 'path/to/ckpt-1')."
        ),
        ["missing-index", "unable-to-open"],
        "wrong-path",
    ),
    (
        "PermissionDeniedError: run/m.data-00000-of-00001.tempstate12345; Permission denied",
        ["no-permission"],
        None,
    ),
    (
        "OSError: Cannot parse file b'sm/saved_model.pb': Error parsing message.",
        ["saved-model-graph"],
        "foreign-content",
    ),
    (
        (
            "ValueError: Assignment map with scope only name dense should map to scope only tmp/x. Should be 'scope/': "
            "'other_scope/'."
        ),
        ["assignment-map"],
        None,
    ),
    (
        (
            "Skipping loading weights for layer #1 (named dense) due to mismatch in shape for weight dense/kernel. Weight expects "
            "shape (3, 4). Received saved weight with shape (5, 4)"
        ),
        ["assign-shape"],
        "other-shape",
    ),
    (
        (
            "WARNING:tensorflow:A checkpoint was restored (e.g. tf.train.Checkpoint.restore or tf.keras.Model.load_weights) but "
            "not all checkpointed values were used."
        ),
        ["unresolved-object"],
        "optimizer-left",
    ),
    (
        (
            "AssertionError: Some Python objects were not bound to checkpointed values, likely due to changes in the Python "
            "program: [<tf.Variable 'dense/bias:0'>]"
        ),
        ["not-all-restored"],
        "other-structure",
    ),
    (
        "AssertionError: Object not assigned a value from checkpoint: <tf.Variable 'v:0'>",
        ["not-all-restored"],
        "other-structure",
    ),
    (
        "Restoring an object-based checkpoint using a name-based saver. This may be somewhat fragile",
        ["object-based-by-name"],
        "object-based",
    ),
    (
        "You are loading weights into a model that has not yet been built.",
        ["keras-not-built"],
        "not-built",
    ),
    (
        "Skipping nested container at 'layers/a': no matching group found in the saved file.",
        ["keras-nested"],
        "left-out-layers",
    ),
    (
        "ValueError: Unknown layer: 'Mine'. Please ensure you are using a `keras.utils.custom_object_scope`",
        ["keras-class"],
        None,
    ),
    (
        "Error in loading the saved optimizer state. As a result, your model is starting with a freshly initialized optimizer.",
        ["keras-optimizer"],
        "other-optimizer",
    ),
]


@pytest.mark.parametrize(("text", "kinds", "cause"), TEXTS, ids=[kinds[0] for _, kinds, _ in TEXTS])
def test_messages_are_found_and_explained(text, kinds, cause):
    found = explain(text)
    assert [each.kind for each in found] == kinds
    assert next((each.kind for each in found[0].causes), None) == cause
    assert all(each.meaning and each.source and (each.causes or each.advice) for each in found)
    assert all(advice for each in found for likely in each.causes for advice in likely.advice)


def test_line_breaks_do_not_matter():
    text = "Unable to open\n   table file m: not an\n   sstable (bad\n magic number)"
    assert [each.kind for each in explain(text)] == ["unable-to-open", "bad-magic"]


def test_what_is_not_known():
    assert explain("") == explain("all is well") == explain("x" * 10**6) == []


def test_every_message_has_an_example():
    assert {kind for _, kinds, _ in TEXTS for kind in kinds} | {
        "is-a-directory",
        "inconsistent-references",
    } == {each.kind for each in MESSAGES}


def test_causes_are_there_and_have_general_lines():
    assert len(CAUSES) == len({each.line for each in CAUSES.values()})
    for message in MESSAGES:
        assert message.causes or message.advice
        for kind in message.causes:
            assert not re.search(r"[{}\[\]]{2}|\{", CAUSES[kind].general), kind
    assert cause_line("truncated") == "the file was cut short"
    assert cause_line("truncated", size=1, needed=3, missing=2).endswith(
        "1 of at least 3 bytes, 2 are missing"
    )


def test_every_cause_is_looked_for():
    """By verify or check, or named by a message: kinds are words of their code."""
    catalogue = {"file_causes.py", "restore_causes.py"}
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "tools").rglob("*.py")
        if path.name not in catalogue
    )
    assert [kind for kind in CAUSES if f'"{kind}"' not in code] == []


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES.keys())
def test_lines_take_what_was_found(cause):
    names = {name for _, name, _, _ in Formatter().parse(re.sub(r"\[\[|\]\]", "", cause.line)) if name}
    if names:
        assert cause_line(cause.kind, **dict.fromkeys(names, 7))


# The calculated checksums of two reports: EricZgw/PyramidBox#22 and Yang7879/AttSets#1.
@pytest.mark.parametrize(("computed", "zeros"), [(4004437628, "1,024"), (1925235876, "65,536")])
def test_the_checksum_of_zeros_is_recognised(computed, zeros):
    text = f"Checksum does not match: stored 1 vs. calculated on the restored bytes {computed}"
    [found] = explain(text)
    assert found.details[-1] == f"the bytes that were read are {zeros} zeros"
    assert (found.causes[0].kind, found.causes[0].certain) == ("zero-filled", True)
    assert [each.kind for each in found.causes].count("zero-filled") == 1


def test_checksums_are_looked_up_in_the_checkpoint():
    entries = [
        ("a", TensorEntry(DType.float32, (25000,), 100_000, crc32c=5)),
        ("b", TensorEntry(DType.float32, (25000,), 100_000, crc32c=6)),
    ]
    text = "Checksum does not match: stored 5 vs. calculated on the restored bytes {}"
    [found] = explain(text.format(6), entries)
    assert found.details == (
        "stored 00000005, of the bytes that were read 00000006",
        "the stored one is that of 'a'",
    )
    assert found.causes[0].line == "these are the bytes of 'b': index and data are from different saves"
    [found] = explain(text.format(crc32c_of_zeros(100_000)), entries)
    assert found.details[-1] == "the bytes that were read are 100,000 zeros"
