"""Time and memory of every command on every hostile file: python tests/hostile/measure.py [--over SECONDS] [NAME...].

Each runs in a process of its own, forked from one that has imported everything, and is ended after 20 seconds. Times are those
of the processor, as a clock says nothing on a busy machine, and the lesser of two where they are printed. Nothing is judged
here; `test_hostile.py` counts.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.hostile import INPUTS, Input, command_lines, write_model
from tensorbundle.tools.cli import main as tensorbundle
from tensorbundle.tools.cli.catalog import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_SECONDS = 20


def measure(
    errors: Path, function: Callable[..., int], *arguments: object, stdin: Path | None = None
) -> tuple[int, float, int]:
    """Exit status, seconds and peak kB of a function in a process of its own."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(stdin or os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_SECONDS, LIMIT_SECONDS))
        status = 99
        try:
            status = function(*arguments)
        except SystemExit as error:
            status = int(error.code or 0)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def make(each: Input, directory: Path, said: Path) -> int:
    """Make a hostile file, and say where it is: in a process of its own too, so that this one stays small."""
    said.write_text(str(each.make(directory, each.full)))
    return 0


def clear(folder: Path) -> None:
    """Remove what a command has written, so that each finds the same."""
    for file in folder.glob("out*"):
        file.unlink()


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument(
        "--over", type=float, default=0.0, help="print only what takes more seconds, or 200 MB"
    )
    parser.add_argument(
        "--command",
        action="append",
        metavar="LABEL",
        help="only commands whose labels match one of these globs",
    )
    args = parser.parse_args()
    for name in COMMANDS:
        import_module(f"tensorbundle.tools.cli.commands.{name}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model, errors, said = write_model(folder / "model"), folder / "errors", folder / "path"
        for name in args.names or INPUTS:
            each, inside = INPUTS[name], folder / name
            inside.mkdir()
            made, _, _ = measure(errors, make, each, inside, said)
            if made != 0:
                sys.exit(f"{name} was not made: {errors.read_text(errors='replace')}")
            path = Path(said.read_text())
            size = sum(file.stat().st_size for file in inside.iterdir())
            print(f"{name}: {size} bytes", flush=True)
            for label, argv in command_lines(each.kind, path, model, folder / "out", each.key).items():
                if args.command and not any(fnmatch(label, each) for each in args.command):
                    continue
                stdin = path if each.kind == "text" else None
                status, seconds, peak = measure(errors, tensorbundle, argv, stdin=stdin)
                if seconds > args.over > 0:
                    clear(folder)
                    status, again, peak = measure(errors, tensorbundle, argv, stdin=stdin)
                    seconds = min(seconds, again)
                clear(folder)
                if seconds > args.over or peak > 200_000 or status not in (0, 1, 2):
                    last = (errors.read_text(errors="replace").splitlines() or [""])[-1][:100]
                    print(
                        f"  {label:22} {status:>3} {seconds:6.2f} s {peak // 1000:5} MB  {last}", flush=True
                    )
            shutil.rmtree(inside)


if __name__ == "__main__":
    main()
