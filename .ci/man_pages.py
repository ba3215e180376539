"""Writes the man pages, in build/man: one of `tensorbundle`, one of each command, from their parsers.

python .ci/man_pages.py (where tensorbundle is installed); man -l build/man/tensorbundle-ls.1 shows one.
"""

import argparse
import re
from pathlib import Path

from tensorbundle import __version__
from tensorbundle.tools.cli.arguments import load, parser_of
from tensorbundle.tools.cli.catalog import COMMANDS, GROUPS


def roff(text: str) -> str:
    """Text as roff prints it, with nothing that it takes for a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)


def head(name: str, what: str) -> list[str]:
    return [
        f'.TH "{name.upper()}" "1" "" "tensorbundle {__version__}"',
        ".SH NAME",
        f"{roff(name)} \\- {roff(what)}",
    ]


def option(action: argparse.Action) -> list[str]:
    metavar = action.metavar or (action.choices and "|".join(map(str, action.choices))) or action.dest.upper()
    value = "" if action.nargs == 0 else f" \\fI{roff(str(metavar))}\\fR"
    names = ", ".join(f"\\fB{roff(each)}\\fR{value}" for each in action.option_strings)
    text = str(action.help or "").replace("%%", "%")
    return [".TP", names or f"\\fI{roff(str(metavar))}\\fR", roff(text) or "\\ "]


def page(name: str) -> str:
    command = load(name)
    parser = parser_of(name, command)
    lines = head(f"tensorbundle-{name}", COMMANDS[name])
    lines += [".SH SYNOPSIS", roff(str(parser.usage).replace("%%", "%")), ".SH OPTIONS"]
    for action in parser._actions:
        lines += option(action)
        if isinstance(action, argparse._SubParsersAction):
            for each, below in action.choices.items():
                lines += [f".SS {roff(f'{name} {each}')}"]
                for inner in below._actions:
                    lines += option(inner)
    lines += [".SH EXAMPLE", ".nf", roff(command.EXAMPLE), ".fi", ".SH SEE ALSO", ".BR tensorbundle (1)"]
    return "\n".join(lines) + "\n"


def overview() -> str:
    lines = head("tensorbundle", "read, write and rewrite TensorFlow checkpoints, without TensorFlow")
    lines += [".SH SYNOPSIS", "\\fBtensorbundle\\fR \\fICOMMAND\\fR \\fIARGUMENT\\fR...", ".SH COMMANDS"]
    for title, commands in GROUPS.items():
        lines.append(f".SS {roff(title)}")
        for name, text in commands.items():
            lines += [".TP", f"\\fBtensorbundle\\-{roff(name)}\\fR(1)", roff(text)]
    lines += [
        ".SH EXIT STATUS",
        "0: done. 1: something was found. 2: it could not be done; standard error has one line.",
    ]
    return "\n".join(lines) + "\n"


def main(folder: Path = Path(__file__).parents[1] / "build/man") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tensorbundle.1").write_text(overview(), encoding="utf-8")
    for name in COMMANDS:
        (folder / f"tensorbundle-{name}.1").write_text(page(name), encoding="utf-8")


if __name__ == "__main__":
    main()
