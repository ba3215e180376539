"""Disks that are full, from the first request on or at any later one."""

from __future__ import annotations

import builtins
import errno
import io
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    import pytest


class Disk:
    """Counts what is asked of the disk, and refuses some of it: request number `fails`, and from then on if `lasting`.

    Of what is written it sees what `module` writes.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        operation: str,
        fails: int = -1,
        *,
        module: ModuleType,
        lasting: bool = False,
    ) -> None:
        self.calls, self.fails, self.lasting = 0, fails, lasting
        if operation in ("fsync", "replace", "link"):
            monkeypatch.setattr(os, operation, self._wrapped(getattr(os, operation)))
        if operation == "create":
            really_open = os.open

            def opened(path: Any, flags: int, *mode: int) -> int:
                if flags & os.O_CREAT:
                    self._asked()
                return really_open(path, flags, *mode)

            monkeypatch.setattr(os, "open", opened)
        if operation == "write":
            monkeypatch.setattr(module, "open", self._open, raising=False)

    def _asked(self) -> None:
        self.calls += 1
        if self.calls - 1 == self.fails or (self.lasting and self.calls > self.fails >= 0):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _wrapped(self, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self._asked()
            return function(*args, **options)

        return call

    def _open(self, path: str, mode: str, buffering: int = -1) -> Any:
        disk = self

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                disk._asked()
                return super().write(data)

        if mode != "r+b":
            return builtins.open(path, mode, buffering)
        return io.BufferedRandom(File(path, "r+"), 4 if buffering < 0 else min(buffering, 4))
