"""Everything that can be wrong with checkpoints and with the state file of their directory: `verify`, `verify_all`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import BundleError, MissingFileError
from tensorbundle.filenames import STATE_FILE
from tensorbundle.members import is_checkpoint, is_file
from tensorbundle.storage.paths import join
from tensorbundle.tools.operations.explaining.catalogue import cause_line
from tensorbundle.tools.operations.inspecting.problems import Problem, Report
from tensorbundle.tools.operations.inspecting.verification import verify_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tensorbundle.checkpoint import Path
    from tensorbundle.tools.operations.directories.inventory import Survey
    from tensorbundle.tools.rewriting.ordered import Jobs

__all__ = ["verify", "verify_all"]


def verify(
    path: Path, *, quick: bool = False, jobs: Jobs = 1, progress: Callable[[int], None] | None = None
) -> Report:
    """Check a checkpoint: index, layout, checksums, slices and object graph; of a directory, also its state file.

    Args:
        path: anything that `tensorbundle.open` takes.
        quick: skip the checks that read data shards: checksums and the object graph.
        jobs: the number of threads that check checksums, or an executor for that.
        progress: told how many bytes are done.

    Raises:
        MissingFileError: there is no checkpoint at `path`.
        OSError: the index can't be read.
    """
    report = verify_checkpoint(path, quick=quick, jobs=jobs, progress=progress)
    if is_file(join(str(path), STATE_FILE)):
        report.problems += _of_state(_survey(str(path)), report.prefix)
    return report


def verify_all(
    directory: Path, *, quick: bool = False, jobs: Jobs = 1, progress: Callable[[int], None] | None = None
) -> Iterator[Report]:
    """Check every checkpoint in a directory, then its state file, whose report has the directory as its prefix.

    Args:
        directory: with or without a state file.
        quick: as for `verify`.
        jobs: as for `verify`.
        progress: as for `verify`.

    Raises:
        MissingFileError: no such directory, or neither a checkpoint nor a state file in it.
        OSError: it can't be read.
    """
    found = _survey(str(directory))
    if not found.checkpoints and found.state is None and found.trouble is None:
        raise MissingFileError("no checkpoint in this directory", path=str(directory))
    there = {each.prefix: each.file_format is not None for each in found.checkpoints if each.files}
    for prefix, was_checkpoint in there.items():
        try:
            report = verify_checkpoint(prefix, quick=quick, jobs=jobs, progress=progress)
        except BundleError as error:
            path = error.path or prefix
            problem = Problem("error", "index", error.key, path, error.offset, error.reason, None, prefix)
            report = Report(problems=[problem], prefix=prefix)
        if report.problems and was_checkpoint and not is_checkpoint(prefix):
            continue  # deleted since it was found, as a training does that keeps the last few
        yield report
    if found.state is not None or found.trouble is not None:
        yield Report(problems=_of_state(found, str(directory)), prefix=str(directory))


def _survey(directory: str) -> Survey:
    from tensorbundle.tools.operations.directories.inventory import (
        survey,  # protobuf; a prefix needs none of it
    )

    return survey(directory)


def _of_state(found: Survey, prefix: str) -> list[Problem]:
    """What is wrong with a directory's state file."""
    path = join(found.directory, STATE_FILE)
    if found.trouble is not None:
        return [Problem("error", "state-file", None, path, None, found.trouble.reason, None, prefix)]
    return [
        Problem(
            "error" if each.latest else "warning",
            "state-file",
            None,
            path,
            None,
            f"it names {each.path!r}{' as the latest' if each.latest else ''}, which is not there",
            cause_line("moved-directory"),
            prefix,
        )
        for each in found.listed
        if not each.files
    ]
