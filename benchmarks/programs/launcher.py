"""Runs commands one after another, each in a fresh process, and tells what each took.

Reads a command as a JSON list from each line of standard input, answers with a JSON object. The command's output goes to
the files `stdout` and `stderr` of the directory given as argument.

pytest can't do this itself: Linux counts the memory of the process that starts a command as memory of the command (a
parent of 490 MB makes the peak of `true` 490 MB). This one stays below 15 MB.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(directory: str) -> None:
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line), directory)), flush=True)


def run(command: list[str], directory: str) -> dict[str, float]:
    new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.path.join(directory, "stdout"), new, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, os.path.join(directory, "stderr"), new, 0o600),
    ]
    started = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    seconds = time.perf_counter() - started
    written = bytes_written(pid)
    _, status, usage = os.wait4(pid, 0)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_rss": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        # In blocks of 512 bytes, and of what reached the file system only.
        "bytes_written": usage.ru_oublock * 512 if written is None else written,
    }


def bytes_written(pid: int) -> int | None:
    """What a process that has ended, but was not waited for, and its children handed to `write` and the like."""
    try:
        with open(f"/proc/{pid}/io") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("wchar:"))
    except OSError:
        return None


if __name__ == "__main__":
    main(sys.argv[1])
