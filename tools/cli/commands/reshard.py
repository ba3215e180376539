"""`tensorbundle reshard`: the same tensors in other data shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, rewrite_source
from tensorbundle.tools.operations.editing.layout import reshard
from tensorbundle.tools.operations.sizes import parse_size

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

HELP = "spread tensors over data shards anew"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--shards", type=int, metavar="N", help="N data shards of about the same size")
    how.add_argument("--max-shard-size", metavar="SIZE", help="none larger than, say, 2GB or 512MiB")
    parser.add_argument("--cut", action="store_true", help="partition tensors that are larger than SIZE")
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Reshard."""
    size = None if args.max_shard_size is None else parse_size(args.max_shard_size)
    return rewrite_source(
        args, console, lambda draft: reshard(draft, shards=args.shards, max_bytes=size, cut=args.cut)
    )
