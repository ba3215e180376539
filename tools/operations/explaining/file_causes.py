"""Causes of faults in files, which `verify` finds."""

from __future__ import annotations

from typing import Final

from tensorbundle.tools.operations.explaining.cause import COPY_AGAIN, SALVAGE, Cause

__all__ = ["FILE_CAUSES"]

# In a line, [[...]] is left out if no facts about the case are known.
FILE_CAUSES: Final = (
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
        short="the file is something else: a Git-LFS pointer, an HTML page, an archive, saved_model.pb, HDF5, text",
    ),
    Cause(
        "truncated",
        "the file was cut short[[: it has {size} of at least {needed} bytes, {missing} are missing]]",
        (COPY_AGAIN, SALVAGE),
    ),
    Cause(
        "empty-file", "the file is empty[[: all of its {needed} bytes are missing]]", (COPY_AGAIN, SALVAGE)
    ),
    Cause(
        "zero-filled",
        "all zeros: these bytes were never written (a full disk, or a crash while saving)",
        (SALVAGE, "use the checkpoint before this one"),
    ),
    Cause(
        "zero-tail",
        "zeros from offset {start:#x} on: the end was never written",
        (SALVAGE, "use the checkpoint before this one"),
    ),
    Cause(
        "zero-hole",
        "zeros from offset {start:#x} to {stop:#x}: these bytes were never written",
        (SALVAGE, "use the checkpoint before this one"),
    ),
    Cause(
        "line-endings",
        "line endings were converted ({how}): the file was copied as text",
        ("copy it again in binary mode; git: '*.index binary' and '*.data-* binary' in .gitattributes",),
        short="line endings were converted: the file was copied as text",
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
        (COPY_AGAIN, "test the machine's memory; flip the bit back in a copy of the file, and verify that"),
        short="a bit is flipped: memory or storage is faulty",
    ),
    Cause(
        "damaged-sector",
        "a damaged sector: the {size} bytes from offset {start:#x} on[[ {how}]]",
        (COPY_AGAIN, SALVAGE),
    ),
    Cause(
        "changed",
        "its bytes changed after they were written, on disk or while copying",
        (COPY_AGAIN, SALVAGE),
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
        short="the byte order flag in the index's header is wrong",
    ),
    Cause(
        "not-copied",
        "it was not copied along, or was deleted",
        ("copy all data shards; the index says how many",),
    ),
    Cause("shrank", "the file shrank while it was read", ("wait until it is written, and try again",)),
    Cause(
        "lost-end",
        "the end of the index is lost[[; its first {count} entries can be read]]",
        (SALVAGE,),
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
        "missing-slices",
        "slices of a partitioned tensor are missing: this is one part of a save, or a program lost them",
        ("'tensorbundle merge' joins the parts of a save, 'part-00000-of-00003' and so on",),
    ),
    Cause(
        "not-initialized",
        "a variable was not initialised when it was saved, or its tensor was removed",
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
)
