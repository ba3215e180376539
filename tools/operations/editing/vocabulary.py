"""Let the rows of an embedding follow their tokens to another vocabulary, by TensorFlow's warm-start rules.

Row i of the result is the old row of the new vocabulary's token i, or zeros if the old vocabulary does not have it;
rows for out-of-vocabulary buckets follow, zeros too (TensorFlow python/training/warm_starting_util.py,
`_warm_start_var_with_vocab`; core/kernels/generate_vocab_remapping_op.cc).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tensorbundle.errors import ConflictError, MissingFileError, UnsupportedError
from tensorbundle.tools.operations.editing.layout import even_slices
from tensorbundle.tools.operations.editing.selection import slots_of
from tensorbundle.tools.operations.editing.values import find_key
from tensorbundle.tools.rewriting.expressions import Take
from tensorbundle.tools.rewriting.plan import Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorbundle.shards import Array
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["read_vocabulary", "resize"]


def read_vocabulary(path: str) -> list[bytes]:
    """The tokens of a vocabulary file, one a line.

    Raises:
        MissingFileError: no such file.
    """
    try:
        with open(path, "rb") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        raise MissingFileError("no such vocabulary file", path=path) from None


def resize(
    draft: Draft,
    name: str,
    old: Sequence[bytes],
    new: Sequence[bytes],
    *,
    axis: int = 0,
    oov: int = 0,
    old_size: int | None = None,
    new_size: int | None = None,
) -> list[str]:
    """Reorder and resize a variable and its slot variables along an axis; the keys that changed.

    Args:
        draft: what to change.
        name: the variable.
        old: the tokens of its rows.
        new: the tokens of the rows it shall have.
        axis: 0 for embeddings, 1 for output layers.
        oov: rows for out-of-vocabulary buckets, after those of the tokens.
        old_size: only so many of the old tokens count; all of them if None or -1, as in TensorFlow.
        new_size: only so many of the new tokens get a row, likewise.

    Raises:
        TensorNotFoundError: no such tensor.
        ConflictError: no such axis, a negative number, or more old tokens than rows.
        UnsupportedError: a tensor that is new.
    """
    key = find_key(draft, name)
    if oov < 0:
        raise ConflictError(f"{oov} rows for out-of-vocabulary buckets", path=draft.prefix, key=key)
    counts = []
    for tokens, size in ((old, old_size), (new, new_size)):
        if size is not None and size < -1:
            raise ConflictError(f"a vocabulary of size {size}", path=draft.prefix, key=key)
        counts.append(len(tokens) if size in (None, -1) else min(size, len(tokens)))
    old, new = old[: counts[0]], new[: counts[1]]
    positions: dict[bytes, int] = {}
    for position, token in enumerate(old):
        positions.setdefault(token, position)
    needed = max(positions.values(), default=-1) + 1
    rows: Array = np.array([positions.get(token, -1) for token in new] + [-1] * oov, np.int64)
    changed = []
    for each in [key, *slots_of(draft, key)]:
        tensor = draft.tensors[each]
        if isinstance(tensor.expression, Literal):
            raise UnsupportedError("this tensor can't be resized", path=draft.prefix, key=each)
        shape = tensor.expression.shape
        if not 0 <= axis < len(shape):
            if each == key:
                raise ConflictError(
                    f"axis {axis} of a tensor of {len(shape)} dimensions", path=draft.prefix, key=key
                )
            continue  # a slot that has not the variable's shape
        if needed > shape[axis]:
            raise ConflictError(
                f"{needed} old tokens, axis {axis} has {shape[axis]} elements",
                path=draft.prefix,
                key=each,
            )
        resized = Take(tensor.expression, axis, rows)
        slices = tensor.slices
        if 0 in resized.shape:
            slices = ()  # nothing that could be cut
        elif slices:
            cut = next(
                (
                    number
                    for number in range(len(shape))
                    if len({part.extents[number] for part in slices}) > 1
                ),
                0,
            )
            slices = even_slices(resized.shape, min(len(slices), resized.shape[cut]), cut)
        draft.tensors[each] = replace(tensor, expression=resized, slices=slices)
        changed.append(each)
    return changed
