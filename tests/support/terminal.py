"""Shells as a person uses them: in a terminal, with keys typed."""

import os
import pty
import re
import select
import time


def typed(arguments, setup, line, expected):
    """Start an interactive shell, run `setup`, type a line and a tab; returns what it shows up to `expected`."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="dumb", PS1="> ", INPUTRC="/dev/null")
        os.execvp(arguments[0], arguments)
    try:
        _enter(terminal, f"{setup}; echo rea''dy\n", r"ready\r.*> ")  # and the prompt after it
        return _enter(terminal, f"{line}\t", re.escape(expected))
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def _enter(terminal, text, until):
    os.write(terminal, text.encode())
    seen, end = "", time.monotonic() + 30
    while not re.search(until, seen, re.DOTALL) and time.monotonic() < end:
        if not select.select([terminal], [], [], 3)[0]:
            os.write(terminal, text[-1:].encode())  # it was not listening yet
        else:
            seen += os.read(terminal, 4096).decode(errors="replace").replace("\a", "")
    return seen
