"""Files that commands write beside checkpoints: maps, manifests, pages, arrays."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO

from tensorbundle.errors import BundleError, ConflictError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tensorbundle.dtypes import Array, DType

__all__ = ["write_array", "write_text"]


def write_text(path: str, text: str, *, overwrite: bool = False) -> None:
    """Write a file that is complete or absent.

    Raises:
        ConflictError: it exists, and `overwrite` is not set.
        BundleError: it can't be written.
    """
    _write(path, lambda file: file.write(text.encode()), overwrite=overwrite)


def write_array(
    path: str, dtype: DType, shape: tuple[int, ...], runs: Iterable[Array], *, overwrite: bool = False
) -> None:
    """Write a `.npy` file that is complete or absent.

    Args:
        path: the file.
        dtype: the type of the values.
        shape: of the array.
        runs: its values in C order, in flat arrays.
        overwrite: whether a file that exists is replaced.

    Raises:
        ConflictError: it exists, and `overwrite` is not set.
        UnsupportedError: strings, which such a file can store only as pickled objects.
        BundleError: it can't be written.
    """
    if not dtype.itemsize:
        raise UnsupportedError("a .npy file can't contain strings", path=path)
    import numpy as np  # not for text

    from tensorbundle.tools.formats.npy import encode_npy

    def fill(file: BinaryIO) -> None:
        file.write(encode_npy(dtype, shape))
        file.writelines(run.view(np.uint8).data for run in runs)

    _write(path, fill, overwrite=overwrite)


def _write(path: str, fill: Callable[[BinaryIO], object], *, overwrite: bool) -> None:
    if os.path.lexists(path) and not overwrite:
        raise ConflictError("exists; use --overwrite to replace it", path=path)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "xb") as file:
            fill(file)
        os.replace(temporary, path)
    except OSError as error:
        raise BundleError(f"can't be written: {error.strerror}", path=path) from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
