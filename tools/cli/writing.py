"""Options of commands that write checkpoints, the printed plan, and the summary."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tensorbundle.dtypes import DType
from tensorbundle.slices import readable_key
from tensorbundle.specs import shape_text
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import absolute, basename, dirname, join
from tensorbundle.tools.cli.arguments import add_scheduler, positive
from tensorbundle.tools.cli.console import about, counted, escape, human_bytes, left_out_lines, shell
from tensorbundle.tools.operations.converting.other_formats import finish
from tensorbundle.tools.operations.sizes import parse_size
from tensorbundle.tools.operations.steps.step import StepContext, apply_steps, table_of_pairs
from tensorbundle.tools.rewriting.bundle_output import DEAD_BYTES, BundleOutput, dead_bytes, undivided
from tensorbundle.tools.rewriting.expressions import Constant
from tensorbundle.tools.rewriting.options import JOBS, TransferOptions
from tensorbundle.tools.rewriting.plan import Carried, Converted, Literal
from tensorbundle.tools.rewriting.transfer import bytes_to_read, bytes_to_write, check_sources, transfer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.steps.step import Step
    from tensorbundle.tools.rewriting.plan import Plan, PlannedEntry
    from tensorbundle.tools.rewriting.transfer import Summary

__all__ = [
    "add_source_and_destination",
    "add_writing_arguments",
    "carry_out",
    "run_step",
    "run_steps",
]


# Memory of Python, NumPy and the buffers; of each output tensor in the draft, the plan and the index, and in the object
# graph if there is one (`benchmarks/growth.py`).
BASE_MEMORY_BYTES: Final = 50_000_000
OUTPUT_MEMORY_BYTES: Final = 900
OBJECT_MEMORY_BYTES: Final = 700
# Special characters for FileSystem::GetMatchingPaths, with which TensorFlow looks for an index.
_PATTERN_CHARACTERS: Final = "[]*?\\"


def add_writing_arguments(parser: argparse.ArgumentParser, *, declared: Collection[str] = ()) -> None:
    """Declare the options of commands that write, except those that the command has declared itself."""
    group = parser.add_argument_group("writing")
    group.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")
    group.add_argument(
        "--long", "-l", action="store_true", help="list every tensor, also those that do not change"
    )
    group.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    group.add_argument(
        "--data",
        choices=("share", "copy"),
        default="share",
        help="share: tensor bytes stay where they are, as reflinks or hard links; copy: copied and checked",
    )
    group.add_argument(
        "--no-verify", action="store_true", help="do not check the checksums of copied tensors"
    )
    group.add_argument(
        "--jobs",
        type=positive,
        default=JOBS,
        metavar="N",
        help="read, check and write in N threads; one for each core by default, at most 4",
    )
    add_scheduler(group, "write data shards")
    group.add_argument(
        "--resume",
        action="store_true",
        help="behind URLs: reuse data shards of an interrupted run whose checksums are right, and keep those of this run if it fails",
    )
    group.add_argument("--state", action="store_true", help="write a 'checkpoint' state file that names DST")
    group.add_argument(
        "--metadata",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="text beside the tensors, such as format=pt, in safetensors and HDF5 files",
    )
    if "max_shard_size" not in declared:
        group.add_argument(
            "--max-shard-size",
            metavar="SIZE",
            help="begin another file before one exceeds SIZE, for example 5GB",
        )
    if "allow_unused" not in declared:
        group.add_argument(
            "--allow-unused", action="store_true", help="leave out tensors that the format of DST can't store"
        )


def run_step(
    kind: type[Step],
    args: argparse.Namespace,
    console: Console,
    *,
    source: str | None = None,
    proof: Sequence[str] | None = None,
) -> int:
    """Make `args.destination` from `source`, by default `args.source`, with the step that the arguments describe."""
    return run_steps([kind.from_arguments(vars(args))], args, console, source=source, proof=proof)


def run_steps(
    steps: Iterable[Step],
    args: argparse.Namespace,
    console: Console,
    *,
    source: str | None = None,
    proof: Sequence[str] | None = None,
) -> int:
    """Make `args.destination` from `source`, by default `args.source`, with steps.

    `proof` has the options with which `diff` shows that both are equal, if it can; the summary has that command.
    """
    source = args.source if source is None else source
    with StepContext(args.destination) as context:
        options = _options(args)
        draft = apply_steps(context.open(source), steps, context)
        finish(draft, args.destination, options)
        plan = draft.plan(last=True)
        status = carry_out(plan, args.destination, options, args, console)
    in_place = absolute(source) == absolute(args.destination)
    if proof is not None and not (args.dry_run or console.json or in_place):
        command = shell("diff", source, args.destination, *proof)
        console.note(f"'{command}' compares the two")
    return status


def _options(args: argparse.Namespace) -> TransferOptions:
    size = args.max_shard_size
    return TransferOptions(
        data=args.data,
        overwrite=args.overwrite,
        verify=not args.no_verify,
        state=args.state,
        resume=args.resume,
        jobs=args.jobs,
        metadata=table_of_pairs(args.metadata, "KEY=VALUE"),
        max_shard_bytes=None if size is None else parse_size(size),
        allow_unused=args.allow_unused,
    )


def add_source_and_destination(parser: argparse.ArgumentParser) -> None:
    """Declare SRC and DST."""
    parser.add_argument("source", metavar="SRC")
    parser.add_argument("destination", metavar="DST", help="the new checkpoint's prefix")


def carry_out(
    plan: Plan, destination: str, options: TransferOptions, args: argparse.Namespace, console: Console
) -> int:
    """Make the checkpoint as planned and print the summary, or print the plan with `--dry-run`."""
    store_of(destination).stage(destination)  # writes nothing yet, but checks that the directory exists
    plan.output.refuse_existing(destination, overwrite=args.overwrite)
    for note in plan.notes:
        for line in about(note.what, note.keys, everything=args.long):
            console.note(line)
    if args.scheduler is not None:
        for line in _about_scheduler(plan, destination, options):
            console.note(line)
    if args.dry_run:
        _print_plan(plan, destination, options, console, everything=args.long)
        return 0
    with contextlib.ExitStack() as stack:
        if args.scheduler is not None:
            from tensorbundle.tools.rewriting.cluster import cluster

            options = replace(options, executor=stack.enter_context(cluster(args.scheduler)))
        total = 0
        if console.shows_progress:
            shared = plan.output.shared(plan, destination, options, check_sources(plan))
            total = bytes_to_read(plan, shared)
        options = replace(options, progress=stack.enter_context(console.progress("rewrite", total)))
        summary = transfer(plan, destination, options)
    console.record(summary.to_json())
    if not console.quiet:
        console.lines(_summary_lines(summary, everything=args.long))
    if any(each in destination for each in _PATTERN_CHARACTERS):
        console.note(
            f"{escape(destination)}: TensorFlow treats a prefix as a pattern and may not find one that contains any of "
            f"{_PATTERN_CHARACTERS}; tensorbundle treats it literally"
        )
    variables = dirname(absolute(destination))
    fingerprint = join(dirname(variables), "fingerprint.pb")
    if basename(variables) == "variables" and store_of(fingerprint).is_file(fingerprint):
        console.note(
            f"{escape(fingerprint)}: its checkpoint_hash is that of the old index; TensorFlow does not check it"
        )
    return 0


def _about_scheduler(plan: Plan, destination: str, options: TransferOptions) -> Iterator[str]:
    """What the workers of a cluster do not do, or one of them does alone."""
    if not isinstance(plan.output, BundleOutput):
        yield f"--scheduler: workers write data shards; this machine writes {plan.output.file_format} files"
        return
    for reason, sizes in undivided(plan, destination, options, check_sources(plan)).items():
        shards = counted(len(sizes), "data shard")
        yield (
            f"--scheduler: {shards} of up to {human_bytes(max(sizes))}, one task for each, as {reason}; "
            "'reshard --shards N' makes more"
        )


def _print_plan(
    plan: Plan, destination: str, options: TransferOptions, console: Console, *, everything: bool
) -> None:
    """Every tensor that differs from its source, with its action, then the totals."""
    sizes = check_sources(plan)
    shared = set(plan.output.shared(plan, destination, options, sizes))
    rows = []
    unchanged = 0
    for each in plan.entries:
        action, source = _action(each, shared)
        console.record(_plan_record(each, action, source, plan.matched.get(each.key)))
        if everything or not _is_unchanged(each, plan):
            rows.append(_plan_row(each, action, source, plan.matched.get(each.key)))
        else:
            unchanged += 1
    for left in plan.left_out:
        console.record({"key": left.key, "action": "leave out", "source": None, "reason": left.reason})
        rows.append(["leave out", escape(left.key), "", "", "", escape(left.reason)])
    read, written = bytes_to_read(plan, shared), bytes_to_write(plan, shared)
    memory = _peak_memory(plan)
    total_shared = sum(sizes[path] for path in shared)
    dead = dead_bytes(plan, shared, sizes)
    console.record(
        {
            "tensors": plan.tensors,
            "bytes_written": written,
            "bytes_shared": total_shared,
            "bytes_read": read,
            "peak_memory": memory,
            "bytes_dead": dead,
        }
    )
    console.table(rows, right=(4,))
    if unchanged:
        console.summary(f"{counted(unchanged, 'tensor')} unchanged and not listed (--long lists them)")
    of_it_dead = f" ({human_bytes(dead)} of it dead)" if dead else ""
    console.summary(
        f"{counted(plan.tensors, 'tensor')}: {human_bytes(total_shared)} to share{of_it_dead}, {human_bytes(read)} to read, "
        f"{human_bytes(written)} and the index to write, in about {human_bytes(memory)} of memory"
    )


def _action(planned: PlannedEntry, shared: Collection[str]) -> tuple[str, str | None]:
    """The action for an entry, and its sources."""
    origin = planned.origin
    if isinstance(origin, Carried):
        return "share" if origin.path in shared else "copy", readable_key(origin.key)
    if isinstance(origin, Literal):
        return "write", None
    if isinstance(origin.expression, Constant):
        return "write", origin.expression.name or None
    return "convert", str(origin.expression)


def _is_unchanged(planned: PlannedEntry, plan: Plan) -> bool:
    """Whether an entry is a tensor of a source, of the same name, type and shape."""
    origin = planned.origin
    if not isinstance(origin, Carried) or origin.key != planned.key or planned.key in plan.matched:
        return False
    entry = origin.index.get(origin.key)
    return entry is not None and entry.shape == origin.entry.shape


def _plan_record(
    planned: PlannedEntry, action: str, source: str | None, how: str | None
) -> dict[str, object]:
    entry = planned.origin.entry
    record: dict[str, object] = {
        "key": readable_key(planned.key),
        "action": action,
        "source": source,
        "dtype": entry.dtype,
        "shape": list(entry.shape),
        "nbytes": entry.nbytes,
    }
    return record | ({"matched": how} if how else {})


def _plan_row(planned: PlannedEntry, action: str, source: str | None, how: str | None) -> list[str]:
    entry = planned.origin.entry
    origin = "new" if source is None else f"from {escape(source)}"
    return [
        *(action, escape(readable_key(planned.key)), str(entry.dtype), shape_text(entry.shape)),
        *(human_bytes(entry.nbytes), f"{origin}, {how}" if how else origin),
    ]


def _peak_memory(plan: Plan) -> int:
    """An estimate of the memory, in bytes, to carry out a plan: new string tensors are held in memory as a whole."""
    strings = [
        each.origin.entry.nbytes
        for each in plan.entries
        if isinstance(each.origin, Converted) and each.origin.entry.dtype is DType.string
    ]
    each = OUTPUT_MEMORY_BYTES
    if any(isinstance(planned.origin, Literal) for planned in plan.entries):
        each += OBJECT_MEMORY_BYTES
    return BASE_MEMORY_BYTES + each * len(plan.entries) + 4 * max(strings, default=0)


def _summary_lines(summary: Summary, *, everything: bool) -> Iterator[str]:
    yield from left_out_lines(summary.left_out, everything=everything)
    counts = [f"{key} ({count:,})" for key, count in summary.overflowed.items()]
    if counts:
        yield from about("values too large for the new type", counts, everything=everything)
    counts = [f"{key} ({count:,})" for key, count in summary.lost.items()]
    if counts:
        yield from about("values that the new type does not have", counts, everything=everything)
    shared = f"{human_bytes(summary.bytes_shared)} shared"
    if summary.sharing is not None:
        shared += f" ({escape(summary.sharing)})"
    much_is_dead = summary.bytes_dead > DEAD_BYTES
    if summary.bytes_dead:
        shared += f", {human_bytes(summary.bytes_dead)} of it dead"
        shared += "" if much_is_dead else " ('compact' reclaims them)"
    changes = [f"{count} {what}" for what, count in summary.changes.items() if count]
    tensors = counted(summary.tensors, "tensor") + (f" ({', '.join(changes)})" if changes else "")
    yield (
        f"{escape(summary.prefix)}: {tensors}, {shared}, {human_bytes(summary.bytes_written)} written, "
        f"{human_bytes(summary.bytes_read)} read, {summary.seconds:.3f} s"
    )
    if much_is_dead:
        command = shell("compact", summary.prefix, "NEW")
        yield (
            f"{human_bytes(summary.bytes_dead)} of the shared bytes belong to no tensor; '{escape(command)}' "
            "writes a checkpoint without them"
        )
