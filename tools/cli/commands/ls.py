"""`tensorbundle ls`: the tensors of a checkpoint, from its index alone, and with `--long` from its object graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError
from tensorbundle.specs import shape_text
from tensorbundle.tools.cli.console import columns, counted, escape, human_bytes
from tensorbundle.tools.operations.inspecting.listing import SORTS, listed, owners, slices_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.entries import StoredRange, TensorEntry
    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.inspecting.listing import ListedTensor, Owner

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
        found = listed(checkpoint, args.patterns, args.sort)
        try:
            owned = owners(checkpoint) if args.long else {}
        except (BundleError, OSError) as error:
            console.note(
                f"tensorbundle ls: no full names, as the object graph can't be read: {escape(str(error))}"
            )
            owned = {}
        if console.json:
            for each in found:
                console.record(each.to_json() | (_owner_record(owned.get(each.key)) if args.long else {}))
        else:
            rows = list(found)
            console.lines(_table(checkpoint, rows, owned, long=args.long))
            console.summary(_total(checkpoint, rows))
    return 0


def _owner_record(owner: Owner | None) -> dict[str, object]:
    return {"path": owner and owner.path, "full_name": (owner and owner.full_name) or None}


def _table(
    checkpoint: Checkpoint, rows: list[ListedTensor], owned: Mapping[str, Owner], *, long: bool
) -> Iterable[str]:
    named = any(each.full_name for each in owned.values())
    cells = [[*_HEADS, "full name"] if named else _HEADS] if long and rows else []
    for each in rows:
        owner = owned.get(each.key)
        full_name = [escape(owner.full_name if owner else "")] if named else []
        cells.append(_row(escape(each.key), each.entry, each.stored, long=long) + full_name)
        if long:
            cells += [
                _row(f"  slice {part}", entry, stored, long=True) + [""] * len(full_name)
                for part, entry, stored in slices_of(checkpoint, each)
            ]
    return columns(cells, right=(3, 4, 5) if long else (3,)) if cells else ()


def _total(checkpoint: Checkpoint, rows: list[ListedTensor]) -> str:
    elements = sum(each.entry.elements for each in rows)
    total = human_bytes(sum(each.entry.nbytes for each in rows))
    shards = counted(checkpoint.num_shards, checkpoint.index.file_noun)
    return f"{counted(len(rows), 'tensor')}, {counted(elements, 'element')}, {total} in {shards}"


def _row(name: str, entry: TensorEntry, stored: StoredRange | None, *, long: bool) -> list[str]:
    row = [name, str(entry.dtype), shape_text(entry.shape), human_bytes(entry.nbytes)]
    if not long:
        return row
    if entry.slices:
        return [*row, "-", "-", f"{len(entry.slices)} slices"]
    offset = "-" if stored is None else str(stored.offset)
    crc = "-" if stored is None or stored.crc32c is None else f"{stored.crc32c:08x}"
    return [*row, str(entry.shard), offset, crc]
