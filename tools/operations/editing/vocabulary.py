"""Remap the rows of an embedding, and of its optimizer slots, to another vocabulary, by TensorFlow's warm-start rules.

Row i of the result is the old row of the new vocabulary's token i, or zeros if the old vocabulary does not have it;
rows for out-of-vocabulary buckets follow, which are also zeros (TensorFlow python/training/warm_starting_util.py,
`_warm_start_var_with_vocab`; core/kernels/generate_vocab_remapping_op.cc).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tensorbundle.arrays import np
from tensorbundle.errors import ConflictError, cannot_read
from tensorbundle.tools.operations.editing.layout import even_slices
from tensorbundle.tools.operations.editing.values import find_key
from tensorbundle.tools.optimizers.following import slots_of
from tensorbundle.tools.optimizers.table import axes_of
from tensorbundle.tools.rewriting.rearranging import Take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorbundle.dtypes import Array
    from tensorbundle.tools.rewriting.draft import Draft, DraftTensor

__all__ = ["Resized", "read_vocabulary", "resize"]


@dataclass(frozen=True, slots=True)
class Resized:
    """The result of `resize`.

    Attributes:
        keys: the tensors that changed, the variable first.
        kept: how many of the variable's old rows the result has.
        dropped: how many old rows were removed: of tokens that the new vocabulary lacks, and of out-of-vocabulary
            buckets.
        new: how many rows of the result are zeros.
    """

    keys: list[str]
    kept: int
    dropped: int
    new: int

    @property
    def note(self) -> str:
        """The remark on these tensors, for a person."""
        return f"resized: {self.kept} rows kept, {self.dropped} dropped, {self.new} new (zeros)"


def read_vocabulary(path: str) -> list[bytes]:
    """The tokens of a vocabulary file, one a line.

    Raises:
        MissingFileError: no such file.
        BundleError: it can't be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read().splitlines()
    except OSError as error:
        raise cannot_read(error, path, "vocabulary file") from None


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
) -> Resized:
    """Reorder and resize a variable and its optimizer slots along an axis.

    The variable's slots change in every optimizer; one that is averaged over the axis (Adafactor) is not changed.

    Args:
        draft: what to change.
        name: the variable.
        old: the tokens of its rows.
        new: the tokens of its new rows.
        axis: 0 for embeddings, 1 for output layers.
        oov: the number of rows for out-of-vocabulary buckets, after those of the tokens.
        old_size: how many of the old tokens are used; all if None or -1, as in TensorFlow.
        new_size: how many of the new tokens get a row; all if None or -1.

    Raises:
        TensorNotFoundError: no such tensor.
        ConflictError: no such axis, a negative number, more old tokens than rows, or a slot for which the
            checkpoint does not tell whether it belongs to this variable, or how to change it.
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
    tensor = draft.tensors[key]
    shape = tensor.shape
    if not 0 <= axis < len(shape):
        raise ConflictError(f"axis {axis} of a tensor of rank {len(shape)}", path=draft.prefix, key=key)
    if needed > shape[axis]:
        raise ConflictError(
            f"{needed} old tokens, axis {axis} has {shape[axis]} elements", path=draft.prefix, key=key
        )
    new_shape = (*shape[:axis], len(rows), *shape[axis + 1 :])
    changed = {key: _taken(draft, key, axis, rows)}
    for slot, (role, axes) in slots_of(draft, key).items():
        slot_shape = draft.tensors[slot].shape
        if axis in axes:
            changed[slot] = _taken(draft, slot, axes.index(axis), rows)
            slot_shape = changed[slot].shape
        if axes_of(role, new_shape, slot_shape) != axes:
            raise ConflictError(
                f"the optimizer averages {slot!r} over another axis where the tensor is {list(new_shape)}; "
                "'slim' removes the optimizer's state",
                path=draft.prefix,
                key=key,
            )
    draft.tensors |= changed
    kept = len({row for row in rows.tolist() if row >= 0})
    return Resized(list(changed), kept, shape[axis] - kept, int((rows < 0).sum()))


def _taken(draft: Draft, key: str, axis: int, rows: Array) -> DraftTensor:
    """A tensor with these rows of an axis, in as many slices as it has."""
    tensor = draft.tensors[key]
    resized = Take(tensor.expression, axis, rows)
    slices = tensor.slices
    if 0 in resized.shape:
        slices = ()  # no axis that could be cut
    elif slices:
        dimensions = range(len(resized.shape))
        cut = next((each for each in dimensions if len({part.extents[each] for part in slices}) > 1), 0)
        slices = even_slices(resized.shape, min(len(slices), resized.shape[cut]), cut)
    return replace(tensor, expression=resized, slices=slices)
