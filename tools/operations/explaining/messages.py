"""The messages of TensorFlow and Keras, as data: how each is found in a text, its meaning and its causes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tensorbundle.tools.operations.explaining.cause import CHECK, SALVAGE, VERIFY

__all__ = ["MESSAGES", "Message"]


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
        advice=(VERIFY,),
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
        advice=(VERIFY, SALVAGE),
    ),
    _message(
        "tensor-checksum",
        r"Checksum does not match: stored (?P<stored>\d+) vs\. calculated on the restored bytes (?P<computed>\d+)|"
        r"crc32c of \d+ bytes: stored (?P<stored_hex>[0-9a-f]{8}), computed (?P<computed_hex>[0-9a-f]{8})",
        f"{_BUNDLE}, BundleReader::GetValue",
        "The bytes of a tensor are not those that were saved: its data shard is damaged, or not the one that belongs to the "
        "index. Often the bytes were never written.",
        *("zero-filled", "other-checkpoint", "changed", "flipped-bit", "line-endings"),
        advice=(VERIFY, SALVAGE),
    ),
    _message(
        "length-checksum",
        r"The length checksum does not match: expected|checksum of the string lengths",
        f"{_BUNDLE}, ReadStringTensor",
        "The lengths of the strings of a tensor are damaged; in an object-based checkpoint it is often the object graph.",
        *("zero-filled", "other-checkpoint", "byte-order", "changed"),
        advice=(VERIFY,),
    ),
    _message(
        "read-less",
        r"Read less bytes than requested|Read fewer bytes than requested",
        f"{_BUNDLE}, BundleReader::GetValue",
        "A data shard ends before the bytes of a tensor do.",
        *("truncated", "empty-file", "other-checkpoint", "partial-save"),
        advice=(VERIFY, SALVAGE),
    ),
    _message(
        "missing-shard",
        r"(?P<path>\S*\.data-\d{5,}-of-\d{5,});? No such file or directory|data shard \d+ is missing",
        f"{_BUNDLE}, BundleReader::GetValue",
        "A data shard that the index needs is missing.",
        *("not-copied", "partial-save"),
    ),
    _message(
        "missing-index",
        r"\S*\.index;? No such file or directory|Error when restoring from checkpoint or SavedModel at|"
        r"appears to be a SavedModel directory, but checkpoint either doesn't exist",
        f"{_BUNDLE}, BundleReader, and {_CHECKPOINT}, Checkpoint.restore",
        "There is no index, which every checkpoint has, at this prefix.",
        *("wrong-path", "not-copied", "partial-save"),
        advice=("'tensorbundle info PATH' says what is there",),
    ),
    _message(
        "no-permission",
        r"\.(?:index|data-\d{5,}-of-\d{5,})\S*;? (?:Permission denied|Read-only file system)",
        "the operating system",
        "The user that the program is of may not read this file, or not write into its directory.",
        advice=("'ls -ld' and 'ls -l' say who may",),
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
        advice=(VERIFY,),
    ),
    _message(
        "version",
        r"Checkpoint (min consumer|producer) version|Checkpoint disallows consumer version|shuts out readers of version|"
        r"produced by a newer version of TensorFlow|Unable to load checkpoint saved in future version of TensorFlow",
        "TensorFlow core/public/version.h, CheckVersions, and python/checkpoint/restore.py",
        "The checkpoint says that readers of this version must not read it.",
        *("newer-version", "changed"),
    ),
    _message(
        "slices",
        r"Overlapping slices|Does not have sufficient slices|Extent in dimension \d+ out of bounds|Mismatching ranks|"
        r"Couldn't find slice|not supported for slices|Dtype \w+ not supported",
        "TensorFlow core/util/tensor_slice_set.cc",
        "The slices of a partitioned variable do not make up the part that is wanted, or can't be joined.",
        *("unreadable-slices", "missing-slices", "other-shape", "edited-graph"),
        advice=("'tensorbundle ls --long CKPT' lists the slices",),
    ),
    _message(
        "state-file",
        r"Couldn't find 'checkpoint' file or checkpoints in given directory|Invalid checkpoint state loaded from|"
        r"couldn't match files for checkpoint|Can't load save_path when it is None|"
        r"No checkpoint specified \(save_path=None\)",
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
        "no-saved-model",
        r"SavedModel file does not exist at|Could not find SavedModel \.pb|Unable to load model\. Filepath is not an hdf5 file|"
        r"No file or directory found at ",
        "TensorFlow python/saved_model/loader_impl.py",
        "There is no saved_model.pb in this directory: it is not a SavedModel, or not its top directory. A checkpoint is "
        "restored by tf.train.Checkpoint, and has no saved_model.pb.",
        *("wrong-path", "not-copied"),
        advice=("'tensorbundle info PATH' says what is there",),
    ),
    _message(
        "saved-model-graph",
        r"Cannot parse file \S*saved_model\.pb",
        "TensorFlow python/saved_model/loader_impl.py",
        "The graph of a SavedModel is damaged, or something else has its name. The variables are in files of their own.",
        *("foreign-content", "truncated"),
        advice=("'tensorbundle verify DIR' says whether the variables are sound",),
    ),
    _message(
        "merge",
        r"Merging bundles with conflicting|Duplicate tensor keyed by|At least one prefix checkpoint file must exist|"
        r"attempting to merge in a non-slice bundle entry",
        f"{_BUNDLE}, MergeBundles",
        "The parts that a save wrote can't be merged: some are missing, or are those of another save.",
        *("partial-save", "other-checkpoint"),
        advice=("'tensorbundle manage DIR' lists saves that were not merged",),
    ),
    _message(
        "v1-list",
        r"Failed to find the saved tensor slices at the beginning of the checkpoint file",
        "TensorFlow core/util/tensor_slice_reader.cc, TensorSliceReader::LoadShard",
        "The file is a table, but not a V1 checkpoint: the record that lists its tensors is missing. The index of a V2 "
        "checkpoint is one, if it was renamed.",
        *("wrong-path", "changed"),
        advice=(VERIFY, SALVAGE),
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
        r"Restoring from checkpoint failed\. This is most likely due to a Variable name|"
        r"Tensor \S+ (?:\([^()]{0,200}\) )?is not found in \S+ checkpoint|Attempting to warm-start from an object-based "
        r"checkpoint, but found that the checkpoint did not contain values|"
        r"variables in var_name_to_prev_var_name that were not used",
        "TensorFlow core/kernels/save_restore_tensor.cc and python/training/saver.py",
        "The program looks for a variable by its name, and the checkpoint has none of this name.",
        *("other-structure", "object-based", "optimizer-left", "truncated"),
        advice=("'tensorbundle ls CKPT' lists the names",),
    ),
    _message(
        "assignment-map",
        r"Assignment map with scope only name \S+ should map to scope only",
        "TensorFlow python/training/checkpoint_utils.py, init_from_checkpoint",
        "In an assignment map, a name that ends with a slash is a scope, and the other name of its pair must be one, too.",
        advice=("write both names with a slash at the end, 'scope/': 'other_scope/', or both without",),
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
        r"Tensor's shape .* is not compatible with supplied shape|The shape of the target variable .*?and the shape of the "
        r"target value|shape_and_slice spec .*does not match the shape|Shapes? .* (?:and .* )?(?:are|is) incompatible|Layer weight shape .* not compatible with provided "
        r"weight shape|weight shape [^.]{0,200} is not compatible with provided weight shape|due to mismatch in shape for "
        r"weight|Shape mismatch in (?:layer|model)|has shape .* not compatible with provided weight shape|"
        r"most likely due to a mismatch between the current graph and the graph from the checkpoint",
        "TensorFlow python/training/saving/saveable_object_util.py and Keras variables",
        "A stored tensor has another shape than the variable that it is for.",
        "other-shape",
        advice=(CHECK,),
    ),
    _message(
        "uninitialized",
        r"Attempting to use uninitialized value|This could mean that (?:the|this) variable (?:was uninitialized|has been deleted)",
        "TensorFlow core/kernels/variable_ops.cc and resource_variable_ops.cc",
        "A variable was neither restored nor initialised: the restore did not include it.",
        *("other-structure", "not-initialized"),
        advice=(CHECK,),
    ),
    # Restores of objects
    _message(
        "unresolved-object",
        r"Unresolved object in checkpoint|Unresolved slot restorations|Unused attributes in these objects|but not all checkpointed values were used|Value in checkpoint could not be found in the restored object|"
        r"Detecting that an object or model or tf\.train\.Checkpoint is being deleted with unrestored values",
        f"{_CHECKPOINT}, CheckpointLoadStatus.assert_consumed",
        "The checkpoint has an object, or a value, for which the program has none at the same path.",
        *("optimizer-left", "other-structure", "not-built"),
        advice=(CHECK,),
    ),
    _message(
        "not-all-restored",
        r"Object (?:.* )?not assigned a value from checkpoint|Nothing except the root object matched a checkpointed value|"
        r"Python objects (?:that )?were not bound to checkpointed values|An attribute in the restored object could not be found "
        r"in the checkpoint|Some objects had attributes which were not restored|Object not restored: |"
        r"Unable to restore state of object|because not all expected tensors were in the checkpoint|"
        r"Nothing to load\. No dependencies have been added",
        f"{_CHECKPOINT}, CheckpointLoadStatus",
        "The program has objects for which the checkpoint has no values: they keep those that they were made with.",
        *("other-structure", "name-based", "not-built"),
        advice=(CHECK,),
    ),
    _message(
        "object-based-by-name",
        r"Restoring an object-based checkpoint using a name-based saver|not an object-based checkpoint",
        "TensorFlow python/training/saver.py, Saver.restore",
        "tf.train.Saver was given an object-based checkpoint: it finds variables by the full names that the object graph has.",
        *("object-based", "other-structure"),
        advice=(CHECK,),
    ),
    _message(
        "name-based-status",
        r"does not appear to be object-based|NameBasedSaverStatus|Restoring a name-based tf\.train\.Saver checkpoint using "
        r"the object-based restore API|from name-based checkpoints when graph building",
        f"{_CHECKPOINT}, CheckpointReader and NameBasedSaverStatus",
        "The checkpoint has no object graph; TensorFlow matches variables by name.",
        *("name-based", "other-structure"),
        advice=(CHECK,),
    ),
    _message(
        "inconsistent-references",
        r"Inconsistent references when loading the checkpoint into this object graph",
        f"{_CHECKPOINT}, restore",
        "One object of the checkpoint would have to be restored to two of the program, or the other way round.",
        *("one-in-checkpoint", "shared-key", "other-structure"),
        advice=(CHECK,),
    ),
    _message(
        "other-attributes",
        r"expects checkpointed values but checkpoint does not contain serialized tensors|does not expect checkpointed values "
        r"but checkpoint contains|Size for (?:saveable_objects|serialized_tensors) for Trackable",
        "TensorFlow python/checkpoint/restore.py",
        "An object of the program saves other values than the object in its place in the checkpoint: it has another class, or "
        "its class is of another version.",
        *("other-structure", "newer-version"),
        advice=(CHECK,),
    ),
    # Keras
    _message(
        "keras-layer-variables",
        r"Layer ['\"]?(?P<layer>[^'\"\s]*)['\"]? expected (?P<expected>\d+) variables?, but received (?P<received>\d+) "
        r"variables?|expected \d+ variables?, but received \d+|was never built and thus it doesn't have any variables",
        "Keras layers/layer.py, Layer.load_own_variables",
        "The file has another number of variables for a layer than the layer has: most often none, as the file stores them "
        "under other names.",
        *("not-built", "layers-without-variables", "other-structure", "other-optimizer"),
        advice=(CHECK,),
    ),
    _message(
        "keras-layer-count",
        r"Layer count mismatch when loading weights|You are trying to load a weight file containing \d+ layers into a model "
        r"with \d+ layers|A total of \d+ objects could not be loaded|Weight count mismatch for |expects \d+ "
        r"weight\(s\)|expects \d+ top-level weight\(s\)|due to mismatch in number of weights|"
        r"with a weight list of length \d+, but the layer was expecting|Could not load weights in object|Unable to (?:synchronously )?open object|Unable to load weights saved in HDF5 format into a subclassed Model",
        "Keras saving/saving_lib.py and legacy/saving/legacy_h5_format.py",
        "The layers of the file and of the model are not the same.",
        *("other-structure", "other-layers", "not-built"),
        advice=(CHECK,),
    ),
    _message(
        "keras-not-built",
        r"loading weights into a model that has not yet been built",
        "Keras saving/saving_lib.py, load_weights_only",
        "The model has no variables yet, so there is nothing that the weights could be loaded into.",
        "not-built",
    ),
    _message(
        "keras-nested",
        r"Skipping nested container at|Invalid H5 file, expected (?:Dataset|Group)|not found in any of the shards",
        "Keras saving/saving_lib.py",
        "The file lacks weights that the model has: a version of Keras 3 that leaves out layers in lists and dictionaries wrote "
        "it, or it is damaged.",
        *("left-out-layers", "other-structure", "truncated"),
        advice=(VERIFY,),
    ),
    _message(
        "keras-class",
        r"Please ensure you are using a `?keras\.(?:utils|saving)\.custom_object_scope|Unable to restore a layer of class|"
        r"Make sure custom classes are decorated with|because its parent module \S+ cannot be imported|"
        r"Requested the deserialization of a `?(?:lambda|Lambda)|bad marshal data",
        "Keras saving/serialization_lib.py",
        "The file names a class, or has the code of a function, that this program or this version of Python does not have. Its "
        "weights are not concerned.",
        advice=("make the model in code, and load the weights alone; 'tensorbundle ls FILE' lists them",),
    ),
    _message(
        "keras-3-format",
        r"File format not supported: filepath=|Keras 3 only supports V3 `?\.keras`? files and legacy H5|"
        r"The filename must end in `?\.weights\.h5`?|Invalid filename: expected a? ?`?\.keras`? extension|"
        r"load_weights\(\).*\.weights\.h5|legacy SavedModel format is not supported by `load_model\(\)` in Keras 3|"
        r"`?\.weights\.h5`? or `?\.keras`? or|`save_format` argument is deprecated in Keras 3|`by_name` only supports loading|"
        r"Invalid filepath extension for saving|must end in `?\.weights\.json`? when",
        "Keras saving/saving_api.py",
        "Keras 3 was asked to load a file of a kind that it does not read.",
        "keras-3",
    ),
    _message(
        "keras-optimizer",
        r"legacy TF-?Keras optimizer|You are trying to restore a checkpoint from a legacy Keras optimizer|"
        r"Skipping variable loading for optimizer|optimizer '?\S*'? (?:because )?it has \d+ variables whereas the saved "
        r"optimizer has \d+ variables|has \d+ variables whereas the saved optimizer|You are calling `set_weights\(\)` on an "
        r"optimizer that has not yet been built|Error in loading the saved optimizer state|making it impossible to restore the "
        r"saved optimizer state",
        "tf_keras optimizers/optimizer.py and Keras optimizers/base_optimizer.py",
        "The optimizer's state has another layout than this optimizer expects.",
        *("other-optimizer", "not-built"),
    ),
    _message(
        "weights-only",
        r"No model config found in the file|Checkpoint does not contain model configuration",
        "Keras legacy/saving/legacy_h5_format.py and saving/saving_api.py",
        "load_model was given a file that has weights, and no model: save_weights or save_weights_only=True wrote it.",
        "weights-only",
    ),
    _message(
        "keras-archive",
        r"File not found: filepath=|(?:BadZipFile|zipfile).*File is not a zip file|"
        r"Unable to (?:synchronously )?open file \(truncated file: eof = |HDF5 dataset too large to load safely|"
        r"Malformed HDF5 dataset shape|Not allowed: (?:H5|ZIP|archive)|"
        r"Refusing to load npz weight",
        "Keras saving/saving_lib.py, and HDF5",
        "The file is not there, is not what its name says, or was not copied completely.",
        *("wrong-path", "truncated", "foreign-content", "impossible-entry"),
        advice=(VERIFY,),
    ),
    _message(
        "hdf5",
        r"Unable to (?:synchronously )?open file \(file signature not found\)|unable to open file: name = ",
        "HDF5, through h5py",
        "The file is not HDF5, or is not there: a checkpoint of TensorFlow was given where Keras wants weights in HDF5.",
        *("keras-3", "wrong-path", "foreign-content"),
    ),
)
