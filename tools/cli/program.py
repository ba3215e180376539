"""The command line: `tensorbundle COMMAND ...`.

Each command is a module in `commands/` with `HELP`, `add_arguments` and `run`; only the one that is called is
imported. This is the only place that reads the environment, handles signals and decides the exit status: 0 fine, 1
found something, 2 could not do it.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, cast

from tensorbundle import __version__
from tensorbundle.errors import BundleError
from tensorbundle.tools.cli.console import STANDARD_OUTPUT, Console, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    _Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None

__all__ = ["COMMANDS", "Command", "load", "main"]

COMMANDS: Final = (
    *("ls", "tree", "show", "stats", "graph", "verify", "hash"),
    *("convert", "rename", "cast", "drop", "extract", "slim", "set"),
    *("reshard", "compact", "partition", "unpartition", "merge", "average", "resize", "rewrite"),
    *("latest", "manage"),
    "suggest",
    "check",
)
COULD_NOT: Final = 2
# With this environment variable set, an error that nobody foresaw comes with its traceback.
DEBUG: Final = "TENSORBUNDLE_DEBUG"
_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)


class Command(Protocol):
    """What a module in `commands/` offers."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments; `--json` is declared already."""

    def run(self, args: argparse.Namespace, console: Console) -> int:
        """Do it; returns the exit status."""


def load(name: str) -> Command:
    """The module of one command."""
    return cast(
        "Command", importlib.import_module(f"tensorbundle.tools.cli.commands.{name.replace('-', '_')}")
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Arguments that can't be parsed exit with status 2."""
    _prepare_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = next((each for each in arguments if not each.startswith("-")), None)
    args = argparse.Namespace(command=name)
    previous = _handle_signals()
    try:
        _parser(name).parse_args(arguments, args)
        console = Console(as_json=args.json)
        status = load(args.command).run(args, console)
        console.flush()
    except BrokenPipeError:
        _discard_output()  # whoever read our output has seen enough
        return 0
    except BundleError as error:
        return _fail(args.command, str(error))
    except OSError as error:
        if error.filename == STANDARD_OUTPUT:
            _discard_output()
        # What fails on an open descriptor has no name: then it is most likely the output, on a full disk.
        where = error.filename or getattr(args, "destination", None) or getattr(args, "checkpoint", None)
        return _fail(args.command, f"{where}: {error.strerror or error}")
    except MemoryError:
        return _fail(args.command, "not enough memory")
    except KeyboardInterrupt:
        _fail(args.command, "interrupted")
        return 130
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        return _fail(args.command, f"unexpected {type(error).__name__}: {error}; please report it")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return status


def _fail(command: str, message: str) -> int:
    sys.stderr.write(f"tensorbundle {command}: {escape(message)}\n")
    return COULD_NOT


def _prepare_streams() -> None:
    """Make standard output and standard error take any text."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by our caller, who wants to see nothing
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  for as long as we run
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Let what is still buffered for standard output go nowhere, so that Python's exit does not fail too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _handle_signals() -> dict[signal.Signals, _Handler]:
    """Make signals that end us unwind, so that temporary files go; returns the handlers before."""
    previous: dict[signal.Signals, _Handler] = {}
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        if handler in (None, signal.SIG_IGN):
            continue  # `nohup` means it
        try:
            signal.signal(number, _terminate)
        except ValueError:
            break  # not in the main thread, where nobody is terminated by signals
        previous[number] = handler
    return previous


def _terminate(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


class _Parser(argparse.ArgumentParser):
    """Takes options between a command's arguments, and lets no argument reach the terminal raw."""

    _intermixing = False

    def parse_known_args(  # type: ignore[override]  # the overloads of `argparse` are all this
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse what is known; of a command, wherever it stands (`ls CKPT --long PATTERN`)."""
        if self._intermixing or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._intermixing = True  # it calls us again, for options and for the rest
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False

    def error(self, message: str) -> NoReturn:
        super().error(escape(message))


def _parser(name: str | None) -> argparse.ArgumentParser:
    """The parser for all commands, with the arguments of the one that is called."""
    parser = _Parser(
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
