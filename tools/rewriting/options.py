"""Options for writing an output, and counts of what was done."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

from tensorbundle.errors import ArgumentError, MissingFileError, check_word
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from tensorbundle.storage.protocols import Store

__all__ = ["DATA_MODES", "JOBS", "DataMode", "TransferOptions", "Written", "files_beside"]

DataMode = Literal["share", "copy"]
DATA_MODES: Final = get_args(DataMode)
JOBS: Final = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """How an output is made.

    Attributes:
        data: whether carried bytes stay where they are ("share", where the store can) or are copied.
        overwrite: whether an existing checkpoint may be replaced.
        verify: whether checksums of carried bytes are checked: all when copying, a sample when sharing.
        state: whether to write a `checkpoint` state file that names the output as the latest.
        resume: whether data shards that an interrupted run completed are used if their checksums are right, and stay
            if this run is interrupted; in stores that write files under their final names.
        jobs: how many threads read, check and write; at most four by default, as those that write one file take turns.
        executor: where data shards are copied at the same time, instead of in these threads.
        progress: told how many bytes were moved since it was last called.
        store: where the output is written, if its path alone does not say that.
        metadata: texts beside the tensors, in formats that have them.
        max_shard_bytes: another file is begun when one would be larger; None for as many as the source has, or one.
        allow_unused: whether tensors that the output's format can't store are left out; they are an error otherwise.

    Raises:
        BundleError: `data` is another word, or `jobs` not positive.
    """

    data: DataMode = "share"
    overwrite: bool = False
    verify: bool = True
    state: bool = False
    resume: bool = False
    jobs: int = JOBS
    executor: Executor | None = None
    progress: Callable[[int], None] | None = None
    store: Store | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    max_shard_bytes: int | None = None
    allow_unused: bool = False

    def __post_init__(self) -> None:
        check_word("data", self.data, DATA_MODES)
        if self.jobs < 1:
            raise ArgumentError(f"jobs={self.jobs}: at least one thread is needed")

    def store_for(self, path: str) -> Store:
        """The store that an output with this path is written to."""
        return self.store or store_of(path)


@dataclass(slots=True)
class Written:
    """What was done to write an output.

    Attributes:
        bytes_written: of data, indexes and headers.
        bytes_shared: of files that the output shares with a source.
        bytes_read: of sources, to copy or to check them.
        bytes_dead: of shared files that no tensor of the output has.
        sharing: how bytes are shared, or why they are not; None if sharing was not requested.
        overflowed: tensors with values that became infinite, or were out of an integer's range, and how many.
        lost: tensors with values that an integer or boolean type can't represent, and how many.
    """

    bytes_written: int = 0
    bytes_shared: int = 0
    bytes_read: int = 0
    bytes_dead: int = 0
    sharing: str | None = None
    overflowed: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)

    def add(self, other: Written) -> None:
        """Add what was read for a part of the output."""
        self.bytes_read += other.bytes_read
        self.overflowed |= other.overflowed
        self.lost |= other.lost


def files_beside(path: str, options: TransferOptions) -> dict[str, bytes]:
    """The small files that appear after an output, by path: the state file, if one was asked for.

    It names the output as the latest checkpoint, after those that the state file there names.
    """
    if not options.state:
        return {}
    from tensorbundle.state import CheckpointState  # needs protobuf, which most outputs do not

    store = options.store_for(path)
    directory, name = split(path)
    try:
        state = CheckpointState.read(directory, store)
    except MissingFileError:
        state = CheckpointState(directory, "")
    return {state.path: state.saved(name, time.time(), store).encode()}
