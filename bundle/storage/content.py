"""What a file is instead of a checkpoint, by its first bytes."""

from __future__ import annotations

from typing import Final

__all__ = ["describe_content"]

_SIGNATURES: Final = (
    (b"version https://git-lfs", "a Git-LFS pointer: fetch the real file with 'git lfs pull'"),
    (b"model_checkpoint_path", "a 'checkpoint' state file: give its directory instead"),
    (b"\x1f\x8b", "gzip-compressed: unpack it first"),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"BZh", "bzip2-compressed: unpack it first"),
    (b"\xfd7zXZ", "xz-compressed: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed: unpack it first"),
    (b"\x89HDF", "an HDF5 file (Keras .h5 weights), not a TensorFlow checkpoint"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"\x80\x02", "a Python pickle (a PyTorch checkpoint?)"),
    (b"<!DOCTYPE", "an HTML page: the download failed"),
    (b"<!doctype", "an HTML page: the download failed"),
    (b"<html", "an HTML page: the download failed"),
)


def describe_content(head: bytes) -> str | None:
    """What a file with these first bytes is, when that explains why it is not what it should be; else None."""
    stripped = head.lstrip()
    for signature, meaning in _SIGNATURES:
        if stripped.startswith(signature):
            return meaning
    if head and not head.strip(b"\0"):
        return "all zeros: these bytes were never written"
    return None
