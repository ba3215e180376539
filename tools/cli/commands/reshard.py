"""`tensorbundle reshard`: distribute tensors over new data shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, run_step
from tensorbundle.tools.operations.steps.layout import Reshard

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle reshard run/model.ckpt-1000 resharded --max-shard-size 2GB"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--shards", type=int, metavar="N", help="N data shards of about the same size")
    how.add_argument(
        "--max-shard-size", metavar="SIZE", help="no data shard larger than SIZE, for example 2GB or 512MiB"
    )
    parser.add_argument("--cut", action="store_true", help="partition tensors that are larger than SIZE")
    add_writing_arguments(parser, declared=("max_shard_size",))


def run(args: argparse.Namespace, console: Console) -> int:
    """Make the new checkpoint."""
    return run_step(Reshard, args, console)
