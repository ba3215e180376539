"""Errors that are ValueErrors as well, as TensorFlow's are."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tensorbundle.errors import MissingFileError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NoCheckpointError", "UnsupportedValueError", "as_value_errors"]


class NoCheckpointError(MissingFileError, ValueError):
    """A directory has no checkpoint, or its state file names one that is not there."""


class UnsupportedValueError(UnsupportedError, ValueError):
    """A version or a tensor that this reader, or NumPy, does not know."""


@contextlib.contextmanager
def as_value_errors() -> Iterator[None]:
    """What TensorFlow refuses, it refuses with ValueErrors."""
    try:
        yield
    except UnsupportedError as error:
        raise UnsupportedValueError(
            error.reason, path=error.path, offset=error.offset, key=error.key
        ) from None
