"""What every command that makes a checkpoint has in common: its options, the printed plan, the summary."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.slices import readable_key
from tensorbundle.tools.console import columns, escape, human_bytes, shape_text
from tensorbundle.tools.draft import Draft
from tensorbundle.tools.plan import Carried, Converted
from tensorbundle.tools.transfer import (
    TransferOptions,
    carried_bytes,
    check_sources,
    shared_paths,
    transfer,
)
from tensorbundle.writer import refuse_existing

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from tensorbundle.tools.console import Console
    from tensorbundle.tools.plan import Origin, Plan
    from tensorbundle.tools.transfer import Summary

__all__ = ["add_source_and_destination", "add_writing_arguments", "carry_out", "rewrite_source"]


# Buffers and chunks are a few megabytes; most of it is Python and NumPy themselves.
PEAK_MEMORY_BYTES: Final = 200_000_000


def add_writing_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of commands that write."""
    group = parser.add_argument_group("writing")
    group.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")
    group.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    group.add_argument(
        "--data",
        choices=("share", "copy"),
        default="share",
        help="share: tensor bytes stay where they are, as reflinks or hard links; copy: copied and checked",
    )
    group.add_argument(
        "--no-verify", action="store_true", help="do not check checksums of what is carried over"
    )
    group.add_argument("--jobs", type=int, default=1, metavar="N", help="copy N data shards at a time")
    group.add_argument("--state", action="store_true", help="write a 'checkpoint' state file that names DST")


def rewrite_source(
    args: argparse.Namespace, console: Console, edit: Callable[[Draft], Iterable[str] | None]
) -> int:
    """Open `args.source`, let `edit` change its draft, and make `args.destination` of it.

    What `edit` returns is told to the person, a line each.
    """
    with open_checkpoint(args.source) as checkpoint:
        draft = Draft.of(checkpoint)
        for line in edit(draft) or ():
            console.note(escape(line))
        return carry_out(draft.plan(), args.destination, args, console)


def add_source_and_destination(parser: argparse.ArgumentParser) -> None:
    """Declare SRC and DST."""
    parser.add_argument("source", metavar="SRC", help="a checkpoint")
    parser.add_argument("destination", metavar="DST", help="the new checkpoint's prefix")


def carry_out(plan: Plan, destination: str, args: argparse.Namespace, console: Console) -> int:
    """Make the checkpoint as planned and print the summary, or print the plan with `--dry-run`."""
    if args.dry_run:
        refuse_existing(destination, overwrite=args.overwrite)
        _print_plan(plan, args.data, console)
        return 0
    with contextlib.ExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(args.jobs)) if args.jobs > 1 else None
        progress = stack.enter_context(
            console.progress("copy", carried_bytes(plan) if args.data == "copy" else 0)
        )
        options = TransferOptions(
            data=args.data,
            overwrite=args.overwrite,
            verify=not args.no_verify,
            state=args.state,
            executor=executor,
            progress=progress,
        )
        summary = transfer(plan, destination, options)
    console.record(summary.to_json())
    console.lines(_summary_lines(summary))
    fingerprint = os.path.join(os.path.dirname(os.path.dirname(destination)), "fingerprint.pb")
    if os.path.basename(os.path.dirname(destination)) == "variables" and os.path.isfile(fingerprint):
        console.note(
            f"{escape(fingerprint)}: its checkpoint_hash is that of the index before; nothing checks it"
        )
    return 0


def _print_plan(plan: Plan, data: str, console: Console) -> None:
    """Every output with its action, then what that adds up to."""
    sizes = check_sources(plan)
    shared = set(shared_paths(plan, sizes)) if data == "share" else set()
    rows = []
    read = written = 0
    for each in plan.outputs:
        origin, entry = each.origin, each.origin.entry
        source = None
        if isinstance(origin, Carried):
            action = "share" if origin.path in shared else "copy"
            source = readable_key(origin.key)
        elif isinstance(origin, Converted):
            action, source = "convert", str(origin.expression)
        else:
            action = "write"
        if action != "share":
            written += entry.nbytes
            read += _input_bytes(origin)
        key = readable_key(each.key)
        shape = list(entry.shape)
        console.record(
            {
                "key": key,
                "action": action,
                "source": source,
                "dtype": entry.dtype,
                "shape": shape,
                "nbytes": entry.nbytes,
            }
        )
        origin_text = "new" if source is None else f"from {escape(source)}"
        rows.append(
            [action, escape(key), str(entry.dtype), shape_text(shape), human_bytes(entry.nbytes), origin_text]
        )
    for left in plan.left_out:
        console.record({"key": left.key, "action": "leave out", "source": None, "reason": left.reason})
        rows.append(["leave out", escape(left.key), "", "", "", left.reason])
    total_shared = sum(sizes[path] for path in shared)
    console.record(
        {
            "tensors": plan.tensors,
            "bytes_written": written,
            "bytes_shared": total_shared,
            "bytes_read": read,
            "peak_memory": PEAK_MEMORY_BYTES,
        }
    )
    console.lines(columns(rows, right=(4,)) if rows else [])
    console.text(
        f"{plan.tensors} tensors: {human_bytes(total_shared)} to share, {human_bytes(read)} to read, "
        f"{human_bytes(written)} and the index to write, in less than {human_bytes(PEAK_MEMORY_BYTES)} of memory"
    )


def _input_bytes(origin: Origin) -> int:
    if isinstance(origin, Converted):
        return sum(stored.entry.nbytes for stored in origin.expression.inputs())
    return origin.entry.nbytes if isinstance(origin, Carried) else 0


def _summary_lines(summary: Summary) -> list[str]:
    lines = [f"left out {escape(left.key)}: {left.reason}" for left in summary.left_out]
    lines += [
        f"{escape(key)}: {count:,} values too large for the new type"
        for key, count in summary.overflowed.items()
    ]
    shared = f"{human_bytes(summary.bytes_shared)} shared"
    if summary.sharing is not None:
        shared += f" ({escape(summary.sharing)})"
    changes = [f"{count} {what}" for what, count in summary.changes.items() if count]
    tensors = f"{summary.tensors} tensors" + (f" ({', '.join(changes)})" if changes else "")
    lines.append(
        f"{escape(summary.prefix)}: {tensors}, {shared}, {human_bytes(summary.bytes_written)} written, "
        f"{human_bytes(summary.bytes_read)} read, {summary.seconds:.3f} s"
    )
    return lines
