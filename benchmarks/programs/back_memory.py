"""back_memory.py SCRATCH BYTES: use memory and give it back, so that the next process finds it fast.

A virtual machine returns memory to its host that was free for a few seconds, and who uses it next waits: 1 GB written to
the page cache took 1.5 s then, and 0.2 s otherwise. Three times as many bytes of a process's own memory, as TensorFlow
has a tensor up to three times, and as many bytes of page cache, in a file that is deleted.
"""

from __future__ import annotations

import os
import sys

from shared import fill

if __name__ == "__main__":
    nbytes = int(sys.argv[2])
    spare = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4
    b"x" * min(3 * nbytes, spare)
    fill(sys.argv[1], nbytes)
