"""Waiting for new checkpoints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tensorbundle.compat.state import latest_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tensorbundle.compat.files import Path

__all__ = ["checkpoints_iterator"]

_POLL_SECONDS: Final = 1.0  # wait_for_new_checkpoint of checkpoint_utils.py


def checkpoints_iterator(
    checkpoint_dir: Path,
    min_interval_secs: float = 0,
    timeout: float | None = None,
    timeout_fn: Callable[[], object] | None = None,
) -> Iterator[str]:
    """Yields the prefix of a directory's latest checkpoint, each time there is a new one.

    Args:
        checkpoint_dir: the directory; it need not exist yet.
        min_interval_secs: minimum seconds between two checkpoints.
        timeout: seconds to wait for a new checkpoint; None waits forever.
        timeout_fn: called after every checkpoint and every timeout; if it returns true, the iteration ends. Without
            it, a timeout ends the iteration.

    Raises:
        CorruptionError, UnsupportedValueError: as for `latest_checkpoint`.
    """
    latest = None
    while True:
        found = _wait_for_another(checkpoint_dir, latest, timeout)
        if found is not None:
            earliest = time.time() + min_interval_secs
            yield found
            latest = found
            time.sleep(max(0.0, earliest - time.time()))
        elif timeout_fn is None:
            return
        if timeout_fn is not None and timeout_fn():
            return


def _wait_for_another(checkpoint_dir: Path, latest: str | None, timeout: float | None) -> str | None:
    deadline = None if timeout is None else time.time() + timeout
    while True:
        found = latest_checkpoint(checkpoint_dir)
        if found not in (None, latest):
            return found
        if deadline is not None and time.time() + _POLL_SECONDS > deadline:
            return None
        time.sleep(_POLL_SECONDS)
