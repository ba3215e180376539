"""`tensorbundle completion`: a script by which a shell completes commands, options, and names in checkpoints."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from tensorbundle.tools.cli.arguments import load, parser_of
from tensorbundle.tools.cli.catalog import COMMANDS
from tensorbundle.tools.cli.completing import TABLE, table_of
from tensorbundle.tools.cli.scripts import SCRIPTS

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle completion bash"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", choices=SCRIPTS, metavar="SHELL", help="bash, zsh or fish")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the script."""
    table = table_of({name: parser_of(name, load(name)) for name in COMMANDS})
    quoted = shlex.quote(table)
    if args.shell == "fish":
        escaped = table.replace("\\", "\\\\").replace("'", "\\'")
        quoted = f"'{escaped}'"
    script = SCRIPTS[args.shell].format(table=quoted, variable=TABLE)
    if console.json:
        console.record({"shell": args.shell, "script": script})
    else:
        sys.stdout.write(script)
    return 0
