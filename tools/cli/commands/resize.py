"""`tensorbundle resize`: rows that follow their tokens to another vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.writing import add_source_and_destination, add_writing_arguments, rewrite_source
from tensorbundle.tools.operations.editing.vocabulary import read_vocabulary, resize

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.rewriting.draft import Draft

HELP = "let rows follow their tokens to another vocabulary"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_source_and_destination(parser)
    parser.add_argument("key", metavar="KEY", help="the embedding; its slot variables come along")
    parser.add_argument("--old-vocab", required=True, metavar="FILE", help="one token a line")
    parser.add_argument("--new-vocab", required=True, metavar="FILE", help="one token a line")
    parser.add_argument("--old-vocab-size", type=int, metavar="N", help="only the first N old tokens count")
    parser.add_argument(
        "--new-vocab-size", type=int, metavar="N", help="only the first N new tokens get a row"
    )
    parser.add_argument("--axis", type=int, default=0, help="0 for embeddings, 1 for output layers")
    parser.add_argument("--oov", type=int, default=0, metavar="N", help="rows for out-of-vocabulary buckets")
    add_writing_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Resize, and say what."""
    old, new = read_vocabulary(args.old_vocab), read_vocabulary(args.new_vocab)

    def edit(draft: Draft) -> list[str]:
        changed = resize(
            draft,
            args.key,
            old,
            new,
            axis=args.axis,
            oov=args.oov,
            old_size=args.old_vocab_size,
            new_size=args.new_vocab_size,
        )
        return [f"resized: {key}" for key in changed]

    return rewrite_source(args, console, edit)
