"""Parsing the arguments of a command: options in any position, short and long help, similar names in errors."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, cast

from tensorbundle.errors import near_hint
from tensorbundle.tools.cli.catalog import COMMANDS
from tensorbundle.tools.cli.console import escape, terminal_width, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorbundle.tools.cli.console import Console

__all__ = ["Command", "add_scheduler", "add_storage_option", "load", "parser_of", "positive"]

_COUNTS: Final = {"+": "{0}...", "*": "[{0}...]", "?": "[{0}]"}


class Command(Protocol):
    """The contents of a module in `commands/`."""

    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments, except `--json` and `--quiet`, which all commands have."""

    def run(self, args: argparse.Namespace, console: Console) -> int:
        """Run the command; returns the exit status."""


def load(name: str) -> Command:
    """The module of one command."""
    return cast("Command", importlib.import_module(f"tensorbundle.tools.cli.commands.{name}"))


def parser_of(name: str, command: Command) -> argparse.ArgumentParser:
    """The parser of one command."""
    parser = _Parser(
        prog=f"tensorbundle {name}",
        description="\n".join(wrapped(COMMANDS[name], terminal_width())),
        epilog=f"example: {command.EXAMPLE}",
        add_help=False,
        allow_abbrev=False,
        formatter_class=_Formatter,
    )
    parser.add_argument("-h", action=_Help, nargs=0, help="show the arguments and an example")
    parser.add_argument("--help", action=_Help, nargs=0, help="show the options, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--quiet", "-q", action="store_true", help="print no notes, summary or progress")
    add_storage_option(parser, dest="storage_option")
    command.add_arguments(parser)
    for action in parser._actions:
        if action.help is None:
            action.help = "the prefix of a checkpoint, any of its files, or its directory"
        if action.nargs == argparse.ZERO_OR_MORE:
            action.required = False  # `argparse` says that it is missing if another argument is
    parser.usage = parser.short_usage()
    return parser


def add_storage_option(parser: argparse.ArgumentParser, *, dest: str) -> None:
    """Declare `--storage-option`, whose values are added to those of the options of that name elsewhere in a command."""
    parser.add_argument(
        "--storage-option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest=dest,
        help="for URLs: an option of their library, such as anon=true; SCHEME.KEY=VALUE for those of one scheme",
    )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal, without the imports by which `argparse` finds its width for every declared argument."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=terminal_width() - 2)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrapped(" ".join(text.split()), width)


class _Parser(argparse.ArgumentParser):
    """Accepts options between a command's arguments, and escapes arguments in error messages."""

    _intermixing = False

    def short_usage(self) -> str:
        """A usage line with the required arguments."""
        either = [action for group in self._required_groups() for action in group]
        needed = [_usage(action) for action in self._needed() if action not in either]
        choices = [f"({' | '.join(map(_usage, group))})" for group in self._required_groups()]
        usage = " ".join([f"usage: {self.prog}", *needed, *choices, "[OPTION...]"]).replace("%", "%%")
        return "\n".join(wrapped(usage, terminal_width(), 7)).removeprefix("usage: ")

    def short_help(self) -> str:
        """The required arguments and an example."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        formatter.start_section(None)
        formatter.add_arguments(list(self._needed()))
        formatter.end_section()
        formatter.add_text(self.epilog)
        last = "\n".join(wrapped(f"'{self.prog} --help' lists the options.", terminal_width()))
        return f"{formatter.format_help()}\n{last}\n"

    def _needed(self) -> Iterator[argparse.Action]:
        """Positional arguments, and required options."""
        either = [action for group in self._required_groups() for action in group]
        for action in self._actions:
            if not action.option_strings or action.required or action in either:
                yield action

    def _required_groups(self) -> list[list[argparse.Action]]:
        """Groups of options of which one is required."""
        groups = [each for each in self._mutually_exclusive_groups if each.required]
        return [each._group_actions for each in groups]

    def parse_args(  # type: ignore[override]  # the overloads of `argparse` are all this
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse all arguments; an unknown option is an error that lists similar ones."""
        found, unknown = self.parse_known_args(args, namespace)
        for each in unknown:
            option = each.partition("=")[0]
            if option.startswith("-"):
                self.error(f"no option {option!r}{near_hint(option, self._option_string_actions)}")
        if unknown:
            self.error(f"too many arguments: {' '.join(unknown)}")
        return found

    def parse_known_args(  # type: ignore[override]  # for the same reason
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the known arguments, with options in any position (`ls CKPT --long PATTERN`)."""
        if self._intermixing or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._intermixing = True  # it calls this method again, for the options and for the others
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False

    def error(self, message: str) -> NoReturn:
        option = message.removeprefix("argument ").partition(":")[0]
        if message.endswith("expected one argument") and option.startswith("--"):
            message += f"; one that begins with '-' is given as {option}=-..."
        super().error(escape(message))


def _usage(action: argparse.Action) -> str:
    metavar = str(action.metavar or "|".join(map(str, action.choices or [action.dest])))
    if action.option_strings:
        return f"{max(action.option_strings, key=len)} {metavar}"
    if action.nargs == argparse.PARSER:
        return metavar if action.required else f"[{metavar}]"
    return _COUNTS.get(str(action.nargs), "{0}").format(metavar)


class _Help(argparse.Action):
    """Prints the short help, or with `--help` the long one, and exits."""

    def __call__(self, parser: argparse.ArgumentParser, *given: Any) -> None:
        if isinstance(parser, _Parser):
            sys.stdout.write(parser.format_help() if given[-1] == "--help" else parser.short_help())
            sys.stdout.flush()  # a full disk shows here
            parser.exit()


def positive(text: str) -> int:
    """A number of at least 1, as the type of an argument."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def add_scheduler(group: argparse._ActionsContainer, what: str) -> None:
    """Declare `--scheduler`."""
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help=f"{what} on the workers of this Dask scheduler, which must have access to the files",
    )
