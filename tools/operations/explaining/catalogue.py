"""A catalogue, as data, of causes of faults and of the messages of TensorFlow and Keras that they lead to.

`verify` looks for the causes in files, `explain` finds them by a message's text. A cause's line is what both print.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["CAUSES", "MESSAGES", "Cause", "Message", "cause_line"]


_OPTIONAL: Final = re.compile(r"\[\[(.*?)\]\]")


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause of a fault.

    Attributes:
        kind: its name.
        line: a description in one line; names in braces are replaced by facts that were found.
        advice: what to do, a line each.
        short: the line if no file was read, where it must be another one.
    """

    kind: str
    line: str
    advice: tuple[str, ...] = ()
    short: str = ""

    @property
    def general(self) -> str:
        """The line without facts from a particular file."""
        return self.short or _OPTIONAL.sub("", self.line)


@dataclass(frozen=True, slots=True)
class Message:
    """A message of TensorFlow or Keras.

    Attributes:
        kind: its name.
        pattern: finds it in a text; named groups are its details of the case.
        source: the file and the function that it is from.
        meaning: its meaning, in a sentence or two.
        causes: the kinds of the causes, the most frequent first.
        advice: what to do in any case.
    """

    kind: str
    pattern: re.Pattern[str]
    source: str
    meaning: str
    causes: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


def _message(
    kind: str, pattern: str, source: str, meaning: str, *causes: str, advice: tuple[str, ...] = ()
) -> Message:
    return Message(kind, re.compile(pattern, re.DOTALL | re.IGNORECASE), source, meaning, causes, advice)


_COPY_AGAIN: Final = "copy or download the file again, and compare sizes; or use another checkpoint"
_SALVAGE: Final = "'tensorbundle salvage SRC DST' keeps every tensor that can still be proven good"
_CHECK: Final = "'tensorbundle check A --against B' lists every mismatch and what to do"
_VERIFY: Final = "'tensorbundle verify CKPT' finds every fault and its cause"

# In a line, [[...]] is left out if no facts about the case are known.
_CAUSES: Final = (
    Cause(
        "wrong-path",
        "the path is not the checkpoint's prefix, such as run/model.ckpt-1000",
        (
            "give the common part of the files' names, without .index, .data-00000-of-00001 or .meta",
            "tensorbundle takes any of the files or their directory; 'tensorbundle latest DIR' prints the prefix",
        ),
    ),
    Cause(
        "foreign-content",
        "{content}",
        ("give the checkpoint's own files",),
        "the file is something else: a Git-LFS pointer, an HTML page, an archive, saved_model.pb, HDF5, text",
    ),
    Cause(
        "truncated",
        "the file was cut short[[: it has {size} of at least {needed} bytes, {missing} are missing]]",
        (_COPY_AGAIN, _SALVAGE),
    ),
    Cause(
        "empty-file", "the file is empty[[: all of its {needed} bytes are missing]]", (_COPY_AGAIN, _SALVAGE)
    ),
    Cause(
        "zero-filled",
        "all zeros: these bytes were never written (a full disk, or a crash while saving)",
        (_SALVAGE, "use the checkpoint before this one"),
    ),
    Cause(
        "zero-tail",
        "zeros from offset {start:#x} on: the end was never written",
        (_SALVAGE, "use the checkpoint before this one"),
    ),
    Cause(
        "zero-hole",
        "zeros from offset {start:#x} to {stop:#x}: these bytes were never written",
        (_SALVAGE, "use the checkpoint before this one"),
    ),
    Cause(
        "line-endings",
        "line endings were converted ({how}): the file was copied as text",
        ("copy it again in binary mode; git: '*.index binary' and '*.data-* binary' in .gitattributes",),
        "line endings were converted: the file was copied as text",
    ),
    Cause(
        "text-conversion",
        "the file was decoded as text: {count} replacement characters (ef bf bd) replace bytes that are lost",
        ("download it again as binary",),
    ),
    Cause(
        "shifted",
        "the data is shifted by {shift:+d} bytes: found at offset {offset:#x}",
        ("bytes were inserted or lost before it: copy the file again",),
    ),
    Cause(
        "other-tensor",
        "these are the bytes of {other!r}: index and data are from different saves",
        ("take index and data shards from one save",),
    ),
    Cause(
        "other-checkpoint",
        "nothing in this file matches the index: one of the two belongs to another checkpoint",
        ("take index and data shards from one save: compare the times of the files",),
    ),
    Cause(
        "mostly-other-checkpoint",
        "{changed} of {telling} tensors in this file do not match the index: one of the two belongs to another checkpoint",
        ("take index and data shards from one save: compare the times of the files",),
    ),
    Cause(
        "flipped-bit",
        "bit {bit} of the byte at offset {offset:#x} is flipped: memory or storage is faulty",
        (_COPY_AGAIN, "test the machine's memory; flip the bit back in a copy of the file, and verify that"),
        "a bit is flipped: memory or storage is faulty",
    ),
    Cause(
        "damaged-sector",
        "a damaged sector: the {size} bytes from offset {start:#x} on[[ {how}]]",
        (_COPY_AGAIN, _SALVAGE),
    ),
    Cause(
        "changed",
        "its bytes changed after they were written, on disk or while copying",
        (_COPY_AGAIN, _SALVAGE),
    ),
    Cause(
        "wrong-entry",
        "a tensor without bytes has nothing that could change: its entry in the index is wrong",
        ("the index was made by another program, or is damaged",),
    ),
    Cause(
        "impossible-entry",
        "an impossible entry, under a correct checksum: a faulty program or an attacker wrote the index",
        ("do not trust the file; TensorFlow may crash when it opens it",),
    ),
    Cause(
        "byte-order",
        "the byte order flag in the index's header is wrong: the data is {order}-endian",
        ("the header was changed by another program",),
        "the byte order flag in the index's header is wrong",
    ),
    Cause(
        "not-copied",
        "it was not copied along, or was deleted",
        ("copy all data shards; the index says how many",),
    ),
    Cause("shrank", "the file shrank while it was read", ("wait until it is written, and try again",)),
    Cause(
        "lost-end",
        "the end of the index is lost; its first {count} entries can be read",
        (_SALVAGE,),
    ),
    Cause(
        "newer-version",
        "it was written by, or for, a newer version of TensorFlow",
        ("use a newer version to read it",),
    ),
    Cause(
        "slice-left",
        "its tensor was renamed or removed without it",
        ("harmless, apart from the space that it takes",),
    ),
    Cause(
        "not-initialized",
        "the variable was not initialised when it was saved, or its tensor was removed",
        ("a restore leaves the variable as it is",),
    ),
    Cause(
        "rewritten-variables",
        "the variables were rewritten after the SavedModel was saved, or are another one's",
        ("harmless if you rewrote them: no version of TensorFlow compares the two when it loads",),
    ),
    Cause(
        "moved-directory",
        "the directory or its checkpoints were moved, renamed or deleted after the state file was written",
        ("'tensorbundle manage DIR repair' makes the state file name what is there",),
    ),
    Cause(
        "edited-graph",
        "another program removed or added tensors without changing the object graph",
        ("TensorFlow ignores such tensors, and restores only what the object graph names",),
    ),
    # Restores that do not match
    Cause(
        "other-structure",
        "the program's objects have other names or another structure than those that were saved",
        (
            _CHECK,
            "'tensorbundle suggest A B' proposes a rename map; 'tensorbundle rename SRC DST --map MAP' applies it",
        ),
    ),
    Cause(
        "optimizer-left",
        "the checkpoint has optimizer state that the program does not create, as it does not train",
        ("call expect_partial() on what restore returns", "or remove it: 'tensorbundle slim SRC DST'"),
    ),
    Cause(
        "other-optimizer",
        "the optimizer is of another generation (Keras legacy, Keras 2.11 and newer, Keras 3) or class",
        (
            "'tensorbundle convert SRC DST --to tf2 --template B' carries its state over",
            "or remove it: 'tensorbundle slim'",
        ),
    ),
    Cause(
        "not-built",
        "the model or layer has no variables yet, as it was not built or called",
        ("call the model once, or build(input_shape), before its weights are loaded",),
    ),
    Cause(
        "other-shape",
        "the program was configured with other sizes (classes, vocabulary, units) than the one that saved",
        (_CHECK, "'tensorbundle resize' remaps a vocabulary; 'extract' leaves out a head of another size"),
    ),
    Cause(
        "other-dtype",
        "the program's variable has another type: mixed precision, or a counter that is int64 in one version only",
        ("'tensorbundle cast SRC DST PATTERN=DTYPE'",),
    ),
    Cause(
        "name-based",
        "the checkpoint is name-based (TF1), and the program restores objects",
        (
            "'tensorbundle convert SRC DST --to tf2 --template B', B being a checkpoint that the program wrote",
        ),
    ),
    Cause(
        "object-based",
        "the checkpoint is object-based (TF2), and the program looks for names",
        ("'tensorbundle convert SRC DST --to tf1'",),
    ),
    Cause(
        "keras-3",
        "Keras 3 reads .weights.h5 and .keras files only, and no TensorFlow checkpoints",
        (
            "'tensorbundle convert CKPT MODEL.weights.h5' makes such a file",
            "or use tf_keras: pip install tf_keras, and TF_USE_LEGACY_KERAS=1",
        ),
    ),
    Cause(
        "shared-key",
        "several objects of the checkpoint have one key, of which only one is restored",
        ("'tensorbundle verify CKPT' names them",),
    ),
    Cause(
        "partial-save",
        "the save was interrupted: TensorFlow writes the index last, and in place",
        (
            "use the checkpoint before this one",
            _SALVAGE,
            "'tensorbundle manage DIR clean' removes what is left of it",
        ),
    ),
    Cause(
        "glob-prefix",
        "the prefix has characters that TensorFlow takes for a pattern ([ ] * ? \\)",
        ("rename the files", "tensorbundle takes paths literally"),
    ),
    Cause(
        "unreadable-slices",
        "the tensor is partitioned and of a type that TensorFlow can't join (float16, uint16, string, ...)",
        ("'tensorbundle unpartition SRC DST' joins the slices",),
    ),
    Cause(
        "no-space",
        "the disk or quota is full",
        (
            "make room; 'tensorbundle manage DIR prune --max-to-keep N', and 'clean' for what killed saves left",
        ),
    ),
)
CAUSES: Final = {each.kind: each for each in _CAUSES}


def cause_line(kind: str, **found: object) -> str:
    """The line of a cause with facts that were found, or the general line if there are none."""
    cause = CAUSES[kind]
    return _OPTIONAL.sub(r"\1", cause.line).format(**found) if found else cause.general


_BUNDLE: Final = "TensorFlow core/util/tensor_bundle/tensor_bundle.cc"
_TABLE: Final = "TensorFlow core/lib/io/table.cc and format.cc"
_CHECKPOINT: Final = "TensorFlow python/checkpoint/checkpoint.py"

MESSAGES: Final = (
    # Files
    _message(
        "bad-magic",
        r"not an sstable \(bad magic number\)|perhaps your file is in a different file format and you need to use a "
        r"different restore operator|not a table: magic number",
        f"{_TABLE}, Footer::DecodeFrom",
        "The file is not a table, which the index of a checkpoint is: its last 8 bytes are not those of one. Nearly always "
        "the path is wrong, and the file is sound.",
        *("wrong-path", "foreign-content", "truncated", "line-endings", "partial-save"),
        advice=(_VERIFY,),
    ),
    _message(
        "too-short",
        r"file is too short to be an sstable|too short for a table",
        f"{_TABLE}, Table::Open",
        "The file has fewer bytes than the end of an index takes.",
        *("truncated", "empty-file", "partial-save", "foreign-content"),
    ),
    _message(
        "unable-to-open",
        r"Unable to open table file (?P<path>\S+)|Failed to find any matching files for (?P<pattern>\S+)|"
        r"Unsuccessful TensorSliceReader constructor",
        "TensorFlow core/util/tensor_slice_reader.cc and checkpoint_reader.cc",
        "Nothing was found that TensorFlow takes for a V2 checkpoint under this path, so it tried to read an old V1 file, "
        "and failed.",
        *("wrong-path", "not-copied", "glob-prefix", "foreign-content"),
        advice=("'tensorbundle info PATH' says what is there",),
    ),
    _message(
        "block-checksum",
        r"block checksum mismatch|truncated block read|bad block type|corrupted compressed block contents|"
        r"failed to seek to header entry",
        f"{_TABLE}, ReadBlock",
        "The index is damaged: a block of it has another checksum than stored, or is incomplete. TensorFlow silently omits "
        "the variables of such a block, unless it is the first.",
        *("truncated", "zero-filled", "line-endings", "changed", "partial-save"),
        advice=(_VERIFY, _SALVAGE),
    ),
    _message(
        "tensor-checksum",
        r"Checksum does not match: stored (?P<stored>\d+) vs\. calculated on the restored bytes (?P<computed>\d+)|"
        r"crc32c of \d+ bytes: stored (?P<stored_hex>[0-9a-f]{8}), computed (?P<computed_hex>[0-9a-f]{8})",
        f"{_BUNDLE}, BundleReader::GetValue",
        "The bytes of a tensor are not those that were saved: its data shard is damaged, or not the one that belongs to the "
        "index. Often the bytes were never written.",
        *("zero-filled", "other-checkpoint", "changed", "flipped-bit", "line-endings"),
        advice=(_VERIFY, _SALVAGE),
    ),
    _message(
        "length-checksum",
        r"The length checksum does not match: expected|checksum of the string lengths",
        f"{_BUNDLE}, ReadStringTensor",
        "The lengths of the strings of a tensor are damaged; in an object-based checkpoint it is often the object graph.",
        *("zero-filled", "other-checkpoint", "byte-order", "changed"),
        advice=(_VERIFY,),
    ),
    _message(
        "read-less",
        r"Read less bytes than requested|Read fewer bytes than requested",
        f"{_BUNDLE}, BundleReader::GetValue",
        "A data shard ends before the bytes of a tensor do.",
        *("truncated", "empty-file", "other-checkpoint", "partial-save"),
        advice=(_VERIFY, _SALVAGE),
    ),
    _message(
        "missing-shard",
        r"(?P<path>\S*\.data-\d{5,}-of-\d{5,});? No such file or directory|data shard \d+ is missing",
        f"{_BUNDLE}, BundleReader::GetValue",
        "A data shard that the index needs is missing.",
        *("not-copied", "partial-save"),
    ),
    _message(
        "is-a-directory",
        r"Is a directory",
        "TensorFlow core/platform/posix",
        "A directory was given where a checkpoint's prefix is needed.",
        "wrong-path",
    ),
    _message(
        "invalid-size",
        r"Invalid size in bundle entry|Invalid tensor shape|Entry for key .* not parseable|unable to parse header",
        f"{_BUNDLE}, BundleReader",
        "An entry of the index contradicts itself.",
        *("impossible-entry", "changed"),
        advice=(_VERIFY,),
    ),
    _message(
        "version",
        r"Checkpoint (min consumer|producer) version|Checkpoint disallows consumer version|shuts out readers of version|"
        r"produced by a newer version of TensorFlow",
        "TensorFlow core/public/version.h, CheckVersions",
        "The checkpoint says that readers of this version must not read it.",
        *("newer-version", "changed"),
    ),
    _message(
        "slices",
        r"Overlapping slices|Does not have sufficient slices|Extent in dimension \d+ out of bounds|Mismatching ranks|"
        r"Couldn't find slice|not supported for slices|Dtype \w+ not supported",
        "TensorFlow core/util/tensor_slice_set.cc",
        "The slices of a partitioned variable do not make up the part that is wanted, or can't be joined.",
        *("unreadable-slices", "other-shape", "edited-graph"),
        advice=("'tensorbundle ls --long CKPT' lists the slices",),
    ),
    _message(
        "state-file",
        r"Couldn't find 'checkpoint' file or checkpoints in given directory|Invalid checkpoint state loaded from|"
        r"couldn't match files for checkpoint|Can't load save_path when it is None",
        "TensorFlow python/checkpoint/checkpoint_management.py",
        "The directory has no state file 'checkpoint' that names a checkpoint which is there: latest_checkpoint returns None.",
        *("moved-directory", "wrong-path"),
        advice=("'tensorbundle latest DIR' says what is there",),
    ),
    _message(
        "not-a-checkpoint",
        r"The passed save_path is not a valid checkpoint",
        "TensorFlow python/training/saver.py, Saver.restore",
        "There is no .index file, or V1 file, at this prefix.",
        *("wrong-path", "not-copied", "glob-prefix"),
    ),
    _message(
        "no-space",
        r"No space left on device|Disk quota exceeded|\bENOSPC\b",
        "the operating system",
        "The file could not be written completely.",
        *("no-space", "partial-save"),
    ),
    # Restores by name
    _message(
        "key-not-found",
        r"Key (?P<key>\S+) not found in checkpoint|Tensor name \"?(?P<tensor>[^\s\"]+)\"? not found in checkpoint|"
        r"Restoring from checkpoint failed\. This is most likely due to a Variable name",
        "TensorFlow core/kernels/save_restore_tensor.cc and python/training/saver.py",
        "The program looks for a variable by its name, and the checkpoint has none of this name.",
        *("other-structure", "object-based", "optimizer-left", "truncated"),
        advice=("'tensorbundle ls CKPT' lists the names",),
    ),
    _message(
        "dtype",
        r"expected dtype (?P<wanted>\w+) does not equal original dtype (?P<stored>\w+)",
        "TensorFlow core/kernels/save_restore_tensor.cc",
        "The tensor in the checkpoint has another type than the variable that it is read for.",
        "other-dtype",
    ),
    _message(
        "assign-shape",
        r"Assign requires shapes of both tensors to match|Shape of variable .* doesn't match with shape of tensor|"
        r"Received incompatible tensor with shape|incompatible with the tensor's shape|"
        r"Tensor's shape .* is not compatible with supplied shape|The shape of the target variable .* and the shape of the "
        r"target value|Shapes? .* (?:and .* )?(?:are|is) incompatible|Layer weight shape .* not compatible with provided "
        r"weight shape|Shape mismatch in layer",
        "TensorFlow python/training/saving/saveable_object_util.py and Keras variables",
        "A stored tensor has another shape than the variable that it is for.",
        "other-shape",
        advice=(_CHECK,),
    ),
    # Restores of objects
    _message(
        "unresolved-object",
        r"Unresolved object in checkpoint|Unresolved slot restorations|Unused attributes in these objects|Value in checkpoint could not be found in the restored object|"
        r"Detecting that an object or model or tf\.train\.Checkpoint is being deleted with unrestored values",
        f"{_CHECKPOINT}, CheckpointLoadStatus.assert_consumed",
        "The checkpoint has an object, or a value, for which the program has none at the same path.",
        *("optimizer-left", "other-structure", "not-built"),
        advice=(_CHECK,),
    ),
    _message(
        "not-all-restored",
        r"Object .* not assigned a value from checkpoint|Nothing except the root object matched a checkpointed value|"
        r"Python objects that were not bound to checkpointed values|An attribute in the restored object could not be found "
        r"in the checkpoint|Some objects had attributes which were not restored|Object not restored: |"
        r"Nothing to load\. No dependencies have been added",
        f"{_CHECKPOINT}, CheckpointLoadStatus",
        "The program has objects for which the checkpoint has no values: they keep those that they were made with.",
        *("other-structure", "name-based", "not-built"),
        advice=(_CHECK,),
    ),
    _message(
        "name-based-status",
        r"does not appear to be object-based|NameBasedSaverStatus|Restoring a name-based tf\.train\.Saver checkpoint using "
        r"the object-based restore API|from name-based checkpoints when graph building",
        f"{_CHECKPOINT}, CheckpointReader and NameBasedSaverStatus",
        "The checkpoint has no object graph; TensorFlow matches variables by name.",
        *("name-based", "other-structure"),
        advice=(_CHECK,),
    ),
    _message(
        "inconsistent-references",
        r"Inconsistent references when loading the checkpoint into this object graph",
        f"{_CHECKPOINT}, restore",
        "One object of the checkpoint would have to be restored to two of the program, or the other way round.",
        *("shared-key", "other-structure"),
        advice=(_CHECK,),
    ),
    # Keras
    _message(
        "keras-layer-variables",
        r"Layer ['\"]?(?P<layer>[^'\"\s]*)['\"]? expected (?P<expected>\d+) variables?, but received (?P<received>\d+) "
        r"variables?|expected \d+ variables?, but received \d+|was never built and thus it doesn't have any variables",
        "Keras layers/layer.py, Layer.load_own_variables",
        "The file has another number of variables for a layer than the layer has: most often none, as the file stores them "
        "under other names.",
        *("not-built", "other-structure", "other-optimizer"),
        advice=(_CHECK,),
    ),
    _message(
        "keras-layer-count",
        r"Layer count mismatch when loading weights|You are trying to load a weight file containing \d+ layers into a model "
        r"with \d+ layers|A total of \d+ objects could not be loaded|Weight count mismatch for |expects \d+ "
        r"weight\(s\)|Unable to load weights saved in HDF5 format into a subclassed Model",
        "Keras saving/saving_lib.py and legacy/saving/legacy_h5_format.py",
        "The layers of the file and of the model are not the same.",
        *("other-structure", "not-built"),
        advice=(_CHECK,),
    ),
    _message(
        "keras-3-format",
        r"File format not supported: filepath=|Keras 3 only supports V3 `?\.keras`? files and legacy H5|"
        r"The filename must end in `?\.weights\.h5`?|Invalid filename: expected a? ?`?\.keras`? extension|"
        r"load_weights\(\).*\.weights\.h5|legacy SavedModel format is not supported by `load_model\(\)` in Keras 3|"
        r"`?\.weights\.h5`? or `?\.keras`? or",
        "Keras saving/saving_api.py",
        "Keras 3 was asked to load a file of a kind that it does not read.",
        "keras-3",
    ),
    _message(
        "keras-optimizer",
        r"legacy TF-?Keras optimizer|You are trying to restore a checkpoint from a legacy Keras optimizer|"
        r"Skipping variable loading for optimizer|optimizer '?\S*'? (?:because )?it has \d+ variables whereas the saved "
        r"optimizer has \d+ variables|has \d+ variables whereas the saved optimizer",
        "tf_keras optimizers/optimizer.py and Keras optimizers/base_optimizer.py",
        "The optimizer's state has another layout than this optimizer expects.",
        "other-optimizer",
    ),
    _message(
        "hdf5",
        r"Unable to (?:synchronously )?open file \(file signature not found\)|unable to open file: name = ",
        "HDF5, through h5py",
        "The file is not HDF5, or is not there: a checkpoint of TensorFlow was given where Keras wants weights in HDF5.",
        *("keras-3", "wrong-path", "foreign-content"),
    ),
)
