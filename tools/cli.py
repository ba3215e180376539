"""The command line: `tensorbundle COMMAND ...`.

Each command is a module in `commands/` with `HELP`, `add_arguments` and `run`; only the one that is called is
imported. This is the only place that reads the environment, handles signals and decides the exit status: 0 fine, 1
found something, 2 could not do it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, Protocol, cast

from tensorbundle import __version__
from tensorbundle.errors import BundleError
from tensorbundle.tools.console import Console, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "Command", "load", "main"]

COMMANDS: Final = (
    *("ls", "tree", "show", "graph", "verify"),
    *("convert", "rename", "cast", "drop", "extract", "slim", "set"),
    *("reshard", "compact", "partition", "unpartition", "merge", "average", "resize", "rewrite"),
)
COULD_NOT: Final = 2


class Command(Protocol):
    """What a module in `commands/` offers."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments; `--json` is declared already."""

    def run(self, args: argparse.Namespace, console: Console) -> int:
        """Do it; returns the exit status."""


def load(name: str) -> Command:
    """The module of one command."""
    return cast("Command", importlib.import_module(f"tensorbundle.tools.commands.{name.replace('-', '_')}"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Arguments that can't be parsed exit with status 2."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = next((each for each in arguments if not each.startswith("-")), None)
    args = _parser(name).parse_args(arguments)
    console = Console(as_json=args.json)
    try:
        previous = signal.signal(signal.SIGTERM, _terminate)
    except ValueError:
        previous = None  # not in the main thread, where nobody is terminated by signals
    try:
        status = load(args.command).run(args, console)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BundleError as error:
        return _fail(args.command, str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(args.command, f"{where}{error.strerror or error}")
    except MemoryError:
        return _fail(args.command, "not enough memory")
    except KeyboardInterrupt:
        _fail(args.command, "interrupted")
        return 130
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)
    return status


def _fail(command: str, message: str) -> int:
    sys.stderr.write(f"tensorbundle {command}: {escape(message)}\n")
    return COULD_NOT


def _terminate(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)  # unwinds, so that temporary files go


def _parser(name: str | None) -> argparse.ArgumentParser:
    """The parser for all commands, with the arguments of the one that is called."""
    parser = argparse.ArgumentParser(
        prog="tensorbundle",
        description="Read, write and rewrite TensorFlow checkpoints on their files, without TensorFlow.",
        epilog="CKPT is a prefix, any file of a checkpoint, a directory with a 'checkpoint' state file, or a "
        "SavedModel directory.",
    )
    parser.add_argument("--version", action="version", version=f"tensorbundle {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for each in COMMANDS:
        if name in COMMANDS and each != name:
            commands.add_parser(each)
            continue
        module = load(each)
        sub = commands.add_parser(each, help=module.HELP, description=module.HELP)
        sub.add_argument("--json", action="store_true", help="print one JSON object a line")
        module.add_arguments(sub)
    return parser
