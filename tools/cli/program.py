"""The command line: `tensorbundle COMMAND ...`.

Each command is a module in `commands/` with `EXAMPLE`, `add_arguments` and `run`, and a line in `catalog.py`; only the
called command is imported. Only this module handles signals and determines the exit status: 0 success, 1 something was
found, 2 failure.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from tensorbundle import __version__
from tensorbundle.errors import BundleError, near_hint
from tensorbundle.tools.cli.catalog import COMMANDS, GROUPS
from tensorbundle.tools.cli.console import (
    STANDARD_OUTPUT,
    Console,
    print_message,
    terminal_width,
    wrapped,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from types import FrameType

    from tensorbundle.tools.cli.arguments import Command

    _Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None

__all__ = ["main"]

COULD_NOT: Final = 2
COMPLETE: Final = "__complete"  # what the scripts of `completion` call
# If this environment variable is set, an unexpected error is printed with its traceback.
DEBUG: Final = "TENSORBUNDLE_DEBUG"
_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
# Commands make little cyclic garbage and many objects that stay. With Python's own thresholds, a third of the time for a
# million tensors is spent on looking for the one among the other.
_COLLECT: Final = (10_000, 50, 1_000)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Arguments that can't be parsed exit with status 2.

    Without arguments, those of the process count, which is then expected to end.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(*_COLLECT)
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    finally:
        gc.set_threshold(*thresholds)
        if argv is None:
            # At its end, the interpreter looks for cyclic garbage among all that there is, which takes a tenth of a listing.
            gc.freeze()


def _main(argv: Sequence[str]) -> int:
    _prepare_streams()
    name, *arguments = argv or ["--help"]
    if name == "help":
        name, arguments = (arguments[0], ["--help"]) if arguments else ("--help", [])
    if name == COMPLETE and arguments:
        from tensorbundle.tools.cli.completing import TABLE, answer  # for scripts of shells only

        return answer(arguments, os.environ.get(TABLE, ""), COMMANDS)
    if name not in COMMANDS:
        return _overview(name)
    return _run(name, arguments)


def _overview(name: str) -> int:
    """The help, the version, or an error with similar names for an unknown command."""
    if name in ("-h", "--help", "--version"):
        try:
            sys.stdout.write(f"tensorbundle {__version__}\n" if name == "--version" else _help())
            sys.stdout.flush()
        except BrokenPipeError:
            _discard_output()
        except OSError as error:
            _discard_output()
            print_message(f"tensorbundle: {STANDARD_OUTPUT}: {error.strerror}", sys.stderr)
            return COULD_NOT
        return 0
    if name.startswith("-"):
        message = f"no option {name!r} before the command; 'tensorbundle COMMAND --help' lists those after it"
    else:
        message = f"no command {name!r}{near_hint(name, COMMANDS)}; 'tensorbundle help' lists all"
    print_message(f"tensorbundle: {message}", sys.stderr)
    return COULD_NOT


def _help() -> str:
    width, columns = max(map(len, COMMANDS)), terminal_width()
    lines = [
        "usage: tensorbundle COMMAND ARGUMENT...",
        "",
        "Read, write and rewrite TensorFlow checkpoints on their files, without TensorFlow.",
    ]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {each:<{width}}  {text}" for each, text in commands.items())]
    lines += [
        "",
        "CKPT is a prefix, any file of a checkpoint, a directory with a 'checkpoint' state file, or a SavedModel directory.",
        "'tensorbundle COMMAND -h' shows the arguments of a command and an example, '--help' its options, too.",
        "'tensorbundle --version' prints the version.",
    ]
    indents = (width + 4 if line.startswith("  ") else 0 for line in lines)
    return "".join(
        f"{each}\n"
        for line, indent in zip(lines, indents, strict=True)
        for each in wrapped(line, columns, indent)
    )


def _run(name: str, arguments: Sequence[str]) -> int:
    """Run a command and turn every outcome into an exit status."""
    from tensorbundle.tools.cli.arguments import (  # import argparse, which the overview does not need
        load,
        parser_of,
    )

    args = None
    previous = _handle_signals()
    try:
        command = load(name)
        args = parser_of(name, command).parse_args(arguments)
        console = Console(as_json=args.json, quiet=args.quiet)
        status = _call(command, args, console)
        console.flush()
    except BrokenPipeError:
        _discard_output()  # the reader of our output has closed it
        return 0
    except BundleError as error:
        return _fail(name, error, args)
    except OSError as error:
        # Errors of an open descriptor have no file name: the likely cause is a full disk during output.
        where = error.filename or getattr(args, "destination", None) or getattr(args, "checkpoint", None)
        where = where or STANDARD_OUTPUT
        if where == STANDARD_OUTPUT:
            _discard_output()
        return _fail(name, BundleError(error.strerror or str(error), path=where), args)
    except MemoryError:
        return _fail(name, BundleError("not enough memory"), args)
    except KeyboardInterrupt:
        _fail(name, BundleError("interrupted"), args)
        return 130
    except Exception as error:
        if os.environ.get(DEBUG):
            import traceback

            traceback.print_exc()
        reason = f"unexpected {type(error).__name__}: {error}; please report it"
        return _fail(name, BundleError(reason), args)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return status


def _call(command: Command, args: argparse.Namespace, console: Console) -> int:
    """Run a command, with the options for URLs that it was given."""
    pairs = [*args.storage_option, *getattr(args, "storage_option_of_action", [])]
    if not pairs:
        return command.run(args, console)
    from tensorbundle.storage.settings import options_of_pairs, storage_options

    with storage_options(options_of_pairs(pairs)):
        return command.run(args, console)


def _fail(name: str, error: BundleError, args: argparse.Namespace | None) -> int:
    console = Console(as_json=args is not None and args.json)
    with contextlib.suppress(OSError):  # standard error says it all the same
        console.error(name, error)
        console.flush()
    return COULD_NOT


def _prepare_streams() -> None:
    """Make standard output and standard error accept any text."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Redirect standard output to the null device, so that flushing its buffer at exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _handle_signals() -> dict[signal.Signals, _Handler]:
    """Turn terminating signals into exceptions, so that temporary files are removed; returns the previous handlers."""
    previous: dict[signal.Signals, _Handler] = {}
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        if handler in (None, signal.SIG_IGN):
            continue  # ignored on purpose, for example by `nohup`
        try:
            signal.signal(number, _terminate)
        except ValueError:
            break  # only the main thread can handle signals
        previous[number] = handler
    return previous


def _terminate(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
