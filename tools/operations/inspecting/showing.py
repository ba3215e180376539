"""The values of some tensors, or of regions of them: `show`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError, TensorNotFoundError, UnsupportedError
from tensorbundle.keys import encode_key
from tensorbundle.shards import check_shape
from tensorbundle.tools.operations.inspecting.passes import flat_values
from tensorbundle.tools.patterns import select
from tensorbundle.tools.rewriting.repetition import Repetition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorbundle.checkpoint import Checkpoint, Path
    from tensorbundle.dtypes import Array, DType
    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import Index

__all__ = ["ShownTensor", "parse_region", "show"]

_REGION: Final = re.compile(r"(?P<name>.*)\[(?P<region>[^\[\]]*)\]", re.DOTALL)
_HELD_BYTES: Final = 32 << 20  # of a tensor that is read at once
_INTEGER: Final = r"-?\d{1,100}"
_SLICE: Final = re.compile(f"({_INTEGER})?:({_INTEGER})?(?::({_INTEGER})?)?")


@dataclass(frozen=True)
class ShownTensor:
    """A tensor, or a region of it, and its values.

    A whole tensor of more than 32 MiB is read when its values are requested, which is possible until the next tensor is.

    Attributes:
        key: the tensor's.
        name: for a region, the name as it was given; otherwise the key.
        dtype: the tensor's.
        shape: of the tensor, or of the region.
        verified: whether the checksum of what is returned is checked; false for a region, as the checksum covers the whole
            tensor.
        runs: its values in C order, in flat arrays; of a large tensor, each has a few megabytes, and its checksum is
            checked after the last one.
    """

    key: str
    name: str
    dtype: DType
    shape: tuple[int, ...]
    verified: bool
    runs: Callable[[], Iterable[Array]]

    @property
    def values(self) -> Array:
        """All values, as TensorFlow returns them, in one array.

        Raises:
            BundleError: they can't be read.
        """
        out = np.empty(self.shape, self.dtype.numpy)
        flat, done = out.reshape(-1), 0
        for run in self.runs():
            flat[done : done + run.size] = run
            done += run.size
        return out

    def ends(self, count: int) -> Array:
        """The values at both ends of each dimension, and one between where there are more, in one array.

        Args:
            count: how many at each end.

        Raises:
            BundleError: the values can't be read.
        """
        kept = [
            np.r_[: count + 1, size - count : size] if size > 2 * count else np.arange(size)
            for size in self.shape
        ]
        out = np.empty([len(each) for each in kept], self.dtype.numpy)
        places = np.ravel_multi_index(np.ix_(*kept), self.shape).reshape(-1) if kept else np.zeros(1, int)
        flat, done, first = out.reshape(-1), 0, 0
        for run in self.runs():
            end = int(np.searchsorted(places, done + run.size))
            flat[first:end] = run[places[first:end] - done]
            first, done = end, done + run.size
        return out


def show(source: Path, names: Sequence[str], *, verify: bool = True) -> Iterator[ShownTensor]:
    """The values of tensors, one after another, each read when it is requested.

    Args:
        source: anything that `tensorbundle.open` takes.
        names: any names of tensors, also with a region (`KEY[0:3,:]`), and patterns. A tensor is shown once for each of
            them that means it.
        verify: whether checksums are checked.

    Raises:
        TensorNotFoundError: a name means no tensor, or a pattern matches none.
        BundleError: a region that a tensor does not have, values that can't be read, or tensors that share bytes, more
            often than is read (`MAX_REPEATS`).
    """
    repetition = Repetition()
    with open_checkpoint(source, verify=verify) as checkpoint:
        for meant in [each for name in names for each in _meant(checkpoint, name)]:
            yield _read(checkpoint, *meant, repetition, verify=verify)


def _meant(checkpoint: Checkpoint, text: str) -> list[tuple[str, str, str | None]]:
    """The keys, names and regions that a name, a name with a region, or a pattern means; names may end in brackets."""
    found = _REGION.fullmatch(text)
    if found is not None and text not in checkpoint and found["name"] in checkpoint:
        return [(found["name"], text, found["region"])]  # a key, for which no other name need be known
    if checkpoint.naming.find(text) is not None:
        key = checkpoint.key_of(text)
        return [(key, key, None)]
    if found is not None and checkpoint.naming.find(found["name"]) is not None:
        return [(checkpoint.key_of(found["name"]), text, found["region"])]
    if text.startswith("re:") or any(char in text for char in "*?["):
        try:
            return [(key, key, None) for key, _ in select(checkpoint.entries(), [text], checkpoint.naming)]
        except TensorNotFoundError:
            if found is None or any(char in found["name"] for char in "*?"):
                raise
    key = checkpoint.key_of(text if found is None else found["name"])  # raises, with similar names
    return [(key, key, None)]


def _read(
    checkpoint: Checkpoint,
    key: str,
    name: str,
    region: str | None,
    repetition: Repetition,
    *,
    verify: bool,
) -> ShownTensor:
    index = checkpoint.index
    entry = index.entry(key)
    try:
        places = [(each, index.stored(raw, each)) for raw, each in _stored_entries(index, key, entry)]
        # The format may encode values, in blocks with checksums of their own, which are always checked.
        encoded = all(stored is None for _, stored in places)
        verified = encoded or (region is None and verify)
        for each, stored in places if region is None else ():
            if stored is not None:
                repetition.add(each, stored)
        if region is None and entry.dtype.itemsize and entry.nbytes > _HELD_BYTES:
            check_shape(entry.shape, entry.dtype)
            runs = partial(flat_values, index, key, entry, verify=verify)
            return ShownTensor(key, name, entry.dtype, entry.shape, verified, runs)
        if region is None:
            values = checkpoint.shards.read(key, copy=True)
        else:
            values = checkpoint.read(key, parse_region(region), copy=True)
    except BundleError as error:
        raise error.locate(path=checkpoint.prefix, key=key) from None
    return ShownTensor(key, name, entry.dtype, values.shape, verified, lambda: [values.reshape(-1)])


def _stored_entries(index: Index, key: str, entry: TensorEntry) -> Iterator[tuple[bytes, TensorEntry]]:
    """The key and the entry of each slice of a tensor; its own if it is not partitioned."""
    raw = encode_key(key)
    yield from ((each.key, each.entry) for each in index.stored_slices(raw, entry))
    if not entry.slices:
        yield raw, entry


def parse_region(text: str) -> tuple[Any, ...]:
    """The NumPy index that `0:3,:,-1` means: integers, slices and an ellipsis.

    Raises:
        UnsupportedError: anything else.
    """
    items: list[Any] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        bounds = _SLICE.fullmatch(part)
        if part == "...":
            items.append(...)
        elif bounds:
            chosen = slice(*(int(each) if each else None for each in bounds.groups()))
            if chosen.step == 0:
                raise UnsupportedError(f"region [{text}]: the step of {part!r} is 0")
            items.append(chosen)
        elif re.fullmatch(_INTEGER, part):
            items.append(int(part))
        else:
            raise UnsupportedError(f"region [{text}]: {part!r} is neither a number nor a slice such as 0:3")
    return tuple(items)
