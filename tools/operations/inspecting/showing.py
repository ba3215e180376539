"""The values of some tensors, or of regions of them: `show`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError, TensorNotFoundError, UnsupportedError
from tensorbundle.keys import encode_key
from tensorbundle.tools.patterns import select

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorbundle.checkpoint import Checkpoint, Path
    from tensorbundle.dtypes import Array, DType
    from tensorbundle.entries import TensorEntry

__all__ = ["ShownTensor", "parse_region", "show"]

_REGION: Final = re.compile(r"(?P<name>.*)\[(?P<region>[^\[\]]*)\]", re.DOTALL)
_COPIED_BYTES: Final = 256 << 20
_INTEGER: Final = r"-?\d{1,100}"
_SLICE: Final = re.compile(f"({_INTEGER})?:({_INTEGER})?(?::({_INTEGER})?)?")


class ShownTensor(NamedTuple):
    """The values of a tensor, or of a region of it.

    Attributes:
        key: the tensor's.
        name: for a region, the name as it was given; otherwise the key.
        dtype: the tensor's.
        values: as TensorFlow returns them.
        verified: whether their checksum was checked; false for a region, as the checksum covers the whole tensor.
    """

    key: str
    name: str
    dtype: DType
    values: Array
    verified: bool


def show(source: Path, names: Sequence[str], *, verify: bool = True) -> Iterator[ShownTensor]:
    """The values of tensors, one after another, each read when it is requested.

    Args:
        source: anything that `tensorbundle.open` takes.
        names: any names of tensors, also with a region (`KEY[0:3,:]`), and patterns. A tensor is shown once for each of
            them that means it.
        verify: whether checksums are checked.

    Raises:
        TensorNotFoundError: a name means no tensor, or a pattern matches none.
        BundleError: a region that a tensor does not have, or values that can't be read.
    """
    with open_checkpoint(source, verify=verify) as checkpoint:
        for meant in [each for name in names for each in _meant(checkpoint, name)]:
            yield _read(checkpoint, *meant, verify=verify)


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


def _read(checkpoint: Checkpoint, key: str, name: str, region: str | None, *, verify: bool) -> ShownTensor:
    entry = checkpoint.entry(key)
    try:
        # Values of very large tensors are not copied, as only a few of them are printed.
        copy = region is not None or entry.nbytes <= _COPIED_BYTES
        values = checkpoint.read(key, None if region is None else parse_region(region), copy=copy)
    except BundleError as error:
        raise error.locate(path=checkpoint.prefix, key=key) from None
    verified = _is_encoded(checkpoint, key, entry) or (region is None and verify)
    return ShownTensor(key, name, entry.dtype, values, verified)


def _is_encoded(checkpoint: Checkpoint, key: str, entry: TensorEntry) -> bool:
    """Whether the format encodes the values, in blocks with checksums of their own, which are always checked."""
    index, raw = checkpoint.index, encode_key(key)
    parts = [(each, part) for _, each, part in index.stored_slices(raw, entry)] or [(raw, entry)]
    return all(index.stored(*each) is None for each in parts)


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
