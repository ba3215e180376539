"""Causes of restores that fail or do not match: `check` finds those whose lines name A and B."""

from __future__ import annotations

from typing import Final

from tensorbundle.tools.operations.explaining.cause import CHECK, SALVAGE, Cause

__all__ = ["RESTORE_CAUSES"]

RESTORE_CAUSES: Final = (
    # Names and places of objects
    Cause(
        "other-structure",
        "the program's objects have other names or another structure than those that were saved",
        commands=(
            CHECK,
            "'tensorbundle suggest A B' proposes a rename map; 'tensorbundle rename SRC DST --map MAP' applies it",
        ),
    ),
    Cause("other-scope", "everything that A has {old} is {new} in B"),
    Cause("other-names", "{names}", short="the program's objects have other names"),
    Cause(
        "other-places", "A has some objects under other names or in other places than B[[; {others} in B]]"
    ),
    Cause("missing-objects", "A lacks {objects} that B has{scope}"),
    Cause("unused-objects", "B lacks {objects} that A has{scope}"),
    Cause("perhaps-the-same", "if some of these are the same, under other names"),
    Cause(
        "name-based",
        "A is name-based (TF1): variables are looked up by their full names, and A lacks some of B's[[; {others} in B]]",
        ("where names and shapes do not tell which is which, 'convert --map FILE' takes rules",),
        (
            "'tensorbundle convert SRC DST --to tf2 --template B', B being a checkpoint that the program wrote",
        ),
        short="the checkpoint is name-based (TF1), and the program restores objects",
    ),
    Cause(
        "object-based",
        "the checkpoint is object-based (TF2), and the program looks for names",
        commands=("'tensorbundle convert SRC DST --to tf1'",),
    ),
    # Optimizers and counters
    Cause(
        "optimizer-left",
        "{only}the optimizer's state in A has no place in B",
        ("if the program does not train: call expect_partial(), and not assert_consumed()",),
        ("or remove it: 'tensorbundle slim SRC DST'",),
        short="the checkpoint has optimizer state that the program does not create, as it does not train",
    ),
    Cause(
        "optimizer-missing",
        "A lacks state that B's optimizer has, which starts from its initial values",
        ("of the assertions, only assert_nontrivial_match can pass",),
    ),
    Cause(
        "other-optimizer",
        "A has the optimizer's state in another place or order than B, or of another kind[[; {others} in B]]",
        commands=(
            "'tensorbundle convert SRC DST --to tf2 --template B' carries its state over",
            "or remove it: 'tensorbundle slim'",
        ),
        short="the optimizer is of another generation (Keras legacy, Keras 2.11 and newer, Keras 3) or class",
    ),
    Cause(
        "legacy-optimizer",
        "A's optimizer is of Keras up to 2.10 (legacy), and B's newer one refuses its slot variables[[; {others} in B]]",
        ("or take B's from tf_keras.optimizers.legacy",),
    ),
    Cause(
        "optimizer-size",
        "the optimizers have other numbers of variables; Keras leaves that of the model as it is, and warns",
        ("compile the model with the same optimizer, and call optimizer.build(model.trainable_variables)",),
    ),
    Cause(
        "counter-left",
        "A has a save counter, which Checkpoint.save writes and read does not look for",
        ("call restore instead of read",),
    ),
    Cause(
        "no-counter",
        "A has no save counter, as Checkpoint.write writes none; restore makes one and misses its value",
        ("call read instead of restore",),
    ),
    Cause(
        "counter-made-before",
        "A has no save counter, and the program has one, as it called save or restore before",
        ("compare with what the program writes before that",),
    ),
    # Objects without a one-to-one match
    Cause(
        "shared-key",
        "objects of A share a key; TensorFlow restores the last one of them, and says nothing",
        commands=("'tensorbundle verify CKPT' names them",),
        short="several objects of the checkpoint have one key, of which only one is restored",
    ),
    Cause("no-values", "A has an object of this name which has no values; TensorFlow says nothing"),
    Cause(
        "one-in-checkpoint",
        "one object in A is several objects in B, of which the first gets the values ('Inconsistent references')",
        ("let the program share the object, too",),
        short="one object of the checkpoint is several objects in the program, of which the first gets the values",
    ),
    Cause(
        "one-in-program",
        "several objects in A are one object in B, which gets the values of the first",
        ("nothing fails",),
    ),
    Cause(
        "no-tensors",
        "A has tensors of objects which have none in B",
        ("call expect_partial(), and not assert_consumed()",),
    ),
    # Types and shapes
    Cause(
        "other-dtype",
        "{tensors} {stored} in A, and {wanted} in B",
        commands=("'tensorbundle cast SRC DST PATTERN=DTYPE'",),
        short="the program's variable has another type: mixed precision, or a counter that is int64 in one version only",
    ),
    Cause("refused-values", "B's objects can't take what A stores"),
    Cause("transposed", "{tensors} transposed in B"),
    Cause("reshaped", "{tensors} as many values in B, in another shape"),
    Cause("other-rows", "{tensors} another number of rows in B"),
    Cause("other-variable", "{tensors} another variable in B, under the same path"),
    Cause(
        "other-shape",
        "{tensors} another size in B: the program was made with other sizes than the one that A is from",
        commands=(
            CHECK,
            "'tensorbundle resize' remaps a vocabulary; 'extract' leaves out a head of another size",
        ),
        short="the program was configured with other sizes (classes, vocabulary, units) than the one that saved",
    ),
    Cause(
        "unreadable-slices",
        "the tensor is partitioned and of a type that TensorFlow can't join (float16, uint16, string, ...)",
        commands=("'tensorbundle unpartition SRC DST' joins the slices",),
    ),
    # Keras
    Cause(
        "not-built",
        "the model or layer has no variables yet, as it was not built or called",
        ("call the model once, or build(input_shape), before its weights are loaded",),
    ),
    Cause(
        "layers-without-variables",
        "A has these layers without variables: the model that wrote it had not built them",
        ("build the model, or call it on data, before it saves its weights",),
        short="the file has the layer without variables: the model that wrote it had not built it",
    ),
    Cause(
        "other-layers",
        "the models have other numbers of layers: {counts}",
        (
            "layers are found by the names of their classes and their order in each class, not by their own names",
            "to load what can be loaded: model.load_weights(path, skip_mismatch=True)",
        ),
        short="the model has other layers than the one that was saved",
    ),
    Cause(
        "missing-variables",
        "A lacks variables of layers that the model has",
        (
            "layers are found by the names of their classes and their order in each class, not by their own names",
            "to load what can be loaded: model.load_weights(path, skip_mismatch=True)",
        ),
    ),
    Cause(
        "other-layer-shape",
        "{tensors} another shape in B",
        (
            "the model was made with other sizes than the one that A is from, or its layers have another order",
        ),
    ),
    Cause(
        "legacy-order",
        "Keras loads a legacy .h5 file by the order of layers: its first layer that has weights into the model's first, and so on",
        ("make the model with the layers and sizes of the one that A is from",),
    ),
    Cause(
        "legacy-writers",
        "tf_keras and Keras 3 have the layers in dictionaries and lists in different orders, which is all that a legacy .h5 file "
        "has; of these two, each wrote one, and layers of equal shapes may get each other's weights: {layers}",
        (
            "save A as .weights.h5, which has names for them: model.save_weights('model.weights.h5') where A is from",
        ),
    ),
    Cause("unused-variables", "A has what the model does not have, which Keras ignores"),
    Cause(
        "keras-3",
        "Keras 3 reads .weights.h5, .keras and legacy .h5 files only[[; and it can't be converted: {why}]]",
        commands=(
            "'tensorbundle convert CKPT MODEL.weights.h5' makes such a file",
            "or use tf_keras: pip install tf_keras, and TF_USE_LEGACY_KERAS=1",
        ),
    ),
    Cause(
        "weights-only",
        "the file has weights and no model",
        ("make the model with the code that made it, and call model.load_weights(path)",),
    ),
    Cause(
        "keras-weights",
        "A is a file of Keras weights, which TensorFlow does not restore[[; and it can't be converted: {why}]]",
    ),
    Cause(
        "left-out-layers",
        "Keras 3 left out the layers that the model keeps in lists, tuples or dictionaries: {variables} of them are stored "
        "under _trainable_variables of the optimizer only, and those that are not trained, such as the moments of "
        "BatchNormalization, are lost",
        (
            "save with model.save_weights, which stores all layers; restoring this checkpoint does not set them",
        ),
        short="Keras 3 leaves out layers that the model keeps in lists, tuples or dictionaries",
    ),
    # Saving, and finding what was saved
    Cause(
        "partial-save",
        "the save was interrupted: TensorFlow writes the index last, and in place",
        (
            "use the checkpoint before this one",
            SALVAGE,
            "'tensorbundle manage DIR clean' removes what is left of it",
        ),
    ),
    Cause(
        "glob-prefix",
        "the prefix has characters that TensorFlow takes for a pattern ([ ] * ? \\)",
        ("rename the files", "tensorbundle takes paths literally"),
    ),
    Cause(
        "no-space",
        "the disk or quota is full",
        (
            "make room; 'tensorbundle manage DIR prune --max-to-keep N', and 'clean' for what killed saves left",
        ),
    ),
)
