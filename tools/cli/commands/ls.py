"""`tensorbundle ls`: the tensors of a checkpoint, from its index alone, and with `--long` from its object graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError
from tensorbundle.index import encode_key
from tensorbundle.slices import shape_text
from tensorbundle.tools.cli.console import columns, escape, human_bytes
from tensorbundle.tools.patterns import select

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from tensorbundle.checkpoint import Checkpoint
    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle ls run/model.ckpt-1000 'encoder/*' --long"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("patterns", metavar="PATTERN", nargs="*", help="a glob, or re:REGEX; all by default")
    parser.add_argument(
        "--long", "-l", action="store_true", help="also shard, offset, crc32c, slices and full names"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the list."""
    with open_checkpoint(args.checkpoint) as checkpoint:
        rows = list(select(checkpoint.entries(), args.patterns, checkpoint.naming))
        try:
            paths, full_names = _owners(checkpoint) if args.long else ({}, {})
        except (BundleError, OSError) as error:
            console.note(
                f"tensorbundle ls: no full names, as the object graph can't be read: {escape(str(error))}"
            )
            paths, full_names = {}, {}
        if console.json:
            for key, entry in rows:
                owner = {"path": paths.get(key), "full_name": full_names.get(key)} if args.long else {}
                console.record(to_json(key, entry, checkpoint.index) | owner)
        else:
            console.lines(_table(checkpoint, rows, full_names, long=args.long))
    return 0


def to_json(key: str, entry: TensorEntry, index: Index) -> dict[str, object]:
    """The fields of one tensor; a partitioned one has no place of its own, and in a V1 file none has."""
    whole = not entry.slices
    placed = whole and index.file_format == "v2"
    return {
        "key": key,
        "dtype": entry.dtype,
        "shape": list(entry.shape),
        "nbytes": entry.nbytes,
        "shard": entry.shard if whole else None,
        "offset": entry.offset if placed else None,
        "crc32c": f"{entry.crc32c:08x}" if placed else None,
        "slices": [str(each) for each in entry.slices],
    }


def _owners(checkpoint: Checkpoint) -> tuple[dict[str, str], dict[str, str]]:
    """By key, the path of the object that owns a tensor, and the tensor's full name; nothing without an object graph."""
    graph = checkpoint.object_graph
    attributes = [] if graph is None else [(path, each) for path, _, each in graph.attributes()]
    paths = {each.checkpoint_key: path for path, each in attributes}
    return paths, {each.checkpoint_key: each.full_name for _, each in attributes if each.full_name}


def _table(
    checkpoint: Checkpoint, rows: list[tuple[str, TensorEntry]], full_names: Mapping[str, str], *, long: bool
) -> Iterator[str]:
    placed = checkpoint.index.file_format == "v2"
    cells = []
    for key, entry in rows:
        full_name = [escape(full_names.get(key, ""))] if full_names else []
        cells.append(_row(escape(key), entry, placed, long=long) + full_name)
        if long and entry.slices:
            cells += [
                _row(f"  slice {part}", piece, placed, long=True) + [""] * len(full_name)
                for part, _, piece in checkpoint.index.pieces(encode_key(key), entry)
            ]
    if cells:
        yield from columns(cells, right=(3, 4, 5) if long else (3,))
    elements = sum(entry.elements for _, entry in rows)
    total = human_bytes(sum(entry.nbytes for _, entry in rows))
    what = "data shard" if placed else "V1 file"
    shards = f"{checkpoint.num_shards} {what}{'s' if checkpoint.num_shards > 1 else ''}"
    yield f"{len(rows)} tensors, {elements:,} elements, {total} in {shards}"


def _row(name: str, entry: TensorEntry, placed: bool, *, long: bool) -> list[str]:
    row = [name, str(entry.dtype), shape_text(entry.shape), human_bytes(entry.nbytes)]
    if not long:
        return row
    if entry.slices:
        return [*row, "-", "-", f"{len(entry.slices)} slices"]
    return [*row, str(entry.shard), *([str(entry.offset), f"{entry.crc32c:08x}"] if placed else ["-", "-"])]
