"""Causes of restores that fail or do not match."""

from __future__ import annotations

from typing import Final

from tensorbundle.tools.operations.explaining.cause import CHECK, SALVAGE, Cause

__all__ = ["RESTORE_CAUSES"]

RESTORE_CAUSES: Final = (
    Cause(
        "other-structure",
        "the program's objects have other names or another structure than those that were saved",
        (
            CHECK,
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
        (CHECK, "'tensorbundle resize' remaps a vocabulary; 'extract' leaves out a head of another size"),
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
