"""`tensorbundle hash`: content hashes of tensors, independent of how they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import BundleError, MissingFileError
from tensorbundle.tools.cli.arguments import add_scheduler
from tensorbundle.tools.cli.console import counted, escape
from tensorbundle.tools.cli.reading import add_jobs, add_no_verify, add_patterns, bytes_of, readers
from tensorbundle.tools.operations.inspecting.hashing import compare_hashes, hash, parse_manifest  # noqa: A004

if TYPE_CHECKING:
    import argparse

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.operations.inspecting.hashing import CheckpointHash

EXAMPLE = "tensorbundle hash run/model.ckpt-1000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="CKPT")
    add_patterns(parser)
    parser.add_argument(
        "--check",
        metavar="MANIFEST",
        help="compare with an earlier output of this command; the status is 1 if anything differs",
    )
    add_jobs(parser)
    add_scheduler(parser, "read tensors")
    add_no_verify(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the hashes, or their differences from the manifest; the status is 1 if there are any."""
    expected = _read_manifest(args.check) if args.check is not None else None
    with (
        readers(args) as jobs,
        console.progress("hash", bytes_of(args.checkpoint, args.patterns, console)) as progress,
    ):
        found = hash(args.checkpoint, args.patterns, jobs=jobs, verify=not args.no_verify, progress=progress)
    if expected is not None:
        return _compare(expected, found, args, console)
    for each in found.tensors:
        console.record(each.to_json())
        console.text(str(each))
    console.record({"checkpoint": found.checkpoint})
    console.text(f"{found.checkpoint}  checkpoint")
    return 0


def _read_manifest(path: str) -> CheckpointHash:
    try:
        with open(path, encoding="utf-8") as file:
            return parse_manifest(file.read(), path)
    except FileNotFoundError:
        raise MissingFileError("no such manifest; 'tensorbundle hash CKPT' prints one", path=path) from None
    except UnicodeDecodeError:
        raise BundleError("not a manifest: it is not text", path=path) from None


def _compare(
    expected: CheckpointHash, found: CheckpointHash, args: argparse.Namespace, console: Console
) -> int:
    deviations = compare_hashes(expected, found, partial=bool(args.patterns))
    for each in deviations:
        console.record(each.to_json())
        console.text(f"{each.change}: {escape(each.key)}: {each.expected or '-'} became {each.found or '-'}")
    console.record({"checkpoint": found.checkpoint, "differences": len(deviations)})
    count = counted(len(found.tensors), "tensor")
    differences = counted(len(deviations), "difference")
    console.summary(f"{count}: {differences}" if deviations else f"{count}, as in the manifest")
    return 1 if deviations else 0
