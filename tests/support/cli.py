"""The command line as tests call it: in this process, or in one of its own that can be killed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from support.golden import GOLDEN
from tensorbundle.tools.cli import main

if TYPE_CHECKING:
    import pytest

V215 = GOLDEN / "tf-2.15"
V221 = GOLDEN / "tf-2.21"
# -P: the working directory is not where packages come from.
PYTHON = [sys.executable, "-P"]

# Copies until a first chunk was written, says so and waits there, in each thread, until its standard input is closed: whoever
# tests it sends a signal before, so the main thread has that when it goes on.
SLOW = """
import os, signal, sys
from tensorbundle.tools.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may ignore these
signal.signal(signal.SIGHUP, signal.SIG_DFL)
real = os.preadv
def slow(descriptor, buffers, offset):
    if offset:
        os.write(1, b"copying\\n")
        os.read(0, 1)
    return real(descriptor, buffers, offset)
os.preadv = slow
sys.exit(main(sys.argv[1:]))
"""


class Output(NamedTuple):
    """What a command printed."""

    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON objects on standard output, which must hold nothing else."""
        found = [json.loads(line) for line in self.out.split("\n")[:-1]]
        assert self.out == "" or self.out.endswith("\n")
        assert all(isinstance(each, dict) for each in found)
        return found


class Runner:
    """Calls `main` and checks the status."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *argv: object, status: int = 0) -> Output:
        self._capsys.readouterr()
        found = main([str(each) for each in argv])
        output = Output(*self._capsys.readouterr())
        assert found == status, output
        return output

    def error(self, *argv: object) -> str:
        """The message of a command that could not do it: all of its one line but `tensorbundle COMMAND: `.

        With `--json`, standard output has the error as an object.
        """
        output = self(*argv, status=2)
        if "--json" in argv:
            [record] = output.records
            assert list(record) == ["error", "path", "offset", "key", "message"]
        else:
            assert output.out == ""
        head, message = output.err.split(": ", 1)
        assert head == f"tensorbundle {argv[0]}"
        assert message.endswith("\n")
        assert message.count("\n") == 1
        return message[:-1]


def spawn(*argv: object, script: str | None = None, **options: Any) -> subprocess.Popen[str]:
    """A process that runs the command line, or a Python script."""
    what = ["-m", "tensorbundle"] if script is None else ["-c", script]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*PYTHON, *what, *map(str, argv)], text=True, **streams | options)
