"""Errors that are also ValueErrors, as TensorFlow's are."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tensorbundle.errors import MissingFileError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NoCheckpointError", "UnsupportedValueError", "as_value_errors"]


class NoCheckpointError(MissingFileError, ValueError):
    """A directory has no checkpoint, or its state file names one that does not exist."""


class UnsupportedValueError(UnsupportedError, ValueError):
    """A version or a tensor that this reader or NumPy does not support."""


@contextlib.contextmanager
def as_value_errors() -> Iterator[None]:
    """Turn errors into the classes that are also ValueErrors, where TensorFlow raises a ValueError."""
    try:
        yield
    except UnsupportedError as error:
        raise UnsupportedValueError(
            error.reason, path=error.path, offset=error.offset, key=error.key
        ) from None
