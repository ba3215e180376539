"""Printing the checkpoints of a directory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tensorbundle.tools.cli.console import escape, human_bytes
from tensorbundle.tools.operations.directories.inspection import NOT_THERE

if TYPE_CHECKING:
    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.directories.inspection import Found
    from tensorbundle.tools.operations.directories.inventory import Survey

__all__ = ["print_checkpoints"]


def print_checkpoints(found: Survey, console: Console) -> None:
    """Print every checkpoint of a directory: name, save time, size, and notes."""
    for each in found.checkpoints:
        console.record(each.to_json())
    for save in found.unfinished:
        console.record(save.to_json())
    if found.checkpoints:
        console.table([_row(found, each) for each in found.checkpoints], right=(2,))
    for save in found.unfinished:
        console.text(escape(str(save)))


def _row(found: Survey, each: Found) -> list[str]:
    remarks = ["latest"] if each.latest else []
    if each.path is None:
        remarks.append("not in the state file")
    elif found.state is not None and each.prefix != found.state.resolved(each.path):
        remarks.append(f"moved to {escape(each.prefix)}")
    if each.problem or not each.file_format:
        remarks.append(escape(each.problem or NOT_THERE))
    time = each.modified if each.timestamp is None else each.timestamp
    size = human_bytes(each.nbytes) if each.files else "-"
    return [escape(each.name), _time_text(time), size, ", ".join(remarks)]


def _time_text(timestamp: float | None) -> str:
    if timestamp is None:
        return "-"
    try:
        return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OSError, OverflowError, ValueError):  # not a year of the calendar
        return str(timestamp)
