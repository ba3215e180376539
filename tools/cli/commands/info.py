"""`tensorbundle info`: a summary of a checkpoint on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.console import counted, escape, human_bytes
from tensorbundle.tools.operations.inspecting.overview import info

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.inspecting.overview import Info

EXAMPLE = "tensorbundle info run/model.ckpt-1000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the summary."""
    found = info(args.checkpoint)
    console.record(found.to_json())
    console.text(found.prefix)
    console.table([f"  {name}", escape(value)] for name, value in _rows(found))
    for note in found.notes:
        console.note(f"tensorbundle info: {note}")
    return 0


def _rows(found: Info) -> Iterator[tuple[str, str]]:
    kinds = {
        "TF1": "TF1, name-based",
        "TF2": "TF2, object-based",
        "V1": "V1, the old file format",
        "SavedModel": "variables of a SavedModel",
    }
    yield "kind", kinds.get(found.kind, found.kind)
    if found.written_by is not None:
        yield "written by", found.written_by
    yield "tensors", f"{found.tensors:,}"
    weights = f", {found.parameters_without_optimizer:,} without optimizer" if found.optimizer else ""
    yield "parameters", f"{found.parameters:,}{weights}"
    yield "optimizer", "none found" if found.optimizer is None else found.optimizer
    yield "step", "-" if found.step is None else f"{found.step:,}"
    yield "dtypes", ", ".join(f"{count} {dtype}" for dtype, count in found.dtypes.items()) or "-"
    what = "V1 file" if found.kind == "V1" else "data shard"
    yield "size", f"{human_bytes(found.bytes)} in {counted(found.shards, what)}"
    if found.dead_bytes is not None:
        yield "dead bytes", human_bytes(found.dead_bytes)
