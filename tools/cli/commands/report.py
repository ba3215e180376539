"""`tensorbundle report`: an HTML page about a checkpoint, or about the differences of two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.tools.cli.console import escape, human_bytes
from tensorbundle.tools.cli.files import refuse_file, write_text
from tensorbundle.tools.cli.reading import add_jobs, bytes_of
from tensorbundle.tools.operations.reporting.contents import report

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console

EXAMPLE = "tensorbundle report run/model.ckpt-1000 -o report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument(
        "other", metavar="B", nargs="?", help="a second checkpoint, to show the differences from the first"
    )
    parser.add_argument("-o", "--output", metavar="X.html", required=True, help="the page to write")
    parser.add_argument("--overwrite", action="store_true", help="replace X.html if it exists")
    parser.add_argument("--quick", action="store_true", help="read the index only, no values")
    add_jobs(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Write the page."""
    refuse_file(args.output, overwrite=args.overwrite)
    total = 0 if args.quick else bytes_of(args.checkpoint, (), console)
    with console.progress("report", total) as progress:
        page = report(args.checkpoint, args.other, values=not args.quick, jobs=args.jobs, progress=progress)
    of = [each for each in (args.checkpoint, args.other) if each is not None]
    write_text(args.output, page, of=of, overwrite=args.overwrite)
    size = len(page.encode())
    console.record({"page": args.output, "bytes": size})
    console.summary(f"{escape(args.output)}: {human_bytes(size)}")
    return 0
