"""`tensorbundle manage`: list, add and remove the checkpoints of a directory."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.cli.arguments import add_storage_option
from tensorbundle.tools.cli.console import counted, escape, human_bytes
from tensorbundle.tools.cli.directories import print_checkpoints
from tensorbundle.tools.operations.directories.inventory import Survey
from tensorbundle.tools.operations.functions import manage

if TYPE_CHECKING:
    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.directories.changes import Change, Step

EXAMPLE = "tensorbundle manage run prune --max-to-keep 5"
_OPTIONS: Final = ("prefixes", "in_order", "max_to_keep", "keep_every_n_hours", "dry_run")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("directory", metavar="DIR", help="with a 'checkpoint' state file, or to get one")
    parser.set_defaults(dry_run=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help="list by default")
    _add_action(actions, "list", "show the checkpoints in the state file, and others in the directory")
    action = _add_action(actions, "add", "add checkpoints to the state file")
    action.add_argument("prefixes", metavar="PREFIX", nargs="+")
    action.add_argument(
        "--in-order",
        action="store_true",
        help="in the order of numbers or times, instead of as the latest",
    )
    action = _add_action(actions, "remove", "delete checkpoints, and remove them from the state file")
    action.add_argument("prefixes", metavar="PREFIX", nargs="+")
    action = _add_action(actions, "prune", "delete the oldest, as TensorFlow's CheckpointManager does")
    action.add_argument(
        "--max-to-keep", type=int, metavar="N", required=True, help="the number of checkpoints to keep"
    )
    action.add_argument(
        "--keep-every-n-hours",
        type=float,
        metavar="H",
        help="of those to be deleted, keep one every H hours permanently",
    )
    _add_action(actions, "clean", "delete temporary files of killed saves")
    _add_action(
        actions,
        "repair",
        "rewrite the state file from the existing checkpoints, after a move or if it is lost",
    )


def _add_action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
    # If omitted, the values of the command's own parser are kept.
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object a line"
    )
    add_storage_option(parser, dest="storage_option_of_action")
    if name != "list":
        parser.add_argument(
            "--dry-run",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print the changes without making them",
        )
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the checkpoints, or perform the action and print it."""
    change = manage(
        args.directory,
        args.action or "list",
        **{name: getattr(args, name) for name in _OPTIONS if hasattr(args, name)},
    )
    if isinstance(change, Survey):
        print_checkpoints(change, console)
        if change.state is None:
            why = "no 'checkpoint' state file" if change.trouble is None else change.trouble.reason
            console.note(escape(f"{args.directory}: {why}; 'tensorbundle manage DIR repair' makes one"))
        return 0
    for step in change.steps:
        console.record(step.to_json())
        console.text(_step_line(step, dry_run=args.dry_run))
    console.record(_summary(change, dry_run=args.dry_run))
    console.summary(_summary_line(change, dry_run=args.dry_run))
    for note in change.notes:
        console.note(escape(f"{args.directory}: {note}"))
    return 0


def _step_line(step: Step, *, dry_run: bool) -> str:
    what = f"{'would ' if dry_run else ''}{step.action} {escape(step.path or step.prefix)}"
    if step.files:
        what += f": {counted(len(step.files), 'file')}, {human_bytes(step.nbytes)}"
    return f"{what}: {escape(step.reason)}" if step.reason else what


def _summary(change: Change, *, dry_run: bool) -> dict[str, object]:
    """The result of an action, as plain data."""
    after = change.after
    return {
        "directory": change.directory,
        "latest": after and after.latest_path,
        "checkpoints": len(after.listed) if after else 0,
        "changed": after != change.before,
        "deleted": sum(step.action == "delete" for step in change.steps),
        "bytes_freed": change.bytes_freed,
        "dry_run": dry_run,
    }


def _summary_line(change: Change, *, dry_run: bool) -> str:
    after = change.after
    if after is None:
        state = "no state file"
    else:
        listed = counted(len(after.listed), "checkpoint")
        state = f"{listed} in the state file, the latest {escape(after.latest_path)}"
    line = f"{escape(change.directory)}: {'would have' if dry_run else 'has'} {state}"
    if change.files:
        return f"{line}; {human_bytes(change.bytes_freed)} {'would be freed' if dry_run else 'freed'}"
    return line if after != change.before else f"{line}; nothing to change"
