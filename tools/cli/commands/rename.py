"""`tensorbundle rename`: other names for tensors or objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import BundleError
from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, rewrite_source
from tensorbundle.tools.operations.editing.renaming import parse_rule, read_map, regex_rule, rename

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

HELP = "rename tensors, or objects of a TF2 checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument(
        "rules", metavar="OLD=NEW", nargs="*", help="whole names, scopes ('old/=new/') or globs ('a*=b*')"
    )
    parser.add_argument("--map", metavar="FILE", help="OLD=NEW lines, or a TensorFlow assignment map")
    parser.add_argument(
        "--regex",
        metavar="PATTERN=>REPLACEMENT",
        action="append",
        default=[],
        help="as re.sub; may be repeated",
    )
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Rename. `OLD=NEW` is cut at the first '='; a dictionary in a `--map` file takes names that have one."""
    rules = []
    for text in args.rules:
        old, mark, new = text.partition("=")
        if not mark:
            raise BundleError(f"{text!r} is not OLD=NEW")
        rules.append(parse_rule(old, new))
    if args.map is not None:
        rules += read_map(args.map)
    for text in args.regex:
        pattern, mark, replacement = text.partition("=>")
        if not mark:
            raise BundleError(f"{text!r} is not PATTERN=>REPLACEMENT")
        rules.append(regex_rule(pattern, replacement))
    if not rules:
        raise BundleError("nothing to rename: give OLD=NEW, --map or --regex")
    return rewrite_source(args, console, lambda draft: rename(draft, rules))
