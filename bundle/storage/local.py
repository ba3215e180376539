"""Random access to one file: the only way that tables are read.

Reads go through `pread`, not through a memory map: a table is small, TensorFlow rewrites an index in place, and a
map of a file that shrinks kills the process.
"""

from __future__ import annotations

import os
from typing import Self

from tensorbundle.errors import BundleError, CorruptionError, MissingFileError

__all__ = ["File", "describe_content", "open_descriptor"]


def open_descriptor(path: str) -> int:
    """A file descriptor of the regular file at `path`, for reading.

    Raises:
        MissingFileError: no such file, or a directory.
        OSError: it cannot be opened for another reason.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError("no such file", path=path) from None
    mode = os.fstat(descriptor).st_mode
    if mode & 0o170000 != 0o100000:
        os.close(descriptor)
        raise MissingFileError("not a regular file", path=path)
    return descriptor


class File:
    """A local file, open for reading at any position.

    Attributes:
        path: as it was given.
        size: bytes, when it was opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = open_descriptor(path)
        self.size = os.fstat(self._descriptor).st_size

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`.

        Raises:
            CorruptionError: the file does not hold all of them.
        """
        if self._descriptor < 0:
            raise BundleError("this checkpoint was closed", path=self.path)
        if offset < 0 or size < 0 or offset + size > self.size:
            raise CorruptionError(
                f"{size} bytes wanted, the file ends at {self.size}: it is cut short",
                path=self.path,
                offset=offset,
            )
        parts = []
        while size:
            part = os.pread(self._descriptor, size, offset)
            if not part:
                raise CorruptionError("the file shrank while it was read", path=self.path, offset=offset)
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()


_SIGNATURES = (
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
