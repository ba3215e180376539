"""Recognizing files that are not checkpoints, by their first bytes and by their names, and what to give instead."""

from __future__ import annotations

import re
from typing import Final

from tensorbundle.storage.paths import basename, dirname

__all__ = ["HEAD_BYTES", "describe_content", "describe_file", "describe_name", "describe_text"]

HEAD_BYTES: Final = 4096  # that tell what a file is
_PICKLE: Final = (
    "a Python pickle; if it is a PyTorch checkpoint, save its tensors as safetensors, and give that file"
)
# An offset from the first byte that is not white space, the bytes there, and their meaning.
_SIGNATURES: Final = (
    (0, b"version https://git-lfs", "a Git-LFS pointer: fetch the real file with 'git lfs pull'"),
    (0, b"model_checkpoint_path", "a 'checkpoint' state file: give its directory instead"),
    (257, b"ustar", "a tar archive: unpack it, and give the prefix of a checkpoint in it"),
    (0, b"\x1f\x8b", "gzip-compressed: unpack it first"),
    (0, b"BZh", "bzip2-compressed: unpack it first"),
    (0, b"\xfd7zXZ", "xz-compressed: unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed: unpack it first"),
    (
        4,
        b"TFL3",
        "a TensorFlow Lite model: give the checkpoint or the SavedModel that it was made from",
    ),
    (8, b'{"', "a safetensors file, which is read if its name ends in .safetensors"),
    (0, b"\x89HDF", "an HDF5 file (Keras weights), which is read if its name ends in .h5"),
    (0, b"\x93NUMPY", "a NumPy array file, not a TensorFlow checkpoint"),
    *((0, b"\x80" + version, _PICKLE) for version in (b"\x02", b"\x03", b"\x04\x95", b"\x05\x95")),
    (0, b"GGUF", "a GGUF file: give the checkpoint that it was made from"),
    (0, b"node {", "a graph as text (GraphDef), without values: give the checkpoint of its variables"),
    (0, b"<!DOCTYPE", "an HTML page: the download failed"),
    (0, b"<!doctype", "an HTML page: the download failed"),
    (0, b"<html", "an HTML page: the download failed"),
    (0, b"<?xml", "an XML document, as a server's errors are: the download failed"),
)
_ZIP: Final = b"PK\x03\x04"
_ZIP_NAME: Final = 30  # where the name of a zip archive's first member begins
# The first members of zip archives.
_MEMBERS: Final = (
    (
        rb"[^/]+/(data\.pkl|version|byteorder|\.format_version)",
        "a PyTorch checkpoint: save its tensors as safetensors, and give that file",
    ),
    (
        rb"metadata\.json|config\.json|model\.weights\.h5",
        "a Keras model, which is read if its name ends in .keras",
    ),
    (rb".*\.npy", "a NumPy archive, which is read if its name ends in .npz"),
    (rb".*", "a zip archive: unpack it first"),
)
# A regular expression for the whole name of a file, and its meaning if the bytes are not recognized.
_NAMES: Final = (
    (r"saved_model\.(pb|pbtxt)", "the graph of a SavedModel: give its directory, {directory!r}"),
    (r"(keras_metadata|fingerprint)\.pb", "a part of a SavedModel: give its directory, {directory!r}"),
    (
        r".*\.pb",
        "a graph (GraphDef), with constants in place of variables if it is frozen: give the checkpoint that it was made from",
    ),
    (r".*\.pbtxt", "a graph as text, without values: give the checkpoint of its variables"),
    (
        r".*\.meta",
        "the graph of a checkpoint, without its values: these are in an .index and data shards beside it",
    ),
    (r".*\.tflite", "a TensorFlow Lite model: give the checkpoint or the SavedModel that it was made from"),
    (
        r".*\.tempstate\d+",
        "a file of a save that died, or is being written right now: give a checkpoint that is complete",
    ),
    (r".*\.(pt|pth)", "a PyTorch checkpoint: save its tensors as safetensors, and give that file"),
    (r".*\.onnx", "an ONNX model: give the checkpoint that it was made from"),
)
_NO_TEXT: Final = re.compile(rb"[^\t\n\f\r -\xff]|\x7f")
_LONGEST_CHARACTER: Final = 4  # bytes of UTF-8, of which the end of the first bytes may cut one


def describe_content(head: bytes) -> str | None:
    """A description of a file with these first bytes, if that explains why it can't be read; otherwise None."""
    stripped = head.lstrip()
    for offset, signature, meaning in _SIGNATURES:
        if (stripped if offset == 0 else head).startswith(signature, offset):
            return meaning
    if head.startswith(_ZIP):
        size = int.from_bytes(head[26:28], "little")
        member = head[_ZIP_NAME : _ZIP_NAME + size]
        return next(meaning for pattern, meaning in _MEMBERS if re.fullmatch(pattern, member, re.DOTALL))
    if head and not head.strip(b"\0"):
        return "all zeros: these bytes were never written"
    return None


def describe_name(path: str) -> str | None:
    """A description of a file with this name that is not part of a checkpoint; None if the name is not known."""
    name = basename(path)
    for pattern, meaning in _NAMES:
        if re.fullmatch(pattern, name, re.DOTALL):
            return meaning.format(directory=dirname(path) or ".")
    return None


def describe_text(head: bytes) -> str | None:
    """A description of a file with these first bytes, if they are text, as only the state file's are; otherwise None."""
    if not head or _NO_TEXT.search(head):
        return None
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start <= len(head) - _LONGEST_CHARACTER:
            return None
    return "text: an error message in place of the file, or something else"


def describe_file(path: str, head: bytes) -> str | None:
    """A description of a file that can't be read, by its first bytes or else by its name; None if neither is known."""
    return describe_content(head) or describe_name(path) or describe_text(head)
