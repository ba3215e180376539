"""The tensors of a checkpoint, from its index: `ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import check_word
from tensorbundle.keys import encode_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tensorbundle.checkpoint import Checkpoint, Path
    from tensorbundle.entries import StoredRange, TensorEntry

__all__ = ["SORTS", "ListedSlice", "ListedTensor", "Owner", "chosen", "listed", "ls", "owners", "slices_of"]

SORTS: Final = ("key", "size")


class ListedTensor(NamedTuple):
    """One tensor of a listing.

    Attributes:
        key: its key.
        entry: its dtype, shape, size, and where its bytes are.
        stored: where its bytes are; None for a partitioned tensor, and if values are encoded.
    """

    key: str
    entry: TensorEntry
    stored: StoredRange | None

    def to_json(self) -> dict[str, object]:
        """The fields as plain data; `shard` is null for a partitioned tensor, `offset` and `crc32c` without a place."""
        entry, stored = self.entry, self.stored
        crc = None if stored is None else stored.crc32c
        return {
            "key": self.key,
            "dtype": entry.dtype,
            "shape": list(entry.shape),
            "nbytes": entry.nbytes,
            "shard": None if entry.slices else entry.shard,
            "offset": None if stored is None else stored.offset,
            "crc32c": None if crc is None else f"{crc:08x}",
            "slices": [str(each) for each in entry.slices],
        }


class ListedSlice(NamedTuple):
    """One slice of a partitioned tensor: which part it is, its entry, and where its bytes are."""

    part: str
    entry: TensorEntry
    stored: StoredRange | None


class Owner(NamedTuple):
    """The object that owns a tensor: its path, and the full name that it gives the tensor."""

    path: str
    full_name: str


def ls(source: Path, patterns: Sequence[str] = (), *, sort: str = "key") -> list[ListedTensor]:
    """The tensors of a checkpoint, from its index alone.

    Args:
        source: anything that `tensorbundle.open` takes.
        patterns: only tensors that match one of them; all if there is none.
        sort: "key", or "size" for most bytes first, and tensors of the same size by key.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        BundleError: the checkpoint can't be read, or `sort` is another word.
    """
    check_word("sort", sort, SORTS)
    with open_checkpoint(source) as checkpoint:
        return list(listed(checkpoint, patterns, sort))


def listed(checkpoint: Checkpoint, patterns: Sequence[str] = (), sort: str = "key") -> Iterator[ListedTensor]:
    """`ls` of an open checkpoint, a tensor at a time; otherwise as `chosen`."""
    index = checkpoint.index
    for key, entry in chosen(checkpoint, patterns, sort):
        yield ListedTensor(key, entry, None if entry.slices else index.stored(encode_key(key), entry))


def chosen(
    checkpoint: Checkpoint, patterns: Sequence[str] = (), sort: str = "key"
) -> Iterable[tuple[str, TensorEntry]]:
    """The keys and entries of the tensors that `ls` lists; sorted by size, all of them are held in memory."""
    found: Iterable[tuple[str, TensorEntry]] = checkpoint.entries()
    if patterns:
        from tensorbundle.tools.patterns import select  # not needed to list all tensors

        found = select(found, patterns, checkpoint.naming)
    return sorted(found, key=lambda each: -each[1].nbytes) if sort == "size" else found


def slices_of(checkpoint: Checkpoint, tensor: ListedTensor) -> Iterator[ListedSlice]:
    """The slices of a partitioned tensor; none of another."""
    if tensor.entry.slices:
        index = checkpoint.index
        for part, key, entry in index.stored_slices(encode_key(tensor.key), tensor.entry):
            yield ListedSlice(str(part), entry, index.stored(key, entry))


def owners(checkpoint: Checkpoint) -> dict[str, Owner]:
    """The owners of tensors by key; none without an object graph.

    Raises:
        CorruptionError: the object graph is damaged.
    """
    graph = checkpoint.object_graph
    if graph is None:
        return {}
    return {each.checkpoint_key: Owner(path, each.full_name) for path, _, each in graph.attributes()}
