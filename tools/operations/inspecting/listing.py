"""The tensors of a checkpoint as its index has them: `ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.index import encode_key
from tensorbundle.tools.patterns import select

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorbundle.checkpoint import Checkpoint, Path
    from tensorbundle.entries import TensorEntry

__all__ = ["ListedSlice", "ListedTensor", "Owner", "listed", "ls", "owners", "slices_of"]


class ListedTensor(NamedTuple):
    """One tensor of a listing.

    Attributes:
        key: its key.
        entry: its dtype, shape, size, and where its bytes are.
        placed: whether it has a place of its own in a data shard: a partitioned tensor has none, nor has one in a V1 file.
    """

    key: str
    entry: TensorEntry
    placed: bool

    def to_json(self) -> dict[str, object]:
        """The fields as plain data; `shard` is null for a partitioned tensor, `offset` and `crc32c` without a place."""
        entry = self.entry
        return {
            "key": self.key,
            "dtype": entry.dtype,
            "shape": list(entry.shape),
            "nbytes": entry.nbytes,
            "shard": None if entry.slices else entry.shard,
            "offset": entry.offset if self.placed else None,
            "crc32c": f"{entry.crc32c:08x}" if self.placed else None,
            "slices": [str(each) for each in entry.slices],
        }


class ListedSlice(NamedTuple):
    """One slice of a partitioned tensor: which part it is, and its entry."""

    part: str
    entry: TensorEntry


class Owner(NamedTuple):
    """The object that owns a tensor: its path, and the full name that it gives the tensor."""

    path: str
    full_name: str


def ls(source: Path, patterns: Sequence[str] = ()) -> list[ListedTensor]:
    """The tensors of a checkpoint in the order of their keys, from its index alone.

    Args:
        source: anything that `tensorbundle.open` takes.
        patterns: only tensors that match one of them; all if there is none.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        BundleError: the checkpoint can't be read.
    """
    with open_checkpoint(source) as checkpoint:
        return list(listed(checkpoint, patterns))


def listed(checkpoint: Checkpoint, patterns: Sequence[str] = ()) -> Iterator[ListedTensor]:
    """`ls` of an open checkpoint, a tensor at a time."""
    placed = checkpoint.index.file_format == "v2"
    for key, entry in select(checkpoint.entries(), patterns, checkpoint.naming):
        yield ListedTensor(key, entry, placed and not entry.slices)


def slices_of(checkpoint: Checkpoint, tensor: ListedTensor) -> Iterator[ListedSlice]:
    """The slices of a partitioned tensor; none of another."""
    if tensor.entry.slices:
        for part, _, entry in checkpoint.index.pieces(encode_key(tensor.key), tensor.entry):
            yield ListedSlice(str(part), entry)


def owners(checkpoint: Checkpoint) -> dict[str, Owner]:
    """The owners of tensors by key; none without an object graph.

    Raises:
        CorruptionError: the object graph is damaged.
    """
    graph = checkpoint.object_graph
    if graph is None:
        return {}
    return {each.checkpoint_key: Owner(path, each.full_name) for path, _, each in graph.attributes()}
