"""What every command that makes a checkpoint has in common: its options, the printed plan, the summary."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tensorbundle.slices import readable_key
from tensorbundle.tools.console import columns, escape, human_bytes, shape_text
from tensorbundle.tools.plan import Carried
from tensorbundle.tools.transfer import TransferOptions, carried_bytes, check_sources, transfer
from tensorbundle.writer import refuse_existing

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.console import Console
    from tensorbundle.tools.plan import Plan
    from tensorbundle.tools.transfer import Summary

__all__ = ["add_writing_arguments", "carry_out"]


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


def carry_out(plan: Plan, destination: str, args: argparse.Namespace, console: Console) -> int:
    """Make the checkpoint as planned and print the summary, or print the plan with `--dry-run`."""
    if args.dry_run:
        check_sources(plan)
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
    return 0


def _print_plan(plan: Plan, data: str, console: Console) -> None:
    rows = []
    for each in plan.outputs:
        carried = isinstance(each.origin, Carried)
        source = readable_key(each.origin.key) if isinstance(each.origin, Carried) else None
        action = data if carried else "write"
        entry = each.origin.entry
        key = readable_key(each.key)
        console.record(
            {
                "key": key,
                "action": action,
                "source": source,
                "dtype": entry.dtype,
                "shape": list(entry.shape),
                "nbytes": entry.nbytes,
            }
        )
        rows.append(
            [
                action,
                escape(key),
                str(entry.dtype),
                shape_text(entry.shape),
                human_bytes(entry.nbytes),
                "new" if source is None else f"from {escape(source)}",
            ]
        )
    for left in plan.left_out:
        console.record({"key": left.key, "action": "leave out", "reason": left.reason})
        rows.append(["leave out", escape(left.key), "", "", "", left.reason])
    console.lines(columns(rows, right=(4,)) if rows else [])
    carried_total = carried_bytes(plan)
    new = sum(each.origin.entry.nbytes for each in plan.outputs) - carried_total
    console.text(
        f"{plan.tensors} tensors: {human_bytes(carried_total)} to {data}, {human_bytes(new)} and the index to write"
    )


def _summary_lines(summary: Summary) -> list[str]:
    lines = [f"left out {escape(left.key)}: {left.reason}" for left in summary.left_out]
    shared = f"{human_bytes(summary.bytes_shared)} shared"
    if summary.sharing is not None:
        shared += f" ({escape(summary.sharing)})"
    lines.append(
        f"{escape(summary.prefix)}: {summary.tensors} tensors, {shared}, "
        f"{human_bytes(summary.bytes_written)} written, {human_bytes(summary.bytes_read)} read, "
        f"{summary.seconds:.3f} s"
    )
    return lines
