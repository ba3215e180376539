"""Measures how long it takes to list, read, check and copy a user's own checkpoint, here and with others.

Every contender is a process of its own, and they take turns, so that all run under the same conditions.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import basename, dirname, is_url, join, temporary_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tensorbundle.checkpoint import Checkpoint, Path

__all__ = ["Timing", "bench"]

OURS: Final = "tensorbundle"
_READ: Final = """
import sys, tensorbundle
with tensorbundle.open(sys.argv[1]) as checkpoint:
    for key in checkpoint:
        checkpoint[key]
"""
_COPY: Final = """
import os, shutil, sys
*sources, target = sys.argv[1:]
for number, source in enumerate(sources):
    name = f"{target}.data-{number:05d}-of-{len(sources):05d}"
    with open(source, "rb") as old, open(name, "wb") as new:
        shutil.copyfileobj(old, new, 1 << 18)
        os.fsync(new.fileno())
"""
_TENSORFLOW_LIST: Final = """
import sys, tensorflow
for name, shape in tensorflow.train.list_variables(sys.argv[1]):
    print(name, shape)
"""
_TENSORFLOW_READ: Final = """
import sys, tensorflow
reader = tensorflow.train.load_checkpoint(sys.argv[1])
for name in reader.get_variable_to_dtype_map():
    reader.get_tensor(name)
"""
_TENSORFLOW_COPY: Final = """
import sys, tensorflow
reader = tensorflow.train.load_checkpoint(sys.argv[1])
names = sorted(reader.get_variable_to_dtype_map())
tensorflow.raw_ops.SaveV2(
    prefix=sys.argv[2],
    tensor_names=names,
    shape_and_slices=[""] * len(names),
    tensors=[tensorflow.constant(reader.get_tensor(name)) for name in names],
)
"""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one contender took for one job.

    Attributes:
        job: "list", "read", "verify" or "copy".
        contender: "tensorbundle"; "tensorflow", if it is installed and can read the format; "copy and fsync",
            a plain copy of the files without checks.
        nbytes: of the tensors; 0 if none are read.
        seconds: of each round, from the start of the process to its end.
        error: why it could not do the job, or None.
    """

    job: str
    contender: str
    nbytes: int
    seconds: tuple[float, ...]
    error: str | None = None

    @property
    def median(self) -> float | None:
        """The median of `seconds`; None if it could not do the job."""
        return statistics.median(self.seconds) if self.seconds else None

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return asdict(self) | {"seconds": list(self.seconds)}


def bench(path: Path, *, rounds: int = 3, directory: str | None = None) -> Iterator[Timing]:
    """Time how long it takes to list, read, check and copy a checkpoint, job by job.

    Args:
        path: anything that `tensorbundle.open` takes.
        rounds: how often each contender does each job.
        directory: where copies are written, each removed after its round; beside the checkpoint by default.

    Raises:
        BundleError: there is no sound checkpoint at `path`, or a copy of it can't be written.
    """
    with open_checkpoint(path) as checkpoint:
        prefix = checkpoint.prefix
        nbytes = sum(entry.nbytes for _, entry in checkpoint.entries())
        place = dirname(prefix) if directory is None else directory
        copy = join(place, temporary_name(basename(prefix)))
        jobs = _jobs(checkpoint, copy)
    for job, contenders in jobs.items():
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        errors: dict[str, str] = {}
        for _ in range(rounds):
            for name in [name for name in contenders if name not in errors]:
                try:
                    seconds[name].append(_timed(contenders[name]))
                except BundleError as error:
                    if name == OURS:
                        raise
                    errors[name] = error.reason
                finally:
                    _remove(copy)
        for name in contenders:
            yield Timing(job, name, 0 if job == "list" else nbytes, tuple(seconds[name]), errors.get(name))


def _jobs(checkpoint: Checkpoint, copy: str) -> dict[str, dict[str, list[str]]]:
    """The command of each contender for each job."""
    prefix, index = checkpoint.prefix, checkpoint.index
    ours = [sys.executable, "-m", "tensorbundle"]
    jobs = {
        "list": {OURS: [*ours, "ls", prefix]},
        "read": {OURS: _program(_READ, prefix)},
        "verify": {OURS: [*ours, "verify", prefix]},
        "copy": {OURS: [*ours, "compact", prefix, copy]},
    }
    if not is_url(prefix) and not is_url(copy):
        shards = [index.shard_path(number) for number in range(index.header.num_shards)]
        jobs["copy"]["copy and fsync"] = _program(_COPY, *dict.fromkeys([index.path, *shards]), copy)
    if index.is_bundle and importlib.util.find_spec("tensorflow") is not None:
        jobs["list"]["tensorflow"] = _program(_TENSORFLOW_LIST, prefix)
        jobs["read"]["tensorflow"] = _program(_TENSORFLOW_READ, prefix)
        jobs["copy"]["tensorflow"] = _program(_TENSORFLOW_COPY, prefix, copy)
    return jobs


def _program(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def _timed(command: Sequence[str]) -> float:
    """How long a process took.

    Raises:
        BundleError: it failed.
    """
    started = time.perf_counter()
    done = subprocess.run(  # noqa: S603  our own programs
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise BundleError(f"status {done.returncode}: {lines[-1]}")
    return seconds


def _remove(copy: str) -> None:
    """Remove the files of a copy."""
    store = store_of(copy)
    for name in store.list(dirname(copy)):
        if name.startswith(f"{basename(copy)}."):
            store.remove(join(dirname(copy), name))
