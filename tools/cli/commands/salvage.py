"""`tensorbundle salvage`: save every tensor of a damaged checkpoint that can still be proven good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.console import counted, escape, human_bytes
from tensorbundle.tools.operations.salvaging.saving import salvage

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle salvage run/model.ckpt-1000 saved"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", metavar="SRC", help="a damaged checkpoint, or any remaining file of one")
    parser.add_argument("destination", metavar="DST", help="the new checkpoint's prefix")
    parser.add_argument(
        "--index",
        metavar="CKPT",
        help="another checkpoint of the same model, whose index replaces a lost one",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print which tensors can be saved, and write nothing"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace DST if it exists")


def run(args: argparse.Namespace, console: Console) -> int:
    """Salvage, and print lost and unproven tensors; the status is 1 if there are any."""
    found = salvage(
        args.source,
        None if args.dry_run else args.destination,
        sibling=args.index,
        overwrite=args.overwrite,
    )
    for note in found.notes:
        console.note(f"tensorbundle salvage: {escape(note)}")
    for each in found.fates:
        console.record(each.to_json())
    console.record(found.to_json())
    if found.fates:
        console.table([each.status, escape(each.key), escape(each.detail)] for each in found.fates)
    what = f"{counted(found.saved, 'tensor')} {'can be ' if args.dry_run else ''}saved, {found.lost} lost"
    if len(found.fates) > found.lost:
        what += f", {len(found.fates) - found.lost} saved but unproven"
    if found.summary is not None:
        what += f"; {human_bytes(found.summary.bytes_written)} written to {escape(found.summary.prefix)}"
    console.text(what)
    return 1 if found.fates else 0
