"""The command line: `tensorbundle COMMAND ...`.

Each command is a module in `commands/` with `EXAMPLE`, `add_arguments` and `run`, and a line in `catalog.py`; only the
one that is called is imported. This is the only place that reads the environment, handles signals and decides the exit
status: 0 fine, 1 found something, 2 could not do it.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn, cast

from tensorbundle import __version__
from tensorbundle.errors import BundleError, near_hint
from tensorbundle.tools.cli.catalog import COMMANDS, GROUPS
from tensorbundle.tools.cli.console import STANDARD_OUTPUT, Console, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from tensorbundle.tools.cli.arguments import Command

    _Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None

__all__ = ["load", "main"]

COULD_NOT: Final = 2
# With this environment variable set, an unexpected error comes with its traceback.
DEBUG: Final = "TENSORBUNDLE_DEBUG"
_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)


def load(name: str) -> Command:
    """The module of one command."""
    return cast(
        "Command", importlib.import_module(f"tensorbundle.tools.cli.commands.{name.replace('-', '_')}")
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Arguments that can't be parsed exit with status 2."""
    _prepare_streams()
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name == "help":
        name, arguments = (arguments[0], ["--help"]) if arguments else ("--help", [])
    if name not in COMMANDS:
        return _overview(name)
    return _run(name, arguments)


def _overview(name: str) -> int:
    """What there is besides commands: help, the version, and how to go on after a wrong name."""
    if name in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0
    if name == "--version":
        sys.stdout.write(f"tensorbundle {__version__}\n")
        return 0
    if name.startswith("-"):
        message = f"no option {name!r} before the command; 'tensorbundle COMMAND --help' lists those after it"
    else:
        message = f"no command {name!r}{near_hint(name, COMMANDS)}; 'tensorbundle help' lists all"
    sys.stderr.write(f"tensorbundle: {escape(message)}\n")
    return COULD_NOT


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        "usage: tensorbundle COMMAND ARGUMENT...",
        "",
        "Read, write and rewrite TensorFlow checkpoints on their files, without TensorFlow.",
    ]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {each:<{width}}  {text}" for each, text in commands.items())]
    lines += [
        "",
        "CKPT is a prefix, any file of a checkpoint, a directory with a 'checkpoint' state file, or a SavedModel",
        "directory. 'tensorbundle COMMAND -h' shows the arguments of a command and an example, '--help' its options",
        "too; 'tensorbundle --version' prints the version.",
    ]
    return "".join(f"{line}\n" for line in lines)


def _run(name: str, arguments: Sequence[str]) -> int:
    """Run a command, with what may become of it as its exit status."""
    from tensorbundle.tools.cli.arguments import parser_of  # needs argparse, which the overview does not

    args = None
    previous = _handle_signals()
    try:
        command = load(name)
        args = parser_of(name, command).parse_args(arguments)
        console = Console(as_json=args.json, quiet=args.quiet)
        status = command.run(args, console)
        console.flush()
    except BrokenPipeError:
        _discard_output()  # whoever read our output has seen enough
        return 0
    except BundleError as error:
        return _fail(name, str(error))
    except OSError as error:
        if error.filename == STANDARD_OUTPUT:
            _discard_output()
        # What fails on an open descriptor has no name: then it is most likely the output, on a full disk.
        where = error.filename or getattr(args, "destination", None) or getattr(args, "checkpoint", None)
        return _fail(name, f"{where}: {error.strerror or error}")
    except MemoryError:
        return _fail(name, "not enough memory")
    except KeyboardInterrupt:
        _fail(name, "interrupted")
        return 130
    except Exception as error:
        if os.environ.get(DEBUG):
            import traceback

            traceback.print_exc()
        return _fail(name, f"unexpected {type(error).__name__}: {error}; please report it")
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
            break  # not in the main thread, which alone gets signals
        previous[number] = handler
    return previous


def _terminate(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
