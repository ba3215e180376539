"""Tensors that a checkpoint lacks because its kind has no place for them, as a conversion leaves them out.

A name-based checkpoint has variables only, and other formats lack some types; the save counter belongs to the objects of
`tf.train.Checkpoint`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tensorbundle.errors import BundleError, UnsupportedError
from tensorbundle.foreign import foreign_ending
from tensorbundle.keys import encode_key
from tensorbundle.proto.paths import SAVE_COUNTER, VARIABLE_VALUE, attribute_key

if TYPE_CHECKING:
    from collections.abc import Collection

    from tensorbundle.tools.operations.comparing.sides import Side
    from tensorbundle.tools.operations.converting.keras_pairs import Converted

__all__ = ["omissions"]

_COUNTER = attribute_key(SAVE_COUNTER)


def omissions(side: Side, keys: Collection[str], other: Side, converted: Converted | None) -> dict[str, str]:
    """Why the other side has no place for some tensors that it lacks, by their keys.

    Args:
        side: which has the tensors.
        keys: of the tensors that the other side lacks.
        other: the side that lacks them.
        converted: how one side becomes the other, if one is a file of Keras weights and the conversion is possible.
    """
    found: dict[str, str] = {}
    if not keys:
        return found
    ending = foreign_ending(other.checkpoint.prefix)
    if ending is not None:
        found |= _of_types(side, keys, other.checkpoint.prefix)
    if side.graph and not other.graph:
        with contextlib.suppress(BundleError, OSError):  # of an object graph that can't be read
            found |= _of_objects(side, keys, other, converted, named=ending is None)
        if _COUNTER in keys:
            found[_COUNTER] = "the save counter of tf.train.Checkpoint"
    return found


def _of_types(side: Side, keys: Collection[str], path: str) -> dict[str, str]:
    """Why the format of a file can't store tensors, by type and shape."""
    from tensorbundle.tools.formats.outputs import output_of  # only files of other formats need it

    try:
        output = output_of(path)
    except UnsupportedError:  # it is only read
        return {}
    entries = {key: side.entries[key] for key in keys} if output is not None else {}
    return {
        key: reason
        for key, entry in entries.items()
        if output is not None
        and (reason := output.lacks(encode_key(key), entry.dtype, entry.shape)) is not None
    }


def _of_objects(
    side: Side, keys: Collection[str], other: Side, converted: Converted | None, *, named: bool
) -> dict[str, str]:
    """Why a checkpoint without objects has no place for tensors of objects."""
    if converted is not None:
        from tensorbundle.tools.operations.converting.keras_pairs import without_place

        return without_place(side.checkpoint, other.checkpoint, keys)
    graph = side.checkpoint.object_graph
    if graph is None or not named:
        return {}
    from tensorbundle.tools.operations.converting.conversion import why_nameless

    return why_nameless(graph, (key for key in keys if not key.endswith(f"/{VARIABLE_VALUE}")))
