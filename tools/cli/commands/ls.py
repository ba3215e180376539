"""`tensorbundle ls`: the tensors of a checkpoint, from its index alone, and with `--long` from its object graph."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeVar

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError
from tensorbundle.specs import shape_text
from tensorbundle.tools.cli.console import counted, escape, human_bytes
from tensorbundle.tools.operations.inspecting.listing import SORTS, chosen, listed, owners, slices_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping

    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.entries import StoredRange, TensorEntry
    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.inspecting.listing import ListedTensor, Owner

_Listed = TypeVar("_Listed", bound="tuple[str, TensorEntry] | ListedTensor")

EXAMPLE = "tensorbundle ls run/model.ckpt-1000 'encoder/*' --long"
_HEADS: Final = ["key", "dtype", "shape", "size", "shard", "offset", "crc32c"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("patterns", metavar="PATTERN", nargs="*", help="a glob, or re:REGEX; all by default")
    parser.add_argument("--sort", choices=SORTS, default="key", help="by key (the default), or largest first")
    parser.add_argument(
        "--long", "-l", action="store_true", help="also shard, offset, crc32c, slices and full names"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the list."""
    with open_checkpoint(args.checkpoint) as checkpoint:
        try:
            owned = owners(checkpoint) if args.long else {}
        except (BundleError, OSError) as error:
            console.note(
                f"tensorbundle ls: no full names, as the object graph can't be read: {escape(str(error))}"
            )
            owned = {}
        if console.json:
            for each in listed(checkpoint, args.patterns, args.sort):
                console.record(each.to_json() | (_owner_record(owned.get(each.key)) if args.long else {}))
            return 0
        total = _Total()
        if args.long:
            tensors = total.added(listed(checkpoint, args.patterns, args.sort))
            console.table(_long_rows(checkpoint, tensors, owned), right=(3, 4, 5))
        else:
            console.table(_rows(total.added(chosen(checkpoint, args.patterns, args.sort))), right=(3,))
        console.summary(total.text(checkpoint))
    return 0


def _owner_record(owner: Owner | None) -> dict[str, object]:
    return {"path": owner and owner.path, "full_name": (owner and owner.full_name) or None}


class _Total:
    """What tensors have in all, added up while they are listed."""

    def __init__(self) -> None:
        self.tensors = self.elements = self.nbytes = 0

    def added(self, listed: Iterable[_Listed]) -> Iterator[_Listed]:
        """The same tensors, each added when it is taken."""
        for each in listed:
            self.tensors += 1
            self.elements += math.prod(each[1].shape)
            self.nbytes += each[1].nbytes
            yield each

    def text(self, checkpoint: Checkpoint) -> str:
        """The totals, for people."""
        shards = counted(checkpoint.num_shards, checkpoint.index.file_noun)
        return (
            f"{counted(self.tensors, 'tensor')}, {counted(self.elements, 'element')}, "
            f"{human_bytes(self.nbytes)} in {shards}"
        )


def _rows(tensors: Iterable[tuple[str, TensorEntry]]) -> Iterator[tuple[str, ...]]:
    """The cells of the short list; types, shapes and sizes repeat, so their cells are made once."""
    made: dict[tuple[object, ...], tuple[str, ...]] = {}
    for key, entry in tensors:
        kind = entry[:3]
        cells = made.get(kind)
        if cells is None:
            cells = made[kind] = _kind(entry)
        yield (escape(key), *cells)


def _kind(entry: TensorEntry) -> tuple[str, str, str]:
    return str(entry.dtype), shape_text(entry.shape), human_bytes(entry.nbytes)


def _long_rows(
    checkpoint: Checkpoint, tensors: Iterator[ListedTensor], owned: Mapping[str, Owner]
) -> Iterator[list[str]]:
    """The cells of the list with `--long`, below their heads; none without tensors."""
    named = any(each.full_name for each in owned.values())
    for number, each in enumerate(tensors):
        if not number:
            yield [*_HEADS, "full name"] if named else _HEADS
        owner = owned.get(each.key)
        full_name = [escape(owner.full_name if owner else "")] if named else []
        yield _long_row(escape(each.key), each.entry, each.stored) + full_name
        for part, entry, stored in slices_of(checkpoint, each):
            yield _long_row(f"  slice {part}", entry, stored) + [""] * len(full_name)


def _long_row(name: str, entry: TensorEntry, stored: StoredRange | None) -> list[str]:
    row = [name, *_kind(entry)]
    if entry.slices:
        return [*row, "-", "-", counted(len(entry.slices), "slice")]
    offset = "-" if stored is None else str(stored.offset)
    crc = "-" if stored is None or stored.crc32c is None else f"{stored.crc32c:08x}"
    return [*row, str(entry.shard), offset, crc]
