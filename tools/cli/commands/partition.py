"""`tensorbundle partition`: tensors in slices."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tensorbundle.errors import BundleError
from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, rewrite_source
from tensorbundle.tools.operations.editing.layout import partition

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.rewriting.draft import Draft

HELP = "store tensors in slices"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument("parts", metavar="KEY=N[:AXIS]", nargs="+", help="N slices, along axis 0 by default")
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Partition."""
    parts = []
    for text in args.parts:
        found = re.fullmatch(r"(.+)=(\d+)(?::(-?\d+))?", text, re.DOTALL)
        if found is None:
            raise BundleError(f"{text!r} is not KEY=N or KEY=N:AXIS")
        parts.append((found[1], int(found[2]), int(found[3] or 0)))

    def edit(draft: Draft) -> None:
        for key, count, axis in parts:
            partition(draft, key, count, axis)

    return rewrite_source(args, console, edit)
