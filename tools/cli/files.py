"""Files that commands write beside checkpoints: maps, manifests, pages."""

from __future__ import annotations

import contextlib
import os

from tensorbundle.errors import BundleError, ConflictError

__all__ = ["write_text"]


def write_text(path: str, text: str, *, overwrite: bool = False) -> None:
    """Write a file that is complete or absent.

    Raises:
        ConflictError: it exists, and `overwrite` is not set.
        BundleError: it can't be written.
    """
    if os.path.lexists(path) and not overwrite:
        raise ConflictError("exists; use --overwrite to replace it", path=path)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        raise BundleError(f"can't be written: {error.strerror}", path=path) from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
