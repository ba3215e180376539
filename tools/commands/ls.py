"""`tensorbundle ls`: the tensors of a checkpoint, from its index alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.index import encode_key
from tensorbundle.tools.console import columns, escape, human_bytes, shape_text
from tensorbundle.tools.patterns import select

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.entries import TensorEntry
    from tensorbundle.tools.console import Console

HELP = "list keys, types, shapes and sizes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("patterns", metavar="PATTERN", nargs="*", help="a glob, or re:REGEX; all by default")
    parser.add_argument("--long", "-l", action="store_true", help="also shard, offset, crc32c and slices")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the list."""
    with open_checkpoint(args.checkpoint) as checkpoint:
        rows = list(select(checkpoint.entries(), args.patterns, checkpoint.prefix))
        if console.json:
            for key, entry in rows:
                console.record(to_json(key, entry))
        else:
            console.lines(_table(checkpoint, rows, long=args.long))
    return 0


def to_json(key: str, entry: TensorEntry) -> dict[str, object]:
    """The fields of one tensor; a partitioned one has no place of its own."""
    whole = not entry.slices
    return {
        "key": key,
        "dtype": entry.dtype,
        "shape": list(entry.shape),
        "nbytes": entry.nbytes,
        "shard": entry.shard if whole else None,
        "offset": entry.offset if whole else None,
        "crc32c": f"{entry.crc32c:08x}" if whole else None,
        "slices": [str(each) for each in entry.slices],
    }


def _table(checkpoint: Checkpoint, rows: list[tuple[str, TensorEntry]], *, long: bool) -> Iterator[str]:
    cells = []
    for key, entry in rows:
        cells.append(_row(escape(key), entry, long=long))
        if long and entry.slices:
            cells += [
                _row(f"  slice {part}", piece, long=True)
                for part, _, piece in checkpoint.index.pieces(encode_key(key), entry)
            ]
    if cells:
        yield from columns(cells, right=(3, 4, 5) if long else (3,))
    elements = sum(entry.elements for _, entry in rows)
    total = human_bytes(sum(entry.nbytes for _, entry in rows))
    shards = f"{checkpoint.num_shards} data shard{'s' if checkpoint.num_shards > 1 else ''}"
    yield f"{len(rows)} tensors, {elements:,} elements, {total} in {shards}"


def _row(name: str, entry: TensorEntry, *, long: bool) -> list[str]:
    row = [name, str(entry.dtype), shape_text(entry.shape), human_bytes(entry.nbytes)]
    if not long:
        return row
    if entry.slices:
        return [*row, "-", "-", f"{len(entry.slices)} slices"]
    return [*row, str(entry.shard), str(entry.offset), f"{entry.crc32c:08x}"]
