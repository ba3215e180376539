"""What every command that makes a checkpoint does alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.bundles import snapshot
from support.rewriting import assert_sound
from tensorbundle.tools.cli.console import counted

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Runner

SUMMARY = [
    *("prefix", "tensors", "bytes_written", "bytes_shared", "bytes_read", "bytes_dead", "seconds"),
    *("sharing", "left_out", "overflowed", "lost", "changes", "notes"),
]
PLANNED = ["tensors", "bytes_written", "bytes_shared", "bytes_read", "peak_memory", "bytes_dead"]


def check_writing(
    run: Runner, folder: Path, command: str, sources: list[Any], *arguments: Any
) -> dict[str, Any]:
    """Call a command in all the ways there are; returns what its summary says, and leaves its output at `folder`/out.

    With `--dry-run` it writes nothing and tells the same number of tensors and of shared bytes; with `--json` standard
    output is JSON only; an existing output is refused, unless `--overwrite` is given; sources stay as they are.
    """
    before = snapshot(folder)
    out = folder / "out"
    argv = [command, *sources, out, *arguments]
    assert run(*argv, "--dry-run").out.endswith(" of memory\n")
    *steps, planned = run(*argv, "--dry-run", "--json").records
    assert list(planned) == PLANNED
    assert all(each["action"] in ("share", "copy", "convert", "write", "leave out") for each in steps)
    assert snapshot(folder) == before
    [summary] = run(*argv, "--json").records
    assert list(summary) == SUMMARY
    assert summary["prefix"] == str(out)
    for name in ("tensors", "bytes_shared", "bytes_dead"):
        assert summary[name] == planned[name]
    assert planned["bytes_written"] <= summary["bytes_written"]
    assert_sound(out)
    refused = run(*argv, status=2)
    reason = "exists; use --overwrite (overwrite=True) to replace it"
    assert (refused.out, refused.err.splitlines()[-1]) == (
        "",
        f"tensorbundle {command}: {out}.index: {reason}",
    )
    text = run(*argv, "--overwrite").out.splitlines()[-1]
    assert text.startswith(f"{out}: {counted(summary['tensors'], 'tensor')}")
    assert text.endswith(" s")
    copied = run(
        command, *sources, folder / "copied", *arguments, "--data", "copy", "--jobs", "3", "--json"
    ).records
    assert copied[0]["bytes_shared"] == 0
    after = snapshot(folder)
    assert {name: after[name] for name in before} == before
    assert not [name for name in after if "tempstate" in name]
    return summary


def check_refusal(run: Runner, folder: Path, *argv: Any) -> str:
    """The one line that says why a command could not do it; nothing was written."""
    before = snapshot(folder)
    message = run.error(*argv)
    assert snapshot(folder) == before
    return message
